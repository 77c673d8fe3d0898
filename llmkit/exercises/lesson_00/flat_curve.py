"""Exercise 00.4: debug a loop that trains nothing."""

import torch
import torch.nn.functional as F
from torch import nn

from llmkit.exercises import Exercise, Twin, mistakes
from llmkit.metrics import token_loss


def train(model, optimizer, batches, steps):
    """Train a model; return the loss of each step."""
    losses = []
    for i in range(steps):
        inputs, labels = batches[i]
        total, count = token_loss(model(inputs), labels)
        loss = total / count
        optimizer.zero_grad()  # forget the last step's gradients ...
        loss.backward()  # ... find this one's ...
        optimizer.step()  # ... and only then follow them
        losses.append(loss.item())
    return losses


def train_afresh(model, optimizer, batches, steps):
    """Train with gradients that are never stored, so that none can be left over."""
    losses, weights = [], list(model.parameters())
    for inputs, labels in batches[:steps]:
        mean = F.cross_entropy(model(inputs).flatten(0, 1), labels.flatten())
        gradients = torch.autograd.grad(mean, weights)
        for weight, gradient in zip(weights, gradients):
            weight.grad = gradient
        optimizer.step()
        losses.append(mean.item())
    return losses


def small_trainings(seed: int) -> tuple:
    """Make a model of one table, its optimizer, and batches of random tokens."""
    random = torch.Generator().manual_seed(seed)
    V, B, T, steps = 5, 2, 3, 4
    model = nn.Embedding(V, V)  # a row of logits for each token that may come before
    nn.init.normal_(model.weight, generator=random)
    rows = torch.randint(V, (steps + 1, 2, B, T), generator=random)
    batches = [(inputs, labels) for inputs, labels in rows]  # (B, T) each
    return model, torch.optim.SGD(model.parameters(), lr=1.0), batches, steps


def after_training(train, model, optimizer, batches, steps):
    """Train, and return the losses, how often the weights moved, and the weights."""
    moves = []
    optimizer.register_step_post_hook(lambda *_: moves.append(1))
    losses = train(model, optimizer, batches, steps)
    if losses is None or losses is ...:
        return losses
    weights = model.weight.detach()
    return {"losses": losses, "calls of step": len(moves), "weights": weights}


# The classic mistakes. What a mistake says to the learner is its docstring.


def zero_before_step(model, optimizer, batches, steps):
    """The weights are the same after training as before it, although `optimizer.step()`
    was called: the gradients were gone when it came. What stands before it, and what
    does each line leave behind?
    """

    def update(loss):
        loss.backward()
        optimizer.zero_grad()
        optimizer.step()

    return _train(model, batches[:steps], update)


def never_step(model, optimizer, batches, steps):
    """It looks like `optimizer.step()` is never called: gradients say where to go, but
    nobody goes there.
    """

    def update(loss):
        optimizer.zero_grad()
        loss.backward()

    return _train(model, batches[:steps], update)


def never_zero(model, optimizer, batches, steps):
    """It looks like `optimizer.zero_grad()` is missing from the loop: `backward` adds
    to the gradients that are there, so each step still follows all earlier batches.
    """

    def update(loss):
        loss.backward()
        optimizer.step()

    return _train(model, batches[:steps], update)


def step_too_early(model, optimizer, batches, steps):
    """It looks like `optimizer.step()` comes before `backward`: each step follows the
    gradients of the batch before, and those of the last batch are never used.
    """

    def update(loss):
        optimizer.step()
        optimizer.zero_grad()
        loss.backward()

    return _train(model, batches[:steps], update)


def train_on_the_sum(model, optimizer, batches, steps):
    """It looks like `backward` starts from the sum over all tokens: the steps are as
    many times too long as there are tokens. Divide by the count first.
    """

    def update(loss):
        optimizer.zero_grad()
        (loss * batches[0][1].numel()).backward()
        optimizer.step()

    return _train(model, batches[:steps], update)


def train_on_one_batch(model, optimizer, batches, steps):
    """It looks like you take the same batch in each step: the model learns it by heart
    and nothing else. Step i takes `batches[i]`.
    """
    return train(model, optimizer, batches[:1] * steps, steps)


def return_the_last_loss(model, optimizer, batches, steps):
    """It looks like you return the last loss alone: a curve needs the loss of each
    step, in a list.
    """
    return train(model, optimizer, batches, steps)[-1]


def _train(model, batches, update):
    losses = []
    for inputs, labels in batches:
        total, count = token_loss(model(inputs), labels)
        losses.append((total / count).item())
        update(total / count)
    return losses


FLAT_CURVE = Exercise(
    id="00.4",
    kind="debug",
    title="the loop that trains nothing",
    minutes=10,
    difficulty=2,
    checker=Twin(trusted=train_afresh, cases=small_trainings, probe=after_training),
    hints=(
        "Three lines do the work. `backward` adds this batch's gradients to those that "
        "are stored, `zero_grad` throws away what is stored, `step` moves the weights "
        "along what is stored. Say aloud what is stored after each line.",
        "`zero_grad` stands between `backward` and `step`, so nothing is left to "
        "follow. Move it before `backward`, or after `step`.",
    ),
    solution=train,
    why="Nothing crashed and nothing warned. Watch the curve, and be suspicious of a "
    "loss that stays near ln V.",
    wrong=mistakes(
        zero_before_step,
        never_step,
        never_zero,
        step_too_early,
        train_on_the_sum,
        train_on_one_batch,
        return_the_last_loss,
    ),
)
