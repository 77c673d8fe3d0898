"""Exercise 03.5: measure which share of GPT-2 small is saved by tying its head."""

from llmkit.exercises import Exercise, Near, Wrong
from llmkit.exercises.lesson_03.size import D, T, V, gpt2_small

HEAD = V * D
TIED = gpt2_small()
UNTIED = TIED + HEAD

TYING = Exercise(
    id="03.5",
    kind="measure",
    title="what tying the head saves",
    minutes=8,
    difficulty=1,
    checker=Near(HEAD / UNTIED, within=0.02),
    hints=(
        "Build it twice, with `tied=True` and with `tied=False`, and count both. What "
        "is missing from one, as a share of the other?",
        "`(untied - tied) / untied`: what is saved, divided by what there would be "
        "without saving.",
    ),
    solution=HEAD / UNTIED,
    why="V · D = 38.6 million of 163 million. The wider and deeper a model, the less "
    "it is: blocks grow with L · D², the table with D.",
    wrong=(
        Wrong(
            HEAD / TIED,
            "It looks like you divided by the tied model: what is saved is a share of "
            "what there would be without tying, so divide by the untied one.",
        ),
        Wrong(
            100 * HEAD / UNTIED,
            "It looks like a percentage: give a share, between 0 and 1.",
            like=lambda share: 20 < share < 32,
        ),
        Wrong(
            HEAD,
            "It looks like you give the number of weights saved: divide it by all the "
            "weights of the untied model.",
            like=lambda share: share > 1e6 or 38 < share < 39,
        ),
        Wrong(
            TIED / UNTIED,
            "It looks like you give the share that remains: what is saved is 1 minus "
            "that.",
        ),
        Wrong(
            UNTIED / TIED,
            "It looks like you give how many times larger the untied model is: which "
            "share of it does tying save?",
        ),
        Wrong(
            2 * HEAD / UNTIED,
            "It looks like you counted both tables as saved: one of the two stays, and "
            "does the work of both.",
        ),
        Wrong(
            T * D / UNTIED,
            "It looks like you took the table of positions: the head is tied to the "
            "table of tokens, which has V rows.",
        ),
        Wrong(
            0.0,
            "Nothing saved? Both of your models must be tied: the second one needs "
            "`tied=False`.",
            like=lambda share: share == 0,
        ),
    ),
)
