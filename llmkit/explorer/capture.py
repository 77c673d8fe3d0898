"""Look into a model while it reads: weights, what made them, and what it predicts.

Looking changes nothing: dropout is off for the time, hooks are taken away again, and a
model of Hugging Face gets back the fused attention that it came with.
"""

from collections.abc import Collection, Iterator
from contextlib import ExitStack, contextmanager

import numpy as np
import torch
from torch import Tensor, nn

from llmkit.explorer.kinds import Part, Subject, at_rest
from llmkit.explorer.record import Inner

ENOUGH = 2**19  # bytes of q, k and v that a page takes along unless asked for more
NEAR = 0.02  # how far weights made of float16 q and k may lie from the model's own


@torch.no_grad()
def capture(
    subject: Subject, ids: Tensor, layers: Collection[int] | None = None
) -> tuple[np.ndarray, dict[int, Inner]]:
    """Return the weights of every head on ids (1, T), and what some layers multiply.

    layers: whose q, k and v to keep; None: as many from the first on as fit into half a
    megabyte.

    Returns: weights (L, H, T, T), and an `Inner` by layer; none of a layer in which
    there is more to the weights than softmax(q kᵀ × scale + bias).
    Raises: ValueError if ids do not fit the model, or there are no such layers.
    """
    check_ids(subject, ids)
    L = len(subject.parts)
    asked = range(L) if layers is None else sorted({*layers})
    if wrong := [n for n in asked if type(n) is not int or not 0 <= n < L]:
        raise ValueError(f"layers are from 0 to {L - 1}: got {wrong[0]!r}")
    caught: dict[int, Inner] = {}
    watch: list[Tensor] = []
    with at_rest(subject.model), _eager(subject.model), ExitStack() as hooks:
        for layer in asked:
            hooks.enter_context(_caught(subject.parts[layer], layer, caught))
        subject.run(ids, watch)
    if len(watch) != L or any(w is None for w in watch):
        raise ValueError(
            f"a {type(subject.model).__name__} did not tell the weights of its {L} "
            "layers: give them as an array, and tokens="
        )
    weights = _numbers(torch.cat(watch))  # (L, H, T, T)
    good = [n for n in asked if _makes(caught[n], weights[n], subject.causal)]
    if layers is None and good:
        good = good[: ENOUGH // sum(x.nbytes for x in _qkv(caught[good[0]]))]
    return weights, {n: caught[n] for n in good}


def weights_of(source) -> np.ndarray:
    """Return weights (L, H, T, T) given as an array, a tensor, or a list of layers.

    A list is what `watch=[]` receives, or the attentions of a Hugging Face model: each
    layer may have a batch of one row in front.

    Raises: ValueError if it is no such thing, or a batch of more rows.
    """
    many = isinstance(source, list | tuple)
    if many and (not source or any(layer is None for layer in source)):
        raise ValueError(
            "there are no weights in it: Hugging Face's fused attention keeps none; "
            'give the model itself, or load it with attn_implementation="eager"'
        )
    try:
        found = np.stack([*map(_array, source)]) if many else _array(source)
    except (ValueError, TypeError):
        raise ValueError(
            f"explore shows a model, or weights (layers, heads, T, T): got "
            f"{source!r:.60} ({type(source).__name__})"
        ) from None
    if found.ndim == 5 and found.shape[1] == 1:  # (L, 1, H, T, T)
        found = found[:, 0]
    if found.ndim == 5:
        raise ValueError(
            f"weights are those of one text: got a batch of {found.shape[1]}; give "
            "[w[0] for w in weights], the first of them"
        )
    return found


def logits_at(subject: Subject, ids: Tensor, places: Tensor) -> Tensor | None:
    """Return the logits at one place (B,) of each row of ids (B, T): (B, V).

    Of a classifier (B, C), whatever the places; None of a model without logits.
    """
    with at_rest(subject.model), _only_there(subject.head, places):
        found = subject.run(ids, None)
    if subject.head is not None:
        return found[:, 0].float()  # (B, V)
    return found.float() if found is not None and found.ndim == 2 else None


def check_ids(subject: Subject, ids: Tensor) -> None:
    """Refuse more ids than a model reads, or ids that it does not know.

    Raises: ValueError that says how many, or which.
    """
    T, limit = ids.size(1), subject.limit
    if limit is not None and limit < T:
        raise ValueError(
            f"this model reads {limit} tokens at most: got {T}; cut the text"
        )
    V = subject.tables[0].num_embeddings
    if wrong := [i for i in ids[0].tolist() if not 0 <= i < V]:
        raise ValueError(
            f"token ids are from 0 to {V - 1} here: got {wrong[0]}; encode the text "
            "with the tokenizer that this model was made for"
        )


@contextmanager
def _eager(model: nn.Module) -> Iterator[None]:
    """Ask a model of Hugging Face for the attention that can tell its weights."""
    before = getattr(getattr(model, "config", None), "_attn_implementation", "eager")
    if before == "eager":
        yield
        return
    model.set_attn_implementation("eager")
    try:
        yield
    finally:
        model.set_attn_implementation(before)


@contextmanager
def _only_there(head: nn.Module | None, places: Tensor) -> Iterator[None]:
    """Let a head see one place of each row: with a large vocabulary, most of the work.

    What the head gives is then (B, 1, V).
    """

    def choose(module, args: tuple) -> tuple:
        x = args[0]  # (B, T, D)
        return (x[torch.arange(len(x), device=x.device), places][:, None],)

    handle = head.register_forward_pre_hook(choose) if head is not None else None
    try:
        yield
    finally:
        if handle is not None:
            handle.remove()


@contextmanager
def _caught(part: Part, layer: int, caught: dict[int, Inner]) -> Iterator[None]:
    """Keep what one layer multiplies, under its number, while the model reads."""
    made: dict[int, Tensor] = {}

    def keep(number: int):
        return lambda module, args, found: made.update({number: found})

    def ask(module, args: tuple, told: dict) -> None:
        caught[layer] = _inner_of_ours(module, args[0], told)

    if part.maps:
        handles = [m.register_forward_hook(keep(i)) for i, m in enumerate(part.maps)]
    else:
        handles = [part.attention.register_forward_pre_hook(ask, with_kwargs=True)]
    try:
        yield
        if made:
            together = torch.cat(
                [made[i] for i in sorted(made)], dim=-1
            )  # (1, T, 3 H K)
            caught[layer] = _inner_of_theirs(part.attention, together[0])
    finally:
        for handle in handles:
            handle.remove()


def _inner_of_ours(attention: nn.Module, x: Tensor, told: dict) -> Inner:
    """Ask our attention what it makes of x (1, T, D)."""
    turns, slopes = told.get("turns"), told.get("slopes")
    q, k, v = (y[0] for y in attention.look_around(x, turns))  # (H, T, K)
    each = len(q) // len(k)  # heads that share a key
    k, v = (y.repeat_interleave(each, dim=0) for y in (k, v))  # (H, T, K)
    notes = {
        "q and k are brought to one length": attention.q_norm is not None,
        "q and k are turned by their position": turns is not None,
        f"{each} heads share each key and value": each > 1,
        "a bias makes far keys cost more": slopes is not None,
    }
    note = "; ".join(words for words, true in notes.items() if true)
    bias = None if slopes is None else _numbers(slopes)  # (H, T, T)
    return Inner(*map(_halved, (q, k, v)), q.size(-1) ** -0.5, bias, note)


def _inner_of_theirs(attention: nn.Module, together: Tensor) -> Inner:
    """Cut q, k and v, side by side (T, 3 H K), into heads."""
    sizes = ("num_attention_heads", "n_heads", "num_heads")
    H = next(getattr(attention, size) for size in sizes if hasattr(attention, size))
    parts = together.unflatten(-1, (3, H, -1)).permute(1, 2, 0, 3)  # (3, H, T, K)
    scale = getattr(attention, "scaling", parts.size(-1) ** -0.5)
    return Inner(*map(_halved, parts), float(scale))


def _array(x) -> np.ndarray:
    return _numbers(x) if isinstance(x, Tensor) else np.asarray(x, np.float32)


def _numbers(x: Tensor) -> np.ndarray:
    return x.detach().float().cpu().numpy()


def _halved(x: Tensor) -> np.ndarray:
    with np.errstate(over="ignore"):  # what is too large is told by `_makes`
        return _numbers(x).astype(np.float16)


def _qkv(inner: Inner) -> tuple[np.ndarray, ...]:
    return inner.q, inner.k, inner.v


def _makes(inner: Inner, weights: np.ndarray, causal: bool) -> bool:
    """Tell whether these q and k, as they are kept, make the layer's weights."""
    q, k, v = (x.astype(np.float32) for x in _qkv(inner))  # (H, T, K)
    if not all(np.isfinite(x).all() for x in (q, k, v)):
        return False
    scores = q @ k.swapaxes(1, 2) * inner.scale  # (H, T, T)
    if inner.bias is not None:
        scores = scores + inner.bias  # (H, T, T)
    if causal:
        scores[:, ~np.tril(np.ones(scores.shape[1:], bool))] = -np.inf
    p = np.exp(scores - scores.max(axis=-1, keepdims=True))  # (H, T, T)
    p /= p.sum(axis=-1, keepdims=True)  # (H, T, T)
    return bool(np.abs(p - weights).max() < NEAR)
