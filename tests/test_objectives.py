"""Check runs of each objective and tokenizer, from documents to what they are for."""

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from helpers import quick_tiny, same_weights

from llmkit.batches import MaskedBatches, NextTokenBatches, PackedBatches
from llmkit.cli import main
from llmkit.corpus import load
from llmkit.pretraining import (
    MASKED_PRESETS,
    Pretraining,
    PretrainOptions,
    fill_blanks,
    prompt_ids,
    spell,
)
from llmkit.pretraining.data import END, MASK
from llmkit.tokenizer import BPETokenizer, CharTokenizer, load_tokenizer
from llmkit.transformer import Decoder, MaskedLM, ModelConfig, load_model

SIZE = 60_000  # characters of stories: some hundred documents
BPE = dict(tokenizer="bpe", vocab_size=400)


def options(out: Path, **changes) -> PretrainOptions:
    values = dict(corpus="stories", size=SIZE, out=out, max_steps=6) | BPE
    return PretrainOptions(**values | changes)


def finished(wanted: PretrainOptions) -> Pretraining:
    run = Pretraining(wanted)
    for _ in run.steps():
        pass
    return run


@pytest.fixture(scope="module")
def runs(tmp_path_factory) -> Path:
    """Make a folder with one finished run of each objective."""
    folder = tmp_path_factory.mktemp("objectives")
    with quick_tiny():
        for objective in ("next-token", "masked"):
            finished(options(folder / objective, objective=objective))
        yield folder


@pytest.mark.parametrize("tokenizer", ["bpe", "char"])
def test_no_document_stands_on_both_sides(tokenizer, tmp_path):
    vocab_size = 400 if tokenizer == "bpe" else None
    how = dict(tokenizer=tokenizer, vocab_size=vocab_size)
    data = Pretraining(options(tmp_path / "x", **how)).data
    ends = {END: "\n"}
    sides = []
    for ids in (data.train, data.validation):
        text = data.tokenizer.decode(ids.tolist())
        sides.append(text.replace(END, ends[END]).splitlines())
    documents = [text.strip() for text in load("stories", size=SIZE).documents]
    assert not set(sides[0]) & set(sides[1])
    assert sorted(sides[0] + sides[1]) == sorted(documents)  # and none is lost
    share = len(sides[1]) / len(documents)
    assert 0.05 < share < 0.15


def test_rows_of_documents_are_packed_and_kept_apart(tmp_path):
    run = Pretraining(options(tmp_path / "x"))
    end = run.tokenizer.special_tokens[END]
    assert isinstance(run.batches, PackedBatches) and run.batches.boundary == end
    inputs, _ = run.evaluation[0]
    assert inputs["documents"].equal((inputs["ids"] == end).cumsum(-1))
    asked = sum(int((labels >= 0).sum()) for _, labels in run.evaluation)
    assert asked == len(run.data.validation) - 1  # every token but the very first


def test_one_long_text_has_nothing_to_keep_apart(tmp_path):
    (tmp_path / "one.txt").write_text(load("stories", size=30_000).text)
    wanted = options(tmp_path / "x", corpus=str(tmp_path / "one.txt"), size=None)
    run = Pretraining(wanted)
    assert type(run.batches) is NextTokenBatches
    ids = torch.tensor(run.tokenizer.encode((tmp_path / "one.txt").read_text()))
    assert torch.cat([run.data.train, run.data.validation]).equal(ids)
    assert not run.tokenizer.special_tokens  # none that it would not train
    masked = Pretraining(replace(wanted, objective="masked"))
    assert "documents" not in masked.batches[0][0]
    assert list(masked.tokenizer.special_tokens) == [MASK]


def test_masked_prediction_asks_for_hidden_tokens_alone(tmp_path):
    with quick_tiny():
        run = Pretraining(options(tmp_path / "x", objective="masked"))
        cost = run.cost
    special = run.tokenizer.special_tokens
    assert isinstance(run.batches, MaskedBatches) and isinstance(run.model, MaskedLM)
    assert run.batches.masking.mask_id == special[MASK]
    rows, wanted = run.batches.batch_size * run.model.config.context, run.options.recipe
    asked = sum(int((run.batches[i][1] >= 0).sum()) for i in range(9))
    assert asked / (9 * rows) == pytest.approx(wanted.share, abs=0.05)
    asked = sum(int((labels >= 0).sum()) for _, labels in run.evaluation)
    places = sum(labels.numel() for _, labels in run.evaluation)
    assert asked / places == pytest.approx(0.15, abs=0.03)  # BERT's share, always
    for inputs, labels in [run.batches[3], *run.evaluation]:
        asked = labels >= 0
        assert inputs["asked"].equal(asked)
        assert not torch.isin(labels[asked], torch.tensor([*special.values()])).any()
    share = run.batches.masking.share
    assert cost.tokens == round(6 * 8 * run.model.config.context * share)
    assert cost.parameters == sum(p.numel() for p in run.model.parameters())


@pytest.mark.parametrize("objective", ["next-token", "masked"])
def test_a_run_ends_with_a_folder_that_can_be_used(objective, runs):
    model, kind = load_model(runs / objective), dict(masked=MaskedLM)
    assert type(model) is kind.get(objective, Decoder)
    tokenizer = load_tokenizer(runs / objective)
    assert tokenizer.vocab_size == model.config.vocab_size == 400
    assert list(tokenizer.special_tokens) == [END, MASK][: 1 + (objective == "masked")]
    # the folder's tokenizer is readable by our own code, too
    assert BPETokenizer.load(runs / objective).encode("a dog") == tokenizer.encode(
        "a dog"
    )
    identity = json.loads((runs / objective / "run.json").read_text())
    assert identity["objective"] == objective and identity["vocab_size"] == 400


def test_bits_per_byte_count_the_bytes_of_the_validation_text(tmp_path):
    with quick_tiny():
        run = finished(options(tmp_path / "x"))
    result = run.result()
    text = run.tokenizer.decode(run.data.validation.tolist()).replace(END, "\n")
    nats = result["val_loss"] * len(run.data.validation)
    bits = nats / math.log(2) / len(text.encode())
    assert result["val_bits_per_byte"] == pytest.approx(bits, rel=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("objective", ["next-token", "masked"])
def test_resumed_is_uninterrupted(objective, runs, tmp_path):
    out = tmp_path / "cut"
    with quick_tiny():
        steps = Pretraining(options(out, objective=objective)).steps()
        for step in steps:
            if step.number == 3:
                break
        steps.close()
        finished(options(out, objective=objective, resume=True))
    assert same_weights(load_model(out), load_model(runs / objective))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (dict(vocab_size=500), "with vocab_size 400, not 500; use the same"),
        (dict(objective="masked"), "with objective 'next-token', not 'masked'"),
    ],
)
def test_runs_of_another_kind_do_not_mix(changes, words, runs):
    with pytest.raises(ValueError, match=words):
        Pretraining(options(runs / "next-token", resume=True, **changes))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (dict(tokenizer="char"), "--vocab-size 400 is for --tokenizer bpe: the tokens"),
        (
            dict(tokenizer="word", vocab_size=None, objective="masked"),
            "needs a tokenizer that has a mask: got --tokenizer word; use --tok",
        ),
        (dict(vocab_size=-3), "--vocab-size must be above 0: got -3"),
        (
            dict(objective="mlm"),
            "unknown objective 'mlm'; choose one of: next",
        ),
        (
            dict(objective="masked", preset="plain"),
            "unknown preset 'plain' for --objective masked .it is one for --objective "
            "next-token.; choose one of: tiny, small, bert-110m",
        ),
        (dict(vocab_size=256), "--vocab-size is 256: expected at least 257"),
        (
            dict(vocab_size=10**6),
            "--vocab-size is 1000000: .*use --vocab-size",
        ),
        (dict(size=900, vocab_size=None), "is 2048 .as it is unless told.: this text"),
        (dict(size=900, vocab_size=270), "one batch needs 8 rows of 64 tokens and the"),
    ],
)
def test_what_can_not_be_is_refused_in_words(changes, words, tmp_path):
    with quick_tiny(), pytest.raises(ValueError, match=words):
        Pretraining(options(tmp_path / "x", **changes))


@pytest.mark.parametrize("name", MASKED_PRESETS)
def test_masked_prediction_has_recipes_of_its_own(name, tmp_path):
    wanted = options(tmp_path, preset=name, objective="masked", max_steps=None)
    preset = MASKED_PRESETS[name]
    assert wanted.training().steps == preset.training["steps"]
    assert wanted.shape(300) == ModelConfig(300, **preset.model)
    assert (wanted.recipe.batch_size, wanted.recipe.share) == (
        preset.batch_size,
        preset.share,
    )


def test_a_text_goes_on_letter_by_whole_letter(runs, capsys):
    tokenizer = load_tokenizer(runs / "next-token")
    ids = tokenizer.encode("A 🦆 naïve 🦆")
    assert "".join(spell(tokenizer, ids)) == "A 🦆 naïve 🦆"
    assert not any("\ufffd" in part for part in spell(tokenizer, ids))
    broken = ids[:-1]  # ends within the last duck
    assert "".join(spell(tokenizer, broken)).startswith("A 🦆 naïve \ufffd")
    nonsense = tokenizer.encode("🦆")[:1] * 9  # first bytes that nothing follows
    assert set("".join(spell(tokenizer, nonsense))) == {"\ufffd"}
    end = tokenizer.special_tokens[END]
    assert list(spell(tokenizer, [end])) == ["\n\n"]
    for prompt in ("One ", ""):
        command = ["generate", str(runs / "next-token"), "--prompt", prompt]
        assert main([*command, "--max-new-tokens", "30", "--seed", "1"]) == 0
        out, err = capsys.readouterr()
        assert out.startswith(prompt) and len(out) > 30 and err == ""


def test_a_prompt_begins_where_texts_begin(runs):
    tokenizer = load_tokenizer(runs / "next-token")
    end = tokenizer.special_tokens[END]
    assert prompt_ids(tokenizer, "") == [end]
    assert prompt_ids(tokenizer, "One") == [end, *tokenizer.encode("One")]
    letters = CharTokenizer.train("a\n")
    assert prompt_ids(letters, "a") == [1] and prompt_ids(letters, "") == [0]
    one_line = CharTokenizer.train("a")
    with pytest.raises(ValueError, match="no line break to begin behind: give a prom"):
        prompt_ids(one_line, "")
    with pytest.raises(ValueError, match="unknown character 'b'"):
        prompt_ids(one_line, "b")


def test_blanks_are_filled_by_what_the_model_expects(runs, capsys):
    blanks = fill_blanks(runs / "masked", "One [MASK] night Fay hugged a [MASK] dog.")
    assert len(blanks) == 2
    for guesses in blanks:
        chances = [p for _, p in guesses]
        assert len(guesses) == 5 and chances == sorted(chances, reverse=True)
        assert 0 < sum(chances) <= 1
    # The same, by hand: the places of the masks, behind the end that opens a text.
    model = load_model(runs / "masked")
    tokenizer = load_tokenizer(runs / "masked")
    end, mask = (tokenizer.special_tokens[name] for name in (END, MASK))
    ids = [end, *tokenizer.encode("One"), mask]
    place = len(ids) - 1
    ids += [*tokenizer.encode(" night Fay hugged a"), mask]
    ids += tokenizer.encode(" dog.")
    with torch.no_grad():
        p = model(torch.tensor([ids]))[0, place].softmax(-1)
    best = p.topk(5)
    assert [q for _, q in blanks[0]] == pytest.approx(best.values.tolist(), rel=1e-4)
    assert blanks[0][0][0] == tokenizer.decode([int(best.indices[0])])
    assert main(["fill", str(runs / "masked"), "a [MASK] dog", "--top", "3"]) == 0
    out, _ = capsys.readouterr()
    assert out.startswith("blank 1\n") and out.count("%") == 3


@pytest.mark.parametrize(
    ("kind", "text", "words"),
    [
        ("next-token", "a [MASK]", "holds a Decoder, which fills in no blanks: train"),
        ("masked", "a dog", r"there is no \[MASK\] in 'a dog': put it in"),
    ],
)
def test_what_can_not_be_filled_is_refused(kind, text, words, runs, capsys):
    assert main(["fill", str(runs / kind), text]) == 2
    _, err = capsys.readouterr()
    assert err.startswith("llmkit fill: error: ") and err.count("\n") == 1
    with pytest.raises(ValueError, match=words):
        fill_blanks(runs / kind, text)


def test_a_masked_model_writes_no_texts(runs, capsys):
    assert main(["generate", str(runs / "masked"), "--prompt", "One"]) == 2
    out, err = capsys.readouterr()
    assert "holds a MaskedLM, which writes no texts: use llmkit fill" in err
    assert out == ""


def test_a_text_can_not_end_itself_or_hide_its_words(tmp_path):
    said = "<|end|> is a token, and [MASK] too."
    rows = [json.dumps({"text": f"Number {i}: {said}"}) for i in range(90)]
    (tmp_path / "odd.jsonl").write_text("\n".join(rows))
    wanted = options(tmp_path / "x", corpus=str(tmp_path / "odd.jsonl"), size=None)
    with quick_tiny():
        data = Pretraining(replace(wanted, objective="masked", vocab_size=280)).data
    ids = torch.cat([data.train, data.validation])
    assert int((ids == data.end).sum()) == 90  # one behind each document
    assert not (ids == data.tokenizer.special_tokens[MASK]).any()
    assert said in data.tokenizer.decode(ids[:100])


@pytest.mark.parametrize("count", [2, 3, 5])
def test_a_few_documents_are_enough(count, tmp_path):
    for i in range(count):
        text = "".join(load("stories", size=8_000, seed=i).documents)
        (tmp_path / f"{i}.txt").write_text(text)
    changes = dict(corpus=str(tmp_path), size=None, vocab_size=300)
    with quick_tiny():
        run = Pretraining(options(tmp_path / "x", **changes))
    assert len(run.data.train) > 1000 and len(run.data.validation) > 1000


@pytest.mark.slow
def test_naming_the_default_is_the_same_run(tmp_path, monkeypatch):
    monkeypatch.setattr("llmkit.pretraining.options.VOCABULARY", 400)
    with quick_tiny():
        wanted = options(tmp_path / "x", vocab_size=None)
        finished(replace(wanted, max_steps=2))
        again = replace(wanted, vocab_size=400, resume=True, max_steps=3)
        assert finished(again).last.number == 3


def test_the_largest_seed_trains(tmp_path):
    with quick_tiny():
        wanted = options(tmp_path / "x", objective="masked", seed=2**32 - 1)
        assert finished(replace(wanted, max_steps=2)).last.number == 2


@pytest.mark.parametrize("command", [["generate", "--prompt"], ["fill"]])
def test_a_broken_character_is_one_line(command, runs, capsys):
    kind = dict(generate="next-token", fill="masked")[command[0]]
    text = "[MASK] \udcff" if command[0] == "fill" else "\udcff"
    assert main([command[0], str(runs / kind), *command[1:], text]) == 2
    _, err = capsys.readouterr()
    assert "half of a surrogate pair" in err and err.count("\n") == 1
