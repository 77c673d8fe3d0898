"""The one file that each tokenizer is saved to and loaded from."""

import json
import os
from pathlib import Path

FILE = "tokenizer.json"


def read(folder: str | Path) -> tuple[Path, dict]:
    """Return the path of the tokenizer's file in the folder, and what it holds.

    Raises ValueError where there is none, or where it is no JSON object.
    """
    path = Path(folder).expanduser() / FILE
    try:
        saved = json.loads(path.read_text("utf-8"))
        if not isinstance(saved, dict):
            raise ValueError("it is no JSON object")
    except OSError as error:
        raise ValueError(
            f"{path}: cannot be read ({error.strerror}): expected a folder that a "
            "tokenizer was saved to, such as the one that a model was trained into"
        ) from error
    except ValueError as error:
        raise damaged(path, error) from error
    return path, saved


def damaged(path: Path, error: Exception) -> ValueError:
    """Return the complaint that the file cannot be understood."""
    return ValueError(
        f"{path}: this tokenizer is damaged ({one_line(error)}): copy it anew, or "
        "train it again"
    )


def write(folder: str | Path, content: str) -> None:
    """Write the whole file or, where that fails, leave the old one as it was."""
    path = Path(folder).expanduser() / FILE
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(FILE + ".part")
    try:
        part.write_text(content, "utf-8")
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def one_line(error: Exception) -> str:
    """Return what an error says, on one line and not too long."""
    return " ".join(str(error).split())[:300] or type(error).__name__
