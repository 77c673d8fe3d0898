"""Exercises, quiz and bands of lesson 06, Next-token pretraining."""

import math

from llmkit.exercises import Band, Choice, Question
from llmkit.exercises.lesson_06.nucleus import NUCLEUS
from llmkit.exercises.lesson_06.peeking import PEEKS, Suspect
from llmkit.exercises.lesson_06.shift import SHIFT
from llmkit.exercises.lesson_06.twice import TWICE
from llmkit.exercises.lesson_06.uniform import UNIFORM

__all__ = ["BANDS", "EXERCISES", "QUIZ", "Suspect"]

EXERCISES = (UNIFORM, SHIFT, NUCLEUS, PEEKS, TWICE)

QUIZ = (
    Question(
        "One model reads characters and has a loss of 1.2 nats a token, another reads "
        "words and has 3.0. Which is the better model of the text?",
        (
            Choice(
                "The one by characters: its loss is lower.",
                "its tokens are shorter, so each holds less to be surprised at.",
            ),
            Choice(
                "The one by words: a word is harder to guess.",
                "harder, yes, but how many characters does such a word save?",
            ),
            Choice(
                "That cannot be said before both are turned into bits per byte.",
                "then both are asked the same: how many bits does this text take?",
                right=True,
            ),
        ),
    ),
    Question(
        "You halve the temperature, from 1 to 1/2. What happens to the probabilities?",
        (
            Choice(
                "Each is squared, and then they are divided by their sum.",
                "dividing logits by 1/2 doubles them, and e²ᶻ is (eᶻ)². What was twice "
                "as likely is now four times as likely.",
                right=True,
            ),
            Choice(
                "Each is halved.",
                "then they would sum to 1/2; divided by that sum, nothing has changed.",
            ),
            Choice(
                "Those below 1/2 become 0.",
                "temperature removes nothing; top-k and top-p do.",
            ),
        ),
    ),
    Question(
        "What does the KV cache change?",
        (
            Choice(
                "The text: the model remembers more than its context.",
                "the cache holds the keys and values of the context, and no more.",
            ),
            Choice(
                "Only the time: what does not change is not computed again.",
                "behind a causal mask no later token changes an earlier key: what was "
                "computed once stays right. An encoder could not do this.",
                right=True,
            ),
            Choice(
                "The accuracy, a little, in exchange for speed.",
                "it is no approximation: the same seed gives the same text.",
            ),
        ),
    ),
)

_BELOW = "no honest model beats the floor: has it seen these stories, or the future?"
_ABOVE = "it learnt too little: was the training interrupted, or a rate changed?"
_BROKEN = "too many stories break: was the temperature 1, and did training finish?"
_SMOKE = "so few steps can't do that: which model told them?"
_HONEST = "the peeking model is not below the floor: was its mask taken away?"
_COPIES = "too good: does the validation text stand in the training text?"
_COUNTS = "no better than counting single characters: is there enough text?"
_TABLE = "far better than a table of five characters: is it the same text?"
_BEHIND = "far behind a table of five characters: did the training come to its end?"
_NOISE = "three noisy runs predict only so well: look for one that went astray"
_SLOW = "something else uses this machine: close other notebooks, see `llmkit doctor`"


def _bands(ratio, valid, peeking, real, table, error, seconds) -> dict[str, Band]:
    return {
        "loss / floor": Band(*ratio, why_low=_BELOW, why_high=_ABOVE),
        "valid stories": Band(*valid, why_low=_BROKEN, why_high=_SMOKE),
        "peeking / floor": Band(-math.inf, peeking, why_high=_HONEST),
        "real text / unigram": Band(*real, why_low=_COPIES, why_high=_COUNTS),
        "real text / 5-gram": Band(*table, why_low=_TABLE, why_high=_BEHIND),
        "scaling error": Band(-math.inf, error, why_high=_NOISE),
        "seconds": Band(-math.inf, seconds, why_high=_SLOW),
    }


_NONE = (-math.inf, 0.6)  # of the valid stories in so few steps
BANDS = {
    "smoke": _bands((1.1, 2.6), _NONE, 4.0, (0.1, 1.05), (0.5, 3.0), 1.0, 240),
    "cpu": _bands(
        (0.99, 1.05), (0.9, math.inf), 0.6, (0.1, 0.85), (0.8, 1.3), 0.15, 1500
    ),
    "gpu": _bands(
        (0.99, 1.02), (0.93, math.inf), 0.3, (0.05, 0.8), (0.4, 1.2), 0.15, 900
    ),
}
