"""Check that steps come out as curves, by a tracker of Accelerate's, and only if so."""

import csv
import json
import shutil

import pytest
from accelerate.tracking import LOGGER_TYPE_TO_CLASS
from conftest import need
from helpers import (
    SENTENCES,
    finish,
    has_extra,
    quick_tiny,
    save_tiny,
    start_with_extras,
)

from llmkit.cli import main
from llmkit.finetuning import FinetuneOptions, Finetuning
from llmkit.training import Step, chosen_tracker, track, tracking

STEPS = [Step(1, 2.5, 0.1, 64, 0.5, 0.5), Step(2, 2.0, 0.2, 128, 1.0, 1.0, 1.9)]


@pytest.fixture
def noted(monkeypatch) -> list:
    """Let every tracker be installed, and return what they are told."""
    told = []

    class Tracker:
        def __init__(self, name, **where):
            told.append((name, where))

        def start(self):
            told.append("start")

        def store_init_configuration(self, values):
            told.append(values)

        def log(self, values, step):
            told.append((step, values))

        def finish(self):
            told.append("finish")

    monkeypatch.setattr(tracking, "find_spec", lambda name: True)
    for kind in ("tensorboard", "wandb"):
        monkeypatch.setitem(LOGGER_TYPE_TO_CLASS, kind, Tracker)
    return told


def test_each_step_is_noted_and_passed_on(noted, tmp_path):
    assert list(track(STEPS, tmp_path, "tensorboard")) == STEPS
    first = {"loss": 2.5, "rate": 0.1, "tokens": 64, "seconds": 0.5}
    second = {"loss": 2.0, "val_loss": 1.9, "rate": 0.2, "tokens": 128, "seconds": 1.0}
    assert noted == [
        ("tensorboard", {"logging_dir": tmp_path, "purge_step": 1}),
        "start",
        (1, first),
        (2, second),
        "finish",
    ]


def test_weights_and_biases_learns_which_run_it_is(noted, tmp_path):
    list(track(STEPS, tmp_path, "wandb", {"seed": 3, "out": tmp_path}))
    assert noted[0] == ("llmkit", {"dir": str(tmp_path)})
    assert noted[2] == {"seed": 3, "out": str(tmp_path)}


@pytest.mark.parametrize("kind", ["auto", "none"])
def test_tensorboard_is_taken_where_it_is_installed(kind, noted, tmp_path):
    list(track(STEPS, tmp_path, kind))
    assert bool(noted) == (kind == "auto")


def test_where_it_is_not_nothing_is_noted(monkeypatch):
    monkeypatch.setattr(tracking, "find_spec", lambda name: None)
    assert chosen_tracker("auto") == "none"


def test_a_break_ends_the_tracker_and_the_run(noted, tmp_path):
    ended = []

    def run():
        try:
            yield from STEPS
        finally:
            ended.append(True)

    steps = track(run(), tmp_path)
    next(steps)
    steps.close()
    assert noted[-1] == "finish" and ended


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ("--track wandb", "--track wandb needs wandb, which is not installed: pip"),
        ("--track mlflow", "unknown tracker 'mlflow'; choose one of auto, none, tens"),
    ],
)
def test_what_cannot_be_is_refused_before_any_work(
    flags, words, capsys, tmp_path, monkeypatch
):
    monkeypatch.setattr(tracking, "find_spec", lambda name: None)
    for command in ("pretrain --corpus a", "finetune --data a"):
        line = f"{command} --out {tmp_path / 'out'} {flags}".split()
        assert main(line) == 2
        err = capsys.readouterr().err
        assert words in err and err.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_a_run_writes_its_metrics_always_and_its_curves_if_told(noted, tmp_path):
    (tmp_path / "good.txt").write_text("the cat sat on the mat.\n" * 200)
    line = f"pretrain --corpus {tmp_path / 'good.txt'} --out {tmp_path / 'out'}"
    with quick_tiny():
        assert main([*line.split(), "--max-steps", "3", "--track", "tensorboard"]) == 0
    lines = (tmp_path / "out" / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["number"] for line in lines] == [1, 2, 3]
    assert [entry[0] for entry in noted[2:-1]] == [1, 2, 3]


def test_runs_that_are_averaged_have_curves_of_their_own(noted, tmp_path):
    with open(tmp_path / "train.csv", "w", newline="") as file:
        csv.writer(file).writerows([("text", "label"), *SENTENCES])
    data, model = str(tmp_path / "train.csv"), str(save_tiny(tmp_path / "tiny"))
    told = dict(data=data, validation=data, model=model, out=tmp_path / "out")
    told |= dict(epochs=1, average=2, track="tensorboard")
    list(Finetuning(FinetuneOptions(**told)).steps())
    names = [x[0] for x in noted if isinstance(x, tuple) and isinstance(x[0], str)]
    assert names == ["tensorboard/run-00", "tensorboard/run-01"]
    assert noted.count("finish") == 2


READ = """
import json, sys
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
found = EventAccumulator(sys.argv[1])
found.Reload()
curves = {tag: found.Scalars(tag) for tag in found.Tags()["scalars"]}
print(json.dumps({tag: [(e.step, e.value) for e in x] for tag, x in curves.items()}))
"""


def test_a_tracker_that_can_not_begin_is_told_of_in_words(noted, monkeypatch, tmp_path):
    def start(self):
        raise RuntimeError("no key\nat all")

    monkeypatch.setattr(LOGGER_TYPE_TO_CLASS["wandb"], "start", start)
    words = r"--track wandb could not begin \(no key\): mend that, or set WANDB_MODE=of"
    with pytest.raises(ValueError, match=words):
        list(track(STEPS, tmp_path, "wandb"))


READ_RUN = """
import json, sys
from wandb.proto import wandb_internal_pb2
from wandb.sdk.internal.datastore import DataStore
store, found = DataStore(), []
store.open_for_scan(sys.argv[1])
while (data := store.scan_data()) is not None:
    record = wandb_internal_pb2.Record()
    record.ParseFromString(data)
    if record.WhichOneof("record_type") == "history":
        items = {x.key or "/".join(x.nested_key): x for x in record.history.item}
        found.append({key: json.loads(x.value_json) for key, x in items.items()})
print(json.dumps(found))
"""


@pytest.mark.slow
@pytest.mark.process
def test_real_weights_and_biases_keeps_the_curves_of_a_run(tmp_path):
    """Without a network, as it is where nobody has an account."""
    how = "pip install -c constraints.txt wandb"
    need(has_extra("wandb"), "Weights & Biases", how)
    (tmp_path / "good.txt").write_text("the cat sat on the mat.\n" * 200)
    line = "-m llmkit pretrain --corpus good.txt --out out --max-steps 3 --track wandb"
    env = {"WANDB_MODE": "offline", "WANDB_SILENT": "true"}
    code, _, err = finish(start_with_extras(*line.split(), cwd=tmp_path, env=env))
    assert code == 0, err
    (kept,) = (tmp_path / "out" / "wandb").glob("offline-run-*/*.wandb")
    code, text, err = finish(start_with_extras("-c", READ_RUN, kept))
    assert code == 0, err
    log = (tmp_path / "out" / "metrics.jsonl").read_text().splitlines()
    for step, noted in zip(map(json.loads, log), json.loads(text), strict=True):
        assert noted["_step"] == step["number"]
        assert noted["loss"] == pytest.approx(step["loss"])
    env = {"WANDB_API_KEY": "", "HOME": str(tmp_path)}
    line = line.replace("--out out", "--out other")
    code, _, err = finish(start_with_extras(*line.split(), cwd=tmp_path, env=env))
    assert code == 2 and "--track wandb could not begin (api_key not config" in err


@pytest.mark.slow
@pytest.mark.process
def test_real_tensorboard_reads_the_curves_of_a_run(tmp_path):
    """Take it where it is installed, as a run does by itself, and read its file.

    A step that was lost with its checkpoint is made again, and stands there once.
    """
    need(has_extra("tensorboard"), "TensorBoard", "pip install tensorboard")
    (tmp_path / "good.txt").write_text("the cat sat on the mat.\n" * 200)
    line = "-m llmkit pretrain --corpus good.txt --out out --max-steps 4 --save-every"
    out = tmp_path / "out"
    for more in ("0.0001", "0.0001 --resume"):
        command = f"{line} {more}".split()
        code, _, err = finish(start_with_extras(*command, cwd=tmp_path))
        assert code == 0, err
        if not more.endswith("resume"):
            shutil.rmtree(out / "step-00000004")
    code, text, err = finish(start_with_extras("-c", READ, out / "tensorboard"))
    assert code == 0, err
    steps = [json.loads(x) for x in (out / "metrics.jsonl").read_text().splitlines()]
    curves = json.loads(text)
    assert {"loss", "val_loss", "rate", "tokens", "seconds"} <= curves.keys()
    for name, curve in curves.items():
        told = [(s["number"], s[name]) for s in steps if s[name] is not None]
        assert [step for step, _ in curve] == [step for step, _ in told]
        values = [value for _, value in told]
        assert [value for _, value in curve] == pytest.approx(values, rel=1e-6)
