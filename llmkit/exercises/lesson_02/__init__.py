"""Exercises and quiz of lesson 02, Positions: telling order to a bag."""

from llmkit.exercises import Choice, Question
from llmkit.exercises.lesson_02.apart import APART
from llmkit.exercises.lesson_02.bands import BANDS
from llmkit.exercises.lesson_02.base import BASES
from llmkit.exercises.lesson_02.rotation import ROTATE
from llmkit.exercises.lesson_02.sinusoids import SINUSOIDAL
from llmkit.exercises.lesson_02.turned_values import TURNED_VALUES

__all__ = ["BANDS", "EXERCISES", "QUIZ"]

EXERCISES = (SINUSOIDAL, ROTATE, TURNED_VALUES, BASES, APART)

QUIZ = (
    Question(
        "Where do sinusoidal positions go in?",
        (
            Choice(
                "Into the embedding, before the first block looks at anything.",
                "queries, keys and values are then made of word and place together.",
                right=True,
            ),
            Choice(
                "Behind the last norm, so that nothing can wash them out.",
                "positions added after the norm come too late: every look has been "
                "taken by then, and all of them were blind to order.",
            ),
            Choice(
                "Into the scores, as one number for each distance.",
                "that is ALiBi; sinusoids are vectors, and a score is a number.",
            ),
        ),
    ),
    Question(
        "Query 7 and key 4 are turned by their positions. Their score depends on",
        (
            Choice(
                "7 and 4: both vectors were turned, by different angles.",
                "a dot product sees only the angle between two vectors, and that "
                "changed by the difference.",
            ),
            Choice(
                "their distance 3, which way round it is, and what the two words are.",
                "R(7)q · R(4)k = q · R(4 - 7)k: the words, and one turn by -3.",
                right=True,
            ),
            Choice(
                "their distance 3 alone.",
                "the vectors are still there: a turn changes a score, it does not "
                "replace it.",
            ),
        ),
    ),
    Question(
        "Trained at 64, a model's loss is flat out to 256. What has been shown?",
        (
            Choice(
                "It uses all 256 tokens that it is given.",
                "a model that never looks back more than 60 tokens has the same curve.",
            ),
            Choice(
                "A longer text does it no harm. Whether it helps is another question.",
                "to answer that one, take the far past away and see whether the loss "
                "rises.",
                right=True,
            ),
            Choice(
                "Its positions are relative, and relative ones extrapolate.",
                "rotary ones are relative too, and their loss was not flat.",
            ),
        ),
    ),
)
