"""Exercises and quiz of lesson 04, From text to batches: what the model really eats."""

from llmkit.exercises import Choice, Question
from llmkit.exercises.lesson_04.bands import BANDS
from llmkit.exercises.lesson_04.emoji import EMOJI, SENTENCE
from llmkit.exercises.lesson_04.labels import OFF_BY_ONE
from llmkit.exercises.lesson_04.merging import MERGE
from llmkit.exercises.lesson_04.mess import mess
from llmkit.exercises.lesson_04.packing import PACK
from llmkit.exercises.lesson_04.share import SHARE, share_of_padding

__all__ = ["BANDS", "EXERCISES", "QUIZ", "SENTENCE", "mess", "share_of_padding"]

EXERCISES = (MERGE, EMOJI, SHARE, PACK, OFF_BY_ONE)

QUIZ = (
    Question(
        "A text was split, and copies were removed afterwards, in each part by itself. "
        "What does the validation loss say now?",
        (
            Choice(
                "What it should: neither part has copies any more.",
                "each part is free of copies, but a text of one may have its twin in "
                "the other. Only removing before the split sees both.",
            ),
            Choice(
                "Too little: some validation texts may have been learnt by heart.",
                "their twins stand in the training text. Remove copies first, then "
                "split, and let near copies stay on one side.",
                right=True,
            ),
            Choice(
                "Too much: with fewer texts the model learns less.",
                "a little less, perhaps. But what is left of the leak pulls the other "
                "way, and further.",
            ),
        ),
    ),
    Question(
        "You ask a model to continue `the cat ` (with a space at the end), and it does "
        "badly. Why?",
        (
            Choice(
                "The space makes the prompt longer than its context.",
                "one token more does not matter.",
            ),
            Choice(
                "A space is no token, so the model can't see it.",
                "every byte is a token; that is why the model does see it.",
            ),
            Choice(
                "In its text, a space belongs to the word after it.",
                "the model has learnt a word and its space as one token. A space by "
                "itself was rare in front of a word, so it is lost after one.",
                right=True,
            ),
        ),
    ),
    Question(
        "Of 512 tokens in a batch for masked prediction, how many count for the loss?",
        (
            Choice(
                "All 512, as each has a label.",
                "each has a place for a label, and at most of them it is -100.",
            ),
            Choice(
                "About 77: the 15% that were chosen, however they look now.",
                "masked, replaced or left alone: all that were chosen are asked for, "
                "and nothing else.",
                right=True,
            ),
            Choice(
                "About 61: the 80% of 15% that became [MASK].",
                "the other fifth is asked for too; were it not, the model could trust "
                "every word that it sees.",
            ),
        ),
    ),
)
