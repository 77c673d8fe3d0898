"""Check scores against torch, scikit-learn and SciPy, and that their sums add up."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from helpers import random_ids
from hypothesis import given
from hypothesis import strategies as st
from torch.testing import assert_close

from llmkit.metrics import (
    IGNORE,
    Interval,
    accuracy,
    bits_per_byte,
    bootstrap_counts,
    bootstrap_difference,
    bootstrap_interval,
    calibration_error,
    confusion,
    macro_f1,
    mean_f1,
    perplexity,
    token_accuracy,
    token_loss,
    wilson_interval,
)

rows = st.integers(1, 12)


def some(rows: int, V: int = 7) -> tuple[torch.Tensor, torch.Tensor]:
    """Draw logits (N, V) and labels (N,), some of which ask for nothing."""
    torch.manual_seed(rows)
    labels = random_ids(rows, vocab_size=V, seed=rows)
    return 3 * torch.randn(rows, V), labels.masked_fill(torch.rand(rows) < 0.4, IGNORE)


@given(rows)
def test_loss_is_torchs_mean_times_the_labels_that_count(n):
    logits, labels = some(n)
    total, count = token_loss(logits, labels)
    assert count == (labels != -100).sum()
    if count:
        assert_close(total / count, F.cross_entropy(logits, labels, ignore_index=-100))
    else:
        assert total == 0


@given(rows)
def test_accuracy_counts_first_choices_where_something_is_asked(n):
    logits, labels = some(n)
    right, count = token_accuracy(logits, labels)
    pairs = [(x.argmax(), y) for x, y in zip(logits, labels) if y != -100]
    assert (right, count) == (sum(int(x == y) for x, y in pairs), len(pairs))


@pytest.mark.parametrize("score", [token_loss, token_accuracy])
@given(st.lists(rows, min_size=1, max_size=4))
def test_sums_add_up_over_uneven_pieces(score, pieces):
    logits, labels = some(sum(pieces))
    parts = map(score, logits.split(pieces), labels.split(pieces))
    totals = torch.tensor([[float(x) for x in part] for part in parts]).sum(0)
    assert_close(totals, torch.tensor([float(x) for x in score(logits, labels)]))


def test_any_shape_before_the_vocabulary_will_do():
    logits, labels = some(12)
    expected = token_loss(logits, labels)
    shaped = token_loss(logits.view(2, 3, 2, 7), labels.view(2, 3, 2))
    assert_close(shaped, expected)
    backwards = token_loss(logits.view(3, 4, 7).mT.contiguous().mT, labels.view(3, 4))
    assert_close(backwards, expected)


def test_half_precision_is_summed_in_full():
    logits = torch.zeros(5_000, 3, dtype=torch.bfloat16)
    total, _ = token_loss(logits, torch.zeros(5_000, dtype=torch.long))
    assert float(total) == pytest.approx(5_000 * math.log(3), rel=1e-5)


def test_ignored_labels_give_no_gradient():
    logits, labels = some(9)
    logits.requires_grad_()
    token_loss(logits, labels)[0].backward()
    assert (logits.grad.abs().sum(-1) > 0).equal(labels != IGNORE)


@pytest.mark.parametrize("score", [token_loss, token_accuracy])
def test_what_does_not_fit_is_refused_in_words(score):
    with pytest.raises(
        ValueError, match=r"logits \(2, 3, 5\) and labels \(2, 4\); exp"
    ):
        score(torch.zeros(2, 3, 5), torch.zeros(2, 4, dtype=torch.long))
    with pytest.raises(ValueError, match=r"\(torch.long\): got torch.float32"):
        score(torch.zeros(2, 3, 5), torch.zeros(2, 3))


@given(st.integers(1, 10**6))
def test_perplexity_of_an_even_guess_is_the_number_of_choices(n):
    assert perplexity(math.log(n)) == pytest.approx(n)


@given(st.floats(0, 20), st.integers(1, 1000), st.integers(1, 1000))
def test_bits_per_byte_share_all_bits_among_all_bytes(nats, tokens, count):
    expected = nats * tokens / math.log(2) / count
    assert bits_per_byte(nats, tokens, count) == pytest.approx(expected)


def judged(n: int, C: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Draw probabilities (N, C), mostly right, and labels (N,)."""
    torch.manual_seed(seed)
    labels = torch.randint(C, (n,))
    return (2 * torch.randn(n, C) + 2 * F.one_hot(labels, C)).softmax(-1), labels


few = st.integers(1, 40), st.integers(2, 5), st.integers(0, 1000)


@pytest.mark.slow
@given(*few)
def test_accuracy_f1_and_confusion_are_scikit_learns(n, C, seed):
    from sklearn import metrics as twin

    p, labels = judged(n, C, seed)
    guesses = p.argmax(1)
    assert accuracy(p, labels) == pytest.approx(twin.accuracy_score(labels, guesses))
    f1 = twin.f1_score(labels, guesses, average="macro")
    assert macro_f1(p, labels) == macro_f1(guesses, labels) == pytest.approx(f1)
    counts = twin.confusion_matrix(labels, guesses, labels=range(C))
    assert confusion(p, labels).tolist() == counts.tolist()
    assert confusion(guesses, labels, C).equal(confusion(p, labels))


@given(*few)
def test_scores_do_not_mind_the_order_of_the_examples_or_their_type(n, C, seed):
    p, labels = judged(n, C, seed)
    mixed = torch.randperm(n)
    for score in (accuracy, macro_f1, lambda *x: calibration_error(*x).error):
        expected = pytest.approx(score(p, labels))
        assert score(p[mixed], labels[mixed]) == expected
        assert score(p.numpy(), labels.numpy()) == expected
        assert score(p.tolist(), labels.tolist()) == expected
        assert score(p.clone().requires_grad_(), labels.int()) == expected


@given(*few, st.integers(1, 12))
def test_calibration_error_is_the_sum_over_bins_by_hand(n, C, seed, bins):
    p, labels = judged(n, C, seed)
    found = calibration_error(p, labels, bins)
    confidence, right = p.double().max(1).values, p.argmax(1) == labels
    total = 0.0
    for m in range(bins):
        inside = (confidence > m / bins) & (confidence <= (m + 1) / bins)
        assert found.counts[m] == inside.sum()
        if inside.any():
            conf, acc = confidence[inside].mean(), right[inside].double().mean()
            total += inside.sum() / n * (acc - conf).abs()
            assert found.confidence[m] == pytest.approx(conf.item())
            assert found.accuracy[m] == pytest.approx(acc.item())
        else:
            assert math.isnan(found.confidence[m]) and math.isnan(found.accuracy[m])
    assert found.error == pytest.approx(float(total))
    assert sum(found.counts) == n


def test_who_is_as_often_right_as_it_says_is_calibrated():
    p = np.repeat([[0.75, 0.25], [0.1, 0.9]], [4, 10], axis=0)
    labels = [0, 0, 0, 1] + [1] * 9 + [0]
    assert calibration_error(p, labels).error == pytest.approx(0)
    certain = calibration_error([[1.0, 0.0]] * 4, [0, 0, 0, 1])
    assert certain.error == 0.25 and certain.counts[-1] == 4


@pytest.mark.parametrize("score", [accuracy, macro_f1, confusion, calibration_error])
def test_scores_of_classes_refuse_in_words_what_does_not_fit(score):
    half = [[0.5, 0.5]] * 3
    for guesses, labels, words in [
        (half, [0, 1], r"got guesses \(3, 2\) and labels \(2,\); expected \(N, C\)"),
        ([half], [[0] * 3], r"got guesses \(1, 3, 2\) and labels \(1, 3\)"),
        (torch.zeros(0, 2), torch.zeros(0), "no examples to score"),
        (half, [0, 1, 2], "class numbers go from 0 to 1: got 2"),
        (half, [0, 1, -100], "class numbers go from 0 to 1: got -100"),
        (half, [0.0, 1.0, 1.0], r"labels \(N,\) are class numbers: got torch.float64"),
        ([[math.nan, 0.5]], [0], "not numbers"),
        (half, ["a", "b", "c"], r"scores need numbers .*: got \['a', 'b', 'c'\]"),
        ([[0.5, 0.5], [1.0]], [0, 0], "rows of one length"),
    ]:
        with pytest.raises(ValueError, match=words):
            score(guesses, labels)


def test_calibration_takes_probabilities_alone():
    for wrong in ([[3.0, -1.0]], [[0.4, 0.4]], [0]):
        with pytest.raises(ValueError, match="add up to 1: got shape .*take the softm"):
            calibration_error(wrong, [0])
    with pytest.raises(ValueError, match="bins must be at least 1: got 0"):
        calibration_error([[0.5, 0.5]], [0], bins=0)


def test_the_bootstrap_is_scipys():
    from scipy.stats import bootstrap

    torch.manual_seed(0)
    for rows in (torch.rand(300) < 0.85, torch.randn(300)):
        ours, data = bootstrap_interval(rows), (rows.double().numpy(),)
        twin = bootstrap(data, np.mean, n_resamples=2000, method="percentile", rng=0)
        width = ours.high - ours.low
        assert ours.value == pytest.approx(rows.double().mean().item())
        assert ours.low == pytest.approx(twin.confidence_interval.low, abs=0.08 * width)
        assert ours.high == pytest.approx(
            twin.confidence_interval.high, abs=0.08 * width
        )


@pytest.mark.slow
def test_an_interval_holds_the_truth_as_often_as_it_says():
    random = torch.Generator().manual_seed(0)
    held = {"bootstrap": 0, "wilson": 0}
    for _ in range(200):
        right = torch.rand(200, generator=random) < 0.8
        for name, found in [
            ("bootstrap", bootstrap_interval(right, level=0.9, rounds=200)),
            ("wilson", wilson_interval(int(right.sum()), 200, level=0.9)),
        ]:
            held[name] += found.low <= 0.8 <= found.high
    assert 166 <= min(held.values()) <= max(held.values()) <= 192, "about 180 of 200"


@given(st.lists(st.integers(-5, 5), min_size=1, max_size=20), st.integers(0, 9))
def test_a_bootstrap_stays_within_its_rows_and_repeats_itself(rows, seed):
    found = bootstrap_interval(rows, rounds=50, seed=seed)
    assert min(rows) <= found.low <= found.high <= max(rows)
    assert found == bootstrap_interval(rows, rounds=50, seed=seed)
    wider = bootstrap_interval(rows, rounds=50, seed=seed, level=0.99)
    assert wider.low <= found.low and found.high <= wider.high


def test_any_statistic_of_rows_can_be_drawn_again():
    guesses, labels = torch.tensor([[0, 1, 1, 0] * 30, [0, 1, 0, 0] * 30])
    found = bootstrap_interval(
        torch.stack([guesses, labels], dim=1), lambda rows: macro_f1(*rows.T)
    )
    assert found.low < found.value == macro_f1(guesses, labels) < found.high


@pytest.mark.slow
def test_drawing_counts_is_drawing_the_examples_that_were_counted():
    p, labels = judged(400, 3)
    counts = confusion(p, labels)
    rows = torch.stack([p.argmax(1), labels], dim=1)
    by_rows = bootstrap_interval(rows, lambda rows: macro_f1(*rows.T))
    by_counts = bootstrap_counts(counts, mean_f1)
    assert by_counts.value == by_rows.value == macro_f1(p, labels)
    width = by_rows.high - by_rows.low
    assert by_counts.low == pytest.approx(by_rows.low, abs=0.08 * width)
    assert by_counts.high == pytest.approx(by_rows.high, abs=0.08 * width)
    assert by_counts == bootstrap_counts(counts, mean_f1)
    totals = bootstrap_counts(counts, lambda t: t.sum().item(), rounds=9)
    assert (totals.low, totals.high) == (400, 400), "none is lost, none is drawn twice"
    with pytest.raises(ValueError, match="what was counted: got 0 examples"):
        bootstrap_counts(torch.zeros(2, 2), mean_f1)
    with pytest.raises(ValueError, match="rounds must be at least 1: got 0"):
        bootstrap_counts(counts, mean_f1, rounds=0)


def test_pairing_tells_apart_what_two_intervals_can_not():
    a = torch.tensor([True] * 88 + [False] * 12)
    b = a.clone()
    b[:5] = False  # where b fails, a fails too, and five times more
    found = bootstrap_difference(a, b)
    assert 0 < found.low <= found.value <= found.high
    assert found.value == pytest.approx(0.05)
    assert bootstrap_interval(a).low < bootstrap_interval(b).high
    back = bootstrap_difference(b, a)
    assert (back.value, back.low, back.high) == pytest.approx(
        (-found.value, -found.high, -found.low)
    )
    none = bootstrap_difference(a, a)
    assert (none.value, none.low, none.high) == (0, 0, 0)


@given(st.integers(1, 60), st.data())
def test_wilsons_interval_is_scipys(n, data):
    from scipy.stats import binomtest

    right = data.draw(st.integers(0, n))
    found = wilson_interval(right, n)
    twin = binomtest(right, n).proportion_ci(0.95, method="wilson")
    assert (found.low, found.high) == pytest.approx((twin.low, twin.high))
    assert 0 <= found.low <= found.value <= found.high <= 1
    assert found.low < found.high


def test_intervals_say_themselves_and_what_they_can_not_take():
    assert str(Interval(0.5, 0.25, 0.75, 0.95)) == "0.500 (0.250 to 0.750)"
    with pytest.raises(ValueError, match=r"draws from rows \(N, ...\): got \(0,\)"):
        bootstrap_interval([])
    with pytest.raises(ValueError, match="rounds must be at least 1: got 0"):
        bootstrap_interval([1], rounds=0)
    with pytest.raises(ValueError, match="between 0 and 1, such as 0.95: got 95"):
        bootstrap_interval([1], level=95)
    with pytest.raises(ValueError, match="between 0 and 1, such as 0.95: got 1"):
        wilson_interval(1, 2, level=1)
    with pytest.raises(ValueError, match=r"same rows: got \(2,\) and \(3,\)"):
        bootstrap_difference([1, 0], [1, 0, 1])
    for right, n in ((3, 2), (-1, 2), (0, 0)):
        with pytest.raises(ValueError, match=f"0 <= right <= n: got {right} of {n}"):
            wilson_interval(right, n)
