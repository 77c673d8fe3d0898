"""Does `Seq2Seq` learn to reverse, to sort and to rewrite dates, and how fast?

Trains one model a task with `llmkit.training.fit` and counts how many unseen sources it
answers exactly, greedily, to the last character. The goal: 99% within 2 minutes of
training on two cores.

    python benchmarks/seq2seq.py

Prints a line for each run, a table, and one JSON object last.
"""

import argparse
import json
import platform
import sys

import torch

from llmkit import pairs
from llmkit.batches import PairBatches, pair_batch
from llmkit.generation import generate
from llmkit.tokenizer import CharTokenizer
from llmkit.training import TrainingConfig, fit
from llmkit.transformer import ModelConfig, Seq2Seq

TASKS = {"reverse": pairs.reversals, "sort": pairs.sortings, "dates": pairs.dates}
RECIPE = dict(optimizer="muon", muon_rate=0.02, learning_rate=0.01, warmup=0.05)


def make_model(vocab_size: int, preset: str) -> Seq2Seq:
    """Return a small model of one of the named shapes."""
    size = dict(context=40, n_layers=2, n_heads=4, d_model=64, dropout=0.0)
    size |= dict(positions="sinusoidal")  # rotary does as well on dates, worse on sort
    return Seq2Seq(ModelConfig.preset(preset, vocab_size=vocab_size, **size))


@torch.no_grad()
def exact(model: Seq2Seq, tokenizer: CharTokenizer, asked: list) -> float:
    """Return the share of sources whose answer is right to the last character."""
    model.eval()
    end = tokenizer.encode("\n")[0]
    encoded = [(tokenizer.encode(s), tokenizer.encode(a)) for s, a in asked]
    (source, target, mask), _ = pair_batch(encoded, end)
    memory = model.encode(source, mask)
    written = generate(
        model.decoder, target[:, :1], target.size(1), temperature=0, memory=memory
    )
    rows = torch.stack(list(written), dim=1).tolist()
    told = [tokenizer.decode(row).split("\n")[0] for row in rows]
    return sum(text == answer for text, (_, answer) in zip(told, asked)) / len(asked)


def run(task: str, seed: int, preset: str, steps: int, batch_size: int) -> dict:
    """Train on one task; return how well and how fast."""
    seen = list(TASKS[task](60_000, seed=seed + 1))
    asked = list(TASKS[task](1_000, seed=seed + 2, unseen=True))
    tokenizer = CharTokenizer.train("\n" + "".join(map("".join, seen)))
    end = tokenizer.encode("\n")[0]
    ids = [(tokenizer.encode(s), tokenizer.encode(a)) for s, a in seen]
    torch.manual_seed(seed)
    model = make_model(tokenizer.vocab_size, preset)
    training = TrainingConfig(steps=steps, seed=seed, **RECIPE)
    *_, step = fit(model, PairBatches(ids, batch_size, end, seed), training)
    return {
        "task": task,
        "preset": preset,
        "seed": seed,
        "parameters": sum(p.numel() for p in model.parameters()),
        "steps": step.number,
        "seconds": round(step.seconds, 1),
        "loss": round(step.loss, 5),
        "exact": exact(model, tokenizer, asked),
    }


def main() -> int:
    """Run every task with every seed; say whether the goal was met."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tasks", nargs="+", default=list(TASKS), choices=TASKS)
    parser.add_argument("--presets", nargs="+", default=["modern"])
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--steps", type=int, default=800)
    parser.add_argument("--batch-size", type=int, default=64)
    options = parser.parse_args()
    runs = []
    for preset in options.presets:
        for task in options.tasks:
            for seed in options.seeds:
                result = run(task, seed, preset, options.steps, options.batch_size)
                print(json.dumps(result), flush=True)
                runs.append(result)
    print("| task | shape | seed | parameters | steps | seconds | exact |")
    print("|---|---|---|---|---|---|---|")
    for r in runs:
        print(
            f"| {r['task']} | {r['preset']} | {r['seed']} | {r['parameters']:,} | "
            f"{r['steps']} | {r['seconds']} | {r['exact']:.1%} |"
        )
    worst = min(r["exact"] for r in runs)
    longest = max(r["seconds"] for r in runs)
    result = {
        "benchmark": "seq2seq",
        "machine": f"{platform.machine()}, {torch.get_num_threads()} threads",
        "torch": torch.__version__,
        "worst_exact": worst,
        "longest_seconds": longest,
        "goal": {"exact": 0.99, "seconds": 120},
    }
    met = worst >= 0.99 and longest <= 120
    print(json.dumps(result | {"met": met}))
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
