"""What an exercise is, what a quiz question is, and how they are found. Lesson 00.

The exercises of lesson 01 live in `llmkit.exercises.lesson_01` as EXERCISES, its quiz
as QUIZ, its expected bands as BANDS. A lesson is imported when it is first asked for.
"""

import difflib
import importlib
import pkgutil
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple, Protocol, get_args

if TYPE_CHECKING:
    from types import ModuleType

Kind = Literal["predict", "implement", "debug", "measure"]


@dataclass(frozen=True)
class Wrong:
    """Hold one classic wrong answer, and the message that names the mistake.

    answer: a function that makes the mistake; or, where the answer is a value, that
    value or a function of the truth (``lambda truth: 2 * truth``).
    like: tells the same mistake in a value that need not equal this one, for example
    ``lambda share: share > 1``.
    """

    answer: object
    message: str
    like: Callable[[object], bool] | None = None


def mistakes(*functions: Callable) -> tuple[Wrong, ...]:
    """Make classic wrong answers of functions whose docstrings name the mistakes.

    >>> def double(x):
    ...     '''It looks like you
    ...     double it.'''
    >>> mistakes(double)[0].message
    'It looks like you double it.'
    """
    return tuple(Wrong(f, " ".join((f.__doc__ or "").split())) for f in functions)


class Verdict(NamedTuple):
    """Hold what a judge found: a status, and a message for the learner."""

    status: str
    message: str


class Checker(Protocol):
    """Judge an answer.

    wrong: the classic mistakes to recognise. seed: the first of the random inputs.
    truth: what was measured, where the exercise does not know it beforehand.
    """

    def judge(
        self,
        answer: object,
        wrong: tuple[Wrong, ...],
        *,
        seed: int = 0,
        truth: object = None,
    ) -> Verdict: ...


@dataclass(frozen=True)
class Exercise:
    """Hold one exercise: what is asked, how it is judged, and what helps.

    hints: two, the second says more. solution: what passes the check: a function, whose
    source is shown, or a value (where only the notebook can measure it, a typical one).
    why: a sentence or two that explain the solution.
    Raises: ValueError where a field is not as the framework needs it.
    """

    id: str
    kind: Kind
    title: str
    minutes: int
    difficulty: int
    checker: Checker
    hints: tuple[str, str]
    solution: object
    wrong: tuple[Wrong, ...]
    why: str = ""

    def __post_init__(self) -> None:
        messages = {mistake.message for mistake in self.wrong}
        rules = {
            'an id like "01.2"': re.fullmatch(r"\d\d\.\d+", self.id),
            f"a kind among {', '.join(get_args(Kind))}": self.kind in get_args(Kind),
            "a difficulty from 1 to 3": self.difficulty in (1, 2, 3),
            "a number of minutes": self.minutes > 0,
            "two hints, the second says more": len(self.hints) == 2,
            "4 to 8 classic wrong answers": 4 <= len(self.wrong) <= 8,
            "a message of its own for each mistake": len(messages) == len(self.wrong)
            and all(messages),
        }
        for rule, holds in rules.items():
            if not holds:
                raise ValueError(f"exercise {self.id!r} needs {rule}: got {self!r}")


@dataclass(frozen=True)
class Choice:
    """Hold one answer of a quiz question, and why it is right or wrong."""

    text: str
    why: str
    right: bool = False


@dataclass(frozen=True)
class Question:
    """Hold one quiz question.

    Raises: ValueError unless exactly one choice is right and each has its own reason.
    """

    text: str
    choices: tuple[Choice, ...]

    def __post_init__(self) -> None:
        if sum(choice.right for choice in self.choices) != 1:
            raise ValueError(f"one choice must be right in: {self.text!r}")
        reasons = {choice.why for choice in self.choices if choice.why.strip()}
        if len(reasons) != len(self.choices):
            raise ValueError(f"each choice needs a reason of its own: {self.text!r}")


def lessons() -> list[str]:
    """List the lessons that have exercises, as two digits each; import none of them."""
    import llmkit.exercises as package

    names = (module.name for module in pkgutil.iter_modules(package.__path__))
    return sorted(name[7:] for name in names if re.fullmatch(r"lesson_\d\d", name))


def lesson_module(lesson: str) -> "ModuleType":
    """Import the exercises of a lesson.

    Raises: ValueError for a lesson that has none.
    """
    name = f"llmkit.exercises.lesson_{lesson}"
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name != name:
            raise
    raise ValueError(
        f"there is no lesson {lesson!r} with exercises; choose one of "
        f"{', '.join(lessons())} and write it as text, for example {lessons()[-1]!r}"
    )


def exercises(lesson: str) -> tuple[Exercise, ...]:
    """Return the exercises of a lesson, in order."""
    return tuple(lesson_module(lesson).EXERCISES)


def find(id: str) -> Exercise:
    """Return one exercise by its id.

    Raises: ValueError for an id that does not exist, with those that do.

    >>> find("01.2").title
    'the causal mask'
    """
    match = re.fullmatch(r"(\d\d)\.\d+", id) if isinstance(id, str) else None
    if match is None:
        raise ValueError(
            f'an exercise is named by lesson and number, as in "01.2": got {id!r}'
        )
    known = {exercise.id: exercise for exercise in exercises(match[1])}
    if id in known:
        return known[id]
    near = difflib.get_close_matches(id, known, n=1) or list(known)[-1:]
    listing = ", ".join(f"{e.id} ({e.title})" for e in known.values())
    raise ValueError(
        f"there is no exercise {id!r}; did you mean {near[0]!r}? "
        f"Lesson {match[1]} has {listing}"
    )
