"""Check what the GPU's benchmark does where there is no GPU."""

import json

import pytest
import torch
from helpers import ROOT, finish, start


@pytest.mark.slow
@pytest.mark.process
@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU: run it itself")
def test_without_a_gpu_it_says_so_and_leaves_the_figure_unfilled():
    code, out, err = finish(start(ROOT / "benchmarks" / "gpu_speed.py"))
    assert (code, err) == (0, "")
    words, last = out.splitlines()
    assert words.startswith("There is no GPU here, so nothing was measured")
    assert json.loads(last) == {"benchmark": "gpu_speed", "gpu": None}
