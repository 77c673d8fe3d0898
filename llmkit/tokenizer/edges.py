"""Where words begin and end among tokens."""

from llmkit.tokenizer.huggingface import HFTokenizer
from llmkit.tokenizer.loading import Tokenizer


def word_edges(tokenizer: Tokenizer) -> list[tuple[bool, bool]]:
    """Say of each id whether its token begins, and ends, with a letter or digit.

    The token is read as it stands after another: where the one ends so and the other
    begins so, a word goes on from the one to the other. What is only part of a
    character counts as a letter, and a special token has none: (V, 2).

    Source: Lesson 05.

    >>> from llmkit.tokenizer import WordTokenizer
    >>> tokenizer = WordTokenizer.train("Go Ada!")
    >>> dict(zip(tokenizer.words, word_edges(tokenizer)))
    {'!': (False, False), ' Ada': (False, True), 'Go': (True, True)}
    """
    # A decoder may write the first token in another way, such as without its space, so
    # each is read after an "a".
    first = tokenizer.encode("a") if isinstance(tokenizer, HFTokenizer) else []
    before = tokenizer.decode(first)
    special = set(tokenizer.special_tokens.values())
    edges = []
    for i in range(tokenizer.vocab_size):
        text = tokenizer.decode([*first, i]).removeprefix(before)
        known = bool(text) and i not in special
        edges.append((known and _in_word(text[0]), known and _in_word(text[-1])))
    return edges


def _in_word(character: str) -> bool:
    return character.isalnum() or character == "\N{REPLACEMENT CHARACTER}"
