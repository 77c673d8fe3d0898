"""A text as a model reads it, and as people do: ids, and tokens that can be shown."""

import inspect
import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass

BLANKS = ("[MASK]", "<mask>")  # where a masked model guesses
_STANDING_IN = (*BLANKS, "[UNK]", "<unk>")  # for a part of the text
_LONGEST = 4  # tokens that share one character: none has more bytes
_BROKEN = "\ufffd"


@dataclass(frozen=True)
class Text:
    """Hold one text, cut into tokens."""

    ids: tuple[int, ...]
    tokens: tuple[str, ...]  # to be shown
    special: frozenset[int]  # positions that are no part of the text, as of [CLS]
    name: Callable[[int], str]  # the token of an id
    words: str = ""  # the text itself, if it came as one

    @property
    def blank(self) -> int | None:
        """Return the first position that is hidden, if one is."""
        return next((t for t, x in enumerate(self.tokens) if x in BLANKS), None)


def read(text, tokenizer=None, tokens: Sequence[str] | None = None) -> Text:
    """Cut a text into tokens, or take the ids that it was cut into.

    text: a string, or ids in a list, an array or a row of a tensor; tokenizer: ours or
    Hugging Face's; tokens: to show in place of the tokenizer's.

    Raises: ValueError if there is no text, nothing that cuts or names it, or the tokens
    are not one for each id.
    """
    ids = ids_of(text, tokenizer)
    if not ids:
        raise ValueError(
            f"there is nothing to look at: got {text!r:.40}; give at least one token"
        )
    if tokenizer is None and tokens is None:
        raise ValueError(
            f"got {len(ids)} ids and no tokens to show them by: give tokenizer= or "
            "tokens="
        )
    shown = readable(ids, tokenizer) if tokens is None else tuple(map(str, tokens))
    if len(shown) != len(ids):
        raise ValueError(
            f"each id is shown by one token: got {len(shown)} tokens and {len(ids)} ids"
        )
    name = str if tokenizer is None else lambda i: readable([i], tokenizer)[0]
    apart = () if tokenizer is None else _special(tokenizer)
    special = frozenset(t for t, i in enumerate(ids) if i in apart)
    words = text if isinstance(text, str) else ""
    if isinstance(text, str) and not text.strip() and len(special) == len(ids):
        raise ValueError(
            f"there is nothing to look at: {text!r} holds no token of its own"
        )
    return Text(tuple(ids), shown, special, name, words)


def ids_of(text, tokenizer=None, special: bool = True) -> list[int]:
    """Return the ids of a string, with [CLS] and the like if asked, or those given.

    Raises: ValueError if it is neither a string nor ids, or nothing cuts the string.
    """
    if not isinstance(text, str):
        return _ids(text)
    if tokenizer is None:
        raise ValueError(
            "a text is cut by its model's tokenizer: give tokenizer=, or ids and "
            "tokens="
        )
    if callable(tokenizer):  # of Hugging Face's transformers
        found = tokenizer(text, add_special_tokens=special, verbose=False)
        return list(found["input_ids"])
    known = inspect.signature(tokenizer.encode).parameters
    asked = {name: special for name in known if name == "special_tokens"}
    return tokenizer.encode(text, **asked)


def readable(ids: Sequence[int], tokenizer) -> tuple[str, ...]:
    """Return the text of each token, without the marks of its tokenizer.

    Tokens that share a character are shown as that, numbered: a byte of an emoji alone
    is no text.

    >>> from llmkit.tokenizer import HFTokenizer
    >>> tokenizer = HFTokenizer.train_bpe("ab", 256)
    >>> readable(tokenizer.encode("aé"), tokenizer)
    ('a', 'é 1/2', 'é 2/2')
    """
    decode = _decoder(tokenizer)
    found = [decode([i]) for i in ids]
    start = 0
    while start < len(ids):
        end = start + 1
        while _BROKEN in found[start] and end - start < min(_LONGEST, len(ids) - start):
            end += 1
            if _BROKEN not in (whole := decode(ids[start:end])):
                n = end - start
                found[start:end] = [f"{whole} {i}/{n}" for i in range(1, n + 1)]
        start = end if _BROKEN not in found[start] else start + 1
    return tuple(found)


def _decoder(tokenizer) -> Callable[[Sequence[int]], str]:
    """Return what turns ids into text exactly: no space is tidied away."""
    if callable(tokenizer):
        inner = getattr(getattr(tokenizer, "backend_tokenizer", None), "model", None)
        exact = {"clean_up_tokenization_spaces": False}
    else:
        inner = getattr(getattr(tokenizer, "tokenizer", None), "model", None)
        exact = {}
    pieces = type(inner).__name__ == "WordPiece"
    mark = inner.continuing_subword_prefix if pieces else ""

    def decode(ids: Sequence[int]) -> str:
        text = tokenizer.decode(list(ids), **exact)
        # A token that goes on with a word says so; a lone mark is what was written.
        return text.removeprefix(mark) if text != mark else text

    return decode


def _special(tokenizer) -> set[int]:
    """Return the ids of tokens that are no part of a text, and stand for none."""
    found = getattr(tokenizer, "all_special_ids", None)
    if found is None:
        found = tokenizer.special_tokens.values()
    return {i for i in found if readable([i], tokenizer)[0] not in _STANDING_IN}


def _ids(text) -> list[int]:
    """Return ids as a list, from a list, an array or a row of a tensor."""
    found = text.tolist() if hasattr(text, "tolist") else text
    if isinstance(found, list) and len(found) == 1 and isinstance(found[0], list):
        found = found[0]
    try:
        return [operator.index(i) for i in found]
    except TypeError:
        raise ValueError(
            f"a text is a string, or one row of whole numbers, its ids: got "
            f"{text!r:.60}"
        ) from None
