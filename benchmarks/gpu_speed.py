"""How much of a GPU does a GPT of 124M parameters use, ours and Hugging Face's?

Whole steps of training in bf16 at context 1,024, through SDPA, of preset gpt2 without
dropout. Three take part, with the same weights:

- ours: a `Decoder` in `fit` with `compile=True`, as `llmkit pretrain --compile` runs it
- HF in fit: Hugging Face's GPT2LMHeadModel, its cache off, in the very same `fit`,
  compiled too, so that the model alone differs
- HF's own loop: the same model as its users write it down: its own loss, autocast,
  torch's AdamW as it comes, nothing compiled

A step's time is what `fit` says it took, the first ones left out, which compile. Each
round runs A B B A in one process; the figure is the median of the ratios of the rounds.
MFU is the share of the GPU's peak in dense bf16 that the model's own FLOPs make up (6 a
weight and token, and attention's); peaks are those of llmkit/planning/hardware.json.

    python benchmarks/gpu_speed.py

Prints a table and one JSON object last; without a GPU, one line and {"gpu": null}.
"""

import argparse
import json
import statistics
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

import torch
from torch import Tensor, nn

from llmkit.planning import device, flops_per_token, here
from llmkit.training import TrainingConfig, fit
from llmkit.transformer import Decoder, ModelConfig
from llmkit.transformer.huggingface import as_hf

GOAL_MFU, GOAL_RATIO = 0.5, 1.3
OURS, IN_FIT, OWN_LOOP = "ours", "HF in fit", "HF's own loop"
ENDLESS = 10**6  # steps: no run comes to its end, nor to a rate that matters


@dataclass(frozen=True)
class Race:
    """What is raced, and for how long."""

    model: ModelConfig
    rows: int = 16  # a step
    rounds: int = 5
    steps: int = 10  # of each turn
    warm: int = 5  # steps that do not count, as they compile
    compile: bool = True
    precision: str = "bf16"

    @property
    def tokens(self) -> int:
        """Return the tokens of a step."""
        return self.rows * self.model.context


class Logits(nn.Module):
    """Call a model of Hugging Face's as `fit` calls one of ours."""

    def __init__(self, model: nn.Module):
        super().__init__()
        self.model = model

    def forward(self, ids: Tensor) -> Tensor:
        """Return logits (B, T, V)."""
        return self.model(input_ids=ids).logits


def main() -> int:
    """Race on the GPU, print, and say whether the goals were met."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=16, help="of 1,024 tokens a step")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=10, help="of each turn")
    options = parser.parse_args()
    if not torch.cuda.is_available():
        print("There is no GPU here, so nothing was measured: run this where one is.")
        print(json.dumps({"benchmark": "gpu_speed", "gpu": None}))
        return 0
    name = here()
    peak = device(name).flops.get("bf16") if name else None
    told = Race(ModelConfig.preset("gpt2", dropout=0.0), **vars(options))
    result = report(told, torch.cuda.get_device_name(), peak, *race(told))
    print(json.dumps(result))
    return 0 if result["met"] else 1


def race(told: Race) -> tuple[dict, dict, dict]:
    """Interleave the three.

    Returns: for each its seconds a step, turn by turn; for each peer its seconds over
    ours, round by round; for each the loss of its first step.
    """
    runs = contenders(told)
    losses = {name: next(run)[0] for name, run in runs.items()}
    for name in runs:
        turn(runs[name], told.warm)
    times: dict[str, list[float]] = {name: [] for name in runs}
    ratios: dict[str, list[float]] = {name: [] for name in runs if name != OURS}
    for _ in range(told.rounds):
        for peer in ratios:
            order = (OURS, peer, peer, OURS)
            found = [turn(runs[name], told.steps) for name in order]
            for name, took in zip(order, found):
                times[name].append(took)
            ratios[peer].append((found[1] + found[2]) / (found[0] + found[3]))
    for run in runs.values():
        run.close()
    return times, ratios, losses


def contenders(told: Race) -> dict[str, Iterator[tuple[float, float]]]:
    """Return the three, each of which yields loss and seconds, step by step."""
    torch.manual_seed(0)
    ours = Decoder(told.model)
    twins = [as_hf(ours).train() for _ in range(2)]
    for twin in twins:
        twin.config.use_cache = False
        twin.set_attn_implementation("sdpa")
    ids = torch.randint(told.model.vocab_size, (told.rows, told.model.context + 1))
    batches = [(ids[:, :-1].contiguous(), ids[:, 1:].contiguous())] * ENDLESS
    return {
        OURS: in_fit(ours, batches, told),
        IN_FIT: in_fit(Logits(twins[0]), batches, told),
        OWN_LOOP: in_own_loop(twins[1], batches, told),
    }


def in_fit(model: nn.Module, batches, told: Race) -> Iterator[tuple[float, float]]:
    """Train as `llmkit pretrain` does."""
    how = dict(precision=told.precision, compile=told.compile)
    before = 0.0
    for step in fit(model, batches, TrainingConfig(steps=ENDLESS, **how)):
        yield step.loss, step.seconds - before
        before = step.seconds


def in_own_loop(model: nn.Module, batches, told: Race) -> Iterator[tuple[float, float]]:
    """Train as those do who put Hugging Face's model into a loop of their own."""
    kind = "cuda" if torch.cuda.is_available() else "cpu"
    model.to(kind)
    adamw = torch.optim.AdamW(model.parameters(), lr=1e-5)
    for ids, _ in batches:
        began = time.perf_counter()
        ids = ids.to(kind)
        with torch.autocast(kind, torch.bfloat16, told.precision == "bf16"):
            loss = model(input_ids=ids, labels=ids).loss
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        adamw.step()
        adamw.zero_grad()
        said = loss.item()  # which waits for the GPU, as a printed loss does
        yield said, time.perf_counter() - began


def turn(run: Iterator[tuple[float, float]], steps: int) -> float:
    """Return the seconds that a step takes: the median of so many."""
    return statistics.median(seconds for _, seconds in islice(run, steps))


def report(
    told: Race, gpu: str, peak: float | None, times: dict, ratios: dict, losses: dict
) -> dict:
    """Print the table; return it for JSON. peak: FLOPs a second, None if not known."""
    flops = flops_per_token(told.model) * told.tokens
    print(f"{gpu}, torch {torch.__version__}, {told.tokens:,} tokens a step")
    print("| who | ms a step | tokens/s | MFU | ours : it |")
    print("|---|---|---|---|---|")
    rows = {}
    for who, found in times.items():
        took = statistics.median(found)
        mfu = flops / took / peak if peak else None
        ratio = statistics.median(ratios[who]) if who in ratios else 1.0
        shown = "peak unknown" if mfu is None else f"{mfu:.1%}"
        print(
            f"| {who} | {took * 1000:.1f} | {told.tokens / took:,.0f} | {shown} | "
            f"{ratio:.2f} |"
        )
        rows[who] = {
            "seconds": took,
            "tokens_per_second": told.tokens / took,
            "mfu": mfu,
            "ratio": ratio,
            "first_loss": losses[who],
        }
    fast = (rows[OURS]["mfu"] or 0) >= GOAL_MFU
    return {
        "benchmark": "gpu_speed",
        "gpu": gpu,
        "torch": torch.__version__,
        "tokens": told.tokens,
        "rows": rows,
        "met": fast and rows[IN_FIT]["ratio"] >= GOAL_RATIO,
    }


if __name__ == "__main__":
    sys.exit(main())
