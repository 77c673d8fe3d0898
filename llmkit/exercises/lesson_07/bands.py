"""What lesson 07 is expected to measure."""

import math

from llmkit.exercises import Band

_LEARNT_LITTLE = "it learnt too little: was training interrupted, or a rate changed?"
_TOO_GOOD = "too good: do test texts stand in the training texts?"
_WORDS = "words alone did better: did fine-tuning go astray? Try another seed"
_SLOWER = "hardly faster: was something else running while one of the two was timed?"
_FASTER = "no batch is that much faster: was something else running meanwhile?"
_NO_TIME = "a time is above zero"
_FILLED = "buckets took as long as 128 places: look at the shapes of their batches"
_STILL = "the last position did not move: was the row filled up at all?"
_MOVED = "the difference is longer than both states: were two texts compared?"
_FEWER = "more examples did harm: do they have their own labels?"
_MANY = "so few examples can't make such a difference: is each size trained alike?"
_NEVER_UP = "it did not overfit: read them more often"
_FAR_UP = "so sure, and so wrong? Are the labels of validation right?"
_NO_LEAK = "the leak did not pay: was her model asked?"
_LEAK = "the gain is more than there is to gain"
_RANKS = "a rank correlation goes from -1 to 1"
_ALIKE = "attention ranks words as leaving out does: are both the same scores?"
_SLOW = "something else uses this machine: close other notebooks, see `llmkit doctor`"


def _bands(
    accuracy, words, faster, buckets, moves, examples, up, leak, agreed, seconds
) -> dict[str, Band]:
    return {
        "accuracy": Band(*accuracy, _LEARNT_LITTLE, _TOO_GOOD),
        "BERT minus words": Band(*words, _WORDS, _TOO_GOOD),
        "times as fast as the usual loop": Band(*faster, _SLOWER, _FASTER),
        "time with buckets": Band(0.0, buckets, _NO_TIME, _FILLED),
        "last position moves": Band(*moves, _STILL, _MOVED),
        "gain of more examples": Band(*examples, _FEWER, _MANY),
        "validation loss turned up": Band(*up, _NEVER_UP, _FAR_UP),
        "leaked minus honest": Band(*leak, _NO_LEAK, _LEAK),
        "attention and leaving out": Band(*agreed, _RANKS, _ALIKE),
        "seconds": Band(-math.inf, seconds, why_high=_SLOW),
    }


# Measured for smoke and cpu, with room for other seeds; a guess for gpu.
BANDS = {
    "smoke": _bands(
        accuracy=(0.15, 0.9),
        words=(-0.35, 0.35),
        faster=(0.7, 60),
        buckets=1.1,
        moves=(0.01, 2),
        examples=(-0.35, 0.35),
        up=(0, 2),
        leak=(-0.05, 0.6),
        agreed=(-1, 0.8),
        seconds=240,
    ),
    "cpu": _bands(
        accuracy=(0.74, 0.92),
        words=(0.02, 0.25),
        faster=(1.5, 60),
        buckets=0.85,
        moves=(0.01, 2),
        examples=(0.08, 0.4),
        up=(0.1, 4),
        leak=(0.05, 0.6),
        agreed=(-0.3, 0.75),
        seconds=1500,
    ),
    "gpu": _bands(
        accuracy=(0.66, 0.9),
        words=(0, 0.3),
        faster=(0.5, 200),
        buckets=1.2,
        moves=(0.01, 2),
        examples=(0.03, 0.4),
        up=(0.1, 5),
        leak=(0.05, 0.6),
        agreed=(-0.3, 0.7),
        seconds=1500,
    ),
}
