"""How far training is, and how fast to learn there. Lesson 06."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal


@dataclass(frozen=True)
class TrainingConfig:
    """How to train: for how long, with what, and what to keep.

    Training ends with the first of `steps` and `seconds` that is reached; the learning
    rate knows the end and comes down towards it.

    Raises: ValueError if a number is out of range, or there is no end.

    >>> TrainingConfig(steps=100).warmup
    0.02
    """

    steps: int = 0  # updates of the weights; 0 means no limit
    seconds: float = 0.0  # seconds of training, evaluation not counted; 0: no limit
    target_loss: float = 0.0  # stop once the validation loss is this low
    optimizer: Literal["adamw", "muon"] = "adamw"  # what turns gradients into steps
    learning_rate: float = 1e-3  # peak, for AdamW
    muon_rate: float = 0.04  # peak, for the matrices that Muon moves
    momentum: float = 0.95  # Muon's memory of gradients; shorter for short runs
    head_rate: float = 0.0  # peak, for the head; 0 means learning_rate
    betas: tuple[float, float] = (0.9, 0.95)  # AdamW's memory of gradients, squares
    weight_decay: float = 0.0  # pull of matrices towards zero
    warmup: float = 0.02  # share of training in which the rate climbs
    decay: float = 0.6  # share of training, the last, in which it falls to zero
    clip: float = 1.0  # longest gradient; 0 means any
    accumulation: int = 1  # pieces that a batch is computed in, to save memory
    evaluate_every: int = 0  # steps between evaluations; 0: only after the last
    precision: Literal["auto", "fp32", "bf16"] = "auto"  # auto: the device's best
    compile: bool = False  # let torch.compile fuse the model: pays on a GPU, later
    seed: int = 0  # dropout, and nothing else: data and weights have their own
    out: Path | None = field(default=None)  # folder for checkpoints; None keeps none
    save_every: float = 60.0  # seconds between checkpoints
    keep: int = 2  # checkpoints to keep

    def __post_init__(self):
        if self.steps < 0 or self.seconds < 0 or not (self.steps or self.seconds):
            raise ValueError(
                f"training needs an end: got steps {self.steps} and seconds "
                f"{self.seconds}; set one of them above 0"
            )
        for name in ("warmup", "decay"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(
                    f"{name} is a share of training, from 0 to 1: got "
                    f"{getattr(self, name)}"
                )
        for name, known in (
            ("optimizer", ("adamw", "muon")),
            ("precision", ("auto", "fp32", "bf16")),
        ):
            if getattr(self, name) not in known:
                raise ValueError(
                    f"unknown {name} {getattr(self, name)!r}; "
                    f"choose one of {', '.join(known)}"
                )
        for name in ("accumulation", "keep"):
            if getattr(self, name) < 1:
                raise ValueError(
                    f"{name} must be at least 1: got {getattr(self, name)}"
                )
        if not 0 <= self.momentum < 1:
            raise ValueError(
                f"momentum is a share, from 0 to below 1: got {self.momentum}"
            )
        if self.learning_rate <= 0 or self.muon_rate <= 0:
            raise ValueError(
                f"learning rates must be above 0: got learning_rate "
                f"{self.learning_rate} and muon_rate {self.muon_rate}"
            )


def progress(config: TrainingConfig, step: int, seconds: float) -> float:
    """Return the share of training that is done, by steps or by the clock.

    >>> progress(TrainingConfig(steps=200), step=50, seconds=9.0)
    0.25
    """
    by_step = step / config.steps if config.steps else 0.0
    by_clock = seconds / config.seconds if config.seconds else 0.0
    return min(max(by_step, by_clock), 1.0)


def rate(config: TrainingConfig, done: float) -> float:
    """Return the share of the peak learning rate: climb, hold, fall to zero.

    Source: the trapezoid of Hägele et al. 2024; Lesson 06.

    >>> config = TrainingConfig(steps=100, warmup=0.1, decay=0.5)
    >>> [rate(config, done) for done in (0.05, 0.3, 0.75, 1.0)]
    [0.5, 1.0, 0.5, 0.0]
    """
    climb = done / config.warmup if config.warmup else 1.0
    fall = (1 - done) / config.decay if config.decay else 1.0
    return max(min(climb, 1.0, fall), 0.0)
