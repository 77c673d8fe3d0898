"""AdamW and Muon, and which weights each of them moves. Lesson 06."""

from collections import defaultdict
from collections.abc import Callable

import torch
from torch import Tensor, nn

from llmkit.training.sharding import cut_like, local, whole

# Newton–Schulz polynomial a X + b (X Xᵀ) X + c (X Xᵀ)² X: five rounds bring every
# singular value of a matrix of norm 1 into about [0.7, 1.2] (Jordan et al. 2024).
COEFFICIENTS = (3.4445, -4.7750, 2.0315)


def orthogonalize(matrices: Tensor, rounds: int = 5) -> Tensor:
    """Bring all singular values of each matrix near 1, keeping its directions.

    The rounds run on the small Gram matrix X Xᵀ: all that they do to X is to multiply
    it from the left, so the factors are gathered first and X is multiplied once.

    matrices: (N, rows, columns), all of one shape, in float32.
    Returns: the same shape.
    Source: Jordan et al. 2024 (Muon); Lesson 06.

    >>> x = orthogonalize(torch.randn(1, 4, 9))
    >>> bool((torch.linalg.svdvals(x) - 1).abs().max() < 0.35)
    True
    """
    if matrices.size(-2) > matrices.size(-1):  # the Gram matrix of the shorter side
        return orthogonalize(matrices.mT, rounds).mT
    a, b, c = COEFFICIENTS
    x = matrices / (matrices.norm(dim=(-2, -1), keepdim=True) + 1e-7)
    gram = x @ x.mT  # (N, rows, rows)
    identity = torch.eye(x.size(-2), device=x.device)
    product = identity.expand_as(gram)  # (N, rows, rows)
    for _ in range(rounds):
        factor = torch.baddbmm(a * identity + b * gram, gram, gram, alpha=c)
        product = factor @ product
        gram = factor @ gram @ factor
    return product @ x  # (N, rows, columns)


class Muon(torch.optim.Optimizer):
    """Step along the orthogonalized momentum of each matrix.

    AdamW scales each number on its own; Muon scales each direction of a matrix, so
    that rare directions learn as fast as common ones. Matrices of one shape go through
    `orthogonalize` together. It works in float32 throughout.

    groups: from `parameter_groups`; with ``fused="qkv"``, a matrix is three stacked by
    rows: D rows of queries, and the rest half keys, half values; with "kv", two halves.
    Source: Jordan et al. 2024; scale by shape: Bernstein 2025; Lesson 06.
    """

    def __init__(self, groups, lr: float, momentum=0.95, weight_decay=0.0):
        super().__init__(
            groups,
            dict(lr=lr, momentum=momentum, weight_decay=weight_decay, fused=""),
        )

    @torch.no_grad()
    def step(self, closure=None):
        """Move every matrix once; gradients must be there."""
        by_shape, cut = defaultdict(list), []
        for group in self.param_groups:
            for weight in group["params"]:
                if weight.grad is not None:
                    target = weight
                    if weight is not local(weight):  # cut: gather the step beside it
                        target = torch.zeros(weight.shape, device=weight.device)
                        cut.append((weight, target, group))
                    for part, step in self._directions(weight, target, group):
                        wide = step.mT if step.size(0) > step.size(1) else step
                        by_shape[wide.shape].append((part, step, wide, group))
        for members in by_shape.values():
            steps = orthogonalize(torch.stack([wide for _, _, wide, _ in members]))
            for (part, step, wide, group), new in zip(members, steps):
                rows, columns = step.shape
                new = new if wide is step else new.mT
                part.mul_(1 - group["lr"] * group["weight_decay"])
                part.add_(new, alpha=-group["lr"] * max(1, rows / columns) ** 0.5)
        for weight, step, group in cut:
            weight.mul_(1 - group["lr"] * group["weight_decay"])
            weight.add_(cut_like(step, weight))

    def _directions(self, weight: Tensor, target: Tensor, group: dict):
        """Yield each part of a target with its momentum, a step ahead (Nesterov)."""
        state, gradient = self.state[weight], weight.grad.float()
        if "momentum" not in state:
            state["momentum"] = torch.zeros_like(gradient)
        average = state["momentum"].lerp_(gradient, 1 - group["momentum"])
        ahead = whole(gradient.lerp(average, group["momentum"]))
        rows, D = weight.shape
        keys = (rows - D) // 2  # fewer than D where heads share their keys
        parts = {"": [rows], "qkv": [D, keys, keys], "kv": [rows // 2] * 2}
        parts = parts[group["fused"]]
        yield from zip(target.split(parts), ahead.split(parts))


def parameter_groups(model: nn.Module) -> dict[str, list[nn.Parameter]]:
    """Sort a model's weights by how they should learn.

    Returns: "qkv" and "kv", matrices of the repeated blocks that are several in one;
    "matrices", their other matrices; "head", the matrix that gives the logits; "table",
    embeddings; "vectors", biases and norms. Nothing stands in two groups.

    >>> model = nn.ModuleDict({"head": nn.Linear(2, 3)})
    >>> {name: len(group) for name, group in parameter_groups(model).items() if group}
    {'head': 1, 'vectors': 1}
    """
    tables = {id(m.weight) for m in model.modules() if isinstance(m, nn.Embedding)}
    groups = dict(qkv=[], kv=[], matrices=[], head=[], table=[], vectors=[])
    for name, weight in model.named_parameters():
        if not weight.requires_grad:
            continue
        if weight.ndim < 2:
            kind = "vectors"
        elif id(weight) in tables:
            kind = "table"
        elif name.endswith("qkv.weight"):
            kind = "qkv"
        elif name.endswith("kv.weight"):
            kind = "kv"
        else:
            kind = "head" if name.endswith("head.weight") else "matrices"
        groups[kind].append(weight)
    return groups


def make_optimizers(
    model: nn.Module, config, rate_of: Callable[[str], float] | None = None
) -> list[torch.optim.Optimizer]:
    """Build the optimizers that `config.optimizer` asks for.

    AdamW moves everything, or, beside Muon, all that is not a matrix of a block. Only
    matrices decay: shrinking a norm or a bias regularizes nothing.

    config: a `TrainingConfig`. rate_of: the share of its peak rate at which a weight
    learns, by its name; all learn at the whole of it unless told. Each group keeps its
    peak rate in "peak".
    """
    names = {id(weight): name for name, weight in model.named_parameters()}
    groups = {"adamw": [], "muon": []}
    for kind, weights in parameter_groups(model).items():
        matrix = kind in ("qkv", "kv", "matrices")
        who = "muon" if matrix and config.optimizer == "muon" else "adamw"
        told = _settings(kind, who, config)
        alike = defaultdict(list)  # weights that learn at one share of the rate
        for weight in weights:
            alike[rate_of(names[id(weight)]) if rate_of else 1.0].append(weight)
        groups[who] += [
            {**told, "lr": told["lr"] * share, "params": some}
            for share, some in alike.items()
        ]
    optimizers = []
    if groups["muon"]:
        optimizers.append(Muon(groups["muon"], config.muon_rate, config.momentum))
    if groups["adamw"]:
        rest = dict(lr=config.learning_rate, betas=config.betas, fused=True)
        optimizers.append(torch.optim.AdamW(groups["adamw"], **rest))
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["peak"] = group["lr"]
    return optimizers


def _settings(kind: str, who: str, config) -> dict:
    """Return the rate, the decay and, for Muon, the parts of one kind of weights."""
    if who == "muon":
        fused = "" if kind == "matrices" else kind
        decay = config.weight_decay
        return {"lr": config.muon_rate, "weight_decay": decay, "fused": fused}
    rate = (kind == "head" and config.head_rate) or config.learning_rate
    decay = 0.0 if kind == "vectors" else config.weight_decay
    return {"lr": rate, "weight_decay": decay}
