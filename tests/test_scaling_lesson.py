"""Lesson 08's own answers, the commands in its text, and the code that it shows."""

import json
import os
import re
import shlex
from dataclasses import fields
from itertools import product
from types import SimpleNamespace

import nbformat
import pytest
from helpers import ROOT
from hypothesis import given
from hypothesis import strategies as st

from llmkit import planning
from llmkit.cli import COMMANDS, launching, main
from llmkit.course import building, execution
from llmkit.exercises import check
from llmkit.exercises.bands import PROFILES, for_profile
from llmkit.exercises.lesson_08 import REASONS, SITUATIONS, TECHNIQUES
from llmkit.exercises.lesson_08.choosing import RIGHT, Reasoned
from llmkit.exercises.lesson_08.dealing import deal, loses_rows
from llmkit.planning import STRATEGIES, PlanOptions, answer

ASKED = {
    "A": dict(preset="gpt2-124m", gpu="h100", gpus=8, tokens=1e10),
    "B": dict(layers=40, width=5120, gpu="h100", gpus=8, tokens=1e10),
    "C": dict(preset="gpt2-355m", gpu="l4", batch_tokens=512 * 1024, tokens=1e9),
}
SOURCE = ROOT / "notebooks" / "source" / "08_scaling.py"
BUILT = nbformat.read(ROOT / "notebooks" / "08_scaling.ipynb", as_version=4)
CELLS = building.convert(SOURCE).cells
TEXT = "\n".join(cell.source for cell in CELLS if cell.cell_type == "markdown")
CODE = [cell.source for cell in CELLS if cell.cell_type == "code"]
FILLED_IN = {"ADDRESS": "192.0.2.1", "…": "--corpus stories --out build/x"}


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


@given(st.lists(st.floats(-9, 9), max_size=30), st.integers(1, 9))
def test_the_faulty_code_that_the_lesson_shows_is_the_exercise_s(losses, W):
    (shown,) = (code for code in CODE if "def loses_rows" in code)
    exec(shown, there := {})
    assert there["loses_rows"](losses, W) == loses_rows(losses, W)


# Commands that stand in the lesson


def typed(text: str) -> list[str]:
    """Return the commands in a text that have flags, with placeholders filled in."""
    found = [" ".join(x.split()) for x in re.findall(r"`([^`]+)`", text)]
    for block in re.findall(r"```sh\n(.*?)```", text, flags=re.DOTALL):
        for name, value in re.findall(r'^(\w+)="(.*)"$', block, re.MULTILINE):
            block = block.replace(f"${name} ", f"{value} ")
        found += block.splitlines()
    found = [x for x in found if re.match(r"(llmkit|accelerate launch) \S+ \S", x)]
    for name, value in FILLED_IN.items():
        found = [line.replace(name, value) for line in found]
    return found


def started(profile: str, monkeypatch, cores: int) -> list[str]:
    """Return the commands that the lesson's code starts where so many cores are."""
    affinity = lambda pid: set(range(cores))  # noqa: E731
    monkeypatch.setattr(os, "sched_getaffinity", affinity, raising=False)
    found = []
    there = dict(
        planning=planning, profile=profile, for_profile=for_profile, start=found.append
    )
    there |= dict(finish=lambda **running: None, print=lambda *words: None)
    for code in CODE:
        if re.search(r'start\(f"|^flags = |usable_cores', code, re.MULTILINE):
            exec(code, there)
    return found


def launch_by_accelerate(line: str) -> None:
    """Read a command of `accelerate launch`, and what it launches."""
    from accelerate.commands.launch import launch_command_parser

    words = shlex.split(line)[2:]
    told = launch_command_parser().parse_args(words)
    assert (ROOT / told.config_file).is_file()
    assert (told.module, told.training_script) == (True, "llmkit")
    work = ["launch", "cpu", "--dry-run", "--", *told.training_script_args]
    assert main(work) == 0


def launch(line: str, capsys, *more: str) -> None:
    """Have `llmkit launch` take a command; a training alone, as its only process."""
    _, name, *rest = shlex.split(line)
    if name != "launch":
        name, rest = "launch", ["cpu", "--", name, *rest]
    file, *rest = rest
    assert main([name, file, *more, *rest]) == 0, (line, capsys.readouterr().err)
    *_, told = capsys.readouterr().out.splitlines()
    work = " ".join(rest[rest.index("--") + 1 :])
    assert told.endswith(f" -m llmkit {work}")
    words = told[told.index("--config_file") :]
    launch_by_accelerate(f"accelerate launch {words}")


def test_every_command_in_the_lesson_s_text_is_taken(capsys):
    names = []
    for line in typed(TEXT):
        program, name, *rest = shlex.split(line)
        if program == "accelerate":
            launch_by_accelerate(line)
        elif name in ("plan", "choose"):
            assert main([name, *rest]) == 0, line
        else:
            launch(line, capsys, "--dry-run")
        names.append(rest[0] if name == "launch" else name)
    # the launch of section 6 is in its code
    assert set(names) == {*launching.known(), "plan"} - {"cpu"}


@pytest.mark.parametrize("cores", [1, 2, 8])
@pytest.mark.parametrize("profile", PROFILES)
def test_every_command_in_the_lesson_s_code_is_taken(
    profile, cores, monkeypatch, capsys, tmp_path
):
    lines = started(profile, monkeypatch, cores)
    assert len(lines) == 4
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(launching.watching, "watch", lambda *work: 0)
    for line in lines:  # with all that `launch` asks of this machine
        launch(line, capsys)
    (way,) = (line for line in lines if line.endswith("--out two"))
    shared = "--accumulation 2" if cores == 1 else "launch cpu --processes 2"
    assert shared in way


def test_every_command_in_the_lesson_s_output_is_taken(capsys):
    shown = [output for cell in BUILT.cells for output in cell.get("outputs", [])]
    text = "\n".join(output.get("text", "") for output in shown)
    lines = re.findall(r"^(?:\$|  ?) ?((?:llmkit|accelerate) .*)$", text, re.MULTILINE)
    assert len(lines) == 6  # four that run, and the plan's, with both launchers
    for line in lines:
        if line.startswith("accelerate"):
            launch_by_accelerate(line)
        else:
            launch(line, capsys, "--dry-run")


def test_every_command_and_flag_that_the_lesson_names_is_there():
    named = re.findall(r"`(?:llmkit|accelerate) (\w+)", TEXT)
    assert set(named) - set(COMMANDS) == set()
    known = {
        "--" + field.name.replace("_", "-")
        for name in ("pretrain", "launch", "plan", "choose")
        for field in fields(COMMANDS[name][1]()[0])
    }
    flags = re.findall(r"`(--[\w-]+)", TEXT)
    assert "--budget" in flags and set(flags) - known == set()


def test_the_planned_command_in_the_text_asks_what_the_code_asks(capsys):
    (line,) = (line for line in typed(TEXT) if line.startswith("llmkit plan "))
    (asks,) = (code for code in CODE if re.search("^question = ", code, re.MULTILINE))
    there = {"planning": SimpleNamespace(PlanOptions=PlanOptions, answer=answer)}
    exec(asks.replace("show(", "told = ("), there)
    assert main([*shlex.split(line)[1:], "--json"]) == 0
    told = json.loads(json.dumps(there["told"].as_dict()))
    assert json.loads(capsys.readouterr().out) == told


# What the saved lesson tells of itself


def test_the_saved_lesson_took_under_five_minutes():
    shown = [output for cell in BUILT.cells for output in cell.get("outputs", [])]
    bands = [output.get("data", {}).get(execution.BAND_MIME) for output in shown]
    (results,) = (band["results"] for band in bands if band)
    (seconds,) = (x["value"] for x in results if x["name"] == "seconds")
    assert 0 < seconds < 300
