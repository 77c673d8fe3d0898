"""Read the labelled rows of a file or a dataset, with the number of each row's line.

One reader for each format, and nothing judged yet: see `rows`. Lesson 07.
"""

import csv
import difflib
import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from llmkit.corpus import reviews_path
from llmkit.corpus.files import json_row, not_a_table, read_text, refuse
from llmkit.corpus.hub import hub_dataset

if TYPE_CHECKING:
    import pyarrow

ENDINGS = (".txt", ".csv", ".tsv", ".jsonl", ".parquet")


@dataclass(frozen=True)
class Table:
    """Hold rows as they stand, column by column; a missing cell is None.

    >>> Table({"label": ["0"], "text": ["A bore."]}, lines=(1,)).columns["text"]
    ['A bore.']
    """

    columns: dict[str, list]
    lines: tuple[int, ...]  # of the file where a row begins, or else its number, from 1
    classes: dict[str, tuple[str, ...]] = field(default_factory=dict)  # in their order


def read_labelled(source: str) -> Table:
    """Read "reviews", a .txt, .csv, .tsv, .jsonl or .parquet file, or hub:NAME.

    A .txt file has lines of a label, a space and a text: its first word is the label.
    A .csv or .tsv file names its columns in its first line, and each of its cells is
    text; a .tsv file may have quotation marks that quote nothing. hub:NAME is
    hub:NAME[/CONFIG][:SPLIT], and nothing that a dataset brings along is executed.

    Raises ValueError for what does not exist or is not well-formed.
    """
    if source.startswith("hub:"):
        return _hub(source)
    path = reviews_path() if source == "reviews" else Path(os.path.expanduser(source))
    readers = (_txt, _csv, _tsv, _jsonl, _parquet)
    reader = dict(zip(ENDINGS, readers)).get(path.suffix.lower())
    if not source or not path.exists():
        raise _missing(source, path)
    if path.is_dir():
        raise ValueError(
            f"{source}: a folder: expected one file; give others with --validation "
            "and --test"
        )
    if reader is None:
        raise ValueError(
            f"{source}: cannot read labels from a file that ends in "
            f"{path.suffix.lower()!r}: expected one of {', '.join(ENDINGS)}"
        )
    return reader(path)


def unit(source: str) -> str:
    """Return what `Table.lines` counts in this source: "line" or "row".

    >>> unit("films.csv"), unit("films.parquet"), unit("hub:films")
    ('line', 'row', 'row')
    """
    by_row = source.startswith("hub:") or source.lower().endswith(".parquet")
    return "row" if by_row else "line"


def _missing(source: str, path: Path) -> ValueError:
    beside = [str(path.parent / each.name) for each in path.parent.glob("*")]
    near = difflib.get_close_matches(source, ["reviews", *beside], n=1)
    return ValueError(
        f"no labelled texts {source!r}: there is no such file: expected 'reviews', "
        f"hub:NAME, or a file that ends in one of {', '.join(ENDINGS)}"
        + (f"; did you mean {near[0]!r}?" if near else "")
    )


def _txt(path: Path) -> Table:
    numbered = enumerate(read_text(path).split("\n"), start=1)
    split = [(n, *line.split(maxsplit=1)) for n, line in numbered if line.strip()]
    rows = [(n, label, *(text or [None])) for n, label, *text in split]
    lines, labels, texts = zip(*rows)
    return Table({"label": list(labels), "text": list(texts)}, lines)


def _csv(path: Path) -> Table:
    return _cells(path, delimiter=",")


def _tsv(path: Path) -> Table:
    try:
        return _cells(path, delimiter="\t")
    except csv.Error:  # many a .tsv file does not quote, and its texts have quotes
        return _cells(path, delimiter="\t", quoting=csv.QUOTE_NONE)


def _cells(path: Path, **dialect: object) -> Table:
    """Read a table of cells; all are text, and an empty one is missing."""
    lines, rows = [], []
    with _fields_of_any_length():
        reader = csv.reader(io.StringIO(read_text(path)), strict=True, **dialect)
        try:
            while True:
                lines.append(reader.line_num + 1)
                rows.append([cell or None for cell in next(reader)])
        except StopIteration:
            pass
        except csv.Error as error:
            if dialect["delimiter"] == "\t" and "quoting" not in dialect:
                raise
            raise ValueError(
                f"{path}: not well-formed from line {lines[-1]} on: {error}: quote a "
                'cell as a whole, and write " as "" in it'
            ) from error
    numbered = [(n, row) for n, row in zip(lines, rows) if row]  # no line is blank
    names = [name or "" for name in numbered.pop(0)[1]]
    for n, row in numbered:
        if len(row) > len(names):
            raise ValueError(
                f"{path}: line {n} has {len(row)} cells, and the first line names "
                f"{len(names)} columns: put quotation marks around a text that holds "
                f"the separator {dialect['delimiter']!r}"
            )
        row += [None] * (len(names) - len(row))
    _check_names(path, names)
    columns = {name: [row[i] for _, row in numbered] for i, name in enumerate(names)}
    return Table(columns, tuple(n for n, _ in numbered))


@contextmanager
def _fields_of_any_length() -> Iterator[None]:
    """Lift the limit of Python's csv on the length of a cell, for a while."""
    before = csv.field_size_limit(min(sys.maxsize, 2**31 - 1))
    try:
        yield
    finally:
        csv.field_size_limit(before)


def _check_names(path: Path, names: list[str]) -> None:
    if twice := {name for name in names if names.count(name) > 1}:
        raise ValueError(
            f"{path}: two columns are called {min(twice)!r}: expected a first line "
            "that names each column, and each by another name"
        )


def _jsonl(path: Path) -> Table:
    numbered = enumerate(read_text(path).split("\n"), start=1)
    rows = [(n, json_row(path, n, line)) for n, line in numbered if line.strip()]
    names = dict.fromkeys(name for _, row in rows for name in row)
    columns = {name: [row.get(name) for _, row in rows] for name in names}
    return Table(columns, tuple(n for n, _ in rows))


def _parquet(path: Path) -> Table:
    import pyarrow
    from pyarrow import parquet

    try:
        with path.open("rb") as file:
            return _arrow(parquet.read_table(file))
    except (pyarrow.ArrowException, ValueError) as error:
        raise not_a_table(path, error) from error
    except OSError as error:
        if error.filename:
            refuse(error)
        raise not_a_table(path, error) from error


def _arrow(table: "pyarrow.Table") -> Table:
    return Table(table.to_pydict(), tuple(range(1, table.num_rows + 1)))


def _hub(source: str) -> Table:
    dataset = hub_dataset(source)
    from datasets import ClassLabel

    table = _arrow(dataset.with_format("arrow")[:])  # so that no picture is decoded
    features = dataset.features.items()
    classes = {k: tuple(v.names) for k, v in features if isinstance(v, ClassLabel)}
    for column, names in classes.items():
        numbers = table.columns[column]  # a number below 0 says that there is no label
        known = [None if n is None or n < 0 else names[n] for n in numbers]
        table.columns[column] = known
    return Table(table.columns, table.lines, classes)
