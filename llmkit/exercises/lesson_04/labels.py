"""Exercise 04.5: debug labels that are off by one."""

import torch
from torch import Tensor

from llmkit.exercises import Exercise, Twin, mistakes
from llmkit.metrics import IGNORE


def labels_for(ids: Tensor, pad: int) -> Tensor:
    """Give each token the label that it asks for: the token after it.

    ids: (B, T). Where nothing follows, or only padding, the label is -100, which asks
    for nothing.

    >>> labels_for(torch.tensor([[5, 6, 7], [8, 0, 0]]), pad=0)
    tensor([[   6,    7, -100],
            [-100, -100, -100]])
    """
    labels = torch.full_like(ids, IGNORE)  # (B, T)
    labels[:, :-1] = ids[:, 1:]
    return labels.masked_fill(labels == pad, IGNORE)  # (B, T)


def place_by_place(ids: Tensor, pad: int) -> Tensor:
    """Look at one place after the other."""
    rows = []
    for row in ids.tolist():
        after = [*row[1:], pad]
        rows.append([IGNORE if token == pad else token for token in after])
    return torch.tensor(rows)  # (B, T)


def cases(seed: int) -> tuple:
    """Draw rows of different lengths, filled up with a padding token."""
    random = torch.Generator().manual_seed(seed)
    B, T = torch.randint(3, 7, (2,), generator=random).tolist()
    pad = [0, 9][seed % 2]
    ids = torch.randint(1, 9, (B, T), generator=random)
    lengths = torch.randint(2, T + 1, (B, 1), generator=random)
    lengths[0] = T  # one row is full
    return ids.masked_fill(torch.arange(T) >= lengths, pad), pad


# The classic mistakes. What a mistake says to the learner is its docstring.


def the_token_itself(ids, pad):
    """It looks like each token is its own label: the model sees it, and needs only to
    copy. The loss falls to nearly zero, and nothing is learnt. The label is the token
    *after*.
    """
    return ids.masked_fill(ids == pad, IGNORE)


def the_token_before(ids, pad):
    """It looks like you shift the wrong way: each token asks for the one *before* it,
    which it has read already. The loss gets low, and the model writes backwards.
    """
    labels = torch.full_like(ids, IGNORE)
    labels[:, 1:] = ids[:, :-1]
    return labels.masked_fill(ids == pad, IGNORE)


def shifted_twice(ids, pad):
    """It looks like you shift twice, so that each token asks for the one after next. It
    happens where a library's model shifts what you have shifted already. The loss looks
    quite usual, a little high perhaps, and the model leaves out every other word.
    """
    labels = torch.full_like(ids, IGNORE)
    labels[:, :-2] = ids[:, 2:]
    return labels.masked_fill(labels == pad, IGNORE)


def rolled(ids, pad):
    """It looks like you used `roll`: the last token of a row then asks for the first
    one. Nothing follows it, so its label is -100.
    """
    labels = ids.roll(-1, dims=1)
    return labels.masked_fill(labels == pad, IGNORE)


def padding_counts(ids, pad):
    """It looks like padding is asked for: after a short text the model would learn to
    write padding, and its loss would look better than it is, as that is easy. Where the
    label is padding, write -100.
    """
    labels = torch.full_like(ids, IGNORE)
    labels[:, :-1] = ids[:, 1:]
    return labels


def zero_for_nothing(ids, pad):
    """It looks like 0 stands where nothing is asked: but 0 is the id of a token. The
    loss leaves out -100 alone.
    """
    return labels_for(ids, pad).masked_fill(labels_for(ids, pad) == IGNORE, 0)


def by_the_input(ids, pad):
    """It looks like you write -100 where the *input* is padding: then the last word of
    a short text is still asked for padding. Look at the label.
    """
    labels = torch.full_like(ids, IGNORE)
    labels[:, :-1] = ids[:, 1:]
    return labels.masked_fill(ids == pad, IGNORE)


def one_shorter(ids, pad):
    """It looks like your labels are one place shorter than the ids: keep the shape,
    (B, T), and write -100 at the last place.
    """
    return labels_for(ids, pad)[:, :-1]


OFF_BY_ONE = Exercise(
    id="04.5",
    kind="debug",
    title="labels off by one",
    minutes=10,
    difficulty=2,
    checker=Twin(trusted=place_by_place, cases=cases),
    hints=(
        "What would a model have to know to answer each label? Write ids and labels of "
        "one row below each other: which label stands at the place of `cat`?",
        "Begin with `torch.full_like(ids, -100)`, put `ids[:, 1:]` in all columns but "
        "the last, and then -100 wherever the label is `pad`: `masked_fill`.",
    ),
    solution=labels_for,
    why="A model never shifts in this kit: what is asked stands in the labels. So you "
    "can print a batch and see the whole question.",
    wrong=mistakes(
        the_token_itself,
        the_token_before,
        shifted_twice,
        rolled,
        padding_counts,
        zero_for_nothing,
        by_the_input,
        one_shorter,
    ),
)
