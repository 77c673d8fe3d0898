"""Judge a function by a trusted twin, on random inputs. Lesson 00.

A wrong function is tried on the same inputs as the classic wrong answers: the one that
does the same, right or wrong, names the mistake.
"""

import dis
import inspect
import random
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import NamedTuple

from llmkit.exercises.cards import FAILED, NOT_ATTEMPTED, PASSED
from llmkit.exercises.compare import changed, describe, difference
from llmkit.exercises.exercise import Verdict


class Outcome(NamedTuple):
    """Hold what a function did on one input."""

    value: object
    error: Exception | None
    spoilt: str | None  # the name of an input that it changed


def call(function: Callable, *args: object) -> object:
    """Call a function: the usual way to try an answer."""
    return function(*args)


@dataclass(frozen=True)
class Twin:
    """Judge a function by a trusted one that must do the same on random inputs.

    trusted: the function to agree with, from a library that the lesson does not build.
    cases: makes the arguments from a seed, the same ones for the same seed; let the
    seed choose shapes too. probe: tries an answer on arguments, ``answer(*args)`` when
    nothing else is said; for a class it may build one and call it.

    >>> from llmkit.exercises import Wrong
    >>> twin = Twin(trusted=abs, cases=lambda seed: (seed - 3,))
    >>> twin.judge(lambda x: -x, (Wrong(lambda x: -x, "You always flip the sign."),))
    Verdict(status='failed', message='You always flip the sign.')
    """

    trusted: Callable
    cases: Callable[[int], tuple]
    probe: Callable[..., object] = call
    runs: int = 20
    rtol: float = 1e-4
    atol: float = 1e-5

    def judge(self, answer, wrong, *, seed=0, truth=None) -> Verdict:
        """Compare the answer with the trusted twin on `runs` inputs."""
        if _is_stub(answer):
            return Verdict(NOT_ATTEMPTED, "")
        if not callable(answer):
            return Verdict(
                FAILED,
                f"This exercise checks a function, and got {describe(answer)}: give "
                "the function's name without brackets, so that it can be tried.",
            )
        seeds = range(seed, seed + self.runs)
        given = [self._try(answer, s) for s in seeds]
        if untouched := _untouched(given):
            return untouched
        right = [self._try(self.trusted, s) for s in seeds]
        off = next((i for i in range(self.runs) if self._off(given[i], right[i])), None)
        spoilt = next((outcome.spoilt for outcome in given if outcome.spoilt), None)
        if spoilt:
            return Verdict(FAILED, _spoilt_message(spoilt))
        if off is None:
            return Verdict(PASSED, f"It agrees on {self.runs} random inputs.")
        for mistake in wrong:
            theirs = [self._try(mistake.answer, s) for s in seeds]
            if self._alike(given, theirs, right):
                return Verdict(FAILED, mistake.message)
        return Verdict(
            FAILED, self._explain(answer, given[off], right[off], seed + off)
        )

    def _try(self, function: Callable, seed: int) -> Outcome:
        args, before = self.cases(seed), self.cases(seed)
        value = error = None
        with fixed_random(seed):
            try:
                value = self.probe(function, *args)
            except Exception as problem:
                if function is self.trusted:
                    raise  # the exercise itself is broken
                error = problem
        spoilt = [
            name
            for name, now, then in zip(self._names(), args, before, strict=False)
            if changed(now, then)
        ]
        return Outcome(value, error, spoilt[0] if spoilt else None)

    def _off(self, given: Outcome, right: Outcome) -> str | None:
        if given.error is not None:
            return "error"
        return difference(given.value, right.value, self.rtol, self.atol)

    def _alike(self, given, theirs, right) -> bool:
        """Tell whether two wrong answers fail alike, on every input.

        Raising the same type of error is compatible with being alike, but no evidence:
        at least one input must show the same wrong value, or the very same complaint.
        """
        evidence = False
        for ours, other, truth in zip(given, theirs, right, strict=True):
            if ours.error or other.error:
                if type(ours.error) is not type(other.error):
                    return False
                evidence |= str(ours.error) == str(other.error)
            elif difference(ours.value, other.value, self.rtol, self.atol):
                return False
            else:
                evidence |= self._off(ours, truth) is not None
        return evidence

    def _explain(self, answer, given: Outcome, right: Outcome, seed: int) -> str:
        inputs = ", ".join(
            f"{name} {describe(arg)}"
            for name, arg in zip(self._names(), self.cases(seed), strict=False)
        )
        if given.error is None:
            return f"With {inputs}: {self._off(given, right)}."
        kind = type(given.error).__name__
        return (
            f"Your code stopped with {kind}: {given.error}\n"
            f"{_where(answer, given.error)}The inputs were {inputs}."
        )

    def _names(self) -> list[str]:
        """Name the inputs as the trusted twin does."""
        try:
            names = list(inspect.signature(self.trusted).parameters)
        except ValueError:
            names = []
        return names + [f"input {i}" for i in range(len(names), 10)]


@contextmanager
def fixed_random(seed: int) -> Iterator[None]:
    """Fix the random numbers of Python and torch inside; leave them as found outside.

    Inside, torch uses one thread: small inputs only wait for a second one.

    >>> with fixed_random(0):
    ...     random.random()
    0.8444218515250481
    """
    state, torch = random.getstate(), sys.modules.get("torch")
    random.seed(seed)
    if torch:
        generator, threads = torch.default_generator, torch.get_num_threads()
        tensor_state = generator.get_state()
        generator.manual_seed(seed)
        torch.set_num_threads(1)
    try:
        yield
    finally:
        random.setstate(state)
        if torch:
            generator.set_state(tensor_state)
            torch.set_num_threads(threads)


def _untouched(outcomes: Sequence[Outcome]) -> Verdict | None:
    first = outcomes[0].error
    # torch raises the same type where it lacks a kernel: "… not implemented for 'Long'"
    if isinstance(first, NotImplementedError) and "implemented for" not in str(first):
        return Verdict(NOT_ATTEMPTED, "")
    if all(o.error is None and (o.value is None or o.value is ...) for o in outcomes):
        return Verdict(NOT_ATTEMPTED, "It returns None: is a `return` missing?")
    return None


def _is_stub(answer: object) -> bool:
    """Tell whether nothing is there yet: None, ``...``, or a function of just that."""
    if answer is None or answer is ...:
        return True
    code = getattr(answer, "__code__", None)
    if code is None:
        return False
    return all(
        step.opname in ("RESUME", "NOP", "POP_TOP", "RETURN_VALUE")
        or (
            step.opname in ("LOAD_CONST", "RETURN_CONST") and step.argval in (None, ...)
        )
        for step in dis.get_instructions(code)
    )


def _spoilt_message(name: str) -> str:
    return (
        f"Your function changes its input {name}. Whoever calls it still needs "
        f"{name}: make a new value (`x = x + 1`) in place of changing the old one "
        "(`x += 1`, `x[0] = …`, methods that end in `_`)."
    )


def _where(answer: Callable, error: Exception) -> str:
    """Point to the last line of the learner's own code, where it can be found."""
    code = getattr(inspect.unwrap(answer), "__code__", None)
    frames = traceback.extract_tb(error.__traceback__)
    own = [f for f in frames if code is not None and f.filename == code.co_filename]
    return f"in the line `{own[-1].line}`\n" if own and own[-1].line else ""
