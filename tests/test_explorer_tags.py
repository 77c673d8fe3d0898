"""Tags: each planted head is found, none is seen where there is none."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmkit.explorer.tags import EVEN, LEAST, MEANINGS, MOST, find_tags

SIZES = st.integers(5, 12)


def keys_of(name: str, tokens, t: int, special) -> list[int]:
    """Say in plain words where a head of this name looks from position t."""
    T = len(tokens)
    text = [s for s in range(T) if s not in special]
    if name == "previous":
        return [t - 1] if t else []
    if name == "next":
        return [t + 1] if t + 1 < T else []
    if name == "first":
        return [0] if t else []
    if name == "special":
        return [s for s in special if s] if t in text else []
    same = [s for s in text if t in text and tokens[s] == tokens[t]]
    if name == "same token":
        return same
    return [s + 1 for s in same if s + 1 < t]  # induction


def visible(T: int, t: int, causal: bool) -> list[int]:
    return list(range(t + 1 if causal else T))


def planted(name: str, tokens, causal: bool, special=()) -> np.ndarray:
    """Build a head (T, T) that looks evenly at its keys, or at all where none is."""
    T = len(tokens)
    head = np.zeros((T, T))
    for t in range(T):
        seen = visible(T, t, causal)
        keys = [s for s in keys_of(name, tokens, t, special) if s in seen] or seen
        head[t, keys] = 1 / len(keys)
    return head


def score(name: str, head, tokens, causal: bool, special=()):
    """Compute share, what an even look would have, and queries, by loops."""
    shares, even = [], []
    for t in range(len(tokens)):
        seen = visible(len(tokens), t, causal)
        keys = [s for s in keys_of(name, tokens, t, special) if s in seen]
        if keys and len(seen) > 1:
            shares.append(sum(head[t, s] for s in keys))
            even.append(len(keys) / len(seen))
    n = len(shares)
    return (sum(shares) / n, sum(even) / n, n) if n else (0.0, 0.0, 0)


def names(tags) -> list[str]:
    return [tag.name for tag in tags]


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("name", ["previous", "next", "first"])
@given(T=SIZES)
def test_heads_that_look_at_a_place_have_that_tag_alone(name, causal, T):
    tokens = [f"word {t}" for t in range(T)]
    head = planted(name, tokens, causal)
    (tag, *more) = find_tags(head[None, None], tokens, causal) or (None,)
    if name == "next" and causal:  # it sees no such thing, and looks everywhere
        assert (tag.name, more) == ("uniform", [])
    else:
        assert (tag.name, tag.score, more) == (name, pytest.approx(1), [])


@given(T=SIZES)
def test_a_head_that_looks_at_sep_is_special(T):
    tokens = ["[CLS]", *(f"word {t}" for t in range(T)), "[SEP]"]
    special = {0, T + 1}
    head = planted("special", tokens, False, special)
    assert "special" in names(find_tags(head[None, None], tokens, False, special))
    assert "special" not in names(find_tags(head[None, None], tokens, False))


@given(T=SIZES, repeats=st.integers(2, 4))
def test_an_induction_head_is_found_in_a_text_that_repeats(T, repeats):
    tokens = [f"word {t}" for t in range(T)] * repeats
    head = planted("induction", tokens, causal=True)
    (tag,) = find_tags(head[None, None], tokens, causal=True)
    assert (tag.name, tag.score) == ("induction", pytest.approx(1))


def test_induction_is_not_seen_where_nothing_repeats():
    tokens = ["one", "two", "three", "four", "five", "six"]
    head = planted("previous", tokens, causal=True)
    assert names(find_tags(head[None, None], tokens, True)) == ["previous"]


@pytest.mark.parametrize("causal", [False, True])
@given(T=SIZES, repeats=st.integers(2, 3))
def test_a_head_that_looks_at_the_same_token_is_found(causal, T, repeats):
    tokens = [f"word {t}" for t in range(T)] * repeats
    head = planted("same token", tokens, causal)
    (tag,) = find_tags(head[None, None], tokens, causal)
    assert (tag.name, tag.score) == ("same token", pytest.approx(1))


@given(T=SIZES, causal=st.booleans(), words=st.integers(1, 12))
def test_an_even_look_is_uniform_and_nothing_else(T, causal, words):
    tokens = [f"word {t % words}" for t in range(T)]
    head = np.tril(np.ones((T, T))) if causal else np.ones((T, T))
    head /= head.sum(axis=1, keepdims=True)
    (tag,) = find_tags(head[None, None], tokens, causal)
    assert (tag.name, tag.score) == ("uniform", pytest.approx(1))


@given(st.data())
def test_scores_and_bars_are_those_of_the_plain_definition(data):
    T = data.draw(st.integers(1, 9))
    tokens = data.draw(st.lists(st.sampled_from("abc"), min_size=T, max_size=T))
    special = data.draw(st.sets(st.integers(0, T - 1), max_size=2))
    causal = data.draw(st.booleans())
    sharp = data.draw(st.sampled_from([0.1, 1.0, 5.0, 30.0]))
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    scores = sharp * rng.normal(size=(2, 3, T, T))
    if causal:
        scores[:, :, ~np.tril(np.ones((T, T), bool))] = -np.inf
    weights = np.exp(scores - scores.max(-1, keepdims=True))
    weights = (weights / weights.sum(-1, keepdims=True)).astype(np.float32)
    found = find_tags(weights, tokens, causal, special)
    assert list(found) == sorted(found, key=lambda x: (x.layer, x.head))
    got = {(x.layer, x.head, x.name): x.score for x in found}
    wanted = {}
    for layer, head in np.ndindex(2, 3):
        for name in set(MEANINGS) - {"uniform"}:
            w = weights[layer, head]
            share, even, n = score(name, w, tokens, causal, special)
            if n >= LEAST and even <= MOST and share >= (1 + even) / 2:
                wanted[layer, head, name] = share
        rows = [t for t in range(T) if len(visible(T, t, causal)) > 1]
        each = {t: len(visible(T, t, causal)) for t in rows}
        like = [
            sum(min(weights[layer, head, t, s], 1 / each[t]) for s in range(each[t]))
            for t in rows
        ]
        if len(rows) >= LEAST and np.mean(like) >= EVEN:
            wanted[layer, head, "uniform"] = np.mean(like)
    assert got == pytest.approx(wanted, abs=1e-5)
    assert all(0 <= tag.score <= 1 for tag in found)


def test_a_head_has_every_tag_that_it_deserves():
    tokens = ["the", "cat"] * 4  # what came after the last "cat" is the token before
    head = planted("previous", tokens, causal=True)
    assert names(find_tags(head[None, None], tokens, True)) == ["previous", "induction"]


def test_a_head_that_does_half_of_two_things_has_no_tag():
    tokens = [f"word {t}" for t in range(8)]
    halves = planted("previous", tokens, True) / 2 + planted("first", tokens, True) / 2
    assert find_tags(halves[None, None], tokens, causal=True) == ()


def test_in_two_tokens_nothing_can_be_told():
    assert find_tags(np.eye(2)[None, None], ["a", "b"], causal=True) == ()
    assert find_tags(np.ones((1, 1, 1, 1)), ["a"]) == ()
