"""How much memory does a text take that is larger than memory should be?

Makes a text file of a given size, then streams, encodes and writes it as a file of ids
in a process of its own, maps that file, and draws batches from it. The peak is that of
the resident memory of the process, pages of the mapped file included.

    python benchmarks/large_text.py --megabytes 1000

Prints one JSON object last.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from itertools import count
from pathlib import Path

from llmkit.corpus import load, stream
from llmkit.idfile import open_ids, write_ids
from llmkit.tokenizer import load_tokenizer

BATCHES, ROWS, CONTEXT = 200, 32, 256
VOCABULARY = 4096


def make(path: Path, size: int) -> None:
    """Write stories and Python's own documentation, again and again, never the same."""
    documents = load("stories", size=2_000_000).documents
    documents += load("python-docs").documents
    with path.open("w", encoding="utf-8") as file:
        for number in count():
            for place, text in enumerate(documents):
                file.write(f"Part {number}, number {place}. {text.strip()}\n\n")
            if file.tell() >= size:
                return


def train_tokenizer(folder: Path) -> None:
    """Train a byte-level BPE of the library `tokenizers` on the start of the text."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=["<end>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    bpe.train_from_iterator(stream(folder / "text.txt", size=4_000_000), trainer)
    bpe.save(str(folder / "tokenizer.json"))


def memory(kind: str) -> float:
    """Return what Linux says of this process's memory, in megabytes.

    VmHWM is the most that was resident, RssFile what is of mapped files now. Not
    resource.getrusage: after an exec it still tells the peak of the parent.
    """
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{kind}:"):
            return int(line.split()[1]) * 1024 / 1e6
    raise OSError(f"this system tells no {kind} in /proc/self/status")


def peak() -> float:
    """Return the most memory that this process has had resident, in megabytes."""
    return memory("VmHWM")


def encode_and_draw(folder: Path) -> dict:
    """Write the ids, map them, draw batches; return the peaks and the seconds."""
    tokenizer = load_tokenizer(folder)
    before, start = peak(), time.perf_counter()
    documents = stream(folder / "text.txt")
    written = write_ids(documents, tokenizer, folder / "text.ids", end=0)
    after_writing, wrote = peak(), time.perf_counter()
    from llmkit.batches import NextTokenBatches

    batches = NextTokenBatches(open_ids(folder / "text.ids"), CONTEXT, ROWS)
    with_torch = peak()
    total = sum(int(batches[step][0].long().sum()) for step in range(BATCHES))
    return {
        "ids": written.count,
        "encode_seconds": round(wrote - start, 1),
        "peak_mb_at_start": round(before),
        "peak_mb_after_writing": round(after_writing),
        "peak_mb_with_torch": round(with_torch),
        "batches": BATCHES,
        "draw_seconds": round(time.perf_counter() - wrote, 1),
        "peak_mb": round(peak()),
        "of_which_mapped_files_mb": round(
            memory("RssFile")
        ),  # code and ids: given back
        "mean_id": round(total / (BATCHES * ROWS * CONTEXT), 1),
    }


def main() -> int:
    """Make the text, measure in a process of its own, and print what it says."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--megabytes", type=int, default=1000)
    parser.add_argument("--measure", type=Path, help="a folder with text and tokenizer")
    options = parser.parse_args()
    if options.measure:
        print(json.dumps(encode_and_draw(options.measure)))
        return 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make(folder / "text.txt", options.megabytes * 1_000_000)
        train_tokenizer(folder)
        size = (folder / "text.txt").stat().st_size
        command = [sys.executable, __file__, "--measure", name]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    result = json.loads(done.stdout)
    result["mb_per_second"] = round(size / 1e6 / result["encode_seconds"], 2)
    print(json.dumps({"benchmark": "large_text", "megabytes": size / 1e6, **result}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
