"""Text in, clean text out: load a corpus by its source string, clean it, and split it.

Every source becomes a `Corpus`: documents whose concatenation is the text that a model
reads; or, where it is larger than memory, a `stream` of them. There are no ids and no
tensors here: see `tokenizer` and `batches`.

Source: Lesson 04.
"""

import difflib
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from llmkit.corpus.cleaning import JUDGEMENTS, REPAIRS, clean, cleaned
from llmkit.corpus.duplicates import (
    Pair,
    deduplicate,
    deduplicated,
    duplicate_groups,
    jaccard,
    letter_shingles,
    near_duplicates,
    shingles,
)
from llmkit.corpus.files import TEXTS, read, read_text
from llmkit.corpus.hub import hub_texts
from llmkit.corpus.pydocs import python_docs
from llmkit.corpus.report import Example, Report
from llmkit.corpus.splitting import Leak, Leaks, leaks, split_documents
from llmkit.corpus.streaming import stream_files, stream_text
from llmkit.stories import stories

__all__ = [
    "JUDGEMENTS",
    "REPAIRS",
    "SOURCES",
    "Corpus",
    "Example",
    "Leak",
    "Leaks",
    "Pair",
    "Report",
    "clean",
    "cleaned",
    "deduplicate",
    "deduplicated",
    "describe",
    "duplicate_groups",
    "jaccard",
    "leaks",
    "letter_shingles",
    "load",
    "near_duplicates",
    "reviews_path",
    "shingles",
    "split",
    "split_documents",
    "stream",
]

SOURCES = {
    "stories": "our story language: any size, seeded, its entropy known; no network",
    "python-docs": "the English prose that comes inside Python; no network",
    "reviews": "the labelled reviews written for this course; no network",
    "PATH[#COLUMN]": "your .txt .md .jsonl .csv .tsv .parquet, or a folder of them",
    "hub:NAME[/CONFIG][:SPLIT][#COLUMN]": "a dataset of the Hugging Face hub",
}


@dataclass(frozen=True)
class Corpus:
    r"""Hold documents, each of which ends with `separator`; `len` counts characters.

    A single text file is one document, kept as it is, with the separator "".

    >>> corpus = Corpus("two lines", ("one\n", "two\n"), separator="\n")
    >>> corpus.text, len(corpus)
    ('one\ntwo\n', 8)
    """

    name: str  # the source string that it came from
    documents: tuple[str, ...]
    separator: str

    @property
    def text(self) -> str:
        """Return all documents as one string."""
        return "".join(self.documents)

    def __len__(self) -> int:
        """Return the number of characters."""
        return sum(map(len, self.documents))


def describe() -> str:
    """Return the source strings that `load` takes, one a line, for help texts.

    >>> print(describe().splitlines()[0])
    stories       our story language: any size, seeded, its entropy known; no network
    """
    return "\n".join(f"{source:<13} {what}" for source, what in SOURCES.items())


def load(source: str | Path, *, size: int | None = None, seed: int = 0) -> Corpus:
    """Load the corpus that `source` names: one of `describe()`.

    `size` is in characters: how many of stories to make (2,000,000 unless told), and
    the most to keep of any other source. Whole documents are kept. `seed` chooses the
    stories, and the order of python-docs. A name such as "stories" wins over a file
    of that name: write "./stories" for the file.

    Raises ValueError for a source that does not exist or does not hold clean text.

    >>> len(load("stories", size=10_000)) <= 10_000
    True
    """
    source = str(source)
    _check_size(size)
    documents, separator = _named(source, size, seed)
    if documents is None:
        path, column = _find(source)
        if path.suffix.lower() in TEXTS and path.is_file():
            return Corpus(source, (read_text(path)[:size],), separator="")
        documents = _ended(read(path, column), separator)
    taken = tuple(_take(documents, size))
    return Corpus(source, tuple(_some(taken, source)), separator)


def stream(
    source: str | Path,
    *,
    size: int | None = None,
    seed: int = 0,
    boundary: str = "\n\n",
    longest: int = 1_000_000,
) -> Iterator[str]:
    r"""Yield the documents of a source one after the other, holding none of its files.

    For text larger than memory. Source, size and seed are those of `load`, and the
    documents together are its text. A text file is cut into documents after each
    `boundary`, by itself or in a folder; a document of more than `longest` characters
    comes in pieces, cut after a line or before a space. The column of a table is
    chosen by its first thousand rows.

    Raises ValueError as `load` does: at once for a source that does not exist, else
    when the fault is reached.

    >>> documents = stream("stories", size=1_000_000_000, seed=4)
    >>> next(documents)[:36]
    'One warm night Fay hugged a bossy ro'
    """
    source = str(source)
    _check_size(size)
    if not boundary or longest < 1:
        raise ValueError(
            f"boundary is {boundary!r} and longest {longest}: expected some characters "
            "between documents, and a number of characters above 0"
        )
    documents, separator = _named(source, size, seed)
    if documents is None:
        path, column = _find(source)
        if path.suffix.lower() in TEXTS and path.is_file():
            return _until(stream_text(path, boundary, longest), size)
        documents = stream_files(path, column, boundary, longest, separator)
    return _some(_take(documents, size), source)


def _named(
    source: str, size: int | None, seed: int
) -> tuple[Iterator[str] | None, str]:
    """Return the documents of a named source, None for a path; and the separator."""
    if source == "stories":
        return _take(stories(seed=seed), size or 2_000_000), "\n"
    if source == "python-docs":
        return _ended(python_docs(seed), "\n\n"), "\n\n"
    if source == "reviews":
        return _ended(read(reviews_path(), "text"), "\n"), "\n"
    if source.startswith("hub:"):
        return _ended(hub_texts(source), "\n\n"), "\n\n"
    return None, "\n\n"


def _ended(texts: Iterable[str], separator: str) -> Iterator[str]:
    return (text.strip() + separator for text in texts if text.strip())


def _some(documents: Iterable[str], source: str) -> Iterator[str]:
    """Pass documents on, and complain if there is none."""
    found = False
    for document in documents:
        found = True
        yield document
    if not found:
        raise ValueError(f"{source}: all documents are empty: expected some text")


def _check_size(size: int | None) -> None:
    if size is not None and size < 1:
        raise ValueError(f"size is {size}: expected a number of characters above 0")


def split(
    text: str, fraction: float = 0.1, boundary: str | None = None
) -> tuple[str, str]:
    """Cut off the last `fraction` of the text, or of its ids: (training, validation).

    With a `boundary`, such as the separator of a corpus, the cut moves forward to just
    after the next one, so that no document is torn in two.

    Raises ValueError for a fraction outside 0 to 1, and where a side would be empty.

    >>> split("abcdefghij", fraction=0.2)
    ('abcdefgh', 'ij')
    >>> split("one. two. three.", fraction=0.5, boundary=". ")
    ('one. two. ', 'three.')
    """
    if not 0 < fraction < 1:
        raise ValueError(f"fraction is {fraction}: expected a number between 0 and 1")
    # Rounded first, because floating point takes 10 * (1 - 0.9) for 0.9999999999999998.
    cut = int(round(len(text) * (1 - fraction), 6))
    if boundary:
        start = text.find(boundary, max(cut - len(boundary), 0))
        cut = start + len(boundary) if start >= 0 else len(text)
    if 0 < cut < len(text):
        return text[:cut], text[cut:]
    raise ValueError(
        f"this text is too short to split: of its {len(text):,} characters a fraction "
        f"of {fraction} leaves none for {'validation' if cut else 'training'}: give "
        "more text or another fraction"
        + (f", or leave out the boundary {boundary!r}" if boundary else "")
    )


def _take(documents: Iterable[str], size: int | None) -> Iterator[str]:
    """Keep whole documents up to `size` characters; cut only a first that is longer."""
    left = size
    for document in documents:
        if size is None:
            yield document
            continue
        if left < size and len(document) > left:
            return
        yield document[:left]
        left -= min(len(document), left)


def _until(documents: Iterable[str], size: int | None) -> Iterator[str]:
    """Cut documents off where they have `size` characters together."""
    for document in documents:
        yield document[:size]
        if size is not None and (size := size - len(document)) <= 0:
            return


def _find(source: str) -> tuple[Path, str | None]:
    """Return the file or folder that the user means, and the column after its "#"."""
    path, column = Path(os.path.expanduser(source)), None
    if "#" in source and not path.exists():
        name, _, column = source.rpartition("#")
        path = Path(os.path.expanduser(name))
    if source and path.exists():
        return path, column
    names = [name for name in SOURCES if name.islower()]
    beside = [str(path.parent / each.name) for each in path.parent.glob("*")]
    near = difflib.get_close_matches(source, [*names, *beside], n=1)
    raise ValueError(
        f"no corpus {source!r}: there is no such file or folder, and the named sources "
        f"are {', '.join(names)} and hub:NAME"
        + (f"; did you mean {near[0]!r}?" if near else "")
    )


def reviews_path() -> Path:
    """Find the course's reviews: inside an installed package or beside a checkout.

    Raises ValueError where they are in neither.
    """
    package = Path(__file__).parents[1]
    for folder in (package, package.parent):
        if (path := folder / "data" / "reviews.jsonl").is_file():
            return path
    raise ValueError(
        "the corpus 'reviews' needs data/reviews.jsonl, which is not here: fetch it "
        "from the course's repository, or use another source"
    )
