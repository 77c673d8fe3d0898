"""Exercise 03.3: debug a deep decoder in which one block is wired differently."""

import random

import torch
import torch.nn.functional as F
from torch import Tensor

from llmkit.exercises import Exactly, Exercise, Wrong
from llmkit.exercises.compare import is_number
from llmkit.transformer import Decoder, ModelConfig

BLOCKS = 12


def mystery(seed: int = 0) -> Decoder:
    """Build a pre-norm decoder in which one block is post-norm, none near the ends.

    Its weights are larger than at the start of training: each block has something to
    say, so that the stream grows with depth, as it does in a trained model.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = Decoder(ModelConfig(50, 32, BLOCKS, d_model=32, tied=False))
        with torch.no_grad():
            for name, weight in model.named_parameters():
                if weight.ndim == 2:
                    weight.normal_(std=_std(name, weight.size(1)))
    model.blocks[_drawn(seed)].pre_norm = False
    return model


def the_fault(model: Decoder) -> int:
    """Return the number of the block that is post-norm, as in `model.blocks[number]`.

    >>> the_fault(mystery(0)) == FAULT
    True
    """
    return [block.pre_norm for block in model.blocks].index(False)


def stream_norms(model: Decoder, ids: Tensor) -> tuple[Tensor, Tensor]:
    """Measure how large the stream is after each block, and its gradient there.

    model: anything with `blocks` that makes logits (B, T, V) of ids (B, T).
    Returns: the norm of a token's D numbers, on average, (L,); and the norm of the
    gradient that the next-token loss sends back to all of them, (L,).

    >>> stream, gradient = stream_norms(mystery(0), torch.zeros(1, 9).long())
    >>> len(stream), len(gradient)
    (12, 12)
    """
    seen: list[Tensor] = []
    hooks = [
        block.register_forward_hook(lambda block, given, x: seen.append(x))
        for block in model.blocks
    ]
    try:
        logits = model(ids)  # (B, T, V)
    finally:
        for hook in hooks:
            hook.remove()
    loss = F.cross_entropy(logits[:, :-1].flatten(0, 1), ids[:, 1:].flatten())
    gradients = torch.autograd.grad(loss, seen)
    stream = torch.stack([x.detach().norm(dim=-1).mean() for x in seen])  # (L,)
    return stream, torch.stack([gradient.norm() for gradient in gradients])  # (L,)


def _std(name: str, width: int) -> float:
    if name in ("embedding.weight", "positions.weight"):
        return 1.0
    if name.endswith("qkv.weight"):
        return 0.5 * width**-0.5  # soft attention, even where no norm tames its input
    adds = name.endswith(("out.weight", "down.weight"))
    return (2.0 if adds else 1.0) * width**-0.5


def _drawn(seed: int) -> int:
    return random.Random(seed).randint(3, BLOCKS - 3)


FAULT = _drawn(0)  # the lesson passes on that of the model which it builds

WIRING = Exercise(
    id="03.3",
    kind="debug",
    title="the block that is wired differently",
    minutes=12,
    difficulty=2,
    checker=Exactly(FAULT),
    hints=(
        "A pre-norm block can only add to the stream; a post-norm block hands on what "
        "a norm made of it. What does a norm do to the size of a stream that has been "
        "growing?",
        "Draw both norms by depth. The stream falls at one block, to √D = √32 ≈ 5.7, "
        "and the gradient jumps there. `int(stream.diff().argmin()) + 1` finds the "
        "fall: `diff` has one entry less, so that its first is about block 1.",
    ),
    solution=FAULT,
    why="Where the norm comes after the sum, all that the blocks before have added is "
    "divided by its own size. On the way back the gradient is divided by it too, so "
    "that the blocks before the fault hear less than they would without it.",
    wrong=(
        Wrong(
            lambda truth: truth + 1,
            "It looks like you are one too far: either you counted from 1, where "
            "`model.blocks` counts from 0, or you measured what goes into a block. "
            "What counts is what comes out.",
        ),
        Wrong(
            lambda truth: truth - 1,
            "It looks like you took the block where the stream is largest: that is the "
            "last one that only added, and it did what it should. (Or did you forget "
            "that entry i of `diff` is the step to block i + 1?)",
        ),
        Wrong(
            BLOCKS - 1,
            "That is the last block. If the stream is largest there, that is as it "
            "should be, since every block adds; and the last norm comes after the "
            "blocks. Look for the one step *down*.",
        ),
        Wrong(
            0,
            "That is the first block: the stream is small there as only one block has "
            "added to it, and the gradient is large as all of it arrives. Look for a "
            "jump from one block to the next.",
        ),
        Wrong(
            BLOCKS,
            "There are 12 blocks, and Python counts them from 0: the last is number "
            "11.",
            like=lambda n: is_number(n) and n >= BLOCKS,
        ),
        Wrong(
            lambda truth: truth - BLOCKS,
            "It looks like you count from the end: that works as an index, but say it "
            "from the front, where the first block is number 0.",
            like=lambda n: is_number(n) and n < 0,
        ),
        Wrong(
            32**0.5,
            "It looks like you give the norm itself: the question is at which block "
            "you measured it, a whole number.",
            like=lambda n: is_number(n) and n != n // 1,
        ),
    ),
)
