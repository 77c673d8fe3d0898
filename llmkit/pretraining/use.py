"""Use what was pretrained: begin a text, spell out tokens, fill in blanks."""

from collections.abc import Iterable, Iterator
from pathlib import Path

import torch

from llmkit import generation
from llmkit.pretraining.data import END, MASK
from llmkit.tokenizer import Tokenizer, load_tokenizer
from llmkit.transformer import MaskedLM, load_model


def prompt_ids(tokenizer: Tokenizer, prompt: str) -> list[int]:
    """Return the ids that a text begins with: never none.

    With an end token, every text begins behind one; without, an empty prompt is the
    line break after the text before.

    >>> from llmkit.tokenizer import CharTokenizer
    >>> prompt_ids(CharTokenizer.train("a cat\\n"), "")
    [0]
    """
    end = tokenizer.special_tokens.get(END)
    if end is not None:
        return [end, *tokenizer.encode(prompt)]
    try:
        return tokenizer.encode(prompt or "\n")
    except ValueError as error:
        if prompt:
            raise
        raise ValueError(
            "the text that this model learned from has no line break to begin behind: "
            "give a prompt of at least one character"
        ) from error


def spell(tokenizer: Tokenizer, tokens: Iterable[int]) -> Iterator[str]:
    """Yield the text of tokens as they come, each letter as soon as it is whole.

    A token of byte-level BPE may be a part of a letter: such tokens wait for the rest.
    An end token is a blank line.

    >>> from llmkit.tokenizer import CharTokenizer
    >>> list(spell(CharTokenizer.train("abc"), [2, 0]))
    ['c', 'a']
    """
    end = tokenizer.special_tokens.get(END)
    waiting: list[int] = []
    for token in tokens:
        waiting.append(token)
        if token == end:
            yield tokenizer.decode(waiting[:-1]) + "\n\n"
        else:
            text = tokenizer.decode(waiting)
            if text.endswith("\ufffd") and len(waiting) < 4:
                continue  # no letter has more than four bytes
            yield text
        waiting = []
    if waiting:
        yield tokenizer.decode(waiting)


def fill_blanks(
    folder: str | Path, text: str, top: int = 5
) -> list[list[tuple[str, float]]]:
    """Return the best tokens for each [MASK] of a text, with their probabilities.

    folder: that of a finished run with the objective masked.

    Raises: ValueError if the model is of another kind, or there is no blank.
    Source: Lesson 05.
    """
    model, tokenizer = load_model(folder), load_tokenizer(folder)
    mask = tokenizer.special_tokens.get(MASK)
    if mask is None or not isinstance(model, MaskedLM):
        raise ValueError(
            f"{str(folder)!r} holds a {type(model).__name__}, which fills in no "
            "blanks: train one with llmkit pretrain --objective masked --tokenizer bpe"
        )
    if MASK not in text:
        raise ValueError(
            f"there is no {MASK} in {text[:40]!r}: put it in place of a word, as in "
            f"'Return the {MASK} of the list.'"
        )
    end = tokenizer.special_tokens.get(END)  # it opens documents, if there are any
    ids: list[int] = [] if end is None else [end]
    wary = tokenizer.trusting_no_text()
    for i, part in enumerate(text.split(MASK)):
        # " [MASK]" hides a word with its space: a token brings its own.
        blank = i < text.count(MASK)
        ids += wary.encode(part.removesuffix(" ") if blank else part)
        ids += [mask] if blank else []
    row = torch.tensor([ids])  # (1, T)
    tokens, p = generation.fill_mask(model, row, mask, top)  # (N, top) each
    return [
        [(tokenizer.decode([token]), float(q)) for token, q in zip(*pair)]
        for pair in zip(tokens.tolist(), p.tolist())
    ]
