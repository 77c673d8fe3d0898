"""Exercises and quiz of lesson 07, Sentiment: standing on BERT's shoulders."""

from llmkit.exercises import Choice, Question
from llmkit.exercises.lesson_07.bands import BANDS
from llmkit.exercises.lesson_07.bucketing import BUCKETED
from llmkit.exercises.lesson_07.fifty import ACCURACY
from llmkit.exercises.lesson_07.fooling import FOOLS
from llmkit.exercises.lesson_07.gaining import GAIN
from llmkit.exercises.lesson_07.layers import LAYERS
from llmkit.exercises.lesson_07.leaking import LEAKED, leaked

__all__ = ["BANDS", "EXERCISES", "QUIZ", "leaked"]

EXERCISES = (BUCKETED, LAYERS, LEAKED, ACCURACY, GAIN, FOOLS)

QUIZ = (
    Question(
        "A batch is filled up to 128 tokens, and somebody classifies by the last "
        "position, `outputs[:, -1]`. What does the head read?",
        (
            Choice(
                "The last word of the review, where a verdict often stands.",
                "the last word of the longest row only; in all others the last "
                "position is filler.",
            ),
            Choice(
                "The state of a [PAD], which nothing in pretraining made meaningful.",
                "it does look at the words, so such a model even learns something; but "
                "its answer changes with the length that the row was filled to.",
                right=True,
            ),
            Choice(
                "Zeros, as the attention mask hides the padding.",
                "the mask keeps others from looking *at* the padding; the padding "
                "itself still looks, and has a state.",
            ),
        ),
    ),
    Question(
        "A cure gains 1.5 points of accuracy on the test texts; the paired 95% "
        "interval goes from -1.0 to 4.0. What do you know?",
        (
            Choice(
                "It helps: 1.5 is above zero, and most of the interval is.",
                "an interval that holds zero is what a useless cure would often give.",
            ),
            Choice(
                "It does not help: zero lies in the interval.",
                "four points lie in it too: not shown to help is not shown to be "
                "useless.",
            ),
            Choice(
                "Not whether it helps; only that it hardly costs, or gives, more than "
                "the ends.",
                "more texts or more seeds would make the interval narrower. Until then "
                "the honest answer is: not shown.",
                right=True,
            ),
        ),
    ),
    Question(
        "The head that you draw looks strongly at *not*. Does the model decide by that "
        "word?",
        (
            Choice(
                "Yes: attention says what a model looks at, and so what it uses.",
                "what is looked at may be multiplied by nearly nothing, and what is "
                "used may have come along another way, layers below.",
            ),
            Choice(
                "That can't be read off attention: take the word out, and see what "
                "happens to the answer.",
                "an experiment on the output tests what the picture only suggests.",
                right=True,
            ),
            Choice(
                "No: attention has nothing to do with the answer.",
                "everything that a position knows of others came through attention; "
                "only, a weight is not the whole way.",
            ),
        ),
    ),
)
