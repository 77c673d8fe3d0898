"""Learn which pairs of tokens to merge: the training of byte-level BPE.

Cut the text into pieces, write each as its UTF-8 bytes, and count the pairs of
neighbours. Merge the commonest pair everywhere into one new token, and do it again.
Two things make it fast. Equal pieces are merged once, however often they occur. And
the counts of pairs are kept: a merge changes only those of its neighbours.

Source: Sennrich et al. 2016, "Neural machine translation of rare words with subword
units", algorithm 1; Radford et al. 2019, "Language models are unsupervised multitask
learners", section 2.2, for the bytes and the pieces; Lesson 04.
"""

import heapq
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from itertools import count, pairwise
from operator import itemgetter

import regex

from llmkit.tokenizer.checks import checked_size, too_large

# What no merge crosses: the end of a contraction; letters, digits or marks with the
# space before them; other space, of which the last belongs to the word after it.
# (Letters that Unicode took in after 2024 may be none to the tables of `tokenizers`.)
PIECE = regex.compile(
    r"'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
)
# The bytes in the order of their ids: first those that Latin-1 can show.
SHOWN = bytes([*range(33, 127), *range(161, 173), *range(174, 256)])
BYTES = SHOWN + bytes(byte for byte in range(256) if byte not in SHOWN)


def count_pieces(texts: Iterable[str]) -> Counter[str]:
    """Count the pieces of all texts: of a text, only its different pieces are kept.

    >>> count_pieces(["the cat", "the cat's mat"]).most_common(3)
    [('the', 2), (' cat', 2), ("'s", 1)]
    """
    counts: Counter[str] = Counter()
    for text in texts:
        counts.update(map(itemgetter(0), PIECE.finditer(text)))
    return counts


def learn_merges(
    pieces: Mapping[str, int], vocab_size: int, special_tokens: Sequence[str] = ()
) -> tuple[list[bytes], list[tuple[bytes, bytes]]]:
    """Return the bytes of every token, and the pairs in the order they were merged.

    The ids are those of Hugging Face's trainer: special tokens, bytes, merges.

    Raises ValueError for a vocabulary too small for the bytes, or too large for the
    text.

    >>> tokens, merges = learn_merges({"hug": 10, "pug": 5, "hugs": 5}, 259)
    >>> merges
    [(b'u', b'g'), (b'h', b'ug'), (b'p', b'ug')]
    >>> tokens[256:]
    [b'ug', b'hug', b'pug']
    """
    tokens, ids = _first_tokens(special_tokens)
    checked_size(vocab_size, special_tokens)
    words = _Words(pieces, ids)
    merges: dict[tuple[int, int], int] = {}
    while len(tokens) < vocab_size:
        pair, places = words.commonest_pair()
        if not places:
            raise too_large(vocab_size, len(merges), len(tokens))
        token = tokens[pair[0]] + tokens[pair[1]]
        if token not in ids:  # "t" + "he" may find what "th" + "e" made
            ids[token] = len(tokens)
            tokens.append(token)
        merges.pop(pair, None)  # found once more: its place is the later one
        merges[pair] = ids[token]
        words.merge(pair, ids[token], places)
    return tokens, [(tokens[left], tokens[right]) for left, right in merges]


def _first_tokens(special_tokens: Sequence[str]) -> tuple[list[bytes], dict]:
    """Return the tokens there are before any merge, and the ids of their bytes."""
    tokens = [token.encode() for token in special_tokens]
    # Hugging Face knows tokens by their letters: a special "the" is the word, too. A
    # space has no letter of its own, so with one they differ.
    ids = {token: i for i, token in enumerate(tokens) if set(token) <= set(SHOWN)}
    for byte in BYTES:
        if bytes([byte]) not in ids:
            ids[bytes([byte])] = len(tokens)
            tokens.append(bytes([byte]))
    return tokens, ids


class _Words:
    """Hold the different pieces as lists of ids, and how often each pair occurs."""

    def __init__(self, pieces: Mapping[str, int], ids: Mapping[bytes, int]) -> None:
        byte_ids = [ids[bytes([byte])] for byte in range(256)]
        self.words = [[byte_ids[byte] for byte in piece.encode()] for piece in pieces]
        self.counts = list(pieces.values())
        self.pairs: Counter[tuple[int, int]] = Counter()
        places = defaultdict(set)
        for place, (word, times) in enumerate(zip(self.words, self.counts)):
            for pair in pairwise(word):
                self.pairs[pair] += times
                places[pair].add(place)
        # Entries are (-count, pair, number): of equal counts, the pair of lowest ids
        # is first. Each waits with the places where its pair is to be merged.
        self.numbers = count()
        self.places: dict[int, set[int]] = {}
        self.heap: list[tuple[int, tuple[int, int], int]] = []
        for pair in self.pairs:
            self._wait(pair, places[pair])

    def commonest_pair(self) -> tuple[tuple[int, int], set[int]]:
        """Take the commonest pair and its places: none where no pair is left."""
        while self.heap:
            negative, pair, number = heapq.heappop(self.heap)
            now = self.pairs[pair]
            if now == -negative:
                return pair, self.places.pop(number)
            if now > 0:  # a merge has changed its count since: let it wait again
                heapq.heappush(self.heap, (-now, pair, number))
        return (0, 0), set()

    def merge(self, pair: tuple[int, int], new: int, places: set[int]) -> None:
        """Put `new` for the pair at its places, and keep the counts of pairs right."""
        gained = defaultdict(set)
        for place in places:
            for neighbours in self._merge_word(place, pair, new):
                gained[neighbours].add(place)
        for neighbours, where in gained.items():
            if self.pairs[neighbours] > 0:
                self._wait(neighbours, where)

    def _wait(self, pair: tuple[int, int], places: set[int]) -> None:
        number = next(self.numbers)
        self.places[number] = places
        heapq.heappush(self.heap, (-self.pairs[pair], pair, number))

    def _merge_word(self, place: int, pair: tuple[int, int], new: int) -> list:
        """Merge the pair in one word, left to right; return the pairs it gained."""
        (left, right), times = pair, self.counts[place]
        word, pairs = self.words[place], self.pairs
        merged, gained, i = [], [], 0
        while i < len(word):
            if word[i] != left or word[i + 1 : i + 2] != [right]:
                merged.append(word[i])
                i += 1
                continue
            if merged:
                pairs[merged[-1], left] -= times
                pairs[merged[-1], new] += times
                gained.append((merged[-1], new))
            merged.append(new)
            i += 2
            if i < len(word):
                pairs[right, word[i]] -= times
                pairs[new, word[i]] += times
                gained.append((new, word[i]))
        self.words[place] = merged
        return gained
