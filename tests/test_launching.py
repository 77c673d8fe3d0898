"""Check `llmkit launch`: what it prints, refuses, passes on, ends and begins again."""

import csv
import json
import os
import re
import shlex
import signal
import socket
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest
import torch
import yaml
from helpers import ROOT, SENTENCES, finish, save_tiny, start
from safetensors.torch import load_file

from llmkit.cli import launching, main
from llmkit.planning import hardware
from llmkit.training import alone_in, find_checkpoints
from llmkit.transformer import Decoder

FILES = ROOT / "llmkit" / "launch"
NAMES = [
    "cpu", "ddp", "deepspeed-zero2", "deepspeed-zero3", "fsdp2", "gpu", "two-nodes"
]  # fmt: skip
TEXT = "the cat sat on the mat and saw the old dog, who ran home.\n" * 80
PRETRAIN = "-- pretrain --corpus good.txt --out out --max-steps 6"


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch) -> Path:
    """Work in a folder that holds a text, on a machine of two cores and no GPU."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(hardware, "usable_cores", lambda: 2)
    (tmp_path / "good.txt").write_text(TEXT)
    return tmp_path


@pytest.fixture
def launch(capsys):
    """Return a function that launches something; only --dry-run starts nothing."""

    def run(line: str) -> tuple[int, str, str]:
        code = main(["launch", *line.split()])
        return (code, *capsys.readouterr())

    return run


@pytest.fixture
def gpus(monkeypatch):
    """Return a function that has torch see some GPUs."""

    def see(number: int) -> None:
        monkeypatch.setattr("torch.cuda.device_count", lambda: number)

    return see


# The files


def test_all_files_are_there_and_accelerate_can_read_them():
    from accelerate.commands.config.config_args import load_config_from_file

    assert launching.known() == NAMES
    for name in NAMES:
        config = load_config_from_file(str(FILES / f"{name}.yaml"))
        assert config.use_cpu == (name == "cpu"), name
        assert config.num_machines == (2 if name == "two-nodes" else 1)


@pytest.mark.parametrize("name", NAMES)
def test_each_line_that_decides_something_is_explained(name):
    text = (FILES / f"{name}.yaml").read_text()
    assert text.startswith("# On ")
    plain = ("compute_environment", "use_cpu: false", "num_machines: 1", "gpu_ids")
    plain += ("fsdp_config:", "deepspeed_config:", "same_network", "num_processes: 1")
    for line in text.splitlines():
        if line and not line.lstrip().startswith(("#", *plain)):
            assert " # " in line, f"{name}: {line}"
    assert max(map(len, text.splitlines())) <= 88


def launched_with(name: str, monkeypatch, *flags: str) -> dict[str, str]:
    """Return the environment that Accelerate makes of a file for its processes."""
    from accelerate.commands import launch

    found = {}
    monkeypatch.setattr(
        "torch.distributed.run.run", lambda args: found.update(os.environ)
    )
    line = ["--config_file", str(FILES / f"{name}.yaml"), *flags, "-m", "llmkit"]
    parsed = launch.launch_command_parser().parse_args(line)
    launch.launch_command(parsed)
    return found


def test_fsdp2_asks_accelerate_for_version_2_of_whole_blocks(monkeypatch):
    told = launched_with("fsdp2", monkeypatch)
    assert told["ACCELERATE_USE_FSDP"] == "true" and told["FSDP_VERSION"] == "2"
    assert "FSDP_TRANSFORMER_CLS_TO_WRAP" not in told  # a model says what its are
    assert Decoder._no_split_modules == ("Block",)
    assert told["FSDP_AUTO_WRAP_POLICY"] == "TRANSFORMER_BASED_WRAP"
    assert told["FSDP_RESHARD_AFTER_FORWARD"] == "true"


# The command


def printed(out: str) -> list[str]:
    """Return the words of the command that was printed."""
    assert out.startswith("$ ") and out.count("\n") == 1
    return shlex.split(out[2:])


def test_the_whole_command_is_printed_and_nothing_started(launch, here):
    code, out, err = launch(f"ddp --processes 4 --dry-run {PRETRAIN}")
    assert (code, err) == (0, "")
    words = printed(out)
    assert words[:3] == [sys.executable, "-m", "accelerate.commands.launch"]
    assert words[words.index("--config_file") + 1] == str(FILES / "ddp.yaml")
    assert words[words.index("--num_processes") + 1] == "4"
    assert words[words.index("-m", 3) :] == ["-m", "llmkit", *PRETRAIN.split()[1:]]
    assert os.listdir(here) == ["good.txt"]


def test_several_processes_on_the_cpu_are_kept_off_the_gpu(launch):
    words = printed(launch(f"cpu --processes 2 --dry-run {PRETRAIN}")[1])
    assert words[0] == "ACCELERATE_USE_CPU=true" and "--multi_gpu" in words
    alone = printed(launch(f"cpu --dry-run {PRETRAIN}")[1])
    assert "--multi_gpu" not in alone


def test_each_of_two_machines_is_told_who_it_is(launch):
    line = f"two-nodes --machine 1 --address 10.1.2.3 --dry-run {PRETRAIN}"
    words = printed(launch(line)[1])
    assert words[words.index("--machine_rank") + 1] == "1"
    assert words[words.index("--main_process_ip") + 1] == "10.1.2.3"


def test_a_file_of_ones_own_is_taken_by_its_path(launch, here):
    mine = here / "mine.yaml"
    mine.write_text((FILES / "ddp.yaml").read_text().replace("es: 8", "es: 2"))
    words = printed(launch(f"{mine} --dry-run {PRETRAIN}")[1])
    assert words[words.index("--config_file") + 1] == str(mine)
    assert words[words.index("--num_processes") + 1] == "2"


def test_deepspeed_is_given_an_optimizer_that_it_can_share_out(launch):
    line = f"deepspeed-zero2 --dry-run {PRETRAIN} --optimizer adamw"
    assert launch(line)[0] == 0
    assert launch(f"deepspeed-zero3 --dry-run {PRETRAIN} --preset modern")[0] == 0


# What is refused before anything starts

REFUSED = [
    (f"ddp2 {PRETRAIN}", "unknown launch file 'ddp2'; choose one of cpu, ddp, deepsp"),
    (f"my.yaml {PRETRAIN}", "no launch file 'my.yaml'; choose one of cpu, ddp, "),
    (f"gpu {PRETRAIN}", "'gpu' needs 1 GPU and torch sees none here: use llmkit la"),
    (f"ddp --processes 4 {PRETRAIN}", "'ddp' needs 4 GPUs and torch sees none here"),
    (
        f"cpu --processes 4 {PRETRAIN}",
        "4 processes are asked for and this machine has 2 cores: use llmkit launch "
        "cpu --processes 2",
    ),
    (
        f"deepspeed-zero3 {PRETRAIN} --optimizer adamw",
        "needs DeepSpeed, which is not installed: pip in",
    ),
    (
        f"deepspeed-zero2 {PRETRAIN}",
        "'deepspeed-zero2' cuts weights .* Muon needs whole matrices: add --optimizer "
        "adamw, or use fsdp2",
    ),
    (
        f"cpu --processes 3 {PRETRAIN}",
        "batch of 16 rows does not divide among 3 processes: .* one of 1, 2, 4, 8, 16",
    ),
    (
        "cpu --processes 2 -- finetune --data good.txt --out out --batch-size 15",
        "a batch of 15 rows does not divide among 2 processes: .* one of 1, 3, 5, 15",
    ),
    (
        f"two-nodes --processes 3 {PRETRAIN}",
        "3 processes do not divide among 2 machines: use a multiple of 2",
    ),
    (
        f"two-nodes --processes 2 {PRETRAIN}",
        "'two-nodes' starts on 2 machines: add --machine 0 on the first and so on, and",
    ),
    (
        f"two-nodes --machine 1 {PRETRAIN}",
        "starts on 2 machines: add --machine .* --address with that of machine 0",
    ),
    (
        f"two-nodes --machine 2 {PRETRAIN}",
        "--machine is 2 and the launch file has 2: expected 0 to 1",
    ),
    ("cpu", "behind -- comes the command to launch, pretrain or finetune: nothing"),
    ("cpu -- generate out", "to launch, pretrain or finetune: got 'generate'; for"),
    ("cpu -- pretrain --corpus good.txt", "--out PATH folder for the model"),
    (f"cpu {PRETRAIN} --presett big", "Unrecognized .*--presett"),
    (f"cpu {PRETRAIN} --preset big", "unknown preset 'big' .*choose one of: tiny"),
    (f"cpu --processes 0 {PRETRAIN}", "--processes must be 1 or more: got 0"),
    (f"cpu --max-restarts -1 {PRETRAIN}", "--max-restarts must be 0 or more: got -1"),
    (f"cpu --time-limit 0 {PRETRAIN}", "--time-limit must be above 0: got 0"),
]


@pytest.mark.parametrize(("line", "words"), REFUSED)
def test_what_cannot_work_is_one_line_and_starts_nothing(
    line, words, launch, gpus, here, monkeypatch
):
    gpus(0)
    monkeypatch.setattr(launching, "find_spec", lambda name: None)
    code, out, err = launch(line)
    assert (code, out, err.count("\n")) == (2, "", 1), err
    assert re.search(words, err), err
    assert os.listdir(here) == ["good.txt"]


def test_more_processes_than_gpus_are_refused(launch, gpus):
    gpus(2)
    code, _, err = launch(f"ddp {PRETRAIN}")
    assert code == 2 and "8 processes are asked for and this machine has 2 GPUs" in err
    assert "use llmkit launch ddp --processes 2" in err


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a: [", "can't be read: while parsing"),
        ("", "can't be read: "),
        ("num_processes: 2", "says no distributed_type or num_processes: begin with a"),
    ],
)
def test_a_damaged_file_is_refused_in_words(text, words, launch, here):
    (here / "mine.yaml").write_text(text)
    code, _, err = launch(f"mine.yaml --dry-run {PRETRAIN}")
    assert code == 2 and err.count("\n") == 1 and words in err


@pytest.mark.parametrize("name", ["pretrain", "finetune"])
def test_a_restart_resumes_the_run_that_began_and_no_older_one(name, here):
    options, flags = SimpleNamespace(out="out"), ("--out", "out", "--overwrite")
    work = launching._work([name, *flags], lambda *_: options)
    assert work.again() == work  # nothing is there
    record = here / "out" / "run.json"
    record.parent.mkdir()
    record.write_text("{}")
    assert work.again().flags == ("--out", "out", "--resume")
    later = launching._work([name, *flags], lambda *_: options)
    assert later.again() == later  # it died before it threw the old run away
    told = launching._work([name, "--resume"], lambda *_: options)
    assert told.again() == told
    os.utime(record, ns=(0, 0))
    assert later.again().flags == ("--out", "out", "--resume")


# What really runs


def launch_for_real(*line: object, **options):
    """Start `llmkit launch` as a user would."""
    return start("-m", "llmkit", "launch", *line, **options)


def pretrain(out: Path, *flags: object, text="good.txt") -> list:
    """Return a command to launch."""
    flags = flags or ("--max-steps", 6)
    return ["--", "pretrain", "--corpus", text, "--out", out, "--seed", 1, *flags]


def weights(folder: Path) -> dict:
    """Read the weights that a run left."""
    return load_file(folder / "model.safetensors")


@pytest.fixture(scope="module")
def alone(tmp_path_factory) -> Path:
    """Make the run that others are compared with, by one plain command."""
    folder = tmp_path_factory.mktemp("alone")
    (folder / "good.txt").write_text(TEXT)
    line = ["-m", "llmkit", *pretrain(folder / "out")[1:]]
    code, _, err = finish(start(*line, cwd=folder))
    assert (code, err) == (0, "")
    return folder / "out"


@pytest.mark.slow
@pytest.mark.process
@pytest.mark.parametrize("processes", [1, 2])
def test_one_command_in_one_process_and_in_two(processes, alone, here):
    line = ["cpu", "--processes", processes, *pretrain(here / "out")]
    code, out, err = finish(launch_for_real(*line, cwd=here))
    assert code == 0, err
    told = out.splitlines()
    assert told[0].startswith("$ ACCELERATE_USE_CPU=true ")
    assert sum(line.startswith("This run: ") for line in told) == 1
    assert json.loads(told[-1])["steps"] == 6  # the output of one process alone
    assert sum(line.startswith("{") for line in told) == 1
    theirs = weights(alone)
    most = max(
        float((w - theirs[n]).abs().max()) for n, w in weights(here / "out").items()
    )
    assert most == 0 if processes == 1 else most < 1e-4  # Muon blows up rounding
    log = (here / "out" / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["number"] for line in log] == [1, 2, 3, 4, 5, 6]


@pytest.mark.slow
@pytest.mark.process
def test_twenty_steps_are_the_same_in_one_process_in_two_and_in_pieces(here):
    """Losses to 1e-6, and weights, but for those whose gradient is all rounding.

    AdamW divides a gradient by its own size: of one that is next to nothing it makes
    steps as large as any.
    """
    flags = ["--corpus", "stories", "--size", 30_000, "--preset", "plain"]
    flags += ["--optimizer", "adamw", "--max-steps", 20, "--precision", "fp32"]
    found = []
    for processes, more in ((1, []), (2, []), (1, ["--accumulation", 2])):
        out = here / f"out{len(found)}"
        line = ["cpu", "--processes", processes, "--", "pretrain", "--out", out]
        code, _, err = finish(launch_for_real(*line, *flags, *more, cwd=here))
        assert code == 0, err
        log = (out / "metrics.jsonl").read_text().splitlines()
        losses = [json.loads(line)["loss"] for line in log]
        all_weights = torch.cat([w.flatten() for w in weights(out).values()])
        found.append((losses, all_weights))
    (losses, one), *others = found
    assert len(losses) == 20
    for theirs, other in others:
        assert theirs == pytest.approx(losses, abs=1e-6)
        off = (one - other).abs()
        assert off.max() < 1e-4 and (off < 1e-6).float().mean() > 0.999


@pytest.mark.slow
@pytest.mark.process
def test_a_mistake_of_two_processes_is_told_once_and_not_tried_again(here):
    line = ["cpu", "--processes", 2, "--max-restarts", 3]
    process = launch_for_real(*line, *pretrain(here / "out", text="no.txt"), cwd=here)
    code, out, err = finish(process)
    assert code == 2
    assert err.count("llmkit pretrain: error: no corpus 'no.txt'") == 1
    assert err.count("\n") == 1 and out.count("\n") == 1


def wait_for_steps(process, out: Path, steps: int) -> None:
    """Wait until a run has made some steps."""
    log = out / "metrics.jsonl"
    while not (log.exists() and log.read_text().count("\n") >= steps):
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)


def workers(process) -> list[psutil.Process]:
    """Find the processes that train, the first in rank first."""
    below = psutil.Process(process.pid).children(recursive=True)
    ranks = {}
    for child in below:
        words = child.cmdline()
        trains = {"pretrain", "finetune"} & {*words}
        if "llmkit" in words and trains and "llmkit.training.launcher" not in words:
            ranks[int(child.environ().get("RANK", 0))] = child
    return [ranks[rank] for rank in sorted(ranks)]


@pytest.mark.slow
@pytest.mark.process
@pytest.mark.parametrize("processes", [1, 2])
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_keeps_a_checkpoint_and_ends_every_process(processes, how, here):
    line = ["cpu", "--processes", processes]
    flags = ("--max-steps", 100_000)
    process = launch_for_real(*line, *pretrain(here / "out", *flags), cwd=here)
    wait_for_steps(process, here / "out", 3)
    family = psutil.Process(process.pid).children(recursive=True)
    assert len(family) >= processes
    process.send_signal(how)
    code, _, err = finish(process, timeout=60)
    assert code == 130
    assert not [child for child in family if child.is_running()]
    (kept,) = find_checkpoints(here / "out")
    assert f"llmkit pretrain: stopped; {kept.name} is kept" in err
    log = (here / "out" / "metrics.jsonl").read_text().splitlines()
    numbers = [json.loads(line)["number"] for line in log]
    assert numbers == [*range(1, int(kept.name[-8:]) + 1)]  # the last is told of, too
    assert err.count("llmkit pretrain: stopped") == 1


@pytest.mark.slow
@pytest.mark.process
def test_a_process_that_dies_takes_the_run_down_with_one_clear_message(here):
    line = ["cpu", "--processes", 2, *pretrain(here / "out", "--max-steps", 100_000)]
    process = launch_for_real(*line, cwd=here)
    wait_for_steps(process, here / "out", 3)
    family = psutil.Process(process.pid).children(recursive=True)
    workers(process)[1].kill()
    code, _, err = finish(process, timeout=60)  # far below the ten minutes of silence
    assert code == 1
    assert not [child for child in family if child.is_running()]
    assert err.count("llmkit launch: error: ") == 1
    last = err.splitlines()[-1]
    assert "process 1 of 2 was killed by SIGKILL, as a system does whose mem" in last
    assert "Traceback" not in err
    assert "go on from" in last and "with --resume, or let --max-restarts" in last


@pytest.mark.slow
@pytest.mark.process
def test_a_launcher_that_is_killed_leaves_no_run_behind(here):
    """SIGKILL, of which it can tell nobody: the folder must be free to go on in."""
    line = ["cpu", "--processes", 2, *pretrain(here / "out", "--max-steps", 100_000)]
    process = launch_for_real(*line, cwd=here)
    wait_for_steps(process, here / "out", 3)
    training = workers(process)
    process.kill()
    gone, left = psutil.wait_procs(training, timeout=30)
    assert len(gone) == 2 and not left
    with alone_in(here / "out"):  # nobody is at work there any more
        pass


@pytest.mark.slow
@pytest.mark.process
def test_a_process_that_falls_silent_is_given_up_after_the_time_limit(here):
    line = ["cpu", "--processes", 2, "--time-limit", 6]
    line += pretrain(here / "out", "--max-steps", 100_000)
    process = launch_for_real(*line, cwd=here)
    wait_for_steps(process, here / "out", 3)
    first, second = workers(process)
    second.suspend()  # as a machine that hangs
    psutil.wait_procs([first], timeout=60)
    second.resume()  # or it would be waited for once more, to end
    code, _, err = finish(process, timeout=90)
    assert code == 1
    words = "process 0 of 2 lost another one, which died or did not answer in time"
    assert words in err and "Traceback" not in err
    assert "llmkit launch: error: process 0 of 2 died with exit code 1, its own" in err


OFTEN = ("--max-steps", 30, "--save-every", 0.001)


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory) -> Path:
    """Make a run of two processes that nobody kills."""
    folder = tmp_path_factory.mktemp("unbroken")
    (folder / "good.txt").write_text(TEXT)
    line = ["cpu", "--processes", 2, *pretrain(folder / "out", *OFTEN)]
    code, _, err = finish(launch_for_real(*line, cwd=folder))
    assert code == 0, err
    return folder / "out"


@pytest.mark.slow
@pytest.mark.process
@pytest.mark.parametrize(("who", "first"), [(1, ()), (0, ("--overwrite",))])
def test_a_restart_goes_on_from_the_last_checkpoint_and_ends_alike(
    who, first, unbroken, here
):
    """Kill a process of two in the middle; what comes of it is the unbroken run."""
    out = here / "out"
    line = ["cpu", "--processes", 2, "--max-restarts", 1]
    process = launch_for_real(*line, *pretrain(out, *OFTEN, *first), cwd=here)
    wait_for_steps(process, out, 5)
    workers(process)[who].kill()
    code, text, err = finish(process)
    assert code == 0, err
    assert re.search("killed by SIGKILL, as .* full; it goes on from step-0000", err)
    assert json.loads(text.splitlines()[-1])["steps"] == 30
    ours, theirs = weights(out), weights(unbroken)
    assert all(ours[name].equal(theirs[name]) for name in theirs)
    log = (out / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["number"] for line in log] == list(range(1, 31))


@pytest.mark.slow
@pytest.mark.process
def test_one_of_two_that_may_not_work_here_ends_both_with_its_reason_alone(here):
    """The first process finds the folder taken; the other can only miss it."""
    with alone_in(here / "out"):
        line = ["cpu", "--processes", 2, *pretrain(here / "out")]
        code, _, err = finish(launch_for_real(*line, cwd=here))
    assert code == 2 and err.count("\n") == 1, err
    assert "llmkit pretrain: error: another run is at work in" in err


@pytest.mark.slow
@pytest.mark.process
def test_a_process_alone_that_is_killed_is_told_of_too(here):
    flags = ("--max-steps", 100_000)
    process = launch_for_real("cpu", *pretrain(here / "out", *flags), cwd=here)
    wait_for_steps(process, here / "out", 3)
    workers(process)[0].kill()
    code, _, err = finish(process)
    assert code == 1 and err.count("\n") == 1, err
    assert "llmkit launch: error: the process was killed by SIGKILL, as a sys" in err


@pytest.mark.slow
@pytest.mark.process
def test_two_machines_train_as_one_process_does(alone, here):
    """Play both machines here, each with one process, on the CPU."""
    config = yaml.safe_load((FILES / "two-nodes.yaml").read_text())
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    config |= {"use_cpu": True, "num_processes": 2, "main_process_port": port}
    (here / "both.yaml").write_text(yaml.safe_dump(config))
    line = ["both.yaml", "--address", "127.0.0.1", "--machine"]
    both = [
        launch_for_real(*line, rank, *pretrain(here / "out"), cwd=here)
        for rank in (0, 1)
    ]
    for process in both:
        code, _, err = finish(process)
        assert code == 0, err
    theirs = weights(alone)
    ours = weights(here / "out")
    assert max(float((w - theirs[n]).abs().max()) for n, w in ours.items()) < 1e-4


@pytest.mark.slow
@pytest.mark.process
def test_two_processes_fine_tune_as_one_does(here):
    """The last of each epoch's batches has one text: one process has none of it."""
    with open("train.csv", "w", newline="") as file:
        csv.writer(file).writerows([("text", "label"), *SENTENCES[:33]])
    tiny = save_tiny(here / "tiny")
    flags = ["--data", "train.csv", "--validation", "train.csv", "--model", tiny]
    flags += ["--epochs", 2, "--batch-size", 4, "--adversarial", 0.1]
    results = []
    for processes in (1, 2):
        line = ["cpu", "--processes", processes, "--", "finetune", *flags]
        out = here / str(processes)
        code, text, err = finish(launch_for_real(*line, "--out", out, cwd=here))
        assert code == 0, err
        results.append(json.loads(text.splitlines()[-1]))
        assert len((out / "metrics.jsonl").read_text().splitlines()) == 2 * 9
    ours, theirs = weights(here / "2"), weights(here / "1")
    # Softmax does not feel a key's bias: its gradient is rounding, which AdamW turns
    # into whole steps.
    felt = [name for name in theirs if not name.endswith("key.bias")]
    assert max(float((ours[n] - theirs[n]).abs().max()) for n in felt) < 1e-5
    assert results[0]["accuracy"] == results[1]["accuracy"]
    # Each text of validation is judged once, by one of the two.
    logs = [(here / name / "metrics.jsonl").read_text().splitlines() for name in "12"]
    one, two = ([json.loads(line)["val_loss"] for line in log] for log in logs)
    assert [x for x in two if x] == pytest.approx([x for x in one if x], abs=1e-5)


@pytest.mark.slow
@pytest.mark.process
def test_a_restart_goes_on_with_fine_tuning_and_ends_alike(here):
    with open("train.csv", "w", newline="") as file:
        csv.writer(file).writerows([("text", "label"), *SENTENCES[:33]])
    tiny, out, whole = save_tiny(here / "tiny"), here / "out", here / "whole"
    flags = ["--data", "train.csv", "--validation", "train.csv", "--model", tiny]
    flags += ["--epochs", 6, "--batch-size", 4, "--save-every", 0.001]
    line = ["cpu", "--processes", 2, "--max-restarts", 1, "--", "finetune", *flags]
    process = launch_for_real(*line, "--out", out, cwd=here)
    wait_for_steps(process, out, 15)
    workers(process)[1].kill()
    code, text, err = finish(process)
    assert code == 0, err
    assert re.search("killed by SIGKILL, as .* full; it goes on from step-0000", err)
    result = json.loads(text.splitlines()[-1])
    assert result["examples"] == 6 * 33
    code, text, err = finish(launch_for_real(*line, "--out", whole, cwd=here))
    assert code == 0 and "llmkit launch" not in err
    ours, theirs = weights(out), weights(whole)
    assert all(ours[name].equal(theirs[name]) for name in theirs)
    assert result["accuracy"] == json.loads(text.splitlines()[-1])["accuracy"]


@pytest.mark.slow
@pytest.mark.process
def test_a_second_run_in_the_same_folder_is_refused_in_one_line(here):
    flags = ("--max-steps", 100_000, "--overwrite")
    first = start("-m", "llmkit", *pretrain(here / "out", *flags)[1:], cwd=here)
    wait_for_steps(first, here / "out", 3)
    before = (here / "out" / "run.json").read_bytes()
    for more in ((), ("--resume",)):
        line = pretrain(here / "out", *(more or flags), "--max-steps", 5)[1:]
        code, _, err = finish(start("-m", "llmkit", *line, cwd=here))
        assert code == 2 and err.count("\n") == 1
        assert "llmkit pretrain: error: another run is at work in" in err
        assert "wait for it, stop it, or choose another --out" in err
    assert first.poll() is None  # the first goes on
    assert (here / "out" / "run.json").read_bytes() == before
    first.kill()
    first.communicate()
    line = pretrain(here / "out", "--max-steps", 5, "--overwrite")[1:]
    assert finish(start("-m", "llmkit", *line, cwd=here))[0] == 0
