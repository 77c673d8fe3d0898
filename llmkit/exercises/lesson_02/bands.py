"""What lesson 02 is expected to measure."""

import math

from llmkit.exercises import Band

# What needs no training is the same in every profile.
_PROVED = {
    "bag_moves": Band(
        0.0, 1e-5, "a difference has no sign", "the layer saw order: has it a mask?"
    ),
    "spread_along_stripe": Band(
        0.0,
        1e-4,
        "a spread has no sign",
        "rows do not see the distance alone: does a sine miss its cosine?",
    ),
    "collisions_sum_to_dial": Band(
        2.0, 5.0, "the sum kept two numbers after all", "the dial lost one of its two"
    ),
    "missed_by_dials": Band(
        0.0, 1e-5, "a share has no sign", "these are no dials: is sin² + cos² = 1?"
    ),
    "missed_by_sums": Band(
        0.2,
        0.6,
        "the sums moved like dials: are they sums?",
        "least squares did not find its minimum",
    ),
    "rows_without_gradient": Band(
        192, 192, "a text of 64 reached further rows", "fewer than 64 rows were used"
    ),
    "rotary_shift_difference": Band(
        0.0, 1e-4, "a difference has no sign", "query and key turn by different rules"
    ),
}

# Fifty steps: nobody has learnt much, and nobody can forget it.
_SMOKE = {
    "loss_rotary_64": Band(
        1.9, 2.8, "it learnt faster than it can", "it did not learn: loss ln V is 4"
    ),
    "loss_none_minus_rotary": Band(
        -0.1, 0.5, "rotary positions did harm", "none was broken, not only blind"
    ),
    "rise_learned": Band(-0.3, 1.0, "the text is easier at its end?", "a broken table"),
    "rise_rotary": Band(-0.3, 1.0, "the text is easier at its end?", "broken turns"),
    "rise_alibi": Band(-0.3, 0.3, "the text is easier at its end?", "a broken slope"),
    "far_past_alibi": Band(-0.1, 0.1, "it used the far past", "the far past harmed"),
    "far_past_trained_long": Band(
        -0.1, 0.2, "it learnt faster than it can", "what it was trained for harmed it"
    ),
}
_TRAINED = {
    "loss_rotary_64": Band(
        0.6,
        1.1,
        "the text is not the stories, or it was trained for longer",
        "it did not learn: other steps, another rate, or broken turns",
    ),
    "loss_none_minus_rotary": Band(
        0.4,
        1.3,
        "the mask leaked more than expected, or rotary positions did no good",
        "the model without positions hardly learnt",
    ),
    "rise_learned": Band(
        1.0,
        math.inf,
        "rows past 64 were trained: was its window longer?",
    ),
    "rise_rotary": Band(
        1.0, math.inf, "distances past 64 were trained: was its window longer?"
    ),
    "rise_alibi": Band(
        -0.2,
        0.4,
        "the end of a row was easier by chance: judge more rows",
        "the slopes were not there",
    ),
    "far_past_alibi": Band(
        -0.01,
        0.25,
        "it gains from what it never trained on: worth a closer look",
        "a long text did it harm: are the slopes right?",
    ),
    "far_past_trained_long": Band(
        -0.2,
        0.0,
        "too good: did it see the answer?",
        "it has not learnt to use the far past yet: more steps",
    ),
}

# Four times the steps: the same picture, drawn more sharply.
_LONGER = _TRAINED | {
    "loss_rotary_64": Band(
        0.35, 0.8, "the text is not the stories", "it did not learn: broken turns?"
    ),
    "far_past_trained_long": Band(
        -0.2, 0.01, "too good: did it see the answer?", "the far past did it harm"
    ),
}

BANDS = {
    "smoke": _PROVED | _SMOKE,
    "cpu": _PROVED | _TRAINED,
    "gpu": _PROVED | _LONGER,
}
