"""An engine on the harness whose framework does nothing: what it is told to do is in the workload."""

import contextlib
import os
import sys
import time

# As a stranger's engine finds the harness.
sys.path.append(os.environ["ROOFLINE_ENGINE_PATH"])

import roofline_engine as harness


class Work(harness.Task):
    def __init__(self, workload):
        super().__init__("f32", "fake")
        self.workload = workload
        self.log = []
        self.done = 0
        if "rewinds" in workload:
            self.rewind = lambda: self.log.append("rewind")

    def poison(self):
        self.log.append("poison")

    def run(self, iterations, steps, point):
        # What frameworks print must not reach Roofline.
        print("a framework prints")
        os.write(1, b"and so does its C library\n")
        for _ in range(iterations):
            point()
            self.log.append(f"run {steps}")
            behave(self.workload.get("run"))
            self.done += 1

    def values(self):
        return {"done": float(self.done)}

    def outputs(self, indices):
        return [float("nan") if self.workload.get("nan") else float(index) for index in indices]

    def measurements(self):
        self.notes.append(",".join(self.log))
        return [("extra", "second", [1.0, float("inf"), 2.0])]

    def free(self):
        sys.stderr.write("freed\n")


class Stream(Work):
    def stream(self, steps):
        time.sleep(0.1)
        return [0.5] * steps


def behave(how):
    if how == "sleep":
        time.sleep(0.01)
    elif how == "spin":
        while True:
            pass
    elif how == "memory":
        raise MemoryError("a tensor of 9 TB")
    elif how == "exit":
        sys.exit("no licence")
    elif how == "swallow":
        while True:
            with contextlib.suppress(Exception):
                time.sleep(0.001)
    elif how is not None:
        raise ValueError(how)


class Fake(harness.Engine):
    name = "fake"

    def hello(self):
        device = dict(id="cpu", name="none", kind="other", backend="none", memory_bytes=1, canary=True)
        device.update(functional=None, features=[])
        return dict(versions={"fake": "1"}, devices=[device], workloads=["gemm"], dtypes=["f32"], precisions=[])

    def prepare(self, question, job):
        workload = question["workload"]
        job.phase("preparing", 1, 2)
        time.sleep(workload.get("loads_s", 0))
        job.afford(workload.get("seconds", 0), "this")
        if workload["kind"] != "fake":
            raise harness.Unsupported("only fakes")
        behave(workload.get("prepare"))
        return Stream(workload) if "streams" in workload else Work(workload)

    def canary(self, device):
        return 0.01


if __name__ == "__main__":
    harness.serve(Fake())
