#!/usr/bin/env python3
"""hydralm's tokenizer against Hugging Face tokenizers: the same ids and the same text back.

  tokenizers_agree.py [path of hydralm]       (default: $HYDRALM, then build/hydralm)

Vocabularies are trained here, by the reference and by hydralm, in the style of GPT-2 and of Llama 3;
each is read by both. They encode every code point of Unicode in several surroundings, ten megabytes of
text from this machine, and random bytes. Needs the package tokenizers.
"""

import os
import pathlib
import random
import subprocess
import sys
import sysconfig
import tempfile

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
HYDRALM = str(ROOT / "build" / "hydralm")
LLAMA3 = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
          r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")
SURROUNDINGS = ["{}", "a{}\u0301\u0323", "a{}b", " {}", "{}\n", "{} {}", "'{}", "1{}2", "  {}x", "\n{}\r\n", "!{}?", "é{}中"]
MULTILINGUAL = """Всё счастливые семьи похожи друг на друга. 吾輩は猫である。名前はまだ無い。 모든 인간은 태어날 때부터
자유로우며 كل الناس يولدون أحراراً सभी मनुष्यों को गौरव และสิทธิเท่าเทียมกัน Ångström naïve façade 𝔘𝔫𝔦𝔠𝔬𝔡𝔢 👩‍👩‍👧‍👦 🇫🇷
don't I'LL we'Ve ſ'ſ K 12345 ١٢٣ ⅷ ½ x²\t\ttabs\r\n\r\n   \u3000\u00a0\u180e\u200b end   \n\n\n"""


def run(*args, text=None):
    done = subprocess.run([HYDRALM, "tokenizer", *map(str, args)], input=text, capture_output=True)
    if done.returncode != 0:
        raise AssertionError(f"hydralm tokenizer {' '.join(map(str, args))}: {done.stderr.decode()}")
    return done.stdout


def ours(path, text):
    return [int(i) for i in run("encode", "--tokenizer", path, "-", text=text.encode()).split()]


def check(path, name, text, peer):
    want = peer.encode(text, add_special_tokens=False).ids
    got = ours(path, text)
    if got != want:
        at = next(i for i in range(max(len(got), len(want))) if got[i:i + 1] != want[i:i + 1])
        raise AssertionError(f"{name}: token {at}: {got[at:at + 8]} after "
                             f"{peer.decode(want[max(0, at - 5):at])!r}, wanted {want[at:at + 8]} "
                             f"{peer.decode(want[at:at + 8], skip_special_tokens=False)!r}")
    back = run("decode", "--tokenizer", path, "-", text=" ".join(map(str, got)).encode())
    wanted = peer.decode(want, skip_special_tokens=False)
    assert back.decode(errors="replace") == wanted, f"{name}: decodes to another text"
    print(f"  {name}: {len(want)} tokens, the same")


def code_points(surrounding):
    """All of them alone; in surroundings one plane of private use stands for the others, and the empty
    planes 4 to 13 for one another."""
    return [chr(c) for c in range(0x110000) if not 0xD800 <= c < 0xE000
            and (surrounding == "{}" or c >> 16 in (0, 1, 2, 3, 4, 14, 15))]


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


def judge(path, name, texts):
    print(f" {name}")
    peer = Tokenizer.from_file(str(path))
    for surrounding in SURROUNDINGS:
        text = "\n-\n".join(surrounding.replace("{}", c) for c in code_points(surrounding))
        check(path, f"every code point as {surrounding!r}", text, peer)
    for what, text in texts.items():
        check(path, what, text, peer)


def main():
    global HYDRALM
    HYDRALM = sys.argv[1] if len(sys.argv) > 1 else os.environ.get("HYDRALM", HYDRALM)
    text = some_text(10_000_000)
    noise = random.Random(1).randbytes(1_000_000)
    texts = {"10 MB of text": text, "random bytes": noise.decode(errors="replace"),
             "random Latin": noise.decode("latin-1"), "one long word": "ab" * 100_000,
             "a line of blanks": " " * 50_000 + "x" + "\n" * 5_000,
             "added tokens": random_added(2, 200_000)}
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        (folder / "text.txt").write_text(text[:3_000_000], newline="")
        for style in ("gpt2", "llama3"):
            edges_tokenizer(style, folder / f"edges-{style}.json")
            judge(folder / f"edges-{style}.json", f"where words end, {style}", {})
            path = folder / f"theirs-{style}.json"
            peer = peer_tokenizer(style, text[:3_000_000], 8000)
            peer.save(str(path))
            judge(path, f"theirs, {style}", texts)
            peer.add_tokens(added_tokens())
            peer.save(str(path))
            print(f" theirs, {style}, with added tokens")
            for what, some in texts.items():
                check(path, what, some, peer)
            if style == "gpt2":
                peer.normalizer = normalizers.NFC()
                peer.save(str(path))
                judge(path, f"theirs, {style}, with added tokens, NFC", texts)
            path = folder / f"ours-{style}.json"
            run("train", folder / "text.txt", "--vocab", 8000, "--pattern", style, "--special",
                "<|endoftext|>", "--out", path)
            judge(path, f"ours, {style}", texts)
    print("hydralm and tokenizers agree")


if __name__ == "__main__":
    main()
