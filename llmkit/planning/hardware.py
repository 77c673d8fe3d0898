"""What devices can do and cost: one file of figures and their sources. Lesson 08."""

import json
import math
import os
import re
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache
from pathlib import Path

from llmkit.planning.ranges import Range

A_MACHINE = 8  # devices that are rented in one machine, at most
# Words in a card's name that do not tell it from others; NVL, Ti, D, Laptop, MIG … do.
PLAIN = r"nvidia|amd|tesla|quadro|geforce|instinct|sxm\d*|oam|hbm3e?|\d+gb"
SAME_MEMORY = 0.12  # share by which a card's memory may differ from the file's
USABLE = 0.9  # share of a device's memory that a plan may fill: predictions err by 10%


@dataclass(frozen=True)
class Device:
    """One GPU, or a CPU with all its cores."""

    name: str
    full: str  # the maker's name for it
    memory: float  # bytes
    bandwidth: float  # bytes a second to its own memory
    flops: dict[str, float]  # dense peak by precision, a second
    link_name: str
    link: float  # bytes a second that collectives get within a machine
    network: float  # the same between machines
    price: Range | None  # dollars an hour
    priced: str  # who lists that price, and when
    source: str  # of the other figures

    @property
    def is_cpu(self) -> bool:
        """Tell a CPU from a GPU."""
        return self.link_name == "shared memory"

    @property
    def room(self) -> float:
        """Return the bytes that a plan may fill."""
        return USABLE * self.memory

    @property
    def best_precision(self) -> str:
        """Return the precision to train in: bf16 where matrices are faster in it."""
        faster = self.flops.get("bf16", 0) > self.flops["fp32"]
        return "bf16" if faster else "fp32"


@dataclass(frozen=True)
class Machine:
    """Some devices together, as `llmkit choose` speaks of hardware."""

    device: Device
    count: int
    free: float  # share of the memory that training may take
    said: str  # how large it is, in words

    @property
    def room(self) -> float:
        """Return the bytes that are free on all devices together."""
        return self.count * self.free * self.device.memory

    def speed(self, parameters: int) -> float:
        """Return the FLOPs a second that training a model likely reaches."""
        precision = self.device.best_precision
        reached = utilization(self.device, precision, parameters).likely
        return self.count * self.device.flops[precision] * reached


@cache
def _data() -> dict:
    path = Path(__file__).with_name("hardware.json")
    return json.loads(path.read_text(encoding="utf-8"))


def device_names() -> list[str]:
    """List the devices that are known.

    >>> "h100" in device_names() and "cpu" in device_names()
    True
    """
    return list(_data()["devices"])


def device(name: str) -> Device:
    """Return what is known of a device.

    name: as in hardware.json, "cpu" for this machine's own; upper case, spaces and a
    maker's name do not matter.

    Raises: ValueError for a device that is not known, which lists those that are.

    >>> device("NVIDIA H100").flops["bf16"] / 1e12
    989.4
    """
    known = _data()["devices"]
    aliases = {other: key for key in known for other in known[key]["aliases"]}
    plain = "-".join(name.lower().replace("_", " ").split())
    for brand in ("nvidia-", "amd-", "geforce-", "tesla-"):
        plain = plain.removeprefix(brand)
    key = aliases.get(plain, plain.replace("rtx-", "rtx"))
    if key not in known:
        near = get_close_matches(key, [*known, *aliases], 1, 0.5)
        meant = f"; did you mean {aliases.get(near[0], near[0])}?" if near else ";"
        raise ValueError(f"unknown --gpu {name!r}{meant} Known: {', '.join(known)}")
    return _make(key, known[key])


def machine_names() -> list[str]:
    """List the kinds of hardware that `llmkit choose` knows."""
    return list(_data()["machines"])


def machine(name: str) -> Machine:
    """Return what a kind of hardware stands for.

    >>> found = machine("8xgpu")
    >>> found.device.name, found.count, found.said
    ('h100', 8, '8 × 80 GB')
    """
    told = _data()["machines"][name]
    return Machine(**{**told, "device": device(told["device"])})


def here() -> str | None:
    """Name the device that trains on this machine.

    Returns: "cpu" where torch sees no GPU, and None where it sees one that is not
    known.
    """
    import torch

    if not torch.cuda.is_available():
        return "cpu"
    memory = torch.cuda.get_device_properties(0).total_memory
    return known_as(torch.cuda.get_device_name(), memory)


def known_as(called: str, memory: float) -> str | None:
    """Name the device that CUDA calls so, None if it is not known.

    Every word must be accounted for: an A10G is no A10, an H100 NVL no H100. Where
    cards share a name, as the A100s of 40 and 80 GB do, their memory tells them apart.

    memory: bytes that CUDA reports.

    >>> known_as("NVIDIA A100-SXM4-40GB", 42.3e9), known_as("NVIDIA A10", 23.7e9)
    ('a100-40gb', 'a10')
    """
    words, devices = _words(called), _data()["devices"]
    told = {name: _words(devices[name].get("called", "")) for name in devices}
    for name in sorted(told, key=lambda name: -len(told[name])):
        plain = all(re.fullmatch(PLAIN, word) for word in words - told[name])
        size = devices[name]["memory"] or 1
        same = abs(memory / size - 1) <= SAME_MEMORY
        if told[name] and told[name] <= words and plain and same:
            return name
    return None


def _words(called: str) -> set[str]:
    return set(re.findall(r"\w+", called.lower()))


def _make(name: str, told: dict) -> Device:
    cores = 1  # a GPU's figures are of all of it
    if told.get("per_core"):
        cores = told["cores"] or usable_cores()
    link, price = told["link"], told["price"]
    if price:  # likely: between a cheap place and a dear one, in proportion
        low, high = price
        price = Range(low, math.sqrt(low * high), high)
    return Device(
        name=name,
        full=told["full"],
        memory=told["memory"] or _memory_here(),
        bandwidth=told["bandwidth"],
        flops={key: peak * cores for key, peak in told["flops"].items()},
        link_name=link["name"],
        link=link["bytes"] / 2 * link["reached"],
        network=told["network"],
        price=price,
        priced=told["priced"] or "",
        source=told["source"],
    )


def usable_cores() -> int:
    """Count the cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):  # not on macOS and Windows
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _memory_here() -> float:
    import psutil

    return float(psutil.virtual_memory().total)


def utilization(device: Device, precision: str, parameters: int) -> Range:
    """Return the share of a device's peak that training reaches.

    >>> utilization(device("h100"), "bf16", 124_000_000).likely
    0.4
    """
    kind = "cpu" if device.is_cpu else "gpu_fp32" if precision == "fp32" else "gpu"
    for row in _data()["utilization"][kind]:
        if parameters < row["parameters_below"]:
            return Range(row["low"], row["likely"], row["high"])
    raise ValueError(f"no utilization is known for {parameters:,} parameters")
