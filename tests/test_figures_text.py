"""Pictures of text: each says in words what it shows, and draws what it is given."""

import re

import pytest
from matplotlib.patches import Rectangle

from llmkit import figures


def boxes(picture) -> list[Rectangle]:
    return [p for p in picture.figure.axes[0].patches if isinstance(p, Rectangle)]


def texts(axes) -> list[str]:
    return [text.get_text() for text in axes.texts]


def test_a_sieve_draws_what_is_left_and_what_was_taken():
    left = {"came in": 1000, "nothing": 1000, "copies": 400}
    picture = figures.sieve(left, "documents", "what fell out")
    assert picture.alt == (
        "what fell out; came in 1,000; nothing took 0, 1,000 left; "
        "copies took 600, 400 left."
    )
    widths = [box.get_width() for box in boxes(picture)]
    assert widths == [1000, 1000, 400, 600]
    axes = picture.figure.axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == list(left)
    assert axes.get_xlabel() == "documents left"
    assert [text.strip() for text in texts(axes)] == ["1,000", "0", "−600"]
    assert picture.png().startswith(b"\x89PNG")


def test_a_sieve_of_what_came_in_alone():
    assert figures.sieve({"came in": 3}, "documents").alt == (
        "documents left; came in 3."
    )


def test_cuts_draw_a_box_of_its_length_around_each_token():
    picture = figures.cuts({"English": ["the", " cat", "\n"], "code": ["x"]})
    assert [box.get_width() for box in boxes(picture)] == [3, 4, 1, 1]
    shown = texts(picture.figure.axes[0])
    assert shown == ["English", "the", "␣cat", "↵", "code", "x"]
    assert picture.alt == "English, 3 tokens: the|␣cat|↵; code, 1 tokens: x."


def test_cuts_break_lines_between_tokens():
    picture = figures.cuts({"long": ["12345", "678", "90"]}, "title", width=8)
    corners = [(box.get_x(), box.get_y()) for box in boxes(picture)]
    assert [x for x, _ in corners] == [0, 5, 0]
    assert corners[0][1] == corners[1][1] > corners[2][1]
    assert figures.cuts({"wide": ["1234567890"]}, width=4).png(), "never cut in two"
    assert picture.alt.startswith("title; long, 3 tokens")


def test_cuts_write_what_the_font_lacks_as_its_bytes():
    picture = figures.cuts({"Chinese": ["猫", "é", "$"]})
    shown = texts(picture.figure.axes[0])
    assert shown == ["Chinese", r"\xe7\x8c\xab", "é", r"\$"]
    assert "猫|é" in picture.alt
    assert picture.png()


def test_cuts_of_an_empty_text():
    assert figures.cuts({"empty": []}).alt == "empty, 0 tokens: ."


def test_rows_show_padding_and_number_each_document_once():
    ways = {"padded": [[0, 0, -1, -1], [1, 1, 1, -1]], "packed": [[0, 0, 1, 1]]}
    picture = figures.rows_of_documents(ways)
    assert picture.alt == (
        "padded: 2 rows of 4, 38% padding; packed: 1 row of 4, 0% padding."
    )
    padded, packed = picture.figure.axes
    hatched = [box for box in padded.patches if box.get_hatch()]
    assert [(box.get_x(), box.get_y()) for box in hatched] == [(2, 0), (3, 0), (3, 1)]
    assert not [box for box in packed.patches if box.get_hatch()]
    assert texts(padded) == texts(packed) == ["0", "1"]
    assert padded.get_ylim() == packed.get_ylim(), "a row is as high in both"
    assert picture.png()


def test_many_documents_reuse_the_colours_and_keep_their_numbers():
    picture = figures.rows_of_documents({"packed": [list(range(12))]}, "many")
    assert texts(picture.figure.axes[0]) == list(map(str, range(12)))
    assert picture.alt.startswith("many; ")


def test_a_table_of_tokens_fades_and_frames_what_it_is_told_to():
    rows = {"input": ["the", " cat"], "label": [" cat", "-100"]}
    picture = figures.token_table(rows, {"label": [1]}, {"input": [0]}, "one row")
    assert picture.alt == (
        "one row; input: the, ␣cat (framed: the); label: ␣cat, -100 (grey: -100)."
    )
    edges = [box.get_linewidth() for box in boxes(picture)]
    assert edges[0] > edges[1] == edges[2] == edges[3]
    fills = [box.get_facecolor() for box in boxes(picture)]
    assert len({fills[0], fills[1], fills[3]}) == 3
    assert picture.png()


def test_a_table_of_tokens_without_notes():
    assert figures.token_table({"ids": ["a"]}).alt == "ids: a."


@pytest.mark.parametrize("name", ["cuts", "rows_of_documents", "sieve", "token_table"])
def test_the_pictures_are_offered_by_the_room(name):
    assert name in figures.__all__
    assert re.match(r"Draw .*\.", getattr(figures, name).__doc__)
