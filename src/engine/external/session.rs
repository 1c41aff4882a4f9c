//! A session with an engine's process, which is started when it is first needed and again after it was ended.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use super::{
    Launcher, Services, kernels, models,
    protocol::{Answer, Batch, Hello, ModelFiles, Preparation, Prepared, ProbeWish, Question, ToldDevice},
    rates::Rates,
    reference,
    talk::{Patience, Talk},
};
use crate::{
    engine::{EngineId, Session, parity::Parity},
    measure::{BatchTime, Check, Context, Fingerprint, Measurement, Phase, Report, Stop},
    units::Unit,
    workload::{Dtype, Workload},
};

/// How long making ready may take at the most: large models come from a disk, and graphs are compiled.
const PREPARE_MOST: Duration = Duration::from_mins(20);
/// How long the last answers may take at the most.
const FINISH_MOST: Duration = Duration::from_mins(5);
/// How much longer than its entry a batch may take before its process is ended.
const BATCH_GRACE: Duration = Duration::from_secs(20);
/// How long the canary may take at the most.
const CANARY_MOST: Duration = Duration::from_secs(20);
/// The least share of a batch's wall time that its device can have worked: a batch is one run of work that is waited for.
const DEVICE_SHARE_LEAST: f64 = 0.5;

/// The most measurements that are kept beside an entry's headline.
const MEASUREMENTS_MAX: usize = 64;

/// An open device of an engine outside this program.
pub(super) struct ExternalSession {
    pub(super) engine: EngineId,
    launcher: Launcher,
    rates: Rates,
    pub(super) services: Services,
    pub(super) device: ToldDevice,
    talk: Option<(Talk, Hello)>,
    /// The entry that the process holds things for.
    open: Option<u64>,
    /// The process was started with TF32 for f32 operands.
    tf32: bool,
    /// Whether it runs the same model as this program does: found once.
    pub(super) parity: Option<Parity>,
    /// What is recorded of how it was started.
    recorded: BTreeMap<String, String>,
}

/// What a workload needs beside itself.
#[derive(Default)]
pub(super) struct Needs {
    pub(super) model: Option<ModelFiles>,
    pub(super) prompt: Option<Vec<Vec<u32>>>,
    pub(super) sequences: Option<Vec<Vec<u32>>>,
    pub(super) probe: Option<ProbeWish>,
}

/// An entry under way: what was made ready, and what came with the batches.
pub(super) struct Underway {
    pub(super) id: u64,
    pub(super) asked: Vec<u64>,
    pub(super) prepared: Prepared,
    hello: Hello,
    host_s: f64,
    cpu_s: Option<f64>,
    /// How long the answers took.
    elapsed_s: f64,
    batches: u32,
    /// How much longer than its work an answer to a batch of one iteration took, at the most: by poisoning, and by the way.
    beside_s: f64,
}

impl Underway {
    fn new(id: u64, asked: Vec<u64>, prepared: Prepared, hello: Hello) -> Self {
        let cpu_s = Some(0.0);
        Self { id, asked, prepared, hello, host_s: 0.0, cpu_s, elapsed_s: 0.0, batches: 0, beside_s: 0.0 }
    }

    /// Adds a batch whose answer took so long.
    fn took(&mut self, batch: &Batch, elapsed_s: f64) {
        self.host_s += batch.host_s;
        self.elapsed_s += elapsed_s;
        self.batches += 1;
        self.cpu_s = self.cpu_s.zip(batch.cpu_s).map(|(sum, more)| sum + more);
        if batch.iterations == 1 {
            self.beside_s = self.beside_s.max(elapsed_s - batch.host_s);
        }
    }

    /// Why the times of a kernel's batches can't be relied on, if they can't: a batch of many iterations leaves hardly more
    /// beside the work than a batch of one does. An engine that says less than its work took does so in proportion to it,
    /// and a machine that is busy with other things delays some answers: neither figure is worth a rank.
    pub(super) fn uncertainty(&self) -> Option<String> {
        /// Twice what a batch of one left beside it, and what a busy machine's scheduler may add.
        const AT_LEAST_S: f64 = 0.01;
        const SHARE: f64 = 0.3;
        let beside_s = f64::from(self.batches) * (2.0 * self.beside_s).max(AT_LEAST_S);
        let longer = self.elapsed_s > (1.0 + SHARE) * self.host_s + beside_s;
        longer.then(|| {
            format!(
                "its answers took {:.2} s for {:.2} s of work by its own clock: it says less than its work took, or the \
                 machine was busy with something else",
                self.elapsed_s, self.host_s
            )
        })
    }

    /// What contradicts the times of a kernel's batches all together, if anything does. One answer may be late on a busy
    /// machine; beside the work of all there is only the poisoning of outputs.
    pub(super) fn doubt(&self) -> Option<String> {
        let far_shorter = self.elapsed_s > 4.0 * self.host_s + 2.0;
        far_shorter.then(|| {
            format!(
                "says that its batches took {:.3} s, and its answers took {:.3} s, which can't be",
                self.host_s, self.elapsed_s
            )
        })
    }
}

/// What came at the end of an entry.
#[derive(Default)]
pub(super) struct Ending {
    pub(super) check: Option<Check>,
    pub(super) fingerprint: Option<Fingerprint>,
    pub(super) measurements: Vec<Measurement>,
    pub(super) notes: Vec<String>,
}

impl ExternalSession {
    pub(super) fn new(engine: EngineId, launcher: Launcher, services: Services, device: ToldDevice) -> Self {
        let recorded = BTreeMap::new();
        Self {
            engine,
            launcher,
            rates: Rates::default(),
            services,
            device,
            talk: None,
            open: None,
            tf32: false,
            parity: None,
            recorded,
        }
    }

    /// The process, started now unless it runs.
    fn talk(&mut self, context: &mut Context) -> Result<&mut (Talk, Hello), Stop> {
        if self.talk.as_ref().is_some_and(|(talk, _)| talk.is_over()) {
            self.talk = None;
        }
        if self.talk.is_none() {
            let launch = (self.launcher)(self.tf32).map_err(Stop::Failed)?;
            self.recorded = launch.settings.clone();
            context.phase(Phase::Working(format!("starting {}", launch.title)))?;
            let (mut talk, hello) = Talk::begin(launch, Some(context))?;
            if !hello.devices.iter().any(|told| (&told.id, &told.kind) == (&self.device.id, &self.device.kind)) {
                return Err(talk.nonsense(&format!("no longer has the device \"{}\"", self.device.id)));
            }
            self.talk = Some((talk, hello));
        }
        self.talk.as_mut().ok_or_else(|| Stop::Failed("the engine is gone".to_owned()))
    }

    /// Makes everything ready for a workload.
    pub(super) fn prepare(
        &mut self,
        workload: &Workload,
        needs: Needs,
        context: &mut Context,
    ) -> Result<Underway, Stop> {
        context.phase(Phase::Preparing)?;
        self.rates.afford(workload, context)?;
        let device = self.device.id.clone();
        let (talk, hello) = self.talk(context)?;
        let (id, asked) = (talk.id(), reference::spots(workload));
        let preparation = Preparation {
            id,
            device: &device,
            workload,
            model: needs.model,
            prompt: needs.prompt,
            sequences: needs.sequences,
            probe: needs.probe,
            budget_s: context.remaining().as_secs_f64(),
        };
        let question = Question::Prepare(Box::new(preparation));
        let ready = |answer: &Answer| matches!(answer, Answer::Prepared(_));
        let heard = talk.ask(&question, Some(id), Patience::aside(PREPARE_MOST), context, ready)?;
        match heard.into_iter().next_back() {
            Some(Answer::Prepared(prepared)) => {
                let hello = hello.clone();
                self.open = Some(id);
                Ok(Underway::new(id, asked, *prepared, hello))
            }
            _ => Err(talk.nonsense("did not say that it is ready")),
        }
    }

    /// Has a batch timed. What the engine says must agree with how long its answer took.
    pub(super) fn batch(
        &mut self,
        underway: &mut Underway,
        iterations: u32,
        steps: Option<u32>,
        context: &mut Context,
    ) -> Result<Batch, Stop> {
        let id = underway.id;
        let (talk, _) = self.talk.as_mut().ok_or_else(|| Stop::Failed("the engine is gone".to_owned()))?;
        let start = Instant::now();
        let patience = Patience { most: context.remaining() + BATCH_GRACE, spared: false };
        let question = Question::Batch { id, iterations, steps };
        let timed = |answer: &Answer| matches!(answer, Answer::Sample(_));
        let heard = talk.ask(&question, Some(id), patience, context, timed)?;
        let elapsed_s = start.elapsed().as_secs_f64();
        let Some(Answer::Sample(batch)) = heard.into_iter().next_back() else {
            return Err(talk.nonsense("timed no batch"));
        };
        if batch.iterations != iterations {
            let what = format!("ran {} iterations instead of {iterations}", batch.iterations);
            return Err(talk.nonsense(&what));
        }
        let streamed = batch.token_s.as_deref().unwrap_or_default();
        let most = steps.unwrap_or(0) as usize * iterations as usize;
        if let Some(doubt) = doubt(batch.host_s, elapsed_s).or_else(|| doubt_stream(streamed, most, elapsed_s)) {
            return Err(talk.nonsense(&doubt));
        }
        underway.took(&batch, elapsed_s);
        // A processor has no clock beside the host's.
        let device_s = batch.device_s.filter(|_| self.device.kind != "cpu");
        Ok(Batch { device_s, ..*batch })
    }

    /// Ends an engine whose times can't be.
    pub(super) fn disbelieve(&mut self, doubt: &str) -> Stop {
        match self.talk.as_mut() {
            Some((talk, _)) => talk.nonsense(doubt),
            None => Stop::Failed(doubt.to_owned()),
        }
    }

    /// Remembers how long an iteration of a workload took.
    pub(super) fn learn(&mut self, workload: &Workload, iteration_s: f64) {
        self.rates.learn(workload, iteration_s);
    }

    /// Hears what came of the last batch.
    pub(super) fn finish(
        &mut self,
        underway: &Underway,
        workload: &Workload,
        context: &mut Context,
    ) -> Result<Ending, Stop> {
        context.phase(Phase::Checking)?;
        let id = underway.id;
        let (talk, _) = self.talk.as_mut().ok_or_else(|| Stop::Failed("the engine is gone".to_owned()))?;
        let over = |answer: &Answer| matches!(answer, Answer::End(_));
        // Told no earlier, so that nobody can compute these alone.
        let question = Question::Finish { id, outputs: &underway.asked };
        let heard = talk.ask(&question, Some(id), Patience::aside(FINISH_MOST), context, over)?;
        self.open = None;
        let mut ending = Ending::default();
        for answer in heard {
            match answer {
                Answer::Check(outputs) if !underway.asked.is_empty() => {
                    let start = Instant::now();
                    ending.check = Some(reference::check(workload, &underway.asked, &outputs.outputs, context)?);
                    context.spare(start.elapsed());
                }
                Answer::Probe(probe) => {
                    ending.fingerprint = Some(Fingerprint { logits: probe.logits, tokens: probe.tokens });
                }
                Answer::Measurement(extra) => ending.measurements.extend(measurement(&extra)),
                Answer::Memory(memory) => {
                    let single = |metric: &str, bytes: f64| Measurement::single(metric, Unit::Byte, bytes, 0.0);
                    let device = memory.device_peak_bytes.and_then(|bytes| single("peak-memory", bytes));
                    let whole = if device.is_some() { "process-peak-memory" } else { "peak-memory" };
                    ending.measurements.extend(device);
                    ending.measurements.extend(memory.process_peak_bytes.and_then(|bytes| single(whole, bytes)));
                    let own = "the resident memory of the engine's process".to_owned();
                    let meaning = memory.device_meaning.or_else(|| memory.process_peak_bytes.map(|_| own));
                    ending.notes.extend(meaning.map(|what| format!("Peak memory is {what}.")));
                }
                Answer::End(farewell) => ending.notes.extend(farewell.notes),
                _ => {}
            }
            if ending.measurements.len() > MEASUREMENTS_MAX {
                return Err(talk.nonsense(&format!("sent more than {MEASUREMENTS_MAX} measurements")));
            }
        }
        Ok(ending)
    }

    /// The report of an entry, without its headline.
    pub(super) fn report(&self, underway: Underway, ending: Ending) -> Report {
        let Underway { prepared, hello, host_s, cpu_s, .. } = underway;
        let mut settings = hello.versions;
        settings.extend(hello.settings);
        settings.extend(prepared.settings);
        // What is known here wins over what the engine says.
        settings.extend(self.recorded.clone());
        let processors_used = cpu_s.filter(|_| host_s > 0.0).map(|cpu_s| cpu_s / host_s).filter(|used| *used > 0.0);
        let mut notes = hello.notes;
        notes.extend(prepared.notes);
        notes.extend(ending.notes);
        notes.extend(self.waited(processors_used, &settings));
        once_each(&mut notes);
        Report {
            measurements: ending.measurements,
            check: ending.check,
            precision: prepared.precision,
            variant: prepared.variant,
            settings,
            notes,
            fingerprint: ending.fingerprint,
            functional: self.device.functional.clone(),
            disagrees: None,
            unproven: None,
            processors_used,
        }
    }

    /// On the processor: a process that got less of it than it has threads shared it with others.
    fn waited(&self, used: Option<f64>, settings: &BTreeMap<String, String>) -> Option<String> {
        /// Frameworks leave threads idle at their barriers too.
        const SHARE: f64 = 0.6;
        let threads: f64 = settings.get("threads")?.parse().ok().filter(|threads| *threads > 0.0)?;
        let used = used.filter(|used| self.device.kind == "cpu" && *used < SHARE * threads)?;
        Some(format!(
            "Its {threads} threads had {used:.2} processors on average while it was timed: they waited for each other, for \
             memory, or for other programs."
        ))
    }

    fn perform(&mut self, workload: &Workload, context: &mut Context) -> Result<Report, Stop> {
        match workload {
            Workload::Gemm(_) | Workload::Attention(_) | Workload::Bandwidth(_) => {
                kernels::rate(self, workload, context)
            }
            Workload::TensorLimit(_) => kernels::limit(self, workload, context),
            Workload::ModelLoad(load) => models::load(self, load, context),
            Workload::Inference(inference) => models::inference(self, inference, context),
            Workload::Training(training) => models::training(self, training, context),
            Workload::BandwidthSweep(_) => Err(Stop::Unsupported(format!(
                "bandwidth by size is measured by Roofline's own shaders alone: calls from {} would count more than small \
                 arrays",
                self.engine.title()
            ))),
        }
    }
}

impl Session for ExternalSession {
    fn run(&mut self, workload: &Workload, context: &mut Context) -> Result<Report, Stop> {
        // TF32 is chosen when some frameworks start.
        let tf32 = matches!(workload, Workload::Gemm(gemm) if gemm.dtype == Dtype::Tf32);
        if tf32 != self.tf32 {
            self.talk = None;
            self.tf32 = tf32;
        }
        let outcome = self.perform(workload, context);
        let left = self.open.take();
        match outcome {
            // Whoever failed may fail again for what is left of it.
            Err(Stop::Failed(_) | Stop::Cancelled) => self.talk = None,
            // What is left of an entry that did not end must not lie in memory beside the next.
            Err(_) if left.is_some() => {
                if let Some((talk, _)) = &mut self.talk {
                    talk.cancel(left);
                }
            }
            _ => {}
        }
        outcome
    }

    fn canary(&mut self, context: &mut Context) -> Result<Option<f64>, Stop> {
        let device = self.device.id.clone();
        let Some((talk, _)) = self.talk.as_mut().filter(|(talk, _)| self.device.canary && !talk.is_over()) else {
            return Ok(None);
        };
        let id = talk.id();
        let question = Question::Canary { id, device: &device };
        let timed = |answer: &Answer| matches!(answer, Answer::Canary(_));
        let heard = talk.ask(&question, Some(id), Patience::aside(CANARY_MOST), context, timed)?;
        Ok(heard.into_iter().find_map(|answer| match answer {
            Answer::Canary(canary) => Some(canary.seconds),
            _ => None,
        }))
    }
}

/// What contradicts the time that an engine says its batch took, if anything does: no work takes longer than the answer, and
/// an answer holds little beside the work.
fn doubt(host_s: f64, elapsed_s: f64) -> Option<String> {
    let longer = host_s > 1.02 * elapsed_s + 0.002;
    // Poisoning outputs and putting a cache back are not timed, and a busy machine may delay an answer.
    let far_shorter = elapsed_s > 4.0 * host_s + 1.0;
    (longer || far_shorter).then(|| {
        format!("says that its batch took {host_s:.4} s, and its answer took {elapsed_s:.4} s, which can't be")
    })
}

/// What contradicts the times from token to token, if anything does: they are of one pass or fewer than the batch had, and
/// passed before the answer came.
fn doubt_stream(times: &[f64], most: usize, elapsed_s: f64) -> Option<String> {
    let sum: f64 = times.iter().sum();
    let wrong = times.len() > most || sum > 1.02 * elapsed_s + 0.002;
    wrong.then(|| {
        let count = times.len();
        format!("says that {count} tokens came one by one in {sum:.4} s, of {most} in {elapsed_s:.4} s, which can't be")
    })
}

/// A batch's time. A device's that is far below the wall time is of something else than the batch, and isn't used.
pub(super) fn time(batch: &Batch) -> BatchTime {
    let device_s = batch.device_s.filter(|device_s| *device_s >= DEVICE_SHARE_LEAST * batch.host_s);
    BatchTime { host_s: batch.host_s, device_s }
}

/// What is said again is not said.
fn once_each(notes: &mut Vec<String>) {
    let mut said = BTreeSet::new();
    notes.retain(|note| said.insert(note.clone()));
}

fn measurement(extra: &super::protocol::Extra) -> Option<Measurement> {
    use crate::measure::{Sample, StopReason};
    let one = |value: &f64| Sample { value: *value, iterations: 1, host_s: 0.0, device_s: None, disturbed: false };
    let stop = if extra.samples.len() == 1 { StopReason::Single } else { StopReason::SampleLimit };
    Measurement::of_samples(&extra.metric, extra.unit, extra.samples.iter().map(one).collect(), stop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_that_contradicts_the_answer_is_doubted() {
        assert_eq!(doubt(0.100, 0.104), None);
        assert_eq!(doubt(0.100, 0.350), None, "poisoning");
        assert!(doubt(0.2, 0.1).is_some(), "more time than passed");
        assert!(doubt(0.001, 2.0).is_some(), "far less time than passed");
    }

    fn underway() -> Underway {
        Underway::new(1, Vec::new(), Prepared::default(), Hello::default())
    }

    #[test]
    fn batches_that_leave_more_beside_them_than_one_iteration_does_are_uncertain() {
        // One iteration of 10 ms and ten batches of 10, with a poisoning of 8 ms before each.
        let told = |share: f64| {
            let mut underway = underway();
            for iterations in [1, 10, 10, 10, 10, 10, 10, 10, 10, 10, 10] {
                let work_s = 0.01 * f64::from(iterations);
                let batch = Batch { iterations, host_s: share * work_s, ..Batch::default() };
                underway.took(&batch, work_s + 0.008);
            }
            underway.uncertainty()
        };
        assert_eq!(told(1.0), None);
        assert_eq!(told(0.9), None);
        assert!(told(1.0 / 3.0).is_some_and(|why| why.contains("0.34 s of work")), "{:?}", told(1.0 / 3.0));
    }

    #[test]
    fn all_batches_together_leave_less_room_than_one() {
        let underway = |host_s, elapsed_s| Underway { host_s, elapsed_s, ..underway() };
        assert_eq!(underway(1.2, 2.6).doubt(), None, "poisoning takes as long as writing");
        assert_eq!(doubt(0.1, 1.0), None, "one answer may be late");
        assert!(underway(1.2, 12.0).doubt().is_some(), "all of them may not");
    }

    #[test]
    fn a_device_that_hardly_worked_tells_no_time_and_tokens_pass_within_the_answer() {
        let batch = |device_s| Batch { host_s: 0.1, device_s, ..Batch::default() };
        assert_eq!(time(&batch(Some(0.09))).device_s, Some(0.09));
        assert_eq!(time(&batch(Some(0.02))).device_s, None);
        assert_eq!(doubt_stream(&[], 0, 0.1), None);
        assert_eq!(doubt_stream(&[0.01; 8], 16, 0.1), None);
        assert!(doubt_stream(&[0.01; 17], 16, 0.5).is_some(), "more than were made");
        assert!(doubt_stream(&[0.1; 8], 16, 0.5).is_some(), "longer than the answer");
    }

    #[test]
    fn a_note_is_kept_once() {
        let mut notes = ["b", "a", "b", "b"].map(str::to_owned).to_vec();
        once_each(&mut notes);
        assert_eq!(notes, ["b", "a"]);
    }
}
