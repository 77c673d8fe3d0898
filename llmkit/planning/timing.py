"""How long a step takes: compute, talk between devices, the optimizer. Lesson 08."""

from dataclasses import dataclass

from llmkit.planning.hardware import A_MACHINE, Device, utilization
from llmkit.planning.memory import MIXED, STRATEGIES
from llmkit.planning.ranges import Range
from llmkit.planning.sizes import FP32, HALF, ModelSize

AGAIN = 4 / 3  # work with checkpointing: forward twice, backward as two forwards
MOVED = 28  # bytes that AdamW reads and writes for each parameter, once a step
READ = 20  # bytes of each that a piece of a batch moves: weights, and gradients to add

# What each strategy says between devices, in words.
TALK = {
    "single": "none",
    "ddp": "gradients are averaged once a step, while backward goes on (all-reduce)",
    "zero1": "gradients are averaged, and new parameters gathered, once a step",
    "zero2": "each gradient goes to the device that owns it, after every piece of a "
    "batch; new parameters are gathered once a step",
    "fsdp2": "each block's parameters are gathered when forward and backward come to "
    "it, for every piece of a batch; gradients are cut and averaged once a step",
    "zero3": "as fsdp2, and gradients after every piece of a batch",
}


@dataclass(frozen=True)
class Measured:
    """What a probe found on this machine: see `llmkit.planning.probe`."""

    step: float  # seconds of a step, whatever its size
    token: float  # seconds of a token
    spread: float  # share by which steps differ
    slope: float  # bytes of a row
    fixed: float  # bytes of the rest
    off: float  # measured over predicted peak memory
    steps: int
    on: str = ""  # the card's name, where it is none of the known


def traffic(
    size: ModelSize, strategy: str, devices: int, precision: str, accumulation: int
) -> float:
    """Return the bytes that each device sends in a step, in rings.

    To average N numbers costs 2 N (W - 1) / W of them: to cut and add, then to gather.
    Source: Rajbhandari et al. 2020 (ZeRO), section 7; Lesson 08.

    >>> from llmkit.planning.sizes import named_config, size_of
    >>> size = size_of(named_config("gpt2-124m"))
    >>> traffic(size, "ddp", 2, "bf16", 1) == 4 * size.parameters
    True
    """
    how, N = STRATEGIES[strategy], size.parameters
    ring = (devices - 1) / devices
    b = HALF if precision in MIXED else FP32
    if not how.cuts("optimizer"):  # DDP: gradients are float32
        return 2 * FP32 * N * ring
    pieces = accumulation if how.deepspeed and how.cuts("gradients") else 1
    gradients = (b if how.deepspeed else FP32) * N * ring * pieces
    times = 2 * accumulation if how.cuts("parameters") else 1
    return gradients + times * b * N * ring


def step_seconds(
    size: ModelSize,
    device: Device,
    strategy: str,
    devices: int,
    precision: str,
    tokens: int,
    accumulation: int = 1,
    checkpointing: bool = False,
    measured: Measured | None = None,
) -> Range:
    """Return the seconds of one step of a batch of so many tokens on all devices.

    Compute and talk overlap: wholly at best, half of it likely, not at all at worst.
    Whatever the tokens, each piece of a batch reads all weights: many small pieces are
    slow.

    >>> from llmkit.planning import device, named_config, size_of
    >>> size = size_of(named_config("gpt2-124m"))
    >>> step = step_seconds(size, device("h100"), "single", 1, "bf16", 2**17)
    >>> round(2**17 / step.likely, -3)  # tokens a second
    493000.0
    """
    again, own = AGAIN if checkpointing else 1.0, tokens / devices
    if measured:
        moved, sides = measured.step, (-1, 0, 1)
        per_token = [measured.token * (1 + s * measured.spread) for s in sides]
    else:
        moved = _moved(size, strategy, devices, accumulation) / device.bandwidth
        reached = utilization(device, precision, size.parameters)
        shares = reversed(reached.bounds)  # the best use of the device is the fastest
        per_token = [size.flops / (device.flops[precision] * x) for x in shares]
    said = 0.0
    if devices > 1:
        wire = device.link if devices <= A_MACHINE else device.network
        said = traffic(size, strategy, devices, precision, accumulation) / wire
    bounds = []
    for seconds, hidden in zip(per_token, (1, 0.5, 0)):
        compute = again * own * seconds
        bounds.append(compute + max(0.0, said - hidden * compute) + moved)
    return Range(*bounds)


def _moved(size: ModelSize, strategy: str, devices: int, accumulation: int) -> float:
    """Return the bytes that a step moves to and from memory, whatever its tokens."""
    cut = STRATEGIES[strategy].cuts("optimizer")
    update = MOVED * size.parameters / (devices if cut else 1)
    return update + READ * size.parameters * accumulation
