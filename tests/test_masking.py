"""Check what is hidden: how much, of what, as what, and nothing else."""

import math

import pytest
import torch
from helpers import loud
from hypothesis import given, settings
from hypothesis import strategies as st

from llmkit.batches import MaskedBatches, Masking, masked_evaluation
from llmkit.metrics import IGNORE, token_accuracy, token_loss
from llmkit.training import TrainingConfig, evaluate, fit
from llmkit.transformer import MaskedLM, ModelConfig

V, MASK, END, PAD = 50, 0, 1, 2
SPECIAL = (END, PAD)


def within(count: int, n: int, p: float) -> bool:
    """Tell whether `count` of n tries is what probability p gives, by 5 deviations."""
    return abs(count - n * p) <= 5 * math.sqrt(n * p * (1 - p))


def random_rows(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randint(V, shape, generator=torch.Generator().manual_seed(seed))


def masking(**changes) -> Masking:
    return Masking(**dict(mask_id=MASK, vocab_size=V, special=SPECIAL) | changes)


def model(**changes) -> MaskedLM:
    shape = dict(vocab_size=V, context=32, n_layers=2, n_heads=2, d_model=16)
    torch.manual_seed(0)
    return MaskedLM(ModelConfig(**shape | changes))


@pytest.mark.parametrize("share", [0.15, 0.4])
@pytest.mark.parametrize("kinds", [(0.8, 0.1, 0.1), (1.0, 0.0, 0.0), (0.2, 0.5, 0.3)])
def test_shares_are_as_told_within_binomial_bounds(share, kinds):
    rows = random_rows(400, 200)
    rule = masking(share=share, kinds=kinds)
    inputs, labels = rule(rows, torch.Generator().manual_seed(1))
    ordinary = rows > PAD  # what may be chosen
    asked = labels != IGNORE
    n = int(asked.sum())
    assert within(n, int(ordinary.sum()), share)
    hidden = int((inputs == MASK)[asked].sum())
    same = int((inputs == rows)[asked].sum())
    masked, replaced, kept = kinds
    assert within(hidden, n, masked)
    # another token by lot is the same one by chance, once among all that are ordinary
    by_chance = replaced / (V - 3)
    assert within(same, n, kept + by_chance)
    assert within(n - hidden - same, n, replaced - by_chance)
    for token in range(3, V):  # every token is put in as often as any other
        put = int((inputs == token)[asked & (inputs != rows)].sum())
        assert within(put, n, by_chance * (V - 4) / (V - 3))


@given(st.integers(1, 6), st.integers(1, 30), st.integers(0, 99), st.floats(0.05, 0.9))
def test_specials_are_never_touched_and_never_come_out_of_the_hat(B, T, seed, share):
    rows = random_rows(B, T, seed=seed)
    rule = masking(share=share)
    inputs, labels = rule(rows, torch.Generator().manual_seed(seed))
    special = rows <= PAD
    assert inputs[special].equal(rows[special])
    assert (labels[special] == IGNORE).all()
    assert (inputs[~special] != END).all() and (inputs[~special] != PAD).all()
    asked = labels != IGNORE
    assert labels[asked].equal(rows[asked])
    assert inputs[~asked].equal(rows[~asked])


def test_whole_words_are_hidden_whole():
    # tokens 3 to 19 begin a word and end it, 20 to 39 go on with one, 40 on are marks
    edges = [(False, False)] * 3 + [(False, True)] * 17 + [(True, True)] * 20
    edges += [(False, False)] * 10
    rows = random_rows(200, 100)
    rule = masking(word_edges=edges)
    _, labels = rule(rows, torch.Generator().manual_seed(2))
    asked, words, chosen = labels != IGNORE, 0, 0
    for row, hidden in zip(rows.tolist(), asked.tolist()):
        groups: list[list[int]] = []
        for t, token in enumerate(row):
            goes_on = t > 0 and edges[token][0] and edges[row[t - 1]][1]
            groups[-1].append(t) if goes_on else groups.append([t])
        for group in groups:
            if row[group[0]] > PAD:
                states = {hidden[t] for t in group}
                assert len(states) == 1  # all of a word or nothing of it
                words, chosen = words + 1, chosen + states.pop()
    assert within(chosen, words, 0.15)
    assert chosen < int(asked.sum())  # there were words of several tokens


def test_words_side_by_side_have_lots_of_their_own():
    edges = [(False, False)] * 3 + [(False, True)] * 47  # each begins anew, as " cat"
    rows = torch.full((400, 100), 5)
    _, labels = masking(word_edges=edges)(rows, torch.Generator().manual_seed(4))
    asked = labels != IGNORE
    both = asked[:, :-1] & asked[:, 1:]
    pairs = asked[:, ::2] & asked[:, 1::2]  # side by side, and none twice
    assert within(int(pairs.sum()), pairs.numel(), 0.15**2) and both.any()


def test_a_batch_depends_on_seed_and_number_alone_and_epochs_differ():
    ids = random_rows(700)

    def make(seed):
        return MaskedBatches(ids, masking(), context=16, batch_size=4, seed=seed)

    one, two = make(3), make(3)
    late = one[25]
    for step in range(25):
        two[step]
    for name in ("ids", "asked"):
        assert late[0][name].equal(two[25][0][name])  # resumed = uninterrupted
    assert late[1].equal(two[25][1])
    assert not late[0]["ids"].equal(make(4)[25][0]["ids"])
    same = MaskedBatches(torch.full((700,), 5), masking(), 16, 4, seed=3)
    other = MaskedBatches(torch.full((700,), 5), masking(), 16, 4, seed=4)
    assert not same[25][1].equal(other[25][1])  # other lots, even on the same rows
    # the masks of a later epoch are others, even where a window is the same
    shares = [(one[i][1] != IGNORE).float().mean() for i in range(3 * len(one))]
    assert len(set(map(float, shares))) > 3


def test_a_boundary_keeps_documents_apart_even_where_the_mask_is_one():
    ids = torch.tensor([5, 6, 7, MASK, 8, 9, MASK]).repeat(40)
    batches = MaskedBatches(ids, masking(share=0.9), 14, 2, boundary=MASK)
    inputs, labels = batches[0]
    rows = torch.where(labels == IGNORE, inputs["ids"], labels)
    assert inputs["documents"].equal((rows == MASK).cumsum(-1))
    assert inputs.keys() == {"ids", "asked", "documents"}


@pytest.mark.slow
@given(
    B=st.integers(1, 4),
    T=st.integers(2, 16),
    tied=st.booleans(),
    seed=st.integers(0, 50),
)
@settings(max_examples=25)
def test_logits_at_asked_places_alone_give_the_same_loss_and_gradient(B, T, tied, seed):
    """The law of masked-only logits: the same, for less work."""
    ids = random_rows(B, T, seed=seed)
    inputs, labels = masking(share=0.4)(ids, torch.Generator().manual_seed(seed))
    asked = labels != IGNORE
    gradients, losses = [], []
    for told in ({}, {"asked": asked}):
        net = loud(model(tied=tied), seed, std=0.3)
        logits = net(inputs, **told)
        total, count = token_loss(logits, labels)
        total.backward()
        losses.append((float(total.detach()), int(count)))
        gradients.append([p.grad for p in net.parameters()])
        right = token_accuracy(logits, labels)
        losses[-1] += tuple(map(int, right))
    assert losses[0][1:] == losses[1][1:]
    assert losses[0][0] == pytest.approx(losses[1][0], rel=1e-5, abs=1e-6)
    for whole, part in zip(*gradients):
        assert torch.allclose(whole, part, atol=1e-4, rtol=1e-4)


@pytest.mark.slow
def test_it_trains_in_pieces_as_in_whole_and_learns():
    ids = torch.arange(3, 23).repeat(60)
    batches = MaskedBatches(ids, masking(), context=16, batch_size=8)
    checks = masked_evaluation(ids, masking(), context=16)
    shape = dict(positions="rotary", quiet=True, tied=False)
    ends = []
    for pieces in (1, 3):
        net = model(**shape)
        recipe = dict(optimizer="muon", learning_rate=0.02, accumulation=pieces)
        config = TrainingConfig(steps=60, precision="fp32", **recipe)
        steps = list(fit(net, batches, config, checks))
        ends.append([steps[0].loss, steps[3].loss, steps[-1].val_loss])
        assert evaluate(net, checks) == pytest.approx(steps[-1].val_loss)
    assert ends[0][:2] == pytest.approx(ends[1][:2], rel=1e-4)
    assert ends[0][0] == pytest.approx(math.log(V), rel=0.01)  # no idea at first
    # Neighbours tell what is hidden: that is better than to know all that there is.
    assert max(ends[0][-1], ends[1][-1]) < math.log(20) - 0.15


def test_the_evaluation_asks_the_same_of_every_model():
    ids = random_rows(333)
    one, two = (masked_evaluation(ids, masking(), 16, batch_size=8) for _ in range(2))
    for (x, y), (a, b) in zip(one, two):
        assert x["ids"].equal(a["ids"]) and y.equal(b) and x["asked"].equal(y != IGNORE)
    assert sum(len(y) for _, y in one) == 333 // 16
    assert masked_evaluation(ids[:9], masking(share=0.9), 16)[0][1].shape == (1, 9)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (dict(share=0.0), "must be between 0 and 1: got 0.0; BERT takes 0.15"),
        (dict(share=1.0), "must be between 0 and 1: got 1.0"),
        (dict(share=-0.1), "must be between 0 and 1: got -0.1"),
        (dict(share=15), "must be between 0 and 1: got 15"),
        (dict(share=math.nan), "must be between 0 and 1: got nan"),
        (dict(kinds=(0.8, 0.1, 0.2)), r"make 1 together: got \(0.8, 0.1, 0.2\); BERT"),
        (dict(kinds=(1.2, -0.1, -0.1)), "shares that make 1 together"),
        (dict(kinds=(math.nan, 0.5, 0.5)), "shares that make 1 together"),
        (dict(mask_id=V), f"token {V} is not in the vocabulary: expected 0 to {V - 1}"),
        (dict(special=(-1,)), "special token -1 is not in the vocabulary"),
        (dict(special=tuple(range(V))), "every token is special: there is none to"),
        (dict(word_edges=[(True, True)]), f"a row for each of the {V} tokens: got 1"),
    ],
)
def test_a_rule_that_makes_no_sense_is_refused_in_words(changes, words):
    with pytest.raises(ValueError, match=words):
        masking(**changes)


def test_nothing_to_ask_is_refused_in_words():
    with pytest.raises(ValueError, match="no token of the 20 was chosen, so nothing"):
        masked_evaluation(torch.full((20,), END), masking(), context=10)
    with pytest.raises(ValueError, match="at least 1 token, .*got 0 tokens"):
        masked_evaluation(torch.tensor([], dtype=torch.long), masking(), context=10)
    for wrong in (dict(context=0), dict(context=10, batch_size=0)):
        with pytest.raises(ValueError, match="1 token, 1 a row and 1 row a batch"):
            masked_evaluation(torch.full((20,), 5), masking(), **wrong)


def test_a_boundary_that_may_be_hidden_is_refused():
    ids = torch.arange(3, 43)
    words = r"boundary 9 must never be hidden, .*special tokens, which are \(1, 2\)"
    with pytest.raises(ValueError, match=words):
        MaskedBatches(ids, masking(), 8, 2, boundary=9)
    with pytest.raises(ValueError, match=words):
        masked_evaluation(ids, masking(), 8, boundary=9)


@pytest.mark.parametrize("asked", [torch.ones(1, 3), torch.ones(2, 4).bool()])
def test_asked_must_be_a_mask_of_the_tokens(asked):
    with pytest.raises(ValueError, match=r"asked is boolean, .*\(1, 4\): got torch"):
        model()(torch.ones(1, 4).long(), asked=asked)


def test_logits_of_another_number_of_places_are_refused():
    words = r"or a row of logits for each of the 2 labels that are asked for"
    with pytest.raises(ValueError, match=words):
        token_loss(torch.zeros(3, V), torch.tensor([[5, IGNORE, 6]] * 1))
