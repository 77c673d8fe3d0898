"""Pictures and controls: arrays in, a picture out. Every lesson.

Every picture is labelled, safe for colour-blind readers and says in words what it
shows, for whoever can't see it. `play` adds controls to a picture and draws it again
when they move.
"""

from llmkit.figures.blanks import blanks, note, typed
from llmkit.figures.classes import (
    calibration_picture,
    confusion_picture,
    curve_picture,
    scatter_classes,
    tag_picture,
)
from llmkit.figures.controls import choice, live_loss, play, slider
from llmkit.figures.frame import (
    BLUE,
    COLOURS,
    DIVERGING,
    ORANGE,
    STYLES,
    Picture,
    Stack,
    visible,
)
from llmkit.figures.pictures import attention_map, bars, dials, flow, heatmap, lines
from llmkit.figures.sampling import distribution
from llmkit.figures.sharing import histogram, shards_picture, stacked
from llmkit.figures.text import cuts, rows_of_documents, sieve, token_table
from llmkit.figures.words import word_scores_picture

__all__ = [
    "BLUE",
    "COLOURS",
    "DIVERGING",
    "ORANGE",
    "STYLES",
    "Picture",
    "Stack",
    "attention_map",
    "bars",
    "blanks",
    "calibration_picture",
    "choice",
    "confusion_picture",
    "curve_picture",
    "cuts",
    "dials",
    "distribution",
    "flow",
    "heatmap",
    "histogram",
    "lines",
    "live_loss",
    "note",
    "play",
    "rows_of_documents",
    "scatter_classes",
    "shards_picture",
    "sieve",
    "slider",
    "stacked",
    "tag_picture",
    "token_table",
    "typed",
    "visible",
    "word_scores_picture",
]
