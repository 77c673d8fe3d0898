"""Exercise 05.2: implement the loss of what was hidden, and compute nothing else."""

import torch
import torch.nn.functional as F
from torch import Tensor

from llmkit.exercises import Exercise, Twin, mistakes
from llmkit.metrics import IGNORE, token_loss


def masked_loss(x: Tensor, head, labels: Tensor) -> Tensor:
    """Return the mean surprise at the tokens that are asked for, in nats.

    x: (B, T, D), what the encoder knows of each place; head: a function from (..., D)
    to logits (..., V); labels: (B, T), -100 where nothing is asked.
    """
    asked = labels != IGNORE  # (B, T)
    total, count = token_loss(head(x[asked]), labels)  # logits (N, V)
    return total / count


def one_by_one(x: Tensor, head, labels: Tensor) -> Tensor:
    """Ask torch for the surprise at one place after the other."""
    places = (labels != IGNORE).nonzero().tolist()
    surprise = [
        F.cross_entropy(head(x[b, t][None]), labels[b, t][None]) for b, t in places
    ]
    return torch.stack(surprise).mean()


def cases(seed: int) -> tuple:
    """Draw states, the weights of a head, and labels, unevenly many in each row."""
    random = torch.Generator().manual_seed(seed)
    B, T, D = 3 + seed % 2, 8 + seed % 3, 5
    V = T + 4 + seed % 2
    x = torch.randn(B, T, D, generator=random)  # (B, T, D)
    weight = torch.randn(V, D, generator=random)  # (V, D)
    tokens = torch.randint(V, (B, T), generator=random)  # (B, T)
    tokens[:, 1] = 0  # token 0 is a token
    share = 0.15 + 0.2 * torch.arange(B)[:, None]  # (B, 1)
    asked = torch.rand(B, T, generator=random) < share  # (B, T)
    asked[:, 1] = True
    asked[-1, 2:4] = True  # in two rows, other numbers
    return x, weight, tokens.masked_fill(~asked, IGNORE)


def loss_and_logits(answer, x, weight, labels):
    """Try an answer, and count for how many places it wants logits."""
    rows = []

    def head(some):
        rows.append(some.numel() // some.size(-1))
        return some @ weight.T

    loss = answer(x, head, labels)
    return loss if loss is None or loss is ... else {"loss": loss, "rows": sum(rows)}


# The classic mistakes. What a mistake says to the learner is its docstring.


def all_logits(x, head, labels):
    """The loss is right, but it looks like you compute the logits of every place, and
    throw most of them away: choose the places first (`x[asked]`), then call the head.
    """
    return F.cross_entropy(head(x).flatten(0, 1), labels.flatten())


def count_all(x, head, labels):
    """It looks like you divide by B · T: nothing is asked at most places, so divide by
    the number of labels that are not -100.
    """
    return _asked(x, head, labels, "sum") / labels.numel()


def add_up(x, head, labels):
    """It looks like you return the sum: divide it by the number of labels that are
    asked for, or a batch with more masks would look harder.
    """
    return _asked(x, head, labels, "sum")


def mean_of_rows(x, head, labels):
    """It looks like you average each row, and then the rows: a row with one mask would
    weigh as much as one with nine. Average over all that is asked, once.
    """
    rows = zip(x[:, None], labels[:, None])
    return torch.stack([_asked(a, head, b) for a, b in rows]).mean()


def token_0_left_out(x, head, labels):
    """It looks like you take the places where labels are above 0: token 0 is a token
    too. Nothing is asked where the label is -100, and only there.
    """
    return _asked(x, head, labels.masked_fill(labels <= 0, IGNORE))


def shifted(x, head, labels):
    """It looks like you shift the labels, as a GPT does: a masked model is asked at the
    very place that was hidden.
    """
    return _asked(x[:, :-1], head, labels[:, 1:])


def ignore_as_token(x, head, labels):
    """It looks like the places with -100 are asked for token 0: they must not count at
    all.
    """
    return _asked(x, head, labels.clamp(min=0))


def softmax_twice(x, head, labels):
    """It looks like you give probabilities to something that takes logits:
    `F.cross_entropy` does the softmax itself.
    """
    return _asked(x, lambda some: head(some).softmax(dim=-1), labels)


def _asked(x, head, labels, reduction="mean"):
    asked = labels != IGNORE
    return F.cross_entropy(head(x[asked]), labels[asked], reduction=reduction)


MASKED_LOSS = Exercise(
    id="05.2",
    kind="implement",
    title="the loss of what was hidden",
    minutes=10,
    difficulty=2,
    checker=Twin(trusted=one_by_one, cases=cases, probe=loss_and_logits),
    hints=(
        "`labels != -100` says where something is asked. A tensor that is indexed by "
        "it keeps those places and drops the others: (B, T, D) becomes (N, D).",
        "`asked = labels != -100`; the logits are `head(x[asked])`, (N, V); the "
        "answers `labels[asked]`, (N,). `F.cross_entropy` takes the two, and the mean.",
    ),
    solution=masked_loss,
    why="A place without a question has no gradient in the head, so nothing is lost.",
    wrong=mistakes(
        all_logits,
        count_all,
        add_up,
        mean_of_rows,
        token_0_left_out,
        shifted,
        ignore_as_token,
        softmax_twice,
    ),
)
