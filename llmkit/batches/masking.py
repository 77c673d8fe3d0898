"""Hide tokens and ask for them: masked prediction. Lessons 04 and 05."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
import torch.nn.functional as F
from torch import Tensor

from llmkit.batches.packing import document_numbers
from llmkit.batches.windows import Windows
from llmkit.metrics import IGNORE

# {"ids", "asked"} and, where documents are packed, "documents"; labels: (B, T) each
Masked = tuple[dict[str, Tensor], Tensor]


@dataclass(frozen=True)
class Masking:
    """Choose tokens by lot, and hide most of them: BERT's 80/10/10.

    Each token is chosen with probability `share`, alone or with its whole word. Of the
    chosen, 80% become the mask, 10% another token by lot, 10% stay as they are; all are
    asked for. A model that only ever had to answer at masks would owe nothing to the
    other places, and the texts that it is used on later have no masks.

    Special tokens are never chosen, and never put in by lot.

    Raises: ValueError if a share is not between 0 and 1, the three kinds do not make 1,
    or an id is not in the vocabulary.
    Source: Devlin et al. 2019, section 3.1; whole words: Cui et al. 2019; Lesson 05.

    >>> masking = Masking(mask_id=0, vocab_size=1000, share=0.5)
    >>> ids = torch.arange(1, 101)[None]
    >>> inputs, labels = masking(ids, torch.Generator().manual_seed(0))
    >>> asked = labels != -100
    >>> bool((labels == ids)[asked].all()), bool((inputs == ids)[~asked].all())
    (True, True)
    """

    mask_id: int  # the token that stands for "hidden"
    vocab_size: int  # V
    special: tuple[int, ...] = ()  # never chosen; the mask itself is one of them
    share: float = 0.15  # of tokens that are asked for
    kinds: tuple[float, float, float] = (0.8, 0.1, 0.1)  # mask, another token, itself
    # (V, 2): does each token begin, and does it end, with a letter? Then words are
    # chosen whole. From `tokenizer.word_edges`.
    word_edges: Sequence[tuple[bool, bool]] | None = None

    def __post_init__(self):
        if not 0 < self.share < 1:
            raise ValueError(
                f"the share of masked tokens must be between 0 and 1: got {self.share};"
                " BERT takes 0.15"
            )
        if not (min(self.kinds) >= 0 and abs(sum(self.kinds) - 1) <= 1e-6):
            raise ValueError(
                "mask, another token and itself are shares that make 1 together: got "
                f"{self.kinds}; BERT takes (0.8, 0.1, 0.1)"
            )
        for token in (self.mask_id, *self.special):
            if not 0 <= token < self.vocab_size:
                raise ValueError(
                    f"special token {token} is not in the vocabulary: expected 0 to "
                    f"{self.vocab_size - 1}"
                )
        if self.word_edges is not None and len(self.word_edges) != self.vocab_size:
            raise ValueError(
                f"word_edges has a row for each of the {self.vocab_size} tokens: got "
                f"{len(self.word_edges)}; take it from tokenizer.word_edges"
            )
        if not len(self._ordinary):
            raise ValueError("every token is special: there is none to hide")

    def __call__(self, ids: Tensor, random: torch.Generator) -> tuple[Tensor, Tensor]:
        """Hide tokens of ids (B, T): return inputs and labels, (B, T) each."""
        draw = torch.rand(ids.shape, generator=random)  # (B, T)
        if self.word_edges is not None:  # one lot for all tokens of a word
            draw = draw.gather(1, self._words(ids))  # (B, T)
        chosen = (draw < self.share) & ~self._is_special[ids]  # (B, T)
        fate = torch.rand(ids.shape, generator=random)  # (B, T)
        lot = torch.randint(len(self._ordinary), ids.shape, generator=random)
        masked, replaced, _ = self.kinds
        inputs = ids.masked_fill(chosen & (fate < masked), self.mask_id)
        other = chosen & (fate >= masked) & (fate < masked + replaced)
        inputs = torch.where(other, self._ordinary[lot], inputs)  # (B, T)
        return inputs, ids.masked_fill(~chosen, IGNORE)

    def _words(self, ids: Tensor) -> Tensor:
        """Number the words of each row: (B, T) to (B, T), from 0."""
        begins, ends = self._edges[ids].unbind(-1)  # (B, T) each
        goes_on = begins[:, 1:] & ends[:, :-1]  # (B, T - 1)
        return F.pad(~goes_on, (1, 0)).cumsum(1)  # (B, T)

    @cached_property
    def _edges(self) -> Tensor:
        return torch.tensor(self.word_edges)  # (V, 2)

    @cached_property
    def _is_special(self) -> Tensor:
        table = torch.zeros(self.vocab_size, dtype=torch.bool)  # (V,)
        table[[self.mask_id, *self.special]] = True
        return table

    @cached_property
    def _ordinary(self) -> Tensor:
        return (~self._is_special).nonzero().squeeze(1)  # tokens that are not special


@dataclass(frozen=True)
class MaskedBatches:
    """Draw full rows, hide some of their tokens, and ask for those.

    The lots of batch i depend on the seed and on i: every epoch hides other tokens
    (dynamic masking), and a run that resumes hides what it would have hidden.

    ids: (N,). ``batches[i]``: inputs with "ids", "asked" (True where a token is asked
    for) and, with a boundary, "documents"; and labels, -100 but where asked. All are
    (B, T).
    Raises: ValueError if there are too few ids for one batch.
    Source: Devlin et al. 2019; dynamic masking: Liu et al. 2019; Lesson 05.

    >>> masking = Masking(mask_id=0, vocab_size=50, special=(1,))
    >>> batches = MaskedBatches(torch.arange(2, 50).repeat(9), masking, 16, 4)
    >>> inputs, labels = batches[0]
    >>> bool((labels[inputs["asked"]] >= 2).all()), labels.shape
    (True, torch.Size([4, 16]))
    """

    ids: Tensor  # (N,) the text as token ids
    masking: Masking  # what is hidden, and how
    context: int  # T, tokens a row
    batch_size: int  # B, rows a batch
    boundary: int | None = None  # the token after each document, kept apart by it
    seed: int = 0  # another seed, other rows and other masks

    def __post_init__(self):
        len(self.windows)  # makes them, which checks
        _check_boundary(self.masking, self.boundary)

    @cached_property
    def windows(self) -> Windows:
        """The rows (B, T) before anything is hidden."""
        return Windows(self.ids, self.context, self.batch_size, self.seed)

    def __len__(self) -> int:
        """Count the batches of one epoch."""
        return len(self.windows)

    def __getitem__(self, step: int) -> Masked:
        # Far from the seeds of the epochs, so that no lot is used twice.
        lot = (2**62 + self.seed * 2**31 + step) % 2**63
        random = torch.Generator().manual_seed(lot)
        return _hide(self.windows[step], self.masking, self.boundary, random)


def masked_evaluation(
    ids: Tensor,
    masking: Masking,
    context: int,
    batch_size: int = 64,
    boundary: int | None = None,
    seed: int = 0,
) -> list[Masked]:
    """Cut ids into windows side by side and hide tokens of each, once and for all.

    The same call gives the same masks, so that two models are asked the same. What is
    left over at the end, less than a window, is left out.

    Returns: a list of batches as those of `MaskedBatches`, up to B rows each.
    Raises: ValueError if the text is empty or nothing is asked.

    >>> masking = Masking(mask_id=0, vocab_size=50)
    >>> (inputs, labels), = masked_evaluation(torch.arange(50), masking, context=10)
    >>> labels.shape, bool((labels != -100).any())
    (torch.Size([5, 10]), True)
    """
    _check_boundary(masking, boundary)
    width = min(context, len(ids))
    if width < 1 or batch_size < 1:
        raise ValueError(
            "an evaluation needs at least 1 token, 1 a row and 1 row a batch: got "
            f"{len(ids)} tokens, context {context} and batch_size {batch_size}"
        )
    rows = ids[: len(ids) // width * width].long().view(-1, width)  # (windows, T)
    random = torch.Generator().manual_seed(seed)
    batches = [_hide(x, masking, boundary, random) for x in rows.split(batch_size)]
    if not any((labels != IGNORE).any() for _, labels in batches):
        raise ValueError(
            f"no token of the {len(ids):,} was chosen, so nothing is asked: use more "
            f"text, or a larger share than {masking.share}"
        )
    return batches


def _check_boundary(masking: Masking, boundary: int | None) -> None:
    if boundary not in (None, masking.mask_id, *masking.special):
        raise ValueError(
            f"the boundary {boundary} must never be hidden, nor put in by lot: make it "
            f"one of the special tokens, which are {masking.special}"
        )


def _hide(rows: Tensor, masking: Masking, boundary: int | None, random) -> Masked:
    ids, labels = masking(rows, random)  # (B, T) each
    inputs = {"ids": ids, "asked": labels != IGNORE}
    if boundary is not None:  # of the rows as they were: no lot may fake a boundary
        inputs["documents"] = document_numbers(rows, boundary)  # (B, T)
    return inputs, labels
