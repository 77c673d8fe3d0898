"""What every drawing starts from: a picture with words, colours, empty axes."""

import base64
import html
import io
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure

BLUE, ORANGE = "#0072B2", "#D55E00"
COLOURS = (BLUE, ORANGE, "#009E73", "#CC79A7", "#56B4E9", "#000000")
STYLES = ("-", "--", "-.", ":", (0, (5, 1)), (0, (1, 1)))
DIVERGING = LinearSegmentedColormap.from_list("diverging", (BLUE, "white", ORANGE))


@dataclass(frozen=True)
class Picture:
    """A drawn figure and the text for whoever can't see it.

    >>> Picture(Figure(), alt="an empty figure")
    <Picture: an empty figure>
    """

    figure: Figure
    alt: str

    def png(self, dpi: int = 100) -> bytes:
        """Return the picture as a PNG file."""
        file = io.BytesIO()
        self.figure.savefig(file, format="png", dpi=dpi, facecolor="white")
        return file.getvalue()

    def _repr_html_(self) -> str:
        data = base64.b64encode(self.png()).decode()
        alt = html.escape(self.alt, quote=True)
        return (
            f'<img src="data:image/png;base64,{data}" alt="{alt}" '
            'style="max-width: 100%">'
        )

    def __repr__(self) -> str:
        return f"<Picture: {self.alt}>"


@dataclass(frozen=True)
class Stack:
    """Pictures below each other, shown as one; each keeps its own words.

    >>> Stack((Picture(Figure(), alt="above"), Picture(Figure(), alt="below")))
    <Stack: above below>
    """

    pictures: tuple[Picture, ...]

    @property
    def alt(self) -> str:
        """Join what the pictures say in words."""
        return " ".join(picture.alt for picture in self.pictures)

    def _repr_html_(self) -> str:
        return "<br>".join(picture._repr_html_() for picture in self.pictures)

    def __repr__(self) -> str:
        return f"<Stack: {self.alt}>"


def visible(token: str) -> str:
    """Return a token with its white space made visible.

    >>> visible(" the"), visible("\\n")
    ('␣the', '↵')
    """
    marks = token.replace(" ", "␣").replace("\n", "↵").replace("\t", "⇥")
    return marks.replace("$", r"\$") or "∅"  # a dollar sign would start a formula


def empty_axes(size: tuple[float, float], x: str, y: str, title: str) -> Axes:
    """Return labelled axes of a new figure, size in inches, without top and right."""
    figure = Figure(figsize=size, layout="constrained")
    axes = figure.add_subplot()
    axes.set(xlabel=x, ylabel=y, title=title)
    axes.spines[["top", "right"]].set_visible(False)
    return axes
