"""Check each kind of positions against its paper's formula, written out in loops."""

import math

import helpers  # noqa: F401, its settings
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.testing import assert_close

from llmkit.positions import alibi, learned, rotary, rotate, sinusoidal

lengths = st.integers(1, 24)
even = st.integers(1, 8).map(lambda half: 2 * half)


@given(lengths, even, st.floats(2, 1e5))
def test_sinusoidal_is_the_formula_at_every_index(length, width, base):
    expected = torch.empty(length, width)
    for t in range(length):
        for i in range(width // 2):
            angle = t / base ** (2 * i / width)
            expected[t, 2 * i] = math.sin(angle)
            expected[t, 2 * i + 1] = math.cos(angle)
    assert_close(sinusoidal(length, width, base), expected)


def test_sinusoidal_stays_exact_far_out():
    # In float32 the angle itself would be wrong by 0.004 here.
    assert sinusoidal(100_001, 2)[-1, 0] == pytest.approx(math.sin(1e5), abs=1e-6)


def test_no_two_positions_share_a_sinusoidal_row():
    table = sinusoidal(2_000, 16)
    apart = torch.cdist(table, table) + 9 * torch.eye(2_000)
    assert apart.min() > 0.1


@given(lengths, lengths)
def test_learned_rows_are_those_of_the_table_and_learn_alone(length, start):
    table = torch.randn(start + length + 2, 3, requires_grad=True)
    rows = learned(table, length, start)
    assert torch.equal(rows, table[start : start + length])
    rows.sum().backward()
    moved = torch.zeros(len(table), 3)
    moved[start : start + length] = 1
    assert torch.equal(table.grad, moved)


def test_a_learned_table_ends_where_it_ends():
    with pytest.raises(
        ValueError, match="knows 4 positions: got a text that ends at p"
    ):
        learned(torch.zeros(4, 2), length=3, start=2)


@given(lengths, even, st.floats(2, 1e5))
def test_rotary_is_the_angle_at_every_index(length, width, base):
    expected = torch.empty(2, length, width // 2)
    for t in range(length):
        for i in range(width // 2):
            angle = t / base ** (2 * i / width)
            expected[0, t, i] = math.cos(angle)
            expected[1, t, i] = math.sin(angle)
    assert_close(rotary(length, width, base), expected)


@given(st.integers(0, 30), st.integers(0, 30), st.integers(0, 30), even)
def test_rotated_scores_depend_on_distance_alone(t, s, shift, width):
    torch.manual_seed(width)
    q, k = torch.randn(2, width, dtype=torch.float64)
    turns = rotary(100, width).double()

    def score(query_at: int, key_at: int) -> float:
        rotated = rotate(q[None], turns[:, query_at : query_at + 1])
        return float(rotated @ rotate(k[None], turns[:, key_at : key_at + 1]).mT)

    assert score(t, s) == pytest.approx(score(t + shift, s + shift), abs=1e-5)


def test_rotated_scores_do_depend_on_distance():
    q, turns = torch.ones(1, 4), rotary(9, 4)
    scores = rotate(q, turns[:, :1]) @ rotate(q.expand(9, 4), turns).mT
    assert len(set(scores[0].tolist())) == 9


@given(lengths, even)
def test_rotate_keeps_the_length_of_every_vector(length, width):
    torch.manual_seed(length)
    x = torch.randn(2, 3, length, width)
    assert_close(rotate(x, rotary(length, width)).norm(dim=-1), x.norm(dim=-1))


def test_rotate_turns_the_point_of_dimensions_i_and_i_plus_half():
    x = torch.tensor([[1.0, 0.0, 0.0, 2.0]])  # the points (1, 0) and (0, 2)
    cos, sin = turns = rotary(2, 4)[:, 1:]
    expected = [cos[0, 0], -2 * sin[0, 1], sin[0, 0], 2 * cos[0, 1]]
    assert_close(rotate(x, turns)[0], torch.stack(expected))


@given(st.integers(1, 8), st.integers(1, 8))
def test_alibi_is_slope_times_distance(heads, length):
    expected = torch.empty(heads, length, length)
    for h in range(heads):
        for t in range(length):
            for s in range(length):
                expected[h, t, s] = -abs(t - s) * 2 ** (-8 * (h + 1) / heads)
    assert_close(alibi(heads, length), expected)


@pytest.mark.parametrize("make", [sinusoidal, rotary])
@pytest.mark.parametrize("width", [0, 1, 7])
def test_an_odd_width_is_refused_in_words(make, width):
    with pytest.raises(ValueError, match=f"pairs: got width {width}, expected an even"):
        make(4, width)
