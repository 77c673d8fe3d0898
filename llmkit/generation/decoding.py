"""The decode loop: a generator of tokens. Lesson 06."""

from collections.abc import Iterator

import torch
from torch import Tensor

from llmkit.generation.guessing import accept, prompt_lookup
from llmkit.generation.sampling import check_sampling, next_token_probabilities


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
    ahead: int = 16,
    end: int | None = None,
) -> Iterator[Tensor]:
    """Yield one new token after another, for each row of ids.

    ids: (B, T) prompt, T at least 1. With `cache`, the keys and values of what was read
    are kept, and each step costs one position instead of all; the result is the same.
    A text longer than the model's context is read from its last half context on, again
    and again, so that most steps have between half and all of the context to look at.
    memory: what the decoder of a `Seq2Seq` looks at, from its `encode`.
    ahead: how many tokens may be guessed at a time, greedy and with a cache, wherever
    the text repeats itself (`prompt_lookup`). One call of the model checks them all,
    and only what it would have written itself stays: the text is the same, sooner.
    end: the token between documents, for a model that was trained on packed ones: what
    stands before it is forgotten, as it was never seen in training. For one row.

    Yields: (B,) token ids, `max_new_tokens` times.
    Raises: ValueError if the model is no decoder, the prompt is empty or a setting is
    out of its range.
    Source: checking guesses in one call, Leviathan et al. 2023; Lesson 06.

    >>> from llmkit.transformer import Decoder, ModelConfig
    >>> model = Decoder(ModelConfig(vocab_size=9, context=8))
    >>> new = list(generate(model, torch.tensor([[1, 2]]), 3, seed=0))
    >>> len(new), new[0].shape
    (3, torch.Size([1]))
    """
    check_sampling(temperature, top_k, top_p)
    _check_text(model, ids, max_new_tokens, ahead, end)
    random = None
    if seed is not None:
        if not 0 <= seed < 2**63:
            raise ValueError(f"seed must be from 0 to 2**63 - 1: got {seed}")
        random = torch.Generator(ids.device).manual_seed(seed)
    was_training, reading = model.training, _Reading(model, ids, cache, memory, end)
    model.eval()
    try:
        left = max_new_tokens
        while left:
            with torch.inference_mode():  # no_grad, and less to keep account of
                if temperature == 0:
                    tokens = reading.best_tokens(min(ahead, left - 1))  # (B, n)
                else:
                    logits = reading.next_logits()[:, 0]  # (B, V)
                    p = next_token_probabilities(logits, temperature, top_k, top_p)
                    tokens = torch.multinomial(p, 1, generator=random)  # (B, 1)
                tokens = reading.take(tokens)
            left -= tokens.size(1)
            for token in tokens.unbind(dim=1):
                yield token.clone()  # the caller's own, which may be trained on as well
    finally:
        model.train(was_training)


class _Reading:
    """Hold what the model looks at, and what the cache has not seen of it yet."""

    def __init__(self, model, ids: Tensor, cached: bool, memory, end: int | None):
        self.model, self.cached, self.end = model, cached, end
        self.memory = {} if memory is None else {"memory": memory}
        ids = ids[:, self._last_end(ids) :]
        self.text = ids[:, -model.config.context :]  # (B, T)
        self.fresh, self.cache = self.text, None
        self.hope = 1  # how many tokens to guess; more, the better it went last time

    def next_logits(self, guess: Tensor | None = None) -> Tensor:
        """Return the logits of the token after the text, and after each guess (B, k).

        Returns: (B, 1 + k, V).
        """
        k = 0 if guess is None else guess.size(1)
        if not self.cached:
            return self.model(self.text, **self.memory)[:, -1:]  # (B, 1, V)
        if self.cache is None:
            self.cache, self.fresh = self.model.new_cache(), self.text
        new = torch.cat([self.fresh, guess], dim=1) if k else self.fresh
        return self.model(new, self.cache, **self.memory)[:, -1 - k :]

    def best_tokens(self, ahead: int) -> Tensor:
        """Return the best next token, after those that were guessed right: (B, n)."""
        room = self.model.config.context - self.text.size(1)
        most = min(ahead, self.hope, room) if self.cached else 0
        guess = prompt_lookup(self.text, most)  # (B, k)
        best = self.next_logits(guess).argmax(dim=-1)  # (B, 1 + k)
        k = guess.size(1)
        if k == 0:
            return best  # (B, 1)
        tokens = accept(guess, best)  # (B, n)
        right = tokens.size(1) - 1
        self.hope = max(1, 2 * right)
        for part in self.cache:
            part.rewind(len(part) - (k - right))  # as if none had been wrong
        return tokens

    def take(self, tokens: Tensor) -> Tensor:
        """Add tokens (B, n), up to an end; return those that were added."""
        if self.end is not None and (ends := (tokens[0] == self.end).nonzero()).numel():
            tokens = tokens[:, : 1 + int(ends[0])]
            self.text, self.cache = tokens[:, -1:], None  # what was before is forgotten
            return tokens
        context = self.model.config.context
        self.fresh = tokens[:, -1:]  # (B, 1), the only one that the cache lacks
        self.text = torch.cat([self.text, tokens], dim=1)  # (B, T)
        # A text that grows too long loses its first half.
        if self.text.size(1) > context:
            self.text, self.cache = self.text[:, -max(context // 2, 1) :], None
        return tokens

    def _last_end(self, ids: Tensor) -> int:
        """Return where the last document of a prompt begins: at the end before it."""
        if self.end is None:
            return 0
        return int(max((ids[0] == self.end).nonzero().flatten().tolist(), default=0))


def _check_text(model, ids: Tensor, max_new_tokens: int, ahead: int, end) -> None:
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
    if ahead < 0:
        raise ValueError(f"ahead must be 0 (guess nothing) or more: got {ahead}")
    if end is not None and len(ids) > 1:
        raise ValueError(
            f"an end is for one row, as rows end at different places: got {len(ids)} "
            "rows; generate them one by one"
        )
