"""Scores of a classifier, from what it says and what is true. Lesson 07.

What it says are probabilities (N, C), a row an example, or class numbers (N,); what is
true are class numbers (N,). Tensors, arrays and lists will do. Unlike the scores of
tokens, these are of a whole set at once: an F1 or a calibration error of two halves
can't be added up.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True)
class Calibration:
    """How far confidence is from being right: one number, and each bin of it.

    error: the expected calibration error. A bin, of equal width from 0 to 1, has the
    number of examples in it, their mean confidence and the share of them that is right;
    the last two are not a number (nan) where the bin is empty.
    """

    error: float
    counts: tuple[int, ...]
    confidence: tuple[float, ...]
    accuracy: tuple[float, ...]


def accuracy(guesses, labels) -> float:
    """Return the share of examples that are classified right.

    guesses: probabilities or logits (N, C), or class numbers (N,); labels: (N,).

    Raises: ValueError if the shapes do not fit or there are no examples.

    >>> accuracy([[0.9, 0.1], [0.4, 0.6]], [0, 0])
    0.5
    """
    guesses, labels, _ = _fit(guesses, labels)
    return (guesses == labels).double().mean().item()


def confusion(guesses, labels, classes: int | None = None) -> Tensor:
    """Count how often each class was taken for each.

    guesses and labels: as for `accuracy`; classes: C, where guesses do not tell it.

    Returns: (C, C), a row a true class, a column a guessed one.
    Raises: ValueError as `accuracy` does.

    >>> confusion([0, 1, 1], [0, 0, 1])
    tensor([[1, 1],
            [0, 1]])
    """
    guesses, labels, C = _fit(guesses, labels, classes)
    return torch.bincount(labels * C + guesses, minlength=C * C).view(C, C)


def macro_f1(guesses, labels) -> float:
    """Return the mean of all classes' F1, so that rare classes count like common ones.

    F1 = 2 TP / (2 TP + FP + FN) of one class. A class that is neither among the
    guesses nor among the labels is left out.

    guesses and labels: as for `accuracy`.

    Raises: ValueError as `accuracy` does.
    Source: Opitz & Burst 2019, arXiv:1911.03347 (the mean of F1s, not the F1 of
    means). Lesson 07.

    >>> macro_f1([0, 0, 0, 0], [0, 0, 0, 1])  # always the common class
    0.42857142857142855
    """
    return mean_f1(confusion(guesses, labels))


def mean_f1(counts: Tensor) -> float:
    """Return macro F1 from a confusion matrix (C, C), as `macro_f1` does from guesses.

    >>> mean_f1(torch.tensor([[3, 0], [1, 0]]))
    0.42857142857142855
    """
    both = counts.sum(0) + counts.sum(1)  # (C,) guessed + true = 2 TP + FP + FN
    here = both > 0
    return (2 * counts.diagonal()[here] / both[here].double()).mean().item()


def calibration_error(probabilities, labels, bins: int = 10) -> Calibration:
    """Return the expected calibration error, and what a reliability diagram needs.

    ECE = Σ |B_m| / n · |acc(B_m) - conf(B_m)| over bins B_m of equal width, where the
    confidence of an example is the probability of its likeliest class. Bin m of M
    holds confidences above (m - 1) / M and up to m / M.

    probabilities: (N, C), each row adding up to 1; labels: (N,).

    Raises: ValueError if the shapes do not fit or the rows are no probabilities.
    Source: Guo et al. 2017, arXiv:1706.04599, eq. 3. Lesson 07.

    >>> calibration_error([[0.9, 0.1], [0.9, 0.1]], [0, 1], bins=2)
    Calibration(error=0.4, counts=(0, 2), confidence=(nan, 0.9), accuracy=(nan, 0.5))
    """
    if bins < 1:
        raise ValueError(f"bins must be at least 1: got {bins}")
    p = as_numbers(probabilities)
    _, labels, _ = _fit(p, labels)
    if p.ndim != 2 or p.min() < 0 or ((p.sum(1) - 1).abs() > 0.01).any():
        raise ValueError(
            "calibration needs probabilities (N, C) with rows that add up to 1: got "
            f"shape {tuple(p.shape)}, values from {p.min():.3g} to {p.max():.3g}; take "
            "the softmax of logits first"
        )
    confidence, guesses = p.max(1)  # (N,) each
    edges = torch.linspace(0, 1, bins + 1, dtype=p.dtype)[1:-1]  # (M - 1,)
    places = torch.bucketize(confidence, edges)  # (N,)
    counts = torch.bincount(places, minlength=bins)  # (M,)
    sums = [
        torch.bincount(places, weights=w.double(), minlength=bins)
        for w in (confidence, guesses == labels)
    ]
    conf, acc = (total / counts for total in sums)  # (M,), nan where empty
    error = (counts / counts.sum() * (acc - conf).abs()).nansum().item()
    return Calibration(error, *(tuple(x.tolist()) for x in (counts, conf, acc)))


def as_numbers(values) -> Tensor:
    """Return values as a tensor on the CPU, fractions in double precision.

    Raises: ValueError if they are no numbers, or rows of different lengths.

    >>> as_numbers([0.5, 1])
    tensor([0.5000, 1.0000], dtype=torch.float64)
    """
    try:
        if not isinstance(values, Tensor):  # NumPy keeps a list's double precision
            values = torch.from_numpy(np.array(values))
        values = values.detach().cpu()
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"scores need numbers in rows of one length: got {str(values)[:60]}"
        ) from error
    return values.double() if values.is_floating_point() else values


def _fit(guesses, labels, classes: int | None = None) -> tuple[Tensor, Tensor, int]:
    """Return class numbers (N,) guessed and true, and how many classes there are."""
    guesses, labels = as_numbers(guesses), as_numbers(labels)
    if labels.ndim != 1 or guesses.shape[:1] != labels.shape or guesses.ndim > 2:
        raise ValueError(
            "each label needs its row of probabilities or its guess: got guesses "
            f"{tuple(guesses.shape)} and labels {tuple(labels.shape)}; expected (N, C) "
            "or (N,), and (N,)"
        )
    if not len(labels):
        raise ValueError("there are no examples to score: got none")
    if guesses.ndim == 2:
        if not guesses.isfinite().all():
            raise ValueError("the probabilities hold values that are not numbers (nan)")
        classes, guesses = guesses.shape[1], guesses.argmax(1)  # (N,)
    for what, numbers in (("guesses", guesses), ("labels", labels)):
        if numbers.is_floating_point():
            raise ValueError(f"{what} (N,) are class numbers: got {numbers.dtype}")
    low = min(guesses.min(), labels.min()).item()
    high = max(guesses.max(), labels.max()).item()
    classes = high + 1 if classes is None else classes
    if low < 0 or high >= classes:
        raise ValueError(
            f"class numbers go from 0 to {classes - 1}: got {low if low < 0 else high}"
        )
    return guesses.long(), labels.long(), classes
