"""Byte-level BPE as a file in the format of Hugging Face's `tokenizers`.

The file is text and a token is bytes, so each byte has a character to stand for it: its
own where Latin-1 can show it, else one from 256 on. A space is written Ġ.

Source: Radford et al. 2019, whose `encoder.py` chose these characters; Lesson 04.
"""

from collections.abc import Mapping, Sequence

from llmkit.tokenizer.merges import BYTES, SHOWN

_HIDDEN = [chr(256 + i) for i in range(256 - len(SHOWN))]
CHARACTERS = dict(zip(BYTES, [*map(chr, SHOWN), *_HIDDEN]))
_BYTES = {character: byte for byte, character in CHARACTERS.items()}
_LEVEL = {"type": "ByteLevel", "trim_offsets": True, "use_regex": True}
_PLAIN = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False}
_NOTHING = ("dropout", "unk_token", "continuing_subword_prefix", "end_of_word_suffix")
_NEVER = ("fuse_unk", "byte_fallback", "ignore_merges")


def spell(token: bytes) -> str:
    """Write bytes as the characters that stand for them.

    >>> spell(" déjà".encode())
    'ĠdÃ©jÃł'
    """
    return "".join(map(CHARACTERS.__getitem__, token))


def unspell(token: str) -> bytes:
    """Return the bytes that characters stand for, or the text's own where one has none.

    >>> unspell("ĠdÃ©jÃł").decode(), unspell("<a b>")
    (' déjà', b'<a b>')
    """
    if all(character in _BYTES for character in token):
        return bytes(map(_BYTES.__getitem__, token))
    return token.encode()


def to_saved(
    tokens: Sequence[bytes],
    merges: Sequence[tuple[bytes, bytes]],
    special_tokens: Mapping[str, int],
) -> dict:
    """Return what a file holds of a tokenizer, just as `tokenizers` would write it."""
    names = {i: token for token, i in special_tokens.items()}
    added = [
        {"id": i, "content": names[i], **_PLAIN, "special": True} for i in sorted(names)
    ]
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": added,
        "normalizer": None,
        "pre_tokenizer": _LEVEL | {"add_prefix_space": False},
        "post_processor": None,
        "decoder": _LEVEL | {"add_prefix_space": True},
        "model": {
            "type": "BPE",
            **dict.fromkeys(_NOTHING),
            **dict.fromkeys(_NEVER, False),
            "vocab": {names.get(i, spell(t)): i for i, t in enumerate(tokens)},
            "merges": [[spell(left), spell(right)] for left, right in merges],
        },
    }


def from_saved(saved: dict) -> tuple[list[bytes], list[tuple[bytes, bytes]], dict]:
    """Return the tokens, merges and special tokens that a file holds.

    Raises ValueError, or whatever a damaged file leads to.
    """
    vocabulary: dict[str, int] = dict(saved["model"]["vocab"])
    added = {each["content"]: each["id"] for each in saved.get("added_tokens") or []}
    vocabulary |= added  # files have them in both places, or here alone
    ids = sorted(vocabulary.values())
    if ids != list(range(len(ids))):
        raise ValueError("its ids have gaps, or are there twice")
    names = sorted(vocabulary, key=vocabulary.__getitem__)
    tokens = [unspell(name) for name in names]
    pairs = [
        pair.split(" ") if isinstance(pair, str) else pair
        for pair in saved["model"]["merges"]
    ]
    return tokens, [(unspell(left), unspell(right)) for left, right in pairs], added


def other_kind(saved: dict) -> str | None:
    """Say what kind of tokenizer a file holds, where it is not ours.

    >>> other_kind({"model": {"type": "WordPiece"}})
    'a WordPiece tokenizer'
    """
    model = saved.get("model")
    if model is None:
        return f"a tokenizer of kind {saved.get('kind')!r}"
    kind = model.get("type")
    if kind != "BPE":
        return f"a {kind} tokenizer"
    for name in (*_NOTHING, *_NEVER):
        if model.get(name):
            return f"BPE with {name} {model[name]!r}"
    for part, wanted in [
        ("normalizer", None),
        ("pre_tokenizer", "ByteLevel"),
        ("decoder", "ByteLevel"),
    ]:
        found = (saved.get(part) or {}).get("type")
        if found != wanted:
            return f"BPE with {part} {found}"
    if saved["pre_tokenizer"].get("add_prefix_space", True):
        return "byte-level BPE with add_prefix_space"
    if not saved["pre_tokenizer"].get("use_regex", True):
        return "byte-level BPE without use_regex"
    after = (saved.get("post_processor") or {}).get("type", "ByteLevel")
    if after != "ByteLevel":
        return f"byte-level BPE with post_processor {after}"
    return _other_tokens(saved.get("added_tokens") or [])


def _other_tokens(added: list[dict]) -> str | None:
    """Say which added token is not found in a text just as it is spelled."""
    for token in added:
        for name in ("single_word", "lstrip", "rstrip"):
            if token.get(name):
                return f"byte-level BPE with {name} for {token['content']!r}"
        if not token["content"] or not token["content"].isascii():
            return f"byte-level BPE with {token['content']!r} added, not ASCII,"
        if not token.get("special"):
            return f"byte-level BPE with {token['content']!r} added, not as special,"
    if len({bool(token.get("normalized")) for token in added}) > 1:
        return "byte-level BPE with normalized for some added tokens"
    return None
