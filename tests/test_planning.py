"""Check the estimates of cost against what a real model really takes."""

import pytest
import torch
from helpers import POSITIONS, random_ids, small_model
from torch.utils.flop_counter import FlopCounterMode

from llmkit.metrics import token_loss
from llmkit.planning import Cost, estimate_cost, flops_per_token
from llmkit.training import TrainingConfig
from llmkit.transformer import Decoder, ModelConfig

SHAPES = [
    dict(),
    dict(positions="rotary", bias=False, tied=False, activation="relu2"),
    dict(n_layers=2, d_ff=96, vocab_size=500),
    dict(context=128, d_model=64),
]


def shape(changes: dict) -> ModelConfig:
    """Return the shape of a model that is small, but not so small that parts vanish."""
    return ModelConfig(**dict(vocab_size=65, n_layers=3) | changes)


@pytest.mark.parametrize("changes", SHAPES)
def test_flops_are_those_that_torch_counts(changes):
    config = shape(changes)
    model, B = Decoder(config), 2
    ids = random_ids(B, config.context, vocab_size=config.vocab_size)
    with FlopCounterMode(display=False) as counter:
        # Watched, because torch does not count its own fast road.
        token_loss(model(ids, watch=[]), ids)[0].backward()
    T, D = config.context, config.d_model
    counted = counter.get_total_flops() / (B * T)
    hidden = config.n_layers * 6 * D * T  # this road computes what the mask hides, too
    assert flops_per_token(config) == pytest.approx(counted - hidden, rel=0.001)


@pytest.mark.parametrize("positions", POSITIONS)
@pytest.mark.parametrize("changes", SHAPES)
def test_parameters_and_tokens_are_exact(changes, positions):
    config = shape(changes | dict(positions=positions))
    cost = estimate_cost(config, TrainingConfig(steps=7), batch_size=3)
    assert cost.parameters == sum(p.numel() for p in Decoder(config).parameters())
    assert cost.tokens == 7 * 3 * config.context
    assert cost.flops == pytest.approx(cost.tokens * flops_per_token(config))


@pytest.mark.parametrize("accumulation", [1, 4])
@pytest.mark.parametrize("changes", SHAPES)
def test_memory_is_about_what_training_keeps(changes, accumulation):
    config, training = (
        shape(changes),
        TrainingConfig(steps=1, accumulation=accumulation),
    )
    model, kept = Decoder(config), {}

    def keep(tensor):
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    weights = {p.untyped_storage().data_ptr() for p in model.parameters()}
    rows = 16 // accumulation
    ids = random_ids(rows, config.context, vocab_size=config.vocab_size)
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        loss, _ = token_loss(model(ids), ids)
    activations = sum(size for where, size in kept.items() if where not in weights)
    real = 16 * sum(p.numel() for p in model.parameters()) + activations
    assert loss > 0
    assert real / 1.5 < estimate_cost(config, training, 16).memory < 1.5 * real


def test_nothing_is_allocated():
    huge = ModelConfig(100_000, context=4096, n_layers=200, n_heads=64, d_model=16_384)
    assert estimate_cost(huge, TrainingConfig(steps=1), 1).parameters > 6e11


def test_a_run_that_only_a_clock_ends_says_so():
    cost = estimate_cost(small_model().config, TrainingConfig(seconds=5), 4)
    assert str(cost).split(", ")[1] == "as many tokens as the time allows"
    assert "FLOPs" not in str(cost)
    assert str(Cost(1234, 5e9, 2000, 10**7)) == (
        "1,234 parameters, 2,000 tokens, 5e+09 FLOPs, about 10 MB of memory"
    )
