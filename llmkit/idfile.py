"""A file of token ids: a text of any size as numbers on disk, mapped into memory.

`write_ids` encodes document by document and holds few at a time; `open_ids` maps the
file, so that a batch reads the few pages it needs. The file is one line of JSON, filled
up with spaces to 256 bytes, and then the ids: uint16 or uint32, little-endian.

Source: Lesson 04.
"""

import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Protocol

if TYPE_CHECKING:
    import torch

KIND = "llmkit ids"
HEADER = 256  # bytes
SIZES = {"uint16": 2, "uint32": 4}  # bytes an id


class Encoder(Protocol):
    """Turn text into ids, as every tokenizer of `llmkit.tokenizer` does.

    One with a method `encode_batch`, from texts to a list of ids for each, is asked for
    many documents at a time.
    """

    vocab_size: int

    def encode(self, text: str) -> list[int]:
        """Return the ids of a text."""


@dataclass(frozen=True)
class IdFile:
    """Say what a file of ids holds, as its first line does."""

    count: int  # ids
    vocab_size: int  # every id is below it
    dtype: str  # "uint16" where the vocabulary allows, else "uint32"
    end: int | None  # the id after each document
    kind: str = KIND

    def __len__(self) -> int:
        """Return the number of ids."""
        return self.count


def write_ids(
    documents: Iterable[str],
    tokenizer: Encoder,
    path: str | Path,
    end: int | None = None,
) -> IdFile:
    """Write the ids of all documents to a file, with `end` after each if it is given.

    Few documents are in memory at a time. The file is there when it is whole: where
    writing fails, an older one stays as it was.

    Raises ValueError for an `end` that is not in the vocabulary, for no ids, and for
    one text in place of documents.

    >>> import tempfile
    >>> from llmkit.tokenizer import CharTokenizer
    >>> path = Path(tempfile.mkdtemp(), "train.ids")
    >>> write_ids(["a cat", "a mat"], CharTokenizer(" acmt"), path).count
    10
    >>> open_ids(path).tolist()
    [1, 0, 2, 1, 4, 1, 0, 3, 1, 4]
    """
    if isinstance(documents, str):
        raise ValueError(
            f"documents is one text, {documents[:20]!r}: expected several: give a list "
            "of texts, or a stream of them"
        )
    size = tokenizer.vocab_size
    if end is not None and not 0 <= end < size:
        raise ValueError(
            f"end is {end}: expected an id of this tokenizer, from 0 to {size - 1}"
        )
    path = Path(path).expanduser()
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    dtype = "uint16" if size <= 1 << 16 else "uint32"
    try:
        with part.open("wb") as file:
            file.write(b" " * HEADER)  # the count is known last
            count = sum(_write(file, _lines(documents, tokenizer, end), size, dtype))
            header = IdFile(count, size, dtype, end)
            file.seek(0)
            file.write(json.dumps(asdict(header)).encode().ljust(HEADER - 1) + b"\n")
        if not count:
            raise ValueError("there are no ids to write: give some text")
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)
    return header


def _lines(
    documents: Iterable[str], tokenizer: Encoder, end: int | None
) -> Iterator[list[int]]:
    """Yield the ids of each document, and after them the one that ends it."""
    together = getattr(tokenizer, "encode_batch", None)  # on all cores at once
    for texts in _batches(documents):
        for ids in together(texts) if together else map(tokenizer.encode, texts):
            yield ids if end is None else [*ids, end]


def _batches(documents: Iterable[str]) -> Iterator[list[str]]:
    """Group documents until they have 100,000 characters together."""
    texts: list[str] = []
    length = 0
    for text in documents:
        texts.append(text)
        length += len(text)
        if length >= 100_000:
            yield texts
            texts, length = [], 0
    yield texts


def _write(
    file: BinaryIO, lines: Iterable[list[int]], vocab_size: int, dtype: str
) -> Iterator[int]:
    """Write ids, and yield how many at a time."""
    import numpy

    for ids in lines:
        if ids and not 0 <= min(ids) <= max(ids) < vocab_size:
            raise ValueError(
                f"the tokenizer gave ids from {min(ids)} to {max(ids)}: expected 0 to "
                f"{vocab_size - 1}, as its vocab_size says: use a sound tokenizer"
            )
        file.write(numpy.array(ids, numpy.dtype(dtype).newbyteorder("<")).tobytes())
        yield len(ids)


def read_header(path: str | Path) -> IdFile:
    """Return what a file of ids says of itself, after a check that it is all there.

    Raises ValueError for a file that cannot be read, is no file of ids, or is cut off.
    """
    path = Path(path).expanduser()
    try:
        with path.open("rb") as file:
            line, size = file.read(HEADER), os.fstat(file.fileno()).st_size
    except OSError as error:
        raise ValueError(
            f"{path}: cannot be read ({error.strerror}): expected a file that "
            "write_ids wrote"
        ) from error
    try:
        header = IdFile(**json.loads(line))
        expected = HEADER + header.count * SIZES[header.dtype]
        sound = header.kind == KIND and min(header.count, header.vocab_size) > 0
    except (ValueError, TypeError, KeyError):
        sound = False
    if not sound:
        raise ValueError(
            f"{path}: not a file of ids, or its first line is damaged: write it anew "
            "with write_ids"
        )
    if size != expected:
        raise ValueError(
            f"{path}: damaged: its first line tells of {expected:,} bytes and there "
            f"are {size:,}: write it anew with write_ids"
        )
    return header


def open_ids(path: str | Path) -> "torch.Tensor":
    """Map a file of ids into memory: (N,), uint16 or uint32, read as it is needed.

    Take `.long()` of what you index: a model's embedding wants that. Writing to the
    tensor changes it in memory alone, never the file. The pages that were read count as
    memory of the process, but the system takes them back when it needs them.

    Raises ValueError for a file that cannot be read, is no file of ids, or is cut off.
    """
    header = read_header(path)
    import numpy
    import torch

    dtype = numpy.dtype(header.dtype).newbyteorder("<")
    path = Path(path).expanduser()
    ids = numpy.memmap(path, dtype, mode="c", offset=HEADER, shape=(header.count,))
    return torch.from_numpy(ids)  # (N,)
