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
MISTAKES = [
    ("pretain", "unknown command 'pretain'; one of: doctor, course, pretrain"),
    ("--fast", "unknown command '--fast'"),
    ("pretrain", "Missing from llmkit pretrain: --corpus"),
    ("pretrain --corpus good.txt", "--out PATH folder for the model"),
    ("pretrain --corpus", "Missing value for argument '--corpus'"),
    ("pretrain --out new --corpus missing.txt", "no corpus 'missing.txt': there is no"),
    (
        "pretrain --out new --corpus empty.txt",
        "empty.txt: this file is empty: expected",
    ),
    ("pretrain --out new --corpus binary.txt", "this is binary data, not text"),
    (
        "pretrain --out new --corpus latin.txt",
        "not a text in UTF-8: .*convert the file",
    ),
    ("pretrain --out new --corpus short.txt", "the text gives 0; use more text"),
    ("pretrain --out new --corpus letter.txt", "too short to split: .*give more text"),
    ("pretrain --out new --corpus folder", "no text in this folder: expected files"),
    ("pretrain --out new --corpus table.csv", "no text in any column: .*name one with"),
    ("pretrain --out new --corpus storys", "no corpus 'storys': .*mean 'stories'"),
    ("pretrain --out new --corpus hub:a/b", "cannot be reached .*check the network"),
    ("pretrain --out new --corpus good.txt --preset big", "one of: tiny, small"),
    ("pretrain --out new --corpus good.txt --objective mlm", "one of: next-token"),
    ("pretrain --out new --corpus good.txt --tokenizer bpe", "one of: char, word"),
    ("pretrain --out new --corpus good.txt --speed 9", "Unrecognized .*--speed"),
    (
        "pretrain --out new --corpus good.txt --max-steps 0",
        "steps must be above 0: got 0",
    ),
    ("pretrain --out new --corpus good.txt --max-steps x", "--max-steps: .*INT .*'x'"),
    (
        "pretrain --out new --corpus good.txt --max-steps 1.5",
        "--max-steps: .*INT .*'1.5'",
    ),
    ("pretrain --out new --corpus good.txt --max-seconds -1", "above 0: got -1.0"),
    ("pretrain --out new --corpus good.txt --target-loss nan", "above 0: got nan"),
    ("pretrain --out new --corpus good.txt --size 0", "--size must be above 0: got 0"),
    (
        "pretrain --out new --corpus good.txt --seed -1",
        "seed must be from 0 to .*: got -1",
    ),
    ("pretrain --out new --corpus good.txt --resume", "holds no run to go on with"),
    ("pretrain --out new --corpus good.txt --resume --overwrite", "choose one"),
    ("pretrain --out good.txt --corpus good.txt", "--out 'good.txt' is a file; give a"),
    (
        "pretrain --out good.txt/new --corpus good.txt",
        "Not a directory: 'good.txt/new'",
    ),
    (
        "pretrain --out run --corpus good.txt",
        "holds another run .*or add --resume to go",
    ),
    (
        "pretrain --out run --corpus good.txt --resume --seed 1",
        "seed 0, not 1; use the",
    ),
    ("generate", "Missing from llmkit generate: PATH the --out folder"),
    (
        "generate nowhere",
        "no model in 'nowhere': config.json is missing; give the --out",
    ),
    ("generate run --prompt É", "unknown character 'É' .*replace it, or train"),
    ("generate run --prompt=", "at least one token: .*begin with the token that"),
    ("generate run --temperature -1", r"must be 0 \(greedy\) or more: got -1.0"),
    ("generate run --top-k 0", "top_k keeps at least 1 token: got 0"),
    ("generate run --top-p 2", "above 0 and up to 1: got 2.0"),
    ("generate run --seed -1", "seed must be from 0 to .*: got -1"),
    ("generate run --max-new-tokens -1", "max_new_tokens must be 0 or more: got -1"),
    ("course --profile big", "'big': choose from smoke, cpu, gpu"),
    ("progress --lesson 77", "no lesson '77'"),
    ("notebooks --only 77", "no lesson '77'"),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Iterator[Path]:
    """Make a folder of texts, good and bad, and one finished run."""
    folder = tmp_path_factory.mktemp("cli")
    for name, content in {
        "good.txt": TEXT.encode(),
        "empty.txt": b"",
        "binary.txt": bytes(range(256)) * 40,
        "latin.txt": TEXT.replace("cat", "caf\xe9").encode("latin1"),
        "short.txt": b"too short a text for one batch\n",
        "letter.txt": b"a",
        "table.csv": b"one,two\n1,2\n",
    }.items():
        (folder / name).write_bytes(content)
    (folder / "folder").mkdir()
    command = ["pretrain", "--corpus", folder / "good.txt", "--out", folder / "run"]
    with quick_tiny():
        assert main([*map(str, command), "--max-steps", "6"]) == 0
        yield folder


@pytest.fixture
def here(folder, monkeypatch) -> Path:
    """Work inside that folder."""
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def pretrain(here, tmp_path, capsys):
    """Return a function that pretrains in a folder of its own."""

    def run(flags: str, corpus: str = "good.txt") -> tuple[int, list[str], str]:
        arguments = ["pretrain", "--corpus", corpus, "--out", str(tmp_path / "out")]
        code = main([*arguments, *flags.split()])
        out, err = capsys.readouterr()
        return code, out.splitlines(), err

    return run


@pytest.mark.parametrize(("command", "words"), MISTAKES, ids=dict(MISTAKES))
def test_a_mistake_is_one_line_that_says_what_to_do(
    command, words, here, capsys, monkeypatch
):
    def no_network(*arguments, **settings):
        raise ConnectionError("Name or service not known")

    monkeypatch.setattr("huggingface_hub.dataset_info", no_network)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    before = sorted(here.rglob("*"))
    assert main(command.split()) == 2
    out, err = capsys.readouterr()
    assert err.count("\n") == 1 and err.startswith("llmkit")
    assert "Traceback" not in out + err and "Options" not in err and "---" not in err
    assert re.search(words, err), err
    assert sorted(here.rglob("*")) == before


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


def test_what_was_trained_can_be_continued(here, capsys):
    command = ["generate", "run", "--prompt", "the cat", "--max-new-tokens", "90"]
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


def test_overwrite_begins_anew_and_resume_goes_on(pretrain, tmp_path):
    assert pretrain("--max-steps 3")[0] == 0
    assert json.loads(pretrain("--max-steps 2 --overwrite")[1][-1])["steps"] == 2
    assert json.loads(pretrain("--max-steps 4 --resume")[1][-1])["steps"] == 4
    code, _, err = pretrain("--max-steps 4 --resume")
    assert code == 2 and "nothing left to do" in err and err.count("\n") == 1


def test_a_checkpoint_cut_short_is_passed_over_and_it_says_so(pretrain, tmp_path):
    pretrain("--max-steps 2")
    pretrain("--max-steps 4 --resume")
    newest, _ = find_checkpoints(tmp_path / "out")
    weights = newest / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    code, out, err = pretrain("--max-steps 5 --resume")
    assert (code, err) == (0, "")
    assert "step-00000004 is damaged" in out[1] and "went on from step 2" in out[1]
    assert json.loads(out[-1])["steps"] == 5


def test_a_full_disk_is_one_line_and_the_last_checkpoint_stays(
    pretrain, tmp_path, monkeypatch
):
    pretrain("--max-steps 2")

    def fail(*arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("llmkit.training.checkpoints.save_file", fail)
    code, _, err = pretrain("--max-steps 4 --resume")
    assert code == 2 and err.count("\n") == 1
    assert "No space left" in err and "last good one is step-00000002; free some" in err
    monkeypatch.undo()


def test_ctrl_c_between_two_steps_keeps_a_checkpoint_too(
    pretrain, tmp_path, monkeypatch
):
    def stop_at_three(every):
        def show(step, final):
            if step.number == 3 and not final:
                raise KeyboardInterrupt

        return show

    monkeypatch.setattr(reporting, "_log", stop_at_three)
    code, out, err = pretrain("--max-steps 9")
    assert code == 130 and err.count("\n") == 1 and "{" not in out[-1]
    assert "stopped; step-00000003 is kept in" in err and "--resume" in err
    assert [path.name for path in find_checkpoints(tmp_path / "out")] == [
        "step-00000003"
    ]


@pytest.mark.slow
@pytest.mark.process
def test_ctrl_c_in_a_real_process_and_then_resume(here, tmp_path):
    def run(out, *flags):
        flags = [
            "--corpus",
            "good.txt",
            "--out",
            tmp_path / out,
            "--max-steps",
            60,
            *flags,
        ]
        return start("-m", "llmkit", "pretrain", *flags, cwd=here)

    process, log = run("cut"), tmp_path / "cut" / "metrics.jsonl"
    while not (log.exists() and log.read_text().count("\n") > 3):
        assert process.poll() is None, process.communicate()
        time.sleep(0.005)
    process.send_signal(signal.SIGINT)
    code, _, err = finish(process)
    (kept,) = find_checkpoints(tmp_path / "cut")
    assert code == 130 and err.count("\n") == 1, err
    assert f"stopped; {kept.name} is kept" in err
    assert 4 <= int(kept.name[-8:]) < 60 and not list(kept.parent.glob("*.part"))
    code, out, err = finish(run("cut", "--resume"))
    assert (code, err) == (0, "") and json.loads(out.splitlines()[-1])["steps"] == 60
    assert finish(run("whole"))[0] == 0
    name = "model.safetensors"
    ours, theirs = ((tmp_path / out / name).read_bytes() for out in ("cut", "whole"))
    assert ours == theirs


@pytest.mark.process
def test_a_real_process_shows_no_stack(here):
    process = start("-m", "llmkit", "pretrain", "--corpus", "empty.txt", "--out", "x")
    code, out, err = finish(process)
    assert (
        (code, out) == (2, "")
        and err.count("\n") == 1
        and "empty.txt: this file is empty" in err
    )


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
