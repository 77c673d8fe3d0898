"""Exercise 00.2: implement the loss."""

import torch
import torch.nn.functional as F
from torch import Tensor

from llmkit.exercises import Exercise, Twin, mistakes


def loss(p: Tensor) -> Tensor:
    """Return the mean surprise, in nats, at events of probabilities p (N,)."""
    return -p.log().mean()


def cross_entropy(p: Tensor) -> float:
    """Ask torch how surprised one is by N times "yes"."""
    return F.binary_cross_entropy(p, torch.ones_like(p)).item()


def probabilities(seed: int) -> tuple:
    """Draw 2 to 9 probabilities, none of them tiny."""
    random = torch.Generator().manual_seed(seed)
    N = int(torch.randint(2, 10, (), generator=random))
    return (0.02 + 0.96 * torch.rand(N, generator=random),)  # (N,)


# The classic mistakes. What a mistake says to the learner is its docstring.


def forget_the_minus(p):
    """It looks like the minus sign is missing: the logarithm of a probability is
    negative, and surprise is minus that.
    """
    return p.log().mean()


def add_up(p):
    """It looks like you add up the surprises: the loss is their mean, so that a long
    text and a short one can be compared. Use `.mean()`, not `.sum()`.
    """
    return -p.log().sum()


def use_bits(p):
    """It looks like you use the logarithm to base 2: that counts bits. Nats come from
    the natural logarithm, `p.log()`.
    """
    return -p.log2().mean()


def use_base_ten(p):
    """It looks like you use the logarithm to base 10: nats come from the natural
    logarithm, `p.log()`.
    """
    return -p.log10().mean()


def mean_first(p):
    """It looks like you take the mean first and the logarithm after it: then one sure
    guess hides one terrible guess. First be surprised by each, then take the mean.
    """
    return -p.mean().log()


def call_misses(p):
    """It looks like you take 1 - p: that grows in a straight line and stops at 1. Being
    sure of the wrong word must cost far more than that: `-p.log()`.
    """
    return (1 - p).mean()


def surprise_each(p):
    """It looks like you return the surprise at each word: right so far. The loss is one
    number, their mean.
    """
    return -p.log()


def take_perplexity(p):
    """It looks like you return e to the power of the loss: that is called perplexity,
    and lesson 06 uses it. The loss is what stands in the exponent.
    """
    return (-p.log().mean()).exp()


LOSS = Exercise(
    id="00.2",
    kind="implement",
    title="the loss",
    minutes=5,
    difficulty=1,
    checker=Twin(trusted=cross_entropy, cases=probabilities),
    hints=(
        "Two steps: the surprise at each word, then the mean of the surprises. `p` is "
        "a tensor, an array of numbers: `p.log()` takes the natural logarithm of each "
        "of them.",
        "`-p.log()` is the surprise at each word, and `.mean()` makes one number of "
        "them.",
    ),
    solution=loss,
    why="Every language model in this book is trained to make this one number small.",
    wrong=mistakes(
        forget_the_minus,
        add_up,
        use_bits,
        use_base_ten,
        mean_first,
        call_misses,
        surprise_each,
        take_perplexity,
    ),
)
