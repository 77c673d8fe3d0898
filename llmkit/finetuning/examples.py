"""Labelled texts, from wherever they come, in splits that share no text. Lesson 07."""

import random
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from llmkit.corpus.duplicates import fingerprint
from llmkit.finetuning.formats import unit
from llmkit.finetuning.rows import (
    Row,
    Rows,
    Skipped,
    class_name,
    class_names,
    lines_of,
    read_rows,
)

SPLITS = ("train", "validation", "test")
_SPLIT_NAMES = {"train": 0, "training": 0, "test": 2, "testing": 2}
_SPLIT_NAMES |= dict.fromkeys(("validation", "valid", "val", "dev"), 1)


@dataclass(frozen=True)
class Examples:
    """Hold labelled texts, in the order of their file.

    >>> films = Examples("films.csv", ("A joy.", "A bore."), (1, 0), ("bad", "good"))
    >>> len(films), films.names[films.labels[0]], films.take([1]).texts
    (2, 'good', ('A bore.',))
    """

    source: str
    texts: tuple[str, ...]
    labels: tuple[int, ...]  # class numbers
    names: tuple[str, ...]  # names[c] is the name of class c
    tags: tuple[tuple[str, ...], ...] = ()  # of each text, why it is hard
    lines: tuple[int, ...] = ()  # of the file, or numbers of rows, from 1
    skipped: tuple[Skipped, ...] = ()  # rows that were left out by choice

    def __post_init__(self) -> None:
        """Let each text have a line and tags, if only none.

        Raises ValueError for fields of unequal lengths, and for labels without a name.
        """
        n = len(self.texts)
        object.__setattr__(self, "tags", self.tags or ((),) * n)
        object.__setattr__(self, "lines", self.lines or tuple(range(1, n + 1)))
        lengths = [n, len(self.labels), len(self.tags), len(self.lines)]
        if len(set(lengths)) > 1:
            raise ValueError(
                "texts, labels, tags and lines have the lengths "
                f"{', '.join(map(str, lengths))}: expected one of each for a text"
            )
        if wrong := set(self.labels) - set(range(len(self.names))):
            raise ValueError(
                f"labels hold {min(wrong)}: expected class numbers from 0 to "
                f"{len(self.names) - 1}, for the names {', '.join(self.names)}"
            )

    def __len__(self) -> int:
        """Return the number of texts."""
        return len(self.texts)

    def take(self, places: Sequence[int]) -> "Examples":
        """Return the examples at these places, without what was skipped."""
        fields = ("texts", "labels", "tags", "lines")
        taken = {name: tuple(getattr(self, name)[i] for i in places) for name in fields}
        return replace(self, skipped=(), **taken)


@dataclass(frozen=True)
class Splits:
    """Hold the examples to train on, to choose by, and to report on."""

    train: Examples
    validation: Examples
    test: Examples | None = None


def read_examples(
    source: str | Path,
    *,
    text: str | None = None,
    label: str | None = None,
    names: Sequence[str] | None = None,
    bad_rows: str = "refuse",
) -> Examples:
    """Read labelled texts: "reviews", a file, or hub:NAME[/CONFIG][:SPLIT].

    A file ends in .csv, .tsv, .jsonl, .parquet, or is a .txt with lines of a label, a
    space and a text. `text` and `label` name columns; unless told, the texts are in
    "text", another usual name or the longest strings, the labels in "label" or another
    usual name. Columns "tags" and "tag" say why a text is hard. A label is a whole
    number, a boolean or a word. Space around a text goes.

    The classes are `names`, in this order; unless told, those of the hub's ClassLabel
    that occur, or else the labels, sorted. A row without a text or a label is refused,
    or left out with bad_rows="skip".

    Raises ValueError for what cannot be read, for bad rows that are not to be skipped,
    for a label outside `names`, and for fewer than two classes.

    >>> examples = read_examples("reviews")
    >>> examples.names, examples.tags[0]
    (('negative', 'positive'), ())
    """
    rows = read_rows(source, text, label, bad_rows)
    names = _classes(rows, rows.kept) if names is None else _declared(names)
    return replace(_examples(rows, rows.kept, names), skipped=rows.skipped)


def load_splits(
    data: str | Path,
    validation: str | Path | None = None,
    test: str | Path | None = None,
    *,
    share: float = 0.1,
    seed: int = 0,
    text: str | None = None,
    label: str | None = None,
    bad_rows: str = "refuse",
) -> Splits:
    """Read the examples to train on, to choose by and to report on.

    `validation` and `test` are sources of their own. What is not given comes from the
    rows that a column "split" of `data` marks so (train, validation or dev, test).
    Without such rows there is no test, and this share of each class is held out for
    validation, drawn by `seed`; texts that are equal, but for spaces and capitals, stay
    on one side. Training says which classes there are.

    Raises ValueError as `read_examples` does, for a share outside 0 to 1, for a split
    of an unknown name, and for a class without a row in training or in validation.

    >>> splits = load_splits("reviews")
    >>> min(len(splits.validation), len(splits.test)) > 0.1 * len(splits.train)
    True
    """
    if not 0 < share < 1:
        raise ValueError(f"share is {share}: expected a number between 0 and 1")
    rows = read_rows(data, text, label, bad_rows)
    marked = _by_split(rows)
    names = _classes(rows, marked[0])
    train, *others = (_examples(rows, part, names) if part else None for part in marked)
    for i, source in enumerate((validation, test)):
        if source is not None:
            others[i] = read_examples(
                source, text=text, label=label, names=names, bad_rows=bad_rows
            )
    if others[0] is None:
        train, others[0] = _hold_out(train, share, seed)
    _check_classes(others[0])
    return Splits(replace(train, skipped=rows.skipped), *others)


def _classes(rows: Rows, used: Sequence[Row]) -> tuple[str, ...]:
    """Return the classes that occur, in the order of the source or sorted."""
    found = {row.label for row in used}
    if len(found) < 2:
        raise ValueError(
            f"{rows.source}: every row has the label {used[0].label!r} ({len(used):,} "
            "in all): expected two classes or more: add rows of another, or name "
            "another column with --label COLUMN"
        )
    return tuple(filter(found.__contains__, rows.classes)) or class_names(found)


def _declared(names: Iterable[str]) -> tuple[str, ...]:
    declared = tuple(class_name(name)[0] for name in names)
    if len(set(declared)) < max(len(declared), 2) or "" in declared:
        raise ValueError(
            f"names are {', '.join(map(repr, declared)) or 'none'}: expected two or "
            "more, none of them empty or twice"
        )
    return declared


def _examples(rows: Rows, used: Sequence[Row], names: tuple[str, ...]) -> Examples:
    number = {name: c for c, name in enumerate(names)}
    if wrong := [row for row in used if row.label not in number]:
        more = f" (one of {len(wrong):,} such rows)" if wrong[1:] else ""
        raise ValueError(
            f"{rows.source}: {unit(rows.source)} {wrong[0].line} has the label "
            f"{wrong[0].label!r}{more}: the classes, as declared or as training has "
            f"them, are {_some(names)}: mend the label, or give training such rows"
        )
    return Examples(
        source=rows.source,
        texts=tuple(row.text for row in used),
        labels=tuple(number[row.label] for row in used),
        names=names,
        tags=tuple(row.tags for row in used),
        lines=tuple(row.line for row in used),
    )


def _by_split(rows: Rows) -> tuple[list[Row], list[Row], list[Row]]:
    """Sort rows by what they say of their split; all train where none says any."""
    places = [_SPLIT_NAMES.get(row.split.lower()) for row in rows.kept]
    if set(places) == {None}:
        return list(rows.kept), [], []
    marked: tuple[list[Row], ...] = ([], [], [])
    for row, place in zip(rows.kept, places):
        if place is None:
            raise ValueError(
                f"{rows.source}: {unit(rows.source)} {row.line} has the split "
                f"{row.split!r}, while others say where they belong: expected one of "
                f"{', '.join(SPLITS)}"
            )
        marked[place].append(row)
    if not marked[0]:
        raise ValueError(
            f"{rows.source}: no row has the split 'train': mark the rows to train on, "
            "or take the column out"
        )
    return marked


def _hold_out(examples: Examples, share: float, seed: int) -> tuple[Examples, Examples]:
    """Divide examples into training and validation, each class by this share.

    Equal texts go together. Groups of them are drawn in turn, and each is held out that
    still fits; only a class that has none by then may get more than its share.
    """
    groups: dict[bytes, list[int]] = {}
    for place, text in enumerate(examples.texts):
        groups.setdefault(fingerprint(text), []).append(place)
    drawn = list(groups.values())
    random.Random(seed).shuffle(drawn)
    counts = [Counter(examples.labels[i] for i in group) for group in drawn]
    rows = Counter(examples.labels)
    wanted = {c: min(max(round(share * n), 1), n - 1) for c, n in rows.items()}
    held: Counter[int] = Counter()
    out: set[int] = set()

    def hold(g: int, most: dict[int, int]) -> None:
        """Hold out the group g, if no class then has more rows out than this."""
        if all(held[c] + n <= most[c] for c, n in counts[g].items()):
            held.update(counts[g])
            out.update(drawn[g])

    for g in range(len(drawn)):
        hold(g, wanted)
    all_but_one = {c: n - 1 for c, n in rows.items()}
    for c in sorted(c for c in rows if not held[c]):
        for g in sorted(range(len(drawn)), key=lambda g: len(drawn[g])):
            if c in counts[g] and not held[c]:
                hold(g, all_but_one)
        if not held[c]:
            raise _too_few(examples, c, counts)
    sides = [i for i in range(len(examples)) if i not in out], sorted(out)
    return examples.take(sides[0]), examples.take(sides[1])


def _too_few(examples: Examples, c: int, counts: list[Counter[int]]) -> ValueError:
    lines = [n for n, label in zip(examples.lines, examples.labels) if label == c]
    texts = Counter(label for group in counts for label in group)
    alike = sum(n < 2 for n in texts.values()) - 1
    return ValueError(
        f"{examples.source}: the class {examples.names[c]!r} has too few different "
        f"texts ({lines_of(lines, examples.source)})"
        + f", as have {alike:,} more class{'es' * (alike > 1)}"
        * (alike > 0)
        + ": each class needs one in training and one in validation: add rows of it, "
        "take it out, or give --validation FILE"
    )


def _check_classes(validation: Examples) -> None:
    found = set(validation.labels)
    if missing := [n for c, n in enumerate(validation.names) if c not in found]:
        raise ValueError(
            f"{validation.source}: validation has no row of {_some(missing)}: each "
            "class needs one there: add some, or leave validation out, so that rows "
            "of training are held out"
        )


def _some(names: Sequence[str]) -> str:
    return ", ".join(map(repr, names[:9])) + ", …" * (len(names) > 9)
