"""Blanks and what was guessed for them; a field to type in."""

import pytest

from llmkit import figures

GUESS = {" cat": 0.7, " dog": 0.2}


def test_a_blank_says_its_guesses_in_words_and_in_ink():
    picture = figures.blanks("the ___ sat", [GUESS], [{" cat": 1.0}], "after 9 steps")
    assert picture.alt == (
        "after 9 steps; the ___ sat; blank 1: ␣cat 0.70 (true 1.00), "
        "␣dog 0.20 (true 0.00)."
    )
    (axes,) = picture.figure.axes
    assert [bar.get_width() for bar in axes.patches] == [0.7, 0.2]
    assert axes.collections[0].get_offsets().tolist() == [[1.0, 0.0], [0.0, 1.0]]
    assert [text.get_text() for text in axes.get_yticklabels()] == ["␣cat", "␣dog"]
    assert axes.yaxis_inverted(), "the first guess is on top"
    assert picture.png().startswith(b"\x89PNG")


def test_several_blanks_are_numbered_and_may_lack_odds():
    picture = figures.blanks("___ sat on ___.", [GUESS, {" mat": 1.0}])
    assert "__①__ sat on __②__." in picture.figure.get_suptitle()
    assert len(picture.figure.axes) == 2
    assert "true" not in picture.alt and "blank 2: ␣mat 1.00" in picture.alt
    one_known = figures.blanks("___ on ___", [GUESS, GUESS], [{}, {" dog": 1.0}])
    assert one_known.alt.count("(true") == 2
    assert not one_known.figure.axes[0].collections


def test_what_a_reader_types_is_never_taken_for_a_formula():
    text = r"it costs $5 or $x_{1}$ ___ " + "and more " * 20
    assert figures.blanks(text, [{"$^": 0.5}]).png().startswith(b"\x89PNG")
    assert figures.note("no $ here, nor $^ there").png().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("text", "guesses"),
    [
        ("no blank", []),
        ("one ___", []),
        ("___", [GUESS, GUESS]),
        ("___" * 10, [{}] * 10),
    ],
)
def test_each_blank_needs_its_guesses(text, guesses):
    with pytest.raises(ValueError, match="each blank ___ needs its guesses.*got"):
        figures.blanks(text, guesses)


def test_a_note_says_what_it_shows():
    picture = figures.note("unknown word 'zebra': use another word")
    assert picture.alt == "unknown word 'zebra': use another word"
    assert "<img" in picture._repr_html_()


def test_a_field_offers_examples_and_takes_anything():
    field = figures.typed("sentence", ["a ___", "the ___"])
    assert (field.value, field.options) == ("a ___", ("a ___", "the ___"))
    field.value = "something else"
    assert field.value == "something else"
    assert not field.continuous_update
