"""Check the scores against torch's own, and that sums add up however a batch is cut."""

import math

import pytest
import torch
import torch.nn.functional as F
from helpers import random_ids
from hypothesis import given
from hypothesis import strategies as st
from torch.testing import assert_close

from llmkit.metrics import (
    IGNORE,
    bits_per_byte,
    perplexity,
    token_accuracy,
    token_loss,
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
