"""Exercise 02.4: predict what a smaller base does to the dials."""

import math

from llmkit.exercises import Exactly, Exercise, Wrong

WIDTH, WINDOW = 16, 64  # K, the width of a head, and the length of a text


def full_turns(base: float) -> int:
    """Count the dials that go all the way round within the window.

    >>> full_turns(10_000)
    3
    """
    speeds = [base ** (-2 * i / WIDTH) for i in range(WIDTH // 2)]
    return sum(WINDOW * speed >= 2 * math.pi for speed in speeds)


ROUND = [full_turns(10_000), full_turns(100)]

BASES = Exercise(
    id="02.4",
    kind="predict",
    title="what base 100 does",
    minutes=6,
    difficulty=2,
    checker=Exactly(ROUND),
    hints=(
        "A dial is round after 2π ≈ 6.3 radians. In 64 positions it makes it if it "
        "turns by a tenth of a radian or more at each.",
        "ω_i = base^(-i/8) ≥ 1/10. With base 10,000 = 10⁴ that says 4 i / 8 ≤ 1; with "
        "100 = 10² it says 2 i / 8 ≤ 1. Count i = 0 too.",
    ),
    solution=ROUND,
    why="In 64 positions a dial goes round if ω_i is at least 2π/64 ≈ 0.098: with base "
    "10,000 that holds for i = 0, 1, 2, with base 100 for i = 0 to 4. The first "
    "hand is as fast whatever the base; a smaller base slows the others "
    "down less, so that more of them go round, and fewer are slow enough to tell the "
    "two ends of a long text apart.",
    wrong=(
        Wrong(
            ROUND[::-1],
            "It looks like you think that a larger base makes faster hands: the base "
            "is divided by, so the larger it is, the slower they turn.",
        ),
        Wrong(
            [n - 1 for n in ROUND],
            "It looks like you left out dial 0, the fastest: i counts from 0, and "
            "base⁰ = 1 radian at each position.",
        ),
        Wrong(
            [4, 8],
            "It looks like you took a turn of one radian for a full one: all the way "
            "round is 2π ≈ 6.3 radians.",
        ),
        Wrong(
            [8, 8],
            "It looks like you let every dial go round: the slow ones hardly move. "
            "The slowest needs nearly 20,000 positions with base 10,000.",
        ),
        Wrong(
            [ROUND[0], ROUND[0]],
            "It looks like you think that the base changes nothing here: only dial 0 "
            "has the same speed with every base.",
        ),
        Wrong(
            [10, 10],
            "It looks like you counted the rounds of dial 0: how many of the eight "
            "dials go round is the question.",
        ),
        Wrong(
            [5, 8],
            "It looks like your exponent is i / K: there are K / 2 pairs, and the "
            "exponent is 2i / K.",
        ),
    ),
)
