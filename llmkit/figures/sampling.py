"""The distribution over the next token, before and after a rule of sampling."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from llmkit.figures.frame import BLUE, ORANGE, Picture, visible


def distribution(
    before: Sequence[float],
    after: Sequence[float],
    tokens: Sequence[str],
    title: str = "",
    shown: int = 8,
) -> Picture:
    """Draw what a rule of sampling does to the probabilities of all tokens.

    before, after: (V,) probabilities; tokens: (V,) names. On the left stand the
    `shown` likeliest, with names; on the right every token by its rank, the likeliest
    first, on logarithmic axes. A token that the rule removed has no orange dot.

    Raises: ValueError if the three differ in length.
    Source: Lesson 06.

    >>> distribution([0.7, 0.2, 0.1], [1.0, 0.0, 0.0], ["a", "b", "c"])
    <Picture: 1 of 3 tokens left; a 0.7 → 1, b 0.2 → 0, c 0.1 → 0.>
    """
    p, q = np.asarray(before, dtype=float), np.asarray(after, dtype=float)  # (V,) each
    if not p.shape == q.shape == (len(tokens),):
        raise ValueError(
            "before, after and tokens are one of each a token: got "
            f"{p.shape}, {q.shape} and {len(tokens)} tokens"
        )
    order = np.argsort(-p, kind="stable")  # (V,), best first
    best = order[:shown]
    names = [visible(tokens[i]) for i in best]
    figure = Figure(figsize=(8.0, 3.4), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=(1.25, 1))
    _draw_best(left, p[best], q[best], names)
    _draw_ranks(right, p[order], q[order])
    for axes in (left, right):
        axes.set_ylabel("probability")
        axes.spines[["top", "right"]].set_visible(False)
    lead = f"{title + ': ' if title else ''}{(q > 0).sum()} of {len(q)} tokens left"
    figure.suptitle(lead, fontsize=11)
    told = (f"{n} {p[i]:.3g} → {q[i]:.3g}" for n, i in zip(names, best))
    return Picture(figure, f"{lead}; {', '.join(told)}.")


def _draw_best(axes, p, q, names: Sequence[str]) -> None:
    """Draw the likeliest tokens as pairs of bars with names."""
    at = np.arange(len(names))
    axes.bar(at - 0.2, p, 0.4, color=BLUE, label="the model")
    axes.bar(at + 0.2, q, 0.4, color=ORANGE, hatch="//", ec="white", label="drawn from")
    axes.set_xticks(at, names, rotation=30, ha="right")
    axes.set_ylim(0, 1.35 * max(p.max(), q.max()))  # room for the legend
    axes.legend(frameon=False, fontsize=9)


def _draw_ranks(axes, p, q) -> None:
    """Draw every token by its rank, best first by the model, on logarithmic axes."""
    rank = np.arange(1, len(p) + 1)
    kept = q > 0
    axes.plot(rank, np.where(p > 0, p, np.nan), color=BLUE, lw=2)
    axes.plot(rank[kept], q[kept], ls="", marker="o", ms=3, color=ORANGE)
    axes.set(xscale="log", yscale="log", xlabel="rank of the token", ylim=(1e-9, 2))
