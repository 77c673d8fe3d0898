"""Check the commands as a user types them: what they print, refuse and leave behind."""

import json
import math
import re
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from helpers import finish, quick_tiny, start

from llmkit.cli import COMMANDS, main
from llmkit.training import find_checkpoints, reporting

TEXT = "the cat sat on the mat and saw the old dog, who ran home.\n" * 80
FIGURES = ["seconds", "steps", "tokens", "parameters", "tokens_per_second", "val_loss"]
FIGURES += ["val_bits_per_byte"]


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch) -> Iterator[Path]:
    """Work in a folder that holds a text."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "good.txt").write_text(TEXT)
    with quick_tiny():
        yield tmp_path


@pytest.fixture
def pretrain(capsys):
    """Return a function that pretrains into the folder "out"."""

    def run(flags: str) -> tuple[int, list[str], str]:
        arguments = ["pretrain", "--corpus", "good.txt", "--out", "out"]
        code = main([*arguments, *flags.split()])
        out, err = capsys.readouterr()
        return code, out.splitlines(), err

    return run


def test_the_last_line_is_one_json_object_of_figures(pretrain):
    code, out, err = pretrain("--max-steps 5 --seed 3")
    assert (code, err) == (0, "")
    assert re.match(
        r"This run: [\d,]+ parameters, 2,560 tokens, .* FLOPs, .* MB", out[0]
    )
    result = json.loads(out[-1])
    assert list(result) == FIGURES
    assert all(math.isfinite(value) and value > 0 for value in result.values())
    assert (result["steps"], result["tokens"]) == (5, 5 * 8 * 64)


def test_what_was_trained_can_be_continued(pretrain, capsys):
    pretrain("--max-steps 5")
    command = ["generate", "out", "--prompt", "the cat", "--max-new-tokens", "90"]
    texts = []
    for seed in "112":
        assert main([*command, "--seed", seed, "--top-k", "5"]) == 0
        out, err = capsys.readouterr()
        assert out.startswith("the cat") and err == ""
        assert len(out) == len("the cat") + 90 + len("\n")
        texts.append(out)
    assert texts[0] == texts[1] != texts[2]


def test_a_clock_ends_it_in_time(pretrain):
    began = time.monotonic()
    code, out, _ = pretrain("--max-seconds 0.5")
    result = json.loads(out[-1])
    assert code == 0 and 0.5 <= result["seconds"] < 2 and result["steps"] > 1
    assert time.monotonic() - began < 15
    assert "as many tokens as the time allows" in out[0]


def test_a_target_ends_it_too(pretrain):
    code, out, _ = pretrain("--target-loss 2.2 --max-steps 200")
    result = json.loads(out[-1])
    assert code == 0 and result["steps"] < 200 and result["val_loss"] <= 2.2


def test_overwrite_begins_anew_and_resume_goes_on(pretrain):
    assert pretrain("--max-steps 3")[0] == 0
    assert json.loads(pretrain("--max-steps 2 --overwrite")[1][-1])["steps"] == 2
    assert json.loads(pretrain("--max-steps 4 --resume")[1][-1])["steps"] == 4
    code, _, err = pretrain("--max-steps 4 --resume")
    assert code == 2 and "nothing left to do" in err and err.count("\n") == 1


def test_a_checkpoint_cut_short_is_passed_over_and_it_says_so(pretrain, here):
    pretrain("--max-steps 2")
    pretrain("--max-steps 4 --resume")
    newest, _ = find_checkpoints(here / "out")
    weights = newest / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    code, out, err = pretrain("--max-steps 5 --resume")
    assert (code, err) == (0, "")
    assert "step-00000004 is damaged" in out[1] and "went on from step 2" in out[1]
    assert json.loads(out[-1])["steps"] == 5


def test_a_full_disk_is_one_line_and_the_last_checkpoint_stays(
    pretrain, here, monkeypatch
):
    pretrain("--max-steps 2")

    def fail(*arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("llmkit.training.checkpoints.save_file", fail)
    code, _, err = pretrain("--max-steps 4 --resume")
    assert code == 2 and err.count("\n") == 1
    assert "No space left" in err and "last good one is step-00000002; free some" in err
    monkeypatch.undo()


def test_ctrl_c_between_two_steps_keeps_a_checkpoint_too(pretrain, here, monkeypatch):
    def stop_at_three(every):
        def show(step, final):
            if step.number == 3 and not final:
                raise KeyboardInterrupt

        return show

    monkeypatch.setattr(reporting, "_log", stop_at_three)
    code, out, err = pretrain("--max-steps 9")
    assert code == 130 and err.count("\n") == 1 and "{" not in out[-1]
    assert "stopped; step-00000003 is kept in" in err and "--resume" in err
    assert [path.name for path in find_checkpoints(here / "out")] == ["step-00000003"]


@pytest.mark.slow
@pytest.mark.process
def test_ctrl_c_in_a_real_process_and_then_resume(here):
    def run(out, *flags):
        flags = [
            "--corpus",
            "good.txt",
            "--out",
            here / out,
            "--max-steps",
            60,
            *flags,
        ]
        return start("-m", "llmkit", "pretrain", *flags, cwd=here)

    process, log = run("cut"), here / "cut" / "metrics.jsonl"
    while not (log.exists() and log.read_text().count("\n") > 3):
        assert process.poll() is None, process.communicate()
        time.sleep(0.005)
    process.send_signal(signal.SIGINT)
    code, _, err = finish(process)
    (kept,) = find_checkpoints(here / "cut")
    assert code == 130 and err.count("\n") == 1, err
    assert f"stopped; {kept.name} is kept" in err
    assert 4 <= int(kept.name[-8:]) < 60 and not list(kept.parent.glob("*.part"))
    code, out, err = finish(run("cut", "--resume"))
    assert (code, err) == (0, "") and json.loads(out.splitlines()[-1])["steps"] == 60
    assert finish(run("whole"))[0] == 0
    name = "model.safetensors"
    ours, theirs = ((here / out / name).read_bytes() for out in ("cut", "whole"))
    assert ours == theirs


@pytest.mark.parametrize(
    "command", [[], ["--help"], *([name, "--help"] for name in COMMANDS)]
)
def test_help_shows_how(command, capsys):
    try:
        code = main(command)
    except SystemExit as stop:
        code = stop.code
    out, err = capsys.readouterr()
    assert (code or 0, err) == (0, "")
    name = command[0] if len(command) == 2 else ""
    assert "usage: llmkit" in out and f"examples:\n  llmkit {name}" in out
    assert all(word in out for word in COMMANDS) or name
