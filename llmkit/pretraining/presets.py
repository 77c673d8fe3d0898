"""Models and recipes that have a name."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Preset:
    """A model's shape and how to train it, without the text."""

    about: str  # for whom
    model: dict  # of `ModelConfig`, but for the vocabulary
    training: dict  # of `TrainingConfig`
    batch_size: int  # rows a step
    share: float = 0.15  # of tokens that training hides, for masked prediction


# What each choice of `tiny` and `plain` gained stands in benchmarks/RESULTS.md. `small`
# is made after them and has not been measured.
_FAST = dict(positions="rotary", activation="relu2", bias=False, tied=False, quiet=True)
_SHARP = dict(qk_norm=True, **_FAST)  # attention can be sharp from the first step
_QUICK = dict(optimizer="muon", muon_rate=0.03, learning_rate=0.02, decay=0.8, clip=0.0)
_SMALL = dict(context=256, n_layers=6, n_heads=6, d_model=384, **_FAST)
_LONGER = dict(optimizer="muon", muon_rate=0.02, learning_rate=0.003, clip=1.0)
_ONE = dict(d_ff=256, look_back=3)  # one thin layer, told of the last three tokens
PRESETS = {  # for next-token prediction
    "tiny": Preset(
        "0.2 million weights that are told of the last three tokens: the fastest",
        dict(context=64, n_layers=1, n_heads=4, d_model=128, **_ONE, **_SHARP),
        dict(steps=240, momentum=0.9, evaluate_every=30, **_QUICK),
        batch_size=16,
    ),
    "plain": Preset(
        "0.4 million weights, seconds on a laptop, and nothing beside attention",
        dict(context=64, n_layers=2, n_heads=4, d_model=128, **_SHARP),
        dict(steps=240, momentum=0.85, evaluate_every=40, **_QUICK),
        batch_size=16,
    ),
    "small": Preset(
        "10 million weights, minutes on a GPU",
        _SMALL,
        dict(steps=2000, evaluate_every=200, **_LONGER),
        batch_size=64,
    ),
}
MASKED_PRESETS = {  # for masked prediction, which looks at both sides anyway
    "tiny": Preset(
        "1 million weights, minutes on a laptop",
        dict(context=128, n_layers=3, n_heads=4, d_model=128, **_SHARP),
        dict(steps=800, momentum=0.9, evaluate_every=50, **_QUICK),
        batch_size=16,
        share=0.3,
    ),
    "small": Preset(
        "11 million weights, minutes on a GPU",
        _SMALL,
        dict(steps=4000, evaluate_every=400, **_LONGER),
        batch_size=64,
    ),
}
