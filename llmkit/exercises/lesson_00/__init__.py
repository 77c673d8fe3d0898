"""Exercises, quiz and bands of lesson 00, Start here."""

import math

from llmkit.exercises import Band, Choice, Question
from llmkit.exercises.lesson_00.first_loss import FIRST_LOSS
from llmkit.exercises.lesson_00.flat_curve import FLAT_CURVE
from llmkit.exercises.lesson_00.loss import LOSS
from llmkit.exercises.lesson_00.temperature import TEMPERATURE, share_valid

__all__ = ["BANDS", "EXERCISES", "QUIZ", "share_valid"]

EXERCISES = (FIRST_LOSS, LOSS, TEMPERATURE, FLAT_CURVE)

QUIZ = (
    Question(
        "Training ends a little above the dashed floor. What would a loss below it "
        "mean?",
        (
            Choice(
                "A brilliant model, which has understood the stories.",
                "a perfect model meets the floor and stays there. The hero's name is "
                "drawn by lot, and no brilliance foresees a lottery.",
            ),
            Choice(
                "A mistake: the model has seen what it should predict.",
                "the floor is the surprise that is left to somebody who knows all the "
                "rules; only cheating, or luck on few stories, gets below it.",
                right=True,
            ),
            Choice(
                "Nothing at all: the floor is only a rule of thumb.",
                "the floor is computed, not guessed: each story comes with its exact "
                "probability.",
            ),
        ),
    ),
    Question(
        "Two models begin training. One has 100 tokens to choose from, the other "
        "10,000. How do their first losses compare?",
        (
            Choice(
                "The second is twice the first.",
                "ln 10,000 = 2 ln 100: about 9.2 against 4.6.",
                right=True,
            ),
            Choice(
                "The second is a hundred times the first.",
                "the number of choices is a hundred times as large, but the loss is "
                "its logarithm.",
            ),
            Choice(
                "They are the same, as neither knows anything.",
                "both know nothing, but one of them has far more ways to be wrong.",
            ),
        ),
    ),
    Question(
        "You turn the temperature down to 0.3 and tell stories. What changes?",
        (
            Choice(
                "The weights of the model: it forgets its wilder words.",
                "temperature is a setting of the drawing alone. The model is the same "
                "as before.",
            ),
            Choice(
                "Likely words are drawn still more often, unlikely ones hardly ever.",
                "so nearly every story is valid, and the stories differ less from "
                "each other.",
                right=True,
            ),
            Choice(
                "Likely and unlikely words are drawn more nearly alike.",
                "that is what a temperature above 1 does.",
            ),
        ),
    ),
)

_BELOW = "no honest model beats the floor: do training and validation share stories?"
_UNTRAINED = "it learnt too little: was the training interrupted, or a rate changed?"
_BROKEN = "too many stories break: was the temperature 1, and did training finish?"
_SLOW = "something else uses this machine: close other notebooks, see `llmkit doctor`"

BANDS = {
    "smoke": {
        "loss / floor": Band(1.2, 2.2, why_low=_BELOW, why_high=_UNTRAINED),
        "valid stories": Band(
            -math.inf,
            0.6,
            why_high="so few steps can't do that: which model told them?",
        ),
        "seconds": Band(-math.inf, 180, why_high=_SLOW),
    },
    "cpu": {
        "loss / floor": Band(0.99, 1.04, why_low=_BELOW, why_high=_UNTRAINED),
        "valid stories": Band(0.75, math.inf, why_low=_BROKEN),
        "seconds": Band(-math.inf, 600, why_high=_SLOW),
    },
    "gpu": {
        "loss / floor": Band(0.99, 1.02, why_low=_BELOW, why_high=_UNTRAINED),
        "valid stories": Band(0.85, math.inf, why_low=_BROKEN),
        "seconds": Band(-math.inf, 120, why_high=_SLOW),
    },
}
