#!/usr/bin/env python3
"""Makes tests/golden: small random Mamba2ForCausalLM models of Hugging Face transformers and what
they compute. Needs torch, transformers, safetensors and numpy; run by hand when a case changes.

Each folder of tests/golden holds config.json and model.safetensors as save_pretrained writes them,
and expected.safetensors:
  tokens  I32 [T]
  logits  F32 [T, V]  of the whole sequence in one call
  decoded F32 [T, V]  token by token with the library's own cache

The library is not believed blindly. Its chunked path, its cached path and its kernels have each
been wrong in some release, so both results are first compared with a plain float64 recurrence
written here from the paper's equations (arXiv 2405.21060), and nothing is written when one is off.
"""

import json
import pathlib
import sys

import numpy as np
import torch
from safetensors.torch import save_file
from transformers import Mamba2Config, Mamba2ForCausalLM

TOLERANCE = 2e-5  # of float32 logits of order 1 against float64

# A chunk_size that we keep, one that we round up and one down; T is no multiple of any. Widths
# that are no multiples of a vector's 4, 8 or 16 lanes come second.
CASES = {
    "mamba2-plain": dict(hidden_size=64, num_hidden_layers=2, state_size=16, head_dim=16, expand=2,
                         vocab_size=257, conv_kernel=4, chunk_size=32, tokens=75),
    "mamba2-odd": dict(hidden_size=36, num_hidden_layers=3, state_size=20, head_dim=12, expand=3,
                       vocab_size=101, conv_kernel=3, chunk_size=8, tokens=53),
    "mamba2-wide": dict(hidden_size=32, num_hidden_layers=2, state_size=64, head_dim=8, expand=1,
                        vocab_size=64, conv_kernel=4, chunk_size=40, tokens=140,
                        layer_norm_epsilon=1e-3),
}


def make_model(shape, seed):
    """A model whose every parameter matters: none is left at 0 or 1."""
    torch.manual_seed(seed)
    shape = dict(shape)
    del shape["tokens"]
    config = Mamba2Config(
        num_heads=shape["hidden_size"] * shape["expand"] // shape["head_dim"], n_groups=1,
        tie_word_embeddings=True, bos_token_id=None, eos_token_id=None, pad_token_id=None, **shape)
    model = Mamba2ForCausalLM(config).eval()
    with torch.no_grad():
        for name, p in model.named_parameters():
            if name.endswith("norm.weight") or name.endswith("norm_f.weight"):
                p.uniform_(0.5, 1.5)
            elif name.endswith("A_log"):
                p.copy_(torch.log(torch.empty_like(p).uniform_(1, 16)))
            elif name.endswith("dt_bias"):
                p.uniform_(-4, 0)
            elif name.endswith(".D"):
                p.uniform_(-1, 1)
            elif name.endswith("conv1d.weight"):
                p.uniform_(-0.7, 0.7)
            elif name.endswith("conv1d.bias"):
                p.uniform_(-0.3, 0.3)
            else:
                p.normal_(0, p.shape[-1] ** -0.5)
    return model


def recurrence(model, tokens):
    """Logits in float64, token by token."""
    c = model.config
    w = {k: v.double().numpy() for k, v in model.state_dict().items()}
    inner, heads, n = c.hidden_size * c.expand, c.num_heads, c.state_size

    def rms(x, weight):
        return x / np.sqrt(np.mean(x * x) + c.layer_norm_epsilon) * weight

    def silu(x):
        return x / (1 + np.exp(-x))

    columns = np.zeros((c.num_hidden_layers, c.conv_kernel, inner + 2 * n))
    state = np.zeros((c.num_hidden_layers, heads, c.head_dim, n))
    out = []
    for token in tokens:
        x = w["backbone.embeddings.weight"][token]
        for i in range(c.num_hidden_layers):
            def p(name):
                return w[f"backbone.layers.{i}.{name}"]
            zxbcdt = p("mixer.in_proj.weight") @ rms(x, p("norm.weight"))
            z, xbc, dt = np.split(zxbcdt, [inner, 2 * inner + 2 * n])
            columns[i] = np.vstack([columns[i][1:], xbc])
            conv = np.sum(p("mixer.conv1d.weight")[:, 0, :] * columns[i].T, axis=1)
            u, b, k = np.split(silu(conv + p("mixer.conv1d.bias")), [inner, inner + n])
            u = u.reshape(heads, c.head_dim)
            dt = np.log1p(np.exp(dt + p("mixer.dt_bias")))
            decay = np.exp(-np.exp(p("mixer.A_log")) * dt)
            state[i] = decay[:, None, None] * state[i] + (dt[:, None] * u)[:, :, None] * b
            y = state[i] @ k + p("mixer.D")[:, None] * u
            y = rms(y.reshape(inner) * silu(z), p("mixer.norm.weight"))
            x = x + p("mixer.out_proj.weight") @ y
        out.append(w["backbone.embeddings.weight"] @ rms(x, w["backbone.norm_f.weight"]))
    return np.array(out)


@torch.no_grad()
def peer_logits(model, tokens):
    """The library's logits: of the whole sequence, and step by step with its cache."""
    whole = model(torch.tensor([tokens]), use_cache=False).logits[0]
    steps, cache = [], None
    for token in tokens:
        out = model(torch.tensor([[token]]), use_cache=True,
                    **({} if cache is None else {"cache_params": cache}))
        cache = out.cache_params
        steps.append(out.logits[0, -1])
    return whole.float().contiguous(), torch.stack(steps).float().contiguous()


def main():
    root = pathlib.Path(__file__).resolve().parent.parent / "tests" / "golden"
    for seed, (name, shape) in enumerate(CASES.items()):
        model = make_model(shape, seed)
        tokens = np.random.default_rng(seed).integers(0, shape["vocab_size"], shape["tokens"])
        tokens = [int(t) for t in tokens]
        want = recurrence(model, tokens)
        whole, steps = peer_logits(model, tokens)
        for what, got in (("whole", whole), ("step by step", steps)):
            error = np.abs(got.numpy() - want).max()
            print(f"{name}: {what} differs from the recurrence by {error:.1e}; "
                  f"logits up to {np.abs(want).max():.2f}")
            if not error < TOLERANCE * np.abs(want).max():
                sys.exit(f"{name}: the library's {what} logits are wrong; nothing written")
        model.save_pretrained(root / name)
        (root / name / "generation_config.json").unlink(missing_ok=True)
        save_file({"tokens": torch.tensor(tokens, dtype=torch.int32), "logits": whole,
                   "decoded": steps}, root / name / "expected.safetensors")
        config = json.loads((root / name / "config.json").read_text())
        assert config["model_type"] == "mamba2"


if __name__ == "__main__":
    main()
