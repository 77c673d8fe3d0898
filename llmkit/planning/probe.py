"""Train for some steps on random tokens, and see what it took. Lesson 08.

The steps run in a process of their own, whose memory is its own: what it grew by, above
what Python and torch take once they are warm, is the model's. As a module it is that
process: ``python -m llmkit.planning.probe SPEC``, a JSON object in and one out.
"""

import json
import statistics
import subprocess
import sys
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING

from llmkit.planning.hardware import Device, here
from llmkit.planning.memory import memory
from llmkit.planning.ranges import say_bytes, say_seconds
from llmkit.planning.sizes import ModelSize
from llmkit.planning.timing import Measured, step_seconds

if TYPE_CHECKING:
    from llmkit.transformer import ModelConfig

STEPS = 20  # half of them on so many rows, half on twice as many
PATIENCE = 900  # seconds that a probe may likely take
WARM = dict(vocab_size=64, context=16, n_layers=1, n_heads=2, d_model=32)


def calibrate(
    config: "ModelConfig",
    size: ModelSize,
    device: Device,
    precision: str = "fp32",
    rows: int = 0,
) -> Measured:
    """Train for 20 steps here and return what a step, a token and a row took.

    rows: that a step begins with; 0: about two thousand tokens' worth.

    device: this machine's; where that is a GPU of which nothing is known, any GPU.

    Raises: ValueError if the device is not this machine's, or the probe would take too
    long or too much memory.
    """
    unknown = _check_here(device)
    rows = rows or max(1, 2048 // size.context)
    place = "cpu" if device.is_cpu else "gpu"
    told = [
        memory(size, "single", n, 1, precision, place=place) for n in (rows, 2 * rows)
    ]
    _check_probe(size, device, precision, rows, told[1].peak)
    phases = [[rows, STEPS // 2], [2 * rows, STEPS // 2]]
    found = run_probe(config, phases, precision, size.kind == "masked", size.asked)
    measured = _measured(found, size.context, rows, [x.peak for x in told])
    return replace(measured, on=unknown)


def run_probe(
    config: "ModelConfig",
    phases: list[list[int]],
    precision: str = "fp32",
    masked: bool = False,
    asked: float = 1.0,
    accumulation: int = 1,
) -> dict:
    """Train in a process of its own.

    phases: rows and steps, one after the other, on one model. Returns: its parameters
    and, for each phase, the seconds of each step and the peak of memory so far.

    Raises: ValueError if the process fails, with its last words.
    """
    spec = dict(model=asdict(config), phases=phases, precision=precision)
    spec |= dict(masked=masked, asked=asked, accumulation=accumulation)
    command = [sys.executable, "-m", "llmkit.planning.probe", json.dumps(spec)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        words = done.stderr.strip().splitlines()
        raise ValueError(
            f"the probe of {config.n_layers} layers of {config.d_model} failed: "
            f"{words[-1] if words else f'exit code {done.returncode}'}; try a smaller "
            "model"
        )
    return json.loads(done.stdout.splitlines()[-1])


def _measured(found: dict, context: int, rows: int, told: list[float]) -> Measured:
    """Draw a line through the two phases, for time and for memory."""
    times, spreads, peaks = [], [], [phase["peak"] for phase in found["phases"]]
    for phase in found["phases"]:
        steps = phase["seconds"][2:]  # the first are warm-up
        low, middle, high = statistics.quantiles(steps)
        times.append(middle)
        spreads.append((high - low) / middle)
    mean = times[1] / (2 * rows * context)
    # A busy moment can turn the line over; most of a step is always its tokens.
    token = min(max((times[1] - times[0]) / (rows * context), mean / 2), mean)
    slope = max((peaks[1] - peaks[0]) / rows, 0.5 * (told[1] - told[0]) / rows)
    return Measured(
        step=times[1] - token * 2 * rows * context,
        token=token,
        spread=max(0.1, statistics.mean(spreads)),
        slope=slope,
        fixed=peaks[1] - slope * 2 * rows,
        off=peaks[1] / told[1],
        steps=STEPS,
    )


def _check_here(device: Device) -> str:
    """Return the name of this machine's card if it is none of the known, else ""."""
    import torch

    name = here()
    if device.name == name:
        return ""
    has = "a CPU" if name == "cpu" else torch.cuda.get_device_name()
    if name is None and not device.is_cpu:
        return has
    do = f"use --gpu {name}" if name else "use the --gpu that is most like it"
    raise ValueError(
        f"--calibrate measures this machine, which has {has}, and --gpu is "
        f"{device.name}: {do}, or leave --calibrate out"
    )


def _check_probe(size, device: Device, precision: str, rows: int, peak: float) -> None:
    tokens = rows * size.context
    step = step_seconds(size, device, "single", 1, precision, tokens).likely
    likely = step * 1.5 * STEPS
    if likely > PATIENCE:
        raise ValueError(
            f"--calibrate: {STEPS} steps of {size.name} would take about "
            f"{say_seconds(likely)} here; calibrate a smaller model, or leave it out"
        )
    if peak > _free(device):
        raise ValueError(
            f"--calibrate: {size.name} needs about {say_bytes(peak)} to train and "
            f"{say_bytes(_free(device))} are free here; calibrate a smaller model, or "
            "leave it out"
        )


def _free(device: Device) -> float:
    if device.is_cpu:
        import psutil

        return 0.9 * psutil.virtual_memory().available
    import torch

    return 0.95 * torch.cuda.mem_get_info()[0]


def peak_memory() -> int:
    """Return the most bytes that this process has held, on the GPU if there is one.

    Not `resource`'s figure on Linux, which a child takes over from its parent.
    """
    import torch

    if torch.cuda.is_available():
        return torch.cuda.max_memory_reserved()
    status = Path("/proc/self/status")
    if status.exists():
        line = next(x for x in status.read_text().splitlines() if x.startswith("VmHWM"))
        return int(line.split()[1]) * 1024
    import psutil

    told = psutil.Process().memory_info()
    if hasattr(told, "peak_wset"):  # Windows
        return told.peak_wset
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def main() -> int:
    """Be the process: train as told on the command line, and print what it took."""
    import psutil
    import torch

    from llmkit.transformer import Decoder, MaskedLM, ModelConfig

    spec = json.loads(sys.argv[1])
    kind = MaskedLM if spec["masked"] else Decoder
    _train(kind(ModelConfig(**WARM)), 2, 2, spec)  # what is loaded late is loaded now
    base = 0 if torch.cuda.is_available() else psutil.Process().memory_info().rss
    model, phases = kind(ModelConfig(**spec["model"])), []
    for rows, steps in spec["phases"]:
        seconds = _train(model, rows, steps, spec)
        phases.append({"seconds": seconds, "peak": peak_memory() - base})
    parameters = sum(p.numel() for p in model.parameters())
    print(json.dumps({"parameters": parameters, "phases": phases}))
    return 0


def _train(model, rows: int, steps: int, spec: dict) -> list[float]:
    """Return the seconds of each step on a batch of random ids."""
    import torch

    from llmkit.metrics import IGNORE
    from llmkit.training import TrainingConfig, fit

    random = torch.Generator().manual_seed(0)
    shape = (rows, model.config.context)
    ids = torch.randint(model.config.vocab_size, shape, generator=random)
    inputs = labels = ids
    if spec["masked"]:
        asked = torch.rand(shape, generator=random) < spec["asked"]
        asked[:, 0] = True
        inputs, labels = {"ids": ids, "asked": asked}, ids.masked_fill(~asked, IGNORE)
    pieces, precision = min(spec["accumulation"], rows), spec["precision"]
    config = TrainingConfig(steps=steps, accumulation=pieces, precision=precision)
    seconds, began = [], time.perf_counter()
    for _ in fit(model, [(inputs, labels)] * steps, config):
        seconds.append(time.perf_counter() - began)
        began = time.perf_counter()
    return seconds


if __name__ == "__main__":
    sys.exit(main())
