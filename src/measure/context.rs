//! What a job may do besides measuring: report, notice Cancel, know its deadline, let the window paint.

use std::{
    fmt,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use super::Stop;
use crate::units::Unit;

/// A request to stop, shared between the one who asks and the job that notices.
#[derive(Clone, Debug, Default)]
pub struct Cancel {
    own: Arc<AtomicBool>,
    parent: Option<Arc<AtomicBool>>,
}

impl Cancel {
    /// Asks for the stop.
    pub fn request(&self) {
        self.own.store(true, Ordering::Release);
    }

    /// Whether it was asked for, here or of the one this was made from.
    pub fn requested(&self) -> bool {
        let set = |flag: &AtomicBool| flag.load(Ordering::Acquire);
        set(&self.own) || self.parent.as_deref().is_some_and(set)
    }

    /// Whether it was asked for of the one this was made from: of the whole run, by a person.
    pub fn requested_above(&self) -> bool {
        self.parent.as_deref().is_some_and(|flag| flag.load(Ordering::Acquire))
    }

    /// One that also hears this one's request: a job's own, of its run's.
    #[must_use]
    pub fn child(&self) -> Self {
        Self { own: Arc::default(), parent: Some(Arc::clone(&self.own)) }
    }
}

/// How the window and the measuring lane keep out of each other's way.
///
/// The window counts its paints here. Between batches the lane asks for one paint (at most four a second) and waits for
/// it to end; a batch during which the window painted all the same, because of a key or the mouse, is repeated.
#[derive(Clone, Debug, Default)]
pub struct Paints(Arc<PaintsInner>);

/// Asks the window for a paint, from any thread.
type Request = Arc<dyn Fn() + Send + Sync>;

#[derive(Default)]
struct PaintsInner {
    begun: AtomicU64,
    frame_micros: AtomicU64,
    open: AtomicBool,
    /// The last paint asked for never came, as with a hidden window: waiting again would only cost time.
    asleep: AtomicBool,
    hushes: AtomicU32,
    request: Mutex<Option<Request>>,
}

impl fmt::Debug for PaintsInner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PaintsInner").field("begun", &self.begun).field("open", &self.open).finish_non_exhaustive()
    }
}

/// While it lives, the window must not repaint unless the lane asks. See [`Paints::hush`].
#[derive(Debug)]
pub struct Hush(Paints);

impl Drop for Hush {
    fn drop(&mut self) {
        self.0.0.hushes.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Paints {
    /// The window begins to paint. `previous_frame` is how long the one before took.
    pub fn begin(&self, previous_frame: Duration) {
        self.0.frame_micros.store(previous_frame.as_micros() as u64, Ordering::Relaxed);
        self.0.asleep.store(false, Ordering::Release);
        self.0.begun.fetch_add(1, Ordering::AcqRel);
    }

    /// The window is there and paints when asked.
    pub fn set_open(&self, open: bool) {
        self.0.open.store(open, Ordering::Release);
    }

    /// What the lane calls to ask for a paint.
    pub fn set_request(&self, request: Arc<dyn Fn() + Send + Sync>) {
        *self.0.request.lock().unwrap_or_else(PoisonError::into_inner) = Some(request);
    }

    /// Keeps the window still until the guard is dropped, except for paints that the lane asks for. Guards may nest.
    pub fn hush(&self) -> Hush {
        self.0.hushes.fetch_add(1, Ordering::AcqRel);
        Hush(self.clone())
    }

    /// Whether something is being timed, so that news must wait for the next paint that the lane asks for.
    pub fn hushed(&self) -> bool {
        self.0.hushes.load(Ordering::Acquire) > 0
    }

    /// Whether a window is there.
    pub fn is_open(&self) -> bool {
        self.0.open.load(Ordering::Acquire)
    }

    /// How many paints have begun so far.
    pub fn begun(&self) -> u64 {
        self.0.begun.load(Ordering::Acquire)
    }

    /// Waits for one more paint after `before` to begin and end; gives up after a quarter of a second.
    fn wait_for_one(&self, before: u64) {
        const GIVE_UP: Duration = Duration::from_millis(250);
        if !self.0.open.load(Ordering::Acquire) {
            return;
        }
        // Cloned out, so that the window may call back without waiting for this lock.
        let request = self.0.request.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(request) = request {
            request();
        }
        if self.0.asleep.load(Ordering::Acquire) {
            return;
        }
        let start = Instant::now();
        while self.begun() == before {
            if start.elapsed() >= GIVE_UP {
                self.0.asleep.store(true, Ordering::Release);
                return;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        // Presenting follows the paint and no event tells its end: the length of the last frame and half more is enough.
        let frame = Duration::from_micros(self.0.frame_micros.load(Ordering::Relaxed));
        let settle = (frame * 3 / 2).clamp(Duration::from_millis(8), GIVE_UP);
        std::thread::sleep(settle);
    }
}

/// What the job is doing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Opening the device, building kernels, filling buffers.
    Preparing,
    /// What an engine outside the program says that it does.
    Working(String),
    /// Choosing the fastest kernel.
    Tuning,
    /// Running untimed until the rate is steady.
    WarmUp,
    /// Taking samples: how many are there, and how many are wanted at least.
    Sampling {
        /// Samples so far.
        done: u32,
        /// The least number wanted.
        target: u32,
    },
    /// Comparing the result with its reference.
    Checking,
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Preparing => f.write_str("preparing"),
            Self::Working(what) => f.write_str(what),
            Self::Tuning => f.write_str("tuning"),
            Self::WarmUp => f.write_str("warming up"),
            Self::Sampling { done, target } => write!(f, "sample {done} of {}", done.max(target)),
            Self::Checking => f.write_str("checking the result"),
        }
    }
}

/// What a job tells while it runs.
#[derive(Clone, Debug, PartialEq)]
pub enum Progress {
    /// The job came to this phase.
    Phase(Phase),
    /// A batch was timed.
    Value {
        /// The metric's name.
        metric: String,
        /// The unit of the value.
        unit: Unit,
        /// The rate of the batch.
        value: f64,
        /// It belongs to the warm-up and is not a sample.
        warm_up: bool,
        /// When the batch ended: it may be read later.
        at: Instant,
    },
}

/// Time that a job's deadline was put off by, in microseconds.
#[derive(Clone, Debug, Default)]
pub struct Spared(Arc<AtomicU64>);

impl Spared {
    /// All of it until now.
    pub fn so_far(&self) -> Duration {
        Duration::from_micros(self.0.load(Ordering::Acquire))
    }

    /// What [`Context::spare`] does, for work that is done while something else holds the context.
    pub fn add(&self, time: Duration) {
        self.0.fetch_add(time.as_micros() as u64, Ordering::AcqRel);
    }
}

/// The job's side of the runner: progress out, Cancel and the deadline in.
pub struct Context {
    cancel: Cancel,
    deadline: Instant,
    spared: Spared,
    report: Box<dyn FnMut(Progress) + Send>,
    paints: Paints,
    last_paint: Instant,
}

impl fmt::Debug for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Context")
            .field("cancel", &self.cancel)
            .field("deadline", &self.deadline)
            .finish_non_exhaustive()
    }
}

impl Context {
    /// A context whose job should end within `budget`. `report` must not block.
    pub fn new(cancel: Cancel, budget: Duration, paints: Paints, report: Box<dyn FnMut(Progress) + Send>) -> Self {
        let now = Instant::now();
        Self { cancel, deadline: now + budget, spared: Spared::default(), report, paints, last_paint: now }
    }

    /// A context that reports nowhere and can't be cancelled.
    pub fn detached(budget: Duration) -> Self {
        Self::new(Cancel::default(), budget, Paints::default(), Box::new(|_| {}))
    }

    /// The cancellation point: call it at least every 100 ms of work.
    pub fn check(&self) -> Result<(), Stop> {
        if self.cancel.requested() { Err(Stop::Cancelled) } else { Ok(()) }
    }

    /// What the job's Cancel is heard through, for work that is handed on.
    pub fn cancel(&self) -> Cancel {
        self.cancel.clone()
    }

    /// Time left before the deadline.
    pub fn remaining(&self) -> Duration {
        (self.deadline + self.spared.so_far()).saturating_duration_since(Instant::now())
    }

    /// Puts the deadline off by time that went into no figure, such as that of bringing a model onto the device. Told again
    /// and again while it goes on, it also keeps the job from counting as hanging.
    pub fn spare(&self, time: Duration) {
        self.spared.add(time);
    }

    /// What [`Context::spare`] adds up to, for the one who waits for the job.
    pub fn spared(&self) -> Spared {
        self.spared.clone()
    }

    /// Says what the job is doing, and notices Cancel.
    pub fn phase(&mut self, phase: Phase) -> Result<(), Stop> {
        self.check()?;
        let (begins, timed_next) = (phase == Phase::Preparing, matches!(phase, Phase::Sampling { .. }));
        (self.report)(Progress::Phase(phase));
        if begins {
            // The end of one entry and the start of the next show now, before the canary is timed.
            self.paint();
        } else if !timed_next {
            self.let_window_paint();
        }
        Ok(())
    }

    /// Tells a timed batch's value.
    pub fn value(&mut self, metric: &str, unit: Unit, value: f64, warm_up: bool) {
        (self.report)(Progress::Value { metric: metric.to_owned(), unit, value, warm_up, at: Instant::now() });
    }

    /// Between two batches: lets the window paint, at most four times a second.
    pub fn let_window_paint(&mut self) {
        const TICK: Duration = Duration::from_millis(250);
        if self.last_paint.elapsed() >= TICK {
            self.paint();
        }
    }

    fn paint(&mut self) {
        self.paints.wait_for_one(self.paints.begun());
        self.last_paint = Instant::now();
    }

    /// How many paints of the window have begun: a batch that sees it change was disturbed.
    pub fn paints_begun(&self) -> u64 {
        self.paints.begun()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lane_asks_once_and_does_not_wait_for_a_hidden_window_again() {
        let (paints, asked) = (Paints::default(), Arc::new(AtomicU32::new(0)));
        let count = Arc::clone(&asked);
        paints.set_request(Arc::new(move || _ = count.fetch_add(1, Ordering::Relaxed)));
        paints.wait_for_one(0);
        assert_eq!(asked.load(Ordering::Relaxed), 0, "a window that isn't there is not asked");
        paints.set_open(true);
        paints.wait_for_one(paints.begun());
        assert!(paints.0.asleep.load(Ordering::Relaxed), "a hidden window is waited for once");
        paints.wait_for_one(paints.begun());
        assert_eq!(asked.load(Ordering::Relaxed), 2);
        paints.begin(Duration::ZERO);
        assert!(!paints.0.asleep.load(Ordering::Relaxed));
    }

    #[test]
    fn hushes_nest() {
        let paints = Paints::default();
        let (outer, inner) = (paints.hush(), paints.hush());
        drop(outer);
        assert!(paints.hushed());
        drop(inner);
        assert!(!paints.hushed());
    }
}
