"""Check the GPU's benchmark where there is no GPU: it runs, small, and says so."""

import importlib.util
import json
import math

import pytest
import torch
from helpers import ROOT, finish, start

from llmkit.transformer import ModelConfig

FILE = ROOT / "benchmarks" / "gpu_speed.py"


@pytest.fixture(scope="module")
def gpu_speed():
    """Import the benchmark."""
    spec = importlib.util.spec_from_file_location("gpu_speed", FILE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def small(gpu_speed, **changes):
    """Return a race that takes no time."""
    model = ModelConfig(50, context=16, n_layers=1, n_heads=2, d_model=16)
    told = dict(rows=4, rounds=2, steps=2, warm=1, compile=False, precision="fp32")
    return gpu_speed.Race(model, **told | changes)


@pytest.mark.slow
def test_the_three_begin_from_the_same_loss_and_learn_from_the_same_batch(gpu_speed):
    runs = gpu_speed.contenders(small(gpu_speed))
    ours, in_fit, own = ([next(run)[0] for _ in range(3)] for run in runs.values())
    assert ours == pytest.approx(in_fit, abs=1e-4)
    assert own[0] == pytest.approx(ours[0], abs=0.05)  # it leaves the last token out
    assert own[2] < own[0]


@pytest.mark.slow
def test_a_race_takes_turns_and_every_round_gives_a_ratio(gpu_speed, monkeypatch):
    order, real = [], gpu_speed.turn
    monkeypatch.setattr(
        gpu_speed, "turn", lambda run, n: order.append((id(run), n)) or real(run, n)
    )
    told = small(gpu_speed)
    times, ratios, losses = gpu_speed.race(told)
    assert [n for _, n in order] == [1] * 3 + [2] * 16
    a, b, c = (run for run, _ in order[:3])
    assert [run for run, _ in order[3:]] == [a, b, b, a, a, c, c, a] * 2
    assert list(times) == list(losses) == [*gpu_speed.contenders(told)]
    assert [len(x) for x in times.values()] == [8, 4, 4]
    assert [len(x) for x in ratios.values()] == [2, 2]
    assert all(x > 0 for found in times.values() for x in found)


@pytest.mark.slow
def test_the_precision_and_the_compiler_that_are_asked_for_are_used(
    gpu_speed, monkeypatch
):
    compiled = []
    monkeypatch.setattr(
        "torch.nn.Module.compile", lambda self: compiled.append(type(self).__name__)
    )
    times, _, losses = gpu_speed.race(
        small(gpu_speed, rounds=1, compile=True, precision="bf16")
    )
    assert compiled == ["Decoder", "Logits"]
    first = list(losses.values())
    assert first == pytest.approx([first[0]] * 3, abs=0.05)
    assert len(times) == 3


def test_the_table_says_what_was_measured(gpu_speed, capsys):
    told = small(gpu_speed)
    times = {"ours": [1.0, 2.0, 3.0], "HF in fit": [3.0], "HF's own loop": [4.0]}
    ratios = {"HF in fit": [1.5, 1.4], "HF's own loop": [2.0]}
    losses = dict.fromkeys(times, 3.9)
    flops = gpu_speed.flops_per_token(told.model) * 64
    found = gpu_speed.report(told, "NVIDIA X", flops, times, ratios, losses)
    assert found["rows"]["ours"]["mfu"] == pytest.approx(0.5) and found["met"]
    assert found["rows"]["ours"]["tokens_per_second"] == 32
    out = capsys.readouterr().out.splitlines()
    assert out[0].startswith("NVIDIA X, torch ") and out[0].endswith("64 tokens a step")
    assert out[3] == "| ours | 2000.0 | 32 | 50.0% | 1.00 |"
    assert out[4] == "| HF in fit | 3000.0 | 21 | 33.3% | 1.45 |"
    unknown = gpu_speed.report(told, "NVIDIA X", None, times, ratios, losses)
    assert unknown["rows"]["ours"]["mfu"] is None and not unknown["met"]
    assert "| peak unknown |" in capsys.readouterr().out
    assert math.isfinite(json.loads(json.dumps(found))["rows"]["ours"]["seconds"])


@pytest.mark.slow
@pytest.mark.process
@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU: run it itself")
def test_without_a_gpu_it_says_so_and_leaves_the_figure_unfilled():
    code, out, err = finish(start(FILE))
    assert (code, err) == (0, "")
    words, last = out.splitlines()
    assert words.startswith("There is no GPU here, so nothing was measured")
    assert json.loads(last) == {"benchmark": "gpu_speed", "gpu": None}
