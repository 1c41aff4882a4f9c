//! The check of quantised products.
//!
//! They round activations to 8 bits, one way for a few rows and another for many. Each is right within half a percent, but
//! through the blocks of a model, most of all one of random weights, the logits of both ways drift apart. So each kind of
//! product is compared by itself, with the weights dequantised.

use candle_core::{DType, Result, Tensor};

use crate::{
    measure::Check,
    model::{Linear, Model, ops},
    workload::{Dtype, random},
};

/// Half a step of 8 bits, evenly spread, in blocks of 32 values from a normal distribution, whose largest is 2.2 deviations:
/// 2.2 ÷ 127 ÷ √12 = 0.5 %; four times that is still far from a wrong product.
const TOLERANCE: f64 = 0.02;
/// Rows whose outputs are compared.
const COMPARED: usize = 16;
/// Outputs of each of them that are, spread over all.
const OUTPUTS: usize = 1024;

/// One check for all kinds of product that a pass with `rows` rows takes.
pub(super) fn check(model: &Model, rows: usize) -> Result<Check> {
    let mut pairs = Vec::new();
    for linear in kinds(model) {
        pairs.extend(compare(linear, rows.max(1), model.weights.dtype)?);
    }
    Ok(Check::of("each kind of product against its weights dequantised", &pairs, TOLERANCE, true))
}

/// One matrix of each type and size.
fn kinds(model: &Model) -> Vec<&Linear> {
    let weights = &model.weights;
    let blocks = weights.layers.iter().flat_map(|layer| {
        layer.qkv.parts.iter().chain([&layer.o]).chain(layer.gate_up.parts.iter()).chain([&layer.down])
    });
    let (mut seen, mut found) = (Vec::new(), Vec::new());
    for linear in blocks.chain([&weights.head]) {
        let Linear::Quantized { weight, .. } = linear else { continue };
        let kind = (weight.dtype(), weight.shape().dims().to_vec());
        if !seen.contains(&kind) {
            seen.push(kind);
            found.push(linear);
        }
    }
    found
}

/// Outputs and what they should be.
fn compare(linear: &Linear, rows: usize, dtype: DType) -> Result<Vec<(f64, f64)>> {
    let Linear::Quantized { weight, .. } = linear else { return Ok(Vec::new()) };
    let (n, k) = weight.shape().dims2()?;
    let device = weight.device();
    // The sum of three even values is nearly normal.
    let even = |at: usize, seed: u32| random::unit(Dtype::F32, seed, at as u32) as f32;
    let values: Vec<f32> = (0..rows * k).map(|at| (1..4).map(|seed| even(at, seed)).sum()).collect();
    let x = Tensor::from_vec(values, (rows, k), &device)?.to_dtype(dtype)?;
    let outputs: Vec<u32> = (0..n.min(OUTPUTS)).map(|at| (at * n / n.min(OUTPUTS)) as u32).collect();
    let outputs = Tensor::new(outputs, &device)?;
    let first = |rows_of: &Tensor| rows_of.narrow(0, 0, rows.min(COMPARED))?.to_dtype(DType::F32);
    let ours = first(&ops::product(linear, &x)?)?.index_select(&outputs, 1)?;
    let right = first(&x)?.matmul(&weight.embedding(&outputs)?.to_dtype(DType::F32)?.t()?)?;
    let (ours, right): (Vec<f32>, Vec<f32>) = (ours.flatten_all()?.to_vec1()?, right.flatten_all()?.to_vec1()?);
    Ok(ours.into_iter().zip(right).map(|(a, b)| (f64::from(a), f64::from(b))).collect())
}

#[cfg(test)]
mod tests {
    use candle_core::{
        Device,
        quantized::{GgmlDType, QTensor},
    };

    use super::*;

    #[test]
    fn a_product_is_as_near_to_its_dequantised_weights_as_promised() {
        let values: Vec<f32> = (0..64 * 512).map(|at| random::unit(Dtype::F32, 9, at) as f32).collect();
        let dense = Tensor::from_vec(values, (64, 512), &Device::Cpu).unwrap();
        for kind in [GgmlDType::Q4_0, GgmlDType::Q8_0, GgmlDType::Q4K, GgmlDType::Q6K] {
            let linear = Linear::quantized(QTensor::quantize(&dense, kind).unwrap()).unwrap();
            for rows in [1, 20] {
                let pairs = compare(&linear, rows, DType::F32).unwrap();
                assert_eq!(pairs.len(), rows.min(COMPARED) * 64);
                assert!(Check::of("t", &pairs, TOLERANCE, true).passed(), "{kind:?} {rows}");
                let wrong: Vec<_> = pairs.iter().map(|(a, b)| (a * 1.05, *b)).collect();
                assert!(!Check::of("t", &wrong, TOLERANCE, true).passed());
            }
        }
    }
}
