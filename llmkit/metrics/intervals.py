"""How far a score may be off because the examples are few. Lesson 07.

A score of 872 examples would have been another one on 872 others. An interval says by
how much: about `level` of all such intervals hold the true score. The chance in
training, its seed, is not in it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
import torch
from torch import Tensor

from llmkit.metrics.classes import as_numbers


@dataclass(frozen=True)
class Interval:
    """A score and how low and how high it could be.

    >>> print(Interval(0.88, 0.858, 0.9006, level=0.95))
    0.880 (0.858 to 0.901)
    """

    value: float
    low: float
    high: float
    level: float

    def __str__(self) -> str:
        return f"{self.value:.3f} ({self.low:.3f} to {self.high:.3f})"


def mean(rows: Tensor) -> float:
    """Return the mean of numbers, or the share of what is true.

    >>> mean(torch.tensor([True, True, False, True]))
    0.75
    """
    return rows.double().mean().item()


def bootstrap_interval(
    rows,
    statistic: Callable[[Tensor], float] = mean,
    level: float = 0.95,
    rounds: int = 2000,
    seed: int = 0,
) -> Interval:
    """Return a statistic of the rows and its percentile bootstrap interval.

    Each round draws N of the N rows with replacement; the interval spans the middle
    `level` of what the statistic is in all rounds.

    rows: (N, ...), what belongs to an example each, such as whether it was classified
    right; statistic: rows to a number. Where all rows are equal the interval has no
    width: use `wilson_interval` for shares of few examples.

    Raises: ValueError if there are no rows, or level or rounds are out of range.
    Source: Efron & Tibshirani 1993, An Introduction to the Bootstrap, chapter 13
    (percentile intervals). Lesson 07.

    >>> print(bootstrap_interval([True] * 88 + [False] * 12))
    0.880 (0.810 to 0.940)
    """
    rows = as_numbers(rows)
    if not rows.ndim or not len(rows):
        raise ValueError(
            f"a bootstrap draws from rows (N, ...): got {tuple(rows.shape)}"
        )
    if rounds < 1:
        raise ValueError(f"rounds must be at least 1: got {rounds}")
    n, random = len(rows), torch.Generator().manual_seed(seed)
    values = [
        statistic(rows[torch.randint(n, (n,), generator=random)]) for _ in range(rounds)
    ]
    return _middle(statistic(rows), values, level)


def bootstrap_counts(
    counts: Tensor,
    statistic: Callable[[Tensor], float],
    level: float = 0.95,
    rounds: int = 2000,
    seed: int = 0,
) -> Interval:
    """Return a statistic of a table of counts, such as `confusion`, with an interval.

    It is the bootstrap of the examples that were counted, for drawing N of N examples
    with replacement is drawing counts from a multinomial distribution. But it takes no
    longer for 25,000 examples than for 250.

    counts: of any shape; statistic: such a table to a number.

    Raises: ValueError if nothing was counted, or level or rounds are out of range.
    Source: as for `bootstrap_interval`.

    >>> table = torch.tensor([[40, 5], [7, 48]])
    >>> print(bootstrap_counts(table, lambda t: t.trace().item() / 100))
    0.880 (0.810 to 0.940)
    """
    table = as_numbers(counts)
    n = int(table.sum())
    if n < 1:
        raise ValueError(f"a bootstrap draws from what was counted: got {n} examples")
    if rounds < 1:
        raise ValueError(f"rounds must be at least 1: got {rounds}")
    shares = table.flatten().double().numpy() / n
    drawn = np.random.default_rng(seed).multinomial(n, shares, size=rounds)
    tables = torch.from_numpy(drawn).view(rounds, *table.shape)
    return _middle(statistic(table), [statistic(x) for x in tables], level)


def bootstrap_difference(
    right_a, right_b, level: float = 0.95, rounds: int = 2000, seed: int = 0
) -> Interval:
    """Return by how much a is better than b on the same rows, with an interval.

    Both are drawn together, row by row: what is hard for both then cancels out, and a
    smaller difference can be told from none. An interval that holds 0 tells nothing.

    right_a, right_b: (N,), whether the row was classified right, or its score.

    Raises: ValueError if the two are not of the same rows.
    Source: Berg-Kirkpatrick et al. 2012, An Empirical Investigation of Statistical
    Significance in NLP (the paired bootstrap). Lesson 07.

    >>> print(bootstrap_difference([1, 1, 1, 0] * 50, [1, 0, 1, 0] * 50))
    0.250 (0.195 to 0.310)
    """
    a, b = as_numbers(right_a), as_numbers(right_b)
    if a.ndim != 1 or a.shape != b.shape:
        raise ValueError(
            "a paired difference needs both systems' results on the same rows: got "
            f"{tuple(a.shape)} and {tuple(b.shape)}; expected (N,) and (N,)"
        )
    return bootstrap_interval(a.double() - b.double(), mean, level, rounds, seed)


def wilson_interval(right: int, n: int, level: float = 0.95) -> Interval:
    """Return a share and its Wilson score interval, honest even where n is small.

    (p + z²/2n ± z √(p(1-p)/n + z²/4n²)) / (1 + z²/n). Six right of six gives a low end
    of 0.61, where the bootstrap would claim 1.

    Raises: ValueError unless 0 <= right <= n and n >= 1.
    Source: Wilson 1927, Probable Inference, the Law of Succession, and Statistical
    Inference. Lesson 07.

    >>> print(wilson_interval(6, 6))
    1.000 (0.610 to 1.000)
    """
    if not 0 <= right <= n or n < 1:
        raise ValueError(f"a share is right of n, 0 <= right <= n: got {right} of {n}")
    z = NormalDist().inv_cdf((1 + _checked(level)) / 2)
    p, shrink = right / n, 1 + z**2 / n
    middle = (p + z**2 / (2 * n)) / shrink
    reach = z * (p * (1 - p) / n + z**2 / (4 * n**2)) ** 0.5 / shrink
    # Rounding must not leave the share outside its own interval.
    low, high = min(middle - reach, p), max(middle + reach, p)
    return Interval(p, max(low, 0.0), min(high, 1.0), level)


def _middle(value: float, values: list[float], level: float) -> Interval:
    """Return the interval that spans the middle `level` of the values."""
    tail = (1 - _checked(level)) / 2
    low, high = np.quantile(values, (tail, 1 - tail)).tolist()
    return Interval(value, low, high, level)


def _checked(level: float) -> float:
    if not 0 < level < 1:
        raise ValueError(f"level must be between 0 and 1, such as 0.95: got {level}")
    return level
