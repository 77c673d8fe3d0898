"""What the explorer takes down is what models did, and taking it changes nothing."""

import copy
import math

import numpy as np
import pytest
import torch
from helpers import POSITIONS, small_model
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from torch import nn

from llmkit.explorer import explanations
from llmkit.explorer.capture import capture, weights_of
from llmkit.explorer.explanations import agreements, margin, rollout
from llmkit.explorer.explore import compare, explore, through_training
from llmkit.explorer.kinds import subject_of
from llmkit.explorer.look import look, record_of
from llmkit.explorer.record import Question, Record
from llmkit.explorer.text import read, readable
from llmkit.finetuning import Classifier
from llmkit.finetuning.attribution import gradient_times_input, leave_one_out
from llmkit.tokenizer import BPETokenizer, CharTokenizer, HFTokenizer
from llmkit.training import Step
from llmkit.transformer import Decoder, Encoder, MaskedLM, ModelConfig, Seq2Seq

IDS = [3, 1, 4, 1, 5, 9]
TOKENS = ["c", "a", "d", "a", "e", "[MASK]"]
SHAPE = dict(hidden_size=16, num_hidden_layers=2, num_attention_heads=4)
SHAPE |= dict(intermediate_size=24, vocab_size=30, max_position_embeddings=20)


def loud(model: nn.Module, seed: int = 0) -> nn.Module:
    """Give a model weights so large that every token and head counts."""
    torch.manual_seed(seed)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "norm" not in name.lower():
                weight.normal_(std=0.4)
    return model.eval()


def hf(kind: str, **changes) -> nn.Module:
    """Build a small random model of Hugging Face."""
    import transformers

    family = next(x for x in FAMILIES if kind.startswith(x))
    shape = SHAPE | changes
    if family == "DistilBert":
        shape = dict(dim=16, n_layers=2, n_heads=4, hidden_dim=24, vocab_size=30)
    if family == "GPT2":
        shape = dict(n_embd=16, n_layer=2, n_head=4, n_positions=20, vocab_size=30)
        shape |= dict(bos_token_id=0, eos_token_id=0, pad_token_id=0) | changes
    config = getattr(transformers, f"{family}Config")(**shape)
    return loud(getattr(transformers, kind)(config))


FAMILIES = ("DistilBert", "Bert", "Roberta", "Electra", "RoFormer", "GPT2", "Llama")
THEIRS = ["BertModel", "BertForMaskedLM", "RobertaForMaskedLM", "DistilBertForMaskedLM"]
THEIRS += ["ElectraForSequenceClassification", "GPT2LMHeadModel", "GPT2Model"]
ODD = dict(qk_norm=True, n_kv_heads=2, norm="rms", positions="rotary")
OURS = {
    **{name: dict(positions=name) for name in POSITIONS},
    "grouped": dict(n_kv_heads=2),
    "modern": ODD,
    "post": dict(norm_place="post", embedding_norm=True),
    "back": dict(look_back=2),
}


def ours(kind: type, name: str = "learned") -> nn.Module:
    shape = dict(vocab_size=12, context=16, n_layers=2, n_heads=4, d_model=16)
    return loud(kind(ModelConfig(**shape | OURS[name])))


def every_model() -> dict:
    made = {f"Decoder {x}": lambda x=x: ours(Decoder, x) for x in OURS}
    made |= {f"MaskedLM {x}": lambda x=x: ours(MaskedLM, x) for x in POSITIONS}
    made["Encoder"] = lambda: ours(Encoder)
    return made | {kind: lambda kind=kind: hf(kind) for kind in THEIRS}


MODELS = every_model()
every_kind = pytest.mark.parametrize("name", MODELS)
PREDICTS = [x for x in MODELS if "Model" not in x.removesuffix("LMHeadModel")]
PREDICTS.remove("Encoder")
predicting = pytest.mark.parametrize("name", PREDICTS)


def heads_made(record: Record, layer: int) -> np.ndarray:
    """Do the arithmetic as the page does, from what the record holds: (H, T, T)."""
    inner = record.inner[layer]
    q, k = inner.q.astype(float), inner.k.astype(float)
    scores = q @ k.swapaxes(1, 2) * inner.scale
    scores = scores if inner.bias is None else scores + inner.bias
    scores = np.where(record.may_look(), scores, -np.inf)
    p = np.exp(scores - scores.max(-1, keepdims=True))
    return p / p.sum(-1, keepdims=True)


@pytest.mark.slow
@every_kind
def test_weights_and_arithmetic_are_the_models_own(name):
    model = MODELS[name]()
    record = look(model, IDS, tokens=TOKENS)
    watch, mixed = [], []
    if hasattr(model, "blocks"):
        model(torch.tensor([IDS]), watch=watch)
    else:
        twin = copy.deepcopy(model)
        twin.set_attn_implementation("eager")
        watch = twin(torch.tensor([IDS]), output_attentions=True).attentions
    np.testing.assert_allclose(record.weights, weights_of(watch), atol=1e-6)
    assert record.causal == (record.weights[:, :, 0, 1:] == 0).all()
    assert sorted(record.inner) == [0, 1]
    subject = subject_of(model)
    hooks = [
        part.out.register_forward_pre_hook(lambda m, args: mixed.append(args[0]))
        for part in subject.parts
    ]
    model(torch.tensor([IDS]))
    for hook in hooks:
        hook.remove()
    for layer, inner in record.inner.items():
        made = heads_made(record, layer)
        np.testing.assert_allclose(made, record.weights[layer], atol=0.01)
        found = np.concatenate(list(made @ inner.v.astype(float)), axis=-1)  # (T, H K)
        np.testing.assert_allclose(found, mixed[layer][0].detach(), atol=0.03)


def test_the_decoder_of_a_seq2seq_is_shown():
    model = ours(Seq2Seq)
    source, target = [7, 8, 9], IDS
    record = look(model, (source, target), tokens=TOKENS, explain=True, knock_out=True)
    watch = []
    memory = model.encode(torch.tensor([source]))
    logits = model.decoder(torch.tensor([target]), memory=memory, watch=watch)
    np.testing.assert_allclose(record.weights, weights_of(watch), atol=1e-6)
    p = logits[0, -1].softmax(0)
    np.testing.assert_allclose(record.prediction.p, p.topk(5).values.detach(), 1e-4)
    assert record.causal and len(record.inner) == 2 and len(record.scores) == 4


def test_a_model_with_more_to_its_weights_has_no_arithmetic():
    record = look(hf("RoFormerModel"), IDS, tokens=TOKENS)
    assert record.weights.shape == (2, 4, 6, 6) and record.inner == {}


def test_numbers_that_float16_cannot_hold_are_left_out():
    model = ours(Decoder)
    with torch.no_grad():
        model.blocks[1].attention.qkv.weight *= 1e5
    assert list(look(model, IDS, tokens=TOKENS).inner) == [0]


@pytest.mark.slow
def test_layers_are_chosen_or_as_many_as_fit():
    model = ours(Decoder)
    record = look(model, IDS, tokens=TOKENS, layers=[1])
    assert list(record.inner) == [1]
    assert look(model, IDS, tokens=TOKENS, layers=[]).inner == {}
    large = Decoder(ModelConfig(vocab_size=9, context=600, d_model=128, n_layers=4))
    ids = torch.zeros(1, 600, dtype=torch.long)
    _, inner = capture(subject_of(large), ids)
    assert list(inner) == [0]  # 3 × 600 × 128 × 2 bytes: two are too many
    _, inner = capture(subject_of(large), ids, layers=[3, 0, 3])
    assert list(inner) == [0, 3]


def state_of(model: nn.Module) -> tuple:
    hooks = [len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.modules()]
    config = getattr(model, "config", None)
    road = getattr(config, "_attn_implementation", None)
    modes = [m.training for m in model.modules()]
    grads = [weight.grad for weight in model.parameters()]
    return sum(hooks), road, modes, grads, torch.get_rng_state().tolist()


@every_kind
def test_looking_changes_nothing(name):
    model = MODELS[name]().train()
    next(model.children()).eval()  # a mixture of modes
    before = state_of(model)
    how = dict(explain=True, knock_out=True) if name in PREDICTS else {}
    look(model, IDS, tokens=TOKENS, **how)
    assert state_of(model) == before
    with pytest.raises((ValueError, IndexError, RuntimeError)):
        look(model, [3, 99_999], tokens=["a", "b"])
    assert state_of(model) == before


def test_training_goes_on_as_if_nobody_had_looked():
    def trained(watched: bool) -> dict:
        model = small_model(dropout=0.3, vocab_size=12).train()
        optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
        for _ in range(3):
            if watched:
                look(model, IDS, tokens=TOKENS, explain=True, knock_out=True)
            optimizer.zero_grad()
            logits = model(torch.tensor([IDS]))
            loss = nn.functional.cross_entropy(logits[0, :-1], torch.tensor(IDS[1:]))
            loss.backward()
            optimizer.step()
        return model.state_dict()

    left, right = trained(False), trained(True)
    assert all(torch.equal(left[name], right[name]) for name in left)


@predicting
def test_a_prediction_is_what_the_model_says(name):
    model = MODELS[name]()
    record = look(model, IDS, tokens=TOKENS)
    found = model(torch.tensor([IDS]))
    logits = found if hasattr(model, "blocks") else found.logits
    row = logits[0] if logits.ndim == 2 else logits[0, -1]  # the last is [MASK] too
    p, best = row.softmax(0).topk(min(5, len(row)))
    np.testing.assert_allclose(record.prediction.p, p.detach(), rtol=1e-4)
    if logits.ndim == 3:
        assert record.prediction.names == tuple(map(str, best.tolist()))


def test_questions_name_the_place():
    tokens = ["the", "[MASK]", "sat"]
    masked = look(ours(MaskedLM), [1, 2, 3], tokens=tokens).prediction
    assert masked.question == 'token at "[MASK]", position 1'
    writer = look(ours(Decoder), [1, 2, 3], tokens=tokens).prediction
    assert writer.question == 'next token after "sat"'
    assert look(ours(Encoder), [1, 2, 3], tokens=tokens).prediction is None
    assert look(ours(MaskedLM), [1, 3], tokens=["the", "sat"]).prediction is None


@predicting
def test_a_knocked_out_head_is_one_whose_columns_of_out_are_zero(name):
    model = MODELS[name]()
    record = look(model, IDS, tokens=TOKENS, knock_out=True)
    without = record.prediction.without
    L, H = record.weights.shape[:2]
    assert without.shape == (L, H, len(record.prediction.names))
    for layer, head in [(0, 0), (0, H - 1), (L - 1, 1)]:
        twin = copy.deepcopy(model)
        weight = subject_of(twin).parts[layer].out.weight
        K = 16 // H
        with torch.no_grad():
            columns = weight.T if name.startswith("GPT2") else weight  # Conv1D
            columns[:, head * K : (head + 1) * K] = 0
        less = look(twin, IDS, tokens=TOKENS).prediction
        wanted = dict(zip(record.prediction.names, without[layer, head]))
        for word, p in zip(less.names, less.p):
            if word in wanted:
                assert p == pytest.approx(wanted[word], abs=1e-5)
    assert np.abs(without - record.prediction.p).max() > 1e-3  # or nothing was tested


def test_many_heads_are_knocked_out_in_several_batches(monkeypatch):
    model = ours(Decoder)
    whole = look(model, IDS, tokens=TOKENS, knock_out=True, explain=True)
    monkeypatch.setattr("llmkit.explorer.knockout.AT_ONCE", 18)  # three rows
    monkeypatch.setattr("llmkit.explorer.explanations.AT_ONCE", 12)
    parts = look(model, IDS, tokens=TOKENS, knock_out=True, explain=True)
    without = [x.prediction.without for x in (whole, parts)]
    np.testing.assert_allclose(*without, atol=1e-6)
    for name, row in whole.scores.items():
        np.testing.assert_allclose(row, parts.scores[name], atol=1e-5)


@predicting
def test_gradient_times_input_is_the_slope_of_making_all_embeddings_longer(name):
    model = MODELS[name]().double()
    ids, place = torch.tensor([IDS]), len(IDS) - 1
    subject = subject_of(model)
    scores = explanations.gradient_times_input(subject, ids, place, target=1)
    hooks = []

    def m(scale: float) -> float:
        for k, table in enumerate(subject.tables):
            # Before the first token stands nothing: no token is longer there.
            longer = torch.tensor([1.0] * k + [scale] * (len(IDS) - k))[:, None]
            hook = table.register_forward_hook(lambda m, args, x, s=longer: x * s)
            hooks.append(hook)
        with torch.no_grad():
            found = model(ids)
        while hooks:
            hooks.pop().remove()
        logits = found if hasattr(model, "blocks") else found.logits
        return float(margin(logits if logits.ndim == 2 else logits[:, -1], 1))

    step = 1e-4
    slope = (m(1 + step) - m(1 - step)) / (2 * step)
    assert scores.sum() == pytest.approx(slope, rel=1e-3, abs=1e-4)


@predicting
def test_leave_one_out_reads_the_text_without_each_token(name):
    model = MODELS[name]()
    subject, ids = subject_of(model), torch.tensor([IDS])
    classifies = name.startswith("Electra")
    place = 0 if classifies else len(IDS) - 1
    scores = explanations.leave_one_out(subject, ids, place, target=2 - classifies)

    def m(ids: list[int]) -> float:
        with torch.no_grad():
            found = model(torch.tensor([ids]))
        logits = found if hasattr(model, "blocks") else found.logits
        return float(margin(logits if classifies else logits[:, -1], 2 - classifies))

    falls = [m(IDS) - m(IDS[:t] + IDS[t + 1 :]) for t in range(len(IDS))]
    if not subject.causal:
        falls[place] = 0
    np.testing.assert_allclose(scores, falls, atol=1e-4)


@pytest.fixture(scope="module")
def classifier() -> Classifier:
    """Build a classifier with the tokenizer of BERT and a handful of words."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    words = ["the", "film", "was", "not", "bad", "at", "all", "##ly", "##s", "good"]
    vocab = {word: i for i, word in enumerate([*special, *words])}
    made = Tokenizer(models.WordPiece(vocab, unk_token="[UNK]"))
    made.normalizer = normalizers.BertNormalizer()
    made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    made.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    names = [f"{word[1:-1].lower()}_token" for word in special]
    known = dict(zip(names, special))
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=made, **known)
    model = hf("BertForSequenceClassification", num_labels=3)
    return Classifier(model, tokenizer, ("bad", "fair", "good"))


def test_a_classifier_is_explained_as_lesson_07_does(classifier):
    text = "the film was not bad at all"
    record = look(classifier, text, target="fair", explain=True)
    assert record.tokens == ("[CLS]", *text.split(), "[SEP]")
    assert record.prediction.question == "class"
    assert sorted(record.prediction.names) == ["bad", "fair", "good"]
    assert record.target == 'logit of "fair", less the mean of all others'
    twins = {"gradient × input": gradient_times_input, "leave one out": leave_one_out}
    for name, attribute in twins.items():
        wanted = [score for _, score in attribute(classifier, text, "fair")]
        np.testing.assert_allclose(record.scores[name][1:-1], wanted, atol=1e-5)
    attention = record.weights[-1, :, 0].mean(0)
    np.testing.assert_array_equal(record.scores["attention"], attention)
    assert record.scores["leave one out"][0] == 0  # [CLS] is where it is asked


def test_the_likeliest_class_is_explained_unless_another_is_asked_for(classifier):
    record = look(classifier, "not good at all", explain=True)
    assert f'"{record.prediction.names[0]}"' in record.target
    assert list(record.prediction.p) == sorted(record.prediction.p, reverse=True)


def test_a_token_that_is_asked_for_joins_the_prediction():
    tokenizer = CharTokenizer.train("abcdefghijkl")
    model = ours(Decoder)
    best = look(model, "abc", tokenizer=tokenizer).prediction.names
    rare = next(x for x in "abcdefghijkl" if x not in best)
    record = look(model, "abc", tokenizer=tokenizer, target=rare, knock_out=True)
    assert record.prediction.names == (*best, rare)
    assert record.prediction.without.shape == (2, 4, 6)


@given(arrays(np.float32, (3, 2, 5, 5), elements=st.floats(0, 1, width=32)))
def test_rollout_is_a_product_of_what_each_layer_mixes(raw):
    weights = (raw + 0.01) / (raw + 0.01).sum(-1, keepdims=True)
    wanted = np.eye(5)
    for layer in weights:
        mean = (layer[0] + layer[1]) / 2
        wanted = (mean / 2 + np.eye(5) / 2) @ wanted
    found = rollout(weights)
    np.testing.assert_allclose(found, wanted, atol=1e-5)
    np.testing.assert_allclose(found.sum(-1), 1, atol=1e-5)


@given(st.data())
def test_agreement_is_spearmans(data):
    from scipy.stats import spearmanr

    n = data.draw(st.integers(2, 9))
    numbers = st.lists(st.integers(-4, 4), min_size=n, max_size=n)
    one, other = (np.array(data.draw(numbers), float) for _ in range(2))
    scores = {"gradient × input": one, "leave one out": other}
    found = agreements(scores).get((*scores,))
    if len({*one}) == 1 or len({*other}) == 1:
        assert found is None
        return
    assert found == pytest.approx(spearmanr(one, other).statistic, abs=1e-6)
    sizes = agreements({"rollout": np.abs(one), "leave one out": other})
    if len({*np.abs(one)}) > 1 and len({*np.abs(other)}) > 1:
        wanted = spearmanr(np.abs(one), np.abs(other)).statistic
        assert sizes["rollout", "leave one out"] == pytest.approx(wanted, abs=1e-6)


def test_what_is_no_part_of_the_text_counts_nothing_in_agreement():
    one, other = np.array([9.0, 1, 2, 3]), np.array([-9.0, 1, 2, 3])
    scores = {"gradient × input": one, "leave one out": other}
    assert agreements(scores, apart={0})[(*scores,)] == 1
    assert agreements(scores)[(*scores,)] < 1


def test_tokens_are_shown_as_text(classifier):
    record = look(classifier, "Badly film's ##")
    assert record.tokens == ("[CLS]", "bad", "ly", "film", "[UNK]", "[UNK]", "[UNK]",
                             "[UNK]", "[SEP]")  # fmt: skip
    tokenizer = BPETokenizer.train("the cat the cat", 260)
    text = "the cat 🦆é"
    shown = readable(tokenizer.encode(text), tokenizer)
    assert shown == ("the", " ", "cat", " ", "🦆 1/4", "🦆 2/4", "🦆 3/4", "🦆 4/4",
                     "é 1/2", "é 2/2")  # fmt: skip
    assert readable(tokenizer.encode(text), tokenizer.fast()) == shown
    broken = tokenizer.encode("🦆a")[1:]
    assert readable(broken, tokenizer) == ("\ufffd", "\ufffd", "\ufffd", "a")


def test_special_tokens_are_known_by_either_tokenizer(classifier):
    text = "[MASK] film"
    ours_ = HFTokenizer(classifier.tokenizer.backend_tokenizer)
    for tokenizer in (classifier.tokenizer, ours_):
        cut = read(text, tokenizer)
        assert cut.tokens == ("[CLS]", "[MASK]", "film", "[SEP]")
        assert cut.special == {0, 3} and cut.blank == 1 and cut.words == text


def test_ids_come_in_any_row():
    array, tensor = np.array(IDS), torch.tensor(IDS)
    for row in (IDS, tuple(IDS), array, [*array], tensor, [*tensor], tensor[None]):
        assert look(ours(Decoder), row, tokens=TOKENS).tokens == tuple(TOKENS)
    assert look(ours(Decoder), tensor[:2], tokens=["a", "b"]).tokens == ("a", "b")
    assert look(ours(Decoder), [*tensor[:2]], tokens=["a", "b"]).tokens == ("a", "b")


@pytest.mark.parametrize("name", ["Decoder modern", "GPT2LMHeadModel"])
def test_half_precision_is_looked_at_too(name):
    model = MODELS[name]().bfloat16()
    record = look(model, IDS, tokens=TOKENS, explain=True, knock_out=True)
    assert record.weights.dtype == np.float32
    assert np.isfinite(record.prediction.without).all()
    single = look(model, [3], tokens=["a"])
    assert (single.weights == 1).all() and single.tags == ()


def test_weights_alone_are_shown():
    model, watch = ours(Decoder), []
    model(torch.tensor([IDS]), watch=watch)
    tensor = torch.stack(watch)[:, 0]
    for given_ in (watch, tuple(watch), tensor, tensor.detach().numpy(), [*tensor]):
        record = explore(given_, tokens=TOKENS).frames[0]
        assert record.causal and record.weights.dtype == np.float32
        np.testing.assert_allclose(record.weights, tensor.detach(), atol=1e-6)
    even = np.full((1, 1, 3, 3), 1 / 3)
    record = record_of(even, "abc", CharTokenizer.train("abc"))
    assert (record.tokens, record.causal, record.label) == (
        ("a", "b", "c"),
        False,
        "abc",
    )
    assert [tag.name for tag in record.tags] == ["uniform"]


def test_two_looks_stand_side_by_side():
    one, other = ours(Decoder), ours(Decoder, "rotary")
    page = compare(one, other, IDS, tokens=TOKENS, labels=("learned", "rotary"))
    assert page.mode == "compare"
    assert [x.label for x in page.frames] == ["learned", "rotary"]
    texts = [look(one, IDS[:n], tokens=TOKENS[:n]) for n in (4, 6)]
    assert [len(x.tokens) for x in compare(*texts).frames] == [4, 6]
    assert compare(explore(texts[0]), texts[1]).frames == tuple(texts)


def test_training_is_followed_along_its_curve():
    taken = [look(ours(Decoder), IDS, tokens=TOKENS) for _ in range(3)]
    curve = [Step(n, 3 - n / 10, 1.0, 8, 1.0, n / 10) for n in range(1, 11)]
    page = through_training(taken, (0, 4, 10), curve=curve)
    assert page.mode == "training" and page.training.frames_at == (0, 3, 9)
    assert page.training.steps == (*range(1, 11),)
    assert page.training.losses[3] == pytest.approx(2.6)
    assert [x.label for x in page.frames] == ["step 0", "step 4", "step 10"]
    assert through_training([ours(Decoder)], [7], IDS, tokens=TOKENS).training is None


def test_a_question_is_asked_from_a_token():
    page = explore(ours(Decoder), IDS, tokens=TOKENS, ask=(1, 3, "d"))
    words = 'Which token does head 3 of layer 1 look at most from "d"?'
    assert page.question == Question(1, 3, 2, words)
    assert explore(page.frames[0], ask=(0, 0, 5)).question.query == 5


EVEN = np.full((1, 1, 2, 2), 0.5, np.float32)
TWO = ["a", "b"]
D, E = ours(Decoder), ours(Encoder)
CHARS = CharTokenizer.train("abc")
HIDDEN = Decoder(ModelConfig(vocab_size=12, context=16), cross=True)
THREE = record_of(np.full((1, 3, 2, 2), 0.5), tokens=TWO)
OTHER = record_of(np.full((1, 3, 2, 2), 0.5), tokens="xy")


@pytest.mark.parametrize(
    "show, words",
    [
        (lambda: explore(D), "shows nothing before it reads: give text="),
        (lambda: explore(D, "ab"), "cut by its model's tokenizer: give tokenizer="),
        (lambda: explore(D, [1, 2]), "got 2 ids and no tokens to show them by"),
        (lambda: explore(D, [1], tokens=TWO), "got 2 tokens and 1 ids"),
        (lambda: explore(D, "", tokenizer=CHARS), "nothing to look at: got ''"),
        (lambda: explore(D, [], tokens=[]), "nothing to look at: got"),
        (lambda: explore(D, 7, tokens=["a"]), "a string, or one row of whole numbers"),
        (lambda: explore(D, [[1], [2]], tokens=TWO), "only a Seq2Seq takes a pair"),
        (lambda: explore(D, [1] * 17, tokens="a" * 17), "16 tokens at most: got 17"),
        (lambda: explore(D, [1, 12], tokens=TWO), "ids are from 0 to 11 here: got 12"),
        (lambda: explore(D, [1, 2], tokens=TWO, layers=[2]), "from 0 to 1: got 2"),
        (lambda: explore(D, [1], tokens=["a"], explain=True), "give at least two"),
        (lambda: explore(D, [1, 2], tokens=TWO, target=12), "from 0 to 11: got 12"),
        (
            lambda: explore(D, "ab", tokenizer=CHARS, target="ab"),
            "target is one token, or a number from 0 to 11: got 'ab'",
        ),
        (lambda: explore(E, [1], tokens=["a"], explain=True), r"none \(Encoder\)"),
        (
            lambda: explore(ours(MaskedLM), [1, 2], tokens=TWO, knock_out=True),
            r"put \[MASK\] in place of a token",
        ),
        (lambda: explore(ours(Seq2Seq), [1], tokens="a"), "text=.source, target"),
        (lambda: explore(HIDDEN, [1], tokens=["a"]), "give the whole Seq2Seq"),
        (lambda: explore(nn.Linear(2, 2), [1], tokens=["a"]), "got a Linear"),
        (lambda: explore(hf("LlamaForCausalLM"), [1], tokens=["a"]), "got a LlamaFor"),
        (lambda: explore("minilm", tokens=TWO), "a model, or weights .* got 'minilm'"),
        (lambda: explore(EVEN), "no tokens to show them by: give tokens="),
        (lambda: explore(EVEN[0], tokens=TWO), "one layer weights.None.$"),
        (lambda: explore(EVEN, tokens=["a"]), r"over 1 tokens are \(layers"),
        (lambda: explore(EVEN, tokens=[]), "nothing to look at: the text is empty"),
        (lambda: explore(EVEN * 2, tokens=TWO), "row 0 of layer 0, head 0 sums to 2"),
        (lambda: explore(EVEN * math.nan, tokens=TWO), "got NaN or infinity"),
        (lambda: explore([EVEN.repeat(2, 0)], tokens=TWO), "got a batch of 2"),
        (lambda: explore((None, None), tokens=TWO), "attn_implementation=.eager"),
        (lambda: explore(EVEN, tokens=TWO, explain=True), "explain asks a model again"),
        (lambda: explore(THREE, target=0), "target asks a model again: got Record"),
        (lambda: explore(EVEN, tokens=TWO, ask=(0, 1, 0)), "heads from 0 to 0: got"),
        (lambda: explore(EVEN, tokens=TWO, ask=(0, 0, "c")), "'c' stands at no"),
        (lambda: explore(EVEN, tokens="aa", ask=(0, 0, "a")), r"stands at \[0, 1\]"),
        (lambda: explore(EVEN, tokens=TWO, ask=(0, 0, 2)), "positions are from 0 to 1"),
        (lambda: compare(EVEN, THREE, tokens=TWO), r"\(1, 1\) and \(1, 3\)"),
        (lambda: compare(THREE, THREE, labels=["a"]), "two labels: got"),
        (lambda: through_training([THREE], [1, 2]), "got 1 looks and steps"),
        (lambda: through_training([THREE] * 2, [2, 1]), "in growing order"),
        (
            lambda: through_training([THREE, OTHER], [1, 2]),
            "looks at different tokens",
        ),
    ],
)  # fmt: skip
def test_mistakes_are_told_in_one_line(show, words):
    with pytest.raises(ValueError, match=words) as caught:
        show()
    assert "\n" not in str(caught.value)


def test_an_empty_text_has_nothing_but_special_tokens(classifier):
    with pytest.raises(ValueError, match="' ' holds no token of its own"):
        look(classifier, " ")
    with pytest.raises(ValueError, match=r"target is \('bad', 'fair', 'good'\)"):
        look(classifier, "good", target="great")


@pytest.mark.slow
def test_minilm_shows_its_famous_heads():
    from llmkit.pretrained import model_folder

    tokenizer = HFTokenizer.from_pretrained(model_folder("minilm"))
    text = "The cat sat on the mat, and the dog sat on the rug."
    record = look(Encoder.from_hf("minilm"), text, tokenizer=tokenizer)
    tags = {(tag.layer, tag.head): tag for tag in record.tags}
    assert tags[0, 2].name == "previous" and tags[0, 2].score > 0.99
    assert tags[1, 8].name == "next"
    assert sum(tag.name == "first" for tag in record.tags) > 10  # [CLS] is a sink
