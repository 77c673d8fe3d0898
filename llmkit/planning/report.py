"""Print a plan as tables and sentences. Lesson 08."""

from llmkit.planning.options import Option
from llmkit.planning.plan import Plan
from llmkit.planning.ranges import say_bytes, say_count, say_dollars, say_seconds


def show(plan: Plan) -> None:
    """Print the plan for a reader."""
    question, chosen = plan.question, plan.chosen
    size, device = question.size, question.device
    total = size.flops * question.tokens
    print(
        f"{size.name}: {size.parameters:,} parameters, {say_count(question.tokens)} "
        f"tokens, {total:.2g} FLOPs, on {question.gpus} × {device.full}\n"
    )
    _table(plan)
    print(
        "\nmemory: bytes on each device, each part at its fullest; peak: all together."
    )
    print(f"\nTake {chosen.name} in {chosen.precision}, because:")
    for reason in plan.why:
        print(f"  - {reason}")
    print(f"\ntime: {chosen.seconds.show(say_seconds)}")
    if chosen.dollars:
        print(
            f"cost: {chosen.dollars.show(say_dollars)}, list prices ({device.priced})"
        )
    if plan.loss:
        print(f"loss: {plan.loss}; {plan.loss.caveat}")
    if measured := question.measured:
        print(
            f"calibrated: {measured.steps} steps here, which differ by "
            f"{measured.spread:.0%}; memory was {measured.off:.0%} of the predicted"
        )
    for warning in plan.warnings:
        print(f"mind: {warning}")
    print(f"\n{plan.command}")
    if plan.accelerate != plan.command:
        print(f"\nthe same: {plan.accelerate}")


def _table(plan: Plan) -> None:
    from rich.console import Console
    from rich.table import Table

    names = ("strategy", "parameters", "gradients", "optimizer", "activations")
    names += ("buffers", "peak", "rows", "time", "cost")
    table = Table(*names, box=None, pad_edge=False)
    for column in table.columns[1:]:
        column.justify = "right"
    shown = plan.question.chosen_precision
    for option in plan.options:
        if option.precision == shown:
            table.add_row(*_row(option, option is plan.chosen))
    Console(markup=False, width=max(120, Console().width)).print(table)


def _row(option: Option, chosen: bool) -> list[str]:
    held = option.memory
    parts = (held.parameters, held.gradients, held.optimizer)
    parts += (held.activations, held.buffers, held.peak)
    name = option.strategy + (" + checkpoints" if option.checkpointing else "")
    ends = ["does not fit", "", ""]
    if option.fits:
        rows = f"{option.micro_batch} of {option.largest_micro_batch}"
        cost = say_dollars(option.dollars.likely) if option.dollars else ""
        ends = [rows, say_seconds(option.seconds.likely), cost]
    mark = "→ " if chosen else "  "
    return [mark + name, *map(say_bytes, parts), *ends]
