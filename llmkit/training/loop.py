"""The only training loop there is. Lessons 00 and 06.

``for step in fit(model, batches, config):`` makes one step each time round; plotting,
logging and stopping early are the body of that loop and a ``break``. The same lines run
on one CPU and, under ``accelerate launch``, on many GPUs: then every process must break
at the same step.
"""

import math
import random
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from llmkit.metrics import IGNORE
from llmkit.training.checkpoints import (
    find_checkpoints,
    gather,
    write_checkpoint,
)
from llmkit.training.objective import (
    Judge,
    MeanLoss,
    Objective,
    on_device,
    plain_loss,
    share_out,
)
from llmkit.training.optimizers import make_optimizers
from llmkit.training.precision import mixed_precision
from llmkit.training.preparing import bare, is_finite, prepare, release, resumed
from llmkit.training.processes import (
    Interrupts,
    agree,
    naming_a_loss,
    start,
)
from llmkit.training.schedule import TrainingConfig, progress, rate
from llmkit.training.sharding import is_sharded


@dataclass(frozen=True)
class Step:
    """What one step of training did."""

    number: int  # steps so far, this one counted
    loss: float  # nats a token, on this step's batch, before the step
    rate: float  # share of the peak learning rate
    tokens: int  # labels learned from so far
    seconds: float  # training so far, evaluation and saving not counted
    progress: float  # share of training done
    val_loss: float | None = None  # nats a token, where this step evaluated
    note: str = ""  # what the reader should know, such as a damaged checkpoint


def fit(
    model: nn.Module,
    batches: Sequence,
    config: TrainingConfig,
    evaluation: Sequence | Judge | None = None,
    resume: bool = False,
    objective: Objective | None = None,
    rate_of: Callable[[str], float] | None = None,
) -> Iterator[Step]:
    """Train the model, yielding a `Step` after each update of its weights.

    batches: ``batches[i]`` is the batch of step i, (inputs, labels), the same in every
    process; each process takes its share of the rows. Inputs are one tensor, a tuple of
    those that the model is called with, such as (ids, padding_mask), or a dict of them
    by name. evaluation: a list of such batches, gone through whole, or a `Judge`, which
    is asked instead. resume: go on from the latest checkpoint in config.out. objective:
    what is made small, `plain_loss` unless told: called with the model, inputs and
    labels, it returns a summed loss and the number of labels. rate_of: the share of its
    peak rate at which a weight of a given name learns, for layers that should learn
    more slowly than others.

    The loss is a sum over labels divided by their count in the whole batch. So neither
    accumulation nor more processes change it, however uneven their shares are.

    Raises: ValueError if the loss stops being a number or a batch is too small to
    share; OSError if a checkpoint can't be written.
    Source: Lesson 06.

    >>> from llmkit.batches import NextTokenBatches
    >>> from llmkit.transformer import Decoder, ModelConfig
    >>> data = NextTokenBatches(torch.arange(99) % 5, context=8, batch_size=4)
    >>> model = Decoder(ModelConfig(vocab_size=5, context=8, n_layers=1, d_model=16))
    >>> losses = [step.loss for step in fit(model, data, TrainingConfig(steps=30))]
    >>> losses[-1] < losses[0]
    True
    """
    accelerator = start(mixed_precision(config, model))
    objective = objective or plain_loss
    optimizers = make_optimizers(model, config, rate_of)
    _check_rows(accelerator, batches, config)
    model, *optimizers = prepare(accelerator, model, optimizers, config)
    parts = bare(accelerator, model, optimizers)
    judge = _judge(evaluation, model, accelerator, config)
    state, note = resumed(accelerator, model, parts, config, resume, judge)
    number, tokens = state.get("step", 0), state.get("tokens", 0)
    seconds, saved_at, val_loss = state.get("seconds", 0.0), time.monotonic(), None

    def save() -> None:
        if not is_finite(accelerator, model):
            raise _diverged("a weight is no number any more", number, config)
        numbers = {"tokens": tokens, "seconds": seconds, "val_loss": val_loss}
        numbers["processes"] = accelerator.num_processes
        more, best = judge.memory()
        main = accelerator.is_main_process
        if config.out and (main or is_sharded(model)):  # all give what they have
            found = gather(*parts, keep=main)
            if main:
                told = (found, numbers | more, config.keep, best)
                write_checkpoint(config.out, number, *told)

    saved, whole = number, True  # whole: no step is half done
    interrupts = Interrupts(accelerator.num_processes > 1)
    try:
        while (done := progress(config, number, seconds)) < 1 and not judge.enough:
            with interrupts.held(), naming_a_loss(accelerator):
                whole, began = False, time.perf_counter()
                share = rate(config, _middle(config, done))
                learn = (model, objective, optimizers, config, share)
                loss, count = _step(accelerator, number, batches[number], *learn)
                if not math.isfinite(loss):
                    raise _diverged(f"the loss is {loss}", number + 1, config)
                told = time.perf_counter() - began, interrupts.caught
                told += (time.monotonic() - saved_at,)
                took, interrupts.agreed, unsaved = agree(accelerator, *told)
                seconds, number, tokens = seconds + took, number + 1, tokens + count
                done = progress(config, number, seconds)
                val_loss = judge.judge() if _due(config, number, done) else None
                whole = True
            yield Step(number, loss, share, tokens, seconds, done, val_loss, note)
            note = ""
            interrupts.heed()
            if unsaved > config.save_every:  # after the caller has noted the step
                with interrupts.held(), naming_a_loss(accelerator):
                    save()
                saved, saved_at = number, time.monotonic()
                interrupts.heed()
        if saved != number:
            save()
    except (KeyboardInterrupt, GeneratorExit):  # Ctrl-C, or the caller's `break`
        if whole and saved != number:
            save()
        if interrupts.agreed:  # one that left would have the launcher end the others
            accelerator.wait_for_everyone()
        raise
    finally:  # the model goes back as it came, or the next `fit` would pass it over
        interrupts.close()
        release(accelerator, model)


def _check_rows(accelerator, batches: Sequence, config: TrainingConfig) -> None:
    """Refuse batches that leave processes without work; one an epoch may be short."""
    processes, accumulation = accelerator.num_processes, config.accumulation
    if processes * accumulation == 1:
        return
    rows = max(len(batches[i][1]) for i in range(min(2, len(batches))))
    if rows < processes * accumulation:
        raise ValueError(
            f"a batch of {rows} rows can't be shared among {processes} processes × "
            f"{accumulation} accumulation steps; use a larger batch"
        )


def _draw_anew(accelerator, seed: int, number: int) -> None:
    """Let chance in a step hang on seed, step and process alone.

    So a run that is resumed drops out what the uninterrupted one would, and no two
    processes drop out alike.
    """
    chance = random.Random(f"{seed} {number} {accelerator.process_index}")
    if accelerator.device.type == "cpu":  # torch.manual_seed asks after every GPU
        torch.default_generator.manual_seed(chance.getrandbits(63))
    else:
        torch.manual_seed(chance.getrandbits(63))


def _step(
    accelerator, number, batch, model, objective, optimizers, config, share
) -> tuple[float, int]:
    """Make one update; return the batch's mean loss and its number of labels."""
    model.train()
    _draw_anew(accelerator, config.seed, number)
    pieces = accelerator.num_processes * config.accumulation
    inputs, labels = batch
    count = int((labels != IGNORE).sum())  # of all processes: each sees the batch
    shares = _shares(accelerator, inputs, labels, pieces)
    total = torch.zeros((), device=accelerator.device)
    for group in (
        group for optimizer in optimizers for group in optimizer.param_groups
    ):
        group["lr"] = group["peak"] * share  # before backward, where DeepSpeed steps
    for i, (x, y, weight) in enumerate(shares):
        last = accelerator.sync_gradients = i == len(shares) - 1
        with nullcontext() if last else accelerator.no_sync(model):
            x, y = on_device(accelerator.device, x), y.to(accelerator.device)
            loss_sum = objective(model, x, y)[0] * weight
            # Processes average their gradients; a sum over all of them is wanted.
            accelerator.backward(loss_sum * accelerator.num_processes / max(count, 1))
            total += loss_sum.detach()
    if config.clip:
        accelerator.clip_grad_norm_(model.parameters(), config.clip)
    for optimizer in optimizers:
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
    return float(accelerator.reduce(total)) / max(count, 1), count


def _shares(accelerator, inputs, labels: Tensor, pieces: int) -> list[tuple]:
    """Return the pieces of a batch that are this process's, and what each counts.

    A short batch has no row for some of them. Such a process must still take part when
    gradients or cut weights are sent: it computes the first row, which counts nothing.
    """
    found = list(zip(share_out(inputs, pieces), labels.tensor_split(pieces)))
    found = [(x, y, 1.0) for x, y in found if len(y)]
    if idle := -len(found) % accelerator.num_processes:
        found += [(share_out(inputs, len(labels))[0], labels[:1], 0.0)] * idle
    return found[accelerator.process_index :: accelerator.num_processes]


def _middle(config: TrainingConfig, done: float) -> float:
    """Return progress at the middle of the coming step, so that no step has rate 0."""
    return done + (0.5 / config.steps if config.steps else 0.0)


def _judge(evaluation: Sequence | Judge | None, model, accelerator, config) -> Judge:
    if isinstance(evaluation, Judge):
        return evaluation
    return MeanLoss(model, evaluation, accelerator, config.target_loss)


def _due(config: TrainingConfig, number: int, done: float) -> bool:
    every = config.evaluate_every
    return done >= 1 or bool(every and number % every == 0)


def _diverged(what: str, number: int, config: TrainingConfig) -> ValueError:
    """Say what became of a run, why that may be, and what is left of it."""
    kept = find_checkpoints(config.out)[:1] if config.out else []
    left = f"the last good checkpoint is {kept[0].name}" if kept else "none was saved"
    return ValueError(
        f"{what} at step {number}: training has diverged ({left}). Likely causes: a "
        f"learning rate that is too high (learning_rate {config.learning_rate}, "
        f"muon_rate {config.muon_rate}): try a third; no warm-up, or gradients that "
        "are not clipped: set clip=1.0; bf16: try precision='fp32'; a number in the "
        "data or a changed layer that is NaN from the start, if this is step 1"
    )
