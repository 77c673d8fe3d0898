"""Show how far a learner has come: `progress()`, and `llmkit progress`. Lesson 00."""

from dataclasses import dataclass
from pathlib import Path

from llmkit.exercises.cards import MARKS, PASSED, Card, show
from llmkit.exercises.exercise import exercises, lesson_module, lessons
from llmkit.exercises.record import Entry, headless, record


@dataclass(frozen=True)
class ProgressOptions:
    """Show which exercises are done."""

    lesson: str | None = None  # only this lesson, by its number: 01


def run(options: ProgressOptions) -> int:
    """Print the table of exercises; return 0.

    Raises: ValueError for a lesson that has no exercises.
    """
    print(overview(options.lesson))
    return 0


def progress(lesson: str | None = None) -> Card:
    """Show all exercises, or those of one lesson, done and not done.

    Raises: ValueError for a lesson that has no exercises.
    """
    return show(overview(lesson))


def overview(lesson: str | None = None) -> Card:
    """Put the exercises and how far they are on a card."""
    entries = record().read()
    rows = []
    for number in lessons() if lesson is None else [lesson]:
        for exercise in exercises(number):
            entry = entries.get(exercise.id, Entry())
            what = (exercise.id, exercise.kind, exercise.title)
            effort = ("●" * exercise.difficulty, f"{exercise.minutes} min")
            rows.append(_row(entry, *what, *effort))
        if getattr(lesson_module(number), "QUIZ", ()):
            id = f"{number}.quiz"
            entry = entries.get(id, Entry())
            rows.append(_row(entry, id, "quiz", "the quiz", "", "2 min"))
    done = sum(row[0] == MARKS[PASSED] for row in rows)
    return Card(
        heading=f"{done} of {len(rows)} done",
        body=(_where_kept(),),
        table=(
            ("", "id", "kind", "exercise", "level", "time", "tries", "hints"),
            *rows,
        ),
    )


def _where_kept() -> str:
    if headless():
        return "Nothing is kept, because LLMKIT_HEADLESS is set."
    path, home = record().path, Path.home()
    if path.is_relative_to(home):  # shorter, and fit to be shown to others
        path = "~" / path.relative_to(home)
    return f"Kept in {path}"


def _row(entry: Entry, *what: str) -> tuple[str, ...]:
    return MARKS.get(entry.status, "?"), *what, str(entry.attempts), str(entry.hints)
