"""Do the plan's figures come true on this machine?

Six shapes, each trained on random tokens in a process of its own: parameters predicted
and counted; peak memory predicted and measured (what the process grew by, above Python
and torch once warm); time predicted by a probe of 20 steps, and measured in another
run.

    python benchmarks/plan_accuracy.py [--only NAME ...] [--no-time]

Prints a table and one JSON object last. Parameters must be exact, memory within 15%
(10% on a GPU) and time within 20%. Run it on an idle machine.
"""

import argparse
import json
import platform
import statistics
import sys

import torch

from llmkit.planning import Device, calibrate, device, here, memory, size_of
from llmkit.planning.probe import run_probe
from llmkit.transformer import ModelConfig

MODERN = dict(norm="rms", activation="relu2", bias=False, tied=False, qk_norm=True)
BERT = dict(norm_place="post", embedding_norm=True, n_segments=2)
# name: shape, rows, pieces, masked
SHAPES = {
    "GPT, 6 layers of 384": (
        dict(vocab_size=8192, context=256, n_layers=6, n_heads=6, d_model=384),
        (8, 1, False),
    ),
    "the same, 4 pieces": (
        dict(vocab_size=8192, context=256, n_layers=6, n_heads=6, d_model=384),
        (16, 4, False),
    ),
    "modern, 4 layers of 512": (
        dict(vocab_size=2048, context=512, n_layers=4, n_heads=8, d_model=512)
        | dict(positions="rotary", **MODERN),
        (2, 1, False),
    ),
    "grouped keys, 8 layers of 256": (
        dict(vocab_size=4096, context=512, n_layers=8, n_heads=8, d_model=256)
        | dict(n_kv_heads=2, positions="rotary", bias=False, tied=False),
        (4, 1, False),
    ),
    "BERT, 6 layers of 384": (
        dict(vocab_size=30_522, context=128, n_layers=6, n_heads=12, d_model=384)
        | BERT,
        (16, 1, True),
    ),
    "wide, 4 layers of 1024": (
        dict(vocab_size=4096, context=256, n_layers=4, n_heads=16, d_model=1024),
        (4, 1, False),
    ),
}


def this_device() -> Device:
    """Return what is known of the device that will train here."""
    if name := here():
        return device(name)
    sys.exit(f"nothing is known of {torch.cuda.get_device_name()}: see hardware.json")


def examine(name: str, precision: str, timed: bool) -> dict:
    """Predict, measure, and return both."""
    shape, (rows, pieces, masked) = SHAPES[name]
    config = ModelConfig(**shape)
    size = size_of(config, name, masked, asked=0.15 if masked else 1.0)
    place = "cpu" if here() == "cpu" else "gpu"
    per_piece = rows // pieces
    how = dict(precision=precision, accumulation=pieces, place=place)
    told = memory(size, "single", per_piece, **how)
    peak = told.peak - told.buffers_in["libraries"]  # torch does not count those
    row = {"shape": name, "parameters_predicted": size.parameters}
    measured = None
    if timed:
        measured = calibrate(config, size, this_device(), precision, per_piece)
    steps = 16 if timed else 4
    found = run_probe(config, [[rows, steps]], precision, masked, size.asked, pieces)
    (phase,) = found["phases"]
    row |= {
        "parameters": found["parameters"],
        "memory_predicted": round(peak / 1e6),
        "memory": round(phase["peak"] / 1e6),
        "memory_off": round(peak / phase["peak"] - 1, 3),
    }
    if measured:
        step = measured.step + measured.token * rows * size.context
        real = statistics.median(phase["seconds"][2:])
        row |= {
            "step_ms_predicted": round(1000 * step, 1),
            "step_ms": round(1000 * real, 1),
            "time_off": round(step / real - 1, 3),
        }
    return row


def main() -> int:
    """Examine each shape, print, and say whether all goals were met."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", default=list(SHAPES))
    parser.add_argument("--precision", default="fp32")
    parser.add_argument("--no-time", action="store_true", help="the machine is busy")
    options = parser.parse_args()
    rows = []
    print("| shape | parameters | MB predicted | MB | off | ms predicted | ms | off |")
    print("|---|---|---|---|---|---|---|---|")
    for name in options.only:
        row = examine(name, options.precision, not options.no_time)
        rows.append(row)
        exact = "=" if row["parameters"] == row["parameters_predicted"] else "≠"
        off = f"{row['time_off']:+.0%}" if "time_off" in row else ""
        print(
            f"| {name} | {exact} {row['parameters']:,} | {row['memory_predicted']} | "
            f"{row['memory']} | {row['memory_off']:+.0%} | "
            f"{row.get('step_ms_predicted', '')} | {row.get('step_ms', '')} | {off} |",
            flush=True,
        )
    close = 0.10 if torch.cuda.is_available() else 0.15
    met = all(
        row["parameters"] == row["parameters_predicted"]
        and abs(row["memory_off"]) <= close
        and abs(row.get("time_off", 0)) <= 0.20
        for row in rows
    )
    result = {
        "benchmark": "plan_accuracy",
        "machine": f"{platform.machine()}, {torch.get_num_threads()} threads",
        "torch": torch.__version__,
        "precision": options.precision,
        "rows": rows,
        "met": met and not options.no_time,
    }
    print(json.dumps(result))
    return 0 if result["met"] or options.no_time else 1


if __name__ == "__main__":
    sys.exit(main())
