"""The Transformer: one block, stacked, between an embedding and a head. Lesson 03.

`Block` is attention followed by a small network, each added to what came in. Three
machines are made of it: an `Encoder` reads both ways (BERT), a `Decoder` guesses the
next token (GPT), a `Seq2Seq` reads one sequence and writes another. All three take the
weights of Hugging Face's models, and give them back.
"""

from llmkit.transformer.block import Block, SquaredReLU, make_norm
from llmkit.transformer.config import PRESETS, ModelConfig
from llmkit.transformer.models import (
    Decoder,
    Encoder,
    MaskedLM,
    Seq2Seq,
    mean_pool,
)
from llmkit.transformer.saving import load_model, save_model
from llmkit.transformer.stack import Memory

__all__ = [
    "PRESETS",
    "Block",
    "Decoder",
    "Encoder",
    "MaskedLM",
    "Memory",
    "ModelConfig",
    "Seq2Seq",
    "SquaredReLU",
    "load_model",
    "make_norm",
    "mean_pool",
    "save_model",
]
