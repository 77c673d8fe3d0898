"""Four ways to tell attention where a token stands. Lesson 02.

Attention compares vectors and does not see their order. Order must be put in: added to
the embedding (`sinusoidal`, or `learned` rows of the same shape), turned into the
queries and keys (`rotary`, `rotate`), or added to the scores (`alibi`).
"""

import torch
from torch import Tensor


def _frequencies(width: int, base: float) -> Tensor:
    """Give one angular frequency, in radians a position, to each pair of dimensions."""
    if width < 2 or width % 2:
        raise ValueError(
            f"positions come in (sin, cos) pairs: got width {width}, expected an even "
            "number of at least 2; choose d_model (or d_model / n_heads) even"
        )
    pairs = torch.arange(width // 2, dtype=torch.float64)  # (width / 2,)
    return base ** (-2 * pairs / width)


def sinusoidal(length: int, d_model: int, base: float = 10_000.0) -> Tensor:
    """Return the fixed table of sines and cosines that is added to embeddings.

    Row t holds sin(t ω_i) at dimension 2i and cos(t ω_i) at 2i + 1, where
    ω_i = base^(-2i / D). Sine and cosine stay two numbers: together they are a point on
    a circle, and moving by k positions is a rotation, whatever t. Added into one number
    they are not, and positions collide.

    Returns: (T, D), float32, values in [-1, 1].
    Raises: ValueError if d_model is odd.
    Source: Vaswani et al. 2017, section 3.5; Lesson 02.

    >>> sinusoidal(3, 4)[0].tolist()
    [0.0, 1.0, 0.0, 1.0]
    """
    time = torch.arange(length, dtype=torch.float64)  # (T,)
    angles = time[:, None] * _frequencies(d_model, base)  # (T, D / 2)
    table = torch.stack([angles.sin(), angles.cos()], dim=-1)  # (T, D / 2, 2)
    return table.flatten(-2).float()  # (T, D)


def learned(table: Tensor, length: int, start: int = 0) -> Tensor:
    """Return the rows of a learned table that are added to the embeddings.

    Row t is whatever training made of it; a position that training never saw has a row
    of random numbers, and one past the end has none.

    table: (context, D). Returns: (T, D), the rows from `start` on; gradients flow back.
    Raises: ValueError past the end of the table.
    Source: Gehring et al. 2017, section 3.1; Lesson 02.

    >>> learned(torch.eye(3), length=2, start=1).tolist()
    [[0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]
    """
    end = start + length
    if end > table.size(0):
        raise ValueError(
            f"this table knows {table.size(0)} positions: got a text that ends at "
            f"position {end}; cut the text, or learn a longer table"
        )
    return table[start:end]  # (T, D)


def rotary(length: int, d_head: int, base: float = 10_000.0) -> Tensor:
    """Return the turns of each pair of dimensions at each position, as cos and sin.

    Returns: cosines and sines of the angles stacked, (2, T, K / 2), float32.
    Raises: ValueError if d_head is odd.
    Source: Su et al. 2021 (RoFormer), equation 15; Lesson 02.

    >>> rotary(8, 4).shape
    torch.Size([2, 8, 2])
    """
    time = torch.arange(length, dtype=torch.float64)  # (T,)
    angles = time[:, None] * _frequencies(d_head, base)  # (T, K / 2)
    return torch.stack([angles.cos(), angles.sin()]).float()  # (2, T, K / 2)


def rotate(x: Tensor, turns: Tensor) -> Tensor:
    """Turn queries or keys by their position, so that scores see distance only.

    Dimension i and dimension i + K/2 are one point in a plane: a rotation by the angle
    of its position. (The paper pairs neighbours, 2i and 2i + 1: the same but for the
    order in which a head numbers its dimensions.) x: (..., T, K); turns: (2, T, K / 2),
    the rows of `rotary` for these T positions. Values are never turned: only scores
    need order.

    Returns: (..., T, K).
    Source: Su et al. 2021 (RoFormer), equation 34; Lesson 02.

    >>> x = torch.ones(1, 4)
    >>> torch.equal(rotate(x, rotary(1, 4)), x)  # position 0 does not turn
    True
    """
    cos, sin = turns  # (T, K / 2) each
    a, b = x.chunk(2, dim=-1)  # (..., T, K / 2) each
    turned = torch.cat([a * cos - b * sin, a * sin + b * cos], dim=-1)  # (..., T, K)
    return turned.to(x.dtype)  # of half precision, whose turns are exact all the same


def alibi(n_heads: int, length: int) -> Tensor:
    """Return the bias that makes a far key cost more, by one slope a head.

    Head h subtracts 2^(-8 (h + 1) / H) for every step away, before the softmax. The
    paper's authors look back only; for an encoder the distance counts both ways.

    Returns: (H, T, T), to be added to the scores; 0 on the diagonal.
    Source: Press et al. 2022, section 3; Lesson 02.

    >>> alibi(8, 3)[0].tolist()
    [[-0.0, -0.5, -1.0], [-0.5, -0.0, -0.5], [-1.0, -0.5, -0.0]]
    """
    slopes = 2.0 ** (-8 * torch.arange(1, n_heads + 1) / n_heads)  # (H,)
    time = torch.arange(length)
    distance = (time[:, None] - time).abs()  # (T, T)
    return -slopes[:, None, None] * distance  # (H, T, T)
