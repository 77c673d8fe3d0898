"""Judge the rows of a table: which columns to read, which rows to use. Lesson 07."""

import math
import os
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from llmkit.finetuning.formats import Table, read_labelled, unit

TEXT = ("text", "sentence", "review", "content", "body", "comment", "document")
LABEL = ("label", "labels", "sentiment", "class", "stars", "rating", "target")
LABEL += ("category", "polarity")
WAYS = ("refuse", "skip")
SHOWN = 5  # lines that a complaint names
_WHOLE = re.compile(r"[+-]?[0-9]{1,18}(\.0*)?")
_NUMBER = re.compile(r"[+-]?[0-9]*\.[0-9]+")


class Skipped(NamedTuple):
    """Name a row that was left out, and why."""

    line: int
    reason: str


class Row(NamedTuple):
    """Hold what is read of a row."""

    line: int
    text: str
    label: str
    tags: tuple[str, ...]
    split: str  # as the file says it; "" where it does not


@dataclass(frozen=True)
class Rows:
    """Hold the usable rows of a source, in their order."""

    source: str
    kept: tuple[Row, ...]
    skipped: tuple[Skipped, ...] = ()
    classes: tuple[str, ...] = ()  # in the order that the source declares, if it does


def read_rows(
    source: str | Path,
    text: str | None = None,
    label: str | None = None,
    bad_rows: str = "refuse",
) -> Rows:
    """Read the rows of a source; refuse or skip those without a text or a label.

    Raises ValueError for a source that cannot be read, for columns that are not there,
    for a way with bad rows that is none of "refuse" and "skip", for bad rows unless
    they are to be skipped, and where no row is left.
    """
    if bad_rows not in WAYS:
        raise ValueError(f"bad_rows is {bad_rows!r}: expected {' or '.join(WAYS)}")
    source, column = _source_and_column(str(source))
    table = read_labelled(source)
    if not table.lines:
        raise ValueError(f"{source}: it has no rows: expected labelled texts")
    text, label = _columns(table, text or column, label, source)
    aside = table.columns.keys() & {"tags", "tag", "split"} - {text, label}
    kept, skipped = [], []
    for place, line in enumerate(table.lines):
        words = table.columns[text][place]
        name, fault = class_name(table.columns[label][place])
        if reason := _fault_of_text(words) or fault:
            skipped.append(Skipped(line, reason))
        else:
            said = {each: table.columns[each][place] for each in aside}
            split = str(said.get("split") or "").strip()
            kept.append(Row(line, words.strip(), name, _tags(said), split))
    if skipped and bad_rows == "refuse":
        raise _bad_rows(source, skipped)
    if not kept:
        raise ValueError(
            f"{source}: no row is left, as all were skipped ({by_reason(skipped)}): "
            "expected labelled texts"
        )
    return Rows(source, tuple(kept), tuple(skipped), table.classes.get(label, ()))


def class_name(label: object) -> tuple[str, str]:
    """Return the name of the class that a label means, and what is wrong with it.

    A word is its own name. A whole number is its digits, be it written 1, 1.0 or "1",
    and a boolean is "true" or "false".

    >>> [class_name(label)[0] for label in ("good", " 1", 1.0, True, "False")]
    ['good', '1', '1', 'true', 'false']
    >>> class_name(None), class_name("0.5")
    (('', 'no label'), ('', 'a label that is no whole number'))
    """
    if isinstance(label, bool):
        return str(label).lower(), ""
    if isinstance(label, float) and label.is_integer():
        return str(int(label)), ""
    if isinstance(label, int):
        return str(label), ""
    if label is None or _is_nan(label):
        return "", "no label"
    word = " ".join(str(label).split())
    if isinstance(label, float) or _is_broken(word):
        return "", "a label that is no whole number"
    if not isinstance(label, str):
        return "", f"a {_kind(label)} for a label"
    if _is_whole(word):
        return str(int(word.partition(".")[0])), ""
    truth = word.lower() in ("true", "false")
    return (word.lower() if truth else word), "" if word else "no label"


def class_names(labels: Iterable[str]) -> tuple[str, ...]:
    """Return the classes in their order: that of numbers if all are, else of words.

    >>> class_names(["10", "9", "10"]), class_names(["positive", "negative"])
    (('9', '10'), ('negative', 'positive'))
    """
    names = sorted(set(labels))
    return tuple(sorted(names, key=int) if all(map(_is_whole, names)) else names)


def by_reason(skipped: Sequence[Skipped]) -> str:
    """Count rows by the reason for which they were left out, in words.

    >>> by_reason([Skipped(4, "empty text"), Skipped(9, "no label")])
    '1 empty text, 1 no label'
    """
    counts = Counter(each.reason for each in skipped)
    return ", ".join(f"{n:,} {reason}" for reason, n in counts.most_common())


def lines_of(lines: Sequence[int], source: str) -> str:
    """Name the first of some lines.

    >>> lines_of([4], "a.csv"), lines_of(range(1, 10), "a.parquet")
    ('line 4', 'rows 1, 2, 3, 4, 5, …')
    """
    numbers = ", ".join(map(str, lines[:SHOWN])) + ", …" * (len(lines) > SHOWN)
    return f"{unit(source)}{'s' * (len(lines) > 1)} {numbers}"


def _is_whole(word: str) -> bool:
    return _WHOLE.fullmatch(word) is not None


def _is_broken(word: str) -> bool:
    return _NUMBER.fullmatch(word) is not None and not _is_whole(word)


def _is_nan(value: object) -> bool:
    return isinstance(value, float) and math.isnan(value)


def _kind(value: object) -> str:
    kinds = {list: "list", dict: "dictionary", bool: "boolean", int: "number"}
    return (kinds | {float: "number"}).get(type(value), type(value).__name__)


def _fault_of_text(text: object) -> str:
    if text is None or _is_nan(text):
        return "empty text"
    if not isinstance(text, str):
        return f"a {_kind(text)} for a text"
    return "" if text.strip() else "empty text"


def _tags(said: dict[str, object]) -> tuple[str, ...]:
    """Return the words of the columns "tags" and "tag": lists, or with commas."""
    found = []
    for value in (said.get("tags"), said.get("tag")):
        several = value if isinstance(value, list) else [value]
        several = [x for x in several if x is not None and not _is_nan(x)]
        words = ",".join(map(str, several)).split(",")
        found += [word.strip(" []'\"") for word in words]  # a list, as pandas writes it
    return tuple(dict.fromkeys(filter(None, found)))


def _source_and_column(source: str) -> tuple[str, str | None]:
    """Return a source, and the column of texts that may stand after its "#"."""
    if "#" not in source or Path(os.path.expanduser(source)).exists():
        return source, None
    source, _, column = source.rpartition("#")
    return source, column


def _columns(
    table: Table, text: str | None, label: str | None, source: str
) -> tuple[str, str]:
    """Choose the columns of the texts and of the labels."""
    by_name = {name.lower(): name for name in reversed(table.columns) if name != text}
    wanted, label = label, label or next(filter(None, map(by_name.get, LABEL)), None)
    if label not in table.columns:
        raise _no_column(table, source, "label", wanted)
    wanted, text = text, text or _column_of_texts(table, label)
    if text not in table.columns:
        raise _no_column(table, source, "text", wanted)
    if text == label:
        raise ValueError(
            f"{source}: the column {text!r} is to be text and label at once: name two "
            f"of {_named(table)} with --text COLUMN and --label COLUMN"
        )
    return text, label


def _column_of_texts(table: Table, label: str) -> str | None:
    """Return the column with a usual name, or else that of the longest strings."""
    lengths = {}
    for name, column in table.columns.items():
        found = [len(cell) for cell in column if isinstance(cell, str)]
        if name not in (label, "tags", "tag", "split") and (found or name == "text"):
            lengths[name] = sum(found) / max(len(found), 1)
    by_name = {name.lower(): name for name in reversed(lengths)}
    usual = next(filter(None, map(by_name.get, TEXT)), None)
    return usual or max(lengths, key=lengths.get, default=None)


def _no_column(table: Table, source: str, kind: str, wanted: str | None) -> ValueError:
    return ValueError(
        f"{source}: no column {f'{wanted!r}' if wanted else f'of {kind}s'}: its "
        f"columns are {_named(table)}: name that of the {kind}s with --{kind} COLUMN"
    )


def _named(table: Table) -> str:
    return ", ".join(map(repr, table.columns)) or "none"


def _bad_rows(source: str, skipped: list[Skipped]) -> ValueError:
    first = [f"{unit(source)} {line} ({why})" for line, why in skipped[:SHOWN]]
    more = ", …" * (len(skipped) > SHOWN)
    return ValueError(
        f"{source}: {len(skipped):,} row{'s' * (len(skipped) > 1)} can't be used "
        f"({by_reason(skipped)}): {', '.join(first)}{more}; mend them or skip them "
        "with --bad-rows skip"
    )
