"""Check an answer, commit to a prediction, ask for help. Lesson 00."""

import inspect
import textwrap
from dataclasses import dataclass, replace
from typing import Any

from llmkit.exercises.cards import FAILED, MARKS, NOT_ATTEMPTED, PASSED, Card, show
from llmkit.exercises.compare import describe, is_array
from llmkit.exercises.exercise import Exercise, Verdict, find
from llmkit.exercises.record import Entry, record

CHECK_MIME = "application/vnd.llmkit.check+json"


@dataclass(frozen=True, repr=False, eq=False, kw_only=True)
class CheckResult(Card):
    """Say how a check went; true when it passed.

    best: the learner's answer when it passed, else the kit's own, so that the lesson
    goes on either way.
    """

    status: str
    message: str
    best: Any = None

    def __bool__(self) -> bool:
        return self.status == PASSED


def check(id: str, answer: Any, *, truth: Any = None) -> CheckResult:
    """Check an answer to an exercise, show the verdict, and return it.

    answer: what the exercise asks for: a function, or a value. truth: what was
    measured, for an exercise that cannot know it beforehand. The answer and its
    arguments are never changed, and a wrong or missing answer never raises.

    Raises: ValueError for an exercise that does not exist.

    >>> check("01.2", ...)
    ○ 01.2 the causal mask: not attempted yet
      The lesson goes on with llmkit's version. For help: `hint("01.2")`.
    """
    exercise = find(id)
    verdict = exercise.checker.judge(answer, exercise.wrong, truth=truth)
    record().tried(id, verdict.status)
    kits = exercise.solution if truth is None else truth
    best = answer if verdict.status == PASSED else kits
    return show(_result(exercise, verdict, best))


@dataclass(frozen=True, repr=False, eq=False, kw_only=True)
class Prediction(Card):
    """Hold a guess that was made before the answer was known."""

    exercise: Exercise
    guess: Any

    def reveal(self, truth: Any = None) -> CheckResult:
        """Compare the guess with what happened; done is done, right or wrong.

        truth: what was measured; without it, what the exercise knows.
        """
        exercise = self.exercise
        verdict = exercise.checker.judge(self.guess, exercise.wrong, truth=truth)
        truth = exercise.solution if truth is None else truth
        if verdict.status != NOT_ATTEMPTED:
            record().tried(exercise.id, PASSED)
            compared = f"You said {_brief(self.guess)}; it is {_brief(truth)}."
            told = filter(None, (compared, verdict.message, exercise.why))
            verdict = Verdict(verdict.status, " ".join(told))
        return show(_result(exercise, verdict, truth))


def predict(id: str, guess: Any) -> Prediction:
    """Commit to a guess before you run what answers it.

    Keep what it returns: ``mine = predict("00.1", 2.5)``, and later
    ``mine.reveal(measured)``.

    Raises: ValueError for an exercise that does not exist or is no prediction.
    """
    exercise = find(id)
    if exercise.kind != "predict":
        raise ValueError(
            f"exercise {id} asks you to {exercise.kind}, not to predict: "
            f'use check("{id}", …)'
        )
    if guess is None or guess is ...:
        heading = f"○ {id} {exercise.title}: no guess yet"
        body = ("Put your guess in place of `None` or `...` before you run on.",)
    else:
        heading = f"✎ {id} {exercise.title}: you say {_brief(guess)}"
        body = ("Noted. Run on, and see.",)
    return show(Prediction(heading=heading, body=body, exercise=exercise, guess=guess))


def hint(id: str, level: int | None = None) -> Card:
    """Show the next hint of an exercise; ask again, and it says more.

    Raises: ValueError for an exercise or a level that does not exist.
    """
    exercise = find(id)
    if level is None:
        level = min(record().read().get(id, Entry()).hints + 1, 2)
    if level not in (1, 2):
        raise ValueError(f"hints have level 1 and 2: got {level!r}")
    record().update(id, lambda entry: replace(entry, hints=max(entry.hints, level)))
    more = f'hint("{id}", level=2)' if level == 1 else f'solution("{id}")'
    heading = f"Hint {level} of 2 for {id} {exercise.title}"
    body = (exercise.hints[level - 1], f"More: `{more}`")
    return show(Card(heading=heading, body=body))


def solution(id: str) -> Card:
    """Show the solution: the source of the kit's own function, or the value.

    Raises: ValueError for an exercise that does not exist.
    """
    exercise = find(id)
    answer = exercise.solution
    if callable(answer):
        where = f"This is `{answer.__qualname__}` of `{answer.__module__}`."
        code = textwrap.dedent(inspect.getsource(answer)).rstrip()
    else:
        where, code = f"The answer is {_brief(answer)}.", ""
    body = tuple(filter(None, (where, exercise.why)))
    heading = f"Solution of {id} {exercise.title}"
    return show(Card(heading=heading, body=body, code=code))


def _result(exercise: Exercise, verdict: Verdict, best: Any) -> CheckResult:
    id, (status, message) = exercise.id, verdict
    ends = {
        PASSED: "passed",
        FAILED: "not as predicted" if exercise.kind == "predict" else "not yet",
        NOT_ATTEMPTED: "not attempted yet",
    }
    body = [message] if message else []
    if status == NOT_ATTEMPTED or (status == FAILED and exercise.kind != "predict"):
        kits = " with llmkit's version" if callable(exercise.solution) else ""
        body.append(f'The lesson goes on{kits}. For help: `hint("{id}")`.')
    data = {"id": id, "kind": exercise.kind, "status": status, "message": message}
    return CheckResult(
        heading=f"{MARKS[status]} {id} {exercise.title}: {ends[status]}",
        body=tuple(body),
        data={CHECK_MIME: data},
        status=status,
        message=message,
        best=best,
    )


def _brief(value: Any) -> str:
    if is_array(value) and tuple(value.shape) == ():
        value = value.item()
    if isinstance(value, (list, tuple)) and len(value) <= 12:
        return ", ".join(map(_brief, value))
    return f"{value:.4g}" if isinstance(value, float) else describe(value)
