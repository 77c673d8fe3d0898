"""Seq2Seq really learns: reverse, sort, rewrite dates, on sources it has never seen."""

import json

import pytest
from helpers import ROOT, finish, start


@pytest.mark.slow
@pytest.mark.process
@pytest.mark.parametrize("task", ["reverse", "sort", "dates"])
def test_it_answers_unseen_sources_to_the_last_character(task):
    script = ROOT / "benchmarks" / "seq2seq.py"
    process = start(script, "--tasks", task, "--seeds", 1)
    code, out, err = finish(process, timeout=500)
    result = json.loads(out.splitlines()[-1])
    assert result["worst_exact"] >= 0.99, out + err
    assert code == (0 if result["met"] else 1)
