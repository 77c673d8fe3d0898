"""What kind of task a description tells of, by its words. Lesson 08."""

import re

# What kind of task a description tells of: by what is to be done …
VERBS = {
    "classify": "sort classif categoris categoriz detect recognis recogniz predict "
    "decid moderat identif distinguish assign separat spot judg whether",
    "write": "writ generat translat summaris summariz paraphras rewrit compos complet "
    "explain simplif shorten respond convers invent",
    "language": "pretrain",
}
# … which may be a thing, too, except where it begins a text or follows "to" …
MAYBE = {
    "classify": "label tag flag route rate rank score filter group find mark screen",
    "write": "answer draft reply turn correct code continu edit",
}
# … and by what stands for it where nothing is said to be done.
THINGS = {
    "classify": "sentiment spam topic intent class review star toxic urgent genre mood "
    "positive negative sorting tell",
    "write": "story stories chat summar answer repl poem code dialog caption essay",
    "language": "language domain corpus embed perplexit base",
}
ENDINGS = ("", "e", "s", "es", "y", "ies", "ing", "ying", "ging", "ting")
PREPOSITIONS = "of for in on from to by with about into as at"
ASKING = ("is", "are", "was", "does")


def kind_of(task: str) -> str:
    """Tell the kind of a task by its words.

    The first verb decides: sort, detect; write, translate; pretrain. A word that is the
    name of a thing, too (label, answer), is a verb where it begins the text or follows
    "to". A question to be answered by yes or no sorts. Without a verb the head of the
    phrase decides, which is the last known word before the first preposition; if none
    is known there, the first one after it.

    Raises: ValueError if no word is known.

    >>> kind_of("Is this review positive?"), kind_of("chat message classification")
    ('classify', 'classify')
    """
    words = re.findall(r"\w+", task.lower())
    found = _by_verb(words) or _by_head(words)
    if found:
        return found
    raise ValueError(
        f"--task {task!r} does not tell what is wanted: say classify (sort texts into "
        "classes), write (continue or answer texts), or language model"
    )


def _by_verb(words: list[str]) -> str | None:
    """Return the kind that the first verb tells of."""
    if words and words[0] in ASKING:
        return "classify"
    for before, word in zip(["to", *words], words):
        for verbs in (VERBS, MAYBE) if before == "to" else (VERBS,):
            for kind, stems in verbs.items():
                for stem in stems.split():
                    if word.startswith(stem) and word[len(stem) :] in ENDINGS:
                        return kind
    return None


def _by_head(words: list[str]) -> str | None:
    """Return the kind that the head of the phrase tells of."""
    ends = PREPOSITIONS.split()
    cut = next((i for i, word in enumerate(words) if word in ends), len(words))
    for word in (*reversed(words[:cut]), *words[cut:]):
        for told in (THINGS, VERBS, MAYBE):
            for kind, stems in told.items():
                if word.startswith(tuple(stems.split())):
                    return kind
    return None
