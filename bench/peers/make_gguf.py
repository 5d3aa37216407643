#!/usr/bin/env python3
"""Writes the models of bench/models with random weights as GGUF files, for llama.cpp.

    python3 bench/peers/make_gguf.py --llama build/peers/llama.cpp --out build/peers/models [--model mamba2-130m]

One file NAME-DTYPE.gguf for each model and dtype; a file that is there is kept. As in ours, the embedding
is also the head, and matrices and embedding alone have the dtype; the rest is f32. The Transformer is of
llama.cpp's architecture qwen3, whose equations are ours: SwiGLU, rotary positions, norm of queries and
keys. Tokens are numbers without text. Needs numpy, and the gguf package of llama.cpp's tree (--llama).
"""
import argparse
import os
import sys

import numpy as np

VOCAB, WIDTH, EPS = 50432, 768, 1e-5
MATRICES = ("token_embd", "ssm_in", "ssm_out", "attn_q.", "attn_k.", "attn_v.", "attn_output", "ffn_gate", "ffn_up",
            "ffn_down")


def mamba2(writer, draw):
    """24 layers; inner width 1536 = 24 heads of 64, 128 states, one group, 4 taps."""
    layers, inner, head, state, taps = 24, 2 * WIDTH, 64, 128, 4
    heads, conv = inner // head, inner + 2 * state
    writer.add_block_count(layers)
    writer.add_ssm_conv_kernel(taps)
    writer.add_ssm_inner_size(inner)
    writer.add_ssm_state_size(state)
    writer.add_ssm_time_step_rank(heads)
    writer.add_ssm_group_count(1)
    writer.add_feed_forward_length(0)
    writer.add_head_count(0)
    for i in range(layers):
        name = f"blk.{i}."
        yield name + "attn_norm.weight", np.ones(WIDTH)
        yield name + "ssm_in.weight", draw(inner + conv + heads, WIDTH)
        yield name + "ssm_conv1d.weight", draw(conv, taps) * 10
        yield name + "ssm_conv1d.bias", np.zeros(conv)
        yield name + "ssm_dt.bias", np.full(heads, -4.0)
        yield name + "ssm_a", -np.linspace(1, 16, heads)[:, None]
        yield name + "ssm_d", np.ones((heads, 1))
        yield name + "ssm_norm.weight", np.ones((1, inner))
        yield name + "ssm_out.weight", draw(WIDTH, inner)


def transformer(writer, draw):
    """12 layers of 12 heads, each with keys and values of its own, and a feed-forward of 2048."""
    layers, heads, inner = 12, 12, 2048
    head = WIDTH // heads
    writer.add_block_count(layers)
    writer.add_head_count(heads)
    writer.add_head_count_kv(heads)
    writer.add_key_length(head)
    writer.add_value_length(head)
    writer.add_rope_freq_base(1e4)
    writer.add_feed_forward_length(inner)
    for i in range(layers):
        name = f"blk.{i}."
        yield name + "attn_norm.weight", np.ones(WIDTH)
        for part in ("q", "k", "v", "output"):
            yield f"{name}attn_{part}.weight", draw(WIDTH, WIDTH)
        yield name + "attn_q_norm.weight", np.ones(head)
        yield name + "attn_k_norm.weight", np.ones(head)
        yield name + "ffn_norm.weight", np.ones(WIDTH)
        yield name + "ffn_gate.weight", draw(inner, WIDTH)
        yield name + "ffn_up.weight", draw(inner, WIDTH)
        yield name + "ffn_down.weight", draw(WIDTH, inner)


MODELS = {"mamba2-130m": ("mamba2", mamba2), "transformer-124m": ("qwen3", transformer)}


def write(gguf, path, model, dtype):
    arch, tensors = MODELS[model]
    kind = gguf.GGMLQuantizationType[dtype.upper()]
    random = np.random.default_rng(1)

    def draw(*shape):
        return random.standard_normal(shape, dtype=np.float32) * 0.02

    part = path + ".part"
    writer = gguf.GGUFWriter(part, arch)
    writer.add_name(model)
    writer.add_context_length(1 << 20)
    writer.add_embedding_length(WIDTH)
    writer.add_layer_norm_rms_eps(EPS)
    writer.add_vocab_size(VOCAB)
    writer.add_tokenizer_model("no_vocab")
    count = 0

    def add(name, data):
        nonlocal count
        data, count = data.astype(np.float32), count + data.size
        if any(m in name for m in MATRICES) and kind != gguf.GGMLQuantizationType.F32:
            writer.add_tensor(name, gguf.quants.quantize(data, kind), raw_dtype=kind)
        else:
            writer.add_tensor(name, data)

    add("token_embd.weight", draw(VOCAB, WIDTH))
    for name, data in tensors(writer, draw):
        add(name, data)
    add("output_norm.weight", np.ones(WIDTH))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    os.rename(part, path)
    print(f"{path}: {count} parameters", file=sys.stderr)


def main():
    cli = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    cli.add_argument("--llama", required=True, help="llama.cpp's tree")
    cli.add_argument("--out", required=True, help="folder of the files")
    cli.add_argument("--model", default=",".join(MODELS))
    cli.add_argument("--dtype", default="f32,bf16,q8_0,q4_0")
    opt = cli.parse_args()
    sys.path.insert(0, os.path.join(opt.llama, "gguf-py"))
    import gguf
    os.makedirs(opt.out, exist_ok=True)
    for model in opt.model.split(","):
        for dtype in opt.dtype.split(","):
            path = os.path.join(opt.out, f"{model}-{dtype}.gguf")
            if not os.path.exists(path):
                write(gguf, path, model, dtype)


if __name__ == "__main__":
    main()
