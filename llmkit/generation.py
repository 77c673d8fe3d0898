"""Continue a text, token by token. Lesson 06.

A model gives a distribution over the next token; `sample` draws from it, `generate`
feeds what was drawn back in. `generate` is a generator: a token is there as soon as it
is drawn, and the caller stops when it has seen enough.
"""

from collections.abc import Iterator

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
    _check(temperature, top_k, top_p)
    if temperature == 0:
        best = logits.argmax(dim=-1, keepdim=True)
        return torch.zeros_like(logits).scatter(-1, best, 1.0)  # (..., V)
    p = (logits.float() / temperature).softmax(dim=-1)  # (..., V)
    order = p.argsort(dim=-1, descending=True)  # (..., V), best first
    ranked = p.gather(-1, order)  # (..., V)
    if top_p is not None and top_p < 1:  # rounding would drop some of the rarest at 1
        before = ranked.cumsum(dim=-1) - ranked  # mass of the better tokens
        ranked = ranked.masked_fill(before >= top_p, 0.0)
    if top_k is not None:
        ranked[..., top_k:] = 0.0
    kept = torch.zeros_like(p).scatter(-1, order, ranked)  # (..., V)
    return kept / kept.sum(dim=-1, keepdim=True)


@torch.no_grad()
def generate(
    model,
    ids: Tensor,
    max_new_tokens: int,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    seed: int | None = None,
    cache: bool = True,
    memory=None,
) -> Iterator[Tensor]:
    """Yield one new token after another, for each row of ids.

    ids: (B, T) prompt, T at least 1. With `cache`, the keys and values of what was read
    are kept, and each step costs one position instead of all; the result is the same.
    A text longer than the model's context is read from its last half context on, again
    and again, so that most steps have between half and all of the context to look at.
    memory: what the decoder of a `Seq2Seq` looks at, from its `encode`.

    Yields: (B,) token ids, `max_new_tokens` times.
    Raises: ValueError if the model is no decoder, the prompt is empty or a setting is
    out of its range.

    >>> from llmkit.transformer import Decoder, ModelConfig
    >>> model = Decoder(ModelConfig(vocab_size=9, context=8))
    >>> new = list(generate(model, torch.tensor([[1, 2]]), 3, seed=0))
    >>> len(new), new[0].shape
    (3, torch.Size([1]))
    """
    _check(temperature, top_k, top_p)
    if not hasattr(model, "new_cache"):
        raise ValueError(
            f"only a decoder continues a text: got {type(model).__name__}; of a "
            "Seq2Seq give model.decoder, and memory=model.encode(source)"
        )
    if ids.ndim != 2 or ids.size(1) < 1:
        raise ValueError(
            f"a prompt is (B, T) with at least one token: got {tuple(ids.shape)}; "
            "begin with the token that ends a text, such as a line break"
        )
    if max_new_tokens < 0:
        raise ValueError(f"max_new_tokens must be 0 or more: got {max_new_tokens}")
    random = None
    if seed is not None:
        if not 0 <= seed < 2**63:
            raise ValueError(f"seed must be from 0 to 2**63 - 1: got {seed}")
        random = torch.Generator(ids.device).manual_seed(seed)
    was_training, reading = model.training, _Reading(model, ids, cache, memory)
    model.eval()
    try:
        for _ in range(max_new_tokens):
            logits = reading.next_logits()  # (B, V)
            p = next_token_probabilities(logits, temperature, top_k, top_p)  # (B, V)
            token = torch.multinomial(p, 1, generator=random).squeeze(1)  # (B,)
            reading.append(token)
            yield token
    finally:
        model.train(was_training)


class _Reading:
    """Hold what the model looks at, and what the cache has not seen of it yet."""

    def __init__(self, model, ids: Tensor, cached: bool, memory):
        self.model, self.cached = model, cached
        self.memory = {} if memory is None else {"memory": memory}
        self.text = ids[:, -model.config.context :]  # (B, T)
        self.fresh, self.cache = self.text, None

    def next_logits(self) -> Tensor:
        """Return the logits (B, V) of the token after the text."""
        if not self.cached:
            return self.model(self.text, **self.memory)[:, -1]
        if self.cache is None:
            self.cache, self.fresh = self.model.new_cache(), self.text
        return self.model(self.fresh, self.cache, **self.memory)[:, -1]

    def append(self, token: Tensor) -> None:
        """Add a token (B,); a text that grows too long loses its first half."""
        context = self.model.config.context
        self.fresh = token[:, None]  # (B, 1)
        self.text = torch.cat([self.text, self.fresh], dim=1)  # (B, T)
        if self.text.size(1) > context:
            self.text, self.cache = self.text[:, -max(context // 2, 1) :], None


def _check(temperature: float, top_k: int | None, top_p: float | None) -> None:
    if not temperature >= 0:
        raise ValueError(
            f"temperature must be 0 (greedy) or more: got {temperature}; try 0.8"
        )
    if top_k is not None and top_k < 1:
        raise ValueError(f"top_k keeps at least 1 token: got {top_k}")
    if top_p is not None and not 0 < top_p <= 1:
        raise ValueError(f"top_p is a probability, above 0 and up to 1: got {top_p}")
