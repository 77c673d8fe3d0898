"""Guess several tokens at once, and keep what the model would have written. Lesson 06.

A call of the model on a few tokens costs little more than on one. So a text that
repeats itself is guessed ahead, and one call checks all the guesses.
"""

from torch import Tensor


def prompt_lookup(text: Tensor, k: int, n: int = 3) -> Tensor:
    """Guess that a text goes on as it did where its last n tokens stood before.

    The latest such place counts, and a guess that reaches the end of the text repeats
    itself. text: (B, T).

    Returns: (B, k), or (B, 0) if in one of the rows they have not stood before.
    Source: Saxena 2023 (prompt lookup decoding); Lesson 06.

    >>> import torch
    >>> prompt_lookup(torch.tensor([[9, 1, 2, 3, 4, 5, 1, 2, 3]]), k=4)
    tensor([[4, 5, 1, 2]])
    """
    if k < 1:
        return text[:, :0]  # (B, 0)
    guesses = []
    for row in text.tolist():
        back = _steps_back(row, n)
        if back == 0:
            return text[:, :0]  # (B, 0)
        guesses.append([row[i % back - back] for i in range(k)])
    return text.new_tensor(guesses).view(len(text), k)


def _steps_back(row: list[int], n: int) -> int:
    """Count the steps back to where the last n tokens stood before; 0 for nowhere."""
    for back in range(1, len(row) - n + 1):
        alike = row[-1 - back] == row[-1]  # asked first, it rules out most places
        if alike and row[-n - back : -back] == row[-n:]:
            return back
    return 0


def accept(guess: Tensor, best: Tensor) -> Tensor:
    """Return what a model writes: the guesses up to the first wrong one, and one more.

    guess: (B, k); best: (B, 1 + k), the model's own next token after the text and after
    each guess. Rows advance together, so a guess must be right in all of them.

    Returns: (B, n), n from 1 to 1 + k.
    Source: Leviathan et al. 2023, section 2.3, without chance; Lesson 06.

    >>> import torch
    >>> accept(torch.tensor([[4, 5, 1]]), best=torch.tensor([[4, 5, 7, 2]]))
    tensor([[4, 5, 7]])
    """
    right = (guess == best[:, :-1]).all(dim=0)  # (k,)
    n = 1 + int(right.cumprod(dim=0).sum())
    return best[:, :n]  # (B, n)
