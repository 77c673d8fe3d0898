"""Check Muon against its textbook, the sorting of weights, and the schedule's laws."""

import pytest
import torch
from helpers import same_weights, small_model
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.testing import assert_close

from llmkit.training import (
    Muon,
    TrainingConfig,
    make_optimizers,
    orthogonalize,
    progress,
    rate,
)
from llmkit.training.optimizers import parameter_groups
from llmkit.transformer import Seq2Seq

sides = st.integers(1, 24)


def textbook(x: torch.Tensor, rounds: int = 5) -> torch.Tensor:
    """Write Newton and Schulz's iteration as Jordan et al. do, one matrix, in full."""
    tall = x.size(0) > x.size(1)
    x = (x.T if tall else x) / (x.norm() + 1e-7)
    for _ in range(rounds):
        gram = x @ x.T
        x = 3.4445 * x + (-4.7750 * gram + 2.0315 * gram @ gram) @ x
    return x.T if tall else x


@given(st.integers(1, 3), sides, sides)
def test_orthogonalize_is_the_textbooks_iteration(count, rows, columns):
    torch.manual_seed(rows)
    matrices = torch.randn(count, rows, columns)
    expected = torch.stack([textbook(m.double()) for m in matrices])
    assert_close(orthogonalize(matrices).double(), expected, atol=2e-3, rtol=1e-3)


@given(sides, sides, st.floats(1e-3, 1e3))
def test_orthogonalize_keeps_directions_and_evens_out_their_lengths(
    rows, columns, size
):
    torch.manual_seed(rows)
    u, _, v = torch.linalg.svd(torch.randn(rows, columns), full_matrices=False)
    lengths = torch.linspace(0.05, 1, len(v))  # how far each direction reaches
    even = orthogonalize((size * (u * lengths) @ v)[None])[0]
    turned = u.T @ even @ v.T  # diagonal, where the directions are the same
    assert_close(turned, turned.diag().diag(), atol=1e-3, rtol=0)
    assert (turned.diag() > 0.5).all() and (turned.diag() < 1.3).all()


def fake_gradients(model: nn.Module, seed: int) -> None:
    """Give every weight a random gradient."""
    torch.manual_seed(seed)
    for weight in model.parameters():
        weight.grad = torch.randn_like(weight)


def test_muon_is_momentum_orthogonalized_and_scaled_by_shape():
    torch.manual_seed(0)
    model = nn.ModuleList([nn.Linear(6, 4, bias=False), nn.Linear(3, 12, bias=False)])
    twins = [layer.weight.detach().clone() for layer in model]
    averages = [torch.zeros_like(w) for w in twins]
    muon = Muon([{"params": list(model.parameters())}], lr=0.1, weight_decay=0.3)
    for seed in range(4):
        fake_gradients(model, seed)
        for layer, twin, average in zip(model, twins, averages):
            average.mul_(0.95).add_(0.05 * layer.weight.grad)
            step = textbook(0.05 * layer.weight.grad + 0.95 * average)
            rows, columns = twin.shape
            twin.mul_(1 - 0.1 * 0.3).sub_(0.1 * max(1, rows / columns) ** 0.5 * step)
        muon.step()
        for layer, twin in zip(model, twins):
            assert_close(layer.weight.detach(), twin, atol=1e-3, rtol=0)


@pytest.mark.parametrize(
    ("kind", "rows"),
    [
        ("qkv", [8, 8, 8]),
        ("qkv", [8, 4, 4]),  # heads that share their keys and values
        ("kv", [8, 8]),
        ("kv", [4, 4]),
        ("", [16]),
    ],
)
def test_a_fused_matrix_moves_as_its_parts_would(kind, rows):
    torch.manual_seed(0)
    fused = nn.Linear(8, sum(rows), bias=False)
    layers = nn.ModuleList(nn.Linear(8, n, bias=False) for n in rows)
    with torch.no_grad():
        for layer, part in zip(layers, fused.weight.split(rows)):
            layer.weight.copy_(part)
    together = Muon([{"params": list(fused.parameters()), "fused": kind}], lr=0.1)
    apart = Muon([{"params": list(layers.parameters())}], lr=0.1)
    for seed in range(3):
        fake_gradients(fused, seed)
        for layer, part in zip(layers, fused.weight.grad.split(rows)):
            layer.weight.grad = part.clone()
        together.step()
        apart.step()
        assert_close(fused.weight, torch.cat([layer.weight for layer in layers]))


def test_a_look_at_a_memory_has_its_keys_and_values_in_one():
    model = Seq2Seq(small_model(n_kv_heads=1).config)
    kinds = parameter_groups(model)
    assert {tuple(w.shape) for w in kinds["kv"]} == {(16, 16)}  # 2 of 8 rows
    assert {tuple(w.shape) for w in kinds["qkv"]} == {(32, 16)}  # 16 + 8 + 8
    config = TrainingConfig(steps=1, optimizer="muon")
    muon, _ = make_optimizers(model, config)
    assert [g["fused"] for g in muon.param_groups] == ["qkv", "kv", ""]


def test_muon_leaves_alone_what_has_no_gradient():
    model, twin = nn.Linear(3, 3, bias=False), nn.Linear(3, 3, bias=False)
    twin.load_state_dict(model.state_dict())
    Muon([{"params": list(model.parameters())}], lr=1.0).step()
    assert same_weights(model, twin)


@pytest.mark.parametrize("tied", [True, False])
def test_every_weight_that_learns_is_in_one_group(tied):
    model = small_model(tied=tied)
    model.norm.weight.requires_grad_(False)
    groups = parameter_groups(model)
    names = {id(weight): name for name, weight in model.named_parameters()}
    found = {kind: {names[id(w)] for w in group} for kind, group in groups.items()}
    assert found["table"] == {"embedding.weight", "positions.weight"}
    assert found["head"] == (set() if tied else {"head.weight"})
    ends = {name.split(".", 2)[2] for name in found["qkv"] | found["matrices"]}
    assert ends == {
        f"{x}.weight" for x in ("attention.qkv", "attention.out", "up", "down")
    }
    assert len(found["qkv"]) == 2 and len(found["matrices"]) == 6
    everything = sorted(name for group in found.values() for name in group)
    assert everything == sorted(set(names.values()) - {"norm.weight"})


def test_only_matrices_decay_and_each_group_has_its_own_rate():
    config = TrainingConfig(
        steps=1, optimizer="muon", weight_decay=0.1, head_rate=0.5, learning_rate=0.2
    )
    muon, adamw = make_optimizers(small_model(tied=False), config)
    assert [g["fused"] for g in muon.param_groups] == ["qkv", ""]
    assert {g["peak"] for g in muon.param_groups} == {0.04}
    vectors = {g["params"][0].ndim < 2: g["weight_decay"] for g in adamw.param_groups}
    assert vectors == {True: 0.0, False: 0.1}
    assert sorted(g["peak"] for g in adamw.param_groups) == [0.2, 0.2, 0.5]
    (only,) = make_optimizers(small_model(), TrainingConfig(steps=1))
    assert type(only) is torch.optim.AdamW


def by_depth(name: str) -> float:
    return 0.5 if name.startswith("blocks.0.") else 1.0 if "head" in name else 0.1


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
@pytest.mark.parametrize("tied", [True, False])
def test_rate_of_gives_every_weight_its_share_of_its_peak(optimizer, tied):
    model = small_model(tied=tied)
    rates = dict(learning_rate=0.2, muon_rate=0.04, head_rate=0.6, weight_decay=0.1)
    config = TrainingConfig(steps=1, optimizer=optimizer, **rates)
    plain, slower = (
        {
            id(weight): (group["peak"], group.get("weight_decay"), group.get("fused"))
            for one in make_optimizers(model, config, rate_of)
            for group in one.param_groups
            for weight in group["params"]
        }
        for rate_of in (None, by_depth)
    )
    weights = dict(model.named_parameters())
    assert {*slower} == {id(w) for w in weights.values()} == {*plain}
    for name, weight in weights.items():
        (peak, *settings), (share, *same) = plain[id(weight)], slower[id(weight)]
        assert share == pytest.approx(by_depth(name) * peak) and settings == same
    count = sum(
        len(group["params"])
        for one in make_optimizers(model, config, by_depth)
        for group in one.param_groups
    )
    assert count == len(weights)  # none stands in two groups


shares = st.floats(0, 1)


@given(shares, shares, shares)
def test_the_rate_is_a_share_that_ends_at_zero(warmup, decay, done):
    config = TrainingConfig(steps=10, warmup=warmup, decay=decay)
    assert 0 <= rate(config, done) <= 1
    assert rate(config, 1.0) == (0 if decay else 1)
    assert rate(config, 0.0) == (0 if warmup else 1)
    assert rate(config, 1.05) == (0 if decay else 1)  # the clock may overrun


@given(st.floats(0, 0.4), st.floats(0, 0.5), shares, shares)
def test_the_rate_climbs_holds_and_falls(warmup, decay, one, other):
    config = TrainingConfig(steps=10, warmup=warmup, decay=decay)
    one, other = sorted((one, other))
    if other <= warmup:
        assert rate(config, one) <= rate(config, other)
    if one >= 1 - decay:
        assert rate(config, one) >= rate(config, other)
    if warmup <= one <= 1 - decay:
        assert rate(config, one) == pytest.approx(1)


def test_the_first_of_steps_and_seconds_decides():
    both = TrainingConfig(steps=10, seconds=4.0)
    assert progress(both, 5, 1.0) == 0.5 and progress(both, 1, 3.0) == 0.75
    assert progress(both, 10, 0.0) == progress(both, 0, 9.0) == 1.0
    assert progress(TrainingConfig(seconds=4.0), 10**6, 1.0) == 0.25


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (dict(), "needs an end: got steps 0 and seconds 0.0; set one of them above 0"),
        (dict(steps=-1), "needs an end: got steps -1"),
        (dict(steps=1, seconds=-1), "needs an end: got steps 1 and seconds -1"),
        (dict(steps=1, warmup=1.5), "warmup is a share .* from 0 to 1: got 1.5"),
        (dict(steps=1, decay=-0.1), "decay is a share .* from 0 to 1: got -0.1"),
        (dict(steps=1, accumulation=0), "accumulation must be at least 1: got 0"),
        (dict(steps=1, keep=0), "keep must be at least 1: got 0"),
        (dict(steps=1, learning_rate=0), "must be above 0: got learning_rate 0"),
        (dict(steps=1, muon_rate=-1), "must be above 0: .* and muon_rate -1"),
        (
            dict(steps=1, optimizer="sgd"),
            "unknown optimizer 'sgd'; choose one of adamw",
        ),
        (
            dict(steps=1, precision="fp16"),
            "unknown precision 'fp16'; choose one of auto",
        ),
    ],
)
def test_a_recipe_that_can_not_be_is_refused_in_words(settings, words):
    with pytest.raises(ValueError, match=words):
        TrainingConfig(**settings)
