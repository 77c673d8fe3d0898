"""Check on one GPU what the launch files promise of it; without one, say what is open.

Every test here has a case on the CPU, of the same body, so that the body is known to
run. As a program, this file tells which engine a launch file brings.
"""

import json
import signal
import sys
import time
from pathlib import Path

import pytest
import torch
from conftest import need
from helpers import (
    ROOT,
    UnevenBatches,
    finish,
    has_extra,
    small_model,
    start_with_extras,
    train,
)

from llmkit.cli import main
from llmkit.training import find_checkpoints, leave, processes
from llmkit.training.sharding import is_sharded

FILES = ROOT / "llmkit" / "launch"
ENGINES = {  # what a launch file brings, in one process
    "cpu": "one process",
    "gpu": "one process",
    "ddp": "plain data parallel (MULTI_GPU)",
    "fsdp2": "FSDP2",
    "deepspeed-zero2": "DeepSpeed",
    "deepspeed-zero3": "DeepSpeed",
}
CUTS = ("fsdp2", "deepspeed-zero2", "deepspeed-zero3")
CLOSE = {"fp32": 1e-4, "bf16": 1e-2}  # nats a token


def on_gpu(*case: object, unmeasured: str):
    """Return a case that needs a GPU, and says what is not known without one."""
    reason = f"torch sees no GPU here, so this stays unmeasured: {unmeasured}"
    missing = not torch.cuda.is_available()
    name = " ".join(map(str, case))
    return pytest.param(
        *case, marks=pytest.mark.skipif(missing, reason=reason), id=name
    )


def each_engine(unmeasured: str):
    """Return a case for each launch file; all but the CPU's need a GPU."""
    others = [name for name in ENGINES if name != "cpu"]
    return ["cpu", *(on_gpu(x, unmeasured=f"{unmeasured}, by {x}") for x in others)]


def check_deepspeed(name: str) -> None:
    """Skip what needs DeepSpeed where it is not installed."""
    if name.startswith("deepspeed"):
        how = "DS_BUILD_OPS=0 pip install --no-build-isolation deepspeed"
        need(has_extra("deepspeed"), "DeepSpeed", how)


def work(out: Path, precision: str, *flags: object) -> list[str]:
    """Return the run: preset tiny on a text that is the same everywhere."""
    line = ["pretrain", "--corpus", "stories", "--size", 20_000, "--preset", "tiny"]
    line += ["--optimizer", "adamw", "--seed", 1, "--track", "none", "--out", out]
    return [*map(str, line), "--precision", precision, *map(str, flags)]


def log(out: Path) -> list[dict]:
    """Read what a run wrote of its steps."""
    lines = (out / "metrics.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


def losses(out: Path) -> list[float]:
    """Read the loss of each step."""
    return [entry["loss"] for entry in log(out)]


def off_gpu(name: str) -> dict[str, str]:
    """Return the environment that keeps the CPU's case off a GPU."""
    return {"ACCELERATE_USE_CPU": "true"} if name == "cpu" else {}


@pytest.mark.parametrize("name", ENGINES)
@pytest.mark.parametrize("precision", CLOSE)
def test_what_is_launched_here_is_what_launch_takes(name, precision, tmp_path, capsys):
    line = work(tmp_path, precision, "--max-steps", 5, "--compile")
    assert main(["launch", name, "--processes", "1", "--dry-run", "--", *line]) == 0
    assert capsys.readouterr().out.rstrip().endswith(" ".join(line))


@pytest.mark.slow
@pytest.mark.process
@pytest.mark.parametrize(
    "name", each_engine("whether the engine asked for is what runs")
)
def test_a_launch_file_brings_its_engine(name, tmp_path):
    check_deepspeed(name)
    line = ["-m", "accelerate.commands.launch", "--config_file", FILES / f"{name}.yaml"]
    line += ["--num_processes", 1, __file__, tmp_path]
    code, _, err = finish(start_with_extras(*line, env=off_gpu(name)))
    assert code == 0, err
    told = json.loads((tmp_path / "told.json").read_text())
    assert told["engine"] == ENGINES[name]
    assert told["cut"] == (name in CUTS)
    assert told["device"] == ("cpu" if name == "cpu" else "cuda")


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    """Return a function that gives the losses of a plain run, begun by hand."""
    known: dict[tuple, list[float]] = {}

    def run(precision: str, on_cpu: bool) -> list[float]:
        if (precision, on_cpu) not in known:
            out = tmp_path_factory.mktemp("plain") / "out"
            line = ["-m", "llmkit", *work(out, precision, "--max-steps", 5)]
            env = off_gpu("cpu" if on_cpu else "gpu")
            code, _, err = finish(start_with_extras(*line, env=env))
            assert code == 0, err
            known[precision, on_cpu] = losses(out)
        return known[precision, on_cpu]

    return run


@pytest.mark.slow
@pytest.mark.process
@pytest.mark.parametrize(
    ("name", "precision"),
    [
        pytest.param("cpu", "fp32", id="cpu"),
        *(
            on_gpu(
                name,
                precision,
                unmeasured=f"the losses by {name} in {precision}, "
                "which are to be a plain run's",
            )
            for name in ENGINES
            if name != "cpu"
            for precision in CLOSE
        ),
    ],
)
def test_every_engine_comes_to_the_losses_of_a_plain_run(
    name, precision, plain, tmp_path
):
    check_deepspeed(name)
    line = ["-m", "llmkit", "launch", name, "--processes", 1, "--"]
    line += work(tmp_path / "out", precision, "--max-steps", 5)
    code, _, err = finish(start_with_extras(*line))
    assert code == 0, err
    found = losses(tmp_path / "out")
    expected = plain(precision, on_cpu=name == "cpu")
    assert len(found) == len(expected) == 5
    assert found == pytest.approx(expected, abs=CLOSE[precision])
    # Before its first step a model is the same everywhere, on the CPU too.
    first = plain("fp32", on_cpu=True)[0]
    assert found[0] == pytest.approx(first, abs=CLOSE[precision])


AGAIN = "a run in bf16, compiled, that is stopped and resumed"
FAR = "how far planned memory is from measured; the goal is 10%"


@pytest.mark.slow
@pytest.mark.process
@pytest.mark.parametrize(
    ("name", "precision", "shapes", "limit"),
    [
        pytest.param("cpu", "fp32", ["grouped keys, 8 layers of 256"], 0.3, id="cpu"),
        on_gpu("gpu", "fp32", None, 0.10, unmeasured=f"{FAR}, in fp32"),
        on_gpu("gpu", "bf16", None, 0.10, unmeasured=f"{FAR}, in bf16"),
    ],
)
def test_memory_is_as_planned(name, precision, shapes, limit):
    line = [ROOT / "benchmarks" / "plan_accuracy.py", "--no-time"]
    line += ["--precision", precision, *(["--only", *shapes] if shapes else [])]
    hidden = {"CUDA_VISIBLE_DEVICES": ""} if name == "cpu" else {}
    code, out, err = finish(start_with_extras(*line, env=hidden), timeout=300)
    assert code == 0, err
    rows = json.loads(out.splitlines()[-1])["rows"]
    assert len(rows) == (1 if shapes else 6)
    assert all(row["parameters"] == row["parameters_predicted"] for row in rows)
    far = {row["shape"]: row["memory_off"] for row in rows}
    assert max(map(abs, far.values())) <= limit, far


def stopped(process, out: Path, steps: int) -> int:
    """Stop a run by Ctrl-C once it has made some steps; return how many it had made."""
    metrics = out / "metrics.jsonl"
    while not (metrics.exists() and metrics.read_text().count("\n") >= steps):
        assert process.poll() is None, process.communicate()
        time.sleep(0.005)
    process.send_signal(signal.SIGINT)
    code, _, err = finish(process)
    assert code == 130, err
    kept, *_ = find_checkpoints(out)
    return int(kept.name[-8:])


@pytest.mark.slow
@pytest.mark.process
@pytest.mark.parametrize(
    ("name", "steps", "flags"),
    [
        pytest.param("cpu", 60, (), id="cpu"),
        on_gpu("gpu", 400, ("--compile",), unmeasured=AGAIN),
        on_gpu("fsdp2", 400, ("--compile",), unmeasured=f"{AGAIN}, cut"),
    ],
)
def test_a_run_in_bf16_that_was_stopped_goes_on_as_if_it_had_not_been(
    name, steps, flags, tmp_path
):
    def launch(out: Path, *more: str):
        line = ["-m", "llmkit", "launch", name, "--processes", 1, "--"]
        line += work(out, "bf16", "--max-steps", steps, *flags, *more)
        return start_with_extras(*line)

    whole, out = tmp_path / "whole", tmp_path / "out"
    code, _, err = finish(launch(whole), timeout=300)
    assert code == 0, err
    kept = stopped(launch(out), out, steps=3)
    assert 3 <= kept < steps - 20
    code, _, err = finish(launch(out, "--resume"), timeout=300)
    assert code == 0, err
    here, there = ({x["number"]: x["loss"] for x in log(f)} for f in (out, whole))
    assert [*there] == [*here] == list(range(1, steps + 1))
    # A GPU adds up in no fixed order, so that runs part by and by.
    for number in range(kept + 1, kept + 6):
        assert here[number] == pytest.approx(there[number], abs=1e-2)
    ends = [log(folder)[-1]["val_loss"] for folder in (out, whole)]
    assert ends[0] == pytest.approx(ends[1], abs=0.05)


def tell(folder: Path) -> None:
    """Be launched: leave word of the engine, and of what it made of a model."""
    engine = processes.engine(processes.start("no"))
    model = small_model(loud=False)
    train(model, UnevenBatches(), steps=1)
    device = next(model.parameters()).device.type
    told = {"engine": engine, "cut": is_sharded(model), "device": device}
    (folder / "told.json").write_text(json.dumps(told))
    leave()


if __name__ == "__main__":
    tell(Path(sys.argv[1]))
