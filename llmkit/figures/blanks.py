"""Fill in the blank: what a masked model would write there. Lesson 05."""

import textwrap
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from llmkit.figures.frame import BLUE, ORANGE, Picture, visible

BLANK = "___"
MARKS = "①②③④⑤⑥⑦⑧⑨"
Guess = Mapping[str, float]  # word to probability


def blanks(
    text: str,
    guesses: Sequence[Guess],
    odds: Sequence[Guess] = (),
    title: str = "",
) -> Picture:
    """Draw a sentence, and below it a row of bars for each of its blanks.

    text: with "___" for each blank, one to nine; guesses: word to probability, one
    mapping a blank; odds: the true probabilities, for blanks where they are known (an
    empty mapping where not), drawn as diamonds. A word without odds has odds 0.

    Raises: ValueError unless each blank has its guesses.

    >>> blanks("the ___ sat", [{" cat": 0.7, " dog": 0.2}], [{" cat": 1.0}])
    <Picture: the ___ sat; blank 1: ␣cat 0.70 (true 1.00), ␣dog 0.20 (true 0.00).>
    """
    count, odds = text.count(BLANK), [*odds, *({} for _ in guesses[len(odds) :])]
    if not 1 <= count == len(guesses) <= len(MARKS):
        raise ValueError(
            f"each blank {BLANK} needs its guesses, and there are one to {len(MARKS)} "
            f"of them: got {count} blanks and guesses for {len(guesses)}"
        )
    marks = MARKS if count > 1 else [""]
    shown = text
    for mark in marks[:count]:
        shown = shown.replace(BLANK, f"__{mark}__", 1)
    shown = textwrap.fill(shown.replace("$", r"\$"), 76)
    longest = max(map(len, guesses))
    height = 1.0 + 0.24 * longest + 0.22 * (shown.count("\n") + 1 + bool(title))
    figure = Figure(figsize=(max(2.4 * count, 6.4), height), layout="constrained")
    figure.suptitle(f"{title}\n{shown}" if title else shown, fontsize=10)
    for axes, mark, guess, true in zip(
        figure.subplots(1, count, squeeze=False)[0], marks, guesses, odds
    ):
        _rows(axes, guess, true)
        axes.set(xlim=(0, 1.3), xlabel=f"probability {mark}".strip())
        axes.set_xticks((0, 0.25, 0.5, 0.75, 1))
    told = [_told(i, *pair) for i, pair in enumerate(zip(guesses, odds), start=1)]
    opening = f"{title}; " if title else ""
    return Picture(figure, f"{opening}{text}; {'; '.join(told)}.")


def note(text: str) -> Picture:
    """Draw a sentence that says what is missing, where a picture would be.

    >>> note("type a sentence with a blank")
    <Picture: type a sentence with a blank>
    """
    shown = textwrap.fill(text.replace("$", r"\$"), 72)
    lines = shown.count("\n") + 1
    figure = Figure(figsize=(6.4, 0.5 + 0.24 * lines), layout="constrained")
    box = dict(boxstyle="round,pad=0.6", facecolor="white", edgecolor=ORANGE)
    figure.text(0.5, 0.5, shown, ha="center", va="center", size=10, bbox=box)
    return Picture(figure, text)


def typed(label: str, examples: Sequence[str]):
    """Make a field to type in, which offers examples; it begins with the first."""
    import ipywidgets

    return ipywidgets.Combobox(
        value=examples[0],
        options=tuple(examples),
        ensure_option=False,
        continuous_update=False,  # wait for Enter: half a sentence says nothing
        description=label,
        style={"description_width": "9em"},
        layout={"width": "46em"},
    )


def _rows(axes, guess: Guess, true: Guess) -> None:
    """Draw a bar a word, the likeliest on top."""
    places, names = np.arange(len(guess)), [visible(word) for word in guess]
    axes.barh(places, list(guess.values()), color=BLUE, height=0.65, label="model")
    for place, p in zip(places, guess.values()):
        axes.text(1.27, place, f"{p:.2f}", va="center", ha="right", size=9)
    if true:
        at = [true.get(word, 0.0) for word in guess]
        style = dict(color=ORANGE, edgecolor="black", marker="D", s=34, zorder=3)
        axes.scatter(at, places, label="true odds", **style)
        axes.legend(frameon=False, fontsize=8, loc=(0.5, 0.05))
    axes.set_yticks(places, names)
    axes.invert_yaxis()
    axes.spines[["top", "right"]].set_visible(False)


def _told(number: int, guess: Guess, true: Guess) -> str:
    words = [
        f"{visible(word)} {p:.2f}"
        + (f" (true {true.get(word, 0.0):.2f})" if true else "")
        for word, p in guess.items()
    ]
    return f"blank {number}: {', '.join(words)}"
