"""The harness with a framework that does nothing, and the example that has no harness. Standard library only.

python3 -m unittest discover -s tests/engines
"""

import os
import signal
import sys
import tempfile
import time
import unittest
from pathlib import Path

from driver import Driver, error_of, gemm_output
from roofline_engine import Skipped
from roofline_pace import PROBE_S, extrapolated, judge, probe
from roofline_values import SEEDS, operand, pcg, unit

HERE = Path(__file__).resolve().parent
EXAMPLE = HERE.parent / "data" / "engines" / "example.py"


def fake(**workload):
    return dict(kind="fake", **workload)


class HarnessTest(unittest.TestCase):
    script = HERE / "fake.py"

    def setUp(self):
        self.errors = self.enterContext(tempfile.TemporaryFile())
        self.driver = Driver([sys.executable, "-I", str(self.script)], errors=self.errors)
        self.addCleanup(self.driver.kill)

    def stderr(self):
        self.errors.seek(0)
        return self.errors.read().decode()


class Answers(HarnessTest):
    def test_an_entry_is_prepared_sampled_checked_and_freed(self):
        hello = self.driver.hello()
        self.assertEqual((hello["engine"], hello["protocol"]), ("fake", 1))
        found = self.driver.entry("cpu", fake(), ((2, 5), (3, None)), outputs=[4, 9])
        self.assertEqual([sample["values"]["done"] for sample in found["samples"]], [2.0, 5.0])
        self.assertEqual(found["check"]["outputs"], [[4, 4.0], [9, 9.0]])
        # What isn't finite isn't sent.
        self.assertEqual(found["measurements"][0]["samples"], [1.0, 2.0])
        self.assertEqual(found["end"]["notes"], ["poison,run 5,run 5,poison,run None,run None,run None"])
        self.assertGreater(found["memory"]["process_peak_bytes"], 1 << 20)
        self.assertEqual(self.driver.ask("canary", id=9, device="cpu")[0]["seconds"], 0.01)
        self.driver.close()
        self.assertIn("freed", self.stderr())
        self.assertIn("a framework prints", self.stderr())

    def test_what_is_put_back_before_each_iteration_is_not_timed_with_it(self):
        found = self.driver.entry("cpu", fake(rewinds=True), ((2, None),))
        self.assertEqual(found["end"]["notes"], ["poison,rewind,run None,rewind,run None"])

    def test_tokens_are_read_one_by_one_now_and_then_outside_the_timing(self):
        found = self.driver.entry("cpu", fake(streams=True, run="sleep"), ((1, 7), (1, 7), (1, 7)))
        # A pass costs about as much as a timed one: not every batch has it.
        self.assertEqual([sample["token_s"] for sample in found["samples"]], [[0.5] * 7, None, None])
        self.assertTrue(all(sample["host_s"] < 0.05 for sample in found["samples"]))

    def test_whatever_goes_wrong_is_an_answer(self):
        for workload, answer, reason in (
            (dict(kind="other"), "unsupported", "only fakes"),
            (fake(seconds=1000), "skipped", "1000 s"),
            # What making ready takes is not the entry's time.
            (fake(loads_s=0.5, seconds=0.4, prepare="boom"), "failed", "ValueError: boom"),
            (fake(prepare="boom"), "failed", "ValueError: boom"),
            (fake(prepare="memory"), "skipped", "9 TB"),
            (fake(prepare="exit"), "failed", "no licence"),
            (fake(run="boom"), "failed", "ValueError: boom"),
            (fake(run="memory"), "skipped", "9 TB"),
        ):
            found = self.driver.entry("cpu", workload, budget_s=0.6)
            self.assertIn(reason, found[answer]["reason"])
        found = self.driver.entry("cpu", fake(), ((1, None),), outputs=[1])
        self.assertIn("end", found)

    def test_an_output_that_was_not_written_is_no_figure(self):
        driver = self.driver
        driver.ask("prepare", id=1, device="cpu", workload=fake(nan=True), model=None)
        driver.ask("batch", id=1, iterations=1, steps=None)
        self.assertIn("output 3 is nan", driver.ask("finish", id=1, outputs=[3])[0]["reason"])
        # The entry is over.
        self.assertEqual(driver.ask("batch", id=1, iterations=1, steps=None)[0]["type"], "failed")

    def test_questions_are_checked(self):
        driver = self.driver
        for line in (b"rubbish\n", b"[1]\n", b'{"type":"batch","id":3,"iterations":0}\n', b'{"type":"dance","id":4}\n'):
            driver.process.stdin.write(line)
            driver.process.stdin.flush()
            self.assertIn("can't be understood", driver.receive()["reason"])
        self.assertEqual(driver.ask("batch", id=5, iterations=1, steps=None)[0]["type"], "failed")
        bad = dict(id=6, device="cpu", workload=fake(), prompt=[[1, 2], [3]])
        self.assertIn("prompt", driver.ask("prepare", **bad)[0]["reason"])


class Cancelling(HarnessTest):
    def cancel(self, identity):
        """Asks for it while work goes on that would never end by itself, and gives how long the answer took."""
        start = time.perf_counter()
        self.driver.send(type="cancel", id=identity)
        answer = self.driver.receive(timeout=60)
        while answer["type"] in ("phase", "sample", "prepared"):
            answer = self.driver.receive(timeout=60)
        self.assertEqual((answer["type"], answer["id"]), ("cancelled", identity))
        return time.perf_counter() - start

    def assert_prompt(self, times):
        """Within what the page promises, at least once of several times: a busy machine may delay any one of them."""
        self.assertLess(min(times), 0.3)

    def test_it_is_noticed_between_iterations_and_in_the_middle_of_python(self):
        driver = self.driver
        for start, how in ((10, "sleep"), (20, "spin"), (30, "swallow")):
            times = []
            for identity in range(start, start + 3):
                driver.ask("prepare", id=identity, device="cpu", workload=fake(run=how), model=None)
                driver.send(type="batch", id=identity, iterations=1 << 30, steps=None)
                time.sleep(0.1)
                times.append(self.cancel(identity))
            self.assert_prompt(times)
            self.assertIn("end", driver.entry("cpu", fake()))

    def test_it_is_noticed_while_an_entry_is_prepared(self):
        times = []
        for identity in range(1, 4):
            self.driver.send(type="prepare", id=identity, device="cpu", workload=fake(prepare="spin"))
            time.sleep(0.1)
            times.append(self.cancel(identity))
        self.assert_prompt(times)

    def test_it_is_answered_once_where_the_answer_crossed_with_it(self):
        driver = self.driver
        driver.ask("prepare", id=1, device="cpu", workload=fake(), model=None)
        self.cancel(1)
        self.assertEqual(driver.ask("batch", id=1, iterations=1, steps=None)[0]["type"], "failed")
        self.assertIn("end", driver.entry("cpu", fake()))

    def test_a_new_entry_is_not_cancelled_by_an_old_one(self):
        driver = self.driver
        driver.send(type="cancel", id=77)
        self.assertEqual(driver.receive()["type"], "cancelled")
        self.assertIn("end", driver.entry("cpu", fake()))


class Ending(HarnessTest):
    def test_it_ends_with_standard_input_while_work_goes_on(self):
        self.driver.ask("prepare", id=1, device="cpu", workload=fake(run="swallow"), model=None)
        self.driver.send(type="batch", id=1, iterations=1, steps=None)
        time.sleep(0.1)
        self.assertEqual(self.driver.close(), 0)

    def test_it_ends_when_told(self):
        self.driver.send(type="shutdown")
        self.assertEqual(self.driver.process.wait(timeout=60), 0)

    def test_a_signal_ends_it(self):
        self.driver.hello()
        os.kill(self.driver.process.pid, signal.SIGTERM)
        self.assertNotEqual(self.driver.process.wait(timeout=60), 0)


class Example(HarnessTest):
    """The engine without a harness."""

    script = EXAMPLE

    def test_its_results_are_right(self):
        self.assertEqual(self.driver.hello()["engine"], "example")
        workloads = [dict(kind="gemm", m=9, n=7, k=33, dtype="f32", layout=layout) for layout in ("ab", "abt")]
        workloads += [dict(kind="bandwidth", op=op, array_bytes=4096) for op in ("read", "write", "copy", "triad")]
        for workload in workloads:
            outputs = [0] if workload.get("op") == "read" else [0, 5, 62]
            found = self.driver.entry("cpu", workload, outputs=outputs)
            self.assertLess(error_of(workload, found["check"]["outputs"]), 1e-6)

    def test_what_it_cannot_do_is_an_answer(self):
        small = dict(kind="gemm", m=9, n=7, k=33, dtype="f16", layout="ab")
        self.assertIn("unsupported", self.driver.entry("cpu", small))
        self.assertIn("skipped", self.driver.entry("cpu", dict(small, dtype="f32", m=1 << 20)))
        self.assertIn("unsupported", self.driver.entry("cpu", dict(kind="training")))

    def test_it_is_cancelled_and_ends(self):
        workload = dict(kind="gemm", m=64, n=64, k=64, dtype="f32", layout="ab")
        self.driver.ask("prepare", id=1, device="cpu", workload=workload, model=None)
        self.driver.send(type="batch", id=1, iterations=100000, steps=None)
        time.sleep(0.1)
        self.driver.send(type="cancel", id=1)
        self.assertEqual(self.driver.receive()["type"], "cancelled")
        self.assertEqual(self.driver.close(), 0)


class Device:
    """A device with a clock of its own, on which a launch and a FLOP take so long."""

    def __init__(self, launch_s, half_flops, single_flops):
        self.now, self.launch_s, self.rates, self.spans = 0.0, launch_s, (half_flops, single_flops), []

    def products(self, n):
        def launches(rate):
            def launch(times):
                span = times * max(self.launch_s, 2 * n**3 / rate)
                self.spans.append(span)
                self.now += span

            return launch

        return [launches(rate) for rate in self.rates]

    def probe(self):
        return probe(self.products, lambda: None, lambda: self.now)


class Pace(unittest.TestCase):
    def test_a_fast_device_is_probed_by_products_that_are_longer_than_their_launches(self):
        device = Device(1e-4, 700e12, 50e12)
        told = device.probe()
        self.assertEqual(told, {"probe-n": "4096", "probe-16-bit-tflops": "700", "probe-f32-tflops": "50"})
        # Each of the timings that count, of both types.
        self.assertTrue(all(span >= PROBE_S for span in device.spans[-3:]), device.spans)

    def test_a_slow_device_is_probed_by_small_products(self):
        told = Device(1e-5, 5.2e12, 2.6e12).probe()
        self.assertEqual(told, {"probe-n": "2048", "probe-16-bit-tflops": "5.2", "probe-f32-tflops": "2.6"})

    def test_what_is_spent_once_does_not_grow_with_the_length_of_a_prompt(self):
        asked = []

        class Job:
            budget_s = 4.0

            def afford(self, seconds, what):
                asked.append(seconds)
                if seconds > self.budget_s:
                    raise Skipped(what)

        judge(Job(), lambda tokens: 1.0 + 0.005 * tokens, 1, 512, "the prompt")
        self.assertAlmostEqual(asked[-1], 1.0 + 0.005 * 512)
        judge(Job(), lambda tokens: 0.25 * tokens, 1, 8, "the prompt")
        self.assertAlmostEqual(asked[-1], 2.0)
        with self.assertRaises(Skipped):
            judge(Job(), lambda tokens: 1.0 + 0.005 * tokens, 2, 512, "the prompt")
        # One reading that something else delayed skips nothing.
        delays = iter([0.0, 0.0, 3.0, 0.0, 0.0])
        judge(Job(), lambda tokens: 1.0 + 0.005 * tokens + next(delays), 1, 512, "the prompt")
        self.assertAlmostEqual(asked[-1], 1.0 + 0.005 * 512)
        # Noise makes no length cheaper than a shorter one.
        self.assertEqual(extrapolated(16, 1.2, 64, 1.1, 512), 1.1)


class Values(unittest.TestCase):
    def test_they_are_those_of_the_page(self):
        # By hand: state = 2891336453, word = ((state >> ((state >> 28) + 4)) ^ state) · 277803737.
        self.assertEqual(pcg(0), 129708002)
        self.assertEqual(unit("f16", 0, 0), (129708002 >> 21) / 1024 - 1)
        for dtype, bits in (("f32", 24), ("f16", 11), ("bf16", 8)):
            values = operand(dtype, SEEDS["gemm-b"], 1000)
            self.assertTrue(all(values[at] == unit(dtype, SEEDS["gemm-b"], at) for at in range(1000)))
            scaled = [value * 2 ** (bits - 1) for value in values]
            self.assertTrue(all(value == int(value) and -1 <= value / 2 ** (bits - 1) < 1 for value in scaled))

    def test_a_product_of_one_term_is_that_term(self):
        workload = dict(m=2, n=3, k=1, dtype="f32", layout="abt")
        expected = unit("f32", SEEDS["gemm-a"], 1) * unit("f32", SEEDS["gemm-b"], 2)
        self.assertEqual(gemm_output(workload, 5), expected)


if __name__ == "__main__":
    unittest.main()
