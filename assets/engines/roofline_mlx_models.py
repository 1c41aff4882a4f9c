"""Language models in MLX: mlx-lm loads, runs, quantises and trains them."""

import argparse
import json
import os
import shutil
import sys
import time
from pathlib import Path

import mlx.core as mx
import mlx.nn as nn
import mlx.optimizers as optim
import mlx_lm.tuner.trainer as trainer
from mlx.utils import tree_flatten, tree_map
from mlx_lm import utils as lm
from mlx_lm.models import cache as caches
from mlx_lm.tuner.utils import linear_to_lora_layers

import roofline_engine as harness

PRECISIONS = {"f32": mx.float32, "f16": mx.float16, "bf16": mx.bfloat16}
# Positions that mlx-lm's own generation reads at once.
PREFILL_STEP = 2048
SCALE = 2.0
SEED = 0x7F4A7C15
TARGETS = dict(
    q="self_attn.q_proj",
    k="self_attn.k_proj",
    v="self_attn.v_proj",
    o="self_attn.o_proj",
    gate="mlp.gate_proj",
    up="mlp.up_proj",
    down="mlp.down_proj",
)


def read_config(path):
    """config.json, refused where mlx-lm would read another model from it than others do."""
    if not (Path(path) / "config.json").is_file():
        raise harness.Failed(f"there is no model in the folder; export it again: {path}")
    try:
        config = json.loads((Path(path) / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise harness.Failed(f"the model's config.json can't be read: {harness.describe_error(error)}") from error
    rope = config.get("rope_parameters") or {}
    if "rope_theta" not in config and "rope_theta" in rope:
        raise harness.Failed(
            f"config.json has rope_theta in rope_parameters alone, where mlx-lm doesn't read it and takes 10000 "
            f"instead of {rope['rope_theta']:g}; write it at the top too: {path}"
        )
    return config


def check_shape(path, config, shape):
    """Fails where the folder's model isn't the one that was asked for."""
    names = dict(
        vocabulary="vocab_size",
        hidden="hidden_size",
        intermediate="intermediate_size",
        layers="num_hidden_layers",
        heads="num_attention_heads",
        kv_heads="num_key_value_heads",
    )
    for ours, theirs in names.items():
        if ours in shape and theirs in config and shape[ours] != config[theirs]:
            raise harness.Failed(f"the model's {ours} is {config[theirs]}, and {shape[ours]} was expected: {path}")


def load(path, dtype):
    """The model from its files, resident on the device."""
    config = read_config(path)
    # mlx-lm takes a shared output head for granted where transformers doesn't.
    changes = {} if "tie_word_embeddings" in config else {"tie_word_embeddings": False}
    model, _ = lm.load_model(Path(path), lazy=True, model_config=changes)
    if dtype is not None:
        model.set_dtype(dtype)
    mx.eval(model.parameters())
    mx.synchronize()
    return model


def bits_per_weight(model):
    """Bits that a weight takes, scales and offsets included, and how many weights there are."""
    count = lm.get_total_parameters(model)
    size = sum(array.nbytes for _, array in tree_flatten(model.parameters()))
    return 8 * size / count, count


class Models:
    """The model that is on the device: one at a time, and none between entries."""

    def __init__(self, engine):
        self.engine = engine
        self.model = None
        self.wired = False
        # The class of the blocks and its own call, where checkpointing has changed it.
        self.changed = None

    def task(self, workload, question, job):
        model, kind = question.get("model"), workload["kind"]
        if model is None:
            raise harness.Failed(f"{kind} was asked for without a model")
        if model["format"] not in ("huggingface", "mlx"):
            raise harness.Unsupported(f"the MLX engine doesn't read models of the format {model['format']}")
        precision, path = workload["model"]["precision"], model["path"]
        quantised = model["format"] == "mlx"
        if not quantised and precision not in PRECISIONS:
            raise harness.Unsupported(f"a Hugging Face folder has no {precision}; choose f32, f16 or bf16")
        config = read_config(path)
        if quantised and "quantization" not in config:
            raise harness.Failed(f"the model isn't quantised by mlx-lm: {path}")
        check_shape(path, config, workload["model"].get("shape") or {})
        size = sum(entry.stat().st_size for entry in os.scandir(path) if entry.name.endswith(".safetensors"))
        self.engine.require(size, "the weights")
        self.wire()
        if kind == "model-load":
            return Load(self, path, None if quantised else PRECISIONS[precision], precision, job)
        # Activations of quantised models are in f16.
        probed = self.engine.fast_path("f16" if quantised else precision)
        self.engine.reset_peak()
        job.phase("loading weights")
        self.model = load(path, None if quantised else PRECISIONS[precision])
        maker = Training if kind == "training" else Decode if workload["phase"]["phase"] == "decode" else Prefill
        task = maker(self, self.model, precision, workload, question, job)
        task.settings.update(probed)
        return task

    def wire(self):
        """Keeps the weights from being paged out, as mlx-lm does while it generates."""
        if self.engine.device != "cpu" and mx.metal.is_available():
            mx.set_wired_limit(mx.device_info()["max_recommended_working_set_size"])
            self.wired = True

    def drop(self):
        self.model = None
        if self.changed is not None:
            block, call = self.changed
            block.__call__ = call
            self.changed = None
        if self.wired:
            mx.set_wired_limit(0)
            self.wired = False
        mx.clear_cache()


class ModelTask(harness.Task):
    """What all entries with a model share."""

    def __init__(self, models, precision, variant):
        super().__init__(precision, variant)
        self.models, self.engine = models, models.engine
        if models.wired:
            self.settings["wired-limit"] = "the recommended working set"

    def describe(self, model):
        bits, count = bits_per_weight(model)
        self.settings["parameters"] = str(count)
        self.settings["bits-per-weight"] = f"{bits:.2f}"

    def device_peak(self):
        self.notes.append(f"{mx.get_active_memory() / 1e6:.1f} MB were active at the end.")
        return mx.get_peak_memory()


class Load(ModelTask):
    def __init__(self, models, path, dtype, precision, job):
        super().__init__(models, f"{precision} weights", "mlx_lm.utils.load_model and mx.eval")
        self.path, self.dtype = path, dtype
        job.phase("loading weights")
        self.run(1, None, job.point)
        self.describe(models.model)
        self.notes.append("Files come from the system's cache: the model was loaded before, untimed.")

    def rewind(self):
        self.models.model = None
        mx.clear_cache()

    def run(self, iterations, steps, point):
        for _ in range(iterations):
            self.models.model = load(self.path, self.dtype)


class Inference(ModelTask):
    """Prefill and decode: a prompt, and what follows it."""

    def __init__(self, models, model, precision, workload, question, job):
        super().__init__(models, f"{precision} weights", "mlx-lm's model and cache")
        self.model = model
        prompt = question.get("prompt")
        if prompt is None:
            raise harness.Failed("inference was asked for without a prompt")
        self.vocabulary = workload["model"]["shape"]["vocabulary"]
        if max(max(row) for row in prompt) >= self.vocabulary:
            raise harness.Failed(f"the prompt has tokens beyond the {self.vocabulary} of the vocabulary")
        self.ids = mx.array(prompt)
        self.batch = len(prompt)
        if self.batch != workload.get("batch", self.batch):
            raise harness.Failed(
                f"{workload['batch']} sequences were expected in the prompt, and there are {self.batch}"
            )
        self.describe(model)
        # What the model computes in, to tell how far two ways may lie apart.
        self.exact = precision == "f32"
        if self.engine.device == "cpu":

            def read_s(length):
                return timed(lambda: mx.eval(self.read(self.ids[:1, :length], self.new_cache())))

            harness.judge(job, read_s, self.batch, self.ids.shape[1], "the prompt")

    def new_cache(self):
        return caches.make_prompt_cache(self.model)

    def read(self, ids, cache, point=lambda: None):
        """The logits after `ids`, read in pieces as long as mlx-lm's; the output head sees the last position alone."""
        length = ids.shape[1]
        hidden = None
        for start in range(0, length, PREFILL_STEP):
            point()
            if hidden is not None:
                # A graph of all pieces at once would keep the activations of all.
                mx.eval([entry.state for entry in cache])
            hidden = self.model.model(ids[:, start : start + PREFILL_STEP], cache=cache)
        return self.head(hidden[:, -1:, :])[:, -1, :]

    def head(self, hidden):
        """Logits of what the blocks gave."""
        if self.model.args.tie_word_embeddings:
            return self.model.model.embed_tokens.as_linear(hidden)
        return self.model.lm_head(hidden)

    def outputs(self, indices):
        found = self.read(self.ids[:1], self.new_cache())[0].astype(mx.float32).tolist()
        return [found[index] for index in indices]

    def probe(self, logits, tokens):
        cache = self.new_cache()
        last = self.read(self.ids[:1], cache)
        found = last[0].astype(mx.float32).tolist()
        if max(logits, default=0) >= len(found):
            raise harness.Failed(f"logits beyond the {len(found)} of the vocabulary were asked for")
        greedy = []
        for index in range(tokens):
            token = mx.argmax(last, axis=-1)
            greedy.append(token.item())
            if index + 1 < tokens:
                last = self.model(token[:, None], cache=cache)[:, -1, :]
        return [found[index] for index in logits], greedy

    def free(self):
        self.model = self.ids = None


class Prefill(Inference):
    def __init__(self, *args):
        super().__init__(*args)
        self.settings["prefill-step"] = str(PREFILL_STEP)
        self.notes.append(
            f"The prompt is read in pieces of {PREFILL_STEP} tokens at most, its head at the last position alone; "
            "mlx-lm's own generation reads the last token by itself."
        )
        self.run(1, None, args[-1].point)

    def run(self, iterations, steps, point):
        for _ in range(iterations):
            point()
            self.next = mx.argmax(self.read(self.ids, self.new_cache(), point), axis=-1).tolist()


class Decode(Inference):
    def __init__(self, models, model, precision, workload, question, job):
        super().__init__(models, model, precision, workload, question, job)
        phase = workload["phase"]
        self.most, self.depth = phase["tokens"], max(1, phase["depth"])
        if self.ids.shape[1] < self.depth:
            raise harness.Failed(f"the prompt has {self.ids.shape[1]} tokens, and the cache needs {self.depth}")
        self.variant = "mlx-lm's model and cache, mx.async_eval one token ahead"
        job.phase("filling the cache")
        self.fill()
        self.run(1, min(4, self.most), job.point)

    def fill(self):
        self.cache = self.new_cache()
        self.first = mx.argmax(self.read(self.ids[:, : self.depth], self.cache), axis=-1)
        mx.eval(self.first, [entry.state for entry in self.cache])

    def rewind(self):
        """Back to the depth; a cache that forgets is filled again."""
        beyond = [entry.offset - self.depth for entry in self.cache]
        if caches.can_trim_prompt_cache(self.cache) and all(extra >= 0 for extra in beyond):
            for entry, extra in zip(self.cache, beyond):
                entry.trim(extra)
        else:
            self.fill()

    def step(self, token):
        return mx.argmax(self.model(token[:, None], cache=self.cache)[:, -1, :], axis=-1)

    def run(self, iterations, steps, point):
        steps = steps or self.most
        for _ in range(iterations):
            token, found = self.first, []
            for _ in range(steps):
                point()
                token = self.step(token)
                mx.async_eval(token)
                if found:
                    mx.eval(found[-1])
                found.append(token)
            self.next = mx.stack(found, axis=1).tolist()

    def stream(self, steps):
        gaps, token = [], self.first
        before = time.perf_counter()
        for _ in range(steps or self.most):
            token = self.step(token)
            token.tolist()
            now = time.perf_counter()
            gaps.append(now - before)
            before = now
        return gaps

    def measurements(self):
        self.notes.append(f"The first {self.verify()} tokens of the last timed pass are those of a second reading.")
        return []

    def verify(self):
        """Raises `Failed` where the tokens of the last timed pass aren't those that the model chooses when it is given
        them some at a time; how many were looked at. Other kernels round otherwise, so that either of two that are
        about as likely will do."""
        tokens = mx.array(self.next)
        given = mx.concatenate([self.first[:, None], tokens], axis=1)
        self.rewind()
        start, done = time.perf_counter(), 0
        while done < tokens.shape[1] and (done == 0 or time.perf_counter() - start < harness.CHECKED_S):
            count = min(harness.CHECKED_TOKENS, tokens.shape[1] - done)
            logits = self.model(given[:, done : done + count], cache=self.cache).astype(mx.float32)
            chosen = mx.take_along_axis(logits, tokens[:, done : done + count, None], axis=-1)[..., 0]
            below = (logits.max(axis=-1) - chosen) / mx.std(logits, axis=-1)
            # Written so that NaN is too much.
            wrong = mx.logical_not(below <= harness.CHECKED_BELOW[self.exact])
            if wrong.any().item():
                at = wrong.any(axis=0).tolist().index(True)
                raise harness.Failed(
                    f"wrong result: token {done + at + 1} of the timed pass isn't the one that the model chooses when "
                    f"it is given all before it"
                )
            done += count
        return done

    def free(self):
        self.cache = self.first = None
        super().free()


def timed(work):
    mx.synchronize()
    start = time.perf_counter()
    work()
    mx.synchronize()
    return time.perf_counter() - start


def loss_of(model, ids):
    """The mean over all positions but the last, each predicting the one after it."""
    logits = model(ids)[:, :-1, :].astype(mx.float32)
    return nn.losses.cross_entropy(logits, ids[:, 1:], reduction="mean")


class Training(ModelTask):
    """LoRA by mlx-lm's layers: frozen weights, adapters in f32, AdamW."""

    def __init__(self, models, model, precision, workload, question, job):
        super().__init__(
            models,
            f"{precision} weights, activations in the weights' type, f32 adapters and moments",
            "mlx-lm's LoRA layers, mlx.optimizers.AdamW",
        )
        sequences = question.get("sequences")
        if not sequences or len(sequences[0]) < 2:
            raise harness.Failed("training was asked for without sequences of two tokens at least")
        self.batch, self.clipping = workload["batch"], workload["clipping"]
        if max(max(row) for row in sequences) >= workload["model"]["shape"]["vocabulary"]:
            raise harness.Failed("the sequences have tokens beyond the vocabulary")
        self.describe(model)
        self.text = mx.array(sequences)
        mx.random.seed(SEED)
        model.freeze()
        keys = [TARGETS[name] for name in workload["targets"]]
        config = dict(rank=workload["rank"], scale=SCALE, dropout=0.0, keys=keys)
        linear_to_lora_layers(model, len(model.layers), config)
        self.model = model
        if workload["checkpointing"]:
            block = type(model.layers[0])
            models.changed = block, block.__call__
            trainer.grad_checkpoint(model.layers[0])
            self.settings["checkpointing"] = "every block"
        model.train()
        flat = tree_flatten(model.trainable_parameters())
        self.trainable_parameters = sum(array.size for _, array in flat)
        self.rate = workload.get("learning_rate_millionths", 2000) * 1e-6
        self.settings["optimizer"] = "mlx.optimizers.AdamW with bias correction, betas 0.9 and 0.999, no weight decay"
        self.settings["clip"] = "global norm 1" if self.clipping else "none"
        self.begin()
        self.afford(job, sequences)
        self.warm_up(job)

    def begin(self):
        """An optimiser without a past, the first sequences, and a compiled step, as mlx-lm trains."""
        optimizer = optim.AdamW(self.rate, betas=[0.9, 0.999], eps=1e-8, weight_decay=0.0, bias_correction=True)
        optimizer.init(self.model.trainable_parameters())
        model, clipping = self.model, self.clipping
        gradient = nn.value_and_grad(model, loss_of)
        self.state = [model.state, optimizer.state, mx.random.state]

        def step(ids):
            loss, grads = gradient(model, ids)
            if clipping:
                grads, _ = optim.clip_grad_norm(grads, 1.0)
            optimizer.update(model, grads)
            return loss

        self.step = mx.compile(step, inputs=self.state, outputs=self.state)
        self.step_index, self.losses = 0, []

    def afford(self, job, sequences):
        if self.engine.device != "cpu":
            return
        gradient = nn.value_and_grad(self.model, loss_of)

        def read_s(length):
            return timed(lambda: mx.eval(gradient(self.model, self.text[:1, :length])))

        harness.judge(job, read_s, self.batch, len(sequences[0]), "a step")

    def warm_up(self, job):
        """One step, undone."""
        job.phase("running the first step")
        kept = tree_map(mx.array, self.model.trainable_parameters())
        mx.eval(kept)
        self.run(1, None, job.point)
        self.model.update(kept)
        self.begin()
        mx.eval(self.state)

    def run(self, iterations, steps, point):
        for _ in range(iterations):
            point()
            first = self.step_index * self.batch
            rows = mx.array([(first + index) % self.text.shape[0] for index in range(self.batch)])
            loss = self.step(self.text[rows])
            mx.eval(self.state, loss)
            self.losses.append(loss)
            self.step_index += 1

    def take_losses(self):
        losses, self.losses = self.losses, []
        return [harness.finite(loss.item(), "the loss of step", self.step_index) for loss in losses]

    def free(self):
        self.model = self.state = self.step = self.text = self.losses = None


def convert_command(arguments):
    """`convert HF_FOLDER OUT_FOLDER`: writes a quantised folder, under another name until it is whole."""
    parser = argparse.ArgumentParser(
        prog="roofline_mlx.py convert", description="Quantises a Hugging Face folder for MLX"
    )
    parser.add_argument("source")
    parser.add_argument("output")
    parser.add_argument("--bits", type=int, default=4, choices=(2, 3, 4, 5, 6, 8))
    parser.add_argument("--group-size", type=int, default=64, choices=(32, 64, 128))
    wanted = parser.parse_args(arguments)
    output = Path(wanted.output)
    if output.exists():
        sys.stderr.write(f"there is something of that name already: {output}\n")
        return 1
    partial = output.with_name(output.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    out = sys.stdout
    try:
        # mlx-lm prints what it does; standard output is for the result.
        sys.stdout = sys.stderr
        result = convert(wanted.source, partial, wanted.bits, wanted.group_size)
        os.rename(partial, output)
    except Exception as error:
        shutil.rmtree(partial, ignore_errors=True)
        sys.stderr.write(f"the model could not be quantised: {harness.describe_error(error)}\n")
        return 1
    finally:
        sys.stdout = out
    print(json.dumps(result))
    return 0


def convert(source, output, bits, group_size):
    def tell(text):
        sys.stderr.write(f"{text}\n")
        sys.stderr.flush()

    config = read_config(source)
    changes = {} if "tie_word_embeddings" in config else {"tie_word_embeddings": False}
    tell("loading weights")
    model, config = lm.load_model(Path(source), lazy=True, model_config=changes)
    tokenizer = lm.load_tokenizer(Path(source))
    from roofline_mlx import gpu_backend

    # Scales take the weights' type. Without a GPU, MLX computes 16 bits in software, some thirty times slower than 32.
    if gpu_backend() is None and sys.platform != "darwin":
        tell("widening to f32, because half floats are computed in software here")
        model.set_dtype(mx.float32)
        config["torch_dtype"] = "float32"
    tell(f"quantising to {bits} bits in groups of {group_size}")
    model, config = lm.quantize_model(model, config, group_size, bits)
    layers = tree_flatten(model.parameters())
    for done, (_, array) in enumerate(layers, 1):
        mx.eval(array)
        if done % 50 == 0 or done == len(layers):
            tell(f"quantised {done} of {len(layers)} arrays")
    real, count = bits_per_weight(model)
    tell("writing")
    lm.save(output, source, model, tokenizer, config)
    return dict(bits_per_weight=round(real, 4), parameters=count, bits=bits, group_size=group_size)
