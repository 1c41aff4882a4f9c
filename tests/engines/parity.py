"""PyTorch's and MLX's engines against f64, and against each other, on a tiny model that is made here.

    python3 tests/engines/parity.py TORCH_PYTHON MLX_PYTHON [TORCH_DEVICE MLX_DEVICE]

It needs both frameworks, so it isn't part of the usual tests. Either Python may be `-` to leave that engine out.
"""

import array
import json
import struct
import subprocess
import sys
import tempfile
from pathlib import Path

from driver import ENGINES, Driver, error_of
from roofline_values import unit

SHAPE = dict(vocabulary=512, hidden=128, intermediate=256, layers=3, heads=4, kv_heads=2, head_dim=32, tied_head=False)
GEMM = dict(kind="gemm", m=70, n=48, k=96)
ATTENTION = dict(kind="attention", batch=2, heads=4, kv_heads=2, sequence=40, head_dim=32)
EPSILON = {"f32": 2.0**-23, "f16": 2.0**-10, "bf16": 2.0**-7}


def tensors():
    """(name, shape) of a Mistral."""
    hidden, inner = SHAPE["hidden"], SHAPE["intermediate"]
    query, kv = SHAPE["heads"] * SHAPE["head_dim"], SHAPE["kv_heads"] * SHAPE["head_dim"]
    yield "model.embed_tokens.weight", (SHAPE["vocabulary"], hidden)
    for layer in range(SHAPE["layers"]):
        at = f"model.layers.{layer}."
        yield at + "input_layernorm.weight", (hidden,)
        yield at + "post_attention_layernorm.weight", (hidden,)
        for name, rows, columns in (
            ("self_attn.q_proj", query, hidden),
            ("self_attn.k_proj", kv, hidden),
            ("self_attn.v_proj", kv, hidden),
            ("self_attn.o_proj", hidden, query),
            ("mlp.gate_proj", inner, hidden),
            ("mlp.up_proj", inner, hidden),
            ("mlp.down_proj", hidden, inner),
        ):
            yield f"{at}{name}.weight", (rows, columns)
    yield "model.norm.weight", (hidden,)
    yield "lm_head.weight", (SHAPE["vocabulary"], hidden)


def write_model(folder, code, rope_on_top=True):
    """A Hugging Face folder with hashed weights, in f32 ("f") or f16 ("e")."""
    folder.mkdir()
    header, data = {"__metadata__": {"format": "pt"}}, bytearray()
    for seed, (name, shape) in enumerate(tensors(), 1):
        count = shape[0] * (shape[1] if len(shape) > 1 else 1)
        values = (
            [1.0] * count if len(shape) == 1 else [0.15 * unit("f32", seed * 7919, index) for index in range(count)]
        )
        start = len(data)
        data += array.array("f", values).tobytes() if code == "f" else struct.pack(f"<{count}e", *values)
        dtype = "F32" if code == "f" else "F16"
        header[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [start, len(data)]}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    (folder / "model.safetensors").write_bytes(struct.pack("<Q", len(text)) + text + data)
    config = dict(
        architectures=["MistralForCausalLM"],
        model_type="mistral",
        vocab_size=SHAPE["vocabulary"],
        hidden_size=SHAPE["hidden"],
        intermediate_size=SHAPE["intermediate"],
        num_hidden_layers=SHAPE["layers"],
        num_attention_heads=SHAPE["heads"],
        num_key_value_heads=SHAPE["kv_heads"],
        head_dim=SHAPE["head_dim"],
        hidden_act="silu",
        max_position_embeddings=2048,
        rms_norm_eps=1e-5,
        rope_parameters=dict(rope_type="default", rope_theta=1e6),
        sliding_window=None,
        tie_word_embeddings=False,
        torch_dtype="float32" if code == "f" else "float16",
        bos_token_id=1,
        eos_token_id=2,
    )
    if rope_on_top:
        config["rope_theta"] = 1e6
    (folder / "config.json").write_text(json.dumps(config))
    write_tokenizer(folder)


def write_tokenizer(folder):
    words = {"<unk>": 0, "<s>": 1, "</s>": 2}
    words.update({f"w{index}": index for index in range(3, SHAPE["vocabulary"])})
    model = dict(type="WordLevel", vocab=words, unk_token="<unk>")
    tokenizer = dict(version="1.0", truncation=None, padding=None, added_tokens=[], normalizer=None)
    tokenizer.update(pre_tokenizer={"type": "Whitespace"}, post_processor=None, decoder=None, model=model)
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer))
    config = dict(tokenizer_class="PreTrainedTokenizerFast", unk_token="<unk>", bos_token="<s>", eos_token="</s>")
    (folder / "tokenizer_config.json").write_text(json.dumps(config))


def model_ref(precision):
    return dict(name="tiny", origin="synthetic", precision=precision, shape=SHAPE, weight_bytes=1, token_bytes=1)


def kernels(driver, device, dtypes):
    """Every kernel in every type, compared with double precision."""
    for dtype in dtypes:
        workloads = [dict(GEMM, dtype=dtype, layout=layout) for layout in ("ab", "abt")]
        workloads += [dict(ATTENTION, dtype=dtype, causal=causal) for causal in (True, False)]
        if dtype == "tf32":
            workloads = []
        for workload in workloads:
            count = 70 * 48 if workload["kind"] == "gemm" else 2 * 4 * 40 * 32
            indices = [0, 1, 47, 48, count // 2, count - 2, count - 1]
            found = driver.entry(device, workload, outputs=indices)
            report(workload, found)
            error = error_of(workload, found["check"]["outputs"])
            assert error < 2 * EPSILON[dtype] + 8 * 2.0**-23 * 10, (workload, error)
    for op in ("read", "write", "copy", "triad"):
        workload = dict(kind="bandwidth", op=op, array_bytes=1 << 18)
        found = driver.entry(device, workload, outputs=[0] if op == "read" else [0, 5, (1 << 16) - 1])
        report(workload, found)
        error = error_of(workload, found["check"]["outputs"])
        assert error < 1e-4 if op == "read" else error < 1e-6, (op, error)
    found = driver.entry(device, dict(kind="tensor-limit", max_percent=5), batches=((1, None),))
    report({"kind": "tensor-limit"}, found)
    values = found["samples"][0]["values"]
    assert 0 < values["largest-buffer"] <= values["total-held"]


def report(workload, found):
    prepared = found.get("prepared")
    assert prepared is not None and "end" in found, (workload, found)
    sample = found["samples"][-1]
    print(
        " ".join(str(workload.get(name, "")) for name in ("kind", "op", "dtype", "layout", "phase")),
        f"| {sample['host_s']:.6f} s |",
        json.dumps(
            {name: prepared[name] for name in ("precision", "variant", "settings", "notes")}, ensure_ascii=False
        ),
        found["end"]["notes"],
        sample["values"] or "",
        flush=True,
    )


def models(driver, device, path, model_format, precision):
    """Everything with a model: (logits, tokens, losses)."""
    model = dict(path=str(path), format=model_format)
    ref = model_ref(precision)
    prompt = [[(37 * position + 11 * row) % 500 + 3 for position in range(70)] for row in range(2)]
    found = driver.entry(device, dict(kind="model-load", model=ref), model=model, batches=((2, None),))
    report({"kind": "model-load"}, found)
    results = []
    probe = dict(logits=[0, 5, 77, 300, 511], tokens=12)
    for phase, batch, batches in (
        (dict(phase="prefill", tokens=70), 1, ((1, None), (3, None))),
        (dict(phase="prefill", tokens=70), 2, ((1, None),)),
        (dict(phase="decode", tokens=20, depth=64), 1, ((1, 8), (2, 20), (1, None))),
        (dict(phase="decode", tokens=8, depth=0), 2, ((1, 8),)),
    ):
        workload = dict(kind="inference", model=ref, phase=phase, batch=batch)
        found = driver.entry(device, workload, batches, model=model, prompt=prompt[:batch], probe=probe, outputs=[3])
        report(workload, found)
        results.append((found["probe"]["logits"], found["probe"]["tokens"]))
        if phase["phase"] == "decode":
            assert len(found["samples"][0]["token_s"]) == 8
        print("   ", found["measurements"], found["probe"])
    assert all(result[1] == results[0][1] for result in results), "greedy tokens differ from entry to entry"
    losses = {}
    for targets, checkpointing in ((["q", "v"], False), (["q", "k", "v", "o", "gate", "up", "down"], True)):
        workload = dict(
            kind="training",
            model=ref,
            rank=4,
            targets=targets,
            sequence=32,
            batch=2,
            clipping=not checkpointing,
            checkpointing=checkpointing,
            learning_rate_millionths=2000,
        )
        text = [[(row * 5 + 13 * position) % 60 + 3 for position in range(32)] for row in range(5)]
        found = driver.entry(device, workload, ((3, None), (12, None)), model=model, sequences=text)
        report(workload, found)
        told = [loss for sample in found["samples"] for loss in sample["losses"]]
        assert len(told) == 15 and told[-1] < told[0], told
        assert found["prepared"]["trainable_parameters"] == trainable(targets, 4)
        print("    losses", [round(loss, 4) for loss in told])
        losses[len(targets)] = told
    return results[0], losses


def trainable(targets, rank):
    hidden, inner = SHAPE["hidden"], SHAPE["intermediate"]
    query, kv = SHAPE["heads"] * SHAPE["head_dim"], SHAPE["kv_heads"] * SHAPE["head_dim"]
    sums = dict(q=hidden + query, k=hidden + kv, v=hidden + kv, o=hidden + query)
    sums.update(dict.fromkeys(("gate", "up", "down"), hidden + inner))
    return rank * SHAPE["layers"] * sum(sums[name] for name in targets)


def refusals(driver, device, folder):
    """What can't be done is answered, and the engine lives on."""
    gemm = dict(GEMM, dtype="f32", layout="ab")
    ref = model_ref("f32")
    wrong_shape = dict(ref, shape=dict(SHAPE, layers=7))
    model = dict(path=str(folder / "f32"), format="huggingface")
    for fields, answer in (
        (dict(workload=dict(gemm, dtype="f64")), "unsupported"),
        (dict(workload=dict(gemm, m=1 << 22, n=1 << 22)), "skipped"),
        (dict(workload=dict(kind="bandwidth-sweep")), "unsupported"),
        (dict(workload=dict(kind="gemm")), "failed"),
        (
            dict(workload=dict(kind="model-load", model=ref), model=dict(path="/nowhere", format="huggingface")),
            "failed",
        ),
        (dict(workload=dict(kind="model-load", model=ref), model=dict(path="/nowhere", format="gguf")), "unsupported"),
        (dict(workload=dict(kind="model-load", model=wrong_shape), model=model), "failed"),
        (
            dict(
                workload=dict(kind="inference", model=ref, phase=dict(phase="prefill", tokens=2), batch=1),
                model=model,
                prompt=[[3, 4000]],
            ),
            "failed",
        ),
    ):
        found = driver.entry(device, **fields)
        assert answer in found, (fields, found)
        print("   ", answer, "|", found[answer]["reason"])
    assert "failed" in driver.entry("no-such-device", gemm)


def close(name, ours, theirs, tolerance):
    error = max(abs(a - b) for a, b in zip(ours, theirs))
    print(f"{name}: largest difference {error:.1e}")
    assert error <= tolerance, (name, ours, theirs)


def main():
    pythons = sys.argv[1:3]
    devices = sys.argv[3:5] or ["cpu", "cpu"]
    found = {}
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        write_model(folder / "f32", "f")
        write_model(folder / "f16", "e")
        write_model(folder / "theta", "f", rope_on_top=False)
        for name, python, device in zip(("pytorch", "mlx"), pythons, devices):
            if python == "-":
                continue
            driver = Driver([python, "-I", str(ENGINES / f"roofline_{name}.py")], {"MLX_ENABLE_TF32": "0"})
            hello = driver.hello()
            print(name, json.dumps(hello))
            kernels(driver, device, hello["dtypes"])
            refusals(driver, device, folder)
            for precision in ("f32", "f16"):
                found[name, precision] = models(driver, device, folder / precision, "huggingface", precision)
            if name == "mlx":
                workload = dict(kind="model-load", model=model_ref("f32"))
                theta = driver.entry(device, workload, model=dict(path=str(folder / "theta"), format="huggingface"))
                assert "rope_theta" in theta["failed"]["reason"], theta
                convert = [
                    python,
                    "-I",
                    str(ENGINES / "roofline_mlx.py"),
                    "convert",
                    str(folder / "f16"),
                    str(folder / "q4"),
                ]
                print(subprocess.run(convert, check=True, capture_output=True, text=True).stdout)
                models(driver, device, folder / "q4", "mlx", "4-bit")
            print("ended with", driver.close())
    if len(found) == 4:
        for precision, tolerance in (("f32", 1e-4), ("f16", 2e-2)):
            (ours, losses), (theirs, other) = found["pytorch", precision], found["mlx", precision]
            close(f"{precision} logits", [value for _, value in ours[0]], [value for _, value in theirs[0]], tolerance)
            if precision == "f32":
                assert ours[1] == theirs[1], "greedy tokens differ"
            for targets, told in losses.items():
                close(f"{precision} first loss", told[:1], other[targets][:1], tolerance)
    print("all is well")


if __name__ == "__main__":
    main()
