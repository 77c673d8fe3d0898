"""Exercise 08.3: predict what a billion parameters take under AdamW."""

from llmkit.exercises import Exercise, Near, Wrong

GIGABYTES = 16.0

BILLION = Exercise(
    id="08.3",
    kind="predict",
    title="the memory of a billion parameters",
    minutes=3,
    difficulty=1,
    checker=Near(GIGABYTES, within=0.05),
    hints=(
        "A number in float32 takes 4 bytes, and training keeps more of a parameter "
        "than the parameter. What does AdamW have to remember?",
        "Each parameter has a weight, a gradient, and two averages of AdamW (of the "
        "gradient, and of its square): four numbers of 4 bytes.",
    ),
    solution=GIGABYTES,
    why="Weight, gradient and two averages, 4 bytes each: 16 bytes a parameter, before "
    "a single activation. Mixed precision saves none of them.",
    wrong=(
        Wrong(4.0, "Those are the weights alone: enough to load it, not to train it."),
        Wrong(8.0, "Weights and gradients: AdamW remembers two averages of each, too."),
        Wrong(
            12.0,
            "Three numbers of a parameter: one is missing among weight, gradient, and "
            "the *two* averages of AdamW.",
        ),
        Wrong(
            14.9,
            "Those are gibibytes, of 2³⁰ bytes each: give gigabytes, of 10⁹ bytes.",
            like=lambda guess: 14.8 <= guess <= 15,
        ),
        Wrong(
            2.0,
            "That is how the weights travel in half precision: in training they, their "
            "gradients and averages stay in float32.",
            like=lambda guess: 1.9 <= guess <= 2.1,
        ),
        Wrong(
            1.0,
            "That is a byte for each parameter: a number in float32 has four, and "
            "there is more than one number.",
            like=lambda guess: 0.5 <= guess < 1.9,
        ),
        Wrong(
            128.0,
            "It looks like you count bits: 8 of them make a byte.",
            like=lambda guess: 30 <= guess <= 130,
        ),
        Wrong(
            1.6e10,
            "It looks like a number of bytes: give gigabytes, of 10⁹ bytes each.",
            like=lambda guess: guess > 1e6,
        ),
    ),
)
