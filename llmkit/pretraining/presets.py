"""Models and recipes that have a name."""

from dataclasses import asdict, dataclass

from llmkit.planning import named_config, optimal_tokens
from llmkit.transformer import ModelConfig


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
# Rates of the optimizer that is not a preset's own. Of 0.002, 0.004 and 0.008 AdamW
# learns `plain` best at the first and `tiny` well; both stay far behind Muon.
OTHERWISE = {
    "adamw": dict(learning_rate=0.002, clip=1.0),
    "muon": dict(muon_rate=0.02, clip=1.0),
}
_ONE = dict(d_ff=256, look_back=3)  # one thin layer, told of the last three tokens
_BATCH = 512  # rows of 1,024: the half million tokens of GPT-3's smaller models


def _fields(config: ModelConfig) -> dict:
    """Return a shape's fields but for the vocabulary, which is the tokenizer's."""
    fields = asdict(config)
    del fields["vocab_size"]
    return fields


def _large(parameters: float, rate: float, pieces: int) -> dict:
    """Return a recipe of Brown et al. 2020, table 2.1, for as many tokens as suit.

    pieces: of a batch, so that one fits the memory of a large GPU.
    """
    steps = round(optimal_tokens(parameters) / (_BATCH * 1024))
    how = dict(learning_rate=rate, weight_decay=0.1, betas=(0.9, 0.95), clip=1.0)
    return dict(steps=steps, accumulation=pieces, **how)


# Learning rates are those of GPT-3's models of about the same size. None of these five
# has been trained here: `llmkit plan --preset NAME` says what that takes.
_NAMED = {
    "gpt2-124m": _large(124e6, 6e-4, pieces=32),
    "gpt2-355m": _large(355e6, 3e-4, pieces=32),
    "gpt2-774m": _large(774e6, 2.5e-4, pieces=64),
    "gpt2-1.5b": _large(1558e6, 2e-4, pieces=64),
}
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
    "modern": Preset(
        "as large as GPT-2, built as models are today: where shapes of your own begin",
        _fields(ModelConfig.preset("modern")),
        _NAMED["gpt2-124m"],
        batch_size=_BATCH,
    ),
} | {
    name: Preset("GPT-2, for large GPUs", _fields(named_config(name)), how, _BATCH)
    for name, how in _NAMED.items()
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
    "bert-110m": Preset(
        "BERT-base, for large GPUs",
        _fields(named_config("bert-110m")),
        # Devlin et al. 2019, appendix A.2
        dict(steps=1_000_000, accumulation=8, warmup=0.01, decay=0.99)
        | dict(learning_rate=1e-4, weight_decay=0.01, betas=(0.9, 0.999)),
        batch_size=256,
    ),
}
