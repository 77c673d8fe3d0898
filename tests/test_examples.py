"""What is read as labelled texts, how they are split, and what is said of them."""

import csv
import io
import json
from collections import Counter

import huggingface_hub.constants
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmkit.corpus.duplicates import normalised
from llmkit.finetuning import reporting as report_module
from llmkit.finetuning.examples import Examples, Splits, load_splits, read_examples
from llmkit.finetuning.reporting import report
from llmkit.finetuning.rows import Skipped

ENDINGS = ("txt", "csv", "tsv", "jsonl", "parquet")
GOOD = {"text": "A joy.", "label": "good"}
BAD = {"text": "A bore.", "label": "bad"}


def write(path, rows):
    """Write rows of a dictionary each to a file of the kind that its name says."""
    ending = path.suffix[1:]
    if ending == "parquet":
        pandas = pytest.importorskip("pandas")
        pandas.DataFrame(rows).to_parquet(path)
        return path
    stream = io.StringIO(newline="")
    if ending == "txt":
        stream.write("".join(f"{row['label']} {row['text']}\n" for row in rows))
    elif ending == "jsonl":
        stream.write("".join(json.dumps(row) + "\n" for row in rows))
    else:
        names = list(dict.fromkeys(name for row in rows for name in row))
        sheet = csv.DictWriter(
            stream, names, delimiter="\t" if ending == "tsv" else ","
        )
        sheet.writeheader()
        sheet.writerows(rows)
    path.write_bytes(stream.getvalue().encode())
    return path


def refusal(source, read=read_examples, **options):
    """Return what is said when a source is refused: one line."""
    with pytest.raises(ValueError) as caught:
        read(source, **options)
    message = str(caught.value)
    assert "\n" not in message
    return message


def many(n, names=("bad", "good"), source="a.csv"):
    """Make n different examples, with the classes in turn."""
    texts = tuple(f"{word(i)} {word(i + 7)} was number {i}." for i in range(n))
    return Examples(source, texts, tuple(i % len(names) for i in range(n)), names)


def word(i):
    return "abcdefghijklmnopqrstuvwxyz"[i % 26] * 3


# --- formats -----------------------------------------------------------------------

LINES = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r\n\0"))
TEXTS = LINES.filter(str.strip)
LABELS = st.sampled_from(["🙂", "bad", "2", "ok"])


@pytest.mark.slow
@settings(deadline=None)
@given(rows=st.lists(st.tuples(TEXTS, LABELS)))
def test_each_format_gives_the_same_examples(tmp_path_factory, rows):
    rows = [*rows, ("One more.", "bad"), ("And another.", "ok")]
    table = [{"label": label, "text": text} for text, label in rows]
    folder = tmp_path_factory.mktemp("formats")
    names = tuple(sorted({label for _, label in rows}))
    for ending in ENDINGS:
        examples = read_examples(write(folder / f"a.{ending}", table))
        assert examples.names == names
        assert examples.texts == tuple(text.strip() for text, _ in rows)
        assert [names[c] for c in examples.labels] == [label for _, label in rows]
        assert examples.tags == ((),) * len(rows)
        first = 2 if ending in ("csv", "tsv") else 1
        assert examples.lines == tuple(range(first, first + len(rows)))


@pytest.mark.parametrize("ending", ENDINGS[1:])
def test_a_text_of_several_lines_is_one_row(tmp_path, ending):
    rows = [
        {"text": 'It "was"\n\nlong,\tand', "label": 1},
        {"text": "short", "label": 0},
    ]
    examples = read_examples(write(tmp_path / f"a.{ending}", rows))
    assert examples.texts == ('It "was"\n\nlong,\tand', "short")
    assert examples.labels == (1, 0)
    by_line = ending in ("csv", "tsv")
    assert examples.lines == ((2, 5) if by_line else (1, 2))


def test_blank_lines_are_passed_over_and_counted(tmp_path):
    for ending, content in {
        "txt": "\n1 A joy.\n\n0 A bore.\n",
        "csv": "text,label\nA joy.,1\n\nA bore.,0\n",
        "jsonl": '\n{"text": "A joy.", "label": 1}\n\n{"text": "A bore.", "label": 0}',
    }.items():
        (tmp_path / f"a.{ending}").write_text(content)
        assert read_examples(tmp_path / f"a.{ending}").lines == (2, 4)


def test_a_tsv_file_may_have_marks_that_quote_nothing(tmp_path):
    path = tmp_path / "a.tsv"
    path.write_text('sentence\tlabel\n"Up" is "fun\t1\nso-so, "dull"\t0\n')
    assert read_examples(path).texts == ('"Up" is "fun', 'so-so, "dull"')


def test_a_cell_may_be_as_long_as_it_likes(tmp_path):
    before = csv.field_size_limit()
    long = GOOD | {"text": "very " * 100_000 + "good"}
    assert len(read_examples(write(tmp_path / "a.csv", [long, BAD])).texts[0]) > 500_000
    assert csv.field_size_limit() == before


@pytest.mark.parametrize(
    ("name", "content", "complaint"),
    [
        (
            "a.csv",
            'text,label\n"Up" is,1\n',
            "not well-formed from line 2 on: .*quote a",
        ),
        ("a.csv", 'text,label\nUp,1\n"Up,1\n', "not well-formed from line 3 on"),
        ("a.csv", "text,label\nWell, bad,0\n", "line 2 has 3 cells, .*names 2 columns"),
        (
            "a.tsv",
            "text\tlabel\n\nbad\tx\t0\n",
            r"line 3 has 3 cells.* separator '\\t'",
        ),
        ("a.csv", "text,text\na,b\n", "two columns are called 'text'"),
        ("a.csv", "text,label\n", "it has no rows: expected labelled texts"),
        ("a.csv", "", "this file is empty: expected some text"),
        ("a.jsonl", '{"text": "a"\n', "line 1 is not JSON"),
        ("a.parquet", "PAR1", "not a well-formed .parquet table"),
        ("a.xlsx", "text", "file that ends in '.xlsx': expected one of .txt, .csv"),
        ("a.csv", "text\0", "this is binary data"),
    ],
)
def test_what_is_not_well_formed_is_refused(tmp_path, name, content, complaint):
    (tmp_path / name).write_text(content)
    with pytest.raises(ValueError, match=complaint):
        read_examples(tmp_path / name)


def test_what_is_not_there_is_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "films.csv", [GOOD, BAD])
    message = refusal("film.csv")
    assert "no labelled texts 'film.csv': there is no such file" in message
    assert "expected 'reviews', hub:NAME, or a file that ends in one of" in message
    assert message.endswith("did you mean 'films.csv'?")
    assert "did you mean 'reviews'?" in refusal("review")
    assert "no labelled texts ''" in refusal("")
    assert "a folder: expected one file; give others with" in refusal(str(tmp_path))


# --- columns -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("row", "options"),
    [
        ({"id": "a much longer string", "text": "T", "label": "L"}, {}),
        ({"id": "a much longer string", "Sentence": "T", "Stars": "L"}, {}),
        ({"title": "X", "blurb": "T, the longest", "sentiment": "L"}, {}),
        ({"text": "X", "label": "X", "a": "T", "b": "L"}, {"text": "a", "label": "b"}),
        ({"tags": "much longer than any", "tone": "T", "class": "L"}, {}),
        ({"label": "T", "labels": "L"}, {"text": "label"}),
    ],
)
def test_columns_are_known_by_their_names_or_named(tmp_path, row, options):
    rows = [row, {k: v.replace("L", "M") for k, v in row.items()}]
    examples = read_examples(write(tmp_path / "a.csv", rows), **options)
    assert examples.names == ("L", "M")
    assert examples.texts[0][0] == "T"


def test_the_column_of_texts_may_follow_the_source(tmp_path):
    rows = [{"a": f"long {i}", "b": str(i), "label": i} for i in range(2)]
    path = write(tmp_path / "a.csv", rows)
    assert read_examples(path).texts == ("long 0", "long 1")
    assert read_examples(f"{path}#b").texts == ("0", "1")
    sharp = write(tmp_path / "c#.csv", rows)
    assert read_examples(sharp).texts == ("long 0", "long 1")


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({}, "no column of labels: its columns are 'a', 'n': name that of the labels"),
        ({"label": "x"}, "no column 'x': its .* with --label COLUMN"),
        ({"label": "n", "text": "x"}, "no column 'x': its .* with --text COLUMN"),
        ({"label": "a"}, "no column of texts: its columns are 'a', 'n'"),
        ({"label": "a", "text": "a"}, "'a' is to be text and label at once: name two"),
    ],
)
def test_a_column_that_is_not_there_is_refused(tmp_path, options, complaint):
    path = write(tmp_path / "a.jsonl", [{"a": "word", "n": 1}])
    with pytest.raises(ValueError, match=complaint):
        read_examples(path, **options)


@pytest.mark.parametrize(
    ("said", "tags"),
    [
        ({"tags": ["irony", "mixed"]}, ("irony", "mixed")),
        ({"tags": "irony, mixed"}, ("irony", "mixed")),
        ({"tags": "['irony', 'mixed']"}, ("irony", "mixed")),
        ({"tags": [], "tag": "mixed"}, ("mixed",)),
        ({"tags": ["mixed"], "tag": "mixed"}, ("mixed",)),
        ({"tags": None, "tag": float("nan")}, ()),
        ({"tags": "[]"}, ()),
    ],
)
def test_tags_are_taken_over(tmp_path, said, tags):
    path = write(tmp_path / "a.jsonl", [GOOD | said, BAD])
    assert read_examples(path).tags == (tags, ())


# --- labels ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("labels", "names", "numbers"),
    [
        (["positive", "negative"], ("negative", "positive"), (1, 0)),
        ([5, 10, 1], ("1", "5", "10"), (1, 2, 0)),
        (["10", " 9", "9"], ("9", "10"), (1, 0, 0)),
        ([1.0, 0.0, 1], ("0", "1"), (1, 0, 1)),
        (["1.0", "0.0", "01"], ("0", "1"), (1, 0, 1)),
        ([-1, 1], ("-1", "1"), (0, 1)),
        ([True, False], ("false", "true"), (1, 0)),
        (["True", "FALSE"], ("false", "true"), (1, 0)),
        (["10", "ten", "9"], ("10", "9", "ten"), (0, 2, 1)),
        (["very good", "bad "], ("bad", "very good"), (1, 0)),
    ],
)
def test_labels_are_whole_numbers_booleans_or_words(tmp_path, labels, names, numbers):
    rows = [{"text": f"text {i}", "label": label} for i, label in enumerate(labels)]
    for ending in ("jsonl", "csv"):
        examples = read_examples(write(tmp_path / f"a.{ending}", rows))
        assert (examples.names, examples.labels) == (names, numbers)


def test_declared_names_give_the_order(tmp_path):
    path = write(tmp_path / "a.csv", [GOOD, BAD])
    names = ("good", "so-so", "bad")
    examples = read_examples(path, names=names)
    assert (examples.names, examples.labels) == (names, (0, 2))
    path = write(tmp_path / "b.csv", [GOOD | {"label": 1.0}])
    assert read_examples(path, names=(0, 1)).labels == (1,)


@pytest.mark.parametrize("bad_rows", ["refuse", "skip"])
def test_a_label_outside_the_declared_names_is_refused(tmp_path, bad_rows):
    path = write(tmp_path / "a.csv", [BAD, GOOD, GOOD])
    message = refusal(path, names=("bad", "fair"), bad_rows=bad_rows)
    assert "line 3 has the label 'good' (one of 2 such rows): the classes" in message
    assert "are 'bad', 'fair': mend the label, or give training such rows" in message


@pytest.mark.parametrize("names", [(), ("a",), ("a", "a"), ("a", " ")])
def test_declared_names_are_two_or_more(tmp_path, names):
    message = refusal(write(tmp_path / "a.csv", [BAD, GOOD]), names=names)
    assert "expected two or more, none of them empty or twice" in message


def test_one_class_alone_is_refused(tmp_path):
    message = refusal(write(tmp_path / "a.csv", [GOOD, GOOD | {"text": "Fun."}]))
    assert "every row has the label 'good' (2 in all): expected two classes" in message
    assert (
        "or more: add rows of another, or name another column with --label COLUMN"
        in message
    )


# --- bad rows ----------------------------------------------------------------------

BAD_ROWS = [
    GOOD,
    {"text": " \t", "label": "good"},
    {"text": None, "label": "good"},
    {"text": 5, "label": "good"},
    {"text": True, "label": "good"},
    {"text": ["a"], "label": None},
    {"text": "no label", "label": None},
    {"text": "no label"},
    {"text": "a word?", "label": "  "},
    {"text": "half", "label": 0.5},
    {"text": "half", "label": "4.5"},
    {"text": "several", "label": ["good"]},
    BAD,
]
REASONS = [
    *["empty text"] * 2,
    "a number for a text",
    "a boolean for a text",
    "a list for a text",
    *["no label"] * 3,
    *["a label that is no whole number"] * 2,
    "a list for a label",
]


def test_bad_rows_are_refused_all_at_once(tmp_path):
    path = write(tmp_path / "a.jsonl", BAD_ROWS)
    assert refusal(path) == (
        f"{path}: 11 rows can't be used (3 no label, 2 empty text, 2 a label that is "
        "no whole number, 1 a number for a text, 1 a boolean for a text, 1 a list for "
        "a text, 1 a list for a label): line 2 (empty text), line 3 (empty text), "
        "line 4 (a number for a text), line 5 (a boolean for a text), line 6 (a list "
        "for a text), …; mend them or skip them with --bad-rows skip"
    )


def test_bad_rows_are_skipped_and_named(tmp_path):
    path = write(tmp_path / "a.jsonl", BAD_ROWS)
    examples = read_examples(path, bad_rows="skip")
    assert examples.texts == ("A joy.", "A bore.")
    assert examples.lines == (1, 13)
    assert examples.skipped == tuple(map(Skipped, range(2, 13), REASONS))


@pytest.mark.parametrize(
    ("name", "content", "first"),
    [
        ("a.txt", "1 A joy.\n0\n1  \n", "line 2 (empty text), line 3 (empty text);"),
        (
            "a.csv",
            "text,label\n,1\nA joy.\n",
            "line 2 (empty text), line 3 (no label);",
        ),
    ],
)
def test_bad_rows_of_text_files_are_named_by_line(tmp_path, name, content, first):
    (tmp_path / name).write_text(content)
    assert first in refusal(tmp_path / name)


def test_bad_rows_of_a_parquet_file_are_named_by_row(tmp_path):
    path = write(tmp_path / "a.parquet", [GOOD, BAD, {"text": "", "label": "bad"}])
    assert "1 row can't be used (1 empty text): row 3 (empty text);" in refusal(path)


def test_a_column_text_without_texts_is_not_passed_over(tmp_path):
    rows = [{"text": i, "id": "a string", "label": i} for i in range(2)]
    message = refusal(write(tmp_path / "a.jsonl", rows))
    assert "2 rows can't be used (2 a number for a text)" in message


def test_no_row_left_is_refused(tmp_path):
    path = write(
        tmp_path / "a.jsonl", [GOOD | {"text": ""}, {"label": 1, "text": "a "}]
    )
    assert "1 row can't be used" in refusal(path)
    path = write(tmp_path / "a.jsonl", [GOOD | {"text": " "}])
    message = refusal(path, bad_rows="skip")
    assert "no row is left, as all were skipped (1 empty text)" in message


def test_another_way_with_bad_rows_is_refused(tmp_path):
    path = write(tmp_path / "a.csv", [GOOD, BAD])
    assert "bad_rows is 'drop': expected refuse or skip" in refusal(
        path, bad_rows="drop"
    )


# --- Examples ----------------------------------------------------------------------


def test_examples_are_taken_by_their_places():
    examples = Examples(
        "a.csv", ("x", "y", "z"), (0, 1, 1), ("a", "b"), ((), ("t",), ()), (2, 4, 5)
    )
    taken = examples.take([2, 1])
    assert (taken.texts, taken.labels, taken.lines) == (("z", "y"), (1, 1), (5, 4))
    assert taken.tags == ((), ("t",))
    assert len(examples.take([])) == 0


@pytest.mark.parametrize(
    ("fields", "complaint"),
    [
        ((("x",), (0, 1), ("a", "b")), "have the lengths 1, 2, 1, 1: expected one of"),
        ((("x",), (2,), ("a", "b")), "labels hold 2: expected .* from 0 to 1, .* a, b"),
    ],
)
def test_examples_that_do_not_fit_together_are_refused(fields, complaint):
    with pytest.raises(ValueError, match=complaint):
        Examples("a.csv", *fields)


# --- splits ------------------------------------------------------------------------


def test_the_reviews_have_splits_of_their_own():
    splits = load_splits("reviews")
    whole = read_examples("reviews")
    parts = (splits.train, splits.validation, splits.test)
    assert sum(map(len, parts)) == len(whole)
    assert {part.names for part in parts} == {("negative", "positive")}
    assert Counter(t for p in parts for t in p.texts) == Counter(whole.texts)
    assert any(splits.test.tags)


@pytest.mark.parametrize(
    "words", [("train", "validation", "test"), ("Training", "dev", "TEST")]
)
def test_a_column_split_is_obeyed(tmp_path, words):
    rows = [
        r | {"split": w, "text": f"{r['text']} {w}"} for w in words for r in (GOOD, BAD)
    ]
    path = write(tmp_path / "a.csv", rows)
    splits = load_splits(path)
    assert splits.train.lines == (2, 3)
    assert splits.validation.lines == (4, 5)
    assert splits.test.lines == (6, 7)
    assert load_splits(write(tmp_path / "b.csv", rows[:4])).test is None
    won = load_splits(path, validation=path, test=path)
    assert (len(won.train), len(won.validation), len(won.test)) == (2, 6, 6)


def test_without_rows_for_validation_some_of_training_are_held_out(tmp_path):
    rows = [{"text": f"text {i}", "label": i % 2, "split": "train"} for i in range(40)]
    rows += [{"text": f"test {i}", "label": i % 2, "split": "test"} for i in range(4)]
    splits = load_splits(write(tmp_path / "a.csv", rows))
    assert [len(x) for x in (splits.train, splits.validation, splits.test)] == [
        36,
        4,
        4,
    ]


def test_a_column_split_that_says_something_else_is_passed_over(tmp_path):
    rows = [{"text": f"text {i}", "label": i % 2, "split": i % 5} for i in range(40)]
    splits = load_splits(write(tmp_path / "a.csv", rows))
    assert (len(splits.train), len(splits.validation)) == (36, 4)


@pytest.mark.parametrize(
    ("marks", "complaint"),
    [
        (("train", "fold 3"), "line 2 has the split 'fold 3', while others say where"),
        (("train", None), "line 2 has the split '', .*one of train, validation, test"),
        (("dev", "test"), "no row has the split 'train': mark the rows to train on"),
    ],
)
def test_a_split_that_is_not_to_be_used_is_refused(tmp_path, marks, complaint):
    rows = [row | {"split": mark} for row, mark in zip((GOOD, BAD), marks)]
    with pytest.raises(ValueError, match=complaint):
        load_splits(write(tmp_path / "a.jsonl", rows))


@pytest.mark.parametrize("option", ["validation", "test"])
def test_a_label_that_training_does_not_know_is_refused(tmp_path, option):
    data = write(
        tmp_path / "a.csv", [{"text": f"{i}", "label": i % 2} for i in range(9)]
    )
    other = write(tmp_path / "b.csv", [{"text": f"{i}", "label": i} for i in range(3)])
    message = refusal(data, load_splits, **{option: other})
    assert (
        f"{other}: line 4 has the label '2': the classes, as declared or as" in message
    )
    rows = [GOOD | {"split": "train"}, BAD | {"split": "train"}]
    rows += [BAD | {"split": option, "label": "so-so"}]
    message = refusal(write(tmp_path / "c.csv", rows), load_splits)
    assert "line 4 has the label 'so-so'" in message


def test_one_class_in_training_alone_is_refused(tmp_path):
    rows = [GOOD | {"split": "train"}, BAD | {"split": "dev"}]
    message = refusal(write(tmp_path / "a.csv", rows), load_splits)
    assert "every row has the label 'good' (1 in all)" in message


def test_a_class_without_a_row_in_validation_is_refused(tmp_path):
    data = write(tmp_path / "a.csv", [GOOD, BAD])
    other = write(tmp_path / "b.csv", [GOOD])
    message = refusal(data, load_splits, validation=other)
    assert "validation has no row of 'bad': each class needs one there: add" in message
    assert len(load_splits(data, data, test=other).test) == 1  # judging is no matter


def test_a_class_of_one_text_cannot_be_held_out(tmp_path):
    rows = [*({"text": f"text {i}", "label": "a"} for i in range(9)), GOOD]
    message = refusal(write(tmp_path / "a.csv", [*rows, GOOD]), load_splits)
    assert "'good' has too few different texts (lines 11, 12): each class" in message
    assert "add rows of it, take it out, or give --validation FILE" in message
    (tmp_path / "prose.txt").write_text("One day\nit rained\nand how\nit poured\n")
    message = refusal(tmp_path / "prose.txt", load_splits)
    assert (
        "'One' has too few different texts (line 1), as have 1 more class:" in message
    )


@pytest.mark.parametrize("share", [0, 1, -0.5, 1.5])
def test_a_share_outside_0_to_1_is_refused(share):
    assert f"share is {share}: expected" in refusal("reviews", load_splits, share=share)


def test_what_was_skipped_is_said_of_training(tmp_path):
    rows = [{"text": f"text {i}", "label": i % 2} for i in range(9)]
    path = write(tmp_path / "a.csv", [*rows, {"text": "", "label": 1}])
    splits = load_splits(path, bad_rows="skip", test=path)
    assert splits.train.skipped == splits.test.skipped == (Skipped(11, "empty text"),)
    assert splits.validation.skipped == ()
    assert "skipped of train: 1 empty text" in str(report(splits))


ROWS = st.lists(st.tuples(st.integers(0, 40), st.integers(0, 2)), min_size=4)


@settings(deadline=None)
@given(rows=ROWS, share=st.floats(0.01, 0.99), seed=st.integers(0, 9))
def test_held_out_rows_are_a_fair_share_and_no_copies(
    tmp_path_factory, rows, share, seed
):
    """Nothing is lost, no text is on both sides, and each class is on both."""
    table = [
        {"text": f"Text {i}" if k % 2 else f"text  {i} ", "label": c}
        for k, (i, c) in enumerate(rows)
    ]
    texts = {c: {i for i, each in rows if each == c} for _, c in rows}
    path = write(tmp_path_factory.mktemp("held") / "a.jsonl", table)
    try:
        splits = load_splits(path, share=share, seed=seed)
    except ValueError as error:
        if len(texts) > 1 and min(map(len, texts.values())) > 1:
            assert sum(map(len, texts.values())) > len(set().union(*texts.values()))
        assert "every row has" in str(error) or "too few different" in str(error)
        return
    train, held = splits.train, splits.validation
    assert sorted(train.lines + held.lines) == list(range(1, len(rows) + 1))
    assert not {*map(normalised, train.texts)} & {*map(normalised, held.texts)}
    assert set(train.labels) == set(held.labels) == set(range(len(train.names)))
    if len({i for i, _ in rows}) == len(rows):  # no copies
        for c, n in Counter(train.labels + held.labels).items():
            assert abs(held.labels.count(c) - share * n) <= 1


def test_a_seed_draws_the_same_rows_again(tmp_path):
    rows = [{"text": f"text {i}", "label": i % 3} for i in range(90)]
    path = write(tmp_path / "a.csv", rows)
    one, again, other = (load_splits(path, seed=seed) for seed in (1, 1, 2))
    assert one == again
    assert one.validation.lines != other.validation.lines
    assert Counter(one.validation.labels) == {0: 3, 1: 3, 2: 3}


# --- hub ---------------------------------------------------------------------------


@pytest.fixture
def hub_dataset(tmp_path, monkeypatch):
    """Put the dataset owner/films where `datasets` looks before it asks the hub."""
    datasets = pytest.importorskip("datasets")

    class Info:
        def __init__(self, name, timeout):
            self.id = name

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(huggingface_hub, "dataset_info", Info)
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "owner" / "films"
    folder.mkdir(parents=True)
    features = datasets.Features(
        text=datasets.Value("string"),
        label=datasets.ClassLabel(names=["pos", "neg", "never"]),
    )
    for split, labels in {"train": [1, 0, 1], "test": [0, 1, -1]}.items():
        columns = {"text": [f"{split} {i}" for i in range(3)], "label": labels}
        dataset = datasets.Dataset.from_dict(columns, features=features)
        dataset.to_parquet(folder / f"{split}.parquet")


def test_a_dataset_of_the_hub_names_its_classes(hub_dataset):
    examples = read_examples("hub:owner/films")
    assert (examples.names, examples.labels) == (("pos", "neg"), (1, 0, 1))
    assert examples.texts[0] == "train 0"
    message = refusal("hub:owner/films:test")
    assert "hub:owner/films:test: 1 row can't be used (1 no label): row 3" in message
    splits = load_splits(
        "hub:owner/films",
        "hub:owner/films",
        test="hub:owner/films:test",
        bad_rows="skip",
    )
    assert splits.test.labels == (0, 1)
    assert splits.test.skipped == (Skipped(3, "no label"),)


# --- report ------------------------------------------------------------------------


def test_a_report_counts_classes_and_lengths():
    train = Examples(
        "a.csv",
        tuple("w " * n + str(n) for n in range(20)),
        (0,) * 15 + (1,) * 5,
        ("bad", "good"),
    )
    said = report(Splits(train, many(4), many(6)))
    assert said.counts == {"train": (15, 5), "validation": (2, 2), "test": (3, 3)}
    assert (said.lengths["train"].median, said.lengths["train"].p95) == (10, 19)
    assert said.lengths["train"].longest == 20
    table = str(said).splitlines()
    assert table[0].split() == ["train", "validation", "test"]
    assert table[1].split() == ["rows", "20", "4", "6"]
    assert table[2].split() == ["bad", "15", "75.0%", "2", "50.0%", "3", "50.0%"]
    assert table[4].split() == ["words:", "median", "10", "5", "5"]
    assert max(map(len, table)) < 80 or said.warnings


@pytest.mark.slow
def test_texts_that_are_cut_are_counted():
    splits = Splits(many(1000), many(4, source="b.csv").take([1, 2]))
    long = {1: "x" * 600, 2: "x" * 601}
    train = Examples(
        "a.csv",
        tuple(long.get(i, text) for i, text in enumerate(splits.train.texts)),
        splits.train.labels,
        splits.train.names,
    )
    said = report(Splits(train, splits.validation), tokenizer=len, limit=600)
    assert (
        "1 text (0.1%) is cut to 600 tokens: the model does not see" in said.warnings[0]
    )
    assert "over 600 tokens" in str(said) and "tokens: median" in str(said)
    said = report(Splits(train, splits.validation), tokenizer=len, limit=512)
    assert "2 texts (0.2%) are cut to 512 tokens" in said.warnings[0]
    assert said.lengths["train"].cut == 2
    with pytest.raises(ValueError, match="limit is 5, in tokens: expected a tokenizer"):
        report(splits, limit=5)


COPIES = (
    "The soup was hot and the bread was fresh.",
    "the soup was hot  and the bread was fresh.",
    "The soup was hot and the bread was stale.",
    "We waited an hour for a cold plate of beans.",
)


def test_copies_within_training_are_counted():
    train = Examples("a.csv", COPIES, (0, 0, 0, 1), ("bad", "good"))
    said = report(Splits(train, many(4)))
    assert (said.copies, said.near_copies) == (1, 1)
    assert said.warnings == ()


def test_leaks_are_warned_of():
    train = Examples("a.csv", COPIES[3:], (1,), ("bad", "good"), lines=(7,))
    train_more = many(20)
    texts = (*train.texts, *train_more.texts)
    labels = (*train.labels, *train_more.labels)
    train = Examples("a.csv", texts, labels, ("bad", "good"))
    test = Examples(
        "b.parquet",
        (COPIES[3].upper(), COPIES[3][:-1] + "!", COPIES[0], train_more.texts[0]),
        (1, 1, 0, 0),
        ("bad", "good"),
    )
    validation = Examples("c.csv", (COPIES[1], "Fine."), (0, 1), ("bad", "good"))
    said = report(Splits(train, validation, test))
    assert said.warnings == (
        "2 rows of test also stand in training (rows 1, 4): what the model scores on "
        "them is memory: take them out of one side",
        "1 row of test nearly stands in training (row 2; the first is like line 1 of "
        "training): look at them, and take copies out of one side",
        "1 row of test also stands in validation (row 3): what the model scores on it "
        "is memory: take it out of one side",
    )
    assert str(said).endswith(f"warning: {said.warnings[-1]}")


def test_near_copies_are_not_looked_for_among_too_many(monkeypatch):
    monkeypatch.setattr(report_module, "MOST", 3)
    train = Examples("a.csv", COPIES, (0, 0, 0, 1), ("bad", "good"))
    said = report(Splits(train, many(4)))
    assert (said.copies, said.near_copies) == (1, None)
    assert "not counted" in str(said)


def test_a_text_with_two_labels_is_warned_of():
    train = Examples("a.csv", COPIES[:2], (0, 1), ("bad", "good"), lines=(4, 9))
    (warning,) = report(Splits(train, many(4))).warnings
    assert warning.startswith("1 text stands with more than one label (the first is at")
    assert "line 4 of train 'bad' and line 9 of train 'good'): no model gets" in warning


def test_uneven_classes_are_warned_of():
    train = Examples("a.csv", many(60).texts, (0,) * 10 + (1,) * 50, ("bad", "good"))
    (warning,) = report(Splits(train, many(0))).warnings
    assert (
        "training has 10 rows of 'bad' and 50 of 'good': weigh the classes" in warning
    )


def test_many_classes_and_long_names_keep_the_table_small():
    names = tuple(f"a rather long name of class {i}" for i in range(77))
    said = str(report(Splits(many(1000, names), many(154, names, "b.csv"))))
    assert "65 classes more" in said
    assert "12 to 13" in said
    assert max(map(len, said.splitlines()[:15])) < 80
