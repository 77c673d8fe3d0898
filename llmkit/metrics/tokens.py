"""Scores from logits and labels, as sums and counts that add up exactly. Lesson 06.

A mean of means is wrong when groups differ in size. So every score here comes as
``(sum, count)``: add both over batches and processes, and divide once, at the end.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

IGNORE = -100  # the label that asks for nothing


def token_loss(logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Return the summed negative log-probability of the labels, and how many count.

    logits: (..., V); labels: (...), -100 where nothing is asked. Or logits (N, V) of
    the N labels that are asked for alone, in their order: what is not asked need not be
    computed.

    Returns: sum in nats and count, both without dimensions.
    Raises: ValueError if the shapes do not fit.
    Source: Lesson 06.

    >>> total, count = token_loss(torch.zeros(1, 3, 4), torch.tensor([[1, 2, -100]]))
    >>> round(float(total / count), 4), int(count)  # ln 4: no idea among four
    (1.3863, 2)
    """
    labels = _fit(logits, labels)
    flat = logits.reshape(-1, logits.size(-1)).float()  # (N, V)
    total = F.cross_entropy(
        flat, labels.reshape(-1), ignore_index=IGNORE, reduction="sum"
    )
    return total, (labels != IGNORE).sum()


def token_accuracy(logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Return how many labels are the model's first choice, and how many count.

    logits and labels: as for `token_loss`.

    >>> logits = torch.tensor([[[0.0, 1.0], [1.0, 0.0]]])
    >>> token_accuracy(logits, torch.tensor([[1, 1]]))
    (tensor(1), tensor(2))
    """
    labels = _fit(logits, labels)
    right = logits.argmax(dim=-1) == labels  # never where nothing is asked
    return right.sum(), (labels != IGNORE).sum()


def perplexity(nats: float) -> float:
    """Return how many equally likely tokens would be as hard to guess between.

    >>> round(perplexity(math.log(65)))
    65
    """
    return math.exp(nats)


def bits_per_byte(nats: float, tokens: int, byte_count: int) -> float:
    """Turn nats a token into bits a byte, which no choice of tokenizer can flatter.

    tokens and byte_count describe the same text.

    >>> bits_per_byte(math.log(2), tokens=10, byte_count=10)
    1.0
    """
    return nats / math.log(2) * tokens / byte_count


def _fit(logits: Tensor, labels: Tensor) -> Tensor:
    """Return the labels that the logits are for."""
    if labels.dtype != torch.long:
        raise ValueError(f"labels are class numbers (torch.long): got {labels.dtype}")
    if logits.shape[:-1] == labels.shape:
        return labels
    asked = labels[labels != IGNORE]  # (N,)
    if logits.shape[:-1] == asked.shape:
        return asked
    raise ValueError(
        f"each label needs its logits: got logits {tuple(logits.shape)} and labels "
        f"{tuple(labels.shape)}; expected (..., V) and (...), or a row of logits for "
        f"each of the {len(asked)} labels that are asked for"
    )
