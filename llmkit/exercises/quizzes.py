"""Three questions at the end of a lesson; every choice says why. Lesson 00.

With a live kernel a question is a column of radio buttons. In an executed notebook each
choice is a fold that opens to its reason, and in plain text a numbered list.
"""

import importlib.util
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from llmkit.exercises.cards import (
    FAILED,
    MARKS,
    NOT_ATTEMPTED,
    PASSED,
    Card,
    Fold,
    markup,
    notebook_shell,
    show,
)
from llmkit.exercises.checks import CHECK_MIME
from llmkit.exercises.exercise import Choice, Question, lesson_module
from llmkit.exercises.record import headless, record

Answers = Sequence[int | None]


@dataclass(frozen=True, repr=False, eq=False, kw_only=True)
class QuizResult(Card):
    """Say how a quiz went; true when every answer is right."""

    status: str

    def __bool__(self) -> bool:
        return self.status == PASSED


def quiz(lesson: str, answers: Answers | None = None) -> QuizResult:
    """Ask the quiz of a lesson, or give feedback on answers.

    answers: the number of the chosen answer to each question, from 1; None skips one.

    Raises: ValueError for a lesson without a quiz, or answers that do not fit it.
    """
    questions = _questions(lesson)
    if answers is not None:
        result = graded(lesson, questions, answers)
        record().tried(f"{lesson}.quiz", result.status)
        return show(result)
    if not _has_controls():
        return show(asked(lesson, questions))
    from IPython.display import display

    display(controls(lesson, questions))
    return asked(lesson, questions)


def asked(lesson: str, questions: Sequence[Question]) -> QuizResult:
    """Put the questions on a card: folds in HTML, numbered choices in plain text."""
    example = ", ".join("1" * len(questions))
    body: list[str | Fold] = []
    for number, question in enumerate(questions, start=1):
        body.append(f"{number}. {question.text}")
        for choice in range(1, len(question.choices) + 1):
            text = f"({choice}) {question.choices[choice - 1].text}"
            body.append(Fold(text, feedback(question, choice)))
    body.append(f'To answer: `quiz("{lesson}", answers=[{example}])`')
    return _result(lesson, NOT_ATTEMPTED, f"{len(questions)} questions", tuple(body))


def graded(lesson: str, questions: Sequence[Question], answers: Answers) -> QuizResult:
    """Judge answers, and say of each why it is right or wrong.

    Raises: ValueError for too many or too few answers, or a choice that is not there.
    """
    if len(answers) != len(questions):
        raise ValueError(
            f"quiz {lesson} wants {len(questions)} answers: got {len(answers)}; "
            f"write for example answers={[1] * len(questions)}, with None to skip one"
        )
    body, right = [], 0
    pairs = zip(questions, answers, strict=True)
    for number, (question, answer) in enumerate(pairs, start=1):
        choice = _chosen(question, answer)
        text = f"{choice.text} " if choice else ""
        body.append(f"{number}. {text}{feedback(question, answer)}")
        right += choice is not None and choice.right
    done = PASSED if right == len(questions) else FAILED
    status = NOT_ATTEMPTED if None in answers else done
    return _result(lesson, status, f"{right} of {len(questions)} right", tuple(body))


def feedback(question: Question, answer: int | None) -> str:
    """Say what is right or wrong about one answer, counted from 1.

    Raises: ValueError for a choice that is not there.
    """
    choice = _chosen(question, answer)
    if choice is None:
        return f"{MARKS[NOT_ATTEMPTED]} not answered"
    if choice.right:
        return f"{MARKS[PASSED]} yes: {choice.why}"
    return f"{MARKS[FAILED]} no: {choice.why}"


def controls(lesson: str, questions: Sequence[Question]):
    """Make radio buttons that answer as they are clicked, and a score below."""
    import ipywidgets as widgets

    buttons, rows, score = [], [], widgets.HTML()
    for number, question in enumerate(questions, start=1):
        options = [(c.text, i) for i, c in enumerate(question.choices, start=1)]
        button = widgets.RadioButtons(options=options, value=None)
        button.layout.width = "auto"
        reply = widgets.HTML()
        button.observe(_replies(question, reply), names="value")
        buttons.append(button)
        title = widgets.HTML(f"<strong>{number}. {markup(question.text)}</strong>")
        rows += [title, button, reply]

    def keep_score(change: dict) -> None:
        result = graded(lesson, questions, [button.value for button in buttons])
        score.value = markup(result.heading)
        record().tried(f"{lesson}.quiz", result.status)

    for button in buttons:
        button.observe(keep_score, names="value")
    return widgets.VBox([*rows, score])


def _replies(question: Question, reply) -> Callable[[dict], None]:
    def answer(change: dict) -> None:
        reply.value = markup(feedback(question, change["new"]))

    return answer


def _chosen(question: Question, answer: int | None) -> Choice | None:
    if answer is None:
        return None
    if answer not in range(1, len(question.choices) + 1):
        raise ValueError(
            f"{question.text!r} has the choices 1 to {len(question.choices)}: "
            f"got {answer!r}"
        )
    return question.choices[answer - 1]


def _questions(lesson: str) -> tuple[Question, ...]:
    questions = getattr(lesson_module(lesson), "QUIZ", ())
    if not questions:
        raise ValueError(f"lesson {lesson} has no quiz")
    return tuple(questions)


def _has_controls() -> bool:
    live = getattr(notebook_shell(), "kernel", None) is not None and not headless()
    return live and importlib.util.find_spec("ipywidgets") is not None


def _result(lesson: str, status: str, end: str, body: tuple) -> QuizResult:
    data = {"id": f"{lesson}.quiz", "kind": "quiz", "status": status, "message": end}
    heading = f"{MARKS[status]} Quiz {lesson}: {end}"
    return QuizResult(
        heading=heading, body=body, data={CHECK_MIME: data}, status=status
    )
