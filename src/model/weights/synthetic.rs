//! Synthetic weights: true shapes, seeded random values, made in seconds.
//!
//! Drawing and quantising seven billion values takes a quarter of an hour. Instead a pool of chunks (256 values of
//! N(0, 0.02)) is drawn and quantised once, and each row is put together from chunks that a generator picks, seeded with the
//! tensor and the row. So no two rows are the same, and the values are: in every precision, on every device, every time.

use std::collections::{HashMap, hash_map::Entry};

use candle_core::{DType, Device, Tensor, quantized::GgmlDType};
use rayon::prelude::*;

use super::{
    convert::encode,
    source::{Check, Source, room},
    tensors::{TensorId, bytes, dense},
};
use crate::{
    model::{ModelConfig, ModelError, config::TINY},
    workload::{ModelRef, Precision},
};

/// Which values are made: counted up with every change of them, so that files of the values before are not taken for these.
pub(crate) const GENERATOR: u32 = 2;
/// The standard deviation of the matrices, as Mistral and Llama are initialised.
const DEVIATION: f32 = 0.02;
/// That of the model that engines are compared by. At 0.02 and its width attention looks at all positions alike, and the same
/// token follows itself; at this every token depends on all before it, and another rotary base changes each.
const DEVIATION_TINY: f32 = 0.06;
/// Chunks in a pool: a prime, and some megabytes at most, so that it stays in a cache.
const POOL: usize = 4093;
/// Values in a chunk: the largest block of any type.
const CHUNK: usize = 256;
/// Bytes made between two looks at whether to go on.
const STRETCH: usize = 64 << 20;

/// The tensors of a synthetic model.
pub(crate) struct Synthetic {
    config: ModelConfig,
    precision: Precision,
    pools: HashMap<(GgmlDType, usize), Vec<u8>>,
}

impl Synthetic {
    /// The model's constants are its preset's; a shape without a preset has those of Mistral-7B v0.1.
    pub(crate) fn of(model: &ModelRef) -> Result<Self, ModelError> {
        let preset = ModelConfig::preset(&model.name).filter(|config| config.shape == model.shape);
        let config = preset.unwrap_or(ModelConfig::synthetic(model.shape));
        Self::new(config, model.precision.clone())
    }

    /// Draws the pools that the model's tensors need.
    pub(crate) fn new(config: ModelConfig, precision: Precision) -> Result<Self, ModelError> {
        let config = config.checked().map_err(|what| ModelError::Asked(format!("no such model: {what}")))?;
        if !Precision::NAMED.contains(&precision) {
            let name = precision.id();
            let names = Precision::NAMED.map(|known| known.id().to_owned()).join(", ");
            return Err(ModelError::Asked(format!("synthetic weights are not made in {name}; choose from {names}")));
        }
        let deviation = if config == TINY { DEVIATION_TINY } else { DEVIATION };
        let mut pools = HashMap::new();
        for tensor in TensorId::all(&config.shape).into_iter().filter(|tensor| !tensor.is_norm()) {
            let (_, columns) = tensor.dims(&config.shape);
            let key = (tensor.stored_as(&precision, &config), chunk(columns));
            if let Entry::Vacant(missing) = pools.entry(key) {
                missing.insert(pool(key, deviation)?);
            }
        }
        Ok(Self { config, precision, pools })
    }

    /// Fills whole rows, beginning with row `first`.
    fn fill(&self, tensor: TensorId, first: usize, out: &mut [u8]) -> Result<(), ModelError> {
        let (_, columns) = tensor.dims(&self.config.shape);
        let kind = tensor.stored_as(&self.precision, &self.config);
        let size = chunk(columns);
        let missing = || ModelError::Compute(format!("{} has no pool of values", tensor.gguf()));
        let pool = self.pools.get(&(kind, size)).ok_or_else(missing)?;
        let chunk_bytes = bytes(kind, size);
        out.par_chunks_mut(bytes(kind, columns)).enumerate().for_each(|(row, out)| {
            let mut random = Random::of_row(tensor, first + row);
            for target in out.chunks_exact_mut(chunk_bytes) {
                let start = random.below(POOL) * chunk_bytes;
                if let Some(values) = pool.get(start..start + chunk_bytes) {
                    target.copy_from_slice(values);
                }
            }
        });
        Ok(())
    }
}

impl Source for Synthetic {
    fn config(&self) -> &ModelConfig {
        &self.config
    }

    fn kind(&self, tensor: TensorId) -> Result<GgmlDType, ModelError> {
        Ok(tensor.stored_as(&self.precision, &self.config))
    }

    fn read<'a>(
        &'a self,
        tensor: TensorId,
        scratch: &'a mut Vec<u8>,
        check: &mut Check<'_>,
    ) -> Result<&'a [u8], ModelError> {
        let (rows, columns) = tensor.dims(&self.config.shape);
        let kind = self.kind(tensor)?;
        if tensor.is_norm() {
            *scratch = encode(kind, &vec![1.0; columns])?;
            return Ok(scratch);
        }
        let row_bytes = bytes(kind, columns);
        let out = room(scratch, rows * row_bytes);
        let stretch_rows = (STRETCH / row_bytes).max(1);
        for (index, stretch) in out.chunks_mut(stretch_rows * row_bytes).enumerate() {
            check()?;
            self.fill(tensor, index * stretch_rows, stretch)?;
        }
        Ok(out)
    }

    /// On CUDA the chunks are put together by the device, ten times as fast as they would be brought there. Metal's memory
    /// for what it computes is rounded up to powers of two, which costs a seventh of a model.
    fn make(&self, tensor: TensorId, dtype: DType, device: &Device) -> Result<Option<Tensor>, ModelError> {
        let (rows, columns) = tensor.dims(&self.config.shape);
        let (kind, size) = (tensor.stored_as(&self.precision, &self.config), chunk(columns));
        let pool = self.pools.get(&(kind, size)).filter(|_| !tensor.is_norm() && dense(kind) == Some(dtype));
        let Some(pool) = pool.filter(|_| device.is_cuda()) else { return Ok(None) };
        let pool = Tensor::from_raw_buffer(pool, dtype, &[POOL, size], device)?;
        let mut picked = vec![0_u32; rows * columns / size];
        picked.par_chunks_mut(columns / size).enumerate().for_each(|(row, picked)| {
            let mut random = Random::of_row(tensor, row);
            picked.fill_with(|| random.below(POOL) as u32);
        });
        let picked = Tensor::from_vec(picked, rows * columns / size, device)?;
        Ok(Some(pool.index_select(&picked, 0)?.reshape((rows, columns))?))
    }
}

/// Values in a chunk of rows of `columns`: 256 or 32 where they divide a row, whatever the type, so that all types hold the
/// same values.
const fn chunk(columns: usize) -> usize {
    if columns.is_multiple_of(CHUNK) {
        CHUNK
    } else if columns.is_multiple_of(32) {
        32
    } else {
        columns
    }
}

/// Random values in a type, in chunks of a size.
fn pool((kind, size): (GgmlDType, usize), deviation: f32) -> Result<Vec<u8>, ModelError> {
    let mut random = Random(0x5EED);
    let mut values = vec![0.0; POOL * size];
    values.fill_with(|| random.normal() * deviation);
    encode(kind, &values)
}

/// splitmix64: small, fast, and the same everywhere.
struct Random(u64);

impl Random {
    /// A generator of its own for each row of each tensor.
    fn of_row(tensor: TensorId, row: usize) -> Self {
        let tensor = match tensor {
            TensorId::Embedding => 1,
            TensorId::Norm => 2,
            TensorId::Head => 3,
            TensorId::Block(layer, part) => 16 + 16 * u64::from(layer) + part as u64,
        };
        let mut mixed = Self(tensor << 32 ^ row as u64);
        Self(mixed.next())
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// Evenly from 0 to `end`, exclusive.
    fn below(&mut self, end: usize) -> usize {
        ((u128::from(self.next()) * end as u128) >> 64) as usize
    }

    /// From N(0, 1), by Box and Muller.
    fn normal(&mut self) -> f32 {
        let unit = |bits: u64| ((bits >> 11) as f64 + 0.5) / (1_u64 << 53) as f64;
        let (radius, angle) = (unit(self.next()), unit(self.next()));
        ((-2.0 * radius.ln()).sqrt() * (std::f64::consts::TAU * angle).cos()) as f32
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        model::{Linear, Weights, source, weights::load},
        workload::ModelShape,
    };

    const SHAPE: ModelShape = ModelShape {
        vocabulary: 300,
        hidden: 256,
        intermediate: 512,
        layers: 8,
        heads: 4,
        kv_heads: 2,
        head_dim: 64,
        tied_head: false,
    };

    fn made(shape: ModelShape, precision: Precision) -> Weights {
        let model = source::synthetic("tiny", &ModelConfig::synthetic(shape), precision).unwrap();
        let mut seen = 0;
        let weights = load(&model, &Device::Cpu, &mut |progress| {
            assert!(progress.done_bytes >= seen && progress.done_bytes <= progress.total_bytes);
            seen = progress.done_bytes;
            Ok(())
        })
        .unwrap();
        assert_eq!(seen, model.weight_bytes);
        weights
    }

    fn values(linear: &Linear) -> Vec<Vec<f32>> {
        let tensor = match linear {
            Linear::Dense(weight) => weight.to_dtype(candle_core::DType::F32).unwrap(),
            Linear::Quantized { weight, .. } => weight.dequantize(&Device::Cpu).unwrap(),
        };
        tensor.to_vec2().unwrap()
    }

    #[test]
    fn every_precision_holds_the_same_values_as_finely_as_it_can() {
        let exact = made(SHAPE, Precision::F32);
        for (precision, error) in [
            (Precision::F16, 1e-3),
            (Precision::Bf16, 1e-2),
            (Precision::Q8_0, 1e-2),
            (Precision::Q4_0, 0.15),
            (Precision::Q4KM, 0.12),
        ] {
            let weights = made(SHAPE, precision.clone());
            for (one, other) in [
                (&exact.embedding, &weights.embedding),
                (&exact.head, &weights.head),
                (&exact.layers[3].down, &weights.layers[3].down),
            ] {
                let pairs = values(one).concat().into_iter().zip(values(other).concat());
                let (mut off, mut size) = (0.0, 0.0);
                for (a, b) in pairs {
                    off += f64::from(a - b).powi(2);
                    size += f64::from(a).powi(2);
                }
                assert!((off / size).sqrt() < error, "{precision}: {}", (off / size).sqrt());
            }
        }
    }

    #[test]
    fn values_are_spread_as_a_new_model_s_and_no_two_rows_are_alike() {
        let weights = made(SHAPE, Precision::F16);
        let rows = values(&weights.head);
        let flat = rows.concat();
        let mean = flat.iter().map(|v| f64::from(*v)).sum::<f64>() / flat.len() as f64;
        let deviation = (flat.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>() / flat.len() as f64).sqrt();
        assert!(mean.abs() < 1e-3 && (deviation - 0.02).abs() < 1e-3, "{mean} {deviation}");
        let large = values(&made(ModelShape { vocabulary: 2000, hidden: 512, ..SHAPE }, Precision::F32).head);
        let mut seen: Vec<Vec<u32>> = large.iter().map(|row| row.iter().map(|v| v.to_bits()).collect()).collect();
        seen.sort();
        seen.dedup();
        assert_eq!(seen.len(), 2000);
        assert_ne!(values(&weights.layers[0].o), values(&weights.layers[1].o));
    }

    #[test]
    fn the_values_are_those_of_this_version_of_the_generator() {
        // Where this fails, GENERATOR must be counted up with it: files made before hold other values.
        let of = |config: &ModelConfig| {
            let source = Synthetic::new(config.clone(), Precision::F32).unwrap();
            let mut scratch = Vec::new();
            let raw = source.read(TensorId::Head, &mut scratch, &mut || Ok(())).unwrap();
            // Rounded: logarithms differ in the last bit from system to system.
            let values = raw.as_chunks().0.iter().map(|raw| (65_536.0 * f32::from_le_bytes(*raw)).round() as i32);
            values.fold(0_u32, |hash, value| hash.wrapping_mul(31).wrapping_add(value as u32))
        };
        assert_eq!((GENERATOR, of(&ModelConfig::synthetic(SHAPE)), of(&TINY)), (2, 2457654785, 808874841));
    }

    #[test]
    fn q4_k_m_is_mixed_as_llama_cpp_does() {
        let weights = made(SHAPE, Precision::Q4KM);
        let kind = |linear: &Linear| match linear {
            Linear::Quantized { weight, .. } => weight.dtype(),
            Linear::Dense(_) => GgmlDType::F32,
        };
        assert_eq!((kind(&weights.embedding), kind(&weights.head)), (GgmlDType::Q4K, GgmlDType::Q6K));
        let finer: Vec<usize> = (0..8).filter(|i| kind(&weights.layers[*i].down) == GgmlDType::Q6K).collect();
        assert_eq!(finer, [0, 3, 6, 7]);
        assert_eq!(weights.layers[0].qkv.parts.len(), 2, "queries with keys, and values");
        assert_eq!(weights.layers[1].qkv.parts.len(), 1);
        assert_eq!(weights.layers[0].gate_up.parts.len(), 1);
    }

    #[test]
    fn rows_that_blocks_do_not_divide_get_another_type() {
        let odd = ModelShape { hidden: 96, heads: 3, kv_heads: 1, head_dim: 32, intermediate: 100, ..SHAPE };
        for precision in Precision::NAMED {
            let weights = made(odd, precision);
            assert_eq!(weights.layers[0].down.dims().unwrap(), (96, 100));
        }
    }

    #[test]
    fn cancelling_ends_the_making() {
        let model = source::synthetic("tiny", &ModelConfig::synthetic(SHAPE), Precision::F16).unwrap();
        let mut tensors = 0;
        let ended = load(&model, &Device::Cpu, &mut |_| {
            tensors += 1;
            if tensors > 5 { Err(ModelError::Cancelled) } else { Ok(()) }
        });
        assert!(matches!(ended, Err(ModelError::Cancelled)));
        assert_eq!(tensors, 6);
    }
}
