"""What can't be done, said in words, with what could be done instead. Lesson 08."""

from collections.abc import Iterator
from dataclasses import replace

from llmkit.planning.hardware import device, device_names
from llmkit.planning.options import Option, Question, best, weigh_all
from llmkit.planning.ranges import say_bytes, say_count, say_dollars, say_seconds
from llmkit.planning.scaling import MODELS, best_for, optimal_tokens
from llmkit.planning.sizes import MASKED, SHAPES, named_config, size_of

COUNTS = (1, 2, 4, 8, 16, 32, 64, 128)  # devices that are tried


def check_room(question: Question, options: list[Option]) -> None:
    """Refuse a model that no strategy brings onto these devices.

    Raises: ValueError that says what is missing, and on what it would fit.
    """
    mine = [x for x in options if x.precision == question.chosen_precision]
    if any(option.fits for option in mine):
        return
    least = min(mine, key=lambda option: option.memory.peak)
    where = f"{question.gpus} × {question.device.name}"
    could = [f"--gpu {name} --gpus {n}" for name, n, _ in _others(question, 2)]
    if least.micro_batch * question.size.context > 2048 and least.memory.activations > (
        least.memory.peak / 3
    ):
        could.append(f"a context below {question.size.context:,} (--context)")
    raise ValueError(
        f"{question.size.name} with {say_count(question.size.parameters)} parameters "
        f"fits nowhere on {where}: the thriftiest way, {least.name}, takes "
        f"{say_bytes(least.memory.peak)} a device for one row, and each has "
        f"{say_bytes(question.device.memory)}. What could: {_either(could)}"
    )


def check_limits(question: Question, chosen: Option) -> None:
    """Refuse a budget or a deadline that the likely figures pass.

    Raises: ValueError that says by how much, and what would keep within.
    """
    broken = []
    cost, budget = chosen.dollars, question.budget
    if budget is not None and cost and cost.likely > budget:
        broken.append(
            f"--budget {say_dollars(budget)} can't be met: about "
            f"{cost.show(say_dollars)} at list prices"
        )
    if question.deadline is not None and chosen.seconds.likely > question.deadline:
        broken.append(
            f"--deadline {say_seconds(question.deadline)} can't be met: about "
            f"{chosen.seconds.show(say_seconds)}"
        )
    if not broken:
        return
    raise ValueError(
        f"{'; '.join(broken)}, for {say_count(question.tokens)} tokens of "
        f"{question.size.name} on {chosen.devices} × {question.device.name} with "
        f"{chosen.name}. What could: {_either(_could(question, chosen))}"
    )


def _could(question: Question, chosen: Option) -> list[str]:
    """List changes that would keep the limits: fewer tokens, or other devices."""
    share = 1.0
    if question.budget is not None and chosen.dollars:
        share = min(share, question.budget / chosen.dollars.likely)
    if question.deadline is not None:
        share = min(share, question.deadline / chosen.seconds.likely)
    could, size = [], question.size
    fewer = 0.97 * share * question.tokens
    if fewer > 100 * size.context:
        few = size.generates and fewer < optimal_tokens(size.parameters) / 4
        mark = " (few for this model)" if few else ""
        could.append(f"--tokens {_typed(fewer)} on the same devices{mark}")
    could += [f"--preset {name} on them" for name in _smaller(question)]
    could += _best_spent(question, share)
    for name, n, option in _others(question, 2):
        price = f", {say_dollars(option.dollars.likely)}" if option.dollars else ""
        time = say_seconds(option.seconds.likely)
        could.append(f"--gpu {name} --gpus {n} (about {time}{price})")
    return could


def _typed(tokens: float) -> str:
    """Write a number of tokens as one types it: 2.4e9."""
    return f"{tokens:.1e}".replace("e+0", "e").replace("e+", "e")


def _best_spent(question: Question, share: float) -> Iterator[str]:
    """Yield the model and tokens of the lowest loss that the limits' compute buys."""
    if not question.size.generates:
        return
    N, D = best_for(share * question.size.flops * question.tokens)
    if MODELS[0] / 10 <= N < question.size.parameters:
        yield (
            f"about {say_count(float(f'{N:.1e}'))} parameters on "
            f"{say_count(float(f'{D:.1e}'))} tokens, the lowest loss that as much "
            "compute buys"
        )


def _smaller(question: Question) -> Iterator[str]:
    """Yield the largest model with a name that is smaller, and keeps the limits."""
    if question.size.kind != "decoder":
        return
    for name in reversed([name for name in SHAPES if name not in MASKED]):
        size = size_of(named_config(name), name)
        here = replace(question, size=size, measured=None)
        if size.parameters < question.size.parameters:
            option = best(here, weigh_all(here, [here.chosen_precision]))
            if option and _keeps(here, option):
                yield name
                return


def _others(question: Question, most: int) -> Iterator[tuple[str, int, Option]]:
    """Yield devices, and how many, on which it would work.

    First more of the same, then the cheapest.
    """
    found = []
    for name in device_names():
        other = device(name)
        if other.is_cpu or question.chosen_precision not in other.flops:
            continue
        for n in COUNTS:
            here = replace(question, device=other, gpus=n, measured=None)
            option = best(here, weigh_all(here, [here.chosen_precision]))
            if option and _keeps(here, option):
                other_kind = name != question.device.name
                found.append((other_kind, option.dollars.likely, name, n, option))
                break  # more of them would cost more
    found.sort(key=lambda entry: entry[:4])
    if found and not found[0][0]:
        most += 1
    for *_, name, n, option in found[:most]:
        yield name, n, option


def _keeps(question: Question, option: Option) -> bool:
    cost = option.dollars.likely if option.dollars else 0.0
    cheap = question.budget is None or cost <= question.budget
    soon = question.deadline is None or option.seconds.likely <= question.deadline
    return cheap and soon


def _either(could: list[str]) -> str:
    return "; or ".join(could) if could else "nothing here: plan a smaller model"
