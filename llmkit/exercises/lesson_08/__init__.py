"""Exercises and quiz of lesson 08, Scaling: the same code on many machines."""

from llmkit.exercises import Choice, Question
from llmkit.exercises.lesson_08.averaging import AVERAGE
from llmkit.exercises.lesson_08.bands import BANDS
from llmkit.exercises.lesson_08.billion import BILLION
from llmkit.exercises.lesson_08.choosing import CHOICE, REASONS, SITUATIONS, TECHNIQUES
from llmkit.exercises.lesson_08.dealing import LAST
from llmkit.exercises.lesson_08.missing import ERROR, missed

__all__ = [
    "BANDS",
    "EXERCISES",
    "QUIZ",
    "REASONS",
    "SITUATIONS",
    "TECHNIQUES",
    "missed",
]

EXERCISES = (AVERAGE, LAST, BILLION, ERROR, CHOICE)

QUIZ = (
    Question(
        "Of two processes, one has 900 labels in its share and a mean loss of 2, the "
        "other 100 labels and a mean loss of 4. What is the loss of the batch?",
        (
            Choice(
                "3, the mean of the two.",
                "a mean of means gives the 100 labels as much say as the 900.",
            ),
            Choice(
                "2.2, as the sums are 1,800 and 400, over 1,000 labels.",
                "sums and counts add up, whoever computed them; means do not.",
                right=True,
            ),
            Choice(
                "6, because losses of processes add up.",
                "sums do; these are means, and a mean lies between its parts.",
            ),
        ),
    ),
    Question(
        "A model trains well with ddp on eight GPUs, with memory to spare. Somebody "
        "proposes ZeRO-3, because it is the most advanced. What happens?",
        (
            Choice(
                "It is faster, as each GPU has less to do.",
                "each computes exactly what it did; only where weights lie is new.",
            ),
            Choice(
                "The loss falls lower, as larger batches fit.",
                "the same batch gives the same loss; a larger one is another recipe.",
            ),
            Choice(
                "It saves memory that nobody needs, and gathers weights all the time.",
                "cutting pays where the state does not fit, or where the memory that "
                "it frees is used for more rows.",
                right=True,
            ),
        ),
    ),
    Question(
        "You go from one GPU to eight, and each takes as many rows as the one did. "
        "What becomes of the learning rate?",
        (
            Choice(
                "It is multiplied by eight: the linear scaling law.",
                "a rule of thumb, found with SGD on pictures; AdamW already divides by "
                "the gradient's size, and beyond some batch no rate makes up for it.",
            ),
            Choice(
                "The batch is eight times larger, so it must be looked for again.",
                "eight times and √8 times are where to begin looking. With the same "
                "batch, cut in eight, the old rate stays, and so does the loss.",
                right=True,
            ),
            Choice(
                "Nothing: the same code gives the same result.",
                "for the same batch, yes; this one has eight times as many rows.",
            ),
        ),
    ),
)
