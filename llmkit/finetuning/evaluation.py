"""How good a classifier is: scores with intervals, errors one by one. Lesson 07.

One number says little. So each comes with how far it may be off; then which class is
taken for which, whether confidence can be trusted, which kinds of text are hard, and
the mistakes that the classifier is most sure of.
"""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from torch import Tensor

from llmkit.metrics import (
    Calibration,
    Interval,
    bootstrap_counts,
    calibration_error,
    confusion,
    mean_f1,
    wilson_interval,
)
from llmkit.metrics.classes import as_numbers

if TYPE_CHECKING:
    from llmkit.finetuning.examples import Examples

UNTAGGED = "none"


@dataclass(frozen=True)
class TagScore:
    """How often texts of one kind are classified right."""

    tag: str
    n: int
    accuracy: Interval


@dataclass(frozen=True)
class Mistake:
    """A text that was taken for another class, and how sure the classifier was."""

    text: str
    true: str
    predicted: str
    confidence: float
    tags: tuple[str, ...]
    line: int


@dataclass(frozen=True, eq=False)
class Evaluation:
    """What a classifier scores on examples that it was not trained on.

    report: scikit-learn's table of precision, recall and F1; confusion: (C, C), a row a
    true class, a column a guessed one; by_tag: one score a tag, and one, "none", of the
    texts without, empty where no text has a tag; mistakes: the most confident first.
    """

    names: tuple[str, ...]
    accuracy: Interval
    macro_f1: Interval
    report: str
    confusion: Tensor
    calibration: Calibration
    by_tag: tuple[TagScore, ...]
    mistakes: tuple[Mistake, ...]

    def errors(self, n: int = 10) -> tuple[Mistake, ...]:
        """Return the n mistakes that the classifier was most sure of."""
        return self.mistakes[:n]

    def as_dict(self) -> dict:
        """Return the scores as JSON takes them; an empty bin's means are None."""
        bins = self.calibration
        return {
            "examples": int(self.confusion.sum()),
            "names": list(self.names),
            "accuracy": self.accuracy.value,
            "accuracy_interval": [self.accuracy.low, self.accuracy.high],
            "macro_f1": self.macro_f1.value,
            "macro_f1_interval": [self.macro_f1.low, self.macro_f1.high],
            "calibration_error": bins.error,
            "calibration": {
                "counts": list(bins.counts),
                "confidence": [None if math.isnan(x) else x for x in bins.confidence],
                "accuracy": [None if math.isnan(x) else x for x in bins.accuracy],
            },
            "confusion": self.confusion.tolist(),
            "by_tag": [
                {
                    "tag": row.tag,
                    "n": row.n,
                    "accuracy": row.accuracy.value,
                    "accuracy_interval": [row.accuracy.low, row.accuracy.high],
                }
                for row in self.by_tag
            ],
        }

    def __str__(self) -> str:
        total, wrong = int(self.confusion.sum()), len(self.mistakes)
        lines = [
            f"{total:,} examples, {wrong:,} wrong; in brackets 95% intervals",
            f"accuracy           {self.accuracy}",
            f"macro F1           {self.macro_f1}",
            f"calibration error  {self.calibration.error:.3f}",
            *_table("true \\ guessed", self.names, self.confusion.tolist()),
        ]
        width = max((len(row.tag) for row in self.by_tag), default=0)
        lines += [
            f"{row.tag:<{width}}  {row.n:>6,}  {row.accuracy}" for row in self.by_tag
        ]
        return "\n".join(lines)


def evaluate_classes(probabilities, examples: "Examples") -> Evaluation:
    """Judge probabilities by the labels of their examples.

    probabilities: (N, C), such as `predict` returns, a row an example.

    The intervals of accuracy and macro F1 are bootstrapped; those by tag, where there
    may be few texts, are Wilson's.

    Raises: ValueError if there is not a row for each example and a column for each
    class.
    Source: Lesson 07.

    >>> from llmkit.finetuning.examples import Examples
    >>> texts = Examples("films.csv", ("A joy.", "No joy."), (1, 0), ("bad", "good"))
    >>> found = evaluate_classes([[0.1, 0.9], [0.3, 0.7]], texts)
    >>> found.accuracy.value, found.errors()[0].text, found.errors()[0].confidence
    (0.5, 'No joy.', 0.7)
    """
    p, C = as_numbers(probabilities), len(examples.names)  # (N, C)
    if p.shape != (len(examples), C):
        raise ValueError(
            f"{len(examples)} examples of {C} classes need probabilities "
            f"{(len(examples), C)}: got {tuple(p.shape)}"
        )
    calibration = calibration_error(p, examples.labels)  # looks at the rows first
    guesses, labels = p.argmax(dim=1), as_numbers(examples.labels)  # (N,) each
    right = guesses == labels  # (N,)
    counts = confusion(guesses, labels, C)  # (C, C)
    return Evaluation(
        names=tuple(examples.names),
        accuracy=bootstrap_counts(counts, lambda t: t.trace().item() / len(right)),
        macro_f1=bootstrap_counts(counts, mean_f1),
        report=_report(guesses, labels, examples.names),
        confusion=counts,
        calibration=calibration,
        by_tag=_by_tag(right, examples.tags),
        mistakes=_mistakes(p, right, examples),
    )


def _report(guesses: Tensor, labels: Tensor, names: tuple[str, ...]) -> str:
    from sklearn.metrics import classification_report

    return classification_report(
        labels,
        guesses,
        labels=range(len(names)),
        target_names=names,
        digits=3,
        zero_division=0,
    )


def _by_tag(right: Tensor, tags: tuple[tuple[str, ...], ...]) -> tuple[TagScore, ...]:
    """Score the texts of each tag, by its name, and last those that have none."""
    found: dict[str, list[bool]] = {}
    for hit, of_text in zip(right.tolist(), tags):
        for tag in of_text or (UNTAGGED,):
            found.setdefault(tag, []).append(hit)
    if found.keys() == {UNTAGGED}:
        return ()
    order = sorted(found, key=lambda tag: (tag == UNTAGGED, tag))
    return tuple(
        TagScore(tag, len(hits), wilson_interval(sum(hits), len(hits)))
        for tag, hits in ((tag, found[tag]) for tag in order)
    )


def _mistakes(p: Tensor, right: Tensor, examples: "Examples") -> tuple[Mistake, ...]:
    confidence, guesses = p.max(dim=1)  # (N,) each
    wrong = (~right).nonzero().flatten().tolist()
    wrong.sort(key=lambda i: -confidence[i].item())  # stable: then by place
    return tuple(
        Mistake(
            text=examples.texts[i],
            true=examples.names[examples.labels[i]],
            predicted=examples.names[int(guesses[i])],
            confidence=confidence[i].item(),
            tags=tuple(examples.tags[i]),
            line=examples.lines[i],
        )
        for i in wrong
    )


def _table(corner: str, names: tuple[str, ...], rows: list[list[int]]) -> list[str]:
    """Return the lines of a table of counts with named rows and columns."""
    first = max(map(len, (corner, *names)))
    widths = [max(len(name), 6) for name in names]
    lines = [(corner, names), *zip(names, ([f"{n:,}" for n in row] for row in rows))]
    return [
        f"{head:<{first}}" + "".join(f"  {x:>{w}}" for x, w in zip(cells, widths))
        for head, cells in lines
    ]
