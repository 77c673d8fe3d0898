"""Windows of a long line of ids, each token asking for the next. Lessons 04 and 06."""

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
class Windows:
    """Deal out windows of a line of ids, every one once before any comes twice.

    An epoch cuts the ids into windows side by side, beginning at a random place, and
    deals them out in random order. With `boundary`, a window begins with that token (a
    story behind the line break that ends the one before it), so that nothing in it
    hangs on a text that the model cannot see.

    ids: (N,), in memory or mapped from a file. ``windows[i]``: (B, width), for step i.
    Raises: ValueError if there are too few ids for one batch.

    >>> windows = Windows(torch.arange(100), width=8, batch_size=2)
    >>> windows[0].shape, len(windows)
    (torch.Size([2, 8]), 5)
    """

    ids: Tensor  # (N,) the text as token ids
    width: int  # tokens from the beginning of one window to that of the next
    batch_size: int  # B, rows a batch
    seed: int = 0  # another seed, another order
    boundary: int | None = None  # the token that a row may begin with
    more: int = 0  # tokens of the next window that each shows too

    def __post_init__(self):
        _check_length(self.ids, self.width, self.boundary)
        if self.batch_size < 1:
            raise ValueError(f"a batch needs at least 1 row: got {self.batch_size}")
        if len(self) < 1:
            raise ValueError(
                f"one batch needs {self.batch_size} rows of {self.width} tokens and "
                f"the text gives {self._rows}; use more text, a smaller "
                "batch or a shorter context"
            )

    def __len__(self) -> int:
        """Count the batches of one epoch."""
        return self._rows // self.batch_size

    def __getitem__(self, step: int) -> Tensor:
        epoch, place = divmod(step, len(self))
        starts = self._starts(epoch)[place * self.batch_size :][: self.batch_size]
        span = torch.arange(self.width + self.more)
        return self.ids[starts[:, None] + span].long()  # (B, width + more)

    @cached_property
    def _rows(self) -> int:
        """Count the windows of one epoch."""
        if self.boundary is None:  # one window is lost to the random beginning
            return max((len(self.ids) - self.more) // self.width - 1, 0)
        return len(self._at_boundaries)

    @cached_property
    def _at_boundaries(self) -> Tensor:
        last = len(self.ids) - self.width - self.more + 1
        return boundaries(self.ids[: max(last, 0)], self.boundary)

    @cached_property
    def _starts(self):
        """Return where each window of an epoch begins, in the order of its batches."""

        @lru_cache(maxsize=1)  # the epoch under way
        def starts(epoch: int) -> Tensor:
            random = torch.Generator().manual_seed(self.seed * 1_000_003 + epoch)
            if self.boundary is None:
                offset = int(torch.randint(self.width, (1,), generator=random))
                found = offset + self.width * torch.arange(self._rows)
            else:
                found = self._at_boundaries
            return found[torch.randperm(len(found), generator=random)]

        return starts


@dataclass(frozen=True)
class NextTokenBatches:
    """Draw batches of `Windows` in which each token asks for the one after it.

    ids: (N,); batch i, ``batches[i]``: inputs and labels, (B, T) each.
    Raises: ValueError if there are too few ids for one batch.
    Source: Lesson 06.

    >>> batches = NextTokenBatches(torch.arange(100), context=8, batch_size=2)
    >>> inputs, labels = batches[0]
    >>> inputs.shape, bool((labels == inputs + 1).all())
    (torch.Size([2, 8]), True)
    """

    ids: Tensor  # (N,) the text as token ids
    context: int  # T, tokens a row
    batch_size: int  # B, rows a batch
    seed: int = 0  # another seed, another order
    boundary: int | None = None  # the token that a row may begin with

    def __post_init__(self):
        len(self.windows)  # makes them, which checks

    @cached_property
    def windows(self) -> Windows:
        """The rows (B, T + 1), before they are split into inputs and labels."""
        shape = self.context, self.batch_size, self.seed, self.boundary
        return Windows(self.ids, *shape, more=1)

    def __len__(self) -> int:
        """Count the batches of one epoch."""
        return len(self.windows)

    def __getitem__(self, step: int) -> Batch:
        return next_token(self.windows[step])


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
