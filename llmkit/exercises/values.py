"""Judge a value: a number, a choice, a list. Lesson 00."""

from dataclasses import dataclass

from llmkit.exercises.cards import FAILED, NOT_ATTEMPTED, PASSED
from llmkit.exercises.compare import agree, describe, difference, is_array, is_number
from llmkit.exercises.exercise import Verdict, Wrong


@dataclass(frozen=True)
class Near:
    """Judge a number by the truth.

    within: how far off is near enough, as a part of the truth (0.05 is 5%). slack: or
    in all, for a truth that may be close to 0.

    >>> Near(4.0).judge(4.1, ()).status, Near(4.0).judge(2.0, ()).message
    ('passed', 'That is too low.')
    >>> Near(-0.003, slack=0.002).judge(-0.002, ()).status
    'passed'
    """

    truth: float
    within: float = 0.05
    slack: float = 0.0

    def judge(self, answer, wrong, *, seed=0, truth=None) -> Verdict:
        """Compare a number with the truth, or with what was measured."""
        if complaint := _not_a_number(answer):
            return complaint
        number, truth = float(answer), float(self.truth if truth is None else truth)
        if agree(number, truth, self.within) or abs(number - truth) <= self.slack:
            return Verdict(PASSED, "")
        if message := _recognise(number, wrong, truth, self.within):
            return Verdict(FAILED, message)
        side = "low" if number < truth else "high"
        return Verdict(FAILED, f"That is too {side}.")


@dataclass(frozen=True)
class Between:
    """Judge a measured number by the range in which it must lie.

    >>> Between(0.0, 1.0, why_high="A share is at most 1.").judge(1.2, ()).message
    'That is too high: A share is at most 1.'
    """

    low: float
    high: float
    why_low: str = ""
    why_high: str = ""

    def judge(self, answer, wrong, *, seed=0, truth=None) -> Verdict:
        """Compare a number with the range."""
        if complaint := _not_a_number(answer):
            return complaint
        number = float(answer)
        if self.low <= number <= self.high:
            return Verdict(PASSED, "")
        if message := _recognise(number, wrong, truth, within=0.02):
            return Verdict(FAILED, message)
        low = number < self.low
        why = self.why_low if low else self.why_high
        side = "low" if low else "high"
        return Verdict(FAILED, f"That is too {side}" + (f": {why}" if why else "."))


@dataclass(frozen=True)
class Exactly:
    """Judge a choice, a text or a list that is either right or not.

    >>> Exactly(["it", "cat"]).judge(["it", "mat"], ()).message
    '1 of 2 are right; the first that is not is number 2.'
    """

    truth: object

    def judge(self, answer, wrong, *, seed=0, truth=None) -> Verdict:
        """Compare a value with the truth, or with what was measured."""
        if answer is None or answer is ...:
            return Verdict(NOT_ATTEMPTED, "")
        truth = self.truth if truth is None else truth
        if difference(answer, truth) is None:
            return Verdict(PASSED, "")
        if message := _recognise(answer, wrong, truth, within=1e-6):
            return Verdict(FAILED, message)
        return Verdict(FAILED, _how_many_right(answer, truth))


def _not_a_number(answer: object) -> Verdict | None:
    if answer is None or answer is ...:
        return Verdict(NOT_ATTEMPTED, "")
    if is_number(answer) or (is_array(answer) and tuple(answer.shape) == ()):
        if float(answer) == float(answer):
            return None
        return Verdict(FAILED, "That is not a number (nan): something divided 0 by 0?")
    advice = "call it and give what it returns" if callable(answer) else "give a number"
    return Verdict(
        FAILED, f"This exercise wants one number, and got {describe(answer)}: {advice}."
    )


def _recognise(answer, wrong: tuple[Wrong, ...], truth, within: float) -> str | None:
    """Return the message of the classic wrong answer that this is, nearest first."""
    near = []
    for mistake in wrong:
        theirs = mistake.answer(truth) if callable(mistake.answer) else mistake.answer
        if mistake.like is not None and mistake.like(answer):
            near.append((0.0, mistake.message))
        elif not is_number(answer):
            if difference(answer, theirs) is None:
                near.append((0.0, mistake.message))
        elif is_number(theirs) and agree(answer, float(theirs), within, atol=1e-9):
            near.append((abs(answer - theirs), mistake.message))
    return min(near, key=lambda found: found[0])[1] if near else None


def _how_many_right(answer: object, truth: object) -> str:
    lists = isinstance(truth, list | tuple) and isinstance(answer, list | tuple)
    if not lists:
        return f"It is not {describe(answer)}."
    if len(answer) != len(truth):
        return f"Expected {len(truth)} items, got {len(answer)}."
    right = [difference(a, b) is None for a, b in zip(answer, truth, strict=True)]
    return (
        f"{sum(right)} of {len(right)} are right; "
        f"the first that is not is number {right.index(False) + 1}."
    )
