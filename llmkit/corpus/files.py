"""Read the user's own files: texts, tables and folders of them.

Whatever is wrong with a file is a ValueError that names it and says what to do.
"""

import io
import json
import os
import warnings
from collections.abc import Iterator, Set
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    import pandas

TEXTS = (".txt", ".md")
TABLES = (".jsonl", ".csv", ".tsv", ".parquet")


def read(path: Path, column: str | None = None) -> Iterator[str]:
    """Yield a file's texts: its whole content, or the rows of one column of a table.

    Of a folder, yield those of all files in it, in the order of their names. An empty
    file in a folder is passed over.
    """
    ending = path.suffix.lower()
    if path.is_dir():
        for each in files_in(path):
            yield from read(each, column)
    elif ending in TEXTS:
        yield read_text(path)
    elif ending in TABLES:
        table = read_table(path)
        yield from table[text_column(table, column, str(path))].dropna()
    else:
        raise wrong_ending(path)


def files_in(folder: Path) -> list[Path]:
    """Return the files in a folder that can be read and are not empty, sorted."""
    files = [each for each in walk(folder, TEXTS + TABLES) if each.stat().st_size]
    if files:
        return files
    raise ValueError(
        f"{folder}: no text in this folder: expected files that end in "
        f"{', '.join(TEXTS + TABLES)}"
    )


def walk(
    folder: Path, endings: tuple[str, ...], skipped: Set[str] = frozenset()
) -> Iterator[Path]:
    """Yield the files with these endings, sorted, and none that is hidden."""
    for here, folders, names in os.walk(folder, onerror=refuse):
        folders[:] = sorted({n for n in folders if n[0] != "."} - skipped)
        for name in sorted(names):
            if name.lower().endswith(endings) and name[0] != ".":
                yield Path(here, name)


def read_text(path: Path) -> str:
    """Return the text of a UTF-8 file, with each end of a line as one newline."""
    content = _read_bytes(path)
    if b"\0" in content:
        raise binary(path)
    try:
        text = content.decode("utf-8").removeprefix("\ufeff")  # Windows' mark of UTF-8
    except UnicodeDecodeError as error:
        raise not_utf8(path, error) from error
    if not text.strip():
        raise empty(path)
    return text.replace("\r\n", "\n").replace("\r", "\n")


def read_table(path: Path) -> "pandas.DataFrame":
    """Return the table in a .jsonl, .csv, .tsv or .parquet file."""
    import pandas
    from pandas.errors import ParserWarning

    ending = path.suffix.lower()
    if ending == ".jsonl":
        return pandas.DataFrame(_json_rows(path))
    content = _read_bytes(path) if ending == ".parquet" else read_text(path)
    try:
        if ending == ".parquet":
            return pandas.read_parquet(io.BytesIO(content))
        with warnings.catch_warnings():
            warnings.simplefilter("error", ParserWarning)  # more cells than the header
            return pandas.read_csv(
                io.StringIO(content),
                sep="\t" if ending == ".tsv" else ",",
                index_col=False,
                keep_default_na=False,  # the word "null" is a text,
                na_values=[""],  # and only an empty cell is missing
                low_memory=False,
            )
    except (ValueError, OSError, ParserWarning) as error:
        raise not_a_table(path, error) from error


def text_column(table: "pandas.DataFrame", wanted: str | None, where: str) -> str:
    """Choose the column to read: the wanted one, or "text", or the longest strings."""
    from pandas.api.types import infer_dtype

    lengths = {
        name: table[name].dropna().str.len().mean()
        for name in table.columns
        if infer_dtype(table[name], skipna=True) == "string"
    }
    best = "text" if "text" in lengths else max(lengths, key=lengths.get, default=None)
    column = wanted or best
    if column in lengths:
        return column
    raise ValueError(
        f"{where}: no text in "
        + (f"a column {wanted!r}" if wanted else "any column")
        + f": its columns are {', '.join(map(str, table.columns)) or 'none'}, those of "
        f"text are {', '.join(lengths) or 'none'}: name one with SOURCE#COLUMN"
    )


def one_line(error: Exception) -> str:
    """Return what an error says, in one line.

    >>> one_line(ValueError("two\\nlines"))
    'two lines'
    """
    return " ".join(str(error).split())[:300] or type(error).__name__


def json_row(path: Path, number: int, line: str) -> dict:
    """Return the object in a line of a .jsonl file; its number is for the complaint."""
    try:
        row = json.loads(line)
    except ValueError as error:
        raise ValueError(
            f"{path}: line {number} is not JSON ({error}): expected one object "
            'a line, such as {"text": "..."}'
        ) from error
    if isinstance(row, dict):
        if any("\\ud" in line.lower() and _broken(each) for each in row.values()):
            raise ValueError(
                f"{path}: line {number} has half of a surrogate pair (\\ud800 to "
                "\\udfff), which is no character: mend it, or take it out"
            )
        return row
    raise ValueError(
        f"{path}: line {number} is JSON but not an object: expected one "
        'object a line, such as {"text": "..."}'
    )


def _broken(value: object) -> bool:
    """Tell whether a text holds half of a character."""
    halves = range(0xD800, 0xE000)
    return isinstance(value, str) and any(ord(c) in halves for c in value)


def _json_rows(path: Path) -> list[dict]:
    lines = enumerate(read_text(path).split("\n"), start=1)
    return [json_row(path, number, line) for number, line in lines if line.strip()]


def _read_bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        refuse(error)


def refuse(error: OSError) -> NoReturn:
    """Complain that a file or folder cannot be read."""
    raise ValueError(
        f"{error.filename}: cannot be read ({error.strerror}): check its permissions"
    ) from error


def binary(path: Path) -> ValueError:
    """Return the complaint about a file that is no text."""
    return ValueError(
        f"{path}: this is binary data, not text (it holds NUL bytes): expected "
        "UTF-8; a text in UTF-16 becomes that by: iconv -f utf-16 -t utf-8"
    )


def not_utf8(
    path: Path, error: UnicodeDecodeError, offset: int = 0, lines: int = 0
) -> ValueError:
    """Return the complaint about a text in another encoding.

    `offset` bytes and `lines` ends of lines came before the piece with the error.
    """
    line = lines + error.object.count(b"\n", 0, error.start) + 1
    return ValueError(
        f"{path}: not a text in UTF-8: byte 0x{error.object[error.start]:02x} at "
        f"offset {offset + error.start} (line {line}) does not belong there: convert "
        f"the file, for example by: iconv -f latin1 -t utf-8 {path.name!r} > new.txt"
    )


def empty(path: Path) -> ValueError:
    """Return the complaint about a file without text."""
    return ValueError(f"{path}: this file is empty: expected some text")


def not_a_table(path: Path, error: Exception) -> ValueError:
    """Return the complaint about a table that cannot be read."""
    return ValueError(
        f"{path}: not a well-formed {path.suffix.lower()} table: {one_line(error)}: "
        "repair it, or save its text as .txt"
    )


def wrong_ending(path: Path) -> ValueError:
    """Return the complaint about a file of an unknown kind."""
    return ValueError(
        f"{path}: cannot read a file that ends in {path.suffix.lower()!r}: expected "
        f"one of {', '.join(TEXTS + TABLES)}: save it as plain text, or rename it"
    )
