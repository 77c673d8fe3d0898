"""Many documents in one row, without padding and without a look at a neighbour.

A row of one document each would be filled up to the longest; a row of packed documents
is full. What must not happen is that a token looks at another document: so the batch
tells the model which document each token belongs to. Lesson 04.
"""

from dataclasses import dataclass
from functools import cached_property

from torch import Tensor

from llmkit.batches.windows import Batch, Windows, boundaries, next_token

Packed = tuple[dict[str, Tensor], Tensor]  # {"ids", "documents"}, labels: (B, T) each


def document_numbers(ids: Tensor, boundary: int) -> Tensor:
    """Number the documents of each row: (B, T) to (B, T), from 0.

    The boundary that ends a document stands at the head of the next: it is known there,
    as every document has one before it, and from it the first token is predicted.

    >>> import torch
    >>> document_numbers(torch.tensor([[5, 6, 0, 7, 0, 8]]), boundary=0)
    tensor([[0, 0, 1, 1, 2, 2]])
    """
    return (ids == boundary).cumsum(dim=-1)  # (B, T)


def keep_apart(batch: Batch, boundary: int) -> Packed:
    """Tell the model of a batch which tokens belong together.

    >>> import torch
    >>> batch = torch.tensor([[5, 0, 7]]), torch.tensor([[0, 7, 8]])
    >>> inputs, labels = keep_apart(batch, boundary=0)
    >>> inputs["documents"].tolist(), labels.tolist()
    ([[0, 1, 1]], [[0, 7, 8]])
    """
    ids, labels = batch
    return {"ids": ids, "documents": document_numbers(ids, boundary)}, labels


@dataclass(frozen=True)
class PackedBatches:
    """Draw full rows of documents that can't see each other, asking for next tokens.

    Every label counts: the last token of a document asks for the boundary, and the
    boundary for the first token of the next document, knowing nothing of the last.

    ids: (N,), with the boundary after each document. ``batches[i]``: inputs with "ids"
    and "documents", and labels, (B, T) each.
    Raises: ValueError if there are too few ids for one batch, or no boundary in them.
    Source: Krell et al. 2021; Lesson 04.

    >>> import torch
    >>> line = torch.tensor([5, 6, 0, 7, 8, 9, 0]).repeat(9)
    >>> inputs, labels = PackedBatches(line, context=6, batch_size=2, boundary=0)[0]
    >>> inputs["ids"].shape, inputs["documents"].shape, labels.shape
    (torch.Size([2, 6]), torch.Size([2, 6]), torch.Size([2, 6]))
    """

    ids: Tensor  # (N,) the documents as token ids, one after the other
    context: int  # T, tokens a row
    batch_size: int  # B, rows a batch
    boundary: int  # the token after each document
    seed: int = 0  # another seed, another order

    def __post_init__(self):
        len(self.windows)  # makes them, which checks
        if not len(boundaries(self.ids, self.boundary)):
            raise ValueError(
                f"the boundary token {self.boundary} does not occur in the text: put "
                "it after each document, or use NextTokenBatches for a single one"
            )

    @cached_property
    def windows(self) -> Windows:
        """The rows (B, T + 1), before they are split into inputs and labels."""
        return Windows(self.ids, self.context, self.batch_size, self.seed, more=1)

    def __len__(self) -> int:
        """Count the batches of one epoch."""
        return len(self.windows)

    def __getitem__(self, step: int) -> Packed:
        return keep_apart(next_token(self.windows[step]), self.boundary)
