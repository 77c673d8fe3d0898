"""What devices can do and cost: one file of figures and their sources. Lesson 08."""

import json
import math
import os
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache
from pathlib import Path

from llmkit.planning.ranges import Range

A_MACHINE = 8  # devices that are rented in one machine, at most
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


def _make(name: str, told: dict) -> Device:
    cores = 1
    if told.get("per_core"):
        cores = told["cores"] or os.cpu_count() or 1
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
