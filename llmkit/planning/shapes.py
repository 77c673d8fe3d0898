"""The shape of a model as flags tell it: what they change, and what follows. Lesson 08.

`llmkit plan` and `llmkit pretrain` read the same flags by the same rule, so that the
command which a plan prints trains the model that was planned.
"""

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from llmkit.transformer import ModelConfig

# Flag, as an attribute of the options, and the field of `ModelConfig` that it sets.
FIELDS = {
    "layers": "n_layers",
    "width": "d_model",
    "heads": "n_heads",
    "kv_heads": "n_kv_heads",
    "ff": "d_ff",
    "context": "context",
}


def flag(name: str) -> str:
    """Return an option as it is typed.

    >>> flag("kv_heads")
    '--kv-heads'
    """
    return "--" + name.replace("_", "-")


def check_above_zero(options: object, *names: str) -> None:
    """Refuse options that must be above 0, where they are told.

    Raises: ValueError that names the flag.
    """
    for name in names:
        value = getattr(options, name)
        if value is not None and not value > 0:
            raise ValueError(f"{flag(name)} must be above 0: got {value}")


def reshape(model: Mapping[str, object], options: object) -> dict:
    """Change a shape as flags tell; heads and the inner width follow the width.

    model: fields of `ModelConfig`; options: has the attributes of `FIELDS`, None where
    nothing is told. A head stays as wide as it was, and a block's inside as many times
    the width, unless told.

    Returns: fields of `ModelConfig`, those of `model` and those that were told.

    >>> from llmkit.planning import PlanOptions
    >>> twice = PlanOptions(width=256, layers=2)
    >>> reshape(dict(d_model=128, n_heads=4, d_ff=256), twice)
    {'d_model': 256, 'n_heads': 8, 'd_ff': 512, 'n_layers': 2}
    """
    told = {field: getattr(options, name) for name, field in FIELDS.items()}
    told = {field: value for field, value in told.items() if value is not None}
    old = model["d_model"]
    new = told.get("d_model", old)
    follows = {"n_heads": max(1, new * model["n_heads"] // old)}
    follows["d_ff"] = model.get("d_ff", 0) * new // old  # 0: four times the width
    return {**model, **follows, **told}


def configure(vocab_size: int, model: Mapping[str, object]) -> "ModelConfig":
    """Return the shape as a `ModelConfig`.

    Raises: ValueError where numbers do not fit each other, in the flags' words.

    >>> configure(65, dict(d_model=64, n_heads=5))
    Traceback (most recent call last):
    ValueError: ... got --width 64 and --heads 5; choose --heads that divides --width
    """
    from llmkit.transformer import ModelConfig

    try:
        return ModelConfig(**{**model, "vocab_size": vocab_size})
    except ValueError as error:
        words = str(error)
        for name, field in FIELDS.items():
            if field != name:
                words = re.sub(rf"\b{field}\b", flag(name), words)
        raise ValueError(words) from None
