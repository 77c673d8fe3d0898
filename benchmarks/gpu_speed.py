"""How much of a GPU does a GPT of 124M parameters use, ours and Hugging Face's?

Whole steps (forward, backward, fused AdamW) in bf16 at context 1,024, through SDPA,
compiled, of preset gpt2 without dropout. The twin is Hugging Face's GPT2LMHeadModel
with the same weights, its cache off, compiled and as it comes. Each round runs A B B A
in one process; the figure is the median of the ratios of the rounds. MFU is the share
of the GPU's peak in dense bf16 that the model's own FLOPs make up (6 a weight and
token, and attention's), the makers' figures.

    python benchmarks/gpu_speed.py

Prints a table and one JSON object last; without a GPU, one line and {"gpu": null}.
"""

import argparse
import json
import statistics
import sys
import time

import torch
from torch import nn

from llmkit.metrics import token_loss
from llmkit.planning import flops_per_token
from llmkit.transformer import Decoder, ModelConfig
from llmkit.transformer.huggingface import as_hf

# FLOPs a second in bf16 without sparsity, from NVIDIA's data sheets.
PEAK = {"H200": 989e12, "H100": 989e12, "A100": 312e12, "L40S": 362e12, "L4": 121e12}
GOAL_MFU, GOAL_RATIO = 0.5, 1.3


def main() -> int:
    """Race on the GPU, print, and say whether the goals were met."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=16, help="of 1,024 tokens a step")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=10)
    options = parser.parse_args()
    if not torch.cuda.is_available():
        print("There is no GPU here, so nothing was measured: run this where one is.")
        print(json.dumps({"benchmark": "gpu_speed", "gpu": None}))
        return 0
    result = race(options)
    print(json.dumps(result))
    return 0 if result["met"] else 1


def race(options) -> dict:
    """Interleave the three; return MFU and ratios."""
    torch.manual_seed(0)
    torch.set_float32_matmul_precision("high")
    config = ModelConfig.preset("gpt2", dropout=0.0)
    ours = Decoder(config)
    twin = as_hf(ours).train()
    twin.config.use_cache = False
    twin.set_attn_implementation("sdpa")
    bare = as_hf(ours).train()
    bare.config.use_cache = False
    bare.set_attn_implementation("sdpa")
    ids = torch.randint(config.vocab_size, (options.rows, config.context + 1))
    batch = ids[:, :-1].contiguous().cuda(), ids[:, 1:].contiguous().cuda()
    for model in (ours, twin):
        model.compile()
    who = {"ours": ours, "HF compiled": twin, "HF as it comes": bare}
    step = {name: stepper(model.cuda(), batch) for name, model in who.items()}
    losses = {name: float(one()) for name, one in step.items()}
    for one in step.values():
        seconds(one, options.steps)  # compiles, and warms up
    times: dict[str, list[float]] = {name: [] for name in step}
    ratios: dict[str, list[float]] = {name: [] for name in step if name != "ours"}
    for _ in range(options.rounds):
        for peer in ratios:
            order = ("ours", peer, peer, "ours")
            found = [seconds(step[name], options.steps) for name in order]
            for name, took in zip(order, found):
                times[name].append(took)
            ratios[peer].append((found[1] + found[2]) / (found[0] + found[3]))
    return report(config, options, times, ratios, losses)


def stepper(model: nn.Module, batch):
    """Return a function that makes one whole step and returns its loss."""
    adamw = torch.optim.AdamW(model.parameters(), lr=1e-5, fused=True)
    inputs, labels = batch

    def step():
        with torch.autocast("cuda", torch.bfloat16):
            found = model(inputs)
            total, count = token_loss(getattr(found, "logits", found), labels)
        loss = total / count
        loss.backward()
        adamw.step()
        adamw.zero_grad(set_to_none=True)
        return loss.detach()

    return step


def seconds(step, steps: int) -> float:
    """Return how long a step takes."""
    torch.cuda.synchronize()
    began = time.perf_counter()
    for _ in range(steps):
        step()
    torch.cuda.synchronize()
    return (time.perf_counter() - began) / steps


def report(config, options, times: dict, ratios: dict, losses: dict) -> dict:
    """Print the table; return it for JSON."""
    name = torch.cuda.get_device_name()
    peak = next((flops for kind, flops in PEAK.items() if kind in name), None)
    tokens = options.rows * config.context
    flops = flops_per_token(config) * tokens
    print(f"{name}, torch {torch.__version__}, {tokens:,} tokens a step")
    print("| who | ms a step | tokens/s | MFU | ours : it |")
    print("|---|---|---|---|---|")
    rows = {}
    for who, found in times.items():
        took = statistics.median(found)
        mfu = flops / took / peak if peak else None
        ratio = statistics.median(ratios[who]) if who in ratios else 1.0
        shown = "peak unknown" if mfu is None else f"{mfu:.1%}"
        print(
            f"| {who} | {took * 1000:.1f} | {tokens / took:,.0f} | {shown} | "
            f"{ratio:.2f} |"
        )
        rows[who] = {
            "seconds": took,
            "tokens_per_second": tokens / took,
            "mfu": mfu,
            "ratio": ratio,
            "first_loss": losses[who],
        }
    fast = (rows["ours"]["mfu"] or 0) >= GOAL_MFU
    return {
        "benchmark": "gpu_speed",
        "gpu": name,
        "torch": torch.__version__,
        "tokens": tokens,
        "rows": rows,
        "met": fast and rows["HF compiled"]["ratio"] >= GOAL_RATIO,
    }


if __name__ == "__main__":
    sys.exit(main())
