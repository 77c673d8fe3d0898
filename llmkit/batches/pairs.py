"""Pairs of texts side by side, filled up to one length. Lesson 03."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache

import torch
from torch import Tensor

from llmkit.metrics import IGNORE

PairBatch = tuple[tuple[Tensor, Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class PairBatches:
    """Draw batches of (source, target) pairs, each pair once before any comes twice.

    A target is fed behind a boundary token and asks for its own tokens, then for the
    boundary: so a decoder learns how to begin and when to stop. Rows are as long as
    the longest in their batch; what fills up the others is masked, and asks nothing.

    pairs: sources and targets as ids; boundary: the token before and after a target.
    Batch i, ``batches[i]``: ((source (B, S), target (B, T), source_mask (B, S)), labels
    (B, T)), the first three being what `Seq2Seq` is called with.
    Raises: ValueError if there are fewer pairs than one batch needs.

    >>> (source, target, mask), labels = PairBatches([([1, 2], [2, 1])], 1, 0)[0]
    >>> target.tolist(), labels.tolist()
    ([[0, 2, 1]], [[2, 1, 0]])
    """

    pairs: Sequence[tuple[list[int], list[int]]]
    batch_size: int  # B, rows a batch
    boundary: int  # stands before and after each target
    seed: int = 0  # another seed, another order

    def __post_init__(self):
        if self.batch_size < 1:
            raise ValueError(f"a batch needs at least 1 row: got {self.batch_size}")
        if len(self) < 1:
            raise ValueError(
                f"one batch needs {self.batch_size} pairs and there are "
                f"{len(self.pairs)}; use more pairs or a smaller batch"
            )

    def __len__(self) -> int:
        """Count the batches of one epoch."""
        return len(self.pairs) // self.batch_size

    def __getitem__(self, step: int) -> PairBatch:
        epoch, place = divmod(step, len(self))
        rows = self._order(epoch)[place * self.batch_size :][: self.batch_size]
        return pair_batch([self.pairs[row] for row in rows.tolist()], self.boundary)

    @cached_property
    def _order(self):
        """Return the order of the pairs in an epoch."""

        @lru_cache(maxsize=1)  # the epoch under way
        def order(epoch: int) -> Tensor:
            random = torch.Generator().manual_seed(self.seed * 1_000_003 + epoch)
            return torch.randperm(len(self.pairs), generator=random)

        return order


def pair_batch(
    pairs: Sequence[tuple[list[int], list[int]]], boundary: int
) -> PairBatch:
    """Put pairs of ids side by side, as `PairBatches` says.

    >>> (source, _, mask), _ = pair_batch([([5], [6]), ([7, 8], [9])], boundary=0)
    >>> source.tolist(), mask.tolist()
    ([[5, 0], [7, 8]], [[True, False], [True, True]])
    """
    sources, targets = zip(*pairs)
    source = pad([*sources], boundary)  # (B, S)
    mask = pad([[1] * len(ids) for ids in sources], 0).bool()  # (B, S)
    target = pad([[boundary, *ids] for ids in targets], boundary)  # (B, T)
    labels = pad([[*ids, boundary] for ids in targets], IGNORE)  # (B, T)
    return (source, target, mask), labels


def pad(rows: Sequence[list[int]], filler: int) -> Tensor:
    """Fill rows up to the length of the longest: (B, T).

    >>> pad([[1, 2], [3]], filler=0).tolist()
    [[1, 2], [3, 0]]
    """
    longest = max(map(len, rows))
    filled = [[*row, *[filler] * (longest - len(row))] for row in rows]
    return torch.tensor(filled, dtype=torch.long)  # (B, T)
