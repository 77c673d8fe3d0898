"""Name what heads do: a few patterns that are seen again and again in trained models.

A pattern says which keys a query would look at. The share of a head's weight that falls
on them, averaged over its queries, is its score. An even look scores something too,
more the shorter the text; so a head has its tag only from halfway between that and 1.
"""

from collections.abc import Collection, Iterator, Sequence

import numpy as np

from llmkit.explorer.record import Tag

# Of each tag, in words: where a head looks that has it.
MEANINGS = {
    "previous": "at the token before",
    "next": "at the token after",
    "first": "at the first token, where weight rests that finds nothing: a sink",
    "special": "at special tokens after the first, such as [SEP]: a sink",
    "same token": "at itself, or at the same token elsewhere",
    "induction": "at what came after the same token before",
    "uniform": "everywhere alike",
}
EVEN = 0.8  # overlap with an even look from which a head is called uniform
LEAST = 2  # queries that a pattern needs: one match may be luck
MOST = 0.75  # what an even look may score before the pattern says nothing


def find_tags(
    weights: np.ndarray,
    tokens: Sequence[str],
    causal: bool = False,
    special: Collection[int] = (),
) -> tuple[Tag, ...]:
    """Return every tag that a head deserves, layer by layer; a head may have several.

    weights: (L, H, T, T), rows that sum to 1; tokens: (T,), compared as they are
    written; special: positions of tokens that are no part of the text.

    A pattern is left out where it can't be told: with fewer than two queries that it
    speaks of, or where an even look would score above 0.75 (in a text of two tokens,
    everyone looks at a neighbour). Queries that see a single key never count.

    Source: Clark et al. 2019, arXiv:1906.04341, section 3 (previous, next, [SEP], broad
    heads); Xiao et al. 2023, arXiv:2309.17453 (the first token as a sink); Olsson et
    al. 2022, arXiv:2209.11895 (induction); Lesson 03.

    >>> before = np.eye(5)[[0, 0, 1, 2, 3]]  # row t is 1 at t - 1
    >>> find_tags(before[None, None], "the cat sat on it".split(), causal=True)
    (Tag(layer=0, head=0, name='previous', score=1.0),)
    """
    found = {}
    for name, share, bar in _scores(weights, tokens, causal, set(special)):
        for layer, head in np.argwhere(share >= bar):
            score = min(float(share[layer, head]), 1.0)
            found[int(layer), int(head), name] = score
    order = {name: i for i, name in enumerate(MEANINGS)}
    places = sorted(found, key=lambda x: (x[0], x[1], order[x[2]]))
    return tuple(Tag(*place, found[place]) for place in places)


def _scores(
    weights, tokens, causal, special
) -> Iterator[tuple[str, np.ndarray, float]]:
    """Yield each tag's name, the score (L, H) of every head, and the bar."""
    T = len(tokens)
    seen = np.tril(np.ones((T, T), bool)) if causal else np.ones((T, T), bool)
    even = seen / seen.sum(axis=1, keepdims=True)  # (T, T)
    choice = seen.sum(axis=1) > 1  # (T,)
    for name, keys in _patterns(tokens, special).items():
        asked = choice & (keys & seen).any(axis=1)  # (T,)
        if asked.sum() < LEAST:
            continue
        chance = (even * keys)[asked].sum(axis=1).mean()
        if chance <= MOST:
            share = (weights * keys)[:, :, asked].sum(axis=3).mean(axis=2)  # (L, H)
            yield name, share, (1 + chance) / 2
    if choice.sum() >= LEAST:
        overlap = np.minimum(weights, even)[:, :, choice].sum(axis=3).mean(axis=2)
        yield "uniform", overlap, EVEN


def _patterns(tokens, special) -> dict[str, np.ndarray]:
    """Return the keys of each pattern, (T, T): a row without any isn't asked."""
    T = len(tokens)
    t = np.arange(T)
    behind = t[:, None] - t  # (T, T), how far a key stands behind the query
    number = {token: i for i, token in enumerate(dict.fromkeys(tokens))}
    kind = np.array([number[token] for token in tokens])  # (T,)
    text = np.array([i not in special for i in t])  # (T,)
    same = (kind[:, None] == kind) & text[:, None] & text  # (T, T)
    after = np.pad(same, ((0, 0), (1, 0)))[:, :T]  # (T, T), one key further on
    return {
        "previous": behind == 1,
        "next": behind == -1,
        "first": (t == 0) & (t > 0)[:, None],
        "special": ~text & (t > 0) & text[:, None],
        "same token": same,
        "induction": after & (behind > 0),
    }
