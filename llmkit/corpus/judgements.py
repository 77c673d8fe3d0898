r"""Judgements: each takes a text, and returns the reason to remove it, or None.

All are rough. A judgement that never errs would have to understand the text; so look at
what they catch, in the examples of the report. Source: Lesson 04.
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Sequence

_FREQUENT = """the of and to a in is it that was for on he as with his be at by this had
not are but from or have an they which you were her all she there would their we him
been has when who will more no if out so said what up its about into than them can only
other i my do"""
ENGLISH = frozenset(_FREQUENT.split())  # the most frequent words of English
_WORD = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)?")


def too_short(text: str, least: int = 20) -> str | None:
    """Object to a text of fewer than `least` characters.

    >>> too_short("Hi!")
    '3 characters, fewer than 20'
    """
    length = len(text.strip())
    return f"{length:,} characters, fewer than {least:,}" if length < least else None


def too_long(text: str, most: int = 1_000_000) -> str | None:
    """Object to a text of more than `most` characters: often a list or a dump.

    >>> too_long("A long story.", most=5)
    '13 characters, more than 5'
    """
    length = len(text.strip())
    return f"{length:,} characters, more than {most:,}" if length > most else None


def too_few_letters(text: str, least: float = 0.5) -> str | None:
    """Object to a text of which less than this share, without spaces, is letters.

    >>> too_few_letters("+---+---+ | 1 | 2 |")
    '0.0% letters, less than 50%'
    """
    characters = "".join(text.split())
    # A mark, such as the vowels of Hindi, belongs to its letter.
    marks = {c for c in set(characters) if unicodedata.category(c)[0] in "LM"}
    share = sum(map(marks.__contains__, characters)) / max(len(characters), 1)
    return f"{share:.1%} letters, less than {least:.0%}" if share < least else None


def repeats_lines(text: str, most: float = 0.3, words: int = 50) -> str | None:
    r"""Object to a text of which more than this share of lines stood in it before.

    The same for paragraphs. Of fewer than `words` words nothing is said, as in a short
    text a share says little. Source: Rae et al. 2021, table A1.

    >>> repeats_lines("Buy now and save a lot of money today!\n" * 10)
    '90.0% of its lines are repeated, more than 30%'
    """
    if len(text.split()) < words:
        return None
    for name, mark in (("lines", "\n"), ("paragraphs", "\n\n")):
        parts = [part.strip() for part in text.split(mark) if part.strip()]
        share = 1 - len(set(parts)) / max(len(parts), 1)
        if share > most:
            return f"{share:.1%} of its {name} are repeated, more than {most:.0%}"
    return None


def repeats_words(text: str, words: int = 50) -> str | None:
    """Object to a text that says the same few words again and again.

    For n of 2, 3 and 4: the share of characters in the most frequent n words in a row.
    For n of 5 to 10: that in all n words in a row which stood in the text before.

    Of fewer than `words` words nothing is said. Source: Rae et al. 2021, table A1.

    >>> repeats_words("to be sure " * 20)
    "'to be' fills 50.0% of it, more than 20%"
    """
    found = text.split()
    if len(found) < words:
        return None
    total = sum(map(len, found))
    for n, most in ((2, 0.20), (3, 0.18), (4, 0.16)):
        gram, share = most_frequent(found, n)
        if share > most * total:
            filled = share / total
            return f"{gram!r} fills {filled:.1%} of it, more than {most:.0%}"
    for n, most in zip(range(5, 11), (0.15, 0.14, 0.13, 0.12, 0.11, 0.10)):
        share = repeated(found, n)
        if not share:
            return None  # then no longer run of words is repeated either
        if share > most * total:
            filled = share / total
            return f"repeated runs of {n} words fill {filled:.1%}, more than {most:.0%}"
    return None


def most_frequent(words: Sequence[str], n: int) -> tuple[str, int]:
    """Return the n words in a row that are most frequent, and how much they fill.

    That is in characters, without spaces; 0 where none comes twice.

    >>> most_frequent("to be or not to be".split(), 2)
    ('to be', 8)
    """
    counts = Counter(zip(*(words[i:] for i in range(n))))
    gram, times = max(counts.items(), key=lambda item: item[1], default=((), 0))
    return " ".join(gram), times * sum(map(len, gram)) if times > 1 else 0


def repeated(words: Sequence[str], n: int) -> int:
    """Count the characters in runs of n words that stood in the text before.

    No character is counted twice.

    >>> repeated("to be or not to be".split(), 2)
    4
    """
    seen, filled, start = set(), 0, 0
    while start + n <= len(words):
        gram = tuple(words[start : start + n])
        if gram in seen:
            filled += sum(map(len, gram))
            start += n
        else:
            seen.add(gram)
            start += 1
    return filled


def not_english(text: str, least: float = 0.1, words: int = 20) -> str | None:
    """Object to a text of which less than this share is frequent words of English.

    Prose in English has three or four times as much, another language a few percent,
    and so has source code. Of fewer than `words` words nothing is said. It is no step
    of `clean` unless you ask for it.

    >>> not_english("Der Hund bellt, und die Katze schläft. " * 4)
    '0.0% of its words are frequent in English, less than 10%'
    """
    found = _WORD.findall(text.lower())
    if len(found) < words:
        return None
    share = sum(map(ENGLISH.__contains__, found)) / len(found)
    if share >= least:
        return None
    return f"{share:.1%} of its words are frequent in English, less than {least:.0%}"


def other_script(text: str, script: str = "LATIN", least: float = 0.5) -> str | None:
    """Object to a text of which less than this share of letters is of the script.

    The script is the word that begins its letters' names in Unicode: GREEK, CJK. It is
    no step of `clean` unless you ask for it.

    >>> other_script("Собака лает.")
    '0.0% of its letters are LATIN, less than 50%'
    """
    letters = Counter(filter(str.isalpha, text))
    names = {letter: unicodedata.name(letter, "") for letter in letters}
    own = sum(n for letter, n in letters.items() if names[letter].startswith(script))
    share = own / max(letters.total(), 1)
    if share >= least or not letters:
        return None
    return f"{share:.1%} of its letters are {script}, less than {least:.0%}"
