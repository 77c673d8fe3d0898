"""Check each cure for overfitting against its twin, its formula or its law."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from helpers import loud, save_tiny
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.testing import assert_close

from llmkit.batches import side_by_side
from llmkit.finetuning import (
    ClassLoss,
    average,
    class_weights,
    layer_rates,
    load_classifier,
)

PAD = 0  # in a row of ids, as in `Tiny`


class Tiny(nn.Module):
    """A classifier whose embeddings can be seen: their mean, bent, and a head."""

    def __init__(self, classes: int = 3, seed: int = 0):
        super().__init__()
        torch.manual_seed(seed)
        self.embeddings = nn.Embedding(9, 4).double()
        self.head = nn.Linear(4, classes).double()
        self.seen: list[Tensor] = []  # embeddings of each pass, as the rest gets them

    def read(self, x: Tensor, mask: Tensor) -> Tensor:
        m = mask[..., None].double()
        return self.head(torch.tanh(2 * (x * m).sum(1) / m.sum(1)))  # (B, C)

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        x = self.embeddings(ids)  # (B, T, D)
        self.seen.append(x.detach())
        return self.read(x, mask)


def some_batch(seed: int = 0, classes: int = 3):
    random = torch.Generator().manual_seed(seed)
    rows = [torch.randint(1, 9, (n,), generator=random).tolist() for n in (5, 2, 3)]
    return side_by_side(rows, PAD), torch.randint(classes, (3,), generator=random)


# The loss

numbers = st.floats(-9, 9, width=32)


@st.composite
def cases(draw):
    B, C = draw(st.integers(1, 6)), draw(st.integers(2, 5))
    logits = draw(st.lists(numbers, min_size=B * C, max_size=B * C))
    labels = draw(st.lists(st.integers(0, C - 1), min_size=B, max_size=B))
    weights = draw(st.none() | st.lists(st.floats(0.1, 9), min_size=C, max_size=C))
    smoothing = draw(st.floats(0, 0.99))
    weights = None if weights is None else torch.tensor(weights)
    return torch.tensor(logits).view(B, C), torch.tensor(labels), weights, smoothing


@given(cases())
def test_the_loss_is_torchs_summed_over_the_texts(case):
    logits, labels, weights, smoothing = case
    twin = nn.CrossEntropyLoss(weights, reduction="sum", label_smoothing=smoothing)
    total, count = ClassLoss(smoothing, weights)(nn.Identity(), logits, labels)
    assert_close(total, twin(logits, labels))
    assert count == len(labels)


@given(cases())
def test_smoothing_gives_a_share_of_the_label_to_all_classes_evenly(case):
    logits, labels, _, s = case
    C = logits.shape[1]
    y = (1 - s) * nn.functional.one_hot(labels, C) + s / C  # (B, C)
    expected = -(y * logits.double().log_softmax(-1)).sum()
    total, _ = ClassLoss(s)(nn.Identity(), logits, labels)
    assert_close(total.double(), expected, atol=1e-4, rtol=1e-5)


def test_a_weight_multiplies_what_a_text_of_its_class_costs():
    inputs, labels = some_batch(classes=2)
    labels[0], labels[1:] = 1, 0
    model = Tiny(classes=2)
    plain = [
        ClassLoss()(model, [x[i : i + 1] for x in inputs], labels[i : i + 1])[0]
        for i in range(3)
    ]
    total, _ = ClassLoss(weights=torch.tensor([0.5, 3.0]))(model, inputs, labels)
    assert_close(total, 3 * plain[0] + 0.5 * plain[1] + 0.5 * plain[2])


# Adversarial training


def pushes(model: nn.Module, inputs, labels, share: float) -> Tensor:
    """Return by how much the embeddings of each token were pushed: (B, T, D)."""
    model.seen.clear()
    ClassLoss(adversarial=share)(model, inputs, labels)
    clean, pushed = model.seen
    return pushed - clean


def slopes(model: Tiny, inputs, labels, step: float = 1e-5) -> Tensor:
    """Return the gradient of the loss by the embeddings, by finite differences."""
    ids, mask = inputs
    x = model.embeddings(ids).detach()  # (B, T, D)
    found = torch.zeros_like(x)
    for place in np.ndindex(*x.shape):
        ends = []
        for sign in (1, -1):
            moved = x.clone()
            moved[place] += sign * step
            logits = model.read(moved, mask)
            ends.append(nn.functional.cross_entropy(logits, labels, reduction="sum"))
        found[place] = (ends[0] - ends[1]) / (2 * step)
    return found


@pytest.mark.parametrize("seed", range(4))
def test_each_text_is_pushed_where_it_hurts_most_and_so_far(seed):
    model, (inputs, labels) = Tiny(seed=seed), some_batch(seed)
    r, g = pushes(model, inputs, labels, 0.3), slopes(model, inputs, labels)
    x = model.embeddings(inputs[0]) * inputs[1][..., None]
    r, g, x = (z.flatten(1) for z in (r, g, x))  # (B, T * D) each
    assert_close(nn.functional.cosine_similarity(r, g), torch.ones(3).double())
    assert_close(r.norm(dim=1), 0.3 * x.norm(dim=1))  # a text's own length
    assert not pushes(model, inputs, labels, 0.3)[~inputs[1]].any()


@given(st.integers(0, 99))
def test_a_small_push_makes_the_loss_larger_and_half_of_it_counts(seed):
    model, (inputs, labels) = Tiny(seed=seed), some_batch(seed)
    clean, _ = ClassLoss()(model, inputs, labels)
    both, count = ClassLoss(adversarial=0.02)(model, inputs, labels)  # in float32
    pushed = nn.functional.cross_entropy(
        model.read(model.seen[-1], inputs[1]), labels, reduction="sum"
    )
    assert pushed > clean and count == 3
    assert_close(both.double(), (clean + pushed) / 2, atol=1e-5, rtol=1e-5)


def test_a_larger_push_hurts_more():
    model, (inputs, labels) = Tiny(), some_batch()
    losses = [
        ClassLoss(adversarial=share)(model, inputs, labels)[0].item()
        for share in (0.0, 0.01, 0.1, 0.5)
    ]
    assert losses == sorted(losses)


@pytest.fixture(scope="module")
def tiny_bert(tmp_path_factory):
    folder = save_tiny(tmp_path_factory.mktemp("bert"), hidden_act="tanh")
    return loud(load_classifier(folder, ("bad", "good"), dropout=0.0))


def bert_pushes(classifier, texts, labels) -> list[Tensor]:
    """Return the push of each text's own tokens, and check that of the others."""
    ids, mask = side_by_side(classifier.encode(texts), classifier.filler)
    seen = []
    table = classifier.embeddings
    loss = ClassLoss(adversarial=0.1)
    after = classifier.model.bert.embeddings.LayerNorm
    handle = after.register_forward_hook(lambda m, x, out: seen.append(x[0].detach()))
    loss(classifier, (ids, mask), torch.tensor(labels))
    handle.remove()
    assert not table._forward_hooks
    clean, pushed = seen
    assert not (pushed - clean)[~mask].any()
    return [row[real] for row, real in zip(pushed - clean, mask)]


def test_a_texts_push_does_not_depend_on_the_others_of_its_batch(tiny_bert):
    filler = tiny_bert.embeddings.weight[tiny_bert.filler]
    assert filler.norm() > 0.5  # what fills up has a length of its own
    texts, labels = ["so bad", "the film was good . not odd at all !"], [0, 1]
    together = bert_pushes(tiny_bert, texts, labels)
    for text, label, push in zip(texts, labels, together):
        (alone,) = bert_pushes(tiny_bert, [text], [label])
        assert_close(push, alone, atol=1e-5, rtol=1e-3)
        x = tiny_bert.embeddings(torch.tensor(tiny_bert.encode([text])[0]))
        assert_close(alone.norm(), 0.1 * x.norm(), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("frozen", [False, True])
def test_every_weight_that_learns_gets_a_gradient_and_a_frozen_table_none(frozen):
    model, (inputs, labels) = Tiny(), some_batch()
    model.embeddings.weight.requires_grad_(not frozen)
    ClassLoss(adversarial=0.1)(model, inputs, labels)[0].backward()
    assert model.head.weight.grad.abs().sum() > 0
    assert (model.embeddings.weight.grad is None) is frozen
    assert not model.embeddings._forward_hooks


def test_a_text_without_a_slope_is_not_pushed():
    model, (inputs, labels) = Tiny(), some_batch()
    nn.init.zeros_(model.head.weight)
    total, _ = ClassLoss(adversarial=0.5)(model, inputs, labels)
    assert total.isfinite() and not (model.seen[1] - model.seen[0]).any()


def test_no_hook_stays_where_a_pass_fails():
    model, (inputs, labels) = Tiny(), some_batch()
    with pytest.raises(IndexError):
        ClassLoss(adversarial=0.5)(model, inputs, labels + 7)
    assert not model.embeddings._forward_hooks


# Weights of classes, rates of layers, means of models


@given(st.lists(st.integers(0, 4), min_size=1, max_size=60))
def test_class_weights_are_scikit_learns_balanced_ones(some):
    from sklearn.utils.class_weight import compute_class_weight

    labels = [*range(5), *some]
    found = class_weights(labels, 5)
    y = np.array(labels)
    expected = compute_class_weight("balanced", classes=np.arange(5), y=y)
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-6)
    assert found[y].mean().item() == pytest.approx(1)
    sums = [found[y][y == c].sum().item() for c in range(5)]
    assert sums == pytest.approx([len(labels) / 5] * 5)  # all count alike


def test_a_class_without_an_example_has_no_weight():
    with pytest.raises(ValueError, match="there is no example of class 1 to weigh"):
        class_weights([0, 2, 2], 3)


@given(st.floats(0.1, 1), st.floats(0.1, 99), st.integers(1, 24))
def test_each_layer_learns_slower_than_the_one_above_and_the_head_as_told(
    decay, head, L
):
    layer_of = {f"weight {n}": n for n in range(L + 2)}
    rate_of = layer_rates(layer_of, decay, head)
    rates = [rate_of(name) for name in layer_of]
    assert rates[L] == 1 and rates[L + 1] == head
    for below, above in pairwise(rates[: L + 1]):
        assert below == pytest.approx(decay * above)


def test_the_layers_of_a_real_model_have_their_rates(tiny_bert):
    _, layer_of = tiny_bert.layers()
    rate_of = layer_rates(layer_of, 0.5, 7.0)
    rates = {name: rate_of(name) for name, _ in tiny_bert.named_parameters()}
    assert rates["model.classifier.weight"] == 7.0
    assert rates["model.bert.pooler.dense.weight"] == 1.0
    assert rates["model.bert.encoder.layer.1.output.dense.bias"] == 1.0
    assert rates["model.bert.encoder.layer.0.output.dense.bias"] == 0.5
    assert rates["model.bert.embeddings.word_embeddings.weight"] == 0.25


@pytest.mark.parametrize(("decay", "head"), [(0, 1), (1.1, 1), (-1, 1), (0.5, 0)])
def test_rates_out_of_range_are_refused_in_words(decay, head):
    words = f"layer_decay is above 0 and at most 1 .* got {decay} and {head}"
    with pytest.raises(ValueError, match=words):
        layer_rates({"w": 1}, decay, head)


def test_the_average_is_the_mean_of_each_weight():
    torch.manual_seed(0)
    states = [
        {"w": torch.randn(3, 4), "h": torch.randn(5).half(), "n": torch.tensor(7)}
        for _ in range(3)
    ]
    found = average(states)
    assert found.keys() == states[0].keys() and found["n"] == 7
    for name in ("w", "h"):
        stacked = torch.stack([state[name].double() for state in states])
        assert found[name].dtype is states[0][name].dtype
        assert_close(found[name], stacked.mean(0).to(found[name].dtype))


@given(st.integers(1, 7))
def test_the_average_of_equals_is_one_of_them_bit_for_bit(n):
    state = nn.Linear(6, 5).state_dict()
    found = average([state] * n)
    assert all(torch.equal(found[name], state[name]) for name in state)
    assert found["weight"] is not state["weight"]
