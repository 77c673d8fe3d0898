"""Exercise 02.1: implement the table of sines and cosines."""

import math

import torch
from torch import Tensor

from llmkit.exercises import Exercise, Twin, mistakes
from llmkit.positions import sinusoidal


def number_by_number(length: int, d_model: int, base: float) -> Tensor:
    """Write the formula out with Python's own sine, one number at a time."""
    table = torch.empty(length, d_model)
    for t in range(length):
        for i in range(d_model // 2):
            angle = t / math.pow(base, 2 * i / d_model)
            table[t, 2 * i] = math.sin(angle)
            table[t, 2 * i + 1] = math.cos(angle)
    return table  # (T, D)


def cases(seed: int) -> tuple:
    """Draw a length, an even width of two pairs or more, and a base."""
    random = torch.Generator().manual_seed(seed)
    length, pairs, base = torch.randint(0, 4, (3,), generator=random).tolist()
    return 4 + length, 2 * (2 + pairs), (50.0, 100.0, 1000.0, 20_000.0)[base]


# The classic mistakes. What a mistake says to the learner is its docstring.


def summed(length, d_model, base):
    """It looks like you add sine and cosine into one number: that is √2 sin(tω + π/4),
    a single sine again, and a sine alone can't tell where on the circle it is. Keep
    two numbers a frequency.
    """
    angles = _angles(length, d_model, base)
    return angles.sin() + angles.cos()  # (T, D / 2)


def halves(length, d_model, base):
    """It looks like you put all the sines first and all the cosines after them: the
    numbers are right, the places are not. Here they alternate: sine at 2i, cosine at
    2i + 1.
    """
    angles = _angles(length, d_model, base)
    return torch.cat([angles.sin(), angles.cos()], dim=-1)  # (T, D)


def half_the_exponent(length, d_model, base):
    """It looks like your exponent is -i / D, not -2i / D: i counts pairs, and there are
    D / 2 of them, so the hands only get half as slow as they should.
    """
    time, pairs = torch.arange(length).double(), torch.arange(d_model // 2)
    return _alternate(time[:, None] * base ** (-pairs / d_model).double())


def frequency_of_its_own(length, d_model, base):
    """It looks like each dimension has a frequency of its own: a sine and its cosine
    must turn together, or they are not one point on a circle. Both take ω_i.
    """
    time, i = torch.arange(length).double(), torch.arange(d_model).double()
    angles = time[:, None] * base ** (-i / d_model)  # (T, D)
    return torch.where(i % 2 == 0, angles.sin(), angles.cos()).float()


def inverted(length, d_model, base):
    """It looks like your exponent lacks its minus: the hands get faster from pair to
    pair, and soon whirl round many times between two words.
    """
    return _alternate(_angles(length, d_model, 1 / base))


def doubled_exponent(length, d_model, base):
    """It looks like your i counts 0, 2, 4 … and is doubled once more: `arange(0, D, 2)`
    is 2i already, so the exponent is -that / D.
    """
    return _alternate(_angles(length, d_model, base**2))


def cosine_first(length, d_model, base):
    """It looks like your cosine comes before its sine: the sine stands at 2i, the
    cosine at 2i + 1. At position 0 a row begins 0, 1, 0, 1.
    """
    angles = _angles(length, d_model, base)
    return torch.stack([angles.cos(), angles.sin()], dim=-1).flatten(-2).float()


def always_ten_thousand(length, d_model, base):
    """It looks like you use 10,000 whatever base you are given: it is an argument."""
    return _alternate(_angles(length, d_model, 10_000.0))


def _angles(length, d_model, base):
    time, pairs = torch.arange(length).double(), torch.arange(d_model // 2).double()
    return time[:, None] * base ** (-2 * pairs / d_model)  # (T, D / 2)


def _alternate(angles):
    return torch.stack([angles.sin(), angles.cos()], dim=-1).flatten(-2).float()


SINUSOIDAL = Exercise(
    id="02.1",
    kind="implement",
    title="the table of sines and cosines",
    minutes=12,
    difficulty=2,
    checker=Twin(trusted=number_by_number, cases=cases),
    hints=(
        "Make the angles first: positions as a column, (T, 1), times the frequencies "
        "ω_i as a row, (D / 2). Then take both sine and cosine of all of them.",
        "`ω = base ** (-2 * torch.arange(d_model // 2) / d_model)`, then "
        "`angles = torch.arange(length)[:, None] * ω`. "
        "`torch.stack([angles.sin(), angles.cos()], dim=-1)` sets each sine beside its "
        "cosine, and `.flatten(-2)` makes one row of the pairs.",
    ),
    solution=sinusoidal,
    why="It counts in float64, since a far position times a small error is a wrong "
    "angle.",
    wrong=mistakes(
        summed,
        halves,
        half_the_exponent,
        frequency_of_its_own,
        inverted,
        doubled_exponent,
        cosine_first,
        always_ten_thousand,
    ),
)
