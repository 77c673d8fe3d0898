"""Kill runs at exact moments: resumed, they end bit for bit as if nothing had been.

As a program, this file is the run that gets killed: it patches what is done at the
moment in question, and there sends itself the signal that no program can catch.
"""

import json
import os
import shutil
import signal
import sys
from pathlib import Path

import pytest
import torch
from helpers import finish, random_ids, small_model, start, train
from safetensors.torch import load_file

from llmkit.batches import NextTokenBatches, evaluation_batches
from llmkit.training import (
    checkpoints,
    find_checkpoints,
    leave,
    loop,
    objective,
    optimizers,
)
from llmkit.training.checkpoints import save_checkpoint, write_checkpoint

pytestmark = [pytest.mark.slow, pytest.mark.process]

STEPS, EPOCH = 14, 5  # steps of a run, and of an epoch: it ends in the third


def run(out: Path, resume: bool = False, **recipe):
    """Train a model that drops out, with two optimizers and evaluations between."""
    batches = NextTokenBatches(random_ids(8 * 4 * EPOCH + 1), context=8, batch_size=4)
    evaluation = evaluation_batches(random_ids(50, seed=9), 8, batch_size=2)
    model = small_model(3 if resume else 0, loud=False, dropout=0.2)
    recipe = (
        dict(steps=STEPS, evaluate_every=2, save_every=0, optimizer="muon") | recipe
    )
    return model, train(model, batches, evaluation, resume, out=out, **recipe)


def die() -> None:
    """End at once, as a machine does that loses its power."""
    if os.environ.get("RANK", "0") == os.environ.get("WHO", "0"):
        os.kill(os.getpid(), signal.SIGKILL)


def at(call: int, original, before: bool = True):
    """Return a function that does what it did, until it is called for the n-th time."""
    calls = []

    def wrapped(*arguments, **options):
        calls.append(None)
        if len(calls) == call and before:
            die()
        result = original(*arguments, **options)
        if len(calls) == call:
            die()
        return result

    return wrapped


def half_written(call: int):
    """Return a function that saves tensors, and the n-th time half of them."""
    calls, original = [], checkpoints.save_file

    def save(tensors, file):
        original(tensors, file)
        calls.append(None)
        if len(calls) == call:
            os.truncate(file, file.stat().st_size // 2)
            die()

    return save


def half_removed(call: int):
    """Return a function that removes folders, and of the n-th that is there a half."""
    calls, original = [], shutil.rmtree

    def remove(folder, ignore_errors=False):
        if Path(folder).is_dir():
            calls.append(None)
            if len(calls) == call:
                next(Path(folder).iterdir()).unlink()
                die()
        original(folder, ignore_errors=ignore_errors)

    return remove


# What is patched, with what: the 8th step is in the second epoch.
MOMENTS = {
    "in the forward pass of step 8": lambda: (
        loop, "plain_loss", at(8, objective.plain_loss)
    ),
    "between the two optimizers of step 9": lambda: (
        optimizers.Muon, "step", at(9, optimizers.Muon.step, before=False)
    ),
    "before the first step": lambda: (loop, "plain_loss", at(1, objective.plain_loss)),
    "in an evaluation": lambda: (  # of four batches; training has a name of its own
        objective, "plain_loss", at(10, objective.plain_loss)
    ),
    "while weights are written": lambda: (checkpoints, "save_file", half_written(15)),
    "while the optimizer is written": lambda: (
        checkpoints, "save_file", half_written(16)
    ),
    "before the checkpoint gets its name": lambda: (
        checkpoints.os, "replace", at(8, os.replace)
    ),
    "after the checkpoint got its name": lambda: (
        checkpoints.os, "replace", at(8, os.replace, before=False)
    ),
    "while an old checkpoint is removed": lambda: (
        checkpoints.shutil, "rmtree", half_removed(5)
    ),
    "after the last step, before it is saved": lambda: (
        loop, "write_checkpoint", at(STEPS, write_checkpoint)
    ),
}  # fmt: skip


def main(out: Path, moment: str, resume: str) -> None:
    """Run, and die at a moment, if one is given."""
    if moment in MOMENTS:
        owner, name, mortal = MOMENTS[moment]()
        setattr(owner, name, mortal)
    model, steps = run(out, resume=resume == "resume")
    if os.environ.get("RANK", "0") == "0":
        told = {"notes": [step.note for step in steps], "first": steps[0].number}
        (out / "told.json").write_text(json.dumps(told))
        save_checkpoint(out / "end", 0, model, [], {})


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    """Make the run that nobody kills, in a process of its own."""
    out = tmp_path_factory.mktemp("whole")
    code, _, err = finish(start(__file__, out, "never", "new"))
    assert code == 0, err
    return out


def end(out: Path) -> dict[str, torch.Tensor]:
    """Read the weights that a run ended with."""
    return load_file(out / "end" / "step-00000000" / "model.safetensors")


def same(one: dict, other: dict) -> bool:
    """Tell whether weights are equal bit for bit."""
    return one.keys() == other.keys() and all(one[n].equal(other[n]) for n in one)


@pytest.mark.parametrize("moment", MOMENTS)
def test_killed_and_resumed_is_uninterrupted_bit_for_bit(moment, whole, tmp_path):
    code, _, _ = finish(start(__file__, tmp_path, moment, "new"))
    assert code == -signal.SIGKILL
    assert not (tmp_path / "end").exists()
    model, steps = run(tmp_path, resume=True)
    if "before the first" in moment:  # nothing was kept: it begins anew, as it was told
        model, steps = run(tmp_path / "again")
    assert steps[-1].number == STEPS and steps[0].note == ""
    theirs = end(whole)  # a tied table once
    ours = {name: w for name, w in model.state_dict().items() if name in theirs}
    assert same(ours, theirs)
    assert not list(tmp_path.glob("draft-*"))


def test_killed_again_and_again_it_still_arrives(whole, tmp_path):
    first, second = "in the forward pass of step 8", "in an evaluation"
    for moment, resume in ((first, "new"), (second, "resume")):
        code, _, _ = finish(start(__file__, tmp_path, moment, resume))
        assert code == -signal.SIGKILL
    run(tmp_path, resume=True)
    last, *_ = find_checkpoints(tmp_path)
    theirs, *_ = find_checkpoints(whole)
    for name in ("model.safetensors", "optimizer.safetensors"):
        assert (last / name).read_bytes() == (theirs / name).read_bytes()


def two(out: Path, moment: str, resume: str, who: int = 0) -> tuple[int, str]:
    """Run in two processes, of which one dies; return the exit code and errors."""
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", 2]
    line = [*launcher, __file__, out, moment, resume]
    code, _, err = finish(start(*line, env={"WHO": str(who)}))
    return code, err


@pytest.fixture(scope="module")
def whole_of_two(tmp_path_factory) -> Path:
    """Make the run of two processes that nobody kills."""
    out = tmp_path_factory.mktemp("two")
    code, err = two(out, "never", "new")
    assert code == 0, err
    return out


@pytest.mark.parametrize(
    ("moment", "who"),
    [
        ("in the forward pass of step 8", 1),
        ("while the optimizer is written", 0),
        ("in an evaluation", 1),
    ],
)
def test_one_of_two_is_killed_and_both_go_on_bit_for_bit(
    moment, who, whole_of_two, tmp_path
):
    code, _ = two(tmp_path, moment, "new", who)
    assert code != 0 and not (tmp_path / "end").exists()
    code, err = two(tmp_path, "never", "resume")
    assert code == 0, err
    assert same(end(tmp_path), end(whole_of_two))
    told = json.loads((tmp_path / "told.json").read_text())
    assert told["first"] > 5 and not any(told["notes"])


def test_another_number_of_processes_goes_on_and_it_says_what_changes(
    whole_of_two, tmp_path
):
    copy = Path(shutil.copytree(whole_of_two, tmp_path / "copy"))
    last, _ = find_checkpoints(copy)
    shutil.rmtree(last)
    _, steps = run(copy, resume=True)
    assert [step.number for step in steps] == [STEPS]
    assert steps[0].note == (
        f"step {STEPS - 1} was made by 2 and this run goes on with 1 (processes): "
        "batches stay the same, sums are rounded otherwise and dropout draws anew"
    )


def test_more_processes_go_on_too(whole, tmp_path):
    copy = Path(shutil.copytree(whole, tmp_path / "copy"))
    last, _ = find_checkpoints(copy)
    shutil.rmtree(last)
    code, err = two(copy, "never", "resume")
    assert code == 0, err
    told = json.loads((copy / "told.json").read_text())
    assert told["first"] == STEPS
    assert told["notes"][0].startswith(
        f"step {STEPS - 1} was made by 1 and this run goes on with 2 (processes): "
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], sys.argv[3])
    leave()
