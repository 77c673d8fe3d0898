"""Exercise 07.6: write a review that fools the classifier."""

import re
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache

from llmkit.corpus import jaccard, shingles
from llmkit.exercises import Exercise, Wrong
from llmkit.exercises.cards import FAILED, NOT_ATTEMPTED, PASSED
from llmkit.exercises.exercise import Verdict
from llmkit.finetuning import read_examples

Says = Callable[[str], Mapping[str, float]]
WORDS, KNOWN, TWICE, LIKE = 5, 0.7, 0.34, 0.5

NO_LABEL = (
    "It looks like the label is none of the classes: give what a careful reader would "
    "say of your review, by the name of the class."
)
COPIED = (
    "It looks like that review is one of ours, or nearly: finding an old mistake is "
    "easy. Write a new one."
)
SHORT = (
    "It looks like there are fewer than five different words that our reviews know: "
    "a review says something, in English."
)
GIBBERISH = (
    "It looks like most of it is no English: a classifier must say something of any "
    "noise, and that fools nobody. Use words that a reader knows."
)
REPEATED = (
    "It looks like one word stands there again and again: nobody writes so. Say it in "
    "a sentence."
)
AGREES = (
    "The classifier agrees with you. Say it by facts, turn it round at the end, praise "
    "with the words of blame, and try again."
)


def by_counting(text: str) -> dict[str, float]:
    """Judge a text as a counter of words would: the stand-in for a trained model.

    >>> by_counting("A lovely, lovely evening.")["positive"] > 0.5
    True
    """
    words = _words(text)
    score = sum(word in _GOOD for word in words) - sum(word in _BAD for word in words)
    p = 2.0**score / (1 + 2.0**score)
    return {"negative": 1 - p, "positive": p}


_GOOD = {"good", "great", "lovely", "loved", "perfect", "wonderful", "best", "happy"}
_BAD = {"bad", "dull", "cold", "complain", "broken", "not", "nothing", "never", "worst"}


@dataclass(frozen=True)
class Fooled:
    """Judge a review and its label: is a classifier wrong about it, and sure?

    The answer is (text, label); `truth` is the classifier: a function from a text to
    the probability of each class, by name. Without it, a counter of words stands in.

    >>> Fooled().judge(("What a great place to wait for a bus.", "positive"), ()).status
    'failed'
    """

    def judge(self, answer, wrong, *, seed=0, truth: Says | None = None) -> Verdict:
        """Look at the review first, and only then ask the classifier."""
        if answer is None or answer is ... or _unwritten(answer):
            return Verdict(NOT_ATTEMPTED, "")
        if not _is_pair(answer):
            message = 'Give two texts: ("your review", "the class that it belongs to").'
            return Verdict(FAILED, message)
        (text, label), says = answer, truth or by_counting
        p = says(text)
        if fault := _fault(text, label, p):
            return Verdict(FAILED, fault)
        guess = max(p, key=p.get)
        message = f"It says {guess}, with a probability of {p[guess]:.2f}. Well done."
        return Verdict(PASSED, message)


def _unwritten(answer) -> bool:
    return isinstance(answer, list | tuple) and (... in answer or None in answer)


def _is_pair(answer) -> bool:
    pair = isinstance(answer, list | tuple) and len(answer) == 2
    return pair and all(isinstance(x, str) for x in answer)


def _fault(text: str, label: str, p: Mapping[str, float]) -> str:
    """Say what is wrong with a review, or return ""."""
    words, known = _words(text), _known_words()
    if label not in p:
        return NO_LABEL
    if _is_ours(text):
        return COPIED
    if len(words) >= WORDS and sum(w in known for w in words) < KNOWN * len(words):
        return GIBBERISH
    if words and Counter(words).most_common(1)[0][1] > max(TWICE * len(words), 2):
        return REPEATED
    if len({word for word in words if word in known}) < WORDS:
        return SHORT
    fooled = any(name != label and q > 0.5 for name, q in p.items())
    return "" if fooled else AGREES


def _words(text: str) -> list[str]:
    return re.findall(r"[^\W\d_]+(?:['’][^\W\d_]+)*", text.casefold())


@cache
def _our_runs() -> tuple[set[str], ...]:
    return tuple(shingles(text) for text in read_examples("reviews").texts)


@cache
def _known_words() -> set[str]:
    return {word for text in read_examples("reviews").texts for word in _words(text)}


def _is_ours(text: str) -> bool:
    own = shingles(text)
    return any(jaccard(own, other) >= LIKE for other in _our_runs())


REVIEW = ("Not one dull minute, and nothing that I would complain about.", "positive")
FOOLS = Exercise(
    id="07.6",
    kind="debug",
    title="a review that fools the classifier",
    minutes=10,
    difficulty=2,
    checker=Fooled(),
    hints=(
        "Look at the errors by tag, and at the words that moved the most confident "
        "mistakes. Which words does it trust too much?",
        'Irony is a good road ("lovely, another evening spent on hold"), and so is '
        "praise that is made of denied blame. Try it in the box above, and see which "
        "words pull; change one, and look again.",
    ),
    solution=REVIEW,
    why="Each word of blame is there, and each is denied: whoever counts words is "
    "fooled. This one fools a counter; yours must fool the model that you trained.",
    wrong=(
        Wrong(("Lovely room, perfect breakfast, happy children.", "positive"), AGREES),
        Wrong(("Zxq vlorp gnnk brrt wuzzle, not bad.", "positive"), GIBBERISH),
        Wrong(("Not bad.", "positive"), SHORT),
        Wrong(("not bad " * 6, "positive"), REPEATED),
        Wrong(
            ("Not one dull minute, and nothing to complain about.", "good"), NO_LABEL
        ),
        Wrong(("Dull beyond belief.", "positive"), COPIED),
    ),
)
