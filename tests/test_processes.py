"""Check how processes start, agree and stop, and that no run gets another engine."""

import ast
import os
import re
import signal
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest
import torch
from accelerate import Accelerator
from helpers import ROOT, UnevenBatches, finish, small_model, start, train
from torch.distributed.fsdp import CPUOffloadPolicy

from llmkit.training import (
    LOCK,
    TrainingConfig,
    alone_in,
    fit,
    launched,
    launcher,
    leave,
    preparing,
    processes,
)


def ask_for(engine: str, monkeypatch) -> None:
    """Set what a launch file would set."""
    if engine.startswith("FSDP"):
        monkeypatch.setenv("ACCELERATE_USE_FSDP", "true")
        monkeypatch.setenv("FSDP_VERSION", engine[-1])
    else:
        monkeypatch.setenv("ACCELERATE_USE_DEEPSPEED", "true")


# The engine


@pytest.mark.parametrize("engine", ["FSDP1", "FSDP2", "DeepSpeed"])
def test_a_run_whose_engine_is_not_the_one_asked_for_is_refused(engine, monkeypatch):
    ask_for(engine, monkeypatch)
    words = f"asks for {engine} and would get one process: Accelerate falls back .*use "
    if engine == "DeepSpeed":
        words = "asks for DeepSpeed, which is not installed: pip install deepspeed, or"
        monkeypatch.setattr(processes, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match=words):
        train(small_model())
    monkeypatch.undo()
    assert len(train(small_model())) == 5  # and the next run is as ever


def test_another_version_of_the_engine_is_another_engine(monkeypatch):
    ask_for("FSDP2", monkeypatch)
    monkeypatch.setattr(processes, "engine", lambda accelerator: "FSDP1")
    with pytest.raises(ValueError, match="asks for FSDP2 and would get FSDP1"):
        train(small_model())


def test_the_engine_that_was_asked_for_is_taken(monkeypatch):
    ask_for("FSDP2", monkeypatch)
    monkeypatch.setattr(processes, "engine", lambda accelerator: "FSDP2")
    assert len(train(small_model())) == 5


def test_what_would_be_kept_off_the_gpu_is_refused(monkeypatch):
    state = SimpleNamespace(
        fsdp_plugin=SimpleNamespace(cpu_offload=CPUOffloadPolicy()),
        deepspeed_plugin=SimpleNamespace(
            deepspeed_config={"zero_optimization": {"offload_param": {"device": "cpu"}}}
        ),
    )
    accelerator = SimpleNamespace(state=state)
    config, adamw = TrainingConfig(steps=1), torch.optim.AdamW([torch.zeros(1)])
    for engine, words in (
        ("FSDP2", "sets fsdp_offload_params: true, and llmkit keeps all on the GPU"),
        ("DeepSpeed", "sets offload_param_device: cpu, and llmkit .*: leave it out"),
    ):
        monkeypatch.setattr(preparing, "engine", lambda accelerator: engine)  # noqa: B023
        with pytest.raises(ValueError, match=words):
            preparing.prepare(accelerator, small_model(), [adamw], config)


def launch(folder: Path, name: str, processes: int, **env) -> tuple[int, str]:
    """Pretrain by Accelerate's own launcher, from a launch file; return its words."""
    (folder / "good.txt").write_text("the cat sat on the mat.\n" * 200)
    file = ROOT / "llmkit" / "launch" / f"{name}.yaml"
    line = ["-m", "accelerate.commands.launch", "--config_file", file]
    line += ["--num_processes", processes, "-m", "llmkit", "pretrain"]
    line += ["--corpus", "good.txt", "--out", "out", "--max-steps", 2]
    code, _, err = finish(start(*line, cwd=folder, env=env))
    return code, err


@pytest.mark.slow
@pytest.mark.process
@pytest.mark.skipif(
    torch.cuda.is_available(), reason="a GPU is here, so none is missed"
)
@pytest.mark.parametrize(("name", "processes"), [("gpu", 1), ("ddp", 2), ("fsdp2", 2)])
def test_a_launch_file_for_gpus_is_refused_where_there_is_none(
    name, processes, tmp_path
):
    """Accelerate's launcher starts them on a CPU gladly."""
    code, err = launch(tmp_path, name, processes)
    words = f"llmkit pretrain: error: the launch file '.*{name}.yaml' is for GPUs, "
    words += f"{processes} of them here, and torch sees none: use llmkit/launch/cpu"
    assert code != 0 and re.search(words, err), err
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
@pytest.mark.process
@pytest.mark.parametrize("name", ["fsdp2", "ddp"])
def test_two_processes_on_the_cpu_are_told_what_accelerate_would_do(name, tmp_path):
    """Wish for the CPU, where Accelerate has no FSDP."""
    code, err = launch(tmp_path, name, 2, ACCELERATE_USE_CPU="true")
    if name == "ddp":  # plain data parallel is what was asked for
        assert code == 0, err
    else:
        words = "asks for FSDP2 and would get plain data parallel (MULTI_CPU): Acceler"
        assert code != 0 and f"llmkit pretrain: error: this run {words}" in err
        assert not list((tmp_path / "out").glob("step-*"))


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("python -m accelerate.commands.launch --config_file {} -m llmkit", True),
        ("/bin/python /bin/accelerate launch --config_file={} train.py", True),
        ("python train.py --config_file {}", False),
        ("accelerate launch train.py", False),
        ("accelerate launch --config_file missing.yaml train.py", False),
    ],
)
def test_a_launch_file_is_read_off_the_launchers_line(
    line, found, tmp_path, monkeypatch
):
    file = tmp_path / "mine.yaml"
    file.write_text("use_cpu: false\n")

    class Parent:
        def cmdline(self):
            return line.format(file).split()

    monkeypatch.setattr(psutil.Process, "parent", lambda self: Parent())
    launched.launch_file.cache_clear()
    try:
        expected = (str(file), {"use_cpu": False}) if found else ("", {})
        assert launched.launch_file() == expected
    finally:
        launched.launch_file.cache_clear()


@pytest.mark.parametrize("config", [{"use_cpu": False}, {"num_processes": 1}])
def test_a_launch_file_that_says_nothing_of_the_cpu_is_for_gpus(config, monkeypatch):
    monkeypatch.setattr(launched, "launch_file", lambda: ("mine.yaml", config))
    monkeypatch.setattr("torch.accelerator.device_count", lambda: 0)
    with pytest.raises(ValueError, match="'mine.yaml' is for GPUs, 1 of them here, a"):
        launched.check_devices()
    monkeypatch.setattr("torch.accelerator.device_count", lambda: 1)
    launched.check_devices()
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    with pytest.raises(ValueError, match="2 of them here, and torch sees 1: use"):
        launched.check_devices()
    monkeypatch.setenv("ACCELERATE_USE_CPU", "true")
    launched.check_devices()


# Who died


@pytest.mark.parametrize(
    ("seen", "who"),
    [
        ([(1, -9, 5), (0, -15, 5)], (1, -9)),  # one was killed, the other ended for it
        ([(0, 1, 5), (1, -9, 5)], (1, -9)),  # and missed it at once
        ([(0, 1, 5), (1, -9, 35)], (0, 1)),  # one was silent, even when told to end
        ([(1, -15, 5), (0, -15, 6)], (1, -15)),
        ([(0, 2, 5), (1, 2, 5)], (0, 2)),
    ],
)
def test_the_first_to_die_is_told_from_those_that_were_ended(seen, who):
    failures = {r: SimpleNamespace(exitcode=c, timestamp=t) for r, c, t in seen}
    assert launcher.first(failures) == who


# Agreement


@pytest.mark.parametrize("told", ["soon", "0", "-3", "nan", "1e99"])
def test_a_time_limit_that_is_none_is_refused_in_words(told, monkeypatch):
    monkeypatch.setenv("LLMKIT_TIME_LIMIT", told)
    with pytest.raises(ValueError, match=f"LIMIT is '{told}': expected seconds, above"):
        processes.join()


def test_one_process_agrees_with_itself():
    assert processes.agree(Accelerator(), 0.5, True) == [0.5, True]
    assert processes.is_main()


def test_what_torch_says_of_a_lost_process_becomes_words():
    class Two:
        num_processes, process_index = 2, 1

    said = "[../gloo/transport/tcp/pair.cc:547] Connection closed by peer [::1]:3"
    with (
        pytest.raises(ConnectionError, match="process 1 of 2 lost another one, which"),
        processes.naming_a_loss(Two()),
    ):
        raise RuntimeError(said)
    with pytest.raises(RuntimeError, match="shape"), processes.naming_a_loss(Two()):
        raise RuntimeError("a shape is wrong")
    with pytest.raises(RuntimeError), processes.naming_a_loss(Accelerator()):
        raise RuntimeError(said)  # where there is no other process to lose


def test_several_processes_hold_ctrl_c_back_until_all_know_of_it():
    interrupts = processes.Interrupts(several=True)
    with interrupts.held():
        os.kill(os.getpid(), signal.SIGINT)
    assert interrupts.caught  # and the step after it tells the others
    interrupts.heed()
    with interrupts.held():
        interrupts.agreed = 1.0
    with pytest.raises(KeyboardInterrupt):
        interrupts.heed()
    interrupts.close()
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


# The clock


def test_a_clock_that_goes_backwards_changes_nothing(monkeypatch, tmp_path):
    hours = iter(range(10**6, 0, -3600))
    monkeypatch.setattr(time, "time", lambda: float(next(hours)))
    steps = train(small_model(), steps=0, seconds=0.2, out=tmp_path, save_every=0.01)
    seconds = [step.seconds for step in steps]
    assert seconds == sorted(seconds) and 0.2 <= seconds[-1] < 5
    assert [step.progress for step in steps] == sorted(s.progress for s in steps)


@pytest.mark.parametrize("room", ["training", "pretraining", "finetuning", "cli"])
def test_nothing_is_timed_by_a_clock_that_can_be_set(room):
    for path in (ROOT / "llmkit" / room).glob("*.py"):
        calls = [
            ast.unparse(x.func)
            for x in ast.walk(ast.parse(path.read_text()))
            if isinstance(x, ast.Call)
        ]
        assert not {"time.time", "datetime.now", "datetime.datetime.now"} & {*calls}


# One run at a time in a folder


def test_two_runs_do_not_work_in_one_folder(tmp_path):
    with (
        alone_in(tmp_path / "out"),
        pytest.raises(ValueError, match="another run is at work in .*out'; wait for"),
        alone_in(tmp_path / "out"),
    ):
        pass
    with alone_in(tmp_path / "out"):  # given back
        assert os.listdir(tmp_path / "out") == [LOCK]


HOLD = """
import sys, time
from llmkit.training import alone_in
with alone_in(sys.argv[1]):
    print("mine", flush=True)
    time.sleep(60)
"""


@pytest.mark.slow
@pytest.mark.process
def test_a_killed_run_gives_its_folder_back(tmp_path):
    process = start("-c", HOLD, tmp_path)
    assert process.stdout.readline() == "mine\n"
    with pytest.raises(ValueError, match="another run"), alone_in(tmp_path):
        pass
    process.kill()
    process.communicate()
    with alone_in(tmp_path):
        pass


# A program of several processes


def main(folder: Path, what: str) -> None:
    """Run as one of several processes."""
    if what == "apart":  # each has a disk of its own, and only one has checkpoints
        mine = folder / os.environ["RANK"]
        train(small_model(), UnevenBatches(4), steps=3, out=mine)
        train(small_model(), UnevenBatches(4), steps=6, out=mine, resume=True)
    if what == "interrupted":
        torch.manual_seed(0)
        config = TrainingConfig(steps=10**6, precision="fp32", out=folder)
        for step in fit(small_model(), UnevenBatches(4), config):
            if step.number == 3:
                line = f"ready {os.environ['RANK']} {os.getpid()}\n"
                os.write(1, line.encode())  # whole, whoever else writes


def two(what: str, folder: Path):
    """Start this file as two processes."""
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", 2]
    return start(*launcher, __file__, folder, what)


@pytest.mark.slow
@pytest.mark.process
def test_checkpoints_that_only_one_process_sees_are_refused_in_words(tmp_path):
    code, _, err = finish(two("apart", tmp_path))
    assert code != 0
    assert (
        "one process would go on from step 0 and another from step 3: --out must" in err
    )


@pytest.mark.slow
@pytest.mark.process
def test_ctrl_c_to_one_of_two_stops_both_after_one_step_with_a_checkpoint(tmp_path):
    process = two("interrupted", tmp_path)
    pids = {}
    while len(pids) < 2:
        _, rank, pid = process.stdout.readline().split()
        pids[rank] = int(pid)
    os.kill(pids["1"], signal.SIGINT)  # the one that writes nothing
    code, _, err = finish(process)
    assert code != 0 and err.count("KeyboardInterrupt") >= 2
    assert "ConnectionError" not in err
    (kept,) = tmp_path.glob("step-*")
    assert int(kept.name[-8:]) >= 3


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
    leave()
