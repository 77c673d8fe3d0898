"""Execute one lesson and say what came out.

Papermill runs it in its own folder, in a kernel of the very Python that runs this
module, with LLMKIT_HEADLESS=1. Checks and bands are read back from its outputs.
"""

import ast
import difflib
import importlib.util
import os
import re
import sys
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

CHECK_MIME = "application/vnd.llmkit.check+json"
BAND_MIME = "application/vnd.llmkit.band+json"
# seconds for one cell: one that needs more hangs, or belongs to a larger profile
CELL_SECONDS = {"smoke": 120, "cpu": 600, "gpu": 1200}
ROOT = Path(__file__).parents[2]
ANSI = re.compile(r"\x1b\[[0-9;]*m")


@dataclass(frozen=True)
class Outcome:
    """What came out of one lesson."""

    lesson: str
    seconds: float
    cells: int  # code cells
    checks: Counter[str]  # how many are "passed", "failed", "not attempted"
    bands: list[dict[str, Any]]
    error: str = ""  # the cell that failed, and how

    @property
    def misses(self) -> list[str]:
        """Say in one line each which results lie outside their bands."""
        return [
            f"{row['name']} is {row['message']}"
            for band in self.bands
            for row in band["results"]
            if not row["inside"]
        ]

    @property
    def problems(self) -> list[str]:
        """Say in one line each why this lesson counts as failed."""
        return [f"{self.lesson}: {x}" for x in [self.error, *self.misses] if x]


def require(package: str) -> None:
    """Refuse to start without a package of the extra `course`.

    Raises: ValueError that says how to install it.
    """
    if importlib.util.find_spec(package) is None:
        install = 'pip install -c constraints.txt -e ".[course]"'
        raise ValueError(f"{package} is missing: {install}")


def find_lessons(folder: Path, only: list[str], suffix: str = ".ipynb") -> list[Path]:
    """List the lessons of a folder in order: all, or those named by number or name.

    Raises: ValueError where the folder has none, or none of that name.
    """
    lessons = sorted(folder.glob(f"[0-9][0-9]_*{suffix}"))
    if not lessons:
        raise ValueError(
            f"no lessons (NN_name{suffix}) in {folder}: work in a clone of llmkit"
        )
    by_name = {path.stem: path for path in lessons}
    by_name |= {path.stem[:2]: path for path in lessons}
    if unknown := [name for name in only if name not in by_name]:
        known = ", ".join(path.stem for path in lessons)
        raise ValueError(f"there is no lesson {unknown[0]!r}: choose from {known}")
    return [path for path in lessons if not only or path in map(by_name.get, only)]


def execute(
    lesson: Path,
    out: Path,
    parameters: dict[str, Any],
    cell_seconds: float | None = None,
    folder: Path | None = None,
) -> Outcome:
    """Execute one notebook into another file and say what came out.

    cell_seconds: the limit for each cell, the profile's unless told. folder: where the
    kernel works, the lesson's own unless told. What goes wrong inside the notebook is
    part of the outcome, not an exception.

    Raises: ValueError for a parameter that the notebook does not have.
    """
    import papermill

    check_parameters(lesson, parameters)
    limit = cell_seconds or CELL_SECONDS[parameters.get("profile", "cpu")]
    out.parent.mkdir(parents=True, exist_ok=True)
    out.unlink(missing_ok=True)
    watch, error, start = _Watch(), "", time.perf_counter()
    try:
        papermill.execute_notebook(
            str(lesson),
            str(out.resolve()),
            parameters,
            cwd=str(folder or lesson.parent),
            kernel_name="python3",
            language="python",
            kernel_manager_class=_kernel_of_this_python(),
            execution_timeout=limit,
            on_cell_start=watch,
            progress_bar=False,
        )
    except Exception as raised:  # papermill, nbclient and the kernel have a dozen
        error = f"{watch.where}: {_explain(raised, limit)}"
    return _collect(lesson.stem, out, time.perf_counter() - start, error)


def check_parameters(lesson: Path, parameters: dict[str, Any]) -> None:
    """Refuse a parameter that the notebook does not have; papermill only logs it.

    Raises: ValueError that names the parameter, the likely one, and all there are.
    """
    known = parameters_of(lesson)
    for name in parameters:
        if name not in known:
            close = difflib.get_close_matches(name, known, n=1)
            meant = f" (did you mean {close[0]!r}?)" if close else ""
            raise ValueError(
                f"{lesson.name} has no parameter {name!r}{meant}; "
                f"it has: {', '.join(known) or 'none'}"
            )


def parameters_of(lesson: Path) -> list[str]:
    """List the names that the notebook's cell tagged `parameters` sets."""
    import nbformat

    cells = nbformat.read(lesson, as_version=4).cells
    tagged = [x.source for x in cells if "parameters" in x.metadata.get("tags", [])]
    names = [x for x in ast.walk(ast.parse("\n".join(tagged))) if type(x) is ast.Name]
    return [name.id for name in names if isinstance(name.ctx, ast.Store)]


def _kernel_of_this_python() -> type:
    """Return a kernel manager that runs this Python, whatever "python3" means here."""
    from jupyter_client.kernelspec import KernelSpec
    from jupyter_client.manager import AsyncKernelManager

    paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    options = ["--log-level=CRITICAL", "-f", "{connection_file}"]
    spec = KernelSpec(
        argv=[sys.executable, "-m", "ipykernel_launcher", *options],
        display_name="Python 3 (ipykernel)",
        language="python",
        env={"LLMKIT_HEADLESS": "1", "PYTHONPATH": os.pathsep.join(paths)},
    )

    class ThisPython(AsyncKernelManager):
        @property
        def kernel_spec(self) -> KernelSpec:
            return spec

    return ThisPython


class _Watch:
    """Know which code cell runs, and say so now and then while it takes long."""

    def __init__(self) -> None:
        self.where = "before the first cell"
        self.count, self.start = 0, time.perf_counter()
        self.spoke = self.start

    def __call__(self, cell: Any, cell_index: int) -> None:
        if cell.cell_type != "code":
            return
        self.count += 1
        lines = (line.strip() for line in cell.source.splitlines())
        first = next((line for line in lines if line and line[0] not in "#%"), "")
        self.where = f"cell In [{self.count}] `{first}`"
        now = time.perf_counter()
        if now - self.spoke > 10:
            print(f"    {now - self.start:.0f} s: {self.where}", flush=True)
            self.spoke = now


def _explain(error: Exception, limit: float) -> str:
    """Put what stopped a notebook into one line."""
    from nbclient.exceptions import CellTimeoutError
    from papermill.exceptions import PapermillExecutionError

    if isinstance(error, CellTimeoutError):
        return f"still running after {limit:g} s, the limit for one cell"
    kind, text = type(error).__name__, str(error)
    if isinstance(error, PapermillExecutionError):
        kind, text = error.ename, error.evalue
    return ": ".join([kind, *ANSI.sub("", text).strip().splitlines()[:1]])


def _collect(name: str, out: Path, seconds: float, error: str) -> Outcome:
    """Read the checks and bands back from what the notebook showed."""
    import nbformat

    cells = nbformat.read(out, as_version=4).cells if out.exists() else []
    code = [cell for cell in cells if cell.cell_type == "code"]
    data = [output.get("data", {}) for cell in code for output in cell.outputs]
    # a check that is run again replaces its earlier verdict
    checks = {
        d[CHECK_MIME]["id"]: d[CHECK_MIME]["status"] for d in data if CHECK_MIME in d
    }
    bands = [d[BAND_MIME] for d in data if BAND_MIME in d]
    return Outcome(name, seconds, len(code), Counter(checks.values()), bands, error)
