"""What each repair mends and each judgement catches, and that nothing goes silently."""

import unicodedata
from collections import Counter
from functools import partial
from itertools import count, islice
from pydoc_data.topics import topics

import pytest
from helpers import ROOT  # noqa: F401 (sets the profile of hypothesis)
from hypothesis import example, given
from hypothesis import strategies as st

from llmkit.corpus import JUDGEMENTS, REPAIRS, Report, clean, cleaned, load, repairs
from llmkit.corpus.judgements import (
    most_frequent,
    not_english,
    other_script,
    repeated,
    repeats_lines,
    repeats_words,
    too_few_letters,
    too_long,
    too_short,
)
from llmkit.corpus.repairs import (
    compose,
    drop_controls,
    drop_furniture,
    drop_lines,
    lines_of_many,
    mend_encoding,
    tidy_spaces,
)

# Letters, marks, spaces of all kinds, and what hides between them.
ODD = st.text(
    st.sampled_from("aé e\u0301ß \t\n\r\0\x85\u200b\u200d\u200c\ufeff\u2028👩🏽🏴")
)
TEXTS = st.one_of(st.text(), ODD)
WORDS = st.lists(st.sampled_from(["a", "bb", "ccc", "dd"]), max_size=40)


# --- repairs -----------------------------------------------------------------------


@pytest.mark.parametrize(
    "repair", [compose, drop_controls, drop_furniture, tidy_spaces]
)
@given(text=TEXTS)
@example(text="a\u200d\u200d👩\u200d\u200b👩")
@example(text="x\U000e0067\U000e0062\U0001f3f4\U000e0067")
@example(text="\u0590\u200c\ufeff")
def test_a_mended_text_needs_no_mending(repair, text):
    assert repair(repair(text)) == repair(text)


@given(TEXTS)
def test_sound_ascii_prose_passes_all_repairs_unchanged(text):
    prose = "A dog barked.\n\n    A cat, indented, slept.\n"
    assert all(repair(prose) == prose for repair in REPAIRS)


@given(st.text("äöüéèñçßøå", min_size=1), st.sampled_from(["latin1", "cp1252"]))
def test_text_decoded_by_the_wrong_table_comes_back(letters, table):
    text = f"Line one.\nDie Wörter: {letters}, und mehr."
    try:
        broken = text.encode().decode(table)
    except UnicodeDecodeError:
        return  # this table has no sign for one of the bytes
    assert mend_encoding(broken) == text


@pytest.mark.parametrize("text", ["Grüße", "naïve café", "日本語", "It’s “so”…", "½ ﬁ"])
def test_sound_text_is_not_mended(text):
    assert mend_encoding(text) == text


@given(st.text())
def test_compose_loses_nothing_that_nfd_tells_apart(text):
    assert unicodedata.is_normalized("NFC", compose(text))
    apart = partial(unicodedata.normalize, "NFD")
    assert apart(compose(text)) == apart(text)


KEPT = {
    "a family of emoji": "👩\u200d👩\u200d👧\u200d👦 came",
    "a flag of a nation": "🏴\U000e0067\U000e0062\U000e0065\U000e006e\U000e007f!",
    "a rainbow flag": "🏳\ufe0f\u200d🌈",
    "a tone of skin": "👩🏽\u200d🚀",
    "a heart on fire": "❤\ufe0f\u200d🔥",
    "Persian": "می\u200cخواهم",
    "Hindi": "क्\u200dष",
    "Hebrew with a mark": "שלום\u200f!",
    "tabs and line breaks": "a\tb\nc\n\n",
    "spaces of other widths": "10\u00a0km 5\u202f%",
}


@pytest.mark.parametrize("text", KEPT.values(), ids=KEPT)
def test_what_shapes_the_text_is_kept(text):
    assert drop_controls(text) == text


DROPPED = {
    "zero\u200bwidth": "zerowidth",
    "\ufeffmark\ufeff": "mark",
    "soft\xadhyphen": "softhyphen",
    "bell\a, escape\x1b, delete\x7f, old\x9b": "bell, escape, delete, old",
    "nul\0": "nul",
    "joined\u200dwords, split\u200cwords": "joinedwords, splitwords",
    "👩\u200d and": "👩 and",
    "Hi\U000e0068\U000e0069 there": "Hi there",
    "English\u200f \u202bmarks\u202c": "English marks",
    "turned \u202eround": "turned round",
    "turned שלום \u202eround": "turned שלום round",
    "half \ud83d a pair": "half  a pair",
    "a\r\nb\rc\x85d\u2028e\u2029f\x0cg\x0bh": "a\nb\nc\nd\ne\nf\ng\nh",
}


@pytest.mark.parametrize("text", DROPPED)
def test_what_nobody_sees_is_dropped(text):
    assert drop_controls(text) == DROPPED[text]


@given(TEXTS)
def test_nothing_that_is_seen_is_dropped_as_a_control(text):
    def seen(text):
        return [c for c in text if unicodedata.category(c)[0] != "C" and c.strip()]

    assert seen(drop_controls(text)) == seen(text)


FURNITURE = [
    "Home | News | Contact us",
    "  Home » Shop » Help ",
    "Skip to main content",
    "Back to top",
    "Read more…",
    "© 2019 The Daily Example, Inc.",
    "Copyright (c) 2001-2021 Somebody. All rights reserved.",
    "All Rights Reserved",
    "This website uses cookies to improve your visit.",
    "Accept all cookies",
    "Cookie policy",
    "Terms of Service",
]
PROSE = [
    "Home",
    "The copyright of a poem lasts long.",
    "She read more than he did.",
    "He went home | not a menu",
    "Grandma uses cookies to bribe the dog.",
    "Search the garden, and then the house.",
    "In 2019 all was well.",
    "    return copyright(year)",
]


def test_lines_of_a_page_go_and_lines_of_a_text_stay():
    lines = [line for pair in zip(FURNITURE, PROSE) for line in pair]
    assert drop_furniture("\n".join(lines)).split("\n") == PROSE
    assert [line for line in FURNITURE if drop_furniture(line)] == []


def test_lines_of_many_documents_are_found_and_dropped(monkeypatch):
    foot = "Sent from my telephone"
    texts = [f"Letter number {i}.\n  {foot} \n{foot}\nBye." for i in range(5)]
    assert lines_of_many(texts, least=5) == {foot: 5}
    assert lines_of_many(texts, least=5, words=1) == {foot: 5, "Bye.": 5}
    assert lines_of_many(texts, least=6) == {}
    monkeypatch.setattr(repairs, "ROOM", 3)
    assert lines_of_many(texts, least=3) == {foot: 5}
    dropping = partial(drop_lines, lines=lines_of_many(texts, least=5))
    kept, report = clean(texts, [dropping], [])
    assert kept[3] == "Letter number 3.\nBye."
    assert report.step("drop_lines").touched == 5


def test_one_document_is_not_many():
    with pytest.raises(ValueError, match="least is 1: expected 2 documents or more"):
        lines_of_many(["a"], least=1)


def test_spaces_are_tidied_and_indents_kept():
    text = " \n\n  one \t\n\n\n \ntwo\u00a0\n    three\n\n\n"
    assert tidy_spaces(text) == "  one\n\ntwo\n    three\n\n"


# --- judgements --------------------------------------------------------------------

CAUGHT = [
    (partial(too_short, least=6), "abcde", "5 characters, fewer than 6"),
    (partial(too_long, most=4), "abcde\n", "5 characters, more than 4"),
    (too_few_letters, "a 1 2 3", "25.0% letters, less than 50%"),
    (too_few_letters, "", "0.0% letters, less than 50%"),
    (repeats_lines, "a b c d e\n" * 10, "90.0% of its lines are repeated"),
    (
        repeats_lines,
        "".join(f"{i} b\n{i} c\n{i} d\n{i} e\n\nLike this!\n\n" for i in range(9)),
        "44.4% of its paragraphs are repeated, more than 30%",
    ),
    (repeats_words, "very good " * 25, "'very good' fills 100.0% of it"),
    (
        repeats_words,
        " ".join(f"w{i}x{j}" for j in range(8) for i in range(12)) + " w1x1 w2x1" * 15,
        "'w1x1 w2x1' fills",
    ),
    (
        repeats_words,
        " ".join([f"w{i}" for i in range(60)] + [f"w{i}" for i in range(12)]),
        "repeated runs of 10 words fill 10.2%, more than 10%",
    ),
    (not_english, "Le chien aboie et le chat dort bien. " * 5, "0.0% of its words"),
    (other_script, "Собака и cat", "30.0% of its letters are LATIN, less than 50%"),
    (partial(other_script, script="GREEK"), "dog", "0.0% of its letters are GREEK"),
]


@pytest.mark.parametrize(("judge", "text", "reason"), CAUGHT)
def test_a_judgement_says_what_it_objects_to(judge, text, reason):
    assert judge(text).startswith(reason)


PASSED = [
    (too_short, "a sentence of twenty"),
    (too_few_letters, "हिन्दी में"),  # half of it are vowels, which are marks
    (repeats_lines, "ha ha\n" * 10),  # too short to say
    (repeats_words, "ha " * 49),
    (not_english, "Le chien aboie."),
    (not_english, "The dog barked at the cat, and the cat was not amused. " * 3),
    (other_script, "1 + 1 = 2"),
    (other_script, "Über den Bäumen"),
]


@pytest.mark.parametrize(("judge", "text"), PASSED)
def test_a_judgement_passes_what_is_sound(judge, text):
    assert judge(text) is None


@pytest.mark.slow
def test_real_prose_mostly_passes():
    _, report = clean(topics.values())
    assert report.documents_left > 0.9 * report.documents > 50
    assert report.characters_left > 0.9 * report.characters


@given(WORDS, st.integers(2, 4))
def test_the_most_frequent_words_are_those_of_brute_force(words, n):
    grams = [tuple(words[i : i + n]) for i in range(len(words) - n + 1)]
    gram, filled = most_frequent(words, n)
    most = max(Counter(grams).values(), default=0)
    if most < 2:
        assert filled == 0
    else:
        assert grams.count(tuple(gram.split())) == most
        assert filled == most * len(gram.replace(" ", ""))


@given(WORDS, st.integers(2, 6))
def test_repeated_words_are_counted_once(words, n):
    taken = set()
    for i in range(len(words) - n + 1):
        before = [words[j : j + n] for j in range(i)]
        if words[i : i + n] in before and not taken & set(range(i, i + n)):
            taken |= set(range(i, i + n))
    filled = repeated(words, n)
    assert filled <= len("".join(words))
    assert bool(filled) == bool(taken)


# --- the whole ---------------------------------------------------------------------


@given(st.lists(TEXTS | st.text("ab. \n", min_size=20), min_size=1))
@example(["\u0958" * 30])  # NFC makes it longer
def test_characters_in_are_characters_out_and_removed(documents):
    report = Report()
    try:
        kept = list(cleaned(documents, report=report))
    except ValueError as error:
        assert "cleaning left nothing of" in str(error)
        kept = []
    removed = sum(step.characters for step in report.steps.values())
    assert sum(map(len, documents)) == sum(map(len, kept)) + removed
    assert len(documents) == len(kept) + sum(s.removed for s in report.steps.values())
    assert report.characters == sum(map(len, documents))
    assert (report.documents_left, report.characters_left) == (
        len(kept),
        sum(map(len, kept)),
    )
    assert report.rows()[0] == ("came in", len(documents), report.characters)
    assert report.rows()[-1][1:] == (len(kept), sum(map(len, kept)))
    found = [name for name, *_ in report.rows()[1:] if name != "blank"]
    assert found == [step.__name__ for step in (*REPAIRS, *JUDGEMENTS)]


def test_a_document_of_which_nothing_is_left_is_removed_by_that_repair():
    kept, report = clean(["© 2020 Nobody", "A dog."], judgements=[])
    assert kept == ["A dog."]
    assert report.step("drop_furniture").removed == 1
    assert report.step("drop_furniture").examples == [
        ("© 2020 Nobody", "nothing is left")
    ]


def test_repairs_come_first_and_the_first_reason_counts():
    kept, report = clean(["\0" * 30 + "Hi", "A dog barked at a cat."])
    assert kept == ["A dog barked at a cat."]
    assert report.step("drop_controls").touched == 1
    assert report.step("drop_controls").characters == 30
    assert report.step("too_short").removed == 1


def test_the_documents_of_a_corpus_keep_their_ends():
    docs = load("stories", size=10_000).documents
    assert clean(docs)[0] == list(docs)


def test_examples_show_the_place_that_was_changed_and_are_few():
    documents = [f"{'word ' * 50}caf\u00c3\u00a9 {i} {'word ' * 50}" for i in range(9)]
    _, report = clean(documents, judgements=[])
    examples = report.step("mend_encoding").examples
    assert len(examples) == 3
    before, after = examples[0]
    assert "caf\u00c3\u00a9 0" in before and "café 0" in after
    assert max(map(len, examples[0])) <= 62


def test_a_report_is_a_small_table():
    _, report = clean(["A dog barked.\x07 It did.", "Hi!"])
    lines = str(report).splitlines()
    assert lines[0].split() == ["step", "changed", "removed", "characters"]
    assert lines[1].split() == ["came", "in", "2", "25"]
    assert "drop_controls                    1          0           -1" in lines
    assert "too_short                        0          1           -3" in lines
    assert lines[-1].split() == ["left", "1", "21"]
    assert len({len(line) for line in lines}) == 1


def test_a_stream_without_end_is_cleaned_as_it_comes():
    endless = (f"Document number {i} of many. \0" for i in count())
    report = Report()
    first = list(islice(cleaned(endless, report=report), 3))
    assert first == [f"Document number {i} of many." for i in range(3)]
    assert report.documents == 3


def test_a_step_of_ones_own_is_a_function():
    def no_dogs(text):
        return "a dog" if "dog" in text else None

    kept, report = clean(["A dog.", "A cat."], [str.lower], [no_dogs])
    assert kept == ["a cat."]
    assert report.examples().splitlines() == [
        "lower:",
        "  'A dog.' → 'a dog.'",
        "  'A cat.' → 'a cat.'",
        "no_dogs:",
        "  'a dog.' → 'a dog'",
    ]


def test_when_nothing_is_left_the_steps_that_took_it_are_named():
    documents = ["Hi!", "Ho!", "=" * 30, "\0\0"]
    with pytest.raises(ValueError) as caught:
        clean(documents)
    assert str(caught.value) == (
        "cleaning left nothing of 4 documents: too_few_letters took 1 of them and 30 "
        "characters; too_short took 2 of them and 6 characters; drop_controls took 1 "
        "of them and 2 characters: leave a step out, or give it other limits, as in "
        "partial(too_short, least=5)"
    )


def test_what_is_no_list_of_documents_is_refused_in_words():
    with pytest.raises(ValueError, match="there are no documents to clean"):
        clean([])
    with pytest.raises(ValueError, match="one text, 'A dog': expected several"):
        clean("A dog")


def test_a_blank_document_is_no_repair_s_fault():
    report = Report()
    texts = ["  \n", "A dog barked at the cat.", ""]
    assert list(cleaned(texts, report=report)) == [texts[1]]
    assert report.steps["blank"].removed == 2
    assert not any(s.removed for name, s in report.steps.items() if name != "blank")
    assert clean(["  ", "a"], repairs=[], judgements=[])[0] == ["a"]


def test_a_step_may_be_any_callable():
    class Picky:
        def __call__(self, text):
            return "it says so" if "cat" in text else None

    kept, report = clean(["A dog barked at us.", "A cat."], (), [Picky()])
    assert kept == ["A dog barked at us."] and report.steps["Picky"].removed == 1
