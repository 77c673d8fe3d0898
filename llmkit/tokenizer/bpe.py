"""Text to ids and back by byte-level byte pair encoding, from scratch.

A token is a run of bytes. Text is cut into pieces, a piece into its bytes, and then
pairs of neighbours are merged: of all pairs that training merged, the one that it
merged first. What training never saw stays bytes, so every text has its ids.

Source: Sennrich et al. 2016, "Neural machine translation of rare words with subword
units"; Radford et al. 2019, section 2.2; Lesson 04.
"""

import heapq
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain, pairwise
from pathlib import Path

import tokenizers

from llmkit.tokenizer import checks, hf_format
from llmkit.tokenizer.files import damaged, read, write
from llmkit.tokenizer.huggingface import HFTokenizer
from llmkit.tokenizer.merges import PIECE, count_pieces, learn_merges

MOST_PIECES = 2**15  # that are remembered, each of at most so many characters:
LONGEST_PIECE = 64
Pair = tuple[int, int]


class BPETokenizer:
    """Give each run of bytes that training found common an id.

    `tokens` has the bytes of each id, `merges` the pairs in the order they were merged.
    Special tokens that a text spells out are recognised, whoever wrote it: take them
    out of a text that you do not trust.

    Raises ValueError where a byte, or what a merge needs or makes, is not a token.

    >>> tokenizer = BPETokenizer.train("the cat sat on the mat", 260, ["<|end|>"])
    >>> tokenizer.merges
    [(b'a', b't'), (b'h', b'e'), (b't', b'he')]
    >>> tokenizer.pieces("that cat<|end|>")
    ['t', 'h', 'at', ' ', 'c', 'at', '<|end|>']
    >>> tokenizer.decode(tokenizer.encode("naïve 🦆"))
    'naïve 🦆'
    """

    def __init__(
        self,
        tokens: Sequence[bytes],
        merges: Sequence[tuple[bytes, bytes]],
        special_tokens: Mapping[str, int],
    ) -> None:
        self.tokens, self.merges = list(tokens), list(merges)
        self.special_tokens = dict(special_tokens)
        special = set(self.special_tokens.values())
        # A special "\n" is not the byte, but where nothing else is, it is both.
        ids = {self.tokens[i]: i for i in special}
        ids |= {token: i for i, token in enumerate(tokens) if i not in special}
        try:
            byte_ids = [ids[bytes([byte])] for byte in range(256)]
            rules = {
                (ids[left], ids[right]): (rank, ids[left + right])
                for rank, (left, right) in enumerate(self.merges)
            }
        except KeyError as error:
            raise ValueError(
                f"{error.args[0]!r} is not one of the {len(self.tokens)} tokens: "
                "expected every byte and all that the merges need and make: use "
                "BPETokenizer.train(text, vocab_size)"
            ) from None
        self._pieces = _Pieces(byte_ids, rules)
        # At each place the longest; where there are none, what never matches.
        names = sorted(self.special_tokens, key=len, reverse=True)
        self._special = re.compile(f"({'|'.join(map(re.escape, names)) or '(?!)'})")

    @classmethod
    def train(
        cls,
        text: str | Iterable[str],
        vocab_size: int,
        special_tokens: Sequence[str] = (),
    ) -> "BPETokenizer":
        """Learn merges from a text, or from texts that are read one at a time.

        Of the texts only the different pieces are kept, and reading them is what takes
        long: give `tqdm(texts)` to see how far it is. The ids are those that Hugging
        Face's `tokenizers` would give: special tokens, bytes, merges.

        Raises ValueError where there is no text, the text has fewer merges than asked
        for, or the vocabulary has no room for the bytes.
        """
        special = checks.checked_special_tokens(special_tokens)
        checks.checked_size(vocab_size, special)  # before it reads
        pieces = count_pieces(checks.checked_texts(text))
        tokens, merges = learn_merges(pieces, vocab_size, special)
        return cls(tokens, merges, {token: i for i, token in enumerate(special)})

    @classmethod
    def load(cls, folder: str | Path) -> "BPETokenizer":
        """Load the byte-level BPE in the folder, ours or trained by `tokenizers`.

        Raises ValueError where there is none, or one that is damaged or of another
        kind.
        """
        path, saved = read(folder)
        try:
            kind = hf_format.other_kind(saved)
            if not kind:
                return cls(*hf_format.from_saved(saved))
        except Exception as error:  # whatever a damaged file leads to
            raise damaged(path, error) from error
        raise ValueError(
            f"{path}: {kind} is not byte-level BPE as GPT-2 has it: use "
            "load_tokenizer(folder), which returns an HFTokenizer"
        )

    def save(self, folder: str | Path) -> None:
        """Write tokenizer.json, in the format of `tokenizers`, to the folder."""
        write(folder, self._json())

    def fast(self) -> HFTokenizer:
        """Return the same tokenizer as `tokenizers` has it."""
        return HFTokenizer(tokenizers.Tokenizer.from_str(self._json()))

    @property
    def vocab_size(self) -> int:
        """Return the number of different ids, V."""
        return len(self.tokens)

    def encode(self, text: str) -> list[int]:
        """Return the ids of the tokens: (T,), special tokens recognised.

        Raises ValueError for what is no text, or has no UTF-8.
        """
        ids: list[int] = []
        for part, special in self._parts(text):
            if special:
                ids.append(self.special_tokens[part])
            else:
                each = map(self._pieces.__getitem__, PIECE.findall(part))
                ids.extend(chain.from_iterable(each))
        return ids

    def decode(self, ids: Iterable[int]) -> str:
        """Return the text of these ids, with U+FFFD for what is part of a character.

        Raises ValueError for an id that is not in the vocabulary.
        """
        checked = checks.checked_ids(ids, self.vocab_size)
        return b"".join(map(self.tokens.__getitem__, checked)).decode(errors="replace")

    def pieces(self, text: str) -> list[str]:
        r"""Return the tokens of a text to look at, bytes of a broken character as \x.

        >>> BPETokenizer.train("the cat", 257).pieces("hé")
        ['h', '\\xc3', '\\xa9']
        """
        return [_shown(self.tokens[i]) for i in self.encode(text)]

    def steps(self, text: str) -> list[list[str]]:
        """Return the tokens of a text, as `pieces` does, before and after each merge.

        This is the definition: `encode` gets to the last of them faster.

        >>> tokenizer = BPETokenizer.train("the theme, the end", 259)
        >>> for tokens in tokenizer.steps("theme"):
        ...     print(*tokens)
        t h e m e
        t he m e
        the m e
        """
        byte_ids, rules = self._pieces.byte_ids, self._pieces.rules
        words: list[list[int]] = []
        for part, special in self._parts(text):
            if special:
                words.append([self.special_tokens[part]])
            else:
                for piece in PIECE.findall(part):
                    words.append([byte_ids[byte] for byte in piece.encode()])
        steps = []
        while True:
            steps.append([_shown(self.tokens[i]) for word in words for i in word])
            found = (
                (rules[pair], w, i)
                for w, word in enumerate(words)
                for i, pair in enumerate(pairwise(word))
                if pair in rules
            )
            (_, new), w, i = min(found, default=((0, None), 0, 0))
            if new is None:
                return steps
            words[w][i : i + 2] = [new]

    def _parts(self, text: str) -> Iterator[tuple[str, bool]]:
        """Cut a text at its special tokens: yield each part, and whether it is one."""
        parts = self._special.split(checks.checked_text(text))
        return ((part, i % 2 == 1) for i, part in enumerate(parts))

    def _json(self) -> str:
        saved = hf_format.to_saved(self.tokens, self.merges, self.special_tokens)
        return json.dumps(saved, ensure_ascii=False)


class _Pieces(dict[str, tuple[int, ...]]):
    """Remember the ids of pieces: a text is the same few pieces over and over."""

    def __init__(self, byte_ids: list[int], rules: dict[Pair, tuple[int, int]]) -> None:
        super().__init__()
        self.byte_ids = byte_ids
        self.rules = rules  # from a pair to its rank and the id that it becomes

    def __missing__(self, piece: str) -> tuple[int, ...]:
        ids = self._merge([self.byte_ids[byte] for byte in piece.encode()])
        if len(piece) <= LONGEST_PIECE:
            if len(self) >= MOST_PIECES:
                self.clear()
            self[piece] = ids
        return ids

    def _merge(self, ids: list[int]) -> tuple[int, ...]:
        """Merge pairs, that of the lowest rank first, and of those the leftmost.

        The pairs wait on a heap, and the tokens are linked to their neighbours, so that
        n bytes take n log n steps.
        """
        rules, n = self.rules, len(ids)
        heap = [
            (rules[pair], i) for i, pair in enumerate(pairwise(ids)) if pair in rules
        ]
        heapq.heapify(heap)
        before, after = list(range(-1, n - 1)), list(range(1, n + 1))
        while heap:
            (_, new), i = heapq.heappop(heap)
            j = after[i]
            if ids[i] < 0 or j == n or rules.get((ids[i], ids[j]), (0, -1))[1] != new:
                continue  # one of the two was merged with another meanwhile
            ids[i], ids[j] = new, -1
            h, k = before[i], after[j]
            after[i] = k
            if k < n:
                before[k] = i
                if (new, ids[k]) in rules:
                    heapq.heappush(heap, (rules[new, ids[k]], i))
            if h >= 0 and (ids[h], new) in rules:
                heapq.heappush(heap, (rules[ids[h], new], h))
        return tuple(i for i in ids if i >= 0)


def _shown(token: bytes) -> str:
    return token.decode(errors="backslashreplace")
