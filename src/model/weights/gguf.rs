//! Weights in a GGUF file, as llama.cpp writes it.

use std::path::Path;

use candle_core::quantized::GgmlDType;

use super::{
    finite,
    source::{Check, Source, commonest, room},
    tensors::{TensorId, bytes, dense},
};
use crate::{
    model::{
        ModelConfig, ModelError,
        gguf::{Gguf, number_of, type_name},
    },
    workload::{ModelShape, Precision},
};

/// The tensors of a GGUF file.
pub(crate) struct GgufSource {
    file: Gguf,
    config: ModelConfig,
}

impl GgufSource {
    /// Reads the header, and makes sure that the model is one of this kind and that all its tensors are there.
    pub(crate) fn open(path: &Path) -> Result<Self, ModelError> {
        let file = Gguf::open(path)?;
        let config = config(&file)?;
        for tensor in TensorId::all(&config.shape) {
            check_tensor(&file, tensor, &config)?;
        }
        Ok(Self { file, config })
    }

    /// How the weights are stored: the mix that the file names, else the type of most of them.
    pub(crate) fn precision(&self) -> Result<Precision, ModelError> {
        let commonest = commonest(self)?;
        let plain = Precision::from(number_of(commonest).map_or_else(String::new, type_name));
        let named =
            self.file.integer("general.file_type").and_then(mix_name).map(|name| Precision::from(name.to_owned()));
        // A name that contradicts the tensors is not believed.
        let agrees = |named: &Precision| match named.dense_bytes() {
            Some(_) => *named == plain,
            None => dense(commonest).is_none(),
        };
        Ok(named.filter(agrees).unwrap_or(plain))
    }

    /// Bytes of a tensor as stored.
    pub(crate) fn stored_bytes(&self, tensor: TensorId) -> Result<u64, ModelError> {
        Ok(self.file.data(&tensor.gguf())?.len() as u64)
    }
}

impl Source for GgufSource {
    fn files(&self) -> Vec<&Path> {
        vec![self.file.path()]
    }

    fn config(&self) -> &ModelConfig {
        &self.config
    }

    fn kind(&self, tensor: TensorId) -> Result<GgmlDType, ModelError> {
        self.file.kind(&tensor.gguf())
    }

    fn read<'a>(
        &'a self,
        tensor: TensorId,
        scratch: &'a mut Vec<u8>,
        check: &mut Check<'_>,
    ) -> Result<&'a [u8], ModelError> {
        let name = tensor.gguf();
        let (kind, raw) = (self.file.kind(&name)?, self.file.data(&name)?);
        self.file.fetch(raw);
        if !finite::all(kind, raw, check)? {
            return Err(self
                .file
                .error(format!("the tensor {name} holds NaN or infinite weights; the file is damaged")));
        }
        let (rows, columns) = tensor.dims(&self.config.shape);
        let Some(heads) = tensor.rotary_heads(&self.config.shape) else { return Ok(raw) };
        let ordered = room(scratch, raw.len());
        halves_from_pairs(raw, ordered, bytes(kind, columns), rows / heads);
        Ok(ordered)
    }
}

/// Rows of heads of `head` rows each, put from the order of neighbouring rotary pairs into that of two halves.
pub(crate) fn halves_from_pairs(raw: &[u8], out: &mut [u8], row_bytes: usize, head: usize) {
    let half = head / 2;
    reorder(raw, out, [row_bytes, head], |row| if row < half { 2 * row } else { 2 * (row - half) + 1 });
}

/// The other way, as GGUF files have it.
pub(crate) fn pairs_from_halves(raw: &[u8], out: &mut [u8], row_bytes: usize, head: usize) {
    let half = head / 2;
    reorder(raw, out, [row_bytes, head], |row| if row.is_multiple_of(2) { row / 2 } else { half + row / 2 });
}

/// Each head's row `i` is its row `from(i)` before.
fn reorder(raw: &[u8], out: &mut [u8], [row_bytes, head]: [usize; 2], from: impl Fn(usize) -> usize) {
    for (rows, out) in raw.chunks(head * row_bytes).zip(out.chunks_mut(head * row_bytes)) {
        for (row, out) in out.chunks_exact_mut(row_bytes).enumerate() {
            let start = from(row) * row_bytes;
            if let Some(values) = rows.get(start..start + row_bytes) {
                out.copy_from_slice(values);
            }
        }
    }
}

/// What the metadata says that the model is.
fn config(file: &Gguf) -> Result<ModelConfig, ModelError> {
    let architecture = file.text("general.architecture").unwrap_or("nothing").to_owned();
    if !["llama", "mistral"].contains(&architecture.as_str()) {
        return Err(file.error(format!(
            "the file's architecture is \"{architecture}\"; only llama's and mistral's can be run here"
        )));
    }
    let key = |name: &str| format!("{architecture}.{name}");
    refuse_variants(file, &key)?;
    let required = |name: &str| {
        let found = file.integer(&key(name)).and_then(|value| u32::try_from(value).ok());
        found.ok_or_else(|| file.error(format!("the metadata has no number {}", key(name))))
    };
    let (hidden, heads) = (required("embedding_length")?, required("attention.head_count")?);
    let optional = |name: &str| file.integer(&key(name)).map(|value| u32::try_from(value).unwrap_or(u32::MAX));
    let head_dim = optional("attention.key_length").or_else(|| hidden.checked_div(heads)).unwrap_or(0);
    let table = file.tensor(&TensorId::Embedding.gguf())?;
    let vocabulary = table.dims.get(1).and_then(|rows| u32::try_from(*rows).ok()).unwrap_or(0);
    let shape = ModelShape {
        vocabulary,
        hidden,
        intermediate: required("feed_forward_length")?,
        layers: required("block_count")?,
        heads,
        kv_heads: optional("attention.head_count_kv").unwrap_or(heads),
        head_dim,
        tied_head: file.tensor(&TensorId::Head.gguf()).is_err(),
    };
    for name in ["rope.dimension_count", "attention.value_length"] {
        if optional(name).is_some_and(|value| value != head_dim) {
            return Err(file.error(format!("{} differs from the size of a head, {head_dim}", key(name))));
        }
    }
    let config = ModelConfig {
        shape,
        rope_theta: file.number(&key("rope.freq_base")).unwrap_or(10_000.0),
        norm_eps: file.number(&key("attention.layer_norm_rms_epsilon")).unwrap_or(1e-5),
        window: optional("attention.sliding_window").filter(|window| *window > 0).map(|window| window as usize),
        max_positions: optional("context_length").unwrap_or(32_768) as usize,
    };
    config.checked().map_err(|what| file.error(format!("the metadata can't be a model's: {what}")))
}

/// Names what the forward pass doesn't do.
fn refuse_variants(file: &Gguf, key: &impl Fn(&str) -> String) -> Result<(), ModelError> {
    if file.integer("split.count").is_some_and(|count| count > 1) {
        return Err(file.error("the model is split over several files; join them with llama-gguf-split --merge"));
    }
    if file.integer(&key("expert_count")).is_some_and(|count| count > 0) {
        return Err(file.error("the model is a mixture of experts, which can't be run here"));
    }
    let scaling = file.text(&key("rope.scaling.type")).unwrap_or("none");
    let factor = file.number(&key("rope.scaling.factor")).or_else(|| file.number(&key("rope.scale_linear")));
    if scaling != "none" && factor.is_none_or(|factor| factor != 1.0) {
        return Err(file.error(format!("its rotary positions are scaled ({scaling}), which can't be run here")));
    }
    let strange = ["rope_freqs.weight", "blk.0.attn_q.bias", "blk.0.attn_q_norm.weight", "blk.0.ffn_up.bias"];
    match strange.into_iter().find(|name| file.tensor(name).is_ok()) {
        Some(name) => Err(file.error(format!("it has a tensor {name}, which models of this kind don't use here"))),
        None => Ok(()),
    }
}

/// Makes sure of a tensor's type, shape and place.
fn check_tensor(file: &Gguf, tensor: TensorId, config: &ModelConfig) -> Result<(), ModelError> {
    let name = tensor.gguf();
    let (rows, columns) = tensor.dims(&config.shape);
    let wanted = if tensor.is_norm() { vec![columns as u64] } else { vec![columns as u64, rows as u64] };
    let found = &file.tensor(&name)?.dims;
    let trimmed: Vec<u64> = found.iter().copied().take(wanted.len()).collect();
    if trimmed != wanted || found.iter().skip(wanted.len()).any(|dim| *dim != 1) {
        return Err(file.error(format!("the tensor {name} has the shape {found:?}, and the model's is {wanted:?}")));
    }
    let kind = file.kind(&name)?;
    if !columns.is_multiple_of(kind.block_size()) {
        return Err(file.error(format!("the rows of the tensor {name} are no whole number of {kind:?} blocks")));
    }
    if tensor.is_norm() && dense(kind).is_none() {
        return Err(file.error(format!("the tensor {name} is quantised ({kind:?}), and norms never are")));
    }
    file.data(&name).map(|_| ())
}

/// The name of a mix by llama.cpp's number.
fn mix_name(number: u64) -> Option<&'static str> {
    Some(match number {
        0 => "F32",
        1 => "F16",
        2 => "Q4_0",
        3 => "Q4_1",
        7 => "Q8_0",
        8 => "Q5_0",
        9 => "Q5_1",
        10 => "Q2_K",
        11 => "Q3_K_S",
        12 => "Q3_K_M",
        13 => "Q3_K_L",
        14 => "Q4_K_S",
        15 => "Q4_K_M",
        16 => "Q5_K_S",
        17 => "Q5_K_M",
        18 => "Q6_K",
        21 => "Q2_K_S",
        32 => "BF16",
        _ => return None,
    })
}

/// The number of a mix that can be asked for. No file holds MLX's.
pub(crate) const fn mix_number(precision: &Precision) -> u32 {
    match precision {
        Precision::F32 | Precision::Mlx4 | Precision::Stored(_) => 0,
        Precision::F16 => 1,
        Precision::Bf16 => 32,
        Precision::Q8_0 => 7,
        Precision::Q4_0 => 2,
        Precision::Q4KM => 15,
    }
}
