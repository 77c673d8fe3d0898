"""Exercise 01.3: debug heads that are mixed."""

import torch
from torch import Tensor

from llmkit.exercises import Exercise, Twin, mistakes


def split_heads(x: Tensor, n_heads: int) -> Tensor:
    """Cut each token's D numbers into H slices of K; (B, T, D) to (B, H, T, K).

    Cut the last dimension first, where one token's numbers lie side by side. Only then
    may heads and time change places.

    >>> split_heads(torch.arange(8).view(1, 2, 4), n_heads=2)[0, 0]
    tensor([[0, 1],
            [4, 5]])
    """
    B, T, D = x.shape
    slices = x.view(B, T, n_heads, D // n_heads)  # (B, T, H, K)
    return slices.transpose(1, 2)  # (B, H, T, K)


def slice_by_slice(x: Tensor, n_heads: int) -> Tensor:
    """Cut with torch's own `chunk`, and put the slices beside each other."""
    return torch.stack(x.chunk(n_heads, dim=-1), dim=1)  # (B, H, T, K)


def cases(seed: int) -> tuple:
    """Draw x and a number of heads; B, T, H and K all differ."""
    random = torch.Generator().manual_seed(seed)
    B, T, H, K = (2 + torch.randperm(4, generator=random)).tolist()
    return torch.randn(B, T, H * K, generator=random), H


# The classic mistakes. What a mistake says to the learner is its docstring.


def view_for_transpose(x, n_heads):
    """It looks like your view goes straight to (B, H, T, K): the shape is right, but
    the numbers are dealt out in the order of memory, so a head gets whole tokens and
    mixes them. Cut D into (H, K) first, then swap T and H.
    """
    B, T, D = x.shape
    return x.reshape(B, n_heads, T, D // n_heads)


def no_transpose(x, n_heads):
    """It looks like you cut the slices right and stop there: that is (B, T, H, K), so
    attention would compare the heads of one token. Swap T and H with `transpose(1, 2)`.
    """
    return _cut(x, n_heads)


def transpose_before_the_cut(x, n_heads):
    """It looks like you transpose x before you cut it: time then lies where the width
    was, and a slice holds one number at many times. Cut first, transpose after.
    """
    B, T, D = x.shape
    return x.transpose(1, 2).reshape(B, n_heads, T, D // n_heads)


def every_hth_number(x, n_heads):
    """It looks like you cut D into (K, H): head h then gets every H-th number, not a
    slice of neighbours. It is (H, K), heads before width.
    """
    B, T, D = x.shape
    return x.view(B, T, D // n_heads, n_heads).permute(0, 3, 1, 2)


def heads_into_batch(x, n_heads):
    """It looks like your heads are glued to the batch: (B·H, T, K). The slices are
    right, but the heads need a dimension of their own, number 1.
    """
    return _cut(x, n_heads).transpose(1, 2).flatten(0, 1)


def heads_before_batch(x, n_heads):
    """It looks like your heads come first, (H, B, T, K): the slices are right, but the
    batch stays dimension 0 and the heads are dimension 1.
    """
    return torch.stack(x.chunk(n_heads, dim=-1))


def time_last(x, n_heads):
    """It looks like time comes last, (B, H, K, T): that is kᵀ, which `attend` makes for
    itself. A row is one token: (B, H, T, K).
    """
    return _cut(x, n_heads).permute(0, 2, 3, 1)


def whole_width_for_all(x, n_heads):
    """It looks like each head gets all D numbers: that is H times the work, and not
    what MultiHeadAttention does. A head gets a slice of K = D / H.
    """
    return x.unsqueeze(1).expand(-1, n_heads, -1, -1)


def _cut(x, n_heads):
    B, T, D = x.shape
    return x.view(B, T, n_heads, D // n_heads)  # (B, T, H, K)


SPLIT_HEADS = Exercise(
    id="01.3",
    kind="debug",
    title="my heads are mixed",
    minutes=10,
    difficulty=2,
    checker=Twin(trusted=slice_by_slice, cases=cases),
    hints=(
        "`view` never moves a number: it only counts them off anew, in the order in "
        "which they lie in memory. Which dimension of (B, T, D) may be cut in two "
        "without a number leaving its token?",
        "`x.view(B, T, n_heads, D // n_heads)` cuts the last dimension, and "
        "`.transpose(1, 2)` puts heads before time.",
    ),
    solution=split_heads,
    why="Cut first, then swap: the view cuts D, the transpose moves T behind H.",
    wrong=mistakes(
        view_for_transpose,
        no_transpose,
        transpose_before_the_cut,
        every_hth_number,
        heads_into_batch,
        heads_before_batch,
        time_last,
        whole_width_for_all,
    ),
)
