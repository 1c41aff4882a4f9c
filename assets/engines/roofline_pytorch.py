"""PyTorch as an engine of Roofline: CUDA, MPS and the processor. The models are in roofline_pytorch_models.py."""

import os
import sys
import time

# Roofline starts Python isolated: the scripts' folder comes last, so that none of them hides a module of others.
sys.path.append(os.path.dirname(os.path.abspath(__file__)))

import roofline_engine as harness
import roofline_system as system

# An operator that MPS lacks is an error, not a silent detour over the processor.
os.environ.pop("PYTORCH_ENABLE_MPS_FALLBACK", None)

import torch
from torch.utils._python_dispatch import TorchDispatchMode

DTYPES = {"f32": torch.float32, "tf32": torch.float32, "f16": torch.float16, "bf16": torch.bfloat16}
MODEL_WORKLOADS = ("model-load", "inference", "training")
CANARY_S = 0.01


class PyTorch(harness.Engine):
    """The framework on one device at a time."""

    name = "pytorch"

    def __init__(self):
        self.device = torch.device("cpu")
        self.models = None
        self.canaries = {}
        self.fast_paths = {}

    # What there is.

    def hello(self):
        # float16 and bfloat16 work on all of them; TF32 is a type of NVIDIA's since Ampere.
        tf32 = torch.cuda.is_available() and any(has_tf32(index) for index in range(torch.cuda.device_count()))
        dtypes = ["f32", "tf32", "f16", "bf16"] if tf32 else ["f32", "f16", "bf16"]
        versions = {"torch": torch.__version__}
        for name in ("transformers", "peft", "numpy"):
            versions.update(system.version_of(name))
        if torch.version.cuda:
            versions["cuda"] = torch.version.cuda
        workloads = ["gemm", "attention", "bandwidth", "tensor-limit"]
        if "transformers" in versions:
            workloads += ["model-load", "inference"] + (["training"] if "peft" in versions else [])
        return dict(
            versions=versions,
            devices=[*cuda_devices(), *mps_devices(), cpu_device()],
            workloads=workloads,
            dtypes=dtypes,
            precisions=["f32", "f16", "bf16"],
            settings=self.settings(),
        )

    def settings(self):
        found = {"threads": torch.get_num_threads(), "mps-fallback": "off"}
        found["cpu-capability"] = torch.backends.cpu.get_cpu_capability()
        for name in ("PYTORCH_CUDA_ALLOC_CONF", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "CUDA_VISIBLE_DEVICES"):
            if name in os.environ:
                found[name] = os.environ[name]
        return {name: str(value) for name, value in found.items()}

    # Which device is used.

    def open(self, name):
        known = [device["id"] for device in [*cuda_devices(), *mps_devices(), cpu_device()]]
        if name not in known:
            raise harness.Failed(f"there is no device {name}; there are {', '.join(known)}")
        self.device = torch.device(name)
        if self.device.type == "cuda":
            torch.cuda.set_device(self.device)
        return self.device

    def synchronize(self):
        if self.device.type == "cuda":
            torch.cuda.synchronize()
        elif self.device.type == "mps":
            torch.mps.synchronize()

    def device_clock(self):
        if self.device.type != "cuda":
            return None
        begin, ended = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        begin.record()

        def elapsed():
            ended.record()
            ended.synchronize()
            return begin.elapsed_time(ended) / 1e3

        return elapsed

    def is_out_of_memory(self, error):
        text = str(error)
        return isinstance(error, (MemoryError, torch.OutOfMemoryError)) or (
            isinstance(error, RuntimeError)
            and any(part in text for part in ("out of memory", "can't allocate memory", "Invalid buffer size"))
        )

    def device_peak(self):
        if self.device.type == "cuda":
            return torch.cuda.max_memory_allocated()
        return torch.mps.driver_allocated_memory() if self.device.type == "mps" else None

    def reset_peak(self):
        """The peak counts from here on."""
        self.empty()
        if self.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats()

    def device_meaning(self, kind):
        since = "since the weights began to load" if kind in MODEL_WORKLOADS else "since the operands were made"
        return {
            "cuda": f"torch.cuda.max_memory_allocated: the peak of PyTorch's tensors {since}, without the driver's own",
            "mps": "torch.mps.driver_allocated_memory at the end: all that Metal holds for this process",
        }.get(self.device.type)

    def free(self):
        if self.models is not None:
            self.models.drop()
        self.empty()

    def empty(self):
        """Gives cached memory back."""
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
        elif self.device.type == "mps":
            torch.mps.empty_cache()

    # Questions.

    def prepare(self, question, job):
        workload = question["workload"]
        self.open(question["device"])
        set_tf32(workload.get("dtype") == "tf32")
        try:
            task = self.task(workload, question, job)
        except NotImplementedError as error:
            raise harness.Unsupported(harness.describe_error(error)) from error
        if workload["kind"] not in MODEL_WORKLOADS:
            # Hashing operands takes more memory than they do.
            self.synchronize()
            self.reset_peak()
        task.device_meaning = self.device_meaning(workload["kind"])
        task.settings.setdefault("threads", torch.get_num_threads())
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
            raise harness.Unsupported(f"the PyTorch engine doesn't measure {kind}")
        if self.models is None:
            job.phase("importing transformers")
            with job.whole():
                import roofline_pytorch_models

            self.models = roofline_pytorch_models.Models(self)
        return self.models.task(workload, question, job)

    def canary(self, device):
        before, allowed = self.device, torch.backends.cuda.matmul.allow_tf32
        self.open(device)
        set_tf32(False)
        n = 512 if self.device.type == "cpu" else 2048
        a, b, c = (torch.full((n, n), 0.5, device=self.device) for _ in range(3))
        if device not in self.canaries:
            each = min(self.seconds(lambda: torch.mm(a, b, out=c), 5) for _ in range(5))
            self.canaries[device] = max(1, round(CANARY_S / each))
        seconds = self.canaries[device] * self.seconds(lambda: torch.mm(a, b, out=c), self.canaries[device])
        # An entry may be open, of another device or type.
        set_tf32(allowed)
        self.open(str(before))
        return seconds

    def seconds(self, work, times):
        """The time of one call, the first being left out."""
        work()
        self.synchronize()
        start = time.perf_counter()
        for _ in range(times):
            work()
        self.synchronize()
        return max((time.perf_counter() - start) / times, 1e-9)

    def operand(self, dtype, seed, shape, job):
        """A hashed array on the device."""
        count = 1
        for size in shape:
            count *= size
        if self.device.type != "cuda":
            values = torch.from_numpy(harness.operand(dtype, seed, count, job.point))
            return values.to(DTYPES[dtype]).to(self.device).reshape(shape)
        values = torch.empty(count, dtype=DTYPES[dtype], device=self.device)
        piece = 1 << 24
        for start in range(0, count, piece):
            job.point()
            part = values[start : start + piece]
            part.copy_(hashed(dtype, seed, start, len(part), self.device))
        return values.reshape(shape)

    def require(self, count_bytes, what):
        """Skips what would not fit into memory, before the system has to kill someone for it."""
        free = free_bytes(self.device)
        if count_bytes > free:
            raise harness.Skipped(f"{what} need {count_bytes / 1e9:.2f} GB, and {free / 1e9:.2f} GB are free")

    def fast_path(self, dtype):
        """How fast 16 and 32 bits are multiplied, as settings: what Roofline tells matrix units in use by."""
        key = (str(self.device), dtype)
        if self.device.type == "cpu" or dtype not in ("f16", "bf16"):
            return {}
        if key not in self.fast_paths:
            allowed = torch.backends.cuda.matmul.allow_tf32
            set_tf32(False)
            kinds = (DTYPES[dtype], torch.float32)
            self.fast_paths[key] = harness.probe(lambda n: [self.product(n, kind) for kind in kinds], self.synchronize)
            set_tf32(allowed)
        return self.fast_paths[key]

    def product(self, n, kind):
        """A function that launches so many products of n × n."""
        a, b, c = (torch.full((n, n), 0.5, device=self.device, dtype=kind) for _ in range(3))

        def launch(times):
            for _ in range(times):
                torch.mm(a, b, out=c)

        return launch


def hashed(dtype, seed, start, count, device):
    """harness.unit of `count` indices, computed on the device in 64-bit integers."""
    bits, mask = harness.BITS[dtype], 0xFFFFFFFF
    state = torch.arange(start, start + count, dtype=torch.int64, device=device).bitwise_and_(mask).bitwise_xor_(seed)
    state.mul_(747796405).add_(2891336453).bitwise_and_(mask)
    word = (state >> ((state >> 28) + 4)).bitwise_xor_(state).mul_(277803737).bitwise_and_(mask)
    word = (word >> 22).bitwise_xor_(word) >> (32 - bits)
    return word.to(torch.float32).mul_(1.0 / (1 << (bits - 1))).sub_(1.0)


def set_tf32(allowed):
    """f32 means f32, unless the workload is TF32's."""
    torch.set_float32_matmul_precision("high" if allowed else "highest")
    torch.backends.cuda.matmul.allow_tf32 = allowed
    torch.backends.cudnn.allow_tf32 = allowed


def free_bytes(device):
    """Memory that can still be taken on the device, in bytes."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    available = system.memory_available()
    if device.type == "mps":
        return min(available, torch.mps.recommended_max_memory() - torch.mps.driver_allocated_memory())
    return available


def has_tf32(device):
    """Whether a CUDA device multiplies f32 operands rounded to TF32; elsewhere the switch does nothing."""
    return torch.version.hip is None and torch.cuda.get_device_capability(device)[0] >= 8


def cuda_devices():
    if not torch.cuda.is_available():
        return []
    found = []
    for index in range(torch.cuda.device_count()):
        props = torch.cuda.get_device_properties(index)
        features = [f"compute capability {props.major}.{props.minor}", f"{props.multi_processor_count} multiprocessors"]
        if props.major >= 7 and not torch.version.hip:
            features.append("tensor cores")
        integrated = bool(getattr(props, "is_integrated", 0))
        found.append(
            dict(
                id=f"cuda:{index}",
                name=props.name,
                kind="integrated-gpu" if integrated else "discrete-gpu",
                backend="ROCm" if torch.version.hip else "CUDA",
                memory_bytes=props.total_memory,
                canary=True,
                functional=None,
                features=features,
            )
        )
    return found


def mps_devices():
    if not torch.backends.mps.is_available():
        return []
    return [
        dict(
            id="mps",
            name=system.processor_name(),
            kind="integrated-gpu",
            backend="MPS",
            memory_bytes=torch.mps.recommended_max_memory(),
            canary=True,
            functional=None,
            features=["unified memory", "no fallback to the processor"],
        )
    ]


def cpu_device():
    return dict(
        id="cpu",
        name=system.processor_name(),
        kind="cpu",
        backend="CPU",
        memory_bytes=system.memory_total(),
        canary=True,
        functional=None,
        features=[torch.backends.cpu.get_cpu_capability(), f"{torch.get_num_threads()} threads"],
    )


class Kernel(harness.Task):
    """What the single kernels share."""

    def __init__(self, engine, precision, variant):
        super().__init__(precision, variant)
        self.engine = engine
        self.out = None

    def poison(self):
        self.out.fill_(float("nan"))

    def outputs(self, indices):
        flat = self.out.reshape(-1)
        if any(index >= len(flat) for index in indices):
            raise harness.Failed(f"outputs beyond the {len(flat)} that there are were asked for")
        at = torch.tensor(indices, dtype=torch.int64, device=flat.device)
        return flat[at].cpu().double().tolist()

    def device_peak(self):
        return self.engine.device_peak()

    def free(self):
        self.__dict__.update({name: None for name, value in self.__dict__.items() if torch.is_tensor(value)})


def reduced(dtype):
    """Whether parts of a sum may be added in 16 bits, or None where this PyTorch doesn't tell."""
    names = {"f16": "allow_fp16_reduced_precision_reduction", "bf16": "allow_bf16_reduced_precision_reduction"}
    found = getattr(torch.backends.cuda.matmul, names[dtype], None)
    # Newer ones tell of it as (allowed, allowed to split k).
    return found[0] if isinstance(found, tuple) else found


def accumulation(device, dtype):
    if dtype == "f32":
        return "f32 operands, f32 accumulation"
    if dtype == "tf32":
        return "f32 operands rounded to TF32, f32 accumulation"
    if device.type == "cuda":
        return f"{dtype} operands and result, f32 accumulation"
    return f"{dtype} operands and result, accumulation as the library chooses"


class Gemm(Kernel):
    def __init__(self, engine, workload, job):
        dtype, layout = workload["dtype"], workload.get("layout", "ab")
        device = engine.device
        if dtype not in DTYPES:
            raise harness.Unsupported(f"the PyTorch engine has no GEMM in {dtype}")
        if dtype == "tf32" and not (device.type == "cuda" and has_tf32(device)):
            raise harness.Unsupported("TF32 is a type of NVIDIA's tensor cores since compute capability 8.0")
        if layout not in ("ab", "abt"):
            raise harness.Unsupported(f"the PyTorch engine has no GEMM of layout {layout}")
        variant = "torch.mm(a, b, out=c)" if layout == "ab" else "torch.mm(a, b.t(), out=c)"
        precision = accumulation(device, dtype)
        if device.type == "cuda" and dtype in ("f16", "bf16") and reduced(dtype):
            # Where the library splits k, it may add the parts in the result's type.
            precision += f" within parts of k, which may be added in {dtype}"
        super().__init__(engine, precision, variant)
        m, n, k = workload["m"], workload["n"], workload["k"]
        engine.require((m * k + k * n + m * n) * DTYPES[dtype].itemsize, "the operands")
        self.a = engine.operand(dtype, harness.SEEDS["gemm-a"], (m, k), job)
        stored = engine.operand(dtype, harness.SEEDS["gemm-b"], (k, n) if layout == "ab" else (n, k), job)
        self.b = stored if layout == "ab" else stored.t()
        self.out = torch.empty((m, n), dtype=DTYPES[dtype], device=device)
        if device.type == "cpu":
            # Some types and layouts are a thousand times slower than others.
            rows = max(1, min(m, 1 + (1 << 24) // (n * k)))
            each = engine.seconds(lambda: torch.mm(self.a[:rows], self.b, out=self.out[:rows]), 1) / rows
            job.afford(3 * each * m, "a product, run three times,")
        self.tell(dtype)
        self.run(1, None, job.point)
        engine.synchronize()

    def tell(self, dtype):
        self.settings["tf32"] = "on" if torch.backends.cuda.matmul.allow_tf32 else "off"
        self.settings["float32-matmul-precision"] = torch.get_float32_matmul_precision()
        if self.engine.device.type == "cuda" and dtype in ("f16", "bf16"):
            self.settings["reduced-precision-reduction"] = str(reduced(dtype))
        self.settings.update(self.engine.fast_path(dtype))

    def run(self, iterations, steps, point):
        a, b, out = self.a, self.b, self.out
        for _ in range(iterations):
            point()
            torch.mm(a, b, out=out)


class Seen(TorchDispatchMode):
    """Which operators a call ends in."""

    def __init__(self):
        super().__init__()
        self.names = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.names.append(str(func))
        return func(*args, **(kwargs or {}))


def attention_backend(call):
    """Which implementation scaled_dot_product_attention chose."""
    with Seen() as seen:
        call()
    names = " ".join(seen.names)
    known = {
        "_scaled_dot_product_flash_attention_for_cpu": "flash (processor)",
        "_scaled_dot_product_flash_attention": "flash",
        "_scaled_dot_product_cudnn_attention": "cuDNN",
        "_scaled_dot_product_efficient_attention": "memory-efficient",
        "_scaled_dot_product_attention_math_for_mps": "MPS",
    }
    found = next((told for name, told in known.items() if name in names), None)
    return found or ("math" if "bmm" in names or "softmax" in names else "unknown")


class Attention(Kernel):
    def __init__(self, engine, workload, job):
        dtype = workload["dtype"]
        if dtype not in DTYPES or dtype == "tf32":
            raise harness.Unsupported(f"the PyTorch engine has no attention in {dtype}")
        super().__init__(engine, accumulation(engine.device, dtype), "scaled_dot_product_attention")
        batch, heads, kv_heads = workload["batch"], workload["heads"], workload["kv_heads"]
        sequence, head_dim = workload["sequence"], workload["head_dim"]
        elements = 2 * batch * (heads + kv_heads) * sequence * head_dim
        engine.require(elements * DTYPES[dtype].itemsize, "the operands")
        shapes = [(batch, heads, sequence, head_dim)] + 2 * [(batch, kv_heads, sequence, head_dim)]
        seeds = [harness.SEEDS[f"attention-{name}"] for name in "qkv"]
        self.q, self.k, self.v = (engine.operand(dtype, *both, job) for both in zip(seeds, shapes))
        self.causal, self.groups = bool(workload["causal"]), heads // kv_heads
        self.repeat = False
        if engine.device.type == "cpu":
            one = [tensor[:1, :1].contiguous() for tensor in (self.q, self.k, self.v)]
            each = engine.seconds(lambda: self.attend(*one), 1)
            job.afford(3 * each * batch * heads, "attention, run three times,")
        self.choose()
        self.run(1, None, job.point)
        engine.synchronize()

    def choose(self):
        """Grouped heads by the fused kernels where they can, else repeated for them, as transformers does."""
        backend = attention_backend(lambda: self.attend(self.q, self.k, self.v))
        if backend == "math" and self.groups > 1:
            self.repeat = True
            fused = attention_backend(lambda: self.attend(self.q, self.k, self.v))
            self.repeat = fused != "math"
            backend = fused if self.repeat else backend
            if self.repeat:
                self.notes.append("Keys and values are repeated for their query heads within the timing.")
        heads = "repeated heads" if self.repeat else "enable_gqa" if self.groups > 1 else None
        self.settings["backend"] = backend
        self.variant = ", ".join(part for part in (f"scaled_dot_product_attention, {backend}", heads) if part)

    def attend(self, q, k, v):
        grouped = q.shape[1] != k.shape[1]
        if grouped and self.repeat:
            k, v = (tensor.repeat_interleave(self.groups, dim=1) for tensor in (k, v))
            grouped = False
        return torch.nn.functional.scaled_dot_product_attention(q, k, v, is_causal=self.causal, enable_gqa=grouped)

    def poison(self):
        # The output is a new tensor each time; the old one can't be taken for it.
        self.out = None

    @torch.no_grad()
    def run(self, iterations, steps, point):
        q, k, v = self.q, self.k, self.v
        for _ in range(iterations):
            point()
            self.out = self.attend(q, k, v)


class Bandwidth(Kernel):
    def __init__(self, engine, workload, job):
        op, count = workload["op"], workload["array_bytes"] // 4
        arrays = {"read": "a", "write": "", "copy": "a", "triad": "ab"}
        variants = {
            "read": "torch.sum(a)",
            "write": "c.fill_(1.5)",
            "copy": "c.copy_(a)",
            "triad": "torch.add(a, b, alpha=0.40625, out=c)",
        }
        if op not in arrays:
            raise harness.Unsupported(f"the PyTorch engine doesn't measure {op}")
        super().__init__(engine, "f32", variants[op])
        engine.require((len(arrays[op]) + (op != "read")) * 4 * count, "the arrays")
        self.a, self.b = (
            engine.operand("f32", harness.SEEDS[f"bandwidth-{name}"], (count,), job) if name in arrays[op] else None
            for name in "ab"
        )
        self.out = torch.empty(1 if op == "read" else count, dtype=torch.float32, device=engine.device)
        a, b, out = self.a, self.b, self.out
        # Sums into an existing scalar, so that nothing is allocated.
        self.work = {
            "read": lambda: torch.sum(a, dim=0, out=out[0]),
            "write": lambda: out.fill_(harness.WRITTEN),
            "copy": lambda: out.copy_(a),
            "triad": lambda: torch.add(a, b, alpha=harness.TRIAD_SCALE, out=out),
        }[op]
        self.run(1, None, job.point)
        engine.synchronize()

    def run(self, iterations, steps, point):
        work = self.work
        for _ in range(iterations):
            point()
            work()

    def free(self):
        self.work = None
        super().free()


class TensorLimit(harness.Task):
    def __init__(self, engine, workload):
        super().__init__("bytes", "torch.empty and fill_")
        self.engine = engine
        self.percent = min(100, workload["max_percent"])
        self.found = {}
        self.allocate(system.STEP_BYTES, lambda: None)

    def allocate(self, size, point):
        tensor = torch.empty(size, dtype=torch.uint8, device=self.engine.device)
        piece = 1 << 26
        for start in range(0, size, piece):
            point()
            tensor[start : start + piece].fill_(1)
        self.engine.synchronize()
        return tensor

    def run(self, iterations, steps, point):
        engine = self.engine
        for _ in range(iterations):
            engine.free()
            most = free_bytes(engine.device) * self.percent // 100

            def allocate(size):
                engine.free()
                return self.allocate(size, point)

            largest, total = system.find_limits(allocate, engine.is_out_of_memory, most, point)
            engine.free()
            self.found = {"largest-buffer": largest, "total-held": total}

    def values(self):
        return self.found

    def device_peak(self):
        return self.engine.device_peak()


if __name__ == "__main__":
    harness.serve(PyTorch())
