"""Exercise 07.4: predict the accuracy after 50 examples."""

from llmkit.exercises import Exercise, Near, Wrong

FIFTY = 0.57  # about what the lesson measures; it passes on its own

ACCURACY = Exercise(
    id="07.4",
    kind="predict",
    title="the accuracy after 50 examples",
    minutes=3,
    difficulty=1,
    checker=Near(FIFTY, within=0.07),
    hints=(
        "A coin is right half of the time. The model has read millions of texts, but "
        "what a *verdict* is, 50 examples must tell it.",
        "The reviews judge by facts more often than by words such as *great*, so 25 of "
        "each kind show little of what there is. Think of a few points above a coin, "
        "and look at what all examples achieved.",
    ),
    solution=FIFTY,
    why="Pretraining taught it what the words mean, and not what you will ask. Fifty "
    "examples say little about that; here more examples were worth more than any cure.",
    wrong=(
        Wrong(
            0.5,
            "A coin: then 50 examples taught it nothing at all. It is better than "
            "that, on average over the seeds.",
            like=lambda guess: 0.45 <= guess <= 0.53,
        ),
        Wrong(
            0.75,
            "That is about what *all* examples achieve. Fifty are a twentieth of them.",
            like=lambda guess: 0.68 <= guess < 0.85,
        ),
        Wrong(
            0.95,
            "That good it is not even with all examples: these reviews are hard.",
            like=lambda guess: 0.85 <= guess <= 1,
        ),
        Wrong(
            0.3,
            "Below a half is worse than a coin: turn such a model's answers round, and "
            "it is a good one.",
            like=lambda guess: 0 <= guess < 0.45,
        ),
        Wrong(
            57.0,
            "It looks like a percentage: give a share, such as 0.9.",
            like=lambda guess: guess > 1,
        ),
    ),
)
