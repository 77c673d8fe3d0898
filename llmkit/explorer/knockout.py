"""What a model would say without one of its heads.

A head that can be missed is not always a head that does nothing: others may do the
same. What changes without it is what it alone did.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import numpy as np
import torch
from torch import Tensor

from llmkit.explorer.capture import logits_at
from llmkit.explorer.explanations import AT_ONCE
from llmkit.explorer.kinds import Subject


@torch.no_grad()
def without_each_head(
    subject: Subject, ids: Tensor, place: int, heads: int, names: Tensor
) -> np.ndarray:
    """Return the probabilities (L, H, n) of n names when each head finds nothing.

    What a head found is set to zero before the heads are mixed. The rows of one batch
    are the same text, each without another head.

    ids: (1, T); place: where the model is asked; heads: H; names: (n,), numbers of
    classes or tokens.
    Source: Michel, Levy & Neubig 2019, arXiv:1905.10650, section 3 (a mask for each
    head); Voita et al. 2019, arXiv:1905.09418.
    """
    L, H = len(subject.parts), heads
    found = torch.empty(L * H, len(names))  # (L H, n)
    step = max(1, AT_ONCE // ids.size(1))
    for start in range(0, L * H, step):
        gone = torch.arange(start, min(start + step, L * H), device=ids.device)  # (B,)
        places = torch.full_like(gone, place)  # (B,)
        with silenced(subject, gone, H):
            logits = logits_at(subject, ids.expand(len(gone), -1), places)  # (B, V)
        found[gone.cpu()] = logits.softmax(dim=-1)[:, names].cpu()  # (B, n)
    return found.view(L, H, len(names)).numpy()


@contextmanager
def silenced(subject: Subject, gone: Tensor, heads: int) -> Iterator[None]:
    """Let one head of each row find nothing, meanwhile.

    gone: (B,), of each row the head's number, counted through all layers.
    """

    def hush(layer: int):
        rows = (gone // heads == layer).nonzero()[:, 0]  # those that lose one here
        which = gone[rows] % heads

        def hook(module, args: tuple) -> tuple:
            x = args[0].unflatten(-1, (heads, -1)).clone()  # (B, T, H, K)
            x[rows, :, which] = 0
            return (x.flatten(-2), *args[1:])  # (B, T, H K)

        return hook

    with ExitStack() as stack:
        for layer, part in enumerate(subject.parts):
            handle = part.out.register_forward_pre_hook(hush(layer))
            stack.callback(handle.remove)
        yield
