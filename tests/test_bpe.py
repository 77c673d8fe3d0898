"""Our byte-level BPE and that of Hugging Face: one in all they do."""

import copy
import json
import pickle
import unicodedata
import weakref
from itertools import pairwise
from pydoc_data.topics import topics

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from test_tokenizer import any_text, complaint
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from llmkit.tokenizer import (
    BPETokenizer,
    CharTokenizer,
    HFTokenizer,
    WordTokenizer,
    load_tokenizer,
    word_edges,
)
from llmkit.tokenizer.bpe import LONGEST_PIECE, MOST_PIECES
from llmkit.tokenizer.merges import PIECE

# Few letters make many ties, runs of one letter, and tokens that are found twice. Of
# all characters only those with a category: tables of Unicode differ in how new the
# newest letters are that they know.
letters = st.text(st.sampled_from("aab b'é\n"), min_size=1, max_size=200)
known = st.text(st.characters(exclude_categories=["Cs", "Cn"]), min_size=1)
words = st.lists(st.sampled_from(["the", "them", " hem", "'ll", "1", "🦆", "\r\n"]))
some_text = letters | known | words.map("".join).filter(bool)
special_tokens = st.lists(st.text("<|a the>\n", min_size=1), max_size=4, unique=True)
DOCS = "".join(topics.values())  # English prose that comes inside Python
SAID = "the cat sat on the mat, the cat's mat was theirs 🦆 naïve"


def twin(texts, vocab_size, special=()):
    """Train with `tokenizers`, which stops early where there is nothing to merge."""
    tokenizer = Tokenizer(models.BPE())
    level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    tokenizer.pre_tokenizer, tokenizer.decoder = level, decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=list(special),
        initial_alphabet=level.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


def saved(tokenizer, folder):
    tokenizer.save(folder)
    return json.loads((folder / "tokenizer.json").read_text("utf-8"))


# --- training ----------------------------------------------------------------------


@given(st.lists(some_text, min_size=1, max_size=3), special_tokens, st.integers(0, 90))
@example(["aaa aaaa"], [], 90)  # pairs that overlap themselves
@example(["abcabc bcab abc"], [], 90)  # "abc" is found as a+bc and as ab+c
@example(["the the"], ["the", "t"], 90)  # special tokens that merges make, too
def test_the_file_is_that_of_the_twin(tmp_path_factory, texts, special, more):
    expected = twin(texts, 256 + len(special) + more, special)
    size = expected.get_vocab_size()
    assume(size >= 256 + len(special))
    ours = BPETokenizer.train(iter(texts), size, special)
    folder = tmp_path_factory.getbasetemp() / "twin"
    assert saved(ours, folder) == json.loads(expected.to_str())
    assert ours.vocab_size == size
    assert ours.special_tokens == {token: i for i, token in enumerate(special)}
    if size < 256 + len(special) + more:
        message = complaint(BPETokenizer.train, texts, size + 1, special)
        assert message == complaint(HFTokenizer.train_bpe, texts, size + 1, special)
        assert f"this text has only {len(ours.merges)} merges: expected" in message
        assert f"at most {size}: use vocab_size={size}, or give more text" in message


@pytest.mark.slow
@pytest.mark.parametrize("special", [[], ["<|end|>"]])
def test_real_text_has_the_merges_of_the_twin(special):
    text = DOCS[:200_000]
    ours = BPETokenizer.train(text, 1500, special)
    fast = HFTokenizer.train_bpe(text, 1500, special)
    assert ours.fast().tokenizer.to_str() == fast.tokenizer.to_str()
    unseen = DOCS[-100_000:]
    assert ours.encode(unseen) == fast.encode(unseen)
    assert len(ours.encode(unseen)) < 0.5 * len(unseen)


@pytest.mark.slow
def test_a_large_text_has_the_merges_of_the_twin():
    fast = HFTokenizer.train_bpe(DOCS, 8000)
    ours = BPETokenizer.train(DOCS, 8000)
    assert ours.fast().tokenizer.to_str() == fast.tokenizer.to_str()


def test_of_texts_only_one_is_held_at_a_time():
    class Document(str):
        __slots__ = ("__weakref__",)  # a str cannot be watched

    alive, most = weakref.WeakSet(), 0

    def documents():
        nonlocal most
        for i in range(50):
            document = Document(f"document number {i} of many")
            alive.add(document)
            most = max(most, len(alive))
            yield document

    BPETokenizer.train(documents(), 270)
    assert most <= 2  # the one before, until the next is there


def test_ids_are_special_tokens_then_bytes_then_merges():
    tokenizer = BPETokenizer.train(SAID, 262, ["<|pad|>", "<|end|>"])
    assert tokenizer.special_tokens == {"<|pad|>": 0, "<|end|>": 1}
    assert tokenizer.tokens[:4] == [b"<|pad|>", b"<|end|>", b"!", b'"']
    assert sorted(tokenizer.tokens[2:258]) == [bytes([i]) for i in range(256)]
    joined = [left + right for left, right in tokenizer.merges]
    assert tokenizer.tokens[258:] == joined == [b"at", b"he", b"the", b" the"]


@pytest.mark.parametrize("train", [BPETokenizer.train, HFTokenizer.train_bpe])
@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("", 300), "there is no text to train a tokenizer on: give some"),
        ((["", ""], 300), "there is no text to train"),
        (([], 300), "there is no text to train"),
        ((b"the", 300), "a text is of type bytes: expected str: decode bytes first"),
        ((["the", None], 300), "a text is of type NoneType: expected str"),
        ((5, 300), "a text is of type int: expected str"),
        ((["the\ud800"], 300), "character U+D800 at position 3 is half of a surrogate"),
        (("the", 255), "vocab_size is 255: expected at least 256, which is what the"),
        (("the", 257, ["<a>", "<b>"]), "vocab_size is 257: expected at least 258"),
        (("the", 999), "vocab_size is 999: this text has only 2 merges: expected at"),
        (("the", 300, ["<a>", "<a>"]), "special token '<a>' is there 2 times: expect"),
        (("the", 300, [""]), "a special token is empty: give each a name"),
        (("the", 300, "<a>"), "special_tokens is the str '<a>': expected a list of"),
        (("the", 300, ["<é>"]), "special token '<é>' has characters beyond ASCII"),
        (("the", 300, [7]), "a text is of type int: expected str"),
    ],
)
def test_what_cannot_be_trained_is_refused(train, arguments, told):
    assert complaint(train, *arguments).startswith(told)


# --- to ids and back ---------------------------------------------------------------

TRAINED = BPETokenizer.train(SAID, 280, ["<|end|>", "<|end|>>", "the cat"])
FAST = TRAINED.fast()


@given(any_text)
@example("naïve 🦆\0\r\n\u2028 <|end|>")
def test_every_text_comes_back(text):
    if any("\ud800" <= character <= "\udfff" for character in text):
        assert "is half of a surrogate pair" in complaint(TRAINED.encode, text)
        return
    ids = TRAINED.encode(text)
    assert TRAINED.decode(ids) == text
    assert b"".join(TRAINED.tokens[i] for i in ids) == text.encode()


@given(st.lists(some_text | st.sampled_from(["<|end|>", ">", "the cat"])).map("".join))
@example("")
@example("in <|end|>>> the cats<|end|>")  # the longest, wherever it is written
def test_ids_and_steps_are_those_of_the_twin(text):
    ids = TRAINED.encode(text)
    assert ids == FAST.encode(text)
    assert TRAINED.steps(text)[-1] == TRAINED.pieces(text)


@given(st.lists(st.integers(0, TRAINED.vocab_size - 1)))
def test_parts_of_characters_are_decoded_as_the_twin_does(ids):
    assert TRAINED.decode(ids) == FAST.decode(ids)


@settings(max_examples=30)
@given(letters, letters)
def test_whatever_was_trained_on_ids_are_those_of_the_twin(text, unseen):
    size = twin([text], 400).get_vocab_size()
    ours = BPETokenizer.train(text, size)
    assert ours.encode(unseen) == ours.fast().encode(unseen)


def test_special_tokens_in_a_text_are_recognised_whoever_wrote_it():
    ids = TRAINED.encode("I typed <|end|> myself")
    assert TRAINED.special_tokens["<|end|>"] in ids
    assert ids == FAST.encode("I typed <|end|> myself", special_tokens=False)


@pytest.mark.slow
def test_a_piece_of_a_hundred_thousand_bytes_is_no_trouble():
    tokenizer = BPETokenizer.train("abba" * 99 + " " + "a" * 999, 275)
    for text in ("a" * 100_000, "abbaa" * 10_000):
        assert tokenizer.encode(text) == tokenizer.fast().encode(text)


def test_remembered_pieces_are_bounded():
    tokenizer = copy.deepcopy(TRAINED)
    text = " ".join(map(str, range(MOST_PIECES + 100)))
    assert tokenizer.encode(text) == FAST.encode(text)
    assert 0 < len(tokenizer._pieces) <= MOST_PIECES
    tokenizer.encode("x" * 1000)
    assert max(map(len, tokenizer._pieces)) <= LONGEST_PIECE


def test_a_copy_is_the_same_in_another_process():
    TRAINED.encode(SAID)
    other = pickle.loads(pickle.dumps(TRAINED))
    assert other.encode(SAID + "new") == TRAINED.encode(SAID + "new")


def test_what_is_no_text_or_no_id_is_refused():
    assert complaint(TRAINED.encode, b"the").startswith("a text is of type bytes")
    expected = "id 280 at position 1 is not in the vocabulary: expected 0 to 279"
    assert complaint(TRAINED.decode, [0, 280]).startswith(expected)
    assert complaint(TRAINED.decode, [-1]).startswith("id -1 at position 0")


def test_pieces_are_shown_even_where_they_are_part_of_a_character():
    tokenizer = BPETokenizer.train("the cat", 258, ["<|end|>"])
    assert tokenizer.pieces("thé<|end|>") == ["t", "h", r"\xc3", r"\xa9", "<|end|>"]
    assert "".join(TRAINED.pieces(SAID)).startswith("the cat")


def test_each_step_merges_one_pair():
    tokenizer = BPETokenizer.train("low low lower lowest newest widest", 262)
    steps = tokenizer.steps("lowest lo")
    assert steps[0] == list("lowest lo")
    for before, after in pairwise(steps):
        assert len(after) == len(before) - 1
        assert "".join(after) == "lowest lo"
    assert steps[-1] == tokenizer.pieces("lowest lo")
    assert tokenizer.steps("") == [[]]


@pytest.mark.slow
def test_all_characters_are_cut_as_the_twin_does():
    level = pre_tokenizers.ByteLevel(add_prefix_space=False)
    for i in range(0x110000):
        if unicodedata.category(chr(i)) not in ("Cs", "Cn"):
            text = f"a{chr(i)}1{chr(i)}!{chr(i)} {chr(i)}"
            spans = [piece.span() for piece in PIECE.finditer(text)]
            assert spans == [span for _, span in level.pre_tokenize_str(text)], hex(i)


# --- saved and loaded --------------------------------------------------------------


def test_a_saved_tokenizer_is_the_same_for_all(tmp_path):
    TRAINED.save(tmp_path)
    ours, theirs = BPETokenizer.load(tmp_path), load_tokenizer(tmp_path)
    raw = Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    assert isinstance(theirs, HFTokenizer)
    assert (ours.tokens, ours.merges) == (TRAINED.tokens, TRAINED.merges)
    for tokenizer in (ours, theirs, FAST):
        assert tokenizer.special_tokens == TRAINED.special_tokens
        assert tokenizer.encode(SAID + "<|end|>") == TRAINED.encode(SAID + "<|end|>")
    assert raw.encode(SAID).ids == TRAINED.encode(SAID)


def test_a_file_like_that_of_gpt2_is_loaded(tmp_path):
    """Special token last and normalized, merges as text, a ByteLevel after."""
    content = json.loads(twin([SAID], 280).to_str())
    content["model"]["merges"] = [" ".join(pair) for pair in content["model"]["merges"]]
    content["model"]["vocab"]["<|endoftext|>"] = 280
    level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True}
    content |= {"pre_tokenizer": level, "post_processor": level}
    mark = {"id": 280, "content": "<|endoftext|>", "single_word": False}
    mark |= {"lstrip": False, "rstrip": False, "normalized": True, "special": True}
    content["added_tokens"] = [mark]
    (tmp_path / "tokenizer.json").write_text(json.dumps(content))
    ours, theirs = BPETokenizer.load(tmp_path), load_tokenizer(tmp_path)
    text = SAID + "<|endoftext|>" + SAID
    assert ours.special_tokens == theirs.special_tokens == {"<|endoftext|>": 280}
    assert ours.encode(text) == theirs.encode(text)
    assert ours.decode(ours.encode(text)) == text
    assert ours.fast().encode(text) == theirs.encode(text)


def added(**changes):
    usual = dict(id=256, content="<a>", special=True, normalized=False)
    return [usual | dict(single_word=False, lstrip=False, rstrip=False) | changes]


@pytest.mark.parametrize(
    ("part", "content", "told"),
    [
        ("model", {"type": "WordPiece", "vocab": {}}, "a WordPiece tokenizer"),
        ("model", {"type": "Unigram", "vocab": []}, "a Unigram tokenizer"),
        ("model", {"type": "BPE", "dropout": 0.1}, "BPE with dropout 0.1"),
        ("model", {"type": "BPE", "unk_token": "?"}, "BPE with unk_token '?'"),
        ("model", {"type": "BPE", "byte_fallback": True}, "BPE with byte_fallback"),
        ("normalizer", {"type": "NFC"}, "BPE with normalizer NFC"),
        ("pre_tokenizer", {"type": "Metaspace"}, "BPE with pre_tokenizer Metaspace"),
        ("pre_tokenizer", None, "BPE with pre_tokenizer None"),
        ("decoder", None, "BPE with decoder None"),
        (
            "pre_tokenizer",
            {"type": "ByteLevel", "add_prefix_space": True},
            "byte-level BPE with add_prefix_space",
        ),
        (
            "pre_tokenizer",
            {"type": "ByteLevel", "add_prefix_space": False, "use_regex": False},
            "byte-level BPE without use_regex",
        ),
        (
            "post_processor",
            {"type": "RobertaProcessing"},
            "byte-level BPE with post_processor RobertaProcessing",
        ),
        ("added_tokens", added(lstrip=True), "byte-level BPE with lstrip for '<a>'"),
        ("added_tokens", added(content="<é>"), "byte-level BPE with '<é>' added"),
        ("added_tokens", added(special=False), "byte-level BPE with '<a>' added, not"),
        (
            "added_tokens",
            added() + added(id=257, content="<b>", normalized=True),
            "byte-level BPE with normalized for some",
        ),
    ],
)
def test_another_kind_of_tokenizer_is_named(tmp_path, part, content, told):
    TRAINED.save(tmp_path)
    file = tmp_path / "tokenizer.json"
    file.write_text(json.dumps(json.loads(file.read_text("utf-8")) | {part: content}))
    message = complaint(BPETokenizer.load, tmp_path)
    assert message.startswith(f"{file}: {told}")
    assert "is not byte-level BPE as GPT-2 has it: use load_tokenizer(" in message


def test_a_tokenizer_by_character_is_another_kind(tmp_path):
    CharTokenizer("abc").save(tmp_path)
    message = complaint(BPETokenizer.load, tmp_path)
    assert "a tokenizer of kind 'characters' is not byte-level BPE" in message


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (
            lambda model: model["vocab"].pop("a"),
            "its ids have gaps, or are there twice",
        ),
        (lambda model: model["vocab"].update(a=1), "its ids have gaps"),
        (lambda model: model["merges"].append(["q", "zz"]), "b'zz' is not one of the"),
        (lambda model: model["merges"].append(["q", "z"]), "b'qz' is not one of the"),
        (lambda model: model.pop("vocab"), "this tokenizer is damaged"),
        (
            lambda model: model.update(merges=[["a"]]),
            "this tokenizer is damaged (not enough",
        ),
    ],
)
def test_a_damaged_file_is_refused(tmp_path, change, told):
    TRAINED.save(tmp_path)
    file = tmp_path / "tokenizer.json"
    content = json.loads(file.read_text("utf-8"))
    change(content["model"])
    file.write_text(json.dumps(content))
    message = complaint(BPETokenizer.load, tmp_path)
    assert message.startswith(f"{file}: this tokenizer is damaged")
    assert told in message


def test_no_file_is_refused(tmp_path):
    assert "cannot be read (No such file" in complaint(BPETokenizer.load, tmp_path)


# --- where words begin and end -----------------------------------------------------


def test_edges_of_bytes():
    edges = word_edges(TRAINED)
    assert edges == word_edges(FAST)
    seen = dict(zip(TRAINED.tokens, edges))
    assert seen[b"he"] == (True, True)
    assert seen[b" the"] == (False, True)
    assert seen[b","] == seen[b" "] == (False, False)
    assert seen[b"<|end|>"] == seen[b"the cat"] == (False, False)
    assert seen[b"\xc3"] == (True, True), "part of a character counts as a letter"


def test_edges_of_characters_and_words():
    space, letter = (False, False), (True, True)
    assert word_edges(CharTokenizer(" aé")) == [space, letter, letter]
    tokenizer = WordTokenizer.train("the cat.")
    assert dict(zip(tokenizer.words, word_edges(tokenizer))) == {
        ".": (False, False),
        " cat": (False, True),
        "the": (True, True),
    }
    assert tokenizer.special_tokens == CharTokenizer("a").special_tokens == {}


def test_edges_of_wordpieces_are_those_of_words():
    pieces = ["[UNK]", "[CLS]", "a", "cat", "##s", "."]
    bert = Tokenizer(models.WordPiece({p: i for i, p in enumerate(pieces)}))
    bert.add_special_tokens(["[UNK]", "[CLS]"])
    bert.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    bert.decoder = decoders.WordPiece()
    tokenizer = HFTokenizer(bert)
    assert tokenizer.special_tokens == {"[UNK]": 0, "[CLS]": 1}
    assert dict(zip(pieces, word_edges(tokenizer))) == {
        "[UNK]": (False, False),
        "[CLS]": (False, False),
        "a": (False, True),
        "cat": (False, True),  # a new word, though no space is written
        "##s": (True, True),  # the word goes on
        ".": (False, False),
    }
