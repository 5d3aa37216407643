#!/usr/bin/env python3
"""Measures hydralm and its peers alternately: same machine, threads, lengths and sizes of model.

    bench/compare.py --csv bench/peers.csv 'llama/*' 'torch/*'
    bench/compare.py --quick 'llama/mamba2-130m/decode/*'
    bench/compare.py --list
    bench/compare.py --markdown bench/peers.csv

A row is SECTION/MODEL/WORK/DTYPE/TOKENS; patterns choose rows (all without one). Every round runs a program
of each side, which warms up, measures and ends; the side that begins alternates. A row's figures are medians
over the rounds, its ratio (ours over the peer's tokens/s) the median of the rounds' ratios, with their ends.
Where a side has several settings (batches, flash attention), all are tried first and the fastest
is measured. bench/README.md says what the peers need. Figures go to stdout and, appended, to --csv.
"""
import argparse
import csv
import fnmatch
import json
import os
import shlex
import statistics
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(HERE)
COLUMNS = ("cpu,cores,threads,row,rounds,ours_tokens_per_s,ours_best,ours_peak_bytes,ours_setting,ours_commit,"
           "peer_tokens_per_s,peer_best,peer_peak_bytes,peer_setting,peer,ratio,ratio_low,ratio_high,"
           "ours_command,peer_command").split(",")


class Failed(Exception):
    pass


def run(command, extra_env=None):
    """Standard output, and the peak of resident memory in bytes."""
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        process = subprocess.Popen(command, stdout=out, stderr=err, env={**os.environ, **(extra_env or {})}, cwd=ROOT)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        out.seek(0)
        err.seek(0)
        if process.returncode != 0:
            last = (err.read().strip() or "no message").splitlines()[-1]
            raise Failed(f"{shlex.join(command)}: exit {process.returncode}: {last}")
        return out.read(), usage.ru_maxrss * 1024


class Measured:
    """Of one program's run: tokens/s, median and best; peak bytes; who it was; what hydralm says of the machine."""

    def __init__(self, median, best, peak, who, machine=None):
        self.median, self.best, self.peak, self.who, self.machine = median, best, peak, who, machine


# ---- the sides: how a program is asked, and what it answers ----

class Ours:
    WORK = {"forward": "prefill"}

    def __init__(self, config, work, dtype, batch=1):
        self.config, self.work, self.dtype, self.batch = config, self.WORK.get(work, work), dtype, batch
        self.setting = f"batch {batch}"

    def command(self, opt, tokens, runs, warm_up):
        return [opt.hydralm, "bench", "--config", self.config, "--what", self.work, "--dtype", self.dtype,
                "--tokens", str(tokens), "--batch", str(self.batch), "--runs", str(runs),
                "--warm-up", str(int(warm_up)), "--set", "train.optimizer=adamw", "--threads", str(opt.threads), "--json", "--quiet"]

    def measure(self, opt, tokens, runs, warm_up):
        answer = json.loads(run(self.command(opt, tokens, runs, warm_up))[0])
        row, machine = answer["rows"][0], answer["machine"]
        if row.get("refused"):
            raise Failed(f"{self.config}: {row['refused']}")
        n = self.batch * (1 if self.work == "decode" else tokens)
        return Measured(n / row["seconds"], n / row["seconds_min"], row["peak_bytes"], machine["commit"], machine)


class Llama:
    """llama-bench. A warm-up of a long text is 32 tokens, which touch the weights."""
    DTYPE = {"fp32": "f32", "bf16": "bf16", "int8": "q8_0", "int4": "q4_0"}

    def __init__(self, model, work, dtype, setting):
        self.file, self.work, self.setting = f"{model}-{self.DTYPE[dtype]}.gguf", work, setting

    def command(self, opt, tokens, runs, warm_up):
        work = ["-p", "0", "-n", "32", "-d", str(tokens)]
        if self.work == "prefill":
            work = ["-p", str(tokens), "-n", "0"] if warm_up else ["-p", f"32,{tokens}", "-n", "0", "--no-warmup"]
        return [os.path.join(opt.peers, "llama-build/bin/llama-bench"), "-m",
                os.path.join(opt.peers, "models", self.file), "-t", str(opt.threads), "-r", str(runs), "-o", "jsonl",
                *work, *self.setting.split()]

    def measure(self, opt, tokens, runs, warm_up):
        out, peak = run(self.command(opt, tokens, runs, warm_up))
        last = json.loads(out.strip().splitlines()[-1])
        rates = last["samples_ts"]
        return Measured(statistics.median(rates), max(rates), peak, f"llama.cpp {last['build_commit']}")


class Torch:
    """bench/peers/torch_models.py. Freed memory is kept, as nothing else needs it: less of it is faulted in anew."""
    ENV = {"GLIBC_TUNABLES": "glibc.malloc.mmap_threshold=17179869184:glibc.malloc.trim_threshold=17179869184"}

    def __init__(self, model, work, dtype, batch=1, compiled=False):
        self.model, self.work, self.dtype, self.batch, self.compiled = model, work, dtype, batch, compiled
        self.setting = f"batch {batch}" + ", compiled" * compiled

    def command(self, opt, tokens, runs, warm_up):
        return [opt.python, "bench/peers/torch_models.py", self.model, "--mode", self.work, "--dtype", self.dtype,
                "--batch", str(self.batch), "--tokens", str(tokens), "--runs", str(runs),
                "--warm-up", str(tokens if warm_up else 512), "--threads", str(opt.threads),
                *["--compile"] * self.compiled]

    def measure(self, opt, tokens, runs, warm_up):
        env = {**self.ENV, "LD_PRELOAD": mkl_on_amd(opt)}
        out, peak = run(self.command(opt, tokens, runs, warm_up), env)
        row = json.loads(out)
        return Measured(row["tokens_per_s"], row["most"], peak, row["peer"])


def mkl_on_amd(opt):
    """Path of the compiled bench/peers/mkl_amd.c, nothing on an Intel CPU."""
    with open("/proc/cpuinfo") as f:
        if "AuthenticAMD" not in f.read():
            return ""
    path = os.path.join(opt.peers, "mkl_amd.so")
    if not os.path.exists(path):
        os.makedirs(opt.peers, exist_ok=True)
        run(["cc", "-shared", "-fPIC", "-o", path, os.path.join(HERE, "peers/mkl_amd.c")])
    return path


# ---- the rows ----

class Row:
    def __init__(self, section, model, work, dtype, tokens, ours, peer):
        self.name = f"{section}/{model}/{work}/{dtype}/{tokens}"
        self.work, self.tokens, self.ours, self.peer = work, tokens, ours, peer

    def warm_up(self):
        """A first step takes memory that later steps have; of a long text that is no matter."""
        return self.tokens <= (16384 if self.work == "train" else 4096)

    def runs(self):
        return 3 if self.work == "decode" or self.tokens <= 512 else 2 if self.tokens <= 2048 else 1


def llama_rows():
    settings = {"mamba2-130m": {"prefill": ("-ub 256", "-ub 512"), "decode": ("-ub 512",)},
                "transformer-124m": {"prefill": ("-fa 1 -ub 512",), "decode": ("-fa 0", "-fa 1")}}
    for model, flags in settings.items():
        for work, lengths in ("prefill", (512, 2048, 8192)), ("decode", (512, 2048, 8192)):
            for dtype in "fp32", "bf16", "int8", "int4":
                for tokens in lengths:
                    yield Row("llama", model, work, dtype, tokens, [Ours(f"bench/models/{model}.yaml", work, dtype)],
                              [Llama(model, work, dtype, f) for f in flags[work]])


def torch_settings(model, work, tokens):
    """Batch, compiled. Compiling the scan of Mamba-2, whose loop over chunks it unrolls, gains less than it takes."""
    short = work == "train" and tokens == 512
    yield from ((b, False) for b in ((1, 4, 8, 16) if short else (1,)))
    if model == "transformer" and work == "train":
        yield from ((b, True) for b in ((4, 8) if short else (1,)))


def torch_rows():
    for model in "transformer", "mamba2":
        for work, dtype, lengths in (("train", "fp32", (512, 2048, 8192)), ("train", "bf16", (512,)),
                                     ("forward", "fp32", (1024, 4096, 16384))):
            for tokens in lengths:
                settings = list(torch_settings(model, work, tokens))
                yield Row("torch", model, work, dtype, tokens,
                          [Ours(f"configs/toy-{model}.yaml", work, dtype, b) for b, compiled in settings if not compiled],
                          [Torch(model, work, dtype, *each) for each in settings])


def hydra_rows():
    """Hydra beside our own Transformer of as many parameters; short texts are trained on in batches."""
    for work in "prefill", "train":
        for dtype in "fp32", "bf16":
            for tokens in (1024 << i for i in range(7)):
                batch = max(1, 8192 // tokens) if work == "train" else 1
                yield Row("hydra", "toy", work, dtype, tokens, [Ours("configs/toy.yaml", work, dtype, batch)],
                          [Ours("configs/toy-transformer.yaml", work, dtype, batch)])


def all_rows():
    return [*llama_rows(), *torch_rows(), *hydra_rows()]


# ---- measuring ----

def fastest(sides, row, opt):
    """The one that is fastest at up to 2048 tokens."""
    if len(sides) == 1:
        return sides[0]
    return max(sides, key=lambda side: side.measure(opt, min(row.tokens, 2048), 1, True).best)


def compare(row, opt):
    rounds = 1 if opt.quick else opt.rounds
    sides = fastest(row.ours, row, opt), fastest(row.peer, row, opt)
    results = [], []
    for i in range(rounds):
        for which in ((0, 1), (1, 0))[i % 2]:
            results[which].append(sides[which].measure(opt, row.tokens, row.runs(), row.warm_up()))
    ours, peer = results
    ratio = [a.median / b.median for a, b in zip(ours, peer)]
    machine = ours[0].machine
    line = {"cpu": machine["cpu"], "cores": machine["cores"], "threads": machine["threads"], "row": row.name,
            "rounds": rounds, "ours_commit": ours[0].who, "peer": peer[0].who if row.peer[0].__class__ != Ours else
            f"hydralm {peer[0].who} {sides[1].config}", "ratio": statistics.median(ratio), "ratio_low": min(ratio),
            "ratio_high": max(ratio)}
    for name, side, result in ("ours", sides[0], ours), ("peer", sides[1], peer):
        line[name + "_tokens_per_s"] = statistics.median(r.median for r in result)
        line[name + "_best"] = max(r.best for r in result)
        line[name + "_peak_bytes"] = max(r.peak for r in result)
        line[name + "_setting"] = side.setting
        line[name + "_command"] = shlex.join(side.command(opt, row.tokens, row.runs(), row.warm_up())).replace(
            ROOT + "/", "")
    return line


# ---- output ----

def print_head():
    print(f"{'row':40} {'ours':>9} {'best':>9} {'peer':>9} {'best':>9} {'ratio':>7}  {'of rounds':15} "
          f"{'GB':>5} {'GB':>5}  settings: ours | peer's", flush=True)


def print_line(line):
    rate = " ".join(f"{line[k]:9.0f}" for k in ("ours_tokens_per_s", "ours_best", "peer_tokens_per_s", "peer_best"))
    spread = f"{line['ratio_low']:.2f} to {line['ratio_high']:.2f}"
    peak = " ".join(f"{line[k] / 1e9:5.2f}" for k in ("ours_peak_bytes", "peer_peak_bytes"))
    print(f"{line['row']:40} {rate} {line['ratio']:7.2f}  {spread:15} {peak}  {line['ours_setting']} | "
          f"{line['peer_setting']}", flush=True)


def append(line, path):
    with open(path, "a", newline="") as f:
        table = csv.DictWriter(f, COLUMNS, lineterminator="\r\n")
        if f.tell() == 0:
            table.writeheader()
        table.writerow({k: f"{v:.6g}" if isinstance(v, float) else v for k, v in line.items()})


def print_markdown(path):
    """The last line of each row of a table of figures, in the order of the rows' names as they are listed."""
    with open(path, newline="") as f:
        lines = {line["row"]: line for line in csv.DictReader(f)}
    print("| row | ours, tokens/s | peer, tokens/s | ratio | of rounds | GB: ours, peer |\n|---|---|---|---|---|---|")
    for name in (r.name for r in all_rows() if r.name in lines):
        line = lines[name]
        rounds = int(line["rounds"])
        spread = f"{float(line['ratio_low']):.2f} to {float(line['ratio_high']):.2f}, {rounds}" if rounds > 1 else "1"
        peak = ", ".join(f"{float(line[side + '_peak_bytes']) / 1e9:.2f}" for side in ("ours", "peer"))
        print(f"| {name} | {float(line['ours_tokens_per_s']):,.0f} | {float(line['peer_tokens_per_s']):,.0f} | "
              f"{float(line['ratio']):.2f} | {spread} | {peak} |")


# ---- the command ----

def measure_here(row, opt):
    try:
        line = compare(row, opt)
    except (Failed, OSError) as why:
        print(f"compare.py: {row.name}: {why}", file=sys.stderr, flush=True)
        return False
    print_line(line)
    if opt.csv:
        append(line, opt.csv)
    return True


def measure_wrapped(row, opt, argv):
    """The same program again under opt.wrap, for one row."""
    command = [*shlex.split(opt.wrap), sys.executable, os.path.abspath(__file__), *argv, "--row", row.name]
    done = subprocess.run(command).returncode
    if done not in (0, 1):
        print(f"compare.py: {row.name}: ended with {done} under {opt.wrap}", file=sys.stderr, flush=True)
    return done == 0


def parse():
    cli = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    cli.add_argument("pattern", nargs="*", help="rows, such as 'torch/*/train/*'")
    cli.add_argument("--list", action="store_true", help="names of the rows, and nothing else")
    cli.add_argument("--markdown", metavar="CSV", help="print a table of --csv for people, and nothing else")
    cli.add_argument("--quick", action="store_true", help="one round, and no length above 2048")
    cli.add_argument("--rounds", type=int, default=3, help="rounds of each row (%(default)s)")
    cli.add_argument("--threads", type=int, default=2, help="of both sides (%(default)s)")
    cli.add_argument("--csv", help="append the figures to this table")
    cli.add_argument("--hydralm", default=os.path.join(ROOT, "build/hydralm"), help="our program (%(default)s)")
    cli.add_argument("--peers", default=os.path.join(ROOT, "build/peers"), help="folder of what they need (%(default)s)")
    cli.add_argument("--python", help="a Python with torch (bin/python of --peers)")
    cli.add_argument("--wrap", default="", help="a command under which every row is run, such as 'taskset -c 0,1'")
    cli.add_argument("--row", help=argparse.SUPPRESS)
    opt = cli.parse_args()
    opt.peers, opt.hydralm = os.path.abspath(opt.peers), os.path.abspath(opt.hydralm)
    opt.python = opt.python or os.path.join(opt.peers, "bin/python")
    return opt


def main():
    opt = parse()
    if opt.markdown:
        print_markdown(opt.markdown)
        return 0
    rows = [r for r in all_rows() if not (opt.quick and r.tokens > 2048)]
    if opt.row:
        return 0 if all([measure_here(r, opt) for r in rows if r.name == opt.row]) else 1
    if opt.pattern:
        rows = [r for r in rows if any(fnmatch.fnmatch(r.name, p) for p in opt.pattern)]
    if not rows:
        sys.exit("compare.py: no row has such a name; --list prints them")
    if opt.list:
        print("\n".join(r.name for r in rows))
        return 0
    print_head()
    measure = (lambda r: measure_wrapped(r, opt, sys.argv[1:])) if opt.wrap else (lambda r: measure_here(r, opt))
    return 0 if all([measure(r) for r in rows]) else 1


if __name__ == "__main__":
    sys.exit(main())
