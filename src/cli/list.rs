//! `roofline list`: what there is to run, and why something is not.

use std::{fmt::Write as _, path::PathBuf};

use serde::Serialize;

use super::{
    default_hub,
    output::{self, Error, Exit},
};
use crate::{
    engine::{self, EngineId},
    machine::Device,
    run::{FoundDevice, ListedModel, ModelForm, Plan, Request, SuiteName, catalogue},
    units::{Quantity, Unit, binary_size, duration, number},
    workload::{Workload, WorkloadKind},
};

#[derive(Serialize)]
struct Listing {
    suites: Vec<ListedSuite>,
    workloads: Vec<ListedWorkload>,
    engines: Vec<ListedEngine>,
    devices: Vec<Device>,
    models: Vec<ListedForm>,
    /// What a device can't run, and why.
    unavailable: Vec<Unavailable>,
}

#[derive(Serialize)]
struct Unavailable {
    device: String,
    workload: String,
    reason: String,
}

/// A model in one precision, or files that are none.
#[derive(Serialize)]
struct ListedForm {
    /// What `--model` is given.
    model: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    precision: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    parameters: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    weight_bytes: Option<u64>,
    /// Memory for a short answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    needs_bytes: Option<u64>,
    /// Why it can't be run here.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

#[derive(Serialize)]
struct ListedSuite {
    id: &'static str,
    description: &'static str,
    budget_s: f64,
    /// For the best device of each engine; empty where there is none.
    workloads: Vec<Workload>,
}

#[derive(Serialize)]
struct ListedWorkload {
    id: &'static str,
    description: &'static str,
}

#[derive(Serialize)]
struct ListedEngine {
    id: String,
    description: &'static str,
    available: bool,
    /// Why it is unavailable, and what to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

/// Prints the listing.
pub(super) fn list(json: bool, data_dir: PathBuf) -> Result<Exit, Error> {
    let listing = gather(data_dir);
    let text =
        if json { serde_json::to_string_pretty(&listing).map_err(Error::failure)? + "\n" } else { text(&listing) };
    output::write("-", &text)?;
    Ok(Exit::Success)
}

fn gather(data_dir: PathBuf) -> Listing {
    let mut found = Vec::new();
    let mut engines = Vec::new();
    for engine in engine::all(&super::surroundings(data_dir)) {
        let devices = FoundDevice::all(engine.as_ref());
        let reason = devices.as_ref().err().cloned();
        found.extend(devices.unwrap_or_default());
        let id = engine.id();
        engines.push(ListedEngine {
            id: id.to_string(),
            description: id.description(),
            available: reason.is_none(),
            reason,
        });
    }
    let unavailable = found.iter().flat_map(unavailable_on).collect();
    let suite = |suite: SuiteName| {
        let plan = suite_plan(suite, &found);
        ListedSuite {
            id: suite.id(),
            description: suite.description(),
            budget_s: plan.as_ref().map_or(suite.budget_s(), |plan| plan.suite.budget_s),
            workloads: plan.map_or_else(Vec::new, |plan| plan.jobs.into_iter().map(|job| job.workload).collect()),
        }
    };
    let workload = |kind: WorkloadKind| ListedWorkload { id: kind.id(), description: kind.description() };
    Listing {
        suites: SuiteName::ALL.map(suite).into(),
        workloads: WorkloadKind::ALL.map(workload).into(),
        engines,
        models: catalogue(&found, default_hub().as_deref(), &[]).into_iter().flat_map(forms).collect(),
        unavailable,
        devices: found.into_iter().map(|found| found.device).collect(),
    }
}

fn forms(listed: ListedModel) -> Vec<ListedForm> {
    let none = |reason| ListedForm {
        model: listed.asked.clone(),
        precision: None,
        parameters: None,
        weight_bytes: None,
        needs_bytes: None,
        reason,
    };
    let one = |form: ModelForm| ListedForm {
        precision: Some(form.model.precision.to_string()),
        parameters: Some(form.model.shape.parameters()),
        weight_bytes: Some(form.model.weight_bytes),
        needs_bytes: Some(form.needs_bytes),
        ..none(form.reason)
    };
    match listed.forms {
        Ok(forms) => forms.into_iter().map(one).collect(),
        Err(reason) => vec![none(Some(reason))],
    }
}

/// What a suite measures here.
fn suite_plan(suite: SuiteName, found: &[FoundDevice]) -> Option<Plan> {
    Plan::over(&Request { suite, ..Request::default() }, found, Vec::new()).ok()
}

/// The GEMMs of the full suite that a device lacks the type or the room for. The device itself has the last word when they run.
fn unavailable_on(found: &FoundDevice) -> Vec<Unavailable> {
    let device = &found.device;
    if found.engine != EngineId::Wgpu {
        return Vec::new();
    }
    let mut list = Vec::new();
    let mut say =
        |workload: String, reason: String| list.push(Unavailable { device: device.id.clone(), workload, reason });
    if !device.features.iter().any(|feature| feature == "f16") {
        say("gemm f16".to_owned(), "the driver offers no f16 arithmetic in shaders".to_owned());
    }
    let binding = device.limits.max_binding_bytes;
    for workload in SuiteName::Full.kernels(found) {
        if let Workload::Gemm(gemm) = workload
            && gemm.largest_operand_bytes() > binding
        {
            let (needed, given) = (binary_size(gemm.largest_operand_bytes()), binary_size(binding));
            say(
                format!("gemm {} {}", gemm.dtype, gemm.shape()),
                format!("needs a binding of {needed}, the device gives {given}"),
            );
        }
    }
    list
}

fn text(listing: &Listing) -> String {
    let mut out = String::from("Suites\n");
    for suite in &listing.suites {
        let time = duration(suite.budget_s);
        writeln!(out, "  {:<16} {} (up to {time}, {} entries)", suite.id, suite.description, suite.workloads.len())
            .ok();
    }
    out.push_str("\nWorkloads\n");
    for workload in &listing.workloads {
        writeln!(out, "  {:<16} {}", workload.id, workload.description).ok();
    }
    out.push_str("\nEngines\n");
    for engine in &listing.engines {
        let state = engine.reason.as_ref().map_or_else(String::new, |reason| format!(" — unavailable: {reason}"));
        writeln!(out, "  {:<16} {}{state}", engine.id, engine.description).ok();
    }
    out.push_str("\nDevices\n");
    for (place, device) in listing.devices.iter().enumerate() {
        let software = if device.software { ", software: emulated on the processor" } else { "" };
        writeln!(out, "  {place}  {:<13} {} ({}{software})", device.id, device.name, device.kind).ok();
        let binding = binary_size(device.limits.max_binding_bytes);
        let driver = format!("{} {}", device.driver, device.driver_info);
        writeln!(out, "     {:<13} {}, largest binding {binding}", "", driver.trim()).ok();
    }
    if listing.devices.is_empty() {
        out.push_str("  none\n");
    }
    models_text(listing, &mut out);
    if !listing.unavailable.is_empty() {
        out.push_str("\nUnavailable\n");
    }
    for Unavailable { device, workload, reason } in &listing.unavailable {
        writeln!(out, "  {workload} on {device}: {reason}").ok();
    }
    out
}

/// A line for each model and precision: parameters, size, memory, and why it can't be run.
fn models_text(listing: &Listing, out: &mut String) {
    out.push_str("\nModels\n");
    let size = |bytes: Option<u64>| bytes.map(|bytes| Quantity::new(bytes as f64, Unit::Byte).to_string());
    for form in &listing.models {
        let parameters = form.parameters.map(|count| format!("{} billion parameters", number(count as f64 / 1e9)));
        let needs = size(form.needs_bytes).map(|bytes| format!("needs {bytes}"));
        // The reason has the numbers.
        let last = form.reason.clone().map(|reason| format!("unavailable: {reason}")).or(needs);
        let parts = [form.precision.clone(), parameters, size(form.weight_bytes), last];
        let text: Vec<String> = parts.into_iter().flatten().collect();
        writeln!(out, "  {:<16} {}", form.model, text.join(", ")).ok();
    }
}
