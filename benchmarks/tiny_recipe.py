"""What is each choice of the presets `tiny` and `plain` worth, in loss at equal steps?

Each row changes one choice and trains for the preset's steps on the same batches (rows
of another length or another model say so). The loss is that of the whole validation
split; the time a step is of this machine and shared with whatever else ran, so read it
as a ratio to the first row of its preset.

    python benchmarks/tiny_recipe.py --corpus tinyshakespeare.txt

Prints a line for each run, a table for each preset, and one JSON object last.
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

# name: (changes to the model, changes to the training); what both presets share first
SHARED = {
    "as it is": ({}, {}),
    "without QK-norm": (dict(qk_norm=False), {}),
    "Muon's momentum 0.95": ({}, dict(momentum=0.95)),
    "AdamW for Muon, 0.003": ({}, dict(optimizer="adamw", learning_rate=0.003)),
    "AdamW for Muon, 0.006": ({}, dict(optimizer="adamw", learning_rate=0.006)),
    "Muon at 0.02": ({}, dict(muon_rate=0.02)),
    "Muon at 0.04": ({}, dict(muon_rate=0.04)),
    "AdamW's share at 0.01": ({}, dict(learning_rate=0.01)),
    "AdamW's share at 0.03": ({}, dict(learning_rate=0.03)),
    "the head at 0.01": ({}, dict(head_rate=0.01)),
    "no warm-up": ({}, dict(warmup=0.0)),
    "fall over all of training": ({}, dict(decay=1.0)),
    "fall over the last 60%": ({}, dict(decay=0.6)),
    "gradients clipped at 1": ({}, dict(clip=1.0)),
    "GELU for squared ReLU": (dict(activation="gelu"), {}),
    "learned positions for rotary": (dict(positions="learned"), {}),
    "blocks and head not from zero": (dict(quiet=False), {}),
    "with biases": (dict(bias=True), {}),
    "8 heads": (dict(n_heads=8), {}),
}
VARIANTS = {
    "tiny": SHARED
    | {
        "no look back": (dict(look_back=0), {}),
        "look back at 1 token": (dict(look_back=1), {}),
        "look back at 2 tokens": (dict(look_back=2), {}),
        "look back at 5 tokens": (dict(look_back=5), {}),
        "d_ff 512": (dict(d_ff=512), {}),
        "2 layers": (dict(n_layers=2), {}),
        "2 layers, half the steps": (dict(n_layers=2), dict(steps=105)),
    },
    "plain": SHARED
    | {
        "1 layer": (dict(n_layers=1), {}),
        "1 layer, twice the steps": (dict(n_layers=1), dict(steps=480)),
        "3 layers": (dict(n_layers=3), {}),
        "d_ff 256": (dict(d_ff=256), {}),
    },
}


def run(corpus: str, base: str, name: str, seed: int) -> dict:
    """Train one variant; return what it reached."""
    model, training = VARIANTS[base][name]
    preset = replace(
        PRESETS[base],
        model=PRESETS[base].model | model,
        training=PRESETS[base].training | training | dict(evaluate_every=0),
    )
    with (
        patch.dict(PRESETS, {base: preset}),
        tempfile.TemporaryDirectory() as folder,
    ):
        out = Path(folder)
        run = Pretraining(
            PretrainOptions(corpus=corpus, out=out, preset=base, seed=seed)
        )
        for _ in run.steps():
            pass
        result = run.result()
    milliseconds = 1000 * result["seconds"] / result["steps"]
    return {
        "preset": base,
        "variant": name,
        "seed": seed,
        "ms": round(milliseconds, 1),
        **result,
    }


def table(base: str, runs: list[dict]) -> dict[str, float]:
    """Print the table of one preset; return the median losses."""
    print(f"\n| {base} | parameters | val loss | against it | time a step |")
    print("|---|---|---|---|---|")
    medians: dict[str, float] = {}
    first = 0.0
    for name in VARIANTS[base]:
        mine = [r for r in runs if (r["preset"], r["variant"]) == (base, name)]
        medians[name] = statistics.median(r["val_loss"] for r in mine)
        ms = statistics.median(r["ms"] for r in mine)
        first = ms if len(medians) == 1 else first
        print(
            f"| {name} | {mine[0]['parameters']:,} | {medians[name]:.4f} | "
            f"{medians[name] - medians['as it is']:+.4f} | × {ms / first:.2f} |"
        )
    return medians


def main() -> int:
    """Run every variant with every seed and print the medians."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--corpus", required=True, help="path of tinyshakespeare.txt")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1])
    parser.add_argument("--presets", nargs="+", default=list(VARIANTS))
    options = parser.parse_args()
    runs = []
    for seed in options.seeds:
        for base in options.presets:
            for name in VARIANTS[base]:
                runs.append(run(options.corpus, base, name, seed))
                print(json.dumps(runs[-1]), flush=True)
    tables = {base: table(base, runs) for base in options.presets}
    print(json.dumps({"benchmark": "tiny_recipe", "val_loss": tables}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
