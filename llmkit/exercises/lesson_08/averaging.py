"""Exercise 08.1: average the gradients of several processes."""

import numpy as np
import torch
from torch import Tensor

from llmkit.exercises import Exercise, Twin, mistakes

Gradients = list[list[Tensor]]  # of each process, one tensor a weight


def average_gradients(gradients: Gradients, counts: list[int]) -> list[Tensor]:
    """Return the gradient of the whole batch, one tensor a weight.

    gradients: of each process, those of *its* mean loss; counts: how many labels each
    process had. `fit` does so in the kit, by sums in place of means.

    >>> average_gradients([[torch.tensor(1.0)], [torch.tensor(4.0)]], [2, 1])
    [tensor(2.)]
    """
    n = sum(counts)
    shares = [count / n for count in counts]
    return [
        sum(share * g for share, g in zip(shares, of_one_weight, strict=True))
        for of_one_weight in zip(*gradients, strict=True)
    ]


def label_by_label(gradients: Gradients, counts: list[int]) -> list[Tensor]:
    """Give each label its process's gradient, and take the plain mean over labels."""
    averaged = []
    for of_one_weight in zip(*gradients, strict=True):
        rows = np.stack([g.double().numpy() for g in of_one_weight])
        mean = np.repeat(rows, counts, axis=0).mean(axis=0)
        averaged.append(torch.as_tensor(mean, dtype=torch.float32))
    return averaged


def cases(seed: int) -> tuple:
    """Draw gradients of two to four processes, with very different counts."""
    random = torch.Generator().manual_seed(seed)
    W = 2 + seed % 3
    shapes = [(3, 2), (4,), ()]
    counts = (torch.randperm(40, generator=random)[:W] + 1).tolist()
    if seed % 4 == 3:
        counts[-1] = 0  # a short last batch leaves it nothing
    gradients = [[torch.randn(s, generator=random) for s in shapes] for _ in counts]
    return gradients, counts


# The classic mistakes. What a mistake says to the learner is its docstring.


def mean_of_means(gradients, counts):
    """It looks like every process counts alike: that is a mean of means, and a process
    with few labels then has as much say as one with many. Weigh by the labels.
    """
    return average_gradients(gradients, [1] * len(counts))


def added_up(gradients, counts):
    """It looks like you add gradients up and divide by nothing: with eight processes
    the step would be eight times as long.
    """
    return [sum(of_one) for of_one in zip(*gradients, strict=True)]


def sums_of_means(gradients, counts):
    """It looks like you multiply by the labels and then divide by the number of
    processes: divide by the labels of all, n, so that the weights sum to 1.
    """
    scale = sum(counts) / len(counts)
    return [scale * g for g in average_gradients(gradients, counts)]


def divided_only(gradients, counts):
    """It looks like you divide the sum of gradients by all labels: each gradient is a
    mean already, so first multiply it by its own number of labels.
    """
    return [g / sum(counts) for g in added_up(gradients, counts)]


def first_alone(gradients, counts):
    """It looks like only the gradients of process 0 arrive: what the others computed
    is lost.
    """
    return list(gradients[0])


def upside_down(gradients, counts):
    """It looks like you weigh by one over the labels: who has more labels knows more,
    and must count for more.
    """
    shares = [1 / max(count, 1) for count in counts]
    total = sum(shares)
    return [
        sum(share / total * g for share, g in zip(shares, of_one, strict=True))
        for of_one in zip(*gradients, strict=True)
    ]


def by_the_largest(gradients, counts):
    """It looks like you divide by the largest count: then the weights sum to more than
    1. Divide by the sum of all counts.
    """
    scale = sum(counts) / max(counts)
    return [scale * g for g in average_gradients(gradients, counts)]


AVERAGE = Exercise(
    id="08.1",
    kind="implement",
    title="the average of two processes",
    minutes=8,
    difficulty=1,
    checker=Twin(trusted=label_by_label, cases=cases),
    hints=(
        "Process r has n_r of all n labels. Its gradient is a mean over n_r labels, so "
        "it stands for a share n_r / n of the whole batch.",
        "`n = sum(counts)`. `zip(*gradients)` gives, for each weight, its gradients in "
        "all processes: return the sum of `count / n * g` over these.",
    ),
    solution=average_gradients,
    why="A mean over all labels is each process's mean, weighted by its share of them.",
    wrong=mistakes(
        mean_of_means,
        added_up,
        sums_of_means,
        divided_only,
        first_alone,
        upside_down,
        by_the_largest,
    ),
)
