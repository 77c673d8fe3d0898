"""Exercise 01.2: implement the causal mask."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from llmkit.attention import causal_mask
from llmkit.exercises import Exercise, Twin, mistakes


def lower_right(T: int, S: int | None = None) -> Tensor:
    """Read the mask off torch's own causal attention, where all scores are equal."""
    S = T if S is None else S
    same, identity = torch.zeros(S, 1), torch.eye(S)
    weights = F.scaled_dot_product_attention(same, same, identity, is_causal=True)
    return weights[S - T :] > 0  # (T, S): the queries are the last T of S positions


def cases(seed: int) -> tuple:
    """Draw T, and every second time an S that is larger."""
    random = torch.Generator().manual_seed(seed)
    T, more = torch.randint(2, 6, (2,), generator=random).tolist()
    return (T, T + more) if seed % 2 else (T,)


# The classic mistakes. What a mistake says to the learner is its docstring.


def see_the_future(T, S=None):
    """It looks like you keep the upper triangle: each position sees itself and what
    comes after. The past is the lower one (`tril`).
    """
    return _full(T, S).triu(_shift(T, S))


def mark_the_hidden(T, S=None):
    """It looks like your True marks what to hide: here True means that a query may
    look. Libraries differ, so always read which one is meant.
    """
    return ~_full(T, S).tril(_shift(T, S))


def hide_itself(T, S=None):
    """It looks like a position may not look at itself: the first one would then see
    nothing at all. The diagonal is visible too.
    """
    return _full(T, S).tril(_shift(T, S) - 1)


def peek_at_next(T, S=None):
    """It looks like the diagonal is one too far to the right: each position sees the
    next token, the very one that it will be asked to predict.
    """
    return _full(T, S).tril(_shift(T, S) + 1)


def zeros_and_ones(T, S=None):
    """It looks like your mask holds the numbers 0 and 1: the triangle is right, but
    `~mask` wants true and false. Add `dtype=torch.bool`, or `.bool()` at the end.
    """
    return _full(T, S).tril(_shift(T, S)).float()


def zeros_and_minus_infinity(T, S=None):
    """It looks like you made the mask that is added to the scores, 0 and -∞: that
    works too, but this one is boolean, True where a query may look.
    """
    visible = _full(T, S).tril(_shift(T, S))
    return torch.zeros(visible.shape).masked_fill(~visible, -math.inf)


def square_only(T, S=None):
    """It looks like your mask is always (T, T): with S keys it has S columns, more than
    T when the keys of an earlier text are kept.
    """
    return _full(T, T).tril()


def start_at_first_key(T, S=None):
    """It looks like your queries begin at the first key: when S > T they are the last T
    of the S positions, so the diagonal begins at column S - T.
    """
    return _full(T, S).tril()


def _full(T, S):
    return torch.ones(T, T if S is None else S, dtype=torch.bool)  # (T, S)


def _shift(T, S):
    return 0 if S is None else S - T


CAUSAL_MASK = Exercise(
    id="01.2",
    kind="implement",
    title="the causal mask",
    minutes=10,
    difficulty=1,
    checker=Twin(trusted=lower_right, cases=cases),
    hints=(
        "Begin with `torch.ones(T, S, dtype=torch.bool)` and keep one triangle. Query "
        "t may look at key s when s is not later than t.",
        "`.tril(d)` keeps what has s ≤ t + d. The T queries are the last of the S "
        "positions: the first of them stands at S - T: that is your d.",
    ),
    solution=causal_mask,
    why="`tril(S - T)` lays the diagonal where each query meets itself.",
    wrong=mistakes(
        see_the_future,
        mark_the_hidden,
        hide_itself,
        peek_at_next,
        zeros_and_ones,
        zeros_and_minus_infinity,
        square_only,
        start_at_first_key,
    ),
)
