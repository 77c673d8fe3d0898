"""Exercise 07.5: measure the gain of a cure, with an interval."""

import numpy as np
import torch
from torch import Tensor

from llmkit.exercises import Exercise, Twin, mistakes

Gain = tuple[float, float, float]


def gain(cured: Tensor, plain: Tensor, draws: Tensor) -> Gain:
    """Return how much better the cured model is, and the ends of a 95% interval.

    `llmkit.metrics.bootstrap_difference` does so in the kit. cured, plain: (N,), how
    often each text was classified right; draws: (R, N), rounds of N places drawn by lot
    with replacement.

    >>> gain(torch.tensor([1, 0.5]), torch.tensor([0.5, 0]), torch.tensor([[0, 1]]))
    (0.5, 0.5, 0.5)
    """
    d = cured.double() - plain.double()  # (N,)
    means = d[draws].mean(dim=1)  # (R,)
    low, high = means.quantile(torch.tensor([0.025, 0.975]).double()).tolist()
    return d.mean().item(), low, high


def round_by_round(cured, plain, draws) -> Gain:
    """Score both models on the texts of each round, and sort the differences."""
    a, b = cured.double().numpy(), plain.double().numpy()
    found = [a[rows].mean() - b[rows].mean() for rows in draws.numpy()]
    low, high = np.percentile(found, [2.5, 97.5])
    return float(a.mean() - b.mean()), float(low), float(high)


def cases(seed: int) -> tuple:
    """Draw the results of two models on the same texts, some of which are hard."""
    random = torch.Generator().manual_seed(seed)
    N, R, S = 40 + seed % 7, 120, 3
    ease = torch.rand(N, generator=random)  # (N,)
    lots = torch.rand(2, S, N, generator=random)  # (2, S, N)
    better = torch.tensor([0.15, 0.0])[:, None, None]
    right = (lots < ease + better).float().mean(dim=1)  # (2, N)
    draws = torch.randint(N, (R, N), generator=random)  # (R, N)
    return right[0], right[1], draws


def as_numbers(answer, *args):
    """Try an answer; an `Interval` of the kit will do, and so will tensors."""
    told = answer(*args)
    if hasattr(told, "low"):
        return (told.value, told.low, told.high)
    return tuple(float(x) for x in told) if isinstance(told, list | tuple) else told


# The classic mistakes. What a mistake says to the learner is its docstring.


def wrong_way_round(cured, plain, draws):
    """It looks like you subtract the cured model from the plain one: a cure that helps
    has a gain above zero.
    """
    return gain(plain, cured, draws)


def not_paired(cured, plain, draws):
    """It looks like the two models are judged on different draws: then what is hard for
    both no longer cancels out, and the interval is too wide. Draw the same for both.
    """
    a, b = cured.double()[draws], plain.double()[draws.flip(0)]  # (R, N) each
    return _ends(cured, plain, (a - b).mean(dim=1))


def one_deviation(cured, plain, draws):
    """It looks like your ends are one standard deviation away: that holds about 68% of
    the rounds. For 95% take the quantiles 0.025 and 0.975.
    """
    value, means = _means(cured, plain, draws)
    reach = means.std().item()
    return value, value - reach, value + reach


def ninety_percent(cured, plain, draws):
    """It looks like you cut off 5% at each end: that leaves 90%. For 95% cut off 2.5%
    on both sides.
    """
    return _ends(cured, plain, _means(cured, plain, draws)[1], 0.05)


def spread_of_texts(cured, plain, draws):
    """It looks like your ends are quantiles of the texts' differences: those say how
    texts differ. Take the mean of each round first, then the quantiles of the means.
    """
    return _ends(cured, plain, cured.double() - plain.double())


def cured_alone(cured, plain, draws):
    """It looks like this is the accuracy of the cured model, and its interval: the gain
    is the difference of two accuracies.
    """
    return gain(cured, torch.zeros_like(plain), draws)


def all_rounds(cured, plain, draws):
    """It looks like your ends are the lowest and the highest round: with more rounds
    they move ever further out. Cut off 2.5% on both sides.
    """
    return _ends(cured, plain, _means(cured, plain, draws)[1], 0.0)


def in_percent(cured, plain, draws):
    """It looks like you give percentage points: give shares, such as 0.02."""
    return tuple(100 * x for x in gain(cured, plain, draws))


def _means(cured, plain, draws) -> tuple[float, Tensor]:
    d = cured.double() - plain.double()  # (N,)
    return d.mean().item(), d[draws].mean(dim=1)  # (R,)


def _ends(cured, plain, values: Tensor, tail: float = 0.025) -> Gain:
    ends = values.quantile(torch.tensor([tail, 1 - tail]).double()).tolist()
    return (cured.double() - plain.double()).mean().item(), *ends


GAIN = Exercise(
    id="07.5",
    kind="measure",
    title="the gain of a cure, and how sure it is",
    minutes=12,
    difficulty=3,
    checker=Twin(trusted=round_by_round, cases=cases, probe=as_numbers, runs=8),
    hints=(
        "Begin with the difference on each text, `d = cured - plain`. Each row of "
        "`draws` is another test set that could have been: what is the mean of d "
        "there?",
        "`means = d[draws].mean(dim=1)` has a mean for each round. The ends are "
        "`means.quantile(0.025)` and `means.quantile(0.975)`; the gain itself is "
        "`d.mean()`. Return all three.",
    ),
    solution=gain,
    why="Drawn in pairs, what is hard for both models cancels out.",
    wrong=mistakes(
        wrong_way_round,
        not_paired,
        one_deviation,
        ninety_percent,
        spread_of_texts,
        cured_alone,
        all_rounds,
        in_percent,
    ),
)
