"""How many tokens a second does `generate` write, beside Hugging Face's?

Preset gpt2 (4 layers, 128 wide, 4 heads, context 256), greedy, 200 tokens after a
prompt of 8, with the cache on both sides, against GPT2LMHeadModel.generate (sdpa).
Weights are copied and every token must be equal. Four ways to write the same text:

    hf            generate, as its users call it
    hf lookup     the same with prompt_lookup_num_tokens=10, which takes one text only
    plain         ours with ahead=0: a token a call
    guessing      ours as it comes: what repeats is guessed and checked in one call

How much repeats depends on the model, so there are four of them: with weights as they
are drawn (two vocabularies), which soon turn in a circle; trained for 150 steps on the
characters of python-docs, which repeats itself as small models do (--steps 600 makes a
better one, which repeats itself less); and one that was built to write by position
alone, whose text is as good as random: what guessing costs where it finds nothing.

Each round has a prompt of its own and runs A B C D D C B A in one process; the figure
is the median of the ratios of the rounds. The goal is 4 times the tokens a second of
"hf" for one text and 2 times for 16 at once; each column says whether it meets it.

    python benchmarks/generation_speed.py

--busy counts the seconds of the processor, not of the clock: for a machine that does
other work meanwhile. Prints a table and one JSON object last.
"""

import argparse
import json
import platform
import statistics
import sys
import time
from collections.abc import Callable

import torch
from torch import Tensor

from llmkit import corpus
from llmkit.batches import NextTokenBatches
from llmkit.generation import generate
from llmkit.tokenizer import CharTokenizer
from llmkit.training import TrainingConfig, fit
from llmkit.transformer import Decoder, ModelConfig
from llmkit.transformer.huggingface import as_hf

PROMPT, NEW, CONTEXT = 8, 200, 256
GOALS = {1: 4.0, 16: 2.0}  # our tokens a second to theirs, by batch
SHAPE = dict(n_layers=4, d_model=128, n_heads=4, context=CONTEXT, dropout=0.0)
MUON = dict(optimizer="muon", muon_rate=0.03, learning_rate=0.02, decay=0.8, clip=0.0)
ROWS, CHARACTERS = 8, 2_000_000  # of the training


def make(vocab_size: int, **changes) -> Decoder:
    """Build a model with weights as they are drawn."""
    torch.manual_seed(0)
    shape = dict(vocab_size=vocab_size) | SHAPE | changes
    return Decoder(ModelConfig.preset("gpt2", **shape))


def drawn(vocab_size: int) -> tuple[Decoder, Tensor]:
    """Return a model with weights as they are drawn, and a line of ids for prompts."""
    return make(vocab_size), torch.randint(vocab_size, (10_000,))


def trained(steps: int) -> tuple[Decoder, Tensor]:
    """Return a model that was trained a little, and the text it has read."""
    text = corpus.load("python-docs", size=CHARACTERS).text
    tokenizer = CharTokenizer.train(text)
    ids = torch.tensor(tokenizer.encode(text))
    model = make(tokenizer.vocab_size)
    recipe = TrainingConfig(steps=steps, momentum=0.9, precision="fp32", **MUON)
    for _ in fit(model, NextTokenBatches(ids, CONTEXT, ROWS), recipe):
        pass
    return model, ids


@torch.no_grad()
def by_position(vocab_size: int) -> tuple[Decoder, Tensor]:
    """Return a model that looks at no token: its text is as good as random."""
    model = make(vocab_size, tied=False)
    model.embedding.weight.zero_()
    model.positions.weight.normal_()
    return model, torch.randint(vocab_size, (10_000,))


MODELS = {
    "drawn, 65 tokens": lambda: drawn(65),
    "drawn, 2,048 tokens": lambda: drawn(2048),
    "by position, 65 tokens": lambda: by_position(65),
}
AIMLESS = "by position, 65 tokens"  # shows a price: no goal is set


def write_ours(model: Decoder, ids: Tensor, **how) -> Tensor:
    """Return the new tokens, (B, NEW)."""
    return torch.stack(list(generate(model, ids, NEW, temperature=0, **how)), dim=1)


def write_theirs(model, ids: Tensor, **how) -> Tensor:
    """Return the new tokens, (B, NEW); nothing ends the text before."""
    how |= dict(do_sample=False, max_new_tokens=NEW, min_new_tokens=NEW)
    ends = dict(eos_token_id=None, pad_token_id=0)
    read = torch.ones_like(ids)
    text = model.generate(ids, attention_mask=read, use_cache=True, **how, **ends)
    return text[:, ids.size(1) :]


def writers(model: Decoder, batch: int) -> dict[str, Callable[[Tensor], Tensor]]:
    """Return each way to write, by its name."""
    twin = as_hf(model)
    twin.set_attn_implementation("sdpa")
    ways = {
        "hf": lambda ids: write_theirs(twin, ids),
        "plain": lambda ids: write_ours(model, ids, ahead=0),
        "guessing": lambda ids: write_ours(model, ids),
    }
    if batch == 1:
        ways["hf lookup"] = lambda ids: write_theirs(
            twin, ids, prompt_lookup_num_tokens=10
        )
    return ways


def tokens_a_call(model: Decoder, ids: Tensor) -> float:
    """Count how many tokens a call of the model gives, with guessing."""
    calls = []
    hook = model.register_forward_hook(lambda *_: calls.append(1))
    write_ours(model, ids)
    hook.remove()
    return NEW / len(calls)


def race(name: str, model: Decoder, line: Tensor, batch: int, rounds: int, clock):
    """Interleave all ways to write; return how each compares with "hf"."""
    ways = writers(model, batch)
    random = torch.Generator().manual_seed(batch)
    took: dict[str, list[float]] = {way: [] for way in ways}
    equal, gains = dict.fromkeys(ways, True), []
    for round_ in range(-1, rounds):  # the first only warms up
        starts = torch.randint(len(line) - PROMPT, (batch, 1), generator=random)
        ids = line[starts + torch.arange(PROMPT)]  # (B, PROMPT)
        seconds, told = dict.fromkeys(ways, 0.0), {}
        for way in [*ways, *reversed(ways)]:
            began = clock()
            told[way] = ways[way](ids)
            seconds[way] += clock() - began
        equal = {way: equal[way] and told[way].equal(told["hf"]) for way in ways}
        if round_ >= 0:
            gains.append(tokens_a_call(model, ids))
            for way in ways:
                took[way].append(seconds[way])
    result = {"model": name, "batch": batch, "goal": GOALS[batch]}
    result["tokens_a_call"] = round(statistics.median(gains), 2)
    for way in ways:
        ratios = [theirs / own for theirs, own in zip(took["hf"], took[way])]
        result[way] = {
            "tokens_per_second": round(2 * batch * NEW / statistics.median(took[way])),
            "ratio": round(statistics.median(ratios), 3),
            "quartiles": [round(q, 3) for q in statistics.quantiles(ratios)[::2]],
            "equal_tokens": equal[way],
        }
    return result


def show(rows: list[dict]) -> None:
    """Print the table: each way's speed as a multiple of "hf", with its quartiles."""
    print("| model | batch | hf, tokens/s | hf lookup | plain | guessing | ", end="")
    print("tokens a call | goal |\n|---|---|---|---|---|---|---|---|")
    for row in rows:
        cells = [row["model"], row["batch"], f"{row['hf']['tokens_per_second']:,}"]
        for way in ("hf lookup", "plain", "guessing"):
            if way in row:
                low, high = row[way]["quartiles"]
                cells.append(f"{row[way]['ratio']:.2f} ({low:.2f} to {high:.2f})")
            else:
                cells.append("")
        goal = "" if row["model"] == AIMLESS else row["goal"]
        print("|", " | ".join(map(str, [*cells, row["tokens_a_call"], goal])), "|")


def main() -> int:
    """Race with each model, print, and say which way meets the goals."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--busy", action="store_true", help="count processor seconds")
    parser.add_argument("--steps", type=int, default=150, help="of the training")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    clock = time.process_time if options.busy else time.perf_counter
    rows = []
    taught = {f"trained, {options.steps} steps": lambda: trained(options.steps)}
    for name, build in (MODELS | taught).items():
        model, line = build()
        for batch in GOALS:
            rows.append(race(name, model, line, batch, options.rounds, clock))
    show(rows)
    judged = [row for row in rows if row["model"] != AIMLESS]
    equal = all(
        row[way]["equal_tokens"] for row in rows for way in ("plain", "guessing")
    )
    met = {
        way: equal and all(row[way]["ratio"] >= row["goal"] for row in judged)
        for way in ("plain", "guessing")
    }
    result = {
        "benchmark": "generation_speed",
        "machine": f"{platform.machine()}, {torch.get_num_threads()} threads",
        "clock": "processor" if options.busy else "wall",
        "torch": torch.__version__,
        "rows": rows,
        "met_plain": met["plain"],
        "met": met["guessing"],
    }
    print(json.dumps(result))
    return 0 if result["met"] else 1


if __name__ == "__main__":
    sys.exit(main())
