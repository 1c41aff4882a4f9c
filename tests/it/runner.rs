//! The runner over a scripted engine: order, failures, Cancel, saving.

use std::{
    sync::{Arc, atomic::Ordering, mpsc::sync_channel},
    time::{Duration, Instant},
};

use roofline::{
    engine::Engine,
    measure::{Paints, Stop},
    record::{Outcome, Run, RunState, SaveError, Store},
    run::{ActiveRun, Event, Runner, collect},
};

use crate::fake::{Act, FakeEngine, plan};

struct Bench {
    runner: Runner,
    store: Store,
    _folder: tempfile::TempDir,
}

fn bench(engine: FakeEngine) -> Bench {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::at(folder.path());
    let engines: Arc<[Box<dyn Engine>]> = vec![Box::new(engine) as Box<dyn Engine>].into();
    let runner = Runner::new(engines, store.clone(), Arc::new(|| {})).unwrap();
    Bench { runner, store, _folder: folder }
}

fn finish(active: &ActiveRun) -> Run {
    *collect(active, |_| {}).expect("the run ends")
}

fn outcomes(run: &Run) -> Vec<&str> {
    run.entries.iter().map(|entry| entry.outcome.word()).collect()
}

#[test]
fn what_goes_wrong_is_that_entrys_outcome_and_the_suite_goes_on() {
    let engine = FakeEngine::new(vec![
        Act::Value(2e12),
        Act::Panic("boom"),
        Act::Value(3e12),
        Act::Stop(Stop::DeviceLost("unplugged".into())),
        Act::Stop(Stop::Unsupported("no f16".into())),
        Act::Stop(Stop::Skipped { reason: "too long".into(), estimate_s: Some(99.0) }),
        Act::Stop(Stop::Failed("wrong result".into())),
        Act::Value(4e12),
    ]);
    let opened = Arc::clone(&engine.opened);
    let bench = bench(engine);
    let run = finish(&bench.runner.start(plan(8), Paints::default()).unwrap());
    assert_eq!(outcomes(&run), ["Done", "Failed", "Done", "Failed", "Unsupported", "Skipped", "Failed", "Done"]);
    assert_eq!(run.entries[1].outcome.reason(), Some("the engine panicked: boom"));
    assert!(run.entries[3].outcome.reason().unwrap().contains("unplugged"));
    assert_eq!(run.entries[5].estimate_s, Some(99.0));
    assert!((run.entries[7].headline().unwrap().summary.median - 4e12).abs() < 1e6);
    assert_eq!(run.state, RunState::Finished);
    // Once at the start, again after the panic and after the loss; a mere failure keeps the device.
    assert_eq!(opened.load(Ordering::SeqCst), 3);
    assert_eq!(Store::load(&bench.store.path_of(&run.id)).unwrap(), run);
}

#[test]
fn a_reader_that_takes_nothing_holds_no_run_up() {
    let bench = bench(FakeEngine::new((0..4).map(|_| Act::Flood(2000)).collect()));
    let active = bench.runner.start(plan(4), Paints::default()).unwrap();
    let start = Instant::now();
    let ended = || match bench.store.list().first() {
        Some(roofline::record::Listed::Run(header)) => header.state == RunState::Finished,
        _ => false,
    };
    while !ended() && start.elapsed() < Duration::from_secs(30) {
        std::thread::sleep(Duration::from_millis(10));
    }
    assert!(ended(), "the run ended and is saved, though nobody listened");
    let mut progress = 0;
    let run = collect(&active, |event| progress += usize::from(matches!(event, Event::Progress { .. })));
    assert_eq!(outcomes(&run.expect("the end is told")), ["Unsupported"; 4]);
    assert!((1000..=1024).contains(&progress), "{progress}");
}

#[test]
fn the_file_is_complete_after_every_entry() {
    let bench = bench(FakeEngine::new(vec![Act::Value(1e12), Act::Panic("x"), Act::Value(1e12)]));
    let active = bench.runner.start(plan(3), Paints::default()).unwrap();
    let mut id = String::new();
    let mut seen = Vec::new();
    let run = collect(&active, |event| match event {
        Event::Begun(run) => id.clone_from(&run.id),
        Event::Finished { index, entry } => {
            let saved = Store::load(&bench.store.path_of(&id)).unwrap();
            assert_eq!(saved.entries[*index], **entry);
            assert_eq!(saved.entries.len(), 3);
            seen.push(*index);
        }
        _ => {}
    });
    assert_eq!(seen, [0, 1, 2]);
    assert!(run.unwrap().ended_at.is_some());
}

#[test]
fn cancel_keeps_what_is_done_and_names_the_rest() {
    let bench = bench(FakeEngine::new(vec![Act::Value(1e12), Act::Endless]));
    let active = bench.runner.start(plan(4), Paints::default()).unwrap();
    let cancel = active.cancel.clone();
    let run = collect(&active, |event| {
        if matches!(event, Event::Progress { index: 1, progress: roofline::measure::Progress::Value { .. } }) {
            cancel.request();
        }
    })
    .unwrap();
    assert_eq!(outcomes(&run), ["Done", "Cancelled", "Cancelled", "Cancelled"]);
    assert_eq!(run.state, RunState::Cancelled);
    assert_eq!(Store::load(&bench.store.path_of(&run.id)).unwrap(), *run);
}

#[test]
fn a_job_that_ignores_cancel_is_abandoned_and_nothing_is_measured_beside_it() {
    let (release, held) = sync_channel(1);
    let bench = bench(FakeEngine::new(vec![Act::Hang(held)]));
    let active = bench.runner.start(plan(2), Paints::default()).unwrap();
    let cancel = active.cancel.clone();
    let run = collect(&active, |event| {
        if matches!(event, Event::Progress { progress: roofline::measure::Progress::Value { .. }, .. }) {
            cancel.request();
        }
    })
    .unwrap();
    assert_eq!(outcomes(&run), ["Cancelled", "Cancelled"]);
    assert!(matches!(bench.runner.start(plan(1), Paints::default()), Err(SaveError::Occupied)));
    release.send(()).unwrap();
    let again = start_when_free(&bench.runner);
    assert_eq!(outcomes(&finish(&again)), ["Done"]);
}

/// The lane is freed just after the last event; a second is more than it needs.
fn start_when_free(runner: &Runner) -> ActiveRun {
    let start = Instant::now();
    loop {
        match runner.start(plan(1), Paints::default()) {
            Ok(active) => return active,
            Err(error) => assert!(start.elapsed() < Duration::from_secs(10), "{error}"),
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn two_runs_at_once_are_refused_here_and_across_programs() {
    let bench = bench(FakeEngine::new(vec![Act::Endless]));
    let first = bench.runner.start(plan(1), Paints::default()).unwrap();
    assert!(matches!(bench.runner.start(plan(1), Paints::default()), Err(SaveError::Occupied)));
    assert!(matches!(bench.store.lock(), Err(SaveError::Busy)), "the lock file is held");
    first.cancel.request();
    finish(&first);
    drop(start_when_free(&bench.runner));
}

#[test]
fn a_folder_that_can_not_be_written_loses_no_result() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("a-file");
    std::fs::write(&file, "in the way").unwrap();
    let engines: Arc<[Box<dyn Engine>]> = vec![Box::new(FakeEngine::new(vec![])) as Box<dyn Engine>].into();
    let runner = Runner::new(engines, Store::at(&file), Arc::new(|| {})).unwrap();
    let active = runner.start(plan(2), Paints::default()).unwrap();
    let mut complaints = Vec::new();
    let run = collect(&active, |event| {
        if let Event::SaveFailed(message) = event {
            complaints.push(message.clone());
        }
    })
    .unwrap();
    assert_eq!(outcomes(&run), ["Done", "Done"]);
    assert!(complaints[0].contains("another data folder") && complaints[0].contains("a-file"), "{complaints:?}");
}

#[test]
fn a_background_panic_does_not_take_the_lane_along() {
    let bench = bench(FakeEngine::new(vec![]));
    assert!(bench.runner.background(|| -> u8 { panic!("x") }).recv().is_err());
    assert_eq!(bench.runner.background(|| 7).recv(), Ok(7));
}

#[test]
fn an_entry_whose_engine_is_missing_is_unsupported() {
    let folder = tempfile::tempdir().unwrap();
    let engines: Arc<[Box<dyn Engine>]> = Vec::new().into();
    let runner = Runner::new(engines, Store::at(folder.path()), Arc::new(|| {})).unwrap();
    let run = finish(&runner.start(plan(1), Paints::default()).unwrap());
    assert!(matches!(run.entries[0].outcome, Outcome::Unsupported(_)));
}

#[test]
fn preparing_leaves_the_entries_after_it_their_time_up_to_a_limit() {
    let time = std::time::Duration::from_millis(800);
    for (most_s, second) in [(f64::INFINITY, "Done"), (0.0, "Skipped")] {
        // By its clock, an iteration of the second entry takes a tenth of a second.
        let bench = bench(FakeEngine::new(vec![Act::Prepare(time), Act::Value(4.2e7)]));
        let mut plan = plan(2);
        plan.suite.budget_s = 0.7;
        plan.spare_most_s = most_s;
        let run = finish(&bench.runner.start(plan, Paints::default()).unwrap());
        assert_eq!(outcomes(&run), ["Done", second]);
    }
}

#[test]
fn after_a_job_that_hangs_nothing_is_measured_beside_it() {
    let (release, held) = sync_channel(1);
    let bench = bench(FakeEngine::new(vec![Act::Hang(held), Act::Value(1e12)]));
    // The entry's time is over at once; what follows is the grace for building kernels.
    let mut hasty = plan(2);
    hasty.suite.budget_s = 0.05;
    hasty.entry_budget_s = 0.05;
    let run = finish(&bench.runner.start(hasty, Paints::default()).unwrap());
    assert_eq!(outcomes(&run), ["Failed", "Skipped"]);
    assert!(run.entries[1].outcome.reason().unwrap().contains("hung"));
    release.send(()).unwrap();
}
