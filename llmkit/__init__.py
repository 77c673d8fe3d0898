"""A small language-model kit that the lessons build and then import.

One alphabet names every shape in the package and in the notebooks:

    B  batch            sequences side by side
    T  query time       positions that look
    S  key time         positions that are looked at (S = T in self-attention)
    H  heads            independent looks at the same time
    D  model width      numbers that describe one token
    K  head width       numbers one head compares, K = D / H
    V  vocabulary       tokens to choose from

Importing this package imports nothing else: take what you need from its rooms,
``from llmkit.attention import attention``, for example.
"""

__version__ = "0.1.0"
