"""Attributions: exact where they can be, whole words, and nothing left behind."""

import math

import pytest
import torch
from helpers import loud
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from llmkit.finetuning.attribution import agreement, gradient_times_input, leave_one_out

WORDS = (
    "the film was not bad at all but i don t well made 9 5 ##s ##ly 好 看 é . , ! ' - $"
)
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
METHODS = [gradient_times_input, leave_one_out]
both = pytest.mark.parametrize("attribute", METHODS, ids=lambda f: f.__name__)


@pytest.fixture(scope="module")
def tokenizer():
    """Build BERT's tokenizer with a handful of words."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    vocab = {word: i for i, word in enumerate([*SPECIAL, *WORDS.split()])}
    made = Tokenizer(models.WordPiece(vocab, unk_token="[UNK]"))
    made.normalizer = normalizers.BertNormalizer(strip_accents=False)
    made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    made.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    names = dict(zip(("pad_token", "unk_token", "cls_token", "sep_token"), SPECIAL))
    return PreTrainedTokenizerFast(tokenizer_object=made, **names)


class Bag(nn.Module):
    """A classifier that is linear in its embeddings: it adds them up."""

    def __init__(self, tokenizer, names=("bad", "good"), limit=64):
        super().__init__()
        torch.manual_seed(0)
        self.tokenizer, self.names, self.limit = tokenizer, names, limit
        self.embeddings = nn.Embedding(len(tokenizer), 6).double()
        self.head = nn.Linear(6, len(names)).double()

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        kept = attention_mask[..., None] * self.embeddings(input_ids)  # (B, T, D)
        return self.head(kept.sum(dim=1))


class Bert(nn.Module):
    """A BERT with random weights, loud enough that every token counts."""

    def __init__(self, tokenizer, names=("bad", "good"), limit=64):
        from transformers import BertConfig, BertForSequenceClassification

        super().__init__()
        shape = dict(hidden_size=16, num_hidden_layers=2, num_attention_heads=2)
        config = BertConfig(
            vocab_size=len(tokenizer),
            intermediate_size=32,
            max_position_embeddings=64,
            num_labels=len(names),
            **shape,
        )
        self.model = loud(BertForSequenceClassification(config).double())
        self.tokenizer, self.names, self.limit = tokenizer, names, limit

    @property
    def embeddings(self) -> nn.Embedding:
        return self.model.get_input_embeddings()

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        return self.model(input_ids, attention_mask=attention_mask).logits


def words(scores) -> list[str]:
    return [word for word, _ in scores]


def margin(classifier, text: str, target: int) -> float:
    found = classifier.tokenizer(text, return_tensors="pt")
    classifier.eval()
    with torch.no_grad():
        logits = classifier(found["input_ids"], found["attention_mask"].bool())[0]
    others = torch.cat([logits[:target], logits[target + 1 :]])
    return float(logits[target] - others.mean())


@pytest.mark.slow
@pytest.mark.parametrize("names", [("bad", "good"), ("bad", "so-so", "good")])
@given(text=st.lists(st.sampled_from(WORDS.split()), max_size=12).map(" ".join))
def test_of_a_linear_model_both_are_exact_and_complete(tokenizer, names, text):
    model = Bag(tokenizer, names)
    for target in range(len(names)):
        slopes, falls = (attribute(model, text, target) for attribute in METHODS)
        assert words(slopes) == words(falls)
        assert dict(slopes).keys() == dict(falls).keys()
        for (_, slope), (_, fall) in zip(slopes, falls):
            assert slope == pytest.approx(fall, rel=1e-4, abs=1e-5)
        total = margin(model, text, target) - margin(model, "", target)
        assert sum(score for _, score in slopes) == pytest.approx(total, abs=1e-4)


@pytest.mark.slow
def test_of_two_classes_the_margin_is_the_log_odds(tokenizer):
    model = Bert(tokenizer)
    found = tokenizer("not bad", return_tensors="pt")
    with torch.no_grad():
        logits = model.eval()(found["input_ids"], found["attention_mask"].bool())
    p = logits.softmax(-1)
    odds = float(p[0, 1].log() - p[0, 0].log())
    (fall,) = [x for word, x in leave_one_out(model, "not bad", 1) if word == "not"]
    assert fall == pytest.approx(odds - margin(model, "bad", 1), rel=1e-4)


@pytest.mark.slow
def test_the_gradient_is_the_slope_along_each_word(tokenizer):
    model, text = Bert(tokenizer), "the film was not bad"
    found, step = gradient_times_input(model, text, 0), 1e-5
    for place, (word, score) in enumerate(found, start=1):  # after [CLS]

        def louder(module, inputs, output, place=place, by=1 + step):
            scale = torch.ones(output.shape[1], 1, dtype=output.dtype)
            scale[place] = by
            return output * scale

        before = margin(model, text, 0)
        handle = model.embeddings.register_forward_hook(louder)
        after = margin(model, text, 0)
        handle.remove()
        assert score == pytest.approx((after - before) / step, rel=1e-3), word


def test_leaving_out_is_reading_the_text_without_the_word(tokenizer):
    model, text = Bert(tokenizer), "the film was not bad at all but i don made"
    found = leave_one_out(model, text, "good")
    assert words(found) == text.split()
    for i, (word, score) in enumerate(found):
        without = " ".join(text.split()[:i] + text.split()[i + 1 :])
        fall = margin(model, text, 1) - margin(model, without, 1)
        assert score == pytest.approx(fall, rel=1e-4, abs=1e-6), word


def test_more_words_than_are_read_at_once(tokenizer):
    model = Bag(tokenizer, limit=200)
    falls = leave_one_out(model, "not " * 150, 0)
    assert len(falls) == 150
    assert {round(score, 5) for _, score in falls} == {round(falls[0][1], 5)}


@both
@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Films, badly!", ["Films", ",", "badly", "!"]),  # film ##s , bad ##ly !
        ("I don't  and I don’t", ["I", "don't", "and", "I", "don’t"]),
        ("well-made -- 9.5 'bad'", ["well-made", "-", "-", "9.5", "'", "bad", "'"]),
        ("bad.But not", ["bad", ".", "But", "not"]),
        ("好看 é $5", ["好", "看", "é", "$", "5"]),
        ("סרט רע\n🎉🎉 9", ["סרט", "רע", "🎉🎉", "9"]),  # unknown words are words
        ("<b>not</b>", ["<", "b", ">", "not", "<", "/", "b", ">"]),
        ("[SEP] bad", ["bad"]),  # written by a reader, it is read as the token
        ("", []),
        (" \n ", []),
    ],
)
def test_scores_belong_to_words_as_they_stand_in_the_text(
    tokenizer, attribute, text, expected
):
    found = attribute(Bag(tokenizer), text)
    if "[SEP]" in text:
        found = [pair for pair in found if pair[0] != "[SEP]"]
    assert words(found) == expected
    place = 0
    for word, score in found:
        place = text.index(word, place) + len(word)
        assert math.isfinite(score)


@both
def test_what_is_cut_off_has_no_score(tokenizer, attribute):
    model = Bag(tokenizer, limit=5)
    assert words(attribute(model, "the film was not bad")) == ["the", "film", "was"]
    short = attribute(model, "the film was")
    assert attribute(model, "the film was not bad") == short


@both
def test_the_predicted_class_is_the_default_and_names_will_do(tokenizer, attribute):
    model, text = Bert(tokenizer, ("bad", "so-so", "good")), "the film was not bad"
    margins = [margin(model, text, target) for target in range(3)]
    best = margins.index(max(margins))
    assert attribute(model, text) == attribute(model, text, best)
    assert attribute(model, text) == attribute(model, text, model.names[best])
    assert attribute(model, text) != attribute(model, text, (best + 1) % 3)


@both
def test_the_model_is_left_as_it_was(tokenizer, attribute):
    model = Bert(tokenizer)
    model.train()
    model.model.bert.encoder.layer[0].eval()  # as a frozen layer may be
    model.embeddings.weight.requires_grad_(False)
    modes = [part.training for part in model.modules()]
    first = attribute(model, "the film was not bad")
    assert first == attribute(model, "the film was not bad"), "no dropout"
    assert [part.training for part in model.modules()] == modes
    assert all(weight.grad is None for weight in model.parameters())
    assert not model.embeddings._forward_hooks
    with torch.no_grad():
        assert attribute(model, "the film was not bad") == first


def test_a_failing_model_is_left_as_it_was_too(tokenizer):
    model = Bag(tokenizer)
    model.train()
    del model.head
    for attribute in METHODS:
        with pytest.raises(AttributeError):
            attribute(model, "bad")
        assert model.training and not model.embeddings._forward_hooks


@both
def test_what_can_not_be_attributed_is_refused_in_words(tokenizer, attribute):
    model = Bag(tokenizer)
    with pytest.raises(ValueError, match="is of one text: got list"):
        attribute(model, ["not bad"])
    words = r"by name \['bad', 'good'\] or by number from 0 to 1: got {}"
    for wrong in (2, -1, "fine", 1.0):
        with pytest.raises(ValueError, match=words.format(repr(wrong))):
            attribute(model, "not bad", wrong)


scores = st.lists(st.integers(-3, 3), min_size=2, max_size=20)


@pytest.mark.slow
@given(st.data(), scores)
def test_agreement_is_scipys_rank_correlation(data, one):
    from scipy.stats import spearmanr

    other = data.draw(st.permutations(one))
    a, b = ([(str(i), float(x)) for i, x in enumerate(xs)] for xs in (one, other))
    found = agreement(a, b)
    if len(set(one)) == 1:
        assert math.isnan(found)
    else:
        assert found == pytest.approx(spearmanr(one, other).statistic, abs=1e-12)
        assert agreement(a, [(word, -x) for word, x in b]) == pytest.approx(-found)


def test_agreement_is_of_the_same_words():
    with pytest.raises(ValueError, match=r"2 words from \['a', 'b'\] and 1 from \['a'"):
        agreement([("a", 1.0), ("b", 2.0)], [("a", 1.0)])
