"""A whole engine in one file, with nothing but Python: what docs/engine-protocol.md asks for, and no harness.

Its framework is Python itself: products of lists, and arrays that are read, written, copied and added. It is slow, and
skips what is not small. Whoever adds a framework replaces `Gemm` and `Bandwidth` and the answer to `hello`.
"""

import array
import json
import os
import platform
import queue
import resource
import sys
import threading
import time

# Products and elements beyond which Python would take too long.
MOST_PRODUCTS = 1 << 20
MOST_ELEMENTS = 1 << 20
BITS = {"f32": 24}


class Refused(Exception):
    """Why a question has another answer than the hoped-for one: its type and the reason."""

    def __init__(self, kind, reason):
        super().__init__(reason)
        self.kind = kind


class Cancelled(Exception):
    """Roofline doesn't want the answer any more."""


# The id of the entry that Roofline cancelled; set by the thread that reads.
cancelled = [None]


def point(identity):
    if cancelled[0] == identity:
        raise Cancelled


def unit(dtype, seed, index):
    """The element at `index` of the array that `seed` names."""
    state = (((index ^ seed) & 0xFFFFFFFF) * 747796405 + 2891336453) & 0xFFFFFFFF
    word = (((state >> ((state >> 28) + 4)) ^ state) * 277803737) & 0xFFFFFFFF
    word = (word >> 22) ^ word
    return (word >> (32 - BITS[dtype])) / 2 ** (BITS[dtype] - 1) - 1


class Gemm:
    """C = A · B by sums of products, one row of A at a time."""

    variant = "sums of products in Python"

    def __init__(self, workload, identity):
        self.identity = identity
        m, n, k = (workload[name] for name in "mnk")
        if workload["dtype"] != "f32":
            raise Refused("unsupported", f"the example has no {workload['dtype']}; choose f32")
        if m * n * k > MOST_PRODUCTS:
            raise Refused("skipped", f"{m * n * k} products would take Python too long; {MOST_PRODUCTS} is the most")
        seed = 0xB5297A4D
        self.rows = [[unit("f32", 0x51ED270B, row * k + term) for term in range(k)] for row in range(m)]
        if workload.get("layout", "ab") == "abt":
            self.columns = [[unit("f32", seed, column * k + term) for term in range(k)] for column in range(n)]
        else:
            self.columns = [[unit("f32", seed, term * n + column) for term in range(k)] for column in range(n)]
        self.out = array.array("f", bytes(4 * m * n))

    def run(self):
        at = 0
        for row in self.rows:
            point(self.identity)
            for column in self.columns:
                self.out[at] = sum(a * b for a, b in zip(row, column))
                at += 1


class Bandwidth:
    """Reads, writes, copies and adds arrays of f32."""

    variant = "array and memoryview"

    def __init__(self, workload, identity):
        self.identity = identity
        self.op, count = workload["op"], workload["array_bytes"] // 4
        if self.op not in ("read", "write", "copy", "triad"):
            raise Refused("unsupported", f"the example doesn't measure {self.op}")
        if count > MOST_ELEMENTS:
            raise Refused("skipped", f"{count} elements would take Python too long; {MOST_ELEMENTS} is the most")
        self.a = array.array("f", (unit("f32", 0x2C1B3C6D, index) for index in range(count)))
        self.b = array.array("f", (unit("f32", 0x8F1445FB, index) for index in range(count)))
        self.out = array.array("f", bytes(4 * (1 if self.op == "read" else count)))
        self.written = array.array("f", [1.5]) * count

    def run(self):
        point(self.identity)
        if self.op == "read":
            self.out[0] = sum(self.a)
        elif self.op == "triad":
            for at, (a, b) in enumerate(zip(self.a, self.b)):
                self.out[at] = a + 0.40625 * b
        else:
            memoryview(self.out)[:] = memoryview(self.a if self.op == "copy" else self.written)


KINDS = {"gemm": Gemm, "bandwidth": Bandwidth}


def hello(_question):
    device = {
        "id": "cpu",
        "name": platform.processor() or platform.machine() or "processor",
        "kind": "cpu",
        "backend": "Python",
        "memory_bytes": os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"),
        "canary": True,
        "functional": "Python's loops say nothing of this processor.",
        "features": [],
    }
    return [
        {
            "type": "hello",
            "protocol": 1,
            "engine": "example",
            "versions": {"python": platform.python_version()},
            "devices": [device],
            "workloads": list(KINDS),
            "dtypes": ["f32"],
            "precisions": [],
            "settings": {"threads": "1"},
            "notes": [],
        }
    ]


class Entry:
    """The entry that is open."""

    def __init__(self):
        self.work = None
        self.asked = None

    def prepare(self, question):
        workload = question["workload"]
        maker = KINDS.get(workload["kind"])
        if maker is None:
            raise Refused("unsupported", f"the example doesn't measure {workload['kind']}")
        if question["device"] != "cpu":
            raise Refused("failed", f"there is no device {question['device']}")
        self.work, self.asked = maker(workload, question["id"]), question
        self.work.run()
        answer = {"type": "prepared", "id": question["id"], "precision": "f32, sums in f64", "variant": maker.variant}
        return [{**answer, "settings": {}, "notes": []}]

    def opened(self, question):
        if self.work is None or self.asked["id"] != question["id"]:
            raise Refused("failed", "the entry isn't prepared")
        return self.work

    def batch(self, question):
        work = self.opened(question)
        for at in range(len(work.out)):
            work.out[at] = float("nan")
        cpu, start = time.process_time(), time.perf_counter()
        for _ in range(question["iterations"]):
            work.run()
        host_s, cpu_s = time.perf_counter() - start, time.process_time() - cpu
        answer = {"type": "sample", "id": question["id"], "iterations": question["iterations"], "host_s": host_s}
        return [{**answer, "device_s": None, "cpu_s": cpu_s, "values": {}, "token_s": None, "losses": None}]

    def finish(self, question):
        work, identity = self.opened(question), question["id"]
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
        memory = {"type": "memory", "id": identity, "device_peak_bytes": None, "device_meaning": None}
        outputs = [[index, float(work.out[index])] for index in question["outputs"]]
        self.work = None
        return [
            {"type": "check", "id": identity, "outputs": outputs},
            {**memory, "process_peak_bytes": peak},
            {"type": "end", "id": identity, "notes": []},
        ]


def canary(question):
    start = time.perf_counter()
    sum(a * a for a in range(100_000))
    return [{"type": "canary", "id": question["id"], "seconds": time.perf_counter() - start}]


def send(message):
    sys.stdout.write(json.dumps(message, allow_nan=False) + "\n")
    sys.stdout.flush()


def answer(entry, question):
    handlers = {
        "hello": hello,
        "prepare": entry.prepare,
        "batch": entry.batch,
        "finish": entry.finish,
        "canary": canary,
    }
    identity = question.get("id", 0)
    try:
        for message in handlers[question["type"]](question):
            send(message)
    except Cancelled:
        # Answered when the question `cancel` itself has its turn.
        entry.work = None
    except Refused as refused:
        entry.work = None
        send({"type": refused.kind, "id": identity, "reason": str(refused)})
    except Exception as error:
        entry.work = None
        send({"type": "failed", "id": identity, "reason": f"{type(error).__name__}: {error}"})


def read(questions):
    """Reads while work goes on, so that Cancel and the end of standard input are noticed."""
    try:
        for line in sys.stdin:
            question = json.loads(line)
            if question["type"] == "cancel":
                cancelled[0] = question["id"]
            questions.put_nowait(question)
    except (ValueError, TypeError, KeyError, queue.Full) as error:
        sys.stderr.write(f"a question can't be understood: {error!r}\n")
        sys.stderr.flush()
        os._exit(2)
    # Nobody listens any more.
    os._exit(0)


def main():
    questions = queue.Queue(maxsize=16)
    threading.Thread(target=read, args=(questions,), daemon=True).start()
    entry = Entry()
    while True:
        question = questions.get()
        if question["type"] == "shutdown":
            return
        if question["type"] == "cancel":
            entry.work = cancelled[0] = None
            send({"type": "cancelled", "id": question["id"]})
        else:
            answer(entry, question)


if __name__ == "__main__":
    main()
