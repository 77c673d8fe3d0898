"""Evaluate made-up probabilities: each number is checked against its own definition."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from llmkit.finetuning.evaluation import Mistake, evaluate_classes
from llmkit.finetuning.examples import Examples
from llmkit.metrics import accuracy, calibration_error, macro_f1, wilson_interval


def some(n: int, names=("bad", "good"), seed: int = 0, tags=((),)):
    """Draw probabilities (N, C) and examples; the tags go round."""
    torch.manual_seed(seed)
    labels = torch.randint(len(names), (n,))
    p = torch.randn(n, len(names)).add(2 * torch.eye(len(names))[labels]).softmax(-1)
    texts = tuple(f"text {i}" for i in range(n))
    round_tags = tuple(tags[i % len(tags)] for i in range(n))
    lines = tuple(range(1, 2 * n, 2))
    made = Examples("x.csv", texts, tuple(labels.tolist()), names, round_tags, lines)
    return p, made


@pytest.mark.parametrize(
    ("n", "names"), [(1, "ab"), (2, "abc"), (30, "ab"), (31, "abcd")]
)
def test_scores_are_those_of_metrics(n, names):
    p, examples = some(n, tuple(names), seed=n)
    found = evaluate_classes(p, examples)
    assert found.accuracy.value == accuracy(p, examples.labels)
    assert found.macro_f1.value == macro_f1(p, examples.labels)
    assert found.calibration.error == calibration_error(p, examples.labels).error
    assert found.confusion.sum() == n
    assert found.confusion.diagonal().sum() + len(found.mistakes) == n


def test_intervals_surround_their_scores():
    found = evaluate_classes(*some(200))
    for score in (found.accuracy, found.macro_f1):
        assert 0 < score.low < score.value < score.high < 1


def test_the_report_names_the_classes_even_those_that_never_occur():
    p, examples = some(20, ("bad", "good"))
    p = torch.cat([p, torch.zeros(20, 1)], dim=1)  # (N, 3)
    found = evaluate_classes(p, replace(examples, names=("bad", "good", "so-so")))
    lines = {
        line.split()[0]: line.split() for line in found.report.splitlines() if line
    }
    assert lines["so-so"] == ["so-so", "0.000", "0.000", "0.000", "0"]
    assert lines["bad"][-1] == str(examples.labels.count(0))
    assert float(lines["accuracy"][1]) == pytest.approx(found.accuracy.value, abs=5e-4)
    assert found.confusion.shape == (3, 3)
    assert found.confusion[2].sum() == found.confusion[:, 2].sum() == 0


def test_tags_are_scored_apart_and_those_without_last():
    tags = (("irony",), (), ("contrast", "irony"), ())
    p, examples = some(40, tags=tags)
    found = evaluate_classes(p, examples)
    right = p.argmax(1) == torch.tensor(examples.labels)
    assert [(row.tag, row.n) for row in found.by_tag] == [
        ("contrast", 10),
        ("irony", 20),
        ("none", 20),
    ]
    hits = int(right[0::4].sum() + right[2::4].sum())
    assert found.by_tag[1].accuracy == wilson_interval(hits, 20)
    assert found.by_tag[2].accuracy.value == right[1::2].double().mean()


def test_without_tags_there_is_nothing_to_tell_apart():
    assert evaluate_classes(*some(5)).by_tag == ()


def test_errors_are_the_mistakes_it_was_most_sure_of():
    p = [[0.9, 0.1], [0.2, 0.8], [0.6, 0.4], [0.1, 0.9], [0.4, 0.6]]
    _, examples = some(5, tags=((), ("irony",)))
    examples = replace(examples, labels=(0, 0, 1, 0, 0))
    found = evaluate_classes(np.array(p), examples)
    assert [error.text for error in found.errors()] == [
        "text 3",
        "text 1",
        "text 2",  # as sure as the next, and before it
        "text 4",
    ]
    assert found.errors(1) == (Mistake("text 3", "bad", "good", 0.9, ("irony",), 7),)
    assert found.errors(0) == ()


def test_all_right_and_one_example_are_judged_too():
    for n in (1, 8):
        p, examples = some(n)
        guesses = tuple(p.argmax(1).tolist())
        found = evaluate_classes(p, replace(examples, labels=guesses))
        assert found.accuracy.value == found.macro_f1.value == 1
        assert found.errors() == ()
        assert str(found)


def test_the_summary_is_short_and_lined_up():
    p, examples = some(1200, ("negative", "no"), tags=(("irony",), (), ()))
    found = evaluate_classes(p, examples)
    lines = str(found).splitlines()
    assert lines[0] == (
        f"1,200 examples, {len(found.mistakes)} wrong; in brackets 95% intervals"
    )
    assert lines[1] == f"accuracy           {found.accuracy}"
    assert lines[4] == "true \\ guessed  negative      no"
    (a, b), (c, d) = found.confusion.tolist()
    assert lines[5].split() == ["negative", str(a), str(b)]
    assert lines[6].split() == ["no", str(c), str(d)]
    assert len(lines[4]) == len(lines[5]) == len(lines[6])
    assert lines[7] == f"irony     400  {found.by_tag[0].accuracy}"
    assert lines[8] == f"none      800  {found.by_tag[1].accuracy}"
    assert len(lines) == 9


def test_a_dict_goes_through_json_and_back():
    found = evaluate_classes(*some(30, tags=(("irony",), ())))
    told = found.as_dict()
    assert json.loads(json.dumps(told, allow_nan=False)) == told
    assert told["accuracy"] == found.accuracy.value
    assert told["accuracy_interval"] == [found.accuracy.low, found.accuracy.high]
    assert told["macro_f1"] == found.macro_f1.value
    assert told["examples"] == 30 and sum(told["calibration"]["counts"]) == 30
    assert told["calibration"]["accuracy"][0] is None  # of two, one is over a half
    assert told["by_tag"][0]["tag"] == "irony" and told["by_tag"][0]["n"] == 15
    assert sum(map(sum, told["confusion"])) == 30


def test_what_does_not_fit_is_refused_in_words():
    p, examples = some(4)
    words = r"4 examples of 2 classes need probabilities \(4, 2\): got \({}\)"
    for wrong, got in ((p[:3], "3, 2"), (p[:, :1], "4, 1"), (p.argmax(1), "4,")):
        with pytest.raises(ValueError, match=words.format(got)):
            evaluate_classes(wrong, examples)
    with pytest.raises(ValueError, match="take the softmax of logits first"):
        evaluate_classes(5 * p, examples)
