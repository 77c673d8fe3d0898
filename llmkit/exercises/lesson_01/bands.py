"""What lesson 01 is expected to measure."""

import math

from llmkit.exercises import Band

# Sums of 32-bit numbers in another order differ in the seventh digit.
SAME = Band(0.0, 1e-5, "a difference has no sign", "the two do not compute the same")

_EXPECTED = {
    "sdpa_difference": SAME,
    "heads_difference": SAME,
    "entropy_kept_with_scale": Band(
        0.9,
        1.1,
        "the scores still grow with d: is the scale 1 / √d?",
        "the scores shrink with d: was the scale 1 / d?",
    ),
    "entropy_kept_without_scale": Band(
        0.0, 0.3, "entropy is never negative", "the scores were scaled after all"
    ),
    "leak_masked_before": Band(
        0.0, 0.0, "a change has no sign", "some row looks ahead: the mask is off"
    ),
    "leak_masked_after": Band(
        1e-3, math.inf, "the mask came before the softmax after all"
    ),
    "error_of_one_head": Band(
        0.375,
        0.6,
        "below what can be proved: the task is not the one described",
        "it did not learn to average: more steps, or another seed",
    ),
    "error_of_two_heads": Band(
        0.0, 0.02, "a squared error is not negative", "more steps, or another seed"
    ),
    "memory_growth_attend": Band(
        3.5,
        4.1,
        "the weights were not kept: did a faster road run in place of attend?",
        "more than T² was kept",
    ),
    "memory_growth_sdpa": Band(
        1.9,
        2.1,
        "less than q, k and v was kept",
        "torch took its slow road here, which holds all the weights",
    ),
}

# Only lengths and numbers of tries differ, so that the bands are the same.
BANDS = {"smoke": _EXPECTED, "cpu": _EXPECTED, "gpu": _EXPECTED}
