"""What is written as ids is read as ids, and a damaged file is refused."""

import json
import random
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
import torch
from helpers import ROOT
from hypothesis import given
from hypothesis import strategies as st

from llmkit.batches import NextTokenBatches, evaluation_batches
from llmkit.idfile import HEADER, IdFile, open_ids, read_header, write_ids
from llmkit.tokenizer import CharTokenizer


class Numbers:
    """Read a text as the ids it lists, such as "1 2 3"."""

    def __init__(self, vocab_size):
        self.vocab_size = vocab_size

    def encode(self, text):
        return [int(word) for word in text.split()]


class Together(Numbers):
    """The same, many texts at a time."""

    def encode_batch(self, texts):
        return [Numbers.encode(self, text) for text in texts]

    def encode(self, text):
        raise AssertionError("one by one")


LINES = st.lists(st.lists(st.integers(0, 65_535), max_size=9), max_size=9)


@given(LINES, st.sampled_from([None, 7]), st.sampled_from([65_536, 65_537, 300_000]))
def test_ids_are_read_as_they_were_written(lines, end, vocab_size):
    documents = [" ".join(map(str, line)) for line in lines]
    ends = [] if end is None else [end]
    expected = [i for line in lines for i in [*line, *ends]]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "new", "a.ids")
        if not expected:
            with pytest.raises(ValueError, match="there are no ids to write"):
                write_ids(documents, Numbers(vocab_size), path, end)
            assert list(path.parent.iterdir()) == []
            return
        written = write_ids(iter(documents), Numbers(vocab_size), path, end)
        ids = open_ids(path)
        assert ids.tolist() == expected
        name = "uint16" if vocab_size <= 65_536 else "uint32"
        assert written == IdFile(len(expected), vocab_size, name, end)
        assert read_header(str(path)) == written
        assert ids.dtype == getattr(torch, name)
        size = 2 if name == "uint16" else 4
        assert path.stat().st_size == HEADER + size * len(expected)
        assert list(path.parent.iterdir()) == [path]


def test_the_first_line_can_be_read_by_eye(tmp_path):
    write_ids(["1 2"], Numbers(9), tmp_path / "a.ids", end=0)
    line = (tmp_path / "a.ids").read_bytes()[:HEADER].decode()
    assert line.endswith(" \n")
    assert json.loads(line)["vocab_size"] == 9


def test_a_tokenizer_that_takes_many_texts_gets_many(tmp_path):
    documents = [f"{i} {i}" for i in range(50_000)]
    write_ids(documents, Together(65_536), tmp_path / "a.ids", end=1)
    write_ids(documents, Numbers(65_536), tmp_path / "b.ids", end=1)
    one, other = (tmp_path / "a.ids").read_bytes(), (tmp_path / "b.ids").read_bytes()
    assert one == other


def test_batches_are_drawn_from_a_mapped_file_as_from_memory(tmp_path):
    rng = random.Random(0)
    documents = ["".join(rng.choices("abcd", k=rng.randint(5, 30))) for _ in range(200)]
    tokenizer = CharTokenizer("abcd|")
    write_ids(documents, tokenizer, tmp_path / "a.ids", end=4)
    mapped = open_ids(tmp_path / "a.ids")
    in_memory = torch.tensor(tokenizer.encode("|".join([*documents, ""])))
    assert torch.equal(mapped.long(), in_memory)
    for boundary in (None, 4):
        ours, theirs = (
            NextTokenBatches(ids, 16, 4, boundary=boundary)
            for ids in (mapped, in_memory)
        )
        assert len(ours) == len(theirs) > 5
        for step in range(len(ours)):
            for one, other in zip(ours[step], theirs[step]):
                assert torch.equal(one.long(), other)
        pairs = zip(
            evaluation_batches(mapped, 16, boundary=boundary),
            evaluation_batches(in_memory, 16, boundary=boundary),
        )
        assert all(
            torch.equal(a[0], b[0]) and torch.equal(a[1], b[1]) for a, b in pairs
        )


def test_writing_to_the_tensor_never_changes_the_file(tmp_path):
    write_ids(["1 2 3"], Numbers(9), tmp_path / "a.ids")
    open_ids(tmp_path / "a.ids")[0] = 8
    assert open_ids(tmp_path / "a.ids").tolist() == [1, 2, 3]


def test_where_writing_fails_the_old_file_stays(tmp_path):
    path = tmp_path / "a.ids"
    write_ids(["1 2 3"], Numbers(9), path)
    for documents in (["4 5", "six"], ["4 9"], []):
        with pytest.raises(ValueError):
            write_ids(documents, Numbers(9), path)
        assert open_ids(path).tolist() == [1, 2, 3]
        assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("documents", "end", "words"),
    [
        (["1"], 9, "end is 9: expected an id of this tokenizer, from 0 to 8"),
        (["1"], -1, "end is -1: expected an id"),
        (
            ["1 9"],
            None,
            "gave ids from 1 to 9: expected 0 to 8, as its vocab_size says",
        ),
        (["-1 1"], None, "gave ids from -1 to 1"),
        ("1 2 3", None, "documents is one text, '1 2 3': expected several"),
    ],
)
def test_what_can_not_be_written_is_refused_in_words(tmp_path, documents, end, words):
    with pytest.raises(ValueError, match=words):
        write_ids(documents, Numbers(9), tmp_path / "a.ids", end)


DAMAGE = {
    "cut off": (lambda old: old[:-3], "tells of 262 bytes and there are 259"),
    "too long": (lambda old: old + b"1", "tells of 262 bytes and there are 263"),
    "cut in its first line": (lambda old: old[:50], "not a file of ids"),
    "empty": (lambda old: b"", "not a file of ids"),
    "another file": (lambda old: b"A dog barked. " * 99, "not a file of ids"),
    "binary": (lambda old: bytes(range(256)) * 2, "not a file of ids"),
    "other JSON": (lambda old: b'{"a": 1}'.ljust(300), "not a file of ids"),
    "a list": (lambda old: b"[1, 2]".ljust(300), "not a file of ids"),
    "a number": (lambda old: b"7".ljust(300), "not a file of ids"),
    "another kind": (
        lambda old: old.replace(b"llmkit", b"others"),
        "not a file of ids",
    ),
    "another type": (lambda old: old.replace(b"int16", b"int99"), "not a file of ids"),
    "no count": (lambda old: old.replace(b'": 3', b'": null'), "not a file of ids"),
    "a count below": (lambda old: old.replace(b'": 3', b'": -3'), "not a file of ids"),
}


@pytest.mark.parametrize("how", DAMAGE)
@pytest.mark.parametrize("reader", [open_ids, read_header])
def test_a_damaged_file_is_refused_in_words(tmp_path, how, reader):
    path = tmp_path / "a.ids"
    write_ids(["1 2 3"], Numbers(9), path)
    damage, words = DAMAGE[how]
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(ValueError, match=words) as caught:
        reader(path)
    assert str(caught.value).startswith(str(path))
    assert str(caught.value).endswith("write it anew with write_ids")
    assert "\n" not in str(caught.value)


def test_a_file_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(ValueError, match="cannot be read .No such file or directory"):
        open_ids(tmp_path / "a.ids")
    with pytest.raises(ValueError, match="cannot be read .Is a directory"):
        open_ids(tmp_path)


@pytest.mark.slow
@pytest.mark.process
@pytest.mark.timeout(1200)  # a minute and a half where nothing else runs
def test_a_large_text_is_encoded_and_read_in_little_memory():
    # Of these, torch alone takes 250 MB; the benchmark does the same with 1 GB of text.
    script = [ROOT / "benchmarks" / "large_text.py", "--megabytes", "130"]
    done = subprocess.run(
        [sys.executable, *map(str, script)], capture_output=True, text=True, cwd=ROOT
    )
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout.splitlines()[-1])
    assert result["megabytes"] >= 130
    assert result["peak_mb_after_writing"] < 120
    assert result["peak_mb"] < 400
