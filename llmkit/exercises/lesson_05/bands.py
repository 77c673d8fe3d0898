"""What lesson 05 is expected to measure."""

import math

from llmkit.exercises import Band

_NO_SIGN = "a difference has no sign"
_ROUNDING = "the two losses do not ask for the same places"
_CLOCK = "a time has no sign"
_HEAD = "the head was made for every place: was `asked` given?"
_TOO_GOOD = "too good: do the blanks stand in the training text, or is the mask off?"
_LEARNT_LITTLE = (
    "it learnt too little: was the training interrupted, or a rate changed?"
)
_BELOW = "nobody can beat the exact odds: few blanks and luck, or a leak"
_SHARE = "a share is at most 1"
_NAMES = "names are easier than they can be: did a neighbouring story give them away?"
_NO_NAMES = "it does not find the names yet: more steps"
_NO_HEAD = "no head is missed: has any of them learnt to fetch names?"
_MENDS = "it does not proofread: were words swapped while it trained?"
_PLAIN = "it names plain words although it was never asked to: was it?"
_REAL_GOOD = "too good: does the validation text stand in the training text?"
_REAL_BAD = "no better than frequencies: is there enough text, and enough steps?"
_PROBE = "a little pretraining did harm: is the probe fed the trained model?"
_PROBE_HIGH = "more than a minute of manuals can give: are labels among the features?"
_SLOW = "something else uses this machine: close other notebooks, see `llmkit doctor`"


def _bands(
    ratio, accuracy, gap, minus, lost, mended, plain, real, probe, seconds
) -> dict[str, Band]:
    return {
        "gradient difference": Band(0.0, 1e-5, _NO_SIGN, _ROUNDING),
        "time for asked places": Band(0.0, 0.7, _CLOCK, _HEAD),
        "loss / neighbours": Band(*ratio, _TOO_GOOD, _LEARNT_LITTLE),
        "accuracy": Band(*accuracy, _LEARNT_LITTLE, _TOO_GOOD),
        "gap to the exact odds": Band(*gap, _BELOW, _LEARNT_LITTLE),
        "function words minus names": Band(*minus, _NAMES, _NO_NAMES),
        "tools lost by one head": Band(*lost, _NO_HEAD, _SHARE),
        "swapped words mended": Band(*mended, _MENDS, _SHARE),
        "plain words, masks only": Band(0.0, plain, _SHARE, _PLAIN),
        "real loss / unigram": Band(*real, _REAL_GOOD, _REAL_BAD),
        "probe: gain of pretraining": Band(*probe, _PROBE, _PROBE_HIGH),
        "seconds": Band(-math.inf, seconds, why_high=_SLOW),
    }


# Measured for smoke and cpu, with room for other seeds; a guess for gpu.
BANDS = {
    "smoke": _bands(
        ratio=(1.5, 4),
        accuracy=(0.03, 0.3),
        gap=(1, 8),
        minus=(-0.2, 0.9),
        lost=(-0.2, 1),
        mended=(0, 0.4),
        plain=0.3,
        real=(0.9, 1.25),
        probe=(-0.2, 0.2),
        seconds=240,
    ),
    "cpu": _bands(
        ratio=(0.5, 0.8),
        accuracy=(0.53, 0.75),
        gap=(0.1, 1.1),
        minus=(0.3, 1),
        lost=(0.1, 1),
        mended=(0.15, 0.8),
        plain=0.3,
        real=(0.5, 0.8),
        probe=(-0.1, 0.15),
        seconds=1500,
    ),
    "gpu": _bands(
        ratio=(0.4, 0.7),
        accuracy=(0.58, 0.85),
        gap=(-0.1, 0.8),
        minus=(-0.1, 1),
        lost=(0.05, 1),
        mended=(0.3, 1),
        plain=0.5,
        real=(0.3, 0.75),
        probe=(-0.1, 0.25),
        seconds=1500,
    ),
}
