"""What is each choice of the `tiny` preset worth, in loss at equal steps?

Each row changes one choice and trains for the preset's steps on the same batches. The
loss is that of the whole validation split; the time a step is of this machine and
shared with whatever else ran, so read it as a ratio to the first row.

    python benchmarks/tiny_recipe.py --corpus tinyshakespeare.txt

Prints a line for each run, a table, and one JSON object last.
"""

import argparse
import json
import statistics
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

from llmkit.pretraining import PRESETS, Pretraining, PretrainOptions

TINY = PRESETS["tiny"]
VARIANTS = {  # name: (changes to the model, changes to the training)
    "tiny as it is": ({}, {}),
    "AdamW for Muon, 0.003": ({}, dict(optimizer="adamw", learning_rate=0.003)),
    "AdamW for Muon, 0.006": ({}, dict(optimizer="adamw", learning_rate=0.006)),
    "Muon at 0.01": ({}, dict(muon_rate=0.01)),
    "Muon at 0.04": ({}, dict(muon_rate=0.04)),
    "AdamW's share at 0.01": ({}, dict(learning_rate=0.01)),
    "AdamW's share at 0.04": ({}, dict(learning_rate=0.04)),
    "fall over all of training": ({}, dict(decay=1.0)),
    "fall over the last 30%": ({}, dict(decay=0.3)),
    "gradients clipped at 1": ({}, dict(clip=1.0)),
    "GELU for squared ReLU": (dict(activation="gelu"), {}),
    "learned positions for rotary": (dict(positions="learned"), {}),
    "blocks and head not from zero": (dict(quiet=False), {}),
    "with biases": (dict(bias=True), {}),
    "2 layers": (dict(n_layers=2), {}),
    "4 layers": (dict(n_layers=4), {}),
}


def run(corpus: str, name: str, seed: int) -> dict:
    """Train one variant; return what it reached."""
    model, training = VARIANTS[name]
    preset = replace(
        TINY,
        model=TINY.model | model,
        training=TINY.training | training | dict(evaluate_every=0),
    )
    with (
        patch.dict(PRESETS, tiny=preset),
        tempfile.TemporaryDirectory() as folder,
    ):
        run = Pretraining(PretrainOptions(corpus=corpus, out=Path(folder), seed=seed))
        for _ in run.steps():
            pass
        result = run.result()
    milliseconds = 1000 * result["seconds"] / result["steps"]
    return {"variant": name, "seed": seed, "ms": round(milliseconds, 1), **result}


def main() -> int:
    """Run every variant with every seed and print the medians."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--corpus", required=True, help="path of tinyshakespeare.txt")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1])
    options = parser.parse_args()
    runs = []
    for seed in options.seeds:
        for name in VARIANTS:
            runs.append(run(options.corpus, name, seed))
            print(json.dumps(runs[-1]), flush=True)
    print("| change | parameters | val loss | against tiny |\n|---|---|---|---|")
    table = {}
    for name in VARIANTS:
        mine = [r for r in runs if r["variant"] == name]
        table[name] = statistics.median(r["val_loss"] for r in mine)
        worse = table[name] - table["tiny as it is"]
        parameters = mine[0]["parameters"]
        print(f"| {name} | {parameters:,} | {table[name]:.4f} | {worse:+.4f} |")
    print(json.dumps({"benchmark": "tiny_recipe", "val_loss": table}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
