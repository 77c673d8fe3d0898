"""Split a corpus by whole documents, and measure how much leaks across a split.

Source: Lesson 04.
"""

import hashlib
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from llmkit.corpus.duplicates import (
    duplicate_groups,
    fingerprint,
    near_duplicates,
    shingles,
)
from llmkit.corpus.report import several


def split_documents(
    documents: Iterable[str],
    fraction: float = 0.1,
    seed: int = 0,
    threshold: float | None = None,
) -> tuple[list[str], list[str]]:
    """Give about this fraction of the documents to validation: (training, validation).

    Whole documents, and the side of each hangs on its text and the seed alone. So
    equal documents, small letters and spaces aside, are on one side, and adding one
    never moves another. With a threshold, documents that near (see `near_duplicates`)
    stay together too, with the first of their group; then a new one moves others only
    where it links two groups. Of few documents a side may get none by chance: then the
    one nearest to it goes there.

    Raises ValueError for a fraction outside 0 to 1, and where all documents are one.

    >>> train, validation = split_documents([f"Story {i}." for i in range(1000)])
    >>> len(train), len(validation)
    (893, 107)
    """
    if not 0 < fraction < 1:
        raise ValueError(f"fraction is {fraction}: expected a number between 0 and 1")
    documents = [*several(documents)]
    leader = list(range(len(documents)))
    if threshold is not None:
        for group in duplicate_groups(near_duplicates(documents, threshold)):
            for place in group:
                leader[place] = group[0]
    chances = [_chance(documents[first], seed) for first in leader]
    if len(set(chances)) < 2:
        raise ValueError(
            f"{len(documents):,} documents that do not differ leave none for "
            f"{'validation' if documents else 'training'}: give more documents, or cut "
            "a single text with `split`"
        )
    # No lower than the lowest, which goes to validation; the highest goes to training.
    limit = min(max(fraction, math.nextafter(min(chances), 1)), max(chances))
    sides: tuple[list[str], list[str]] = ([], [])
    for text, chance in zip(documents, chances):
        sides[chance < limit].append(text)
    return sides


def _chance(text: str, seed: int) -> float:
    """Return a number from 0 to 1 that is the same for the same text and seed."""
    key = fingerprint(text) + str(seed).encode()
    return int.from_bytes(hashlib.blake2b(key, digest_size=8).digest()) / 2**64


class Leak(NamedTuple):
    """Name a validation document of which training text knows a part."""

    document: int  # its place
    share: float  # of its runs of n words, those that stand in the training text
    example: str  # one of them


@dataclass(frozen=True)
class Leaks:
    """Hold the leaks of a split, those with the largest share first."""

    documents: int  # in validation
    found: list[Leak] = field(default_factory=list)

    @property
    def share(self) -> float:
        """Return the share of validation documents with a leak."""
        return len(self.found) / self.documents


def leaks(train: Iterable[str], validation: Sequence[str], n: int = 13) -> Leaks:
    """Find the validation documents that share n words in a row with the training text.

    A document of fewer words leaks if one of the training text equals it. Memory is
    taken for the validation text alone: training documents pass by once.

    Raises ValueError where there is no validation document, and for an n below 1.

    Source: Brown et al. 2020 (GPT-3), appendix C, which took 13 words.

    >>> leaked = leaks(["A cat sat on the mat and slept."], ["The cat sat on the mat.",
    ...     "A dog barked."], n=4)
    >>> leaked.share, leaked.found
    (0.5, [Leak(document=0, share=0.3333333333333333, example='cat sat on the')])
    """
    if not validation:
        raise ValueError("there are no validation documents: split the corpus first")
    runs = [shingles(text, n) for text in several(validation)]
    wanted = set().union(*runs)
    known: set[str] = set()
    for text in several(train):
        known |= wanted & shingles(text, n)
    found = []
    for place, mine in enumerate(runs):
        if shared := mine & known:
            found.append(Leak(place, len(shared) / len(mine), min(shared)))
    return Leaks(len(validation), sorted(found, key=lambda leak: -leak.share))
