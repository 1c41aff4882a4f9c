"""Speaks docs/engine-protocol.md with an engine, as Roofline does: for tests, and for whoever writes an engine.

    python3 tests/engines/driver.py PYTHON SCRIPT [DEVICE]

prints what the engine says of itself, and a small GEMM and bandwidth by it, checked.
"""

import json
import os
import queue
import subprocess
import sys
import threading
import time
from pathlib import Path

ENGINES = Path(__file__).resolve().parents[2] / "assets" / "engines"
sys.path.append(str(ENGINES))

from roofline_values import SEEDS, TRIAD_SCALE, unit  # noqa: E402

ANSWERS = {
    "hello": {"hello"},
    "prepare": {"prepared", "unsupported", "skipped", "failed", "cancelled"},
    "batch": {"sample", "unsupported", "skipped", "failed", "cancelled"},
    "finish": {"end", "unsupported", "skipped", "failed", "cancelled"},
    "canary": {"canary", "failed", "unsupported", "cancelled"},
}
FIELDS = {
    "hello": {"protocol", "engine", "versions", "devices", "workloads", "dtypes", "precisions", "settings", "notes"},
    "prepared": {"id", "precision", "variant", "settings", "notes"},
    "sample": {"id", "iterations", "host_s", "device_s", "cpu_s", "values", "token_s", "losses"},
    "measurement": {"id", "metric", "unit", "samples"},
    "check": {"id", "outputs"},
    "memory": {"id", "device_peak_bytes", "device_meaning", "process_peak_bytes"},
    "probe": {"id", "logits", "tokens"},
    "end": {"id", "notes"},
    "canary": {"id", "seconds"},
    "phase": {"id", "text", "done", "total"},
    "cancelled": {"id"},
    "unsupported": {"id", "reason"},
    "skipped": {"id", "reason"},
    "failed": {"id", "reason"},
}


class Wrong(Exception):
    """The engine broke the protocol."""


def _no_constant(text):
    raise Wrong(f"{text} in an answer")


class Driver:
    """One engine, as a child process."""

    def __init__(self, command, environment=None, errors=None):
        variables = dict(os.environ, PYTHONUNBUFFERED="1", HF_HUB_OFFLINE="1", TRANSFORMERS_OFFLINE="1")
        variables.update(TOKENIZERS_PARALLELISM="false", ROOFLINE_ENGINE_PATH=str(ENGINES))
        variables.update(environment or {})
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            env=variables,
            start_new_session=True,
        )
        self.lines = queue.Queue(maxsize=1000)
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()
        self.last_id = 0

    def _read(self):
        for line in self.process.stdout:
            self.lines.put(line)
        self.lines.put(None)

    def send(self, **question):
        self.process.stdin.write(json.dumps(question).encode() + b"\n")
        self.process.stdin.flush()

    def receive(self, timeout=300):
        line = self.lines.get(timeout=timeout)
        if line is None:
            raise Wrong(f"the engine ended with {self.process.wait()}")
        answer = json.loads(line, parse_constant=_no_constant)
        needed = FIELDS.get(answer.get("type"))
        if needed is None:
            raise Wrong(f"an answer of the type {answer.get('type')}")
        found = set(answer) - {"type", "trainable_parameters"}
        if found != needed:
            raise Wrong(f"{answer['type']} has {sorted(found)} instead of {sorted(needed)}")
        return answer

    def ask(self, kind, timeout=300, **fields):
        """All answers to one question but phases, the last of them closing it."""
        self.send(type=kind, **fields)
        answers = []
        while not answers or answers[-1]["type"] not in ANSWERS[kind]:
            answer = self.receive(timeout)
            if "id" in answer and answer["id"] != fields.get("id"):
                raise Wrong(f"an answer to {answer['id']} instead of {fields.get('id')}")
            if answer["type"] != "phase":
                answers.append(answer)
        return answers

    def hello(self):
        return self.ask("hello", protocol=1)[0]

    def entry(self, device, workload, batches=((1, None), (3, None)), **more):
        """One entry from prepare to end: all answers by type, samples in a list."""
        self.last_id += 1
        identity = self.last_id
        fields = dict(model=None, prompt=None, sequences=None, probe=None)
        outputs = more.pop("outputs", [])
        fields.update(more)
        found = {"samples": [], "measurements": []}
        answer = self.ask("prepare", id=identity, device=device, workload=workload, **fields)[0]
        found[answer["type"]] = answer
        if answer["type"] != "prepared":
            return found
        for iterations, steps in batches:
            start = time.perf_counter()
            answer = self.ask("batch", id=identity, iterations=iterations, steps=steps)[0]
            if answer["type"] != "sample":
                return {**found, answer["type"]: answer}
            if not 0 < answer["host_s"] <= time.perf_counter() - start or answer["iterations"] != iterations:
                raise Wrong("a sample can't be true")
            found["samples"].append(answer)
        for answer in self.ask("finish", id=identity, outputs=outputs):
            if answer["type"] == "measurement":
                found["measurements"].append(answer)
            else:
                found[answer["type"]] = answer
        return found

    def close(self):
        """Ends it by ending its standard input; its exit status."""
        self.process.stdin.close()
        try:
            return self.process.wait(timeout=60)
        finally:
            self.kill()

    def kill(self):
        """Ends it by force, if it is still there."""
        self.process.kill()
        self.process.wait()
        self.reader.join()
        self.process.stdin.close()
        self.process.stdout.close()


# What outputs must be, in double precision.


def gemm_output(workload, index):
    m, n, k = workload["m"], workload["n"], workload["k"]
    row, column = divmod(index, n)
    assert row < m
    dtype, abt = workload["dtype"], workload["layout"] == "abt"
    a, b = SEEDS["gemm-a"], SEEDS["gemm-b"]
    return sum(
        unit(dtype, a, row * k + term) * unit(dtype, b, column * k + term if abt else term * n + column)
        for term in range(k)
    )


def attention_output(workload, index):
    import math

    heads, kv_heads, length, dim = (workload[name] for name in ("heads", "kv_heads", "sequence", "head_dim"))
    dtype = workload["dtype"]
    rest, column = divmod(index, dim)
    rest, position = divmod(rest, length)
    batch, head = divmod(rest, heads)
    kv = batch * kv_heads + head // (heads // kv_heads)
    query = [unit(dtype, SEEDS["attention-q"], (rest * length + position) * dim + at) for at in range(dim)]
    scores = []
    for key in range(position + 1 if workload["causal"] else length):
        row = (kv * length + key) * dim
        score = sum(query[at] * unit(dtype, SEEDS["attention-k"], row + at) for at in range(dim))
        scores.append(score / math.sqrt(dim))
    most = max(scores)
    weights = [math.exp(score - most) for score in scores]
    values = [unit(dtype, SEEDS["attention-v"], (kv * length + key) * dim + column) for key in range(len(scores))]
    return sum(weight * value for weight, value in zip(weights, values)) / sum(weights)


def bandwidth_output(workload, index):
    a = unit("f32", SEEDS["bandwidth-a"], index)
    if workload["op"] == "read":
        return sum(unit("f32", SEEDS["bandwidth-a"], at) for at in range(workload["array_bytes"] // 4))
    if workload["op"] == "write":
        return 1.5
    return a if workload["op"] == "copy" else a + TRIAD_SCALE * unit("f32", SEEDS["bandwidth-b"], index)


OUTPUT = {"gemm": gemm_output, "attention": attention_output, "bandwidth": bandwidth_output}


def error_of(workload, pairs):
    """‖out − ref‖ ÷ ‖ref‖ over the outputs."""
    expected = [OUTPUT[workload["kind"]](workload, index) for index, _ in pairs]
    square = sum((value - want) ** 2 for (_, value), want in zip(pairs, expected))
    return (square / sum(want**2 for want in expected)) ** 0.5


def main():
    python, script, *device = sys.argv[1:]
    driver = Driver([python, "-I", script])
    hello = driver.hello()
    print(json.dumps(hello, indent=1))
    device = device[0] if device else hello["devices"][0]["id"]
    print("canary", driver.ask("canary", id=0, device=device)[0])
    for workload in (
        dict(kind="gemm", m=64, n=48, k=96, dtype="f32", layout="ab"),
        dict(kind="bandwidth", op="triad", array_bytes=1 << 16),
    ):
        found = driver.entry(device, workload, outputs=[0, 17, 1001])
        print(json.dumps(found))
        if "check" in found:
            print("error", error_of(workload, found["check"]["outputs"]))
    print("ended with", driver.close())


if __name__ == "__main__":
    main()
