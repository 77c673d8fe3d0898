"""Exercise 05.5: measure what hiding 40% does, against 15%."""

from llmkit.exercises import Between, Exercise, Wrong

SHARES = Exercise(
    id="05.5",
    kind="measure",
    title="15% against 40%",
    minutes=10,
    difficulty=2,
    checker=Between(
        0.05,
        1.2,
        why_low="hiding more was quicker on this text when we tried: are both losses "
        "those of models trained for `pace` steps?",
        why_high="no share changes that much: is one of the two an untrained model?",
    ),
    hints=(
        "`after(share)` trains a new model for `pace` steps and returns its loss on "
        "the blanks that all models here are asked. Call it with 0.15 and with 0.40.",
        "`after(0.15) - after(0.40)`: above zero where hiding more has learnt more. "
        "The loss at 0.15 is known already, as `by_share[0.15]`.",
    ),
    solution=0.5,
    why="So early, what counts is the number of questions: 40% asks nearly three times "
    "as many a step. With long training the text that is left begins to count too.",
    wrong=(
        Wrong(
            -0.4,
            "It looks like you subtract the other way round: the loss at 15% minus "
            "that at 40% is how much lower the second one is.",
            like=lambda gap: -1.2 <= gap <= -0.05,
        ),
        Wrong(
            0.0,
            "Exactly equal: it looks like you compared a share with itself.",
            like=lambda gap: gap == 0,
        ),
        Wrong(
            1.9,
            "That is about the size of a loss: give the difference of two losses.",
            like=lambda gap: 1.2 < gap < 7,
        ),
        Wrong(
            40.0,
            "It looks like a percentage: give the difference of the two losses, in "
            "nats, such as 1.5.",
            like=lambda gap: gap >= 7,
        ),
        Wrong(
            -5.0,
            "It looks like one of the two has not learnt anything: did it train for "
            "`pace` steps?",
            like=lambda gap: gap < -1.2,
        ),
    ),
)
