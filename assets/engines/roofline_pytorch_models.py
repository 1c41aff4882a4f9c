"""Language models in PyTorch: transformers loads and runs them, peft trains their adapters."""

import json
import os
import time

import torch
import transformers
from transformers import AutoConfig, AutoModelForCausalLM, DynamicCache, StaticCache

# Loaded now and not when the first model is: an import must not be interrupted.
from transformers.models.llama import modeling_llama  # noqa: F401
from transformers.models.mistral import modeling_mistral  # noqa: F401

import roofline_engine as harness

transformers.utils.logging.disable_progress_bar()
transformers.utils.logging.set_verbosity_error()

PRECISIONS = {"f32": torch.float32, "f16": torch.float16, "bf16": torch.bfloat16}
# Logits of the compiled path may differ from the eager ones by this much of their norm.
COMPILED_ERROR = 0.02
# The other path is measured too if its passes take less than this together.
EAGER_S = 10.0
EAGER_PASSES = 3
TARGETS = dict(q="q_proj", k="k_proj", v="v_proj", o="o_proj", gate="gate_proj", up="up_proj", down="down_proj")
SEED = 0x7F4A7C15


class Models:
    """The model that is on the device: one at a time, and none between entries."""

    def __init__(self, engine):
        self.engine = engine
        self.model = None
        self.compiled = False

    def task(self, workload, question, job):
        model = question.get("model")
        if model is None:
            raise harness.Failed(f"{workload['kind']} was asked for without a model")
        if model["format"] != "huggingface":
            raise harness.Unsupported(f"the PyTorch engine doesn't read models of the format {model['format']}")
        precision = workload["model"]["precision"]
        if precision not in PRECISIONS:
            raise harness.Unsupported(f"the PyTorch engine has no model in {precision}; choose f32, f16 or bf16")
        path, kind = model["path"], workload["kind"]
        check_shape(path, workload["model"].get("shape") or {})
        # Its matrices in 16 bits are some fifty times slower on a processor when trained.
        wide = kind == "training" and self.engine.device.type == "cpu"
        dtype = torch.float32 if wide else PRECISIONS[precision]
        if kind == "model-load":
            return Load(self, path, dtype, precision, job)
        probed = self.engine.fast_path(precision)
        self.engine.reset_peak()
        job.phase("loading weights")
        loaded = self.model = self.load(path, dtype)
        which = Training if kind == "training" else None
        if kind == "inference":
            which = {"prefill": Prefill, "decode": Decode}.get(workload["phase"]["phase"])
        if which is None:
            raise harness.Unsupported(f"the PyTorch engine doesn't measure {workload['phase']['phase']}")
        task = which(self, loaded, precision, workload, question, job)
        task.settings.update(probed)
        return task

    def load(self, path, dtype):
        """The model from its files, resident on the device."""
        device = self.engine.device
        self.engine.require(weight_bytes(path), "the weights")
        on_device = {} if device.type == "cpu" else {"device_map": {"": str(device)}}
        model = AutoModelForCausalLM.from_pretrained(
            path, dtype=dtype, attn_implementation="sdpa", local_files_only=True, **on_device
        )
        model.eval().requires_grad_(False)
        if device.type == "cpu":
            # Weights may still lie in mapped files: every page is touched.
            for tensor in model.parameters():
                tensor.reshape(-1)[:: max(1, 4096 // tensor.element_size())].sum()
        self.engine.synchronize()
        return model

    def drop(self):
        self.model = None
        if self.compiled:
            torch.compiler.reset()
            self.compiled = False
        self.engine.empty()


def weight_bytes(path):
    return sum(entry.stat().st_size for entry in os.scandir(path) if entry.name.endswith(".safetensors"))


def check_shape(path, shape):
    """Fails where the folder's model isn't the one that was asked for."""
    if not os.path.isfile(os.path.join(path, "config.json")):
        raise harness.Failed(f"there is no model in the folder; export it again: {path}")
    try:
        config = AutoConfig.from_pretrained(path, local_files_only=True)
    except (OSError, ValueError, json.JSONDecodeError) as error:
        raise harness.Failed(f"the model can't be read: {harness.describe_error(error)}") from error
    names = dict(
        vocabulary="vocab_size",
        hidden="hidden_size",
        intermediate="intermediate_size",
        layers="num_hidden_layers",
        heads="num_attention_heads",
        kv_heads="num_key_value_heads",
    )
    for ours, theirs in names.items():
        found = getattr(config, theirs, None)
        if ours in shape and shape[ours] != found:
            raise harness.Failed(f"the model's {ours} is {found}, and {shape[ours]} was expected: {path}")


class ModelTask(harness.Task):
    """What all entries with a model share."""

    def __init__(self, models, precision, variant):
        super().__init__(precision, variant)
        self.models, self.engine = models, models.engine
        self.settings["attention"] = "sdpa"
        self.settings["transformers"] = transformers.__version__

    def describe(self, model):
        elements = sum(tensor.numel() for tensor in model.parameters())
        size = sum(tensor.numel() * tensor.element_size() for tensor in model.parameters())
        self.settings["parameters"] = str(elements)
        # Layers that a framework leaves on the processor would make a model slow without a word.
        self.settings["weights-on"] = ", ".join(sorted({tensor.device.type for tensor in model.parameters()}))
        self.settings["bits-per-weight"] = f"{8 * size / elements:.2f}"

    def device_peak(self):
        return self.engine.device_peak()


class Load(ModelTask):
    def __init__(self, models, path, dtype, precision, job):
        super().__init__(models, f"{precision} weights", "AutoModelForCausalLM.from_pretrained")
        self.path, self.dtype = path, dtype
        models.drop()
        job.phase("loading weights")
        self.run(1, None, job.point)
        self.describe(models.model)
        self.notes.append("Files come from the system's cache: the model was loaded before, untimed.")

    def rewind(self):
        self.models.drop()

    def run(self, iterations, steps, point):
        for _ in range(iterations):
            self.models.model = self.models.load(self.path, self.dtype)

    def free(self):
        self.models.drop()


class Inference(ModelTask):
    """Prefill and decode: a prompt, and what follows it."""

    def __init__(self, models, model, precision, workload, question, job):
        super().__init__(models, f"{precision} weights, activations and cache", "eager, dynamic cache")
        self.model = model
        prompt = question.get("prompt")
        if prompt is None:
            raise harness.Failed("inference was asked for without a prompt")
        vocabulary = model.config.vocab_size
        if max(max(row) for row in prompt) >= vocabulary:
            raise harness.Failed(f"the prompt has tokens beyond the {vocabulary} of the vocabulary")
        self.ids = torch.tensor(prompt, dtype=torch.int64, device=self.engine.device)
        self.batch = len(prompt)
        if self.batch != workload.get("batch", self.batch):
            raise harness.Failed(
                f"{workload['batch']} sequences were expected in the prompt, and there are {self.batch}"
            )
        self.describe(model)
        if self.engine.device.type == "cpu":
            self.afford(job)

    def afford(self, job):
        """Runs the beginning of the prompt, and skips what would take too long."""

        def read_s(length):
            piece = self.ids[:1, :length]
            return timed(self.engine, lambda: self.forward(piece, DynamicCache(config=self.model.config)))

        harness.judge(job, read_s, self.batch, self.ids.shape[1], "the prompt")

    @torch.inference_mode()
    def forward(self, ids, cache):
        """The logits of the last position."""
        return self.model(input_ids=ids, past_key_values=cache, use_cache=True, logits_to_keep=1).logits[:, -1]

    def outputs(self, indices):
        return self.after_prompt(self.ids[:1])[0][indices].double().tolist()

    def after_prompt(self, ids):
        cache = DynamicCache(config=self.model.config)
        return self.forward(ids, cache)[0].float().cpu(), cache

    def probe(self, logits, tokens):
        found, cache = self.after_prompt(self.ids[:1])
        if max(logits, default=0) >= len(found):
            raise harness.Failed(f"logits beyond the {len(found)} of the vocabulary were asked for")
        greedy, last = [], found
        for index in range(tokens):
            greedy.append(int(last.argmax()))
            if index + 1 < tokens:
                ids = torch.tensor([[greedy[-1]]], device=self.engine.device)
                last = self.forward(ids, cache)[0].float().cpu()
        return found[logits].double().tolist(), greedy

    def free(self):
        self.model = self.ids = None


class Prefill(Inference):
    def __init__(self, *args):
        super().__init__(*args)
        job = args[-1]
        self.next = None
        self.run(1, None, job.point)

    @torch.inference_mode()
    def run(self, iterations, steps, point):
        for _ in range(iterations):
            point()
            logits = self.forward(self.ids, DynamicCache(config=self.model.config))
            self.next = logits.argmax(-1).tolist()


class Eager:
    """Decoding with a cache that grows."""

    variant = "eager, dynamic cache"

    def __init__(self, task):
        self.task = task
        self.depth = task.filled.shape[1]
        self.cache = DynamicCache(config=task.model.config)
        self.first = task.forward(task.filled, self.cache).argmax(-1, keepdim=True)
        # Growing makes new tensors: these stay as they are.
        self.kept = [dict(layer.__dict__) for layer in self.cache.layers]

    def rewind(self):
        for layer, kept in zip(self.cache.layers, self.kept):
            layer.__dict__.clear()
            layer.__dict__.update(kept)

    def step(self, ids):
        return self.task.forward(ids, self.cache)


class Compiled:
    """Decoding with a cache of fixed size, compiled into CUDA graphs."""

    variant = "static cache, torch.compile(mode=reduce-overhead)"

    def __init__(self, task, most):
        model, batch = task.model, task.batch
        self.depth = task.filled.shape[1]
        # A multiple of 64, so that the mask suits the fused kernels.
        room = -(-(self.depth + most + 1) // 64) * 64
        self.cache = StaticCache(config=model.config, max_cache_len=room)
        task.forward(task.filled, self.cache)
        # Both paths begin with one token, so that they can be compared.
        self.first = task.eager.first
        self.ids = torch.empty((batch, 1), dtype=torch.int64, device=task.engine.device)
        self.position = torch.empty((1, 1), dtype=torch.int64, device=task.engine.device)
        self.kept = [self.counters(layer) for layer in self.cache.layers]
        self.call = torch.compile(model.forward, mode="reduce-overhead", dynamic=False)

    @staticmethod
    def counters(layer):
        """Copies of what counts positions, where the cache counts for itself."""
        tensors = {
            name: value for name, value in layer.__dict__.items() if torch.is_tensor(value) and value.numel() == 1
        }
        return {name: value.clone() for name, value in tensors.items()}

    @torch.inference_mode()
    def rewind(self):
        self.position.fill_(self.depth)
        for layer, kept in zip(self.cache.layers, self.kept):
            for name, value in kept.items():
                getattr(layer, name).copy_(value)
            layer.keys[:, :, self.depth :].zero_()
            layer.values[:, :, self.depth :].zero_()

    @torch.inference_mode()
    def step(self, ids):
        self.ids.copy_(ids)
        torch.compiler.cudagraph_mark_step_begin()
        logits = self.call(
            input_ids=self.ids,
            position_ids=self.position,
            past_key_values=self.cache,
            use_cache=True,
            logits_to_keep=1,
        ).logits[:, -1]
        self.position.add_(1)
        return logits


class Decode(Inference):
    def __init__(self, models, model, precision, workload, question, job):
        super().__init__(models, model, precision, workload, question, job)
        phase = workload["phase"]
        self.most = phase["tokens"]
        self.exact = precision == "f32"
        depth = max(1, phase["depth"])
        if self.ids.shape[1] < depth:
            raise harness.Failed(f"the prompt has {self.ids.shape[1]} tokens, and the cache needs {depth}")
        self.filled = self.ids[:, :depth]
        job.phase("filling the cache")
        self.eager = Eager(self)
        self.path = self.eager
        self.rewind()
        self.run(1, 2, job.point)
        if self.engine.device.type == "cuda":
            self.compile(job)
        self.variant = self.path.variant
        self.rewind()
        self.run(1, min(4, self.most), job.point)

    def compile(self, job):
        """The compiled path where it works and gives the same logits."""
        job.phase("compiling the model")
        self.models.compiled = True
        self.settings["compile-error"] = "none"
        try:
            path = Compiled(self, self.most)
            self.eager.rewind()
            expected = self.eager.step(self.eager.first).float()
            for _ in range(3):
                path.rewind()
                found = path.step(self.eager.first).float()
                error = float((found - expected).norm() / expected.norm())
            if not error <= COMPILED_ERROR:
                raise harness.Failed(f"its logits differ by {error:.1e} of their norm")
            self.path = path
            self.rewind()
            self.run(1, min(harness.CHECKED_TOKENS, self.most), job.point)
            self.verify()
            self.settings["compile-error"] = f"{error:.1e} of the norm of the eager logits"
        except Exception as error:
            self.path = self.eager
            self.settings.pop("compile-error")
            self.notes.append(
                f"The compiled path can't be used, so the eager one is measured: {harness.describe_error(error)}"
            )

    def rewind(self):
        self.path.rewind()

    @torch.inference_mode()
    def run(self, iterations, steps, point):
        path, steps = self.path, steps or self.most
        if steps > self.most:
            raise harness.Failed(f"{steps} steps were asked for, and there is room for {self.most}")
        for _ in range(iterations):
            ids, found = path.first, []
            for _ in range(steps):
                point()
                ids = path.step(ids).argmax(-1, keepdim=True)
                found.append(ids)
            self.next = torch.cat(found, 1).tolist()

    @torch.inference_mode()
    def stream(self, steps):
        path, gaps, ids = self.path, [], self.path.first
        before = time.perf_counter()
        for _ in range(steps or self.most):
            ids = path.step(ids).argmax(-1, keepdim=True)
            ids.tolist()
            now = time.perf_counter()
            gaps.append(now - before)
            before = now
        return gaps

    @torch.inference_mode()
    def verify(self):
        """Raises `Failed` where the tokens of the last timed pass aren't the eager path's; how many were looked at.

        The tokens are given to the eager path some at a time, which must choose each of them too. Other kernels round
        otherwise, so that either of two that are about as likely will do.
        """
        tokens = torch.tensor(self.next, dtype=torch.int64, device=self.engine.device)
        given = torch.cat([self.eager.first, tokens], 1)
        self.eager.rewind()
        start, done = time.perf_counter(), 0
        while done < tokens.shape[1] and (done == 0 or time.perf_counter() - start < harness.CHECKED_S):
            count = min(harness.CHECKED_TOKENS, tokens.shape[1] - done)
            logits = self.model(
                input_ids=given[:, done : done + count],
                past_key_values=self.eager.cache,
                use_cache=True,
                logits_to_keep=count,
            ).logits.float()
            chosen = logits.gather(-1, tokens[:, done : done + count, None])[..., 0]
            below = (logits.amax(-1) - chosen) / logits.std(-1)
            # Written so that NaN is too much.
            wrong = ~(below <= harness.CHECKED_BELOW[self.exact])
            if wrong.any():
                at = int(wrong.any(0).nonzero()[0])
                raise harness.Failed(
                    f"wrong result: token {done + at + 1} of the timed pass isn't the one that the eager path chooses: "
                    f"its logit lies {float(below[wrong].max()):.2g} standard deviations below the largest"
                )
            done += count
        return done

    def measurements(self):
        self.notes.append(f"The first {self.verify()} tokens of the last timed pass are those of the eager path.")
        if self.path is self.eager:
            return []
        # The other path too, so that both can be shown.
        self.path = self.eager
        steps, samples, point = min(self.most, 64), [], lambda: None
        self.eager.rewind()
        each = self.engine.seconds(lambda: (self.eager.rewind(), self.run(1, 4, point)), 1) / 4
        steps = max(1, min(steps, int(EAGER_S / EAGER_PASSES / each)))
        # Each length of the cache is new to the libraries once, and then many times slower.
        self.eager.rewind()
        self.run(1, steps, point)
        for _ in range(EAGER_PASSES):
            self.eager.rewind()
            seconds = timed(self.engine, lambda: self.run(1, steps, point))
            samples.append(steps * self.batch / seconds)
        return [("eager-throughput", "token-per-second", samples)]

    def free(self):
        self.eager = self.path = self.filled = None
        super().free()


def timed(engine, work):
    engine.synchronize()
    start = time.perf_counter()
    work()
    engine.synchronize()
    return time.perf_counter() - start


class Training(ModelTask):
    """LoRA by peft: frozen weights, adapters in f32, AdamW."""

    def __init__(self, models, model, precision, workload, question, job):
        with job.whole():
            import peft

        super().__init__(models, "", "peft, torch.optim.AdamW")
        sequences = question.get("sequences")
        if not sequences or len(sequences[0]) < 2:
            raise harness.Failed("training was asked for without sequences of two tokens at least")
        if max(max(row) for row in sequences) >= model.config.vocab_size:
            raise harness.Failed("the sequences have tokens beyond the vocabulary")
        device = self.engine.device
        self.batch, self.clipping = workload["batch"], workload["clipping"]
        self.describe(model)
        self.text = torch.tensor(sequences, dtype=torch.int64, device=device)
        torch.manual_seed(SEED)
        rank = workload["rank"]
        config = peft.LoraConfig(
            r=rank,
            lora_alpha=2 * rank,
            lora_dropout=0.0,
            bias="none",
            target_modules=[TARGETS[name] for name in workload["targets"]],
            task_type="CAUSAL_LM",
        )
        self.model = peft.get_peft_model(model, config)
        self.model.train()
        if workload["checkpointing"]:
            self.model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
            self.model.enable_input_require_grads()
            self.settings["checkpointing"] = "every block"
        self.parameters = [tensor for tensor in self.model.parameters() if tensor.requires_grad]
        for tensor in self.parameters:
            tensor.data = tensor.data.float()
        self.trainable_parameters = sum(tensor.numel() for tensor in self.parameters)
        self.rate = workload.get("learning_rate_millionths", 2000) * 1e-6
        dtype = next(tensor.dtype for tensor in model.parameters() if not tensor.requires_grad)
        self.autocast = dtype if dtype != torch.float32 else None
        self.tell(precision, dtype)
        self.begin()
        self.afford(job, sequences)
        self.warm_up(job)

    def tell(self, precision, dtype):
        name = next(name for name, value in PRECISIONS.items() if value == dtype)
        widened = f"{precision} weights widened to f32" if name != precision else f"{name} weights"
        self.precision = f"{widened}, {name} activations, f32 adapters and moments"
        self.settings["autocast"] = name if self.autocast else "off"
        self.settings["loss-scale"] = "none"
        self.settings["optimizer"] = "torch.optim.AdamW, betas 0.9 and 0.999, no weight decay"
        self.settings["clip"] = "global norm 1" if self.clipping else "none"

    def begin(self):
        """An optimiser without a past, and the first sequences."""
        self.optimizer = torch.optim.AdamW(
            self.parameters, lr=self.rate, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.0
        )
        self.step_index, self.losses = 0, []

    def afford(self, job, sequences):
        """On a processor, a step of a large model may take minutes: some of one sequence shows it."""
        if self.engine.device.type != "cpu":
            return

        def read_s(length):
            piece = self.text[:1, :length]
            seconds = timed(self.engine, lambda: self.loss(piece).backward())
            self.optimizer.zero_grad()
            return seconds

        harness.judge(job, read_s, self.batch, len(sequences[0]), "a step")

    def warm_up(self, job):
        """One step, undone."""
        job.phase("running the first step")
        kept = [tensor.detach().clone() for tensor in self.parameters]
        self.run(1, None, job.point)
        with torch.no_grad():
            for tensor, value in zip(self.parameters, kept):
                tensor.copy_(value)
        self.begin()

    def loss(self, ids):
        # A position predicts the one after it; the last has no target.
        if self.autocast is None:
            return self.model(input_ids=ids, labels=ids, use_cache=False).loss
        with torch.autocast(self.engine.device.type, dtype=self.autocast):
            return self.model(input_ids=ids, labels=ids, use_cache=False).loss

    def run(self, iterations, steps, point):
        for _ in range(iterations):
            point()
            first = self.step_index * self.batch
            rows = [(first + index) % len(self.text) for index in range(self.batch)]
            loss = self.loss(self.text[rows])
            loss.backward()
            if self.clipping:
                torch.nn.utils.clip_grad_norm_(self.parameters, 1.0)
            self.optimizer.step()
            self.optimizer.zero_grad()
            self.losses.append(loss.detach())
            self.step_index += 1

    def take_losses(self):
        losses, self.losses = self.losses, []
        return [harness.finite(value, "the loss of step", self.step_index) for value in losses]

    def free(self):
        self.model = self.parameters = self.optimizer = self.text = self.losses = None
        self.models.drop()
