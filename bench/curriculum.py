#!/usr/bin/env python3
"""A curriculum against everything on from the start, at equal tokens.

    bench/curriculum.py --text FILE [--name NAME] [--seeds 3] [--out FOLDER] [--svg FILE]

For each seed trains two models with `hydralm train`: one by the recipe, one of the same configuration
without it, as many steps. A run that FOLDER already holds whole is read, not repeated. Prints

- for each stage but the first, what its beginning does to the training loss: the largest rise of the
  mean of 20 steps over the mean of the last 20 before, and for how many steps that rise is above 0.05
  nats; and the mean of its first 5 steps less that of the 5 before. Streams begin afresh there and the
  text goes on, so that both are in it;
- the held-out loss at the end of both, for each seed and its mean, with the spread (largest less
  smallest) over the seeds.

FILE.svg shows the training losses of both, means of 20 steps: thin for each seed, thick for their mean.
"""
import argparse
import json
import pathlib
import statistics
import subprocess
import sys

WINDOW = 20  # steps of a mean
FIRST = 5  # steps of the first look
LIMIT = 0.05  # nats: the rise that counts
SET = ["train.schedule=wsd", "train.batch=4", "train.eval_every=300", "train.val_tokens=65536"]  # of both
RECIPE, ALL = "recipe", "all on"


def dry_run(args):
    command = [args.hydralm, "train", "--config", args.config, "--curriculum", args.curriculum, "--dry-run", "--json"]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def train(args, arm, seed, steps):
    """Trains, unless that has been done; returns the lines of its metrics."""
    out = pathlib.Path(args.out) / f"{args.name}-{arm.replace(' ', '-')}-{seed}"
    metrics = out / "metrics.jsonl"
    done = out.joinpath("training.json").exists() and json.loads(out.joinpath("training.json").read_text())["step"] == steps
    if not done:
        command = [args.hydralm, "train", "--config", args.config, "--data", *args.text, "--out", str(out)]
        command += ["--seed", str(seed), "--threads", str(args.threads), "--quiet", "--resume"]
        for setting in SET:
            command += ["--set", setting]
        command += ["--curriculum", args.curriculum] if arm == RECIPE else ["--steps", str(steps)]
        print(" ".join(command), file=sys.stderr, flush=True)
        subprocess.run(command, check=True)
    return [json.loads(line) for line in metrics.read_text().splitlines()]


def mean_loss(lines, start, n=WINDOW):
    return statistics.mean(line["loss"] for line in lines[start:start + n])


def borders(lines):
    """Where stages begin: (step, name)."""
    return [(i, line["stage"]) for i, line in enumerate(lines) if i and line["stage"] != lines[i - 1]["stage"]]


def rises(lines, start, end):
    """Largest rise after a border, the steps for which it is above the limit, and the first rise."""
    before = mean_loss(lines, start - WINDOW)
    rise = [mean_loss(lines, i) - before for i in range(start, end - WINDOW)]
    first = mean_loss(lines, start, FIRST) - mean_loss(lines, start - FIRST, FIRST)
    return max(rise), sum(r > LIMIT for r in rise), first


def held_out(lines):
    return [line["val_loss"] for line in lines if "val_loss" in line][-1]


def spread(values):
    return max(values) - min(values)


# ---- the figure ----

LEFT, TOP, WIDTH, HEIGHT = 56, 16, 660, 320
THIN = 3  # one point in so many steps
COLOR = {RECIPE: "#0b6e4f", ALL: "#b3541e"}


def curve(lines):
    return [mean_loss(lines, i) for i in range(len(lines) - WINDOW)]


class Plot:
    def __init__(self, steps, low, high):
        self.steps, self.low, self.high, self.parts = steps, low, high, []

    def x(self, step):
        return LEFT + WIDTH * step / self.steps

    def y(self, loss):
        return TOP + HEIGHT * (self.high - loss) / (self.high - self.low)

    def line(self, values, color, width, opacity):
        shown = [(i, v) for i, v in enumerate(values) if i % THIN == 0 and v <= self.high]
        points = " ".join(f"{self.x(i + WINDOW / 2):.1f},{self.y(v):.1f}" for i, v in shown)
        self.parts.append(f'<polyline fill="none" stroke="{color}" stroke-width="{width}" '
                          f'stroke-opacity="{opacity}" points="{points}"/>')

    def rule(self, x1, y1, x2, y2, dash=""):
        self.parts.append(f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" '
                          f'stroke="#888" stroke-width="0.6" stroke-dasharray="{dash}"/>')

    def text(self, x, y, words, anchor="middle", color="#666"):
        self.parts.append(f'<text x="{x:.1f}" y="{y:.1f}" font-size="12" font-family="sans-serif" '
                          f'text-anchor="{anchor}" fill="{color}">{words}</text>')

    def save(self, path):
        size = f'width="{LEFT + WIDTH + 16}" height="{TOP + HEIGHT + 44}"'
        body = "\n".join(self.parts)
        pathlib.Path(path).write_text(
            f'<svg xmlns="http://www.w3.org/2000/svg" {size}>\n<rect width="100%" height="100%" fill="#fff"/>\n{body}\n</svg>\n')


def draw(runs, path):
    curves = {arm: [curve(lines) for lines in runs[arm]] for arm in runs}
    steps = len(runs[RECIPE][0])
    low = min(min(c) for arm in curves.values() for c in arm)
    low, high = int(low * 10) / 10, 2.4 if low < 2 else low + 2
    plot = Plot(steps, low, high)
    for loss in [low + i * (high - low) / 5 for i in range(6)]:
        plot.rule(LEFT, plot.y(loss), LEFT + WIDTH, plot.y(loss), "2 4")
        plot.text(LEFT - 8, plot.y(loss) + 4, f"{loss:.2f}", "end")
    for step in range(0, steps + 1, 100):
        plot.text(plot.x(step), TOP + HEIGHT + 18, str(step))
    for step, name in [(0, runs[RECIPE][0][0]["stage"])] + borders(runs[RECIPE][0]):
        plot.rule(plot.x(step), TOP, plot.x(step), TOP + HEIGHT)
        plot.text(plot.x(step) + 4, TOP + 12, name, "start")
    for arm, list_ in curves.items():
        for values in list_:
            plot.line(values, COLOR[arm], 0.7, 0.35)
        plot.line([statistics.mean(v) for v in zip(*list_)], COLOR[arm], 2, 1)
    for i, arm in enumerate(curves):
        plot.text(LEFT + WIDTH - 8, TOP + 36 + 18 * i, arm, "end", COLOR[arm])
    plot.text(LEFT + WIDTH / 2, TOP + HEIGHT + 36, "steps; training loss, nats per byte, means of 20 steps")
    plot.save(path)


# ---- the report ----

def report(args, runs):
    ends = {arm: [held_out(lines) for lines in runs[arm]] for arm in runs}
    print(f"{args.name}: {len(runs[RECIPE])} seeds, {len(runs[RECIPE][0])} steps, "
          f"{runs[RECIPE][0][-1]['tokens'] / 1e6:.2f}M tokens")
    print("\n| stage begins | at step | first 5 steps, each seed | largest rise, each seed | steps above 0.05, each seed |\n|---|---|---|---|---|")
    found = [borders(lines) for lines in runs[RECIPE]]
    for i, (start, name) in enumerate(found[0]):
        measured = []
        for lines, all_ in zip(runs[RECIPE], found):
            end = all_[i + 1][0] if i + 1 < len(all_) else len(lines)
            measured.append(rises(lines, all_[i][0], end))
        print(f"| {name} | {start} | {', '.join(f'{m[2]:+.3f}' for m in measured)} | "
              f"{', '.join(f'{m[0]:+.3f}' for m in measured)} | "
              f"{', '.join(str(m[1]) for m in measured)} |")
    print("\n| held out at the end | each seed | mean | spread |\n|---|---|---|---|")
    for arm, values in ends.items():
        print(f"| {arm} | {', '.join(f'{v:.4f}' for v in values)} | {statistics.mean(values):.4f} | {spread(values):.4f} |")
    less = [a - b for a, b in zip(ends[RECIPE], ends[ALL])]
    print(f"\nrecipe less all on: {statistics.mean(less):+.4f} ({', '.join(f'{v:+.4f}' for v in less)})")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hydralm", default="build/hydralm")
    parser.add_argument("--config", default="configs/nano.yaml")
    parser.add_argument("--curriculum", default="configs/curriculum-nano.yaml")
    parser.add_argument("--text", nargs="+", required=True)
    parser.add_argument("--name", default="text")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--out", default="curriculum-runs")
    parser.add_argument("--svg")
    args = parser.parse_args()
    pathlib.Path(args.out).mkdir(parents=True, exist_ok=True)
    steps = dry_run(args)["steps"]
    runs = {RECIPE: [], ALL: []}
    for seed in range(1, args.seeds + 1):
        for arm in runs:
            runs[arm].append(train(args, arm, seed, steps))
    report(args, runs)
    if args.svg:
        draw(runs, args.svg)


if __name__ == "__main__":
    main()
