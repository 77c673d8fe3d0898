"""Labelled texts in batches of like length, so that little is filled up. Lesson 07."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from llmkit.batches.pairs import pad

ClassBatch = tuple[tuple[Tensor, Tensor], Tensor]

POOL = 50  # batches whose rows are sorted by length together


@dataclass(frozen=True)
class ClassBatches:
    """Draw batches of texts with one label each, every text once an epoch.

    Rows are shuffled, sorted by length within pools of some batches, and cut into
    batches, which come in random order: so a batch is as long as its longest row, and
    most of its rows are about as long. What fills up the others is masked. The last
    batch of an epoch may be smaller.

    With `blank` above 0, that share of the tokens is hidden behind `blank_id`, others
    in each epoch (word dropout, Iyyer et al. 2015), special tokens never.

    rows: ids of each text, special tokens included; labels: a class number each;
    filler: the id that fills rows up.
    Batch i, ``batches[i]``: ((ids (B, T), padding_mask (B, T)), labels (B,)), the first
    two being what a classifier is called with; the mask is True where a token is.
    Raises: ValueError if there is no row, or not one label a row.
    Source: Lesson 07.

    >>> batches = ClassBatches([[1, 2], [3], [4]], [0, 1, 1], batch_size=2, filler=0)
    >>> len(batches), sum(len(batches[i][1]) for i in range(2))
    (2, 3)
    """

    rows: Sequence[Sequence[int]]
    labels: Sequence[int]
    batch_size: int  # B, rows a batch
    filler: int = 0
    seed: int = 0  # another seed, another order
    blank: float = 0.0  # share of tokens to hide
    blank_id: int = 0  # what stands in their place
    special: frozenset[int] = frozenset()  # ids that are never hidden
    _orders: dict = field(default_factory=dict, repr=False, compare=False)

    def __post_init__(self):
        if self.batch_size < 1:
            raise ValueError(f"a batch needs at least 1 row: got {self.batch_size}")
        if not 0 <= self.blank < 1:
            raise ValueError(
                f"blank is a share of tokens, from 0 to below 1: got {self.blank}"
            )
        if len(self.rows) != len(self.labels) or not len(self.rows):
            raise ValueError(
                f"each text has one label: got {len(self.rows)} texts and "
                f"{len(self.labels)} labels; give at least one of each"
            )

    def __len__(self) -> int:
        """Count the batches of one epoch."""
        return math.ceil(len(self.rows) / self.batch_size)

    def __getitem__(self, step: int) -> ClassBatch:
        epoch, place = divmod(step, len(self))
        places = self._order(epoch)[place]
        ids, mask = side_by_side([self.rows[i] for i in places], self.filler)
        if self.blank:
            ids = self._hide(ids, mask, step)  # (B, T)
        return (ids, mask), torch.tensor([self.labels[i] for i in places])

    def _order(self, epoch: int) -> list[list[int]]:
        """Return which rows make each batch of an epoch."""
        if epoch not in self._orders:
            self._orders.clear()  # of the epoch before
            self._orders[epoch] = self._deal(epoch)
        return self._orders[epoch]

    def _deal(self, epoch: int) -> list[list[int]]:
        random = torch.Generator().manual_seed(self.seed * 1_000_003 + epoch)
        order = torch.randperm(len(self.rows), generator=random).tolist()
        B, pool = self.batch_size, self.batch_size * POOL
        batches = []
        for start in range(0, len(order), pool):
            near = sorted(order[start : start + pool], key=lambda i: len(self.rows[i]))
            batches += [near[i : i + B] for i in range(0, len(near), B)]
        turns = torch.randperm(len(batches), generator=random).tolist()
        return [batches[turn] for turn in turns]

    def _hide(self, ids: Tensor, mask: Tensor, step: int) -> Tensor:
        random = torch.Generator().manual_seed(self.seed * 1_000_003 + step)
        hidden = (torch.rand(ids.shape, generator=random) < self.blank) & mask  # (B, T)
        special = torch.tensor(sorted(self.special), dtype=ids.dtype)
        hidden &= ~torch.isin(ids, special)  # (B, T)
        return ids.masked_fill(hidden, self.blank_id)  # (B, T)

    @property
    def filled(self) -> float:
        """Return the share of positions in the first epoch that only fill rows up."""
        sizes = [[len(self.rows[i]) for i in batch] for batch in self._order(0)]
        room = sum(max(batch) * len(batch) for batch in sizes)
        return 1 - sum(map(sum, sizes)) / room


def side_by_side(
    rows: Sequence[Sequence[int]], filler: int = 0
) -> tuple[Tensor, Tensor]:
    """Put rows of ids in one tensor: ids (B, T) and the padding mask (B, T).

    >>> ids, mask = side_by_side([[5, 6], [7]])
    >>> ids.tolist(), mask.tolist()
    ([[5, 6], [7, 0]], [[True, True], [True, False]])
    """
    mask = pad([[1] * len(row) for row in rows], 0).bool()  # (B, T)
    return pad([list(row) for row in rows], filler), mask
