"""Exercise 06.5: measure what twice the tokens do to the gap above the floor."""

from llmkit.exercises import Between, Exercise, Wrong

TWICE = Exercise(
    id="06.5",
    kind="measure",
    title="the gap after twice the tokens",
    minutes=10,
    difficulty=2,
    checker=Between(
        1.2,
        30.0,
        why_low="twice the reading should close a good part of the gap: did both runs "
        "train for the number of steps that you meant?",
        why_high="no doubling closes the gap like that: is one of the two a gap, and "
        "the other a loss?",
    ),
    hints=(
        "`gap_after(steps)` trains a new model and returns loss - floor. Call it once "
        "with `pace`, once with twice that, and divide one gap by the other.",
        "`gap_after(pace) / gap_after(2 * pace)`: the first gap over the second. It "
        "takes about as long as the three schedules above.",
    ),
    solution=6.0,
    why="In profile cpu the gap shrinks several times over. A doubling buys that much "
    "only while there is something large left to find out.",
    wrong=(
        Wrong(
            0.5,
            "That is the second gap over the first: by what factor did it *shrink*? "
            "Divide the other way round.",
            like=lambda factor: 0 < factor < 0.9,
        ),
        Wrong(
            1.05,
            "It looks like you compare the losses, not the gaps: most of each loss is "
            "the floor, which no reading takes away. Subtract it first.",
            like=lambda factor: 0.9 <= factor < 1.2 and factor != 1,
        ),
        Wrong(
            1.0,
            "Exactly the same gap: it looks like you measured the same run twice.",
            like=lambda factor: factor == 1,
        ),
        Wrong(
            -1.0,
            "A gap is loss minus floor, and no honest loss lies below its floor: did "
            "you subtract the wrong way round, or train a model that peeks?",
            like=lambda factor: factor < 0,
        ),
        Wrong(
            0.0,
            "A gap of 0 would be a perfect model.",
            like=lambda factor: factor == 0,
        ),
        Wrong(
            350.0,
            "That looks like a percentage: give the factor itself, such as 3.5.",
            like=lambda factor: factor >= 100,
        ),
    ),
)
