"""Check what is drawn from, against plain references, and how a text is continued."""

import math
from dataclasses import replace

import pytest
import torch
from helpers import POSITIONS, as_gpt2, loud, random_ids, random_mask, small_model
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.testing import assert_close

from llmkit.generation import (
    accept,
    fill_mask,
    generate,
    next_token_probabilities,
    prompt_lookup,
)
from llmkit.transformer import Decoder, Encoder, MaskedLM, Seq2Seq
from llmkit.transformer.huggingface import as_hf

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


@pytest.mark.slow
@each_kind
@pytest.mark.parametrize("prompt", [1, 5, 8, 13])
def test_cached_equals_uncached_also_beyond_the_context(positions, prompt):
    model, ids = small_model(positions=positions), random_ids(3, prompt)
    for how in (dict(temperature=0), dict(seed=1, top_p=0.9)):
        cached = continued(model, ids, 30, **how)
        assert cached.equal(continued(model, ids, 30, cache=False, **how))


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


@pytest.mark.slow
@given(
    batch=st.integers(1, 3),
    prompt=st.integers(1, 6),
    n_layers=st.integers(1, 3),
    n_heads=st.integers(1, 4),
    d_head=st.sampled_from([2, 4, 8]),
    vocab_size=st.integers(2, 70),
    tied=st.booleans(),
    seed=st.integers(0, 999),
)
@settings(max_examples=8)
def test_greedy_equals_gpt2s_within_the_context(batch, prompt, d_head, **shape):
    shape["d_model"] = d_head * shape["n_heads"]
    model = small_model(context=16, activation="gelu_tanh", **shape)
    ids = random_ids(batch, prompt, vocab_size=shape["vocab_size"])
    theirs = as_gpt2(model, "sdpa").generate(
        ids,
        attention_mask=torch.ones_like(ids),
        max_new_tokens=16 - prompt,
        do_sample=False,
        pad_token_id=0,
        eos_token_id=None,
    )
    ours = continued(model, ids, 16 - prompt, temperature=0)
    assert ours.equal(theirs[:, prompt:])


@pytest.mark.slow
@given(
    positions=st.sampled_from(POSITIONS),
    context=st.integers(1, 9),
    n_kv_heads=st.sampled_from([1, 2, 4]),
    norm=st.sampled_from(["layer", "rms"]),
    norm_place=st.sampled_from(["pre", "post"]),
    qk_norm=st.booleans(),
    prompt=st.integers(1, 12),
    temperature=st.sampled_from([0, 1]),
)
@settings(max_examples=25)
def test_cached_equals_uncached_in_every_shape(prompt, temperature, **shape):
    model, ids = small_model(n_heads=4, **shape), random_ids(2, prompt)
    how = dict(temperature=temperature, seed=0)
    cached, uncached = (continued(model, ids, 12, cache=c, **how) for c in (1, 0))
    assert cached.equal(uncached)


def test_a_token_is_the_callers_own():
    model, ids = small_model(), random_ids(2, 3)
    expected = continued(model, ids, 6, temperature=0)
    for i, token in enumerate(generate(model, ids, 6, temperature=0)):
        assert token.equal(expected[:, i])
        assert torch.is_grad_enabled() and not torch.is_inference_mode_enabled()
        model(token[:, None]).sum().backward()  # it may be trained on
        token.zero_()  # and overwritten: the text does not change
    assert model.embedding.weight.grad.any()


def test_greedy_throws_no_dice():
    model, ids = small_model(), random_ids(2, 3)
    before = torch.get_rng_state()
    continued(model, ids, 5, temperature=0)
    assert torch.get_rng_state().equal(before)


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
        (dict(ahead=-1), r"ahead must be 0 \(guess nothing\) or more: got -1"),
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


# Guessing ahead

few_tokens = st.lists(st.integers(0, 2), min_size=1, max_size=20)


def looked_up(text: list[int], k: int, n: int) -> list[int]:
    """Guess as `prompt_lookup` does, one token at a time, in plain Python."""
    for end in range(len(text) - 1, n - 1, -1):
        if text[end - n : end] == text[-n:]:
            longer = list(text)
            for place in range(end, end + k):
                longer.append(longer[place])
            return longer[len(text) :]
    return []


@given(few_tokens, st.integers(0, 12), st.integers(1, 4))
def test_a_text_is_guessed_to_go_on_as_it_last_did(text, k, n):
    guess = prompt_lookup(torch.tensor([text]), k, n)
    assert guess.tolist() == [looked_up(text, k, n)]


@given(st.integers(1, 12), st.integers(1, 3), st.integers(0, 99))
def test_rows_are_looked_up_on_their_own_and_guessed_together(T, n, seed):
    text = random_ids(3, T, vocab_size=2, seed=seed)
    alone = [looked_up(row, 5, n) for row in text.tolist()]
    expected = alone if all(alone) else [[]] * 3
    assert prompt_lookup(text, 5, n).tolist() == expected


def test_a_guess_is_accepted_up_to_the_first_that_is_wrong_in_any_row():
    best = torch.tensor([[4, 5, 6, 7], [1, 2, 3, 4]])
    for wrong in range(4):
        guess = best[:, :-1].clone()
        guess[1, wrong:] += 1
        assert accept(guess, best).equal(best[:, : wrong + 1])
    assert accept(best[:, :0], best[:, :1]).equal(best[:, :1])


@pytest.mark.slow
@given(
    positions=st.sampled_from(POSITIONS),
    context=st.integers(1, 24),
    look_back=st.integers(0, 3),
    vocab_size=st.integers(1, 4),  # so few that the text often repeats, or seems to
    n_kv_heads=st.sampled_from([1, 2]),
    seed=st.integers(0, 99),
    rows=st.integers(1, 3),
    prompt=st.integers(1, 30),
    new=st.integers(0, 40),
    ahead=st.integers(0, 20),
)
@settings(max_examples=30)
def test_guessing_ahead_changes_no_token(rows, prompt, new, ahead, **shape):
    model = small_model(**shape)
    ids = random_ids(rows, prompt, vocab_size=shape["vocab_size"], seed=new)
    told, plain, uncached = (
        list(generate(model, ids, new, temperature=0, **how))
        for how in (dict(ahead=ahead), dict(ahead=0), dict(cache=False))
    )
    assert len(told) == new
    for one, other, third in zip(told, plain, uncached):
        assert one.shape == (rows,)
        assert one.equal(other) and one.equal(third)


def test_a_text_that_repeats_takes_fewer_calls_and_no_more_without_guesses():
    model, calls = small_model(context=64, seed=1), []
    model.register_forward_hook(lambda _, args, out: calls.append(out.size(1)))
    text = continued(model, random_ids(1, 3), 50, temperature=0, ahead=0)
    assert calls == [3] + [1] * 49
    assert len(text[0].unique()) < 9  # it has begun to turn in a circle
    calls.clear()
    assert text.equal(continued(model, random_ids(1, 3), 50, temperature=0))
    assert len(calls) < 25 and max(calls[1:]) <= 17
    for how in (dict(seed=0), dict(temperature=0, cache=False)):  # these never guess
        calls.clear()
        continued(model, random_ids(1, 3), 20, **how)
        assert len(calls) == 20


def test_a_wrong_guess_leaves_nothing_in_the_cache(monkeypatch):
    model, ids = small_model(context=64, look_back=2), random_ids(2, 5)
    plain = continued(model, ids, 50, temperature=0, ahead=0)

    def wrong(text, k, n=3):
        right = plain[:, text.size(1) - 5 :][:, :k]  # (B, k)
        return torch.cat([right[:, :1], (right[:, 1:] + 1) % 11], dim=1)

    monkeypatch.setattr("llmkit.generation.prompt_lookup", wrong)
    assert plain.equal(continued(model, ids, 50, temperature=0))


def test_a_seq2seq_guesses_too():
    model = loud(Seq2Seq(small_model(context=32, vocab_size=4).config), seed=2)
    memory = model.encode(random_ids(2, 6, vocab_size=4))
    first = random_ids(2, 1, vocab_size=4)
    texts = [
        continued(model.decoder, first, 40, temperature=0, memory=memory, ahead=ahead)
        for ahead in (0, 16)
    ]
    assert texts[0].equal(texts[1])


# Blanks


def masked_model(**changes) -> MaskedLM:
    """Build a small masked model whose weights are so large that a fault shows."""
    return loud(MaskedLM(replace(small_model().config, **changes)))


@pytest.fixture(scope="module")
def berts() -> tuple:
    """Return a masked model of ours, and BERT with its weights."""
    bert = dict(norm_place="post", embedding_norm=True, n_segments=2)
    model = masked_model(**bert)
    return model, as_hf(model)


@given(st.integers(1, 3), st.integers(1, 8), st.integers(1, 11), st.data())
def test_each_blank_is_filled_as_bert_would(berts, B, T, top, data):
    (model, bert), mask_id = berts, 4
    ids = random_ids(B, T, seed=data.draw(st.integers(0, 99)))
    ids[data.draw(st.integers(0, B - 1)), data.draw(st.integers(0, T - 1))] = mask_id
    tokens, p = fill_mask(model, ids, mask_id, top)
    with torch.no_grad():
        theirs = bert(ids).logits.softmax(dim=-1)
    places = [(b, t) for b in range(B) for t in range(T) if ids[b, t] == mask_id]
    assert tokens.shape == p.shape == (len(places), top)
    for (b, t), best, q in zip(places, tokens.tolist(), p.tolist()):
        ranked = sorted(range(11), key=lambda i: -theirs[b, t, i])[:top]
        assert best == ranked
        assert q == pytest.approx(theirs[b, t, ranked].tolist(), abs=1e-5)


def test_a_blank_sees_its_own_row_and_nothing_else():
    model, ids = masked_model(), random_ids(4, 6)
    ids[:, 2] = ids[0, 5] = 7
    tokens, p = fill_mask(model, ids, 7, top=3)
    alone = [fill_mask(model, row[None], 7, top=3) for row in ids]
    assert tokens.equal(torch.cat([one for one, _ in alone]))
    assert_close(p, torch.cat([q for _, q in alone]))


def test_blanks_are_filled_without_dropout_and_gradients():
    model, ids = masked_model(dropout=0.5).train(), random_ids(2, 6)
    one, other = (fill_mask(model, ids, int(ids[0, 0])) for _ in range(2))
    assert model.training
    assert one[0].equal(other[0]) and one[1].equal(other[1])
    assert not one[1].requires_grad and one[0].shape[1] == 5


@pytest.mark.parametrize(
    ("model", "settings", "words"),
    [
        (MaskedLM, dict(mask_id=11), r"no place is masked: got ids \(2, 6\) .*id 11;"),
        (MaskedLM, dict(top=0), "from 1 to the vocabulary's 11 tokens: got 0"),
        (MaskedLM, dict(top=12), "from 1 to the vocabulary's 11 tokens: got 12"),
        (Decoder, {}, "only a MaskedLM fills in blanks: got Decoder; .*generate"),
        (Encoder, {}, "got Encoder; .*an Encoder has no head"),
    ],
)
def test_what_has_no_blanks_to_fill_is_refused_in_words(model, settings, words):
    ids = random_ids(2, 6)
    model = model(small_model().config)
    with pytest.raises(ValueError, match=words):
        fill_mask(model, ids, **dict(mask_id=int(ids[0, 0])) | settings)


@pytest.mark.slow
def test_what_stands_before_an_end_is_forgotten():
    """A model trained on packed documents never saw one before another."""
    model = small_model(positions="rotary", look_back=2, context=16).eval()
    end, begun = 0, torch.tensor([[0, 3, 4, 5, 0, 7]])
    with torch.no_grad():  # so that ends are drawn now and then
        model.head.weight[end] += 0.3 * model.norm.weight
    for how in (dict(temperature=0), dict(seed=3)):
        told = dict(max_new_tokens=40, end=end, **how)
        long = [int(t) for t in generate(model, begun, **told)]
        assert long == [int(t) for t in generate(model, begun[:, 4:], **told)]
        assert long == [int(t) for t in generate(model, begun, cache=False, **told)]
    drawn = [int(t) for t in generate(model, begun, 200, seed=3, end=end)]
    assert end in drawn and len(drawn) == 200
    place = drawn.index(end)
    with torch.no_grad():  # the first token of the next document, from the end alone
        expected = model(torch.tensor([[end]]))[0, -1].argmax()
    text = torch.tensor([[*begun[0].tolist(), *drawn[: place + 1]]])
    first = next(generate(model, text, 1, temperature=0, end=end))
    assert int(first) == int(expected)


def test_rows_end_at_different_places():
    with pytest.raises(ValueError, match="an end is for one row, .*got 2 rows; gene"):
        next(generate(small_model(), torch.zeros(2, 3).long(), 4, end=0))
