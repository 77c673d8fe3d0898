"""Exercise 03.2: implement a GPT of one block."""

from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from llmkit.exercises import Exercise, Twin, mistakes


class Parts(NamedTuple):
    """Hold the parts of a GPT of one block, in the order in which they are needed.

    table: (V, D), a row for each token; places: (context, D), a row for each position.
    norm1, norm2, norm: layers, (..., D) to (..., D); up: D to 4D; down: 4D to D.
    """

    table: Tensor
    places: Tensor
    norm1: nn.Module
    norm2: nn.Module
    up: nn.Module
    down: nn.Module
    norm: nn.Module


def tiny_gpt(ids: Tensor, p: Parts, look: Callable[[Tensor], Tensor]) -> Tensor:
    """Return the logits of the token after each of ids: (B, T) to (B, T, V).

    look: causal attention, (B, T, D) to (B, T, D). p: all the other parts.
    """
    T = ids.size(1)
    x = p.table[ids] + p.places[:T]  # (B, T, D)
    x = x + look(p.norm1(x))  # (B, T, D), look around
    x = x + p.down(F.gelu(p.up(p.norm2(x))))  # (B, T, D), think
    return p.norm(x) @ p.table.T  # (B, T, V), the table used backwards


class Look(nn.Module):
    """Look back with torch's own attention: (B, T, D) to (B, T, D)."""

    def __init__(self, d_model: int, n_heads: int):
        super().__init__()
        self.inner = nn.MultiheadAttention(d_model, n_heads, batch_first=True)

    def __repr__(self) -> str:
        return "causal attention"

    def forward(self, x: Tensor) -> Tensor:
        """Mix each position with those before it."""
        return self.inner(x, x, x, attn_mask=_future(x), need_weights=False)[0]


def torchs_own(ids: Tensor, p: Parts, look: Look) -> Tensor:
    """Give the same weights to torch's own layer, embedding and norm."""
    D, T = p.table.size(1), ids.size(1)
    layer = nn.TransformerEncoderLayer(
        D,
        look.inner.num_heads,
        p.up.out_features,
        dropout=0.0,
        activation="gelu",
        batch_first=True,
        norm_first=True,
    )
    theirs = layer.self_attn, layer.norm1, layer.norm2, layer.linear1, layer.linear2
    given = look.inner, p.norm1, p.norm2, p.up, p.down
    for part, ours in zip(theirs, given):
        part.load_state_dict(ours.state_dict())
    places = F.embedding(torch.arange(T), p.places)  # (T, D)
    x = F.embedding(ids, p.table) + places  # (B, T, D)
    x = layer(x, src_mask=_future(x), is_causal=True)  # (B, T, D)
    x = F.layer_norm(x, (D,), p.norm.weight, p.norm.bias)  # (B, T, D)
    return F.linear(x, p.table)  # (B, T, V)


def cases(seed: int) -> tuple:
    """Draw ids, the parts, and a look; T is less than the context, V is neither."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        B, T = 2 + seed % 2, 3 + seed % 4
        H, K, V = 2 + seed % 2, 2 + seed % 3, 14 + seed % 5
        D, context = H * K, T + 2
        p = Parts(
            table=torch.randn(V, D),  # (V, D)
            places=torch.randn(context, D),  # (context, D)
            norm1=nn.LayerNorm(D),
            norm2=nn.LayerNorm(D),
            up=nn.Linear(D, 4 * D),
            down=nn.Linear(4 * D, D),
            norm=nn.LayerNorm(D),
        )
        look = Look(D, H)
        for part in (*p[2:], look):
            _shake(part)
        return torch.randint(V, (B, T)), p, look


@torch.no_grad()
def _shake(part: nn.Module) -> None:
    """Draw all weights anew: no norm or bias that does nothing may hide a mistake."""
    for weight in part.parameters():
        if weight.ndim == 2:
            weight.normal_(std=1.5 * weight.size(1) ** -0.5)
        else:
            weight.add_(0.5 * torch.randn_like(weight))


def _future(x: Tensor) -> Tensor:
    return nn.Transformer.generate_square_subsequent_mask(x.size(1))  # (T, T)


# The classic mistakes. What a mistake says to the learner is its docstring.


def no_residual_at_look(ids, p, look):
    """It looks like what attention finds replaces x: it is added to x, so that a token
    never forgets what it was (`x = x + look(…)`).
    """
    x = look(p.norm1(_embed(ids, p)))
    return _guess(x + _think(p.norm2(x), p), p)


def norm_after_the_sum(ids, p, look):
    """It looks like your norms come after the sum, as in 2017 (post-norm): here a part
    reads a normed copy of x, and its answer is added to x as it was (pre-norm).
    """
    x = _embed(ids, p)
    x = p.norm1(x + look(x))
    return _guess(p.norm2(x + _think(x, p)), p)


def places_after_the_norm(ids, p, look):
    """It looks like you add the positions after the first norm: attention sees them,
    but they never get into the sum. They belong to x, beside the embedding.
    """
    x = p.table[ids]
    x = x + look(p.norm1(x) + p.places[: ids.size(1)])
    return _guess(x + _think(p.norm2(x), p), p)


def residual_of_the_normed(ids, p, look):
    """It looks like you overwrite x with its norm (`x = norm1(x)`), and add to that:
    each part reads the normed x, but its answer is added to x as it was. Give the
    normed x no name.
    """
    x = p.norm1(_embed(ids, p))
    x = p.norm2(x + look(x))
    return _guess(x + _think(x, p), p)


def no_last_norm(ids, p, look):
    """It looks like the last norm is missing: the sum has grown with every part, and
    the head wants it at one size (`norm(x)`).
    """
    x = _embed(ids, p)
    x = x + look(p.norm1(x))
    return (x + _think(p.norm2(x), p)) @ p.table.T


def mlp_reads_x(ids, p, look):
    """It looks like your MLP reads x itself: it reads `p.norm2(x)`, whatever size x has
    grown to.
    """
    x = _embed(ids, p)
    x = x + look(p.norm1(x))
    return _guess(x + _think(x, p), p)


def norm_over_time(ids, p, look):
    """It looks like your norm runs over time: mean and spread are those of the D
    numbers of one token (`dim=-1`). Over time, a token's size would depend on words
    that come after it.
    """
    x = _embed(ids, p)
    x = x + look(_over_time(x, p.norm1))
    x = x + _think(_over_time(x, p.norm2), p)
    return _over_time(x, p.norm) @ p.table.T


def head_of_places(ids, p, look):
    """It looks like your head is the table of positions: that says where the next token
    stands, not which one it is. Compare x with each row of `p.table`.
    """
    x = _embed(ids, p)
    x = x + look(p.norm1(x))
    return p.norm(x + _think(p.norm2(x), p)) @ p.places.T


def _embed(ids, p):
    return p.table[ids] + p.places[: ids.size(1)]  # (B, T, D)


def _over_time(x, layer):
    centred = x - x.mean(dim=1, keepdim=True)  # (B, T, D)
    spread = (centred.square().mean(dim=1, keepdim=True) + layer.eps).sqrt()
    return layer.weight * centred / spread + layer.bias  # (B, T, D)


def _think(x, p):
    return p.down(F.gelu(p.up(x)))  # (B, T, D)


def _guess(x, p):
    return p.norm(x) @ p.table.T  # (B, T, V)


TINY_GPT = Exercise(
    id="03.2",
    kind="implement",
    title="a GPT of one block",
    minutes=25,
    difficulty=3,
    checker=Twin(trusted=torchs_own, cases=cases, runs=12, atol=1e-4),
    hints=(
        "Four lines, and x has shape (B, T, D) after each of the first three: embed "
        "and add positions; add what attention finds; add what the MLP makes of it; "
        "norm, and compare with the table. A norm is only ever read by a part.",
        "`x = p.table[ids] + p.places[:T]`, then `x = x + look(p.norm1(x))`. The MLP "
        "is `p.down(F.gelu(p.up(…)))`, it reads `p.norm2(x)`, and it is added in the "
        "same way. Return `p.norm(x) @ p.table.T`.",
    ),
    solution=tiny_gpt,
    why="A larger GPT has the two lines in the middle 12 or 96 times.",
    wrong=mistakes(
        no_residual_at_look,
        norm_after_the_sum,
        places_after_the_norm,
        residual_of_the_normed,
        no_last_norm,
        mlp_reads_x,
        norm_over_time,
        head_of_places,
    ),
)
