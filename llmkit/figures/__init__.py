"""Pictures and controls: arrays in, a picture out. Every lesson.

Every picture is labelled, safe for colour-blind readers and says in words what it
shows, for whoever can't see it. `play` adds controls to a picture and draws it again
when they move.
"""

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
    "choice",
    "dials",
    "flow",
    "heatmap",
    "lines",
    "live_loss",
    "play",
    "slider",
    "visible",
]
