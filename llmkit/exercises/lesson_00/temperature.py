"""Exercise 00.3: measure how many stories are lost when the temperature rises."""

from llmkit.exercises import Exercise, Near, Wrong
from llmkit.stories import STORIES


def share_valid(stories: list[str]) -> float:
    """Return the share of texts that are stories of the language, from 0 to 1.

    >>> share_valid(["Once upon a time.\\n"])
    0.0
    """
    return sum(STORIES.parse(story).valid for story in stories) / len(stories)


TYPICAL_LOSS_OF_STORIES = 0.8  # of a model that was trained in profile cpu

TEMPERATURE = Exercise(
    id="00.3",
    kind="measure",
    title="what heat does to grammar",
    minutes=10,
    difficulty=2,
    checker=Near(TYPICAL_LOSS_OF_STORIES, within=0.01),
    hints=(
        "For each story of a list, `STORIES.parse(story).valid` is True or False, and "
        "`sum` counts what is True.",
        "`sum(STORIES.parse(story).valid for story in cool) / len(cool)` is the first "
        "share. Do the same for `hot`, and subtract.",
    ),
    solution=TYPICAL_LOSS_OF_STORIES,
    why="A temperature above 1 gives words a chance that the model itself thinks "
    "wrong. A story has some 46 words and marks, and one wrong one spoils it.",
    wrong=(
        Wrong(
            lambda truth: -truth,
            "The sign is the wrong way round: take the cool share minus the hot one, "
            "and count the stories that are valid, not those that are broken.",
        ),
        Wrong(
            lambda truth: 100 * truth,
            "That is a count or a percentage: a share is a part of 1, so divide by the "
            "number of stories.",
            like=lambda lost: abs(lost) > 1,
        ),
        Wrong(
            0.0,
            "Equal shares? What `STORIES.parse` returns counts as true even for "
            "nonsense: ask it for `.valid`. And it reads one story at a time, with the "
            "line break at its end.",
        ),
        Wrong(
            lambda truth: 1 - truth,
            "That looks like the share that is left when it is hot. How much is lost "
            "on the way, from cool to hot?",
        ),
    ),
)
