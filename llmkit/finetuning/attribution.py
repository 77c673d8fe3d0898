"""Which words moved a prediction, in two ways that need not agree. Lesson 07.

What is moved is the margin of a class: its logit minus the mean of all other logits. Of
two classes that is the log-odds, log p/(1 - p). A positive score says that the word
speaks for the class, a negative one that it speaks against it. Scores tell what the
*model* does, not what a reader should feel.
"""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

Scores = list[tuple[str, float]]  # words as they stand in the text
# Where a tokenizer cuts inside what a reader takes for one word: don't, well-made, 9.5
_INSIDE = re.compile(r"(?<=\w)['’-](?=\w)|(?<=\d)[.,:/](?=\d)")
_ROWS = 64  # texts that are read at once


def gradient_times_input(
    classifier, text: str, target: int | str | None = None
) -> Scores:
    """Score each word by the margin's slope along its embedding.

    x_i · ∂m/∂x_i, summed over the tokens of a word, where x_i is what the table of
    embeddings gives for token i. It costs one pass forward and back, and it is exact
    for a model that is linear in its embeddings.

    classifier: see `llmkit.finetuning.load_classifier`; text: what exceeds the model's
    limit is not read and has no score; target: the class, by number or name, or None
    for the one that is predicted.

    Returns: (word, score) in the order of the text, without special tokens.
    Raises: ValueError if the text is no string or there is no such class.
    Source: Simonyan et al. 2013, arXiv:1312.6034, section 3 (the gradient); Shrikumar
    et al. 2016, arXiv:1605.01713 (times the input). Lesson 07.

    >>> from llmkit.finetuning import load_classifier
    >>> classifier = load_classifier("minilm", names=("negative", "positive"))
    >>> [word for word, _ in gradient_times_input(classifier, "Gripping, isn't it?")]
    ['Gripping', ',', "isn't", 'it', '?']
    """
    read, asked = _read(classifier, text), _asked(classifier, target)
    if not read.words:
        return []
    with _at_rest(classifier), torch.enable_grad(), _embedded(classifier) as x:
        logits = classifier(input_ids=read.ids[None], attention_mask=_all(read.ids))
        m = _margin(logits, _or_predicted(asked, logits))  # (1,)
        (slope,) = torch.autograd.grad(m.sum(), x)  # (1, T, D)
    scores = (slope * x[0]).sum(dim=-1)[0].float()  # (T,)
    return [(word.text, scores[word.places].sum().item()) for word in read.words]


@torch.no_grad()
def leave_one_out(classifier, text: str, target: int | str | None = None) -> Scores:
    """Score each word by how much the margin falls when its tokens are taken out.

    m(text) - m(text without the word). It costs one reading a word, and asks the model
    for texts that nobody would write.

    classifier, text, target, what it returns and raises: as `gradient_times_input`.
    Source: Li, Monroe & Jurafsky 2016, arXiv:1612.08220, section 3 (erasure; there
    relative to the score of the whole). Lesson 07.
    """
    read, asked = _read(classifier, text), _asked(classifier, target)
    if not read.words:
        return []
    kept = torch.ones(len(read.words), len(read.ids), dtype=torch.bool)  # (W, T)
    for row, word in zip(kept, read.words):
        row[word.places] = False
    rows = [read.ids[row.to(read.ids.device)] for row in kept]
    with _at_rest(classifier):
        whole = classifier(input_ids=read.ids[None], attention_mask=_all(read.ids))
        number = _or_predicted(asked, whole)
        without = [
            _margin(classifier(**_side_by_side(some, classifier)), number)  # (B,)
            for some in (rows[i : i + _ROWS] for i in range(0, len(rows), _ROWS))
        ]
    falls = _margin(whole, number) - torch.cat(without)  # (W,)
    return list(zip([word.text for word in read.words], falls.float().tolist()))


def agreement(one: Scores, other: Scores) -> float:
    """Return how alike two attributions rank the words, from -1 (reversed) to 1.

    Spearman's ρ: the correlation of the ranks, where equal scores share the mean of
    theirs. It is not a number (nan) where all scores of one are equal.

    Raises: ValueError unless both are of the same words.
    Source: Spearman 1904, The Proof and Measurement of Association between Two Things;
    used so by Jain & Wallace 2019, arXiv:1902.10186, who find little. Lesson 07.

    >>> one = [("not", 0.5), ("bad", -2.0), ("!", 0.1)]
    >>> agreement(one, [("not", 9.0), ("bad", -7.0), ("!", 8.0)])
    1.0
    """
    words, others = ([word for word, _ in scores] for scores in (one, other))
    if words != others:
        raise ValueError(
            "two attributions agree or not on the same words: got "
            f"{len(words)} words from {words[:3]} and {len(others)} from {others[:3]}"
        )
    r, s = (_ranks([score for _, score in scores]) for scores in (one, other))
    r, s = r - r.mean(), s - s.mean()  # (W,) each
    return (r @ s / ((r @ r) * (s @ s)).sqrt()).item()


@dataclass(frozen=True)
class _Word:
    text: str
    places: list[int]  # of its tokens


@dataclass(frozen=True)
class _Text:
    ids: Tensor  # (T,) special tokens included
    words: list[_Word]


def _read(classifier, text: str) -> _Text:
    """Cut a text into tokens, and say which of them belong to each of its words."""
    if not isinstance(text, str):
        raise ValueError(f"an attribution is of one text: got {type(text).__name__}")
    found = classifier.tokenizer(
        text,
        truncation=True,
        max_length=classifier.limit,
        return_offsets_mapping=True,
    )
    device = next(classifier.parameters()).device
    ids = torch.tensor(found["input_ids"], dtype=torch.long, device=device)  # (T,)
    inside = {match.start() for match in _INSIDE.finditer(text)}
    spans: list[list] = []  # of each word: where it begins and ends, and its tokens
    before = None
    cuts = zip(found.word_ids(), found["offset_mapping"])
    for place, (number, (a, b)) in enumerate(cuts):
        if number is None:  # a special token
            continue
        touches = bool(spans) and a == spans[-1][1]
        if number == before or (touches and (a in inside or a - 1 in inside)):
            spans[-1][1] = max(spans[-1][1], b)
            spans[-1][2].append(place)
        else:
            spans.append([a, b, [place]])
        before = number
    words = [_Word(text[a:b].strip(), places) for a, b, places in spans]
    return _Text(ids, [word for word in words if word.text])


def _side_by_side(rows: list[Tensor], classifier) -> dict[str, Tensor]:
    """Fill up rows to one length, and mask what was filled: (B, T) each."""
    filler = classifier.tokenizer.pad_token_id or 0
    ids = nn.utils.rnn.pad_sequence(rows, True, filler)  # (B, T)
    real = [torch.ones_like(row, dtype=torch.bool) for row in rows]
    mask = nn.utils.rnn.pad_sequence(real, True, False)  # (B, T)
    return {"input_ids": ids, "attention_mask": mask}


def _asked(classifier, target: int | str | None) -> int | None:
    """Return the number of the class that is asked for, if one is."""
    names = list(classifier.names)
    number = names.index(target) if target in names else target
    if number is None or (isinstance(number, int) and 0 <= number < len(names)):
        return number
    raise ValueError(
        f"target is a class, by name {names} or by number from 0 to {len(names) - 1}: "
        f"got {target!r}"
    )


def _or_predicted(number: int | None, logits: Tensor) -> int:
    return int(logits[0].argmax()) if number is None else number


def _margin(logits: Tensor, target: int) -> Tensor:
    """Return a class's logit minus the mean of the others': (B, C) to (B,)."""
    t = logits[:, target]  # (B,)
    return t - (logits.sum(dim=1) - t) / (logits.shape[1] - 1)


def _all(ids: Tensor) -> Tensor:
    """Return the mask of a single row (T,) with nothing filled up: (1, T)."""
    return torch.ones_like(ids[None], dtype=torch.bool)


def _ranks(scores: Sequence[float]) -> Tensor:
    """Return the rank of each score, from 1; equal ones share the mean of theirs."""
    x = torch.tensor(scores, dtype=torch.float64)  # (W,)
    below, equal = x[:, None] > x, x[:, None] == x  # (W, W) each
    return below.sum(1) + (equal.sum(1).double() + 1) / 2  # (W,)


@contextmanager
def _at_rest(classifier) -> Iterator[None]:
    """Switch dropout off, and leave each part in the mode it was in."""
    modes = {part: part.training for part in classifier.modules()}
    classifier.eval()
    try:
        yield
    finally:
        for part, training in modes.items():
            part.training = training


@contextmanager
def _embedded(classifier) -> Iterator[list[Tensor]]:
    """Catch what the table of embeddings gives, as something to take slopes by."""
    caught = []

    def keep(module, inputs, output: Tensor) -> Tensor:
        caught.append(output.detach().requires_grad_())
        return caught[-1]

    handle = classifier.embeddings.register_forward_hook(keep)
    try:
        yield caught
    finally:
        handle.remove()
