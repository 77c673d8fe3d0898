"""From a line of token ids to batches of inputs and labels. Lessons 03, 04 and 06.

The objective lives here, in the labels. For next-token prediction the label of each
position is the token after it; -100 asks for nothing. A model never shifts anything.

The batch of a step is a pure function of the seed and the step's number. So a run that
resumes at step 500 sees what it would have seen, and so does each of many processes.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache

import torch
from torch import Tensor

from llmkit.metrics import IGNORE

Batch = tuple[Tensor, Tensor]  # inputs (B, T), labels (B, T)


def next_token(rows: Tensor) -> Batch:
    """Split rows (B, T + 1) into inputs and the labels that follow them, (B, T) each.

    >>> next_token(torch.tensor([[7, 8, 9]]))
    (tensor([[7, 8]]), tensor([[8, 9]]))
    """
    return rows[:, :-1], rows[:, 1:]


@dataclass(frozen=True)
class NextTokenBatches:
    """Draw batches of windows, every window once before any comes twice.

    An epoch cuts the ids into windows of `context`, beginning at a random place, and
    deals them out in random order. With `boundary`, a window begins right after that
    token (a story after the line break that ends the one before it), so that nothing
    in it hangs on a text that the model cannot see.

    ids: (N,); batch i, ``batches[i]``: inputs and labels, (B, T) each.
    Raises: ValueError if there are too few ids for one batch.

    >>> batches = NextTokenBatches(torch.arange(100), context=8, batch_size=2)
    >>> inputs, labels = batches[0]
    >>> inputs.shape, bool((labels == inputs + 1).all())
    (torch.Size([2, 8]), True)
    """

    ids: Tensor  # (N,) the text as token ids
    context: int  # T, tokens a row
    batch_size: int  # B, rows a batch
    seed: int = 0  # another seed, another order
    boundary: int | None = None  # the token after which a row may begin

    def __post_init__(self):
        _check_length(self.ids, self.context, self.boundary)
        if len(self) < 1:
            raise ValueError(
                f"one batch needs {self.batch_size} rows of {self.context} tokens and "
                f"the text gives {self._rows}; use more text, a smaller "
                "batch or a shorter context"
            )

    def __len__(self) -> int:
        """Count the batches of one epoch."""
        return self._rows // self.batch_size

    def __getitem__(self, step: int) -> Batch:
        epoch, place = divmod(step, len(self))
        starts = self._starts(epoch)[place * self.batch_size :][: self.batch_size]
        rows = self.ids[starts[:, None] + torch.arange(self.context + 1)]  # (B, T + 1)
        return next_token(rows)

    @cached_property
    def _rows(self) -> int:
        """Count the windows of one epoch."""
        if self.boundary is None:  # one window is lost to the random beginning
            return max((len(self.ids) - 1) // self.context - 1, 0)
        return len(self._after_boundaries)

    @cached_property
    def _after_boundaries(self) -> Tensor:
        return boundaries(self.ids[: len(self.ids) - self.context], self.boundary)

    @cached_property
    def _starts(self):
        """Return where each window of an epoch begins, in the order of its batches."""

        @lru_cache(maxsize=1)  # the epoch under way
        def starts(epoch: int) -> Tensor:
            random = torch.Generator().manual_seed(self.seed * 1_000_003 + epoch)
            if self.boundary is None:
                offset = int(torch.randint(self.context, (1,), generator=random))
                found = offset + self.context * torch.arange(self._rows)
            else:
                found = self._after_boundaries
            return found[torch.randperm(len(found), generator=random)]

        return starts


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


def evaluation_batches(
    ids: Tensor, context: int, batch_size: int = 64, boundary: int | None = None
) -> list[Batch]:
    """Cut ids into windows that ask for every token but the first exactly once.

    Windows follow each other without overlap; the last may be short and is filled up
    with labels of -100. With `boundary`, a window ends where a document ends and holds
    as many whole documents as fit, so that none is judged by its middle alone.

    Returns: a list of (inputs, labels), (up to B, T) each.

    >>> (inputs, labels), = evaluation_batches(torch.arange(6), context=3)
    >>> labels.tolist()
    [[1, 2, 3], [4, 5, -100]]
    """
    _check_length(ids, context, boundary)
    ends = _window_ends(ids, context, boundary)
    starts = [0, *ends[:-1]]
    rows = torch.full((len(ends), context + 1), IGNORE)
    for row, start, end in zip(rows, starts, ends):
        row[: end - start + 1] = ids[start : end + 1]
    inputs, labels = next_token(rows)  # (windows, T) each
    inputs = inputs.masked_fill(inputs == IGNORE, 0)  # any token: nothing is asked
    return list(zip(inputs.split(batch_size), labels.split(batch_size)))


def _window_ends(ids: Tensor, context: int, boundary: int | None) -> list[int]:
    """Return the index of the last label of each window."""
    last = len(ids) - 1
    if boundary is None:
        return [*range(context, last, context), last]
    stops = [0, *boundaries(ids, boundary).tolist()]  # the first may be cut already
    ends, start = [], 0
    for stop, following in zip(stops, [*stops[1:], last]):
        if following - start > context and stop > start:
            ends.append(stop)
            start = stop
        while following - start > context:  # one document longer than a window
            start += context
            ends.append(start)
    return ends if ends and ends[-1] == last else [*ends, last]


def boundaries(ids: Tensor, boundary: int) -> Tensor:
    """Return the index of every boundary token in ids (N,)."""
    return (ids == boundary).nonzero().squeeze(1)  # (number of boundaries,)


def _check_length(ids: Tensor, context: int, boundary: int | None) -> None:
    if context < 1:
        raise ValueError(f"a window needs at least 1 token: got context {context}")
    if len(ids) < 2:
        raise ValueError(
            f"the text is {len(ids)} tokens long: there is no next token to predict"
        )
    if boundary is not None and not (ids == boundary).any():
        raise ValueError(
            f"the boundary token {boundary} does not occur in the text; leave it out, "
            "or choose one that ends each document"
        )
