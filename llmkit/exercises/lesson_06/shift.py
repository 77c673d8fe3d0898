"""Exercise 06.2: implement the loss, with its shift."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.distributions import Categorical

from llmkit.batches import next_token
from llmkit.exercises import Exercise, Twin, mistakes
from llmkit.metrics import token_loss


def next_token_loss(logits: Tensor, ids: Tensor) -> Tensor:
    """Return the mean surprise at ids[:, 1:], in nats a token.

    logits: (B, T, V), at each position for the token after it; ids: (B, T).
    """
    _, labels = next_token(ids)  # (B, T - 1)
    total, count = token_loss(logits[:, :-1], labels)
    return total / count


def look_up(logits: Tensor, ids: Tensor) -> Tensor:
    """Ask torch's own distribution for each next token, one by one."""
    B, T = ids.shape
    surprise = [
        -Categorical(logits=logits[b, t]).log_prob(ids[b, t + 1])
        for b in range(B)
        for t in range(T - 1)
    ]
    return torch.stack(surprise).mean()


def cases(seed: int) -> tuple:
    """Draw logits and ids: more than one row, T ≠ V."""
    random = torch.Generator().manual_seed(seed)
    B, T = torch.randint(2, 5, (2,), generator=random).tolist()
    V = T + 3 + seed % 3
    logits = 3 * torch.randn(B, T, V, generator=random)  # (B, T, V)
    return logits, torch.randint(V, (B, T), generator=random)  # (B, T)


# The classic mistakes. What a mistake says to the learner is its docstring.


def no_shift(logits, ids):
    """It looks like you do not shift: each position is asked for the very token that it
    has just read. A model learns to copy it, and that is worth nothing.
    """
    return _mean(logits, ids)


def shift_back(logits, ids):
    """It looks like you shift the wrong way: each position is asked for the token
    before it. Logits lose their last position, ids their first.
    """
    return _mean(logits[:, 1:], ids[:, :-1])


def wrap_around(logits, ids):
    """It looks like you roll the ids round: the last position of each row is asked for
    the first token of that row, which never follows it. Drop the last position.
    """
    return _mean(logits, ids.roll(-1, dims=1))


def add_up(logits, ids):
    """It looks like you return the sum: the loss is the mean, so that rows of any
    number and length can be compared.
    """
    return _mean(logits[:, :-1], ids[:, 1:], reduction="sum")


def count_all(logits, ids):
    """It looks like you divide by B · T: the last position of each row asks for
    nothing, so only B · (T - 1) labels count.
    """
    return add_up(logits, ids) / ids.numel()


def in_bits(logits, ids):
    """It looks like you count in bits (log₂): here the unit is the nat (ln), as for
    `torch.log` and `F.cross_entropy`.
    """
    return _mean(logits[:, :-1], ids[:, 1:]) / math.log(2)


def softmax_twice(logits, ids):
    """It looks like you give probabilities to something that takes logits:
    `F.cross_entropy` and `log_softmax` do the softmax themselves.
    """
    return _mean(logits[:, :-1].softmax(dim=-1), ids[:, 1:])


def scramble(logits, ids):
    """It looks like you use `view` or `reshape` where the dimensions must be swapped:
    `F.cross_entropy` wants (B, V, T), which is `.transpose(1, 2)`, or else (N, V).
    """
    B, T, V = logits.shape
    return F.cross_entropy(logits[:, :-1].reshape(B, V, T - 1), ids[:, 1:])


def _mean(logits, labels, reduction="mean"):
    return F.cross_entropy(logits.transpose(1, 2), labels, reduction=reduction)


SHIFT = Exercise(
    id="06.2",
    kind="implement",
    title="the loss with its shift",
    minutes=10,
    difficulty=2,
    checker=Twin(trusted=look_up, cases=cases),
    hints=(
        "The logits at position t are about the token at position t + 1. So the last "
        "logits have no answer, and the first token has no question: cut both off.",
        "Keep `logits[:, :-1]` and `ids[:, 1:]`. Then `F.cross_entropy(z, y)` takes "
        "logits (N, V) and labels (N,): `.flatten(0, 1)` makes both.",
    ),
    solution=next_token_loss,
    why="`next_token` makes the shift in the data, once; a model never shifts.",
    wrong=mistakes(
        no_shift,
        shift_back,
        wrap_around,
        add_up,
        count_all,
        in_bits,
        softmax_twice,
        scramble,
    ),
)
