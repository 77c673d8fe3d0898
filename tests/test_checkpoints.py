"""Check that a run goes on as if it had never stopped, whatever its disk does."""

import errno
import itertools
import json
import os
import shutil
import signal
import subprocess
from collections import defaultdict
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from helpers import UnevenBatches, same_weights, small_model, train
from torch.distributed.algorithms._checkpoint.checkpoint_wrapper import (
    checkpoint_wrapper,
)

from llmkit.training import (
    LOG,
    TrainingConfig,
    checkpoints,
    find_checkpoints,
    fit,
    keep_log_before,
    write_line,
)

FILES = ("model.safetensors", "optimizer.safetensors", "state.json")
RECIPES = {
    "adamw": dict(optimizer="adamw"),
    "muon": dict(optimizer="muon", weight_decay=0.1),
    "in pieces": dict(optimizer="muon", accumulation=3),
}
each_recipe = pytest.mark.parametrize("recipe", RECIPES.values(), ids=RECIPES)


def interrupted(out, after: int, resume=False, tied=True, **recipe) -> None:
    """Train to step `after` of 12 and leave."""
    config = TrainingConfig(steps=12, precision="fp32", out=out, **recipe)
    model = small_model(loud=False, tied=tied)
    for step in fit(model, UnevenBatches(), config, resume=resume):
        if step.number == after:
            break


def resumed(out, seed=3, tied=True, **recipe) -> tuple[torch.nn.Module, list]:
    """Go on with what lies in a folder, from other first weights."""
    model = small_model(seed, loud=False, tied=tied)
    return model, train(model, resume=True, steps=12, out=out, **recipe)


def uninterrupted(tied=True, **recipe) -> tuple[torch.nn.Module, list]:
    """Train all 12 steps in one go, without a folder."""
    model = small_model(loud=False, tied=tied)
    return model, train(model, steps=12, **recipe)


def test_a_run_that_computed_activations_twice_goes_on_without_and_back(tmp_path):
    wrapped, plain = small_model(loud=False), small_model(3, loud=False)
    for model in (wrapped, plain):
        wraps = model is wrapped
        if wraps:
            model.blocks = torch.nn.ModuleList(map(checkpoint_wrapper, model.blocks))
        steps = 7 if wraps else 12
        config = TrainingConfig(steps=12, precision="fp32", out=tmp_path)
        for step in fit(model, UnevenBatches(), config, resume=not wraps):
            if step.number == steps:
                break
    whole, _ = uninterrupted()
    assert same_weights(plain, whole)
    shutil.rmtree(tmp_path / "step-00000012")
    interrupted(tmp_path / "other", 7)
    again = small_model(3, loud=False)
    again.blocks = torch.nn.ModuleList(map(checkpoint_wrapper, again.blocks))
    train(again, resume=True, steps=12, out=tmp_path / "other")
    assert all(map(torch.equal, again.parameters(), whole.parameters()))


def test_a_target_that_was_reached_is_reached_still(tmp_path):
    batches = [UnevenBatches()[0]] * 50
    told = dict(steps=50, evaluate_every=2, target_loss=2.35, out=tmp_path)
    model = small_model(loud=False)
    first = train(model, batches, batches[:1], **told)
    assert 2 <= first[-1].number < 50 and first[-1].val_loss <= 2.35
    assert train(small_model(3), batches, batches[:1], resume=True, **told) == []
    told |= dict(target_loss=first[-1].val_loss - 0.01)  # a lower one goes on
    assert train(small_model(3), batches, batches[:1], resume=True, **told)


def names(folder) -> list[str]:
    """List what a folder holds."""
    return sorted(os.listdir(folder))


@pytest.mark.parametrize(
    ("groups", "device"),
    [([{"fused": True}], "meta"), ([{"fused": None}], "cpu"), ([{"fused": ""}], "cpu")],
)
def test_a_step_counter_lies_where_its_optimizer_looks_for_it(groups, device):
    """A fused AdamW counts beside the weight, on the GPU; "meta" plays that here."""
    model = torch.nn.Linear(2, 2, device="meta")
    optimizer = SimpleNamespace(state=defaultdict(dict), param_groups=groups)
    tensors = {"0/weight/step": torch.tensor(3.0), "0/weight/exp_avg": torch.ones(2, 2)}
    checkpoints._unflatten(model, [optimizer], tensors)
    (state,) = optimizer.state.values()
    assert state["step"].device.type == device
    assert state["exp_avg"].device.type == "meta"


@pytest.mark.slow
@each_recipe
@pytest.mark.parametrize("tied", [True, False])
def test_resumed_is_uninterrupted_bit_for_bit(recipe, tied, tmp_path):
    interrupted(tmp_path, 7, tied=tied, **recipe)
    assert names(tmp_path) == ["step-00000007"]
    model, rest = resumed(tmp_path, tied=tied, **recipe)
    whole, steps = uninterrupted(tied=tied, **recipe)
    assert same_weights(model, whole)
    assert [s.number for s in rest] == [8, 9, 10, 11, 12]
    assert [(s.loss, s.rate, s.tokens) for s in rest] == [
        (s.loss, s.rate, s.tokens) for s in steps[7:]
    ]
    assert rest[0].seconds > 0 and names(tmp_path) == ["step-00000007", "step-00000012"]


def test_resuming_what_is_done_or_not_begun(tmp_path):
    first, steps = resumed(tmp_path / "new", seed=0)
    assert len(steps) == 12 and same_weights(first, uninterrupted()[0])
    again, steps = resumed(tmp_path / "new")
    assert steps == [] and same_weights(again, first)


def test_only_the_last_ones_are_kept(tmp_path):
    train(small_model(), out=tmp_path, save_every=0, steps=6, keep=3)
    assert names(tmp_path) == [f"step-{n:08d}" for n in (4, 5, 6)]
    assert [p.name for p in find_checkpoints(tmp_path)] == names(tmp_path)[::-1]
    assert find_checkpoints(tmp_path / "nowhere") == []


def test_no_file_of_a_checkpoint_can_carry_code(tmp_path):
    interrupted(tmp_path, 1)
    assert names(tmp_path / "step-00000001") == sorted(FILES)
    for file in FILES[:2]:  # safetensors: a length, then JSON
        content = (tmp_path / "step-00000001" / file).read_bytes()
        assert content[8:10] == b'{"'


def cut(file):
    """Leave half of a file."""
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def change(file):
    """Change one byte of a file, as a bad disk would."""
    content = bytearray(file.read_bytes())
    content[len(content) // 3] ^= 1
    file.write_bytes(content)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("file", "harm"),
    [*itertools.product(FILES, (cut, os.remove, change))],
)
def test_the_one_before_a_damaged_checkpoint_is_used_and_it_says_so(
    file, harm, tmp_path
):
    interrupted(tmp_path, 4, save_every=0)
    assert names(tmp_path) == ["step-00000003", "step-00000004"]
    harm(tmp_path / "step-00000004" / file)
    model, steps = resumed(tmp_path)
    assert "step-00000004 is damaged" in steps[0].note
    assert steps[0].note.endswith("went on from step 3")
    assert steps[0].number == 4 and steps[1].note == ""
    assert same_weights(model, uninterrupted()[0])


@pytest.mark.slow
def test_where_all_are_damaged_it_begins_again_and_says_so(tmp_path):
    interrupted(tmp_path, 4, save_every=0)
    for path in find_checkpoints(tmp_path):
        cut(path / "model.safetensors")
    model, steps = resumed(tmp_path, seed=0, save_every=0)
    assert steps[0].note.count("is damaged") == 2 and steps[0].number == 1
    assert same_weights(model, uninterrupted()[0])


def test_a_new_checkpoint_is_not_thrown_away_for_a_damaged_later_one(tmp_path):
    interrupted(tmp_path, 6, save_every=0)
    for path in find_checkpoints(tmp_path):
        cut(path / "model.safetensors")
    interrupted(tmp_path, 1, resume=True)
    assert names(tmp_path) == ["step-00000001"]


def test_a_draft_that_a_crash_left_is_ignored(tmp_path):
    interrupted(tmp_path, 4)
    shutil.copytree(tmp_path / "step-00000004", tmp_path / "draft-00000005")
    cut(tmp_path / "draft-00000005" / "model.safetensors")
    model, steps = resumed(tmp_path, save_every=0)
    assert steps[0].number == 5 and steps[0].note == ""
    assert names(tmp_path) == ["step-00000011", "step-00000012"]
    assert same_weights(model, uninterrupted()[0])


@pytest.mark.parametrize("writer", ["save_file", "os.fsync", "os.replace"])
def test_a_full_disk_leaves_the_last_good_one(writer, tmp_path, monkeypatch):
    interrupted(tmp_path, 3)

    def fail(*arguments):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(f"llmkit.training.checkpoints.{writer}", fail)
    with pytest.raises(
        OSError, match="checkpoint of step 4 in .*No space left"
    ) as caught:
        resumed(tmp_path, save_every=0)
    assert "last good one is step-00000003; free some disk" in str(caught.value)
    monkeypatch.undo()
    assert names(tmp_path) == ["step-00000003"]
    model, steps = resumed(tmp_path)
    assert steps[0].number == 4 and same_weights(model, uninterrupted()[0])


@pytest.fixture
def tiny_disk(tmp_path):
    """Mount a disk of 160 kB, or skip where that is not allowed."""
    mount = ["mount", "-t", "tmpfs", "-o", "size=160k", "tmpfs", str(tmp_path)]
    if (
        not shutil.which("mount")
        or subprocess.run(mount, capture_output=True).returncode
    ):
        pytest.skip("may not mount a small disk here (root on Linux may)")
    yield tmp_path
    subprocess.run(["umount", str(tmp_path)], check=True)


def test_a_disk_that_is_really_full(tiny_disk):
    # A checkpoint takes 100 kB here: the first fits, the second does not any more.
    with pytest.raises(
        OSError, match=r"last good one is step-00000001; free some disk"
    ):
        interrupted(tiny_disk, 4, save_every=0)
    assert names(tiny_disk) == ["step-00000001"]


def test_a_stop_in_the_middle_of_writing_leaves_the_last_good_one(
    tmp_path, monkeypatch
):
    interrupted(tmp_path, 3)
    written = []

    def stop(tensors, file):
        written.append(file)
        file.write_bytes(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(checkpoints, "save_file", stop)
    with pytest.raises(KeyboardInterrupt):
        resumed(tmp_path, save_every=0)
    monkeypatch.undo()
    assert written and "step-00000003" in names(tmp_path)
    model, steps = resumed(tmp_path)
    assert steps[0].note == "" and same_weights(model, uninterrupted()[0])


@pytest.mark.parametrize(
    ("changes", "recipe", "words"),
    [
        (dict(d_model=8), {}, "step-00000003 is of another model .*size mismatch"),
        (dict(n_layers=3), {}, "step-00000003 is of another model .*Missing key"),
        (dict(n_layers=1), {}, "step-00000003 is of another model .*Unexpected key"),
        (
            {},
            dict(optimizer="muon"),
            r"made with \['AdamW'\] and this run uses \['Muon'",
        ),
    ],
)
def test_a_checkpoint_of_another_run_is_refused_in_words(
    changes, recipe, words, tmp_path
):
    interrupted(tmp_path, 3)
    with pytest.raises(ValueError, match=words):
        train(small_model(**changes), resume=True, steps=12, out=tmp_path, **recipe)
    assert names(tmp_path) == ["step-00000003"]


class Interrupt:
    """Give batches, and send this process a Ctrl-C while it works on one of them."""

    def __init__(self, at: int, times: int = 1):
        self.at, self.times = at, times

    def __getitem__(self, i: int):
        if i == self.at:
            for _ in range(self.times):
                os.kill(os.getpid(), signal.SIGINT)
        return UnevenBatches()[i]


def test_ctrl_c_waits_for_the_step_and_keeps_a_checkpoint(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        train(small_model(loud=False), Interrupt(at=4), steps=12, out=tmp_path)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert names(tmp_path) == ["step-00000005"]
    assert same_weights(resumed(tmp_path)[0], uninterrupted()[0])


def test_a_second_ctrl_c_stops_at_once_and_saves_no_half_step(tmp_path):
    interrupted(tmp_path, 3)
    with pytest.raises(KeyboardInterrupt):
        train(small_model(), Interrupt(4, times=2), resume=True, steps=12, out=tmp_path)
    assert names(tmp_path) == ["step-00000003"]
    assert same_weights(resumed(tmp_path)[0], uninterrupted()[0])


def test_a_diverged_step_is_not_saved(tmp_path):
    interrupted(tmp_path, 3)
    with pytest.raises(ValueError, match="diverged"):
        resumed(tmp_path, learning_rate=1e30, clip=0.0)
    assert names(tmp_path) == ["step-00000003"]


def test_a_disk_that_does_not_answer_is_no_damage(tmp_path, monkeypatch):
    interrupted(tmp_path, 3)

    def fail(*arguments):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(checkpoints, "_checksum", fail)
    with pytest.raises(OSError, match="Input/output error"):
        resumed(tmp_path)


# The log beside them


def test_a_log_that_a_crash_cut_short_is_kept_up_to_there(tmp_path):
    lines = [json.dumps({"number": n, "loss": 1.0}) + "\n" for n in (1, 2, 3, 4)]
    log = tmp_path / LOG
    log.write_text("".join(lines) + '{"number": 5, "lo')
    keep_log_before(4, tmp_path)
    assert log.read_text() == "".join(lines[:3])
    log.write_text(lines[0] + "5\n[]\n\x00\x00\n" + lines[1])
    keep_log_before(9, tmp_path)
    assert log.read_text() == lines[0] + lines[1]
    assert names(tmp_path) == [LOG]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_a_step_that_the_disk_does_not_take_is_told_of_in_words():
    words = f"could not write {LOG}: .*No space left .*; free some disk and go on with"
    with open("/dev/full", "w", buffering=1) as log:
        with pytest.raises(OSError, match=words):
            write_line(log, {"number": 1})
        log.close()  # says nothing more
