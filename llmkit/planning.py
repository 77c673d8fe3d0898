"""What a run will cost, before it is paid for. Lesson 08.

Arithmetic only: the model is built on torch's meta device, which has shapes and no
memory.
"""

from dataclasses import dataclass

import torch

from llmkit.training import TrainingConfig
from llmkit.transformer import Decoder, MaskedLM, ModelConfig

BYTES = 4  # a float32


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


def flops_per_token(config: ModelConfig, asked: float = 1.0, sees=0.5) -> float:
    """Return FLOPs of training on one token: forward once, backward twice that.

    A matrix costs 2 FLOPs a weight and token; the scores and their mixture cost 4 D a
    position looked at. asked: the share of tokens whose logits are computed; sees: the
    share of positions that a token looks at, half of them behind a causal mask.

    Source: Kaplan et al. 2020, section 2.1; Lesson 03.

    >>> f"{flops_per_token(ModelConfig(vocab_size=65)):.3g}"
    '4.97e+06'
    """
    D, keys = config.d_model, config.kv_heads * config.d_head
    block = 2 * D * D + 2 * D * keys + 2 * D * config.d_inner
    matrices = config.n_layers * block + asked * D * config.vocab_size
    looks = config.n_layers * 4 * D * config.context * sees
    return 3 * (2 * matrices + looks)


def estimate_cost(
    model: ModelConfig,
    training: TrainingConfig,
    batch_size: int,
    kind: type[Decoder] | type[MaskedLM] = Decoder,
    asked: float = 1.0,
) -> Cost:
    """Estimate what training takes.

    kind: the model's class; asked: the share of tokens that are asked for, where logits
    are computed at those alone.

    >>> print(estimate_cost(ModelConfig(65), TrainingConfig(steps=100), batch_size=12))
    809,856 parameters, 76,800 tokens, 3.8e+11 FLOPs, about 40 MB of memory
    """
    with torch.device("meta"):
        parameters = sum(p.numel() for p in kind(model).parameters())
    tokens = training.steps * batch_size * model.context
    flops = flops_per_token(model, asked, sees=0.5 if kind is Decoder else 1.0)
    # Weight, gradient and two running averages each; then what backward must keep.
    weights = 4 * BYTES * parameters
    kept = model.n_layers * (9 * model.d_model + 2 * model.d_inner)
    kept += 2 * model.vocab_size * asked
    rows = -(-batch_size // training.accumulation)
    activations = BYTES * rows * model.context * kept
    memory = int(weights + activations)
    return Cost(parameters, flops * tokens, round(tokens * asked), memory)
