"""What a corpus holds, where it is cut, and what each bad input is told."""

import ast
import builtins
import gc
import hashlib
import inspect
import json
import os
import random
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from pydoc_data.topics import topics

import huggingface_hub.constants
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmkit import corpus
from llmkit.corpus import Corpus, describe, leaks, load, split, split_documents
from llmkit.corpus.duplicates import near_duplicates, shingles
from llmkit.corpus.pydocs import compiled_docstrings, docstrings
from llmkit.stories import STORIES, stories


def table(path, rows):
    """Write rows of a dictionary each to a table of the kind that the name says."""
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(rows)
    if path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    elif path.suffix == ".parquet":
        frame.to_parquet(path)
    else:
        frame.to_csv(path, index=False, sep="\t" if path.suffix == ".tsv" else ",")
    return path


def refusal(source, **options):
    """Return what `load` says when it refuses a source: one line."""
    with pytest.raises(ValueError) as caught:
        load(source, **options)
    message = str(caught.value)
    assert "\n" not in message
    return message


# --- texts -------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["a.txt", "a.md", "A.TXT"])
def test_a_single_text_is_kept_as_it_is(tmp_path, name):
    text = "  First line.\n\n\nSecond – ünïcode 🦆.\n\n"
    (tmp_path / name).write_text(text, "utf-8")
    loaded = load(tmp_path / name)
    assert loaded == Corpus(str(tmp_path / name), (text,), "")
    assert loaded.text == text
    assert len(loaded) == len(text)
    assert load(tmp_path / name, size=7).text == text[:7]


def test_the_ends_of_lines_and_the_mark_of_windows_are_normalised(tmp_path):
    path = tmp_path / "a.txt"
    path.write_bytes(b"\xef\xbb\xbfone\r\ntwo\rthree\n")
    assert load(path).text == "one\ntwo\nthree\n"


def test_a_folder_is_read_in_the_order_of_its_names(tmp_path):
    for name in ("b/2.md", "a.txt", "c.txt", "b/1.txt", ".git/x.txt", "b/.y.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(f"\n{name}\n", "utf-8")
    (tmp_path / "empty.txt").touch()
    (tmp_path / "picture.png").write_bytes(b"\x89PNG\0")
    table(tmp_path / "b" / "3.csv", [{"text": "row one"}, {"text": "row two"}])
    names = ("a.txt", "c.txt", "b/1.txt", "b/2.md", "row one", "row two")
    assert load(tmp_path).documents == tuple(f"{name}\n\n" for name in names)


def test_home_is_understood(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    (tmp_path / "a.txt").write_text("at home", "utf-8")
    assert load("~/a.txt").text == "at home"


# --- tables ------------------------------------------------------------------------

ENDINGS = ["jsonl", "csv", "tsv", "parquet"]


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_table_gives_a_document_a_row(tmp_path, ending):
    rows = [
        {"id": 1, "text": 'A "good", film.', "comment": "a longer column than text"},
        {"id": 2, "text": "  Bad:\nvery.\n", "comment": "yes, it is a longer one"},
        {"id": 3, "text": None, "comment": "this row has none"},
        {"id": 4, "text": "null", "comment": "a word, and not a missing cell"},
    ]
    loaded = load(table(tmp_path / f"a.{ending}", rows))
    assert loaded.documents == ('A "good", film.\n\n', "Bad:\nvery.\n\n", "null\n\n")
    assert loaded.separator == "\n\n"


@pytest.mark.parametrize("ending", ENDINGS)
def test_the_column_is_text_or_the_longest_or_the_one_asked_for(tmp_path, ending):
    rows = [{"n": i, "title": "Up", "body": f"It was {i} o'clock."} for i in range(3)]
    path = table(tmp_path / f"a.{ending}", rows)
    assert load(path).documents[0] == "It was 0 o'clock.\n\n"
    assert load(f"{path}#title").documents[0] == "Up\n\n"
    assert "columns are n, title, body" in refusal(f"{path}#n")
    assert "in a column 'bodi'" in refusal(f"{path}#bodi")


def test_a_hash_in_the_name_of_a_file_is_no_column(tmp_path):
    (tmp_path / "c#.txt").write_text("sharp", "utf-8")
    assert load(tmp_path / "c#.txt").text == "sharp"


def test_a_column_of_numbers_with_one_word_is_text(tmp_path):
    (tmp_path / "a.csv").write_text("text\n10\nten\n010\n", "utf-8")
    assert load(tmp_path / "a.csv").documents == ("10\n\n", "ten\n\n", "010\n\n")


# --- size --------------------------------------------------------------------------


def test_size_keeps_whole_documents(tmp_path):
    rows = [{"text": "x" * 10} for _ in range(5)]  # 12 characters each, with the ends
    path = table(tmp_path / "a.jsonl", rows)
    lengths = {size: len(load(path, size=size)) for size in (7, 12, 23, 24, 60, 999)}
    assert lengths == {7: 7, 12: 12, 23: 12, 24: 24, 60: 60, 999: 60}


@pytest.mark.parametrize("size", [0, -1])
def test_a_size_without_characters_is_refused(size):
    assert f"size is {size}" in refusal("stories", size=size)


# --- stories -----------------------------------------------------------------------


def test_stories_are_stories_and_as_many_as_wanted():
    loaded = load("stories", size=20_000, seed=3)
    assert 19_000 < len(loaded) <= 20_000
    assert loaded.documents == tuple(stories(len(loaded.documents), seed=3))
    assert all(STORIES.parse(story).valid for story in loaded.documents[:5])
    assert loaded.text.count(loaded.separator) == len(loaded.documents)
    assert load("stories", size=20_000, seed=3) == loaded
    assert load("stories", size=20_000, seed=4) != loaded


def test_stories_are_two_million_characters_unless_told():
    assert 1_990_000 < len(load("stories")) <= 2_000_000


# --- python-docs -------------------------------------------------------------------


@pytest.fixture(scope="module")
def docs():
    return load("python-docs", seed=5)


@pytest.mark.slow
def test_python_docs_are_two_megabytes_of_english(docs):
    loaded = docs
    assert gc.isenabled()
    assert len(loaded) >= 2_000_000
    words = loaded.text.split()
    assert len(words) > 250_000
    common = ["the", "of", "to", "and", "a", "in", "is", "that", "for", "it", "be"]
    share = sum(map(words.count, common)) / len(words)
    assert share > 0.2, "a fifth of English is made of these words"


def test_python_docs_hold_each_text_once_and_clean(docs):
    loaded = docs
    spaced = [" ".join(text.split()) for text in loaded.documents]
    assert len(set(spaced)) == len(spaced)
    assert all(text.strip() + "\n\n" == text for text in loaded.documents)
    longest = max(loaded.documents, key=len)
    assert len(longest) < len(loaded) / 20


def test_python_docs_come_from_topics_sources_and_compiled_modules(docs):
    known = {text.strip() for text in docs.documents}
    for text in (topics["if"], json.JSONEncoder.__doc__, str.split.__doc__):
        assert inspect.cleandoc(text).strip() in known


def test_the_order_of_python_docs_is_one_order_shuffled_by_the_seed(docs):
    shuffled = docs.documents
    places = list(range(len(shuffled)))
    random.Random(5).shuffle(places)
    in_order = [text.strip() for _, text in sorted(zip(places, shuffled))]
    first = [topics[name].strip() for name in sorted(topics)[:40]]
    assert in_order[:40] == first


@pytest.mark.slow
def test_docstrings_are_all_those_that_a_walk_through_the_tree_finds():
    for module in (argparse_like(), Path(subprocess.__file__).read_bytes()):
        tree = ast.walk(ast.parse(module))
        kinds = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
        nodes = [node for node in tree if isinstance(node, kinds)]
        expected = {text for node in nodes if (text := ast.get_docstring(node))}
        assert len(expected) > 3
        assert set(docstrings(module)) == expected


def argparse_like():
    """Return a module that has a docstring in every kind of place."""
    return b'''"""Module."""
import antigravity_that_must_not_be_imported
x = """no docstring"""
if x:
    def one(): """One."""
else:
    async def two():
        """Two.

            Indented.
        """
try:
    class Three:
        """Three."""
        def four(self):
            "Four."
            def five(): "Five."
except ImportError:
    def six(): "Six."
finally:
    def seven(): "Seven."
with x:
    def eight(): "Eight."
for y in x:
    def nine(): "Nine."
'''


def test_what_a_shell_puts_into_builtins_changes_nothing(monkeypatch):
    before = list(compiled_docstrings(builtins))
    assert len(before) > 400
    monkeypatch.setattr(builtins, "display", lambda: None, raising=False)
    monkeypatch.setattr(builtins, "input", range)
    monkeypatch.setattr(builtins, "_", Corpus, raising=False)
    assert list(compiled_docstrings(builtins)) == before


def test_a_python_without_help_topics_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "pydoc_data.topics", None)
    assert "lacks its help topics" in refusal("python-docs")


# --- reviews -----------------------------------------------------------------------


@pytest.mark.parametrize("place", ["llmkit/data", "data"])
def test_reviews_are_found_in_a_package_and_beside_a_checkout(
    tmp_path, monkeypatch, place
):
    monkeypatch.setattr(corpus, "__file__", str(tmp_path / "llmkit/corpus/x.py"))
    assert "needs data/reviews.jsonl" in refusal("reviews")
    (tmp_path / place).mkdir(parents=True)
    rows = [
        {"text": "Good.", "label": 1, "domain": "film", "tags": [], "split": "train"},
        {"text": "Bad.", "label": 0, "domain": "a tool", "tags": ["x"], "split": "t"},
    ]
    table(tmp_path / place / "reviews.jsonl", rows)
    assert load("reviews") == Corpus("reviews", ("Good.\n", "Bad.\n"), "\n")


# --- bad input ---------------------------------------------------------------------

BAD_FILES = {
    "empty.txt": (b"", "this file is empty"),
    "blank.txt": (b" \n\n", "this file is empty"),
    "mark.txt": (b"\xef\xbb\xbf", "this file is empty"),
    "empty.jsonl": (b"", "this file is empty"),
    "empty.parquet": (b"", "not a well-formed .parquet table"),
    "binary.txt": (b"ELF\0\0\1", "binary data, not text (it holds NUL bytes)"),
    "wide.txt": ("text".encode("utf-16"), "iconv -f utf-16 -t utf-8"),
    "latin.txt": (
        "one\ntwo café\n".encode("latin1"),
        "byte 0xe9 at offset 11 (line 2) does not belong there: convert the file, "
        "for example by: iconv -f latin1 -t utf-8 'latin.txt'",
    ),
    "cut.jsonl": (b'{"text": "a"}\n\n{"text": "b', "line 3 is not JSON"),
    "list.jsonl": (b'{"text": "a"}\n["b"]\n', "line 2 is JSON but not an object"),
    "numbers.jsonl": (b'{"a": 1, "b": [2]}\n', "columns are a, b, those of text are"),
    "numbers.csv": (b"a,b\n1,2\n3,4\n", "columns are a, b, those of text are none"),
    "ragged.csv": (b"text\none\ntwo, three\n", "not a well-formed .csv table: Error"),
    "wider.csv": (b"text\none, two\nthree, four\n", "not a well-formed .csv table"),
    "quote.tsv": (b'text\n"one\ntwo\n', "not a well-formed .tsv table"),
    "words.parquet": (b"PAR1 or not", "not a well-formed .parquet table"),
    "blank.csv": (b'text,n\n" ",1\n', "all documents are empty"),
    "book.pdf": (b"%PDF", "ends in '.pdf': expected one of .txt, .md, .jsonl"),
    "README": (b"text", "ends in '': expected one of .txt"),
}


@pytest.mark.parametrize("name", BAD_FILES)
def test_a_bad_file_is_refused_with_its_name_and_its_fault(tmp_path, name):
    content, complaint = BAD_FILES[name]
    (tmp_path / name).write_bytes(content)
    message = refusal(tmp_path / name)
    assert complaint in message
    assert name in message


def test_a_bad_file_in_a_folder_is_named(tmp_path):
    (tmp_path / "a.txt").write_text("good", "utf-8")
    (tmp_path / "b.txt").write_bytes(b"b\0d")
    assert "b.txt: this is binary" in refusal(tmp_path)


@pytest.mark.parametrize("names", [[], ["a.png"], ["empty.txt"]])
def test_a_folder_without_texts_is_refused(tmp_path, names):
    for name in names:
        (tmp_path / name).touch()
    assert "no text in this folder: expected files that end in" in refusal(tmp_path)


def deny(path, *_):
    raise PermissionError(13, "Permission denied", str(path))


def test_an_unreadable_file_is_refused(tmp_path, monkeypatch):
    path = tmp_path / "a.txt"
    path.write_text("secret", "utf-8")
    monkeypatch.setattr(Path, "read_bytes", deny)
    expected = f"{path}: cannot be read (Permission denied): check its permissions"
    assert refusal(path) == expected


def test_an_unreadable_folder_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "scandir", deny)
    assert f"{tmp_path}: cannot be read" in refusal(tmp_path)


@pytest.mark.parametrize(
    ("source", "guess"),
    [
        ("storys", "stories"),
        ("python_docs", "python-docs"),
        ("review", "reviews"),
        ("shakespear.txt", "shakespeare.txt"),
        ("{here}/shakespear.txt", "{here}/shakespeare.txt"),
        ("something else", None),
        ("", None),
        ("data.csv#text", None),
    ],
)
def test_an_unknown_source_is_refused_with_a_guess(
    tmp_path, monkeypatch, source, guess
):
    (tmp_path / "shakespeare.txt").write_text("To be", "utf-8")
    monkeypatch.chdir(tmp_path)
    source = source.format(here=tmp_path)
    message = refusal(source)
    assert f"no corpus {source!r}: there is no such file or folder" in message
    assert "stories, python-docs, reviews and hub:NAME" in message
    expected = guess and f"did you mean {guess.format(here=tmp_path)!r}?"
    assert message.endswith(expected) if guess else "did you mean" not in message


def test_the_help_names_every_source():
    text = describe()
    for word in ("stories", "python-docs", "reviews", "PATH", ".parquet", "hub:NAME"):
        assert word in text


# --- split -------------------------------------------------------------------------


@pytest.mark.parametrize("length", [2, 9, 10, 11, 99, 1_003_854, 1_115_394])
def test_a_tenth_is_cut_off_where_other_courses_cut(length):
    train, validation = split("x" * length)
    assert len(train) == int(length * 0.9)
    assert len(train) + len(validation) == length


@given(st.text(min_size=2, max_size=60), st.integers(1, 99), st.integers(1, 10))
def test_split_loses_nothing_and_cuts_where_arithmetic_says(text, percent, times):
    text *= times
    expected = len(text) * (100 - percent) // 100  # in whole numbers, so exact
    if not expected:
        with pytest.raises(ValueError, match="leaves none for training"):
            split(text, percent / 100)
    else:
        assert split(text, percent / 100) == (text[:expected], text[expected:])


@given(st.text("ab\n", max_size=80), st.sampled_from(["\n", "\n\n", "ab"]))
def test_a_boundary_is_never_torn(text, boundary):
    try:
        train, validation = split(text, 0.5, boundary)
    except ValueError:
        rest = text[max(int(len(text) * 0.5) - len(boundary), 0) :]
        after = rest.partition(boundary)[2]
        assert not after or len(text) < 2
    else:
        assert train + validation == text
        assert train.endswith(boundary)
        assert validation
        at_least = int(len(text) * 0.5)
        assert len(train) >= at_least
        assert boundary not in text[at_least : len(train) - 1]


def test_a_cut_that_is_at_a_boundary_stays_there():
    assert split("one\ntwo\n", 0.5, "\n") == ("one\n", "two\n")


@pytest.mark.parametrize("fraction", [0, 1, -0.1, 1.5, float("nan")])
def test_a_fraction_of_nothing_or_all_is_refused(fraction):
    with pytest.raises(ValueError, match="expected a number between 0 and 1"):
        split("some text", fraction)


@pytest.mark.parametrize(
    ("text", "boundary", "side"),
    [
        ("", None, "training"),
        ("x", None, "training"),
        ("no end of a line", "\n", "validation"),
        ("one line\n", "\n", "validation"),
    ],
)
def test_a_text_too_short_for_both_sides_is_refused(text, boundary, side):
    expected = f"too short to split: of its {len(text)} .* leaves none for {side}"
    with pytest.raises(ValueError, match=expected):
        split(text, boundary=boundary)


# --- split by documents ------------------------------------------------------------

LETTERS = st.lists(st.text("abAB ", min_size=1, max_size=6), max_size=30)


@given(LETTERS, st.floats(0.1, 0.9), st.integers(0, 5))
def test_every_document_goes_to_one_side_and_equals_to_the_same(texts, part, seed):
    try:
        train, validation = split_documents(texts, part, seed)
    except ValueError as error:
        assert "leave none for" in str(error)
        assert len({" ".join(text.lower().split()) for text in texts}) < 2
        return
    assert train and validation
    assert sorted(train + validation) == sorted(texts)
    assert train == [text for text in texts if text in train]
    sides = [
        {" ".join(text.lower().split()) for text in side}
        for side in (train, validation)
    ]
    assert not sides[0] & sides[1]


@given(LETTERS, st.text("abc", max_size=6), st.integers(0, 30))
def test_a_new_document_moves_no_other(texts, new, place):
    texts = [*(f"a{i}" for i in range(40)), *texts]  # so that no side is empty
    train, validation = split_documents(texts, 0.5)
    more = split_documents([*texts[:place], new, *texts[place:]], 0.5)
    assert set(train) <= set(more[0]) and set(validation) <= set(more[1])


def test_the_fraction_is_that_of_documents_and_the_seed_chooses_them():
    texts = [f"Document number {i}." for i in range(5000)]
    for fraction in (0.05, 0.3):
        validation = split_documents(texts, fraction)[1]
        assert len(validation) / 5000 == pytest.approx(fraction, abs=0.02)
    other = split_documents(texts, 0.3, seed=1)[1]
    assert 0.2 < len(set(other) & set(validation)) / len(validation) < 0.4


def near_copies(number=60):
    """Return documents that come in pairs, of which one has a word more."""
    rng = random.Random(0)
    words = ["".join(rng.choices("abcdef", k=5)) for _ in range(300)]
    texts = [" ".join(rng.choices(words, k=30)) for _ in range(number)]
    return [copy for text in texts for copy in (text, f"{text} more")]


def test_near_copies_stay_together_if_asked():
    texts = near_copies()
    crossing = {}
    for threshold in (None, 0.8):
        train, validation = split_documents(texts, 0.5, threshold=threshold)
        assert sorted(train + validation) == sorted(texts)
        pairs = near_duplicates([*train, *validation], 0.8)
        cut = len(train)
        crossing[threshold] = sum(one < cut <= other for one, other, _ in pairs)
    assert crossing[None] > 15
    assert crossing[0.8] == 0


@pytest.mark.parametrize("fraction", [0, 1, -0.1, float("nan")])
def test_documents_are_not_split_by_a_fraction_of_nothing_or_all(fraction):
    with pytest.raises(ValueError, match="expected a number between 0 and 1"):
        split_documents(["a", "b"], fraction)


@pytest.mark.parametrize(
    ("texts", "side"), [([], "training"), (["a"], "validation"), (["a"] * 9, "valid")]
)
def test_documents_for_one_side_alone_are_refused(texts, side):
    expected = f"{len(texts)} documents that do not differ leave none for {side}"
    with pytest.raises(ValueError, match=f"{expected}.*give more documents, or cut"):
        split_documents(texts)
    with pytest.raises(ValueError, match=expected):
        split_documents(iter(texts))


def test_one_text_is_no_list_of_documents():
    for wrong in (lambda: split_documents("abc"), lambda: leaks(["a"], "abc")):
        with pytest.raises(ValueError, match="one text, 'abc': expected several"):
            wrong()


# --- leaks -------------------------------------------------------------------------


def test_a_cut_through_copies_leaks_and_a_split_by_documents_does_not():
    stories = load("stories", size=60_000).documents
    texts = list(stories) * 3  # each three times, as on the web
    random.Random(0).shuffle(texts)
    train, validation = split("".join(texts), 0.1, boundary="\n")
    torn = leaks(train.splitlines(), validation.splitlines())
    assert torn.share > 0.9
    assert torn.found[0].share == 1
    whole = leaks(*split_documents(texts))
    assert whole.share < 0.2  # what stories have in common anyway
    assert whole.documents > 50


@given(LETTERS, st.lists(st.text("abAB ", max_size=9), min_size=1), st.integers(1, 3))
def test_leaks_are_those_of_brute_force(train, validation, n):
    known = set().union(*(shingles(text, n) for text in train))
    expected = {}
    for place, text in enumerate(validation):
        runs = shingles(text, n)
        if runs & known:
            expected[place] = len(runs & known) / len(runs)
    leaked = leaks(iter(train), validation, n)
    assert {leak.document: leak.share for leak in leaked.found} == expected
    assert leaked.share == len(expected) / len(validation)
    assert all(leak.example in known for leak in leaked.found)
    shares = [leak.share for leak in leaked.found]
    assert shares == sorted(shares, reverse=True)


def test_a_split_without_validation_is_refused():
    with pytest.raises(ValueError, match="there are no validation documents"):
        leaks(["a"], [])


# --- hub ---------------------------------------------------------------------------


@pytest.fixture
def answering_hub(monkeypatch):
    """Let the hub know every dataset that is asked for."""

    class Info:
        def __init__(self, name, timeout):
            self.id = name

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(huggingface_hub, "dataset_info", Info)


@pytest.fixture
def local_dataset(tmp_path, monkeypatch, answering_hub):
    """Put the dataset owner/small where `datasets` looks before it asks the hub."""
    folder = tmp_path / "owner" / "small"
    folder.mkdir(parents=True)
    rows = [{"n": i, "story": f"Story number {i}."} for i in range(2000)]
    table(folder / "train.parquet", [*rows, {"n": 0, "story": ""}])
    table(folder / "test.parquet", rows[:2])
    datasets = pytest.importorskip("datasets")
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    monkeypatch.chdir(tmp_path)


@pytest.mark.slow
def test_a_dataset_is_loaded_by_datasets(local_dataset):
    loaded = load("hub:owner/small")
    assert len(loaded.documents) == 2000
    assert loaded.documents[1999] == "Story number 1999.\n\n"
    assert load("hub:owner/small:test").text == "Story number 0.\n\nStory number 1.\n\n"
    assert len(load("hub:owner/small:train[:1%]#story").documents) == 20
    assert len(load("hub:owner/small", size=100)) <= 100


@pytest.mark.parametrize(
    ("source", "complaint"),
    [
        ("hub:owner/small:nope", "Unknown split"),
        ("hub:owner/small/nope", "BuilderConfig 'nope' not found"),
        ("hub:owner/small#nope", "columns are n, story, those of text are story"),
        ("hub:", "expected hub:NAME"),
        ("hub:a//b", "expected hub:NAME"),
        ("hub:a/b/c/d", "expected hub:NAME"),
    ],
)
def test_what_is_wrong_with_a_hub_name_is_said(local_dataset, source, complaint):
    message = refusal(source)
    assert message.startswith(source)
    assert complaint in message


def test_without_a_network_the_hub_is_one_clear_error_at_once(monkeypatch):
    def unreachable(name, timeout):
        assert timeout <= 10
        raise OSError("Name or service not known")

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(huggingface_hub, "dataset_info", unreachable)
    message = refusal("hub:roneneldan/TinyStories")
    for word in ("cannot be reached", "'stories'", "'python-docs'", "HF_HUB_OFFLINE=1"):
        assert word in message


FILES = {"one/train.jsonl": b'{"text": "hello"}\n{"text": "world"}\n'}
FILES["README.md"] = (
    b"---\nconfigs:\n- config_name: one\n  data_files: one/train.jsonl\n"
    b"- config_name: two\n  data_files: one/train.jsonl\n---\n"
)


class Hub(BaseHTTPRequestHandler):
    """Answer as the hub does about one dataset, owner/old, whose old name is "old"."""

    def do_GET(self):
        path, _, _ = self.path.partition("?")
        parts = path.strip("/").split("/")
        if path == "/api/datasets/old":
            self.answer(307, Location="/api/datasets/owner/old")
        elif not path.removeprefix("/api").startswith("/datasets/owner/old"):
            self.answer(404, X_Error_Code="RepoNotFound")
        elif "resolve" in parts:
            content = FILES.get("/".join(parts[5:]))
            tag = hashlib.sha1(content or b"").hexdigest()
            headers = {"ETag": f'"{tag}"', "X_Repo_Commit": "a" * 40}
            missing = {"X_Error_Code": "EntryNotFound"}
            self.answer(
                200 if content else 404, content, **(headers if content else missing)
            )
        elif "tree" in parts:
            entries = [
                {"type": "file", "path": name, "size": len(content), "oid": "b" * 40}
                for name, content in FILES.items()
                if name.startswith("/".join(parts[6:]))
            ]
            self.answer(200, json.dumps(entries).encode())
        else:
            info = {"id": "owner/old", "sha": "a" * 40, "siblings": [], "tags": []}
            self.answer(200, json.dumps(info).encode())

    do_HEAD = do_GET

    def answer(self, code, content=None, **headers):
        self.send_response(code)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(content or b"")))
        self.end_headers()
        if content and self.command == "GET":
            self.wfile.write(content)

    def log_message(self, *_):
        """Say nothing."""


@pytest.mark.slow
@pytest.mark.process
def test_datasets_talks_with_a_hub_and_remembers(tmp_path):
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    endpoint = f"http://127.0.0.1:{server.server_port}"
    sources = ["hub:owner/old/one", "hub:old/one", "hub:old/six", "hub:old", "hub:x/y"]
    code = (
        "import sys\nfrom llmkit.corpus import load\nfor source in sys.argv[1:]:\n"
        "    try: print(load(source).documents)\n"
        "    except ValueError as error: print(error)"
    )

    def said(**more):
        home = {"HF_ENDPOINT": endpoint, "HF_HOME": str(tmp_path), **more}
        run = [sys.executable, "-c", code, *sources]
        root = Path(corpus.__file__).parents[2]
        done = subprocess.run(
            run, env=os.environ | home, cwd=root, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.splitlines()

    texts = str(("hello\n\n", "world\n\n"))
    by_full_name, by_old_name, wrong, vague, unknown = said()
    assert by_full_name == by_old_name == texts
    assert "BuilderConfig 'six' not found" in wrong
    assert "Config name is missing" in vague and "'two'" in vague
    assert f"{endpoint} has no such dataset" in unknown
    server.shutdown()
    server.server_close()
    assert all("cannot be reached" in line for line in said())
    remembered, *_, never_seen = said(HF_HUB_OFFLINE="1")
    assert remembered == texts
    assert "corpora that need no network are 'stories'" in never_seen
