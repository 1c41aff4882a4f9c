//! A frozen matrix y = x · Wᵀ, dense or quantised.

use std::sync::Arc;

use candle_core::{
    DType, Module as _, Result, Tensor,
    quantized::{QMatMul, QTensor},
};

/// W with `n` rows (outputs) and `k` columns (inputs).
#[derive(Clone, Debug)]
pub enum Linear {
    /// n × k, row-major, in the activations' type.
    Dense(Tensor),
    /// n × k in blocks along k. Activations are f32 on the processor and on Metal.
    Quantized {
        /// The blocks.
        weight: Arc<QTensor>,
        /// The same, as candle multiplies by it.
        matmul: QMatMul,
    },
}

impl Linear {
    /// A quantised matrix. Types that are not quantised (F32, F16, BF16) belong into [`Linear::Dense`].
    pub fn quantized(weight: QTensor) -> Result<Self> {
        let weight = Arc::new(weight);
        let matmul = QMatMul::from_arc(Arc::clone(&weight))?;
        Ok(Self::Quantized { weight, matmul })
    }

    /// (n, k).
    pub fn dims(&self) -> Result<(usize, usize)> {
        match self {
            Self::Dense(weight) => weight.dims2(),
            Self::Quantized { weight, .. } => weight.shape().dims2(),
        }
    }

    /// y = x · Wᵀ for x of m × k: m × n. No gradient flows through it; see [`Linear::backward`].
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        match self {
            Self::Dense(weight) => x.matmul(&weight.t()?),
            Self::Quantized { matmul, .. } => matmul.forward(x),
        }
    }

    /// The gradient of x from that of y (m × n): dy · W, m × k. W itself is frozen and gets none.
    pub fn backward(&self, dy: &Tensor) -> Result<Tensor> {
        match self {
            Self::Dense(weight) => dy.matmul(weight),
            Self::Quantized { weight, .. } => {
                let (rows, _) = weight.shape().dims2()?;
                // `dequantize` goes through the host on Metal; looking every row up stays on the device.
                let dense = match dy.device() {
                    candle_core::Device::Metal(_) => weight.embedding(&Tensor::arange(0, rows as u32, dy.device())?)?,
                    device if dy.dtype() == DType::F16 => weight.dequantize_f16(device)?,
                    device => weight.dequantize(device)?,
                };
                dy.matmul(&dense.to_dtype(dy.dtype())?)
            }
        }
    }

    /// Bytes of the weights as they are held.
    pub fn bytes(&self) -> u64 {
        match self {
            Self::Dense(weight) => (weight.elem_count() * weight.dtype().size_in_bytes()) as u64,
            Self::Quantized { weight, .. } => weight.storage_size_in_bytes() as u64,
        }
    }
}
