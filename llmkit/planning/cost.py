"""What a run of `fit` takes: parameters, operations, tokens, memory. Lesson 08."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from llmkit.planning.memory import MIXED, memory
from llmkit.planning.sizes import size_of

if TYPE_CHECKING:
    from llmkit.training import TrainingConfig
    from llmkit.transformer import Decoder, MaskedLM, ModelConfig


@dataclass(frozen=True)
class Cost:
    """What a training run takes."""

    parameters: int  # numbers that are learned
    flops: float  # additions and multiplications of the whole run
    tokens: int  # labels that are learned from, 0 if only a clock ends the run
    memory: int  # bytes at the peak, about

    def __str__(self) -> str:
        tokens, flops = f"{self.tokens:,} tokens", f"{self.flops:.2g} FLOPs"
        if not self.tokens:
            tokens, flops = "as many tokens as the time allows", ""
        parts = [f"{self.parameters:,} parameters", tokens, flops]
        parts.append(f"about {self.memory / 1e6:,.0f} MB of memory")
        return ", ".join(filter(None, parts))


def estimate_cost(
    model: "ModelConfig",
    training: "TrainingConfig",
    batch_size: int,
    kind: "type[Decoder] | type[MaskedLM] | None" = None,
    asked: float = 1.0,
) -> Cost:
    """Estimate what training takes on one device, in float32 unless bf16 is asked for.

    kind: the model's class, `Decoder` unless told; asked: the share of tokens that are
    asked for, where logits are computed at those alone.

    >>> from llmkit.training import TrainingConfig
    >>> from llmkit.transformer import ModelConfig
    >>> print(estimate_cost(ModelConfig(65), TrainingConfig(steps=100), batch_size=12))
    809,856 parameters, 76,800 tokens, 3.8e+11 FLOPs, about 38 MB of memory
    """
    from llmkit.transformer import MaskedLM

    masked = kind is not None and issubclass(kind, MaskedLM)
    size = size_of(model, masked=masked, asked=asked)
    tokens = training.steps * batch_size * model.context
    pieces = training.accumulation
    rows = -(-batch_size // pieces)
    precision = training.precision if training.precision in MIXED else "fp32"
    peak = memory(size, "single", rows, 1, precision, accumulation=pieces).peak
    asked_for = round(tokens * asked)
    return Cost(size.parameters, size.flops * tokens, asked_for, round(peak))
