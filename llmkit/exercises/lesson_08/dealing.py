"""Exercise 08.2: debug a last batch that does not divide."""

import numpy as np

from llmkit.exercises import Exercise, Twin, mistakes

Deal = list[tuple[list, float]]


def deal(rows: list, W: int) -> Deal:
    """Return what each of W processes computes, and what its mean loss counts.

    Each row counts once. A process for which there is no row computes the first one
    with weight 0: it must take part, as the others wait for it. `fit` does so in the
    kit.

    >>> deal(["a", "b", "c"], 2)
    [(['a', 'c'], 0.6666666666666666), (['b'], 0.3333333333333333)]
    >>> deal(["a"], 2)
    [(['a'], 1.0), (['a'], 0.0)]
    """
    shares = [rows[r::W] for r in range(W)]
    return [(share or rows[:1], len(share) / len(rows)) for share in shares]


def by_numpy(rows: list, W: int) -> Deal:
    """Split with NumPy, then see to those that got nothing."""
    found = []
    for part in np.array_split(np.array(rows, dtype=float), W):
        empty = len(part) == 0
        share = rows[:1] if empty else part.tolist()
        found.append((share, 0.0 if empty else len(part) / len(rows)))
    return found


def cases(seed: int) -> tuple:
    """Draw the losses of a batch: full, uneven, or with fewer rows than processes."""
    W = 2 + seed % 3
    count = (2 * W, 2 * W + 1, W + 1, W - 1, 3 * W - 1)[seed % 5]
    draw = np.random.default_rng(seed)
    return [round(float(x), 3) for x in draw.uniform(1, 9, count)], W


def tried(answer, rows, W):
    """Try an answer: who computes something, what counts, and the mean of all."""
    told = answer(rows, W)
    if not isinstance(told, list | tuple):
        return told
    dealt = [(list(share), float(weight)) for share, weight in told]
    means = [sum(share) / len(share) if share else np.nan for share, _ in dealt]
    whole = sum(weight * mean for (_, weight), mean in zip(dealt, means, strict=True))
    counted = sorted(row for share, weight in dealt if weight for row in share)
    sizes = sorted(len(share) for share, _ in dealt)
    return len(dealt), min(sizes) > 0, whole, counted, max(sizes)


# The classic mistakes. What a mistake says to the learner is its docstring.


def loses_rows(rows, W):
    """It looks like rows that do not divide are lost: `len(rows) // W` rounds down.
    Each row of the batch counts once, the last ones too.
    """
    size = len(rows) // W  # as in the colleague's code that the lesson shows
    return [(rows[r * size : (r + 1) * size], 1 / W) for r in range(W)]


def equal_weights(rows, W):
    """It looks like every process counts 1/W: with 3 rows on 2 processes, the row that
    is alone then counts twice as much as the others. Weigh by rows.
    """
    return [(share, 1 / W) for share, _ in deal(rows, W)]


def repeats_rows(rows, W):
    """It looks like the last batch is filled up with rows that were there already, and
    that they count again: each row counts once. Many samplers do just this.
    """
    size = -(-len(rows) // W)
    full = (rows * W)[: size * W]
    return [(full[r * size : (r + 1) * size], 1 / W) for r in range(W)]


def empty_share(rows, W):
    """It looks like a process gets no row at all: its mean is 0/0, and what is no
    number spreads to all. Let it compute the first row, with weight 0.
    """
    dealt = deal(rows, W)
    return [(share if weight else [], weight) for share, weight in dealt]


def leaves_processes_out(rows, W):
    """It looks like fewer than W processes take part when rows are few: the others then
    wait for ever at the average. Give each of them something, with weight 0.
    """
    return [(share, weight) for share, weight in deal(rows, W) if weight]


def counts_rows(rows, W):
    """It looks like weights are numbers of rows: they must sum to 1, so divide by the
    rows of the whole batch.
    """
    return [(share, weight * len(rows)) for share, weight in deal(rows, W)]


def rest_to_the_last(rows, W):
    """It looks like all that is left over goes to the last process: the others wait
    while it works through it. Shares may differ by one row at most.
    """
    size = len(rows) // W
    shares = [rows[r * size : (r + 1) * size] for r in range(W - 1)]
    shares.append(rows[(W - 1) * size :])
    return [(share or rows[:1], len(share) / len(rows)) for share in shares]


def idle_row_counts(rows, W):
    """It looks like the row that a process without work computes does count: it is
    another's row, and would be there twice. Its weight is 0.
    """
    dealt = deal(rows, W)
    return [(share, weight or 1 / len(rows)) for share, weight in dealt]


LAST = Exercise(
    id="08.2",
    kind="debug",
    title="the last batch, which does not divide",
    minutes=12,
    difficulty=2,
    checker=Twin(trusted=by_numpy, cases=cases, probe=tried, runs=15),
    hints=(
        "Two faults: `len(rows) // W` loses the rest, and equal weights are right for "
        "equal shares alone. Then think of one row and two processes: what does the "
        "second one compute, and what does it count?",
        "`rows[r::W]` is every W-th row from r on: shares differ by one at most. The "
        "weight is `len(share) / len(rows)`; where the share is empty, use `rows[:1]` "
        "and weight 0.",
    ),
    solution=deal,
    why="Weights of n_r / n make the mean that of the batch, and nobody stays away.",
    wrong=mistakes(
        loses_rows,
        equal_weights,
        repeats_rows,
        empty_share,
        leaves_processes_out,
        counts_rows,
        rest_to_the_last,
        idle_row_counts,
    ),
)
