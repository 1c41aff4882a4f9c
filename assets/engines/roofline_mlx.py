"""MLX as an engine of Roofline: Metal, CUDA and the processor. The models are in roofline_mlx_models.py.

Without arguments it answers Roofline's questions. `convert HF_FOLDER OUT_FOLDER` writes a quantised folder instead.
"""

import collections
import os
import shutil
import sys
import time

# Roofline starts Python isolated: the scripts' folder comes last, so that none of them hides a module of others.
sys.path.append(os.path.dirname(os.path.abspath(__file__)))

import mlx.core as mx

import roofline_engine as harness
import roofline_system as system

DTYPES = {"f32": mx.float32, "tf32": mx.float32, "f16": mx.float16, "bf16": mx.bfloat16}
MODEL_WORKLOADS = ("model-load", "inference", "training")
CANARY_S = 0.01
# Outputs that a GPU works on while the host goes on: fewer where they are large, since each takes memory of its own.
AHEAD = 4
LARGE_BYTES = 1 << 28
# Outputs that may be there besides: the one that is shown, the one that is made, and one that is kept for reuse.
BESIDE = 3
FUNCTIONAL = (
    "MLX's wheel for Linux multiplies by the reference BLAS and computes half floats in software: its figures on a "
    "processor say nothing of MLX on a Mac or on a GPU."
)


def gpu_backend():
    """The name of the GPU's programming interface, or None."""
    if mx.metal.is_available():
        return "Metal"
    cuda = getattr(mx, "cuda", None)
    return "CUDA" if cuda is not None and cuda.is_available() else None


def gpu_name(backend):
    """What the GPU is called, as by the other engines."""
    return "metal:0" if backend == "Metal" else "cuda:0"


def has_compiler():
    """MLX builds fused kernels for the processor with the system's C++ compiler."""
    return sys.platform == "darwin" or any(shutil.which(name) for name in ("g++", "c++", "clang++"))


class Mlx(harness.Engine):
    """The framework on one device at a time."""

    name = "mlx"

    def __init__(self):
        self.device = "cpu"
        self.models = None
        self.canaries = {}
        self.fast_paths = {}
        if not has_compiler():
            mx.disable_compile()

    # What there is.

    def hello(self):
        versions = {}
        for name in ("mlx", "mlx-lm", "numpy", "transformers"):
            versions.update(system.version_of(name))
        backend = gpu_backend()
        workloads = ["gemm", "attention", "bandwidth", "tensor-limit"]
        if "mlx-lm" in versions:
            workloads += MODEL_WORKLOADS
        return dict(
            versions=versions,
            devices=([gpu_device(backend)] if backend else []) + [cpu_device()],
            workloads=workloads,
            dtypes=["f32", "tf32", "f16", "bf16"] if backend else ["f32", "f16", "bf16"],
            precisions=["f32", "f16", "bf16", "mlx-4bit"],
            settings=self.settings(),
        )

    def settings(self):
        found = {"compile": "on" if has_compiler() else "off: there is no C++ compiler"}
        # MLX lets GPUs round f32 operands to TF32 unless it is told not to.
        found["MLX_ENABLE_TF32"] = os.environ.get("MLX_ENABLE_TF32", "unset (on)")
        for name in ("MLX_METAL_FAST_SYNCH", "MLX_MAX_OPS_PER_BUFFER", "MLX_MAX_MB_PER_BUFFER", "LD_PRELOAD"):
            if os.environ.get(name):
                found[name] = os.environ[name]
        return found

    # Which device is used.

    def open(self, name):
        backend = gpu_backend()
        known = ([gpu_name(backend)] if backend else []) + ["cpu"]
        if name not in known:
            raise harness.Failed(f"there is no device {name}; there are {', '.join(known)}")
        self.device = name
        mx.set_default_device(mx.cpu if name == "cpu" else mx.gpu)

    def synchronize(self):
        mx.synchronize()

    def is_out_of_memory(self, error):
        text = str(error)
        parts = ("Unable to allocate", "Insufficient Memory", "maximum allowed buffer size", "out of memory")
        return isinstance(error, MemoryError) or (
            isinstance(error, (RuntimeError, ValueError)) and any(part in text for part in parts)
        )

    def reset_peak(self):
        """The peak counts from here on."""
        mx.clear_cache()
        mx.reset_peak_memory()

    def device_meaning(self, kind):
        since = "since the weights began to load" if kind in MODEL_WORKLOADS else "since the operands were made"
        return f"mx.get_peak_memory: the peak of MLX's arrays {since}; what is active at the end is in the notes"

    def free(self):
        if self.models is not None:
            self.models.drop()
        mx.clear_cache()

    def prepare(self, question, job):
        workload = question["workload"]
        self.open(question["device"])
        task = self.task(workload, question, job)
        if workload["kind"] not in MODEL_WORKLOADS:
            # Making operands takes more memory than they do.
            mx.synchronize()
            self.reset_peak()
        task.device_meaning = self.device_meaning(workload["kind"])
        task.settings["MLX_ENABLE_TF32"] = self.settings()["MLX_ENABLE_TF32"]
        return task

    def task(self, workload, question, job):
        kind = workload["kind"]
        if kind == "gemm":
            return Gemm(self, workload, job)
        if kind == "attention":
            return Attention(self, workload, job)
        if kind == "bandwidth":
            return Bandwidth(self, workload, job)
        if kind == "tensor-limit":
            return TensorLimit(self, workload)
        if kind not in MODEL_WORKLOADS:
            raise harness.Unsupported(f"the MLX engine doesn't measure {kind}")
        if self.models is None:
            job.phase("importing mlx-lm")
            with job.whole():
                import roofline_mlx_models

            self.models = roofline_mlx_models.Models(self)
        return self.models.task(workload, question, job)

    def canary(self, device):
        before = self.device
        self.open(device)
        n = 256 if device == "cpu" else 2048
        a, b = mx.full((n, n), 0.5), mx.full((n, n), 0.25)
        mx.eval(a, b)
        if device not in self.canaries:
            each = min(self.seconds(lambda: mx.eval(a @ b), 3) for _ in range(3))
            self.canaries[device] = max(1, round(CANARY_S / each))
        seconds = self.canaries[device] * self.seconds(lambda: mx.async_eval(a @ b), self.canaries[device])
        # An entry may be open, of the other device.
        self.open(before)
        return seconds

    def seconds(self, work, times):
        """The time of one call, the first being left out."""
        work()
        mx.synchronize()
        start = time.perf_counter()
        for _ in range(times):
            work()
        mx.synchronize()
        return max((time.perf_counter() - start) / times, 1e-9)

    def operand(self, dtype, seed, shape, job):
        """A hashed array on the device."""
        count = 1
        for size in shape:
            count *= size
        values = mx.array(harness.operand(dtype, seed, count, job.point)).astype(DTYPES[dtype]).reshape(shape)
        mx.eval(values)
        return values

    def require(self, count_bytes, what):
        """Skips what would not fit into memory, before the system has to kill someone for it."""
        free = free_bytes(self.device)
        if count_bytes > free:
            raise harness.Skipped(f"{what} need {count_bytes / 1e9:.2f} GB, and {free / 1e9:.2f} GB are free")

    def require_dtype(self, dtype, what):
        if dtype not in DTYPES:
            raise harness.Unsupported(f"the MLX engine has no {what} in {dtype}")
        if dtype == "tf32":
            if self.device == "cpu" or what != "GEMM":
                raise harness.Unsupported(f"MLX has no {what} in TF32 here: it is a GPU's way to multiply f32 matrices")
            if os.environ.get("MLX_ENABLE_TF32", "1") == "0":
                raise harness.Unsupported("TF32 is switched off by MLX_ENABLE_TF32=0")

    def fast_path(self, dtype):
        """How fast 16 and 32 bits are multiplied, as settings: what Roofline tells matrix units in use by."""
        # With TF32, f32 is multiplied on the same units.
        if self.device == "cpu" or dtype not in ("f16", "bf16") or os.environ.get("MLX_ENABLE_TF32", "1") != "0":
            return {}
        if dtype not in self.fast_paths:
            kinds = (DTYPES[dtype], mx.float32)
            self.fast_paths[dtype] = harness.probe(lambda n: [product(n, kind) for kind in kinds], mx.synchronize)
        return self.fast_paths[dtype]


def product(n, kind):
    """A function that launches so many products of n × n."""
    a, b = mx.full((n, n), 0.5, dtype=kind), mx.full((n, n), 0.25, dtype=kind)
    mx.eval(a, b)
    return lambda times: in_turn(lambda: a @ b, times, AHEAD)


def in_turn(work, times, ahead, point=lambda: None):
    """Does the work so many times; the last output. It is started and the host goes on, so that a GPU is never without
    work; a few at a time, so that Cancel needn't wait for many, and memory needn't hold as many outputs."""
    out, waiting = None, collections.deque()
    for _ in range(times):
        point()
        out = work()
        mx.async_eval(out)
        waiting.append(out)
        if len(waiting) > ahead:
            mx.eval(waiting.popleft())
    mx.eval(out)
    return out


def free_bytes(device):
    """Memory that can still be taken on the device, in bytes."""
    available = system.memory_available()
    if device == "cpu":
        return available
    info = mx.device_info()
    most = info.get("max_recommended_working_set_size") or info.get("free_memory") or info.get("total_memory")
    if not most:
        return available
    left = most - mx.get_active_memory()
    return min(available, left) if mx.metal.is_available() else left


def gpu_device(backend):
    mx.set_default_device(mx.gpu)
    info = mx.device_info()
    memory = info.get("max_recommended_working_set_size") or info.get("total_memory") or system.memory_total()
    return dict(
        id=gpu_name(backend),
        name=str(info.get("device_name") or system.processor_name()),
        kind="integrated-gpu" if backend == "Metal" else "discrete-gpu",
        backend=backend,
        memory_bytes=int(memory),
        canary=True,
        functional=None,
        features=[str(info["architecture"])] if info.get("architecture") else [],
    )


def cpu_device():
    return dict(
        id="cpu",
        name=system.processor_name(),
        kind="cpu",
        backend="CPU",
        memory_bytes=system.memory_total(),
        canary=True,
        functional=FUNCTIONAL if sys.platform != "darwin" else None,
        features=[],
    )


class Kernel(harness.Task):
    """What the single kernels share: an array that every iteration makes anew."""

    def __init__(self, engine, precision, variant, in_bytes, out_bytes):
        super().__init__(precision, variant)
        self.engine = engine
        self.out = None
        self.work = None
        self.ahead = 0 if engine.device == "cpu" else 1 if out_bytes >= LARGE_BYTES else AHEAD
        engine.require(in_bytes + (self.ahead + BESIDE) * out_bytes, "the operands and outputs")

    def poison(self):
        # The output is a new array each time; the old one can't be taken for it.
        self.out = None

    def run(self, iterations, steps, point):
        self.out = None
        self.out = in_turn(self.work, iterations, self.ahead, point)

    def outputs(self, indices):
        flat = self.out.reshape(-1)
        if any(index >= flat.size for index in indices):
            raise harness.Failed(f"outputs beyond the {flat.size} that there are were asked for")
        return [flat[index].astype(mx.float32).item() for index in indices]

    def device_peak(self):
        self.notes.append(f"{mx.get_active_memory() / 1e6:.1f} MB were active at the end.")
        return mx.get_peak_memory()

    def free(self):
        self.__dict__.update({name: None for name, value in self.__dict__.items() if isinstance(value, mx.array)})
        self.work = None


class Gemm(Kernel):
    def __init__(self, engine, workload, job):
        dtype, layout = workload["dtype"], workload.get("layout", "ab")
        engine.require_dtype(dtype, "GEMM")
        if layout not in ("ab", "abt"):
            raise harness.Unsupported(f"the MLX engine has no GEMM of layout {layout}")
        tf32 = engine.device != "cpu" and dtype == "f32" and os.environ.get("MLX_ENABLE_TF32", "1") != "0"
        operands = (
            "f32 operands, rounded to TF32 where the device can" if dtype == "tf32" or tf32 else f"{dtype} operands"
        )
        m, n, k = workload["m"], workload["n"], workload["k"]
        variant, size = "mx.matmul(a, b)" if layout == "ab" else "mx.matmul(a, b.T)", DTYPES[dtype].size
        super().__init__(engine, f"{operands}, f32 accumulation", variant, (m * k + k * n) * size, m * n * size)
        a = self.a = engine.operand(dtype, harness.SEEDS["gemm-a"], (m, k), job)
        stored = engine.operand(dtype, harness.SEEDS["gemm-b"], (k, n) if layout == "ab" else (n, k), job)
        b = self.b = stored if layout == "ab" else stored.T
        self.work = lambda: mx.matmul(a, b)
        self.notes.append("MLX writes into a new array each time: the time includes its allocation.")
        if engine.device == "cpu":
            rows = max(1, min(m, 1 + (1 << 22) // (n * k)))
            part = a[:rows]
            each = engine.seconds(lambda: mx.eval(mx.matmul(part, b)), 1) / rows
            job.afford(3 * each * m, "a product, run three times,")
        self.settings.update(engine.fast_path(dtype))
        self.run(1, None, job.point)


class Attention(Kernel):
    def __init__(self, engine, workload, job):
        dtype = workload["dtype"]
        engine.require_dtype(dtype, "attention")
        causal = bool(workload["causal"])
        batch, heads, kv_heads = workload["batch"], workload["heads"], workload["kv_heads"]
        sequence, head_dim = workload["sequence"], workload["head_dim"]
        head_bytes = batch * sequence * head_dim * DTYPES[dtype].size
        super().__init__(
            engine,
            f"{dtype} operands and result",
            "mx.fast.scaled_dot_product_attention",
            (heads + 2 * kv_heads) * head_bytes,
            heads * head_bytes,
        )
        shapes = [(batch, heads, sequence, head_dim)] + 2 * [(batch, kv_heads, sequence, head_dim)]
        seeds = [harness.SEEDS[f"attention-{name}"] for name in "qkv"]
        q, k, v = (engine.operand(dtype, *both, job) for both in zip(seeds, shapes))
        scale, mask = head_dim**-0.5, "causal" if causal else None

        def attend(q, k, v):
            return mx.fast.scaled_dot_product_attention(q, k, v, scale=scale, mask=mask)

        self.work = lambda: attend(q, k, v)
        self.notes.append("MLX writes into a new array each time: the time includes its allocation.")
        if engine.device == "cpu":
            one = [array[:1, :1] for array in (q, k, v)]
            mx.eval(*one)
            each = engine.seconds(lambda: mx.eval(attend(*one)), 1)
            job.afford(3 * each * batch * heads, "attention, run three times,")
        self.run(1, None, job.point)


class Bandwidth(Kernel):
    def __init__(self, engine, workload, job):
        op, count = workload["op"], workload["array_bytes"] // 4
        arrays = {"read": "a", "write": "", "copy": "a", "triad": "ab"}
        variants = {"read": "mx.sum(a)", "write": "mx.full", "copy": "a + 0", "triad": "mx.compile(a + 0.40625 * b)"}
        if op not in arrays:
            raise harness.Unsupported(f"the MLX engine doesn't measure {op}")
        # Without a compiler there is an array between the two passes of a triad.
        between = op == "triad" and not has_compiler()
        out_bytes = 4 if op == "read" else 4 * count
        super().__init__(engine, "f32", variants[op], (len(arrays[op]) + between) * 4 * count, out_bytes)
        a, b = (
            engine.operand("f32", harness.SEEDS[f"bandwidth-{name}"], (count,), job) if name in arrays[op] else None
            for name in "ab"
        )
        triad = mx.compile(lambda a, b: a + harness.TRIAD_SCALE * b)
        self.work = {
            "read": lambda: mx.sum(a).reshape(1),
            "write": lambda: mx.full((count,), harness.WRITTEN),
            "copy": lambda: a + 0.0,
            "triad": lambda: triad(a, b),
        }[op]
        if op != "read":
            self.notes.append("MLX has no output that can be given: the time includes allocating it.")
        if between:
            self.variant = "a + 0.40625 * b in two passes"
            self.notes.append("Without a C++ compiler there are two passes, with an array between them.")
        self.prove(job, op, 4 * count)

    def prove(self, job, op, array_bytes):
        """A framework that computes lazily may do nothing: the output must take memory of its own."""
        mx.synchronize()
        before = mx.get_active_memory()
        self.run(1, None, job.point)
        taken = mx.get_active_memory() - before
        if op != "read" and taken < array_bytes:
            raise harness.Failed(f"MLX took {taken} bytes for an output of {array_bytes}: nothing was copied")


class TensorLimit(harness.Task):
    def __init__(self, engine, workload):
        super().__init__("bytes", "mx.full")
        self.engine = engine
        self.percent = min(100, workload["max_percent"])
        self.found = {}
        self.allocate(system.STEP_BYTES)

    def allocate(self, size):
        # Rows, because a dimension has 31 bits.
        array = mx.full((max(1, size >> 20), 1 << 18), 1.0, dtype=mx.float32)
        mx.eval(array)
        return array

    def run(self, iterations, steps, point):
        engine = self.engine

        def allocate(size):
            point()
            mx.clear_cache()
            return self.allocate(size)

        for _ in range(iterations):
            mx.clear_cache()
            most = (free_bytes(engine.device) * self.percent // 100) >> 20 << 20
            largest, total = system.find_limits(allocate, engine.is_out_of_memory, most, point)
            mx.clear_cache()
            self.found = {"largest-buffer": largest, "total-held": total}

    def values(self):
        return self.found

    def device_peak(self):
        return mx.get_peak_memory()


if __name__ == "__main__":
    if sys.argv[1:2] == ["convert"]:
        import roofline_mlx_models

        sys.exit(roofline_mlx_models.convert_command(sys.argv[2:]))
    harness.serve(Mlx())
