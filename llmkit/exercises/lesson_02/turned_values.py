"""Exercise 02.3: debug rotary positions that reach the values."""

import torch
import torch.nn.functional as F
from torch import Tensor

from llmkit.attention import attention
from llmkit.exercises import Exercise, Twin, mistakes
from llmkit.positions import rotate


def look_in_order(q: Tensor, k: Tensor, v: Tensor, turns: Tensor) -> Tensor:
    """Attend with rotary positions; q, k, v (..., T, K), turns (2, T, K / 2).

    Order is a matter of who looks at whom, so only queries and keys are turned. What is
    taken home is the value itself.

    >>> x, still = torch.eye(2), torch.tensor([[[1.0], [1.0]], [[0.0], [0.0]]])
    >>> torch.equal(look_in_order(x, x, x, still), attention(x, x, x)[0])
    True
    """
    output, _ = attention(rotate(q, turns), rotate(k, turns), v)
    return output  # (..., T, K)


def complex_scores(q: Tensor, k: Tensor, v: Tensor, turns: Tensor) -> Tensor:
    """Turn as complex numbers do, and look with torch's own function."""
    half = q.size(-1) // 2
    spin = torch.complex(turns[0], turns[1])  # (T, K / 2)
    q, k = (
        torch.view_as_real(torch.complex(x[..., :half], x[..., half:]) * spin).flatten(
            -2
        )
        for x in (q, k)
    )
    return F.scaled_dot_product_attention(q, k, v)  # (..., T, K)


def cases(seed: int) -> tuple:
    """Draw q, k and v, with and without batch and heads, and the angles."""
    random = torch.Generator().manual_seed(seed)
    T, pairs = torch.randint(3, 6, (2,), generator=random).tolist()
    lead = [(), (2,), (2, 3)][seed % 3]
    q, k, v = 1.5 * torch.randn(3, *lead, T, 2 * pairs, generator=random)
    speeds = 0.2 + torch.rand(pairs, generator=random)  # (K / 2,)
    angles = (seed % 5 + torch.arange(T))[:, None] * speeds  # (T, K / 2)
    return q, k, v, torch.stack([angles.cos(), angles.sin()])


# The classic mistakes. What a mistake says to the learner is its docstring.


def values_too(q, k, v, turns):
    """It looks like the values are still turned: the weights are right, but what is
    taken home depends on where the text stands. Turn queries and keys alone.
    """
    return _look(rotate(q, turns), rotate(k, turns), rotate(v, turns))


def only_queries(q, k, v, turns):
    """It looks like you turn only the queries: then a score depends on where the query
    stands, not on how far away the key is. Turn both.
    """
    return _look(rotate(q, turns), k, v)


def only_keys(q, k, v, turns):
    """It looks like you turn only the keys: then a score depends on where the key
    stands, not on how far away it is from the query. Turn both.
    """
    return _look(q, rotate(k, turns), v)


def keys_the_other_way(q, k, v, turns):
    """It looks like you turn the keys the other way: the dot product takes the
    difference by itself, so this leaves the sum of the two positions.
    """
    return _look(rotate(q, turns), rotate(k, _back(turns)), v)


def nothing_turned(q, k, v, turns):
    """It looks like you turn nothing now: the output no longer depends on where the
    text stands, but not on the order of its words either. Queries and keys need it.
    """
    return _look(q, k, v)


def turned_twice(q, k, v, turns):
    """It looks like queries and keys are turned twice: every distance counts double,
    and the kit's models turn once.
    """
    q, k = (rotate(rotate(x, turns), turns) for x in (q, k))
    return _look(q, k, v)


def output_turned(q, k, v, turns):
    """It looks like you turn the output: the values were left alone, but their mixture
    is what they are. Nothing is turned after the scores.
    """
    return rotate(look_in_order(q, k, v, turns), turns)


def turned_back(q, k, v, turns):
    """It looks like you turn the values and turn the output back: a shift of the text
    no longer shows, but each value still comes turned by its distance. Leave the
    values alone.
    """
    return rotate(values_too(q, k, v, turns), _back(turns))


def _back(turns):
    return torch.stack([turns[0], -turns[1]])  # cos(-θ), sin(-θ)


def _look(q, k, v):
    return attention(q, k, v)[0]


TURNED_VALUES = Exercise(
    id="02.3",
    kind="debug",
    title="the output knows where it stands",
    minutes=8,
    difficulty=2,
    checker=Twin(trusted=complex_scores, cases=cases),
    hints=(
        "The weights are right, so look at what happens to the values on their way "
        "home. Which of the three has a dot product that takes the difference?",
        "Turn q and k with `turn(…, turns)`, give v to `attention` as it is, and "
        "return the first of the two things that `attention` returns.",
    ),
    solution=look_in_order,
    why="Two turned vectors meet in a dot product, and only the difference is left. A "
    "turned value meets nobody who would undo its turn.",
    wrong=mistakes(
        values_too,
        only_queries,
        only_keys,
        keys_the_other_way,
        nothing_turned,
        turned_twice,
        output_turned,
        turned_back,
    ),
)
