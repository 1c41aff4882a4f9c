//! The shaders translate for every platform, and the wgpu engine keeps its promises on whatever device there is.

use std::{
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use naga::{
    back::{msl, spv},
    valid::{Capabilities, ValidationFlags, Validator},
};
use roofline::{
    engine::{
        Engine as _, Session,
        wgpu::{WgpuEngine, gemm_variants, sources},
    },
    measure::{Cancel, Clock, Context, Paints, Phase, Progress, Report, Sample, Stop, StopReason},
    workload::{Bandwidth, BandwidthSweep, Dtype, Gemm, MemoryOp, TensorLimit, Workload},
};

/// A session on the best device, or none: then the test is skipped and says so.
fn session(cache: Option<&std::path::Path>) -> Option<Box<dyn Session>> {
    let engine = WgpuEngine::new(cache.map(Into::into));
    match engine.devices() {
        Ok(devices) => Some(engine.open(&devices[0].id).unwrap()),
        Err(reason) => {
            eprintln!("skipped: {reason}");
            None
        }
    }
}

fn run(session: &mut dyn Session, workload: &Workload, budget_s: f64) -> Result<Report, Stop> {
    session.run(workload, &mut Context::detached(Duration::from_secs_f64(budget_s)))
}

/// The report of work that always fits in the end: on a busy machine software needs more time than anybody foresees.
fn given_time(session: &mut dyn Session, workload: &Workload) -> Result<Report, Stop> {
    let mut outcome = run(session, workload, 10.0);
    for budget_s in [40.0, 160.0] {
        if !matches!(outcome, Err(Stop::Skipped { .. })) {
            break;
        }
        outcome = run(session, workload, budget_s);
    }
    outcome
}

#[test]
fn every_shader_translates_to_spirv_and_msl() {
    let capabilities = Capabilities::SHADER_FLOAT16
        | Capabilities::SHADER_FLOAT16_IN_FLOAT32
        | Capabilities::SUBGROUP
        | Capabilities::COOPERATIVE_MATRIX;
    for variant in gemm_variants() {
        assert!(sources().iter().any(|source| source.name == format!("gemm-f16-{variant}")), "{variant}");
    }
    for source in sources() {
        let options = naga::front::wgsl::Options { parse_doc_comments: false, capabilities };
        let parsed = naga::front::wgsl::Frontend::new_with_options(options).parse(source.wgsl);
        let module = parsed.unwrap_or_else(|error| panic!("{}: {}", source.name, error.emit_to_string(source.wgsl)));
        let info = Validator::new(ValidationFlags::all(), capabilities).validate(&module).expect(source.name);
        assert_eq!(module.overrides.len(), 1, "{} has no KEEP: wgpu would keep its loop checks on Vulkan", source.name);
        for entry in &module.entry_points {
            let point = Some((naga::ShaderStage::Compute, entry.name.as_str()));
            let constants = naga::back::PipelineConstants::default();
            let (module, info) = naga::back::pipeline_constants::process_overrides(&module, &info, point, &constants)
                .expect(source.name);
            let metal = msl::Options { lang_version: (2, 4), fake_missing_bindings: true, ..Default::default() };
            let (text, _) =
                msl::write_string(&module, &info, &metal, &msl::PipelineOptions::default()).expect(source.name);
            assert!(text.contains("kernel void"), "{}", source.name);
            assert!(!spv::write_vec(&module, &info, &spv::Options::default(), None).expect(source.name).is_empty());
        }
    }
}

#[test]
fn gemm_is_measured_checked_and_its_tuning_kept() {
    let folder = tempfile::tempdir().unwrap();
    let cache = folder.path().join("cache");
    let file = cache.join("wgpu-tuning.json");
    std::fs::create_dir_all(&cache).unwrap();
    std::fs::write(&file, "{ not json").unwrap();
    let Some(mut session) = session(Some(&cache)) else { return };
    for dtype in Dtype::SHADERS {
        let gemm = Gemm::new((130, 70, 33), dtype);
        let report = match given_time(session.as_mut(), &Workload::Gemm(gemm)) {
            Err(Stop::Unsupported(reason)) if dtype == Dtype::F16 => {
                eprintln!("skipped: {reason}");
                continue;
            }
            other => other.unwrap(),
        };
        let check = report.check.unwrap();
        assert!(check.passed() && check.compared > 64, "{check:?}");
        assert!(report.precision.unwrap().starts_with(dtype.id()));
        let variant = report.variant.unwrap();
        assert!(gemm_variants().any(|name| name == variant), "{variant}");
        assert!(report.settings.contains_key(&format!("tuned {variant}")), "{:?}", report.settings);
        assert_eq!(report.measurements[0].metric, "throughput");
        let kept = std::fs::read_to_string(&file).unwrap();
        assert!(kept.contains(&variant) && kept.contains(dtype.id()), "{kept}");
    }
}

#[test]
fn a_product_that_can_not_fit_the_time_is_skipped_with_its_estimate() {
    let Some(mut session) = session(None) else { return };
    // No device does 2^37 FLOPs four times, the filling and the tuning within a hundredth of a second.
    match run(session.as_mut(), &Workload::Gemm(Gemm::square(4096, Dtype::F32)), 0.01) {
        Err(Stop::Skipped { reason, estimate_s: Some(estimate) }) => {
            assert!(estimate > 0.0 && reason.contains("budget"));
        }
        other => panic!("{other:?}"),
    }
    // Nor does any bind 16 TiB.
    let stop = run(session.as_mut(), &Workload::Bandwidth(Bandwidth { op: MemoryOp::Copy, array_bytes: 1 << 44 }), 1.0);
    assert!(matches!(&stop, Err(Stop::Unsupported(reason)) if reason.contains("16 GiB")), "{stop:?}");
}

#[test]
fn bandwidth_is_measured_and_checked() {
    let Some(mut session) = session(None) else { return };
    for op in MemoryOp::ALL {
        // Not a multiple of a workgroup's share.
        let array_bytes = (4 << 20) + 3 * 4096;
        let workload = Workload::Bandwidth(Bandwidth { op, array_bytes });
        let report = given_time(session.as_mut(), &workload).unwrap();
        assert!(report.check.unwrap().passed());
        let headline = &report.measurements[0];
        let seconds = |sample: &Sample| match headline.clock {
            Clock::DeviceTimestamps => sample.device_s.unwrap(),
            Clock::HostWall => sample.host_s,
        };
        for sample in &headline.samples {
            let again = workload.bytes().unwrap() * f64::from(sample.iterations) / seconds(sample);
            assert!((again / sample.value - 1.0).abs() < 1e-9, "the file's bytes and iterations give its value");
        }
        assert!(report.notes.iter().any(|note| note.contains("the array is")), "{:?}", report.notes);
        assert!(report.measurements[0].summary.median > 0.0);
    }
}

#[test]
fn a_sweep_has_one_checked_point_a_size_and_the_largest_first() {
    let Some(mut session) = session(None) else { return };
    for op in [MemoryOp::Read, MemoryOp::Triad] {
        let sweep = BandwidthSweep { op, min_bytes: 64 << 10, max_bytes: 256 << 10 };
        let report = given_time(session.as_mut(), &Workload::BandwidthSweep(sweep)).unwrap();
        let at: Vec<u64> = report.measurements.iter().filter_map(|measurement| measurement.at_bytes).collect();
        assert_eq!(at, [256 << 10, 64 << 10, 128 << 10]);
    }
}

#[test]
fn the_tensor_limit_is_found_and_freed() {
    let Some(mut session) = session(None) else { return };
    let report = given_time(session.as_mut(), &Workload::TensorLimit(TensorLimit { max_percent: 2 })).unwrap();
    let metrics: Vec<&str> = report.measurements.iter().map(|measurement| measurement.metric.as_str()).collect();
    assert_eq!(metrics, ["largest-binding", "largest-buffer", "total-held"]);
    assert!(report.measurements.iter().all(|measurement| measurement.stop == StopReason::Single));
    assert!(report.measurements.iter().all(|measurement| measurement.summary.median >= f64::from(1 << 20)));
    eprintln!("{:#?}", report.notes);
}

#[test]
fn cancel_ends_a_job_while_it_samples_and_the_session_goes_on() {
    let Some(mut session) = session(None) else { return };
    let (cancel, asked) = (Cancel::default(), Arc::new(Mutex::new(None)));
    let report = {
        let (cancel, asked) = (cancel.clone(), Arc::clone(&asked));
        Box::new(move |progress| {
            if matches!(progress, Progress::Phase(Phase::WarmUp | Phase::Sampling { .. })) {
                cancel.request();
                asked.lock().unwrap().get_or_insert_with(Instant::now);
            }
        })
    };
    let mut context = Context::new(cancel, Duration::from_mins(10), Paints::default(), report);
    let workload = Workload::Gemm(Gemm::square(512, Dtype::F32));
    assert_eq!(session.run(&workload, &mut context), Err(Stop::Cancelled));
    assert!(asked.lock().unwrap().is_some(), "cancelled before it was asked for");
    // What was cancelled left nothing behind that spoils the next entry.
    let next = Workload::Bandwidth(Bandwidth { op: MemoryOp::Copy, array_bytes: 1 << 20 });
    assert!(given_time(session.as_mut(), &next).unwrap().check.unwrap().passed());
    let mut context = Context::detached(Duration::from_secs(20));
    assert!(session.canary(&mut context).unwrap().is_some_and(|seconds| seconds > 0.0));
}
