"""Exercises that a lesson asks, checks, helps with and remembers. Lesson 00.

For a learner, in a notebook::

    attend = check("01.1", attend).best   # verdict now; yours if right, else the kit's
    hint("01.1")                          # again, and it says more
    solution("01.1")                      # the source of the kit's own function
    mine = predict("00.1", 2.5)           # commit to a guess, run on, and then
    mine.reveal(measured)                 # compare
    quiz("01")                            # three questions; every choice says why
    progress()                            # what is done, and what is left
    band("06", profile, {"val_loss": loss})    # is the result what it should be?

A wrong or missing answer never raises, so that Run All reaches the end. Each verdict is
a card: text with marks, the same as HTML, and data for the course runner.

For an author. The exercises of lesson 07 are data in ``llmkit/exercises/lesson_07.py``,
or in a folder ``lesson_07/`` of small modules, as for lesson 01::

    EXERCISES = (Exercise(id="07.1", kind="implement", ...), ...)
    QUIZ = (Question("...", (Choice("...", why="...", right=True), ...)), ...)
    BANDS = {"smoke": {"accuracy": Band(0.6, 1.0, why_low="...", why_high="...")}}

1. Stub and check share a cell: the body of the stub is ``...``, and the last line is
   ``bucket = check("07.1", bucket).best``.
2. A function is judged by ``Twin(trusted, cases)``. `trusted` comes from a library that
   the lesson does not build; ``cases(seed)`` makes fresh arguments, the same ones for
   the same seed, in shapes that tell the mistakes apart (T ≠ S, a batch of more than
   one). Random numbers are seeded for each try; an input that the answer changes is
   reported. For a class, or something that trains, ``probe(answer, *args)`` says how to
   try it and returns what to compare.
3. A value is judged by ``Near(truth)``, ``Between(low, high, why_low, why_high)`` or
   ``Exactly(truth)``. Where only the notebook knows the truth, pass it on:
   ``check("06.4", gap, truth=loss - floor)``, ``mine.reveal(loss)``. A classic wrong
   value may be a function of the truth: ``Wrong(lambda truth: truth / 2, "...")``.
4. There are 4 to 8 classic wrong answers, each with a message that names the mistake
   ("It looks like you divide by K, not √K: ..."): ``mistakes(no_scale, ...)`` takes
   functions and their docstrings, ``Wrong(answer, message)`` takes values.
5. The solution is the kit's own function wherever there is one, never a copy of it.

Nothing more is needed: the tests find every lesson, and prove that each solution passes
and that each wrong answer is rejected with its own message.
"""

from llmkit.exercises.bands import BAND_MIME, Band, BandResult, band, for_profile
from llmkit.exercises.cards import Card
from llmkit.exercises.checks import (
    CHECK_MIME,
    CheckResult,
    Prediction,
    check,
    hint,
    predict,
    solution,
)
from llmkit.exercises.exercise import (
    Choice,
    Exercise,
    Question,
    Wrong,
    find,
    lessons,
    mistakes,
)
from llmkit.exercises.functions import Twin
from llmkit.exercises.overview import ProgressOptions, progress
from llmkit.exercises.quizzes import QuizResult, quiz
from llmkit.exercises.values import Between, Exactly, Near

__all__ = [
    "BAND_MIME",
    "CHECK_MIME",
    "Band",
    "BandResult",
    "Between",
    "Card",
    "CheckResult",
    "Choice",
    "Exactly",
    "Exercise",
    "Near",
    "Prediction",
    "ProgressOptions",
    "Question",
    "QuizResult",
    "Twin",
    "Wrong",
    "band",
    "check",
    "find",
    "for_profile",
    "hint",
    "lessons",
    "mistakes",
    "predict",
    "progress",
    "quiz",
    "solution",
]
