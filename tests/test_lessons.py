"""Every lesson: reads as a lesson should, is built from its source, and runs."""

import ast
import re
import statistics
from pathlib import Path

import nbformat
import pytest

from llmkit.course import building, execution

FOLDER = Path(__file__).parent.parent / "notebooks"
SOURCES = sorted((FOLDER / "source").glob("[0-9][0-9]_*.py"))
# Those of the map that are written.
LESSONS = ["00", "01", "02", "03", "04", "05", "06", "07", "08"]
ALL_SMOKE_SECONDS = 240
seconds: dict[str, float] = {}  # of each lesson that ran in profile smoke

every_lesson = pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.stem)


def built(source: Path) -> nbformat.NotebookNode:
    return nbformat.read(FOLDER / f"{source.stem}.ipynb", as_version=4)


def cells(source: Path, kind: str) -> list[str]:
    """Return the texts of a lesson's cells of one kind."""
    found = building.convert(source).cells
    return [cell.source for cell in found if cell.cell_type == kind]


def lines(code: str) -> int:
    """Count the lines of a cell that a reader reads."""
    return len([line for line in code.splitlines() if line.strip()])


def test_the_lessons_are_there():
    assert [path.stem[:2] for path in SOURCES] == LESSONS
    notebooks_there = sorted(path.stem for path in FOLDER.glob("*.ipynb"))
    assert notebooks_there == [path.stem for path in SOURCES]


# How a lesson reads


@every_lesson
def test_code_comes_in_small_pieces(source):
    sizes = sorted(lines(code) for code in cells(source, "code"))
    assert statistics.median(sizes) <= 6
    assert sizes[int(0.9 * (len(sizes) - 1))] <= 15
    assert sizes[-1] <= 40
    kinds = "".join(cell.cell_type[0] for cell in building.convert(source).cells)
    assert "cccc" not in kinds, "more than three code cells in a row"


@every_lesson
def test_lines_fit_a_notebook(source):
    for number, line in enumerate(source.read_text("utf-8").splitlines(), start=1):
        assert len(line) <= 79, f"line {number} has {len(line)} characters"


@every_lesson
def test_prose_has_the_length_of_a_lesson(source):
    text = " ".join(cells(source, "markdown"))
    text = re.sub(r"```.*?```|\$\$.*?\$\$|<[^>]+>", " ", text, flags=re.DOTALL)
    words = re.findall(r"[^\W\d_]{2,}|\b[aI]\b", text)
    assert 1500 <= len(words) <= 3000, f"{len(words)} words"


@every_lesson
def test_the_top_says_what_it_takes_and_gives(source):
    book = building.convert(source)
    first = book.cells[0]
    assert first.cell_type == "markdown"
    assert first.source.startswith("# ")
    before = [cell for cell in book.cells if cell.cell_type == "markdown"][:3]
    assert re.search(r"\bminutes?\b", " ".join(cell.source for cell in before))


@every_lesson
def test_the_first_code_cell_holds_the_parameters_and_derives_nothing(source):
    book = building.convert(source)
    code = [cell for cell in book.cells if cell.cell_type == "code"]
    assert ["parameters" in c.metadata.get("tags", []) for c in code] == [True] + [
        False
    ] * (len(code) - 1)
    values = {}
    for statement in ast.parse(code[0].source).body:
        assert isinstance(statement, ast.Assign | ast.AnnAssign), "only assignments"
        name = getattr(statement, "target", None) or statement.targets[0]
        values[name.id] = ast.literal_eval(statement.value)
    assert values["profile"] == "cpu"
    assert isinstance(values["seed"], int)


@every_lesson
def test_help_is_imported_where_the_text_offers_it(source):
    names = {
        alias.asname or alias.name
        for code in cells(source, "code")
        for node in ast.walk(ast.parse(code))
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert {"hint", "solution"} <= names, "a learner calls both in cells of their own"


@every_lesson
def test_every_picture_has_words(source):
    text = "\n".join(cells(source, "markdown"))
    assert not re.search(r"!\[\s*\]", text), "a picture without alt text"
    outputs = [out for cell in built(source).cells for out in cell.get("outputs", [])]
    for output in outputs:
        data = output.get("data", {})
        for tag in re.findall(r"<img\b[^>]*>", "".join(data.get("text/html", ""))):
            assert re.search(r"""\balt=["'][^"']{10,}""", tag), f"no alt: {tag[:80]}"


# Built from the source, and fit to be kept


@every_lesson
def test_source_and_notebook_are_the_same(source):
    target = FOLDER / f"{source.stem}.ipynb"
    assert building.difference(source, target) == "", "run `make notebooks`"


@every_lesson
def test_the_notebook_is_executed_and_small(source):
    path, book = FOLDER / f"{source.stem}.ipynb", built(source)
    code = [cell for cell in book.cells if cell.cell_type == "code"]
    counts = [cell.execution_count for cell in code]
    assert counts == list(range(1, len(code) + 1))
    kinds = {output.output_type for cell in code for output in cell.outputs}
    assert "error" not in kinds
    assert path.stat().st_size < building.MOST_BYTES
    assert "widgets" not in book.metadata
    assert all("widget-view" not in key for key in mime_types(code))


@every_lesson
def test_the_notebook_keeps_nothing_of_the_machine(source):
    text = (FOLDER / f"{source.stem}.ipynb").read_text("utf-8")
    text = re.sub(r"base64,[\w+/=]+|\"image/png\": \"[\w+/=\\]+\"", "", text)
    found = re.search(r"(?<![\w.~-])/(?:home|root|Users|tmp|work)/[.\w]+", text)
    assert not found, found.group(0)
    assert not re.search(r"ipykernel_\d+|site-packages", text)


@every_lesson
def test_the_notebook_shows_results_within_the_bands_of_cpu(source):
    code = [cell for cell in built(source).cells if cell.cell_type == "code"]
    data = [output.get("data", {}) for cell in code for output in cell.outputs]
    mime = execution.BAND_MIME
    bands = [shown[mime] for shown in data if mime in shown]
    assert bands, "the lesson ends without its band"
    assert [(band["profile"], band["inside"]) for band in bands] == [("cpu", True)]


def mime_types(code: list) -> set[str]:
    outputs = [output for cell in code for output in cell.outputs]
    return {key for output in outputs for key in output.get("data", {})}


EXPLORED = {  # what the explorer is for in a lesson
    "01": "explore(record",
    "03": "explore(reader, sentence",
    "05": "through_training(",
    "06": "through_training(",
    "07": "compare(untouched",
}


@pytest.mark.parametrize("number", EXPLORED)
def test_the_explorer_stands_in_the_saved_lesson_with_a_picture(number):
    (source,) = (path for path in SOURCES if path.stem.startswith(number))
    code = [cell for cell in built(source).cells if cell.cell_type == "code"]
    (asked,) = (cell for cell in code if EXPLORED[number] in cell.source)
    shown = [x.get("data", {}).get("text/html", "") for x in asked.outputs]
    (page,) = (html for html in shown if '{"explorer":' in html)
    assert re.search('<img src="data:image/png[^>]* alt="[^"]{40}', page)


# It runs

RECORD = """
from llmkit import figures
played, really_play = [], figures.play
def play(draw, **controls):
    played.append((draw, controls))
    really_play(draw, **controls)
figures.play = play
"""
TRY = """
import re
def try_all(draw, controls):
    first = {name: control.value for name, control in controls.items()}
    for name, control in controls.items():
        ends = getattr(control, "options", None) or (control.min, control.max)
        for value in ends:
            shown = draw(**first | {name: value})._repr_html_()
            assert re.search('<img [^>]*alt="[^"]{10}', shown), name
for draw, controls in played:
    try_all(draw, controls)
"""


def with_every_control_tried(source: Path, folder: Path) -> Path:
    """Copy a lesson, with a last cell that draws at the ends of every control."""
    book, lesson = built(source), folder / f"{source.stem}.ipynb"
    count = sum(cell.source.count("figures.play(") for cell in book.cells)
    first = [c.cell_type for c in book.cells].index("code") + 1  # after parameters
    book.cells.insert(first, nbformat.v4.new_code_cell(RECORD))
    last = f"assert len(played) == {count}\n{TRY}"
    book.cells.append(nbformat.v4.new_code_cell(last))
    nbformat.write(book, lesson)
    return lesson


@pytest.mark.slow
@pytest.mark.lesson
@pytest.mark.process
@every_lesson
def test_the_lesson_runs_in_profile_smoke(source, tmp_path):
    lesson = with_every_control_tried(source, tmp_path)
    out, smoke = tmp_path / "out" / lesson.name, {"profile": "smoke"}
    outcome = execution.execute(lesson, out, smoke, folder=FOLDER)
    assert outcome.problems == []
    assert [band["profile"] for band in outcome.bands] == ["smoke"]
    assert sum(outcome.checks.values()) >= 3
    seconds[source.stem] = outcome.seconds


@pytest.mark.slow
@pytest.mark.lesson
def test_the_course_in_profile_smoke_takes_under_four_minutes():
    if len(seconds) < len(SOURCES):
        pytest.skip("not every lesson ran: start all of test_lessons.py")
    assert sum(seconds.values()) < ALL_SMOKE_SECONDS, seconds
