"""Small translation tasks whose right answer is known: reverse, sort, dates. Lesson 03.

Each yields (source, answer) pairs of text, the same ones for the same seed. One answer
in ten is kept for testing: with ``unseen=True`` only those come, and without it never.
For dates this holds day by day, in whatever words the day is written.
"""

import random
from collections.abc import Callable, Iterator
from datetime import date, timedelta
from itertools import count, islice
from zlib import crc32

Pair = tuple[str, str]
LETTERS = "abcdefghijklmnopqrstuvwxyz"
FIRST, DAYS = date(1900, 1, 1), 73_049  # up to the end of 2099
WEEKDAYS = [
    "Monday",
    "Tuesday",
    "Wednesday",
    "Thursday",
    "Friday",
    "Saturday",
    "Sunday",
]
MONTHS = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
]


def reversals(n: int, seed: int = 0, unseen: bool = False) -> Iterator[Pair]:
    """Yield n words of random letters and the same from back to front.

    >>> list(reversals(2))
    [('tkgnkuhmp', 'pmhukngkt'), ('nhtqgx', 'xgqthn')]
    """

    def draw(rng: random.Random) -> Pair:
        word = "".join(rng.choices(LETTERS, k=rng.randint(3, 10)))
        return word, word[::-1]

    return _pairs(draw, n, seed, unseen)


def sortings(n: int, seed: int = 0, unseen: bool = False) -> Iterator[Pair]:
    """Yield n words of random letters and the same letters in order.

    >>> list(sortings(2))
    [('tkgnkuhmp', 'ghkkmnptu'), ('nhtqgx', 'ghnqtx')]
    """

    def draw(rng: random.Random) -> Pair:
        word = "".join(rng.choices(LETTERS, k=rng.randint(3, 10)))
        return word, "".join(sorted(word))

    return _pairs(draw, n, seed, unseen)


def dates(n: int, seed: int = 0, unseen: bool = False) -> Iterator[Pair]:
    """Yield n dates as people write them, and as ISO 8601 does.

    >>> for words, iso in dates(3, seed=1):
    ...     print(iso, words)
    1948-03-21 Sun Mar 21 1948
    1922-08-25 the 25th of August 1922
    1942-04-26 Sunday, 26 April 1942
    """

    def draw(rng: random.Random) -> Pair:
        day = FIRST + timedelta(rng.randrange(DAYS))
        return rng.choice(_wordings(day)), day.isoformat()

    return _pairs(draw, n, seed, unseen)


def _wordings(day: date) -> list[str]:
    """Write a date in each way that the task knows, with English names anywhere."""
    month, weekday = MONTHS[day.month - 1], WEEKDAYS[day.weekday()]
    return [
        f"{day.day} {month} {day.year}",
        f"{month} {day.day}, {day.year}",
        f"the {_ordinal(day.day)} of {month} {day.year}",
        f"{weekday}, {day.day} {month} {day.year}",
        f"{weekday[:3]} {month[:3]} {day.day} {day.year}",
        f"{day.day}-{month[:3]}-{day.year}",
    ]


def _ordinal(number: int) -> str:
    ends = {1: "st", 2: "nd", 3: "rd", 21: "st", 22: "nd", 23: "rd", 31: "st"}
    return f"{number}{ends.get(number, 'th')}"


def _pairs(
    draw: Callable[[random.Random], Pair], n: int, seed: int, unseen: bool
) -> Iterator[Pair]:
    """Draw pairs until n of the wanted kind have come."""
    if n < 0:
        raise ValueError(f"n is {n}: expected a number of pairs, 0 or more")
    rng = random.Random(seed)
    drawn = (draw(rng) for _ in count())
    wanted = (pair for pair in drawn if (crc32(pair[1].encode()) % 10 == 0) == unseen)
    return islice(wanted, n)
