"""The shape of a Transformer: one dataclass for all three kinds, and four presets."""

from dataclasses import dataclass, fields
from typing import Literal

from llmkit.attention import check_heads

# Shapes that have a name. What is not said is as in `ModelConfig`.
PRESETS: dict[str, dict] = {
    # Vaswani et al. 2017, the base model
    "vaswani2017": dict(
        vocab_size=37_000,
        context=512,
        n_layers=6,
        n_heads=8,
        d_model=512,
        positions="sinusoidal",
        activation="relu",
        norm_place="post",
        scale_embedding=True,
        dropout=0.1,
    ),
    # Devlin et al. 2019, BERT-base
    "bert": dict(
        vocab_size=30_522,
        context=512,
        n_layers=12,
        n_heads=12,
        d_model=768,
        norm_place="post",
        norm_eps=1e-12,
        embedding_norm=True,
        n_segments=2,
        dropout=0.1,
    ),
    # Radford et al. 2019, GPT-2 small
    "gpt2": dict(
        vocab_size=50_257,
        context=1024,
        n_layers=12,
        n_heads=12,
        d_model=768,
        activation="gelu_tanh",
        dropout=0.1,
    ),
    # What has proven itself since: the choices of most models after 2023
    "modern": dict(
        vocab_size=50_257,
        context=1024,
        n_layers=12,
        n_heads=12,
        d_model=768,
        positions="rotary",
        activation="relu2",
        bias=False,
        tied=False,
        quiet=True,
        norm="rms",
        qk_norm=True,
    ),
}


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
    positions: Literal["learned", "sinusoidal", "rotary", "alibi", "none"] = "learned"
    # gelu_tanh is GPT-2's approximation of gelu; relu2 is relu squared
    activation: Literal["gelu", "gelu_tanh", "relu", "relu2"] = "gelu"
    bias: bool = True  # add a vector after each matrix and in each norm
    tied: bool = True  # the head is the embedding's table, used backwards
    quiet: bool = False  # blocks and head begin at zero: each must earn its say
    n_kv_heads: int = 0  # keys and values that the heads share; 0: each has its own
    norm: Literal["layer", "rms"] = "layer"  # rms leaves out the mean
    norm_place: Literal["pre", "post"] = "pre"  # before each part, or after the sum
    norm_eps: float = 1e-5  # added to the variance, so that nothing divides by 0
    qk_norm: bool = False  # queries and keys have one length before they are compared
    embedding_norm: bool = False  # a norm before the first block, as BERT has
    scale_embedding: bool = False  # times √D, as in 2017, beside sines of size 1
    look_back: int = 0  # tokens before each that are added to its embedding
    n_segments: int = 0  # kinds of text part that have an embedding (BERT: 2)
    dropout: float = 0.0  # share of numbers silenced in training, after each part

    def __post_init__(self):
        self._check_sizes()
        check_heads(self.d_model, self.n_heads, self.kv_heads)
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

    def _check_sizes(self) -> None:
        may_be_zero = ("d_ff", "n_kv_heads", "look_back", "n_segments")
        sizes = ("vocab_size", "context", "n_layers", "n_heads", "d_model")
        for name in (*sizes, *may_be_zero):
            least, got = int(name in sizes), getattr(self, name)
            if type(got) is not int:
                raise ValueError(f"{name} must be a whole number: got {got!r}")
            if got < least:
                raise ValueError(f"{name} must be at least {least}: got {got}")
        for field in fields(self):
            got = getattr(self, field.name)
            if field.type is bool and type(got) is not bool:
                raise ValueError(f"{field.name} must be True or False: got {got!r}")
            if field.type is float and type(got) not in (float, int):
                raise ValueError(f"{field.name} must be a number: got {got!r}")
        if not 0 <= self.dropout < 1:
            raise ValueError(
                f"dropout is a share, from 0 to below 1: got {self.dropout}"
            )
        if not self.norm_eps > 0:
            raise ValueError(f"norm_eps must be above 0: got {self.norm_eps}")

    @classmethod
    def preset(cls, name: str, **changes) -> "ModelConfig":
        """Return a shape that has a name, with changes: another size, say.

        name: vaswani2017, bert, gpt2 or modern. Each is only a set of fields: no code
        asks for the name again.

        Raises: ValueError for a name that is not known, or a field that is not.

        >>> ModelConfig.preset("gpt2", n_layers=2).activation
        'gelu_tanh'
        """
        if name not in PRESETS:
            raise ValueError(
                f"unknown preset {name!r}; choose one of {', '.join(PRESETS)}"
            )
        known = [field.name for field in fields(cls)]
        if unknown := [field for field in changes if field not in known]:
            raise ValueError(
                f"a model has no {unknown[0]!r}; it has {', '.join(known)}"
            )
        return cls(**PRESETS[name] | changes)

    @property
    def d_head(self) -> int:
        """K, the width of one head."""
        return self.d_model // self.n_heads

    @property
    def d_inner(self) -> int:
        """Return the width inside each block's small network."""
        return self.d_ff or 4 * self.d_model

    @property
    def kv_heads(self) -> int:
        """G, the number of different keys and values in a block."""
        return self.n_kv_heads or self.n_heads
