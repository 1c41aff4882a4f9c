//! The runner: one measuring lane, and lanes beside it for what the window waits for.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
        mpsc::{Receiver, RecvError, SyncSender, TryRecvError, sync_channel},
    },
    time::{Duration, Instant},
};

use jiff::Timestamp;
use tokio::{runtime::Runtime, sync::Semaphore, task::JoinHandle};

use super::{
    ActiveRun, Event, Plan, PlannedJob, Wake,
    job::{Bench, entry_budget},
};
use crate::{
    engine::Engine,
    machine,
    measure::{Cancel, Context, Paints, Spared},
    record::{AppInfo, Entry, FORMAT_VERSION, Outcome, Run, RunLock, RunState, SaveError, Store},
    units::duration,
};

/// The most progress that waits to be read; what comes beyond it is dropped.
const PROGRESS_MAX: usize = 1024;
/// What else is told: of each job that it began, ended and was saved (or not), and of the run four things more.
const EVENTS_A_JOB: usize = 3;
const EVENTS_A_RUN: usize = 4;
/// How long a job has to notice Cancel before it is abandoned.
const CANCEL_GRACE: Duration = Duration::from_millis(400);
/// How much longer than its budget a job may take before it counts as hanging: kernels are built and checked beside it.
const HANG_GRACE: Duration = Duration::from_secs(15);
/// How long a job that overran its time has to notice: on a slow device its cancellation points lie far apart.
const OVERRUN_GRACE: Duration = Duration::from_secs(5);
/// How long the next entry waits for an abandoned job to let go of the device.
const ABANDONED_GRACE: Duration = Duration::from_secs(2);
/// How often the lane looks for Cancel and for the end of a job.
const POLL: Duration = Duration::from_millis(10);

/// Runs plans on the measuring lane, and everything else beside it.
pub struct Runner {
    runtime: Option<Runtime>,
    engines: Arc<[Box<dyn Engine>]>,
    store: Store,
    wake: Wake,
    /// A run goes on, or a job that was abandoned has not returned: nothing may be measured beside it.
    measuring: Arc<AtomicBool>,
    background: Arc<Semaphore>,
    /// Downloads take minutes: they wait for each other, and nothing else for them.
    downloads: Arc<Semaphore>,
    /// Other programs and slow disks may not answer for a while: they wait for each other, and nothing else for them.
    asking: Arc<Semaphore>,
}

impl std::fmt::Debug for Runner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Runner").field("store", &self.store).finish_non_exhaustive()
    }
}

impl Drop for Runner {
    /// Doesn't wait for a job that hangs.
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl Runner {
    /// A runner over `engines` that saves into `store`. `wake` is called after every event but progress.
    pub fn new(engines: Arc<[Box<dyn Engine>]>, store: Store, wake: Wake) -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("roofline-runner")
            .enable_time()
            .build()?;
        let [background, downloads, asking] = [(); 3].map(|()| Arc::new(Semaphore::new(1)));
        Ok(Self {
            downloads,
            asking,
            runtime: Some(runtime),
            engines,
            store,
            wake,
            measuring: Arc::default(),
            background,
        })
    }

    /// Takes other engines from the next run on.
    pub fn set_engines(&mut self, engines: Arc<[Box<dyn Engine>]>) {
        self.engines = engines;
    }

    /// Starts a run. [`SaveError::Occupied`] if one goes on here, [`SaveError::Busy`] if one does in another copy of the
    /// program. A folder that can't be written is no reason not to measure: the run is kept in memory, and
    /// [`Event::SaveFailed`] says so.
    pub fn start(&self, plan: Plan, paints: Paints) -> Result<ActiveRun, SaveError> {
        let Some(runtime) = &self.runtime else { return Err(SaveError::Occupied) };
        if self.measuring.swap(true, Ordering::AcqRel) {
            return Err(SaveError::Occupied);
        }
        let lock = match self.store.lock() {
            Ok(lock) => Some(lock),
            Err(SaveError::Io { .. }) => None,
            Err(busy @ (SaveError::Busy | SaveError::Occupied)) => {
                self.measuring.store(false, Ordering::Release);
                return Err(busy);
            }
        };
        // Room for everything: a window that is hidden and takes no news never holds the lane up.
        let room = PROGRESS_MAX + EVENTS_A_JOB * plan.jobs.len() + EVENTS_A_RUN;
        let (sender, receiver) = sync_channel(room);
        let waiting = Arc::new(AtomicUsize::new(0));
        let events = Events { receiver, progress: Arc::clone(&waiting) };
        let cancel = Cancel::default();
        let lane = Lane {
            engines: Arc::clone(&self.engines),
            store: self.store.clone(),
            teller: Teller { sender, progress: waiting, wake: Arc::clone(&self.wake) },
            cancel: cancel.clone(),
            paints,
            plan,
            busy: Arc::new(Busy { measuring: Arc::clone(&self.measuring), _lock: lock }),
            spared: AtomicU64::new(0),
        };
        runtime.spawn(lane.run());
        Ok(ActiveRun { events, cancel })
    }

    /// Runs light work, such as reading run files, on the background lane, one piece after another. Its result
    /// arrives on the receiver, and wakes the window.
    pub fn background<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Receiver<T> {
        self.on(Some(&self.background), work)
    }

    /// Asks other programs and slow disks, which may not answer for a while, one after another: what a person waits for goes on
    /// meanwhile. Its result arrives as that of [`Runner::background`].
    pub fn ask<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Receiver<T> {
        self.on(Some(&self.asking), work)
    }

    /// Waits for a person or a driver, beside everything else. Its result arrives as that of [`Runner::background`].
    pub fn aside<T: Send + 'static>(&self, wait: impl FnOnce() -> T + Send + 'static) -> Receiver<T> {
        self.on(None, wait)
    }

    /// Runs a download, one after another. Its result arrives as that of [`Runner::background`].
    pub fn download<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Receiver<T> {
        self.on(Some(&self.downloads), work)
    }

    fn on<T: Send + 'static>(
        &self,
        lane: Option<&Arc<Semaphore>>,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Receiver<T> {
        let (sender, receiver) = sync_channel(1);
        if let Some(runtime) = &self.runtime {
            let (lane, wake) = (lane.map(Arc::clone), Arc::clone(&self.wake));
            runtime.spawn(async move {
                let _permit = match &lane {
                    Some(lane) => lane.acquire().await.ok(),
                    None => None,
                };
                // A panic ends the task alone: the receiver sees that nothing came.
                if let Ok(value) = tokio::task::spawn_blocking(work).await {
                    sender.send(value).ok();
                }
                wake();
            });
        }
        receiver
    }
}

/// Held as long as anything is measured, also by a job that was abandoned: freed by whoever ends last.
struct Busy {
    measuring: Arc<AtomicBool>,
    _lock: Option<RunLock>,
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.measuring.store(false, Ordering::Release);
    }
}

/// What a run tells, to be read in order.
#[derive(Debug)]
pub struct Events {
    receiver: Receiver<Event>,
    progress: Arc<AtomicUsize>,
}

impl Events {
    /// Waits for the next event; an error when the run has told all.
    pub fn recv(&self) -> Result<Event, RecvError> {
        self.receiver.recv().inspect(|event| self.took(event))
    }

    /// The next event, if there is one.
    pub fn try_recv(&self) -> Result<Event, TryRecvError> {
        self.receiver.try_recv().inspect(|event| self.took(event))
    }

    fn took(&self, event: &Event) {
        if matches!(event, Event::Progress { .. }) {
            self.progress.fetch_sub(1, Ordering::AcqRel);
        }
    }
}

/// Sends events and wakes the one who reads them.
#[derive(Clone)]
struct Teller {
    sender: SyncSender<Event>,
    /// How much progress waits to be read.
    progress: Arc<AtomicUsize>,
    wake: Wake,
}

impl Teller {
    fn tell(&self, event: Event) {
        // Nobody listens any more: the run goes on and is saved all the same.
        self.sender.send(event).ok();
        (self.wake)();
    }
}

/// The measuring lane for one run.
struct Lane {
    engines: Arc<[Box<dyn Engine>]>,
    store: Store,
    teller: Teller,
    cancel: Cancel,
    paints: Paints,
    plan: Plan,
    busy: Arc<Busy>,
    /// Time of all jobs that went into no figure, in microseconds.
    spared: AtomicU64,
}

/// How a job came back.
enum Returned {
    /// With its entry, and the bench to go on with.
    Entry(Box<Entry>, Box<Bench>),
    /// Not: it panicked, or was abandoned. The outcome says which.
    Nothing(Outcome),
}

impl Lane {
    async fn run(self) {
        let window_open = self.paints.is_open();
        let facts = tokio::task::spawn_blocking(move || (machine::detect(), machine::conditions(window_open))).await;
        let (machine, conditions) = facts.unwrap_or_default();
        let mut bench = None;
        let mut run = begin(&self.plan, machine, conditions);
        self.teller.tell(Event::Begun(Box::new(run.clone())));
        self.save(&run).await;
        // Until the run ends, the window paints only when a job asks: news shows when the next entry prepares.
        let hush = self.paints.hush();
        let start = Instant::now();
        let count = self.plan.jobs.len();
        for (index, job) in self.plan.jobs.iter().enumerate() {
            if self.cancel.requested() {
                break;
            }
            self.teller.tell(Event::Started { index });
            let left_s = self.plan.suite.budget_s - self.used_s(start.elapsed());
            let budget = entry_budget(left_s, count - index, self.plan.entry_budget_s);
            let ready =
                bench.take().unwrap_or_else(|| Box::new(Bench { open: Vec::new(), machine: run.machine.clone() }));
            let returned = if self.is_alone().await {
                self.one(index, job, budget, ready).await
            } else {
                Returned::Nothing(Outcome::Skipped(
                    "an entry before it hung and still holds the device; quit Roofline and start again".to_owned(),
                ))
            };
            let entry = match returned {
                Returned::Entry(entry, returned) => {
                    bench = Some(returned);
                    *entry
                }
                Returned::Nothing(outcome) => {
                    Entry { outcome, ..Entry::pending(job.workload.clone(), job.engine, &job.device) }
                }
            };
            if let Some(place) = run.entries.get_mut(index) {
                *place = entry.clone();
            }
            self.save(&run).await;
            self.teller.tell(Event::Finished { index, entry: Box::new(entry) });
        }
        let run = self.end(run).await;
        // Devices are closed before the end is told: the program may end right after, and drivers don't bear both at once. They
        // are closed after the run was saved: engines may take seconds to end.
        tokio::task::spawn_blocking(move || drop(bench)).await.ok();
        drop(hush);
        let Self { busy, teller, .. } = self;
        drop(busy);
        teller.tell(Event::Ended(Box::new(run)));
    }

    /// Whether no abandoned job runs any more, which would share the device with what is measured next.
    async fn is_alone(&self) -> bool {
        let start = Instant::now();
        // Each running job holds one more.
        while Arc::strong_count(&self.busy) > 1 {
            if self.cancel.requested() || start.elapsed() > ABANDONED_GRACE {
                return false;
            }
            tokio::time::sleep(POLL).await;
        }
        true
    }

    /// Closes the run's file.
    async fn end(&self, mut run: Run) -> Run {
        run.ended_at = Some(Timestamp::now());
        run.state = if self.cancel.requested() { RunState::Cancelled } else { RunState::Finished };
        for entry in &mut run.entries {
            if entry.outcome == Outcome::Pending {
                entry.outcome = Outcome::Cancelled;
            }
        }
        self.save(&run).await;
        run
    }

    async fn one(&self, index: usize, job: &PlannedJob, budget: Duration, mut bench: Box<Bench>) -> Returned {
        let found = self.engines.iter().position(|engine| engine.id() == job.engine);
        let device = self.plan.devices.iter().find(|device| device.id == job.device).cloned();
        let (Some(at), Some(device)) = (found, device) else {
            return Returned::Nothing(Outcome::Unsupported(format!("the engine {} is not in this build", job.engine)));
        };
        let cancel = self.cancel.child();
        let (engines, busy, job) = (Arc::clone(&self.engines), Arc::clone(&self.busy), job.clone());
        let mut context = Context::new(cancel.clone(), budget, self.paints.clone(), self.progress_of(index));
        let spared = context.spared();
        let handle = tokio::task::spawn_blocking(move || {
            let _busy = busy;
            let engine = engines.get(at)?;
            let entry = bench.run(engine.as_ref(), &device, job, &mut context);
            Some((Box::new(entry), bench))
        });
        let returned = self.wait(handle, &cancel, budget + HANG_GRACE, &spared).await;
        self.spared.fetch_add(spared.so_far().as_micros() as u64, Ordering::AcqRel);
        returned
    }

    /// How much of the run's time is used after `elapsed`: bringing a model onto a device would leave the entries after it none.
    fn used_s(&self, elapsed: Duration) -> f64 {
        let spared = Duration::from_micros(self.spared.load(Ordering::Acquire)).as_secs_f64();
        elapsed.as_secs_f64() - spared.min(self.plan.spare_most_s)
    }

    /// What a job reports goes out while there is room; it never makes the job wait.
    fn progress_of(&self, index: usize) -> Box<dyn FnMut(crate::measure::Progress) + Send> {
        let (sender, waiting) = (self.teller.sender.clone(), Arc::clone(&self.teller.progress));
        Box::new(move |progress| {
            // Counted before it is sent, so that the reader never takes off what was not added yet.
            let full = waiting.fetch_add(1, Ordering::AcqRel) >= PROGRESS_MAX;
            if full || sender.try_send(Event::Progress { index, progress }).is_err() {
                waiting.fetch_sub(1, Ordering::AcqRel);
            }
        })
    }

    /// Waits for a job: for ever shorter than `limit`, and not much longer than Cancel.
    async fn wait(
        &self,
        mut handle: JoinHandle<Option<(Box<Entry>, Box<Bench>)>>,
        cancel: &Cancel,
        limit: Duration,
        spared: &Spared,
    ) -> Returned {
        let start = Instant::now();
        let mut cancelled_at: Option<Instant> = None;
        loop {
            if let Ok(joined) = tokio::time::timeout(POLL, &mut handle).await {
                return match joined {
                    Ok(Some((mut entry, bench))) => {
                        if entry.outcome == Outcome::Cancelled {
                            entry.outcome = ended(self.cancel.requested(), start.elapsed());
                        }
                        Returned::Entry(entry, bench)
                    }
                    Ok(None) => Returned::Nothing(Outcome::Failed("the engine is gone".to_owned())),
                    Err(error) => Returned::Nothing(Outcome::Failed(panic_message(error))),
                };
            }
            if cancel.requested() {
                let since = *cancelled_at.get_or_insert_with(Instant::now);
                let grace = if self.cancel.requested() { CANCEL_GRACE } else { OVERRUN_GRACE };
                if since.elapsed() >= grace {
                    return Returned::Nothing(stopped(self.cancel.requested(), start.elapsed()));
                }
            } else if start.elapsed() > limit + spared.so_far() {
                cancel.request();
            }
        }
    }

    /// Saves between jobs, never beside one.
    async fn save(&self, run: &Run) {
        let (store, run) = (self.store.clone(), run.clone());
        let saved = tokio::task::spawn_blocking(move || store.save(&run)).await;
        self.teller.tell(match saved {
            Ok(Ok(path)) => Event::Saved(path),
            Ok(Err(error)) => Event::SaveFailed(error.to_string()),
            Err(error) => Event::SaveFailed(panic_message(error)),
        });
    }
}

/// The outcome of a job that stopped when it was asked to: by the person, or because it overran its time.
fn ended(by_person: bool, after: Duration) -> Outcome {
    if by_person {
        return Outcome::Cancelled;
    }
    let after = duration(after.as_secs_f64());
    Outcome::Skipped(format!(
        "its time was long over when it was stopped after {after}: slower than predicted; raise it with --budget"
    ))
}

/// The outcome of a job that was asked to stop and did not.
fn stopped(by_person: bool, after: Duration) -> Outcome {
    if by_person {
        Outcome::Cancelled
    } else {
        Outcome::Failed(format!("hung: it did not end within {:.0} s and was stopped", after.as_secs_f64()))
    }
}

fn begin(plan: &Plan, machine: machine::Machine, conditions: machine::Conditions) -> Run {
    let started_at = Timestamp::now();
    let entries = plan.jobs.iter().map(|job| Entry::pending(job.workload.clone(), job.engine, &job.device));
    Run {
        format_version: FORMAT_VERSION,
        id: run_id(started_at),
        started_at,
        ended_at: None,
        state: RunState::Running,
        app: AppInfo::current(),
        suite: plan.suite.clone(),
        machine,
        conditions,
        devices: plan.devices.clone(),
        entries: entries.collect(),
        notes: plan.missing.iter().map(|reason| format!("An engine took no part: {reason}.")).collect(),
        about: None,
    }
}

/// "20261123-141502-1f0c9a7e": sorts by time, and two copies started in the same second differ.
fn run_id(started_at: Timestamp) -> String {
    let random = uuid::Uuid::new_v4().simple().to_string();
    let short: String = random.chars().take(8).collect();
    format!("{}-{short}", started_at.strftime("%Y%m%d-%H%M%S"))
}

fn panic_message(error: tokio::task::JoinError) -> String {
    let Ok(payload) = error.try_into_panic() else { return "the job was aborted".to_owned() };
    let text = payload.downcast_ref::<&str>().map(|text| (*text).to_owned());
    let text = text.or_else(|| payload.downcast_ref::<String>().cloned());
    format!("the engine panicked: {}", text.unwrap_or_else(|| "no message".to_owned()))
}

/// Collects every event of a run until it ends; for callers without a window.
pub fn collect(active: &ActiveRun, mut seen: impl FnMut(&Event)) -> Option<Box<Run>> {
    while let Ok(event) = active.events.recv() {
        seen(&event);
        if let Event::Ended(run) = event {
            return Some(run);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_person_cancels() {
        assert_eq!(stopped(true, Duration::ZERO), Outcome::Cancelled);
        assert_eq!(ended(true, Duration::ZERO), Outcome::Cancelled);
        assert!(matches!(ended(false, Duration::from_secs(23)), Outcome::Skipped(why) if why.contains("23 s")));
        assert!(matches!(stopped(false, Duration::from_secs(23)), Outcome::Failed(why) if why.contains("23 s")));
    }
}
