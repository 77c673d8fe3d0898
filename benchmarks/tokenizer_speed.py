"""How fast does our byte-level BPE train and encode, beside Hugging Face's in Rust?

Trains on the first 2 MB of python-docs (and on --text, if given) to 2,000 merges, and
encodes text that was not trained on: the second half of python-docs (and of --text)
with the merges of the first half, and random words, of which none comes twice so that
remembering pieces is of no help. Each round runs ours, then the twin; figures are
medians of the rounds, ratios (by the clock) medians of the rounds' ratios. Every round
begins with nothing remembered, and the ids are checked to be the same. Where others use
the machine too, read the seconds of the processor.

    python benchmarks/tokenizer_speed.py --text tinyshakespeare.txt

Prints a line for each, and one JSON object last.
"""

import argparse
import copy
import json
import platform
import random
import statistics
import string
import sys
import time
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path

import tokenizers

from llmkit import corpus
from llmkit.tokenizer import BPETokenizer, HFTokenizer

MERGES, MB = 2000, 1_000_000


class Timed:
    """Hold how long a piece of work took, by the clock and of the processor."""

    def __init__(self) -> None:
        self.clock: list[float] = []
        self.cpu: list[float] = []

    def run(self, work: Callable, *arguments: object) -> object:
        """Time the work once more and return what it returned."""
        clock, cpu = time.perf_counter(), time.process_time()
        result = work(*arguments)
        self.clock.append(time.perf_counter() - clock)
        self.cpu.append(time.process_time() - cpu)
        return result


def compare(ours: Timed, twin: Timed, mb: float) -> dict:
    """Return medians of the rounds, and of their ratios."""
    ratios = [b / a for a, b in zip(ours.clock, twin.clock)]
    found = {"mb": mb, "times_the_twin": statistics.median(ratios)}
    for name, timed in (("ours", ours), ("twin", twin)):
        clock, cpu = map(statistics.median, (timed.clock, timed.cpu))
        found[name] = {"seconds": clock, "cpu_seconds": cpu}
        found[name] |= {"mb_a_second": mb / clock, "mb_a_cpu_second": mb / cpu}
        found[name] = {key: round(value, 2) for key, value in found[name].items()}
    return found | {key: round(found[key], 2) for key in ("mb", "times_the_twin")}


def training(text: str, rounds: int) -> dict:
    """Time training on a text; check that the merges are the twin's."""
    ours, theirs = Timed(), Timed()
    for _ in range(rounds):
        mine = ours.run(BPETokenizer.train, text, 256 + MERGES)
        twin = theirs.run(HFTokenizer.train_bpe, text, 256 + MERGES)
        if mine.fast().tokenizer.to_str() != twin.tokenizer.to_str():
            raise SystemExit("the merges are not those of the twin")
    return compare(ours, theirs, len(text.encode()) / MB)


def encoding(tokenizer: BPETokenizer, text: str, rounds: int) -> dict:
    """Time encoding, of a tokenizer that remembers nothing yet; check the ids."""
    ours, theirs, n_bytes = Timed(), Timed(), len(text.encode())
    fresh = tokenizer.fast().tokenizer.to_str()
    for _ in range(rounds):
        mine = ours.run(copy.deepcopy(tokenizer).encode, text)
        twin = HFTokenizer(tokenizers.Tokenizer.from_str(fresh))
        if mine != theirs.run(twin.encode, text):
            raise SystemExit("the ids are not those of the twin")
    found = compare(ours, theirs, n_bytes / MB)
    return found | {"bytes_a_token": round(n_bytes / len(mine), 2)}


def memory(documents: Callable[[], Iterator[str]], size: int) -> dict:
    """Return the most memory that training takes, of documents made as it goes."""
    tracemalloc.start()
    BPETokenizer.train(documents(), size)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return {"peak_mb": round(most / MB, 1)}


def new_words(n: int) -> str:
    """Return random words, each there once."""
    drawn = random.Random(0)
    words: set[str] = set()
    while len(words) < n:
        length = drawn.randint(5, 9)
        words.add("".join(drawn.choices(string.ascii_lowercase, k=length)))
    return " ".join(sorted(words))


def main() -> int:
    """Measure all and print it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--text", type=Path, help="path of tinyshakespeare.txt")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    docs = corpus.load("python-docs").text
    seen, half = docs[: 2 * MB], len(docs) // 2
    trained = BPETokenizer.train(docs[:half], 256 + MERGES)
    results = {
        "train python-docs": training(seen, options.rounds),
        "encode python-docs, unseen half": encoding(
            trained, docs[half:], options.rounds
        ),
        "encode random words": encoding(trained, new_words(130_000), options.rounds),
        "encode one piece of 1 MB": encoding(trained, "abcd" * (MB // 4), 1),
    }
    if options.text:
        text = options.text.read_text("utf-8")
        results["train --text"] = training(text, options.rounds)
        half = len(text) // 2
        trained = BPETokenizer.train(text[:half], 256 + MERGES)
        results["encode --text, unseen half"] = encoding(
            trained, text[half:], options.rounds
        )
    for times in (1, 10):  # ten times the text, the same pieces
        name = f"memory of training on {times} × python-docs, 1 kB a document"
        results[name] = memory(
            lambda times=times: (
                seen[i : i + 1000]
                for _ in range(times)
                for i in range(0, len(seen), 1000)
            ),
            256 + MERGES,
        )
    for name, result in results.items():
        print(name, result)
    machine = {
        "python": platform.python_version(),
        "tokenizers": tokenizers.__version__,
    }
    print(json.dumps({"benchmark": "tokenizer_speed", **machine, **results}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
