#!/usr/bin/env python3
"""hydralm against Hugging Face transformers, live: models made by either are run by both.

  run.py [path of hydralm]       (default: $HYDRALM, then build/hydralm)

Needs torch, transformers and safetensors; scripts/test --peers makes an environment that has them.
"""

import os
import pathlib
import subprocess
import sys
import tempfile

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT / "tools"))
sys.dont_write_bytecode = True
from make_golden import CASES, make_model, peer_logits, recurrence  # noqa: E402

HYDRALM = str(ROOT / "build" / "hydralm")
TOLERANCE = 1e-4  # both sides are fp32; another order of summation, not another equation

CONFIG = """
model: {layers: "3x(S)", d_model: 48, vocab: 300, chunk: 32}
ssm: {expand: 2, head_dim: 16, d_state: 24}
"""


def hydralm(*args):
    done = subprocess.run([HYDRALM, *map(str, args)], capture_output=True, text=True)
    if done.returncode != 0:
        raise AssertionError(f"hydralm {' '.join(map(str, args))}: {done.stderr.strip()}")


def our_logits(model, tokens, work, *options):
    np.save(work / "tokens.npy", np.array(tokens, dtype=np.int32))
    hydralm("logits", "--model", model, "--tokens", work / "tokens.npy", "--out",
            work / "logits.npy", *options)
    return np.load(work / "logits.npy")


def expect(what, got, want, tolerance=TOLERANCE):
    assert got.shape == want.shape, f"{what}: shape {got.shape}, wanted {want.shape}"
    error = np.abs(got - want).max()
    assert error < tolerance, f"{what} is off by {error:.1e}"
    print(f"  {what}: off by {error:.1e}")


def some_tokens(seed, vocab, n):
    return [int(t) for t in np.random.default_rng(seed).integers(0, vocab, n)]


def check_all_ways(model, tokens, want, work):
    """The same logits fed whole, cut anywhere, and token by token."""
    rng = np.random.default_rng(len(tokens))
    cuts = sorted(int(c) for c in rng.choice(np.arange(1, len(tokens)), 5, replace=False))
    expect("whole", our_logits(model, tokens, work), want)
    expect(f"cut at {cuts}", our_logits(model, tokens, work, "--cut", ",".join(map(str, cuts))),
           want)
    every = ",".join(str(i) for i in range(1, len(tokens)))
    expect("step by step", our_logits(model, tokens, work, "--cut", every), want)


def theirs_in_ours(work):
    for seed, (name, shape) in enumerate(CASES.items(), start=100):
        print(f" {name}, seed {seed}")
        model = make_model(shape, seed)
        model.save_pretrained(work / name)
        hydralm("convert", "--from", work / name, "--out", work / f"{name}-ours")
        tokens = some_tokens(seed, shape["vocab_size"], shape["tokens"] * 2)
        whole, steps = peer_logits(model, tokens)
        judge = recurrence(model, tokens)
        expect("theirs whole against the recurrence", whole.numpy(), judge)
        expect("theirs step by step against the recurrence", steps.numpy(), judge)
        check_all_ways(work / f"{name}-ours", tokens, whole.numpy(), work)


def theirs_in_shards(work):
    shape = CASES["mamba2-plain"]
    model = make_model(shape, 7)
    model.save_pretrained(work / "shards", max_shard_size="50KB")
    assert len(list((work / "shards").glob("model-*.safetensors"))) > 1
    hydralm("convert", "--from", work / "shards", "--out", work / "shards-ours")
    tokens = some_tokens(7, shape["vocab_size"], 90)
    expect("whole", our_logits(work / "shards-ours", tokens, work),
           peer_logits(model, tokens)[0].numpy())


def theirs_in_bf16(work):
    """Matrices stay bf16 bit for bit through both conversions; vectors widen to fp32."""
    shape = CASES["mamba2-plain"]
    model = make_model(shape, 8).bfloat16()
    model.save_pretrained(work / "bf16")
    hydralm("convert", "--from", work / "bf16", "--out", work / "bf16-ours")
    hydralm("convert", "--from", work / "bf16-ours", "--out", work / "bf16-back", "--to-hf")
    before = load_file(work / "bf16" / "model.safetensors")
    after = load_file(work / "bf16-back" / "model.safetensors")
    assert before.keys() == after.keys()
    for name, tensor in before.items():
        assert after[name].dtype == (torch.bfloat16 if tensor.dim() == 2 else torch.float32), name
        assert torch.equal(after[name].float(), tensor.float()), name
    tokens = some_tokens(8, shape["vocab_size"], 90)
    # Operands of products are rounded to 8 bits here, the witness' are not: 2^-9 for each.
    expect("whole", our_logits(work / "bf16-ours", tokens, work),
           peer_logits(model.float(), tokens)[0].numpy(), 0.15)


def ours_in_theirs(work):
    (work / "config.yaml").write_text(CONFIG)
    hydralm("init", "--config", work / "config.yaml", "--out", work / "ours", "--seed", 11)
    hydralm("convert", "--from", work / "ours", "--out", work / "theirs", "--to-hf")
    model, info = AutoModelForCausalLM.from_pretrained(
        work / "theirs", dtype=torch.float32, output_loading_info=True)
    for problem, names in info.items():
        assert not names, f"transformers loading our export: {problem}: {names}"
    assert type(model).__name__ == "Mamba2ForCausalLM"
    tokens = some_tokens(11, 300, 150)
    check_all_ways(work / "ours", tokens, peer_logits(model.eval(), tokens)[0].numpy(), work)


def our_files_are_theirs(work):
    """Their library, writing the tensors of a file of ours, writes the same bytes."""
    for name in ("ours", "theirs"):
        path = work / name / "model.safetensors"
        with safe_open(path, "pt") as f:
            metadata = f.metadata()
        save_file(load_file(path), work / "again.safetensors", metadata=metadata)
        assert path.read_bytes() == (work / "again.safetensors").read_bytes(), path
        print(f"  {name}/model.safetensors: {path.stat().st_size} bytes, the same")


def main():
    global HYDRALM
    HYDRALM = sys.argv[1] if len(sys.argv) > 1 else os.environ.get("HYDRALM", HYDRALM)
    torch.set_num_threads(2)
    with tempfile.TemporaryDirectory() as folder:
        for check in (theirs_in_ours, theirs_in_shards, theirs_in_bf16, ours_in_theirs,
                      our_files_are_theirs):
            print(check.__name__)
            check(pathlib.Path(folder))
    print("hydralm and transformers agree")


if __name__ == "__main__":
    main()
