"""Exercise 03.1: implement causal heads whose three maps are fused into one."""

import math

import torch
from torch import Tensor, nn

from llmkit.exercises import Exercise, Twin, mistakes


def fused_heads(x: Tensor, w_qkv: Tensor, w_out: Tensor, n_heads: int) -> Tensor:
    """Let each position look back in H ways at once; (B, T, D) to (B, T, D).

    w_qkv: (3D, D), all queries, then all keys, then all values, each cut into heads.
    w_out: (D, D). Both are used as in `nn.Linear`, x @ w.T, without a bias.
    """
    B, T, D = x.shape
    K = D // n_heads
    qkv = (x @ w_qkv.T).view(B, T, 3, n_heads, K)  # one product for all three
    q, k, v = qkv.permute(2, 0, 3, 1, 4)  # (B, H, T, K) each
    scores = q @ k.mT / math.sqrt(K)  # (B, H, T, T)
    past = torch.ones(T, T, dtype=torch.bool, device=x.device).tril()  # (T, T)
    weights = scores.masked_fill(~past, -math.inf).softmax(dim=-1)  # (B, H, T, T)
    mixed = (weights @ v).transpose(1, 2).flatten(2)  # (B, T, D), heads side by side
    return mixed @ w_out.T  # (B, T, D)


def torchs_own(x: Tensor, w_qkv: Tensor, w_out: Tensor, n_heads: int) -> Tensor:
    """Give the weights to torch's own layer, with its own causal mask."""
    look = nn.MultiheadAttention(x.size(-1), n_heads, bias=False, batch_first=True)
    look.load_state_dict({"in_proj_weight": w_qkv, "out_proj.weight": w_out})
    hidden = nn.Transformer.generate_square_subsequent_mask(x.size(1))  # (T, T)
    return look(x, x, x, attn_mask=hidden, need_weights=False)[0]  # (B, T, D)


def cases(seed: int) -> tuple:
    """Draw x and weights; B, T, H and K all differ, and T is 3 or more."""
    random = torch.Generator().manual_seed(seed)
    B, T, H, K = (2 + torch.randperm(4, generator=random)).tolist()
    if T == 2:
        B, T = T, B
    D = H * K
    x = torch.randn(B, T, D, generator=random)  # (B, T, D)
    w_qkv = 1.5 * torch.randn(3 * D, D, generator=random) / math.sqrt(D)  # (3D, D)
    w_out = torch.randn(D, D, generator=random) / math.sqrt(D)  # (D, D)
    return x, w_qkv, w_out, H


# The classic mistakes. What a mistake says to the learner is its docstring.


def view_for_transpose(x, w_qkv, w_out, n_heads):
    """It looks like your view goes straight to (B, H, T, K) and back: the shapes are
    right, but each head gets whole tokens and mixes them. Cut D into (H, K) first, then
    swap T and H.
    """
    B, T, D = x.shape
    q, k, v = (
        part.reshape(B, n_heads, T, D // n_heads)
        for part in (x @ w_qkv.T).chunk(3, dim=-1)
    )
    return _look(q, k, v).reshape(B, T, D) @ w_out.T


def no_scale(x, w_qkv, w_out, n_heads):
    """It looks like you do not divide the scores by √K: the wider a head, the more its
    softmax puts everything on one key.
    """
    q, k, v = _heads(x, w_qkv, n_heads)
    return _join(_look(q * math.sqrt(q.size(-1)), k, v)) @ w_out.T


def mask_after_softmax(x, w_qkv, w_out, n_heads):
    """It looks like you mask after the softmax: the future has taken its share by then,
    and the rows no longer sum to 1. Mask the scores, with -∞.
    """
    q, k, v = _heads(x, w_qkv, n_heads)
    weights = _scores(q, k).softmax(dim=-1).tril()
    return _join(weights @ v) @ w_out.T


def mask_on_its_side(x, w_qkv, w_out, n_heads):
    """It looks like your mask is transposed: each position sees itself and what comes
    after. Rows are queries, columns are keys, and the past is the lower triangle
    (`tril`).
    """
    q, k, v = _heads(x, w_qkv, n_heads)
    return _join(_look(q, k, v, visible=_past(x.size(1)).T)) @ w_out.T


def no_mask(x, w_qkv, w_out, n_heads):
    """It looks like nothing hides the future: each position sees all of them. Mask the
    scores with `tril` before the softmax.
    """
    q, k, v = _heads(x, w_qkv, n_heads)
    return _join(_scores(q, k).softmax(dim=-1) @ v) @ w_out.T


def three_in_each_head(x, w_qkv, w_out, n_heads):
    """It looks like you cut the 3D numbers into (H, 3, K), as if each head's query, key
    and value lay together. Here all queries come first, then all keys, then all values:
    (3, H, K).
    """
    qkv = (x @ w_qkv.T).unflatten(-1, (n_heads, 3, -1))  # (B, T, H, 3, K)
    return _join(_look(*qkv.permute(3, 0, 2, 1, 4))) @ w_out.T


def no_output_map(x, w_qkv, w_out, n_heads):
    """It looks like you stop when the heads are joined: `w_out` is still to come, and
    without it what one head found never meets what another did.
    """
    return _join(_look(*_heads(x, w_qkv, n_heads)))


def join_without_transpose(x, w_qkv, w_out, n_heads):
    """It looks like you join the heads without swapping back: (B, H, T, K) has heads
    before time, so `transpose(1, 2)` comes first, and only then do H and K become D.
    """
    return _look(*_heads(x, w_qkv, n_heads)).reshape(x.shape) @ w_out.T


def _heads(x, w_qkv, n_heads):
    qkv = (x @ w_qkv.T).unflatten(-1, (3, n_heads, -1))  # (B, T, 3, H, K)
    return qkv.permute(2, 0, 3, 1, 4)  # (3, B, H, T, K)


def _scores(q, k):
    return q @ k.mT / math.sqrt(q.size(-1))  # (B, H, T, T)


def _past(T):
    return torch.ones(T, T, dtype=torch.bool).tril()  # (T, T)


def _look(q, k, v, visible=None):
    visible = _past(q.size(-2)) if visible is None else visible
    scores = _scores(q, k).masked_fill(~visible, -math.inf)
    return scores.softmax(dim=-1) @ v  # (B, H, T, K)


def _join(mixed):
    return mixed.transpose(1, 2).flatten(2)  # (B, T, D)


FUSED_HEADS = Exercise(
    id="03.1",
    kind="implement",
    title="fused causal heads",
    minutes=20,
    difficulty=3,
    checker=Twin(trusted=torchs_own, cases=cases),
    hints=(
        "One product, `x @ w_qkv.T`, makes 3D numbers a token. Cut them into "
        "(3, H, K), in this order, and bring 3 to the front and H before T. The rest "
        "is attention as you know it, and then the way back.",
        "`(x @ w_qkv.T).view(B, T, 3, n_heads, K).permute(2, 0, 3, 1, 4)` unpacks into "
        "`q, k, v`, each (B, H, T, K). Scale by √K, hide with -∞ what `tril` leaves "
        "out, softmax over the last dimension. `.transpose(1, 2).flatten(2)` joins "
        "the heads, and `@ w_out.T` lets them meet.",
    ),
    solution=fused_heads,
    why="One large product in place of 3·H small ones: the numbers are the same, and a "
    "GPU is happier. The price is one `permute`, which has to be right.",
    wrong=mistakes(
        view_for_transpose,
        no_scale,
        mask_after_softmax,
        mask_on_its_side,
        no_mask,
        three_in_each_head,
        no_output_map,
        join_without_transpose,
    ),
)
