"""Heads: who makes queries, keys and values, and looks with them."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from llmkit.attention.cache import KVCache
from llmkit.attention.formula import attention, causal_mask, check_mask
from llmkit.positions import rotate


class RMSNorm(nn.RMSNorm):
    """Divide each token's numbers by their root mean square; scale by a weight.

    torch's own, but for the weight, which takes on the input's precision.

    Source: Zhang and Sennrich 2019; Lesson 03.

    >>> RMSNorm(2)(torch.tensor([3.0, 4.0])).square().mean().item()
    1.0
    """

    def forward(self, x: Tensor) -> Tensor:
        """Norm the last dimension: (..., D) to (..., D)."""
        weight = self.weight.to(x.dtype)  # (D,)
        return F.rms_norm(x, self.normalized_shape, weight, self.eps)  # (..., D)


class MultiHeadAttention(nn.Module):
    """Look in H ways at once: each head has its own queries, keys and values.

    With `n_kv_heads` fewer than `n_heads`, several heads share their keys and values
    (grouped-query attention): less to remember in a cache. With `qk_norm`, queries and
    keys are brought to one length first, so that no score can run away. With `cross`,
    queries come from x, and keys and values from another sequence.

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
        cross: bool = False,
    ):
        super().__init__()
        G = n_kv_heads or n_heads
        check_heads(d_model, n_heads, G)
        self.n_heads, self.n_kv_heads = n_heads, G
        self.causal, self.cross = causal, cross
        self.d_head = d_model // n_heads
        keys = G * self.d_head  # numbers in all the keys of a position
        if cross:
            self.q = nn.Linear(d_model, d_model, bias=bias)
            self.kv = nn.Linear(d_model, 2 * keys, bias=bias)  # two maps in one
        else:
            self.qkv = nn.Linear(d_model, d_model + 2 * keys, bias=bias)  # three
        self.out = nn.Linear(d_model, d_model, bias=bias)
        self.q_norm = RMSNorm(self.d_head, eps=1e-6) if qk_norm else None
        self.k_norm = RMSNorm(self.d_head, eps=1e-6) if qk_norm else None

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
        and values of the positions before x, and of the memory; watch: a list that
        receives the weights (B, H, T, S); mask: boolean, (T, S) or broadcast to (B, H,
        T, S), True where a query may look; memory: (B, S, D), what `cross` looks at,
        without turns. Without `watch` torch computes the same by a faster road that
        never holds all the weights at once (nor minds a query that may look at nothing:
        it finds zeros).

        Raises: ValueError if a mask does not fit, or memory is missing or one too many.
        """
        self._check(x, memory)
        if memory is None:
            q, k, v = self.look_around(x, turns, cache)  # (B, H, T, K), (B, G, S, K)
        else:
            q, k, v = self._look_across(x, memory, cache)  # (B, H, T, K), (B, G, S, K)
        if self.n_kv_heads < self.n_heads:
            each = self.n_heads // self.n_kv_heads  # heads that share a key
            k = k.repeat_interleave(each, dim=1)  # (B, H, S, K)
            v = v.repeat_interleave(each, dim=1)  # (B, H, S, K)
        mixed = self._mix(q, k, v, mask, slopes, watch)  # (B, H, T, K)
        return self.out(mixed.transpose(1, 2).flatten(2))  # (B, T, D)

    def _check(self, x: Tensor, memory: Tensor | None) -> None:
        if (memory is not None) != self.cross:
            raise ValueError(
                "attention with cross=True looks at a memory and no other does: got "
                f"cross={self.cross} and {'no' if memory is None else 'a'} memory"
            )
        if memory is not None and memory[:, :1].shape != x[:, :1].shape:
            raise ValueError(
                f"a memory is (B, S, D), with the rows and the width of x "
                f"{tuple(x.shape)}: got {tuple(memory.shape)}"
            )

    def look_around(
        self, x: Tensor, turns: Tensor | None = None, cache: KVCache | None = None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Make queries, keys and values of x; of all before it too, with a cache.

        Turned and normed, as they are when they are multiplied: q (B, H, T, K), and k
        and v (B, G, S, K), of G heads that H queries share.
        """
        H, G = self.n_heads, self.n_kv_heads
        heads = self._heads(self.qkv(x))  # (B, H + 2 G, T, K)
        q, k, v = heads.split([H, G, G], dim=1)  # (B, H, T, K), (B, G, T, K) twice
        if self.q_norm is not None:
            q, k = self.q_norm(q), self.k_norm(k)  # of one length before the weights
        if turns is not None:
            q, k = rotate(q, turns), rotate(k, turns)  # as they were, turned
        if cache is not None:
            k, v = cache.append(k, v)  # (B, G, S, K)
        return q, k, v

    def _look_across(self, x: Tensor, memory: Tensor, cache):
        """Make queries of x, keys and values of memory; these once, with a cache."""
        q = self._heads(self.q(x))  # (B, H, T, K)
        q = q if self.q_norm is None else self.q_norm(q)  # (B, H, T, K)
        if cache is not None and cache.memory is not None:
            return q, *cache.memory
        k, v = map(self._heads, self.kv(memory).chunk(2, dim=-1))  # (B, G, S, K)
        k = k if self.k_norm is None else self.k_norm(k)  # (B, G, S, K)
        if cache is not None:
            cache.memory = (k, v)
        return q, k, v

    def _heads(self, x: Tensor) -> Tensor:
        """Cut (B, T, H K) into heads, (B, H, T, K)."""
        return x.unflatten(-1, (-1, self.d_head)).transpose(1, 2)

    def _mix(self, q, k, v, mask, slopes, watch) -> Tensor:
        T, S = q.size(-2), k.size(-2)
        causal = self.causal and T > 1  # one query, the last, may see every key
        plain = mask is None and slopes is None
        if watch is None and plain and (T == S or not causal):
            return F.scaled_dot_product_attention(q, k, v, is_causal=causal)
        if mask is not None:
            check_mask(mask, (*q.shape[:-1], S))
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
