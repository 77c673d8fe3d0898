"""How large a model is, counted and not built. Lesson 08.

A model on torch's meta device has every weight's shape and none of its numbers, so
that 70 billion parameters are counted in a second.
"""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import nn

    from llmkit.transformer import ModelConfig

FP32, HALF = 4, 2  # bytes of a number in float32, and in bfloat16 or float16

# Shapes that have a name: Radford et al. 2019 (GPT-2), Devlin et al. 2019 (BERT). Their
# dropout is left out, as pretraining does today.
SHAPES: dict[str, dict] = {
    "gpt2-124m": dict(name="gpt2", dropout=0.0),
    "gpt2-355m": dict(name="gpt2", dropout=0.0, n_layers=24, n_heads=16, d_model=1024),
    "gpt2-774m": dict(name="gpt2", dropout=0.0, n_layers=36, n_heads=20, d_model=1280),
    "gpt2-1.5b": dict(name="gpt2", dropout=0.0, n_layers=48, n_heads=25, d_model=1600),
    "bert-110m": dict(name="bert", dropout=0.0),
}
MASKED = ("bert-110m",)  # those that fill in hidden tokens, 15% of all


@dataclass(frozen=True)
class ModelSize:
    """What a plan must know of a model, ours or another's."""

    name: str
    kind: str  # decoder, masked, or a class of Hugging Face's
    parameters: int  # numbers that are learned
    matrices: int  # of them, in matrices: what mixed precision copies
    block: int  # of them, in one block
    table: int  # of them, in the table of tokens
    tied: bool  # the head is that table
    layers: int
    width: int
    widest: int  # numbers of a token at the widest place in a block
    vocabulary: int
    context: int
    flops: float  # operations to train on a token
    kept: dict[int, float]  # bytes of a token that a block keeps, by bytes a number
    outside: dict[int, float]  # the same, of what stands before and after the blocks
    asked: float = 1.0  # share of tokens whose logits are computed

    @property
    def generates(self) -> bool:
        """Tell whether it predicts the next token, as the law of `scaling` has it."""
        return self.kind == "decoder" or self.kind.endswith(
            ("ForCausalLM", "LMHeadModel")
        )


def flops_per_token(
    config: "ModelConfig", asked: float = 1.0, sees: float = 0.5, masked: bool = False
) -> float:
    """Return FLOPs of training on one token: forward once, backward twice that.

    A matrix costs 2 FLOPs a weight and token; the scores and their mixture cost 4 D a
    position looked at. asked: the share of tokens whose logits are computed; sees: the
    share of positions that a token looks at, half of them behind a causal mask; masked:
    the head has a layer of its own before the logits, as BERT's has.

    Source: Kaplan et al. 2020, section 2.1; Lesson 03.

    >>> from llmkit.transformer import ModelConfig
    >>> f"{flops_per_token(ModelConfig(vocab_size=65)):.3g}"
    '4.97e+06'
    """
    D, keys = config.d_model, config.kv_heads * config.d_head
    block = 2 * D * D + 2 * D * keys + 2 * D * config.d_inner
    head = D * config.vocab_size + (D * D if masked else 0)
    matrices = config.n_layers * block + asked * head
    looks = config.n_layers * 4 * D * config.context * sees
    return 3 * (2 * matrices + looks)


def kept_by_block(config: "ModelConfig", number: int) -> float:
    """Return the bytes that a block keeps of each token until backward has used them.

    number: bytes of what matrices take and give, 4 in float32, 2 in mixed precision;
    sums and norms stay in float32. Attention's weights are not among them: the fused
    kernel computes them twice rather than keep them.

    Source: Korthikanti et al. 2022, section 4.1, counted for this block; Lesson 08.

    >>> from llmkit.transformer import ModelConfig
    >>> D = (c := ModelConfig(vocab_size=65)).d_model
    >>> kept_by_block(c, 4) / D, kept_by_block(c, 2) / D  # of a token's D numbers
    (64.125, 36.125)
    """
    D, keys, b = config.d_model, config.kv_heads * config.d_head, number
    shared, turned = config.kv_heads < config.n_heads, config.positions == "rotary"
    # Each norm: its input, in RMSNorm the input at length 1 too, and what it gives.
    kept = 2 * (FP32 * D * (2 if config.norm == "rms" else 1) + b * D)
    if not shared or (b == FP32 if config.qk_norm else not turned):
        kept += b * (D + 2 * keys)  # queries, keys, values as they were made
    if config.qk_norm:  # at length 1, and before that in float32
        kept += (FP32 + (FP32 if b < FP32 else 0)) * (D + keys)
    if config.qk_norm or turned:  # as they are compared; then the result is laid anew
        kept += b * (D + (0 if shared else keys)) + b * D
    kept += b * (2 * D if shared else 0)  # keys and values, repeated for each head
    kept += b * D + FP32 * config.n_heads  # the mixture, and each softmax's sum
    # Wide: before the activation and after it; relu needs the latter alone.
    kept += b * config.d_inner * (1 if config.activation == "relu" else 2)
    return kept + (2 * FP32 * D if config.dropout else 0)


def kept_outside(
    config: "ModelConfig", number: int, masked: bool = False, asked: float = 1.0
) -> float:
    """Return the bytes that are kept of each token before and after the blocks."""
    D, norm = config.d_model, 2 if config.norm == "rms" else 1
    last = FP32 * D * norm if config.norm_place == "pre" else 0
    first = FP32 * D * norm if config.embedding_norm else 0
    dropped = FP32 * D if config.dropout else 0
    # BERT's head: a layer's result, the activation's, and a norm's.
    head = (2 * number + FP32 * norm) * D if masked else 0
    return first + last + dropped + asked * (number * D + head)


def size_of(
    config: "ModelConfig", name: str = "", masked: bool = False, asked: float = 1.0
) -> ModelSize:
    """Measure one of our models: a `Decoder`, or a `MaskedLM` where masked.

    >>> size_of(named_config("gpt2-124m")).parameters
    124439808
    """
    import torch

    from llmkit.transformer import Decoder, MaskedLM

    with torch.device("meta"):  # one block stands for all, which are alike
        model = (MaskedLM if masked else Decoder)(replace(config, n_layers=1))
    sees = 1.0 if masked else 0.5
    return ModelSize(
        name=name or f"{config.n_layers} layers of {config.d_model}",
        kind="masked" if masked else "decoder",
        **count(model, model.blocks[0], config.n_layers),
        table=config.vocab_size * config.d_model,
        tied=config.tied,
        layers=config.n_layers,
        width=config.d_model,
        widest=max(config.d_inner, 3 * config.d_model),
        vocabulary=config.vocab_size,
        context=config.context,
        flops=flops_per_token(config, asked, sees, masked),
        kept={b: kept_by_block(config, b) for b in (FP32, HALF)},
        outside={b: kept_outside(config, b, masked, asked) for b in (FP32, HALF)},
        asked=asked,
    )


def count(model: "nn.Module", block: "nn.Module", times: int = 1) -> dict[str, int]:
    """Count a model's parameters, those in its matrices, and those of one block.

    times: that the block, which the model has once, is to be counted.
    """
    whole, once = list(model.parameters()), list(block.parameters())
    weights = whole + once * (times - 1)
    return {
        "parameters": sum(p.numel() for p in weights),
        "matrices": sum(p.numel() for p in weights if p.ndim > 1),
        "block": sum(p.numel() for p in once),
    }


def named_config(name: str, **changes) -> "ModelConfig":
    """Return a shape that has a name, with changes: another context, say.

    Raises: ValueError for a name that is not known.

    >>> named_config("gpt2-355m").n_layers
    24
    """
    from llmkit.transformer import ModelConfig

    if name not in SHAPES:
        raise ValueError(f"unknown preset {name!r}; choose one of {', '.join(SHAPES)}")
    return ModelConfig.preset(**SHAPES[name] | changes)
