#!/usr/bin/env python3
"""hydralm's tokenizer against Hugging Face tokenizers: the same ids and the same text back.

  tokenizers_agree.py [path of hydralm]       (default: $HYDRALM, then build/hydralm)

Vocabularies are trained here, by the reference and by hydralm, in the style of GPT-2 and of Llama 3;
each is read by both. They encode every code point of Unicode in several surroundings, ten megabytes of
text from this machine, and random bytes. Each vocabulary is one task, and every core has one at a time.
Code points come in pieces, which hydralm encodes in one run, as documents of built data. Needs the
package tokenizers.
"""

import array
import json
import multiprocessing
import os
import pathlib
import random
import subprocess
import sys
import sysconfig
import tempfile
import time

os.environ["TOKENIZERS_PARALLELISM"] = "false"  # a task has one core
from tokenizers import (AddedToken, Regex, Tokenizer, decoders, models, normalizers,  # noqa: E402
                        pre_tokenizers, trainers)

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
HYDRALM = str(ROOT / "build" / "hydralm")
LLAMA3 = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
          r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")
SURROUNDINGS = ["{}", "a{}\u0301\u0323", "a{}b", " {}", "{}\n", "{} {}", "'{}", "1{}2", "  {}x", "\n{}\r\n", "!{}?", "é{}中"]
PIECE = 1024  # code points
HEADER = 128  # bytes of a file of built data
MULTILINGUAL = """Всё счастливые семьи похожи друг на друга. 吾輩は猫である。名前はまだ無い。 모든 인간은 태어날 때부터
자유로우며 كل الناس يولدون أحراراً सभी मनुष्यों को गौरव และสิทธิเท่าเทียมกัน Ångström naïve façade 𝔘𝔫𝔦𝔠𝔬𝔡𝔢 👩‍👩‍👧‍👦 🇫🇷
don't I'LL we'Ve ſ'ſ K 12345 ١٢٣ ⅷ ½ x²\t\ttabs\r\n\r\n   \u3000\u00a0\u180e\u200b end   \n\n\n"""


def hydralm(*args, text=None):
    done = subprocess.run([HYDRALM, *map(str, args)], input=text, capture_output=True)
    if done.returncode != 0:
        raise AssertionError(f"hydralm {' '.join(map(str, args))}: {done.stderr.decode()}")
    return done.stdout


def compare(name, got, want, peer):
    if got == want:
        return
    at = next(i for i in range(max(len(got), len(want))) if got[i:i + 1] != want[i:i + 1])
    raise AssertionError(f"{name}: token {at}: {got[at:at + 8]} after "
                         f"{peer.decode(want[max(0, at - 5):at])!r}, wanted {want[at:at + 8]} "
                         f"{peer.decode(want[at:at + 8], skip_special_tokens=False)!r}")


def check_text(path, name, text, peer):
    """A text as one string."""
    want = peer.encode_batch_fast([text], add_special_tokens=False)[0].ids
    ids = hydralm("tokenizer", "encode", "--tokenizer", path, "-", text=text.encode())
    compare(name, [int(i) for i in ids.split()], want, peer)
    back = hydralm("tokenizer", "decode", "--tokenizer", path, "-", text=ids)
    wanted = peer.decode(want, skip_special_tokens=False)
    assert back.decode(errors="replace") == wanted, f"{name}: decodes to another text"
    return len(want)


def build(path, pieces, folder):
    """The ids of every piece, and the text that all of them decode to."""
    with open(folder / "pieces.jsonl", "w", newline="") as f:
        f.writelines(json.dumps({"text": piece}, ensure_ascii=False) + "\n" for piece in pieces)
    hydralm("data", "build", folder / "pieces.jsonl", "--tokenizer", path, "--val-fraction", 0,
            "--threads", 1, "--out", folder / "built", "--force", "--quiet")
    shard = (folder / "built" / "tokens-00000.bin").read_bytes()
    width = int.from_bytes(shard[20:24], "little")
    ids = array.array({1: "B", 2: "H", 4: "I"}[width])
    ids.frombytes(shard[HEADER:])
    table = array.array("q")
    table.frombytes((folder / "built" / "train.bin").read_bytes()[HEADER:])
    assert len(table) == 2 * len(pieces), f"{len(table) // 2} documents of {len(pieces)} pieces"
    text = subprocess.run(
        f"od -An -v -t u{width} -j {HEADER} '{folder}/built/tokens-00000.bin' | "
        f"'{HYDRALM}' tokenizer decode --tokenizer '{path}' -",
        shell=True, check=True, capture_output=True).stdout
    return [ids[start:start + n] for start, n in zip(table[::2], table[1::2])], text


def check_pieces(path, name, pieces, peer, folder):
    """They decode to themselves or, normalized, to what the reference makes of them."""
    got, text = build(path, pieces, folder)
    back, n = [], 0
    for at in range(0, len(pieces), 16):
        want = [e.ids for e in peer.encode_batch_fast(pieces[at:at + 16], add_special_tokens=False)]
        for i, ids in enumerate(want):
            compare(f"{name}, piece {at + i}", got[at + i].tolist(), ids, peer)
            n += len(ids)
        back += peer.decode_batch(want, skip_special_tokens=False) if peer.normalizer else pieces[at:at + 16]
    assert text.decode(errors="replace") == "".join(back), f"{name}: decodes to another text"
    return n


def code_points(surrounding):
    """All of them alone; in surroundings one plane of private use stands for the others, and the empty
    planes 4 to 13 for one another."""
    return [chr(c) for c in range(0x110000) if not 0xD800 <= c < 0xE000
            and (surrounding == "{}" or c >> 16 in (0, 1, 2, 3, 4, 14, 15))]


def code_point_pieces(surrounding):
    chars = code_points(surrounding)
    return ["\n-\n".join(surrounding.replace("{}", c) for c in chars[at:at + PIECE]) + "\n"
            for at in range(0, len(chars), PIECE)]


def some_text(size):
    """About `size` characters of what lies on this machine."""
    folders = [ROOT / "docs", ROOT / "src", pathlib.Path(sysconfig.get_paths()["stdlib"]),
               pathlib.Path("/usr/share/doc")]
    parts, have = [], 0
    for folder in folders:
        taken = 0
        for path in sorted(folder.rglob("*")):
            if path.suffix in (".py", ".md", ".txt", ".c", ".h", "") and path.is_file():
                data = path.read_bytes()[:200_000]
                if b"\0" not in data:
                    parts += [data.decode(errors="replace"), MULTILINGUAL]
                    taken += len(parts[-2])
            if taken > size / len(folders):
                break
        have += taken
    text = "".join(parts)
    return (text * (size // len(text) + 1))[:size]


def cut_like(peer, style):
    level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=style == "gpt2")
    if style == "llama3":
        peer.pre_tokenizer = pre_tokenizers.Sequence(
            [pre_tokenizers.Split(Regex(LLAMA3), "isolated"), level])
    else:
        peer.pre_tokenizer = level
    peer.decoder = decoders.ByteLevel()


def peer_tokenizer(style, text, vocab):
    peer = Tokenizer(models.BPE(ignore_merges=style == "llama3"))
    cut_like(peer, style)
    peer.train_from_iterator(
        text.splitlines(keepends=True),
        trainers.BpeTrainer(vocab_size=vocab, show_progress=False, special_tokens=["<|endoftext|>"],
                            initial_alphabet=pre_tokenizers.ByteLevel.alphabet()))
    return peer


def edges_tokenizer(style, path):
    """A vocabulary that shows where words end: whatever stands beside a character is joined with its
    first or last byte when both are in one word."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [b for b in range(256) if b not in printable]
    name = {b: chr(b) for b in printable} | {b: chr(0x100 + i) for i, b in enumerate(others)}
    vocab = {name[b]: b for b in range(256)}
    merges = [(name[ord(c)], name[b]) for c in "a 1!'\n\r" for b in range(0xC2, 0xF5)]
    merges += [(name[b], name[ord(c)]) for c in "b2x? \n\r" for b in range(0x80, 0xC0)]
    for left, right in merges:
        vocab.setdefault(left + right, len(vocab))
    peer = Tokenizer(models.BPE(vocab=vocab, merges=merges))
    cut_like(peer, style)
    peer.save(str(path))


def added_tokens():
    return [AddedToken("<mask>", lstrip=True, special=True), AddedToken("<r>", rstrip=True),
            AddedToken("word", single_word=True), AddedToken("<both>", lstrip=True, rstrip=True),
            AddedToken("<|end|>", special=True, normalized=False), AddedToken("<|end|>s"),
            AddedToken("<|", normalized=False), AddedToken("  ", normalized=False),
            AddedToken("    ", normalized=False), AddedToken("éa", single_word=True, lstrip=True)]


def random_added(seed, n):
    """Text in which added tokens and what they are sensitive to are frequent."""
    pick = random.Random(seed).choice
    parts = ["<mask>", "<r>", "word", "<both>", "<|end|>", "<|end|>s", "<|", "  ", " ", "\n", "\t", "a",
             "é", "éa", ".", "words", "<", "<|endoftext|>", "\u3000", "1", "_", "\u0301", "Ⓐ"]
    return "".join(pick(parts) for _ in range(n))


def prepare(style, text, folder):
    """The vocabularies of a style, as tasks: name, tokenizer.json, its texts, with code points or not."""
    edges, theirs, added, nfc, ours = (folder / f"{name}-{style}.json"
                                       for name in ("edges", "theirs", "added", "nfc", "ours"))
    edges_tokenizer(style, edges)
    peer = peer_tokenizer(style, text, 8000)
    peer.save(str(theirs))
    peer.add_tokens(added_tokens())
    peer.save(str(added))
    peer.normalizer = normalizers.NFC()
    peer.save(str(nfc))
    (folder / "text.txt").write_text(text, newline="")
    hydralm("tokenizer", "train", folder / "text.txt", "--vocab", 8000, "--pattern", style, "--special",
            "<|endoftext|>", "--out", ours)
    tasks = [(f"theirs, {style}", theirs, True, True), (f"ours, {style}", ours, True, True),
             (f"where words end, {style}", edges, False, True),
             (f"theirs, {style}, with added tokens", added, True, False)]
    if style == "gpt2":
        tasks.insert(0, (f"theirs, {style}, with added tokens, NFC", nfc, True, True))
    return tasks


TEXTS = {}


def judge(task):
    name, path, texts, all_code_points = task
    start, lines = time.monotonic(), [f" {name}"]
    peer = Tokenizer.from_file(str(path))
    for what, text in TEXTS.items() if texts else ():
        lines.append(f"  {what}: {check_text(path, what, text, peer)} tokens, the same")
    with tempfile.TemporaryDirectory() as folder:
        for surrounding in SURROUNDINGS if all_code_points else ():
            what = f"every code point as {surrounding!r}"
            n = check_pieces(path, what, code_point_pieces(surrounding), peer, pathlib.Path(folder))
            lines.append(f"  {what}: {n} tokens, the same")
    lines[0] += f": {time.monotonic() - start:.0f} s"
    return "\n".join(lines)


def main():
    global HYDRALM
    HYDRALM = sys.argv[1] if len(sys.argv) > 1 else os.environ.get("HYDRALM", HYDRALM)
    start = time.monotonic()
    text = some_text(10_000_000)
    noise = random.Random(1).randbytes(1_000_000)
    TEXTS.update({"10 MB of text": text, "random bytes": noise.decode(errors="replace"),
                  "random Latin": noise.decode("latin-1"), "one long word": "ab" * 100_000,
                  "a line of blanks": " " * 50_000 + "x" + "\n" * 5_000,
                  "added tokens": random_added(2, 200_000)})
    with tempfile.TemporaryDirectory() as folder:
        tasks = [task for style in ("gpt2", "llama3")
                 for task in prepare(style, text[:3_000_000], pathlib.Path(folder))]
        with multiprocessing.get_context("fork").Pool(os.cpu_count()) as pool:
            for said in pool.imap_unordered(judge, tasks):
                print(said, flush=True)
    print(f"hydralm and tokenizers agree ({time.monotonic() - start:.0f} s)")


if __name__ == "__main__":
    main()
