"""Exercise 07.1: implement dynamic padding, with buckets."""

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from llmkit.batches import side_by_side
from llmkit.exercises import Exercise, Twin, mistakes

Batches = list[tuple[Tensor, Tensor]]


def bucketed(
    rows: list[list[int]], order: list[int], B: int, pool: int, filler: int = 0
) -> Batches:
    """Make batches of at most B rows of like length; `ClassBatches` does so in the kit.

    rows: ids of each text; order: numbers of rows, shuffled; pool: how many rows in a
    row are sorted by length together. Returns: ids (B, T) and mask (B, T) of each
    batch, T being its longest row; the mask is True where a token is.

    >>> [ids.tolist() for ids, _ in bucketed([[5, 6], [7], [8, 9]], [0, 1, 2], 2, 3)]
    [[[7, 0], [5, 6]], [[8, 9]]]
    """
    batches = []
    for start in range(0, len(order), pool):
        some = order[start : start + pool]
        near = sorted(some, key=lambda i: len(rows[i]))
        batches += [near[i : i + B] for i in range(0, len(near), B)]
    return [side_by_side([rows[i] for i in batch], filler) for batch in batches]


def with_arrays(rows, order, B, pool, filler=0) -> Batches:
    """Sort with NumPy, and fill up with torch."""
    lengths, batches = np.array([len(row) for row in rows]), []
    for some in np.split(np.array(order), range(pool, len(order), pool)):
        near = some[np.argsort(lengths[some], kind="stable")]
        for batch in np.split(near, range(B, len(near), B)):
            ids = [torch.tensor(rows[i]) for i in batch]
            mask = [torch.ones(len(row), dtype=torch.bool) for row in ids]
            batches.append(
                (pad_sequence(ids, True, filler), pad_sequence(mask, True, False))
            )
    return batches


def cases(seed: int) -> tuple:
    """Draw rows in which the filler is a token too, and an order that ends unevenly."""
    random = torch.Generator().manual_seed(seed)
    B, pools = 2 + seed % 2, 2
    n = B * B * pools + B * pools + B + 1  # pools, then a batch and one row
    lengths = torch.randint(2, 12, (n,), generator=random).tolist()
    lengths[0], lengths[1] = 14, 15  # the longest row is alone
    rows = [torch.randint(6, (T,), generator=random).tolist() for T in lengths]
    for row in rows:
        row[-1] = 0  # the filler's id is a token's, too
    order = torch.randperm(n, generator=random).tolist()
    return rows, order, B, B * pools


# The classic mistakes. What a mistake says to the learner is its docstring.


def filled_to_the_longest(rows, order, B, pool, filler=0):
    """It looks like every batch is as long as the longest row of all: fill each up to
    the longest of its own rows, that is the point.
    """
    longest = max(rows, key=len)
    found = []
    for ids, mask in bucketed(rows, order, B, pool, filler):
        own = [row[real].tolist() for row, real in zip(ids, mask)]
        wide = side_by_side([*own, longest], filler)
        found.append((wide[0][:-1], wide[1][:-1]))
    return found


def sorted_once(rows, order, B, pool, filler=0):
    """It looks like you sort all rows at once: then the same rows meet in every epoch,
    whatever the shuffle. Sort within pools, `pool` rows of `order` at a time.
    """
    return bucketed(rows, order, B, len(order), filler)


def not_sorted(rows, order, B, pool, filler=0):
    """It looks like rows stay as they were shuffled: each batch is filled up to its own
    longest row, but that is nearly always a long one. Sort each pool by length first.
    """
    cuts = [order[i : i + B] for i in range(0, len(order), B)]
    return [side_by_side([rows[i] for i in batch], filler) for batch in cuts]


def last_dropped(rows, order, B, pool, filler=0):
    """It looks like batches that are not full are dropped: every row comes once an
    epoch, so the last ones make a smaller batch.
    """
    found = bucketed(rows, order, B, pool, filler)
    return [batch for batch in found if len(batch[0]) == B]


def known_by_number(rows, order, B, pool, filler=0):
    """It looks like the mask asks which ids are the filler: a text may hold that id
    itself. The length of each row tells what is filled up.
    """
    found = bucketed(rows, order, B, pool, filler)
    return [(ids, ids != filler) for ids, _ in found]


def mask_upside_down(rows, order, B, pool, filler=0):
    """It looks like your mask is upside down: it is True where a token is."""
    return [(ids, ~mask) for ids, mask in bucketed(rows, order, B, pool, filler)]


def cut_to_the_shortest(rows, order, B, pool, filler=0):
    """It looks like rows are cut to the shortest of their batch: nothing may get lost.
    Fill the others up to the longest.
    """
    found = []
    for ids, mask in bucketed(rows, order, B, pool, filler):
        T = int(mask.sum(dim=1).min())
        found.append((ids[:, :T], mask[:, :T]))
    return found


def pools_of_batches(rows, order, B, pool, filler=0):
    """It looks like you take `pool` for a number of batches: it is one of rows, which
    are sorted together.
    """
    return bucketed(rows, order, B, pool * B, filler)


BUCKETED = Exercise(
    id="07.1",
    kind="implement",
    title="buckets and dynamic padding",
    minutes=15,
    difficulty=2,
    checker=Twin(trusted=with_arrays, cases=cases, runs=10),
    hints=(
        "Three steps: cut `order` into pools; sort each pool by the length of its rows "
        "(`sorted(some, key=...)`); cut it into batches of B. Only then fill up, each "
        "batch for itself.",
        "`some = order[start : start + pool]`, with `start` in `range(0, len(order), "
        "pool)`; `near = sorted(some, key=lambda i: len(rows[i]))`; the batches are "
        "`near[i : i + B]`. `side_by_side` of `llmkit.batches` takes a list of rows "
        "and returns ids and mask.",
    ),
    solution=bucketed,
    why="Rows of like length hardly need filling, and pools leave most of the shuffle.",
    wrong=mistakes(
        filled_to_the_longest,
        sorted_once,
        not_sorted,
        last_dropped,
        known_by_number,
        mask_upside_down,
        cut_to_the_shortest,
        pools_of_batches,
    ),
)
