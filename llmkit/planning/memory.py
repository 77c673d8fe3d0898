"""What a device holds while it trains, under each kind of parallelism. Lesson 08.

Five things: parameters, their gradients, the optimizer's averages, activations (what
backward needs of forward), and buffers. The first three grow with the model, the last
two with the rows a device takes at once. Strategies differ in which of the first three
are cut into shares, one a device (ZeRO, FSDP), and which each device holds whole.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

from llmkit.planning.sizes import FP32, HALF, ModelSize

MIXED = ("bf16", "fp16")
CONTEXT = 0.6e9  # bytes that CUDA and its libraries take before the first tensor
COLLECTIVE = 0.5e9  # bytes that NCCL takes where devices talk
BUCKET = 500_000_000  # numbers that DeepSpeed gathers or reduces at once
LARGE = 32 * 2**20  # bytes from which glibc gives memory back as soon as it is free


@dataclass(frozen=True)
class Strategy:
    """One way to share the work among devices."""

    about: str
    shares: frozenset[str]  # what is cut, one share a device; the rest is whole
    launch: str | None  # file in llmkit/launch, without .yaml
    deepspeed: bool = False

    def cuts(self, what: str) -> bool:
        """Tell whether each device holds only its share of something."""
        return what in self.shares


_CUT = ("optimizer", "gradients", "parameters")
STRATEGIES: dict[str, Strategy] = {  # the simplest first
    "single": Strategy("one device, nothing shared", frozenset(), "gpu"),
    "ddp": Strategy("each device holds everything", frozenset(), "ddp"),
    "zero1": Strategy("averages cut", frozenset(_CUT[:1]), None, True),
    "zero2": Strategy(
        "averages and gradients cut", frozenset(_CUT[:2]), "deepspeed-zero2", True
    ),
    "fsdp2": Strategy("all three cut, by torch", frozenset(_CUT), "fsdp2"),
    "zero3": Strategy(
        "all three cut, by DeepSpeed", frozenset(_CUT), "deepspeed-zero3", True
    ),
}


@dataclass(frozen=True)
class Memory:
    """Bytes on one device, each part at its own fullest.

    Gradients come while activations go, so that the peak may be less than the sum.
    """

    parameters: float
    gradients: float
    optimizer: float
    activations: float
    peak: float  # at the fullest moment of a step
    buffers_in: dict[str, float] = field(default_factory=dict)  # by what they are for

    @property
    def buffers(self) -> float:
        """Return the sum of what is neither the model's nor backward's."""
        return sum(self.buffers_in.values())


def memory(
    size: ModelSize,
    strategy: str,
    rows: int,
    devices: int = 1,
    precision: str = "fp32",
    checkpointing: bool = False,
    accumulation: int = 1,
    place: str = "tensors",
) -> Memory:
    """Return what one device holds while it trains with AdamW.

    rows: texts of the whole context that it computes at once; accumulation: how many
    times, before it steps; checkpointing: blocks keep their input alone and compute the
    rest again. place: "tensors" counts those alone; "cpu" and "gpu" add what the
    allocator there holds back, and what the libraries of a GPU take.

    Source: Rajbhandari et al. 2020 (ZeRO), section 3; Lesson 08.

    >>> from llmkit.planning import named_config, size_of
    >>> one = memory(size_of(named_config("gpt2-124m")), "single", rows=8)
    >>> [round(x / 1e9, 2) for x in (one.parameters, one.gradients, one.optimizer)]
    [0.5, 0.5, 1.0]
    """
    how, mixed = STRATEGIES[strategy], precision in MIXED
    N, tokens, b = size.parameters, rows * size.context, HALF if mixed else FP32
    weight, grad, state = _bytes_each(how, mixed)
    whole = how.cuts("parameters") and not how.deepspeed and accumulation > 1
    parameters = N * weight / _over(devices, how.cuts("parameters"))
    # FSDP adds up whole gradients until the last piece of a batch, then cuts them.
    gradients = N * grad / _over(devices, how.cuts("gradients") and not whole)
    optimizer = N * state / _over(devices, how.cuts("optimizer"))
    activations = tokens * _kept(size, b, checkpointing)
    buffers = {
        "copies": _copies(size, how, mixed),
        "communication": _communication(size, how, devices, b),
        "logits": _at_the_loss(size, tokens),
    }
    stays = parameters + optimizer + buffers["copies"] + buffers["communication"]
    begin, end = activations + buffers["logits"], _at_the_end(size, accumulation)
    if accumulation > 1:  # the gradients of the pieces before are there throughout
        peak = stays + gradients + max(begin, end)
    else:
        peak = stays + max(begin, gradients + end)
    comes_and_goes = gradients * (1 if accumulation == 1 else 2)
    # Of what mixed precision halves, a float32 twin comes and goes.
    made = activations if place == "gpu" else tokens * _kept(size, FP32, checkpointing)
    idle = _held_back(size, tokens, made, comes_and_goes, place)
    libraries = CONTEXT + (COLLECTIVE if devices > 1 else 0) if place == "gpu" else 0
    buffers |= {"allocator": idle, "libraries": libraries}
    peak += idle + libraries
    return Memory(parameters, gradients, optimizer, activations, peak, buffers)


def largest(fits: Callable[[int], bool], most: int = 2**16) -> int:
    """Return the largest number up to `most` that fits, 0 if not even 1 does.

    fits: true up to some number and false above it.

    >>> largest(lambda rows: rows * 3 <= 100)
    33
    """
    low, high = 0, most
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if fits(middle) else (low, middle - 1)
    return low


def _over(devices: int, cut: bool) -> int:
    return devices if cut else 1


def _bytes_each(how: Strategy, mixed: bool) -> tuple[int, int, int]:
    """Return the bytes of a parameter, its gradient, and what AdamW keeps of it.

    DeepSpeed keeps a float32 master beside the two averages; Accelerate's mixed
    precision keeps the parameters themselves in float32.
    """
    if how.deepspeed:
        return (HALF, HALF, 3 * FP32) if mixed else (FP32, FP32, 3 * FP32)
    return FP32, FP32, 2 * FP32


def _kept(size: ModelSize, number: int, checkpointing: bool) -> float:
    if not checkpointing:
        return size.layers * size.kept[number] + size.outside[number]
    inputs = size.layers * FP32 * size.width  # and all of the block at work
    return inputs + size.kept[number] + size.outside[number]


def _copies(size: ModelSize, how: Strategy, mixed: bool) -> float:
    """Return what mixed precision copies: the matrices, until backward is done."""
    plain = not how.deepspeed and not how.cuts("parameters")
    return HALF * size.matrices if mixed and plain else 0.0


def _communication(size: ModelSize, how: Strategy, devices: int, number: int) -> float:
    if devices == 1:
        return 0.0
    bucket = number * min(size.parameters, BUCKET)
    if how.cuts("parameters"):  # two blocks on their way, and the table
        gathered = number * (2 * size.block + size.table)
        fresh = FP32 * (size.block + size.table)  # gradients that are not yet cut
        return gathered + (bucket if how.deepspeed else fresh)
    if how.deepspeed:
        return 2 * bucket
    return FP32 * size.parameters  # DDP's buckets


def _at_the_loss(size: ModelSize, tokens: int) -> float:
    """Return what backward holds at its beginning, beside the activations.

    The logits three times (log-probabilities, their gradient, that of the logits), or
    where they are few the gradients in the last block; and the head's.
    """
    V, t = size.vocabulary, tokens * size.asked
    table = FP32 * size.table
    block = FP32 * tokens * (size.widest + size.width)
    return max(3 * FP32 * V * t, FP32 * V * t + table, block + table)


def _at_the_end(size: ModelSize, accumulation: int) -> float:
    """Return what backward's last step holds: a tied table has two gradients to add."""
    if not size.tied:
        return FP32 * size.table if accumulation > 1 else 0.0
    return (3 if accumulation > 1 else 2) * FP32 * size.table


def _held_back(size, tokens: int, activations, gradients, place: str) -> float:
    """Return what the allocator keeps of memory that was freed, for the next time.

    On a CPU glibc gives back at once what is large; of the small pieces that come and
    go in a step a third lies idle, by measure (benchmarks/plan_accuracy.py): about, as
    two runs of one program differ by 5%. torch's allocator for GPUs rounds and splits:
    5%, an assumption.
    """
    logits = 3 * FP32 * size.vocabulary * tokens * size.asked
    if place == "gpu":
        return 0.05 * (activations + gradients + logits)
    if place != "cpu":
        return 0.0
    small = activations if FP32 * tokens * size.widest < LARGE else activations / 2
    small += logits if logits < 3 * LARGE else 0
    small += gradients - (FP32 * size.table if FP32 * size.table >= LARGE else 0)
    return small / 3
