"""Build the lessons that a learner opens from the sources that an author edits.

notebooks/source/NN_name.py (py:percent text) becomes notebooks/NN_name.ipynb, executed
in its default profile and cleaned, so that a rebuild changes only what has changed: the
same cell has the same id, and nothing of the machine that built it stays behind.
"""

import hashlib
import os
import re
import sys
import tempfile
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from llmkit.course.execution import ROOT, execute, find_lessons, require

WIDGET_MIME = "application/vnd.jupyter.widget-view+json"
WIDGET_TEXT = "[a live widget: run this cell to use it]"
MOST_TEXT = 20_000  # characters of printed text that one output keeps
MOST_BYTES = 1_500_000  # of one notebook
KERNEL = {"name": "python3", "display_name": "Python 3", "language": "python"}
METADATA = {"kernelspec": KERNEL, "language_info": {"name": "python"}}


@dataclass(frozen=True)
class NotebookOptions:
    """Build the notebooks from their sources, or only compare them."""

    only: list[str] = field(default_factory=list)  # lessons to build, such as 01 06
    check: bool = False  # build nothing: fail where source and notebook differ


def build(options: NotebookOptions, folder: Path | None = None) -> int:
    """Build or check every lesson; return 1 where one fails or differs, else 0.

    folder: the notebooks' folder, with source/ inside; the clone's unless told.

    Raises: ValueError for an unknown lesson, or a folder without sources.
    """
    require("papermill")
    require("jupytext")
    folder = folder or ROOT / "notebooks"
    sources = find_lessons(folder / "source", options.only, ".py")
    problems = []
    for source in sources:
        target = folder / f"{source.stem}.ipynb"
        look = difference if options.check else build_lesson
        found = look(source, target)
        print(f"{source.stem}: {found or 'ok'}", flush=True)
        problems += filter(None, [found])
    if options.check and problems:
        print("The notebooks are built from their sources: run `make notebooks`.")
    return int(bool(problems))


def convert(source: Path) -> Any:
    """Read a source as a notebook without outputs; equal cells have equal ids."""
    import jupytext
    import nbformat

    book = jupytext.read(source, fmt="py:percent")
    seen: Counter[str] = Counter()
    cells = []
    for cell in book.cells:
        text = f"{cell.cell_type} {cell.source}"
        digest = hashlib.sha256(text.encode()).hexdigest()[:10]
        seen[digest] += 1
        cell["id"] = digest if seen[digest] == 1 else f"{digest}-{seen[digest]}"
        cells.append(cell)
    return nbformat.v4.new_notebook(cells=cells, metadata=METADATA)


def build_lesson(source: Path, target: Path) -> str:
    """Execute a source into its notebook; return "", or why the old one was kept."""
    import nbformat

    book = convert(source)
    with tempfile.TemporaryDirectory() as scratch:
        draft, done = Path(scratch) / target.name, Path(scratch) / "done.ipynb"
        nbformat.write(book, draft)
        outcome = execute(draft, done, {}, folder=target.parent)
        if outcome.problems:
            return "; ".join(outcome.problems)
        executed = nbformat.read(done, as_version=4)
    for cell, result in zip(book.cells, executed.cells, strict=True):
        if cell.cell_type == "code":
            cell.execution_count = result.execution_count
            cell.outputs = [clean(output) for output in result.outputs]
    text = nbformat.writes(book) + "\n"
    if len(text.encode()) > MOST_BYTES:
        size = f"{len(text.encode()):,} bytes, more than {MOST_BYTES:,}"
        return f"{size}: draw smaller figures, print less"
    part = target.with_suffix(".part")
    part.write_text(text, encoding="utf-8")
    os.replace(part, target)  # whole or not at all
    return ""


def difference(source: Path, target: Path) -> str:
    """Say where a notebook is not what its source would build, or return ""."""
    import nbformat

    if not target.exists():
        return f"{target.name} is missing"
    new, old = convert(source), nbformat.read(target, as_version=4)
    for number, (ours, theirs) in enumerate(zip(new.cells, old.cells), start=1):
        if any(ours.get(key) != theirs.get(key) for key in ("cell_type", "source")):
            first = (ours.source.splitlines() or [""])[0]
            return f"cell {number} differs (source: {first!r})"
        if ours.metadata.get("tags") != theirs.metadata.get("tags"):
            return f"cell {number} has other tags"
    if len(new.cells) != len(old.cells):
        return f"{len(new.cells)} cells in the source, {len(old.cells)} in the notebook"
    return ""


def clean(output: Any) -> Any:
    """Keep of an output what is true on another machine too.

    A live widget becomes a line of text unless the output also shows something else.
    """
    data = output.get("data", {})
    if data.pop(WIDGET_MIME, None) and set(data) <= {"text/plain"}:
        data["text/plain"] = WIDGET_TEXT
    for mime, value in data.items():
        if mime.startswith("text/"):
            data[mime] = without_machine(value)
    if "text" in output:
        text = without_machine(output.text)
        left_out = len(text) - MOST_TEXT
        end = f"\n… and {left_out} characters more\n"
        output.text = text[:MOST_TEXT] + end if left_out > 0 else text
    return output


def without_machine(text: str) -> str:
    """Replace the folders, process numbers and addresses of this machine.

    >>> without_machine("<Cell at 0x7f3b5c0d1e20>")
    '<Cell at 0x…>'
    """
    names = {str(ROOT): ".", sys.prefix: "[env]", str(Path.home()): "~"}
    names[tempfile.gettempdir()] = "[tmp]"
    for path in sorted(names, key=len, reverse=True):  # the inner folder first
        text = re.sub(re.escape(path) + r"(?![\w-])", names[path], text)
    text = re.sub(r"\[tmp\]/ipykernel_\d+/\d+\.py", "[cell]", text)
    return re.sub(r"\b0x[0-9a-f]{8,}\b", "0x…", text)
