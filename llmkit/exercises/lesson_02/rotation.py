"""Exercise 02.2: implement the turn of rotary positions."""

import torch
from torch import Tensor

from llmkit.exercises import Exercise, Twin, mistakes
from llmkit.positions import rotate


def times_a_complex_number(x: Tensor, turns: Tensor) -> Tensor:
    """Turn with complex numbers: to multiply by cos θ + i sin θ is to turn by θ."""
    half = x.size(-1) // 2
    points = torch.complex(x[..., :half], x[..., half:])  # (..., T, K / 2)
    turned = points * torch.complex(turns[0], turns[1])  # (..., T, K / 2)
    return torch.cat([turned.real, turned.imag], dim=-1)  # (..., T, K)


def cases(seed: int) -> tuple:
    """Draw x, with and without batch and heads, and the angles of its positions."""
    random = torch.Generator().manual_seed(seed)
    T, pairs = torch.randint(2, 6, (2,), generator=random).tolist()
    lead = [(), (2,), (2, 3)][seed % 3]
    x = torch.randn(*lead, T, 2 * pairs, generator=random)  # (..., T, K)
    angles = 6 * torch.rand(T, pairs, generator=random)  # (T, K / 2)
    return x, torch.stack([angles.cos(), angles.sin()])  # (2, T, K / 2)


# The classic mistakes. What a mistake says to the learner is its docstring.


def the_other_way(x, turns):
    """It looks like you turn the other way, by -θ: the minus belongs to the first
    line, a cos θ - b sin θ. Scores would look right, since q and k turn back alike,
    until your model meets weights that were trained the other way round.
    """
    (cos, sin), (a, b) = turns, x.chunk(2, dim=-1)
    return torch.cat([a * cos + b * sin, b * cos - a * sin], dim=-1)


def neighbours(x, turns):
    """It looks like you pair the neighbours 2i and 2i + 1, as the paper does: a good
    rotation, but a model trained with one pairing can't read the other. Here
    dimension i belongs to i + K/2: `x.chunk(2, dim=-1)`.
    """
    (cos, sin), a, b = turns, x[..., 0::2], x[..., 1::2]
    turned = torch.stack([a * cos - b * sin, a * sin + b * cos], dim=-1)
    return turned.flatten(-2)


def laid_down_as_neighbours(x, turns):
    """It looks like you turn the right pairs and lay them down interleaved: dimension i
    must go back to place i, and its partner to i + K/2. Use `cat`, not `stack`.
    """
    return torch.stack(_turned(x, turns), dim=-1).flatten(-2)


def sine_for_cosine(x, turns):
    """It looks like you took the cosines for sines: `turns` holds the cosines first,
    `cos, sin = turns`. At position 0 nothing may turn.
    """
    return torch.cat(_turned(x, turns.flip(0)), dim=-1)


def no_minus(x, turns):
    """It looks like you forgot the minus: a cos θ + b sin θ and a sin θ + b cos θ are
    no rotation, for vectors change their length.
    """
    (cos, sin), (a, b) = turns, x.chunk(2, dim=-1)
    return torch.cat([a * cos + b * sin, a * sin + b * cos], dim=-1)


def no_crossing(x, turns):
    """It looks like a is only multiplied by cos θ and b by sin θ: that squeezes the
    plane, it does not turn it. Each new number needs both old ones.
    """
    (cos, sin), (a, b) = turns, x.chunk(2, dim=-1)
    return torch.cat([a * cos, b * sin], dim=-1)


def halves_swapped(x, turns):
    """It looks like your halves are swapped: a cos θ - b sin θ, the new a, comes
    first.
    """
    return torch.cat(_turned(x, turns)[::-1], dim=-1)


def overwritten(x, turns):
    """It looks like the new a goes into the new b: both lines of the formula mean the
    old a and b. Give the new ones names of their own.
    """
    (cos, sin), (a, b) = turns, x.chunk(2, dim=-1)
    a = a * cos - b * sin
    return torch.cat([a, a * sin + b * cos], dim=-1)


def _turned(x, turns):
    (cos, sin), (a, b) = turns, x.chunk(2, dim=-1)
    return a * cos - b * sin, a * sin + b * cos  # (..., T, K / 2) each


ROTATE = Exercise(
    id="02.2",
    kind="implement",
    title="turn queries and keys",
    minutes=10,
    difficulty=2,
    checker=Twin(trusted=times_a_complex_number, cases=cases),
    hints=(
        "Unpack both: `cos, sin = turns` and `a, b = x.chunk(2, dim=-1)`. All four "
        "have K/2 columns, so that the formula can be typed as it stands.",
        "The new a is `a * cos - b * sin`, the new b is `a * sin + b * cos`; "
        "`torch.cat([new_a, new_b], dim=-1)` puts them back in their places.",
    ),
    solution=rotate,
    why="The same as multiplying a + bi by cos θ + i sin θ, pair by pair.",
    wrong=mistakes(
        the_other_way,
        neighbours,
        laid_down_as_neighbours,
        sine_for_cosine,
        no_minus,
        no_crossing,
        halves_swapped,
        overwritten,
    ),
)
