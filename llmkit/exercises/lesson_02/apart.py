"""Exercise 02.5: measure how many positions one dial can tell apart."""

import math

from llmkit.exercises import Exercise, Near, Wrong

NEAR = 0.02  # points closer than this are taken for the same


def told_apart(points: list[tuple[float, ...]], near: float = NEAR) -> int:
    """Count how many of the first points all keep their distance from each other.

    >>> told_apart([(0.0,), (1.0,), (2.0,), (1.01,)])
    3
    """
    for n, point in enumerate(points):
        if any(math.dist(point, earlier) < near for earlier in points[:n]):
            return n
    return len(points)


DIAL = told_apart([(math.sin(t), math.cos(t)) for t in range(200)])
SINE = told_apart([(math.sin(t),) for t in range(200)])
SUM = told_apart([(math.sin(t) + math.cos(t),) for t in range(200)])

APART = Exercise(
    id="02.5",
    kind="measure",
    title="how many positions a dial can tell apart",
    minutes=8,
    difficulty=2,
    checker=Near(float(DIAL), within=0.01),
    hints=(
        "Go through the positions in order. For each, measure the distance of its "
        "point (sin t, cos t) to all the points before it, and stop at the first that "
        "is too near to one of them.",
        "`points = sinusoidal(100, 2)`, `d = torch.cdist(points, points)`; position t "
        "collides if `(d[t, :t] < 0.02).any()`. As positions count from 0, the first t "
        "that collides is the number of those before it.",
    ),
    solution=float(DIAL),
    why="44 steps are 7 rounds and 0.018 of a radian, since 2π ≈ 44/7. On the way "
    "there, each round falls between the places of the rounds before.",
    wrong=(
        Wrong(
            7,
            "It looks like you stopped after one round: position 7 is past the start "
            "again, but it lands between 0 and 1, where nobody stands yet.",
            like=lambda n: 6 <= n <= 7,
        ),
        Wrong(
            DIAL + 1,
            "It looks like you counted the first position that collides: that one is "
            "not told apart any more.",
        ),
        Wrong(
            DIAL - 1,
            "It looks like you gave the last position that stands free: as they count "
            "from 0, there is one more of them.",
        ),
        Wrong(
            SUM,
            "It looks like you added sine and cosine into one number: this is where "
            "that form collides first. A dial has two numbers.",
        ),
        Wrong(
            SINE,
            "It looks like you compared the sines alone: going up and coming down, a "
            "sine takes each value twice in a round. Compare whole points.",
        ),
        Wrong(
            round(2 * math.pi / NEAR),
            "It looks like you divided the circle by 0.02: that many places would fit, "
            "but steps of one radian do not fill them one after the other.",
            like=lambda n: 300 < n < 320,
        ),
        Wrong(
            710,
            "It looks like you asked for equal points, or nearly: a whole number of "
            "steps is never a whole number of rounds. Closer than 0.02 is the "
            "question.",
            like=lambda n: n > 320,
        ),
    ),
)
