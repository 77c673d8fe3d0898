"""How to fine-tune: for how long, how fast, and with which cures. Lesson 07."""

from dataclasses import dataclass

# What each number may be: (least, most), the least itself allowed if "from".
_RANGES = {
    "epochs": ("at least 1", lambda x: x >= 1),
    "batch_size": ("at least 1", lambda x: x >= 1),
    "learning_rate": ("above 0", lambda x: x > 0),
    "head_rate": ("above 0", lambda x: x > 0),
    "layer_decay": ("above 0 and at most 1", lambda x: 0 < x <= 1),
    "warmup": ("a share, from 0 to 1", lambda x: 0 <= x <= 1),
    "weight_decay": ("0 or more", lambda x: x >= 0),
    "dropout": ("a share, from 0 to below 1", lambda x: 0 <= x < 1),
    "smoothing": ("a share, from 0 to below 1", lambda x: 0 <= x < 1),
    "word_dropout": ("a share, from 0 to below 1", lambda x: 0 <= x < 1),
    "freeze": ("0 or more", lambda x: x >= 0),
    "adversarial": ("0 or more", lambda x: x >= 0),
    "average": ("at least 1", lambda x: x >= 1),
    "patience": ("0 or more", lambda x: x >= 0),
    "evaluate_every": ("0 or more", lambda x: x >= 0),
    "seed": ("from 0 to 2**32 - 1", lambda x: 0 <= x < 2**32),
}


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How a classifier is trained.

    Raises: ValueError if a number is out of its range.

    >>> Recipe(epochs=1, dropout=0.1).learning_rate > 0
    True
    """

    epochs: int = 3  # how often each text is seen
    batch_size: int = 48  # texts a step
    learning_rate: float = 5e-4  # peak, for the topmost block
    head_rate: float = 3e-3  # peak, for the new head
    layer_decay: float = 0.8  # each layer learns this much slower than the one above
    warmup: float = 0.1  # share of training in which the rate climbs; then it falls
    weight_decay: float = 0.01  # pull of matrices towards zero
    dropout: float = 0.0  # share of numbers that are blanked while training
    smoothing: float = 0.0  # share of a label that is given to all classes
    freeze: int = 1  # layers that stay as they are: 1 the embeddings, 2 a block too …
    word_dropout: float = 0.0  # share of tokens that are hidden while training
    adversarial: float = 0.0  # push of embeddings, of their length: 0.02, not 0.1
    balance: bool = False  # count rare classes for more, so that all count alike
    average: int = 1  # seeds whose weights are averaged
    patience: int = 0  # evaluations without a gain before it stops; 0: never
    evaluate_every: int = 0  # steps between evaluations; 0: after each epoch
    seed: int = 0  # order of the texts, the new head, dropout

    def __post_init__(self):
        for name, (wanted, fits) in _RANGES.items():
            if not fits(value := getattr(self, name)):
                flag = name.replace("_", "-")
                raise ValueError(f"--{flag} must be {wanted}: got {value}")
