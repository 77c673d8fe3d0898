"""Exercise 01.1: implement attention."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from llmkit.attention import attention
from llmkit.exercises import Exercise, Twin, mistakes


def look_up(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None):
    """Attend with torch's own function; looking up the identity shows its weights."""
    S = k.size(-2)
    identity = torch.eye(S).expand(*k.shape[:-2], S, S)  # (..., S, S)
    output = F.scaled_dot_product_attention(q, k, v, mask)  # (..., T, K)
    weights = F.scaled_dot_product_attention(q, k, identity, mask)  # (..., T, S)
    return output, weights


def cases(seed: int) -> tuple:
    """Draw q, k, v and a mask or none; with and without batch and heads; T ≤ S."""
    random = torch.Generator().manual_seed(seed)
    T, more, K = torch.randint(2, 6, (3,), generator=random).tolist()
    S = T + (more if seed % 2 else 0)
    lead = [(), (2,), (2, 3)][seed % 3]
    q = 2 * torch.randn(*lead, T, K, generator=random)  # (..., T, K)
    k = 2 * torch.randn(*lead, S, K, generator=random)  # (..., S, K)
    v = torch.randn(*lead, S, K, generator=random)  # (..., S, K)
    mask = torch.rand(T, S, generator=random) < 0.5  # (T, S)
    mask[:, 0] = True  # every query may look somewhere
    return q, k, v, None if seed % 4 == 0 else mask


# The classic mistakes. What a mistake says to the learner is its docstring.


def no_scale(q, k, v, mask=None):
    """It looks like you do not divide by √K: the scores grow with the width of a head,
    and softmax puts nearly everything on one key.
    """
    return _read(_hide(q @ k.mT, mask), v)


def divide_by_width(q, k, v, mask=None):
    """It looks like you divide by K, not √K: a sum of K random products has a standard
    deviation of √K, so dividing by K makes all scores nearly equal.
    """
    return _read(_hide(q @ k.mT / q.size(-1), mask), v)


def softmax_over_queries(q, k, v, mask=None):
    """It looks like your softmax runs over the queries (`dim=-2`): each query shares
    out its attention over the keys, so each row must sum to 1 (`dim=-1`).
    """
    weights = _hide(_scores(q, k), mask).softmax(dim=-2)
    return weights @ v, weights


def ignore_mask(q, k, v, mask=None):
    """It looks like you do not use the mask: without one you are right; with one, every
    query still sees every key.
    """
    return _read(_scores(q, k), v)


def hide_the_visible(q, k, v, mask=None):
    """It looks like your mask is upside down: True means that a query may look, so hide
    where it is False (`~mask`).
    """
    return _read(_hide(_scores(q, k), None if mask is None else ~mask), v)


def mask_after_softmax(q, k, v, mask=None):
    """It looks like you mask after the softmax: the hidden keys have taken their share
    by then, and the rows no longer sum to 1. Mask the scores.
    """
    weights = _hide(_scores(q, k).softmax(dim=-1), mask, by=0.0)
    return weights @ v, weights


def mask_with_zero(q, k, v, mask=None):
    """It looks like you hide keys with a score of 0: softmax turns a 0 into e⁰ = 1,
    which is not nothing. A hidden key needs the score -∞.
    """
    return _read(_hide(_scores(q, k), mask, by=0.0), v)


def return_keys(q, k, v, mask=None):
    """It looks like you return the keys, not the values: keys are what a query is
    compared with, values are what it takes home (`weights @ v`).
    """
    return _read(_hide(_scores(q, k), mask), k)


def _scores(q, k):
    return q @ k.mT / math.sqrt(q.size(-1))  # (..., T, S)


def _hide(scores, mask, by=-math.inf):
    return scores if mask is None else scores.masked_fill(~mask, by)  # (..., T, S)


def _read(scores, v):
    weights = scores.softmax(dim=-1)  # (..., T, S)
    return weights @ v, weights


ATTEND = Exercise(
    id="01.1",
    kind="implement",
    title="attend",
    minutes=15,
    difficulty=2,
    checker=Twin(trusted=look_up, cases=cases),
    hints=(
        "Follow the equation from the inside out: scores, scale, mask, softmax, "
        "values. `k.transpose(-2, -1)` turns the keys whatever stands before the last "
        "two dimensions, and `q.size(-1)` is K.",
        "`scores = q @ k.transpose(-2, -1) / math.sqrt(q.size(-1))`; where there is a "
        "mask, `scores.masked_fill(~mask, -math.inf)`; `.softmax(dim=-1)` makes the "
        "weights. Return `weights @ v` and `weights`.",
    ),
    solution=attention,
    why="The first thing returned is what was found, the second is where.",
    wrong=mistakes(
        no_scale,
        divide_by_width,
        softmax_over_queries,
        ignore_mask,
        hide_the_visible,
        mask_after_softmax,
        mask_with_zero,
        return_keys,
    ),
)
