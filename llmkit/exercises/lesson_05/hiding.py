"""Exercise 05.1: implement masking, 80/10/10."""

import torch
from torch import Tensor

from llmkit.exercises import Exercise, Twin, mistakes
from llmkit.metrics import IGNORE


def hide(
    ids: Tensor,
    special: list[int],
    mask: int,
    draw: Tensor,
    fate: Tensor,
    lot: Tensor,
    share: float = 0.15,
) -> tuple[Tensor, Tensor]:
    """Hide tokens of ids (B, T), and ask for them; `llmkit.batches.Masking` as a rule.

    special: ids that are never chosen. draw, fate: (B, T), from 0 to 1; lot: (B, T),
    another token for each place. Returns: inputs and labels, (B, T) each.
    """
    chosen = (draw < share) & ~torch.isin(ids, torch.tensor(special))  # (B, T)
    inputs = ids.masked_fill(chosen & (fate < 0.8), mask)  # (B, T)
    swapped = chosen & (fate >= 0.8) & (fate < 0.9)  # (B, T)
    inputs = torch.where(swapped, lot, inputs)  # (B, T)
    return inputs, ids.masked_fill(~chosen, IGNORE)


def token_by_token(ids, special, mask, draw, fate, lot, share=0.15):
    """Decide about each token alone, in plain Python."""
    inputs, labels = ids.tolist(), torch.full_like(ids, IGNORE).tolist()
    for b, row in enumerate(ids.tolist()):
        for t, token in enumerate(row):
            if token in special or draw[b, t] >= share:
                continue
            labels[b][t] = token
            if fate[b, t] < 0.8:
                inputs[b][t] = mask
            elif fate[b, t] < 0.9:
                inputs[b][t] = int(lot[b, t])
    return torch.tensor(inputs), torch.tensor(labels)


def cases(seed: int) -> tuple:
    """Draw ids with some special tokens among them, the lots, and a share."""
    random = torch.Generator().manual_seed(seed)
    B, T = 2 + seed % 3, 30 + seed % 4
    V, special = 20 + seed % 5, [0, 19]  # the mask is number 19
    ids = torch.randint(V, (B, T), generator=random)  # (B, T)
    draw, fate = torch.rand(2, B, T, generator=random)  # (B, T) each
    lot = 1 + torch.randint(18, (B, T), generator=random)  # (B, T)
    share = (0.15, 0.3, 0.5)[seed % 3]
    return ids, special, 19, draw, fate, lot, share


# The classic mistakes. What a mistake says to the learner is its docstring.


def ask_everywhere(ids, special, mask, draw, fate, lot, share=0.15):
    """It looks like you ask at every place: labels are -100 wherever a token was not
    chosen. To repeat what it can see teaches a model nothing.
    """
    return hide(ids, special, mask, draw, fate, lot, share)[0], ids


def ask_at_masks(ids, special, mask, draw, fate, lot, share=0.15):
    """It looks like you ask only where a mask stands: the two tenths that were swapped
    or left as they are were chosen as well, and are asked for.
    """
    inputs, labels = hide(ids, special, mask, draw, fate, lot, share)
    return inputs, labels.masked_fill(inputs != mask, IGNORE)


def labels_of_inputs(ids, special, mask, draw, fate, lot, share=0.15):
    """It looks like your labels come from the inputs, after hiding: then the answer to
    a mask is the mask. Labels are what stood there before.
    """
    inputs, labels = hide(ids, special, mask, draw, fate, lot, share)
    return inputs, inputs.masked_fill(labels == IGNORE, IGNORE)


def hide_special(ids, special, mask, draw, fate, lot, share=0.15):
    """It looks like you hide special tokens too: where a text ends is no part of it
    that anybody should have to guess. Choose among the others.
    """
    return hide(ids, [], mask, draw, fate, lot, share)


def always_mask(ids, special, mask, draw, fate, lot, share=0.15):
    """It looks like every chosen token becomes a mask: that is so for 8 of 10. One of
    ten becomes another token by lot, one stays.
    """
    return hide(ids, special, mask, draw, torch.zeros_like(fate), lot, share)


def none_stays(ids, special, mask, draw, fate, lot, share=0.15):
    """It looks like the last two tenths are both swapped: a fate of 0.8 to 0.9 swaps,
    and from 0.9 on the token stays as it is.
    """
    swap = torch.where(fate >= 0.8, 0.85, fate)
    return hide(ids, special, mask, draw, swap, lot, share)


def upside_down(ids, special, mask, draw, fate, lot, share=0.15):
    """It looks like you choose upside down: a token is chosen where its draw is *below*
    the share. As it is, most of the text is gone.
    """
    chosen = torch.where(draw < share, 1.0, 0.0)
    return hide(ids, special, mask, chosen, fate, lot, 0.5)


def fate_of_all(ids, special, mask, draw, fate, lot, share=0.15):
    """It looks like fate strikes tokens that were not chosen: only what is asked for
    may change. Ask for `chosen &` in front of every fate.
    """
    inputs, labels = hide(ids, special, mask, draw, fate, lot, share)
    return torch.where((fate >= 0.8) & (fate < 0.9), lot, inputs), labels


HIDE = Exercise(
    id="05.1",
    kind="implement",
    title="masking, 80/10/10",
    minutes=15,
    difficulty=2,
    checker=Twin(trusted=token_by_token, cases=cases),
    hints=(
        "First decide which tokens are chosen: `draw < share`, and not special "
        "(`torch.isin`). Labels need nothing else. Then look at the fate of those.",
        "`chosen = (draw < share) & ~torch.isin(ids, torch.tensor(special))`. "
        "`ids.masked_fill(where, value)` makes a changed copy, `torch.where(where, "
        "lot, inputs)` takes one or the other. Labels: `ids.masked_fill(~chosen, "
        "-100)`.",
    ),
    solution=hide,
    why="Three lots for each token, all drawn beforehand: so a run can be repeated.",
    wrong=mistakes(
        ask_everywhere,
        ask_at_masks,
        labels_of_inputs,
        hide_special,
        always_mask,
        none_stays,
        upside_down,
        fate_of_all,
    ),
)
