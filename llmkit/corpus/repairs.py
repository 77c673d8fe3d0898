r"""Repairs: each takes a text, and returns it with one kind of damage mended.

A repair never changes what a sound text says. Source: Lesson 04.
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Container, Iterable

ROOM = 1_000_000  # different lines to count at a time

# Kept where they shape a letter or an emoji; anywhere else they only hide.
_EMOJI = "\u2190-\u2bff\ufe0f\U0001f000-\U0001faff"
_JOINING = "\u0590-\u1aff\ua800-\uabff\ufb1d-\ufefc" + _EMOJI  # Arabic, Indic, Khmer …
_LONE_JOINER = f"(?<![{_JOINING}])[\u200c\u200d]|[\u200c\u200d](?![{_JOINING}])"
# Black flag + tags is the flag of Scotland; tags alone are text that nobody sees.
_LONE_TAG = "(?<![\U0001f3f4\U000e0020-\U000e007f])[\U000e0000-\U000e007f]+"
_NEVER = "[\0-\b\x0e-\x1f\x7f-\x84\x86-\x9f\xad\u200b\u2060-\u2064\u206a-\u206f\ufeff"
_NEVER += "\ufff9-\ufffb\ud800-\udfff\u202d\u202e]"  # overrides show another order
_HIDDEN = re.compile(f"{_NEVER}|{_LONE_JOINER}|{_LONE_TAG}")
_NEW_LINE = re.compile("\r\n?|[\v\f\x85\u2028\u2029]")
_DIRECTION = re.compile("[\u061c\u200e\u200f\u202a-\u202c\u2066-\u2069]")
_RIGHT_TO_LEFT = re.compile(
    "[\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufefc\U00010800-\U00010fff]"
)

_NAME = r"(?:home|news|about(?:\ us)?|contact(?:\ us)?|help|login|log\ in|sign\ in"
_NAME += r"|sign\ up|search|menu|blog|shop|products|services|sitemap|faq|privacy|terms"
_NAME += r"|next|prev|previous|share|tweet|print|subscribe|follow\ us)"
_FURNITURE = re.compile(
    rf"""\s*(?:
      {_NAME}(?:\s*[|>»/·•]\s*{_NAME})+                    # Home | News | Contact
    | (?:skip\ to|back\ to)\ (?:main\ )?(?:content|top|navigation)
    | (?:click\ here|read\ more|share\ this|privacy\ policy|terms\ of\ (?:use|service))
    | (?:©|\(c\)|copyright\b).{{0,60}}\b(?:19|20)\d\d\b.{{0,80}}
    | .{{0,80}}\ball\ rights\ reserved\b.{{0,20}}
    | .{{0,80}}\b(?:web)?(?:site|page)s?\ uses?\ cookies\b.{{0,80}}
    | .{{0,80}}\b(?:accept|reject)\ (?:all\ )?cookies\b.{{0,40}}
    | (?:cookie|privacy)\ (?:policy|settings|preferences)
    )[.!…]?\s*""",
    re.IGNORECASE | re.VERBOSE,
)


def mend_encoding(text: str) -> str:
    """Mend text that was once decoded by the wrong table, line by line.

    UTF-8 read as Latin-1 is the common case. The library ftfy finds the way back, and
    leaves alone what may be meant. Source: Speer 2019, ftfy.

    >>> mend_encoding("a cafÃ© in KÃ¶ln")
    'a café in Köln'
    """
    if text.isascii():
        return text
    from ftfy import fix_encoding

    lines = text.split("\n")
    return "\n".join(line if line.isascii() else fix_encoding(line) for line in lines)


def compose(text: str) -> str:
    r"""Write each letter in one way: NFC, a letter and its accent as one character.

    Not NFKC, which also rewrites what is meant: x² becomes x2, ½ becomes 1⁄2, and the
    text can never be had back. Source: Unicode Standard Annex #15.

    >>> len("e\u0301"), len(compose("e\u0301")), compose("x² ½ ﬁ")
    (2, 1, 'x² ½ ﬁ')
    """
    return unicodedata.normalize("NFC", text)


def drop_controls(text: str) -> str:
    r"""Remove characters that nobody sees, and keep those that shape what one sees.

    A tab and a line break stay; other line breaks become "\n". A joiner stays between
    emoji or letters that join, so that a family is one picture and Persian keeps its
    spelling. Marks of direction stay in a text that has letters written from right to
    left. Overrides of direction go, as they make a text look other than it is; and so
    do halves of surrogate pairs, which UTF-8 cannot write.

    >>> drop_controls("zero\u200b width,\x07 bell")
    'zero width, bell'
    >>> family = "\N{MAN}\u200d\N{WOMAN}\u200d\N{GIRL}"
    >>> drop_controls(family) == family
    True
    """
    text = _HIDDEN.sub("", _NEW_LINE.sub("\n", text))
    return text if _RIGHT_TO_LEFT.search(text) else _DIRECTION.sub("", text)


def drop_furniture(text: str) -> str:
    r"""Remove lines that belong to a web page, not to its text: menus, cookies, ©.

    It knows English pages, and short lines that hold nothing else.

    >>> drop_furniture("Home | News | Contact\nA dog barked.\n© 2020 Dog News Ltd.")
    'A dog barked.'
    """
    lines = text.split("\n")
    kept = [line for line in lines if not _is_furniture(line)]
    return text if len(kept) == len(lines) else "\n".join(kept)


def _is_furniture(line: str) -> bool:
    return len(line) <= 200 and bool(_FURNITURE.fullmatch(line))


def lines_of_many(
    documents: Iterable[str], least: int = 10, words: int = 3
) -> dict[str, int]:
    r"""Count in how many documents each line stands, of those that stand in `least`.

    This is the first pass over a corpus: what many documents repeat, word by word, is
    furniture of the place they come from. `drop_lines` is the second. A line of fewer
    than `words` words is never counted. Memory is bounded: of more than a million
    different lines, those seen once are forgotten, so a count may be too low.

    Raises ValueError for a `least` below 2.

    >>> lines_of_many(["One.\nSent from my phone", "Sent from my phone"], least=2,
    ...     words=3)
    {'Sent from my phone': 2}
    """
    if least < 2:
        raise ValueError(f"least is {least}: expected 2 documents or more")
    counts: Counter[str] = Counter()
    for text in documents:
        lines = {line.strip() for line in text.split("\n")}
        counts.update(line for line in lines if len(line.split()) >= words)
        if len(counts) > ROOM:  # lossy counting: Manku and Motwani 2002
            counts = Counter({line: n for line, n in counts.items() if n > 1})
    return {line: n for line, n in counts.most_common() if n >= least}


def drop_lines(text: str, lines: Container[str]) -> str:
    r"""Remove the lines that were found to stand in many documents.

    As a step: `partial(drop_lines, lines=lines_of_many(documents))`.

    >>> drop_lines("One.\n  Sent from my phone", {"Sent from my phone"})
    'One.'
    """
    return "\n".join(line for line in text.split("\n") if line.strip() not in lines)


def tidy_spaces(text: str) -> str:
    r"""Remove spaces before a line break, empty lines beyond one, and those in front.

    Spaces at the beginning of a line stay: Python and poems mean them.

    >>> tidy_spaces("\n\nOne.  \n\n\n\n  Two.\n")
    'One.\n\n  Two.\n'
    """
    text = re.sub(r"[^\S\n]+$", "", text, flags=re.MULTILINE)
    return re.sub(r"\n{3,}", "\n\n", text).lstrip("\n")
