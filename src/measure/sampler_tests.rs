//! The sampler over devices whose clocks are exact, noisy or broken.

use std::sync::{Arc, Mutex};

use super::{
    super::{Cancel, Paints, Progress},
    *,
};

const RATE: Rate<'_> = Rate { metric: "throughput", unit: Unit::FlopPerSecond, amount: 100.0 };

/// A policy that wants no least warm-up; the fake devices below don't really work. Those that are steady end theirs after
/// three batches, however slow this machine is.
fn quick() -> Policy {
    Policy { warm_up_min_s: 0.0, warm_up_max_s: 60.0, ..Policy::default() }
}

fn exactly(seconds: f64) -> impl FnMut(&mut Context, u32) -> Result<BatchTime, Stop> {
    move |_, iterations| {
        let time = seconds * f64::from(iterations);
        Ok(BatchTime { host_s: time * 1.01, device_s: Some(time) })
    }
}

#[test]
fn a_steady_device_converges_at_ten_samples_with_calibrated_batches() {
    let mut context = Context::detached(Duration::from_mins(1));
    let m = sample(&mut context, &quick(), RATE, exactly(0.001)).unwrap();
    assert_eq!((m.stop, m.samples.len(), m.clock), (StopReason::Converged, 10, Clock::DeviceTimestamps));
    assert_eq!(m.samples[0].iterations, 100);
    assert!((m.summary.median - 100_000.0).abs() < 1e-6);
    assert!(m.warm_up.unwrap().steady);
}

#[test]
fn a_device_clock_that_reads_zero_once_is_not_used_at_all() {
    let mut calls = 0;
    let batch = move |_: &mut Context, iterations: u32| {
        calls += 1;
        let time = 0.01 * f64::from(iterations);
        Ok(BatchTime { host_s: time, device_s: Some(if calls == 9 { 0.0 } else { time / 2.0 }) })
    };
    let m = sample(&mut Context::detached(Duration::from_mins(1)), &quick(), RATE, batch).unwrap();
    assert_eq!(m.clock, Clock::HostWall);
    assert!((m.summary.median - 10_000.0).abs() < 1e-6);
}

#[test]
fn insane_device_times_fall_back_to_the_wall_clock() {
    for device_s in [None, Some(0.0), Some(-1.0), Some(0.005), Some(1.5)] {
        assert_eq!(BatchTime { host_s: 1.0, device_s }.best(), (Clock::HostWall, 1.0), "{device_s:?}");
    }
    assert_eq!(BatchTime { host_s: 1.0, device_s: Some(0.9) }.best(), (Clock::DeviceTimestamps, 0.9));
}

#[test]
fn a_job_that_can_not_fit_is_skipped_with_its_estimate() {
    let mut context = Context::detached(Duration::from_secs(2));
    let stop = sample(&mut context, &quick(), RATE, exactly(1.0)).unwrap_err();
    let Stop::Skipped { reason, estimate_s } = stop else { panic!("{stop:?}") };
    assert!((estimate_s.unwrap() - 11.0).abs() < 1e-9);
    assert!(reason.contains("11 s"), "{reason}");
}

#[test]
fn after_a_long_pause_the_device_is_warmed_up_again() {
    let warm_ups = Arc::new(Mutex::new(0));
    let seen = {
        let warm_ups = Arc::clone(&warm_ups);
        Box::new(move |progress| match progress {
            Progress::Phase(Phase::WarmUp) => *warm_ups.lock().unwrap() += 1,
            Progress::Phase(Phase::Sampling { done: 4, .. }) => {
                std::thread::sleep(PAUSE_MAX + Duration::from_millis(10));
            }
            _ => {}
        })
    };
    let mut context = Context::new(Cancel::default(), Duration::from_mins(1), Paints::default(), seen);
    let m = sample(&mut context, &quick(), RATE, exactly(0.001)).unwrap();
    assert_eq!((*warm_ups.lock().unwrap(), m.warm_up.unwrap().batches, m.samples.len()), (2, 6, 10));
}

#[test]
fn a_noisy_device_stops_at_the_limit_and_says_so() {
    let mut flip = false;
    let batch = move |_: &mut Context, iterations: u32| {
        flip = !flip;
        let time = if flip { 0.1 } else { 0.2 } * f64::from(iterations);
        Ok(BatchTime { host_s: time, device_s: None })
    };
    let policy = Policy { samples_max: 12, warm_up_max_s: 0.05, ..quick() };
    let m = sample(&mut Context::detached(Duration::from_mins(1)), &policy, RATE, batch).unwrap();
    assert_eq!((m.stop, m.samples.len()), (StopReason::SampleLimit, 12));
}

#[test]
fn the_time_budget_ends_sampling_with_what_there_is() {
    let batch = |_: &mut Context, _: u32| {
        std::thread::sleep(Duration::from_millis(100));
        Ok(BatchTime { host_s: 0.1, device_s: None })
    };
    let policy = Policy { samples_min: 50, ..quick() };
    let m = sample(&mut Context::detached(Duration::from_secs(2)), &policy, RATE, batch).unwrap();
    assert_eq!(m.stop, StopReason::TimeBudget);
    assert!((3..=20).contains(&m.samples.len()), "{}", m.samples.len());
}

#[test]
fn cancel_is_seen_before_the_next_batch() {
    let cancel = Cancel::default();
    let (inner, seen) = (cancel.clone(), Arc::new(Mutex::new(0)));
    let report = {
        let seen = Arc::clone(&seen);
        Box::new(move |progress| {
            if matches!(progress, Progress::Value { warm_up: false, .. }) {
                *seen.lock().unwrap() += 1;
                inner.request();
            }
        })
    };
    let mut context = Context::new(cancel, Duration::from_mins(1), Paints::default(), report);
    assert_eq!(sample(&mut context, &quick(), RATE, exactly(0.01)), Err(Stop::Cancelled));
    assert_eq!(*seen.lock().unwrap(), 1);
}

#[test]
fn a_batch_during_which_the_window_painted_is_repeated() {
    let paints = Paints::default();
    let mut calls = 0;
    let batch = {
        let paints = paints.clone();
        move |_: &mut Context, iterations: u32| {
            calls += 1;
            if calls == 12 {
                paints.begin(Duration::ZERO);
            }
            exactly(0.01)(&mut Context::detached(Duration::ZERO), iterations)
        }
    };
    let mut context = Context::new(Cancel::default(), Duration::from_mins(1), paints, Box::new(|_| {}));
    let m = sample(&mut context, &quick(), RATE, batch).unwrap();
    assert_eq!(m.repeated_batches, 1);
    assert!(m.samples.iter().all(|sample| !sample.disturbed));
}
