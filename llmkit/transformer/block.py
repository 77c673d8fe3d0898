"""One block: look around, then think; what every Transformer is a stack of."""

from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from llmkit.attention import MultiHeadAttention, RMSNorm
from llmkit.transformer.config import ModelConfig


class SquaredReLU(torch.autograd.Function):
    """Square what is positive, in one step: half the memory traffic of two."""

    @staticmethod
    def forward(ctx, x: Tensor) -> Tensor:
        positive = x.clamp_min(0)
        ctx.save_for_backward(positive)
        return positive * positive

    @staticmethod
    @once_differentiable  # asked for more, it says so
    def backward(ctx, gradient: Tensor) -> Tensor:
        (positive,) = ctx.saved_tensors
        return gradient * positive * 2


ACTIVATIONS = {
    "gelu": F.gelu,
    "gelu_tanh": partial(F.gelu, approximate="tanh"),
    "relu": F.relu,
    "relu2": SquaredReLU.apply,
}


def make_norm(config: ModelConfig) -> nn.Module:
    """Make the norm that this shape asks for.

    LayerNorm takes away the mean of a token's D numbers and divides by their standard
    deviation; RMSNorm only divides by their root mean square. Both then scale each
    number by a learned weight.

    Source: Ba et al. 2016; Zhang and Sennrich 2019; Lesson 03.

    >>> make_norm(ModelConfig(vocab_size=5, d_model=8, norm="rms"))
    RMSNorm((8,), eps=1e-05, elementwise_affine=True)
    """
    if config.norm == "rms":
        return RMSNorm(config.d_model, eps=config.norm_eps)
    return nn.LayerNorm(config.d_model, eps=config.norm_eps, bias=config.bias)


class Block(nn.Module):
    """Look around, then think: attention and an MLP, each added to its input.

    With the norm before each part (pre-norm) the sum runs from the embedding to the
    head untouched, and gradients reach every layer. With the norm after the sum
    (post-norm), as in 2017 and in BERT, every sum is rescaled on its way. `cross` adds
    a part between the two: a look at what an encoder read.

    x: (B, T, D) in, (B, T, D) out.
    Source: Vaswani et al. 2017, section 3.1; pre-norm: Xiong et al. 2020; Lesson 03.

    >>> block = Block(ModelConfig(vocab_size=5, d_model=8, n_heads=2), causal=True)
    >>> block(torch.zeros(1, 3, 8)).shape
    torch.Size([1, 3, 8])
    """

    def __init__(self, config: ModelConfig, causal: bool, cross: bool = False):
        super().__init__()
        D, d_ff = config.d_model, config.d_inner
        look = partial(
            MultiHeadAttention,
            D,
            config.n_heads,
            bias=config.bias,
            n_kv_heads=config.n_kv_heads,
            qk_norm=config.qk_norm,
        )
        self.norm1 = make_norm(config)
        self.attention = look(causal=causal)
        if cross:
            self.norm_cross = make_norm(config)
            self.cross = look(cross=True)
        self.norm2 = make_norm(config)
        self.up = nn.Linear(D, d_ff, bias=config.bias)
        self.down = nn.Linear(d_ff, D, bias=config.bias)
        self.activation = ACTIVATIONS[config.activation]
        self.dropout = nn.Dropout(config.dropout)
        self.pre_norm = config.norm_place == "pre"

    def forward(
        self,
        x: Tensor,
        turns: Tensor | None = None,
        slopes: Tensor | None = None,
        cache=None,
        watch: list | None = None,
        mask: Tensor | None = None,
        memory: Tensor | None = None,
        memory_mask: Tensor | None = None,
        watch_cross: list | None = None,
    ) -> Tensor:
        """Add what attention finds, then what the MLP makes of it. (B, T, D).

        turns, slopes, cache, watch, mask: see `MultiHeadAttention`. memory, memory_mask
        and watch_cross: the same for the look at an encoder's states (B, S, D).
        """
        here = dict(turns=turns, slopes=slopes, cache=cache, watch=watch, mask=mask)
        x = self._add(x, self.norm1, self.attention, **here)  # (B, T, D)
        if memory is not None:
            there = dict(
                memory=memory, mask=memory_mask, watch=watch_cross, cache=cache
            )
            x = self._add(x, self.norm_cross, self.cross, **there)  # (B, T, D)
        return self._add(x, self.norm2, self._think)  # (B, T, D)

    def _add(self, x: Tensor, norm: nn.Module, part, **how) -> Tensor:
        """Add to x what a part makes of it, with the norm before or after."""
        found = part(norm(x) if self.pre_norm else x, **how)  # (B, T, D)
        if self.training:  # else it would be a call for nothing
            found = self.dropout(found)  # (B, T, D)
        return x + found if self.pre_norm else norm(x + found)  # (B, T, D)

    def _think(self, x: Tensor) -> Tensor:
        """Treat each token alone: widen, bend, narrow. (B, T, D)."""
        return self.down(self.activation(self.up(x)))  # (B, T, D)
