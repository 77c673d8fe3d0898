"""Which device holds which piece of what, moment by moment of a step. Lesson 08.

A model of some blocks, each cut into as many pieces as there are devices (ranks). A
step goes forward through the blocks and backward again, averages gradients, updates
weights. At each moment a strategy decides who holds what, and how it came there.
"""

from collections.abc import Callable
from dataclasses import dataclass

from llmkit.planning.memory import STRATEGIES, Strategy
from llmkit.planning.sizes import FP32

# What a rank may have of a piece.
GONE = 0  # nothing
KEPT = 1  # the piece itself, to keep
VISITING = 2  # another's piece, for this moment alone
PARTIAL = 3  # a gradient of its own rows, not yet averaged
OLD = 4  # a weight from before the update
# Numbers of each kind that a parameter has, in float32 and under AdamW.
NUMBERS = {"weights": 1, "gradients": 1, "averages": 2}

Grid = list[list[list[int]]]  # (ranks, blocks, pieces of a block)


@dataclass(frozen=True)
class Moment:
    """What each rank holds at one moment of a step."""

    words: str  # what happens
    held: dict[str, Grid]  # by kind: weights, gradients, averages

    def bytes_each(self, rank: int) -> float:
        """Return the bytes that a rank holds for each parameter of the whole model.

        >>> holdings("ddp", 2, 0).bytes_each(0), holdings("fsdp2", 2, 0).bytes_each(0)
        (12.0, 6.0)
        """
        total = 0.0
        for kind, grid in self.held.items():
            pieces = [code for block in grid[rank] for code in block]
            there = sum(code != GONE for code in pieces)
            total += FP32 * NUMBERS[kind] * there / len(pieces)
        return total


def moment_names(blocks: int = 3) -> list[str]:
    """List the moments of a step, in order.

    >>> moment_names(1)
    ['before', 'forward 1', 'backward 1', 'average', 'update', 'after']
    """
    there = [f"forward {b + 1}" for b in range(blocks)]
    back = [f"backward {b + 1}" for b in reversed(range(blocks))]
    return ["before", *there, *back, "average", "update", "after"]


def holdings(strategy: str, ranks: int, moment: int, blocks: int = 3) -> Moment:
    """Return who holds what at a moment, counted from 0 as in `moment_names`.

    DeepSpeed cuts one long row of all numbers, not each block as drawn here: where its
    cuts fall differs, what a rank holds does not.

    Raises: ValueError for a strategy that shares nothing, or a moment that is not
    there.
    Source: Rajbhandari et al. 2020 (ZeRO), figure 1 and section 5; Lesson 08.

    >>> holdings("fsdp2", 2, 1, blocks=1).held["weights"]
    [[[1, 2]], [[2, 1]]]
    """
    known = [name for name in STRATEGIES if name != "single"]
    if strategy not in known:
        raise ValueError(
            f"unknown strategy {strategy!r} among ranks; choose one of "
            f"{', '.join(known)}"
        )
    names = moment_names(blocks)
    if ranks < 1 or moment not in range(len(names)):
        raise ValueError(
            f"ranks are 1 or more and moments 0 to {len(names) - 1}: got ranks {ranks} "
            f"and moment {moment}"
        )
    how, (phase, *told) = STRATEGIES[strategy], names[moment].split()
    at = int(told[0]) - 1 if told else -1
    rules = {"weights": _weight, "gradients": _gradient, "averages": _average}

    def grid(rule: Callable) -> Grid:
        return [
            [[rule(how, phase, at, b, r == p) for p in range(ranks)] for b in every]
            for r in range(ranks)
        ]

    every = range(blocks)
    held = {kind: grid(rule) for kind, rule in rules.items()}
    return Moment(_words(how, phase, at, blocks), held)


def _weight(how: Strategy, phase: str, at: int, block: int, mine: bool) -> int:
    if how.cuts("parameters"):
        gathered = VISITING if block == at else GONE  # for forward and for backward
        return KEPT if mine else gathered
    waits = phase == "update" and how.cuts("optimizer") and not mine
    return OLD if waits else KEPT


def _gradient(how: Strategy, phase: str, at: int, block: int, mine: bool) -> int:
    if phase in ("before", "forward", "after") or (phase == "backward" and block < at):
        return GONE
    if phase == "backward" and block == at:
        return PARTIAL
    if how.cuts("gradients"):  # each went to its owner as soon as it was there
        return KEPT if mine else GONE
    if how.cuts("optimizer"):  # ZeRO-1 averages at the end, each rank its own share
        return KEPT if mine and phase != "backward" else PARTIAL
    return KEPT


def _average(how: Strategy, phase: str, at: int, block: int, mine: bool) -> int:
    return KEPT if mine or not how.cuts("optimizer") else GONE


def _words(how: Strategy, phase: str, at: int, blocks: int) -> str:
    """Say what happens at a moment."""
    cut, last = how.cuts("parameters"), at == blocks - 1
    if phase == "before":
        return "before the step"
    if phase == "forward":
        gather = "gather its weights, compute, forget them" if cut else "compute"
        return f"forward through block {at + 1}: {gather}"
    if phase == "backward":
        gather = "gather its weights, " if cut else ""
        work = f"{gather}compute its gradients"
        return f"backward through block {at + 1}: {work}{_sent(how, last)}"
    if phase == "average":
        if how.cuts("gradients"):
            return "the last gradients go to their owners, averaged (reduce-scatter)"
        if how.cuts("optimizer"):
            return "each rank gets the average of its own share (reduce-scatter)"
        return "the last gradients are averaged: all ranks hold the same (all-reduce)"
    if phase == "update":
        alone = how.cuts("optimizer")
        return f"AdamW: each rank updates {'its own share' if alone else 'everything'}"
    if how.cuts("optimizer") and not cut:
        return "the new weights are gathered (all-gather), gradients forgotten"
    return "gradients are forgotten: as before"


def _sent(how: Strategy, last: bool) -> str:
    """Say what is sent while backward goes on."""
    if last or (how.cuts("optimizer") and not how.cuts("gradients")):
        return ""
    if how.cuts("gradients"):
        return "; those of the blocks above have gone to their owners (reduce-scatter)"
    return "; those of the blocks above are averaged meanwhile (all-reduce)"
