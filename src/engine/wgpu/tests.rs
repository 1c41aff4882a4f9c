//! Every kernel against the host, on whatever device there is.

use std::time::Duration;

use super::{adapter, gemm::Problem, gpu::Gpu, kernels::GEMM_VARIANTS, matrix::Layout, tune};
use crate::{
    measure::Context,
    workload::{Dtype, Gemm, random},
};

/// The best adapter, or none: then the test is skipped and says so.
fn gpu() -> Option<Gpu> {
    let found = adapter::list(&adapter::instance(None)).into_iter().next();
    if found.is_none() {
        eprintln!("skipped: {}", adapter::none());
    }
    Some(Gpu::open(&found?.adapter).unwrap())
}

fn context() -> Context {
    Context::detached(Duration::from_mins(10))
}

#[test]
fn filled_values_are_those_of_the_host_and_padding_is_zero() {
    let Some(gpu) = gpu() else { return };
    let context = context();
    for dtype in Dtype::SHADERS {
        let layout = Layout::matrix(70, 33, dtype, (32, 64)).unwrap();
        let buffer = gpu.storage("test", layout.bytes()).unwrap();
        layout.poison(&gpu, &context, &buffer).unwrap();
        assert_eq!(layout.count_bad(&gpu, &context, &buffer).unwrap(), 70 * 33);
        layout.fill(&gpu, &context, &buffer, 99).unwrap();
        assert_eq!(layout.count_bad(&gpu, &context, &buffer).unwrap(), 0);
        let spots: Vec<(u32, u32)> = (0..96).flat_map(|row| (0..64).map(move |column| (row, column))).collect();
        let values = layout.read(&gpu, &context, &buffer, &spots).unwrap();
        for ((row, column), value) in spots.into_iter().zip(values) {
            let inside = row < 70 && column < 33;
            let expected = if inside { random::unit(dtype, 99, row * 33 + column) } else { 0.0 };
            assert_eq!(value, expected, "{dtype} {row} {column}");
        }
    }
}

#[test]
fn every_gemm_variant_is_right_at_odd_shapes() {
    let Some(gpu) = gpu() else { return };
    let context = context();
    for dtype in Dtype::SHADERS {
        if dtype == Dtype::F16 && !gpu.has_f16() {
            eprintln!("skipped: the device has no f16");
            continue;
        }
        for (m, n, k) in [(130, 70, 33), (1, 1, 1), (257, 129, 65)] {
            let problem = Problem::new(&gpu, &context, Gemm::new((m, n, k), dtype)).unwrap();
            for variant in GEMM_VARIANTS {
                if !tune::runs(&gpu, variant, dtype) {
                    eprintln!("skipped: the device can't run {} {dtype}", variant.name);
                    continue;
                }
                problem.poison(&gpu, &context).unwrap();
                let work = problem.work(&gpu, variant).unwrap();
                work.batch(&gpu, &context, 1).unwrap();
                let check = problem.check(&gpu, &context).unwrap();
                assert!(check.passed(), "{} {dtype} {m} × {n} × {k}: {check:?}", variant.name);
            }
        }
    }
}

#[test]
fn a_wrong_result_and_a_missing_tile_are_caught() {
    let Some(gpu) = gpu() else { return };
    let context = context();
    let problem = Problem::new(&gpu, &context, Gemm::new((100, 60, 20), Dtype::F32)).unwrap();
    let variant = GEMM_VARIANTS.iter().find(|variant| variant.bm == 32).unwrap();
    let work = problem.work(&gpu, variant).unwrap();
    work.only(&gpu, &context, 0, 1).unwrap();
    let missing = problem.check(&gpu, &context).unwrap();
    assert!(!missing.all_written && !missing.passed(), "{missing:?}");
    work.batch(&gpu, &context, 1).unwrap();
    assert!(problem.check(&gpu, &context).unwrap().passed());
    gpu.queue.write_buffer(&problem.c.1, 0, &1.0e3_f32.to_le_bytes());
    let wrong = problem.check(&gpu, &context).unwrap();
    assert!(wrong.all_written && !wrong.passed(), "{wrong:?}");
    assert!(wrong.require().unwrap_err().to_string().contains("wrong result"));
}
