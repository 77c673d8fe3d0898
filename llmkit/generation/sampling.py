"""From logits to the probabilities that a token is drawn with. Lesson 06."""

import torch
from torch import Tensor


def next_token_probabilities(
    logits: Tensor,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
) -> Tensor:
    """Turn logits (..., V) into the probabilities (..., V) that are sampled from.

    temperature: divides the logits; below 1 sharpens, 0 leaves only the best (greedy).
    top_k: keep the k best tokens. top_p: keep the fewest tokens whose probabilities
    reach p together. What is not kept gets probability 0, and the rest sum to 1 again.

    Raises: ValueError if a setting is out of its range.
    Source: top-k, Fan et al. 2018; top-p, Holtzman et al. 2020; Lesson 06.

    >>> logits = torch.tensor([0.5, 0.3, 0.2]).log()
    >>> next_token_probabilities(logits, top_p=0.6).tolist()
    [0.625, 0.375, 0.0]
    """
    check_sampling(temperature, top_k, top_p)
    if temperature == 0:
        best = logits.argmax(dim=-1, keepdim=True)
        return torch.zeros_like(logits).scatter(-1, best, 1.0)  # (..., V)
    p = (logits.float() / temperature).softmax(dim=-1)  # (..., V)
    if top_k is None and top_p is None:
        return p
    V = p.size(-1)
    k = V if top_k is None else min(top_k, V)
    ranked, order = p.topk(k, dim=-1)  # (..., k) each, best first
    if top_p is not None and top_p < 1:  # rounding would drop some of the rarest at 1
        before = ranked.cumsum(dim=-1) - ranked  # mass of the better tokens
        ranked = ranked.masked_fill(before >= top_p, 0.0)
    kept = torch.zeros_like(p).scatter(-1, order, ranked)  # (..., V)
    return kept / kept.sum(dim=-1, keepdim=True)


def check_sampling(temperature: float, top_k: int | None, top_p: float | None) -> None:
    """Raise ValueError for a setting that is out of its range."""
    if not temperature >= 0:
        raise ValueError(
            f"temperature must be 0 (greedy) or more: got {temperature}; try 0.8"
        )
    if top_k is not None and top_k < 1:
        raise ValueError(f"top_k keeps at least 1 token: got {top_k}")
    if top_p is not None and not 0 < top_p <= 1:
        raise ValueError(f"top_p is a probability, above 0 and up to 1: got {top_p}")
