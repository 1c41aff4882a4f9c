//! The sentences.

use super::{Explainer, Explanation, figure, is_published};
use crate::{
    analysis::{Bound, CeilingKind, Share, judge},
    record::{Entry, MarkKind, Outcome, Run},
    units::{Quantity, Unit, number},
    workload::{InferencePhase, Workload},
};

/// Why not to rely on a figure.
pub(super) fn caution(run: &Run, entry: &Entry) -> String {
    if entry.headline().is_none() {
        return String::new();
    }
    let marks = judge::marks(run, entry);
    let mut parts: Vec<String> = marks.iter().map(|mark| sentence(&opening(mark.kind), &mark.reason)).collect();
    if is_published(entry) {
        parts.push("Published without samples: its spread, checks and conditions are not known.".to_owned());
    }
    if run.devices.iter().any(|device| device.id == entry.device && device.software) {
        parts.push("Its device is emulated on the processor: it says nothing of a GPU.".to_owned());
    }
    parts.join(" ")
}

fn opening(kind: MarkKind) -> String {
    match kind {
        MarkKind::Implausible => "Not to be believed",
        MarkKind::Throttled => "Slowed down while it was measured",
        MarkKind::Uncertain => "Uncertain",
        MarkKind::Functional => "It shows that the engine works, not how fast",
        MarkKind::Disagrees => "The engine ran another model than the others",
        MarkKind::Unproven => "Not compared with others",
    }
    .to_owned()
}

fn sentence(opening: &str, reason: &str) -> String {
    format!("{opening}: {}.", one_line(reason).trim_end_matches('.'))
}

/// A text from a file, without what would break a line.
fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// One or two sentences about an entry.
pub(super) fn sentences(explainer: &Explainer<'_>, entry: &Entry, known: &Explanation) -> String {
    if entry.outcome != Outcome::Done {
        return absent(&entry.outcome);
    }
    let Some(value) = figure(entry) else {
        return "It ended without a figure that can be true, so nothing is concluded from it.".to_owned();
    };
    if judge::is_impossible(explainer.run, entry) {
        return "The figure is more than this device can do, so nothing is concluded from it.".to_owned();
    }
    match &entry.workload {
        Workload::TensorLimit(_) => format!(
            "One tensor of {} could be made and used here; several together may take more.",
            Quantity::new(value, Unit::Byte)
        ),
        Workload::ModelLoad(_) => load(entry, value),
        _ => {
            let why = why(explainer, entry, known);
            let reached = reached(known);
            format!("{why} {reached}").trim().to_owned()
        }
    }
}

fn absent(outcome: &Outcome) -> String {
    let reason = outcome.reason().map(one_line).filter(|reason| !reason.is_empty());
    match (outcome, reason) {
        (Outcome::Pending, _) => "It has no figure: its turn has not come.".to_owned(),
        (Outcome::Cancelled, _) => "It has no figure: it was cancelled.".to_owned(),
        (outcome, None) => format!("It has no figure: {}.", outcome.word().to_lowercase()),
        (outcome, Some(reason)) => {
            format!("It has no figure: {}, {}.", outcome.word().to_lowercase(), reason.trim_end_matches('.'))
        }
    }
}

fn load(entry: &Entry, value: f64) -> String {
    let time = entry.measurements.iter().find(|figure| figure.metric == "load-time");
    let time = time.map(Quantity::from).filter(|time| time.value.is_finite() && time.value > 0.0);
    let time = time.map_or_else(String::new, |time| format!(" in {time}"));
    let rate = entry.headline().map(|figure| Quantity::new(value, figure.unit).to_string()).unwrap_or_default();
    format!(
        "The weights came onto the device{time}, {rate}: files, their conversion and the way to the device bound that, \
         not the device's arithmetic."
    )
}

/// What bounds it, and how that is seen.
fn why(explainer: &Explainer<'_>, entry: &Entry, known: &Explanation) -> String {
    match (&entry.workload, known.bound) {
        (Workload::Bandwidth(_), _) => "It moves arrays and computes next to nothing: memory bounds it.".to_owned(),
        (Workload::BandwidthSweep(_), _) => {
            "It reads arrays of growing size: the small ones come from caches, the largest from memory.".to_owned()
        }
        (Workload::Inference(inference), Some(Bound::Memory))
            if matches!(inference.phase, InferencePhase::Decode { .. }) =>
        {
            let each = Quantity::new(inference.bytes() / inference.tokens() as f64, Unit::Byte);
            format!("Writing a token reads {each} of weights, keys and values: memory bounds it.")
        }
        (Workload::Inference(_) | Workload::Training(_), Some(Bound::Compute)) => {
            let cost = crate::analysis::ceilings::flops_a_token(&entry.workload).unwrap_or_default();
            format!(
                "The weights are read once for many tokens, and each token costs {} GFLOP: arithmetic bounds it.",
                number(cost / 1e9)
            )
        }
        (_, Some(bound)) => by_intensity(explainer, entry, known, bound),
        (_, None) => String::new(),
    }
}

fn by_intensity(explainer: &Explainer<'_>, entry: &Entry, known: &Explanation, bound: Bound) -> String {
    let Some(intensity) = known.intensity else { return format!("{} bounds it.", capital(bound.word())) };
    let side = |ridge: f64| match bound {
        Bound::Compute if intensity >= ridge => Some("more than"),
        Bound::Memory if intensity <= ridge => Some("fewer than"),
        _ => None,
    };
    let ridge = explainer.ridge(entry).and_then(|ridge| Some((ridge, side(ridge)?)));
    let beside = ridge.map_or_else(String::new, |(ridge, side)| {
        format!(", {side} the {} from which on arithmetic is the limit here", number(ridge))
    });
    format!("It does {} FLOP for each byte{beside}: {} bounds it.", number(intensity), bound.word())
}

/// How near it comes.
fn reached(known: &Explanation) -> String {
    match (known.share, known.limit) {
        (Some(share), _) if share.fraction > Share::ROOM => format!(
            "It reaches {}: the limit is too low for it, because caches helped or this run has no better figure to hold it \
             against.",
            share.explanation()
        ),
        (Some(share), _) if share.kind == CeilingKind::Measured && share.fraction > 0.999 => {
            "It is the best of its kind in this run, and no data sheet says what would be possible.".to_owned()
        }
        (Some(share), _) => format!("It reaches {}.", share.explanation()),
        (None, Some(limit)) => format!("The limit is {}.", limit.text()),
        (None, None) => "What would be possible is not known: this run has no ceiling for it.".to_owned(),
    }
}

/// A share in a few words for a table: "near its limit", "half of what is possible"; nothing where it says nothing.
pub fn verdict(share: &Share) -> &'static str {
    match share.fraction {
        fraction if !fraction.is_finite() || fraction <= 0.0 => "",
        fraction if fraction > Share::ROOM => "above its limit: the limit is too low",
        fraction if fraction >= 0.8 => "near its limit",
        fraction if fraction >= 0.5 => "more than half of its limit",
        fraction if fraction >= 0.2 => "well below its limit",
        _ => "far below its limit",
    }
}

fn capital(word: &str) -> String {
    let mut letters = word.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}
