//! Questions and answers with a child process: each has its time, and whoever overruns it, talks nonsense or dies is ended.

use std::time::{Duration, Instant};

use super::{
    Launch,
    protocol::{Answer, BYTES_MAX, Hello, MESSAGES_MAX, Question, VERSION},
};
use crate::{
    engine::supervise::{Said, Supervised},
    measure::{Context, Phase, Stop},
    units::duration,
};

/// How often Cancel and the deadline are looked at while an answer is awaited.
const POLL: Duration = Duration::from_millis(10);
/// How long an engine has to stop what it does.
const CANCEL_GRACE: Duration = Duration::from_millis(300);
/// How long a framework may take to be imported: from a cold disk that is tens of seconds.
const HELLO_MOST: Duration = Duration::from_mins(1);
/// How long the last words of an engine that ended may be on their way, where something that it started holds its output open.
const LAST_WORDS: Duration = Duration::from_millis(200);

/// How long an answer may take, and whether that time is the entry's.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience {
    /// At the most.
    pub(super) most: Duration,
    /// It goes into no figure: the entry's deadline is put off meanwhile.
    pub(super) spared: bool,
}

impl Patience {
    /// For work that goes into no figure.
    pub(super) const fn aside(most: Duration) -> Self {
        Self { most, spared: true }
    }
}

/// A conversation. After an error that ends it, [`Talk::is_over`].
pub(super) struct Talk {
    child: Supervised,
    /// What it was started with must stay as long as it runs.
    launch: Launch,
    over: bool,
    next_id: u64,
}

/// How a question ended that was answered by several messages.
pub(super) type Heard = Vec<Answer>;

impl Talk {
    /// Starts the engine and asks who it is. It can be cancelled through `context`, if there is one.
    pub(super) fn begin(launch: Launch, context: Option<&mut Context>) -> Result<(Self, Hello), Stop> {
        let child = Supervised::start(&launch.program).map_err(Stop::Failed)?;
        let mut talk = Self { child, launch, over: false, next_id: 1 };
        let mut detached;
        let context = if let Some(context) = context {
            context
        } else {
            detached = Context::detached(HELLO_MOST);
            &mut detached
        };
        let wants = |answer: &Answer| matches!(answer, Answer::Hello(_));
        let question = Question::Hello { protocol: VERSION };
        let heard = talk.ask(&question, None, Patience::aside(HELLO_MOST), context, wants)?;
        match heard.into_iter().next_back() {
            Some(Answer::Hello(hello)) => Ok((talk, *hello)),
            _ => Err(talk.nonsense("did not say who it is")),
        }
    }

    /// Whether the engine was ended.
    pub(super) const fn is_over(&self) -> bool {
        self.over
    }

    /// The next number for a question.
    pub(super) const fn id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }

    /// Asks, and listens until an answer that `ends` it, which comes last. Refusals end it too.
    pub(super) fn ask(
        &mut self,
        question: &Question<'_>,
        id: Option<u64>,
        patience: Patience,
        context: &mut Context,
        ends: impl Fn(&Answer) -> bool,
    ) -> Result<Heard, Stop> {
        context.check()?;
        let text = serde_json::to_string(question).map_err(|error| Stop::Failed(error.to_string()))?;
        if self.child.tell(&text).is_err() {
            return Err(self.died());
        }
        let mut heard = Heard::new();
        let (start, mut bytes, mut messages) = (Instant::now(), 0_usize, 0_usize);
        let (mut spared_until, mut ended) = (start, None);
        loop {
            let said = self.child.hear(POLL);
            if patience.spared {
                context.spare(spared_until.elapsed());
                spared_until = Instant::now();
            }
            if context.check().is_err() {
                return Err(self.stopped(id, start.elapsed(), context));
            }
            if start.elapsed() > patience.most {
                let late = format!("did not answer within {}", duration(patience.most.as_secs_f64()));
                return Err(self.nonsense(&late));
            }
            let line = match said {
                Said::Nothing => {
                    if self.child.wait(Duration::ZERO).is_some()
                        && ended.get_or_insert_with(Instant::now).elapsed() > LAST_WORDS
                    {
                        return Err(self.died());
                    }
                    continue;
                }
                Said::Closed => return Err(self.died()),
                Said::Rubbish(what) => return Err(self.nonsense(&format!("sent {what}"))),
                Said::Line(line) => line,
            };
            (bytes, messages) = (bytes + line.len(), messages + 1);
            if bytes > BYTES_MAX || messages > MESSAGES_MAX {
                return Err(self.nonsense("talks without end"));
            }
            let answer = Answer::read(&line).map_err(|what| self.nonsense(&what))?;
            if answer.id().is_some_and(|about| Some(about) != id) {
                return Err(self.nonsense("answered a question that was not asked"));
            }
            match answer {
                // The window would paint for it, which must not happen while a batch is timed.
                Answer::Phase(doing) if patience.spared => context.phase(Phase::Working(doing_text(&doing)))?,
                Answer::Phase(_) => {}
                Answer::Unsupported(refusal) => return Err(Stop::Unsupported(refusal.reason)),
                Answer::Skipped(refusal) => return Err(Stop::Skipped { reason: refusal.reason, estimate_s: None }),
                Answer::Failed(refusal) => return Err(Stop::Failed(refusal.reason)),
                answer => {
                    let last = ends(&answer);
                    if !last && !comes_before_the_end(question, &answer) {
                        return Err(self.nonsense("answered another question than was asked"));
                    }
                    heard.push(answer);
                    if last {
                        return Ok(heard);
                    }
                }
            }
        }
    }

    /// What follows from Cancel while a question is open. One that comes when the entry's time is over is the runner's: whoever
    /// then doesn't answer that either is no slow engine, but one that hangs.
    fn stopped(&mut self, id: Option<u64>, waited: Duration, context: &Context) -> Stop {
        let over = context.remaining().is_zero() && !context.cancel().requested_above();
        if self.cancel(id) || !over {
            return Stop::Cancelled;
        }
        Stop::Failed(format!(
            "{} did not answer within {}, nor when it was asked to stop, and was ended: it hangs, or its work can't be \
             interrupted",
            self.launch.title,
            duration(waited.as_secs_f64())
        ))
    }

    /// Asks it to let go of an entry, and ends it if it doesn't. Whether it did.
    pub(super) fn cancel(&mut self, id: Option<u64>) -> bool {
        let told = id.and_then(|id| serde_json::to_string(&Question::Cancel { id }).ok());
        let start = Instant::now();
        if told.is_some_and(|text| self.child.tell(&text).is_ok()) {
            while start.elapsed() < CANCEL_GRACE {
                if let Said::Line(line) = self.child.hear(POLL)
                    && matches!(Answer::read(&line), Ok(Answer::Cancelled(stopped)) if Some(stopped.id) == id)
                {
                    return true;
                }
            }
        }
        self.finish(true);
        false
    }

    /// It can't be trusted any more. The sentence says what it did.
    pub(super) fn nonsense(&mut self, what: &str) -> Stop {
        let errors = self.child.errors();
        let words = errors.lines().rev().map(str::trim).find(|line| !line.is_empty());
        let words = words.map_or_else(String::new, |line| {
            format!("; the last that it wrote: {}", line.chars().take(300).collect::<String>())
        });
        self.finish(true);
        Stop::Failed(format!("{} {what} and was ended{words}", self.launch.title))
    }

    fn died(&mut self) -> Stop {
        let obituary = self.child.obituary();
        self.finish(true);
        Stop::Failed(format!("{} ended before it answered ({obituary})", self.launch.title))
    }

    /// Ends the engine.
    pub(super) fn finish(&mut self, at_once: bool) {
        if !self.over && !at_once {
            let text = serde_json::to_string(&Question::Shutdown).unwrap_or_default();
            self.child.tell(&text).ok();
        }
        self.over = true;
        self.child.end(at_once);
    }
}

impl Drop for Talk {
    fn drop(&mut self) {
        if !self.over {
            self.finish(false);
        }
    }
}

/// Whether an answer is one of several: only the last question of an entry has such.
const fn comes_before_the_end(question: &Question<'_>, answer: &Answer) -> bool {
    matches!(question, Question::Finish { .. })
        && matches!(answer, Answer::Measurement(_) | Answer::Probe(_) | Answer::Check(_) | Answer::Memory(_))
}

/// "loading weights, 3 of 32".
fn doing_text(doing: &super::protocol::Doing) -> String {
    match (doing.done, doing.total) {
        (Some(done), Some(total)) if total > 0.0 && done.is_finite() => {
            format!("{}, {done:.0} of {total:.0}", doing.text)
        }
        _ => doing.text.clone(),
    }
}
