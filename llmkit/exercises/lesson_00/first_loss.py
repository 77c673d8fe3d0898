"""Exercise 00.1: predict where the curve of a model by characters begins."""

import math

from llmkit.exercises import Exercise, Near, Wrong

CHARACTERS, WORDS = 53, 611  # tokens of the stories, one way and the other

FIRST_LOSS = Exercise(
    id="00.1",
    kind="predict",
    title="where the curve begins",
    minutes=5,
    difficulty=1,
    checker=Near(math.log(CHARACTERS)),
    hints=(
        "A model that knows nothing treats all tokens alike. So which probability does "
        "it give to each of V tokens?",
        "It gives 1/V to each, whatever comes, so its surprise is -ln(1/V) = ln V. "
        "`math.log` is the natural logarithm.",
    ),
    solution=math.log(CHARACTERS),
    why="Whoever knows nothing gives each of V tokens the probability 1/V, and is "
    "surprised by -ln(1/V) = ln V nats, whatever comes. A curve that begins far above "
    "ln V belongs to a model that is sure of itself and wrong.",
    wrong=(
        Wrong(
            lambda truth: truth / math.log(2),
            "That is in bits: you took the logarithm to base 2. The curve is in nats, "
            "so use the natural logarithm.",
        ),
        Wrong(
            lambda truth: truth / math.log(10),
            "You took the logarithm to base 10. The curve is in nats, so use the "
            "natural logarithm.",
        ),
        Wrong(
            math.exp,
            "That is the number of characters itself: how many there are to choose "
            "from. The loss is its logarithm.",
        ),
        Wrong(
            lambda truth: math.exp(-truth),
            "That is a probability, 1/V. The loss is the surprise at it: minus its "
            "logarithm.",
        ),
        Wrong(
            math.log(WORDS),
            "That is where the curve of the words began. There are fewer characters "
            "than words to choose from.",
        ),
        Wrong(
            0.0,
            "A loss of 0 would be certainty: each true character had probability 1. "
            "That would be quite a start.",
        ),
        Wrong(
            -1.0,
            "A loss is never negative: no probability is above 1, so -ln p is at "
            "least 0.",
            like=lambda guess: isinstance(guess, float | int) and guess < 0,
        ),
    ),
)
