"""Check the commands as a user types them: what they print, refuse and leave behind."""

import csv
import io
import json
import math
import re
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from helpers import finish, quick_tiny, save_tiny, start

from llmkit.cli import COMMANDS, main
from llmkit.finetuning import load_classifier, predict
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


@pytest.mark.slow
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


@pytest.mark.slow
def test_a_clock_ends_it_in_time(pretrain):
    began = time.monotonic()
    code, out, _ = pretrain("--max-seconds 0.5")
    result = json.loads(out[-1])
    assert code == 0 and 0.5 <= result["seconds"] < 2 and result["steps"] > 1
    assert time.monotonic() - began < 15
    assert "as many tokens as the time allows" in out[0]


@pytest.mark.slow
def test_a_target_ends_it_too(pretrain):
    code, out, _ = pretrain("--target-loss 2.2 --max-steps 200")
    result = json.loads(out[-1])
    assert code == 0 and result["steps"] < 200 and result["val_loss"] <= 2.2


@pytest.mark.slow
def test_overwrite_begins_anew_and_resume_goes_on(pretrain):
    assert pretrain("--max-steps 3")[0] == 0
    assert json.loads(pretrain("--max-steps 2 --overwrite")[1][-1])["steps"] == 2
    assert json.loads(pretrain("--max-steps 4 --resume")[1][-1])["steps"] == 4
    code, out, err = pretrain("--max-steps 4 --resume")  # once too often
    assert (code, err) == (0, "") and json.loads(out[-1])["steps"] == 4
    assert "Note: the run in 'out' had reached its end; give a larger --max-s" in out[1]


@pytest.mark.slow
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


# Sorting texts


SENTENCES = [
    (f"{the} {thing} was {so} {word} {end}", word)
    for the in ("the", "a")
    for thing in ("film", "book", "plot")
    for so in ("so", "very")
    for word in ("good", "bad")
    for end in (".", "!")
]
JUDGED = ["seconds", "examples_per_second", "examples", "parameters", "judged_on"]
JUDGED += ["rows", "accuracy", "accuracy_interval", "macro_f1"]
JUDGED += ["predictions_per_second"]


@pytest.fixture(scope="module")
def tiny(tmp_path_factory) -> Path:
    """Make the folder of a tiny BERT with random weights."""
    return save_tiny(tmp_path_factory.mktemp("tiny"))


def write(name: str, rows) -> None:
    with open(name, "w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("text", "label"), *rows])


@pytest.fixture
def finetune(tiny, here, capsys, monkeypatch):
    """Return a function that fine-tunes the tiny model into the folder "sorted"."""

    def refuse(*arguments):
        raise AssertionError(f"the network was asked for {arguments[1:]}")

    monkeypatch.setattr("socket.socket.connect", refuse)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    write("train.csv", SENTENCES)
    write("held.csv", SENTENCES[::5])

    def run(flags: str = "") -> tuple[int, list[str], str]:
        arguments = ["--model", str(tiny), "--out", "sorted", "--epochs", "1"]
        if "--data" not in flags:
            arguments += ["--data", "train.csv"]
        code = main(["finetune", *arguments, *flags.split()])
        out, err = capsys.readouterr()
        return code, out.splitlines(), err

    return run


@pytest.mark.slow
def test_finetune_ends_in_one_json_object_after_a_report_and_a_judgement(finetune):
    code, out, err = finetune("--seed 3")
    assert (code, err) == (0, "")
    assert out[0].split() == ["train", "validation"]
    assert out[1].split() == ["rows", "44", "4"]
    assert any("over 24 tokens" in line for line in out)
    result = json.loads(out[-1])
    assert list(result) == JUDGED
    assert (result["examples"], result["rows"]) == (44, 4)
    assert result["judged_on"] == "validation"
    for name in ("seconds", "examples_per_second", "predictions_per_second"):
        assert math.isfinite(result[name]) and result[name] > 0
    assert 0 <= result["accuracy"] <= 1 and 0 <= result["macro_f1"] <= 1
    assert any(line.startswith("accuracy ") for line in out)
    assert not [line for line in out[:-1] if line.startswith("{")]


@pytest.mark.slow
def test_validation_and_test_come_from_files_of_their_own(finetune):
    write("other.csv", SENTENCES[1::7])
    code, out, err = finetune("--validation held.csv --test other.csv")
    assert (code, err) == (0, "")
    assert out[1].split() == ["rows", "48", "10", "7"]
    assert [line for line in out if "warning: 10 rows of validation also stand" in line]
    assert [line for line in out if "warning: 7 rows of test also stand in tr" in line]
    result = json.loads(out[-1])
    assert (result["judged_on"], result["rows"]) == ("test", 7)


@pytest.mark.slow
def test_what_is_cut_is_said(finetune):
    write("long.csv", [("so good " * 30, "good"), *SENTENCES])
    code, out, _ = finetune("--data long.csv --validation held.csv")
    assert code == 0
    assert (
        "warning: 1 text (1.7%) is cut to 24 tokens: the model does not see the re"
        in ("\n".join(out))
    )


@pytest.mark.slow
def test_bad_rows_are_refused_or_skipped_by_choice_and_named(finetune):
    write("bad.csv", [*SENTENCES, ("", "good"), ("so dull", "")])
    code, _, err = finetune("--data bad.csv")
    assert code == 2 and err.count("\n") == 1
    assert "line 50 (empty text), line 51 (no label); mend them or skip them" in err
    code, out, err = finetune("--data bad.csv --bad-rows skip")
    assert (code, err) == (0, "")
    assert "skipped of train: 1 empty text, 1 no label" in out


@pytest.mark.slow
def test_several_seeds_can_be_averaged(finetune):
    code, out, err = finetune("--average 2 --validation held.csv")
    assert (code, err) == (0, "")
    assert json.loads(out[-1])["examples"] == 2 * 48
    log = Path("sorted/metrics.jsonl").read_text().splitlines()
    assert {json.loads(line)["run"] for line in log} == {0, 1}


@pytest.mark.slow
def test_a_model_is_replaced_only_if_told_so(finetune):
    assert finetune("--seed 1")[0] == 0
    before = Path("sorted/model.safetensors").read_bytes()
    code, out, err = finetune("--seed 2")
    assert (code, out) == (2, []) and err.count("\n") == 1
    assert (
        "holds another model (config.json); choose another folder, or add --over" in err
    )
    assert Path("sorted/model.safetensors").read_bytes() == before
    assert finetune("--seed 2 --overwrite")[0] == 0
    assert Path("sorted/model.safetensors").read_bytes() != before


@pytest.mark.slow
def test_numbers_as_labels_and_columns_of_any_name(finetune):
    rows = [(str(len(x) % 3 + 1), text) for text, x in SENTENCES]
    write("stars.csv", [("stars", "said"), *rows])
    text = Path("stars.csv").read_text().partition("\n")[2]  # without "text,label"
    Path("stars.csv").write_text(text)
    code, _, err = finetune("--data stars.csv --text said --label stars")
    assert (code, err) == (0, "")
    assert main(["classify", "sorted", "so good"]) == 0


@pytest.fixture
def classify(finetune, capsys, monkeypatch):
    """Return a function that sorts texts with a model that was fine-tuned."""
    assert finetune()[0] == 0

    def run(*arguments: str, stdin: str | None = None) -> tuple[int, list[str], str]:
        monkeypatch.setattr("sys.stdin", io.StringIO(stdin))
        code = main(["classify", "sorted", *arguments])
        out, err = capsys.readouterr()
        return code, out.split("\n"), err

    return run


@pytest.mark.slow
def test_classify_says_the_class_and_how_sure_it_is_of_each_text(classify):
    texts = ["so good", "a bad film", "🙂", "", "tab\tin it", "x " * 200]
    code, out, err = classify(*texts)
    assert (code, err, out.pop()) == (0, "", "")
    classifier = load_classifier("sorted")
    for line, text, p in zip(out, texts, predict(classifier, texts), strict=True):
        label = classifier.names[p.argmax()]
        assert line == f"{label}\t{p.max():.3f}\t{text}"


@pytest.mark.slow
def test_lines_of_standard_input_are_sorted_one_by_one(classify):
    code, out, err = classify(stdin="so good\n\na bad film\r\n🙂")
    assert (code, err, out.pop()) == (0, "", "")
    assert [line.split("\t")[2] for line in out] == ["so good", "", "a bad film", "🙂"]
    again = classify("so good", "", "a bad film", "🙂")[1]
    assert out == again[:-1]


@pytest.mark.slow
def test_json_holds_every_probability(classify):
    code, out, err = classify("--json", stdin="so good\n« 🙂 »\n")
    assert (code, err, out.pop()) == (0, "", "")
    told = [json.loads(line) for line in out]
    assert [row["text"] for row in told] == ["so good", "« 🙂 »"]
    assert "🙂" in out[1]
    for row in told:
        p = row["probabilities"]
        assert list(p) == ["bad", "good"] and sum(p.values()) == pytest.approx(1)
        assert p[row["label"]] == max(p.values())


def test_empty_standard_input_gives_nothing(classify):
    assert classify(stdin="") == (0, [""], "")


@pytest.mark.slow
def test_more_lines_than_are_read_at_once_come_in_order(classify):
    texts = [f"{'so ' * (i % 7)}{i}" for i in range(600)]
    _, out, _ = classify(stdin="\n".join(texts))
    assert [line.split("\t")[2] for line in out[:-1]] == texts


@pytest.mark.slow
def test_at_a_terminal_each_line_is_answered_at_once(classify, monkeypatch, capsys):
    class Terminal:
        """Type a line only once the one before was answered."""

        def isatty(self) -> bool:
            return True

        def __iter__(self):
            yield "so good\n"
            assert "so good" in capsys.readouterr().out
            yield "a bad film\n"
            assert "a bad film" in capsys.readouterr().out

    monkeypatch.setattr("sys.stdin", Terminal())
    assert main(["classify", "sorted"]) == 0


@pytest.mark.slow
def test_what_is_not_utf_8_is_refused_in_one_line(classify):
    code, out, err = classify("caf\udce9")  # so Python hands such bytes on
    assert (code, out, err.count("\n")) == (2, [""], 1)
    assert "a text is not in UTF-8: convert it, with iconv for example" in err
    assert classify(stdin="so good\ncaf\udce9\n")[0] == 2


def test_ctrl_c_while_it_fine_tunes_says_what_is_left(finetune, monkeypatch):
    def stop_at_two(every):
        def show(step, final):
            if step.number == 2 and not final:
                raise KeyboardInterrupt

        return show

    with monkeypatch.context() as patch:
        patch.setattr(reporting, "_log", stop_at_two)
        code, out, err = finetune("--batch-size 8")
    assert code == 130 and err.count("\n") == 1 and "{" not in "".join(out)
    assert (
        "llmkit finetune: stopped; step-00000002 is kept in 'sorted'; go on with the "
        "same command and --resume" in err
    )
    assert not Path("sorted/model.safetensors").exists()
    code, out, err = finetune("--batch-size 8 --resume")
    assert (code, err) == (0, "") and json.loads(out[-1])["examples"] == 44


@pytest.mark.slow
@pytest.mark.process
def test_ctrl_c_in_a_real_process_while_it_fine_tunes(finetune, tiny, here):
    flags = ["--data", "train.csv", "--out", "cut", "--model", tiny, "--epochs", 500]
    process = start("-m", "llmkit", "finetune", *flags, cwd=here)
    log = here / "cut" / "metrics.jsonl"
    while not (log.exists() and log.read_text().count("\n") > 3):
        assert process.poll() is None, process.communicate()
        time.sleep(0.005)
    process.send_signal(signal.SIGINT)
    code, out, err = finish(process)
    assert code == 130 and err.count("\n") == 1, err
    assert re.search(r"finetune: stopped; step-0\d+ is kept in 'cut'; go on with", err)
    flags = [*flags[:-1], 1, "--overwrite"]
    code, out, err = finish(start("-m", "llmkit", "finetune", *flags, cwd=here))
    assert (code, err) == (0, "") and json.loads(out.splitlines()[-1])["rows"] == 4


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
    assert "STR (default" not in " ".join(out.replace("│", "").split())  # unexplained
