"""What lesson 08 is expected to measure."""

import math

from llmkit.exercises import Band

_NONE = "a difference has no sign here"
_ROUNDING = "more than rounding: did both take the same flags, and the same text?"
_WHOLE = "more than rounding: were the sums divided by the labels of the whole batch?"
_HARMLESS = "the bug did no harm: do the pieces really differ in their labels?"
_WILD = "the gradient is lost altogether: were the weights of a trained model used?"
_LOST = "nothing was lost: are these gradients in float16?"
_ALL_LOST = "nearly all is lost: was the loss divided twice?"
_KILLED = "not bit for bit: did the run go on from its checkpoint, with its own flags?"
_SHORT = "the run took far longer than planned: what else ran on this machine?"
_LONG = "the run was far shorter than planned: did something slow down the probe?"
_SLOW = "something else uses this machine: close other notebooks, see `llmkit doctor`"


def _bands(bug, lost, plan, seconds) -> dict[str, Band]:
    return {
        "pieces minus whole": Band(0.0, 1e-5, _NONE, _WHOLE),
        "mean of means, error": Band(*bug, _HARMLESS, _WILD),
        "lost in float16": Band(*lost, _LOST, _ALL_LOST),
        "lost with a loss scale": Band(0.0, 0.01, _NONE, _ALL_LOST),
        "two shares minus one": Band(0.0, 1e-5, _NONE, _ROUNDING),
        "resumed minus uninterrupted": Band(0.0, 0.0, _NONE, _KILLED),
        "error of the plan": Band(*plan, _SHORT, _LONG),
        "seconds": Band(-math.inf, seconds, why_high=_SLOW),
    }


BANDS = {
    "smoke": _bands((0.02, 5.0), (0.0, 0.99), (-0.95, 9.0), 240),
    "cpu": _bands((0.05, 3.0), (0.05, 0.95), (-0.6, 1.5), 1500),
    "gpu": _bands((0.05, 3.0), (0.05, 0.95), (-0.8, 4.0), 1500),
}
