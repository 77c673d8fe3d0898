"""The folder of a run: which run it holds, and what was written down. Lesson 08."""

import json
import os
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path
from typing import TextIO

RECORD = "run.json"  # which run it is
LOG = "metrics.jsonl"  # one line a step


def write_record(out: Path, identity: dict) -> None:
    """Write down which run a folder holds, whole or not at all."""
    _replace_text(out / RECORD, json.dumps(identity, indent=1) + "\n")


def check_same_run(
    out: Path,
    identity: dict,
    may_change: Collection[str] = (),
    later: Collection[str] = (),
) -> None:
    """Let a run go on only as what it was.

    identity: what says which run this is, to be found in the folder's record; but for
    what may change, and what a record of before has not.

    Raises: ValueError naming what differs, or if the record is damaged.
    """
    try:
        before = dict(json.loads((out / RECORD).read_text()))
    except (ValueError, TypeError):
        raise ValueError(
            f"--resume: {str(out / RECORD)!r} is damaged; begin again with "
            "--overwrite, or choose another --out"
        ) from None
    for name, now in identity.items():
        first = before.get(name, now if name in later else None)
        if name not in may_change and first != now:
            raise ValueError(
                f"--resume: {str(out)!r} was started with {name} {first!r}, not "
                f"{now!r}; use the same, or another --out"
            )


def keep_log_before(number: int, out: Path, run: int = 0) -> None:
    """Drop lines of steps that are made again, and one that a crash cut short.

    run: of several runs in one folder, which of them makes the step.
    """
    log, kept = out / LOG, []
    for line in log.read_text().splitlines() if log.exists() else []:
        try:
            told = json.loads(line)
            if (told.get("run", 0), told["number"]) < (run, number):
                kept.append(line + "\n")
        except (ValueError, TypeError, KeyError, AttributeError):
            continue
    _replace_text(log, "".join(kept))


def write_line(log: TextIO, step: dict) -> None:
    """Write down a step.

    Raises: OSError if the disk is full, and what to do then.
    """
    try:
        log.write(json.dumps(step) + "\n")
    except OSError as error:
        with suppress(OSError):  # of what it holds still, which would be told instead
            log.close()
        raise OSError(
            f"could not write {LOG}: {error}; free some disk and go on with --resume"
        ) from error


def _replace_text(file: Path, text: str) -> None:
    draft = file.with_name(f"{file.name}.part")
    draft.write_text(text)
    os.replace(draft, file)
