"""Exercise 05.3: debug a mask that hits the padding."""

import torch
from torch import Tensor

from llmkit.exercises import Exercise, Twin, mistakes
from llmkit.metrics import IGNORE


def hide_tokens(
    ids: Tensor, is_token: Tensor, draw: Tensor, mask: int, share: float = 0.15
) -> tuple[Tensor, Tensor]:
    """Hide tokens of padded rows, and never the padding.

    ids, is_token (True where a token is), draw (from 0 to 1): (B, T) each.
    Returns: inputs and labels, (B, T) each.

    >>> ids, is_token = torch.tensor([[7, 8, 0]]), torch.tensor([[True, True, False]])
    >>> hide_tokens(ids, is_token, torch.tensor([[0.9, 0.1, 0.1]]), mask=9)
    (tensor([[7, 9, 0]]), tensor([[-100,    8, -100]]))
    """
    chosen = (draw < share) & is_token  # (B, T)
    return ids.masked_fill(chosen, mask), ids.masked_fill(~chosen, IGNORE)


def text_by_text(ids, is_token, draw, mask, share=0.15):
    """Cut each text out of its row, hide some of it alone, and put it back."""
    inputs, labels = ids.clone(), torch.full_like(ids, IGNORE)
    for b in range(len(ids)):
        T = int(is_token[b].sum())
        text, low = ids[b, :T].tolist(), (draw[b, :T] < share).tolist()
        told = [
            (mask, token) if hit else (token, IGNORE) for token, hit in zip(text, low)
        ]
        inputs[b, :T], labels[b, :T] = torch.tensor(told).T
    return inputs, labels


def cases(seed: int) -> tuple:
    """Draw padded rows in which the padding's id is also a token's."""
    random = torch.Generator().manual_seed(seed)
    B, T = 3, 16 + seed % 4
    ids = torch.randint(6, (B, T), generator=random)  # (B, T)
    lengths = torch.randint(8, T - 3, (B, 1), generator=random)  # (B, 1)
    is_token = torch.arange(T) < lengths  # (B, T)
    draw = torch.rand(B, T, generator=random)  # (B, T)
    draw[0, lengths[0, 0]] = 0.01  # at least one piece of padding is hit
    draw[1, 2], ids[1, 2] = 0.01, 0  # and one token that looks like padding
    return ids.masked_fill(~is_token, 0), is_token, draw, 6, (0.15, 0.3)[seed % 2]


# The classic mistakes. What a mistake says to the learner is its docstring.


def as_it_was(ids, is_token, draw, mask, share=0.15):
    """It looks like padding is still chosen: a place is chosen where its draw is low
    *and* a token stands there.
    """
    chosen = draw < share
    return ids.masked_fill(chosen, mask), ids.masked_fill(~chosen, IGNORE)


def masks_stay(ids, is_token, draw, mask, share=0.15):
    """It looks like you mended the labels alone: nothing is asked at padding now, but
    masks still stand there. Leave padding out where you choose, then both are right.
    """
    inputs, _ = as_it_was(ids, is_token, draw, mask, share)
    return inputs, hide_tokens(ids, is_token, draw, mask, share)[1]


def questions_stay(ids, is_token, draw, mask, share=0.15):
    """It looks like you mended the inputs alone: padding stays as it is, but it is
    still asked for, and that is where the cheap points come from.
    """
    _, labels = as_it_was(ids, is_token, draw, mask, share)
    return hide_tokens(ids, is_token, draw, mask, share)[0], labels


def padding_alone(ids, is_token, draw, mask, share=0.15):
    """It looks like you hide the padding alone: `is_token` is True where a token is,
    so no `~` is wanted.
    """
    return hide_tokens(ids, ~is_token, draw, mask, share)


def known_by_its_number(ids, is_token, draw, mask, share=0.15):
    """It looks like you know padding by its number: here the filler's number is also
    that of a token, which may be hidden like any other. Ask `is_token`.
    """
    return hide_tokens(ids, ids != 0, draw, mask, share)


def lots_of_zero(ids, is_token, draw, mask, share=0.15):
    """It looks like you multiply the draw by `is_token`: that makes it 0 at padding,
    and 0 is below any share. Combine two yes-or-no tensors by `&`.
    """
    return as_it_was(ids, is_token, draw * is_token, mask, share)


def labels_of_zero(ids, is_token, draw, mask, share=0.15):
    """It looks like your labels are 0 at padding: that asks for token 0. Only -100 asks
    for nothing.
    """
    inputs, labels = hide_tokens(ids, is_token, draw, mask, share)
    return inputs, labels.masked_fill(~is_token, 0)


PADDED = Exercise(
    id="05.3",
    kind="debug",
    title="the mask that hits padding",
    minutes=8,
    difficulty=1,
    checker=Twin(trusted=text_by_text, cases=cases),
    hints=(
        "How often is the right answer a piece of padding? And what would a model have "
        "to know to give it? Look at the line that chooses.",
        "`chosen = (draw < share) & is_token`. The two lines after it may stay as they "
        "are.",
    ),
    solution=hide_tokens,
    why="Padding is always there and always the same: the easiest question of all.",
    wrong=mistakes(
        as_it_was,
        masks_stay,
        questions_stay,
        padding_alone,
        known_by_its_number,
        lots_of_zero,
        labels_of_zero,
    ),
)
