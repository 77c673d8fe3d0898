"""Exercise 06.1: predict the perplexity of a model that knows nothing."""

import math

from llmkit.exercises import Exercise, Near, Wrong

V = 611  # words and marks of the stories; the lesson passes on what it measures

UNIFORM = Exercise(
    id="06.1",
    kind="predict",
    title="the perplexity of knowing nothing",
    minutes=3,
    difficulty=1,
    checker=Near(V, within=0.02),
    hints=(
        "Every token gets the same probability, and the probabilities of all V tokens "
        "sum to 1. What is the surprise at any of them?",
        "Each token has probability 1/V, so the surprise is -ln(1/V) = ln V, whichever "
        "token comes. Perplexity is e to the power of that.",
    ),
    solution=V,
    why="Each of V tokens has probability 1/V and the surprise ln V, and e to the "
    "power of ln V is V: perplexity counts the tokens that are still in the running.",
    wrong=(
        Wrong(
            lambda V: math.log(V),
            "That is the loss, ln V nats; perplexity is e to the power of it.",
        ),
        Wrong(
            lambda V: math.log2(V),
            "That is the loss in bits, log₂ V; perplexity is 2 to the power of it.",
        ),
        Wrong(
            lambda V: V / 2,
            "You would find a word after V/2 tries on average, but perplexity does not "
            "count tries: it counts equally likely tokens.",
        ),
        Wrong(
            1.0,
            "Perplexity 1 is a model that is certain, and right, every time.",
            like=lambda guess: guess == 1,
        ),
        Wrong(
            lambda V: 1 / V,
            "That is the probability of each token; perplexity is one over it.",
            like=lambda guess: 0 < guess < 1,
        ),
        Wrong(
            0.0,
            "Perplexity is never below 1: there is at least the one token that came.",
            like=lambda guess: guess <= 0,
        ),
    ),
)
