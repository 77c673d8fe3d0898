"""The only training loop there is. Lessons 00 and 06.

``for step in fit(model, batches, config):`` makes one step each time round; plotting,
logging and stopping early are the body of that loop and a ``break``. The same lines run
on one CPU and, under ``accelerate launch``, on many GPUs: then every process must break
at the same step.
"""

import math
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from torch import nn

from llmkit.metrics import IGNORE
from llmkit.training.checkpoints import (
    find_checkpoints,
    load_latest,
    save_checkpoint,
)
from llmkit.training.objective import (
    Objective,
    evaluate,
    on_device,
    plain_loss,
    share_out,
)
from llmkit.training.optimizers import make_optimizers
from llmkit.training.schedule import TrainingConfig, progress, rate

WIDE = 256  # numbers a token from which bfloat16 pays on a CPU with AMX


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


def best_precision(model: nn.Module | None = None) -> str:
    """Return the mixed precision that pays on this device: "bf16" or "no".

    bfloat16 is fast on GPUs from Ampere on, and on CPUs with AMX where the model's
    layers are wide (narrow ones spend more on converting than they save); elsewhere it
    is emulated, and slower than float32. Measured in benchmarks/RESULTS.md.
    """
    if torch.cuda.is_available():
        return "bf16" if torch.cuda.get_device_capability()[0] >= 8 else "no"
    layers = [m for m in (model or nn.Module()).modules() if isinstance(m, nn.Linear)]
    widest = max((min(m.weight.shape) for m in layers), default=WIDE)
    return "bf16" if torch.cpu._is_amx_tile_supported() and widest >= WIDE else "no"


def fit(
    model: nn.Module,
    batches: Sequence,
    config: TrainingConfig,
    evaluation: Sequence | None = None,
    resume: bool = False,
    objective: Objective | None = None,
    rate_of: Callable[[str], float] | None = None,
) -> Iterator[Step]:
    """Train the model, yielding a `Step` after each update of its weights.

    batches: ``batches[i]`` is the batch of step i, (inputs, labels), the same in every
    process; each process takes its share of the rows. Inputs are one tensor, a tuple of
    those that the model is called with, such as (ids, padding_mask), or a dict of them
    by name. evaluation: a list of such batches, gone through whole. resume: go on from
    the latest checkpoint in config.out. objective: what is made small, `plain_loss`
    unless told: called with the model, inputs and labels, it returns a summed loss and
    the number of labels. rate_of: the share of its peak rate at which a weight of a
    given name learns, for layers that should learn more slowly than others.

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
    accelerator = _accelerator(config.precision, model)
    objective = objective or plain_loss
    optimizers = make_optimizers(model, config, rate_of)
    torch.manual_seed(config.seed + accelerator.process_index)
    state, damage = {}, []
    if resume and config.out:
        state, damage = load_latest(config.out, model, optimizers)
    model, *optimizers = accelerator.prepare(model, *optimizers)
    number, tokens = state.get("step", 0), state.get("tokens", 0)
    seconds, saved_at, val_loss = state.get("seconds", 0.0), time.monotonic(), None
    note = "; ".join(f"{what}: went on from step {number}" for what in damage)

    def save() -> None:
        if not all(bool(p.isfinite().all()) for p in model.parameters()):
            raise _diverged("a weight is no number any more", number, config)
        if config.out and accelerator.is_main_process:
            numbers = {"tokens": tokens, "seconds": seconds, "val_loss": val_loss}
            plain = [getattr(o, "optimizer", o) for o in optimizers]
            whole = accelerator.unwrap_model(model)
            save_checkpoint(config.out, number, whole, plain, numbers, config.keep)

    saved, whole = number, True  # whole: no step is half done
    try:
        while (done := progress(config, number, seconds)) < 1:
            with _finish_before_interrupt():
                whole, began = False, time.perf_counter()
                model.train()
                share = rate(config, _middle(config, done))
                learn = (model, objective, optimizers, config, share)
                loss, count = _step(accelerator, batches[number], *learn)
                if not math.isfinite(loss):
                    raise _diverged(f"the loss is {loss}", number + 1, config)
                seconds += _agree(accelerator, time.perf_counter() - began)
                number, tokens, val_loss = number + 1, tokens + count, None
                whole, done = True, progress(config, number, seconds)
                if evaluation is not None and _due(config, number, done):
                    val_loss = evaluate(model, evaluation, accelerator)
                if time.monotonic() - saved_at > config.save_every:
                    save()
                    saved, saved_at = number, time.monotonic()
            yield Step(number, loss, share, tokens, seconds, done, val_loss, note)
            note = ""
            if val_loss is not None and val_loss <= config.target_loss:
                break
        if saved != number:
            save()
    except (KeyboardInterrupt, GeneratorExit):  # Ctrl-C, or the caller's `break`
        if whole and saved != number:
            save()
        raise
    finally:  # the model goes back as it came, or the next `fit` would pass it over
        bare = accelerator.unwrap_model(model, keep_fp32_wrapper=False)
        vars(bare).pop("_is_accelerate_prepared", None)


def _accelerator(precision: str, model: nn.Module) -> Accelerator:
    """Start accelerate anew: it would keep the precision of its first start."""
    wanted = {"auto": best_precision(model), "fp32": "no", "bf16": "bf16"}[precision]
    AcceleratorState._reset_state()
    return Accelerator(mixed_precision=wanted)


def _step(
    accelerator, batch, model, objective, optimizers, config, share
) -> tuple[float, int]:
    """Make one update; return the batch's mean loss and its number of labels."""
    pieces = accelerator.num_processes * config.accumulation
    inputs, labels = batch
    if len(labels) < pieces:
        raise ValueError(
            f"a batch of {len(labels)} rows can't be shared among "
            f"{accelerator.num_processes} processes × {config.accumulation} "
            "accumulation steps; use a larger batch"
        )
    count = int((labels != IGNORE).sum())  # of all processes: each sees the batch
    mine = slice(accelerator.process_index, None, accelerator.num_processes)
    shares = list(zip(share_out(inputs, pieces), labels.tensor_split(pieces)))[mine]
    total = torch.zeros((), device=accelerator.device)
    for i, (x, y) in enumerate(shares):
        last = i == len(shares) - 1
        with nullcontext() if last else accelerator.no_sync(model):
            x, y = on_device(accelerator.device, x), y.to(accelerator.device)
            loss_sum, _ = objective(model, x, y)
            # Processes average their gradients; a sum over all of them is wanted.
            accelerator.backward(loss_sum * accelerator.num_processes / max(count, 1))
            total += loss_sum.detach()
    if config.clip:
        accelerator.clip_grad_norm_(model.parameters(), config.clip)
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["lr"] = group["peak"] * share
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
    return float(accelerator.reduce(total)) / max(count, 1), count


def _middle(config: TrainingConfig, done: float) -> float:
    """Return progress at the middle of the coming step, so that no step has rate 0."""
    return done + (0.5 / config.steps if config.steps else 0.0)


def _due(config: TrainingConfig, number: int, done: float) -> bool:
    every = config.evaluate_every
    return done >= 1 or bool(every and number % every == 0)


def _agree(accelerator: Accelerator, seconds: float) -> float:
    """Let every process go by the clock of the slowest."""
    if accelerator.num_processes == 1:
        return seconds
    mine = torch.tensor([seconds], device=accelerator.device)
    return float(accelerator.gather(mine).max())


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


@contextmanager
def _finish_before_interrupt():
    """Hold Ctrl-C back until the step is whole; a second one stops at once."""
    previous, caught = signal.getsignal(signal.SIGINT), []
    in_main = threading.current_thread() is threading.main_thread()
    if not in_main or not callable(previous):  # nobody listens to Ctrl-C here
        yield
        return

    def wait(number, frame):
        caught.append(number)
        signal.signal(signal.SIGINT, previous)

    signal.signal(signal.SIGINT, wait)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, previous)
    if caught:
        raise KeyboardInterrupt
