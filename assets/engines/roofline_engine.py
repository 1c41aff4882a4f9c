"""The harness of Roofline's external engines: the protocol of docs/engine-protocol.md, and nothing of any framework.

A framework's part subclasses `Engine` (what there is, how to prepare a workload) and `Task` (what one iteration is),
and calls `serve`. The harness reads and checks questions, times batches, reports memory, notices Cancel and the end of
standard input while work goes on, and turns whatever goes wrong into an answer. It needs Python 3.11 and the standard
library; operands are made faster where NumPy is there.
"""

import _thread
import contextlib
import json
import math
import os
import platform
import queue
import signal
import sys
import threading
import time
import traceback

import roofline_system
from roofline_pace import CHECKED_BELOW, CHECKED_S, CHECKED_TOKENS, judge, probe
from roofline_values import BITS, SEEDS, TRIAD_SCALE, WRITTEN, operand, unit

__all__ = ["BITS", "CHECKED_BELOW", "CHECKED_S", "CHECKED_TOKENS", "SEEDS", "TRIAD_SCALE", "WRITTEN"]
__all__ += ["judge", "operand", "probe", "unit"]

PROTOCOL = 1
LINE_MOST = 1 << 20
REASON_MOST = 2000
# Seconds that one entry may take where Roofline doesn't say.
BUDGET_S = 120.0
# Seconds between two phases that are sent.
PHASE_EVERY_S = 0.1
# A pass in which every token is read at once is added while such passes took less than this share of the timed ones.
STREAMED_SHARE = 0.2
UNITS = ("flop-per-second", "byte-per-second", "token-per-second", "byte", "second", "nat")


class Unsupported(Exception):
    """This engine or device can't do it; the text says why."""


class Skipped(Exception):
    """It could be done but would cost more memory or time than there is; the text has the numbers."""


class Failed(Exception):
    """It went wrong, or gave no usable result."""


class Cancelled(BaseException):
    """Roofline asked for it. Not an `Exception`, so that no framework catches it."""


# What an engine is


class Task:
    """A prepared workload. Everything about it that a reader must know is in its fields."""

    def __init__(self, precision, variant):
        self.precision = precision
        self.variant = variant
        self.settings = {}
        self.notes = []
        # What the device's peak memory means, and the framework's name for it.
        self.device_meaning = None
        self.trainable_parameters = None

    def poison(self):
        """Overwrites the outputs, untimed, before every batch."""

    # A method that puts things back, untimed, before every iteration; None where nothing has to be.
    rewind = None

    def run(self, iterations, steps, point):
        """Does the work so many times, and only what is needed to launch it. Calls `point` between iterations."""
        raise NotImplementedError

    def stream(self, steps):
        """For decode: one pass in which each token is read at once; the times from token to token, or None."""
        return None

    def values(self):
        """Quantities that the batch found, by metric."""
        return {}

    def take_losses(self):
        """The losses of the steps since the last call, or None where there are none."""
        return None

    def outputs(self, indices):
        """The asked-for outputs of the last batch as floats."""
        return []

    def measurements(self):
        """More figures, taken now: (metric, unit, samples)."""
        return []

    def probe(self, logits, tokens):
        """(the logits at these ids after the whole prompt of the first sequence, the greedy tokens that follow it)."""
        raise Unsupported("this workload has no logits")

    def device_peak(self):
        """The peak of the device's memory in bytes, or None."""
        return None

    def free(self):
        """Gives everything back."""


class Engine:
    """A framework."""

    name = "engine"

    def hello(self):
        """The fields of the answer to `hello` but for type, protocol and engine."""
        raise NotImplementedError

    def prepare(self, question, job):
        """A `Task` that is ready, each of its paths having run once."""
        raise NotImplementedError

    def canary(self, device):
        """Does one fixed short piece of work, of about 10 ms; its time in seconds."""
        raise Unsupported(f"{device} has no canary")

    def synchronize(self):
        """Waits until the device has done all that it was given."""

    def device_clock(self):
        """A function that, called after the work, gives the device's own time in seconds; None where there is none."""
        return None

    def is_out_of_memory(self, error):
        """Whether an exception means that memory didn't suffice."""
        return isinstance(error, MemoryError)

    def free(self):
        """Gives back what tasks left behind, such as cached memory."""


class Job:
    """What `Engine.prepare` may use of the harness."""

    def __init__(self, server, question):
        self._server = server
        self._id = question["id"]
        budget = question.get("budget_s")
        self.budget_s = float(budget) if isinstance(budget, (int, float)) and budget > 0 else BUDGET_S

    def point(self):
        """Raises `Cancelled` if Roofline asked for it."""
        self._server.point()

    @contextlib.contextmanager
    def whole(self):
        """Lets Cancel wait: a module that is left half imported can't be imported again."""
        self._server.shielded = True
        try:
            yield
        finally:
            self._server.shielded = False
        self.point()

    def phase(self, text, done=None, total=None):
        """Tells a person what takes so long."""
        self._server.phase(self._id, text, done, total)

    def afford(self, seconds, what):
        """Raises `Skipped` where `what` would take longer than the entry may, what `prepare` takes not counted."""
        if seconds > self.budget_s:
            raise Skipped(
                f"{what} would take about {seconds:.0f} s, and the entry has {self.budget_s:.0f} s; raise its budget"
            )


# Questions


class Fields(dict):
    """An object of a question, whose missing fields are named in the answer."""

    def __missing__(self, name):
        raise Failed(f"the question lacks the field {name}")


def _whole(value, most=1 << 62):
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= most


def _whole_list(value, most):
    return isinstance(value, list) and len(value) <= most and all(_whole(item) for item in value)


def _table(value):
    rows = isinstance(value, list) and value and all(_whole_list(row, 1 << 20) and row for row in value)
    return bool(rows) and len({len(row) for row in value}) == 1


def wrong(question):
    """What is wrong with a question, or None."""
    kind = question.get("type")
    if kind == "hello":
        return None if _whole(question.get("protocol")) else "hello without a protocol"
    if kind == "shutdown":
        return None
    if kind not in ("prepare", "batch", "finish", "canary", "cancel"):
        return f"the type {str(kind)[:80]!r} isn't known"
    if not _whole(question.get("id")):
        return f"{kind} without an id"
    if kind == "batch":
        steps = question.get("steps")
        if not _whole(question.get("iterations"), 1 << 31) or question["iterations"] == 0:
            return "batch without iterations"
        return None if steps is None or (_whole(steps, 1 << 31) and steps > 0) else "batch with wrong steps"
    if kind == "finish":
        return None if _whole_list(question.get("outputs"), 1 << 16) else "finish without outputs, which are indices"
    if kind == "canary":
        return None if isinstance(question.get("device"), str) else "canary without a device"
    return _wrong_prepare(question) if kind == "prepare" else None


def _wrong_prepare(question):
    workload, model, probe = (question.get(name) for name in ("workload", "model", "probe"))
    if not isinstance(question.get("device"), str):
        return "prepare without a device"
    if not isinstance(workload, dict) or not isinstance(workload.get("kind"), str):
        return "prepare without a workload"
    if model is not None and not (
        isinstance(model, dict) and isinstance(model.get("path"), str) and isinstance(model.get("format"), str)
    ):
        return "a model needs a path and a format"
    for name in ("prompt", "sequences"):
        if question.get(name) is not None and not _table(question[name]):
            return f"{name} must be rows of token ids, all of one length"
    if probe is not None and not (
        isinstance(probe, dict) and _whole_list(probe.get("logits"), 1 << 16) and _whole(probe.get("tokens"), 4096)
    ):
        return "a probe needs logits and tokens"
    return None


# The process


def describe_error(error):
    """One line that names the cause."""
    text = " ".join(str(error).split())
    name = type(error).__name__
    return (text if name in ("Unsupported", "Skipped", "Failed") and text else f"{name}: {text}")[:REASON_MOST]


class Server:
    """The loop of questions and answers."""

    def __init__(self, engine):
        self.engine = engine
        self.questions = queue.Queue(maxsize=16)
        self.cancel_id = None
        self.open_id = None
        self.working = False
        self.shielded = False
        self.task = None
        self.asked = None
        self.told = 0
        self.phase_at = 0.0
        self.streamed_s = 0.0
        self.timed_s = 0.0
        # Frameworks print; the protocol's lines go through a copy of standard output that nobody else has.
        sys.stdout.flush()
        self.out = os.dup(1)
        os.dup2(2, 1)
        sys.stdout.reconfigure(line_buffering=True)
        self.input = os.fdopen(os.dup(0), "rb")
        nothing = os.open(os.devnull, os.O_RDONLY)
        os.dup2(nothing, 0)
        os.close(nothing)

    def send(self, **message):
        line = json.dumps(message, allow_nan=False, separators=(",", ":"), ensure_ascii=False)
        line = line.encode("utf-8", "replace") + b"\n"
        if len(line) > LINE_MOST:
            raise Failed(f"an answer of {len(line)} bytes is longer than a line may be")
        while line:
            try:
                line = line[os.write(self.out, line) :]
            except BrokenPipeError:
                end()

    def phase(self, identity, text, done, total):
        now = time.monotonic()
        if now - self.phase_at >= PHASE_EVERY_S:
            self.phase_at = now
            self.send(type="phase", id=identity, text=text[:200], done=done, total=total)

    def point(self):
        if self.cancel_id is not None and self.cancel_id == self.open_id:
            raise Cancelled

    # Reading, on a thread of its own.

    def read(self):
        while True:
            line = self.input.readline(LINE_MOST + 1)
            if not line:
                end()
            try:
                question = json.loads(line, object_hook=Fields)
                problem = wrong(question) if isinstance(question, dict) else "it isn't an object"
            except (ValueError, RecursionError):
                question, problem = None, "it isn't JSON"
            if problem:
                question = {"type": "wrong", "problem": problem, "id": self._id_of(question)}
            elif question["type"] == "cancel":
                self._cancel(question["id"])
            try:
                self.questions.put_nowait(question)
            except queue.Full:
                sys.stderr.write("more questions than answers\n")
                end(2)

    @staticmethod
    def _id_of(question):
        identity = question.get("id") if isinstance(question, dict) else None
        return identity if _whole(identity) else 0

    def _cancel(self, identity):
        self.cancel_id = identity
        # Python's own code, such as the loading of a model, is left at its next step.
        if self.working and identity == self.open_id:
            _thread.interrupt_main(signal.SIGINT)

    def _interrupted(self, _signal, _frame):
        if self.cancel_id is None:
            end(130)
        if self.working and not self.shielded and self.cancel_id == self.open_id:
            # Once only: what is cleaned up on the way out is not cut short.
            self.working = False
            raise Cancelled

    # Answering, on the main thread.

    def serve(self):
        signal.signal(signal.SIGINT, self._interrupted)
        signal.signal(signal.SIGTERM, _terminated)
        threading.Thread(target=self.read, name="questions", daemon=True).start()
        while True:
            try:
                self.turn(self.questions.get())
            except Cancelled:
                self.working = False
                self.drop()

    def turn(self, question):
        """Deals with one question."""
        kind = question["type"]
        if kind == "shutdown":
            self.drop()
            end()
        elif kind == "wrong":
            self.drop()
            self.send(
                type="failed", id=question["id"], reason=f"the question can't be understood: {question['problem']}"
            )
        elif kind == "cancel":
            # The only place that answers it, so that each Cancel has one answer, after all that crossed with it.
            self.drop()
            self.cancel_id = None
            self.send(type="cancelled", id=question["id"])
        else:
            self.answer(question)

    def answer(self, question):
        """Answers one question; whatever goes wrong becomes the answer."""
        identity = question.get("id", 0)
        handler = {
            "hello": self.hello,
            "prepare": self.prepare,
            "batch": self.batch,
            "finish": self.finish,
            "canary": self.canary,
        }[question["type"]]
        failure = None
        try:
            self.open_id = identity
            self.working = True
            self.point()
            answers = handler(question)
            self.working = False
            for message in answers:
                self.send(**message)
            return
        except Cancelled:
            self.working = False
        except BaseException as error:
            self.working = False
            if isinstance(error, SystemExit):
                error = Failed(f"the framework wanted to end the process: {error}")
            failure = self._kind_of(error), self._reason_of(error)
        # Only here are the frames of what went wrong gone, and with them what they held.
        self.drop()
        if failure is not None and question["type"] == "hello":
            sys.stderr.write(f"{failure[1]}\n")
            end(1)
        elif failure is not None:
            self.send(type=failure[0], id=identity, reason=failure[1])

    def _kind_of(self, error):
        if isinstance(error, Unsupported):
            return "unsupported"
        return "skipped" if isinstance(error, Skipped) or self._out_of_memory(error) else "failed"

    def _out_of_memory(self, error):
        return isinstance(error, Exception) and self.engine.is_out_of_memory(error)

    def _reason_of(self, error):
        if isinstance(error, (Unsupported, Skipped, Failed)):
            return describe_error(error) or "no reason was given"
        if self._out_of_memory(error):
            return f"memory doesn't suffice: {describe_error(error)}"[:REASON_MOST]
        traceback.print_exception(error, file=sys.stderr)
        return describe_error(error)

    def drop(self):
        """Frees the open entry. What goes wrong in it is told on standard error alone."""
        task, self.task, self.asked = self.task, None, None
        try:
            if task is not None:
                task.free()
            del task
            self.engine.free()
        except Exception:
            traceback.print_exc(file=sys.stderr)

    def hello(self, _question):
        hello = self.engine.hello()
        settings = {
            "process-peak": "of the entry" if roofline_system.process_peak_reset() else "since the engine started"
        }
        settings.update(hello.pop("settings", {}))
        versions = {"python": platform.python_version(), **hello.pop("versions", {})}
        notes = list(hello.pop("notes", []))
        if roofline_system.translated():
            notes.append("This Python is built for x86-64 and is translated (Rosetta): choose one for arm64.")
        return [
            dict(
                type="hello",
                protocol=PROTOCOL,
                engine=self.engine.name,
                versions=versions,
                settings=settings,
                notes=notes,
                **hello,
            )
        ]

    def prepare(self, question):
        self.drop()
        roofline_system.process_peak_reset()
        self.streamed_s = self.timed_s = 0.0
        task = self.engine.prepare(question, Job(self, question))
        self.task, self.asked, self.told = task, question, len(task.notes)
        answer = dict(
            type="prepared",
            id=question["id"],
            precision=task.precision,
            variant=task.variant,
            settings={name: str(value) for name, value in task.settings.items()},
            notes=list(task.notes),
        )
        if task.trainable_parameters is not None:
            answer["trainable_parameters"] = task.trainable_parameters
        return [answer]

    def opened(self, question):
        if self.task is None or self.asked["id"] != question["id"]:
            raise Failed(f"{question['type']} for an entry that isn't prepared")
        return self.task

    def batch(self, question):
        task, steps = self.opened(question), question.get("steps")
        iterations = question["iterations"]
        task.poison()
        if task.rewind is None:
            host_s, device_s, cpu_s = self.time(task, iterations, steps)
        else:
            host_s, device_s, cpu_s = 0.0, 0.0, 0.0
            for _ in range(iterations):
                task.rewind()
                one = self.time(task, 1, steps)
                host_s, cpu_s = host_s + one[0], cpu_s + one[2]
                device_s = None if one[1] is None or device_s is None else device_s + one[1]
        return [
            dict(
                type="sample",
                id=question["id"],
                iterations=iterations,
                host_s=host_s,
                device_s=device_s,
                cpu_s=cpu_s,
                values=task.values(),
                token_s=self.stream(task, host_s / iterations, steps, host_s),
                losses=task.take_losses(),
            )
        ]

    def time(self, task, iterations, steps):
        engine, point = self.engine, self.point
        engine.synchronize()
        cpu = time.process_time()
        start = time.perf_counter()
        clock = engine.device_clock()
        task.run(iterations, steps, point)
        device_s = None if clock is None else clock()
        engine.synchronize()
        host_s = time.perf_counter() - start
        return host_s, device_s, time.process_time() - cpu

    def stream(self, task, pass_s, steps, host_s):
        """Adds a pass in which every token is read at once, now and then: it costs about as much as a timed one."""
        self.timed_s += host_s
        if type(task).stream is Task.stream:
            return None
        if self.streamed_s + pass_s > STREAMED_SHARE * self.timed_s and self.streamed_s > 0:
            return None
        start = time.perf_counter()
        if task.rewind is not None:
            task.rewind()
        gaps = task.stream(steps)
        if gaps is not None:
            self.streamed_s += time.perf_counter() - start
        return gaps

    def finish(self, question):
        task, identity = self.opened(question), question["id"]
        answers = []
        # Read first: the passes that follow write other outputs and need other memory.
        check = self.check(task, question["outputs"])
        memory = dict(
            type="memory",
            id=identity,
            device_peak_bytes=task.device_peak(),
            device_meaning=task.device_meaning,
            process_peak_bytes=roofline_system.process_peak(),
        )
        for metric, unit_name, samples in task.measurements():
            kept = [float(value) for value in samples if math.isfinite(value)]
            if kept and unit_name in UNITS:
                answers.append(dict(type="measurement", id=identity, metric=metric, unit=unit_name, samples=kept))
        asked = self.asked.get("probe")
        if asked is not None:
            logits, tokens = task.probe(asked["logits"], asked["tokens"])
            pairs = [[index, finite(value, "logit", index)] for index, value in zip(asked["logits"], logits)]
            answers.append(dict(type="probe", id=identity, logits=pairs, tokens=[int(token) for token in tokens]))
        answers += [check, memory]
        notes = task.notes[self.told :]
        del task
        self.drop()
        return [*answers, dict(type="end", id=identity, notes=notes)]

    def check(self, task, indices):
        found = task.outputs(indices) if indices else []
        pairs = [[index, finite(value, "output", index)] for index, value in zip(indices, found)]
        return dict(type="check", id=self.asked["id"], outputs=pairs)

    def canary(self, question):
        seconds = self.engine.canary(question["device"])
        return [dict(type="canary", id=question["id"], seconds=float(seconds))]


def finite(value, what, index):
    """The value, unless it can't be sent."""
    value = float(value)
    if not math.isfinite(value):
        raise Failed(f"{what} {index} is {value}: it was not written, or the computation overflowed")
    return value


_status = [143]


def end(status=0):
    """Ends the process at once, and what it started with it where it leads a group of its own."""
    _status[0] = status
    if os.getpgrp() == os.getpid():
        os.killpg(0, signal.SIGTERM)
    os._exit(status)


def _terminated(_signal, _frame):
    os._exit(_status[0])


def serve(engine):
    """Answers Roofline's questions until it ends the process."""
    Server(engine).serve()
