"""Pictures of a classifier: each says in words what it shows, and draws its numbers."""

import math
import re
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.patches import Rectangle

from llmkit import figures
from llmkit.figures.words import WIDE, plain_name, writable

NAN = math.nan


def texts(axes) -> list[str]:
    return [text.get_text() for text in axes.texts]


def ticks(axis) -> list[str]:
    return [label.get_text() for label in axis.get_ticklabels()]


def legend(picture) -> list[str]:
    return [text.get_text() for text in picture.figure.legends[0].get_texts()]


def png_without_warnings(picture) -> bytes:
    """Draw a picture; a character that the font lacks would be a warning."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return picture.png()


def test_confusion_shows_counts_and_shares_of_rows():
    counts = [[1500, 500], [0, 0]]
    picture = figures.confusion_picture(counts, ["bad", "good"], "after one epoch")
    assert picture.alt == (
        "after one epoch; bad: 1,500 of 2,000 right, 500 taken for good; "
        "good: 0 of 0 right."
    )
    axes = picture.figure.axes[0]
    shares = axes.images[0].get_array()
    assert shares.tolist() == [[0.75, 0.25], [0, 0]]
    assert texts(axes) == ["1,500\n75%", "500\n25%", "0\n0%", "0\n0%"]
    assert ticks(axes.xaxis) == ticks(axes.yaxis) == ["bad", "good"]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("guessed class", "true class")
    assert png_without_warnings(picture).startswith(b"\x89PNG")


def test_confusion_of_many_classes_leaves_the_numbers_out_and_names_the_worst():
    counts = np.eye(12, dtype=int) * 9
    counts[3, [0, 5, 6, 7]] = [1, 4, 3, 2]
    picture = figures.confusion_picture(counts, [f"class {i}" for i in range(12)])
    assert not texts(picture.figure.axes[0])
    worst = "9 of 19 right, 4 taken for class 5, 3 taken for class 6, 2 taken for class"
    assert worst in picture.alt and "1 taken for" not in picture.alt
    with pytest.raises(ValueError, match=r"3 classes need counts \(3, 3\): got \(2, 2"):
        figures.confusion_picture(np.eye(2), ["a", "b", "c"])


def test_calibration_draws_each_bin_that_is_not_empty():
    picture = figures.calibration_picture(
        [0, 0, 4, 1600], [NAN, NAN, 0.6, 0.9], [NAN, NAN, 0.75, 0.8], 0.1
    )
    assert picture.alt == (
        "calibration error 0.100; 0.60 sure, 0.75 right (4); "
        "0.90 sure, 0.80 right (1,600)."
    )
    upper, lower = picture.figure.axes
    right, gap = upper.patches[:2], upper.patches[2:]
    assert [bar.get_height() for bar in right] == [0.75, 0.8]
    assert [bar.get_x() + bar.get_width() / 2 for bar in right] == pytest.approx(
        [0.625, 0.875]
    )
    ends = [(bar.get_y(), bar.get_y() + bar.get_height()) for bar in gap]
    assert ends == [pytest.approx((0.6, 0.75)), pytest.approx((0.8, 0.9))]
    assert all(bar.get_hatch() for bar in gap)
    assert [bar.get_height() for bar in lower.patches] == [0, 0, 4, 1600]
    assert texts(lower) == ["4", "1,600"]
    assert lower.get_xlabel() == "confidence" and upper.get_ylabel() == "share right"
    assert png_without_warnings(picture)


def test_calibration_of_nothing_and_of_what_does_not_fit():
    empty = figures.calibration_picture([0], [NAN], [NAN], 0.0, "nothing yet")
    assert empty.alt == "nothing yet; calibration error 0.000."
    assert png_without_warnings(empty)
    with pytest.raises(ValueError, match="one of each a bin: got 2, 1 and 1"):
        figures.calibration_picture([1, 2], [0.5], [0.5], 0.0)


def test_the_points_of_a_logarithmic_axis_have_short_names():
    xs = [3.16228e-05, 0.25, 1.0, 1056.0]
    curves = {"one": (xs, [0.5] * 4, [0.1] * 4)}
    picture = figures.curve_picture(curves, "x", "y", "sd", log="x")
    labels = picture.figure.axes[0].get_xticklabels()
    assert [label.get_text() for label in labels] == ["3.2e-05", "0.25", "1", "1056"]


def test_curves_differ_in_colour_style_and_marker_and_bear_their_bars():
    xs = [1e-6, 1e-5, 1e-4]
    curves = {
        "one epoch": (xs, [0.5, 0.8, NAN], [0.1, 0.02, NAN]),
        "three": (xs, [0.6, 0.9, 0.7], [0.1, 0.01, 0.2]),
    }
    spread = "± 1 sd, 3 seeds"
    picture = figures.curve_picture(curves, "rate", "accuracy", spread, log="x")
    assert picture.alt == (
        "accuracy by rate (± 1 sd, 3 seeds); one epoch: 0.5 ± 0.1 at 1e-06, "
        "0.8 ± 0.02 at 1e-05; three: 0.6 ± 0.1 at 1e-06, 0.9 ± 0.01 at 1e-05, "
        "0.7 ± 0.2 at 0.0001."
    )
    (axes,) = picture.figure.axes
    one, three = (container.lines[0] for container in axes.containers)
    looks = ("color", "linestyle", "marker")
    assert all(
        getattr(one, f"get_{x}")() != getattr(three, f"get_{x}")() for x in looks
    )
    bars = axes.containers[1].lines[2][0].get_segments()
    assert [bar[:, 1].tolist() for bar in bars] == [
        pytest.approx([0.5, 0.7]),
        pytest.approx([0.89, 0.91]),
        pytest.approx([0.5, 0.9]),
    ]
    assert axes.get_xscale() == "log" and axes.get_yscale() == "linear"
    assert ticks(axes.xaxis) == ["1e-06", "1e-05", "0.0001"]
    assert legend(picture) == list(curves)
    assert picture.figure.legends[0].get_title().get_text() == spread
    assert png_without_warnings(picture)


def test_curves_without_a_value_and_of_unequal_lengths():
    picture = figures.curve_picture({"all $1": ([1], [NAN], [NAN])}, "x", "y", "sd")
    assert picture.alt == "y by x (sd); all $1: no value."
    assert png_without_warnings(picture)
    with pytest.raises(ValueError, match="each a point: 'a' has 2, 1 and 2"):
        figures.curve_picture({"a": ([1, 2], [1], [1, 2])}, "x", "y", "sd")


def test_tags_show_their_interval_and_how_many_they_are():
    rows = {"irony": (12, 0.5, 0.25, 0.75), "none": (1060, 0.9, 0.88, 0.92)}
    picture = figures.tag_picture(rows, ("all texts", 0.85), "by tag")
    assert picture.alt == (
        "by tag; irony (12): 0.50, 0.25 to 0.75; none (1,060): 0.90, 0.88 to 0.92; "
        "all texts: 0.85."
    )
    (axes,) = picture.figure.axes
    assert ticks(axes.yaxis) == ["irony (12)", "none (1,060)"]
    assert list(axes.lines[0].get_xdata()) == [0.25, 0.75]
    assert list(axes.lines[1].get_xdata()) == [0.5]
    assert axes.yaxis_inverted(), "the first is on top"
    assert legend(picture) == ["all texts: 0.85"]
    assert png_without_warnings(picture)
    assert not figures.tag_picture(rows).figure.legends


def test_points_of_a_class_share_a_shape_and_a_colour_of_their_own():
    points, labels = [[0, 1], [2, 3], [4, 9]], [0, 0, 2]
    picture = figures.scatter_classes(points, labels, ["bad", "so-so", "good"])
    assert picture.alt == (
        "bad: 2 points around (1, 2); so-so: 0 points; good: 1 point around (4, 9)."
    )
    (axes,) = picture.figure.axes
    drawn = axes.collections
    assert drawn[0].get_offsets().tolist() == [[0, 1], [2, 3]]
    assert drawn[1].get_offsets().tolist() == [[1, 2]], "the mean"
    assert legend(picture) == ["bad", "good"]
    assert png_without_warnings(picture)


def test_up_to_42_classes_can_be_told_apart():
    n = 42
    picture = figures.scatter_classes(
        np.eye(n)[:, :2], range(n), list(map(str, range(n)))
    )
    looks = {
        (tuple(dots.get_facecolor()[0]), dots.get_paths()[0].vertices.tobytes())
        for dots in picture.figure.axes[0].collections[::2]
    }
    assert len(looks) == n


def test_points_that_do_not_fit_are_refused_in_words():
    with pytest.raises(
        ValueError, match=r"2 labels need points \(2, 2\): got \(2, 3\)"
    ):
        figures.scatter_classes(np.zeros((2, 3)), [0, 1], ["a", "b"])
    with pytest.raises(ValueError, match="from 0 to 1, for 2 names: got 0 to 2"):
        figures.scatter_classes(np.zeros((2, 2)), [0, 2], ["a", "b"])


SCORES = [("I", 0.0), ("don't", -2.0), ("hate", 1.0), ("it", 0.02), (",", 0.5)]


def words(picture) -> list[str]:
    """Return the words as they are drawn, without title and legend."""
    return texts(picture.figure.axes[0])[1:-2]


def grounds(picture) -> list[Rectangle]:
    return list(picture.figure.axes[0].patches)[:-2]


def test_words_say_which_were_for_the_class_and_which_against():
    text = "I don't hate it, at all"
    picture = figures.word_scores_picture(SCORES, "positive", text, "why")
    assert picture.alt == (
        "why; I don't hate it, at all; for positive: hate +1.00, , +0.50, it +0.02; "
        "against: don't -2.00; 2 words not read."
    )
    assert words(picture) == ["I", "don't", "hate", "it", ",", "at", "all"]
    shown = texts(picture.figure.axes[0])
    assert shown[0] == "why"
    assert shown[-2:] == ["for positive (+2.00)", "against positive (-2.00)"]
    assert png_without_warnings(picture).startswith(b"\x89PNG")


def test_a_word_is_orange_for_blue_against_and_marked_beneath():
    picture = figures.word_scores_picture(SCORES, "positive")
    none, against, towards, faint, half = (x.get_facecolor() for x in grounds(picture))
    assert none[:3] == pytest.approx((1, 1, 1), abs=0.01)
    assert against[2] > against[0] and towards[0] > towards[2]
    assert half[2] > towards[2], "the stronger the score the stronger the colour"
    assert np.allclose(faint, none, atol=0.02)
    lines = picture.figure.axes[0].lines[:-2]
    assert len(lines) == 3, "what is next to nothing has no line"
    assert [line.get_linestyle() for line in lines] == ["--", "-", "-"]
    assert len(picture.figure.axes[0].lines) == 5


def places(picture) -> list[tuple[str, float, float]]:
    drawn = picture.figure.axes[0].texts[1:-2]
    return [(text.get_text(), *text.get_position()) for text in drawn]


@pytest.mark.slow
def test_words_wrap_and_a_comma_keeps_to_its_word():
    text = " ".join(f"word{i}," for i in range(60))
    scores = [(w, 1.0) for i in range(60) for w in (f"word{i}", ",")]
    laid = places(figures.word_scores_picture(scores, "good", text))
    rows = {y for _, _, y in laid}
    assert len(rows) > 3
    for (_, x, y), (comma, after, below) in zip(laid[::2], laid[1::2]):
        assert comma == "," and below == y and after > x
    assert all(0 <= x < WIDE for _, x, _ in laid)
    ends = [
        box.get_x() + box.get_width()
        for box in grounds(figures.word_scores_picture(scores, "good", text))
    ]
    assert max(ends) <= WIDE + 1


def test_scripts_that_run_to_the_left_begin_at_the_right():
    text = "הסרט הזה film noir טוב"
    scores = [(word, 1.0) for word in text.split()]
    laid = {word: x for word, x, _ in places(figures.word_scores_picture(scores, "a"))}
    order = sorted(laid, key=laid.get)
    assert order == ["טוב", "film", "noir", "הזה", "הסרט"]
    text = "he said שלום עולם and left"
    scores = [(word, 1.0) for word in text.split()]
    laid = {word: x for word, x, _ in places(figures.word_scores_picture(scores, "a"))}
    order = sorted(laid, key=laid.get)
    assert order == ["he", "said", "עולם", "שלום", "and", "left"]


@pytest.mark.parametrize(
    "text",
    [
        "costs $5, $x_{1}$ or $^ or \\alpha",
        "😀👍🏽❤️🎉 great 👩‍👩‍👧",
        "猫很好 한국 नमस्ते",
        "هذا الفيلم رائع جدا",
        "W" * 500 + " and " + "i" * 500,
        "<b>bold</b> & \x07\x00 \u200f",
        "tab\tand\nline",
        "a skin alone: \U0001f3fb",
    ],
)
def test_any_text_can_be_drawn(text):
    scores = [(word, i - 1.0) for i, word in enumerate(text.split())]
    picture = figures.word_scores_picture(scores, text, text, text)
    assert png_without_warnings(picture)
    right = max(box.get_x() + box.get_width() for box in grounds(picture))
    assert right <= WIDE + 1


@pytest.mark.slow
@settings(deadline=None)  # fonts are looked up but once
@given(st.text(max_size=60), st.integers(0, 5))
def test_whatever_a_reader_types_has_a_picture(text, rest):
    kept = text.split()[: -rest or None]
    scores = [(word, (-1.0) ** i) for i, word in enumerate(kept)]
    picture = figures.word_scores_picture(scores, "good", text)
    drawn = sum(len(piece) for piece in words(picture)) if scores else 0
    assert drawn or not scores
    assert picture.alt.endswith(".")


@pytest.mark.slow
def test_very_long_texts_end_somewhere():
    scores = [(f"w{i}", 1.0) for i in range(400)]
    text = " ".join(f"w{i}" for i in range(5000))
    picture = figures.word_scores_picture(scores, "good", text)
    assert words(picture)[-2:] == ["w411", "… and 4,588 more words"]
    assert picture.alt.endswith("; 4,600 words not read.")
    assert len(picture.alt) < 600


def test_nothing_read_is_a_picture_too():
    assert figures.word_scores_picture([], "good").alt == "no words."
    assert figures.word_scores_picture([], "good", "unread").alt == (
        "unread; 1 word not read."
    )
    assert png_without_warnings(figures.word_scores_picture([], "good"))


def test_scores_of_another_text_are_refused_in_words():
    with pytest.raises(ValueError, match="'bad' does not stand in ' at all'"):
        figures.word_scores_picture([("good", 1), ("bad", 1)], "a", "good at all")


def test_names_are_short_and_no_formula():
    assert plain_name("a\n b") == "a b"
    assert plain_name("$x$") == r"\$x\$"
    assert plain_name("") == plain_name("\U0001f3fd") == "∅"
    assert writable("é שלום") == "é שלום"


NAMES = "calibration_picture confusion_picture curve_picture scatter_classes"
NAMES += " tag_picture word_scores_picture"


@pytest.mark.parametrize("name", NAMES.split())
def test_the_pictures_are_offered_by_the_room(name):
    assert name in figures.__all__
    assert re.match(r"Draw .*\.", getattr(figures, name).__doc__)
