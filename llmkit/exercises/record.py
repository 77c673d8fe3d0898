"""Keep what a learner has done in one small JSON file on this machine. Lesson 00.

The file stands in the user's data folder, or in LLMKIT_HOME where that is set. It is
replaced as a whole, never written in place; a lock lets two notebooks share it. Where
LLMKIT_HEADLESS=1 (a course run by a machine) nothing is written.
"""

import json
import os
import tempfile
import warnings
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path

from llmkit.exercises.cards import FAILED, NOT_ATTEMPTED, PASSED


@dataclass(frozen=True)
class Entry:
    """Hold how far a learner came with one exercise."""

    status: str = NOT_ATTEMPTED
    attempts: int = 0
    hints: int = 0  # levels seen

    def tried(self, status: str) -> "Entry":
        """Return this entry after one more try; what has passed stays passed.

        >>> Entry(PASSED, attempts=1).tried(FAILED)
        Entry(status='passed', attempts=2, hints=0)
        """
        best = PASSED if PASSED in (status, self.status) else FAILED
        return replace(self, status=best, attempts=self.attempts + 1)


@dataclass(frozen=True)
class Record:
    """Read and write the file of one learner."""

    path: Path

    def read(self) -> dict[str, Entry]:
        """Return what is known, by exercise; a damaged file is set aside, not lost."""
        try:
            entries = json.loads(self.path.read_text("utf-8"))["exercises"]
            return {id: _entry(data) for id, data in entries.items()}
        except FileNotFoundError:
            return {}
        except OSError as error:
            warnings.warn(f"your progress cannot be read: {error}", stacklevel=3)
            return {}
        except (ValueError, KeyError, TypeError, AttributeError):
            self._set_aside()
            return {}

    def update(self, id: str, change: Callable[[Entry], Entry]) -> None:
        """Change one entry; where nothing can be saved, say so and let work go on."""
        from filelock import FileLock

        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with FileLock(self.path.with_suffix(".lock"), timeout=5):
                entries = self.read()
                entries[id] = change(entries.get(id, Entry()))
                self._write(entries)
        except OSError as error:  # a lock that never comes free is one of these too
            warnings.warn(
                f"your progress cannot be saved: {error}; set LLMKIT_HOME to a folder "
                "that you may write to",
                stacklevel=3,
            )

    def tried(self, id: str, status: str) -> None:
        """Note one more try of an exercise; a stub left as it was is none."""
        if status != NOT_ATTEMPTED:
            self.update(id, lambda entry: entry.tried(status))

    def _write(self, entries: dict[str, Entry]) -> None:
        content = {"exercises": {id: asdict(e) for id, e in sorted(entries.items())}}
        text = json.dumps(content, indent=1)
        handle, draft = tempfile.mkstemp(dir=self.path.parent, prefix=".progress-")
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            os.replace(draft, self.path)
        except BaseException:
            with suppress(OSError):
                os.unlink(draft)
            raise

    def _set_aside(self) -> None:
        names = (self.path.with_suffix(f".damaged-{n}.json") for n in range(1, 1000))
        aside = next(name for name in names if not name.exists())
        with suppress(OSError):
            os.replace(self.path, aside)
        warnings.warn(
            f"your progress file was damaged; it is kept as {aside.name}, and a new "
            "one begins",
            stacklevel=4,
        )


class NoRecord(Record):
    """Remember nothing: what a course run by a machine uses."""

    def read(self) -> dict[str, Entry]:
        """Return nothing."""
        return {}

    def update(self, id: str, change: Callable[[Entry], Entry]) -> None:
        """Write nothing."""


def record() -> Record:
    """Return the learner's record."""
    path = home() / "progress.json"
    return NoRecord(path) if headless() else Record(path)


def home() -> Path:
    """Return the folder of the learner's data: LLMKIT_HOME, or the system's choice."""
    chosen = os.environ.get("LLMKIT_HOME")
    if chosen:
        return Path(chosen).expanduser()
    from platformdirs import user_data_dir

    return Path(user_data_dir("llmkit", appauthor=False))


def headless() -> bool:
    """Tell whether a machine, not a learner, runs this: LLMKIT_HEADLESS=1."""
    return os.environ.get("LLMKIT_HEADLESS", "0") not in ("", "0")


def _entry(data: dict) -> Entry:
    known = {field.name for field in fields(Entry)}
    entry = Entry(**{key: value for key, value in data.items() if key in known})
    if not (isinstance(entry.status, str) and isinstance(entry.attempts, int)):
        raise TypeError(f"not an entry: {data!r}")
    return entry
