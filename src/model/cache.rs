//! Keys and values of the positions seen so far.

use candle_core::{DType, Device, Result as Candle, Tensor};

use super::{ModelConfig, ModelError};

/// Keys and values of the positions seen so far, in memory that is taken once.
///
/// A model with a window keeps all positions too: what lies outside is not looked at.
#[derive(Debug)]
pub struct Cache {
    layers: Vec<LayerCache>,
    batch: usize,
    capacity: usize,
    len: usize,
    /// What one position at a time needs room for, made with the first.
    #[cfg(feature = "cuda")]
    pub(super) decode: Option<super::cuda::Decode>,
}

/// One block's: batch × `kv_heads` × positions × d each. What lies past the cache's length is left over and means nothing.
#[derive(Debug)]
pub struct LayerCache {
    /// The keys, rotated.
    pub keys: Tensor,
    /// The values.
    pub values: Tensor,
}

impl LayerCache {
    /// Writes k and v (batch × `kv_heads` × t × d) at the positions from `start`.
    pub fn write(&self, k: &Tensor, v: &Tensor, start: usize) -> Candle<()> {
        let dtype = self.keys.dtype();
        self.keys.slice_set(&k.to_dtype(dtype)?, 2, start)?;
        self.values.slice_set(&v.to_dtype(dtype)?, 2, start)
    }
}

impl Cache {
    /// Room for `positions` of `batch` sequences, allocated now.
    pub fn new(
        config: &ModelConfig,
        batch: usize,
        positions: usize,
        dtype: DType,
        device: &Device,
    ) -> Result<Self, ModelError> {
        let shape = (batch, config.kv_heads(), positions, config.head_dim());
        let zeros = || Tensor::zeros(shape, dtype, device);
        let layer = |_| Ok(LayerCache { keys: zeros()?, values: zeros()? });
        let layers = (0..config.layers()).map(layer).collect::<Candle<Vec<_>>>()?;
        Ok(Self {
            layers,
            batch,
            capacity: positions,
            len: 0,
            #[cfg(feature = "cuda")]
            decode: None,
        })
    }

    /// Positions in it.
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Nothing is in it.
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Positions that it has room for.
    pub const fn capacity(&self) -> usize {
        self.capacity
    }

    /// Sequences.
    pub const fn batch(&self) -> usize {
        self.batch
    }

    /// The blocks', in order.
    pub fn layers(&self) -> &[LayerCache] {
        &self.layers
    }

    /// The type of keys and values.
    pub fn dtype(&self) -> Option<DType> {
        self.layers.first().map(|layer| layer.keys.dtype())
    }

    /// Bytes that it holds.
    pub fn bytes(&self) -> u64 {
        let one = |tensor: &Tensor| (tensor.elem_count() * tensor.dtype().size_in_bytes()) as u64;
        self.layers.iter().map(|layer| one(&layer.keys) + one(&layer.values)).sum()
    }

    /// Forgets all positions; the memory stays.
    pub fn clear(&mut self) {
        self.len = 0;
    }

    /// Forgets the positions from `len` on; the memory stays.
    pub fn rewind(&mut self, len: usize) {
        self.len = self.len.min(len);
    }

    /// The `t` positions after the last now hold keys and values in every block.
    pub(super) fn advance(&mut self, t: usize) {
        self.len = (self.len + t).min(self.capacity);
    }
}
