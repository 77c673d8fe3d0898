"""Text to ids and back, a word a token.

Source: Lesson 04.
"""

import json
import re
from collections.abc import Iterable
from pathlib import Path

from llmkit.tokenizer.checks import checked_ids
from llmkit.tokenizer.files import write


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

    @property
    def special_tokens(self) -> dict[str, int]:
        """Return the ids of the special tokens: there are none."""
        return {}

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
        return "".join(map(self.words.__getitem__, checked_ids(ids, self.vocab_size)))

    def save(self, folder: str | Path) -> None:
        """Write the vocabulary to tokenizer.json in the folder."""
        write(folder, json.dumps({"kind": "words", "words": self.words}))
