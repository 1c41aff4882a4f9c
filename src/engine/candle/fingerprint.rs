//! What a model says after a fixed prompt, by which engines that run the same model are known.

use candle_core::{D, DType, Device, Tensor};

use super::{aside, compute, stop};
use crate::{
    measure::{Context, Fingerprint, Stop},
    model::{Cache, Check, Model, ModelError, weights},
    workload::ModelRef,
};

/// What a model says, computed on the processor in f32: the logits after `prompt` at the ids `logits_at`, and the `tokens`
/// greedy tokens that follow. Other engines are compared with this.
pub fn reference(
    model: &ModelRef,
    prompt: &[u32],
    logits_at: &[u32],
    tokens: u32,
    check: &mut Check<'_>,
) -> Result<(Vec<f64>, Vec<u32>), Stop> {
    said(model, prompt, (logits_at, tokens), check).map_err(stop)
}

fn said(
    model: &ModelRef,
    prompt: &[u32],
    wanted: (&[u32], u32),
    check: &mut Check<'_>,
) -> Result<(Vec<f64>, Vec<u32>), ModelError> {
    let model = Model::new(weights::have_in_f32(model, &Device::Cpu, &mut |_| check())?)?;
    let vocabulary = model.weights.config.shape.vocabulary;
    if let Some(id) = prompt.iter().find(|id| **id >= vocabulary) {
        return Err(ModelError::Asked(format!("the prompt's token {id} is not one of the model's {vocabulary}")));
    }
    let (_, tokens) = wanted;
    let mut cache = model.cache(1, prompt.len() + tokens as usize)?;
    let ids = Tensor::from_slice(prompt, (1, prompt.len()), &Device::Cpu)?;
    let logits = model.last_logits(&ids, &mut cache, check)?;
    follow(&model, logits, &mut cache, wanted, check)
}

/// The fingerprint of a model whose cache begins with `prompt` (batch × count): that of the first sequence. It goes into no
/// figure, and leaves the cache with the prompt and the tokens after it.
pub(super) fn after(model: &Model, prompt: &Tensor, cache: &mut Cache, context: &Context) -> Result<Fingerprint, Stop> {
    let (_, count) = prompt.dims2().map_err(compute)?;
    let ids = model.weights.config.shape.probed_ids(Fingerprint::LOGITS);
    let (logits, tokens) = aside(context, |point| {
        let before = count.saturating_sub(1);
        cache.rewind(before);
        let last = prompt.narrow(1, before, 1)?.contiguous()?;
        let logits = model.last_logits(&last, cache, point)?;
        follow(model, logits, cache, (&ids, Fingerprint::TOKENS), point)
    })?;
    Ok(Fingerprint { logits: ids.into_iter().zip(logits).collect(), tokens })
}

/// Logits (batch × vocabulary) of the first sequence at some ids, and its greedy tokens, as many as the cache has room for.
fn follow(
    model: &Model,
    mut logits: Tensor,
    cache: &mut Cache,
    (ids, tokens): (&[u32], u32),
    check: &mut Check<'_>,
) -> Result<(Vec<f64>, Vec<u32>), ModelError> {
    let first: Vec<f32> = logits.narrow(0, 0, 1)?.flatten_all()?.to_dtype(DType::F32)?.to_vec1()?;
    let at = |id: &u32| first.get(*id as usize).map(|logit| f64::from(*logit));
    let picked: Option<Vec<f64>> = ids.iter().map(at).collect();
    let picked = picked.ok_or_else(|| ModelError::Asked("a logit beyond the vocabulary is asked for".to_owned()))?;
    let mut written = Vec::new();
    while written.len() < tokens as usize {
        let next = logits.argmax(D::Minus1)?;
        written.extend(next.to_vec1::<u32>()?.first());
        if written.len() == tokens as usize || cache.len() >= cache.capacity() {
            break;
        }
        logits = model.last_logits(&next.unsqueeze(1)?, cache, check)?;
    }
    Ok((picked, written))
}
