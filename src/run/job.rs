//! One job on the measuring lane: open the device, canary, measure, canary, judge.

use std::time::{Duration, Instant};

use jiff::Timestamp;

use super::PlannedJob;
use crate::{
    analysis,
    engine::{Engine, EngineId, Session},
    machine::{self, Device, Machine},
    measure::{Context, Phase, Report, Stop},
    record::{Canary, Entry, Load, Outcome},
};

/// A device that is open, kept from job to job.
pub(super) struct OpenSession {
    engine: EngineId,
    device: String,
    session: Box<dyn Session>,
    /// Its canary's time when it was opened.
    canary_first_s: Option<f64>,
}

impl OpenSession {
    /// Whether an entry is measured by it.
    fn is_of(&self, entry: &Entry) -> bool {
        self.engine == entry.engine && self.device == entry.device
    }
}

/// Everything that one job needs, moved to the measuring thread and back.
pub(super) struct Bench {
    /// The sessions of jobs before that can be used again. While kernels take turns there is one an engine; a model leaves
    /// room for no other.
    pub(super) open: Vec<OpenSession>,
    /// The facts that plausibility is judged by.
    pub(super) machine: Machine,
}

impl Bench {
    /// Runs the job to its end, whatever that is. The session is kept only if the device is still good.
    pub(super) fn run(
        &mut self,
        engine: &dyn Engine,
        device: &Device,
        job: PlannedJob,
        context: &mut Context,
    ) -> Entry {
        let mut entry = Entry::pending(job.workload, job.engine, &job.device);
        entry.started_at = Some(Timestamp::now());
        let start = Instant::now();
        let average_before = machine::load_average();
        let outcome = self.measure(engine, &mut entry, job.alone, context);
        entry.load = Some(Load { average_before, average_after: machine::load_average(), processors_used: None });
        match outcome {
            Ok(report) => {
                entry.fill(report);
                entry.outcome = Outcome::Done;
                analysis::judge(&mut entry, device, &self.machine);
            }
            Err(stop) => {
                if matches!(stop, Stop::DeviceLost(_)) {
                    self.open.retain(|open| !open.is_of(&entry));
                }
                end_early(&mut entry, &stop);
            }
        }
        entry.duration_s = Some(start.elapsed().as_secs_f64());
        entry
    }

    fn measure(
        &mut self,
        engine: &dyn Engine,
        entry: &mut Entry,
        alone: bool,
        context: &mut Context,
    ) -> Result<Report, Stop> {
        context.phase(Phase::Preparing)?;
        if alone {
            self.open.retain(|open| open.is_of(entry));
        }
        if !self.open.iter().any(|open| open.is_of(entry)) {
            let session = engine.open(&entry.device)?;
            let (engine, device) = (entry.engine, entry.device.clone());
            self.open.push(OpenSession { engine, device, session, canary_first_s: None });
        }
        let Some(open) = self.open.iter_mut().find(|open| open.is_of(entry)) else {
            return Err(Stop::Failed("no device is open".to_owned()));
        };
        let before = canary(open.session.as_mut(), context)?;
        let report = open.session.run(&entry.workload, context)?;
        let after = canary(open.session.as_mut(), context)?;
        entry.canary = before.zip(after).map(|(before_s, after_s)| {
            let first_s = *open.canary_first_s.get_or_insert(before_s);
            Canary { before_s, after_s, first_s: Some(first_s) }
        });
        Ok(report)
    }
}

/// The least of three timings: an interruption makes one slow, a lower clock makes all of them slow.
fn canary(session: &mut dyn Session, context: &mut Context) -> Result<Option<f64>, Stop> {
    let mut least: Option<f64> = None;
    for _ in 0..3 {
        let Some(seconds) = session.canary(context)? else { return Ok(None) };
        least = Some(least.map_or(seconds, |before| before.min(seconds)));
    }
    Ok(least)
}

fn end_early(entry: &mut Entry, stop: &Stop) {
    let message = stop.to_string();
    entry.outcome = match stop {
        Stop::Cancelled => Outcome::Cancelled,
        Stop::Unsupported(_) => Outcome::Unsupported(message),
        Stop::Skipped { estimate_s, .. } => {
            entry.estimate_s = *estimate_s;
            Outcome::Skipped(message)
        }
        Stop::Failed(_) | Stop::DeviceLost(_) => Outcome::Failed(message),
    };
}

/// The time for the next entry: an equal share of what is left, at most `entry_max_s`.
pub(super) fn entry_budget(left_s: f64, entries_left: usize, entry_max_s: f64) -> Duration {
    let share = left_s.max(0.0) / entries_left.max(1) as f64;
    Duration::from_secs_f64(share.min(entry_max_s))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_one_entry_leaves_over_the_others_get() {
        assert_eq!(entry_budget(40.0, 10, 8.0), Duration::from_secs(4));
        assert_eq!(entry_budget(40.0, 2, 8.0), Duration::from_secs(8));
        assert_eq!(entry_budget(-1.0, 3, 8.0), Duration::ZERO);
    }
}
