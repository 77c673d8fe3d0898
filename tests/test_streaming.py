"""A stream of documents is the text that `load` gives, and never holds the file."""

import json
import os
import random
from itertools import count, islice
from pathlib import Path
from pydoc_data.topics import topics

import pytest
from helpers import finish, start
from hypothesis import given
from hypothesis import strategies as st
from test_corpus import BAD_FILES, ENDINGS, refusal, table

from llmkit import corpus
from llmkit.corpus import load, stream, streaming
from llmkit.corpus.streaming import cut, decoded, lines_of

# Pieces of text that meet in odd places: ends of lines, boundaries, long characters.
TEXT = st.text(st.sampled_from("ab \n\r\té🦆\u2028\ufeff"), max_size=60)
PIECES = st.lists(st.text(st.sampled_from("ab \n"), max_size=12))


def streamed_refusal(source, **options):
    """Return what `stream` says when it comes to what is wrong with a source."""
    with pytest.raises(ValueError) as caught:
        list(stream(source, **options))
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    """Return the place of a file that a test may write."""
    return tmp_path_factory.mktemp("streaming") / "a.txt"


# --- the law: together the documents are the text ----------------------------------


@given(TEXT, st.integers(1, 30), st.sampled_from(["\n\n", "\n", "ab", "é"]))
def test_the_documents_of_a_file_are_its_text(path, text, longest, boundary):
    path.write_bytes(text.encode())
    try:
        expected = load(path).text
    except ValueError as error:
        assert streamed_refusal(path, longest=longest) == str(error)
        return
    documents = list(stream(path, longest=longest, boundary=boundary))
    assert "".join(documents) == expected
    assert all(document.strip() for document in documents)
    assert max(len(document.strip()) for document in documents) <= longest


@given(st.lists(TEXT, min_size=1, max_size=4), st.integers(1, 30))
def test_the_documents_of_a_folder_are_its_text(path, texts, longest):
    for place in range(4):
        (path.parent / f"folder{place}.md").unlink(missing_ok=True)
    path.unlink(missing_ok=True)
    for place, text in enumerate(texts):
        (path.parent / f"folder{place}.md").write_bytes(text.encode())
    try:
        expected = load(path.parent).text
    except ValueError as error:
        assert streamed_refusal(path.parent, longest=longest) == str(error)
    else:
        assert "".join(stream(path.parent, longest=longest)) == expected


@given(TEXT, st.integers(1, 70), st.integers(1, 9))
def test_a_size_cuts_a_file_where_load_cuts_it(path, text, size, longest):
    path.write_bytes(b"x" + text.encode())
    documents = list(stream(path, size=size, longest=longest))
    assert "".join(documents) == load(path, size=size).text


@pytest.mark.parametrize("source", ["stories", "python-docs", "reviews"])
def test_named_sources_are_those_of_load(monkeypatch, source):
    docs = [*topics.values()]  # to gather all of them takes its time
    monkeypatch.setattr(corpus, "python_docs", lambda seed: docs[seed:])
    for size in (30_000, 50):
        loaded = load(source, size=size, seed=2)
        assert tuple(stream(source, size=size, seed=2)) == loaded.documents


def test_stories_are_two_million_characters_unless_told():
    assert 1_990_000 < sum(map(len, stream("stories"))) <= 2_000_000


ROWS = [
    {"id": 1, "text": 'A "good", film.', "comment": "a longer column than text"},
    {"id": 2, "text": "  Bad:\nvery.\n", "comment": "yes, it is a longer one"},
    {"id": 3, "text": None, "comment": "this row has none"},
    {"id": 4, "text": "null", "comment": "a word, and not a missing cell"},
    {"id": 5, "text": "010", "comment": "a word, and not a number"},
]


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("sample", [1, 2, 1000])
def test_a_table_is_read_as_load_reads_it(tmp_path, monkeypatch, ending, sample):
    monkeypatch.setattr(streaming, "SAMPLE", sample)
    source = table(tmp_path / f"a.{ending}", ROWS * 3)
    assert tuple(stream(source)) == load(source).documents
    for named in (f"{source}#comment", f"{source}#text"):
        assert tuple(stream(named)) == load(named).documents
    for size in (7, 40, 99):
        assert tuple(stream(source, size=size)) == load(source, size=size).documents
    assert streamed_refusal(f"{source}#body") == refusal(f"{source}#body")


def test_a_folder_of_all_kinds_is_read_as_load_reads_it(tmp_path):
    for ending in ENDINGS:
        table(tmp_path / f"{ending}.{ending}", ROWS)
    (tmp_path / "b.md").write_text("\n\n One.\n\n\nTwo.\n \n", "utf-8")
    (tmp_path / "empty.txt").touch()
    documents = list(stream(tmp_path))
    assert "".join(documents) == load(tmp_path).text
    assert documents[:2] == ["One.\n\n\n", "Two.\n\n"]
    assert len(documents) == 2 + 4 * 4


def test_a_dataset_of_the_hub_is_streamed(monkeypatch):
    monkeypatch.setattr(corpus, "hub_texts", lambda source: iter([source, " ", "two"]))
    assert list(stream("hub:x")) == ["hub:x\n\n", "two\n\n"]


READ = """
import sys, pandas, pyarrow.parquet
from llmkit.corpus import stream
def peak():
    lines = open("/proc/self/status").read().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))
before = peak()
read = sum(map(len, stream(sys.argv[1])))
print(read, (peak() - before) * 1024)
"""


@pytest.mark.slow
@pytest.mark.process
@pytest.mark.parametrize("ending", ["txt", "jsonl", "csv", "parquet"])
def test_a_large_file_is_read_in_little_memory(tmp_path, ending):
    rng = random.Random(0)
    words = ["".join(rng.choices("abcdef", k=9)) for _ in range(9000)]
    texts = [" ".join(rng.sample(words, 100)) for _ in range(1000)]
    rows = [{"n": i, "text": f"{i} {texts[i % 1000]}"} for i in range(60_000)]
    path = tmp_path / f"a.{ending}"
    if ending == "txt":
        path.write_text("".join(f"{row['text']}\n\n" for row in rows), "utf-8")
    elif ending == "parquet":
        frame = pytest.importorskip("pandas").DataFrame(rows)
        frame.to_parquet(path, compression=None, row_group_size=5000)
    else:
        table(path, rows)
    code, out, err = finish(start("-c", READ, path))
    assert code == 0, err
    read, more = map(int, out.split())
    assert read > 55_000_000
    assert more < 45_000_000  # of which pandas and Arrow take most, of any file


# --- documents ---------------------------------------------------------------------


def test_documents_end_where_blank_lines_do(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("\n\nOne.\nStill one.\n\n\n\n  Two.\n\n \n\nThree.", "utf-8")
    documents = ["\n\nOne.\nStill one.\n\n\n\n", "  Two.\n\n \n\n", "Three."]
    assert list(stream(path)) == documents


def test_another_boundary_ends_documents_too(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("One.\n\n1.<|end|>\nTwo.<|end|>\n", "utf-8")
    expected = ["One.\n\n1.<|end|>\n", "Two.<|end|>\n"]
    assert list(stream(path, boundary="<|end|>")) == expected


def test_a_document_too_long_is_cut_after_a_line_or_before_a_space(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("one two\nthree four fiveandsixandseven eight", "utf-8")
    expected = ["one two\n", "three four", " fiveandsixa", "ndseven", " eight"]
    assert list(stream(path, longest=12)) == expected


@given(PIECES, st.integers(1, 9))
def test_where_a_text_is_cut_does_not_hang_on_its_pieces(pieces, longest):
    text = "".join(pieces)
    whole = list(cut([text], "\n\n", 100))
    assert list(cut(pieces, "\n\n", 100)) == whole
    assert all("\n\n" not in document.rstrip("\n") for document in whole)
    short = list(cut(pieces, "\n\n", longest))
    assert "".join(short) == text
    assert max(map(len, short), default=0) <= longest or "\n\n" in text


@given(PIECES)
def test_lines_are_those_of_the_whole(pieces):
    assert list(lines_of(pieces)) == "".join(pieces).split("\n")


@pytest.mark.parametrize("options", [{"boundary": ""}, {"longest": 0}])
def test_documents_without_an_end_or_a_length_are_refused(options):
    with pytest.raises(ValueError, match="expected some characters between documents"):
        stream("stories", **options)


def test_no_more_is_read_than_is_needed(monkeypatch):
    taken = count()
    endless = (f"line {next(taken)}\n\n" for _ in count())
    monkeypatch.setattr(streaming, "decoded", lambda path, size: endless)
    documents = streaming.stream_text(Path("a.txt"), "\n\n", 1000)
    assert list(islice(documents, 3)) == ["line 0\n\n", "line 1\n\n", "line 2\n\n"]
    assert next(taken) < 8


# --- bad input ---------------------------------------------------------------------


@pytest.mark.parametrize("name", BAD_FILES)
def test_a_bad_file_is_refused_as_load_refuses_it(tmp_path, name):
    content, _ = BAD_FILES[name]
    (tmp_path / name).write_bytes(content)
    message, expected = streamed_refusal(tmp_path / name), refusal(tmp_path / name)
    if name.endswith(".parquet"):  # Arrow puts it in more words when it has the whole
        message, expected = (x.partition(" table: ")[0] for x in (message, expected))
    assert message == expected


@given(st.binary(max_size=40), st.integers(1, 9))
def test_bytes_are_read_or_refused_as_a_whole_would_be(path, content, size):
    path.write_bytes(content)
    try:
        expected = load(path).text
    except ValueError as error:
        with pytest.raises(ValueError) as caught:
            "".join(decoded(path, size))
        if "NUL bytes" not in str(error):  # what comes first is complained about
            assert str(caught.value) == str(error) or "NUL" in str(caught.value)
    else:
        assert "".join(decoded(path, size)) == expected


def test_what_is_wrong_is_said_when_it_is_reached(tmp_path):
    (tmp_path / "a.txt").write_bytes(b"good\n\n" * 50 + b"caf\xe9")
    documents = stream(tmp_path / "a.txt", longest=60)
    assert [next(documents) for _ in range(40)] == ["good\n\n"] * 40
    with pytest.raises(ValueError, match="byte 0xe9 at offset 303 .line 101."):
        list(documents)


def test_a_bad_row_far_down_is_named_by_its_line(tmp_path, monkeypatch):
    monkeypatch.setattr(streaming, "SAMPLE", 2)
    path = tmp_path / "a.jsonl"
    lines = ['{"text": "a"}', "", '{"text": "b"}', '{"n": 1}', '{"text": null}']
    path.write_text("\n".join([*lines, '{"text": 5}']), "utf-8")
    documents = stream(path)
    assert list(islice(documents, 2)) == ["a\n\n", "b\n\n"]
    with pytest.raises(ValueError, match="line 6 has 5 in the column 'text': expected"):
        next(documents)
    path.write_text("\n".join([*lines, "[]"]), "utf-8")
    assert "line 6 is JSON but not an object" in streamed_refusal(path)


@pytest.mark.parametrize("row", ["two, three, 4\n", '"two\n'])
def test_a_ragged_table_is_refused_when_it_is_reached(tmp_path, row):
    (tmp_path / "a.csv").write_text("text,n\n" + "one,1\n" * 3_000 + row, "utf-8")
    documents = stream(tmp_path / "a.csv")
    assert next(documents) == "one\n\n"
    with pytest.raises(ValueError, match="a.csv: not a well-formed .csv table"):
        list(documents)


def test_a_table_in_another_encoding_is_refused_in_those_words(tmp_path):
    content = "text,n\n" + "good,1\n" * 9 + "café,2\n"
    for name in ("a.csv", "a.tsv", "a.jsonl"):
        if name == "a.jsonl":
            content = json.dumps({"text": "good"}) + '\n{"text": "café"}'
        (tmp_path / name).write_bytes(content.encode("latin1"))
        message = streamed_refusal(tmp_path / name)
        assert message == refusal(tmp_path / name)
        assert "not a text in UTF-8" in message


def test_sources_that_are_not_there_are_refused_at_once():
    for source, words in (("storys", "did you mean 'stories'"), ("", "no corpus ''")):
        with pytest.raises(ValueError, match=words):
            stream(source)
    with pytest.raises(ValueError, match="size is 0"):
        stream("stories", size=0)


@pytest.mark.parametrize("name", ["a.txt", "a.jsonl", "a.csv", "a.parquet"])
def test_an_unreadable_file_is_refused(tmp_path, monkeypatch, name):
    def deny(path, *_):
        raise PermissionError(13, "Permission denied", str(path))

    (tmp_path / name).write_text("secret", "utf-8")
    monkeypatch.setattr(Path, "open", deny)
    path = os.fspath(tmp_path / name)
    expected = f"{path}: cannot be read (Permission denied): check its permissions"
    assert streamed_refusal(path) == expected


def test_a_folder_without_texts_is_refused(tmp_path):
    assert streamed_refusal(tmp_path) == refusal(tmp_path)
