"""Why a plan is what it is, and what to mind, in words. Lesson 08."""

from llmkit.planning.memory import STRATEGIES, Memory
from llmkit.planning.options import MUCH, Option, Question
from llmkit.planning.ranges import say_bytes, say_count, say_dollars, say_seconds
from llmkit.planning.scaling import Loss
from llmkit.planning.timing import TALK


def reasons(
    question: Question, options: list[Option], chosen: Option, loss: Loss | None
) -> list[str]:
    """Say why this strategy, this precision and this batch."""
    found = [
        _why_strategy(question, options, chosen),
        _why_checkpointing(question, options, chosen),
        _why_precision(question, chosen),
        _why_batch(question, chosen),
    ]
    return [*found, _about_tokens(question, loss)] if loss else found


def _twin(options: list[Option], option: Option, **changes) -> Option:
    """Find the option that differs in what is said alone."""
    names = ("strategy", "checkpointing", "precision")
    wanted = {name: getattr(option, name) for name in names} | changes
    return next(
        x for x in options if all(getattr(x, key) == wanted[key] for key in names)
    )


def _rows(count: int) -> str:
    return f"{count:,} row{'s' * (count > 1)}"


def _state(memory: Memory) -> str:
    return say_bytes(memory.parameters + memory.gradients + memory.optimizer)


def _why_strategy(question: Question, options: list[Option], chosen: Option) -> str:
    device, held = question.device, chosen.memory
    room = f"{say_bytes(held.peak)} of {say_bytes(device.memory)}"
    if chosen.strategy == "single":
        return (
            f"single: there is one device, so nothing is shared; parameters, gradients "
            f"and averages take {_state(held)}, all together {room}"
        )
    if chosen.strategy == "ddp":
        return (
            f"ddp: the whole state, {_state(held)}, fits each {device.name} ({room} in "
            "use), so nothing need be cut; no strategy is simpler, and devices talk "
            f"once a step: {TALK['ddp']}"
        )
    whole = _twin(options, chosen, strategy="ddp")
    if whole.fits:
        gain = whole.seconds.likely / chosen.seconds.likely - 1
        why = f"ddp fits too, and {chosen.strategy} is likely {gain:.0%} faster"
    else:
        why = (
            f"with ddp one row takes {say_bytes(whole.memory.peak)} a device, and each "
            f"has {say_bytes(device.memory)}"
        )
    return (
        f"{chosen.strategy}: {why}; {STRATEGIES[chosen.strategy].about}, the state is "
        f"{_state(held)} a device ({room} in use), for more talk: "
        f"{TALK[chosen.strategy]}"
    )


def _why_checkpointing(question, options: list[Option], chosen: Option) -> str:
    most = chosen.largest_micro_batch
    if not chosen.checkpointing:
        fit = f"{_rows(most)} fit{'s' * (most == 1)}"
        return f"no activation checkpointing: {fit} without it, and it costs a third"
    plain, few = _twin(options, chosen, checkpointing=False), "not even one row fits"
    if plain.fits:
        few = f"no more than {_rows(plain.largest_micro_batch)} would fit at once"
    return (
        f"activation checkpointing: without it {few}; with it {_rows(most)}, for a "
        "third more work, as forward runs twice"
    )


def _why_precision(question: Question, chosen: Option) -> str:
    peaks = question.device.flops
    if chosen.precision == "fp32":
        told = " as asked" if question.precision else ""
        return f"fp32{told}: {_no_half(question)}"
    faster = peaks[chosen.precision] / peaks["fp32"]
    scaler = ", and a loss scaler guards against underflow"
    return (
        f"{chosen.precision}: matrices are up to {faster:.0f} times as fast as in "
        "fp32; parameters, sums and averages stay in fp32"
        f"{scaler if chosen.precision == 'fp16' else ''}"
    )


def _no_half(question: Question) -> str:
    import torch

    if question.device.best_precision != "fp32":
        return f"exact, and slower than {question.device.best_precision} would be"
    if "fp16" in question.device.flops:
        return f"{question.device.name} has no bf16; --precision fp16 is faster there"
    if question.device.name == "cpu" and torch.cpu._is_amx_tile_supported():
        return (
            "this CPU has AMX, so that --precision bf16 can be faster where layers are "
            "some hundreds wide, and slower where they are narrow"
        )
    return "bf16 is no faster on most CPUs; where one has AMX, --precision bf16 is"


def _why_batch(question: Question, chosen: Option) -> str:
    parts = [(chosen.devices, "devices"), (chosen.accumulation, "pieces")]
    parts = [f"{count} {name}" for count, name in parts if count > 1]
    parts += [_rows(chosen.micro_batch), f"{question.size.context:,} tokens"]
    return (
        f"batch: {' × '.join(parts)} = {chosen.batch_tokens:,} tokens a step, "
        f"{chosen.steps:,} steps"
    )


def warnings(
    question: Question, options: list[Option], chosen: Option, loss: Loss | None
) -> list[str]:
    """Say what to mind: limits that may not hold, figures that are guesses."""
    found = _about_launching(options, chosen)
    if question.budget is not None and chosen.dollars.high > question.budget:
        found.append(
            f"at worst it costs {say_dollars(chosen.dollars.high)}, over the budget"
        )
    if question.deadline is not None and chosen.seconds.high > question.deadline:
        found.append(
            f"at worst it takes {say_seconds(chosen.seconds.high)}, past the deadline"
        )
    if question.measured is None:
        found.append(
            "times rest on how much of the peak training reaches, which varies by half "
            "either way: --calibrate measures it, on the machine that is to train"
        )
    if chosen.dollars:
        found.append(
            f"prices are list prices ({question.device.priced}): they change by the "
            "month, and leave out disks, traffic and taxes"
        )
    if loss:
        found.append(f"the loss is {loss.caveat}")
    elif question.size.generates:
        found.append(
            "no loss is given: the law is known of models and texts over ten times as "
            "large"
        )
    return found


def _about_launching(options: list[Option], chosen: Option) -> list[str]:
    """Say what the command does not do by itself, and what would be faster."""
    found = []
    if chosen.checkpointing and chosen.strategy != "fsdp2":
        found.append(
            "activation checkpointing: llmkit does none outside of fsdp2, so the "
            "command is for a script of your own that does"
        )
    if chosen.precision == "fp16":
        found.append(
            "fp16 needs a loss scaler, which Accelerate has and llmkit pretrain does "
            "not ask for, so the command is for a script of your own; or take "
            "--precision fp32"
        )
    if chosen.devices > 1:
        other = _twin(options, chosen, strategy="zero1", checkpointing=False)
        if other.fits and other.seconds.likely * MUCH < chosen.seconds.likely:
            found.append(
                f"zero1 is likely faster ({say_seconds(other.seconds.likely)}), and "
                "has no launch file: it is a copy of deepspeed-zero2.yaml that says "
                "zero_stage: 1"
            )
    return found


def _about_tokens(question: Question, loss: Loss) -> str:
    """Say how many tokens suit the model, and what follows."""
    share = question.tokens / loss.optimal_tokens
    each = question.tokens / question.size.parameters
    told = f"tokens: {say_count(question.tokens)}, {_plain(each)} a parameter"
    if share < 0.5 or share > 10:
        few = "few" if share < 0.5 else "many"
        other = "smaller" if share < 0.5 else "larger"
        return (
            f"{told}, are {few} for this model ({say_count(loss.optimal_tokens)} would "
            f"suit it): a {other} one comes to a lower loss for the same money"
            f"{', if it may be larger in use' * (share > 10)}"
        )
    return (
        f"{told}; where compute is what is short, a model of this size should get "
        f"about {say_count(loss.optimal_tokens)}; more still lower its loss, as a "
        "larger model would"
    )


def _plain(x: float) -> str:
    return f"{x:.1f}" if x < 10 else f"{x:,.0f}"
