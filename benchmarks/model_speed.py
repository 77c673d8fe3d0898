"""How many tokens a second does our `Decoder` train on, beside its two twins?

Forward and backward of preset gpt2 (4 layers, 128 wide, context 64, batch 32, dropout
0), against Hugging Face's GPT2LMHeadModel (sdpa, no cache) and against
`torch.nn.TransformerEncoder` with a causal mask between the same embedding and head.
Weights are copied, so all compute the same loss; it is printed and checked. Each round
runs A B B A in one process with the same threads; the figure is the median of the
ratios of the rounds.

    python benchmarks/model_speed.py

Prints a table and one JSON object last.
"""

import argparse
import json
import platform
import statistics
import sys
import time

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from llmkit.transformer import Decoder, ModelConfig
from llmkit.transformer.huggingface import as_hf

BATCH, CONTEXT, GOAL = 32, 64, 1.15


class TorchTwin(nn.Module):
    """The same decoder from torch's own layers, as its tutorials build it."""

    def __init__(self, model: Decoder):
        super().__init__()
        c = model.config
        layer = nn.TransformerEncoderLayer(
            c.d_model,
            c.n_heads,
            c.d_inner,
            dropout=0.0,
            activation=model.blocks[0].activation,
            batch_first=True,
            norm_first=True,
        )
        norm = nn.LayerNorm(c.d_model)
        self.embedding = nn.Embedding(c.vocab_size, c.d_model)
        self.positions = nn.Embedding(c.context, c.d_model)
        self.stack = nn.TransformerEncoder(
            layer, c.n_layers, norm, enable_nested_tensor=False
        )
        self.head = nn.Linear(c.d_model, c.vocab_size, bias=False)
        self.head.weight = self.embedding.weight
        mask = nn.Transformer.generate_square_subsequent_mask(c.context)
        self.register_buffer("mask", mask)
        self._copy(model)

    def _copy(self, model: Decoder) -> None:
        names = {
            "attention.qkv.": "self_attn.in_proj_",
            "attention.out.": "self_attn.out_proj.",
            "up.": "linear1.",
            "down.": "linear2.",
            "blocks.": "stack.layers.",
        }
        state = {}
        for name, weight in model.state_dict().items():
            name = "stack." + name if name.startswith("norm.") else name
            for ours, theirs in names.items():
                name = name.replace(ours, theirs)
            state[name] = weight
        self.load_state_dict(state | {"mask": self.mask})

    def forward(self, ids: Tensor) -> Tensor:
        """Return logits (B, T, V)."""
        x = self.embedding(ids) + self.positions.weight[: ids.size(1)]
        return self.head(self.stack(x, mask=self.mask, is_causal=True))


def step(model: nn.Module, ids: Tensor, labels: Tensor) -> float:
    """Run forward and backward once; return the loss."""
    out = model(ids)
    logits = out if isinstance(out, Tensor) else out.logits
    loss = F.cross_entropy(logits.flatten(0, 1), labels.flatten())
    loss.backward()
    model.zero_grad(set_to_none=True)
    return loss.item()


def seconds(model: nn.Module, batch: tuple[Tensor, Tensor], steps: int) -> float:
    """Return the median seconds of a step."""
    times = []
    for _ in range(steps):
        began = time.perf_counter()
        step(model, *batch)
        times.append(time.perf_counter() - began)
    return statistics.median(times)


def race(name: str, peer: nn.Module, ours: Decoder, batch, options) -> dict:
    """Interleave the two; return the ratio of their speeds."""
    losses = [step(model, *batch) for model in (ours, peer)]
    for model in (ours, peer):
        seconds(model, batch, 3)  # warm up
    ratios, times = [], {"ours": [], "peer": []}
    for _ in range(options.rounds):
        round_ = {"ours": [], "peer": []}
        for who in ("ours", "peer", "peer", "ours"):
            model = ours if who == "ours" else peer
            round_[who].append(seconds(model, batch, options.steps))
        ratios.append(sum(round_["peer"]) / sum(round_["ours"]))
        for who, found in round_.items():
            times[who] += found
    ratios.sort()
    return {
        "peer": name,
        "ratio": round(statistics.median(ratios), 3),
        "quartiles": [round(q, 3) for q in statistics.quantiles(ratios)[::2]],
        "ours_ms": round(1000 * statistics.median(times["ours"]), 2),
        "peer_ms": round(1000 * statistics.median(times["peer"]), 2),
        "losses": [round(loss, 6) for loss in losses],
        "loss_difference": abs(losses[0] - losses[1]),
        "parameters": [
            sum(p.numel() for p in model.parameters()) for model in (ours, peer)
        ],
    }


def main() -> int:
    """Race against both, print, and say whether the goal was met."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--vocab-size", type=int, default=65)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--steps", type=int, default=6)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    size = dict(n_layers=4, d_model=128, n_heads=4, context=CONTEXT, dropout=0.0)
    config = ModelConfig.preset("gpt2", vocab_size=options.vocab_size, **size)
    ours = Decoder(config)
    ids = torch.randint(options.vocab_size, (BATCH, CONTEXT + 1))
    batch = (ids[:, :-1].contiguous(), ids[:, 1:].contiguous())
    hf = as_hf(ours).train()
    hf.config.use_cache = False
    hf.set_attn_implementation("sdpa")
    peers = {
        "HF GPT2LMHeadModel, sdpa": hf,
        "torch.nn.TransformerEncoder": TorchTwin(ours),
    }
    rows = [race(name, peer, ours, batch, options) for name, peer in peers.items()]
    print("| peer | its ms | our ms | tokens/s, ours : its | quartiles | losses |")
    print("|---|---|---|---|---|---|")
    for row in rows:
        low, high = row["quartiles"]
        print(
            f"| {row['peer']} | {row['peer_ms']} | {row['ours_ms']} | "
            f"{row['ratio']:.2f} | {low:.2f} to {high:.2f} | "
            f"{row['losses'][0]:.5f}, {row['losses'][1]:.5f} |"
        )
    agree = all(row["loss_difference"] < 1e-4 for row in rows)
    met = agree and all(row["ratio"] >= GOAL for row in rows)
    result = {
        "benchmark": "model_speed",
        "machine": f"{platform.machine()}, {torch.get_num_threads()} threads",
        "torch": torch.__version__,
        "vocab_size": options.vocab_size,
        "goal": GOAL,
        "rows": rows,
        "met": met,
    }
    print(json.dumps(result))
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
