"""Exercises and quiz of lesson 03, The Transformer: one block, three machines."""

from llmkit.exercises import Choice, Question
from llmkit.exercises.lesson_03.bands import BANDS
from llmkit.exercises.lesson_03.fused import FUSED_HEADS
from llmkit.exercises.lesson_03.one_block import TINY_GPT, Parts
from llmkit.exercises.lesson_03.size import SIZE
from llmkit.exercises.lesson_03.tying import TYING
from llmkit.exercises.lesson_03.wiring import (
    WIRING,
    mystery,
    stream_norms,
    the_fault,
)

__all__ = [
    "BANDS",
    "EXERCISES",
    "QUIZ",
    "Parts",
    "mystery",
    "stream_norms",
    "the_fault",
]

EXERCISES = (FUSED_HEADS, TINY_GPT, WIRING, SIZE, TYING)

QUIZ = (
    Question(
        "Why is a deep stack of pre-norm blocks easier to train than a post-norm one?",
        (
            Choice(
                "Its norms have fewer parameters, so there is less to learn.",
                "the norms are the same ones; they only stand somewhere else.",
            ),
            Choice(
                "Its sum runs untouched from the embedding to the head.",
                "on the way back the gradient walks along that sum to every block; "
                "after the sum, each norm rescales it, and scales multiply with depth.",
                right=True,
            ),
            Choice(
                "It needs no residual, since each norm keeps the numbers at one size.",
                "without the residual no gradient gets far, whatever the norm does.",
            ),
            Choice(
                "Its stream keeps the same size at every depth.",
                "that is post-norm. A pre-norm stream grows, since every block adds.",
            ),
        ),
    ),
    Question(
        "Label each word of a sentence; continue a text; translate. Which machines?",
        (
            Choice(
                "Encoder; decoder; both, where the encoder's queries look at the "
                "decoder's keys and values.",
                "the other way round: the decoder asks, with what it has written so "
                "far, and the encoder's states answer.",
            ),
            Choice(
                "Encoder; decoder; both, where the decoder's queries look at the "
                "encoder's keys and values.",
                "a label may depend on words to come, a continuation must not, and a "
                "translation asks the source at each word that it writes.",
                right=True,
            ),
            Choice(
                "Decoder; encoder; both, where queries, keys and values all come from "
                "the encoder.",
                "a decoder would label each word before it has read the next, an "
                "encoder would see what it is to continue, and a look of the encoder "
                "at itself tells the decoder nothing.",
            ),
        ),
    ),
    Question(
        "A block has 12·D² weights, biases and norms left out. Where do 4 and 8 come "
        "from?",
        (
            Choice(
                "Attention has 4 heads, and the MLP is 8 times as wide.",
                "heads share D among them, so their number adds no weights; and the "
                "MLP is 4 times as wide.",
            ),
            Choice(
                "Queries, keys and values of 4 heads, and one matrix of the MLP.",
                "attention has a fourth matrix, which joins the heads, and an MLP has "
                "two, on the way up and on the way down.",
            ),
            Choice(
                "4 maps of D × D in attention, and 2 of D × 4D in the MLP.",
                "queries, keys, values, output; up and down. It is all D², so twice "
                "the width is four times the weights.",
                right=True,
            ),
        ),
    ),
)
