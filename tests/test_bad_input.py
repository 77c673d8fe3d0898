"""Check that each mistake of a user is one line that says what to do, and no more."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from helpers import finish, quick_tiny, save_tiny, start

from llmkit.cli import main

TEXT = "the cat sat on the mat and saw the old dog, who ran home.\n" * 80
MISTAKES = [
    ("pretain", "unknown command 'pretain'; one of: doctor, course, pretrain"),
    ("--fast", "unknown command '--fast'"),
    ("pretrain", "Missing from llmkit pretrain: --corpus"),
    ("pretrain --corpus good.txt", "--out PATH folder for the model"),
    ("pretrain --corpus", "Missing value for argument '--corpus'"),
    ("pretrain --out new --corpus missing.txt", "no corpus 'missing.txt': there is no"),
    (
        "pretrain --out new --corpus empty.txt",
        "empty.txt: this file is empty: expected",
    ),
    ("pretrain --out new --corpus binary.txt", "this is binary data, not text"),
    (
        "pretrain --out new --corpus latin.txt",
        "not a text in UTF-8: .*convert the file",
    ),
    ("pretrain --out new --corpus short.txt", "the text gives 0; use more text"),
    ("pretrain --out new --corpus letter.txt", "too short to split: .*give more text"),
    ("pretrain --out new --corpus folder", "no text in this folder: expected files"),
    ("pretrain --out new --corpus table.csv", "no text in any column: .*name one with"),
    ("pretrain --out new --corpus storys", "no corpus 'storys': .*mean 'stories'"),
    ("pretrain --out new --corpus hub:a/b", "cannot be reached .*check the network"),
    ("pretrain --out new --corpus good.txt --preset big", "one of: tiny, plain"),
    ("pretrain --out new --corpus good.txt --objective mlm", "one of: next-token"),
    ("pretrain --out new --corpus good.txt --tokenizer bbp", "one of: char, word, bpe"),
    ("pretrain --out new --corpus good.txt --vocab-size 9", "is for --tokenizer bpe"),
    (
        "pretrain --out new --corpus good.txt --tokenizer bpe --vocab-size 99",
        "--vocab-size is 99: expected at least 256",
    ),
    (
        "pretrain --out new --corpus good.txt --tokenizer bpe --vocab-size 99999",
        "--vocab-size is 99999: this text has only .* merges: .*use --vocab-size",
    ),
    (
        "pretrain --out new --corpus good.txt --objective masked",
        "needs a tokenizer that has a mask: got --tokenizer char; use --tokenizer bpe",
    ),
    ("fill nowhere a", "nowhere.*cannot be read|no model"),
    ("pretrain --out new --corpus good.txt --speed 9", "Unrecognized .*--speed"),
    (
        "pretrain --out new --corpus good.txt --max-steps 0",
        "steps must be above 0: got 0",
    ),
    (
        "pretrain --out new --corpus good.txt --max-steps x",
        "--max-steps: expected INT, got 'x'",
    ),
    (
        "pretrain --out new --corpus good.txt --max-steps 1.5",
        "--max-steps: expected INT, got '1.5'",
    ),
    ("pretrain --out new --corpus good.txt --max-seconds -1", "above 0: got -1.0"),
    ("pretrain --out new --corpus good.txt --target-loss nan", "above 0: got nan"),
    ("pretrain --out new --corpus good.txt --size 0", "--size must be above 0: got 0"),
    (
        "pretrain --out new --corpus good.txt --seed -1",
        "seed must be from 0 to .*: got -1",
    ),
    *(
        (f"pretrain --out new --corpus good.txt --{flag} {value}", words)
        for flag, value, words in [
            ("layers", "0", "--layers must be above 0: got 0"),
            ("width", "-8", "--width must be above 0: got -8"),
            ("heads", "0", "--heads must be above 0: got 0"),
            ("heads", "3", "got --width 32 and --heads 3; choose --heads that divides"),
            ("kv-heads", "3", "got --heads 4 and --kv-heads 3; choose --kv-heads th"),
            ("width", "62 --heads 2", "--width 62 / --heads 2 = 31 is odd; choose it"),
            ("ff", "0", "--ff must be above 0: got 0"),
            ("context", "0", "--context must be above 0: got 0"),
            ("context", "9999", "one batch needs 8 rows of 9999 tokens"),
            ("batch-size", "0", "--batch-size must be above 0: got 0"),
            ("batch-size", "9999", "one batch needs 9999 rows of 64 tokens"),
            ("batch-size", "x", "--batch-size: expected INT, got 'x'"),
            ("accumulation", "0", "--accumulation must be above 0: got 0"),
            ("accumulation", "9", "--accumulation 9 cuts .* its 8 rows: use 8 at most"),
            ("precision", "fp16", "'fp16'; choose one of: auto, fp32, bf16"),
            ("preset", "bert-110m", "next-token .it is one for --objective masked.;"),
        ]
    ),
    ("pretrain --out new --corpus good.txt --resume", "holds no run to go on with"),
    ("pretrain --out new --corpus good.txt --resume --overwrite", "choose one"),
    ("pretrain --out good.txt --corpus good.txt", "--out 'good.txt' is a file; give a"),
    (
        "pretrain --out good.txt/new --corpus good.txt",
        "Not a directory: 'good.txt/new'",
    ),
    (
        "pretrain --out run --corpus good.txt",
        "holds another run .*or add --resume to go",
    ),
    (
        "pretrain --out run --corpus good.txt --resume --seed 1",
        "seed 0, not 1; use the",
    ),
    ("generate", "Missing from llmkit generate: PATH the --out folder"),
    (
        "generate nowhere",
        "no model in 'nowhere': config.json is missing; give the --out",
    ),
    ("generate run --prompt É", "unknown character 'É' .*replace it, or train"),
    ("generate run --temperature -1", r"must be 0 \(greedy\) or more: got -1.0"),
    ("generate run --top-k 0", "top_k keeps at least 1 token: got 0"),
    ("generate run --top-p 2", "above 0 and up to 1: got 2.0"),
    ("generate run --seed -1", "seed must be from 0 to .*: got -1"),
    ("generate run --max-new-tokens -1", "max_new_tokens must be 0 or more: got -1"),
    ("finetune", "Missing from llmkit finetune: .*--data"),
    ("finetune --data table.csv", "--out PATH folder for the classifier"),
    (
        "finetune --out new --data missing.csv",
        "no labelled texts 'missing.csv': there is no such file: expected 'rev",
    ),
    ("finetune --out new --data revews", "no labelled texts .* mean 'reviews'"),
    ("finetune --out new --data folder", "folder: a folder: expected one file"),
    ("finetune --out new --data hub:a/b", "cannot be reached .*check the network"),
    ("finetune --out new --data table.csv", "no column of labels: .* 'one', 'two'"),
    (
        "finetune --out new --data stars.csv --label mood",
        "no column 'mood': its columns are 'text', 'stars': name .* --label COLUMN",
    ),
    (
        "finetune --out new --data one_class.csv",
        r"every row has the label 'good' \(2 in all\): expected two classes or more",
    ),
    (
        "finetune --out new --data holes.csv",
        r"1 row can't be used \(1 empty text\): line 3 \(empty text\); mend .* skip",
    ),
    (
        "finetune --out new --data stars.csv --test odd.csv --model tiny",
        "odd.csv: line 2 has the label '9': the classes, .* are '1', '5': mend the lab",
    ),
    ("finetune --out new --data stars.csv --bad-rows drop", "'drop'.*--bad-rows"),
    ("finetune --out new --data stars.csv --epochs 0", "--epochs must be at least 1"),
    ("finetune --out new --data stars.csv --epochs x", "--epochs: .*int.*'x'"),
    ("finetune --out new --data stars.csv --speed 9", "Unrecognized .*--speed"),
    (
        "finetune --out new --data stars.csv --model tiny --freeze 9",
        "2 blocks above its embeddings: freeze is from 0 .* to 3 .*: got 9",
    ),
    (
        "finetune --out new --data stars.csv --model nobody/nothing",
        "no model 'nobody/nothing'.*can't be reached; 'minilm' needs no network",
    ),
    ("finetune --out new --data stars.csv --model ./no", "there is no folder './no'"),
    ("finetune --out new --data stars.csv --model run", "kind 'llmkit'|kind None"),
    ("finetune --out new --data stars.csv --model folder", "there is no config.json"),
    (
        "finetune --out tiny --data stars.csv --model tiny",
        "--out is the folder of --mo",
    ),
    ("finetune --out good.txt --data stars.csv", "--out 'good.txt' is a file; give a"),
    (
        "finetune --out tiny --data stars.csv",
        "holds another model .*; choose another folder, or add --overwrite to replace",
    ),
    ("classify", "Missing from llmkit classify: PATH the --out folder"),
    ("classify nowhere good", "there is no folder 'nowhere'; 'minilm' needs no netw"),
    ("classify tiny good", "'tiny' has no head of its own: say which classes"),
    ("classify good.txt good", "there is no folder 'good.txt'"),
    ("course --profile big", "'big': choose from smoke, cpu, gpu"),
    ("progress --lesson 77", "no lesson '77'"),
    ("notebooks --only 77", "no lesson '77'"),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Iterator[Path]:
    """Make a folder of texts, good and bad, and one finished run."""
    folder = tmp_path_factory.mktemp("cli")
    for name, content in {
        "good.txt": TEXT.encode(),
        "empty.txt": b"",
        "binary.txt": bytes(range(256)) * 40,
        "latin.txt": TEXT.replace("cat", "caf\xe9").encode("latin1"),
        "short.txt": b"too short a text for one batch\n",
        "letter.txt": b"a",
        "table.csv": b"one,two\n1,2\n",
        "stars.csv": b"text,stars\na film,1\na book,1\nthe film,5\nthe book,5\n",
        "odd.csv": b"text,stars\na plot,9\n",
        "one_class.csv": b"text,label\na film,good\na book,good\n",
        "holes.csv": b"text,label\na film,good\n,bad\na book,bad\n",
    }.items():
        (folder / name).write_bytes(content)
    (folder / "folder").mkdir()
    save_tiny(folder / "tiny")
    command = ["pretrain", "--corpus", folder / "good.txt", "--out", folder / "run"]
    with quick_tiny():
        assert main([*map(str, command), "--max-steps", "6"]) == 0
        yield folder


@pytest.fixture
def here(folder, monkeypatch) -> Path:
    """Work inside that folder."""
    monkeypatch.chdir(folder)
    return folder


@pytest.mark.parametrize(("command", "words"), MISTAKES, ids=dict(MISTAKES))
def test_a_mistake_is_one_line_that_says_what_to_do(
    command, words, here, capsys, monkeypatch
):
    def no_network(*arguments, **settings):
        raise ConnectionError("Name or service not known")

    for question in ("dataset_info", "model_info"):
        monkeypatch.setattr(f"huggingface_hub.{question}", no_network)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    before = sorted(here.rglob("*"))
    assert main(command.split()) == 2
    out, err = capsys.readouterr()
    assert err.count("\n") == 1 and err.startswith("llmkit")
    assert "Traceback" not in out + err and "Options" not in err and "---" not in err
    assert re.search(words, err), err
    assert sorted(here.rglob("*")) == before


@pytest.mark.slow
@pytest.mark.process
def test_a_real_process_shows_no_stack(here):
    process = start("-m", "llmkit", "pretrain", "--corpus", "empty.txt", "--out", "x")
    code, out, err = finish(process)
    assert (code, out) == (2, "")
    words = "empty.txt: this file is empty: expected some text"
    assert err == f"llmkit pretrain: error: {words}\n"
