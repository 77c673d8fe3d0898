"""See where the heads of a model look: one page, no kernel, no network. Lesson 03.

`explore` shows one text in one model, `compare` what differs between two, and
`through_training` one text along a run. Each gives an `Explorer`: the last line of a
cell shows it, `save` writes it to a file.

>>> import numpy as np
>>> even = np.full((1, 1, 3, 3), 1 / 3)  # one layer, one head: it looks everywhere
>>> explore(even, tokens=["the", "cat", "sat"])
<Explorer: 1 text, 1 layer × 1 head × 3 tokens>
"""

from llmkit.explorer.explore import compare, explore, through_training
from llmkit.explorer.look import look, record_of
from llmkit.explorer.record import Inner, Prediction, Question, Record, Tag, Training
from llmkit.explorer.tags import find_tags
from llmkit.explorer.view import Explorer

__all__ = [
    "Explorer",
    "Inner",
    "Prediction",
    "Question",
    "Record",
    "Tag",
    "Training",
    "compare",
    "explore",
    "find_tags",
    "look",
    "record_of",
    "through_training",
]
