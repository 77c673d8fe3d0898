"""Attention: a look-up in which every key matches a little. Lesson 01.

A query is compared with every key; the better the match, the more of that key's value
is returned. `attention` is the formula, `MultiHeadAttention` owns the weights that make
queries, keys and values out of tokens, `KVCache` is what it remembers while it writes.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from llmkit.positions import rotate


def causal_mask(T: int, S: int | None = None, device=None) -> Tensor:
    """Let each position look at itself and at what came before, never ahead.

    With more keys than queries (S > T) the queries are the last T of the S positions,
    as they are when a model continues a text that it has already read.

    Returns: boolean (T, S), True where a query may look.
    Source: Vaswani et al. 2017, section 3.2.3; Lesson 01.

    >>> causal_mask(3).int()
    tensor([[1, 0, 0],
            [1, 1, 0],
            [1, 1, 1]], dtype=torch.int32)
    """
    S = T if S is None else S
    return torch.ones(T, S, dtype=torch.bool, device=device).tril(S - T)  # (T, S)


def attention(
    q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None, bias: Tensor = 0
) -> tuple[Tensor, Tensor]:
    """Return softmax(q kᵀ / √K + bias) v, and the weights that made it.

    q: (..., T, K); k: (..., S, K); v: (..., S, K). mask: boolean, broadcast to
    (..., T, S), True where a query may look. bias: added to the scores (see `alibi`).

    Returns: output (..., T, K) and weights (..., T, S); each row of weights sums to 1.
    Raises: ValueError if shapes do not fit, the mask is not boolean, or a row may look
    at nothing at all.
    Source: Vaswani et al. 2017, equation 1; Lesson 01.

    >>> q = k = torch.eye(2)
    >>> output, weights = attention(q, k, v=torch.tensor([[1.0], [0.0]]))
    >>> weights.sum(dim=-1)
    tensor([1., 1.])
    """
    _check_shapes(q, k, v, mask)
    scores = q @ k.transpose(-2, -1) / math.sqrt(q.size(-1)) + bias  # (..., T, S)
    if mask is not None:
        scores = scores.masked_fill(~mask, -math.inf)  # (..., T, S)
    weights = scores.softmax(dim=-1)  # (..., T, S)
    return weights @ v, weights  # (..., T, K), (..., T, S)


def _check_shapes(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> None:
    shapes = f"q {tuple(q.shape)}, k {tuple(k.shape)}, v {tuple(v.shape)}"
    if q.size(-1) != k.size(-1):
        raise ValueError(
            f"queries and keys must have one width to be compared: got {shapes}; "
            "make the last dimension of q and k equal"
        )
    if k.size(-2) != v.size(-2):
        raise ValueError(
            f"each key needs a value: got {shapes}; make dimension -2 of k and v equal"
        )
    if mask is None:
        return
    check_mask(mask, q.size(-2), k.size(-2))
    if not mask.any(dim=-1).all():
        raise ValueError(
            "a row of the mask is all False: that query may look at nothing, and a "
            "softmax over nothing is not a number; let it look at least at itself"
        )


def check_mask(mask: Tensor, T: int, S: int) -> None:
    """Refuse a mask that is not boolean, or does not fit scores (..., T, S).

    Raises: ValueError that says what came and what to write in its place.
    """
    if mask.dtype != torch.bool:
        raise ValueError(
            f"a mask is boolean, True where a query may look: got {mask.dtype}; "
            "write mask.bool(), or mask == 0 if yours marks what to hide"
        )
    if mask.shape[-2:] not in ((T, S), (1, S)):
        raise ValueError(
            f"the mask must fit the scores (T, S) = {(T, S)}: got {tuple(mask.shape)}"
        )


class KVCache:
    """Keep the keys and values of one attention layer, so that none is made twice.

    Room for `capacity` positions is set aside once, because growing a tensor by one
    position a token would copy all of it every time. Lesson 06.

    >>> cache = KVCache(capacity=8)
    >>> k, v = cache.append(torch.zeros(1, 2, 3, 4), torch.zeros(1, 2, 3, 4))
    >>> len(cache), k.shape
    (3, torch.Size([1, 2, 3, 4]))
    """

    def __init__(self, capacity: int):
        self.capacity = capacity
        self.length = 0
        self.keys: Tensor | None = None
        self.values: Tensor | None = None

    def __len__(self) -> int:
        return self.length

    def append(self, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Add keys and values (B, H, T, K); return all there are, (B, H, S, K).

        Raises: ValueError if more than `capacity` positions would be kept.
        """
        end = self.length + k.size(-2)
        if end > self.capacity:
            raise ValueError(
                f"the cache holds {self.capacity} positions and would need {end}; "
                "start a new cache from the last tokens, as generation.generate does"
            )
        if self.keys is None:
            B, H, _, K = k.shape
            self.keys = k.new_empty(B, H, self.capacity, K)
            self.values = v.new_empty(B, H, self.capacity, K)
        self.keys[:, :, self.length : end] = k
        self.values[:, :, self.length : end] = v
        self.length = end
        return self.keys[:, :, :end], self.values[:, :, :end]


class MultiHeadAttention(nn.Module):
    """Look in H ways at once: each head has its own queries, keys and values.

    With `n_kv_heads` fewer than `n_heads`, several heads share their keys and values
    (grouped-query attention): less to remember in a cache. With `qk_norm`, queries and
    keys are brought to one length first, so that no score can run away.

    x: (B, T, D) in, (B, T, D) out.
    Raises: ValueError if n_heads does not divide d_model, or n_kv_heads not n_heads.
    Source: Vaswani et al. 2017, section 3.2.2; grouped queries: Ainslie et al. 2023;
    QK-norm: Henry et al. 2020; Lessons 01 and 03.

    >>> look = MultiHeadAttention(d_model=8, n_heads=2, causal=True)
    >>> look(torch.zeros(1, 5, 8)).shape
    torch.Size([1, 5, 8])
    """

    def __init__(
        self,
        d_model: int,
        n_heads: int,
        causal: bool = False,
        bias: bool = True,
        n_kv_heads: int = 0,
        qk_norm: bool = False,
    ):
        super().__init__()
        G = n_kv_heads or n_heads
        check_heads(d_model, n_heads, G)
        self.n_heads, self.n_kv_heads, self.causal = n_heads, G, causal
        self.d_head = d_model // n_heads
        width = d_model + 2 * G * self.d_head  # H queries, G keys, G values
        self.qkv = nn.Linear(d_model, width, bias=bias)  # three maps in one
        self.out = nn.Linear(d_model, d_model, bias=bias)
        self.q_norm = nn.RMSNorm(self.d_head, eps=1e-6) if qk_norm else None
        self.k_norm = nn.RMSNorm(self.d_head, eps=1e-6) if qk_norm else None

    def forward(
        self,
        x: Tensor,
        turns: Tensor | None = None,
        slopes: Tensor | None = None,
        cache: KVCache | None = None,
        watch: list | None = None,
        mask: Tensor | None = None,
        memory: Tensor | None = None,
    ) -> Tensor:
        """Mix each position with those it may look at.

        turns: (2, T, K/2) from `rotary`; slopes: (H, T, S) from `alibi`; cache: keys
        and values of the positions before x; watch: a list that receives the weights
        (B, H, T, S); mask: boolean, broadcast to (B, H, T, S), True where a query may
        look; memory: (B, S, D), what to look at instead of x (cross-attention).
        Without `watch` torch computes the same by a faster road that never holds all
        the weights at once.
        """
        q, k, v = self._project(x, memory)  # (B, H, T, K), then (B, G, S, K) twice
        if self.q_norm is not None:
            q, k = self.q_norm(q), self.k_norm(k)  # as they were, of length √K
        if turns is not None:
            q, k = rotate(q, turns), rotate(k, turns)  # as they were, turned
        if cache is not None:
            k, v = cache.append(k, v)  # (B, G, S, K)
        if self.n_kv_heads < self.n_heads:
            each = self.n_heads // self.n_kv_heads  # heads that share a key
            k = k.repeat_interleave(each, dim=1)  # (B, H, S, K)
            v = v.repeat_interleave(each, dim=1)  # (B, H, S, K)
        mixed = self._look(q, k, v, mask, slopes, watch)  # (B, H, T, K)
        return self.out(mixed.transpose(1, 2).flatten(2))  # (B, T, D)

    def _project(self, x: Tensor, memory: Tensor | None) -> tuple[Tensor, ...]:
        """Make queries of x, and keys and values of x or of memory, in heads."""
        keys = self.n_kv_heads * self.d_head
        widths = [self.n_heads * self.d_head, keys, keys]
        if memory is None:
            parts = self.qkv(x).split(widths, dim=-1)  # (B, T, ·) each
        else:
            weights = self.qkv.weight.split(widths)
            biases = (
                [None] * 3 if self.qkv.bias is None else self.qkv.bias.split(widths)
            )
            inputs = (x, memory, memory)
            parts = [F.linear(*each) for each in zip(inputs, weights, biases)]
        return tuple(
            part.unflatten(-1, (-1, self.d_head)).transpose(1, 2) for part in parts
        )

    def _look(self, q, k, v, mask, slopes, watch) -> Tensor:
        T, S = q.size(-2), k.size(-2)
        causal = self.causal and T > 1  # one query, the last, may see every key
        plain = mask is None and slopes is None
        if watch is None and plain and (T == S or not causal):
            return F.scaled_dot_product_attention(q, k, v, is_causal=causal)
        if mask is not None:
            check_mask(mask, T, S)
        if causal:
            past = causal_mask(T, S, q.device)  # (T, S)
            mask = past if mask is None else mask & past
        if watch is None:
            bias = mask if slopes is None else _as_bias(slopes.to(q.dtype), mask)
            return F.scaled_dot_product_attention(q, k, v, bias)
        mixed, weights = attention(q, k, v, mask, 0 if slopes is None else slopes)
        watch.append(weights.detach())
        return mixed  # (B, H, T, K)


def _as_bias(slopes: Tensor, mask: Tensor | None) -> Tensor:
    """Write slopes and mask as one tensor to add to the scores, (..., H, T, S)."""
    return slopes if mask is None else torch.where(mask, slopes, -math.inf)


def check_heads(d_model: int, n_heads: int, n_kv_heads: int) -> None:
    """Refuse numbers of heads that do not divide.

    Raises: ValueError that says which does not, and what to choose.
    """
    if d_model % n_heads:
        raise ValueError(
            f"each head takes an equal share of the width: got d_model {d_model} "
            f"and n_heads {n_heads}; choose n_heads that divides d_model"
        )
    if n_heads % n_kv_heads:
        raise ValueError(
            f"each key and value serves the same number of heads: got n_heads "
            f"{n_heads} and n_kv_heads {n_kv_heads}; choose n_kv_heads that divides "
            "n_heads"
        )
