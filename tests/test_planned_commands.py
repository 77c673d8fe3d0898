"""Check that what `llmkit plan` prints can be typed: `llmkit launch` takes it."""

import re
import shlex
from pathlib import Path

import pytest
from helpers import ROOT, save_tiny

from llmkit.cli import main
from llmkit.planning import STRATEGIES, PlanOptions, answer, asking
from llmkit.planning.commands import commands
from llmkit.pretraining import PRESETS

SHAPES = {name: preset.model for name, preset in PRESETS.items()}
MODELS = {
    "Muon's": dict(preset="tiny"),
    "GPT-2": dict(preset="gpt2-355m"),
    "BERT": dict(preset="bert-110m"),
    "Hugging Face's": dict(hf="tiny"),
}


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch) -> Path:
    """Work in a folder that holds a BERT."""
    monkeypatch.chdir(tmp_path)
    return save_tiny(tmp_path / "tiny", max_position_embeddings=512)


def ways(options: PlanOptions) -> dict[tuple[str, bool], tuple[str, str, list[str]]]:
    """Return the commands of every way that fits, and what must be done first."""
    plan = answer(options, SHAPES)
    _, _, told = asking._model(options, SHAPES)
    return {
        (option.strategy, option.checkpointing): commands(plan.question, option, told)
        for option in plan.options
        if option.precision == plan.question.chosen_precision and option.fits
        if STRATEGIES[option.strategy].launch
    }


def make_ready(notes: list[str]) -> None:
    """Write the launch file that a note tells of."""
    for note in notes:
        if found := re.match(r"make ready (\S+), a copy of (\S+) that says (.*)", note):
            name, source, changes = found.groups()
            text = (ROOT / source).read_text()
            for change in changes.split(" and "):
                key = change.partition(":")[0]
                text, count = re.subn(rf"\b{key}: \S+", change, text)
                assert count == 1, f"{source} has no {key}"
            Path(name).write_text(text)


@pytest.mark.parametrize("gpus", [1, 2, 16])
@pytest.mark.parametrize("model", MODELS)
def test_every_planned_command_can_be_launched(model, gpus, capsys):
    from accelerate.commands.launch import launch_command_parser

    options = PlanOptions(gpu="h100", gpus=gpus, tokens=1e8, **MODELS[model])
    launched = set()
    for (strategy, _), (ours, theirs, notes) in ways(options).items():
        make_ready(notes)
        words = shlex.split(theirs)
        assert words[:2] == ["accelerate", "launch"]
        launch_command_parser().parse_args(words[2:])
        if ours == theirs:  # for a script of one's own
            continue
        launched.add(strategy)
        command, name, *rest = shlex.split(ours)[1:]
        assert main([command, name, "--dry-run", *rest]) == 0, capsys.readouterr()
        work = " ".join(rest[rest.index("--") + 1 :])
        assert capsys.readouterr().out.endswith(f" -m llmkit {work}\n")
    every = {"single", "ddp", "zero2", "zero3", "fsdp2"} if gpus > 1 else {"single"}
    assert launched == every
