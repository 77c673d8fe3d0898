"""Exercise 01.5: measure where attention outweighs the MLP."""

from llmkit.exercises import Exercise, Near, Wrong

WIDTH, HEADS = 96, 4  # D and H of the lesson's measurement
EQUAL = 4.0 * WIDTH  # 4 T D = 16 D² FLOPs a token

OUTWEIGHS = Exercise(
    id="01.5",
    kind="measure",
    title="where attention outweighs the MLP",
    minutes=8,
    difficulty=2,
    checker=Near(EQUAL, within=0.04),
    hints=(
        "Count both at one T. The look-up grows with T², the MLP with T: which factor "
        "is missing, and by which factor does T have to grow to make it up?",
        "`T * flops(mlp, x(T)) / flops(attend, *heads(T))` is the same for every T, "
        "since the ratio of the two grows with T itself.",
    ),
    solution=EQUAL,
    why="A token costs 4 T D in the look-up (two products of 2 T D) and 16 D² in the "
    "MLP (two matrices of 8 D²): equal at T = 4 D.",
    wrong=(
        Wrong(
            lambda truth: 2 * truth,
            "It looks like you counted one product of the look-up: there are two, "
            "q kᵀ for the scores and weights v for the mixture.",
        ),
        Wrong(
            lambda truth: truth / 2,
            "It looks like you weighed the look-up against half of the MLP, or added "
            "the linear maps that make q, k, v and the output: count two matrices of "
            "the MLP, and of attention only scores and mixture.",
        ),
        Wrong(
            lambda truth: truth * HEADS,
            "It looks like you counted a single head: four of them look, side by side.",
        ),
        Wrong(
            lambda truth: truth / 4,
            "It looks like you answered D: there the table of weights, T × T, is as "
            "large as x, T × D. Compare the work, not the sizes.",
        ),
        Wrong(
            512,
            "It looks like you doubled T until attention cost more: the two were equal "
            "somewhere before. Look between 256 and 512.",
        ),
    ),
)
