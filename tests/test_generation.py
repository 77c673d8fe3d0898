"""Check what is drawn from, against plain references, and how a text is continued."""

import math

import pytest
import torch
from helpers import POSITIONS, as_gpt2, loud, random_ids, random_mask, small_model
from hypothesis import given
from hypothesis import strategies as st
from torch.testing import assert_close

from llmkit.generation import generate, next_token_probabilities
from llmkit.transformer import Encoder, Seq2Seq

score = st.integers(-80, 80).map(lambda n: n / 4)  # far enough apart to be ranked
scores = st.lists(score, min_size=1, max_size=12, unique=True)
temperatures = st.floats(0.1, 5)
each_kind = pytest.mark.parametrize("positions", POSITIONS)


def reference(logits, temperature, top_k=None, top_p=None) -> list[float]:
    """Work out the probabilities one token at a time, in plain Python."""
    top = max(logits)
    powers = [math.exp((x - top) / temperature) for x in logits]
    p = [power / sum(powers) for power in powers]
    best = sorted(range(len(p)), key=lambda i: -p[i])
    kept, mass = [], 0.0
    for i in best[:top_k]:
        if top_p is not None and mass >= top_p:
            break
        kept.append(i)
        mass += p[i]
    return [p[i] / mass if i in kept else 0.0 for i in range(len(p))]


def continued(model, ids, count, **settings) -> torch.Tensor:
    """Return what `generate` adds to ids: (B, count)."""
    return torch.stack(list(generate(model, ids, count, **settings)), dim=1)


@given(scores, temperatures)
def test_temperature_divides_the_logits(logits, temperature):
    p = next_token_probabilities(torch.tensor(logits), temperature)
    expected = torch.tensor(reference(logits, temperature))
    assert_close(p, expected, atol=1e-5, rtol=1e-4)


@given(scores, temperatures, st.integers(1, 14))
def test_top_k_keeps_the_k_best(logits, temperature, k):
    p = next_token_probabilities(torch.tensor(logits), temperature, top_k=k)
    expected = torch.tensor(reference(logits, temperature, top_k=k))
    assert_close(p, expected, atol=1e-5, rtol=1e-4)


@given(
    scores, temperatures, st.floats(0.01, 1), st.one_of(st.none(), st.integers(1, 9))
)
def test_top_p_keeps_the_fewest_that_reach_p(logits, temperature, top_p, k):
    p = next_token_probabilities(torch.tensor(logits), temperature, k, top_p)
    nearby = [  # rounding may put a token on either side of the line
        torch.tensor(reference(logits, temperature, k, top_p + e))
        for e in (-1e-5, 1e-5)
    ]
    assert any(torch.allclose(p, each, atol=1e-4) for each in nearby)
    assert float(p.sum()) == pytest.approx(1, abs=1e-5)


def test_top_p_of_one_drops_nothing():
    # In float32 these 50,000 probabilities add up to more than 1.
    torch.manual_seed(0)
    logits = 3 * torch.randn(50_000)
    assert (next_token_probabilities(logits, top_p=1.0) > 0).all()


@given(scores)
def test_temperature_zero_leaves_only_the_best(logits):
    p = next_token_probabilities(torch.tensor(logits), temperature=0.0)
    assert p.tolist() == [float(x == max(logits)) for x in logits]


def test_every_row_of_a_batch_is_on_its_own():
    torch.manual_seed(0)
    logits = torch.randn(2, 3, 9)
    together = next_token_probabilities(logits, 0.7, top_k=5, top_p=0.8)
    for row, alone in zip(together.flatten(0, 1), logits.flatten(0, 1)):
        assert_close(row, next_token_probabilities(alone, 0.7, top_k=5, top_p=0.8))


def test_tokens_are_drawn_as_often_as_they_are_probable():
    model, ids = small_model(), random_ids(1, 4).expand(4_000, 4)
    drawn = continued(model, ids, 1, temperature=1.5, top_k=5, seed=3).flatten()
    with torch.no_grad():
        p = next_token_probabilities(model(ids[:1])[0, -1], 1.5, top_k=5)
    assert_close(drawn.bincount(minlength=11) / 4_000, p, atol=0.04, rtol=0)


@each_kind
def test_greedy_is_the_most_probable_token_each_time(positions):
    model, text = small_model(positions=positions), random_ids(2, 3)
    for token in generate(model, text, 5, temperature=0):
        with torch.no_grad():
            assert token.equal(model(text)[:, -1].argmax(-1))
        text = torch.cat([text, token[:, None]], dim=1)


@each_kind
@pytest.mark.parametrize("prompt", [1, 5, 8, 13])
def test_cached_equals_uncached_also_beyond_the_context(positions, prompt):
    model, ids = small_model(positions=positions), random_ids(3, prompt)
    for settings in (dict(temperature=0), dict(seed=1, top_p=0.9)):
        cached = continued(model, ids, 30, **settings)
        assert cached.equal(continued(model, ids, 30, cache=False, **settings))


def test_a_context_of_one_can_still_be_continued():
    model = small_model(context=1)
    both = [continued(model, random_ids(1, 3), 6, seed=0, cache=c) for c in (0, 1)]
    assert both[0].equal(both[1])


def test_beyond_the_context_it_reads_between_half_and_all_of_it():
    model, lengths = small_model(), []
    model.register_forward_hook(lambda _, args, out: lengths.append(out.size(1)))
    list(generate(model, random_ids(1, 3), 30, cache=False))
    assert lengths[:9] == [3, 4, 5, 6, 7, 8, 4, 5, 6]
    lengths.clear()
    list(generate(model, random_ids(1, 3), 30))
    assert lengths[:9] == [3, 1, 1, 1, 1, 1, 4, 1, 1]  # with a cache mostly one a step


def test_a_seed_decides_everything_and_leaves_torchs_own_dice_alone():
    model, ids = small_model(), random_ids(2, 3)
    torch.manual_seed(0)
    one = continued(model, ids, 20, seed=5)
    torch.manual_seed(1)
    before = torch.get_rng_state()
    assert one.equal(continued(model, ids, 20, seed=5))
    assert torch.get_rng_state().equal(before)
    assert not one.equal(continued(model, ids, 20, seed=6))


def test_the_caller_may_stop_at_any_token():
    model = small_model()
    model.train()
    tokens = generate(model, random_ids(1, 2), 100)
    next(tokens)
    assert not model.training
    tokens.close()
    assert model.training and torch.is_grad_enabled()
    assert list(generate(model, random_ids(1, 2), 0)) == []


def test_greedy_equals_gpt2s_within_the_context():
    model, ids = small_model(context=32), random_ids(2, 4)
    theirs = as_gpt2(model, "eager").generate(
        ids,
        attention_mask=torch.ones_like(ids),
        max_new_tokens=28,
        do_sample=False,
        pad_token_id=0,
        eos_token_id=None,
    )
    assert continued(model, ids, 28, temperature=0).equal(theirs[:, 4:])


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (dict(temperature=-0.1), r"must be 0 \(greedy\) or more: got -0.1; try 0.8"),
        (dict(temperature=math.nan), "greedy.* or more: got nan"),
        (dict(top_k=0), "top_k keeps at least 1 token: got 0"),
        (dict(top_p=0.0), "above 0 and up to 1: got 0.0"),
        (dict(top_p=1.1), "above 0 and up to 1: got 1.1"),
        (dict(seed=-1), "seed must be from 0 to .*: got -1"),
        (dict(seed=10**20), "seed must be from 0 to .*: got 1000"),
        (dict(max_new_tokens=-1), "max_new_tokens must be 0 or more: got -1"),
    ],
)
def test_a_setting_out_of_its_range_is_refused_in_words(settings, words):
    with pytest.raises(ValueError, match=words):
        next(
            generate(
                small_model(), random_ids(1, 2), **dict(max_new_tokens=3) | settings
            )
        )


@pytest.mark.parametrize("shape", [(1, 0), (4,)])
def test_a_prompt_without_tokens_is_refused_in_words(shape):
    with pytest.raises(ValueError, match=r"at least one token: got \(.*begin with the"):
        next(generate(small_model(), random_ids(*shape), 3))


def test_only_a_decoder_continues_a_text():
    config = small_model().config
    for model in (Encoder(config), Seq2Seq(config)):
        with pytest.raises(ValueError, match="got .*; of a Seq2Seq give model.decoder"):
            next(generate(model, random_ids(1, 2), 1))


@pytest.mark.parametrize("cache", [False, True])
@each_kind
def test_a_seq2seq_writes_what_its_logits_say(positions, cache):
    model = loud(Seq2Seq(small_model(positions=positions).config))
    source, mask = random_ids(3, 6), random_mask(3, 6)
    text = random_ids(3, 1, seed=1)
    memory = model.encode(source, mask)
    told = continued(model.decoder, text, 7, temperature=0, cache=cache, memory=memory)
    for _ in range(7):
        best = model(source, text, mask)[:, -1].argmax(dim=-1)
        text = torch.cat([text, best[:, None]], dim=1)
    assert torch.equal(told, text[:, 1:])
