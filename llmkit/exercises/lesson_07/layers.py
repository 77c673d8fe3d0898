"""Exercise 07.2: implement parameter groups in which lower layers learn more slowly."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from llmkit.exercises import Exercise, Twin, mistakes
from llmkit.finetuning import layer_rates


def layer_groups(
    weights: Mapping[str, Tensor],
    layer_of: Mapping[str, int],
    rate: float,
    decay: float,
    head_rate: float,
    pull: float,
) -> list[dict]:
    """Return a group for an optimizer for each weight: params, lr, weight_decay.

    layer_of: embeddings are layer 0, the blocks 1 to L, the head is L + 1. rate: of
    block L; each layer below learns `decay` times as fast as the one above it. pull:
    the weight decay of matrices; what has one dimension is not pulled.
    """
    share_of = layer_rates(layer_of, decay, head_rate / rate)
    return [
        {
            "params": [weight],
            "lr": rate * share_of(name),
            "weight_decay": pull if weight.ndim > 1 else 0.0,
        }
        for name, weight in weights.items()
    ]


def step_by_step(weights, layer_of, rate, decay, head_rate, pull) -> list[dict]:
    """Walk down from the head, and slow down at each layer."""
    groups, here = [], rate
    last = max(layer_of.values())
    for layer in range(last, -1, -1):
        lr = head_rate if layer == last else here
        here = here * decay if layer < last else here
        own = [weight for name, weight in weights.items() if layer_of[name] == layer]
        for decays in (True, False):
            some = [weight for weight in own if (weight.dim() > 1) == decays]
            groups.append(
                {"params": some, "lr": lr, "weight_decay": pull if decays else 0.0}
            )
    return groups


def cases(seed: int) -> tuple:
    """Draw the weights of a small encoder, and the rates."""
    L, D = 2 + seed % 3, 3
    weights = {"embeddings.word.weight": torch.zeros(5, D)}
    weights |= {f"embeddings.norm.{x}": torch.zeros(D) for x in ("weight", "bias")}
    layer_of = dict.fromkeys(weights, 0)
    for layer in range(1, L + 1):
        own = {
            f"block.{layer}.dense.weight": torch.zeros(D, D),
            f"block.{layer}.dense.bias": torch.zeros(D),
            f"block.{layer}.norm.weight": torch.zeros(D),
        }
        weights |= own
        layer_of |= dict.fromkeys(own, layer)
    own = {"head.weight": torch.zeros(2, D), "head.bias": torch.zeros(2)}
    weights |= own
    layer_of |= dict.fromkeys(own, L + 1)
    random = torch.Generator().manual_seed(seed)
    lots = torch.rand(4, generator=random).tolist()
    rate, decay = 1e-4 + 1e-3 * lots[0], 0.5 + 0.4 * lots[1]
    return weights, layer_of, rate, decay, 0.005 + 0.02 * lots[2], 0.01 + lots[3]


def rates_and_pulls(answer, weights, *rest):
    """Try an answer: what an optimizer would make of each weight, in thousandths."""
    weights = {name: nn.Parameter(w) for name, w in weights.items()}
    groups = answer(weights, *rest)
    if groups is None or groups is ...:
        return groups
    names, found = {id(w): name for name, w in weights.items()}, {}
    groups = [group for group in groups if group["params"]]
    settings = torch.optim.AdamW(groups, lr=123.0, weight_decay=123.0).param_groups
    for group in settings:
        told = [1000 * group["lr"], group["weight_decay"]]
        found |= {names[id(w)]: told for w in group["params"]}
    return {name: found.get(name, "left out") for name in weights}


# The classic mistakes. What a mistake says to the learner is its docstring.


def upside_down(weights, layer_of, rate, decay, head_rate, pull):
    """It looks like the lowest layers learn fastest: they know what serves every task,
    so they should change least. Let the exponent count from the top.
    """
    return _groups(
        weights, lambda n: rate * decay ** layer_of[n], layer_of, head_rate, pull
    )


def counted_from_the_head(weights, layer_of, rate, decay, head_rate, pull):
    """It looks like the topmost block is already slowed down: `rate` is its own, and
    the first factor comes with the block below it.
    """
    last = max(layer_of.values())
    return _groups(
        weights,
        lambda n: rate * decay ** (last - layer_of[n]),
        layer_of,
        head_rate,
        pull,
    )


def slow_head(weights, layer_of, rate, decay, head_rate, pull):
    """It looks like the head learns as slowly as the block below it: it is new and
    knows nothing, so it has a rate of its own.
    """
    return layer_groups(weights, layer_of, rate, decay, rate, pull)


def slowed_head(weights, layer_of, rate, decay, head_rate, pull):
    """It looks like layers slow down from the head's rate: `head_rate` is for the head
    alone, and block L begins at `rate`.
    """
    last = max(layer_of.values())
    return _groups(
        weights,
        lambda n: head_rate * decay ** (last - layer_of[n]),
        layer_of,
        head_rate,
        pull,
    )


def in_equal_steps(weights, layer_of, rate, decay, head_rate, pull):
    """It looks like the rate falls by equal steps: each layer learns `decay` *times* as
    fast as the one above it, so the factors multiply.
    """
    top = max(layer_of.values()) - 1
    return _groups(
        weights,
        lambda n: rate * (1 - (1 - decay) * (top - layer_of[n])),
        layer_of,
        head_rate,
        pull,
    )


def everything_pulled(weights, layer_of, rate, decay, head_rate, pull):
    """It looks like biases and norms are pulled towards zero too: weight decay is for
    matrices, `weight.ndim > 1`.
    """
    groups = layer_groups(weights, layer_of, rate, decay, head_rate, pull)
    return [group | {"weight_decay": pull} for group in groups]


def only_biases_spared(weights, layer_of, rate, decay, head_rate, pull):
    """It looks like you know by the name "bias" what is not pulled: the scales of norms
    are called weight. Ask for the dimensions, not for names.
    """
    groups = layer_groups(weights, layer_of, rate, decay, head_rate, pull)
    return [
        group | {"weight_decay": 0.0 if name.endswith("bias") else pull}
        for name, group in zip(weights, groups)
    ]


def embeddings_left_out(weights, layer_of, rate, decay, head_rate, pull):
    """It looks like the embeddings are in no group: an optimizer never moves what it
    was not given. They are layer 0, and learn too.
    """
    some = {name: w for name, w in weights.items() if layer_of[name] > 0}
    return layer_groups(some, layer_of, rate, decay, head_rate, pull)


def _groups(weights, rate_of, layer_of, head_rate, pull):
    last = max(layer_of.values())
    return [
        {
            "params": [weight],
            "lr": head_rate if layer_of[name] == last else rate_of(name),
            "weight_decay": pull if weight.ndim > 1 else 0.0,
        }
        for name, weight in weights.items()
    ]


LAYERS = Exercise(
    id="07.2",
    kind="implement",
    title="layer-wise decay of the learning rate",
    minutes=12,
    difficulty=2,
    checker=Twin(trusted=step_by_step, cases=cases, probe=rates_and_pulls),
    hints=(
        "One dictionary for each weight is fine. Its layer tells the rate: the highest "
        "layer is the head, the one below it learns at `rate`, and each further down "
        "is multiplied by `decay` once more.",
        "With `last = max(layer_of.values())`, layer l below the head learns at `rate "
        "* decay ** (last - 1 - l)`. Weight decay: `pull if weight.ndim > 1 else 0.0`.",
    ),
    solution=layer_groups,
    why="The lower a layer, the more of what it knows serves any task.",
    wrong=mistakes(
        upside_down,
        counted_from_the_head,
        slow_head,
        slowed_head,
        in_equal_steps,
        everything_pulled,
        only_biases_spared,
        embeddings_left_out,
    ),
)
