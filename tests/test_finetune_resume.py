"""Check that a fine-tuning goes on as if it had never stopped, with the best it had.

Mostly an error that nobody catches plays the death of a run: nothing is written after
it. In the last test it is a signal that no program can catch.
"""

import csv
import json
import os
import shutil
import signal
import sys
from pathlib import Path

import pytest
from helpers import SENTENCES, finish, save_tiny, start
from safetensors.torch import load_file

from llmkit.finetuning import Classifier, ClassLoss, FinetuneOptions, Finetuning
from llmkit.training import alone_in, find_checkpoints, leave

# `llmkit.finetuning.train` is the function of that name.
TRAIN, RUN = (sys.modules[f"llmkit.finetuning.{name}"] for name in ("train", "run"))
RECIPE = dict(epochs=3, batch_size=12, dropout=0.1, word_dropout=0.2, freeze=0)
RECIPE |= dict(evaluate_every=2, learning_rate=0.01, head_rate=0.01)
STEPS = 9  # of three epochs


@pytest.fixture(autouse=True)
def quick_disk(monkeypatch) -> None:
    """Let no test wait for the disk itself."""
    monkeypatch.setattr(os, "fsync", lambda handle: None)


class DeathError(BaseException):
    """Play the end of a process."""


@pytest.fixture(scope="module")
def tiny(tmp_path_factory) -> Path:
    """Make the folder of a tiny BERT with random weights."""
    return save_tiny(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="module")
def table(tmp_path_factory) -> Path:
    """Write the texts to learn from, which are those to be judged by, too."""
    file = tmp_path_factory.mktemp("data") / "train.csv"
    with open(file, "w", newline="") as handle:
        csv.writer(handle).writerows([("text", "label"), *SENTENCES])
    return file


@pytest.fixture(scope="module")
def make(tiny, table):
    """Return a function that makes a run in a folder ready."""

    def ready(out: Path, resume: bool = False, **changes) -> Finetuning:
        told = dict(model=str(tiny), data=str(table), validation=str(table), out=out)
        told |= dict(resume=resume, save_every=1e-9, track="none")
        return Finetuning(FinetuneOptions(**RECIPE | told | changes))

    return ready


def left_in(out: Path) -> tuple[dict, list[dict]]:
    """Read what a run left: its weights, and its steps but for their seconds."""
    steps = [json.loads(x) for x in (out / "metrics.jsonl").read_text().splitlines()]
    for step in steps:
        del step["seconds"]
    return load_file(out / "model.safetensors"), steps


def check_same(one: Path, other: Path) -> None:
    """Check that two runs left the same, bit for bit."""
    (ours, steps), (theirs, wanted) = left_in(one), left_in(other)
    assert ours.keys() == theirs.keys()
    assert all(ours[name].equal(theirs[name]) for name in theirs)
    assert steps == wanted
    assert not list(one.glob("checkpoints*"))


@pytest.fixture(scope="module")
def whole(make, tmp_path_factory) -> Path:
    """Make two runs that are averaged, which nobody stops."""
    out = tmp_path_factory.mktemp("whole") / "out"
    list(make(out, average=2).steps())
    steps = left_in(out)[1]
    assert [(x["run"], x["number"]) for x in steps] == [
        (run, number) for run in (0, 1) for number in range(1, STEPS + 1)
    ]
    bests = [
        [x["number"] for x in steps if x["best"] and x["run"] == k] for k in (0, 1)
    ]
    assert all(len(found) > 1 for found in bests)  # and the best is not the first
    return out


def dying(call: int, original, before: bool = True):
    """Return a function that does what it did, until it is called for the n-th time."""
    calls = []

    def wrapped(*arguments, **options):
        calls.append(None)
        if len(calls) == call and before:
            raise DeathError
        result = original(*arguments, **options)
        if len(calls) == call:
            raise DeathError
        return result

    return wrapped


def half_removed(folder: Path, ignore_errors: bool = False) -> None:
    """Remove a part of a folder, and die."""
    if folder.name == "checkpoints-done" and folder.exists():
        shutil.rmtree(next(folder.glob("*/step-*")))
        raise DeathError


def half_saved(classifier, folder: Path) -> None:
    """Write a part of a classifier, and die."""
    (folder / "model.safetensors").write_bytes(b"half")
    raise DeathError


# What is patched, with what. A run of 9 steps is judged after 2, 4, 6, 8 and 9; what
# is renamed is the record of the run first, then the log, then a checkpoint a step.
MOMENTS = {
    "in a step": lambda: (ClassLoss, "__call__", dying(5, ClassLoss.__call__)),
    "before it is judged": lambda: (TRAIN, "score", dying(3, TRAIN.score)),
    "after it was judged": lambda: (TRAIN, "score", dying(4, TRAIN.score, False)),
    "after the last step": lambda: (TRAIN, "score", dying(5, TRAIN.score, False)),
    "in the second run": lambda: (TRAIN, "score", dying(8, TRAIN.score)),
    "before the first checkpoint": lambda: (os, "replace", dying(3, os.replace)),
    "before a checkpoint has its name": lambda: (os, "replace", dying(7, os.replace)),
    "while the classifier is written": lambda: (Classifier, "save", half_saved),
    "while checkpoints are removed": lambda: (shutil, "rmtree", half_removed),
}


@pytest.mark.slow
@pytest.mark.parametrize("moment", MOMENTS)
def test_stopped_and_resumed_is_uninterrupted_bit_for_bit(
    moment, make, whole, tmp_path, monkeypatch
):
    out = tmp_path / "out"
    with monkeypatch.context() as patch, pytest.raises(DeathError):
        patch.setattr(*MOMENTS[moment]())
        list(make(out, average=2).steps())
    run = make(out, resume=True, average=2)
    list(run.steps())
    check_same(out, whole)
    assert run.result()["examples"] == 2 * 3 * len(SENTENCES) and run.seconds > 0


def told(monkeypatch, scores: list[float]) -> None:
    """Let judgements find these macro F1s, whatever the classifier does."""
    found = iter(scores)
    monkeypatch.setattr(
        TRAIN,
        "score",
        lambda *_: dict(val_loss=0.0, val_accuracy=0.5, val_f1=next(found)),
    )


@pytest.mark.slow
@pytest.mark.parametrize("stop", [3, 4, 7, 8])
def test_patience_and_the_best_survive(stop, make, tmp_path, monkeypatch):
    """The best is that of step 4; steps 6 and 8 bring no gain, and it ends."""
    whole, out = tmp_path / "whole", tmp_path / "out"
    scores = [0.5, 0.8, 0.7, 0.8, 0.9]
    told(monkeypatch, scores)
    steps = list(make(whole, patience=2).steps())
    assert [x.number for x in steps if x.best] == [2, 4] and steps[-1].number == 8
    told(monkeypatch, scores)
    run = make(out, patience=2).steps()
    while next(run).number < stop:
        pass
    run.close()
    told(monkeypatch, scores[stop // 2 :])
    assert [x.number for x in make(out, True, patience=2).steps()] == [
        *range(stop + 1, 9)
    ]
    check_same(out, whole)


def stopped(make, out: Path, steps: int = 5, **changes) -> None:
    """Leave a run after some steps."""
    run = make(out, **changes).steps()
    for _ in range(steps):
        next(run)
    run.close()


@pytest.mark.slow
def test_a_stopped_run_is_kept_until_it_is_told_what_to_do(make, whole, tmp_path):
    out = tmp_path / "out"
    stopped(make, out, average=2)
    assert not (out / "model.safetensors").exists()
    words = "holds a run that was stopped; .* add --resume to go on with it, or --over"
    with pytest.raises(ValueError, match=words):
        make(out)
    list(make(out, average=2, overwrite=True).steps())  # from the beginning
    check_same(out, whole)


def test_what_is_done_is_not_done_again(make, whole, tmp_path):
    out = Path(shutil.copytree(whole, tmp_path / "out"))
    before = {path: path.read_bytes() for path in out.iterdir() if path.is_file()}
    again = make(out, resume=True, average=2)
    assert list(again.steps()) == [] and again.was_done
    result, steps = again.result(), left_in(whole)[1]
    assert result["examples"] == sum(x["tokens"] for x in steps if x["number"] == STEPS)
    assert result["seconds"] > 0 and 0 <= result["accuracy"] <= 1
    assert {path: path.read_bytes() for path in before} == before


def test_what_never_began_can_not_go_on(make, tmp_path):
    with pytest.raises(ValueError, match="holds no run to go on with; leave --resume"):
        make(tmp_path / "out", resume=True)
    with pytest.raises(ValueError, match="--overwrite throws .* away and --resume go"):
        make(tmp_path / "out", resume=True, overwrite=True)
    with pytest.raises(ValueError, match="--save-every must be above 0: got 0"):
        make(tmp_path / "out", save_every=0)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (dict(epochs=4), "was started with epochs 3, not 4; use the same, or another"),
        (dict(seed=1), "was started with seed 0, not 1; use the same"),
        (dict(model="minilm"), "was started with model '.*tiny.*', not 'minilm'"),
        (dict(bad_rows="skip"), "was started with text_sha256 '.*', not '.*'; use the"),
    ],
)
def test_another_run_is_not_gone_on_with(changes, words, make, table, tmp_path):
    stopped(make, tmp_path / "out")
    if "text_sha256" in words:
        mine = tmp_path / "mine.csv"
        mine.write_text(table.read_text().replace("very bad", "so bad"))
        changes |= dict(data=str(mine))
    with pytest.raises(ValueError, match=words):
        make(tmp_path / "out", resume=True, **changes)


def test_a_checkpoint_of_another_model_is_refused(make, tiny, tmp_path):
    mine = Path(shutil.copytree(tiny, tmp_path / "mine"))
    stopped(make, tmp_path / "out", model=str(mine))
    shutil.rmtree(mine)
    save_tiny(mine, intermediate_size=40)
    run = make(tmp_path / "out", resume=True, model=str(mine))
    with pytest.raises(ValueError, match="step-00000005 is of another model .*size"):
        list(run.steps())


def test_texts_may_lie_elsewhere_and_curves_too(make, whole, table, tmp_path):
    out = tmp_path / "out"
    stopped(make, out, average=2)
    moved = str(shutil.copy(table, tmp_path / "moved.csv"))
    changes = dict(data=moved, validation=moved, track="auto", save_every=60.0)
    list(make(out, resume=True, average=2, **changes).steps())
    check_same(out, whole)


@pytest.mark.slow
@pytest.mark.parametrize(
    "file", ["best.safetensors", "model.safetensors", "state.json"]
)
def test_a_damaged_checkpoint_is_named_and_the_one_before_used(
    file, make, whole, tmp_path
):
    out = tmp_path / "out"
    stopped(make, out, average=2)
    latest, _ = find_checkpoints(out / "checkpoints" / "run-00")
    os.truncate(latest / file, (latest / file).stat().st_size // 2)
    first, *_ = make(out, resume=True, average=2).steps()
    assert first.number == 5 and "step-00000005 is damaged" in first.note
    assert first.note.endswith("went on from step 4")


def test_two_runs_do_not_work_in_one_folder(make, tmp_path):
    stopped(make, tmp_path / "out")
    run = make(tmp_path / "out", resume=True)
    with (
        alone_in(tmp_path / "out"),
        pytest.raises(ValueError, match="another run is at work in"),
    ):
        next(run.steps())


# By real signals


def main(out: Path, model: Path, data: Path, call: int) -> None:
    """Fine-tune, and be killed when a checkpoint is renamed for the n-th time."""
    original, calls = os.replace, []

    def replace(*names):
        calls.append(None)
        if len(calls) == call:
            os.kill(os.getpid(), signal.SIGKILL)
        original(*names)

    os.replace = replace
    told = dict(model=str(model), data=str(data), validation=str(data), out=out)
    told |= dict(save_every=1e-9, track="none", average=2)
    list(Finetuning(FinetuneOptions(**RECIPE | told)).steps())


@pytest.mark.slow
@pytest.mark.process
@pytest.mark.parametrize("call", [8, 16])
def test_killed_and_resumed_is_uninterrupted_bit_for_bit(
    call, make, whole, tiny, table, tmp_path
):
    code, _, _ = finish(start(__file__, tmp_path / "out", tiny, table, call))
    assert code == -signal.SIGKILL
    list(make(tmp_path / "out", resume=True, average=2).steps())
    check_same(tmp_path / "out", whole)


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:4]), int(sys.argv[4]))
    leave()
