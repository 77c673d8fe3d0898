"""The picture of a distribution: all tokens, with and without a rule of sampling."""

import numpy as np
import pytest

from llmkit.figures import distribution


@pytest.mark.slow
def test_every_token_is_drawn_and_a_removed_one_has_no_dot():
    before, after = [0.1, 0.6, 0.3], [0.0, 0.75, 0.25]
    picture = distribution(before, after, ["c", " a", "b"], "top-k 2", shown=2)
    bars, ranks = picture.figure.axes
    assert [bar.get_height() for bar in bars.patches] == [0.6, 0.3, 0.75, 0.25]
    model, kept = (line.get_xydata() for line in ranks.lines)
    assert model.tolist() == [[1, 0.6], [2, 0.3], [3, 0.1]]  # the likeliest first
    assert kept.tolist() == [[1, 0.75], [2, 0.25]]
    assert picture.alt == ("top-k 2: 2 of 3 tokens left; ␣a 0.6 → 0.75, b 0.3 → 0.25.")
    assert picture.png().startswith(b"\x89PNG")


def test_a_probability_of_zero_can_be_drawn():
    p = np.array([1.0, 0.0])  # greedy, before and after
    picture = distribution(p, p, ["a", "b"])
    assert picture.png() and "1 of 2 tokens left" in picture.alt


def test_other_lengths_are_refused():
    with pytest.raises(
        ValueError, match=r"one of each a token: got \(2,\), \(1,\) and"
    ):
        distribution([0.5, 0.5], [1.0], ["a", "b"])
