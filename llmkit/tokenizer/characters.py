"""Text to ids and back, a character a token.

Source: Lesson 04.
"""

import json
import unicodedata
from collections.abc import Iterable
from pathlib import Path

from llmkit.tokenizer.checks import checked_ids
from llmkit.tokenizer.files import write


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

    @property
    def special_tokens(self) -> dict[str, int]:
        """Return the ids of the special tokens: there are none."""
        return {}

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
        return "".join(
            map(self.characters.__getitem__, checked_ids(ids, self.vocab_size))
        )

    def save(self, folder: str | Path) -> None:
        """Write the vocabulary to tokenizer.json in the folder."""
        content = {"kind": "characters", "characters": list(self.characters)}
        write(folder, json.dumps(content))
