"""Check packed rows: nothing is wasted, and no document sees another."""

import pytest
import torch
from helpers import loud, small_model
from hypothesis import given
from hypothesis import strategies as st

from llmkit.batches import (
    PackedBatches,
    Windows,
    document_numbers,
    evaluation_batches,
    keep_apart,
)
from llmkit.metrics import IGNORE, token_loss
from llmkit.transformer import Encoder, ModelConfig

END = 0
documents = st.lists(
    st.lists(st.integers(1, 10), min_size=1, max_size=5), min_size=2, max_size=6
)


def line(texts: list[list[int]]) -> torch.Tensor:
    """Put documents one after the other, an end behind each and one before all."""
    return torch.tensor([END, *(x for text in texts for x in [*text, END])])


@given(documents)
def test_documents_are_numbered_and_the_end_opens_the_next(texts):
    numbers = document_numbers(line(texts)[None], END)[0].tolist()
    wanted = [i + 1 for i, text in enumerate(texts) for _ in [END, *text]]
    assert numbers == [*wanted, len(texts) + 1]


@pytest.mark.slow
@given(documents, st.sampled_from(["rotary", "alibi"]))
def test_a_packed_row_is_worth_what_its_documents_are_alone(texts, positions):
    """The law: one row of many documents = each document in a row of its own."""
    model = small_model(positions=positions, context=64).eval()
    ids = line(texts)[None]
    inputs, labels = keep_apart((ids[:, :-1], ids[:, 1:]), END)
    with torch.no_grad():
        packed, count = token_loss(model(**inputs), labels)
        alone = 0.0
        for text in texts:
            row = torch.tensor([[END, *text, END]])
            alone += float(token_loss(model(row[:, :-1]), row[:, 1:])[0])
    assert int(count) == sum(len(text) + 1 for text in texts)  # nothing is left out
    assert float(packed) == pytest.approx(alone, rel=1e-4)


def test_no_gradient_comes_from_another_document():
    model = small_model(context=16, positions="learned")
    ids = line([[1, 2, 3], [4, 5], [6]])[None]
    numbers = document_numbers(ids, END)
    leaves = []

    def catch(module, arguments, embedded):
        leaves.append(embedded.detach().requires_grad_())
        return leaves[-1]

    model.embedding.register_forward_hook(catch)
    model(ids, documents=numbers)[0, 5].sum().backward()  # the 4 of the second one
    reached = leaves[0].grad[0].abs().sum(-1) > 0
    assert reached.tolist() == [False] * 4 + [True] * 2 + [False] * 4
    model(ids)[0, 5].sum().backward()  # not told, it looks at all that came before
    reached = leaves[1].grad[0].abs().sum(-1) > 0
    assert reached.tolist() == [True] * 6 + [False] * 4


def test_an_encoder_keeps_documents_apart_beside_padding():
    shape = ModelConfig(vocab_size=11, context=16, n_layers=2, n_heads=2, d_model=16)
    model = loud(Encoder(ModelConfig(**vars(shape) | dict(positions="rotary"))))
    ids = torch.tensor([[1, 2, 3, 4, 5, 9, 9]])
    is_token = torch.tensor([[True] * 5 + [False] * 2])
    both = model(ids, is_token, documents=torch.tensor([[0, 0, 1, 1, 1, 1, 1]]))
    assert torch.allclose(both[:, :2], model(ids[:, :2]), atol=1e-5)
    assert torch.allclose(both[:, 2:5], model(ids[:, 2:5]), atol=1e-5)


def test_every_row_is_full_and_every_label_counts():
    texts = [[1 + i % 9] * (1 + i % 7) for i in range(60)]
    batches = PackedBatches(line(texts), context=12, batch_size=3, boundary=END)
    seen = torch.cat([batches[i][0]["ids"] for i in range(len(batches))])
    assert seen.shape == (len(batches) * 3, 12)
    for step in range(len(batches)):
        inputs, labels = batches[step]
        assert inputs.keys() == {"ids", "documents"}
        assert not (labels == IGNORE).any()
        assert labels[:, :-1].equal(inputs["ids"][:, 1:])
        assert inputs["documents"].equal(document_numbers(inputs["ids"], END))


def test_a_batch_depends_on_seed_and_number_alone():
    ids = line([[1, 2, 3 + i % 7] for i in range(50)])
    one, two = (PackedBatches(ids, 8, 2, END, seed=3) for _ in range(2))
    assert one[40][0]["ids"].equal(two[40][0]["ids"])  # asked for first, or later
    other = PackedBatches(ids, 8, 2, END, seed=4)
    rows = [torch.cat([x[i][0]["ids"] for i in range(8)]) for x in (one, other)]
    assert not torch.equal(*rows)


def test_ids_on_disk_of_two_bytes_are_as_good():
    ids = line([[1, 2, 3], [4, 5, 6, 7]] * 20)
    plain = PackedBatches(ids, 8, 2, END)
    small = PackedBatches(ids.to(torch.uint16), 8, 2, END)
    assert plain[3][1].equal(small[3][1]) and small[3][1].dtype == torch.long
    for one, two in zip(
        evaluation_batches(ids, 8), evaluation_batches(ids.to(torch.uint16), 8)
    ):
        assert one[0].equal(two[0]) and one[1].equal(two[1])


def test_windows_show_the_next_one_s_beginning_only_if_asked():
    ids = torch.arange(41)
    plain = Windows(ids, width=8, batch_size=1)
    longer = Windows(ids, width=8, batch_size=1, more=1)
    assert plain[0].shape == (1, 8) and longer[0].shape == (1, 9)
    assert longer[0][:, :8].equal(plain[0])


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (dict(boundary=9), "boundary token 9 does not occur in the text: put it after"),
        (dict(context=500), "one batch needs 2 rows of 500 tokens and the text gives"),
        (dict(batch_size=0), "a batch needs at least 1 row: got 0"),
        (dict(context=0), "a window needs at least 1 token: got context 0"),
    ],
)
def test_what_can_not_be_packed_is_refused_in_words(changes, words):
    told = dict(ids=line([[1, 2, 3]] * 9), context=8, batch_size=2, boundary=END)
    with pytest.raises(ValueError, match=words):
        PackedBatches(**told | changes)


@pytest.mark.parametrize("shape", [(1, 3), (2, 4), (4,)])
def test_documents_that_do_not_fit_are_refused(shape):
    words = r"each token belongs to one document.*token ids \(1, 4\)"
    for look_back in (0, 2):
        model = small_model(look_back=look_back)
        with pytest.raises(ValueError, match=words):
            model(torch.ones(1, 4).long(), documents=torch.zeros(shape).long())


def test_documents_and_a_cache_do_not_go_together():
    model = small_model()
    cache = model.new_cache()
    model(torch.ones(1, 2).long(), cache)
    with pytest.raises(ValueError, match="none comes from a cache: .*2 tokens in the"):
        model(torch.ones(1, 1).long(), cache, documents=torch.zeros(1, 1).long())
