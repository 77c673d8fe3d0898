"""Check attention against torch's own, and the laws that it must keep."""

import math
import warnings

import pytest
import torch
import torch.nn.functional as F
from helpers import random_mask
from hypothesis import given
from hypothesis import strategies as st
from torch.testing import assert_close

from llmkit.attention import KVCache, MultiHeadAttention, attention, causal_mask
from llmkit.positions import alibi, rotary

size = st.integers(1, 6)
masks = st.sampled_from(["none", "causal", "random"])


def make_mask(kind: str, T: int, S: int) -> torch.Tensor | None:
    """Make a mask in which every query may look somewhere."""
    if kind == "none":
        return None
    if kind == "causal":
        return causal_mask(T, S)
    mask = torch.rand(T, S) < 0.5
    mask[torch.arange(T), torch.randint(S, (T,))] = True
    return mask


def random_qkv(B, H, T, S, K, value_width):
    """Draw queries, keys and values in float64 that ask for gradients."""
    torch.manual_seed(B + 10 * T + 100 * S)
    shapes = (B, H, T, K), (B, H, S, K), (B, H, S, value_width)
    return [torch.randn(*s, dtype=torch.float64, requires_grad=True) for s in shapes]


@pytest.mark.slow
@given(size, size, size, size, size, size, masks)
def test_it_equals_torchs_attention_and_so_do_its_gradients(B, H, T, more, K, W, kind):
    S = T + more - 1
    q, k, v = random_qkv(B, H, T, S, K, W)
    mask = make_mask(kind, T, S)
    output, weights = attention(q, k, v, mask)
    twin = F.scaled_dot_product_attention(q, k, v, mask)
    assert_close(output, twin)
    assert weights.shape == (B, H, T, S)
    pull = torch.randn_like(output)
    ours = torch.autograd.grad(output, (q, k, v), pull)
    theirs = torch.autograd.grad(twin, (q, k, v), pull)
    assert_close(ours, theirs)


@given(size, size, size, masks)
def test_rows_sum_to_one_and_masked_cells_are_exactly_zero(T, more, K, kind):
    S = T + more - 1
    q, k, v = random_qkv(1, 2, T, S, K, K)
    mask = make_mask(kind, T, S)
    _, weights = attention(1e12 * q, k, v, mask)
    assert_close(weights.sum(-1), torch.ones_like(weights.sum(-1)))
    if mask is not None:
        assert (weights.masked_select(~mask) == 0).all()


def test_gradients_are_right_to_second_look():
    q, k, v = random_qkv(1, 1, 3, 4, 2, 2)
    mask, bias = causal_mask(3, 4), alibi(1, 4)[:, 1:].double()
    assert torch.autograd.gradcheck(lambda *x: attention(*x, mask, bias), (q, k, v))


def test_a_bias_is_added_to_the_scaled_scores():
    q, k, v = random_qkv(2, 3, 4, 4, 5, 5)
    bias = torch.randn(3, 4, 4, dtype=torch.float64)
    output, _ = attention(q, k, v, bias=bias)
    twin = F.scaled_dot_product_attention(q, k, v, attn_mask=bias)
    assert_close(output, twin)


@given(size, size)
def test_the_causal_mask_hides_exactly_what_lies_ahead(T, more):
    S = T + more - 1
    for t, row in enumerate(causal_mask(T, S).tolist()):
        assert row == [s <= t + S - T for s in range(S)]


@pytest.mark.parametrize(
    ("shapes", "mask", "words"),
    [
        ([(2, 3), (2, 4), (2, 3)], None, "make the last dimension of q and k equal"),
        ([(2, 3), (2, 3), (4, 3)], None, "make dimension -2 of k and v equal"),
        ([(2, 3)] * 3, torch.ones(2, 2), r"got torch.float32; write mask.bool\(\)"),
        ([(2, 3)] * 3, torch.ones(3, 2).bool(), r"\(2, 2\): got \(3, 2\)"),
        ([(2, 3)] * 3, torch.eye(2).bool() & False, "let it look at least at itself"),
    ],
)
def test_what_does_not_fit_is_refused_in_words(shapes, mask, words):
    with pytest.raises(ValueError, match=words):
        attention(*map(torch.zeros, shapes), mask)


@given(
    st.integers(1, 3), size, st.sampled_from([1, 2, 4]), st.booleans(), st.booleans()
)
def test_heads_equal_torchs_with_the_same_weights(B, T, n_heads, causal, bias):
    torch.manual_seed(T)
    ours = MultiHeadAttention(8, n_heads, causal, bias)
    twin = torch.nn.MultiheadAttention(8, n_heads, bias=bias, batch_first=True)
    with torch.no_grad():
        twin.in_proj_weight.copy_(ours.qkv.weight)
        twin.out_proj.weight.copy_(ours.out.weight)
        if bias:
            twin.in_proj_bias.copy_(ours.qkv.bias)
            twin.out_proj.bias.copy_(ours.out.bias)
    x = torch.randn(B, T, 8)
    hidden = ~causal_mask(T) if causal else None
    expected, weights = twin(x, x, x, attn_mask=hidden, average_attn_weights=False)
    assert_close(ours(x), expected)
    watched = []
    assert_close(ours(x, watch=watched), expected)
    assert_close(watched[0], weights)


kinds = st.sampled_from(["none", "padding", "any"])


@given(size, size, kinds, *[st.booleans()] * 4)
def test_both_roads_are_one_attention(T, S, kind, causal, slopes, cross, shared):
    """With `watch` the formula, without it torch's: results and gradients agree."""
    torch.manual_seed(T + 10 * S)
    groups, S = 1 + (not shared), S if cross else T
    how = dict(n_kv_heads=groups, cross=cross)
    look = MultiHeadAttention(8, 2, causal and not cross, **how).double()
    x = torch.randn(3, T, 8, dtype=torch.float64, requires_grad=True)
    memory = torch.randn(3, S, 8, dtype=torch.float64, requires_grad=True)
    mask = {
        "none": None,
        "padding": random_mask(3, S)[:, None, None],
        "any": random_mask(3 * T, S).view(3, 1, T, S),
    }[kind]
    if look.causal and mask is not None:
        mask = mask | torch.eye(T, dtype=torch.bool)  # nobody is left with nothing
    how = dict(mask=mask, memory=memory if cross else None)
    how["slopes"] = -torch.rand(2, T, S).double() if slopes else None
    watch, weights = [], list(look.parameters())
    fast, slow = look(x, **how), look(x, watch=watch, **how)
    assert_close(fast, slow)
    assert watch[0].shape == (3, 2, T, S)
    wanted = [x, *weights, *([memory] if cross else [])]
    pull = torch.randn_like(fast)
    one = torch.autograd.grad(fast, wanted, pull)
    assert_close(one, torch.autograd.grad(slow, wanted, pull))


@pytest.mark.parametrize("watched", [False, True])
def test_the_gradients_of_every_part_are_right(watched):
    torch.manual_seed(0)
    kind = dict(n_kv_heads=1, qk_norm=True)
    look = MultiHeadAttention(8, 2, **kind).double()
    across = MultiHeadAttention(8, 2, cross=True, **kind).double()
    x, memory = torch.randn(2, 2, 3, 8, dtype=torch.float64, requires_grad=True)
    mask, turns = random_mask(2, 3)[:, None, None], rotary(3, 4).double()
    slopes = alibi(2, 3).double()

    def run(x, memory):
        own = look(x, turns, slopes, watch=[] if watched else None, mask=mask)
        return across(own, watch=[] if watched else None, mask=mask, memory=memory)

    assert torch.autograd.gradcheck(run, (x, memory))


@given(size, size, st.booleans())
def test_a_look_at_memory_is_torchs_with_the_same_weights(T, S, bias):
    torch.manual_seed(T)
    ours = MultiHeadAttention(8, 2, bias=bias, cross=True)
    twin = torch.nn.MultiheadAttention(8, 2, bias=bias, batch_first=True)
    state = ours.state_dict()
    for end in ("weight", "bias") if bias else ("weight",):
        q, kv = state[f"q.{end}"], state[f"kv.{end}"]
        getattr(twin, f"in_proj_{end}").data.copy_(torch.cat([q, kv]))
        getattr(twin.out_proj, end).data.copy_(state[f"out.{end}"])
    x, memory, mask = torch.randn(2, T, 8), torch.randn(2, S, 8), random_mask(2, S)
    expected, _ = twin(x, memory, memory, key_padding_mask=~mask)
    assert_close(ours(x, mask=mask[:, None, None], memory=memory), expected)


@pytest.mark.parametrize("watched", [False, True])
@pytest.mark.parametrize(
    ("mask", "words"),
    [
        (torch.ones(4, 4), r"got torch.float32; write mask.bool\(\)"),
        (torch.ones(4, 5).bool(), r"scores \(1, 2, 4, 4\): got \(4, 5\)"),
    ],
)
def test_heads_refuse_a_mask_that_does_not_fit(mask, words, watched):
    look = MultiHeadAttention(8, 2)
    with pytest.raises(ValueError, match=words):
        look(torch.zeros(1, 4, 8), mask=mask, watch=[] if watched else None)


@given(st.lists(st.integers(1, 4), min_size=1, max_size=5), st.sampled_from("nra"))
def test_cached_equals_uncached_however_the_text_is_cut(pieces, kind):
    torch.manual_seed(0)
    length = sum(pieces)
    look = MultiHeadAttention(8, 2, causal=True)
    x, cache, start, parts = torch.randn(2, length, 8), KVCache(length), 0, []
    turns = rotary(length, 4) if kind == "r" else None
    slopes = alibi(2, length) if kind == "a" else None
    for piece in pieces:
        end = start + piece
        turn = None if turns is None else turns[:, start:end]
        slope = None if slopes is None else slopes[:, start:end, :end]
        parts.append(look(x[:, start:end], turn, slope, cache))
        start = end
        assert len(cache) == end
    assert_close(torch.cat(parts, 1), look(x, turns, slopes))


def test_a_full_cache_says_so_and_stays_as_it_was():
    cache, one = KVCache(capacity=3), torch.ones(1, 1, 2, 4)
    kept, _ = cache.append(one, one)
    with pytest.raises(
        ValueError, match="holds 3 positions and would need 4; start a new"
    ):
        cache.append(one, one)
    assert len(cache) == 2 and torch.equal(kept, one)


def test_heads_that_do_not_divide_the_width_are_refused():
    with pytest.raises(
        ValueError, match="d_model 8 and n_heads 3; choose n_heads that"
    ):
        MultiHeadAttention(8, 3)
    with pytest.raises(ValueError, match="n_heads 4 and n_kv_heads 3; choose n_kv_he"):
        MultiHeadAttention(8, 4, n_kv_heads=3)


def test_scores_are_scaled_by_the_root_of_the_width():
    q = torch.full((1, 64), 1.0)
    _, weights = attention(q, torch.cat([q, 0 * q]), torch.zeros(2, 1))
    assert weights[0, 0] == pytest.approx(1 / (1 + math.exp(-8)))


@given(size, size)
def test_causal_and_a_mask_together_are_torchs(T, seed):
    torch.manual_seed(seed)
    ours, mask = MultiHeadAttention(8, 2, causal=True), random_mask(2, T, seed=seed)
    mask[:, 0] = True  # nobody is left with nothing
    twin = torch.nn.MultiheadAttention(8, 2, batch_first=True)
    twin.in_proj_weight.data, twin.in_proj_bias.data = ours.qkv.weight, ours.qkv.bias
    twin.out_proj.load_state_dict(ours.out.state_dict())
    x = torch.randn(2, T, 8)
    expected, weights = twin(
        x,
        x,
        x,
        attn_mask=~causal_mask(T),
        key_padding_mask=~mask,
        average_attn_weights=False,
    )
    watch, over_keys = [], mask[:, None, None]
    assert_close(ours(x, mask=over_keys), expected)
    assert_close(ours(x, mask=over_keys, watch=watch), expected)
    assert_close(watch[0], weights)


def test_one_row_without_a_key_is_enough_to_be_refused():
    mask = torch.tensor([[True, True], [False, False], [True, False]])
    with pytest.raises(ValueError, match="a row of the mask is all False"):
        attention(torch.zeros(3, 2), torch.zeros(2, 2), torch.zeros(2, 2), mask)


@pytest.mark.parametrize("cross", [False, True])
def test_qk_norm_is_its_formula(cross):
    torch.manual_seed(0)
    look, watch = MultiHeadAttention(8, 2, qk_norm=True, cross=cross), []
    with torch.no_grad():
        look.q_norm.weight.normal_()
        look.k_norm.weight.normal_()
    x, memory = torch.randn(2, 2, 3, 8)
    look(x, watch=watch, memory=memory if cross else None)
    if cross:
        parts = look.q(x), look.kv(memory)[..., :8]
    else:
        parts = look.qkv(x)[..., :16].chunk(2, dim=-1)
    q, k = (part.view(2, 3, 2, 4).transpose(1, 2) for part in parts)
    q = q / q.square().mean(-1, keepdim=True).sqrt() * look.q_norm.weight
    k = k / k.square().mean(-1, keepdim=True).sqrt() * look.k_norm.weight
    assert_close(watch[0], (q @ k.mT / 2).softmax(-1), atol=1e-4, rtol=1e-4)


def test_slopes_take_on_the_precision_of_the_heads():
    look, x = MultiHeadAttention(8, 2).bfloat16(), torch.randn(1, 3, 8).bfloat16()
    assert look(x, slopes=alibi(2, 3)).dtype is torch.bfloat16


@pytest.mark.parametrize("watched", [False, True])
@pytest.mark.parametrize("positions", ["none", "rotary", "alibi"])
def test_half_precision_is_nearly_as_good(positions, watched):
    torch.manual_seed(0)
    look, x = MultiHeadAttention(8, 2, causal=True, qk_norm=True), torch.randn(2, 5, 8)
    turns = rotary(5, 4) if positions == "rotary" else None
    slopes = alibi(2, 5) if positions == "alibi" else None
    whole = look(x, turns, slopes)
    with torch.autocast("cpu", torch.bfloat16), warnings.catch_warnings():
        warnings.simplefilter("error")  # about a road that is not taken
        half = look(x, turns, slopes, watch=[] if watched else None)
    assert (half.float() - whole).abs().max() < 0.05


def test_a_cache_takes_no_rows_of_another_batch_or_model():
    cache = KVCache(capacity=9)
    cache.append(torch.zeros(2, 2, 3, 4), torch.zeros(2, 2, 3, 4))
    for other in ((1, 2, 3, 4), (2, 1, 3, 4), (2, 2, 3, 5)):
        with pytest.raises(
            ValueError, match=r"K = \(2, 2, 4\): got .*; use a new cache"
        ):
            cache.append(torch.zeros(other), torch.zeros(other))
    assert len(cache) == 3


@pytest.mark.parametrize(
    ("shapes", "mask", "bias", "words"),
    [
        ([(3,), (2, 3), (2, 3)], None, 0, r"are \(..., T, K\).*got q \(3,\)"),
        ([(2, 4, 3), (3, 4, 3), (3, 4, 3)], None, 0, "the same dimensions in front"),
        ([(2, 4, 3), (2, 4, 3), (1, 4, 3)], None, 0, "each key needs a value"),
        ([(2, 4, 3)] * 3, torch.ones(3, 4, 4).bool(), 0, r"scores \(2, 4, 4\): got"),
        ([(2, 4, 3)] * 3, None, torch.ones(5, 4), r"added to the scores \(2, 4, 4\)"),
    ],
)
def test_dimensions_in_front_must_fit_too(shapes, mask, bias, words):
    with pytest.raises(ValueError, match=words):
        attention(*map(torch.zeros, shapes), mask, bias)


@pytest.mark.parametrize("shape", [(2, 4, 4), (3, 1, 4, 4), (1, 2, 1, 4, 4)])
def test_heads_do_not_guess_what_a_mask_means(shape):
    look = MultiHeadAttention(8, 2)  # 2 heads, and 2 rows: (2, 4, 4) could be either
    with pytest.raises(ValueError, match="of each row is .B, S. written as mask"):
        look(torch.zeros(2, 4, 8), mask=torch.ones(shape).bool())


def test_a_memory_and_who_looks_at_it_belong_together():
    x = torch.zeros(2, 4, 8)
    with pytest.raises(ValueError, match="got cross=False and a memory"):
        MultiHeadAttention(8, 2)(x, memory=x)
    across = MultiHeadAttention(8, 2, cross=True)
    with pytest.raises(ValueError, match="got cross=True and no memory"):
        across(x)
    with pytest.raises(ValueError, match=r"width of x \(2, 4, 8\): got \(2, 4, 6\)"):
        across(x, memory=torch.zeros(2, 4, 6))


def test_queries_without_a_key_of_their_own_are_refused():
    with pytest.raises(ValueError, match="got 3 queries and only 2 keys"):
        causal_mask(3, 2)
