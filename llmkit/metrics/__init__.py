"""Scores from what a model says and what is true.

Of tokens, as sums and counts that add up exactly (`tokens`); of examples in classes
(`classes`); and how far a score may be off (`intervals`).
"""

from llmkit.metrics.classes import (
    Calibration,
    accuracy,
    calibration_error,
    confusion,
    macro_f1,
    mean_f1,
)
from llmkit.metrics.intervals import (
    Interval,
    bootstrap_counts,
    bootstrap_difference,
    bootstrap_interval,
    wilson_interval,
)
from llmkit.metrics.tokens import (
    IGNORE,
    bits_per_byte,
    perplexity,
    token_accuracy,
    token_loss,
)

__all__ = [
    "IGNORE",
    "Calibration",
    "Interval",
    "accuracy",
    "bits_per_byte",
    "bootstrap_counts",
    "bootstrap_difference",
    "bootstrap_interval",
    "calibration_error",
    "confusion",
    "macro_f1",
    "mean_f1",
    "perplexity",
    "token_accuracy",
    "token_loss",
    "wilson_interval",
]
