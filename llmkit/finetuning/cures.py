"""What helps against overfitting, each by one number. Lesson 07."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from llmkit.training import ask


@dataclass(frozen=True)
class ClassLoss:
    """Measure how far a classifier is from the labels, as the cures would have it.

    smoothing: the share of a label that is given to all classes evenly (Szegedy et al.
    2016), so that no logit gains by running away. weights: (C,), how much an example
    of each class counts. adversarial: how far the embeddings of each text are pushed in
    the direction that hurts most, as a share of their own length; the model learns from
    the text as it is and from the pushed one, half and half (Goodfellow et al. 2015;
    Miyato et al. 2017, equation 5). That takes more than twice the time.

    `fit` takes it as its objective, for a `Classifier`.

    >>> loss = ClassLoss(smoothing=0.1)
    >>> total, count = loss(nn.Identity(), torch.zeros(3, 2), torch.tensor([0, 1, 1]))
    >>> round(float(total / count), 4), count
    (0.6931, 3)
    """

    smoothing: float = 0.0
    weights: Tensor | None = None
    adversarial: float = 0.0

    def __call__(self, model: nn.Module, inputs, labels: Tensor):
        """Return the summed loss of a batch, and the number of its labels."""
        if not self.adversarial:
            return self._measure(ask(model, inputs), labels), len(labels)
        _, mask = inputs  # (B, T) each
        table = getattr(model, "module", model).embeddings  # within DDP's wrapper
        with _embedded(table) as found:
            loss = self._measure(ask(model, inputs), labels)
        (g,) = torch.autograd.grad(loss, found, retain_graph=True)  # (B, T, D)
        # What fills a text up is neither measured nor pushed.
        x, g = (z.detach() * mask[..., None] for z in (found[0], g))  # (B, T, D) each
        push = self.adversarial * _length(x) * g / _length(g)  # (B, T, D)
        with _embedded(table, push):
            pushed = self._measure(ask(model, inputs), labels)
        return (loss + pushed) / 2, len(labels)

    def _measure(self, logits: Tensor, labels: Tensor) -> Tensor:
        weights = self.weights
        return F.cross_entropy(
            logits.float(),  # (B, C)
            labels,  # (B,)
            weight=None if weights is None else weights.to(logits.device),
            label_smoothing=self.smoothing,
            reduction="sum",
        )


def _length(x: Tensor) -> Tensor:
    """Return the length of each text's numbers together: (B, 1, 1), never 0."""
    return x.flatten(1).norm(dim=1).clamp_min(1e-12)[:, None, None]


@contextmanager
def _embedded(table: nn.Embedding, push: Tensor | float = 0.0) -> Iterator[list]:
    """Collect what the table gives, and give it on with a push."""
    found = []

    def hook(module, inputs, x: Tensor) -> Tensor:
        x = x if x.requires_grad else x.requires_grad_()  # of a table that is frozen
        found.append(x)
        return x + push

    handle = table.register_forward_hook(hook)
    try:
        yield found
    finally:
        handle.remove()


def class_weights(labels: Sequence[int], classes: int) -> Tensor:
    """Weigh each class so that all count alike, and an example 1 on average: (C,).

    Raises: ValueError if a class has no example.
    Source: King and Zeng 2001; Lesson 07.

    >>> class_weights([0, 0, 0, 1], classes=2)
    tensor([0.6667, 2.0000])
    """
    counts = Counter(labels)
    if missing := [c for c in range(classes) if not counts[c]]:
        raise ValueError(f"there is no example of class {missing[0]} to weigh it by")
    return torch.tensor([len(labels) / classes / counts[c] for c in range(classes)])


def layer_rates(
    layer_of: Mapping[str, int], decay: float, head: float = 1.0
) -> Callable[[str], float]:
    """Return the share of the peak rate at which each weight learns, for `fit`.

    Each layer learns `decay` times as fast as the one above it, as the lower ones know
    what serves every task; the head, which knows nothing yet, learns `head` times as
    fast as the rate.

    layer_of: the layer of each weight by name, as `Classifier.layers` gives it; the
    highest is the head.
    Raises: ValueError if a factor is out of its range.
    Source: Howard and Ruder 2018, section 3.2 (2.6 a layer there); Lesson 07.

    >>> rate_of = layer_rates({"low": 1, "high": 2, "head": 3}, decay=0.5, head=10)
    >>> rate_of("low"), rate_of("high"), rate_of("head")
    (0.5, 1.0, 10.0)
    """
    if not 0 < decay <= 1 or head <= 0:
        raise ValueError(
            "layer_decay is above 0 and at most 1 (1: all learn alike), and head above "
            f"0: got {decay} and {head}"
        )
    last = max(layer_of.values())
    return lambda name: (
        float(head) if layer_of[name] == last else decay ** (last - 1 - layer_of[name])
    )


def average(states: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """Average the weights of models that began alike and were trained apart.

    Source: Wortsman et al. 2022 (model soups), uniform; Lesson 07.

    >>> average([{"w": torch.tensor([1.0])}, {"w": torch.tensor([3.0])}])
    {'w': tensor([2.])}
    """
    first = states[0]
    return {
        name: (sum(state[name].double() for state in states) / len(states)).to(w.dtype)
        if w.is_floating_point()
        else w
        for name, w in first.items()
    }
