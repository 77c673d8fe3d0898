"""Four answers to "which tokens mattered?", and how much they agree.

Where a model looks is not why it says what it says: two of the answers come from
attention alone, one from the slope of the output, one from trying. What is explained is
one logit, less the mean of all the others, so that what lifts all alike counts nothing.

Source: Jain & Wallace 2019, arXiv:1902.10186 (attention is not explanation); Wiegreffe
& Pinter 2019, arXiv:1908.04626 (not so fast); Lesson 07.
"""

from collections.abc import Collection, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from itertools import combinations

import numpy as np
import torch
from torch import Tensor, nn

from llmkit.explorer.capture import logits_at
from llmkit.explorer.kinds import Subject

ATTENTION, ROLLOUT = "attention", "rollout"
SLOPE, WITHOUT = "gradient × input", "leave one out"
UNSIGNED = (ATTENTION, ROLLOUT)  # they know how much, not whether for or against
AT_ONCE = 4096  # tokens that are read side by side


def explain(
    subject: Subject, ids: Tensor, place: int, target: int, weights: np.ndarray
) -> dict[str, np.ndarray]:
    """Return what each method says of each token, (T,), by the method's name.

    ids: (1, T); place: where the model is asked; target: the number of the class or
    token whose logit is explained; weights: (L, H, T, T), as captured.

    Raises: ValueError with a single token, as there is nothing to compare.
    """
    if ids.size(1) < 2:
        raise ValueError(
            "explanations compare tokens: got a text of one; give at least two"
        )
    return {
        ATTENTION: attention_to(weights, place),
        ROLLOUT: rollout(weights)[place],
        SLOPE: gradient_times_input(subject, ids, place, target),
        WITHOUT: leave_one_out(subject, ids, place, target),
    }


def attention_to(weights: np.ndarray, place: int) -> np.ndarray:
    """Return the last layer's weights at the place that is asked, (T,): heads' mean."""
    return weights[-1, :, place].mean(axis=0)  # (T,)


def rollout(weights: np.ndarray) -> np.ndarray:
    """Follow attention through all layers: whose input reaches each position, (T, T).

    Half of what leaves a layer is what came in (the sum around attention), half is what
    the heads, on average, looked at: Ã = (A + I) / 2, and the rollout is the product of
    all Ã, the last layer first. MLPs and values count for nothing.

    Source: Abnar & Zuidema 2020, arXiv:2005.00928, equation 1.

    >>> stay = np.eye(3)[None, None]  # one layer of one head that looks at itself
    >>> bool((rollout(stay) == np.eye(3)).all())
    True
    """
    T = weights.shape[-1]
    reached = np.eye(T, dtype=np.float32)  # (T, T)
    for A in weights.mean(axis=1):
        reached = (A + np.eye(T)) / 2 @ reached  # (T, T)
    return reached.astype(np.float32)


def gradient_times_input(
    subject: Subject, ids: Tensor, place: int, target: int
) -> np.ndarray:
    """Score each token by the slope along its embedding: x_t · ∂m/∂x_t, (T,).

    A model that is told of earlier tokens too embeds each several times: all count.

    Source: Simonyan et al. 2013, arXiv:1312.6034, section 3; Shrikumar et al. 2016,
    arXiv:1605.01713.
    """
    with torch.enable_grad(), _embedded(subject.tables) as caught:
        logits = logits_at(subject, ids, torch.tensor([place], device=ids.device))
        xs = [caught[k] for k in sorted(caught)]
        slopes = torch.autograd.grad(margin(logits, target).sum(), xs)
    T = ids.size(1)
    scores = torch.zeros(T)  # (T,)
    for k, x, slope in zip(sorted(caught), xs, slopes):
        told = (x * slope).sum(dim=-1)[0].float().cpu()  # (T,), of the token k before
        scores[: T - k] += told[k:]
    return scores.detach().numpy()


@torch.no_grad()
def leave_one_out(subject: Subject, ids: Tensor, place: int, target: int) -> np.ndarray:
    """Score each token by how much the margin falls when it is taken out, (T,).

    The token at the place that is asked can't be missing, and scores 0: [MASK], or the
    [CLS] of a classifier. A decoder is asked at its last token, whichever that is.

    Source: Li, Monroe & Jurafsky 2016, arXiv:1612.08220, section 3 (erasure).
    """
    T = ids.size(1)
    out = [t for t in range(T) if subject.causal or t != place]
    rows = torch.stack([torch.cat([ids[0, :t], ids[0, t + 1 :]]) for t in out])
    places = torch.tensor(
        [place - (t <= place) for t in out]
    )  # (N,), all in (N, T - 1)
    places = places.to(ids.device)  # (N,)
    whole = logits_at(subject, ids, torch.tensor([place], device=ids.device))
    falls = torch.zeros(T)  # (T,)
    step = max(1, AT_ONCE // T)
    for i in range(0, len(out), step):
        left = logits_at(subject, rows[i : i + step], places[i : i + step])  # (B, V)
        falls[out[i : i + step]] = (margin(whole, target) - margin(left, target)).cpu()
    return falls.numpy()


def margin(logits: Tensor, target: int) -> Tensor:
    """Return a logit minus the mean of all others: (B, V) to (B,).

    >>> margin(torch.tensor([[3.0, 1.0, 2.0]]), 0)
    tensor([1.5000])
    """
    t = logits[:, target]  # (B,)
    return t - (logits.sum(dim=1) - t) / (logits.size(1) - 1)  # (B,)


def agreements(
    scores: Mapping[str, np.ndarray], apart: Collection[int] = ()
) -> dict[tuple[str, str], float]:
    """Return how alike each two methods rank the tokens: Spearman's ρ, -1 to 1.

    apart: positions that are no part of the text, and are left out. Where one of the
    two knows no sign, sizes are compared. A pair is left out where one ranks nothing,
    as all tokens have the same.

    Source: Spearman 1904, The Proof and Measurement of Association between Two Things.

    >>> scores = {"rollout": np.array([0.1, 0.2, 0.7])}
    >>> scores["leave one out"] = np.array([-0.5, 1.0, -3.0])
    >>> agreements(scores)
    {('rollout', 'leave one out'): 1.0}
    """
    found = {}
    for one, other in combinations(scores, 2):
        pair = [np.delete(scores[name], sorted(apart)) for name in (one, other)]
        if {one, other} & {*UNSIGNED}:
            pair = [np.abs(x) for x in pair]
        rho = _spearman(*pair)
        if rho is not None:
            found[one, other] = rho
    return found


def _spearman(x: np.ndarray, y: np.ndarray) -> float | None:
    r, s = (_ranks(z) - (len(z) - 1) / 2 for z in (x, y))  # (T,) each, mean 0
    size = np.sqrt((r @ r) * (s @ s))
    return round(float(r @ s / size), 6) if size else None


def _ranks(x: np.ndarray) -> np.ndarray:
    """Return the rank of each score, from 0; equal ones share the mean of theirs."""
    below, equal = x[:, None] > x, x[:, None] == x  # (T, T) each
    return below.sum(axis=1) + (equal.sum(axis=1) - 1) / 2  # (T,)


@contextmanager
def _embedded(tables: tuple[nn.Module, ...]) -> Iterator[dict[int, Tensor]]:
    """Catch what each table of embeddings gives, as something to take slopes by."""
    caught: dict[int, Tensor] = {}

    def keep(k: int):
        def hook(module, args, found: Tensor) -> Tensor:
            caught[k] = found.detach().requires_grad_()
            return caught[k]

        return hook

    with ExitStack() as stack:
        for k, table in enumerate(tables):
            handle = table.register_forward_hook(keep(k))
            stack.callback(handle.remove)
        yield caught
