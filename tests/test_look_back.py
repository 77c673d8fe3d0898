"""Check models that add the embeddings of earlier tokens: only earlier ones."""

import pytest
import torch
from helpers import POSITIONS, loud, random_ids, small_model
from hypothesis import given
from hypothesis import strategies as st

from llmkit.attention import KVCache
from llmkit.batches import document_numbers
from llmkit.generation import generate
from llmkit.transformer import Encoder, MaskedLM, ModelConfig, load_model, save_model


def model(seed: int = 0, **changes):
    return loud(small_model(**dict(look_back=3) | changes), seed)


@pytest.mark.slow
@given(st.integers(1, 4), st.integers(1, 8), st.integers(0, 7), st.integers(0, 20))
def test_a_token_changes_nothing_before_it_and_something_after(n, T, place, seed):
    place = min(place, T - 1)
    net, ids = model(seed, look_back=n, n_layers=1), random_ids(2, T, seed=seed)
    other = ids.clone()
    other[:, place] = (other[:, place] + 1) % 11
    one, two = net(ids), net(other)
    assert one[:, :place].equal(two[:, :place])
    assert not torch.allclose(one[:, place:], two[:, place:])


def test_each_table_is_for_its_own_distance():
    net = model(positions="none")
    with torch.no_grad():
        for block in net.blocks:  # nothing but the embeddings is left
            block.attention.out.weight.zero_(), block.down.weight.zero_()
            block.attention.out.bias.zero_(), block.down.bias.zero_()
    ids = random_ids(1, 8)
    padded = [11, 11, 11, *ids[0].tolist()]
    for t in range(8):
        x = net.embedding.weight[ids[0, t]]
        for k in (1, 2, 3):
            x = x + net.earlier[k - 1].weight[padded[t + 3 - k]]
        assert torch.allclose(net(ids)[0, t], net.head(net.norm(x)), atol=1e-4)


@pytest.mark.slow
@given(
    st.sampled_from(POSITIONS),
    st.integers(1, 4),
    st.lists(st.integers(1, 3), min_size=1, max_size=3),
    st.integers(0, 20),
)
def test_cached_is_uncached(positions, n, pieces, seed):
    pieces = pieces[: 8 // 3 + 1]
    net = model(seed, positions=positions, look_back=n)
    ids = random_ids(2, min(sum(pieces), 8), seed=seed)
    whole, cache, start, parts = net(ids), net.new_cache(), 0, []
    for piece in pieces:
        here = ids[:, start : start + piece]
        if here.size(1):
            parts.append(net(here, cache))
        start += piece
    assert torch.allclose(torch.cat(parts, dim=1), whole, atol=1e-4)


def test_what_was_taken_back_leaves_no_trace():
    net, ids = model(), random_ids(1, 8)
    cache = net.new_cache()
    net(ids[:, :3], cache)
    net((ids[:, 3:6] + 1) % 11, cache)  # a wrong guess
    for part in cache:
        part.rewind(3)
    later = net(ids[:, 3:], cache)
    assert torch.allclose(later, net(ids)[:, 3:], atol=1e-4)


def test_generation_is_the_same_with_and_without_a_cache():
    net, prompt = model(), random_ids(2, 3)
    texts = [
        torch.stack(list(generate(net, prompt, 20, seed=1, cache=cache)))
        for cache in (True, False)
    ]
    assert texts[0].equal(texts[1])  # across the end of the context, too


def test_no_look_goes_into_another_document():
    net = model(context=12, positions="rotary")
    ids = torch.tensor([[0, 3, 4, 5, 0, 6, 7, 0, 8]])
    numbers = document_numbers(ids, boundary=0)
    packed = net(ids, documents=numbers)
    for document in numbers.unique():
        its = numbers[0] == document
        assert torch.allclose(packed[:, its], net(ids[:, its]), atol=1e-4)


def test_it_is_saved_with_the_rest(tmp_path):
    net = model()
    save_model(net, tmp_path)
    again = load_model(tmp_path)
    ids = random_ids(1, 5)
    assert again.config.look_back == 3 and again(ids).equal(net(ids))


@pytest.mark.parametrize("kind", [Encoder, MaskedLM])
def test_a_model_that_sees_both_sides_has_no_use_for_it(kind):
    with pytest.raises(ValueError, match="only a decoder looks back, .*look_back 2"):
        kind(ModelConfig(vocab_size=9, look_back=2))


def test_mistakes_are_refused_in_words(tmp_path):
    with pytest.raises(ValueError, match="look_back must be at least 0: got -1"):
        ModelConfig(vocab_size=9, look_back=-1)
    net = model()
    cache = net.new_cache()
    net(random_ids(2, 3), cache)
    with pytest.raises(ValueError, match="the cache began with 2 rows: got 1; use a"):
        net(random_ids(1, 1), cache)
    with pytest.raises(ValueError, match="holds 3 positions: can't go back to 4"):
        cache[0].rewind(4)
    with pytest.raises(ValueError, match="holds 0 positions: can't go back to -1"):
        KVCache(4).rewind(-1)
    with pytest.raises(ValueError, match="look_back"):
        small_model(look_back=2, positions="learned").to_hf(tmp_path)
