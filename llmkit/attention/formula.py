"""The formula, what may be looked at, and what is said when shapes do not fit."""

import math

import torch
from torch import Tensor


def causal_mask(T: int, S: int | None = None, device=None) -> Tensor:
    """Let each position look at itself and at what came before, never ahead.

    With more keys than queries (S > T) the queries are the last T of the S positions,
    as they are when a model continues a text that it has already read.

    Returns: boolean (T, S), True where a query may look.
    Raises: ValueError if S < T.
    Source: Vaswani et al. 2017, section 3.2.3; Lesson 01.

    >>> causal_mask(3).int()
    tensor([[1, 0, 0],
            [1, 1, 0],
            [1, 1, 1]], dtype=torch.int32)
    """
    S = T if S is None else S
    if S < T:
        raise ValueError(
            f"the last queries stand at the last keys: got {T} queries and only {S} "
            "keys, so that the first would see nothing; give at least as many keys"
        )
    return torch.ones(T, S, dtype=torch.bool, device=device).tril(S - T)  # (T, S)


def attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    mask: Tensor | None = None,
    bias: Tensor | float = 0.0,
) -> tuple[Tensor, Tensor]:
    """Return softmax(q kᵀ / √K + bias) v, and the weights that made it.

    q: (..., T, K); k: (..., S, K); v: (..., S, K), or of any other width. mask:
    boolean, broadcast to (..., T, S), True where a query may look. bias: added to the
    scores, broadcast likewise (see `alibi`).

    Returns: output (..., T, K), as wide as v, and weights (..., T, S); each row of
    weights sums to 1.
    Raises: ValueError if shapes do not fit, the mask is not boolean, or a row may look
    at nothing at all.
    Source: Vaswani et al. 2017, equation 1; Lesson 01.

    >>> q = k = torch.eye(2)
    >>> output, weights = attention(q, k, v=torch.tensor([[1.0], [0.0]]))
    >>> weights.sum(dim=-1)
    tensor([1., 1.])
    """
    _check_shapes(q, k, v, mask, bias)
    scores = q @ k.transpose(-2, -1) / math.sqrt(q.size(-1)) + bias  # (..., T, S)
    if mask is not None:
        scores = scores.masked_fill(~mask, -math.inf)  # (..., T, S)
    weights = scores.softmax(dim=-1)  # (..., T, S)
    return weights @ v, weights  # (..., T, K), (..., T, S)


def _check_shapes(q: Tensor, k: Tensor, v: Tensor, mask, bias) -> None:
    shapes = f"q {tuple(q.shape)}, k {tuple(k.shape)}, v {tuple(v.shape)}"
    if min(q.ndim, k.ndim, v.ndim) < 2 or not q.shape[:-2] == k.shape[:-2]:
        raise ValueError(
            f"queries, keys and values are (..., T, K), with the same dimensions in "
            f"front: got {shapes}"
        )
    if q.size(-1) != k.size(-1):
        raise ValueError(
            f"queries and keys must have one width to be compared: got {shapes}; "
            "make the last dimension of q and k equal"
        )
    if k.shape[:-1] != v.shape[:-1]:
        raise ValueError(
            f"each key needs a value: got {shapes}; make dimension -2 of k and v equal"
        )
    wanted = (*q.shape[:-1], k.size(-2))  # (..., T, S)
    if isinstance(bias, Tensor) and not _fits(bias.shape, wanted):
        raise ValueError(
            f"a bias is added to the scores {wanted}: got {tuple(bias.shape)}"
        )
    if mask is None:
        return
    check_mask(mask, wanted)
    if not mask.any(dim=-1).all():
        raise ValueError(
            "a row of the mask is all False: that query may look at nothing, and a "
            "softmax over nothing is not a number; let it look at least at itself"
        )


def check_mask(mask: Tensor, wanted: tuple[int, ...]) -> None:
    """Refuse a mask that is not boolean, or does not fit scores (..., T, S).

    Raises: ValueError that says what came and what to write in its place.
    """
    if mask.dtype != torch.bool:
        raise ValueError(
            f"a mask is boolean, True where a query may look: got {mask.dtype}; "
            "write mask.bool(), or mask == 0 if yours marks what to hide"
        )
    whole = mask.ndim in (2, len(wanted))  # (T, S), or all the dimensions
    if not whole or not _fits(mask.shape, wanted):
        raise ValueError(
            f"the mask must fit the scores {tuple(wanted)}: got {tuple(mask.shape)}; "
            "one mask for all is (T, S), and one for the padding of each row is (B, S) "
            "written as mask[:, None, None]"
        )


def _fits(shape: tuple[int, ...], wanted: tuple[int, ...]) -> bool:
    """Tell whether a shape broadcasts to the one that is wanted."""
    back = zip(reversed(shape), reversed(wanted))
    return len(shape) <= len(wanted) and all(n in (1, m) for n, m in back)
