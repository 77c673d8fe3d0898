"""Look at labelled texts before a model does: balance, lengths, copies, leaks.

Source: Lesson 07; for copies and leaks, Lesson 04.
"""

import math
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations

from llmkit.corpus.duplicates import fingerprint, near_duplicates
from llmkit.finetuning.examples import SPLITS, Examples, Splits
from llmkit.finetuning.formats import unit
from llmkit.finetuning.rows import by_reason, lines_of

NEAR = 0.6  # the similarity from which texts nearly stand for each other
MOST = 50_000  # different texts among which near copies are looked for
UNEVEN = 5  # times as many rows in the largest class as in the smallest
SHOWN = 12  # classes in the table


@dataclass(frozen=True)
class Lengths:
    """Say how long the texts of a split are, in words or in tokens."""

    median: int
    p95: int  # no more than 5% of the texts are longer
    longest: int
    cut: int = 0  # texts that are longer than the limit


@dataclass(frozen=True)
class DataReport:
    """Hold what is to be known of some splits; as a string, a table and the warnings.

    Each dictionary has the names of the splits for keys.
    """

    names: tuple[str, ...]  # of the classes
    counts: dict[str, tuple[int, ...]]  # rows of each class
    lengths: dict[str, Lengths]
    measure: str  # of the lengths: "words" or "tokens"
    limit: int | None  # the most tokens that the model reads of a text
    skipped: dict[str, str]  # rows that were left out, by reason, if any were
    copies: int  # rows of training that say what an earlier one says
    near_copies: int | None  # that nearly do; None where there are too many to compare
    warnings: tuple[str, ...]

    def __str__(self) -> str:
        rows = [("", *self.counts), ("rows", *self._sums()), *self._classes()]
        for name, value in (
            ("median", "median"),
            ("95%", "p95"),
            ("longest", "longest"),
        ):
            numbers = [getattr(each, value) for each in self.lengths.values()]
            rows.append((f"{self.measure}: {name}", *numbers))
        if self.limit is not None:
            cut = [each.cut for each in self.lengths.values()]
            rows.append((f"over {self.limit} tokens", *cut))
        near = self.near_copies
        rows.append(("copies", self.copies))
        rows.append(("near copies", "not counted" if near is None else near))
        lines = []
        for name, *cells in rows:
            texts = [f"{x:,}" if isinstance(x, int) else x for x in cells]
            lines.append(f"{name:<20}" + "".join(f"{x:>15}" for x in texts))
        lines += [f"skipped of {split}: {why}" for split, why in self.skipped.items()]
        return "\n".join([*lines, *(f"warning: {each}" for each in self.warnings)])

    def _sums(self) -> Iterator[int]:
        return map(sum, self.counts.values())

    def _classes(self) -> Iterator[tuple[str, ...]]:
        """Yield a row of the table for each class, up to so many."""
        for c, name in enumerate(self.names[:SHOWN]):
            shares = zip(self.counts.values(), self._sums())
            cells = [f"{n[c]:,} {n[c] / all_:>6.1%}" for n, all_ in shares]
            yield (f"  {name if len(name) < 18 else name[:16] + '…'}", *cells)
        if (rest := len(self.names) - SHOWN) > 0:
            ends = [(min(n[SHOWN:]), max(n[SHOWN:])) for n in self.counts.values()]
            yield (f"  {rest:,} classes more", *(f"{a:,} to {b:,}" for a, b in ends))


def report(
    splits: Splits,
    tokenizer: Callable[[str], int] | None = None,
    limit: int | None = None,
) -> DataReport:
    """Report on rows, classes, lengths, copies and leaks, with what is wrong in words.

    Lengths are in words; with a `tokenizer`, which counts the tokens that a model would
    read of a text, in tokens, and the texts above `limit` are counted. Texts are equal
    if they differ in spaces and capitals alone, and nearly equal if they share 60% of
    their runs of three words (see `corpus.near_duplicates`, with `first_only`). Of more
    than 50,000 different texts only equal ones are found.

    Raises ValueError for a limit without a tokenizer.

    >>> films = Examples("a.csv", ("A joy.", "A bore."), (1, 0), ("bad", "good"))
    >>> print(report(Splits(films, films.take([1]))))
                                  train     validation
    rows                              2              1
      bad                       1 50.0%       1 100.0%
      good                      1 50.0%       0   0.0%
    words: median                     2              2
    words: 95%                        2              2
    words: longest                    2              2
    copies                            0
    near copies                       0
    warning: 1 row of validation also stands in training (line 2): what the model
    scores on it is memory: take it out of one side
    """
    if limit is not None and tokenizer is None:
        raise ValueError(
            f"limit is {limit}, in tokens: expected a tokenizer too, which counts the "
            "tokens of a text"
        )
    parts = {name: part for name in SPLITS if (part := getattr(splits, name))}
    names = splits.train.names
    counts = {
        name: tuple(map(Counter(part.labels).__getitem__, range(len(names))))
        for name, part in parts.items()
    }
    lengths = {name: _lengths(p.texts, tokenizer, limit) for name, p in parts.items()}
    copies = _Copies(parts)
    warnings = [
        *_cut(lengths, counts, limit),
        *_uneven(names, counts["train"]),
        *copies.conflicts(),
        *copies.leaks(),
    ]
    return DataReport(
        names=names,
        counts=counts,
        lengths=lengths,
        measure="tokens" if tokenizer else "words",
        limit=limit,
        skipped={n: by_reason(p.skipped) for n, p in parts.items() if p.skipped},
        copies=copies.equal_in_training,
        near_copies=copies.near_in_training,
        warnings=tuple(warnings),
    )


def _lengths(
    texts: Sequence[str], count: Callable[[str], int] | None, limit: int | None
) -> Lengths:
    count = count or (lambda text: len(text.split()))
    ranked = sorted(map(count, texts))
    median, p95 = (ranked[math.ceil(q * len(ranked)) - 1] for q in (0.5, 0.95))
    cut = sum(length > limit for length in ranked) if limit is not None else 0
    return Lengths(median, p95, ranked[-1], cut)


def _cut(
    lengths: dict[str, Lengths], counts: dict[str, tuple[int, ...]], limit: int | None
) -> Iterator[str]:
    cut = sum(each.cut for each in lengths.values())
    if cut:
        share = cut / sum(map(sum, counts.values()))
        yield (
            f"{cut:,} text{'s' * (cut > 1)} ({share:.1%}) {'are' if cut > 1 else 'is'} "
            f"cut to {limit} tokens: the model does not see the rest"
        )


def _uneven(names: Sequence[str], counts: Sequence[int]) -> Iterator[str]:
    few, many = min(counts), max(counts)
    if many >= UNEVEN * few:
        yield (
            f"training has {few:,} rows of {names[counts.index(few)]!r} and {many:,} "
            f"of {names[counts.index(many)]!r}: weigh the classes, and read macro F1 "
            "beside accuracy"
        )


class _Copies:
    """Know which rows say the same, or nearly, within the splits and across them.

    A text is known by its number among those that differ, in the order of the splits.
    """

    def __init__(self, parts: dict[str, Examples]):
        self.parts = parts
        number: dict[bytes, int] = {}
        self.texts: list[str] = []
        self.of: dict[str, list[int]] = {}  # of each row of a split, its text
        for name, part in parts.items():
            self.of[name] = []
            for text in part.texts:
                key = fingerprint(text)
                if key not in number:
                    number[key] = len(self.texts)
                    self.texts.append(text)
                self.of[name].append(number[key])
        self.equal_in_training = len(self.of["train"]) - len(set(self.of["train"]))

    @cached_property
    def near(self) -> dict[int, list[int]] | None:
        """Return the texts that are like a text; None if there are too many texts."""
        if len(self.texts) > MOST:
            return None
        near: dict[int, list[int]] = {}
        for one, other, _ in near_duplicates(self.texts, NEAR, first_only=True):
            near.setdefault(one, []).append(other)
            near.setdefault(other, []).append(one)
        return near

    @property
    def near_in_training(self) -> int | None:
        """Count the different texts of training that are like an earlier one."""
        if self.near is None:
            return None
        texts = set(self.of["train"])
        return sum(min(self.near[text]) < text for text in texts & self.near.keys())

    def leaks(self) -> Iterator[str]:
        """Say which rows stand in a split before theirs, too."""
        for base, held in combinations(self.parts, 2):
            part, known = self.parts[held], set(self.of[base])
            where = "training" if base == "train" else base
            rows = [*zip(part.lines, self.of[held])]
            equal = [line for line, text in rows if text in known]
            if equal:
                s, them = ("s", "them") if equal[1:] else ("", "it")
                yield (
                    f"{len(equal):,} row{s} of {held} also stand{'s' * (not s)} in "
                    f"{where} ({lines_of(equal, part.source)}): what the model scores "
                    f"on {them} is memory: take {them} out of one side"
                )
            like = self.near or {}
            near = [
                (line, twin)
                for line, text in rows
                if text not in known
                and (twin := next(filter(known.__contains__, like.get(text, ())), None))
                is not None
            ]
            if near:
                yield self._nearly(held, base, where, near)

    def _nearly(
        self, held: str, base: str, where: str, near: list[tuple[int, int]]
    ) -> str:
        here, there = self.parts[held], self.parts[base]
        twin = there.lines[self.of[base].index(near[0][1])]
        s = "s" * (len(near) > 1)
        return (
            f"{len(near):,} row{s} of {held} nearly stand{'s' * (not s)} in {where} "
            f"({lines_of([line for line, _ in near], here.source)}; the first is like "
            f"{unit(there.source)} {twin} of {where}): look at them, and take copies "
            "out of one side"
        )

    def conflicts(self) -> Iterator[str]:
        """Say which texts have more than one label."""
        labels: dict[int, dict[int, str]] = {}
        for name, part in self.parts.items():
            for text, label, line in zip(self.of[name], part.labels, part.lines):
                place = f"{unit(part.source)} {line} of {name} {part.names[label]!r}"
                labels.setdefault(text, {}).setdefault(label, place)
        torn = [places for places in labels.values() if len(places) > 1]
        if torn:
            first = " and ".join(torn[0].values())
            yield (
                f"{len(torn):,} text{'s' * (len(torn) > 1)} stand"
                f"{'s' * (len(torn) == 1)} with more than one label (the first is at "
                f"{first}): no model gets each right: keep one label, or leave the "
                "text out"
            )
