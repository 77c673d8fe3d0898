"""The course runner and the builder, on tiny lessons in a folder with a space."""

import json
import os
import re
import subprocess
import sys

import nbformat
import psutil
import pytest

from llmkit import course
from llmkit.course import CourseOptions, NotebookOptions, building, execute, execution

PARAMETERS = 'profile = "cpu"\ncorpus: str = "stories"\nseed = 0'
SHOW = """\
from IPython.display import display
def show(mime, **data):
    display({"text/plain": "", f"application/vnd.llmkit.{mime}+json": data}, raw=True)
"""
CHECKS = """\
show("check", id="01.1", status="failed")
show("check", id="01.1", status="passed")
show("check", id="01.2", status="not attempted")
"""
BAND = """\
inside = seed == 0
row = dict(name="val_loss", value=2, inside=inside, message="too high (2 > 1): why")
show("band", lesson="01", profile=profile, inside=inside, results=[row])
"""


@pytest.fixture
def folder(tmp_path):
    """The notebooks' folder of a clone whose path has a space."""
    folder = tmp_path / "a clone" / "notebooks"
    (folder / "source").mkdir(parents=True)
    return folder


def write(folder, name, *cells, parameters=PARAMETERS):
    """Write a lesson of code cells; the first is tagged `parameters`."""
    made = [nbformat.v4.new_code_cell(source) for source in (parameters, *cells)]
    made[0].metadata["tags"] = ["parameters"]
    path = folder / f"{name}.ipynb"
    nbformat.write(nbformat.v4.new_notebook(cells=made), path)
    return path


def write_source(folder, name, *cells):
    """Write the source of a lesson: a title, the parameters, and code cells."""
    text = f'# %% [markdown]\n# # Title\n\n# %% tags=["parameters"]\n{PARAMETERS}\n'
    path = folder / "source" / f"{name}.py"
    path.write_text("\n# %%\n".join([text, *cells]), encoding="utf-8")
    return path


def texts(path):
    """Return all that the code cells of a notebook printed."""
    cells = nbformat.read(path, as_version=4).cells
    outputs = [output for cell in cells for output in cell.get("outputs", [])]
    return "".join(output.get("text", "") for output in outputs)


@pytest.mark.slow
@pytest.mark.process
def test_a_lesson_runs_in_this_python_with_its_parameters(folder, tmp_path):
    probe = "import os, sys, llmkit; print([profile, seed, sys.executable])"
    where = "print(os.getcwd(), os.environ['LLMKIT_HEADLESS'], llmkit.__file__)"
    lesson = write(folder, "01_ok", f"{probe}; {where}")
    outcome = execute(lesson, tmp_path / "o u t" / "x.ipynb", {"profile": "smoke"})
    assert (outcome.problems, outcome.cells) == ([], 3)  # one holds what was given
    said = texts(tmp_path / "o u t" / "x.ipynb")
    assert repr(["smoke", 0, sys.executable]) in said
    assert f"{folder} 1 {execution.ROOT / 'llmkit'}" in said


@pytest.mark.slow
@pytest.mark.process
def test_checks_and_bands_are_collected(folder, tmp_path):
    lesson = write(folder, "01_ok", SHOW, CHECKS, BAND)
    outcome = execute(lesson, tmp_path / "x.ipynb", {})
    assert outcome.checks == {"passed": 1, "not attempted": 1}
    assert outcome.bands[0]["profile"] == "cpu"
    assert outcome.problems == []
    outside = execute(lesson, tmp_path / "x.ipynb", {"seed": 1})
    assert outside.problems == ["01_ok: val_loss is too high (2 > 1): why"]


@pytest.mark.slow
@pytest.mark.process
def test_a_failing_lesson_is_named_and_the_rest_still_runs(folder, tmp_path, capsys):
    write(folder, "01_bad", "x = 1", "# why\ny = x / 0\n")
    write(folder, "02_late", SHOW, BAND)
    out = tmp_path / "built course"
    assert course.run(CourseOptions(profile="smoke", out=str(out)), folder) == 1
    said = capsys.readouterr().out
    assert "01_bad: cell In [4] `y = x / 0`: ZeroDivisionError: division by" in said
    said = re.sub(r"\d\.\d  ", "N.N  ", said)  # minutes, on whatever machine
    assert "| 01_bad  | N.N     | 4     | none   | failed      |" in said
    assert "| 02_late | N.N     | 4     | none   | as expected |" in said
    assert said.endswith(f"1 of 2 lessons as expected; see {out}\n")
    assert sorted(path.name for path in out.iterdir()) == [
        "01_bad.ipynb",
        "02_late.ipynb",
    ]


@pytest.mark.slow
@pytest.mark.process
@pytest.mark.parametrize(
    "cell, said",
    [
        ("import time; time.sleep(60)", "still running after 1 s, the limit for one"),
        ("import os; os._exit(3)", "DeadKernelError: Kernel died"),
        ("raise ValueError('first\\nsecond')", "ValueError: first"),
    ],
)
def test_whatever_stops_a_cell_is_one_line(folder, tmp_path, cell, said):
    lesson = write(folder, "01_bad", cell)
    outcome = execute(lesson, tmp_path / "x.ipynb", {}, cell_seconds=1)
    assert outcome.error.startswith(f"cell In [2] `{cell}`: {said}")
    assert "\n" not in outcome.error
    assert outcome.cells == 2


def test_a_misspelt_parameter_is_refused_before_anything_runs(folder, tmp_path):
    lesson = write(folder, "01_ok", "1 / 0")
    with pytest.raises(ValueError) as refused:
        execute(lesson, tmp_path / "x.ipynb", {"profil": "smoke"})
    assert str(refused.value) == (
        "01_ok.ipynb has no parameter 'profil' (did you mean 'profile'?); "
        "it has: profile, corpus, seed"
    )
    assert not (tmp_path / "x.ipynb").exists()
    bare = write(folder, "02_bare", parameters="")
    with pytest.raises(ValueError, match="'profile'; it has: none"):
        execution.check_parameters(bare, {"profile": "cpu"})


@pytest.mark.parametrize(
    "options, message",
    [
        ({"profile": "tiny"}, "unknown profile 'tiny': choose from smoke, cpu, gpu"),
        ({"only": ["07"]}, "there is no lesson '07': choose from 01_ok, 02_none"),
        ({"only": ["02"], "corpus": "x"}, "none of these lessons takes a corpus: 02"),
    ],
)
def test_a_mistake_in_the_options_is_explained(folder, tmp_path, options, message):
    write(folder, "01_ok")
    write(folder, "02_none", parameters='profile = "cpu"')
    with pytest.raises(ValueError, match=message):
        course.run(CourseOptions(**options, out=str(tmp_path / "out")), folder)
    assert not (tmp_path / "out").exists()


def test_the_lessons_are_not_overwritten(folder):
    lesson = write(folder, "01_ok")
    before = lesson.read_text()
    with pytest.raises(ValueError, match="would overwrite the lessons themselves"):
        course.run(CourseOptions(out=str(folder / "source" / "..")), folder)
    assert lesson.read_text() == before


@pytest.mark.parametrize("runner", ["run", "build"])
def test_a_missing_package_says_how_to_install(folder, monkeypatch, runner):
    monkeypatch.setattr(execution.importlib.util, "find_spec", lambda name: None)
    options = CourseOptions() if runner == "run" else NotebookOptions()
    with pytest.raises(ValueError, match="papermill is missing: pip install -c"):
        getattr(course, runner)(options, folder)


def test_a_folder_without_lessons_is_explained(folder):
    with pytest.raises(ValueError, match=r"no lessons .* work in a clone of llmkit"):
        execution.find_lessons(folder, [])


def test_lessons_are_found_by_number_or_name(folder):
    one, six = write(folder, "01_attention"), write(folder, "06_next")
    write(folder, "notes")
    assert execution.find_lessons(folder, []) == [one, six]
    assert execution.find_lessons(folder, ["06", "01_attention"]) == [one, six]
    assert execution.find_lessons(folder, ["06"]) == [six]


@pytest.mark.slow
@pytest.mark.process
def test_a_corpus_goes_to_the_lessons_that_take_one(folder, tmp_path, monkeypatch):
    write(folder, "01_takes", "print(corpus)")
    write(folder, "02_none", "print(profile)", parameters='profile = "cpu"')
    (tmp_path / "my text.txt").write_text("once")
    monkeypatch.chdir(tmp_path)
    options = CourseOptions(profile="smoke", corpus="my text.txt", out="out")
    assert course.run(options, folder) == 0
    assert texts(tmp_path / "out" / "01_takes.ipynb") == f"{tmp_path}/my text.txt\n"
    assert texts(tmp_path / "out" / "02_none.ipynb") == "smoke\n"


def test_a_long_lesson_says_where_it_is(monkeypatch, capsys):
    clock = iter([0.0, 5.0, 12.0, 15.0])
    monkeypatch.setattr(execution.time, "perf_counter", lambda: next(clock))
    watch = execution._Watch()
    for source in ("# title\nfirst()", "second()", "third()"):
        watch(nbformat.v4.new_code_cell(source), 0)
    watch(nbformat.v4.new_markdown_cell("# text"), 0)
    assert capsys.readouterr().out == "    12 s: cell In [2] `second()`\n"
    assert watch.where == "cell In [3] `third()`"


# Building


@pytest.mark.slow
@pytest.mark.process
def test_a_built_lesson_is_executed_and_clean(folder, capsys):
    write_source(
        folder,
        "01_x",
        "import os, sys, warnings\nprint(os.getcwd(), sys.executable)",
        "warnings.warn('careful')",
        "import ipywidgets\nipywidgets.IntSlider()",
        "print('x' * 30_000)",
        "object()",
    )
    assert course.build(NotebookOptions(), folder) == 0
    assert capsys.readouterr().out == "01_x: ok\n"
    text = (folder / "01_x.ipynb").read_text(encoding="utf-8")
    book = nbformat.reads(text, as_version=4)
    assert book.metadata == building.METADATA  # neither widgets nor papermill
    assert [cell.get("execution_count") for cell in book.cells[1:]] == [*range(1, 7)]
    assert building.WIDGET_MIME not in text
    assert building.WIDGET_TEXT in text
    assert "<object at 0x…>" in text
    assert "[cell]:1: UserWarning: careful" in text
    assert "… and 10001 characters more" in text
    machine = [sys.prefix, str(execution.ROOT), os.path.expanduser("~") + os.sep]
    assert not [path for path in machine if path in text]
    assert list(folder.glob(".*")) + list(folder.glob("*.part")) == []


@pytest.mark.slow
@pytest.mark.process
def test_a_rebuild_changes_nothing_that_did_not_change(folder):
    source = write_source(folder, "01_x", "1 + 1", "1 + 1", "2 + 2")
    assert building.build_lesson(source, folder / "01_x.ipynb") == ""
    first = (folder / "01_x.ipynb").read_text()
    assert building.build_lesson(source, folder / "01_x.ipynb") == ""
    assert (folder / "01_x.ipynb").read_text() == first
    ids = [cell["id"] for cell in json.loads(first)["cells"]]
    assert len(set(ids)) == 5
    write_source(folder, "01_x", "0", "1 + 1", "1 + 1", "2 + 2")
    again = [cell["id"] for cell in building.convert(source).cells]
    assert set(ids) < set(again)


@pytest.mark.slow
@pytest.mark.process
def test_a_lesson_that_fails_or_grows_too_large_is_not_built(folder, monkeypatch):
    source, target = write_source(folder, "01_x", "1 / 0"), folder / "01_x.ipynb"
    target.write_text("the last good one")
    assert "In [2] `1 / 0`: ZeroDivisionError" in building.build_lesson(source, target)
    monkeypatch.setattr(building, "MOST_BYTES", 1000)
    source = write_source(folder, "01_x", "print('x' * 2000)")
    assert building.build_lesson(source, target).endswith(
        "draw smaller figures, print less"
    )
    assert target.read_text() == "the last good one"


def test_check_names_the_cell_that_differs(folder, capsys):
    source, target = (
        write_source(folder, "01_x", "a = 1", "b = 2"),
        folder / "01_x.ipynb",
    )
    check = NotebookOptions(check=True)
    assert course.build(check, folder) == 1
    assert "01_x: 01_x.ipynb is missing" in capsys.readouterr().out
    nbformat.write(building.convert(source), target)
    assert course.build(check, folder) == 0
    assert capsys.readouterr().out == "01_x: ok\n"
    write_source(folder, "01_x", "a = 1", "b = 3")
    assert course.build(check, folder) == 1
    said = capsys.readouterr().out
    assert "01_x: cell 4 differs (source: 'b = 3')" in said
    assert "run `make notebooks`" in said
    write_source(folder, "01_x", "a = 1")
    assert building.difference(source, target) == (
        "3 cells in the source, 4 in the notebook"
    )
    text = source.read_text().replace('"parameters"', '"other"')
    source.write_text(text)
    assert building.difference(source, target) == "cell 2 has other tags"


def test_an_output_keeps_its_picture_when_its_widget_goes():
    data = {building.WIDGET_MIME: {"model_id": "x"}, "image/png": "iVBO"}
    data["text/plain"] = "HBox()"
    output = nbformat.v4.new_output("display_data", data)
    kept = building.clean(output).data
    assert kept == {"image/png": "iVBO", "text/plain": "HBox()"}


# Runs a course, and presses Ctrl-C a second after its sleeping cell began.
INTERRUPTED = """
import os, pathlib, signal, sys, threading
from llmkit import course
from llmkit.course import execution
folder, out = sys.argv[1:]
started = execution._Watch.__call__
def watch(self, cell, cell_index):
    stop = threading.Timer(1, os.kill, (os.getpid(), signal.SIGINT))
    if "sleep" in cell.source: stop.start()
    started(self, cell, cell_index)
execution._Watch.__call__ = watch
course.run(course.CourseOptions(profile="smoke", out=out), pathlib.Path(folder))
"""


@pytest.mark.slow
@pytest.mark.process
def test_ctrl_c_ends_the_course_and_its_kernel(folder, tmp_path):
    write(folder, "01_slow", "import os, time; print(os.getpid()); time.sleep(60)")
    write(folder, "02_next", "1")
    out = tmp_path / "out"
    command = [sys.executable, "-c", INTERRUPTED, str(folder), str(out)]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=60, cwd=execution.ROOT
    )
    assert done.returncode != 0
    assert "KeyboardInterrupt" in done.stderr
    assert "01_slow" in done.stdout  # it had begun
    assert "02_next" not in done.stdout  # and nothing came after it
    kernel = int(texts(out / "01_slow.ipynb"))  # what the cell printed before it slept
    assert not psutil.pid_exists(kernel)
