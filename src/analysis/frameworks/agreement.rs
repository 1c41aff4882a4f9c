//! Whether engines that run the same model say the same after the same prompt.

use super::work;
use crate::{
    engine::EngineId,
    measure::Fingerprint,
    record::{Entry, MarkKind, Run},
    units::relative_error,
    workload::{Precision, Workload},
};

/// One model in one precision, and who says what.
#[derive(Clone, Debug, PartialEq)]
pub struct Agreement {
    /// The model with its precision.
    pub model: String,
    /// The engine that the others are held against: the one that most agree with, candle among equals.
    pub reference: EngineId,
    /// The others.
    pub parties: Vec<Party>,
}

/// One engine beside the reference.
#[derive(Clone, Debug, PartialEq)]
pub struct Party {
    /// The engine.
    pub engine: EngineId,
    /// The device it was seen on.
    pub device: String,
    /// How many greedy tokens are the same before the first that isn't.
    pub tokens: usize,
    /// Of how many.
    pub of: usize,
    /// How far the logits are apart, where both tell them.
    pub distance: Option<f64>,
    /// Why they don't agree.
    pub objection: Option<String>,
}

impl Agreement {
    /// "mistral-100m f32: PyTorch says what candle says: 12 of 12 tokens, logits within 2.7e-6", one for each party.
    pub fn sentences(&self) -> Vec<String> {
        let reference = self.reference.title();
        let sentence = |party: &Party| {
            let title = party.engine.title();
            let tokens = format!("{} of {} tokens", party.tokens, party.of);
            let logits = |word: &str| match party.distance {
                Some(distance) => format!(", logits {word} {}", relative_error(distance)),
                None => String::new(),
            };
            match &party.objection {
                None => format!("{}: {title} agrees with {reference}: {tokens}{}", self.model, logits("within")),
                Some(_) => format!(
                    "{}: {title} disagrees with {reference}: {tokens}{}; its figures are shown, not compared",
                    self.model,
                    logits("apart by")
                ),
            }
        };
        self.parties.iter().map(sentence).collect()
    }
}

/// How far the logits of two right implementations lie apart: sums in another order, rounded to the activations' type between
/// steps, through tens of blocks. Quantised products also round activations, each engine in its own way; what has nothing to
/// do with each other lies √2 apart.
const fn tolerance(precision: &Precision) -> f64 {
    match precision {
        Precision::F32 => 1e-3,
        Precision::F16 => 0.03,
        Precision::Bf16 => 0.15,
        _ => 0.5,
    }
}

/// Why two engines that ran the same model in `precision` don't say the same; `None` if they do.
///
/// Logits decide where both tell them: between logits that are nearly equal, rounding alone picks another token. Without
/// them, tokens do: all of them in f32, the first in what is rounded more.
pub fn disagreement(ours: &Fingerprint, theirs: &Fingerprint, precision: &Precision) -> Option<String> {
    let (same, all) = (theirs.agreeing_tokens(ours), theirs.tokens.len().min(ours.tokens.len()));
    match theirs.distance(ours) {
        Some(distance) if distance <= tolerance(precision) => None,
        Some(distance) => Some(format!(
            "the logits are {} apart where {} allows {}",
            relative_error(distance),
            precision,
            relative_error(tolerance(precision))
        )),
        None if all == 0 => None,
        None => {
            let wanted = if *precision == Precision::F32 { all } else { 1 };
            (same < wanted).then(|| format!("{same} of {all} greedy tokens are the same"))
        }
    }
}

/// Who agrees with whom, for each model and precision that at least two engines told of.
pub fn agreement(run: &Run) -> Vec<Agreement> {
    let mut groups: Vec<(Workload, Vec<&Entry>)> = Vec::new();
    for entry in run.entries.iter().filter(|entry| entry.fingerprint.is_some()) {
        let key = work(&entry.workload);
        match groups.iter_mut().find(|(known, _)| *known == key) {
            Some((_, list))
                if list.iter().any(|other| other.engine == entry.engine && other.device == entry.device) => {}
            Some((_, list)) => list.push(entry),
            None => groups.push((key, vec![entry])),
        }
    }
    groups.retain(|(_, list)| list.len() > 1);
    let mut found: Vec<Agreement> = Vec::new();
    // The same model was asked with several prompts: the one that most engines answered speaks for it.
    groups.sort_by_key(|(_, list)| std::cmp::Reverse(list.len()));
    for (workload, list) in &groups {
        let Some(model) = workload.model() else { continue };
        if !found.iter().any(|known| known.model == model.label()) {
            found.extend(of_group(model.label(), &model.precision, list));
        }
    }
    found
}

fn of_group(model: String, precision: &Precision, list: &[&Entry]) -> Option<Agreement> {
    let against = |a: &Entry, b: &Entry| disagreement(a.fingerprint.as_ref()?, b.fingerprint.as_ref()?, precision);
    let friends = |entry: &Entry| list.iter().filter(|other| against(entry, other).is_none()).count();
    let reference = list
        .iter()
        .max_by_key(|entry| (friends(entry), entry.engine == EngineId::Candle, std::cmp::Reverse(entry.engine)))?;
    let ours = reference.fingerprint.as_ref()?;
    let party = |entry: &&Entry| {
        let theirs = entry.fingerprint.as_ref()?;
        Some(Party {
            engine: entry.engine,
            device: entry.device.clone(),
            tokens: theirs.agreeing_tokens(ours),
            of: theirs.tokens.len().min(ours.tokens.len()),
            distance: theirs.distance(ours),
            objection: against(reference, entry),
        })
    };
    let mut parties: Vec<Party> =
        list.iter().filter(|entry| !std::ptr::eq(**entry, *reference)).filter_map(party).collect();
    parties.sort_by_key(|party| party.engine);
    Some(Agreement { model, reference: reference.engine, parties })
}

/// Why the figures of an entry's engine with this model are not compared: it runs another model than the others.
pub(super) fn objection(agreement: &[Agreement], entry: &Entry) -> Option<String> {
    let label = entry.workload.model()?.label();
    let of_model = agreement.iter().find(|agreement| agreement.model == label)?;
    let of_entry = |party: &&Party| party.engine == entry.engine && party.device == entry.device;
    let reason = of_model.parties.iter().find(of_entry)?.objection.as_ref()?;
    Some(format!("{}: {reason}, against {}", MarkKind::Disagrees.word(), of_model.reference.title()))
}
