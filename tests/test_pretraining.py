"""Check one run from text to folder: what it promises, measures, keeps and refuses."""

import json
import math
import random
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from helpers import ROOT, quick_tiny, same_weights

from llmkit import transformer
from llmkit.metrics import token_loss
from llmkit.pretraining import PRESETS, Pretraining, PretrainOptions
from llmkit.tokenizer import load_tokenizer
from llmkit.training import find_checkpoints
from llmkit.transformer import load_model, saving

WORDS = ["the cat", "sat on", "a mat", "and saw", "one old dog", "that ran", "home.\n"]
TEXT = " ".join(random.Random(0).choices(WORDS, k=800))[:5_000]


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Iterator[Path]:
    """Make a folder with a text, and the run that others are compared with."""
    folder = tmp_path_factory.mktemp("pretraining")
    (folder / "text.txt").write_text(TEXT)
    with quick_tiny():
        finished(options(folder, "whole"))
        yield folder


@pytest.fixture
def copy(folder, tmp_path) -> Path:
    """Copy that folder, so that a test may spoil it."""
    return Path(shutil.copytree(folder, tmp_path / "copy"))


def options(folder: Path, out: str, **changes) -> PretrainOptions:
    """Say what a run of a few steps is to do."""
    values = dict(corpus=str(folder / "text.txt"), out=folder / out, max_steps=8)
    return PretrainOptions(**values | changes)


def finished(wanted: PretrainOptions) -> dict:
    """Run to the end; return the result."""
    run = Pretraining(wanted)
    for _ in run.steps():
        pass
    return run.result()


def stop_after(wanted: PretrainOptions, number: int) -> None:
    """Run, and stop at a step as Ctrl-C would."""
    steps = Pretraining(wanted).steps()
    for step in steps:
        if step.number == number:
            break
    steps.close()


@pytest.mark.slow
def test_the_validation_loss_is_that_of_the_last_tenth(folder):
    result = finished(options(folder, "again"))
    model, tokenizer = load_model(folder / "again"), load_tokenizer(folder / "again")
    ids = torch.tensor(tokenizer.encode(TEXT[round(len(TEXT) * 0.9) :]))
    total, context = 0.0, model.config.context
    for start in range(0, len(ids) - 1, context):  # windows side by side, one by one
        window = ids[start : start + context + 1]
        with torch.no_grad():
            total += float(token_loss(model(window[None, :-1]), window[None, 1:])[0])
    assert result["val_loss"] == pytest.approx(total / (len(ids) - 1), abs=2e-5)
    assert result["val_loss"] < math.log(tokenizer.vocab_size)
    assert (result["steps"], result["tokens"]) == (8, 8 * 8 * 64)
    assert result["parameters"] == sum(p.numel() for p in model.parameters())
    assert result["seconds"] > 0
    speed = result["tokens"] / result["seconds"]
    rounding = 0.001 / result["seconds"]  # seconds are told to the millisecond
    assert result["tokens_per_second"] == pytest.approx(speed, rel=rounding)


def test_what_the_model_learns_from_does_not_reach_into_the_last_tenth(folder):
    run = Pretraining(options(folder, "unused"))
    ids = torch.tensor(run.tokenizer.encode(TEXT))
    assert run.data.train.equal(run.batches.ids)
    cut = round(len(TEXT) * 0.9)
    assert run.batches.ids.equal(ids[:cut])
    labels = torch.cat([labels.flatten() for _, labels in run.evaluation])
    assert labels[labels >= 0].equal(ids[cut + 1 :])
    assert not (folder / "unused").exists()  # nothing is written before training


@pytest.mark.slow
def test_the_same_seed_gives_the_same_model_and_another_gives_another(folder):
    finished(options(folder, "twin"))
    finished(options(folder, "other", seed=1))
    whole = load_model(folder / "whole")
    assert same_weights(load_model(folder / "twin"), whole)
    assert not same_weights(load_model(folder / "other"), whole)
    first = [
        Pretraining(options(folder, "x", seed=seed)).batches[0][0] for seed in (0, 1)
    ]
    assert not torch.equal(*first)  # another order of the text, too


def test_the_cost_is_told_first_and_is_the_runs(folder):
    run = Pretraining(options(folder, "unused"))
    assert run.cost.parameters == sum(p.numel() for p in run.model.parameters())
    assert run.cost.tokens == 8 * 8 * 64


def test_each_step_is_kept_for_a_later_look(folder):
    lines = (folder / "whole" / "metrics.jsonl").read_text().splitlines()
    steps = [json.loads(line) for line in lines]
    assert [step["number"] for step in steps] == list(range(1, 9))
    assert steps[-1]["val_loss"] > 0 and steps[-1]["progress"] == 1.0


def test_resumed_is_uninterrupted_and_the_text_may_have_moved(copy):
    stop_after(options(copy, "cut"), 5)
    assert not (copy / "cut" / "model.safetensors").exists()
    (copy / "text.txt").rename(copy / "moved.txt")
    wanted = options(copy, "cut", resume=True, corpus=str(copy / "moved.txt"))
    assert finished(wanted)["steps"] == 8
    assert same_weights(load_model(copy / "cut"), load_model(copy / "whole"))


def test_a_run_can_be_made_longer(copy):
    assert finished(options(copy, "whole", resume=True, max_steps=10))["steps"] == 10


def test_a_finished_run_has_nothing_left_to_do_and_tells_its_figures(copy):
    again = Pretraining(options(copy, "whole", resume=True))
    assert list(again.steps()) == [] and again.was_done
    log = (copy / "whole" / "metrics.jsonl").read_text().splitlines()
    told, result = json.loads(log[-1]), again.result()
    assert (result["steps"], result["tokens"]) == (8, told["tokens"])
    assert result["val_loss"] == round(told["val_loss"], 5) and result["seconds"] > 0


def test_an_end_before_what_is_done_is_refused(copy):
    stop_after(options(copy, "cut"), 5)
    with pytest.raises(ValueError, match="has made 5 steps and was not evaluated the"):
        finished(options(copy, "cut", resume=True, max_steps=2))


def test_a_model_that_did_not_fit_on_the_disk_is_written_by_resuming(copy, monkeypatch):
    def fail(*arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(saving, "save_file", fail)
    with pytest.raises(OSError, match="could not save the model .*No space left"):
        finished(options(copy, "full"))
    monkeypatch.undo()
    assert finished(options(copy, "full", resume=True))["steps"] == 8
    assert same_weights(load_model(copy / "full"), load_model(copy / "whole"))


@pytest.mark.parametrize(
    "changes", [dict(corpus="missing.txt"), dict(corpus="hub:"), dict(resume=True)]
)
def test_a_mistake_costs_nothing_of_an_old_run(changes, copy):
    before = {path: path.read_bytes() for path in copy.rglob("*") if path.is_file()}
    if "resume" in changes:
        (copy / "text.txt").write_text(TEXT * 2)
        before[copy / "text.txt"] = (TEXT * 2).encode()
    else:
        changes["overwrite"] = True
    with pytest.raises(ValueError):
        finished(options(copy, "whole", **changes))
    assert before == {path: path.read_bytes() for path in before}


def test_overwriting_leaves_nothing_of_the_old_run_and_all_that_is_not_of_it(copy):
    (copy / "whole" / "notes.txt").write_text("mine")
    (copy / "whole" / "draft-00000003").mkdir()
    finished(options(copy, "whole", overwrite=True, seed=1, max_steps=3))
    assert [path.name for path in find_checkpoints(copy / "whole")] == ["step-00000003"]
    names = sorted(path.name for path in (copy / "whole").iterdir())
    assert names == [
        ".lock", "config.json", "metrics.jsonl", "model.safetensors", "notes.txt",
        "run.json", "step-00000003", "tokenizer.json",
    ]  # fmt: skip
    assert (copy / "whole" / "metrics.jsonl").read_text().count("\n") == 3


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (
            {},
            "holds another run .config.json.; choose another .*--resume .*--overwrite",
        ),
        (dict(resume=True, seed=5), "was started with seed 0, not 5; use the same"),
        (dict(resume=True, tokenizer="word"), "with tokenizer 'char', not 'word'"),
        (dict(resume=True, preset="small"), "with preset 'tiny', not 'small'"),
        (dict(resume=True, layers=2), "was started with layers 1, not 2; use the same"),
        (dict(resume=True, width=64), "was started with width 32, not 64"),
        (dict(resume=True, heads=2), "was started with heads 4, not 2"),
        (dict(resume=True, kv_heads=1), "was started with kv_heads 0, not 1"),
        (dict(resume=True, ff=99), "was started with ff 256, not 99"),
        (dict(resume=True, context=32), "was started with context 64, not 32"),
        (dict(resume=True, batch_size=4), "was started with batch_size 8, not 4"),
        (dict(resume=True, optimizer="adamw"), "with optimizer 'muon', not 'adamw'"),
        (dict(resume=True, corpus="README.md"), "was started with text_sha256 '"),
        (dict(resume=True, out=Path("nowhere")), "holds no run to go on with; leave"),
        (dict(out=Path("README.md")), "--out 'README.md' is a file; give a folder"),
    ],
)
def test_runs_do_not_mix(changes, words, folder, monkeypatch):
    monkeypatch.chdir(ROOT)
    with pytest.raises(ValueError, match=words):
        Pretraining(replace(options(folder, "whole"), **changes))


@pytest.mark.parametrize("content", ["", "{", "[3]", "null"])
def test_a_damaged_record_of_a_run_is_refused_in_words(content, copy):
    (copy / "whole" / "run.json").write_text(content)
    with pytest.raises(
        ValueError, match="run.json' is damaged; begin again with --over"
    ):
        Pretraining(options(copy, "whole", resume=True))


def test_a_run_may_go_on_in_smaller_pieces_and_in_another_precision(copy):
    wanted = options(copy, "whole", resume=True, max_steps=9)
    assert finished(replace(wanted, accumulation=4, precision="fp32"))["steps"] == 9


def test_a_record_from_before_there_were_flags_of_shape_is_taken(copy):
    path = copy / "whole" / "run.json"
    record = json.loads(path.read_text())
    later = "layers width heads kv_heads ff context batch_size optimizer"
    for name in later.split():
        del record[name]
    path.write_text(json.dumps(record))
    assert finished(options(copy, "whole", resume=True, max_steps=9))["steps"] == 9


def test_flags_change_the_shape_and_the_batch_and_the_rest_follows(folder):
    told = options(folder, "unused", layers=3, width=64, context=32, batch_size=6)
    run = Pretraining(replace(told, accumulation=3, precision="fp32"))
    shape, before = run.model.config, PRESETS["tiny"].model
    assert (shape.n_layers, shape.d_model, shape.context) == (3, 64, 32)
    # heads as wide as before, and the inside of a block as many times the width
    assert shape.d_head == before["d_model"] // before["n_heads"]
    assert shape.d_inner == before["d_ff"] * 64 // before["d_model"]
    assert run.batches[0][0].shape == (6, 32)
    assert (run.training.accumulation, run.training.precision) == (3, "fp32")
    told = replace(told, heads=2, kv_heads=1, ff=50)
    shape = told.shape(65)
    assert (shape.n_heads, shape.kv_heads, shape.d_inner) == (2, 1, 50)


def test_a_smaller_batch_keeps_pieces_of_as_many_rows(folder):
    told = options(folder, "unused", preset="gpt2-124m")
    rows = told.recipe.batch_size // told.recipe.training["accumulation"]
    fewer = replace(told, batch_size=4 * rows)
    assert fewer.training().accumulation == 4
    assert replace(told, batch_size=1).training().accumulation == 1


@pytest.mark.parametrize("preset", ["tiny", "gpt2-124m"])
def test_the_optimizer_is_the_preset_s_unless_told(preset, folder):
    told = options(folder, "unused", preset=preset)
    own, before = told.training().optimizer, PRESETS[preset].training
    assert own == before.get("optimizer", "adamw")
    assert replace(told, optimizer=own).training() == told.training()
    (other,) = {"adamw", "muon"} - {own}
    changed = replace(told, optimizer=other).training()
    assert changed.optimizer == other and changed.clip == 1.0
    peak = "learning_rate" if other == "adamw" else "muon_rate"
    assert getattr(changed, peak) != getattr(told.training(), peak)
    with pytest.raises(
        ValueError, match="unknown optimizer 'sgd'; choose one of: adam"
    ):
        replace(told, optimizer="sgd")


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_is_a_run_that_can_be(name, folder):
    wanted = options(folder, "unused", preset=name, max_steps=None, max_seconds=60)
    training = wanted.training()
    assert (training.steps, training.seconds) == (0, 60)
    assert options(folder, "unused", preset=name, max_steps=None).training().steps > 0
    assert transformer.ModelConfig(vocab_size=65, **PRESETS[name].model).context >= 64
