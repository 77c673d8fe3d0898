"""Check what the model sees: each window once, and the right labels beside it."""

import random
from itertools import pairwise

import helpers  # noqa: F401, its settings
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from llmkit.batches import (
    NextTokenBatches,
    PairBatches,
    evaluation_batches,
    next_token,
)
from llmkit.metrics import IGNORE

END = 9  # the token that ends a document, where there are documents
small = st.integers(1, 9)
texts = st.lists(st.integers(0, END), min_size=2, max_size=60)


def rows_of(batches: list) -> list[list[int]]:
    """Return every row of some batches: its inputs and its last label."""
    return [
        [*x.tolist(), int(y[-1])]
        for inputs, labels in batches
        for x, y in zip(inputs, labels)
    ]


@given(st.integers(1, 5), st.integers(1, 9))
def test_labels_are_the_inputs_shifted_by_one(B, T):
    rows = torch.arange(B * (T + 1)).view(B, T + 1)
    inputs, labels = next_token(rows)
    assert inputs.equal(rows[:, :-1]) and labels.equal(rows[:, 1:])


@given(small, small, st.integers(0, 100), st.integers(0, 5))
def test_every_window_comes_once_in_an_epoch(context, batch_size, more, epoch):
    N = context * (batch_size + 1) + 1 + more
    batches = NextTokenBatches(torch.arange(N), context, batch_size)
    dealt = [batches[epoch * len(batches) + i] for i in range(len(batches))]
    starts = sorted(int(x[0]) for inputs, _ in dealt for x in inputs)
    assert len(set(starts)) == len(starts) == len(batches) * batch_size
    assert len({start % context for start in starts}) == 1  # side by side, no overlap
    assert starts[0] >= 0 and starts[-1] + context < N
    for inputs, labels in dealt:
        assert inputs.shape == labels.shape == (batch_size, context)
        assert labels.equal(inputs + 1)
    if batch_size == 1:  # nothing is left over when rows fill batches evenly
        assert len(starts) == (N - 1) // context - 1


def test_a_batch_depends_on_seed_and_number_alone():
    def make(seed):
        return NextTokenBatches(torch.arange(200), context=8, batch_size=3, seed=seed)

    forwards, backwards, other = make(4), make(4), make(5)
    number = 3 * len(forwards)
    there = [forwards[i] for i in range(number)]
    back = [backwards[i] for i in reversed(range(number))][::-1]
    for (x, y), (x_again, y_again) in zip(there, back):
        assert x.equal(x_again) and y.equal(y_again)
    assert sum(there[i][0].equal(other[i][0]) for i in range(number)) < number / 4
    epochs = [rows_of(there[i : i + len(forwards)]) for i in (0, len(forwards))]
    assert epochs[0] != epochs[1]  # another epoch, another order
    assert epochs[0] != sorted(epochs[0])  # and never the text's


@given(st.lists(small, min_size=6, max_size=20), st.integers(1, 12), st.integers(1, 3))
def test_rows_begin_at_boundaries_and_cut_no_document_that_fits(lengths, context, B):
    # Document d is its number, repeated; boundaries stand between documents.
    documents = [[10 + d] * n for d, n in enumerate(lengths)]
    ids = torch.tensor([i for document in documents for i in [*document, END]])
    whole = [document for document in documents[1:]]
    try:
        batches = NextTokenBatches(ids, context, B, boundary=END)
    except ValueError:
        return  # too short a text for one batch; another test has it
    firsts = []
    for inputs, labels in (batches[i] for i in range(len(batches))):
        for x, y in zip(inputs.tolist(), labels.tolist()):
            assert x[0] == END and x[1:] == y[:-1]
            first = whole[y[0] - 11]
            firsts.append(y[0])
            assert y[: len(first)] == first[:context]  # from its first token on
    assert len(set(firsts)) == len(firsts)


@given(texts, small, small)
def test_evaluation_asks_for_every_token_but_the_first_once(text, context, batch_size):
    ids = torch.tensor(text)
    for boundary in (None, END) if END in text else (None,):
        asked, seen = [], []
        for inputs, labels in evaluation_batches(ids, context, batch_size, boundary):
            assert inputs.shape == labels.shape and len(inputs) <= batch_size
            assert inputs.shape[1] == context and (inputs >= 0).all()
            for x, y in zip(inputs, labels):
                asked += y[y != IGNORE].tolist()
                seen += x[y != IGNORE].tolist()
        assert asked == text[1:] and seen == text[:-1]


@given(st.lists(st.integers(0, 9), min_size=1, max_size=20), st.integers(1, 12))
def test_evaluation_never_cuts_a_document_that_fits(lengths, context):
    text = [i for d, n in enumerate(lengths) for i in [*[10 + d] * n, END]]
    if len(text) < 2:
        return
    windows = []
    for _, labels in evaluation_batches(torch.tensor(text), context, boundary=END):
        windows += [y[y != IGNORE].tolist() for y in labels]
    for d, n in enumerate(lengths[1:], start=1):
        if 0 < n < context:  # with its end it is n + 1 labels
            assert sum(10 + d in window for window in windows) == 1
    for one, following in pairwise(windows):
        if END in following and one[-1] == END:  # else a long document is being cut
            assert len(one) + following.index(END) + 1 > context  # it was full


def test_the_last_window_is_filled_up_with_what_asks_for_nothing():
    ((inputs, labels),) = evaluation_batches(torch.tensor([3] * 5), context=3)
    assert inputs.tolist() == [[3, 3, 3], [3, 3, 0]]
    assert labels.tolist() == [[3, 3, 3], [3, IGNORE, IGNORE]]


@pytest.mark.parametrize("cut", [NextTokenBatches, evaluation_batches])
def test_a_text_that_is_too_short_is_refused_in_words(cut):
    with pytest.raises(ValueError, match="the text is 1 tokens long: there is no next"):
        cut(torch.tensor([1]), 4, 1)
    with pytest.raises(ValueError, match="at least 1 token: got context 0"):
        cut(torch.arange(9), 0, 1)
    with pytest.raises(
        ValueError, match="boundary token 50 does not occur .* leave it"
    ):
        cut(torch.arange(9), 4, 1, boundary=50)


@pytest.mark.parametrize("boundary", [None, END])
def test_too_few_rows_for_one_batch_are_refused_in_words(boundary):
    ids = torch.tensor([1, 2, END, 3, 4, 5, 6])
    rows = 0 if boundary is None else 1
    words = f"needs 2 rows of 4 tokens and the text gives {rows}; use more text"
    with pytest.raises(ValueError, match=words):
        NextTokenBatches(ids, 4, batch_size=2, boundary=boundary)


# Pairs


@given(st.integers(1, 12), st.integers(1, 4), st.integers(0, 9))
def test_pairs_come_each_once_an_epoch_padded_and_masked(n, batch_size, seed):
    rng = random.Random(seed)
    some = [
        ([rng.randint(1, 9) for _ in range(rng.randint(1, 5))], [i + 1] * (i % 4))
        for i in range(n)
    ]
    if n < batch_size:
        with pytest.raises(ValueError, match=f"needs {batch_size} pairs and there are"):
            PairBatches(some, batch_size, 0)
        return
    batches = PairBatches(some, batch_size, 0, seed)
    seen = []
    for step in range(len(batches)):
        (source, target, mask), labels = batches[step]
        assert source.shape == mask.shape and target.shape == labels.shape
        for row in zip(source, mask, target, labels):
            words, is_token, given, asked = row
            length = int(is_token.sum())
            assert is_token[:length].all() and (words[length:] == 0).all()
            answer = asked[asked != IGNORE].tolist()
            assert answer[-1] == 0  # when to stop
            assert given[: len(answer)].tolist() == [0, *answer[:-1]]
            seen.append((words[:length].tolist(), answer[:-1]))
        assert torch.equal(
            batches[step][0][0], PairBatches(some, batch_size, 0, seed)[step][0][0]
        )
    assert len(seen) == len(batches) * batch_size
    left = list(some)
    for pair in seen:
        left.remove(pair)  # raises where one came twice
