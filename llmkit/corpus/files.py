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
        files = [each for each in walk(path, TEXTS + TABLES) if each.stat().st_size]
        if not files:
            raise ValueError(
                f"{path}: no text in this folder: expected files that end in "
                f"{', '.join(TEXTS + TABLES)}"
            )
        for each in files:
            yield from read(each, column)
    elif ending in TEXTS:
        yield read_text(path)
    elif ending in TABLES:
        table = read_table(path)
        yield from table[text_column(table, column, str(path))].dropna()
    else:
        raise ValueError(
            f"{path}: cannot read a file that ends in {ending!r}: expected one of "
            f"{', '.join(TEXTS + TABLES)}: save it as plain text, or rename it"
        )


def walk(
    folder: Path, endings: tuple[str, ...], skipped: Set[str] = frozenset()
) -> Iterator[Path]:
    """Yield the files with these endings, sorted, and none that is hidden."""
    for here, folders, names in os.walk(folder, onerror=_refuse):
        folders[:] = sorted({n for n in folders if n[0] != "."} - skipped)
        for name in sorted(names):
            if name.lower().endswith(endings) and name[0] != ".":
                yield Path(here, name)


def read_text(path: Path) -> str:
    """Return the text of a UTF-8 file, with each end of a line as one newline."""
    content = _read_bytes(path)
    if b"\0" in content:
        raise ValueError(
            f"{path}: this is binary data, not text (it holds NUL bytes): expected "
            "UTF-8; a text in UTF-16 becomes that by: iconv -f utf-16 -t utf-8"
        )
    try:
        text = content.decode("utf-8").removeprefix("\ufeff")  # Windows' mark of UTF-8
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ValueError(
            f"{path}: not a text in UTF-8: byte 0x{content[error.start]:02x} at offset "
            f"{error.start} (line {line}) does not belong there: convert the file, for "
            f"example by: iconv -f latin1 -t utf-8 {path.name!r} > new.txt"
        ) from error
    if not text.strip():
        raise ValueError(f"{path}: this file is empty: expected some text")
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
        raise ValueError(
            f"{path}: not a well-formed {ending} table: {one_line(error)}: repair "
            "it, or save its text as .txt"
        ) from error


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


def _json_rows(path: Path) -> list[dict]:
    rows = []
    for number, line in enumerate(read_text(path).split("\n"), start=1):
        if line.strip():
            try:
                rows.append(json.loads(line))
            except ValueError as error:
                raise ValueError(
                    f"{path}: line {number} is not JSON ({error}): expected one object "
                    'a line, such as {"text": "..."}'
                ) from error
            if not isinstance(rows[-1], dict):
                raise ValueError(
                    f"{path}: line {number} is JSON but not an object: expected one "
                    'object a line, such as {"text": "..."}'
                )
    return rows


def _read_bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        _refuse(error)


def _refuse(error: OSError) -> NoReturn:
    raise ValueError(
        f"{error.filename}: cannot be read ({error.strerror}): check its permissions"
    ) from error
