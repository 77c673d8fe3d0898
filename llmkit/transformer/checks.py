"""What a model is told beside its token ids: whether it fits, and what it means."""

import torch
from torch import Tensor, nn


def check_padding(mask: Tensor | None, shape: tuple[int, ...]) -> None:
    """Refuse a padding mask that does not fit (B, T), or hides a whole row.

    Raises: ValueError that says what came and what was expected.
    """
    if mask is None:
        return
    if mask.dtype != torch.bool:
        raise ValueError(
            f"a padding mask is boolean, True where a token is: got {mask.dtype}; "
            "write mask.bool(), or mask == 0 if yours marks the padding"
        )
    if mask.shape != shape:
        raise ValueError(
            f"a padding mask has one entry for each token, {tuple(shape)}: got "
            f"{tuple(mask.shape)}; True where a token is, False at padding"
        )
    if not mask.any(dim=-1).all():
        row = int((~mask.any(dim=-1)).nonzero()[0])
        raise ValueError(
            f"row {row} of the padding mask is all False: a text without a single "
            "token can't be read; leave that row out"
        )


def check_asked(asked: Tensor, shape: tuple[int, ...]) -> None:
    """Refuse a choice of places that does not fit (B, T).

    Raises: ValueError that says what came and what was expected.
    """
    if asked.dtype != torch.bool or asked.shape != shape:
        raise ValueError(
            f"asked is boolean, one entry for each token, {tuple(shape)}: got "
            f"{asked.dtype} of shape {tuple(asked.shape)}; write labels != IGNORE"
        )


def may_look(padding_mask, documents, ids: Tensor, start: int) -> Tensor | None:
    """Say who may look at whom: nothing, (B, 1, 1, T) or (B, 1, T, T)."""
    mask = over_keys(padding_mask)
    if documents is None:
        return mask
    if documents.shape != ids.shape or start:
        raise ValueError(
            f"each token belongs to one document, and none comes from a cache: got "
            f"documents {tuple(documents.shape)}, token ids {tuple(ids.shape)} and "
            f"{start} tokens in the cache"
        )
    same = documents[:, None, :, None] == documents[:, None, None, :]  # (B, 1, T, T)
    return same if mask is None else same & mask


def over_keys(padding_mask: Tensor | None) -> Tensor | None:
    """Let every head and query see the same keys: (B, S) to (B, 1, 1, S)."""
    return None if padding_mask is None else padding_mask[:, None, None, :]


def look_up(table: nn.Embedding, ids: Tensor, what: str, advice: str) -> Tensor:
    """Return the rows of ids (B, T), as (B, T, D)."""
    try:
        return table(ids)  # (B, T, D)
    except IndexError:
        raise ValueError(
            f"{what} are from 0 to {table.num_embeddings - 1} here: got "
            f"{int(ids.min())} to {int(ids.max())}; {advice} tokenizer that this model "
            "was made for"
        ) from None
