"""Lesson 08's own answers: the planner gives them too, and every other is answered."""

from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmkit.exercises import check
from llmkit.exercises.lesson_08 import REASONS, SITUATIONS, TECHNIQUES
from llmkit.exercises.lesson_08.choosing import RIGHT, Reasoned
from llmkit.exercises.lesson_08.dealing import deal, loses_rows
from llmkit.planning import STRATEGIES, PlanOptions, answer

ASKED = {
    "A": dict(preset="gpt2-124m", gpu="h100", gpus=8, tokens=1e10),
    "B": dict(layers=40, width=5120, gpu="h100", gpus=8, tokens=1e10),
    "C": dict(preset="gpt2-355m", gpu="l4", batch_tokens=512 * 1024, tokens=1e9),
}


@pytest.mark.parametrize("name", SITUATIONS)
def test_the_planner_chooses_as_the_lesson_does(name):
    plan = answer(PlanOptions(**ASKED[name]))
    technique, strategy = RIGHT[name][0], STRATEGIES[plan.chosen.strategy]
    if technique == "accumulation":
        assert plan.chosen.accumulation > 1 and plan.chosen.fits
    else:  # fsdp2, or DeepSpeed's zero3, which cuts the same
        assert strategy.cuts("parameters") == (technique == "fsdp2")


@pytest.mark.parametrize("name", SITUATIONS)
@pytest.mark.parametrize("told", product(TECHNIQUES, REASONS))
def test_every_technique_with_every_reason_is_answered(name, told):
    verdict = Reasoned().judge(RIGHT | {name: told}, ())
    assert (verdict.status == "passed") == (told == RIGHT[name])
    assert verdict.status == "passed" or verdict.message.startswith(f"{name}: ")


def test_what_is_no_answer_is_told_what_one_is():
    assert check("08.5", {}).message == "Give a dictionary with the keys A, B, C."
    assert "is not among ddp" in check("08.5", RIGHT | {"A": ("magic", "cut")}).message
    assert 'such as ("ddp", "fits")' in check("08.5", RIGHT | {"A": "ddp"}).message
    for unfinished in (RIGHT | {"A": ...}, RIGHT | {"C": ("ddp", ...)}):
        assert check("08.5", unfinished).status == "not attempted"


@given(st.lists(st.floats(-9, 9), min_size=1, max_size=30), st.integers(1, 9))
def test_the_loss_does_not_depend_on_the_number_of_processes(losses, W):
    dealt = deal(losses, W)
    assert len(dealt) == W and all(share for share, _ in dealt)
    loss = sum(weight * sum(share) / len(share) for share, weight in dealt)
    assert loss == pytest.approx(sum(losses) / len(losses), abs=1e-9)


def test_the_colleague_s_way_loses_rows():
    assert loses_rows([2.0, 4.0, 9.0], 2) == [([2.0], 0.5), ([4.0], 0.5)]
    assert loses_rows([2.0], 2)[0] == ([], 0.5)
