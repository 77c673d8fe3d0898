"""What lesson 03 is expected to measure."""

import math

from llmkit.exercises import Band

_NO_SIGN = "a difference has no sign"

# Sums of 32-bit numbers in another order differ in the seventh digit.
SAME = Band(0.0, 1e-5, _NO_SIGN, "two rungs of the ladder do not compute the same")
# Twelve layers of such sums differ a little more.
AS_LOADED = Band(
    0.0,
    1e-4,
    _NO_SIGN,
    "a weight went astray, or the norm's epsilon or the gelu is another one",
)

_GONE = "the gradient arrives after all: was the residual still there?"
_ARRIVES = "the gradient gets lost on the way: is the norm before each part?"
_GAIN = "the whole block learnt no more than attention alone: equally many steps?"
_DATES = "dates it has not seen go wrong: more steps, or another seed?"
_SHARE = "a share is at most 1: divide by the number of dates"
_SLOW = "something else uses this machine: close other notebooks, see `llmkit doctor`"


def _bands(lost, kept, gain, dates, seconds) -> dict[str, Band]:
    return {
        "fused difference": SAME,
        "bert difference": AS_LOADED,
        "gpt2 difference": AS_LOADED,
        "gradient kept without residual": Band(
            0.0, lost, why_low="a norm is never negative", why_high=_GONE
        ),
        "gradient kept pre-norm": Band(kept, math.inf, why_low=_ARRIVES),
        "gain of the ladder": Band(gain, math.inf, why_low=_GAIN),
        "dates exact": Band(dates, 1.0, why_low=_DATES, why_high=_SHARE),
        "seconds": Band(-math.inf, seconds, why_high=_SLOW),
    }


BANDS = {
    "smoke": _bands(lost=1e-3, kept=0.5, gain=0.3, dates=0.0, seconds=240),
    "cpu": _bands(lost=1e-3, kept=0.5, gain=1.5, dates=0.97, seconds=900),
    "gpu": _bands(lost=1e-3, kept=0.5, gain=1.5, dates=0.97, seconds=900),
}
