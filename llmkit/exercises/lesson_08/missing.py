"""Exercise 08.4: measure by how much the plan was wrong."""

from llmkit.exercises import Exercise, Near, Wrong

TYPICAL = -0.12  # passes on its own; the lesson passes on what it measures


def missed(predicted: float, measured: float) -> float:
    """Return by how much a prediction missed, as a share of what happened.

    >>> missed(predicted=9.0, measured=10.0)
    -0.1
    """
    return (predicted - measured) / measured


ERROR = Exercise(
    id="08.4",
    kind="measure",
    title="the error of the plan",
    minutes=5,
    difficulty=1,
    checker=Near(TYPICAL, within=0.002, slack=0.002),
    hints=(
        "By how much did the prediction miss, as a share of what happened? Predicted "
        "too short a time: below zero. Too long: above zero.",
        "The difference over the truth: `(predicted - measured) / measured`.",
    ),
    solution=TYPICAL,
    why="What was measured is the truth, so the error is a share of it; the sign says "
    "whether to trust the next plan more or less than it says.",
    wrong=(
        Wrong(
            lambda truth: -truth,
            "The sign is turned: an error is the prediction minus the truth, so that a "
            "plan which promises too short a time is below zero.",
        ),
        Wrong(
            lambda truth: truth / (1 + truth),
            "It looks like you divide by the prediction: divide by what was measured, "
            "for that is the truth.",
        ),
        Wrong(
            lambda truth: -truth / (1 + truth),
            "It looks like you take the measured minus the predicted, over the "
            "predicted: it is the prediction that errs.",
        ),
        Wrong(
            lambda truth: 1 + truth,
            "That is the predicted over the measured: 1 would be right. Subtract it.",
        ),
        Wrong(
            lambda truth: 1 / (1 + truth),
            "That is the measured over the predicted, a ratio: the error is the "
            "*difference*, over what was measured.",
        ),
        Wrong(
            lambda truth: 100 * truth,
            "It looks like a percentage: give a share, such as -0.1.",
        ),
    ),
)
