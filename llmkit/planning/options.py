"""Every way to train a model on some devices, and the one to take. Lesson 08."""

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import partial

from llmkit.planning.hardware import Device
from llmkit.planning.memory import STRATEGIES, Memory, largest, memory
from llmkit.planning.ranges import Range
from llmkit.planning.sizes import ModelSize
from llmkit.planning.timing import Measured, step_seconds

PRECISIONS = ("fp32", "bf16", "fp16")  # fp16 needs a loss scaler beside it
# What numbers of a question may be, at most: beyond, answers would be no more than
# digits. Dollars; seconds.
MOST = {"tokens": 1e18, "gpus": 1e5, "budget": 1e12, "deadline": 1e10}
LARGEST_BATCH = 2**19  # tokens a step, unless told: GPT-3's for its smallest model
STEPS = 5_000  # at least so many of them, unless that makes batches too small
AT_ONCE = 2**15  # tokens that keep a device busy; more gain nothing
MUCH = 1.2  # a strategy must be so much faster to beat a simpler one; less is error


@dataclass(frozen=True)
class Question:
    """What is to be trained, on what, and within which limits.

    Raises: ValueError if a number is out of range, or the device lacks the precision.
    """

    size: ModelSize
    device: Device
    tokens: float
    gpus: int = 1
    batch_tokens: int = 0  # tokens a step; 0: chosen by the number of all tokens
    precision: str = ""  # "": the best that the device has
    budget: float | None = None  # dollars
    deadline: float | None = None  # seconds
    measured: Measured | None = None

    def __post_init__(self):
        for name, most in MOST.items():
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise ValueError(f"--{name} must be above 0: got {value:g}")
            if value is not None and value > most:
                unit = " seconds" * (name == "deadline")
                raise ValueError(
                    f"--{name} must be at most {most:g}{unit}: got {value:g}"
                )
        if self.tokens < 1:
            raise ValueError(f"--tokens must be 1 or more: got {self.tokens:g}")
        if self.batch_tokens < 0:
            raise ValueError(f"--batch-tokens must be above 0: got {self.batch_tokens}")
        if self.gpus > 1 and self.device.is_cpu:
            raise ValueError(
                f"--gpus {self.gpus} is for GPUs: the processes of one CPU would share "
                "its cores and gain nothing; leave --gpus out"
            )
        if self.precision and self.precision not in self.precisions:
            raise ValueError(
                f"--precision {self.precision}: {self.device.name} trains in "
                f"{' or '.join(self.precisions)}; choose one of these"
            )
        if self.budget is not None and self.device.price is None:
            raise ValueError(
                f"--budget needs a price, and none is known for {self.device.name}: "
                "leave --budget out, or choose a GPU that is rented"
            )

    @property
    def precisions(self) -> list[str]:
        """List the formats that the device can train in."""
        return [name for name in PRECISIONS if name in self.device.flops]

    @property
    def chosen_precision(self) -> str:
        """Return the format asked for, or the best."""
        return self.precision or self.device.best_precision

    @property
    def batch(self) -> int:
        """Return the tokens of a step, about."""
        if self.batch_tokens:
            return self.batch_tokens
        few = 2 ** round(math.log2(max(self.tokens / STEPS, 1)))
        return min(max(few, 16 * self.size.context), LARGEST_BATCH)


@dataclass(frozen=True)
class Option:
    """One way to do it, with what it takes on each device."""

    strategy: str
    checkpointing: bool
    precision: str
    devices: int
    fits: bool  # at least one row does
    micro_batch: int  # rows that a device computes at once
    largest_micro_batch: int  # rows that would fit
    accumulation: int  # pieces that make a batch
    batch_tokens: int
    memory: Memory
    steps: int
    step: Range  # seconds
    seconds: Range  # of the whole run
    dollars: Range | None

    @property
    def name(self) -> str:
        """Say which way it is."""
        extra = " with activation checkpointing" if self.checkpointing else ""
        return f"{self.strategy}{extra}"


def weigh(
    question: Question, strategy: str, precision: str, checkpointing: bool = False
) -> Option:
    """Work out one way: the rows that fit, then time and money."""
    size, device = question.size, question.device
    devices = 1 if strategy == "single" else question.gpus
    takes = partial(_takes, question, strategy, devices, precision, checkpointing)
    most = largest(lambda rows: takes(rows, 2).peak <= device.room)
    wanted = max(1, round(question.batch / (devices * size.context)))
    busy = max(1, AT_ONCE // size.context)
    pieces = 1
    if wanted > busy or takes(wanted, 1).peak > device.room:
        pieces = math.ceil(wanted / max(1, min(most, busy)))
    rows = math.ceil(wanted / pieces)
    held, tokens = takes(rows, pieces), rows * pieces * devices * size.context
    how = (strategy, devices, precision, tokens, pieces, checkpointing)
    step = step_seconds(size, device, *how, question.measured)
    seconds = step * (steps := math.ceil(question.tokens / tokens))
    return Option(
        strategy=strategy,
        checkpointing=checkpointing,
        precision=precision,
        devices=devices,
        fits=held.peak <= device.room,
        micro_batch=rows,
        largest_micro_batch=max(most, rows) if held.peak <= device.room else most,
        accumulation=pieces,
        batch_tokens=tokens,
        memory=held,
        steps=steps,
        step=step,
        seconds=seconds,
        dollars=seconds * (devices / 3600) * device.price if device.price else None,
    )


def _takes(
    question: Question,
    strategy: str,
    devices: int,
    precision: str,
    checkpointing: bool,
    rows: int,
    pieces: int,
) -> Memory:
    """Return the memory of so many rows at once, by the probe where there was one."""
    place = "cpu" if question.device.is_cpu else "gpu"
    told, measured = (devices, precision, checkpointing), question.measured
    held = memory(question.size, strategy, rows, *told, pieces, place)
    # What was measured is one device's whole batch at once, without checkpoints.
    if measured is None or strategy != "single" or checkpointing:
        return held
    whole = memory(question.size, strategy, rows, *told, 1, place)
    real = measured.fixed + measured.slope * rows
    return replace(held, peak=real + held.peak - whole.peak)


def weigh_all(question: Question, precisions: Iterable[str]) -> list[Option]:
    """Work out every strategy, with and without checkpointing, in each precision."""
    names = list(STRATEGIES) if question.gpus > 1 else ["single"]
    return [
        weigh(question, name, precision, checkpointing)
        for precision in precisions
        for name in names
        for checkpointing in (False, True)
    ]


def by_llmkit(option: Option) -> bool:
    """Tell whether `llmkit pretrain` can train in this way.

    It asks for no loss scaler, which fp16 needs, and leaves checkpointing to fsdp2.
    """
    checkpoints = option.checkpointing and option.strategy != "fsdp2"
    return option.precision != "fp16" and not checkpoints


def best(question: Question, options: list[Option]) -> Option | None:
    """Return the way to take, None if none fits: fast first, then simple.

    On several devices no way counts that leaves all but one idle, nor one that has no
    launch file. Checkpointing is fsdp2's; elsewhere it counts if nothing else fits.
    """
    alone = question.gpus == 1
    usable = [
        option
        for option in options
        if option.fits
        and option.precision == question.chosen_precision
        and (alone or option.strategy != "single")
        and STRATEGIES[option.strategy].launch
    ]
    if not usable:
        return None
    plain = [x for x in usable if not x.checkpointing or x.strategy == "fsdp2"]
    usable = plain or usable
    fastest = min(option.seconds.likely for option in usable)
    good = [option for option in usable if option.seconds.likely <= MUCH * fastest]
    return min(
        good, key=lambda x: (x.checkpointing, list(STRATEGIES).index(x.strategy))
    )
