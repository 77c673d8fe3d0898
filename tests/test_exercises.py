"""The exercises: each grader is proven by the answers that it must reject."""

import json
import math
import os
import random
import subprocess
import sys
import time
import types
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from llmkit.exercises import (
    BAND_MIME,
    CHECK_MIME,
    Band,
    Between,
    Card,
    Choice,
    Exactly,
    Exercise,
    Near,
    ProgressOptions,
    Question,
    Twin,
    Wrong,
    band,
    check,
    find,
    hint,
    lessons,
    mistakes,
    predict,
    progress,
    quiz,
    solution,
)
from llmkit.exercises.compare import changed, describe, difference
from llmkit.exercises.exercise import exercises, lesson_module
from llmkit.exercises.functions import fixed_random
from llmkit.exercises.overview import run
from llmkit.exercises.quizzes import controls
from llmkit.exercises.record import Entry, Record

ROOT = Path(__file__).parent.parent
LESSONS = lessons()
EXERCISES = [e for lesson in LESSONS for e in exercises(lesson)]
WRONG = [
    pytest.param(e, w, id=f"{e.id}-{getattr(w.answer, '__name__', w.answer)!s}")
    for e in EXERCISES
    for w in e.wrong
]
every_exercise = pytest.mark.parametrize("exercise", EXERCISES, ids=lambda e: e.id)
every_wrong = pytest.mark.parametrize(("exercise", "wrong"), WRONG)
every_lesson = pytest.mark.parametrize("lesson", LESSONS)


@pytest.fixture(autouse=True)
def own_home(monkeypatch, tmp_path):
    """Keep the tests away from the progress of whoever runs them."""
    monkeypatch.setenv("LLMKIT_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("LLMKIT_HEADLESS", raising=False)
    return tmp_path / "home"


def saved(home: Path) -> dict:
    path = home / "progress.json"
    return json.loads(path.read_text())["exercises"] if path.exists() else {}


def answer_of(exercise: Exercise, wrong: Wrong):
    """Return what a learner who makes this mistake would hand in."""
    judged_by_value = not isinstance(exercise.checker, Twin)
    if judged_by_value and callable(wrong.answer):
        return wrong.answer(exercise.solution)
    return wrong.answer


# --- every exercise of every lesson ----------------------------------------------


@every_exercise
def test_solution_passes(exercise):
    result = check(exercise.id, exercise.solution)
    assert result, result
    assert result.best is exercise.solution


@pytest.mark.slow
@every_exercise
def test_solution_passes_on_other_inputs(exercise):
    for seed in range(1000, 1020):
        assert exercise.checker.judge(exercise.solution, (), seed=seed)[0] == "passed"


@pytest.mark.slow
@every_wrong
def test_wrong_answer_is_rejected_by_name(exercise, wrong):
    result = check(exercise.id, answer_of(exercise, wrong))
    assert result.status == "failed"
    assert result.message == wrong.message


@pytest.mark.slow
@every_wrong
def test_wrong_answer_is_named_on_other_inputs_too(exercise, wrong):
    answer = answer_of(exercise, wrong)
    for seed in range(1000, 1400, 20):
        verdict = exercise.checker.judge(answer, exercise.wrong, seed=seed)
        assert verdict == ("failed", wrong.message), seed


@every_exercise
def test_stub_is_not_attempted_and_the_lesson_goes_on(exercise, own_home):
    def raises(*args):
        raise NotImplementedError

    def forgets(*args):
        result = args
        len(result)

    stubs = [None, ...]
    if isinstance(exercise.checker, Twin):
        stubs += [lambda *args: None, lambda *args: ..., raises, forgets]
    for stub in stubs:
        result = check(exercise.id, stub)
        assert not result
        assert result.status == "not attempted"
        assert "not attempted yet" in repr(result)
        assert "goes on" in repr(result)
        assert ("`return` missing" in repr(result)) == (stub is forgets)
        assert result.best is exercise.solution
    assert saved(own_home) == {}


@every_exercise
def test_inputs_are_fresh_and_the_same_for_a_seed(exercise):
    if isinstance(exercise.checker, Twin):
        one, two = exercise.checker.cases(7), exercise.checker.cases(7)
        assert not changed(one, two)
        assert all(a is not b for a, b in zip(one, two) if torch.is_tensor(a))


@every_exercise
def test_help_says_more_each_time(exercise):
    first, second = hint(exercise.id), hint(exercise.id)
    assert exercise.hints[0] in first.body and exercise.hints[1] in second.body
    assert exercise.hints[0] != exercise.hints[1]
    assert hint(exercise.id).body == second.body
    shown = solution(exercise.id)
    assert shown.heading == f"Solution of {exercise.id} {exercise.title}"
    if callable(exercise.solution):
        assert exercise.solution.__module__.startswith("llmkit.")
        assert f"def {exercise.solution.__name__}" in shown.code
    else:
        assert exercise.why, "a value needs a sentence that explains it"


@every_lesson
def test_lesson_is_complete(lesson):
    module = lesson_module(lesson)
    ids = [exercise.id for exercise in module.EXERCISES]
    assert ids == [f"{lesson}.{n}" for n in range(1, len(ids) + 1)]
    questions = getattr(module, "QUIZ", ())
    assert len(questions) in (0, 3)
    for profile in getattr(module, "BANDS", {}):
        assert profile in ("smoke", "cpu", "gpu")


@every_lesson
def test_every_choice_of_the_quiz_says_why(lesson):
    questions = getattr(lesson_module(lesson), "QUIZ", ())
    for number, question in enumerate(questions):
        for choice, told in enumerate(question.choices, start=1):
            answers = [None] * len(questions)
            answers[number] = choice
            text = quiz(lesson, answers=answers).body[number]
            assert told.text in text and told.why in text
            assert ("✓" in text) == told.right


# --- an invented lesson, to try the framework itself ------------------------------


def double(x):
    """Return twice x."""
    return 2 * x


def add_two(x):
    """It looks like you add 2."""
    return x + 2


def square(x):
    """It looks like you square."""
    return x**2


def halve(x):
    """It looks like you halve."""
    return x / 2


def complain(x):
    """It looks like you index a number."""
    raise IndexError("no such place")


def tensor_case(seed):
    return (torch.randn(2, 3, generator=torch.Generator().manual_seed(seed)),)


FOUR = mistakes(add_two, square, halve, complain)


def an_exercise(checker, solution, wrong, id="98.1", kind="implement", **changes):
    fields = {
        "id": id,
        "kind": kind,
        "title": "double <b>x</b>",
        "minutes": 3,
        "difficulty": 1,
        "checker": checker,
        "hints": ("Think <i>.", "Think more."),
        "solution": solution,
        "wrong": wrong,
    }
    return Exercise(**(fields | changes))


UNIFORM = (
    Wrong(0.0, "A loss of 0 would be certainty."),
    Wrong(lambda truth: truth / math.log(2), "Those are bits, not nats."),
    Wrong(lambda truth: math.exp(truth), "That is the perplexity."),
    Wrong(-1.0, "A loss is never negative.", like=lambda guess: guess < 0),
)
SHARES = (
    Wrong(45.0, "That is a percentage.", like=lambda share: 1 < share <= 100),
    Wrong(0.0, "Nothing is padded, then."),
    Wrong(-0.45, "The sign is wrong."),
    Wrong(1.0, "Everything is padded, then."),
)
CHOICES = (
    Wrong("keys", "Keys are compared."),
    Wrong("queries", "Queries ask."),
    Wrong("scores", "Scores come before."),
    Wrong("mask", "The mask hides."),
)


@pytest.fixture
def lesson(monkeypatch):
    """Install an invented lesson 98."""
    module = types.ModuleType("llmkit.exercises.lesson_98")
    module.EXERCISES = (
        an_exercise(Twin(trusted=double, cases=tensor_case), double, FOUR),
        an_exercise(Near(math.log(60)), math.log(60), UNIFORM, "98.2", "predict"),
        an_exercise(Between(0.4, 0.5, "few"), 0.45, SHARES, "98.3", "measure"),
        an_exercise(Exactly("values"), "values", CHOICES, "98.4", "debug"),
    )
    module.QUIZ = (
        Question("Is 1 < 2?", (Choice("No", "count"), Choice("Yes", "it is", True))),
    )
    module.BANDS = {
        "smoke": {
            "val_loss": Band(
                1.0, 2.0, "it has seen the answers", "it trained too short"
            ),
            "seconds": Band(-math.inf, 60, why_high="a slow machine"),
        }
    }
    monkeypatch.setitem(sys.modules, module.__name__, module)
    return module


def test_generic_message_shows_inputs_place_and_values(lesson):
    def off_in_one_place(x):
        y = 2 * x
        y[1, 2] = 7.0
        return y

    message = check("98.1", off_in_one_place).message
    assert "With x tensor (2, 3)" in message
    assert "1 of 6 values differ; the first, at [1, 2], should be" in message
    assert "is 7" in message


def test_a_wrong_shape_is_said_in_words(lesson):
    message = check("98.1", lambda x: (2 * x).T).message
    assert "expected shape (2, 3), got (3, 2)" in message


def test_an_exception_is_told_in_friendly_words(lesson):
    def broken(x):
        return x @ x

    result = check("98.1", broken)
    assert result.status == "failed"
    assert "Your code stopped with RuntimeError: mat1 and mat2" in result.message
    assert "in the line `return x @ x`" in result.message
    assert "The inputs were x tensor (2, 3)." in result.message


def test_the_wrong_number_of_arguments_does_not_raise(lesson):
    assert "TypeError" in check("98.1", lambda: 1).message


def test_a_missing_kernel_of_torch_is_not_a_stub(lesson):
    result = check("98.1", lambda x: torch.softmax(x.long(), -1))
    assert result.status == "failed"
    assert "NotImplementedError" in result.message


def test_another_error_of_the_same_type_is_not_a_classic(lesson):
    def complain_otherwise(x):
        raise IndexError("something else")

    assert "something else" in check("98.1", complain_otherwise).message
    assert check("98.1", complain).message == "It looks like you index a number."


def test_a_classic_that_is_wrong_for_other_inputs_only_is_not_named(lesson):
    """Half of a classic mistake is not that mistake."""

    def sometimes(x):
        return x + 2 if x[0, 0] > 0 else x * 3

    assert "With x" in check("98.1", sometimes).message


def test_a_function_that_changes_its_input_is_told_so(lesson):
    def in_place(x):
        x *= 2
        return x

    message = check("98.1", in_place).message
    assert "changes its input x" in message
    check("98.1", double)
    assert check("98.1", in_place).status == "failed"


def test_a_call_in_place_of_a_function_is_told_so(lesson):
    message = check("98.1", double(3)).message
    assert "checks a function, and got 6" in message


def test_a_function_in_place_of_a_number_is_told_so(lesson):
    for answer, said in [
        (double, "call it and give what it returns"),
        ("4", "give a number"),
        (math.nan, "not a number (nan)"),
        (True, "wants one number"),
        (torch.ones(2), "got tensor (2,)"),
    ]:
        result = check("98.2", answer)
        assert result.status == "failed"
        assert said in result.message


def test_a_value_is_never_changed(lesson):
    answer = [torch.ones(2), {"a": [1, 2]}]
    before = [torch.ones(2), {"a": [1, 2]}]
    check("98.4", answer)
    assert not changed(answer, before)


def test_a_check_leaves_random_numbers_as_they_were(lesson):
    torch.manual_seed(3), random.seed(3)
    expected = torch.rand(2), random.random()
    torch.manual_seed(3), random.seed(3)
    check("98.1", lambda x: torch.rand(2) + random.random())
    assert torch.equal(torch.rand(2), expected[0])
    assert random.random() == expected[1]


def test_random_answers_are_judged_with_the_same_random_numbers():
    def noisy(x):
        return x + torch.rand(3) + random.random()

    twin = Twin(trusted=noisy, cases=lambda seed: (seed,))
    assert twin.judge(lambda x: noisy(x), ()).status == "passed"
    with fixed_random(1):
        first = torch.rand(1)
    with fixed_random(1):
        assert torch.equal(torch.rand(1), first)


def test_a_probe_tries_what_is_no_plain_function():
    """A class is built and called; a trained model may change, its numbers count."""

    def one_step(train, model, x):
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        train(model, optimizer, x)
        return model.weight.detach()

    def cases(seed):
        torch.manual_seed(seed)
        return nn.Linear(2, 1), torch.ones(3, 2)

    def train(model, optimizer, x):
        model(x).sum().backward()
        optimizer.step()

    def never_step(model, optimizer, x):
        """It looks like nothing ever steps."""
        model(x).sum().backward()

    def stub(model, optimizer, x):
        """Still to be written."""
        ...

    twin = Twin(trusted=train, cases=cases, probe=one_step, runs=3)
    assert twin.judge(stub, ()).status == "not attempted"
    assert twin.judge(train, ()).status == "passed"
    wrong = mistakes(never_step)
    assert twin.judge(never_step, wrong).message == "It looks like nothing ever steps."


def test_best_is_mine_or_the_kits(lesson):
    def mine(x):
        return x + x

    assert check("98.1", mine).best is mine
    assert check("98.1", halve).best is double
    assert check("98.1", None).best is double
    assert check("98.2", 1.0, truth=2.0).best == 2.0


def test_a_value_is_judged_by_what_was_measured(lesson):
    assert check("98.2", 4.0)
    assert not check("98.2", 4.0, truth=3.0)
    assert check("98.2", torch.tensor(3.01), truth=3.0)
    assert check("98.2", 3.0, truth=3.5).message == "That is too low."
    bits = 3.0 / math.log(2)
    assert check("98.2", bits, truth=3.0).message == "Those are bits, not nats."
    assert check("98.2", -5, truth=3.0).message == "A loss is never negative."


def test_a_range_says_which_way_and_why(lesson):
    assert check("98.3", 0.4) and check("98.3", 0.5)
    assert check("98.3", 0.2).message == "That is too low: few"
    assert check("98.3", 0.7).message == "That is too high."
    assert check("98.3", 62).message == "That is a percentage."


def test_a_choice_says_what_was_mixed_up(lesson):
    assert check("98.4", "values")
    assert check("98.4", "keys").message == "Keys are compared."
    assert check("98.4", "bread").message == "It is not 'bread'."
    verdict = Exactly([1, 2, 3]).judge([1, 3], ())
    assert verdict.message == "Expected 3 items, got 2."


# --- predictions -----------------------------------------------------------------


def test_a_prediction_is_committed_then_compared(lesson, own_home):
    mine = predict("98.2", 2.0)
    assert "you say 2" in repr(mine) and saved(own_home) == {}
    result = mine.reveal(4.0)
    assert not result and result.best == 4.0
    assert "You said 2; it is 4. That is too low." in repr(result)
    assert "not as predicted" in repr(result)
    assert saved(own_home)["98.2"]["status"] == "passed", "to have guessed is enough"
    assert predict("98.2", 4.05).reveal(torch.tensor(4.0))


def test_a_prediction_names_its_mistake(lesson):
    assert "bits, not nats" in predict("98.2", 4.0 / math.log(2)).reveal(4.0).message


def test_no_guess_is_not_attempted(lesson, own_home):
    mine = predict("98.2", None)
    assert "no guess yet" in repr(mine)
    assert mine.reveal(4.0).status == "not attempted"
    assert mine.reveal(4.0).best == 4.0
    assert saved(own_home) == {}


def test_only_predictions_are_predicted(lesson):
    with pytest.raises(
        ValueError, match=r"98\.1 asks you to implement, not to predict"
    ):
        predict("98.1", 3)


# --- cards -----------------------------------------------------------------------


def test_marks_need_no_colour(lesson):
    assert repr(check("98.1", double)).startswith("✓ 98.1")
    assert repr(check("98.1", halve)).startswith("✗ 98.1")
    assert repr(check("98.1", ...)).startswith("○ 98.1")


def test_all_text_is_escaped(lesson):
    def attack(x):
        raise ValueError("<script>alert(1)</script>")

    cards = [
        check("98.1", attack),
        check("98.4", "<img src=x onerror=alert(1)>"),
        hint("98.1"),
        predict("98.2", "<script>"),
        quiz("98"),
        quiz("98", answers=[1]),
    ]
    for card in cards:
        page = card._repr_html_()
        assert not any(tag in page for tag in ("<script", "<img", "<b>", "<i>")), page
    assert "&lt;script&gt;alert(1)" in cards[0]._repr_html_()
    assert "1 &lt; 2" in cards[4]._repr_html_()


def test_a_check_carries_data_for_the_course_runner(lesson):
    bundle = check("98.1", halve)._repr_mimebundle_()
    assert set(bundle) == {CHECK_MIME, "text/plain", "text/html"}
    data = json.loads(json.dumps(bundle[CHECK_MIME]))
    assert data["id"] == "98.1" and data["kind"] == "implement"
    assert data["status"] == "failed" and data["message"] == halve.__doc__


def test_a_card_aligns_its_table_and_escapes_it():
    card = Card(heading="h", table=(("a", "b"), ("<long>", "c")), code="1 < 2")
    assert "a       b\n  <long>  c" in repr(card)
    assert "&lt;long&gt;" in card._repr_html_() and "1 &lt; 2" in card._repr_html_()


# --- finding ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("id", "said"),
    [
        ("98.7", r"no exercise '98\.7'; did you mean '98\.\d'.* Lesson 98 has 98\.1"),
        ("77.1", "no lesson '77' with exercises; choose one of .*01"),
        ("1.1", "named by lesson and number"),
        (1.1, "named by lesson and number"),
        ("attend", "named by lesson and number"),
    ],
)
def test_an_unknown_exercise_is_refused_with_those_that_exist(lesson, id, said):
    with pytest.raises(ValueError, match=said):
        check(id, None)


def test_a_broken_lesson_shows_its_own_error(monkeypatch, tmp_path):
    import llmkit.exercises as package

    (tmp_path / "lesson_97.py").write_text("import a_module_that_is_not_there")
    monkeypatch.setattr(package, "__path__", [*package.__path__, str(tmp_path)])
    with pytest.raises(ModuleNotFoundError, match="a_module_that_is_not_there"):
        find("97.1")


@pytest.mark.parametrize("level", [0, 3, "2"])
def test_an_unknown_level_of_a_hint_is_refused(lesson, level):
    with pytest.raises(ValueError, match="level 1 and 2"):
        hint("98.1", level)


def test_importing_exercises_imports_nothing_heavy():
    code = (
        "import sys, llmkit.exercises; "
        "print([m for m in ('torch', 'numpy', 'IPython', 'ipywidgets') "
        "if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True
    )
    assert done.stdout.strip() == "[]", done.stderr


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"id": "1.2"}, "an id like"),
        ({"kind": "guess"}, "a kind among predict, implement, debug, measure"),
        ({"difficulty": 4}, "a difficulty from 1 to 3"),
        ({"minutes": 0}, "a number of minutes"),
        ({"hints": ("one",)}, "two hints"),
        ({"wrong": FOUR[:3]}, "4 to 8 classic wrong answers"),
        ({"wrong": (*FOUR, Wrong(abs, FOUR[0].message))}, "a message of its own"),
        ({"wrong": (*FOUR, *mistakes(lambda x: x))}, "a message of its own"),
    ],
)
def test_a_badly_made_exercise_is_refused(change, said):
    with pytest.raises(ValueError, match=said):
        an_exercise(**({"checker": Near(1), "solution": 1, "wrong": FOUR} | change))


# --- quiz ------------------------------------------------------------------------


def test_a_quiz_prints_its_questions_without_a_kernel(lesson):
    text = repr(quiz("98"))
    assert "1. Is 1 < 2?" in text and "(2) Yes" in text
    assert "count" not in text, "the reasons come after the answer"
    assert 'quiz("98", answers=[1])' in text
    assert (
        "<details><summary>(1) No</summary><p>✗ no: count" in quiz("98")._repr_html_()
    )


def test_a_quiz_is_graded(lesson, own_home):
    assert not quiz("98", answers=[None])
    assert saved(own_home) == {}
    assert not quiz("98", answers=[1])
    result = quiz("98", answers=[2])
    assert result and "1 of 1 right" in repr(result)
    assert saved(own_home)["98.quiz"] == {"status": "passed", "attempts": 2, "hints": 0}


@pytest.mark.parametrize(
    ("answers", "said"),
    [
        ([1, 2], r"wants 1 answers: got 2.*\[1\]"),
        ([3], "choices 1 to 2: got 3"),
        ([0], "got 0"),
    ],
)
def test_answers_that_do_not_fit_a_quiz_are_refused(lesson, answers, said):
    with pytest.raises(ValueError, match=said):
        quiz("98", answers=answers)


def test_a_lesson_without_a_quiz_says_so(lesson):
    del lesson.QUIZ
    with pytest.raises(ValueError, match="lesson 98 has no quiz"):
        quiz("98")


def test_a_question_needs_one_right_choice_and_reasons():
    with pytest.raises(ValueError, match="one choice must be right"):
        Question("?", (Choice("a", "x"), Choice("b", "y")))
    with pytest.raises(ValueError, match="a reason of its own"):
        Question("?", (Choice("a", "x", right=True), Choice("b", "x")))


def test_the_controls_of_a_quiz_answer_when_clicked(lesson, own_home):
    box = controls("98", lesson.QUIZ)
    title, buttons, reply, score = box.children
    assert "1 &lt; 2" in title.value and buttons.value is None
    buttons.value = 1
    assert reply.value == "✗ no: count" and "0 of 1" in score.value
    buttons.value = 2
    assert reply.value == "✓ yes: it is" and "1 of 1" in score.value
    assert saved(own_home)["98.quiz"]["status"] == "passed"


# --- bands -----------------------------------------------------------------------


def test_results_inside_their_bands(lesson):
    result = band("98", "smoke", {"val_loss": 2.0, "seconds": torch.tensor(3.0)})
    assert result and "✓  val_loss" in repr(result) and "at most 60" in repr(result)
    data = json.loads(json.dumps(result.data[BAND_MIME], allow_nan=False))
    assert data["inside"] and data["profile"] == "smoke" and data["lesson"] == "98"
    assert data["results"][1] == {
        "name": "seconds",
        "value": 3.0,
        "low": None,
        "high": 60,
        "inside": True,
        "message": "",
    }


@pytest.mark.parametrize(
    ("loss", "said"),
    [
        (0.5, "val_loss is too low (0.5 < 1): it has seen the answers"),
        (2.5, "val_loss is too high (2.5 > 2): it trained too short"),
        (math.nan, "val_loss is not a number"),
        (math.inf, "val_loss is too high"),
        (None, "val_loss is not measured"),
    ],
)
def test_results_outside_say_which_way_and_why(lesson, loss, said):
    result = band("98", "smoke", {"val_loss": loss, "seconds": 3})
    assert not result
    assert said in " ".join(result.body)
    assert repr(result).startswith("✗") and "✗  val_loss" in repr(result)
    json.dumps(result.data[BAND_MIME], allow_nan=False)


def test_a_band_that_was_not_measured_is_missed(lesson):
    assert not band("98", "smoke", {"seconds": 3})


def test_unknown_bands_are_refused(lesson):
    with pytest.raises(ValueError, match=r"no bands for profile 'cpu'; it has: smoke"):
        band("98", "cpu", {})
    with pytest.raises(
        ValueError, match=r"no band for loss; .* expects val_loss, seconds"
    ):
        band("98", "smoke", {"loss": 1.0})
    with pytest.raises(ValueError, match="no lesson '77'"):
        band("77", "smoke", {})


def test_a_band_must_explain_itself():
    with pytest.raises(ValueError, match="say the cause in why_high"):
        Band(0, 1, why_low="x")
    with pytest.raises(ValueError, match="low <= high"):
        Band(2, 1, "x", "y")
    assert str(Band(1, math.inf, "x")) == "at least 1"
    assert str(Band(1, 2.5, "x", "y")) == "1 to 2.5"


# --- progress --------------------------------------------------------------------


def test_progress_is_kept_and_what_passed_stays_passed(lesson, own_home):
    check("98.1", halve)
    assert saved(own_home)["98.1"]["status"] == "failed"
    check("98.1", double)
    check("98.1", halve)
    assert saved(own_home)["98.1"] == {"status": "passed", "attempts": 3, "hints": 0}


def test_progress_lists_everything_done_or_not(lesson):
    check("98.1", double), hint("98.3")
    table = {row[1]: row for row in progress("98").table}
    assert table["98.1"][0] == "✓" and table["98.2"][0] == "○"
    assert table["98.3"][-1] == "1" and table["98.quiz"][0] == "○"
    assert progress("98").heading == "1 of 5 done"
    assert {e.id for e in EXERCISES} <= {row[1] for row in progress().table}


def test_the_command_prints_the_table(lesson, capsys):
    assert run(ProgressOptions(lesson="98")) == 0
    assert "98.quiz" in capsys.readouterr().out
    assert run(ProgressOptions()) == 0
    assert "01.1" in capsys.readouterr().out
    with pytest.raises(ValueError, match="no lesson '77'"):
        run(ProgressOptions(lesson="77"))


def test_a_machine_writes_no_progress(lesson, own_home, monkeypatch):
    monkeypatch.setenv("LLMKIT_HEADLESS", "1")
    assert check("98.1", double)
    assert quiz("98", answers=[2]) and predict("98.2", 4.0).reveal()
    assert hint("98.1").body == hint("98.1").body
    assert not own_home.exists()
    assert "Nothing is kept" in repr(progress("98"))


@pytest.mark.parametrize(
    "damage", ["{", "", "[1]", '{"exercises": {"98.1": 3}}', "\x00"]
)
def test_a_damaged_file_is_set_aside(lesson, own_home, damage):
    own_home.mkdir()
    (own_home / "progress.json").write_text(damage)
    with pytest.warns(UserWarning, match=r"damaged; it is kept as .*damaged-1\.json"):
        check("98.1", double)
    assert (own_home / "progress.damaged-1.json").read_text() == damage
    assert saved(own_home)["98.1"]["status"] == "passed"
    (own_home / "progress.json").write_text(damage)
    with pytest.warns(UserWarning, match=r"damaged-2\.json"):
        check("98.1", double)


def test_unknown_fields_of_a_later_version_do_no_harm(own_home):
    own_home.mkdir()
    path = own_home / "progress.json"
    path.write_text(
        '{"exercises": {"98.1": {"status": "passed", "stars": 3}}, "new": 1}'
    )
    assert Record(path).read() == {"98.1": Entry("passed")}


def test_a_full_disk_keeps_the_last_good_file(lesson, own_home, monkeypatch):
    check("98.1", double)
    before = saved(own_home)

    def full(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.warns(UserWarning, match="cannot be saved: .*No space left"):
        assert check("98.3", 0.45), "the check itself goes on"
    assert saved(own_home) == before
    assert not list(own_home.glob(".progress-*")), "no draft stays behind"


def test_a_home_that_cannot_be_written_stops_nothing(lesson, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("LLMKIT_HOME", str(tmp_path / "file" / "home"))
    with pytest.warns(UserWarning, match="set LLMKIT_HOME to a folder"):
        assert check("98.1", double)


@pytest.mark.process
def test_two_writers_lose_nothing(own_home):
    code = (
        "import sys; from llmkit.exercises.record import record\n"
        "for n in range(15): record().tried(f'{sys.argv[1]}.{n}', 'passed')"
    )
    writers = [
        subprocess.Popen([sys.executable, "-c", code, str(name)], cwd=ROOT)
        for name in (91, 92, 93)
    ]
    while any(writer.poll() is None for writer in writers):
        saved(own_home)  # never half a file, whenever it is read
        time.sleep(0.01)
    assert [writer.returncode for writer in writers] == [0, 0, 0]
    assert len(saved(own_home)) == 45


# --- comparing -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("got", "want", "said"),
    [
        (torch.ones(2), torch.ones(3), r"expected shape \(3,\), got \(2,\)"),
        (torch.ones(2), torch.ones(2).bool(), "expected true/false values .*real"),
        (torch.ones(2), torch.ones(2).long(), "expected whole values"),
        (torch.tensor([0.0, math.nan]), torch.zeros(2), r"at \[1\], should be 0"),
        (torch.tensor([1, 2]), torch.tensor([1, 3]), "should be 3 and is 2"),
        (1.5, torch.ones(2), r"expected tensor \(2,\), got 1.5"),
        ((1, 2), (1, 2, 3), "expected tuple of 3"),
        ({"a": 1}, {"b": 1}, "expected the keys"),
        ({"a": 1}, {"a": 2}, "item 'a' of the answer: expected 2, got 1"),
        ("cat", "mat", "expected 'mat', got 'cat'"),
        (1, True, "expected True, got 1"),
    ],
)
def test_differences_are_said_in_words(got, want, said):
    import re

    assert re.search(said, difference(got, want))
    assert difference(want, want) is None


def test_what_is_close_enough_agrees():
    nan = torch.tensor([math.nan, math.inf, 1.0])
    assert difference(nan + 1e-6, nan) is None
    assert difference(torch.ones(2).bfloat16(), torch.ones(2)) is None
    assert difference(torch.ones(2, requires_grad=True), torch.ones(2)) is None
    assert difference(torch.tensor(3.0), 3) is None
    assert difference(np.float64(3), 3) is None and difference(3, np.float64(3)) is None
    assert difference([1, 2], (1, 2)) is None


def test_values_are_described_briefly():
    assert describe(torch.ones(2).bool()) == "tensor (2,) of torch.bool"
    assert len(describe("x" * 1000)) < 50
    assert describe(np.float64(2.5)) == "2.5"
    assert describe([0] * 1000) == "list of 1000"


# --- in a live notebook ----------------------------------------------------------


def execute(cells: list[str], home: Path, headless: str) -> list[list[dict]]:
    """Run cells in a kernel; return each cell's outputs."""
    import nbformat
    from nbclient import NotebookClient

    book = nbformat.v4.new_notebook()
    book.cells = [nbformat.v4.new_code_cell(cell) for cell in cells]
    environment = os.environ | {"LLMKIT_HOME": str(home), "LLMKIT_HEADLESS": headless}
    NotebookClient(
        book, timeout=120, kernel_name="python3", resources={"metadata": {"path": ROOT}}
    ).execute(env=environment)
    nbformat.validate(book)
    return [[out.get("data", {}) for out in cell.outputs] for cell in book.cells]


CELLS = [
    "from llmkit.exercises import check, hint, progress, quiz",
    "def attend(q, k, v, mask=None): ...\nattend = check('01.1', attend).best",
    "check('01.1', attend)",
    "hint('01.1')",
    "quiz('01')",
    "progress()",
]


@pytest.mark.slow
@pytest.mark.process
def test_in_a_notebook_each_verdict_shows_once(own_home):
    quiet, stub, passed, hinted, asked, table = execute(CELLS, own_home, "0")
    assert quiet == []
    assert [out[CHECK_MIME]["status"] for out in stub] == ["not attempted"]
    assert [out[CHECK_MIME]["status"] for out in passed] == ["passed"]
    assert "✓" in passed[0]["text/plain"] and "✓" in passed[0]["text/html"]
    assert len(hinted) == len(table) == 1
    assert "application/vnd.jupyter.widget-view+json" in asked[0]
    assert saved(own_home)["01.1"] == {"status": "passed", "attempts": 1, "hints": 1}


@pytest.mark.slow
@pytest.mark.process
def test_a_machine_reads_the_same_notebook_without_widgets(own_home):
    *_, asked, _ = execute(CELLS, own_home, "1")
    assert "1. In a look-up" in asked[0]["text/plain"]
    assert "<details>" in asked[0]["text/html"]
    assert not own_home.exists()


def test_no_warning_is_raised_by_an_ordinary_check(lesson):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        verdicts = [check("98.1", double), check("98.1", halve)]
        hint("98.1"), progress("98")
    assert [bool(verdict) for verdict in verdicts] == [True, False]
