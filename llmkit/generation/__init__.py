"""Continue a text, token by token, or fill in its blanks. Lessons 05 and 06.

A decoder gives a distribution over the next token; `generate` draws from it and feeds
what was drawn back in. It is a generator: a token is there as soon as it is drawn, and
the caller stops when it has seen enough. A masked model gives a distribution for each
hidden place; `fill_mask` returns the best of each.
"""

from llmkit.generation.blanks import fill_mask
from llmkit.generation.decoding import generate
from llmkit.generation.guessing import accept, prompt_lookup
from llmkit.generation.sampling import next_token_probabilities

__all__ = [
    "accept",
    "fill_mask",
    "generate",
    "next_token_probabilities",
    "prompt_lookup",
]
