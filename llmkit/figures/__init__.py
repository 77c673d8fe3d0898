"""Pictures and controls: arrays in, a picture out. Every lesson.

Every picture is labelled, safe for colour-blind readers and says in words what it
shows, for whoever can't see it. `play` adds controls to a picture and draws it again
when they move.
"""

from llmkit.figures.blanks import blanks, note, typed
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
from llmkit.figures.text import cuts, rows_of_documents, sieve, token_table

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
    "choice",
    "cuts",
    "dials",
    "distribution",
    "flow",
    "heatmap",
    "lines",
    "live_loss",
    "note",
    "play",
    "rows_of_documents",
    "sieve",
    "slider",
    "token_table",
    "typed",
    "visible",
]
