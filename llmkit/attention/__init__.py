"""Attention: a look-up in which every key matches a little. Lesson 01.

A query is compared with every key; the better the match, the more of that key's value
is returned. `attention` is the formula, `MultiHeadAttention` owns the weights that make
queries, keys and values out of tokens, `KVCache` is what it remembers while it writes.
"""

from llmkit.attention.cache import KVCache
from llmkit.attention.formula import attention, causal_mask
from llmkit.attention.heads import MultiHeadAttention, RMSNorm, check_heads

__all__ = [
    "KVCache",
    "MultiHeadAttention",
    "RMSNorm",
    "attention",
    "causal_mask",
    "check_heads",
]
