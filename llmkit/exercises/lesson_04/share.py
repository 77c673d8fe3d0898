"""Exercise 04.3: measure the share of padding where every row has 128 places."""

from collections.abc import Sequence

from llmkit.exercises import Exercise, Near, Wrong

ROW = 128
TYPICAL = 0.566  # of the reviews, with a vocabulary of 2,048


def share_of_padding(lengths: Sequence[int], row: int = ROW) -> float:
    """Return which share of all places is padding, where each text has a row.

    >>> share_of_padding([32, 128, 200, 32])
    0.375
    """
    return 1 - sum(min(n, row) for n in lengths) / (row * len(lengths))


SHARE = Exercise(
    id="04.3",
    kind="measure",
    title="how much of a padded batch is padding",
    minutes=8,
    difficulty=1,
    checker=Near(TYPICAL, within=0.005),
    hints=(
        "There are `len(lengths)` rows of 128 places. How many of these places hold a "
        "token of a review, and how many are left?",
        "`used = sum(min(n, 128) for n in lengths)`, as a longer review is cut; then "
        "`1 - used / (128 * len(lengths))`.",
    ),
    solution=TYPICAL,
    why="A model computes as much for a place of padding as for a word.",
    wrong=(
        Wrong(
            lambda truth: 1 - truth,
            "It looks like you give the share of tokens: padding is the rest.",
        ),
        Wrong(
            lambda truth: 100 * truth,
            "It looks like a percentage: give a share, between 0 and 1.",
        ),
        Wrong(
            lambda truth: truth / (1 - truth),
            "It looks like you divided the padding by the tokens: divide it by all "
            "places, of both kinds.",
        ),
        Wrong(
            lambda truth: ROW * truth,
            "It looks like you give the padding of an average row: divide it by 128.",
        ),
        Wrong(
            lambda truth: ROW * (1 - truth),
            "It looks like you give the tokens of an average row: which share of its "
            "128 places do they leave empty?",
        ),
        Wrong(
            1.0,
            "It looks like you counted the rows that have padding: nearly all do. "
            "Count places.",
            like=lambda share: share == 1,
        ),
        Wrong(
            30_000,
            "It looks like you give a number of places: divide it by all there are, "
            "128 in each row.",
            like=lambda share: share > 1000,
        ),
        Wrong(
            0.0,
            "No padding at all? Hardly a review fills its row.",
            like=lambda share: share == 0,
        ),
    ),
)
