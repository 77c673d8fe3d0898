"""Check the decoder: against GPT-2, and by the laws that every GPT must keep."""

import json
import math

import pytest
import torch
import torch.nn.functional as F
from helpers import POSITIONS, as_gpt2, random_ids, same_weights, small_model
from hypothesis import given
from hypothesis import strategies as st
from torch.testing import assert_close

from llmkit.transformer import (
    Decoder,
    ModelConfig,
    SquaredReLU,
    load_model,
    save_model,
    saving,
)

each_kind = pytest.mark.parametrize("positions", POSITIONS)


@pytest.mark.parametrize("implementation", ["eager", "sdpa"])
@pytest.mark.parametrize(
    "shape",
    [{}, dict(n_layers=3, n_heads=4, d_ff=24, activation="relu"), dict(d_model=6)],
)
def test_logits_equal_gpt2s(shape, implementation):
    model = small_model(**shape)
    twin, ids = as_gpt2(model, implementation), random_ids(3, 8)
    assert_close(model(ids), twin(ids).logits, atol=1e-5, rtol=1e-5)
    assert sum(p.numel() for p in model.parameters()) == twin.num_parameters()


@each_kind
@pytest.mark.parametrize("watched", [False, True])
def test_the_future_cannot_leak(positions, watched):
    model, seen = small_model(positions=positions), []
    model.embedding.register_forward_hook(lambda *x: seen.append(x[-1]))
    logits = model(random_ids(1, 8), watch=[] if watched else None)
    for t in range(8):
        (pull,) = torch.autograd.grad(logits[0, t].sum(), seen[0], retain_graph=True)
        assert (pull[0, t + 1 :] == 0).all()
        assert (pull[0, : t + 1].abs().sum(-1) > 0).all()


@each_kind
def test_order_is_seen(positions):
    model = small_model(positions=positions)
    one, other = model(torch.tensor([[1, 2, 3]])), model(torch.tensor([[2, 1, 3]]))
    assert (one[0, 2] - other[0, 2]).abs().max() > 0.01


@pytest.mark.parametrize(
    "shape", [dict(tied=True), dict(tied=False), dict(tied=False, quiet=True)]
)
@each_kind
def test_the_first_guess_is_even(positions, shape):
    model = small_model(
        loud=False, vocab_size=65, d_model=64, positions=positions, **shape
    )
    ids = random_ids(64, 8, vocab_size=65)
    loss = F.cross_entropy(
        model(ids).flatten(0, 1), random_ids(512, vocab_size=65, seed=1)
    )
    assert loss.item() == pytest.approx(math.log(65), abs=0.1)
    if shape.get("quiet"):
        assert loss.item() == pytest.approx(math.log(65), abs=1e-5)


@pytest.mark.slow
@given(st.sampled_from(POSITIONS), st.lists(st.integers(1, 4), min_size=1, max_size=4))
def test_cached_equals_uncached(positions, pieces):
    model = small_model(positions=positions, context=16)
    ids = random_ids(2, sum(pieces))
    cache, parts = model.new_cache(), []
    for piece in ids.split(pieces, dim=1):
        parts.append(model(piece, cache))
    assert_close(torch.cat(parts, dim=1), model(ids), atol=1e-4, rtol=1e-4)


@each_kind
def test_watching_changes_nothing_and_gives_every_blocks_weights(positions):
    model, ids, watch = small_model(positions=positions), random_ids(3, 5), []
    assert_close(model(ids, watch=watch), model(ids), atol=1e-4, rtol=1e-4)
    assert [tuple(w.shape) for w in watch] == [(3, 2, 5, 5)] * 2
    assert all((w.triu(1) == 0).all() for w in watch)


@pytest.mark.slow
@pytest.mark.parametrize(
    "changes", [{}, dict(activation="relu2", tied=False, bias=False)]
)
@each_kind
def test_it_learns_one_batch_by_heart(positions, changes):
    model = small_model(loud=False, positions=positions, **changes)
    ids, labels = random_ids(4, 8), random_ids(4, 8, seed=1)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.02, fused=True)
    for _ in range(120):
        loss = F.cross_entropy(model(ids).flatten(0, 1), labels.flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.05


@given(
    st.integers(1, 9),
    st.integers(1, 9),
    st.integers(1, 3),
    st.booleans(),
    st.booleans(),
)
def test_the_number_of_parameters_is_what_arithmetic_says(V, context, L, bias, tied):
    D, F_ = 8, 20
    model = Decoder(ModelConfig(V, context, L, 2, D, F_, bias=bias, tied=tied))
    block = 4 * D * D + 2 * D * F_ + 2 * D + bias * (4 * D + F_ + D + 2 * D)
    rest = V * D * (1 if tied else 2) + context * D + D + bias * D
    assert sum(p.numel() for p in model.parameters()) == L * block + rest


def test_squared_relu_and_its_gradient():
    x = torch.linspace(-2, 2, 9, dtype=torch.float64, requires_grad=True)
    assert_close(SquaredReLU.apply(x), x.relu() ** 2)
    assert torch.autograd.gradcheck(SquaredReLU.apply, x)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (dict(vocab_size=0), "vocab_size must be at least 1: got 0"),
        (dict(context=0), "context must be at least 1: got 0"),
        (dict(n_layers=-1), "n_layers must be at least 1: got -1"),
        (dict(n_heads=0), "n_heads must be at least 1: got 0"),
        (dict(d_model=0), "d_model must be at least 1: got 0"),
        (dict(d_ff=-8), "d_ff must be at least 0: got -8"),
        (dict(n_heads=3), "got d_model 16 and n_heads 3; choose n_heads that divides"),
        (
            dict(d_model=6, positions="rotary"),
            "6 / n_heads 2 = 3 is odd; choose it even",
        ),
        (
            dict(positions="rope"),
            "unknown positions 'rope'; choose one of learned, sin",
        ),
        (
            dict(activation="tanh"),
            "unknown activation 'tanh'; choose one of gelu, gelu_",
        ),
        (dict(quiet=True), "set tied=False or quiet=False"),
        (
            dict(positions="sinusoidal", d_model=3, n_heads=1),
            "got width 3, expected an",
        ),
    ],
)
def test_a_shape_that_can_not_be_is_refused_in_words(changes, words):
    with pytest.raises(ValueError, match=words):
        small_model(**changes)


def test_a_text_that_is_too_long_is_refused_in_words():
    model = small_model()
    with pytest.raises(ValueError, match="8 positions at most: got 9; cut the text"):
        model(random_ids(1, 9))
    cache = model.new_cache()
    model(random_ids(1, 8), cache)
    with pytest.raises(ValueError, match="8 positions at most: got 9"):
        model(random_ids(1, 1), cache)


@pytest.mark.parametrize("wrong", [-1, 11])
def test_a_token_that_is_not_in_the_vocabulary_is_refused_in_words(wrong):
    with pytest.raises(ValueError, match=r"from 0 to 10 here: got .*; encode the text"):
        small_model()(torch.tensor([[3, wrong]]))


@pytest.mark.parametrize("tied", [True, False])
@each_kind
def test_saved_and_loaded_is_the_same_model(positions, tied, tmp_path):
    model = small_model(positions=positions, tied=tied)
    save_model(model, tmp_path / "new" / "folder")
    back = load_model(tmp_path / "new" / "folder")
    assert back.config == model.config and same_weights(back, model)
    assert (back.head.weight is back.embedding.weight) == tied
    names = sorted(path.name for path in (tmp_path / "new" / "folder").iterdir())
    assert names == ["config.json", "model.safetensors"]


def cut_weights(folder):
    """Leave half of the weights' file."""
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def write_config(text: str):
    """Return a way to spoil a folder: other words in config.json."""
    return lambda folder: (folder / "config.json").write_bytes(text.encode("latin1"))


def other(**changes):
    """Return a way to spoil a folder: a config.json of another shape."""

    def spoil(folder):
        file = folder / "config.json"
        file.write_text(json.dumps(json.loads(file.read_text()) | changes))

    return spoil


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (
            lambda folder: (folder / "config.json").unlink(),
            "config.json is missing; give",
        ),
        (
            lambda folder: (folder / "model.safetensors").unlink(),
            "safetensors is missing",
        ),
        (cut_weights, "is damaged"),
        (lambda folder: (folder / "model.safetensors").write_bytes(b""), "is damaged"),
        (write_config(""), "is damaged"),
        (write_config('{"model": "dec'), "is damaged"),
        (write_config("[1]"), "is damaged"),
        (write_config('"decoder"'), "is damaged"),
        (write_config("caf\xe9"), "is damaged"),
        (other(depth=3), "is damaged.*depth"),
        (other(n_heads=5), "is damaged.*choose n_heads"),
        (other(vocab_size=12), r"is \(11, 16\) and should be \(12, 16\)"),
        (other(n_layers=3), r"do not fit their config: .blocks\.2"),
    ],
)
def test_a_damaged_model_is_refused_in_words(spoil, words, tmp_path):
    save_model(small_model(), tmp_path)
    spoil(tmp_path)
    with pytest.raises(ValueError, match=words):
        load_model(tmp_path)


def test_a_model_that_can_not_be_written_leaves_the_old_one(tmp_path, monkeypatch):
    old = small_model(seed=1)
    save_model(old, tmp_path)

    def fill_the_disk(tensors, file):
        file.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(saving, "save_file", fill_the_disk)
    with pytest.raises(
        OSError, match="could not save the model.*No space left.*free some"
    ):
        save_model(small_model(seed=2), tmp_path)
    assert same_weights(load_model(tmp_path), old)
    assert not list(tmp_path.glob("*.part"))
