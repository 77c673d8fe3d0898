"""From which width does bfloat16 pay on this CPU?

One training step of a decoder with 2 layers, in float32 and under bf16 autocast, for a
range of widths; A B B A, medians. `llmkit.training.best_precision` follows the answer.

    python benchmarks/cpu_precision.py

Prints a table and one JSON object last.
"""

import json
import platform
import statistics
import sys
from itertools import pairwise

import torch

from llmkit.batches import NextTokenBatches
from llmkit.training import TrainingConfig, fit
from llmkit.training.loop import WIDE
from llmkit.transformer import Decoder, ModelConfig

SIZES = ((64, 32), (128, 32), (256, 16), (384, 16), (512, 8), (768, 8))  # width, batch


def milliseconds(width: int, batch_size: int, precision: str, steps: int = 13) -> float:
    """Return the median milliseconds of a step."""
    torch.manual_seed(0)
    shape = ModelConfig(65, n_layers=2, n_heads=width // 32, d_model=width)
    data = NextTokenBatches(torch.randint(65, (60_000,)), 64, batch_size)
    run = fit(Decoder(shape), data, TrainingConfig(steps, precision=precision))
    ends = [step.seconds for step in run]
    return 1000 * statistics.median(b - a for a, b in pairwise(ends))


def main() -> int:
    """Measure, print, and say whether the threshold in use agrees."""
    rows = []
    print("| width | batch | float32 ms | bf16 ms | float32 : bf16 |")
    print("|---|---|---|---|---|")
    for width, batch_size in SIZES:
        order = ("fp32", "bf16", "bf16", "fp32")
        times = [milliseconds(width, batch_size, precision) for precision in order]
        full, short = (times[0] + times[3]) / 2, (times[1] + times[2]) / 2
        ratio = round(full / short, 3)
        rows.append({"width": width, "ratio": ratio})
        print(f"| {width} | {batch_size} | {full:.1f} | {short:.1f} | {ratio:.2f} |")
    result = {
        "benchmark": "cpu_precision",
        "machine": f"{platform.machine()}, {torch.get_num_threads()} threads",
        "amx": torch.cpu._is_amx_tile_supported(),
        "torch": torch.__version__,
        "rows": rows,
        "threshold": WIDE,
    }
    agrees = all((row["ratio"] > 1) == (row["width"] >= WIDE) for row in rows)
    print(json.dumps(result | {"met": agrees or not result["amx"]}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
