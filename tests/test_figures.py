"""Pictures: each says in words what it shows, and draws what it is given."""

import re

import numpy as np
import pytest

from llmkit import figures
from llmkit.figures import Stack


def drawn(picture) -> np.ndarray:
    """Return the matrix that a heatmap draws, with its limits in colour."""
    image = picture.figure.axes[0].images[0]
    return np.asarray(image.get_array()), image.get_clim()


def test_a_heatmap_draws_its_numbers_and_names():
    picture = figures.heatmap(
        [[1, -3], [2, 0]], "x", "y", "what", columns=["a", "b"], rows=["c", "d"]
    )
    values, limits = drawn(picture)
    assert values.tolist() == [[1, -3], [2, 0]]
    assert limits == (-3, 2)
    assert "2 rows, 2 columns; from -3 (c, b) to 2 (d, a)." in picture.alt
    axes, bar = picture.figure.axes
    assert [axes.get_xlabel(), axes.get_ylabel(), bar.get_ylabel()] == [
        "x",
        "y",
        "what",
    ]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["a", "b"]
    assert picture.png().startswith(b"\x89PNG")


def test_a_centred_heatmap_is_white_at_zero():
    picture = figures.heatmap([[1.0, -3.0]], "x", "y", "what", centred=True)
    image = picture.figure.axes[0].images[0]
    assert image.get_clim() == (-3, 3)
    assert image.cmap(image.norm(0.0))[:3] == pytest.approx((1, 1, 1), abs=0.01)


def test_dials_say_each_angle_and_draw_each_hand():
    hands = {"query": [(1, 0), (-2, 0)], "key": [(0, -1), (1, 1)]}
    picture = figures.dials(hands, ["one", "two"], "turns")
    assert picture.alt == ("turns; one: query 0°, key -90°; two: query 180°, key 45°.")
    ends = [
        tuple(line.get_xydata()[-1])
        for axes in picture.figure.axes
        for line in axes.lines
        if line.get_label() in hands
    ]
    assert ends == [(1, 0), (0, -1), (-2, 0), (1, 1)]


def test_dials_without_length_are_drawn_too():
    assert figures.dials({"hand": [(0, 0)]}, ["off"]).png()


def test_a_stack_shows_each_picture_with_its_words():
    pictures = tuple(
        figures.lines({"n": ([0, 1], [0, n])}, "x", "y", title=f'"{n}"') for n in (1, 2)
    )
    shown = Stack(pictures)._repr_html_()
    alts = re.findall(r'alt="([^"]+)"', shown)
    assert len(alts) == 2
    assert "&quot;1&quot;" in alts[0] and "&quot;2&quot;" in alts[1]
    assert Stack(pictures).alt == " ".join(picture.alt for picture in pictures)


def test_the_old_names_are_all_there():
    names = "Picture lines bars attention_map flow live_loss play slider choice visible"
    for name in [*names.split(), "BLUE", "ORANGE", "COLOURS", "STYLES"]:
        assert hasattr(figures, name), name
        assert name in figures.__all__


class Page:
    """Stand for what brings its own script, as an explorer does."""

    def __init__(self, words: str):
        self.words = words

    def _repr_html_(self) -> str:
        return f"<p>{self.words}</p>"


def test_a_page_with_a_script_is_drawn_beside_the_widget_and_replaced(monkeypatch):
    import ipywidgets
    from IPython import display

    shown, replaced = [], []

    class Handle:
        def update(self, thing):
            replaced.append(thing.words)

    def keep(thing, **how):
        shown.append((thing, how))
        return Handle()

    monkeypatch.setattr(display, "display", keep)
    field = ipywidgets.Text("one")

    def draw(text):
        if text == "bad":
            raise ValueError("this model <reads> no such thing")
        return Page(text)

    figures.play(draw, text=field)
    (controls, _), (page, how) = shown
    assert "its controls come alive" in controls["text/html"]
    assert page.words == "one" and how == {"display_id": True}
    field.value = "two"
    assert replaced == ["two"]
    with pytest.raises(ValueError):
        field.value = "bad"
    screen = next(
        w for w in ipywidgets.Widget.widgets.values() if "&lt;reads" in told(w)
    )
    field.value = "three"
    assert replaced == ["two", "three"] and told(screen) == ""


def told(widget) -> str:
    """Return what an HTML widget shows."""
    import ipywidgets

    return widget.value if isinstance(widget, ipywidgets.HTML) else ""
