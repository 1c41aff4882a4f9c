//! What a job needs before anything is allocated: memory by part, and the time of one pass at a known rate.
//!
//! Pure arithmetic over the workload. What is predicted stands beside what was reached in every result, so that a wrong
//! prediction shows.

use crate::workload::{Inference, InferencePhase, ModelRef, ModelShape, Precision, Training, Workload};

/// The kind of device that a model lies on, as far as memory depends on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// The processor. On x86 candle packs quantised K-blocks a second time for its kernels.
    Processor {
        /// Whether it does.
        packs: bool,
    },
    /// Apple's GPU, which shares the machine's memory.
    Metal,
    /// An NVIDIA GPU.
    Cuda,
}

impl Place {
    /// The processor that this program was built for.
    pub const fn processor() -> Self {
        Self::Processor { packs: cfg!(target_arch = "x86_64") }
    }
}

/// Memory of a job in bytes, by what it holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MemoryEstimate {
    /// The weights, second copies included.
    pub weights: u64,
    /// Keys and values.
    pub cache: u64,
    /// What one pass holds at its peak: hidden states, scores, logits, one dequantised matrix.
    pub activations: u64,
    /// What training keeps: adapters, moments, gradients, and what the backward pass needs of the forward one.
    pub training: u64,
    /// All of it.
    pub total: u64,
}

/// Positions that a prompt is read in at a time: bounds the scores of attention.
const CHUNK: u64 = 512;

/// Bytes that an f32 takes.
const SINGLE: u64 = 4;

/// Bytes of a packed block over those of its K-block: 6 bits a weight beside 4.5, scales included.
const PACKED: (u64, u64) = (4, 3);

/// The memory of a workload on a device; `None` for those without a model.
pub fn memory(workload: &Workload, place: Place) -> Option<MemoryEstimate> {
    let mut estimate = match workload {
        Workload::ModelLoad(load) => MemoryEstimate {
            weights: weights(&load.model, place, false),
            activations: largest_tensor(&load.model.shape, place),
            ..MemoryEstimate::default()
        },
        Workload::Inference(inference) => MemoryEstimate {
            weights: weights(&inference.model, place, true),
            cache: cache(inference, place),
            activations: pass(inference, place),
            training: 0,
            total: 0,
        },
        Workload::Training(training) => MemoryEstimate {
            weights: weights(&training.model, place, true),
            cache: 0,
            activations: backward_pass(training, place),
            training: kept(training, place),
            total: 0,
        },
        Workload::Gemm(_)
        | Workload::Attention(_)
        | Workload::Bandwidth(_)
        | Workload::BandwidthSweep(_)
        | Workload::TensorLimit(_) => {
            return None;
        }
    };
    estimate.total = estimate.weights + estimate.cache + estimate.activations + estimate.training;
    Some(estimate)
}

/// Bytes an element of activations.
fn element_bytes(precision: &Precision, place: Place) -> u64 {
    match (precision.dense_bytes(), place) {
        // The processor has no useful bf16 product: such weights are widened.
        (Some(_), Place::Processor { .. }) if *precision == Precision::Bf16 => SINGLE,
        (Some(bytes), _) => bytes,
        (None, Place::Cuda) => 2,
        (None, Place::Processor { .. } | Place::Metal) => SINGLE,
    }
}

/// Bytes an element of keys and values: as activations, but f16 beside quantised weights on the processor.
fn kept_bytes(precision: &Precision, place: Place) -> u64 {
    match (precision.dense_bytes(), place) {
        (None, Place::Processor { .. }) => 2,
        _ => element_bytes(precision, place),
    }
}

/// Bytes of the weights as they are held. `used`: they were multiplied by at least once, and packed where that is done.
fn weights(model: &ModelRef, place: Place, used: bool) -> u64 {
    let packs = used && matches!(place, Place::Processor { packs: true });
    match &model.precision {
        Precision::Bf16 if matches!(place, Place::Processor { .. }) => 2 * model.weight_bytes,
        Precision::Q4KM | Precision::Stored(_) if packs => model.weight_bytes + model.token_bytes * PACKED.0 / PACKED.1,
        // Dense weights and blocks of 32 are multiplied as they are.
        _ => model.weight_bytes,
    }
}

/// Loading holds one tensor beside the weights: as f32, at its largest.
fn largest_tensor(shape: &ModelShape, place: Place) -> u64 {
    let elements = shape.embedding_elements().max(2 * u64::from(shape.intermediate) * u64::from(shape.hidden));
    match place {
        // Read into the machine's memory first, which is no part of the device's.
        Place::Cuda => elements * 2,
        Place::Processor { .. } | Place::Metal => elements * SINGLE,
    }
}

fn cache(inference: &Inference, place: Place) -> u64 {
    let bytes = kept_bytes(&inference.model.precision, place);
    let positions = inference.positions().next_multiple_of(64);
    inference.model.shape.kv_bytes_per_token(bytes) * positions * u64::from(inference.batch)
}

/// The peak of a forward pass: one block's intermediate values, the scores of one chunk, and the logits.
fn pass(inference: &Inference, place: Place) -> u64 {
    let shape = &inference.model.shape;
    let bytes = element_bytes(&inference.model.precision, place);
    let batch = u64::from(inference.batch);
    // The depth of a decode is read as a prompt is.
    let tokens = match inference.phase {
        InferencePhase::Prefill { tokens } => u64::from(tokens),
        InferencePhase::Decode { depth, .. } => u64::from(depth.max(1)),
    };
    let rows = tokens.min(CHUNK) * batch;
    let logits = batch * u64::from(shape.vocabulary) * (bytes + SINGLE);
    2 * rows * block_elements(shape) * bytes + scores(shape, rows, inference.positions(), place) + logits
}

/// Elements of a token that one block computes between its input and its output.
const fn block_elements(shape: &ModelShape) -> u64 {
    let hidden = 3 * shape.hidden as u64;
    hidden + 2 * shape.query_width() + 2 * shape.kv_width() + 3 * shape.intermediate as u64
}

/// The scores of one block, before and after their softmax; Metal's attention keeps none.
fn scores(shape: &ModelShape, rows: u64, positions: u64, place: Place) -> u64 {
    match place {
        Place::Metal => 0,
        Place::Processor { .. } | Place::Cuda => 2 * rows * u64::from(shape.heads) * positions * SINGLE,
    }
}

/// Logits of so many rows are held at once in training.
const LOGIT_ROWS: u64 = 512;

/// Training goes through some heads at a time where the scores of all would take more.
const SCORES_BYTES: u64 = 256 << 20;

/// The peak of one block's backward pass beside what was kept, with the logits and their gradient in f32.
fn backward_pass(training: &Training, place: Place) -> u64 {
    let shape = &training.model.shape;
    let bytes = element_bytes(&training.model.precision, place);
    let tokens = training.tokens();
    let logits = 3 * tokens.min(LOGIT_ROWS) * u64::from(shape.vocabulary) * SINGLE;
    // Every product's gradient is as large as the product; a quantised matrix is widened for it.
    let block = 3 * tokens * block_elements(shape) * bytes;
    let of_a_query_head = u64::from(training.sequence).pow(2) * SINGLE;
    let of_a_key_head = u64::from(shape.heads / shape.kv_heads.max(1)) * of_a_query_head;
    let all = u64::from(training.batch) * u64::from(shape.heads) * of_a_query_head;
    // Probabilities, their gradient, and that of the scores.
    let scores = 3 * all.min(SCORES_BYTES.max(of_a_key_head));
    let widened = match training.model.precision.dense_bytes() {
        Some(_) => 0,
        None => 2 * u64::from(shape.intermediate) * u64::from(shape.hidden) * SINGLE,
    };
    logits.max(block + scores) + widened
}

/// Adapters with both moments and gradients in f32, and what each block keeps of the forward pass.
fn kept(training: &Training, place: Place) -> u64 {
    let shape = &training.model.shape;
    let bytes = element_bytes(&training.model.precision, place);
    let hidden = u64::from(shape.hidden);
    // The input; and unless it is computed again: q, k, v, the attention's output, the hidden state after it, gate and up.
    let again = 2 * shape.query_width() + 2 * shape.kv_width() + hidden + 2 * u64::from(shape.intermediate);
    let a_token = if training.checkpointing { hidden } else { hidden + again };
    let tapes = u64::from(shape.layers) * training.tokens() * a_token * bytes;
    4 * SINGLE * training.trained_parameters() + tapes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workload::{LEARNING_RATE_MILLIONTHS, Location, ModelLoad, Origin, Target};

    fn model(precision: Precision, weight_bytes: u64) -> ModelRef {
        let shape = ModelShape::MISTRAL_7B;
        let table = shape.embedding_elements() * weight_bytes / shape.parameters();
        ModelRef {
            name: "mistral-7b".into(),
            origin: Origin::Synthetic,
            precision,
            shape,
            weight_bytes,
            token_bytes: weight_bytes - table,
            location: Location::default(),
        }
    }

    fn half() -> ModelRef {
        model(Precision::F16, 2 * ModelShape::MISTRAL_7B.parameters())
    }

    fn training(checkpointing: bool) -> Workload {
        let targets = vec![Target::Q, Target::V];
        Workload::Training(Training {
            model: half(),
            rank: 8,
            targets,
            sequence: 512,
            batch: 1,
            clipping: true,
            checkpointing,
            learning_rate_millionths: LEARNING_RATE_MILLIONTHS,
        })
    }

    fn decode(model: ModelRef, depth: u32) -> Workload {
        Workload::Inference(Inference { model, phase: InferencePhase::Decode { tokens: 128, depth }, batch: 1 })
    }

    #[test]
    fn the_cache_of_7b_takes_128_kib_a_position() {
        let estimate = memory(&decode(half(), 4096 - 128), Place::Cuda).unwrap();
        assert_eq!(estimate.cache, 4096 * (128 << 10));
        assert!(estimate.total < 17_000_000_000, "{estimate:?}");
        let parts = estimate.weights + estimate.cache + estimate.activations + estimate.training;
        assert_eq!(parts, estimate.total);
    }

    #[test]
    fn keys_and_values_are_narrow_beside_quantised_weights_on_the_processor() {
        let cache = |precision, place| memory(&decode(model(precision, 1000), 4096 - 128), place).unwrap().cache;
        let half = 4096 * (128 << 10);
        assert_eq!(cache(Precision::Q8_0, Place::processor()), half);
        assert_eq!(cache(Precision::Q8_0, Place::Metal), 2 * half);
        assert_eq!(cache(Precision::Q8_0, Place::Cuda), half);
        assert_eq!(cache(Precision::Bf16, Place::processor()), 2 * half);
    }

    #[test]
    fn k_blocks_are_packed_on_x86_once_they_are_used() {
        let small = model(Precision::Q4KM, 4_370_000_000);
        let total = |workload: &Workload, packs| memory(workload, Place::Processor { packs }).unwrap().weights;
        assert!(total(&decode(small.clone(), 0), true) > 9_500_000_000);
        assert_eq!(total(&decode(small.clone(), 0), false), 4_370_000_000);
        let load = Workload::ModelLoad(ModelLoad { model: small });
        assert_eq!(total(&load, true), 4_370_000_000);
    }

    #[test]
    fn checkpointing_keeps_the_blocks_inputs_alone() {
        let with = memory(&training(true), Place::Cuda).unwrap();
        let without = memory(&training(false), Place::Cuda).unwrap();
        let inputs = 32 * 512 * 4096 * 2;
        assert_eq!(with.training, inputs + 16 * 3_407_872);
        assert!(without.training > 5 * with.training);
        assert!(without.total < 24_000_000_000, "{without:?}");
    }

    #[test]
    fn widened_weights_count_as_they_are_held() {
        let bf16 = model(Precision::Bf16, 1000);
        assert_eq!(memory(&decode(bf16.clone(), 0), Place::processor()).unwrap().weights, 2000);
        assert_eq!(memory(&decode(bf16, 0), Place::Metal).unwrap().weights, 1000);
    }
}
