"""Exercises and quiz of lesson 01, Attention: a soft look-up."""

from llmkit.exercises import Choice, Question
from llmkit.exercises.lesson_01.attend import ATTEND
from llmkit.exercises.lesson_01.bands import BANDS
from llmkit.exercises.lesson_01.causal import CAUSAL_MASK
from llmkit.exercises.lesson_01.cost import OUTWEIGHS
from llmkit.exercises.lesson_01.heads import SPLIT_HEADS
from llmkit.exercises.lesson_01.looks import WHERE_ROWS_LOOK

__all__ = ["BANDS", "EXERCISES", "QUIZ"]

EXERCISES = (ATTEND, CAUSAL_MASK, SPLIT_HEADS, WHERE_ROWS_LOOK, OUTWEIGHS)

QUIZ = (
    Question(
        "In a look-up, what are the keys for, and what are the values for?",
        (
            Choice(
                "Keys are compared with the query, values are what comes back.",
                "the match is between query and key, and it weighs the values.",
                right=True,
            ),
            Choice(
                "Values are compared with the query, keys are what comes back.",
                "that is the look-up back to front; q @ kᵀ compares with keys.",
            ),
            Choice(
                "Both are compared with the query, and the better match wins.",
                "a value is never compared with anything, and nothing wins outright: "
                "every value is returned, weighed.",
            ),
        ),
    ),
    Question(
        "The weights have shape (T, S). Which sums are 1?",
        (
            Choice(
                "Each column: every key is given away exactly once.",
                "a key may be read by every query, or by none.",
            ),
            Choice(
                "Each row: every query shares out its attention over the keys.",
                "softmax runs over the last dimension, the keys.",
                right=True,
            ),
            Choice(
                "The whole matrix, as the weights are one distribution.",
                "each query has a distribution of its own, so the whole sums to T.",
            ),
        ),
    ),
    Question(
        "A masked cell has weight 0. What gradient does its score receive?",
        (
            Choice(
                "A small one: the softmax still sees its score.",
                "its score was replaced by -∞ before the softmax, so nothing is left "
                "to see.",
            ),
            Choice(
                "A large one, because it is pushed towards -∞.",
                "nobody trains the mask: the score was replaced, not learnt.",
            ),
            Choice(
                "Exactly 0: its key and value do not count for this query at all.",
                "that is what makes a causal model unable to learn from the future.",
                right=True,
            ),
        ),
    ),
)
