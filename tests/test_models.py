"""Encoder, Decoder and Seq2Seq: their laws, their twins in torch, their errors."""

import math

import pytest
import torch
from helpers import POSITIONS, loud, random_ids, random_mask, same_weights, small_model
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.testing import assert_close

from llmkit.generation import generate
from llmkit.transformer import (
    PRESETS,
    Block,
    Decoder,
    Encoder,
    MaskedLM,
    Memory,
    ModelConfig,
    Seq2Seq,
    load_model,
    make_norm,
    mean_pool,
    save_model,
)

SMALL = dict(vocab_size=11, context=8, n_layers=2, n_heads=2, d_model=16)
each_kind = pytest.mark.parametrize("kind", [Encoder, MaskedLM, Decoder, Seq2Seq])
each_position = pytest.mark.parametrize("positions", POSITIONS)
each_preset = pytest.mark.parametrize("preset", PRESETS)


def make(kind=Encoder, seed=0, **changes):
    """Build a small model with loud weights."""
    return loud(kind(ModelConfig(**SMALL | changes)), seed)


def call(model, ids, **options):
    """Call a model of any kind with one row of ids after another."""
    if isinstance(model, Seq2Seq):
        return model(ids, ids, **options)
    return model(ids, **options)


# Blocks against torch's


def fused(state: dict) -> dict:
    """Stack the queries of a look at a memory on its keys and values, as torch does."""
    for end in ("weight", "bias"):
        if f"kv.{end}" in state:
            state[f"qkv.{end}"] = torch.cat([state[f"q.{end}"], state[f"kv.{end}"]])
    return state


@pytest.mark.slow
@given(
    st.booleans(),
    st.sampled_from(["gelu", "relu"]),
    st.integers(1, 7),
    st.booleans(),
    st.booleans(),
)
def test_a_block_is_torchs_layer(pre, activation, T, causal, cross):
    config = ModelConfig(
        **SMALL, norm_place="pre" if pre else "post", activation=activation, d_ff=20
    )
    block = loud(Block(config, causal, cross))
    layer = nn.TransformerDecoderLayer if cross else nn.TransformerEncoderLayer
    twin = layer(16, 2, 20, 0.0, activation, batch_first=True, norm_first=pre).eval()
    pairs = [(block.attention, twin.self_attn), (block.norm1, twin.norm1)]
    if cross:
        pairs += [(block.cross, twin.multihead_attn), (block.norm_cross, twin.norm2)]
    pairs += [(block.norm2, twin.norm3 if cross else twin.norm2)]
    pairs += [(block.up, twin.linear1), (block.down, twin.linear2)]
    names = {"in_proj_": "qkv.", "out_proj.": "out."}
    for ours, theirs in pairs:
        state = fused(ours.state_dict())
        for name, weight in theirs.named_parameters():
            for their_name, our_name in names.items():
                name = name.replace(their_name, our_name)
            weight.data.copy_(state[name])
    x, memory = torch.randn(2, T, 16), torch.randn(2, 5, 16)
    ahead = torch.ones(T, T).triu(1).bool() if causal else None
    if cross:
        mask = random_mask(2, 5)
        ours = block(x, memory=memory, memory_mask=mask[:, None, None])
        theirs = twin(x, memory, ahead, memory_key_padding_mask=~mask)
    else:
        ours, theirs = block(x), twin(x, ahead)
    assert_close(ours, theirs, atol=1e-4, rtol=1e-4)


def test_norms_are_what_they_say():
    x = torch.randn(2, 3, 16, dtype=torch.float64)
    rms = make_norm(ModelConfig(**SMALL, norm="rms", norm_eps=1e-3)).double()
    assert_close(rms(x), x / (x.square().mean(-1, keepdim=True) + 1e-3).sqrt())
    layer = make_norm(ModelConfig(**SMALL, norm_eps=1e-3)).double()
    centred = x - x.mean(-1, keepdim=True)
    assert_close(
        layer(x), centred / (centred.square().mean(-1, keepdim=True) + 1e-3).sqrt()
    )
    assert make_norm(ModelConfig(**SMALL, bias=False)).bias is None


def test_qk_norm_keeps_scores_within_bounds():
    model = make(qk_norm=True, positions="rotary")
    with torch.no_grad():
        for block in model.blocks:
            block.attention.qkv.weight.mul_(1e4)
            for norm in (block.attention.q_norm, block.attention.k_norm):
                norm.weight.fill_(1.0)
    watch = []
    model(random_ids(2, 8), watch=watch)
    # vectors of length √K: a score is at most √K, so no share is below e^(-2√K) / T
    assert min(w.min() for w in watch) > math.exp(-2 * 8**0.5) / 8 * 0.99


# Laws


@each_position
def test_an_encoder_looks_both_ways(positions):
    model, seen = make(positions=positions), []
    model.embedding.register_forward_hook(lambda *x: seen.append(x[-1]))
    states = model(random_ids(1, 6))
    for t in range(6):
        (pull,) = torch.autograd.grad(states[0, t].sum(), seen[0], retain_graph=True)
        assert (pull[0].abs().sum(-1) > 0).all()


@pytest.mark.slow
@each_position
@pytest.mark.parametrize("watched", [False, True])
@given(st.integers(0, 99))
def test_what_stands_at_padding_does_not_matter(positions, watched, seed):
    model, mask = make(positions=positions), random_mask(3, 8, seed=seed)
    ids, watch = random_ids(3, 8), [] if watched else None
    other = torch.where(mask, ids, random_ids(3, 8, seed=seed + 1))
    before, after = model(ids, mask, watch=watch), model(other, mask)
    assert_close(before[mask], after[mask], atol=1e-4, rtol=1e-4)
    if watched:
        hidden = ~mask[:, None, None].expand_as(watch[0])
        assert all((w[hidden] == 0).all() for w in watch)


@each_position
def test_a_text_is_read_alike_alone_and_beside_a_longer_one(positions):
    model, ids = make(positions=positions), random_ids(2, 8)
    mask = torch.ones(2, 8, dtype=torch.bool)
    mask[0, 5:] = False
    together, alone = model(ids, mask)[0, :5], model(ids[:1, :5])[0]
    assert_close(together, alone, atol=1e-4, rtol=1e-4)


def test_without_positions_an_encoder_sees_a_bag():
    model, ids, order = make(positions="none"), random_ids(1, 8), torch.randperm(8)
    assert_close(model(ids[:, order]), model(ids)[:, order], atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("kind", [Decoder, Seq2Seq])
@each_position
def test_the_targets_future_cannot_leak(kind, positions):
    model, ids = make(kind, positions=positions), random_ids(2, 8)
    other = ids.clone()
    other[:, 5:] = random_ids(2, 3, seed=1)
    if kind is Seq2Seq:
        source = random_ids(2, 6, seed=2)
        before, after = model(source, ids), model(source, other)
    else:
        before, after = model(ids), model(other)
    assert torch.equal(before[:, :5], after[:, :5])
    assert not torch.equal(before[:, 5:], after[:, 5:])


@each_position
def test_a_seq2seq_reads_all_of_its_source_but_the_padding(positions):
    model = make(Seq2Seq, positions=positions)
    source, target, mask = random_ids(2, 8), random_ids(2, 4), random_mask(2, 8)
    logits = model(source, target, mask)
    for place in range(8):
        other = source.clone()
        other[:, place] = (other[:, place] + 1) % 11
        moved = (model(other, target, mask) - logits).abs().amax(dim=(1, 2))
        assert ((moved > 1e-4) == mask[:, place]).all()


@pytest.mark.slow
@given(st.sampled_from(POSITIONS), st.lists(st.integers(1, 3), min_size=1, max_size=3))
def test_a_seq2seq_writes_the_same_with_a_cache(positions, pieces):
    model = make(Seq2Seq, positions=positions, context=9)
    source, mask = random_ids(2, 7), random_mask(2, 7)
    target = random_ids(2, sum(pieces), seed=1)
    memory, cache = model.encode(source, mask), model.decoder.new_cache()
    parts = [model.decoder(t, cache, memory=memory) for t in target.split(pieces, 1)]
    whole = model(source, target, mask)
    assert_close(torch.cat(parts, dim=1), whole, atol=1e-4, rtol=1e-4)


def test_what_a_decoder_makes_of_a_memory_it_makes_once_a_text():
    model, made = make(Seq2Seq, qk_norm=True, n_kv_heads=1), []
    for block in model.decoder.blocks:
        block.cross.kv.register_forward_hook(lambda *x: made.append(1))
    memory = model.encode(random_ids(2, 8))
    start = random_ids(2, 1)
    list(generate(model.decoder, start, 7, temperature=0, memory=memory))
    assert len(made) == 2  # once a block
    list(generate(model.decoder, start, 7, 0, memory=memory, cache=False))
    assert len(made) == 2 + 7 * 2


@pytest.mark.parametrize("groups", [1, 2, 4])
@each_position
def test_shared_keys_are_copied_keys(groups, positions):
    size = dict(n_heads=4, positions=positions)
    shared, full = make(Decoder, n_kv_heads=groups, **size), make(Decoder, **size)
    state = shared.state_dict()
    for i in range(2):
        for end in ("weight", "bias"):
            name = f"blocks.{i}.attention.qkv.{end}"
            q, k, v = state[name].split([16, 4 * groups, 4 * groups])
            grown = [
                part.unflatten(0, (groups, 4)).repeat_interleave(4 // groups, 0)
                for part in (k, v)
            ]
            state[name] = torch.cat([q, *(part.flatten(0, 1) for part in grown)])
    full.load_state_dict(state)
    ids = random_ids(2, 8)
    assert_close(shared(ids), full(ids), atol=1e-4, rtol=1e-4)
    cache = shared.new_cache()
    shared(ids[:, :5], cache)
    assert cache[0].keys.shape == (2, groups, 8, 4)  # the saving is here
    assert_close(shared(ids[:, 5:], cache), full(ids)[:, 5:], atol=1e-4, rtol=1e-4)


@each_kind
def test_dropout_is_noise_in_training_and_nothing_in_evaluation(kind):
    still, model = make(kind), make(kind, dropout=0.3)
    ids = random_ids(2, 8)
    assert torch.equal(call(model, ids), call(still, ids))
    model.train()
    torch.manual_seed(1)
    assert not torch.allclose(call(model, ids), call(model, ids))


def test_a_tied_seq2seq_has_one_table_and_an_untied_one_three():
    counts = []
    for tied in (True, False):
        names = dict(make(Seq2Seq, tied=tied).named_parameters())
        counts.append(sum(weight.shape == (11, 16) for weight in names.values()))
    assert counts == [1, 3]


def test_watching_a_seq2seq_gives_its_alignment():
    model, watch = make(Seq2Seq), []
    source, target, mask = random_ids(2, 7), random_ids(2, 5), random_mask(2, 7)
    watched = model(source, target, mask, watch=watch)
    assert_close(watched, model(source, target, mask), atol=1e-4, rtol=1e-4)
    assert [tuple(w.shape) for w in watch] == [(2, 2, 5, 7)] * 2
    for weights in watch:
        assert_close(weights.sum(-1), torch.ones(2, 2, 5))
        assert (weights[~mask[:, None, None].expand_as(weights)] == 0).all()


def test_mean_pool_leaves_padding_out():
    states, mask = torch.randn(3, 8, 4), random_mask(3, 8)
    expected = torch.stack([s[m].mean(0) for s, m in zip(states, mask)])
    assert_close(mean_pool(states, mask), expected)


# What is easily forgotten


def test_a_cache_of_another_model_is_refused_in_words():
    model, ids = make(Decoder, n_layers=3), random_ids(2, 8)
    for cache in (make(Decoder).new_cache(), []):
        with pytest.raises(ValueError, match=f"got {len(cache)} parts and 3 blocks"):
            model(ids, cache)


@pytest.mark.parametrize("kind", ["norm1", "norm_cross", "norm2"])
def test_every_norm_of_a_block_is_of_the_kind_that_was_asked_for(kind):
    block = make(Seq2Seq, norm="rms", norm_eps=0.5).decoder.blocks[0]
    norm = getattr(block, kind)
    assert isinstance(norm, nn.RMSNorm) and norm.eps == 0.5


@pytest.mark.parametrize("place", ["pre", "post"])
def test_dropout_stands_after_each_part_and_after_the_embedding(place):
    config = ModelConfig(**SMALL | dict(n_layers=1), dropout=0.5, norm_place=place)
    model, zeros = loud(Seq2Seq(config)), []
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.register_forward_hook(lambda m, i, out: zeros.append(out == 0))
    model.train()(random_ids(8, 8), random_ids(8, 8))
    # the encoder: embedding, attention, MLP; the decoder: one more, for its memory
    shares = [silent.float().mean().item() for silent in zeros]
    assert len(shares) == 3 + 4 and all(0.3 < share < 0.7 for share in shares)


@each_position
def test_what_a_formula_gave_goes_where_the_model_goes(positions):
    model = make(Decoder, positions=positions).double()
    tables = [t for t in (model.sinusoids, model.turns, model.slopes) if t is not None]
    assert [t.dtype for t in tables] == [torch.float64] * (positions != "learned")
    assert model(random_ids(1, 8)).dtype is torch.float64
    assert len(list(model.to("meta").buffers())) == len(tables)
    assert "meta" in {x.device.type for x in model.buffers()} or not tables


def test_a_scaled_embedding_is_the_table_times_the_root_of_the_width():
    scaled, plain = make(scale_embedding=True), make()
    with torch.no_grad():
        plain.embedding.weight.mul_(16**0.5)
    ids = random_ids(2, 8)
    assert_close(scaled(ids), plain(ids), atol=1e-4, rtol=1e-4)


def test_short_integers_are_ids_too():
    model, ids = make(), random_ids(2, 8)
    assert torch.equal(model(ids.int()), model(ids))


def test_what_adds_to_the_sum_begins_small_the_deeper_the_smaller():
    torch.manual_seed(0)
    model = Seq2Seq(ModelConfig(50, d_model=128, n_layers=8))
    for name, weight in model.named_parameters():
        adds = name.endswith(("out.weight", "down.weight"))
        if weight.ndim == 2:
            expected = 0.02 / 4 if adds else 0.02  # 4 = √(2 · 8)
            assert weight.std().item() == pytest.approx(expected, rel=0.1), name
    scaled = Encoder(ModelConfig.preset("vaswani2017", vocab_size=500, n_layers=1))
    assert scaled.embedding.weight.std().item() == pytest.approx(512**-0.5, rel=0.05)


@pytest.mark.parametrize("preset", ["bert", "gpt2", "modern"])
def test_the_first_guess_of_a_preset_is_even(preset):
    torch.manual_seed(0)
    size = dict(vocab_size=65, context=8, n_layers=2, n_heads=2, d_model=64)
    kind = MaskedLM if preset == "bert" else Decoder
    model = kind(ModelConfig.preset(preset, **size)).eval()
    logits = model(random_ids(64, 8, vocab_size=65)).flatten(0, 1)
    loss = nn.functional.cross_entropy(logits, random_ids(512, vocab_size=65, seed=1))
    assert loss.item() == pytest.approx(math.log(65), abs=0.1)


# Presets


@pytest.mark.slow
@each_preset
@each_kind
def test_every_preset_makes_every_model_and_it_learns(preset, kind):
    size = SMALL | dict(vocab_size=11, dropout=0.0)
    torch.manual_seed(0)
    model = kind(ModelConfig.preset(preset, **size))
    ids, labels = random_ids(4, 8), random_ids(4, 8, seed=1)
    readout = nn.Linear(16, 11) if kind is Encoder else nn.Identity()
    weights = [*model.parameters(), *readout.parameters()]
    optimizer = torch.optim.AdamW(weights, lr=0.02)
    for _ in range(150):
        logits = readout(call(model, ids)).flatten(0, 1)
        loss = nn.functional.cross_entropy(logits, labels.flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.1


@pytest.mark.parametrize(
    ("kind", "preset", "parameters"),
    [
        (Decoder, "gpt2", 124_439_808),  # as Radford et al.'s checkpoint has
        (Encoder, "bert", 108_891_648),  # BERT-base without its pooler
        (MaskedLM, "bert", 109_514_298),  # bert-base-uncased with its head
        (Seq2Seq, "vaswani2017", 63_082_496),  # "65 million" in its table 3
    ],
)
def test_presets_have_the_size_of_the_originals(kind, preset, parameters):
    with torch.device("meta"):
        model = kind(ModelConfig.preset(preset))
    assert sum(p.numel() for p in model.parameters()) == parameters


def test_a_preset_is_only_fields():
    fields = PRESETS["modern"] | dict(n_layers=1)
    assert ModelConfig.preset("modern", n_layers=1) == ModelConfig(**fields)


# Kept and read again


@each_kind
@each_preset
def test_saved_and_loaded_is_the_same_model(kind, preset, tmp_path):
    model = loud(kind(ModelConfig.preset(preset, **SMALL)))
    save_model(model, tmp_path)
    back = load_model(tmp_path).eval()
    assert type(back) is kind and back.config == model.config
    assert same_weights(back, model)
    ids = random_ids(2, 8)
    assert torch.equal(call(back, ids), call(model, ids))


# Errors


@pytest.mark.parametrize(
    ("ids", "words"),
    [
        (torch.zeros(8).long(), r"got torch.int64 of shape \(8,\); for a single text"),
        (torch.zeros(1, 8), r"whole numbers \(B, T\).*got torch.float32 of shape"),
        (torch.zeros(1, 2, 8).long(), r"of shape \(1, 2, 8\)"),
        (torch.zeros(1, 0).long(), r"T at least 1: got torch.int64 of shape \(1, 0\)"),
        (torch.zeros(1, 9).long(), "8 positions at most: got 9; cut the text"),
        (torch.full((1, 3), 11), "token ids are from 0 to 10 here: got 11 to 11"),
    ],
)
@each_kind
def test_ids_that_do_not_fit_are_refused_in_words(kind, ids, words):
    with pytest.raises(ValueError, match=words):
        call(make(kind), ids)


@pytest.mark.parametrize(
    ("mask", "words"),
    [
        (torch.ones(2, 8), "got torch.float32; write mask.bool"),
        (torch.ones(2, 8).long(), "True where a token is: got torch.int64"),
        (torch.ones(2, 7).bool(), r"one entry for each token, \(2, 8\): got \(2, 7\)"),
        (torch.ones(8).bool(), r"\(2, 8\): got \(8,\)"),
        (torch.ones(2, 1, 1, 8).bool(), r"\(2, 8\): got \(2, 1, 1, 8\)"),
        (torch.arange(16).view(2, 8) < 8, "row 1 of the padding mask is all False"),
    ],
)
@pytest.mark.parametrize("kind", [Encoder, MaskedLM, Seq2Seq])
def test_masks_that_do_not_fit_are_refused_in_words(kind, mask, words):
    model, ids = make(kind), random_ids(2, 8)
    with pytest.raises(ValueError, match=words):
        model(ids, ids, mask) if kind is Seq2Seq else model(ids, mask)


def test_segments_that_do_not_fit_are_refused_in_words():
    ids = random_ids(2, 8)
    with pytest.raises(ValueError, match="segments are from 0 to 1 here: got 2 to 2"):
        make(n_segments=2)(ids, segments=torch.full((2, 8), 2))
    for shape in ((2, 7), (2, 1), (8,)):
        with pytest.raises(
            ValueError, match=r"one segment: got segments .* ids \(2, 8\)"
        ):
            make(n_segments=2)(ids, segments=torch.zeros(shape).long())
    with pytest.raises(ValueError, match="knows no segments .n_segments is 0.: leave"):
        make()(ids, segments=torch.zeros_like(ids))
    model = make(n_segments=2)
    assert torch.equal(model(ids), model(ids, segments=torch.zeros_like(ids)))
    assert not torch.allclose(model(ids), model(ids, segments=torch.ones_like(ids)))


def test_a_memory_that_does_not_fit_is_refused_in_words():
    model, ids = make(Seq2Seq), random_ids(2, 8)
    with pytest.raises(ValueError, match="looks at what an encoder read: give memory="):
        model.decoder(ids)
    with pytest.raises(ValueError, match="no part that looks at a memory: build it as"):
        make(Decoder)(ids, memory=model.encode(ids))
    with pytest.raises(ValueError, match="got 3 sources and 2 targets"):
        model(random_ids(3, 8), ids)
    with pytest.raises(ValueError, match="got 2 sources and 1 targets"):
        model.decoder(ids[:1], memory=Memory(torch.zeros(2, 8, 16)))
    for mask, words in [
        (torch.ones(3, 8).bool(), r"\(2, 8\): got \(3, 8\)"),
        (torch.arange(16).view(2, 8) < 8, "row 1 of the padding mask is all False"),
    ]:
        with pytest.raises(ValueError, match=words):
            model.decoder(ids, memory=Memory(torch.zeros(2, 8, 16), mask))
        with pytest.raises(ValueError, match=words):
            mean_pool(torch.zeros(2, 8, 16), mask)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (dict(n_layers=2.0), "n_layers must be a whole number: got 2.0"),
        (dict(vocab_size=None), "vocab_size must be a whole number: got None"),
        (dict(d_model="16"), "d_model must be a whole number: got '16'"),
        (dict(bias="no"), "bias must be True or False: got 'no'"),
        (dict(norm_eps="1e-5"), "norm_eps must be a number: got '1e-5'"),
        (dict(dropout=None), "dropout must be a number: got None"),
        (dict(n_kv_heads=3), "n_heads 2 and n_kv_heads 3; choose n_kv_heads that div"),
        (dict(n_kv_heads=-1), "n_kv_heads must be at least 0: got -1"),
        (dict(norm="batch"), "unknown norm 'batch'; choose one of layer, rms"),
        (dict(norm_place="mid"), "unknown norm_place 'mid'; choose one of pre, post"),
        (dict(norm_eps=0.0), "norm_eps must be above 0: got 0.0"),
        (dict(dropout=1.0), "dropout is a share, from 0 to below 1: got 1.0"),
        (dict(n_segments=-2), "n_segments must be at least 0: got -2"),
        (
            dict(positions="both"),
            "unknown positions 'both'; choose one of learned, sin",
        ),
    ],
)
def test_a_shape_that_can_not_be_is_refused_in_words(changes, words):
    with pytest.raises(ValueError, match=words):
        small_model(**changes)


def test_a_preset_that_is_not_there_is_refused_in_words():
    with pytest.raises(
        ValueError, match="unknown preset 'gpt3'; choose one of vaswani"
    ):
        ModelConfig.preset("gpt3")
    with pytest.raises(
        ValueError, match="a model has no 'layers'; it has vocab_size, c"
    ):
        ModelConfig.preset("gpt2", layers=2)


def test_what_can_not_be_read_again_is_not_saved(tmp_path):
    class Mine(Decoder):
        """A decoder of somebody's own."""

    with pytest.raises(ValueError, match="can be read again: got a Mine"):
        save_model(Mine(ModelConfig(**SMALL)), tmp_path)
    with pytest.raises(ValueError, match="cross=True: save the whole Seq2Seq"):
        save_model(make(Seq2Seq).decoder, tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_home_folder_is_found(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    save_model(make(), "~/model")
    assert same_weights(load_model("~/model"), load_model(tmp_path / "model"))
