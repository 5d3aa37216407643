#!/usr/bin/env python3
"""The same models in PyTorch, to be measured beside `hydralm bench` on the same machine.

    python3 bench/peers/torch_models.py transformer --mode train --tokens 512,2048 --batch 8 [--dtype bf16]
    python3 bench/peers/torch_models.py mamba2 --mode forward --tokens 1024,4096

One line of JSON for each length: median, best and spread of tokens/s over the runs, and the peak memory.
The Transformer is that of configs/toy-transformer.yaml (pre-norm, SwiGLU, rotary positions, norm of
queries and keys, scaled_dot_product_attention); Mamba-2 that of configs/toy-mamba2.yaml with the chunked
scan of arXiv 2405.21060, section 6, as batched matrix products over all chunks at once. Both tie the
embedding to the head. Needs torch (pip install torch==2.13.0); --compile tries torch.compile.
"""
import argparse
import json
import math
import resource
import statistics
import time

import torch
import torch.nn as nn
import torch.nn.functional as F

VOCAB, WIDTH = 16384, 512


class Norm(nn.RMSNorm):
    """Its weight follows the input's dtype, without which there is no fused kernel under autocast."""

    def forward(self, x):
        return F.rms_norm(x, self.normalized_shape, self.weight.to(x.dtype), self.eps)


class Attention(nn.Module):
    def __init__(self, heads=8):
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(WIDTH, 3 * WIDTH, bias=False)
        self.out = nn.Linear(WIDTH, WIDTH, bias=False)
        self.q_norm, self.k_norm = Norm(WIDTH // heads), Norm(WIDTH // heads)

    def forward(self, x):
        b, t, _ = x.shape
        q, k, v = self.qkv(x).view(b, t, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        q, k = rotate(self.q_norm(q)), rotate(self.k_norm(k))
        o = F.scaled_dot_product_attention(q, k, v.to(q.dtype), is_causal=True)
        return self.out(o.transpose(1, 2).reshape(b, t, WIDTH))


def rotate(x, base=1e4):
    t, d = x.shape[-2], x.shape[-1]
    angle = torch.arange(t)[:, None] * base ** (-torch.arange(0, d, 2) / d)[None]
    cos, sin = angle.cos().to(x.dtype), angle.sin().to(x.dtype)
    a, b = x[..., : d // 2], x[..., d // 2 :]
    return torch.cat((a * cos - b * sin, b * cos + a * sin), -1)


class FeedForward(nn.Module):
    def __init__(self, inner=1536):
        super().__init__()
        self.gate_up = nn.Linear(WIDTH, 2 * inner, bias=False)
        self.down = nn.Linear(inner, WIDTH, bias=False)

    def forward(self, x):
        gate, up = self.gate_up(x).chunk(2, -1)
        return self.down(F.silu(gate) * up)


class Mamba2(nn.Module):
    def __init__(self, inner=1024, head=64, state=128, taps=4, chunk=64):
        super().__init__()
        self.inner, self.head, self.state, self.chunk = inner, head, state, chunk
        self.heads = inner // head
        self.in_proj = nn.Linear(WIDTH, 2 * inner + 2 * state + self.heads, bias=False)
        self.taps = nn.Parameter(torch.empty(taps, inner + 2 * state).uniform_(-0.5, 0.5))
        self.conv_bias = nn.Parameter(torch.zeros(inner + 2 * state))
        self.dt_bias = nn.Parameter(torch.full((self.heads,), -4.0))
        self.a_log = nn.Parameter(torch.log(1 + 15 * torch.rand(self.heads)))
        self.d = nn.Parameter(torch.ones(self.heads))
        self.norm = Norm(inner)
        self.out = nn.Linear(inner, WIDTH, bias=False)

    def forward(self, u):
        b, t, _ = u.shape
        z, xbc, dt = self.in_proj(u).split((self.inner, self.inner + 2 * self.state, self.heads), -1)
        xbc = F.silu(self.conv(xbc))
        x, keys, queries = xbc.split((self.inner, self.state, self.state), -1)
        dt = F.softplus(dt.float() + self.dt_bias)
        y = self.scan(x.view(b, t, self.heads, self.head).float(), dt, keys.float(), queries.float())
        return self.out(self.norm(y.reshape(b, t, self.inner).to(u.dtype) * F.silu(z)))

    def conv(self, x):
        """Shifted products: in training nn.Conv1d with as many groups as channels is slower by a third."""
        taps, bias, k, t = self.taps.to(x.dtype), self.conv_bias.to(x.dtype), len(self.taps), x.shape[1]
        x = F.pad(x, (0, 0, k - 1, 0))
        return bias + sum(x[:, i : i + t] * taps[i] for i in range(k))

    def scan(self, x, dt, keys, queries):
        b, t, h, p = x.shape
        c, n = self.chunk, t // self.chunk
        step = (dt * -torch.exp(self.a_log)).view(b, n, c, h).permute(0, 3, 1, 2)
        total = step.cumsum(-1)
        decay = torch.exp((total[..., :, None] - total[..., None, :]).masked_fill(
            ~torch.ones(c, c, dtype=torch.bool).tril(), -math.inf))
        scaled = (x * dt[..., None]).view(b, n, c, h, p)
        keys, queries = keys.view(b, n, c, -1), queries.view(b, n, c, -1)
        near = torch.einsum("bnis,bnjs,bhnij,bnjhp->bnihp", queries, keys, decay, scaled)
        ends = torch.einsum("bnjs,bhnj,bnjhp->bnhps", keys, torch.exp(total[..., -1:] - total), scaled)
        state, before = torch.zeros_like(ends[:, 0]), []
        for i in range(n):
            before.append(state)
            state = state * torch.exp(total[:, :, i, -1])[..., None, None] + ends[:, i]
        far = torch.einsum("bnis,bnhps,bhni->bnihp", queries, torch.stack(before, 1), torch.exp(total))
        return (near + far).reshape(b, t, h, p) + x * self.d[:, None]


class Model(nn.Module):
    def __init__(self, kind):
        super().__init__()
        layers = [f for _ in range(6) for f in (Attention(), FeedForward())] if kind == "transformer" else [
            Mamba2() for _ in range(12)]
        self.embed = nn.Embedding(VOCAB, WIDTH)
        self.layers = nn.ModuleList(layers)
        self.norms = nn.ModuleList(Norm(WIDTH) for _ in layers)
        self.last = Norm(WIDTH)

    def forward(self, tokens):
        x = self.embed(tokens)
        for norm, layer in zip(self.norms, self.layers):
            x = x + layer(norm(x))
        return self.last(x)

    def loss(self, tokens, targets):
        logits = F.linear(self(tokens), self.embed.weight)
        return F.cross_entropy(logits.float().view(-1, VOCAB), targets.view(-1))


def measure(fn, tokens, warm_up, runs):
    fn(tokens[:, :warm_up])
    times = []
    for _ in range(runs):
        start = time.perf_counter()
        fn(tokens)
        times.append(time.perf_counter() - start)
    return times


def main():
    cli = argparse.ArgumentParser()
    cli.add_argument("model", choices=("transformer", "mamba2"))
    cli.add_argument("--mode", choices=("train", "forward"), default="train")
    cli.add_argument("--tokens", default="512")
    cli.add_argument("--batch", type=int, default=1)
    cli.add_argument("--dtype", choices=("fp32", "bf16"), default="fp32")
    cli.add_argument("--threads", type=int, default=2)
    cli.add_argument("--runs", type=int, default=5)
    cli.add_argument("--warm-up", type=int, default=1 << 30, help="tokens of a run before them, at most all")
    cli.add_argument("--compile", action="store_true")
    opt = cli.parse_args()
    torch.manual_seed(1)
    torch.set_num_threads(opt.threads)
    model = Model(opt.model)
    loss = torch.compile(model.loss) if opt.compile else model.loss
    adam = torch.optim.AdamW(model.parameters(), lr=1e-4, fused=True)
    cast = torch.autocast("cpu", torch.bfloat16, enabled=opt.dtype == "bf16")

    def step(tokens):
        with cast:
            value = loss(tokens, tokens)
        value.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        adam.step()
        adam.zero_grad(set_to_none=True)

    def forward(tokens):
        with torch.no_grad(), cast:
            F.linear(model(tokens)[:, -1], model.embed.weight)

    for n in map(int, opt.tokens.split(",")):
        tokens = torch.randint(0, VOCAB, (opt.batch, n))
        times = measure(step if opt.mode == "train" else forward, tokens, opt.warm_up, opt.runs)
        rate = sorted(opt.batch * n / s for s in times)
        print(json.dumps({
            "peer": "pytorch " + torch.__version__, "model": opt.model, "mode": opt.mode, "dtype": opt.dtype,
            "batch": opt.batch, "tokens": n, "parameters": sum(p.numel() for p in model.parameters()),
            "tokens_per_s": statistics.median(rate), "least": rate[0], "most": rate[-1],
            "peak_rss_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024}), flush=True)


if __name__ == "__main__":
    main()
