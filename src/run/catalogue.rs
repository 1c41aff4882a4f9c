//! The models that can be run: presets and what lies on this machine, each with what it needs and whether that is there.

use std::path::{Path, PathBuf};

use super::models::Host;
use crate::{
    engine::EngineId,
    machine::{self, Device, DeviceKind},
    model::{estimate, source},
    run::FoundDevice,
    units::{Quantity, Unit},
    workload::{Inference, InferencePhase, ModelRef, Origin, Precision, Workload},
};

/// A model by its name, in the precisions that it can be run in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedModel {
    /// What `--model` is given for it.
    pub asked: String,
    /// Where its files lie; absent for presets.
    pub path: Option<PathBuf>,
    /// In each precision, the largest first; or why the files can't be used.
    pub forms: Result<Vec<ModelForm>, String>,
}

/// A model in one precision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelForm {
    /// The model.
    pub model: ModelRef,
    /// Bytes of memory for a short answer: weights, cache, activations.
    pub needs_bytes: u64,
    /// Why it doesn't fit, with the numbers; absent where it does.
    pub reason: Option<String>,
}

/// Presets are shown in these.
const SHOWN: [Precision; 3] = [Precision::F16, Precision::Q8_0, Precision::Q4KM];

/// The models for the best device that runs any: presets, those in Hugging Face's cache, and those in `folders`. It reads
/// the headers of files.
pub fn catalogue(found: &[FoundDevice], hub: Option<&Path>, folders: &[PathBuf]) -> Vec<ListedModel> {
    let device = found.iter().find(|found| found.engine == EngineId::Candle).map(|found| &found.device);
    let available = machine::available_memory_bytes();
    let form = |model: ModelRef| form(model, device, available);
    let listed = |found: source::Found| {
        let forms = found.model.and_then(|model| match model.origin {
            Origin::Files => Ok(vec![form(model)]),
            Origin::Synthetic => SHOWN
                .iter()
                .map(|precision| source::resolve(&found.asked, Some(precision), None).map(form))
                .collect::<Result<_, _>>()
                .map_err(|error| error.to_string()),
        });
        ListedModel { asked: found.asked, path: found.path, forms }
    };
    source::list(hub, folders).into_iter().map(listed).collect()
}

fn form(model: ModelRef, device: Option<&Device>, available: u64) -> ModelForm {
    let phase = InferencePhase::Decode { tokens: 128, depth: 0 };
    let workload = Workload::Inference(Inference { model: model.clone(), phase, batch: 1 });
    let place = device.map_or_else(estimate::Place::processor, |device| Host::of(device).place());
    let needs_bytes = estimate::memory(&workload, place).map_or(0, |needed| needed.total);
    let reason = device.and_then(|device| lack(needs_bytes, device, available));
    ModelForm { model, needs_bytes, reason }
}

/// Why so many bytes can't be had on a device. What shares the machine's memory has no more than is free now.
fn lack(needs: u64, device: &Device, available: u64) -> Option<String> {
    let shown = |bytes: u64| Quantity::new(bytes as f64, Unit::Byte).to_string();
    let needed = needs + needs / 20;
    let whole = device.limits.max_buffer_bytes;
    let shares = matches!(device.kind, DeviceKind::Cpu | DeviceKind::IntegratedGpu) && available > 0;
    match () {
        () if needed > whole => Some(format!("needs {} + 5 %, of {} on {}", shown(needs), shown(whole), device.name)),
        () if shares && needed > available => {
            Some(format!("needs {} + 5 %, of {} free now; close other programs", shown(needs), shown(available)))
        }
        () => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{engine::Abilities, machine::DeviceLimits};

    #[test]
    fn presets_are_listed_with_what_they_need_and_why_they_do_not_fit() {
        let device = Device {
            id: "cuda:0".into(),
            name: "a small card".into(),
            kind: DeviceKind::DiscreteGpu,
            backend: "CUDA".into(),
            driver: String::new(),
            driver_info: String::new(),
            pci: None,
            software: false,
            limits: DeviceLimits { max_buffer_bytes: 8_000_000_000, ..DeviceLimits::default() },
            features: Vec::new(),
        };
        let found = [FoundDevice { engine: EngineId::Candle, abilities: Abilities::default(), device }];
        let list = catalogue(&found, None, &[]);
        let seven = list.iter().find(|model| model.asked == "mistral-7b").unwrap();
        let forms = seven.forms.as_ref().unwrap();
        let fits: Vec<bool> = forms.iter().map(|form| form.reason.is_none()).collect();
        assert_eq!(fits, [false, false, true], "{forms:?}");
        assert!(forms[0].reason.as_ref().unwrap().contains("of 8.000 GB on a small card"), "{forms:?}");
        assert_eq!(list.len(), 3);
    }
}
