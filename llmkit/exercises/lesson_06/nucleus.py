"""Exercise 06.3: implement top-p, the nucleus of a distribution."""

import torch
from torch import Tensor

from llmkit.exercises import Exercise, Twin, mistakes


def nucleus(p: Tensor, top_p: float) -> Tensor:
    """Keep the fewest tokens that reach top_p together; they sum to 1 again.

    p: (..., V), probabilities; returns (..., V).
    """
    ranked, order = p.sort(dim=-1, descending=True)  # (..., V) each, best first
    before = ranked.cumsum(dim=-1) - ranked  # (..., V), mass of the better tokens
    ranked = ranked * (before < top_p)
    kept = torch.zeros_like(p).scatter(-1, order, ranked)  # (..., V), as it was
    return kept / kept.sum(dim=-1, keepdim=True)


def one_by_one(p: Tensor, top_p: float) -> Tensor:
    """Take token after token from each distribution, the likeliest first."""
    rows = []
    for row in p.reshape(-1, p.size(-1)).tolist():
        kept, mass = [0.0] * len(row), 0.0
        for token in sorted(range(len(row)), key=row.__getitem__, reverse=True):
            if mass < top_p:
                kept[token] = row[token]
                mass += row[token]
        rows.append([share / mass for share in kept])
    return torch.tensor(rows).view_as(p)


def cases(seed: int) -> tuple:
    """Draw distributions, one or a batch of them, and a top_p."""
    random = torch.Generator().manual_seed(seed)
    V = int(torch.randint(5, 12, (1,), generator=random))
    shape = [(V,), (3, V), (2, 3, V)][seed % 3]
    p = (1.5 * torch.randn(shape, generator=random)).softmax(dim=-1)  # (..., V)
    return p, (0.35, 0.6, 0.8, 0.95)[seed % 4]


# The classic mistakes. What a mistake says to the learner is its docstring.


def stop_short(p, top_p):
    """It looks like you leave out the token that crosses the line: what you keep must
    reach top_p, so ask whether the tokens *before* it fell short of top_p.
    """
    return _keep(p, lambda ranked: ranked.cumsum(-1) <= top_p)


def as_threshold(p, top_p):
    """It looks like you keep each token whose own probability reaches top_p: top_p is
    the mass of all that you keep, together.
    """
    return _keep(p, lambda ranked: ranked >= top_p)


def share_of_tokens(p, top_p):
    """It looks like you keep a share top_p of the tokens, by number: top_p is a share
    of the probability, whether one token holds it or fifty.
    """
    rank = torch.arange(p.size(-1))
    return _keep(p, lambda ranked: rank < round(top_p * p.size(-1)))


def least_likely(p, top_p):
    """It looks like you sort the wrong way: begin with the likeliest token
    (`descending=True`).
    """
    return _keep(p, _before(top_p), descending=False)


def not_sorted(p, top_p):
    """It looks like you add up the tokens in the order of the vocabulary: sort them
    first, the likeliest in front.
    """
    kept = p * (p.cumsum(-1) - p < top_p)
    return kept / kept.sum(-1, keepdim=True)


def stay_sorted(p, top_p):
    """It looks like you return the tokens sorted by probability: put each back where it
    was (`scatter` with the order), or token 0 becomes whatever is likeliest.
    """
    ranked = p.sort(dim=-1, descending=True).values
    kept = ranked * _before(top_p)(ranked)
    return kept / kept.sum(-1, keepdim=True)


def not_renormalized(p, top_p):
    """It looks like you do not divide by what is left: the probabilities that you keep
    must sum to 1 again.
    """
    return _keep(p, _before(top_p), norm=False)


def softmax_again(p, top_p):
    """It looks like you take the softmax of probabilities: that makes them nearly even.
    To let them sum to 1, divide them by their sum.
    """
    kept = _keep(p, _before(top_p), norm=False)
    return kept.masked_fill(kept == 0, -torch.inf).softmax(dim=-1)


def _before(top_p):
    return lambda ranked: ranked.cumsum(-1) - ranked < top_p


def _keep(p, rule, descending=True, norm=True):
    ranked, order = p.sort(dim=-1, descending=descending)
    kept = torch.zeros_like(p).scatter(-1, order, ranked * rule(ranked))
    return kept / kept.sum(-1, keepdim=True) if norm else kept


NUCLEUS = Exercise(
    id="06.3",
    kind="implement",
    title="top-p",
    minutes=15,
    difficulty=2,
    checker=Twin(trusted=one_by_one, cases=cases),
    hints=(
        "Sort, add up, cut, put back, divide. `p.sort(dim=-1, descending=True)` gives "
        "the sorted values and where each stood; `cumsum(dim=-1)` adds up.",
        "`ranked.cumsum(-1) - ranked` is the mass before each token: keep the token "
        "where that is below top_p. `torch.zeros_like(p).scatter(-1, order, ranked)` "
        "puts everything back; then divide by `kept.sum(-1, keepdim=True)`.",
    ),
    solution=nucleus,
    why="The likeliest token has nothing before it, so at least one is always kept.",
    wrong=mistakes(
        stop_short,
        as_threshold,
        share_of_tokens,
        least_likely,
        not_sorted,
        stay_sorted,
        not_renormalized,
        softmax_again,
    ),
)
