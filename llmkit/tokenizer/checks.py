"""What every tokenizer asks of the ids and texts that it is given."""

import operator
from collections.abc import Iterable, Iterator, Sequence

# A special token of one of these characters is that byte's token, too.
SHARED = {chr(byte) for byte in range(33, 127)}


def checked_ids(ids: Iterable[int], vocab_size: int) -> list[int]:
    """Return the ids as a list of int: they may come as a list or a row of a tensor.

    Raises ValueError for an id that is not in the vocabulary.
    """
    numbers = list(map(operator.index, ids))
    for position, number in enumerate(numbers):
        if not 0 <= number < vocab_size:
            raise ValueError(
                f"id {number} at position {position} is not in the vocabulary: "
                f"expected 0 to {vocab_size - 1}: use the tokenizer that encoded"
            )
    return numbers


def checked_text(text: str) -> str:
    """Return the text itself, which can be written as UTF-8.

    Raises ValueError for what is no str, or holds half of a surrogate pair.
    """
    if not isinstance(text, str):
        raise ValueError(
            f"a text is of type {type(text).__name__}: expected str: decode bytes "
            "first, and give one text at a time"
        )
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise ValueError(
            f"character U+{ord(text[error.start]):04X} at position {error.start} is "
            "half of a surrogate pair and has no bytes in UTF-8: read the text with "
            "errors='replace', or take it out"
        ) from None
    return text


def checked_texts(text: str | Iterable[str]) -> Iterator[str]:
    """Yield each text to train on, one at a time.

    Raises ValueError for what is no text, and after the last where all are empty.
    """
    several = isinstance(text, Iterable) and not isinstance(text, str | bytes)
    any_text = False
    for each in text if several else [text]:
        any_text |= checked_text(each) != ""
        yield each
    if not any_text:
        raise ValueError("there is no text to train a tokenizer on: give some")


def checked_special_tokens(special_tokens: Sequence[str]) -> list[str]:
    """Return the special tokens as a list, each there once.

    Raises ValueError for one that is there twice, or empty, or that the byte-level
    decoder of Hugging Face would not give back.
    """
    if isinstance(special_tokens, str):
        raise ValueError(
            f"special_tokens is the str {special_tokens!r}: expected a list of them: "
            f"use [{special_tokens!r}]"
        )
    tokens = list(map(checked_text, special_tokens))
    for token in tokens:
        if not token:
            raise ValueError("a special token is empty: give each a name, as <|end|>")
        if tokens.count(token) > 1:
            raise ValueError(
                f"special token {token!r} is there {tokens.count(token)} times: "
                "expected each once: leave the others out"
            )
        if not token.isascii():
            raise ValueError(
                f"special token {token!r} has characters beyond ASCII, which are the "
                "names of single bytes in Hugging Face's format: use ASCII, as <|end|>"
            )
    return tokens


def checked_size(vocab_size: int, special_tokens: Sequence[str]) -> None:
    """Raise ValueError where the bytes and special tokens alone are more."""
    shared = [token for token in special_tokens if token in SHARED]
    least = 256 + len(special_tokens) - len(shared)
    if vocab_size < least:
        raise ValueError(
            f"vocab_size is {vocab_size}: expected at least {least}, which is what the "
            "256 bytes and the special tokens need: give more"
        )


def too_large(vocab_size: int, n_merges: int, largest: int) -> ValueError:
    """Return the complaint that a text has no pair left to merge."""
    return ValueError(
        f"vocab_size is {vocab_size}: this text has only {n_merges} merges: expected "
        f"at most {largest}: use vocab_size={largest}, or give more text"
    )
