"""What the explorer shows, as plain arrays: one text that went through one model.

A page is drawn from records alone. Whoever can fill one in can be shown: a model of
ours, one of Hugging Face, or numbers from anywhere. Layers, heads and positions count
from 0, here as on the page: what is shown of head 3 is weights[layer, 3].
"""

from dataclasses import dataclass, field

import numpy as np

OFF = 0.01  # how far from 1 a row may sum: bfloat16 weights come no nearer


@dataclass(frozen=True)
class Tag:
    """Name what a head does, and how much of its weight it spends on that."""

    layer: int
    head: int
    name: str  # one of `tags.NAMES`, "previous" say
    score: float  # from 0 to 1


@dataclass(frozen=True, eq=False)
class Inner:
    """Hold what one layer multiplies: weights are softmax(q kᵀ × scale + bias).

    Turned (rotary) and normed as they are when they are multiplied. Heads that share
    keys and values have them repeated.
    """

    q: np.ndarray  # (H, T, K) float16
    k: np.ndarray  # (H, T, K) float16
    v: np.ndarray  # (H, T, K) float16
    scale: float  # 1/√K, unless the model has another
    bias: np.ndarray | None = None  # (H, T, T) added to the scores: ALiBi's slopes
    note: str = ""  # what was done to q and k first, in words


@dataclass(frozen=True, eq=False)
class Prediction:
    """Hold what a model predicts, and what it would without each of its heads."""

    names: tuple[str, ...]  # (n,) the likeliest first
    p: np.ndarray  # (n,) their probabilities
    without: np.ndarray | None = None  # (L, H, n) with that head's output set to zero
    question: str = ""  # in words: 'next token after " the"'


@dataclass(frozen=True, eq=False)
class Record:
    """Hold one text and every look that a model took at it.

    Raises: ValueError if the arrays do not fit each other, hold what is no number, or a
    row of weights does not sum to 1.

    >>> even = np.full((1, 2, 3, 3), 1 / 3, dtype=np.float32)
    >>> Record(("the", "cat", "sat"), even).weights.shape
    (1, 2, 3, 3)
    """

    tokens: tuple[str, ...]  # (T,) as a reader would write them
    weights: np.ndarray  # (L, H, T, T) float32
    label: str = ""  # "step 120", or the text itself
    causal: bool = False  # no query looks ahead
    mask: np.ndarray | None = None  # (T, T) True where a query may look; None: all
    inner: dict[int, Inner] = field(default_factory=dict)  # by layer
    tags: tuple[Tag, ...] | None = None  # None: nobody looked for any
    scores: dict[str, np.ndarray] = field(default_factory=dict)  # name: (T,) signed
    agreement: dict[tuple[str, str], float] = field(default_factory=dict)  # Spearman's
    target: str = ""  # what the scores explain: 'logit of "positive"'
    prediction: Prediction | None = None

    def __post_init__(self):
        check_weights(self.weights, self.tokens)
        L, H, T, _ = self.weights.shape
        if self.mask is not None:
            _check_shape("the mask", self.mask, (T, T))
        for layer, inner in self.inner.items():
            if not 0 <= layer < L:
                raise ValueError(f"layers are from 0 to {L - 1}: got inner of {layer}")
            for name in ("q", "k", "v"):
                found = getattr(inner, name)
                _check_shape(f"{name} of layer {layer}", found, (H, T, found.shape[-1]))
            if inner.bias is not None:
                _check_shape(f"bias of layer {layer}", inner.bias, (H, T, T))
        for name, scores in self.scores.items():
            _check_shape(f"the scores {name!r}", scores, (T,))
        if self.prediction is not None:
            n = len(self.prediction.names)
            _check_shape("the probabilities", self.prediction.p, (n,))
            if self.prediction.without is not None:
                without = self.prediction.without
                _check_shape("what is left without a head", without, (L, H, n))

    def may_look(self) -> np.ndarray:
        """Return boolean (T, T), True where a query may look."""
        T = len(self.tokens)
        seen = np.ones((T, T), bool) if self.mask is None else self.mask  # (T, T)
        return np.tril(seen) if self.causal else seen  # (T, T)


@dataclass(frozen=True)
class Training:
    """Hold a loss curve, and the steps at which the model was looked at."""

    steps: tuple[int, ...]
    losses: tuple[float, ...]  # one a step
    frames_at: tuple[int, ...]  # of each record, its place in `steps`

    def __post_init__(self):
        if len(self.steps) != len(self.losses):
            raise ValueError(
                f"a curve has one loss for each step: got {len(self.steps)} steps and "
                f"{len(self.losses)} losses"
            )
        if wrong := [at for at in self.frames_at if not 0 <= at < len(self.steps)]:
            raise ValueError(
                f"frames stand at places of the curve, 0 to {len(self.steps) - 1}: "
                f"got {wrong[0]}"
            )


@dataclass(frozen=True)
class Question:
    """Ask where a head looks from a token, before it is shown."""

    layer: int
    head: int
    query: int  # the position that looks
    words: str  # 'Which token does head 3 look at from "sat"?'


def check_weights(weights: np.ndarray, tokens: tuple[str, ...]) -> None:
    """Refuse weights that are no attention of these tokens.

    Raises: ValueError that says what came and what was expected.
    """
    T = len(tokens)
    if not T:
        raise ValueError(
            "there is nothing to look at: the text is empty; give at least one token"
        )
    if weights.ndim != 4 or not weights.size:
        raise ValueError(
            f"weights are (layers, heads, T, T): got {weights.shape}; one head is "
            "weights[None, None], one layer weights[None]"
        )
    if weights.shape[2:] != (T, T):
        raise ValueError(
            f"weights over {T} tokens are (layers, heads, {T}, {T}): got "
            f"{weights.shape}; give one token for each row and column"
        )
    if not np.isfinite(weights).all():
        raise ValueError(
            "weights are numbers from 0 to 1: got NaN or infinity; look for a query "
            "that may look at nothing, or a model that has diverged"
        )
    sums = weights.sum(axis=-1)  # (L, H, T)
    shares = (weights >= 0).all(axis=-1) & (np.abs(sums - 1) <= OFF)  # (L, H, T)
    blind = (weights == 0).all(axis=-1)  # (L, H, T), a query that may look at nothing
    for layer, head, t in np.argwhere(~(shares | blind))[:1]:
        raise ValueError(
            f"each row of weights shares out 1: row {t} of layer {layer}, head {head} "
            f"sums to {sums[layer, head, t]:.3g} and its least is "
            f"{weights[layer, head, t].min():.3g}; give what comes out of the softmax"
        )


def _check_shape(what: str, found: np.ndarray, wanted: tuple[int, ...]) -> None:
    if found.shape != wanted:
        raise ValueError(f"{what} should be {wanted}: got {found.shape}")
