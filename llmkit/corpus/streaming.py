r"""Read files that are larger than memory: documents one after the other.

What `files` reads as a whole is read here in pieces, with the same complaints, made
when the fault is reached. Source: Lesson 04.
"""

import codecs
import io
import json
import re
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import chain, islice
from pathlib import Path

from llmkit.corpus.files import (
    TABLES,
    TEXTS,
    binary,
    empty,
    files_in,
    json_row,
    not_a_table,
    not_utf8,
    refuse,
    text_column,
    wrong_ending,
)

SAMPLE = 1000  # rows by which the column of a table is chosen


def stream_files(
    path: Path, column: str | None, boundary: str, longest: int, end: str
) -> Iterator[str]:
    """Yield the documents of a file, or of all files in a folder, with an end each.

    The text of each file, and each row of a table, ends with `end`; within a text, the
    documents end with the boundary, as `stream_text` says.
    """
    ending = path.suffix.lower()
    if path.is_dir():
        for each in files_in(path):
            yield from stream_files(each, column, boundary, longest, end)
    elif ending in TEXTS:
        held = ""
        for document in stream_text(path, boundary, longest):
            if held:
                yield held
            held = document if held else document.lstrip()
        yield held.rstrip() + end
    elif ending in TABLES:
        texts = stream_table(path, column)
        yield from (text.strip() + end for text in texts if text.strip())
    else:
        raise wrong_ending(path)


def stream_text(path: Path, boundary: str, longest: int) -> Iterator[str]:
    """Yield the documents of a text file, each with the boundary that ends it.

    Together they are the text of the file. More line breaks after a boundary go with
    it. A document longer than `longest` characters comes in pieces of at most that,
    cut after a line or before a space where there is one.
    """
    held = ""  # nothing but space is no document: it goes with the one before it
    for document in cut(decoded(path, longest), boundary, longest):
        if held.strip() and document.strip():
            yield held
            held = ""
        held += document
    yield held


def cut(pieces: Iterable[str], boundary: str, longest: int) -> Iterator[str]:
    r"""Cut a text, which comes in pieces of any size, after each boundary.

    >>> list(cut(["one\n", "\n\ntwo thr", "ee"], boundary="\n\n", longest=6))
    ['one\n\n\n', 'two', ' three']
    """
    end = re.compile(re.escape(boundary) + "\n*")
    rest = ""
    for piece in pieces:
        rest += piece
        start = 0
        for found in end.finditer(rest):
            if found.end() == len(rest):
                break  # the next piece may go on with line breaks
            yield from _short(rest[start : found.end()], longest)
            start = found.end()
        rest = rest[start:]
        while len(rest) > 2 * longest:
            place = _place_to_cut(rest, longest)
            yield rest[:place]
            rest = rest[place:]
    yield from _short(rest, longest)


def _short(text: str, longest: int) -> Iterator[str]:
    """Yield a text whole, or in pieces if it is too long."""
    while len(text) > longest:
        place = _place_to_cut(text, longest)
        yield text[:place]
        text = text[place:]
    if text:
        yield text


def _place_to_cut(text: str, longest: int) -> int:
    """Return the place after the last line that fits, or before the last space."""
    after_line = text.rfind("\n", 0, longest) + 1
    return after_line or max(text.rfind(" ", 0, longest), 0) or longest


def decoded(path: Path, size: int) -> Iterator[str]:
    """Yield the text of a UTF-8 file in pieces, with each end of a line as a newline.

    Raises ValueError, when it is reached, for what is no text in UTF-8.
    """
    utf8 = codecs.getincrementaldecoder("utf-8")()
    newlines = io.IncrementalNewlineDecoder(utf8, translate=True)
    offset = lines = 0  # that came before this piece
    begun = False
    for content in chain(_read(path, size), [b""]):
        if b"\0" in content:
            raise binary(path)
        held = len(utf8.getstate()[0])  # bytes of a character that was cut
        try:
            text = newlines.decode(content, final=not content)
        except UnicodeDecodeError as error:
            raise not_utf8(path, error, offset - held, lines) from error
        if not offset - held:
            text = text.removeprefix("\ufeff")  # Windows' mark of UTF-8
        offset, lines = offset + len(content), lines + content.count(b"\n")
        begun = begun or bool(text.strip())
        yield text
    if not begun:
        raise empty(path)


def _read(path: Path, size: int) -> Iterator[bytes]:
    try:
        with path.open("rb") as file:
            while content := file.read(size):
                yield content
    except OSError as error:
        refuse(error)


def lines_of(pieces: Iterable[str]) -> Iterator[str]:
    r"""Yield the lines of a text, without their ends, that comes in pieces.

    >>> list(lines_of(["one\ntw", "o\n\nthree"]))
    ['one', 'two', '', 'three']
    """
    rest = ""
    for piece in pieces:
        *whole, rest = (rest + piece).split("\n")
        yield from whole
    yield rest


def stream_table(path: Path, column: str | None) -> Iterator[str]:
    """Yield the texts in one column of a .jsonl, .csv, .tsv or .parquet file.

    The column is the wanted one, or "text", or the longest strings: by the first
    thousand rows, while `files.read_table` looks at all.
    """
    readers = {".jsonl": _json_texts, ".parquet": _parquet_texts}
    return readers.get(path.suffix.lower(), _csv_texts)(path, column)


def _json_texts(path: Path, wanted: str | None) -> Iterator[str]:
    import pandas

    numbered = enumerate(lines_of(decoded(path, 1 << 20)), start=1)
    rows = ((n, json_row(path, n, line)) for n, line in numbered if line.strip())
    sample = list(islice(rows, SAMPLE))
    table = pandas.DataFrame([row for _, row in sample])
    column = text_column(table, wanted, str(path))
    for number, row in chain(sample, rows):
        text = row.get(column)
        if isinstance(text, str):
            yield text
        elif text is not None and text == text:  # NaN, which is missing, is not
            raise ValueError(
                f"{path}: line {number} has {json.dumps(text)[:50]} in the column "
                f"{column!r}: expected a text, or null"
            )


def _csv_texts(path: Path, wanted: str | None) -> Iterator[str]:
    import pandas

    options = dict(
        sep="\t" if path.suffix.lower() == ".tsv" else ",",
        index_col=False,
        keep_default_na=False,  # the word "null" is a text,
        na_values=[""],  # and only an empty cell is missing
    )
    with _complaints_of_pandas(path):
        sample = pandas.read_csv(_Pieces(path), nrows=SAMPLE, **options)
    column = text_column(sample, wanted, str(path))
    options |= dict(dtype={column: str}, chunksize=SAMPLE)
    with _complaints_of_pandas(path):
        tables = pandas.read_csv(_Pieces(path), **options)
        table = next(tables, None)
    while table is not None:
        yield from table[column].dropna()
        with _complaints_of_pandas(path):
            table = next(tables, None)


@contextmanager
def _complaints_of_pandas(path: Path) -> Iterator[None]:
    from pandas.errors import EmptyDataError, ParserError, ParserWarning

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", ParserWarning)  # more cells than the header
            yield
    except (EmptyDataError, ParserError, ParserWarning) as error:
        raise not_a_table(path, error) from error


class _Pieces(io.TextIOBase):
    """Let pandas read the text of a file as `decoded` gives it."""

    def __init__(self, path: Path) -> None:
        self.pieces, self.rest = decoded(path, 1 << 20), ""

    def read(self, size: int = -1) -> str:
        """Return the next `size` characters, fewer at the end."""
        while len(self.rest) < size and (piece := next(self.pieces, "")):
            self.rest += piece
        text, self.rest = self.rest[:size], self.rest[size:]
        return text


def _parquet_texts(path: Path, wanted: str | None) -> Iterator[str]:
    import pyarrow
    from pyarrow import parquet

    try:
        with path.open("rb") as file:
            # With pre_buffer, Arrow would read all of the file ahead.
            table = parquet.ParquetFile(file, buffer_size=1 << 16, pre_buffer=False)
            empty_table = table.schema_arrow.empty_table()
            sample = next(table.iter_batches(SAMPLE), empty_table)
            column = text_column(sample.to_pandas(), wanted, str(path))
            for batch in table.iter_batches(SAMPLE, columns=[column]):
                yield from filter(None, batch.column(0).to_pylist())
    except pyarrow.ArrowException as error:
        raise not_a_table(path, error) from error
    except OSError as error:
        if error.filename:
            refuse(error)
        raise not_a_table(path, error) from error
