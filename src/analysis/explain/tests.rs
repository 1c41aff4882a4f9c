//! Explanations of sound, doubted and hostile runs.

use super::*;
use crate::{
    engine::EngineId,
    record::{Mark, MarkKind, Outcome, reference},
    workload::{Dtype, Gemm, Workload},
};

fn of(run: &Run, index: usize) -> Explanation {
    Explainer::of(run).entry(index).unwrap()
}

#[test]
fn the_reference_is_explained_entry_by_entry() {
    let run = reference().unwrap();
    let all = Explainer::of(&run).all();
    assert_eq!(all.len(), run.entries.len());
    for explanation in &all {
        assert!(explanation.text.ends_with('.') && !explanation.text.contains("NaN"), "{}", explanation.text);
        let done = run.entries[explanation.entry].outcome == Outcome::Done;
        assert_eq!(explanation.caution.contains("Published without samples"), done, "{}", explanation.caution);
    }
    let decode = &all[17];
    assert_eq!(decode.bound, Some(Bound::Memory));
    assert!((0.9..0.95).contains(&decode.share.unwrap().fraction), "{decode:?}");
    assert_eq!(verdict(&decode.share.unwrap()), "near its limit");
    assert!(decode.text.contains("Writing a token reads 14.2"), "{}", decode.text);
    assert!(decode.text.contains("119.0 GB/s as measured in this run ÷ 14.2"), "{}", decode.text);
    let training = &all[18];
    assert_eq!(training.bound, Some(Bound::Compute));
    assert!(training.text.contains("each token costs 2"), "{}", training.text);
    assert!(training.text.contains("13.84 TFLOPS as measured in this run ÷ 2"), "{}", training.text);
    assert!(all[5].text.contains("best of its kind in this run, and no data sheet"), "{}", all[5].text);
    assert!(all[3].text.contains("45.7 % of 13.84 TFLOPS, the best of its kind"), "{}", all[3].text);
    assert!(all[24].text.starts_with("It has no figure: unsupported"), "{}", all[24].text);
}

#[test]
fn a_doubted_figure_says_so_and_an_impossible_one_has_no_share() {
    let mut run = reference().unwrap();
    let mark = |kind| Mark { kind, reason: "two\nlines".into() };
    run.entries[3].marks.push(mark(MarkKind::Throttled));
    run.entries[4].marks.push(mark(MarkKind::Uncertain));
    run.entries[5].marks.push(mark(MarkKind::Implausible));
    assert!(of(&run, 3).caution.starts_with("Slowed down while it was measured: two lines."));
    assert!(of(&run, 4).caution.starts_with("Uncertain: two lines."));
    let impossible = of(&run, 5);
    assert_eq!((impossible.share, impossible.limit.is_some()), (None, true));
    assert!(impossible.text.contains("nothing is concluded from it"), "{}", impossible.text);
    assert!(of(&run, 4).text.contains("best of its kind"), "what can't be true is nobody's ceiling");
}

#[test]
fn values_that_are_none_are_no_facts() {
    for value in [f64::NAN, f64::INFINITY, -3.0, 0.0] {
        let mut run = reference().unwrap();
        for entry in &mut run.entries {
            entry.measurements.iter_mut().for_each(|figure| figure.summary.median = value);
        }
        for explanation in Explainer::of(&run).all() {
            let done = run.entries[explanation.entry].outcome == Outcome::Done;
            assert!(explanation.share.is_none(), "{explanation:?}");
            assert_eq!(explanation.text.contains("without a figure that can be true"), done, "{explanation:?}");
        }
        assert!(fits(&run).iter().all(|fit| fit.peak.is_none()));
    }
}

#[test]
fn a_figure_above_its_limit_blames_the_limit() {
    let mut run = reference().unwrap();
    // Above what was measured of the bandwidth, not above what is published.
    run.entries[17].measurements[0].summary.median = 9.5;
    let text = of(&run, 17).text;
    assert!(text.contains("the limit is too low for it"), "{text}");
    run.entries[17].measurements[0].summary.median = 50.0;
    let above = of(&run, 17);
    assert!(above.share.is_none() && above.text.contains("nothing is concluded from it"), "{}", above.text);
    assert!(above.caution.starts_with("Not to be believed: "), "though nothing marks it: {}", above.caution);
}

#[test]
fn work_without_a_ceiling_still_says_what_bounds_it() {
    let mut run = reference().unwrap();
    run.machine.chip = "a chip".into();
    run.devices.iter_mut().for_each(|device| device.name = "a card".into());
    run.entries.drain(..17);
    let decode = of(&run, 0);
    assert_eq!((decode.bound, decode.limit), (Some(Bound::Memory), None));
    assert!(decode.text.contains("memory bounds it. What would be possible is not known"), "{}", decode.text);
}

#[test]
fn a_thin_product_is_bounded_by_memory() {
    let mut run = reference().unwrap();
    let thin = Workload::Gemm(Gemm::new((1, 16_384, 16_384), Dtype::F32));
    let mut entry = run.entries[0].clone();
    entry.workload = thin;
    entry.measurements[0].summary.median = 40e9;
    run.entries.push(entry);
    let explanation = of(&run, run.entries.len() - 1);
    assert_eq!(explanation.bound, Some(Bound::Memory));
    assert!(explanation.text.contains("fewer than the 28.8"), "{}", explanation.text);
    assert!(explanation.text.contains("× 0.500 FLOP a byte"), "{}", explanation.text);
}

#[test]
fn an_m5_holds_mistral_whose_tensors_are_small() {
    let run = reference().unwrap();
    let all = fits(&run);
    let half = all.iter().find(|fit| fit.engine == EngineId::Pytorch && fit.task.starts_with("Decode")).unwrap();
    assert_eq!((half.in_memory(), half.in_tensors()), (Some(true), Some(true)));
    assert!(half.largest_tensor < 0.3e9, "stored as f16: {}", half.largest_tensor);
    assert_eq!(half.tensor_limit, Some(12e9));
    assert_eq!(half.peak, Some(14.48e9));
    let tasks = all.iter().map(|fit| (fit.engine, fit.task.as_str())).collect::<Vec<_>>();
    assert!(tasks.contains(&(EngineId::Mlx, "QLoRA 1 × 512")), "{tasks:?}");
}

#[test]
fn what_was_skipped_for_want_of_memory_does_not_fit_because_less_did() {
    let mut run = reference().unwrap();
    let is_decode = |entry: &crate::record::Entry| {
        entry.engine == EngineId::Pytorch && Meaning::of(entry) == Meaning::Decode && entry.outcome == Outcome::Done
    };
    let decode = run.entries.iter().position(is_decode).unwrap();
    let mut long = run.entries[decode].clone();
    let Workload::Inference(inference) = &mut long.workload else { panic!("a decode") };
    inference.phase = crate::workload::InferencePhase::Decode { tokens: 128, depth: 700_000 };
    long.outcome = Outcome::Skipped("it needs more memory than there is".into());
    run.entries.push(long);
    let all = fits(&run);
    let fit = all.iter().find(|fit| fit.engine == EngineId::Pytorch && fit.task.starts_with("Decode")).unwrap();
    assert_eq!((fit.peak, fit.in_memory()), (None, Some(false)), "{fit:?}");
    assert!(fit.memory_text().starts_with("does not fit: 1"), "{}", fit.memory_text());
    // A lesser task that was done keeps its own peak where it takes more than is predicted of others.
    run.entries.truncate(run.entries.len() - 1);
    let all = fits(&run);
    let fit = all.iter().find(|fit| fit.engine == EngineId::Pytorch && fit.task.starts_with("Decode")).unwrap();
    assert_eq!((fit.peak, fit.in_memory()), (Some(14.48e9), Some(true)), "{fit:?}");
}

#[test]
fn the_memory_is_the_machine_s_or_the_card_s_and_what_was_held_is_proof() {
    let mut run = reference().unwrap();
    run.machine.memory_bytes = 25_280_000_000;
    let text = |run: &Run| {
        let all = fits(run);
        all.iter().find(|fit| fit.engine == EngineId::Pytorch && fit.task.starts_with("Decode")).unwrap().memory_text()
    };
    assert_eq!(text(&run), "fits: 14.48 GB of 25.28 GB");
    for entry in &mut run.entries {
        if matches!(entry.workload, Workload::TensorLimit(_)) && entry.headline().is_some() {
            let unit = crate::units::Unit::Byte;
            entry.measurements.push(crate::measure::Measurement::single("total-held", unit, 15.72e9, 1.0).unwrap());
        }
    }
    assert_eq!(text(&run), "fits: 14.48 GB of 25.28 GB, 15.72 GB held");
    run.entries.retain(|entry| !matches!(entry.workload, Workload::TensorLimit(_)));
    for device in &mut run.devices {
        device.kind = crate::machine::DeviceKind::DiscreteGpu;
        device.limits.max_buffer_bytes = 85_000_000_000;
    }
    assert_eq!(text(&run), "14.48 GB; the device's memory is not known");
    run.devices.iter_mut().for_each(|device| "CUDA".clone_into(&mut device.backend));
    assert_eq!(text(&run), "fits: 14.48 GB of 85.00 GB");
    run.machine.memory_bytes = 85_000_000_000;
    assert_eq!(text(&run), "14.48 GB; the device's memory is not known", "it may be the machine's");
}

#[test]
fn shapes_beyond_reason_are_left_out() {
    let mut run = reference().unwrap();
    for entry in &mut run.entries {
        if let Workload::Inference(inference) = &mut entry.workload {
            let shape = &mut inference.model.shape;
            for size in [&mut shape.layers, &mut shape.heads, &mut shape.head_dim, &mut shape.hidden] {
                *size = u32::MAX;
            }
            inference.batch = u32::MAX;
        }
    }
    assert!(fits(&run).iter().all(|fit| !fit.task.starts_with("Decode")));
    assert_eq!(Explainer::of(&run).all().len(), run.entries.len());
    assert!(crate::analysis::rooflines(&run).iter().all(|chart| chart.extent().is_some()));
}

#[test]
fn every_metric_is_explained_once() {
    for meaning in Meaning::ALL {
        assert!(meaning.text().ends_with('.') && meaning.text().len() > 80, "{meaning:?}");
        assert_eq!(Meaning::ALL.iter().filter(|other| other.title() == meaning.title()).count(), 1);
    }
    let run = reference().unwrap();
    assert_eq!(Meaning::of(&run.entries[17]), Meaning::Decode);
    assert_eq!(Meaning::of_metric("inter-token-p95", crate::units::Unit::Second), Some(Meaning::BetweenTokens));
    assert_eq!(Meaning::of_metric("loss", crate::units::Unit::Nat), None);
}
