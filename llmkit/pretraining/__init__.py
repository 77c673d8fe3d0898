"""Pretraining from one line: text in, a folder with a model out. Lessons 05 and 06.

This room only puts the others together, in the order that data takes: corpus,
tokenizer, batches, model, training.
"""

from llmkit.pretraining.data import END, MASK
from llmkit.pretraining.options import PretrainOptions
from llmkit.pretraining.presets import MASKED_PRESETS, PRESETS, Preset
from llmkit.pretraining.run import Pretraining
from llmkit.pretraining.use import fill_blanks, prompt_ids, spell

__all__ = [
    "END",
    "MASK",
    "MASKED_PRESETS",
    "PRESETS",
    "Preset",
    "PretrainOptions",
    "Pretraining",
    "fill_blanks",
    "prompt_ids",
    "spell",
]
