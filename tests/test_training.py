"""Check the loop: exact under accumulation, deterministic, and as AdamW by hand."""

import math
import shutil
import sys

import pytest
import torch
from helpers import UnevenBatches, random_ids, same_weights, small_model, train
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from llmkit.batches import NextTokenBatches, evaluation_batches
from llmkit.metrics import IGNORE, token_loss
from llmkit.training import (
    TrainingConfig,
    best_precision,
    evaluate,
    find_checkpoints,
    fit,
    loop,
    rate,
    uses_cuda,
)
from llmkit.transformer import Decoder, ModelConfig

OPTIMIZERS = ("adamw", "muon")
each_optimizer = pytest.mark.parametrize("optimizer", OPTIMIZERS)


def distance(one: nn.Module, other: nn.Module) -> float:
    """Return the largest difference between two models' weights."""
    pairs = zip(one.parameters(), other.parameters())
    return max(float((a - b).detach().abs().max()) for a, b in pairs)


@pytest.mark.slow
@each_optimizer
@pytest.mark.parametrize("pieces", [2, 3, 4, 6])
def test_pieces_of_a_batch_train_as_the_whole_does(pieces, optimizer):
    recipe = dict(optimizer=optimizer, weight_decay=0.1, clip=0.5)
    one, other = small_model(loud=False), small_model(loud=False)
    whole = train(one, **recipe)
    cut = train(other, accumulation=pieces, **recipe)
    assert [s.loss for s in cut] == pytest.approx([s.loss for s in whole], abs=1e-6)
    assert [s.tokens for s in cut] == [s.tokens for s in whole]
    # Muon blows up what rounding did in directions that hardly any gradient has.
    assert distance(one, other) < {"adamw": 1e-6, "muon": 1e-4}[optimizer]
    assert distance(one, small_model(loud=False)) > 3e-3


def test_a_step_tells_the_loss_over_the_labels_that_count():
    model, twin = small_model(), small_model()
    inputs, labels = UnevenBatches()[0]
    total, count = token_loss(twin(inputs), labels)
    first = next(fit(model, UnevenBatches(), TrainingConfig(steps=4, precision="fp32")))
    assert first.loss == pytest.approx(total.item() / int(count), rel=1e-5)
    assert (first.number, first.tokens, first.progress) == (1, int(count), 0.25)


@pytest.mark.parametrize("clip", [0.0, 0.7])
def test_it_equals_a_loop_of_torchs_adamw_exactly(clip):
    recipe = dict(steps=12, learning_rate=0.01, clip=clip, warmup=0.3, decay=0.4)
    ours, twin = small_model(), small_model()
    steps = train(ours, **recipe)
    adamw = torch.optim.AdamW(
        twin.parameters(), betas=(0.9, 0.95), weight_decay=0.0, fused=True
    )
    for i in range(12):
        inputs, labels = UnevenBatches()[i]
        total, _ = token_loss(twin(inputs), labels)
        count = int((labels != IGNORE).sum())
        (total / count).backward()
        if clip:
            nn.utils.clip_grad_norm_(twin.parameters(), clip)
        share = rate(TrainingConfig(**recipe), i / 12 + 0.5 / 12)
        adamw.param_groups[0]["lr"] = 0.01 * share
        adamw.step()
        adamw.zero_grad()
        assert steps[i].rate == share and steps[i].loss == float(total.detach()) / count
    assert same_weights(ours, twin)


@each_optimizer
def test_the_same_seed_gives_the_same_weights_bit_for_bit(optimizer):
    models = [small_model(seed=seed, loud=False) for seed in (1, 1, 2)]
    losses = [[s.loss for s in train(m, optimizer=optimizer)] for m in models]
    assert same_weights(models[0], models[1]) and losses[0] == losses[1]
    assert not same_weights(models[0], models[2])


@pytest.mark.slow
@pytest.mark.parametrize(
    "changes", [{}, dict(tied=False, quiet=True, positions="rotary")]
)
@each_optimizer
def test_it_learns_one_batch_by_heart(optimizer, changes):
    model, batch = small_model(loud=False, **changes), UnevenBatches()[0]
    recipe = dict(steps=80, optimizer=optimizer, learning_rate=0.02, clip=0.0)
    steps = train(model, [batch] * 80, **recipe)
    assert steps[0].loss == pytest.approx(math.log(11), abs=0.1)
    assert steps[-1].loss < 0.1


@given(st.integers(2, 60), st.integers(1, 8), st.integers(1, 5))
@settings(max_examples=20)
def test_evaluation_is_one_forward_over_the_whole_split(length, context, batch_size):
    model, ids = small_model(), random_ids(length)
    batches = evaluation_batches(ids, context, batch_size)
    inputs, labels = (torch.cat(parts) for parts in zip(*batches))
    with torch.no_grad():
        total, count = token_loss(model(inputs), labels)
    assert count == length - 1
    assert evaluate(model, batches) == pytest.approx(float(total / count), rel=1e-5)
    assert model.training  # as it was


def test_it_evaluates_when_it_should_and_always_at_the_end():
    evaluation = evaluation_batches(random_ids(50), 8)
    model = small_model()
    steps = train(model, evaluation=evaluation, steps=8, evaluate_every=3)
    assert [s.number for s in steps if s.val_loss is not None] == [3, 6, 8]
    assert steps[-1].val_loss == evaluate(model, evaluation)
    steps = train(small_model(), evaluation=evaluation, steps=8)
    assert [s.number for s in steps if s.val_loss is not None] == [8]


def test_it_stops_once_the_target_is_reached():
    ids = torch.arange(400) % 4
    batches, evaluation = NextTokenBatches(ids, 8, 4), evaluation_batches(ids, 8)
    recipe = dict(steps=300, evaluate_every=5, learning_rate=0.01, target_loss=0.5)
    steps = train(small_model(loud=False), batches, evaluation, **recipe)
    assert steps[-1].number < 300 and steps[-1].val_loss <= 0.5
    assert all(s.val_loss is None or s.val_loss > 0.5 for s in steps[:-1])


def test_the_clock_can_end_it(monkeypatch):
    ticks = iter(range(1000))  # each look at the clock is a second later
    monkeypatch.setattr(loop.time, "perf_counter", lambda: float(next(ticks)))
    steps = train(small_model(), steps=0, seconds=4.0, warmup=0.5, decay=0.5)
    assert [(s.seconds, s.progress) for s in steps] == [
        (1.0, 0.25), (2.0, 0.5), (3.0, 0.75), (4.0, 1.0)
    ]  # fmt: skip
    assert [s.rate for s in steps] == [0.0, 0.5, 1.0, 0.5]
    both = train(small_model(), steps=6, seconds=3.5)
    assert len(both) == 4 and all(s.rate >= 0 for s in both)


def test_a_loss_that_is_no_number_stops_it_in_words():
    model = small_model()
    with torch.no_grad():
        model.norm.weight[0] = math.nan
    with pytest.raises(ValueError, match="loss is nan at step 1: .* \\(none was saved"):
        train(model)


# What is made small, and which weight learns how fast


def halved(model, inputs, labels):
    """Ask for the labels less eagerly: an objective of the caller's own."""
    total, count = token_loss(model(*inputs), labels)
    return total / 2, count


def test_the_objective_is_what_is_made_small_and_what_a_step_tells():
    recipe = dict(steps=5, precision="fp32", clip=0.0)
    plain, twin = small_model(), small_model()
    steps = train(plain, **recipe)
    config = TrainingConfig(**recipe)
    told = list(fit(twin, UnevenBatches(), config, objective=halved))
    # AdamW does not see how large a loss is, only where it falls.
    losses = [s.loss / 2 for s in steps]
    assert [s.loss for s in told] == pytest.approx(losses, rel=1e-5)
    assert [s.tokens for s in told] == [s.tokens for s in steps]
    assert not same_weights(twin, small_model())


def test_evaluation_stays_plain_whatever_the_objective_is():
    model, evaluation = small_model(), evaluation_batches(random_ids(50), 8)
    config = TrainingConfig(steps=3, precision="fp32")
    run = fit(model, UnevenBatches(), config, evaluation, objective=halved)
    *_, last = run
    assert last.val_loss == evaluate(model, evaluation)


@pytest.mark.parametrize("pieces", [2, 3])
def test_pieces_train_as_the_whole_does_under_an_objective_too(pieces):
    models = [small_model(loud=False) for _ in range(2)]
    for model, n in zip(models, (1, pieces)):
        config = TrainingConfig(steps=4, precision="fp32", accumulation=n)
        list(fit(model, UnevenBatches(), config, objective=halved))
    assert distance(*models) < 1e-6


def by_depth(name: str) -> float:
    """Let the embeddings rest, the first block learn slowly, the rest as told."""
    if name.startswith(("embedding", "positions")):
        return 0.0
    return 0.25 if name.startswith("blocks.0.") else 2.0 if "norm" in name else 1.0


def test_rate_of_gives_each_weight_its_rate_as_adamw_by_hand_does():
    recipe = dict(steps=6, learning_rate=0.01, clip=0.0, warmup=0.3, decay=0.4)
    recipe |= dict(weight_decay=0.1, precision="fp32")
    config = TrainingConfig(**recipe)
    # Keys' biases change nothing: their gradients are what rounding leaves.
    ours, twin, before = (small_model(tied=False, bias=False) for _ in range(3))
    steps = list(fit(ours, UnevenBatches(), config, rate_of=by_depth))
    named = list(twin.named_parameters())
    moments = {name: [torch.zeros_like(w), torch.zeros_like(w)] for name, w in named}
    for i in range(6):
        inputs, labels = UnevenBatches()[i]
        total, count = token_loss(twin(inputs), labels)
        twin.zero_grad()
        (total / count).backward()
        for name, w in named:
            m, v = moments[name]
            m.lerp_(w.grad, 1 - 0.9)
            v.lerp_(w.grad**2, 1 - 0.95)
            ahead, size = m / (1 - 0.9 ** (i + 1)), v / (1 - 0.95 ** (i + 1))
            rate_here = 0.01 * steps[i].rate * by_depth(name)
            with torch.no_grad():
                w.mul_(1 - rate_here * (0.1 if w.ndim > 1 else 0.0))
                w.sub_(rate_here * ahead / (size.sqrt() + 1e-8))
    before = dict(before.named_parameters())
    for (name, one), (_, other) in zip(ours.named_parameters(), named):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-4)
        assert torch.equal(one, before[name]) is (by_depth(name) == 0)


def test_a_frozen_weight_stays_bit_for_bit_though_it_would_decay():
    model, before = small_model(), small_model()
    model.blocks[0].requires_grad_(False)
    train(model, weight_decay=0.5, steps=3)
    assert same_weights(model.blocks[0], before.blocks[0])
    assert not same_weights(model.blocks[1], before.blocks[1])


class Exploding:
    """Multiply a model's logits by NaN from one step on."""

    def __init__(self, model, step: int):
        self.calls, self.step = 0, step
        model.head.register_forward_hook(self)

    def __call__(self, head, arguments, logits):
        self.calls += head.training
        return logits * math.nan if self.calls > self.step else logits


def test_an_infinite_loss_stops_it_too():
    model = small_model()
    model.head.register_forward_hook(lambda head, x, logits: logits.index_fill(
        -1, torch.arange(10), -math.inf))  # fmt: skip
    with pytest.raises(ValueError, match="the loss is inf at step 1: training has"):
        train(model)


def test_a_diverged_run_keeps_its_last_good_checkpoint_and_says_why(tmp_path):
    model = small_model()
    Exploding(model, step=4)
    with pytest.raises(ValueError) as caught:
        train(model, steps=9, out=tmp_path, save_every=0)
    words = str(caught.value)
    assert words.startswith("the loss is nan at step 5: training has diverged (the")
    for hint in ("step-00000004", "learning_rate 0.001", "clip=1.0", "fp32", "warm-up"):
        assert hint in words
    assert "\n" not in words
    kept = find_checkpoints(tmp_path)
    assert kept[0].name == "step-00000004"
    other = small_model()
    train(other, steps=9, out=tmp_path, resume=True)  # the model's fault aside
    straight = small_model()
    train(straight, steps=9)
    assert same_weights(other, straight)


def test_weights_that_are_no_numbers_are_never_saved(tmp_path):
    model = small_model()
    config = TrainingConfig(steps=6, precision="fp32", out=tmp_path)
    steps = fit(model, UnevenBatches(), config)
    next(steps), next(steps)
    with torch.no_grad():
        model.norm.bias[0] = math.nan  # as a last step may leave it
    with pytest.raises(ValueError, match="a weight is no number any more at step 2"):
        steps.close()
    assert not find_checkpoints(tmp_path)


def test_a_batch_too_small_to_share_is_refused_in_words():
    with pytest.raises(
        ValueError, match="of 3 rows can't be shared .* use a larger batch"
    ):
        train(small_model(), UnevenBatches(rows=3), accumulation=4)


def test_a_batch_that_asks_for_nothing_changes_nothing():
    model, twin = small_model(), small_model()
    inputs, labels = UnevenBatches()[0]
    (step,) = train(model, [(inputs, torch.full_like(labels, IGNORE))], steps=1)
    assert (step.loss, step.tokens) == (0.0, 0)
    assert same_weights(model, twin)


def test_each_fit_has_its_own_precision_and_hands_the_model_back_as_it_came():
    model, seen = small_model(), []
    model.blocks[0].up.register_forward_hook(lambda *x: seen.append(x[-1].dtype))
    for precision, dtype in [
        ("fp32", torch.float32),
        ("bf16", torch.bfloat16),
        ("auto", torch.bfloat16 if best_precision(model) == "bf16" else torch.float32),
        ("bf16", torch.bfloat16),
    ]:
        steps = train(model, precision=precision, steps=1)
        assert seen[-1] is dtype and math.isfinite(steps[0].loss)
        model(random_ids(1, 4))
        assert seen[-1] is torch.float32


@pytest.mark.parametrize(
    ("cuda", "amx", "expected"),
    [(None, False, "no"), (None, True, "bf16"), (7, True, "no"), (8, False, "bf16")],
)
def test_precision_is_what_pays_on_the_device(cuda, amx, expected, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda is not None)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: (cuda, 0))
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: amx)
    assert best_precision() == expected


def test_a_gpu_that_is_not_wished_for_has_no_say(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: (9, 0))
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: False)
    assert best_precision() == "bf16" and uses_cuda()
    monkeypatch.setenv("ACCELERATE_USE_CPU", "true")
    assert best_precision() == "no" and not uses_cuda()


def test_on_a_cpu_with_amx_narrow_layers_stay_in_float32(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: True)
    with torch.device("meta"):
        shapes = {w: Decoder(ModelConfig(65, d_model=w)) for w in (128, 256)}
    assert [best_precision(model) for model in shapes.values()] == ["no", "bf16"]


@pytest.mark.slow
def test_a_compiled_model_learns_the_same_and_comes_back_as_it_was():
    if not shutil.which("c++"):
        pytest.skip("a compiler is missing: apt install g++")
    if " " in sys.prefix:
        pytest.skip("torch can't compile where its own folder's path holds a space")
    plain, ours = small_model(loud=False), small_model(loud=False)
    expected = [step.loss for step in train(plain, steps=4)]
    steps = train(ours, steps=4, compile=True)
    assert [step.loss for step in steps] == pytest.approx(expected, abs=1e-5)
    assert ours.state_dict().keys() == plain.state_dict().keys()
    assert ours._compiled_call_impl is None
