#!/usr/bin/env python3
"""TensorBoard's own reader on the events of a training: every number of metrics.jsonl, and no other.

  tensorboard_reads.py [path of hydralm]       (default: $HYDRALM, then build/hydralm)

The training is stopped and resumed, so that steps come from two files, and those that the first one
made after its checkpoint must be forgotten.
"""

import json
import os
import pathlib
import shutil
import struct
import subprocess
import sys
import tempfile

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
HYDRALM = str(ROOT / "build" / "hydralm")

CONFIG = """
model: {layers: "SE A WP F", d_model: 32, vocab: 256, chunk: 16}
ssm: {head_dim: 16, d_state: 16}
attention: {n_head: 2, head_dim: 16, window: 32, topk: 1}
experts: {n_expert: 4, k: 2, expert_chunk: 16, d_ff: 32}
workspace: {n_head: 1, d_k: 16, d_v: 16, reads: 2}
pkm: {n_head: 1, n_key: 8, d_key: 16, topk: 2}
train: {steps: 14, batch: 2, seq_len: 32, warmup: 2, eval_every: 5, save_every: 6}
"""


def train(work, *options):
    command = [HYDRALM, "train", "--config", work / "config.yaml", "--data", work / "text.txt",
               "--out", work / "run", "--quiet", *options]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def depth(value):
    return 1 + depth(value[0]) if isinstance(value, list) and value else 0


def add_numbers(want, tag, value, step):
    if isinstance(value, dict):
        for key, part in value.items():
            if key != "step":
                add_numbers(want, f"{tag}/{key}" if tag else key, part, step)
    elif isinstance(value, list):
        if depth(value) <= 2:
            for i, part in enumerate(value):
                add_numbers(want, f"{tag}/{i}", part, step)
    elif isinstance(value, (int, float)):
        narrow = struct.unpack("f", struct.pack("f", value))[0]
        want.setdefault(tag, []).append((step, narrow))


def compare(run):
    reader = EventAccumulator(str(run / "events"), size_guidance={"scalars": 0})
    reader.Reload()
    want = {}
    for line in (run / "metrics.jsonl").read_text().splitlines():
        numbers = json.loads(line)
        add_numbers(want, "", numbers, numbers["step"])
    tags = reader.Tags()["scalars"]
    assert sorted(tags) == sorted(want), sorted(set(tags) ^ set(want))
    for tag in tags:
        got = [(event.step, event.value) for event in reader.Scalars(tag)]
        assert got == want[tag], f"{tag}: TensorBoard reads {got}, written was {want[tag]}"
    count = sum(map(len, want.values()))
    print(f"  {len(tags)} tags, {count} values, the same")


def main():
    global HYDRALM
    HYDRALM = sys.argv[1] if len(sys.argv) > 1 else os.environ.get("HYDRALM", HYDRALM)
    with tempfile.TemporaryDirectory() as folder:
        work = pathlib.Path(folder)
        (work / "config.yaml").write_text(CONFIG)
        (work / "text.txt").write_text("".join(f"Line {i} of a text.\n" for i in range(300)))
        print("a whole run")
        train(work)
        compare(work / "run")
        assert len(list((work / "run" / "events").iterdir())) == 1

        print("resumed from a checkpoint, with events of later steps behind it")
        shutil.rmtree(work / "run")
        train(work, "--steps", 12)
        shutil.copytree(work / "run", work / "saved")
        train(work, "--resume", "--steps", 14)
        shutil.rmtree(work / "saved" / "events")  # as if the steps 13 and 14 had not been saved
        shutil.move(work / "run" / "events", work / "saved" / "events")
        shutil.rmtree(work / "run")
        shutil.move(work / "saved", work / "run")
        train(work, "--resume", "--steps", 13)
        assert len(list((work / "run" / "events").iterdir())) == 3
        compare(work / "run")
    print("TensorBoard reads what hydralm wrote")


if __name__ == "__main__":
    main()
