"""Exercise 07.3: debug a test set that has leaked."""

import random
import re
from collections.abc import Sequence

from llmkit.corpus import jaccard, shingles
from llmkit.exercises import Exercise, Twin, mistakes
from llmkit.finetuning import Examples, Splits

LIKE = 0.5  # the similarity from which a test text counts as a copy
SHARE = 0.6  # of the test texts that `leaked` gives away


def leaked(splits: Splits, seed: int = 0) -> Splits:
    """Return the splits of a colleague, who added copies first and split afterwards.

    Most of the test texts now stand in training too, in place of as many others: some
    as they are, some in other letters and spaces, some with a word changed, some with a
    sentence added.
    """
    draw, train, test = random.Random(seed), splits.train, splits.test
    given = draw.sample(range(len(test)), round(SHARE * len(test)))
    kept = draw.sample(range(len(train)), len(train) - len(given))
    copies = [retold(test.texts[i], draw) for i in given]
    texts = [train.texts[i] for i in kept] + copies
    labels = [train.labels[i] for i in kept] + [test.labels[i] for i in given]
    order = draw.sample(range(len(texts)), len(texts))
    mixed = Examples("leaked", tuple(texts), tuple(labels), train.names).take(order)
    return Splits(mixed, splits.validation, test)


def retold(text: str, draw: random.Random) -> str:
    """Return a text as it is, or slightly changed, in one of four ways.

    >>> sorted({retold("A fine day.", random.Random(n)) for n in range(20)})
    ['A fine day.', 'a  fine  day. ']
    """
    words = text.split()
    at = draw.randrange(len(words))
    changed = [*words[:at], "really", *words[at:]] if len(words) > 9 else words
    return draw.choice(
        (
            text,
            "  ".join(text.lower().split(" ")) + " ",
            " ".join(changed),
            f"{text} So there." if len(words) > 5 else text,
        )
    )


def clean(train: Sequence[str], test: Sequence[str], like: float = LIKE) -> list[int]:
    """Return the places of the test texts that stand nowhere in training.

    A text is a copy of another if, of all runs of three words that occur in the two, at
    least this share occurs in both; `llmkit.corpus.near_duplicates` does so in the kit.

    >>> clean(["We waited for an hour."], ["we  waited for an hour. ", "Lovely!"])
    [1]
    """
    known = [shingles(text) for text in train]
    told = [shingles(text) for text in test]
    return [
        place
        for place, own in enumerate(told)
        if all(jaccard(own, other) < like for other in known)
    ]


def counting_runs(train, test, like=LIKE) -> list[int]:
    """Cut runs of three words by hand, and count those that both texts have."""

    def runs(text):
        words = re.findall(r"\S+", text.casefold())
        return {tuple(words[i : i + 3]) for i in range(max(len(words) - 2, 1))}

    def shared(a, b):
        both = sum(run in b for run in a)
        return both / (len(a) + len(b) - both)

    stays = []
    for place, text in enumerate(test):
        if max(shared(runs(text), runs(other)) for other in train) < like:
            stays.append(place)
    return stays


def cases(seed: int) -> tuple:
    """Draw short texts, and retell some of them in every way there is."""
    draw = random.Random(seed)
    texts = []
    while len(texts) < 14:
        text = " ".join(draw.sample(_WORDS, 12)).capitalize() + "."
        texts.append(text)
    train, test = texts[:8], texts[8:]
    a, b, c, d, e = draw.sample(train, 5)
    words = d.split()
    test += [
        a,  # as it is
        "  ".join(b.upper().split()),  # other letters and spaces
        " ".join([*c.split()[:5], "really", *c.split()[5:]]),  # a word more
        " ".join(words[6:] + words[:6][::-1]),  # its words, in another order: no copy
        " ".join([*e.split()[:4], *draw.sample(_WORDS, 8)]),  # a beginning: no copy
        test[0],  # stands twice in the test set, but not in training
    ]
    draw.shuffle(test)
    return train, test


_WORDS = [
    *("the", "a", "of", "soup", "film", "hotel", "pillow", "queue", "waiter", "plot"),
    *("ending", "battery", "shoe", "ticket", "tour", "cold", "slow", "bright", "kind"),
    *("broken", "lovely", "patient", "noisy", "clean", "we", "they", "it", "our"),
    *("never", "again", "came", "left", "kept", "found", "lost", "asked", "paid"),
    *("slept", "laughed", "waited", "twice", "quickly", "after"),
]

# The classic mistakes. What a mistake says to the learner is its docstring.


def only_equal(train, test, like=LIKE):
    """It looks like only texts that are equal letter by letter count as copies: a
    capital, a space or one more word hides the others. Compare runs of words.
    """
    return [place for place, text in enumerate(test) if text not in train]


def equal_when_normalised(train, test, like=LIKE):
    """It looks like capitals and spaces are seen through, but a copy with one word more
    is not: ask how many runs of three words two texts share.
    """
    known = {" ".join(text.casefold().split()) for text in train}
    told = [" ".join(text.casefold().split()) for text in test]
    return [place for place, text in enumerate(told) if text not in known]


def those_that_leaked(train, test, like=LIKE):
    """It looks like you return the texts that leaked: return those that may stay."""
    return sorted({*range(len(test))} - {*clean(train, test, like)})


def any_run(train, test, like=LIKE):
    """It looks like one shared run of three words is enough to be thrown out: "it was
    a" proves nothing. A copy shares at least half of all its runs.
    """
    known = set().union(*map(shingles, train))
    return [place for place, text in enumerate(test) if not shingles(text) & known]


def bags_of_words(train, test, like=LIKE):
    """It looks like you compare the words and not their order: two reviews of soup may
    share most words, and be of different people. Take runs of three words.
    """
    known = [shingles(text, n=1) for text in train]
    return [
        place
        for place, text in enumerate(test)
        if all(jaccard(shingles(text, n=1), other) < like for other in known)
    ]


def side_against_side(train, test, like=LIKE):
    """It looks like each test text is compared with the training text at the same place
    alone: a copy may stand anywhere. Compare it with all of them.
    """
    return [
        place
        for place, text in enumerate(test)
        if place >= len(train) or jaccard(shingles(text), shingles(train[place])) < like
    ]


def twice_in_the_test(train, test, like=LIKE):
    """It looks like you also throw out what stands twice in the test set: that is
    untidy, but no leak. Only what stands in training was seen.
    """
    return [
        place
        for place in clean(train, test, like)
        if all(jaccard(shingles(test[place]), shingles(x)) < like for x in test[:place])
    ]


def from_training(train, test, like=LIKE):
    """It looks like you return places in the training set: then the model that was
    already trained on the copies stays as it is. Clean the test set.
    """
    return clean(test, train, like)


LEAKED = Exercise(
    id="07.3",
    kind="debug",
    title="the test set that leaked",
    minutes=15,
    difficulty=2,
    checker=Twin(trusted=counting_runs, cases=cases, runs=8),
    hints=(
        "Look at a test text, and at the training text that is most like it: what was "
        "changed? `shingles(text)` of `llmkit.corpus` is the set of a text's runs of "
        "three words, capitals and spaces aside; `jaccard(a, b)` says how alike two "
        "sets are.",
        "`known = [shingles(text) for text in train]`. A test text may stay if "
        "`jaccard(shingles(text), other)` is below 0.5 for all `other` in `known`; "
        "return the numbers of those, from `enumerate(test)`.",
    ),
    solution=clean,
    why="Copies are looked for before the split, or else across it: nowhere else do "
    "they show.",
    wrong=mistakes(
        only_equal,
        equal_when_normalised,
        those_that_leaked,
        any_run,
        bags_of_words,
        side_against_side,
        twice_in_the_test,
        from_training,
    ),
)
