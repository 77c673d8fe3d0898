"""Check the batches of labelled texts: all rows, little filled up, words hidden."""

import math
import random

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from llmkit.batches import ClassBatches, side_by_side
from llmkit.batches.buckets import POOL

FILLER, BLANK, FIRST = 1, 3, 100


def make_rows(lengths: list[int]) -> list[list[int]]:
    """Make rows of these lengths; row i begins with 100 + i, so that it is known."""
    return [[FIRST + i] + [7] * (n - 1) for i, n in enumerate(lengths)]


def make_batches(lengths: list[int], batch_size: int, **options) -> ClassBatches:
    """Make batches in which the label of each row is its number."""
    rows = make_rows(lengths)
    return ClassBatches(rows, range(len(rows)), batch_size, FILLER, **options)


def an_epoch(batches: ClassBatches, epoch: int = 0) -> list:
    first = epoch * len(batches)
    return [batches[i] for i in range(first, first + len(batches))]


lengths = st.lists(st.integers(1, 12), min_size=1, max_size=40)
few = st.integers(1, 7)
seeds = st.integers(0, 2**32 - 1)


@given(lengths, few, seeds, st.integers(0, 3))
def test_an_epoch_holds_every_row_once_as_it_is_with_its_label(
    lengths, batch_size, seed, epoch
):
    batches, rows = make_batches(lengths, batch_size, seed=seed), make_rows(lengths)
    seen = []
    for (ids, mask), labels in an_epoch(batches, epoch):
        assert ids.shape == mask.shape and len(ids) == len(labels)
        assert mask.dtype is torch.bool and ids.dtype is labels.dtype is torch.int64
        for row, real, label in zip(ids, mask, labels.tolist()):
            assert row[real].tolist() == rows[label]
            assert real.tolist() == [True] * len(rows[label]) + [False] * (
                len(row) - len(rows[label])
            )
            assert (row[~real] == FILLER).all()
        assert ids.shape[1] == max(len(rows[label]) for label in labels.tolist())
        seen += labels.tolist()
    assert sorted(seen) == [*range(len(rows))]


@given(lengths, few, seeds)
def test_one_batch_of_an_epoch_may_be_smaller(lengths, batch_size, seed):
    batches = make_batches(lengths, batch_size, seed=seed)
    sizes = sorted(len(labels) for _, labels in an_epoch(batches))
    assert len(batches) == math.ceil(len(lengths) / batch_size)
    assert sizes[1:] == [batch_size] * (len(batches) - 1)
    assert sizes[0] == (len(lengths) % batch_size or batch_size)


@given(lengths, few, seeds, st.lists(st.integers(0, 99), min_size=1, max_size=6))
def test_the_batch_of_a_step_is_the_same_whatever_was_asked_before(
    lengths, batch_size, seed, steps
):
    options = dict(seed=seed, blank=0.3, blank_id=BLANK)
    batches = make_batches(lengths, batch_size, **options)
    for step in [*steps, *reversed(steps)]:
        (ids, mask), labels = batches[step]
        fresh = make_batches(lengths, batch_size, **options)
        (same_ids, same_mask), same_labels = fresh[step]
        assert torch.equal(ids, same_ids) and torch.equal(mask, same_mask)
        assert torch.equal(labels, same_labels)


def test_each_epoch_and_each_seed_has_an_order_of_its_own():
    one, other = (make_batches([5] * 40, 4, seed=seed) for seed in (0, 1))
    orders = [
        torch.cat([labels for _, labels in an_epoch(batches, epoch)]).tolist()
        for batches in (one, other)
        for epoch in (0, 1)
    ]
    assert len({tuple(order) for order in orders}) == 4


def share_filled(epoch: list) -> float:
    masks = [mask.flatten() for (_, mask), _ in epoch]
    return 1 - torch.cat(masks).double().mean().item()


@given(lengths, few, seeds)
def test_filled_is_what_the_first_epoch_fills_up(lengths, batch_size, seed):
    batches = make_batches(lengths, batch_size, seed=seed)
    assert batches.filled == pytest.approx(share_filled(an_epoch(batches)), abs=1e-9)
    assert 0 <= batches.filled < 1


@given(st.integers(0, 99))
def test_far_less_is_filled_up_than_in_a_random_order(seed):
    lots = random.Random(seed)
    lengths = [min(3 + int(lots.expovariate(1 / 20)), 128) for _ in range(640)]
    batches = make_batches(lengths, 16, seed=seed)
    order = lots.sample(lengths, len(lengths))
    some = [order[i : i + 16] for i in range(0, len(order), 16)]
    at_random = 1 - sum(lengths) / sum(max(batch) * len(batch) for batch in some)
    assert at_random > 0.5 and batches.filled < at_random / 8


def test_rows_are_sorted_within_pools_and_not_over_all_of_them():
    lengths = [1 + i % 50 for i in range(2 * POOL * 4)]  # two pools of batches of 4
    batches = make_batches(lengths, 4)
    longest = [ids.shape[1] for (ids, _), _ in an_epoch(batches)]
    assert batches.filled < 0.03
    whole = sorted(max(sorted(lengths)[i : i + 4]) for i in range(0, len(lengths), 4))
    assert sorted(longest) != whole  # so that like does not always meet like


def test_batches_come_in_random_order_not_by_their_lengths():
    longest = [
        [ids.shape[1] for (ids, _), _ in an_epoch(make_batches([*range(1, 81)], 2), e)]
        for e in (0, 1)
    ]
    assert longest[0] != sorted(longest[0]) and longest[0] != longest[1]
    assert sorted(longest[0]) == sorted(longest[1]) == [*range(2, 81, 2)]


# Word dropout


def hidden_of(batches: ClassBatches, epoch: int) -> torch.Tensor:
    """Return where something is hidden: (rows, T), rows in their own order."""
    found = torch.zeros(len(batches.rows), max(map(len, batches.rows)), dtype=bool)
    plain = ClassBatches(batches.rows, batches.labels, batches.batch_size, FILLER)
    assert plain.seed == batches.seed
    both = zip(an_epoch(batches, epoch), an_epoch(plain, epoch))
    for ((ids, mask), labels), ((before, _), same_labels) in both:
        assert torch.equal(labels, same_labels)
        hidden = ids != before
        assert (ids[hidden] == BLANK).all() and not (hidden & ~mask).any()
        found[labels, : ids.shape[1]] |= hidden
    return found


@pytest.mark.parametrize("share", [0.05, 0.3, 0.9])
def test_word_dropout_hides_about_its_share_and_others_in_each_epoch(share):
    lengths = [1 + i % 60 for i in range(300)]
    batches = make_batches(
        lengths, 16, blank=share, blank_id=BLANK, special=frozenset({FIRST + 5})
    )
    once, again = hidden_of(batches, 0), hidden_of(batches, 1)
    n = sum(lengths) - 1  # one token is special
    within = 5 * (share * (1 - share) / n) ** 0.5  # of a binomial, one in two million
    for hidden in (once, again):
        assert abs(hidden.sum().item() / n - share) < within
        assert not hidden[5, 0]
    both = (once & again).sum().item() / n
    assert abs(both - share**2) < 5 * (share**2 * (1 - share**2) / n) ** 0.5


@given(lengths, few, seeds)
def test_special_tokens_and_what_fills_up_are_never_hidden(lengths, batch_size, seed):
    first = range(FIRST, FIRST + len(lengths))
    batches = make_batches(
        lengths, batch_size, seed=seed, blank=0.99, blank_id=BLANK, special={*first}
    )
    for (ids, mask), labels in an_epoch(batches):
        assert (ids[:, 0] == FIRST + labels).all() and (ids[~mask] == FILLER).all()
        assert ((ids == 7) | (ids == BLANK))[:, 1:][mask[:, 1:]].all()


def test_the_same_places_of_a_batch_are_not_hidden_again_in_the_next_epoch():
    batches = make_batches([30] * 16, 16, blank=0.5, blank_id=BLANK)
    patterns = [batches[epoch][0][0] == BLANK for epoch in range(4)]
    for i, one in enumerate(patterns):
        for other in patterns[:i]:
            assert 0.4 < (one == other).double().mean() < 0.6


def test_without_word_dropout_nothing_is_hidden():
    for (ids, _), _ in an_epoch(make_batches([9] * 50, 8, blank_id=BLANK)):
        assert not (ids == BLANK).any()


# Mistakes


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (dict(batch_size=0), "a batch needs at least 1 row: got 0"),
        (dict(blank=1.0), "blank is a share of tokens, from 0 to below 1: got 1.0"),
        (dict(blank=-0.1), "blank is a share .*: got -0.1"),
        (dict(labels=[0]), "each text has one label: got 2 texts and 1 labels"),
        (dict(rows=[], labels=[]), "got 0 texts and 0 labels; give at least one of"),
    ],
)
def test_a_mistake_is_one_line_that_says_what_to_do(arguments, words):
    whole = dict(rows=[[1], [2]], labels=[0, 1], batch_size=2) | arguments
    with pytest.raises(ValueError, match=words):
        ClassBatches(**whole)


@given(st.lists(st.lists(st.integers(2, 99), max_size=9), min_size=1, max_size=9))
def test_side_by_side_keeps_each_row(rows):
    ids, mask = side_by_side(rows, FILLER)
    assert [row[real].tolist() for row, real in zip(ids, mask)] == rows
    assert (ids[~mask] == FILLER).all() and ids.shape[1] == max(map(len, rows))
