"""The Transformer: one block, stacked, between an embedding and a head. Lesson 03.

`Block` is attention followed by a small network, each added to what came in. `Decoder`
stacks blocks that cannot see ahead and reads the next token off the top: a GPT.
"""

import json
import os
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Literal

import torch
import torch.nn.functional as F
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from llmkit.attention import KVCache, MultiHeadAttention
from llmkit.positions import alibi, rotary, sinusoidal


@dataclass(frozen=True)
class ModelConfig:
    """The shape of a Transformer, the same for every kind of it.

    Raises: ValueError if the numbers do not fit each other.

    >>> ModelConfig(vocab_size=65, d_model=64, n_heads=4).d_head
    16
    """

    vocab_size: int  # V, tokens to choose from
    context: int = 64  # most positions that it can look at
    n_layers: int = 4  # blocks
    n_heads: int = 4  # H, looks in each block
    d_model: int = 128  # D, numbers that describe a token
    d_ff: int = 0  # width inside each block's small network; 0 means 4 D
    positions: Literal["learned", "sinusoidal", "rotary", "alibi"] = "learned"
    activation: Literal["gelu", "relu", "relu2"] = "gelu"  # relu2 is relu squared
    bias: bool = True  # add a vector after each matrix and in each norm
    tied: bool = True  # the head is the embedding's table, used backwards
    quiet: bool = False  # blocks and head begin at zero: each must earn its say

    def __post_init__(self):
        for name in ("vocab_size", "context", "n_layers", "n_heads", "d_model", "d_ff"):
            least, got = int(name != "d_ff"), getattr(self, name)
            if got < least:
                raise ValueError(f"{name} must be at least {least}: got {got}")
        if self.d_model % self.n_heads:
            raise ValueError(
                f"each head takes an equal share of the width: got d_model "
                f"{self.d_model} and n_heads {self.n_heads}; choose n_heads that "
                "divides d_model"
            )
        if self.positions == "rotary" and self.d_head % 2:
            raise ValueError(
                f"rotary positions turn pairs of dimensions: d_model {self.d_model} / "
                f"n_heads {self.n_heads} = {self.d_head} is odd; choose it even"
            )
        for field in fields(self):
            known = getattr(field.type, "__args__", ())
            if known and getattr(self, field.name) not in known:
                raise ValueError(
                    f"unknown {field.name} {getattr(self, field.name)!r}; "
                    f"choose one of {', '.join(known)}"
                )
        if self.tied and self.quiet:
            raise ValueError(
                "a quiet model has a head of zeros, and a tied head is the embedding, "
                "which must not be zero: set tied=False or quiet=False"
            )

    @property
    def d_head(self) -> int:
        """K, the width of one head."""
        return self.d_model // self.n_heads


class SquaredReLU(torch.autograd.Function):
    """Square what is positive, in one step: half the memory traffic of two."""

    @staticmethod
    def forward(ctx, x: Tensor) -> Tensor:
        positive = x.clamp_min(0)
        ctx.save_for_backward(positive)
        return positive * positive

    @staticmethod
    def backward(ctx, gradient: Tensor) -> Tensor:
        (positive,) = ctx.saved_tensors
        return gradient * positive * 2


WEIGHTS, CONFIG = "model.safetensors", "config.json"
ACTIVATIONS = {"gelu": F.gelu, "relu": F.relu, "relu2": SquaredReLU.apply}


class Block(nn.Module):
    """Look around, then think: attention and an MLP, each added to its input.

    The norm stands before each part (pre-norm), so that the sum runs from the embedding
    to the head untouched and gradients reach every layer.

    x: (B, T, D) in, (B, T, D) out.
    Source: Vaswani et al. 2017, section 3.1; pre-norm: Xiong et al. 2020; Lesson 03.

    >>> block = Block(ModelConfig(vocab_size=5, d_model=8, n_heads=2), causal=True)
    >>> block(torch.zeros(1, 3, 8)).shape
    torch.Size([1, 3, 8])
    """

    def __init__(self, config: ModelConfig, causal: bool):
        super().__init__()
        D, d_ff = config.d_model, config.d_ff or 4 * config.d_model
        self.norm1 = nn.LayerNorm(D, bias=config.bias)
        self.attention = MultiHeadAttention(D, config.n_heads, causal, config.bias)
        self.norm2 = nn.LayerNorm(D, bias=config.bias)
        self.up = nn.Linear(D, d_ff, bias=config.bias)
        self.down = nn.Linear(d_ff, D, bias=config.bias)
        self.activation = ACTIVATIONS[config.activation]

    def forward(self, x: Tensor, turns=None, slopes=None, cache=None, watch=None):
        """Add what attention finds, then what the MLP makes of it. (B, T, D)."""
        x = x + self.attention(self.norm1(x), turns, slopes, cache, watch)
        return x + self.down(self.activation(self.up(self.norm2(x))))  # (B, T, D)


class Decoder(nn.Module):
    """Predict each next token from the tokens before it: a GPT.

    ids: (B, T) integers in, logits (B, T, V) out.
    Raises: ValueError if T is more than the context or an id is not in the vocabulary.
    Source: Radford et al. 2019; Lessons 03 and 06.

    >>> model = Decoder(ModelConfig(vocab_size=65, context=16))
    >>> model(torch.zeros(2, 16, dtype=torch.long)).shape
    torch.Size([2, 16, 65])
    """

    def __init__(self, config: ModelConfig):
        super().__init__()
        self.config = config
        self.embedding = nn.Embedding(config.vocab_size, config.d_model)
        if config.positions == "learned":
            self.positions = nn.Embedding(config.context, config.d_model)
        self.blocks = nn.ModuleList(
            Block(config, causal=True) for _ in range(config.n_layers)
        )
        self.norm = nn.LayerNorm(config.d_model, bias=config.bias)
        self.head = nn.Linear(config.d_model, config.vocab_size, bias=False)
        self._register_tables()
        self._initialize()

    def _register_tables(self) -> None:
        """Make what is fixed by the positions' formula; it is not saved."""
        c = self.config
        tables = {
            "sinusoids": lambda: sinusoidal(c.context, c.d_model),  # (T, D)
            "turns": lambda: rotary(c.context, c.d_head),  # (2, T, K / 2)
            "slopes": lambda: alibi(c.n_heads, c.context),  # (H, T, T)
        }
        wanted = {"sinusoidal": "sinusoids", "rotary": "turns", "alibi": "slopes"}
        for name, make in tables.items():
            table = make() if wanted.get(c.positions) == name else None
            self.register_buffer(name, table, persistent=False)

    @torch.no_grad()
    def _initialize(self) -> None:
        """Draw small weights, so that the first guess is even: loss ln V."""
        deep = (2 * self.config.n_layers) ** -0.5  # each layer adds to one sum
        for name, weight in self.named_parameters():
            if weight.ndim == 2:
                last = name.endswith(("attention.out.weight", "down.weight"))
                weight.normal_(std=0.02 * (deep if last else 1))
                if self.config.quiet and (last or name == "head.weight"):
                    weight.zero_()
            elif name.endswith("bias"):
                weight.zero_()
        if self.config.tied:
            self.head.weight = self.embedding.weight

    def new_cache(self) -> list[KVCache]:
        """Return an empty cache for each block, for one stretch of generation."""
        return [KVCache(self.config.context) for _ in self.blocks]

    def forward(
        self,
        ids: Tensor,
        cache: list[KVCache] | None = None,
        watch: list | None = None,
    ) -> Tensor:
        """Return the logits of the token after each of ids: (B, T) to (B, T, V).

        cache: from `new_cache`; ids are then the tokens after those it has seen.
        watch: a list that receives each block's attention weights (B, H, T, S).
        """
        start = len(cache[0]) if cache else 0
        T = ids.size(-1)
        self._check(start + T)
        here = slice(start, start + T)
        x = self._embed(ids)  # (B, T, D)
        if self.config.positions == "learned":
            x = x + self.positions.weight[here]  # (B, T, D)
        if self.sinusoids is not None:
            x = x + self.sinusoids[here]  # (B, T, D)
        turns = None if self.turns is None else self.turns[:, here]  # (2, T, K / 2)
        slopes = None if self.slopes is None else self.slopes[:, here, : start + T]
        for block, seen in zip(self.blocks, cache or [None] * len(self.blocks)):
            x = block(x, turns, slopes, seen, watch)  # (B, T, D)
        return self.head(self.norm(x))  # (B, T, V)

    def _embed(self, ids: Tensor) -> Tensor:
        try:
            return self.embedding(ids)  # (B, T, D)
        except IndexError:
            raise ValueError(
                f"token ids are from 0 to {self.config.vocab_size - 1} here: got "
                f"{int(ids.min())} to {int(ids.max())}; encode the text with the "
                "tokenizer that this model was made for"
            ) from None

    def _check(self, length: int) -> None:
        if length > self.config.context:
            raise ValueError(
                f"this model looks at {self.config.context} positions at most: got "
                f"{length}; cut the text, or train with a longer context"
            )


def save_model(model: Decoder, folder: str | Path) -> None:
    """Write model.safetensors and config.json into folder, each whole or not at all.

    Raises: OSError if they can't be written; a model from before stays.
    """
    folder = Path(folder)
    state = {k: v.contiguous().cpu() for k, v in model.state_dict().items()}
    if model.config.tied:
        del state["head.weight"]  # one table, saved once
    text = json.dumps({"model": "decoder", **asdict(model.config)}, indent=2)
    parts = {name: folder / f"{name}.part" for name in (WEIGHTS, CONFIG)}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        save_file(state, parts[WEIGHTS])
        parts[CONFIG].write_text(text + "\n")
        for name, part in parts.items():
            os.replace(part, folder / name)
    except (OSError, SafetensorError) as error:
        for part in parts.values():
            part.unlink(missing_ok=True)
        raise OSError(
            f"could not save the model in {str(folder)!r}: {error}; free some disk, or "
            "choose another folder"
        ) from error


def load_model(folder: str | Path) -> Decoder:
    """Read what `save_model` wrote.

    Raises: ValueError if the folder holds no model, or a damaged one.
    """
    folder = Path(folder)
    config_file, weights_file = folder / CONFIG, folder / WEIGHTS
    for file in (config_file, weights_file):
        if not file.is_file():
            raise ValueError(
                f"no model in {str(folder)!r}: {file.name} is missing; give the --out "
                "folder of a finished `llmkit pretrain`"
            )
    try:
        config = json.loads(config_file.read_text())
        config.pop("model")
        model = Decoder(ModelConfig(**config))
        state = load_file(weights_file)
        if model.config.tied:
            state["head.weight"] = state["embedding.weight"]
        model.load_state_dict(state)
    except (SafetensorError, ValueError, LookupError, AttributeError, TypeError) as e:
        raise ValueError(f"the model in {str(folder)!r} is damaged: {e}") from None
    except RuntimeError as error:
        what = str(error).splitlines()[-1].strip()
        raise ValueError(
            f"the weights in {str(folder)!r} do not fit their config.json: {what}"
        ) from None
    return model
