"""Exercise 05.4: predict the accuracy on function words against names."""

from llmkit.exercises import Exercise, Near, Wrong

GAP = 0.9  # about what the lesson measures in profile cpu; it passes on its own

CLASSES = Exercise(
    id="05.4",
    kind="predict",
    title="function words against names",
    minutes=5,
    difficulty=2,
    checker=Near(GAP, within=0.15),
    hints=(
        "How many words could stand where *in* stands, between the two beside it? And "
        "how far from a blank is the other place that says *Ada*?",
        "Function words are given away by their neighbours: nearly always right. A "
        "name must be copied from a far place, and that is learnt late: until then it "
        "is a guess by lot, 1 in 40.",
    ),
    solution=GAP,
    why="Neighbours give function words away. A name stands there once more, so most "
    "could be known; but to copy a far word is a discovery that this training is too "
    "short for, and until then a name is drawn by lot.",
    wrong=(
        Wrong(
            0.15,
            "That is about what the grammar allows: most names stand there once more. "
            "But has a model found out, in a minute, that it may copy?",
            like=lambda gap: 0.05 < gap <= 0.35,
        ),
        Wrong(
            0.5,
            "That would be every second name. Copying comes all at once: before it, a "
            "name is one of 40, and after it, nearly always right.",
            like=lambda gap: 0.35 < gap <= 0.7,
        ),
        Wrong(
            0.0,
            "No gap? Function words are given away by the words beside them; nothing "
            "beside a name says which one it is.",
            like=lambda gap: -0.02 <= gap <= 0.05,
        ),
        Wrong(
            -0.3,
            "The other way round: function words are the easier ones, since their "
            "neighbours hardly leave a choice.",
            like=lambda gap: -1 <= gap < -0.02,
        ),
        Wrong(
            90.0,
            "It looks like percentage points: give a difference of shares, such as "
            "0.4.",
            like=lambda gap: abs(gap) > 1.1,
        ),
    ),
)
