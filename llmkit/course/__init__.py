"""Execute the course headlessly and build its notebooks: `llmkit course`, `notebooks`.

Lesson by lesson, live lines while it runs, a table at the end: minutes, cells, checks,
bands. What it takes to execute one lesson is in `execution`; how a lesson is made from
its source, in `building`.
"""

from dataclasses import dataclass, field
from pathlib import Path

from llmkit.course.building import NotebookOptions, build
from llmkit.course.execution import (
    CELL_SECONDS,
    ROOT,
    Outcome,
    check_parameters,
    execute,
    find_lessons,
    parameters_of,
    require,
)

__all__ = ["CourseOptions", "NotebookOptions", "Outcome", "build", "execute", "run"]


@dataclass(frozen=True)
class CourseOptions:
    """Execute every lesson and say whether its results are as expected."""

    profile: str = "cpu"  # how large the runs are: smoke, cpu or gpu
    only: list[str] = field(default_factory=list)  # lessons to run, such as 01 06
    corpus: str | None = None  # the text, for the lessons that let you choose it
    out: str = "build/course"  # the folder for the executed notebooks


def run(options: CourseOptions, folder: Path | None = None) -> int:
    """Execute the lessons and print a table; return 1 where one failed, else 0.

    A lesson fails when a cell raises, takes too long or loses its kernel, and when a
    result lies outside its band. An exercise not yet attempted or answered wrongly is
    the learner's own business: it is counted and fails nothing.

    folder: where the lessons are, the clone's notebooks/ unless told.

    Raises: ValueError for an unknown profile or lesson, a corpus that none takes, or an
    `out` that holds the lessons themselves.
    """
    if options.profile not in CELL_SECONDS:
        known = ", ".join(CELL_SECONDS)
        raise ValueError(f"unknown profile {options.profile!r}: choose from {known}")
    require("papermill")
    folder = folder or ROOT / "notebooks"
    lessons = find_lessons(folder, options.only)
    if Path(options.out).resolve() == folder.resolve():
        raise ValueError(f"--out {options.out} would overwrite the lessons themselves")
    parameters = {lesson: _parameters(lesson, options) for lesson in lessons}
    if options.corpus and not any("corpus" in given for given in parameters.values()):
        names = ", ".join(lesson.stem for lesson in lessons)
        raise ValueError(f"none of these lessons takes a corpus: {names}")
    outcomes = []
    for number, lesson in enumerate(lessons, start=1):
        print(
            f"[{number}/{len(lessons)}] {lesson.stem} ({options.profile})", flush=True
        )
        outcome = execute(lesson, Path(options.out) / lesson.name, parameters[lesson])
        verdict = "failed" if outcome.problems else "done"
        print(f"    {verdict} after {outcome.seconds:.0f} s", flush=True)
        outcomes.append(outcome)
    return _report(outcomes, options.out)


def _parameters(lesson: Path, options: CourseOptions) -> dict[str, str]:
    """Choose what to give to a lesson; a path must also hold from its own folder."""
    given = {"profile": options.profile}
    if options.corpus and "corpus" in parameters_of(lesson):
        path = Path(options.corpus)
        given["corpus"] = str(path.resolve()) if path.exists() else options.corpus
    check_parameters(lesson, given)
    return given


def _report(outcomes: list[Outcome], out: str) -> int:
    """Print the table, then every problem; return the exit code."""
    from rich import box
    from rich import print as show
    from rich.table import Table

    table = Table("lesson", "minutes", "cells", "checks", "band", box=box.ASCII)
    for outcome in outcomes:
        counts = [f"{n} {status}" for status, n in sorted(outcome.checks.items())]
        band = f"{len(outcome.misses)} outside" if outcome.misses else "as expected"
        table.add_row(
            outcome.lesson,
            f"{outcome.seconds / 60:.1f}",
            str(outcome.cells),
            ", ".join(counts) or "none",
            "failed" if outcome.error else band if outcome.bands else "none",
        )
    show(table)
    problems = [problem for outcome in outcomes for problem in outcome.problems]
    print(*problems, sep="\n", end="\n" if problems else "")
    failed = sum(bool(outcome.problems) for outcome in outcomes)
    print(f"{len(outcomes) - failed} of {len(outcomes)} lessons as expected; see {out}")
    return int(failed > 0)
