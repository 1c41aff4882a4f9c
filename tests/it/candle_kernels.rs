//! candle's matrix products and attention: measured, checked, refused and cancelled.

use std::time::Duration;

use roofline::{
    engine::{Engine as _, candle::CandleEngine},
    measure::{Cancel, Context, Paints, Phase, Progress, Report, Stop},
    units::Unit,
    workload::{Attention, Bandwidth, Dtype, Gemm, Layout, MemoryOp, Workload},
};

/// On the best device that is there.
fn run(workload: &Workload, context: &mut Context) -> Result<Report, Stop> {
    let device = CandleEngine.devices().unwrap().remove(0).id;
    CandleEngine.open(&device).unwrap().run(workload, context)
}

fn measured(workload: &Workload) -> Result<Report, Stop> {
    run(workload, &mut Context::detached(Duration::from_secs(20)))
}

#[track_caller]
fn assert_sound(report: &Report, workload: &Workload) {
    let [headline] = report.measurements.as_slice() else { panic!("{report:?}") };
    assert_eq!((headline.metric.as_str(), headline.unit), ("throughput", Unit::FlopPerSecond));
    assert!(headline.samples.len() >= 3 && headline.summary.median > 1e6);
    for sample in &headline.samples {
        let rate = workload.flops().unwrap() * f64::from(sample.iterations) / sample.host_s;
        assert!((sample.value / rate - 1.0).abs() < 1e-9);
    }
    let check = report.check.as_ref().unwrap();
    assert!(check.passed() && check.compared >= 32, "{check:?}");
}

#[test]
fn products_of_every_type_and_layout_are_right() {
    for dtype in [Dtype::F32, Dtype::F16, Dtype::Bf16] {
        for layout in [Layout::Ab, Layout::Abt] {
            let workload = Workload::Gemm(Gemm { layout, ..Gemm::new((130, 70, 333), dtype) });
            let report = measured(&workload).unwrap();
            assert_sound(&report, &workload);
            assert_eq!(report.settings["layout"], layout.title());
            assert!(report.precision.unwrap().starts_with(dtype.id()));
        }
    }
}

#[test]
fn attention_of_the_model_is_right_for_every_type_and_batch() {
    // More than two chunks of queries, the last of them shorter.
    let shape =
        Attention { dtype: Dtype::F32, batch: 2, heads: 4, kv_heads: 2, sequence: 300, head_dim: 64, causal: true };
    for dtype in [Dtype::F32, Dtype::F16, Dtype::Bf16] {
        let workload = Workload::Attention(Attention { dtype, ..shape });
        assert_sound(&measured(&workload).unwrap(), &workload);
    }
    for refused in [Attention { causal: false, ..shape }, Attention { kv_heads: 3, ..shape }] {
        assert!(matches!(measured(&Workload::Attention(refused)), Err(Stop::Unsupported(_))));
    }
}

#[test]
fn what_candle_does_not_measure_says_why() {
    let copy = Workload::Bandwidth(Bandwidth { op: MemoryOp::Copy, array_bytes: 1 << 20 });
    let Err(Stop::Unsupported(reason)) = measured(&copy) else { panic!("it was measured") };
    assert!(reason.contains("allocates"), "{reason}");
    // Terabytes.
    let vast = measured(&Workload::Gemm(Gemm::square(1 << 20, Dtype::F32)));
    let Err(Stop::Skipped { reason, .. }) = vast else { panic!("it was tried") };
    assert!(reason.contains("are free"), "{reason}");
    let device = CandleEngine.devices().unwrap().remove(0);
    let tf32 = measured(&Workload::Gemm(Gemm::square(64, Dtype::Tf32)));
    assert_eq!(matches!(tf32, Err(Stop::Unsupported(_))), device.backend != "CUDA", "{tf32:?}");
}

#[test]
fn a_long_product_is_cancelled_before_it_ends() {
    let cancel = Cancel::default();
    let heard = cancel.clone();
    let (tell, told) = std::sync::mpsc::sync_channel(64);
    let on = move |progress: Progress| match progress {
        Progress::Phase(Phase::WarmUp) => heard.request(),
        // A batch was timed to its end.
        Progress::Value { .. } => drop(tell.try_send(())),
        Progress::Phase(_) => {}
    };
    let mut context = Context::new(cancel, Duration::from_hours(1000), Paints::default(), Box::new(on));
    let outcome = run(&Workload::Gemm(Gemm::square(4096, Dtype::F32)), &mut context);
    assert_eq!(outcome, Err(Stop::Cancelled));
    assert!(told.try_recv().is_err(), "the whole product was computed first");
}
