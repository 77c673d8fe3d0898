"""Print a plan for a reader: the answer, why, every way there is, the command."""

import shutil
import textwrap
from collections.abc import Callable

from llmkit.planning.memory import STRATEGIES
from llmkit.planning.options import Option
from llmkit.planning.plan import Plan
from llmkit.planning.ranges import (
    Range,
    say_bytes,
    say_count,
    say_dollars,
    say_seconds,
)

WIDEST = 100  # letters of a line of prose
NAMES = ("parameters", "gradients", "optimizer", "activations", "buffers", "peak")
NAMES += ("rows", "time", "cost")
NOTE = (
    "Memory is that of one device, each part at its own fullest; peak: all together. "
    "Buffers: logits, copies in half precision, what devices send each other, what the "
    "allocator holds back. Checkpoints: of activations, which are computed again "
    "rather than kept. Rows: texts that a device takes at once, of the most that fit; "
    "no: not even one does."
)
WHOLE = "fsdp2 adds up whole gradients, and cuts them after the last piece of a batch."


def show(plan: Plan) -> None:
    """Print the plan: first the answer, then its reasons, last the command."""
    question, chosen = plan.question, plan.chosen
    size, device = question.size, question.device
    total = f"{size.flops * question.tokens:.2g} FLOPs"
    print(f"{size.name}: {size.parameters:,} parameters")
    where = f"on {question.gpus} × {device.full}"
    print(f"{say_count(question.tokens)} tokens, {total}, {where}")
    about = STRATEGIES[chosen.strategy].about
    print(f"\nTake {chosen.name}, in {chosen.precision} ({about})")
    for name, words in _answer(plan):
        say(words, f"  {name:<8}")
    print("\nBecause")
    for reason in plan.why:
        say(reason, "  - ")
    shown = [x for x in plan.options if x.precision == question.chosen_precision]
    print(f"\nEvery way in {question.chosen_precision}")
    _table(plan, shown)
    pieces = any(x.accumulation > 1 for x in shown if x.strategy == "fsdp2")
    say(f"{NOTE} {WHOLE}" if pieces else NOTE)
    if plan.warnings:
        print("\nMind")
    for warning in plan.warnings:
        say(warning, "  - ")
    print(f"\nRun\n  {plan.command}")
    if plan.accelerate != plan.command:
        print(f"or, the same without llmkit's launcher\n  {plan.accelerate}")


def _answer(plan: Plan) -> list[tuple[str, str]]:
    """Return the figures that decide, each with its name."""
    question, chosen, device = plan.question, plan.chosen, plan.question.device
    time = _limited(chosen.seconds, say_seconds, question.deadline, "the deadline")
    found = [("time", time)]
    if chosen.dollars:
        cost = _limited(chosen.dollars, say_dollars, question.budget, "the budget")
        found.append(("cost", f"{cost}, at list prices"))
    room = f"{say_bytes(chosen.memory.peak)} of {say_bytes(device.memory)}"
    found.append(("memory", room + " on each device" * (chosen.devices > 1)))
    if plan.loss:
        found.append(("loss", f"{plan.loss}, by two fits of Chinchilla's law"))
    if measured := question.measured:
        words = (
            f"{measured.steps} steps here, which differ by {measured.spread:.0%}; "
            f"memory was {measured.off:.0%} of the predicted"
        )
        found.append(("probe", words))
    return found


def _limited(found: Range, how: Callable, limit: float | None, name: str) -> str:
    """Say a range, and whether a limit holds."""
    words = found.show(how)
    if limit is None:
        return words
    holds = "even at worst" if found.high <= limit else "likely"
    return f"{words}, {holds} within {name} of {how(limit)}"


def say(words: str, begin: str = "") -> None:
    """Print a paragraph in lines that the terminal holds.

    >>> say("few", "  - ")
      - few
    """
    width = min(WIDEST, shutil.get_terminal_size((WIDEST, 24)).columns)
    how = dict(break_long_words=False, break_on_hyphens=False)
    hang = " " * len(begin)
    print(
        textwrap.fill(words, width, initial_indent=begin, subsequent_indent=hang, **how)
    )


def _table(plan: Plan, options: list[Option]) -> None:
    from rich.console import Console
    from rich.table import Table

    large = max(option.memory.peak for option in options) >= 1e9
    unit, digits = (1e9, 2) if large else (1e6, 1)
    names = ["GB" if large else "MB", *NAMES]
    if plan.question.device.price is None:
        names.remove("cost")
    table = Table(*names, box=None, pad_edge=False)
    for column in table.columns[1:]:
        column.justify = "right"
    for option in options:
        mark = "→ " if option is plan.chosen else "  "
        held = (f"{part / unit:,.{digits}f}" for part in _parts(option))
        row = [mark + _short(option), *held, *_ends(option)]
        table.add_row(*row[: len(names)])
    Console(markup=False, width=max(120, Console().width)).print(table)


def _short(option: Option) -> str:
    return option.strategy + (" + checkpoints" if option.checkpointing else "")


def _parts(option: Option) -> tuple[float, ...]:
    held = option.memory
    state = (held.parameters, held.gradients, held.optimizer)
    return (*state, held.activations, held.buffers, held.peak)


def _ends(option: Option) -> list[str]:
    if not option.fits:
        return ["no", "", ""]
    rows = f"{option.micro_batch} of {option.largest_micro_batch}"
    cost = say_dollars(option.dollars.likely) if option.dollars else ""
    return [rows, say_seconds(option.seconds.likely), cost]
