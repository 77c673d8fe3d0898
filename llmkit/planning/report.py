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
NARROW = 80  # letters that a table may need
PARTS = ("parameters", "gradients", "optimizer", "activations", "buffers", "peak")
NOTE = (
    "Each way at the rows of the batch that it takes at once; (in brackets): more than "
    "a plan may fill, even with one row. Rows: texts that a device takes at once, of "
    "the most that fit; no: not even one does. Checkpoints: of activations, which are "
    "computed again rather than kept."
)
ALONE = "One device has nothing to share: ddp and the others would hold as much."
FILLED = (
    "Memory is that of one device, each part at its own fullest; peak: all together. "
    "Buffers: logits, copies in half precision, what devices send each other, what the "
    "allocator holds back."
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
    _tables(plan)
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
        on = f" ({measured.on}, whose memory and price are not known)"
        words = (
            f"{measured.steps} steps here{on * bool(measured.on)}, which differ by "
            f"{measured.spread:.0%}; "
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


def _tables(plan: Plan) -> None:
    """Print every way: its peak in each precision, then what fills it in the chosen."""
    question = plan.question
    named = question.chosen_precision
    shown = [x for x in plan.options if x.precision == named]
    large = max(option.memory.peak for option in plan.options) >= 1e9
    unit = (1e9, 2, "GB") if large else (1e6, 1, "MB")
    print(f"\nEvery way: the peak of a device in each precision, and more in {named}")
    formats = [f"→ {x}" if x == named else x for x in question.precisions]
    ends = ["rows", "time", *(["cost"] if question.device.price else [])]
    rows = [[*_peaks(plan, x, unit), *_ends(x)[: len(ends)]] for x in shown]
    _table(plan, [unit[2], *formats, *ends], shown, rows, gap=2)
    say(f"{NOTE} {ALONE}" if question.gpus == 1 else NOTE)
    print(f"\nWhat fills it in {named}")
    rows = [[_number(part, unit) for part in _parts(x)] for x in shown]
    _table(plan, [unit[2], *PARTS], shown, rows, gap=1)
    pieces = any(x.accumulation > 1 for x in shown if x.strategy == "fsdp2")
    say(f"{FILLED} {WHOLE}" if pieces else FILLED)


def _table(
    plan: Plan, names: list[str], ways: list[Option], rows: list, gap: int
) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(*names, box=None, pad_edge=False, padding=(0, gap, 0, 0))
    for column in table.columns:
        column.no_wrap = True
    for column in table.columns[1:]:
        column.justify = "right"
    for way, row in zip(ways, rows):
        mark = "→ " if way is plan.chosen else "  "
        name = "  + checkpoints" if way.checkpointing else way.strategy
        table.add_row(mark + name, *row)
    Console(markup=False, width=max(NARROW, Console().width)).print(table)


def _number(count: float, unit: tuple[float, int, str]) -> str:
    size, digits, _ = unit
    return f"{count / size:,.{digits if count < 1000 * size else 0}f}"


def _peaks(plan: Plan, way: Option, unit: tuple[float, int, str]) -> list[str]:
    """Return a way's peak in each precision, in brackets where it does not fit."""
    mine = (way.strategy, way.checkpointing)
    twins = [x for x in plan.options if (x.strategy, x.checkpointing) == mine]
    peaks = {x.precision: (_number(x.memory.peak, unit), x.fits) for x in twins}
    told = [peaks[name] for name in plan.question.precisions]
    return [words if fits else f"({words})" for words, fits in told]


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
