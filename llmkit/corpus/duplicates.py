"""Find documents that say the same, exactly or nearly, and keep the first of them.

A model that reads a text ten times learns it by heart, and a copy of it in the
validation text makes the loss there a lie. Source: Lee et al. 2022, "Deduplicating
Training Data Makes Language Models Better"; Lesson 04.
"""

import hashlib
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence, Set
from typing import NamedTuple

from llmkit.corpus.report import Report, several

Shingles = Callable[[str], Set[str]]
HASHES = 128  # numbers in a MinHash


class Pair(NamedTuple):
    """Name two documents that are nearly equal, by their places, and how nearly."""

    first: int
    second: int  # after the first
    similarity: float  # the Jaccard similarity of their shingles, exactly


def normalised(text: str) -> str:
    r"""Return the text in small letters, with one space wherever there is space.

    >>> normalised("The  cat\nsat. ")
    'the cat sat.'
    """
    return " ".join(text.casefold().split())


def fingerprint(text: str) -> bytes:
    r"""Return 16 bytes that are equal for texts that are equal when normalised.

    >>> fingerprint("The cat sat.") == fingerprint("the cat\nsat.\n\n")
    True
    """
    spoken = normalised(text).encode("utf-8", "surrogatepass")
    return hashlib.blake2b(spoken, digest_size=16).digest()


def shingles(text: str, n: int = 3) -> set[str]:
    """Return every run of n words in the normalised text, each once.

    A text of fewer words gives one shingle, the whole of it; one without words, none.
    Source: Broder 1997, "On the resemblance and containment of documents".

    >>> sorted(shingles("The cat sat on the mat.", n=4))
    ['cat sat on the', 'sat on the mat.', 'the cat sat on']
    """
    _check_length(n)
    words = normalised(text).split()
    if len(words) < n:
        return {" ".join(words)} - {""}
    return set(map(" ".join, zip(*(words[i:] for i in range(n)))))


def letter_shingles(text: str, n: int = 9) -> set[str]:
    """Return every run of n characters in the normalised text, each once.

    For languages that put no space between words, and for texts full of misspellings.

    >>> sorted(letter_shingles("The cat", n=5))
    ['e cat', 'he ca', 'the c']
    """
    _check_length(n)
    spoken = normalised(text)
    if len(spoken) < n:
        return {spoken} - {""}
    return {spoken[i : i + n] for i in range(len(spoken) - n + 1)}


def jaccard(a: Set[str], b: Set[str]) -> float:
    """Return |A ∩ B| / |A ∪ B|: 1 for equal sets, 0 for sets with nothing in common.

    >>> jaccard({"a", "b", "c"}, {"b", "c", "d"})
    0.5
    """
    return len(a & b) / len(a | b) if a or b else 1.0


def bands(threshold: float, recall: float = 0.999) -> tuple[int, int]:
    """Choose how to cut a MinHash into bands: their number b, and the rows r of each.

    Two documents are compared if any band of theirs is equal, which happens with the
    probability that `found` gives. r is as large as can be, so that few documents are
    compared in vain, while a pair at the threshold is found with probability `recall`.

    >>> bands(0.8), round(found(0.8, *bands(0.8)), 4)
    ((25, 5), 1.0)
    """
    for r in range(HASHES // 2, 1, -1):
        b = HASHES // r
        if found(threshold, b, r) >= recall:
            return b, r
    return HASHES, 1


def found(similarity: float, b: int, r: int) -> float:
    """Return the probability 1 − (1 − sʳ)ᵇ that a pair is compared.

    Source: Leskovec, Rajaraman and Ullman, "Mining of Massive Datasets", section 3.4.

    >>> [round(found(s / 10, b=25, r=5), 3) for s in (2, 4, 6, 8)]
    [0.008, 0.227, 0.868, 1.0]
    """
    return 1 - (1 - similarity**r) ** b


def near_duplicates(
    documents: Iterable[str],
    threshold: float = 0.8,
    shingles: Shingles = shingles,
    seed: int = 0,
    first_only: bool = False,
) -> Iterator[Pair]:
    """Yield the pairs of documents whose shingles have a Jaccard similarity this high.

    MinHash and LSH, of the library datasketch, name candidates; each is then compared
    exactly, so every pair is right, and about one in a thousand at the threshold is
    missed, fewer above it (for a threshold below 0.05, more: see `found`). A copy is
    paired with the first of its kind alone; with `first_only`, a near copy too, as it
    is then no candidate for those that follow: thousands of documents that are all
    alike have millions of pairs. Pairs come in the order of their second document.
    `seed` chooses the hash functions.

    Raises ValueError for a threshold that is not above 0 and at most 1.

    >>> texts = ["the cat sat on the mat", "a dog", "The cat sat on the mat today"]
    >>> list(near_duplicates(texts, threshold=0.7))
    [Pair(first=0, second=2, similarity=0.8)]
    >>> like = ["the cat sat", "the cat sat up", "The cat sat up again"]
    >>> [len([*near_duplicates(like, 0.3, first_only=x)]) for x in (False, True)]
    [3, 2]
    """
    _check_threshold(threshold)
    documents = [*several(documents)]
    index = _Index(threshold, shingles, seed)
    first: dict[bytes, int] = {}
    for place, text in enumerate(documents):
        original = first.setdefault(fingerprint(text), place)
        if original < place:
            yield Pair(original, place, 1.0)
            continue
        twins = sorted(index.similar(text, documents))
        yield from (Pair(other, place, similarity) for other, similarity in twins)
        if not (first_only and twins):
            index.add(place)


def duplicate_groups(pairs: Iterable[Pair]) -> list[list[int]]:
    """Join pairs to groups: who is in a pair with any of a group belongs to it.

    >>> duplicate_groups([Pair(0, 2, 0.9), Pair(1, 4, 0.8), Pair(2, 5, 0.8)])
    [[0, 2, 5], [1, 4]]
    """
    leader: dict[int, int] = {}  # towards the first of the group

    def first(place: int) -> int:
        while (above := leader.setdefault(place, place)) != place:
            leader[place] = leader[above]  # so that the next way is shorter
            place = above
        return place

    for pair in pairs:
        one, other = sorted((first(pair.first), first(pair.second)))
        leader[other] = one
    groups: dict[int, list[int]] = {}
    for place in sorted(leader):
        groups.setdefault(first(place), []).append(place)
    return list(groups.values())


def deduplicate(
    documents: Iterable[str],
    threshold: float | None = 0.8,
    shingles: Shingles = shingles,
    seed: int = 0,
) -> tuple[list[str], Report]:
    """Keep the first of documents that are equal or nearly so; return it and a report.

    A document goes if it equals one that was kept before, small letters and spaces
    aside, or is at least as similar to it as the threshold says (see
    `near_duplicates`). With None for a threshold, only equals go.

    Raises ValueError for a threshold that is not above 0 and at most 1.

    >>> texts = ["the cat sat on the mat", "The cat sat on the mat today", "A dog."]
    >>> kept, report = deduplicate([*texts, "a dog."], threshold=0.7)
    >>> kept
    ['the cat sat on the mat', 'A dog.']
    >>> print(report.examples())
    copies:
      'a dog.' → 'stood there before'
    near copies:
      'The cat sat on the mat today' → '0.80 like: the cat sat on the mat'
    """
    report = Report()
    return list(deduplicated(documents, threshold, shingles, seed, report)), report


def deduplicated(
    documents: Iterable[str],
    threshold: float | None = 0.8,
    shingles: Shingles = shingles,
    seed: int = 0,
    report: Report | None = None,
) -> Iterator[str]:
    """Yield what `deduplicate` keeps, one document after the other.

    It remembers each document it yields, to compare; without a threshold only 16 bytes
    of each, so that equals are found in more text than memory holds. The report, if
    given, is filled on the way.

    >>> list(deduplicated(iter(["One.", "Two.", "one. "]), threshold=None))
    ['One.', 'Two.']
    """
    report = Report() if report is None else report
    copies = report.step("copies")
    if threshold is not None:
        _check_threshold(threshold)
        near, index = report.step("near copies"), _Index(threshold, shingles, seed)
    seen: set[bytes] = set()
    kept: list[str] = []  # to compare with
    for text in several(documents):
        report.arrive(text)
        known = len(seen)
        seen.add(fingerprint(text))
        if len(seen) == known:
            copies.remove(text, "stood there before")
        elif threshold is None:
            yield text
        elif twin := next(index.similar(text, kept), None):
            near.remove(text, f"{twin[1]:.2f} like: {kept[twin[0]]}")
        else:
            index.add(len(kept))
            kept.append(text)
            yield text


class _Index:
    """Remember the MinHashes of documents, and name those similar to another.

    Shingles are made anew for each comparison: to keep them all would take many times
    the memory of the text.
    """

    def __init__(self, threshold: float, shingles: Shingles, seed: int) -> None:
        import datasketch

        self.threshold, self.shingles = threshold, shingles
        self.empty = datasketch.MinHash(HASHES, seed=seed, hashfunc=zlib.crc32)
        self.table = datasketch.MinHashLSH(num_perm=HASHES, params=bands(threshold))
        self.last = self.empty

    def similar(
        self, text: str, documents: Sequence[str]
    ) -> Iterator[tuple[int, float]]:
        """Yield the places of similar documents, and the similarities."""
        mine = self.shingles(text)
        self.last = self.empty.copy()
        self.last.update_batch([each.encode("utf-8", "surrogatepass") for each in mine])
        for place in sorted(self.table.query(self.last)):
            similarity = jaccard(mine, self.shingles(documents[place]))
            if similarity >= self.threshold:
                yield place, similarity

    def add(self, place: int) -> None:
        """Remember the text that was asked about last, by its place."""
        self.table.insert(place, self.last)


def _check_length(n: int) -> None:
    if n < 1:
        raise ValueError(f"n is {n}: expected a length of shingles of 1 or more")


def _check_threshold(threshold: float) -> None:
    if not 0 < threshold <= 1:
        raise ValueError(
            f"threshold is {threshold}: expected a similarity above 0 and at most 1; "
            "0.8 is usual"
        )
