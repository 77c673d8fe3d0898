"""Exercises and quiz of lesson 05, Masked pretraining: filling in the blanks."""

from llmkit.exercises import Choice, Question
from llmkit.exercises.lesson_05.asked import MASKED_LOSS
from llmkit.exercises.lesson_05.bands import BANDS
from llmkit.exercises.lesson_05.classes import CLASSES
from llmkit.exercises.lesson_05.hiding import HIDE
from llmkit.exercises.lesson_05.padded import PADDED
from llmkit.exercises.lesson_05.shares import SHARES

__all__ = ["BANDS", "EXERCISES", "QUIZ"]

EXERCISES = (HIDE, MASKED_LOSS, PADDED, CLASSES, SHARES)

QUIZ = (
    Question(
        "A masked model has a loss of 1.1 nats, a GPT on the same text 1.3. Which is "
        "the better model of the text?",
        (
            Choice(
                "The masked one: its loss is lower.",
                "it was told what stands on both sides, and 85% of the answers; its "
                "loss is no surprise at the whole text, so the two can't be compared.",
            ),
            Choice(
                "The GPT: it had the harder task.",
                "harder, yes, but a harder task does not make a better model.",
            ),
            Choice(
                "That can't be said: they were asked different questions.",
                "only the GPT's guesses multiply to the probability of a text (lesson "
                "06). Compare what the two are good for.",
                right=True,
            ),
        ),
    ),
    Question(
        "Why are one in ten of the chosen tokens swapped for another by lot?",
        (
            Choice(
                "So that no visible token can be trusted blindly.",
                "where any word may be wrong, each must be checked against all the "
                "others, and each place must say what belongs there.",
                right=True,
            ),
            Choice(
                "To make the text noisier, against overfitting.",
                "the masks are drawn anew in every epoch: that is noise enough.",
            ),
            Choice(
                "Because the loss needs wrong answers to learn from.",
                "every other word of the vocabulary is a wrong answer already, at each "
                "blank.",
            ),
        ),
    ),
    Question(
        "You compute logits at the asked places only. What happens to the gradient?",
        (
            Choice(
                "It gets smaller, as fewer places take part.",
                "the other places took no part before: a label of -100 has gradient 0.",
            ),
            Choice(
                "Nothing: it is the same gradient, made with less work.",
                "what is thrown away was multiplied by zero.",
                right=True,
            ),
            Choice(
                "The blocks learn from the asked places only.",
                "every place still speaks through attention, and gets its gradient "
                "back from there; only the head is spared.",
            ),
        ),
    ),
)
