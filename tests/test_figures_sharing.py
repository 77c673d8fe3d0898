"""Pictures of shared work: every number is drawn, and said in words."""

import pytest

from llmkit import figures
from llmkit.figures.sharing import STATES
from llmkit.planning import STRATEGIES, holdings, moment_names
from llmkit.planning import moments as code


def test_the_codes_of_planning_are_those_that_are_drawn():
    codes = (code.GONE, code.KEPT, code.VISITING, code.PARTIAL, code.OLD)
    assert codes == tuple(range(len(STATES)))
    names = [name for name, _ in STATES]
    assert names[code.VISITING] == "gathered for now"
    assert names[code.OLD] == "not yet updated"


def test_pieces_that_are_alike_are_one_bar_and_each_is_counted():
    held = {"weights": [[[1, 1, 2], [0, 3, 3]], [[0, 0, 0], [1, 1, 1]]]}
    picture = figures.shards_picture(held, ["8 bytes", "6 bytes"], "now")
    (axes,) = picture.figure.axes
    ends = [(bar.get_x(), bar.get_x() + bar.get_width()) for bar in axes.patches]
    third = 1 / 3
    assert ends == [
        pytest.approx(end)
        for end in (
            (0, 2 * third), (2 * third, 1), (1, 1 + third), (1 + third, 2),
            (0, 1), (1, 2),
        )
    ]  # fmt: skip
    assert picture.alt == (
        "now; rank 0: weights 5 of 6 pieces (8 bytes); "
        "rank 1: weights 3 of 6 pieces (6 bytes)."
    )
    assert picture.png().startswith(b"\x89PNG")


@pytest.mark.slow
@pytest.mark.parametrize("strategy", [x for x in STRATEGIES if x != "single"])
@pytest.mark.parametrize("ranks", [1, 8])
@pytest.mark.parametrize("moment", [0, 5, len(moment_names()) - 1])
def test_every_moment_can_be_drawn(strategy, ranks, moment):
    now = holdings(strategy, ranks, moment)
    picture = figures.shards_picture(now.held, ["x"] * ranks, now.words)
    assert len(picture.figure.axes) == 3
    assert f"rank {ranks - 1}: weights" in picture.alt


def test_ranks_without_a_note_are_refused():
    with pytest.raises(ValueError, match=r"1 notes need codes \(1, blocks, pieces\)"):
        figures.shards_picture({"weights": [[[1]], [[1]]]}, ["one"])


def test_a_stack_stands_on_what_is_below_and_ends_at_its_sum():
    bars = {
        "ddp": {"weights": 1.0, "averages": 2.0},
        "none": dict(weights=0, averages=0),
    }
    picture = figures.stacked(bars, "GB", "memory", level=("room", 80))
    axes = picture.figure.axes[0]
    ends = [(bar.get_y(), bar.get_y() + bar.get_height()) for bar in axes.patches]
    assert ends == [(0, 1), (0, 0), (1, 3), (0, 0)]
    assert [text.get_text() for text in axes.texts] == ["3", "0"]
    assert axes.get_ylim()[1] == pytest.approx(88)
    assert picture.alt == (
        "memory; ddp 3 (weights 1, averages 2); none 0 (weights 0, averages 0); "
        "room: 80."
    )
    assert picture.png()
    with pytest.raises(ValueError, match="every bar needs the same parts: a"):
        figures.stacked({"x": {"a": 1}, "y": {"b": 1}}, "GB")


def test_a_histogram_counts_shares_and_zones():
    values = {"many": [-3, -2, -2, 1] * 5, "one": [0.5]}
    picture = figures.histogram(values, "log", zones={"lost": (-99, -2.5)}, bins=5)
    axes = picture.figure.axes[0]
    heights = [max(patch.get_path().vertices[:, 1]) for patch in axes.patches[1:]]
    assert heights == pytest.approx([0.5, 1.0]) or len(heights) == 2
    assert "many: 20 values from -3 to 1, middle -2, 25% lost" in picture.alt
    assert "one: 1 value from 0.5 to 0.5, middle 0.5, 0% lost" in picture.alt
    assert picture.png()
    with pytest.raises(ValueError, match="each name needs a value"):
        figures.histogram({"none": []}, "x")
