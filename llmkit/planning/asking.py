"""From what a user typed to a question that can be answered. Lesson 08."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING

from llmkit.planning.hardware import device
from llmkit.planning.huggingface import size_of_hf
from llmkit.planning.options import Question, best, weigh_all
from llmkit.planning.plan import Plan, make_plan
from llmkit.planning.probe import calibrate
from llmkit.planning.scaling import optimal_tokens
from llmkit.planning.shapes import FIELDS, check_above_zero, configure, flag, reshape
from llmkit.planning.sizes import MASKED, SHAPES, ModelSize, named_config, size_of

if TYPE_CHECKING:
    from llmkit.transformer import ModelConfig

UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
VOCABULARY = 2048  # of a shape that leaves it open: what pretrain's bpe learns
OWN = "modern"  # what a shape of one's own is built like


@dataclass(frozen=True)
class PlanOptions:
    """What to train, on what, and within which limits."""

    preset: str | None = None  # gpt2-124m, bert-110m, small … (a wrong one lists all)
    hf: str | None = None  # or a Hugging Face model: a folder or id, config.json alone
    layers: int | None = None  # or a shape of your own: blocks
    width: int | None = None  # numbers that describe a token
    heads: int | None = None  # looks in each block (one for each 64 of the width)
    kv_heads: int | None = None  # keys and values that heads share (all their own)
    ff: int | None = None  # width inside each block (4 times the width)
    vocab: int | None = None  # tokens to choose from (as the model has, or 50257)
    context: int | None = None  # tokens of a text (as the model has, or 1024)
    tokens: float | None = None  # to train on, 10e9 say (as many as suit the model)
    gpu: str = "cpu"  # cpu (this machine), t4, l4, a100, h100, h200, b200, rtx4090 …
    gpus: int = 1  # how many
    precision: str | None = None  # fp32, bf16 or fp16 (the best that the device has)
    batch_tokens: int | None = None  # tokens a step (by the number of all tokens)
    budget: float | None = None  # dollars that it may cost
    deadline: str | None = None  # how long it may take: 90m, 24h, 3d
    calibrate: bool = False  # train 20 steps here first, and predict from them
    json: bool = False  # print one JSON object, for a program to read


def answer(options: PlanOptions, more: Mapping[str, dict] | None = None) -> Plan:
    """Plan what was asked for.

    more: shapes that have a name, beside `SHAPES`: fields of `ModelConfig`.

    Raises: ValueError for flags that are wrong, contradict each other, or ask for what
    can't be done.

    >>> answer(PlanOptions(preset="gpt2-124m", gpu="h100")).chosen.strategy
    'single'
    """
    _check_flags(options)
    hardware = device(options.gpu)
    size, config, told = _model(options, more or {})
    question = Question(
        size,
        hardware,
        tokens=options.tokens if options.tokens is not None else _suiting(size),
        gpus=options.gpus,
        batch_tokens=options.batch_tokens or 0,
        precision=options.precision or "",
        budget=options.budget,
        deadline=seconds(options.deadline) if options.deadline is not None else None,
    )
    if options.calibrate:
        if config is None:
            raise ValueError(
                "--calibrate trains a model of llmkit's: with --hf leave it out, or "
                "give the shape by --layers and --width"
            )
        precision = question.chosen_precision
        likely = best(question, weigh_all(question, [precision]))
        rows = max(1, likely.micro_batch // 2) if likely else 0
        rows = min(rows, max(1, 2048 // size.context))
        measured = calibrate(config, size, hardware, precision, rows)
        question = replace(question, measured=measured)
    return make_plan(question, told)


def seconds(time: str) -> float:
    """Read a time such as 90m, 24h or 3d.

    Raises: ValueError for anything else.

    >>> seconds("1.5h")
    5400.0
    """
    number, unit = time[:-1], time[-1:].lower()
    try:
        found = float(number) * UNITS[unit]
    except (ValueError, KeyError):
        raise ValueError(
            f"--deadline is a number and a unit, such as 90m, 24h or 3d: got {time!r}"
        ) from None
    if not found > 0:
        raise ValueError(f"--deadline must be above 0: got {time!r}")
    return found


def _check_flags(options: PlanOptions) -> None:
    """Refuse flags that say nothing, twice different things, or no size."""
    given = [name for name in FIELDS if getattr(options, name) is not None]
    shape = [name for name in given if name != "context"]
    ways = [f"--{name}" for name in ("preset", "hf") if getattr(options, name)]
    ways += [" ".join(map(flag, shape))] if shape else []
    if not ways:
        raise ValueError(
            "say which model: --preset gpt2-124m, --layers 12 --width 768, or --hf "
            "FOLDER_OR_ID"
        )
    if len(ways) > 1:
        raise ValueError(
            f"{' and '.join(ways)} contradict each other: give one of them"
        )
    if shape and not {"layers", "width"} <= {*shape}:
        raise ValueError(
            "a shape of your own needs --layers and --width: got "
            f"{', '.join(map(flag, shape))}"
        )
    if options.hf and options.vocab is not None:
        raise ValueError("--vocab is the model's own with --hf: leave it out")
    check_above_zero(options, *FIELDS, "vocab", "batch_tokens")


def _model(
    options: PlanOptions, more: Mapping[str, dict]
) -> tuple[ModelSize, "ModelConfig | None", tuple[str, ...]]:
    """Return the model's size, its config if it is ours, and the flags that name it."""
    if options.hf:
        size = size_of_hf(options.hf, options.context)
        return size, None, () if size.generates else (f"--model {options.hf}",)
    config = _shape(options, more)
    flags = [f"--preset {options.preset or OWN}"]
    for name in FIELDS:
        if (value := getattr(options, name)) is not None:
            flags.append(f"{flag(name)} {value}")
    flags.append(f"--tokenizer bpe --vocab-size {config.vocab_size}")
    masked = options.preset in MASKED
    if masked:
        flags.append("--objective masked")
    size = size_of(config, options.preset or "", masked, 0.15 if masked else 1.0)
    return size, config, tuple(flags)


def _shape(options: PlanOptions, more: Mapping[str, dict]) -> "ModelConfig":
    from llmkit.transformer import ModelConfig

    name, V = options.preset, options.vocab
    if name in more and name not in (*SHAPES, OWN):
        return configure(V or VOCABULARY, reshape(more[name], options))
    if name and name not in (*SHAPES, OWN):
        known = ", ".join(dict.fromkeys([*SHAPES, OWN, *more]))
        raise ValueError(
            f"unknown --preset {name!r}; choose one of {known}, or give --layers and "
            "--width"
        )
    own = named_config(name) if name in SHAPES else ModelConfig.preset(OWN)
    return configure(V or own.vocab_size, reshape(asdict(own), options))


def _suiting(size: ModelSize) -> float:
    if not size.generates:
        raise ValueError(
            "--tokens is needed: how many tokens suit a model is known of GPTs alone, "
            f"and {size.name} is none"
        )
    return float(f"{optimal_tokens(size.parameters):.1e}")
