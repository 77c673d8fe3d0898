"""What a model is asked, and how far its answers are from the labels. Lesson 06."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from llmkit.metrics import token_loss
from llmkit.training.sharding import is_sharded

Objective = Callable[[nn.Module, object, Tensor], tuple[Tensor, Tensor]]


@runtime_checkable
class Judge(Protocol):
    """Tell how good a model is, and remember what that takes.

    `fit` asks it where evaluation is due, and keeps its memory in checkpoints.
    """

    enough: bool  # True ends training

    def judge(self) -> float | None:
        """Return the validation loss of the model as it is now."""

    def memory(self) -> tuple[dict, dict[str, Tensor]]:
        """Return what it remembers: numbers for JSON, and weights."""

    def recall(self, state: dict) -> None:
        """Remember what a checkpoint kept: its numbers, and the weights as "best"."""


def ask(model: nn.Module, inputs) -> Tensor:
    """Return the model's logits for one batch's inputs, given by place or by name."""
    if isinstance(inputs, dict):
        return model(**inputs)
    return model(*_as_tuple(inputs))


def plain_loss(model: nn.Module, inputs, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Return the summed cross-entropy of the labels, and how many count.

    What `fit` makes small unless told otherwise, and what `evaluate` reports always.
    """
    return token_loss(ask(model, inputs), labels)


@torch.no_grad()
def evaluate(model: nn.Module, batches: Sequence, accelerator=None) -> float:
    """Return the mean loss over every label of `batches`, each counted once.

    Returns: nats a token.
    """
    rank, size = 0, 1
    if accelerator:  # every process takes its share; unwrapped, none waits for another
        model = accelerator.unwrap_model(model)
        rank, size = accelerator.process_index, accelerator.num_processes
    device = next(model.parameters()).device
    exact = torch.float32 if device.type == "mps" else torch.float64
    sums = torch.zeros(2, dtype=exact, device=device)
    was_training = model.training
    model.eval()
    cut = is_sharded(model)
    for i in range(rank, len(batches) + rank, size):
        mine = i < len(batches)
        if not mine and not cut:
            continue
        # Where weights are cut, all compute together: who has no batch takes one along.
        inputs, labels = batches[i if mine else i - rank]
        loss_sum, count = plain_loss(
            model, on_device(device, inputs), labels.to(device)
        )
        sums += mine * torch.stack([loss_sum.to(exact), count.to(exact)])
    if accelerator:
        sums = accelerator.reduce(sums)
    model.train(was_training)
    return float(sums[0] / sums[1])


@dataclass
class MeanLoss:
    """Judge a model by its mean loss over some batches, if any; enough is `target`."""

    model: nn.Module
    batches: Sequence | None
    accelerator: object
    target: float = 0.0
    enough: bool = False

    def judge(self) -> float | None:
        """Return the mean loss, in nats a token."""
        if self.batches is None:
            return None
        found = evaluate(self.model, self.batches, self.accelerator)
        self.enough = found <= self.target
        return found

    def memory(self) -> tuple[dict, dict[str, Tensor]]:
        """Return nothing: each evaluation stands alone."""
        return {}, {}

    def recall(self, state: dict) -> None:
        """Remember whether the target was reached."""
        loss = state.get("val_loss")
        self.enough = loss is not None and loss <= self.target


def share_out(inputs, pieces: int) -> list:
    """Cut a batch's inputs into pieces of some rows each."""
    if isinstance(inputs, dict):
        columns = [x.tensor_split(pieces) for x in inputs.values()]
        return [dict(zip(inputs, piece)) for piece in zip(*columns)]
    return list(zip(*(x.tensor_split(pieces) for x in _as_tuple(inputs))))


def _as_tuple(inputs) -> tuple:
    """Return what the model is called with, by place."""
    return (inputs,) if isinstance(inputs, Tensor) else tuple(inputs)


def on_device(device, inputs):
    """Bring a batch's inputs to the device."""
    if isinstance(inputs, dict):
        return {name: x.to(device) for name, x in inputs.items()}
    return tuple(x.to(device) for x in _as_tuple(inputs))
