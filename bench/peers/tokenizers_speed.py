#!/usr/bin/env python3
"""How fast hydralm and Hugging Face tokenizers encode the same text, one thread each.

  tokenizers_speed.py [MB of text] [repetitions]       (defaults: 10, 5; $HYDRALM or build/hydralm)

The text is that of tests/peers/tokenizers_agree.py, the vocabulary of 32768 tokens is trained on it by
hydralm. The reference gets the lines of the text in one call of encode_batch, which for it is faster than
one long string. Prints medians with the ends, and the ratio of the medians.
"""

import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

os.environ["TOKENIZERS_PARALLELISM"] = "false"
os.environ["RAYON_NUM_THREADS"] = "1"
sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent.parent / "tests" / "peers"))
import tokenizers  # noqa: E402
from tokenizers_agree import HYDRALM, some_text  # noqa: E402

HYDRALM = os.environ.get("HYDRALM", HYDRALM)


def hydralm(*args):
    done = subprocess.run([HYDRALM, "tokenizer", *map(str, args), "--json"], check=True,
                          capture_output=True)
    return json.loads(done.stdout)


def show(name, rates):
    print(f"{name:12} {statistics.median(rates):7.1f} MB/s  ({min(rates):.1f} to {max(rates):.1f})")
    return statistics.median(rates)


def main():
    size = int(sys.argv[1]) if len(sys.argv) > 1 else 10
    times = int(sys.argv[2]) if len(sys.argv) > 2 else 5
    with tempfile.TemporaryDirectory() as folder:
        path, vocab = pathlib.Path(folder) / "text.txt", pathlib.Path(folder) / "t.json"
        text = some_text(size * 1_000_000)
        path.write_text(text, newline="")
        n_byte = path.stat().st_size
        trained = hydralm("train", path, "--vocab", 32768, "--out", vocab)
        print(f"trained {trained['vocab']} tokens on {n_byte / 1e6:.1f} MB in "
              f"{trained['seconds']:.1f} s")
        lines = text.splitlines(keepends=True)
        ours = [hydralm("encode", "--tokenizer", vocab, "--count", path) for _ in range(times)]
        theirs, rates = tokenizers.Tokenizer.from_file(str(vocab)), []
        for _ in range(times):
            start = time.perf_counter()
            theirs.encode_batch_fast(lines, add_special_tokens=False)
            rates.append(n_byte / 1e6 / (time.perf_counter() - start))
        fast = show("hydralm", [n_byte / 1e6 / run["seconds"] for run in ours])
        slow = show(f"tokenizers {tokenizers.__version__}", rates)
        print(f"ratio        {fast / slow:7.1f}")


if __name__ == "__main__":
    main()
