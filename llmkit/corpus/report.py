"""Count what each step took from a text, and keep examples of it.

Nothing is removed silently: the characters that came in are those that are left and
those that the steps removed. Source: Lesson 04.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

SHOWN = 60  # characters of a text in an example
KEPT = 3  # examples a step


class Example(NamedTuple):
    """Show a text before a step and after it, or the reason why it was removed."""

    before: str
    after: str


@dataclass
class Step:
    """Count the work of one step."""

    name: str
    touched: int = 0  # documents that it changed, and that went on
    removed: int = 0  # documents that it took out
    characters: int = 0  # characters that it took; below 0 where it added some
    examples: list[Example] = field(default_factory=list)

    def change(self, before: str, after: str) -> None:
        """Count a document that was changed."""
        self.touched += 1
        self.characters += len(before) - len(after)
        if len(self.examples) < KEPT:
            self.examples.append(Example(*_where_they_differ(before, after)))

    def remove(self, text: str, reason: str) -> None:
        """Count a document that was taken out."""
        self.removed += 1
        self.characters += len(text)
        if len(self.examples) < KEPT:
            self.examples.append(Example(_cut(text), _cut(reason)))


@dataclass
class Report:
    """Say what came in and what each step took of it, as it goes on.

    >>> report = Report(documents=2, characters=50)
    >>> report.step("too_short").remove("Hi.", "3 characters, fewer than 20")
    >>> report.documents_left, report.characters_left
    (1, 47)
    >>> print(report)
    step                       changed    removed   characters
    came in                                     2           50
    too_short                        0          1           -3
    left                                        1           47
    """

    documents: int = 0  # that came in
    characters: int = 0  # that came in
    steps: dict[str, Step] = field(default_factory=dict)  # in their order

    @property
    def documents_left(self) -> int:
        """Return how many documents no step removed."""
        return self.documents - sum(step.removed for step in self.steps.values())

    @property
    def characters_left(self) -> int:
        """Return how many characters are left."""
        return self.characters - sum(step.characters for step in self.steps.values())

    def step(self, name: str) -> Step:
        """Return the counts of a step, which begin at zero."""
        return self.steps.setdefault(name, Step(name))

    def arrive(self, text: str) -> None:
        """Count a document that comes in."""
        self.documents += 1
        self.characters += len(text)

    def rows(self) -> list[tuple[str, int, int]]:
        """Return what was left after each step: name, documents, characters.

        >>> Report(2, 50, {"short": Step("short", removed=1, characters=3)}).rows()
        [('came in', 2, 50), ('short', 1, 47)]
        """
        rows = [("came in", self.documents, self.characters)]
        for step in self.steps.values():
            _, documents, characters = rows[-1]
            left = (documents - step.removed, characters - step.characters)
            rows.append((step.name, *left))
        return rows

    def examples(self) -> str:
        """Return what the steps caught, a few cases of each, for reading."""
        lines = []
        for step in self.steps.values():
            lines += [f"{step.name}:"] * bool(step.examples)
            lines += [f"  {before!r} → {after!r}" for before, after in step.examples]
        return "\n".join(lines)

    def biggest(self) -> str:
        """Return, in words, which steps took the most, for a complaint."""
        by_size = sorted(self.steps.values(), key=lambda step: -step.characters)
        took = [
            f"{step.name} took {step.removed:,} of them and {step.characters:,} "
            "characters"
            for step in by_size
            if step.removed
        ]
        return "; ".join(took)

    def __str__(self) -> str:
        left = ("left", "", self.documents_left, self.characters_left)
        rows = [
            ("came in", "", self.documents, self.characters),
            *[
                (s.name, s.touched, s.removed, -s.characters)
                for s in self.steps.values()
            ],
            left,
        ]
        lines = [f"{'step':<24} {'changed':>9}  {'removed':>9}  {'characters':>11}"]
        for name, *numbers in rows:
            cells = [f"{n:,}" if isinstance(n, int) else n for n in numbers]
            lines.append("{:<24} {:>9}  {:>9}  {:>11}".format(name, *cells))
        return "\n".join(lines)


def several(documents: Iterable[str]) -> Iterable[str]:
    """Return the documents; raise ValueError if it is one text, and so its letters."""
    if isinstance(documents, str):
        raise ValueError(
            f"documents is one text, {documents[:20]!r}: expected several: give a "
            "list, such as load(source).documents"
        )
    return documents


def _where_they_differ(before: str, after: str) -> tuple[str, str]:
    """Cut both texts to the place of their first difference."""
    pairs = enumerate(zip(before, after))
    first = next((i for i, (x, y) in pairs if x != y), min(len(before), len(after)))
    start = max(first - SHOWN // 3, 0)
    return _cut(before[start:], start > 0), _cut(after[start:], start > 0)


def _cut(text: str, begun: bool = False) -> str:
    end = "…" if len(text) > SHOWN else ""
    return "…" * begun + text[:SHOWN] + end
