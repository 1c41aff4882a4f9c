//! The figures beside the headline, in words.

use crate::{
    measure::Measurement,
    model::train::curve::Learning,
    record::Entry,
    units::{Quantity, Unit},
};

/// The figures of a model's entry beside its headline, as name and value: time to the first token, percentiles, memory, loss.
/// Those with names of their own come first, what else was measured after them.
pub fn side_figures(entry: &Entry) -> Vec<(String, String)> {
    if entry.headline().is_none() || !entry.workload.kind().is_model() {
        return Vec::new();
    }
    let rest: Vec<&Measurement> = entry.measurements.iter().skip(1).collect();
    let found = |metric: &str| rest.iter().find(|measurement| measurement.metric == metric).map(|m| quantity(m));
    let mut list = Vec::new();
    let mut add = |name: &str, value: Option<String>| list.extend(value.map(|value| (name.to_owned(), value)));
    add("Time to first token", found("ttft"));
    add("Streaming", found("streaming"));
    add("Between tokens", percentiles(&rest));
    add("Peak memory", memory(&rest));
    add("Loss", loss(entry));
    let named = ["ttft", "streaming", "inter-token-p50", "inter-token-p95", "inter-token-p99", "peak-memory"];
    let others = rest.iter().filter(|measurement| {
        let metric = measurement.metric.as_str();
        !named.contains(&metric) && metric != "predicted-memory" && measurement.unit != Unit::Nat
    });
    list.extend(others.map(|measurement| (words(&measurement.metric), quantity(measurement))));
    list
}

fn quantity(measurement: &Measurement) -> String {
    Quantity::new(measurement.summary.median, measurement.unit).to_string()
}

/// "8.1 ms, 95 % within 8.3 ms, 99 % within 9.0 ms".
fn percentiles(rest: &[&Measurement]) -> Option<String> {
    let at = |metric: &str| rest.iter().find(|measurement| measurement.metric == metric).map(|m| quantity(m));
    let (half, most, nearly) = (at("inter-token-p50")?, at("inter-token-p95"), at("inter-token-p99"));
    let within = |share: &str, value: Option<String>| value.map(|value| format!(", {share} % within {value}"));
    Some(format!("{half}{}{}", within("95", most).unwrap_or_default(), within("99", nearly).unwrap_or_default()))
}

/// "15.1 GB, 15.4 GB predicted".
fn memory(rest: &[&Measurement]) -> Option<String> {
    let of = |metric: &str| rest.iter().find(|measurement| measurement.metric == metric).map(|m| quantity(m));
    match (of("peak-memory"), of("predicted-memory")) {
        (Some(peak), Some(predicted)) => Some(format!("{peak}, {predicted} predicted")),
        (Some(peak), None) => Some(peak),
        (None, Some(predicted)) => Some(format!("{predicted} predicted")),
        (None, None) => None,
    }
}

/// "3.12 to 0.41 nats in 60 steps": to where the entry's own note says, the median of the last quarter. Of too few steps, or losses
/// that are none, to the last.
fn loss(entry: &Entry) -> Option<String> {
    let curve = entry.measurements.iter().find(|measurement| measurement.unit == Unit::Nat)?;
    let losses: Vec<f64> = curve.samples.iter().map(|sample| sample.value).collect();
    let (first, last) = (*losses.first()?, *losses.last()?);
    let (from, to) = match Learning::of(&losses) {
        Learning::Fell { from, to } | Learning::DidNotFall { from, to } => (from, to),
        Learning::NotFinite { .. } | Learning::TooFew { .. } => (first, last),
    };
    let to = Quantity::new(to, Unit::Nat);
    Some(format!("{} to {to} in {} steps", crate::units::number(from), losses.len()))
}

/// "cold-load" as "Cold load".
fn words(metric: &str) -> String {
    let text = metric.replace('-', " ");
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        engine::EngineId,
        measure::Sample,
        record::Outcome,
        workload::{
            Inference, InferencePhase, Location, ModelRef, ModelShape, Origin, Precision, TensorLimit, Workload,
        },
    };

    #[test]
    fn percentiles_memory_and_unknown_metrics_are_told() {
        let model = ModelRef {
            name: "m".into(),
            origin: Origin::Synthetic,
            precision: Precision::F16,
            shape: ModelShape::MISTRAL_7B,
            weight_bytes: 1,
            token_bytes: 1,
            location: Location::default(),
        };
        let phase = InferencePhase::Decode { tokens: 8, depth: 0 };
        let workload = Workload::Inference(Inference { model, phase, batch: 1 });
        let mut entry = Entry::pending(workload, EngineId::Candle, "cpu");
        let single = |metric, unit, value| Measurement::single(metric, unit, value, 0.0).unwrap();
        entry.measurements = vec![
            single("throughput", Unit::TokenPerSecond, 100.0),
            single("inter-token-p50", Unit::Second, 0.01),
            single("inter-token-p99", Unit::Second, 0.02),
            single("peak-memory", Unit::Byte, 2e9),
            single("predicted-memory", Unit::Byte, 3e9),
            single("cold-load", Unit::Second, 4.0),
            single("loss", Unit::Nat, 2.5),
        ];
        assert!(side_figures(&entry).is_empty(), "nothing is told of what is not done");
        entry.outcome = Outcome::Done;
        let list = side_figures(&entry);
        let of = |name: &str| list.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str());
        assert_eq!(of("Between tokens"), Some("10.00 ms, 99 % within 20.00 ms"));
        assert_eq!(of("Peak memory"), Some("2.000 GB, 3.000 GB predicted"));
        assert_eq!(of("Cold load"), Some("4.000 s"));
        assert_eq!(of("Loss"), Some("2.500 to 2.500 nats in 1 steps"));
        assert_eq!(list.len(), 4);
    }

    #[test]
    fn the_loss_ends_where_the_note_of_the_entry_says() {
        let losses: Vec<f64> = (0..8).map(|step| 11.29 - f64::from(step)).chain([0.87, 0.9, 0.86, 0.545]).collect();
        let sentence = Learning::of(&losses).sentence(losses.len());
        let mut curve = Measurement::single("loss", Unit::Nat, 0.545, 1.0).unwrap();
        let sample =
            |value: &f64| Sample { value: *value, iterations: 1, host_s: 0.1, device_s: None, disturbed: false };
        curve.samples = losses.iter().map(sample).collect();
        let mut entry = Entry::pending(Workload::TensorLimit(TensorLimit::default()), EngineId::Candle, "cpu");
        (entry.outcome, entry.measurements) = (Outcome::Done, vec![curve]);
        assert_eq!(loss(&entry).unwrap(), "11.29 to 0.860 nats in 12 steps");
        assert!(sentence.contains("from 11.29 to 0.86 nats"), "{sentence}");
    }
}
