"""What lesson 04 is expected to measure."""

import math

from llmkit.exercises import Band

# What needs no training, or hardly hangs on the size of the text.
_ALWAYS = {
    "documents_left": Band(
        0.7,
        0.83,
        "a filter takes too much: read its examples",
        "a filter takes nothing: were all steps run?",
    ),
    "sound_thrown_away": Band(
        0.01, 0.12, "filters that never err: are they on?", "filters that err too much"
    ),
    "bits_gained_on_fresh": Band(
        -0.05, 0.2, "a leak did it harm", "the fresh text leaked too"
    ),
    "emoji_tokens": Band(
        22, 22, "the tokenizer has read emoji", "a byte became several tokens"
    ),
    "tokens_a_character_chinese": Band(
        2.4, 3.0, "the tokenizer has read Chinese", "more tokens than bytes"
    ),
    "chinese_after_reading": Band(
        1.2, 2.7, "it read far more Chinese than planned", "it read no Chinese"
    ),
    "wasted_packed": Band(0.0, 0.02, "a share has no sign", "packing left holes"),
    "neighbour_moves": Band(
        1e-5, math.inf, "documents were kept apart without being told"
    ),
    "neighbour_moves_told": Band(
        0.0, 0.0, "a difference has no sign", "a document looks at its neighbour"
    ),
    "masked_share": Band(
        0.13, 0.17, "fewer are chosen than 15%", "more are chosen than 15%"
    ),
}
_LEAK = "too few copies: was the mess planted?"
_LEAKS = "too many: were copies removed before the split?"
_LEARNT_BY_HEART = "the table does not learn by heart: count longer histories"
_TOO_SURE = "no leak buys that much: is a probability above 1?"
_SHORT = "a larger vocabulary than planned?"
_LONG = "too few merges: was the text too short?"
_COPIED = "it did not learn to copy: were the labels right already?"
_TOO_GOOD = "too good: do the labels show the model its answer?"
_NOT_LEARNT = "it did not learn: other steps, or another rate?"


def _sized(
    minhash: float,
    careless: tuple[float, float],
    careful: float,
    bought: tuple[float, float],
    english: tuple[float, float],
    characters: tuple[float, float],
    padding: tuple[float, float],
    copying: float,
    next_token: tuple[float, float],
) -> dict[str, Band]:
    """Make the bands that hang on how much was read, and for how long."""
    return _ALWAYS | {
        "minhash_error": Band(
            0.0, minhash, "an error has no sign", "agreement is not Jaccard"
        ),
        "leak_careless": Band(*careless, _LEAK, "a mess worse than planned"),
        "leak_careful": Band(0.0, careful, "a share has no sign", _LEAKS),
        "bits_bought_by_leak": Band(*bought, _LEARNT_BY_HEART, _TOO_SURE),
        "tokens_a_character_english": Band(*english, _SHORT, _LONG),
        "characters_a_token": Band(*characters, _LONG, _SHORT),
        "padding_to_128": Band(*padding, _LONG, _SHORT),
        "loss_copying": Band(0.0, copying, "a loss has no sign", _COPIED),
        "loss_next_token": Band(*next_token, _TOO_GOOD, _NOT_LEARNT),
    }


BANDS = {
    "smoke": _sized(
        minhash=0.05,
        careless=(0.02, 0.3),
        careful=0.2,
        bought=(1.2, 4.0),
        english=(0.32, 0.5),
        characters=(2.2, 3.6),
        padding=(0.4, 0.6),
        copying=4.0,
        next_token=(4.0, 6.5),
    ),
    "cpu": _sized(
        minhash=0.02,
        careless=(0.1, 0.28),
        careful=0.15,
        bought=(1.2, 2.6),
        english=(0.27, 0.42),
        characters=(3.3, 4.2),
        padding=(0.5, 0.62),
        copying=0.1,
        next_token=(3.0, 4.8),
    ),
    # A guess: nobody has run it there yet.
    "gpu": _sized(
        minhash=0.02,
        careless=(0.1, 0.35),
        careful=0.2,
        bought=(0.8, 2.8),
        english=(0.22, 0.4),
        characters=(3.6, 4.8),
        padding=(0.52, 0.7),
        copying=0.1,
        next_token=(0.1, 2.5),
    ),
}
