"""How long until tiny Shakespeare, by character, reaches a validation loss of 1.88?

Ours: ``llmkit pretrain --preset tiny --target-loss 1.88``, as a user runs it. Peer: a
plain AdamW loop over Hugging Face's GPT2LMHeadModel (4 layers, 4 heads, 128 wide,
context 64, batch 12, 2,000 steps, learning rate 1e-3 to 1e-4 by cosine, dropout 0,
sdpa). Both run in this process, on the same text, split and threads, one after the
other (A B B A ...), once for each seed. Both are judged on the whole last tenth of the
text in windows of 64; the seconds are those of training, without evaluation.

    python benchmarks/time_to_loss.py --corpus tinyshakespeare.txt

Prints a line for each run, a table, and one JSON object last.
"""

import argparse
import json
import math
import platform
import statistics
import sys
import tempfile
import time
from pathlib import Path

import torch
from transformers import GPT2Config, GPT2LMHeadModel

from llmkit.batches import evaluation_batches
from llmkit.corpus import load, split
from llmkit.metrics import token_loss
from llmkit.pretraining import Pretraining, PretrainOptions
from llmkit.tokenizer import CharTokenizer

CONTEXT, BATCH, STEPS = 64, 12, 2000


def run_ours(corpus: str, target: float, seed: int) -> dict:
    """Train as `llmkit pretrain` does, until the target."""
    with tempfile.TemporaryDirectory() as folder:
        run = Pretraining(
            PretrainOptions(
                corpus=corpus, out=Path(folder), target_loss=target, seed=seed
            )
        )
        for _ in run.steps():
            pass
        return {"who": "llmkit tiny", "seed": seed, **run.result()}


def run_peer(corpus: str, target: float, seed: int, steps: int = STEPS) -> dict:
    """Train the peer for all its steps; note when it first reached the target."""
    text = load(corpus).text
    tokenizer = CharTokenizer.train(text)
    train, validation = (torch.tensor(tokenizer.encode(t)) for t in split(text))
    evaluation = evaluation_batches(validation, CONTEXT)
    torch.manual_seed(seed)
    model = peer_model(tokenizer.vocab_size)
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=1e-3, betas=(0.9, 0.99), weight_decay=0.1
    )
    seconds, reached, val_loss = 0.0, None, math.inf
    for step in range(steps):
        began = time.perf_counter()
        for group in optimizer.param_groups:
            cosine = 0.5 * (1 + math.cos(math.pi * step / steps))
            group["lr"] = 1e-4 + (1e-3 - 1e-4) * cosine
        starts = torch.randint(len(train) - CONTEXT - 1, (BATCH,))
        rows = train[starts[:, None] + torch.arange(CONTEXT + 1)]  # (B, T + 1)
        logits = model(rows[:, :-1]).logits
        loss_sum, count = token_loss(logits, rows[:, 1:])
        (loss_sum / count).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        seconds += time.perf_counter() - began
        if (step + 1) % 100 == 0 and step + 1 >= steps // 2:
            val_loss = validation_loss(model, evaluation)
            if reached is None and val_loss <= target:
                reached = seconds
    return {
        "who": "HF GPT-2 + AdamW",
        "seed": seed,
        "seconds": round(seconds, 3),
        "seconds_to_target": reached and round(reached, 3),
        "steps": steps,
        "tokens": steps * BATCH * CONTEXT,
        "parameters": sum(p.numel() for p in model.parameters()),
        "val_loss": round(val_loss, 5),
    }


def peer_model(vocab_size: int) -> GPT2LMHeadModel:
    """Return the peer as its users would make it for this size."""
    config = GPT2Config(
        vocab_size=vocab_size,
        n_positions=CONTEXT,
        n_embd=128,
        n_layer=4,
        n_head=4,
        resid_pdrop=0.0,
        embd_pdrop=0.0,
        attn_pdrop=0.0,
        use_cache=False,
        attn_implementation="sdpa",
    )
    return GPT2LMHeadModel(config).train()


@torch.no_grad()
def validation_loss(model, batches) -> float:
    """Return nats a token over the whole split."""
    sums = [token_loss(model(inputs).logits, labels) for inputs, labels in batches]
    return float(sum(s for s, _ in sums) / sum(c for _, c in sums))


def main() -> int:
    """Race, print, and say whether the goal was met."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--corpus", required=True, help="path of tinyshakespeare.txt")
    parser.add_argument("--target-loss", type=float, default=1.88)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    options = parser.parse_args()
    runs, ratios = [], []
    for i, seed in enumerate(options.seeds):
        order = (run_ours, run_peer) if i % 2 == 0 else (run_peer, run_ours)
        pair = {}
        for race in order:
            pair[race] = race(options.corpus, options.target_loss, seed)
            print(json.dumps(pair[race]), flush=True)
            runs.append(pair[race])
        ours, peer = pair[run_ours], pair[run_peer]
        # The kinder of two clocks for the peer: its first evaluation at the target.
        ratios.append(ours["seconds"] / (peer["seconds_to_target"] or peer["seconds"]))
    mine = [run for run in runs if run["who"].startswith("llmkit")]
    result = {
        "benchmark": "time_to_loss",
        "target_loss": options.target_loss,
        "machine": f"{platform.machine()}, {torch.get_num_threads()} threads",
        "torch": torch.__version__,
        "ratios": [round(ratio, 4) for ratio in ratios],
        "median_ratio": round(statistics.median(ratios), 4),
        "ours_seconds": statistics.median(run["seconds"] for run in mine),
        "ours_worst_val_loss": max(run["val_loss"] for run in mine),
        "goal": 0.25,
    }
    print("| who | seed | parameters | tokens | seconds | to target | val loss |")
    print("|---|---|---|---|---|---|---|")
    for run in runs:
        to_target = run.get("seconds_to_target", run["seconds"])
        print(
            f"| {run['who']} | {run['seed']} | {run['parameters']:,} | "
            f"{run['tokens']:,} | {run['seconds']:.1f} | {to_target} | "
            f"{run['val_loss']:.4f} |"
        )
    met = result["median_ratio"] <= 0.25
    met = met and result["ours_worst_val_loss"] <= options.target_loss
    print(json.dumps(result | {"met": met}))
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
