#!/usr/bin/env python3
"""AdamW against Muon for the matrices, and fp32 against bf16: held-out loss of short trainings.

    bench/optimizers.py --data tinyshakespeare.txt --out DIR
    bench/optimizers.py --data tinyshakespeare.txt --out DIR --model wider --rates 4e-3,8e-3 --dtypes fp32

For the model every optimizer has the same sweep of learning rates with seed 1; its best goes on
with two more seeds, in fp32 and in bf16, and where --ratio says how much longer a step of Muon
takes, once more with the steps that fit into AdamW's time. At the end: how far a loss or a log of a
gradient's norm stood out of those before it, at most, as train.spike counts it (src/train/spike.h).
Runs that DIR holds are not run again.
Losses depend on the number of threads alone (--threads), not on what else the machine does.
"""
import argparse, json, math, pathlib, statistics, subprocess

MODELS = {
    "nano": [],
    "wider": ["model.d_model=192", "experts.d_ff=192", "ffn.d_ff=512"],
}
SEEDS = [1, 2, 3]
WINDOW, LEAST = 128, 32  # steps looked back at; with fewer nothing stands out


class Spikes:
    """The most that steps stood out, in robust standard deviations."""
    def __init__(self):
        self.loss = self.norm = 0.0

    @staticmethod
    def most(values, width):
        found = 0.0
        for i in range(LEAST, len(values)):
            last = values[max(0, i - WINDOW):i]
            middle = statistics.median(last)
            spread = 1.4826 * statistics.median(abs(v - middle) for v in last)
            found = max(found, (values[i] - middle) / max(spread, width))
        return found

    def add(self, metrics):
        lines = [json.loads(line) for line in metrics.read_text().splitlines()]
        self.loss = max(self.loss, self.most([line["loss"] for line in lines], 0.02))
        self.norm = max(self.norm, self.most([math.log(line["grad_norm"]) for line in lines], 0.1))


spikes = Spikes()


def train(a, model, optimizer, lr, seed, steps, dtype="fp32"):
    """The held-out loss of one run."""
    out = pathlib.Path(a.out) / f"{model}-{optimizer}-{lr}-{dtype}-{steps}-{seed}"
    done = out / "result.json"
    if not done.exists():
        sets = MODELS[model] + [
            f"train.optimizer={optimizer}", f"train.lr={lr}", f"train.dtype={dtype}",
            "train.warmup=20", "train.val_tokens=0", "train.eval_every=0", "train.save_every=0"]
        command = [a.hydralm, "train", "--config", a.config, "--data", a.data, "--out", str(out),
                   "--seed", str(seed), "--steps", str(steps), "--threads", str(a.threads),
                   "--force", "--quiet", "--json"]
        for s in sets:
            command += ["--set", s]
        result = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        done.write_text(result)
    spikes.add(out / "metrics.jsonl")
    return json.loads(done.read_text())["val_loss"]


def row(*cells):
    print("| " + " | ".join(str(c) for c in cells) + " |", flush=True)


def spread(losses):
    return f"{statistics.mean(losses):.4f} ± {statistics.stdev(losses):.4f}"


def main():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("--hydralm", default="build/hydralm")
    p.add_argument("--config", default="configs/nano.yaml")
    p.add_argument("--data", required=True)
    p.add_argument("--out", required=True)
    p.add_argument("--model", choices=MODELS, default="nano")
    p.add_argument("--rates", default="1e-3,2e-3,4e-3,8e-3,1.6e-2")
    p.add_argument("--dtypes", default="fp32,bf16")
    p.add_argument("--steps", type=int, default=160)
    p.add_argument("--threads", type=int, default=2)
    p.add_argument("--ratio", type=float, help="time of a step of Muon over one of AdamW")
    a = p.parse_args()
    rates, model, best = a.rates.split(","), a.model, {}
    print(f"{model}, {a.steps} steps: held-out loss, seed 1\n")
    row("optimizer", *rates)
    row(*["---"] * (1 + len(rates)))
    for optimizer in ("adamw", "muon"):
        losses = [train(a, model, optimizer, lr, 1, a.steps) for lr in rates]
        best[optimizer] = rates[losses.index(min(losses))]
        row(optimizer, *(f"{x:.4f}" for x in losses))
    print(f"\nat the best rate of each, mean ± standard deviation of seeds {SEEDS}\n")
    row("optimizer", "rate", "products", "steps", "held-out loss")
    row(*["---"] * 5)
    for dtype in a.dtypes.split(","):
        for optimizer, lr in best.items():
            losses = [train(a, model, optimizer, lr, s, a.steps, dtype) for s in SEEDS]
            row(optimizer, lr, dtype, a.steps, spread(losses))
    if a.ratio:
        steps = round(a.steps / a.ratio)
        losses = [train(a, model, "muon", best["muon"], s, steps) for s in SEEDS]
        row("muon, AdamW's time", best["muon"], "fp32", steps, spread(losses))
    print(f"\nno loss stood out by more than {spikes.loss:.1f} robust standard deviations, no norm by more than {spikes.norm:.1f}")


if __name__ == "__main__":
    main()
