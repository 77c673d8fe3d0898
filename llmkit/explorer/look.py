"""Take down everything that the explorer shows of one text and one model."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from llmkit.explorer.capture import capture, logits_at, weights_of
from llmkit.explorer.explanations import agreements
from llmkit.explorer.explanations import explain as explain_by_each
from llmkit.explorer.kinds import Subject, subject_of
from llmkit.explorer.knockout import without_each_head
from llmkit.explorer.record import Prediction, Record, check_weights
from llmkit.explorer.tags import find_tags
from llmkit.explorer.text import Text, ids_of, read

TOP = 5  # names that a prediction tells of


def look(
    model,
    text,
    *,
    tokenizer=None,
    tokens: Sequence[str] | None = None,
    label: str = "",
    layers: Collection[int] | None = None,
    target: int | str | None = None,
    explain: bool = False,
    knock_out: bool = False,
) -> Record:
    """Let a model read a text, and take down where each head looks.

    The model is left as it was, so that this may stand between two steps of training.

    model: see `explore`. text: a string or its ids; for a Seq2Seq a pair, source and
    target, of which the decoder's looks at the target are shown. tokenizer: of the
    model, not needed for a Classifier; tokens: to show in place of the tokenizer's, or
    where there is none. label: what to call this text or moment. layers: whose q, k and
    v to take along, for the arithmetic; None: as many as fit into half a megabyte.
    explain: score each token by four methods, for the margin of `target`: a class or
    token by name or number, or None for the likeliest; it takes a reading a token.
    knock_out: predict without each head too; it takes a reading a head.

    Raises: ValueError that says in one line what does not fit.

    >>> from llmkit.transformer import Decoder, ModelConfig
    >>> model = Decoder(ModelConfig(vocab_size=9, context=8))
    >>> record = look(model, [3, 1, 4], tokens=["a", "b", "c"])
    >>> record.prediction.question
    'next token after "c"'
    """
    pair = _is_pair(text)
    source, text = text if pair else (None, text)
    tokenizer = getattr(model, "tokenizer", None) if tokenizer is None else tokenizer
    if pair:
        source = torch.tensor([ids_of(source, tokenizer)])  # (1, S)
    subject = subject_of(model, source)
    cut = read(text, tokenizer, tokens)
    ids = torch.tensor([cut.ids], device=subject.device)  # (1, T)
    weights, inner = capture(subject, ids, layers)
    check_weights(weights, cut.tokens)  # before more is made of them
    found = dict(label=label or cut.words, causal=subject.causal, inner=inner)
    tags = find_tags(weights, cut.tokens, subject.causal, cut.special)
    question = _question(subject, cut, ids)
    if question is None and (explain or knock_out or target is not None):
        raise ValueError(_no_prediction(subject))
    if question is not None:
        asked = _asked(question, target, tokenizer)
        found["prediction"] = _predict(
            subject, ids, question, asked, weights, knock_out
        )
        if explain:
            found |= _explain(subject, ids, question, asked, weights, cut)
    return Record(cut.tokens, weights, tags=tags, **found)


def record_of(weights, text=None, tokenizer=None, tokens=None) -> Record:
    """Make a record of weights alone, (L, H, T, T), and their tokens.

    Raises: ValueError if they are no attention of these tokens, or there are no tokens.
    """
    found = weights_of(weights)
    if text is None and tokens is None:
        raise ValueError(
            f"weights {found.shape} and no tokens to show them by: give tokens=, one "
            "for each row and column"
        )
    special, words = frozenset(), ""
    shown = None if tokens is None else tuple(map(str, tokens))
    if text is not None:
        cut = read(text, tokenizer, shown)
        shown, special, words = cut.tokens, cut.special, cut.words
    check_weights(found, shown)
    T = len(shown)
    ahead = np.triu(np.ones((T, T), bool), 1)  # (T, T)
    causal = T > 1 and not found[:, :, ahead].any()
    tags = find_tags(found, shown, causal, special)
    return Record(shown, found, label=words, causal=causal, tags=tags)


@dataclass(frozen=True)
class _Question:
    """Hold what a model is asked of a text, and all that it answers."""

    place: int  # where it is asked
    logits: Tensor  # (n,)
    words: str
    names: Text | tuple[str, ...]  # of the classes, or a text that names its tokens

    def name(self, number: int) -> str:
        known = isinstance(self.names, tuple)
        return self.names[number] if known else self.names.name(number)


def _question(subject: Subject, cut: Text, ids: Tensor) -> _Question | None:
    """Ask a model what it predicts; None if that is nothing."""
    last = len(cut.ids) - 1
    if subject.head is None:
        place, words, names = last if subject.causal else 0, "class", subject.classes
    elif subject.causal:
        place, words, names = last, f'next token after "{cut.tokens[-1]}"', cut
    elif cut.blank is not None:
        place, names = cut.blank, cut
        words = f'token at "{cut.tokens[place]}", position {place}'
    else:
        return None
    if not names:
        return None
    with torch.no_grad():
        logits = logits_at(subject, ids, torch.tensor([place], device=ids.device))
    return None if logits is None else _Question(place, logits[0], words, names)


def _no_prediction(subject: Subject) -> str:
    if subject.head is not None:
        return (
            "a masked model guesses what stands at a blank, and this text has none: "
            "put [MASK] in place of a token, with the tokenizer that knows it"
        )
    return (
        "explain, target and knock_out are about a prediction: got a model that makes "
        f"none ({type(subject.model).__name__}); give a Classifier, MaskedLM or Decoder"
    )


def _asked(question: _Question, target: int | str | None, tokenizer) -> int:
    """Return the number of the class or token that is asked for, or the likeliest."""
    n = len(question.logits)
    if target is None:
        return int(question.logits.argmax())
    if isinstance(target, str) and isinstance(question.names, tuple):
        if target in question.names:
            return question.names.index(target)
    elif isinstance(target, str):
        ids = ids_of(target, tokenizer, special=False)
        if len(ids) == 1:
            return ids[0]
    elif 0 <= target < n:
        return target
    kinds = question.names if isinstance(question.names, tuple) else "one token"
    raise ValueError(
        f"target is {kinds}, or a number from 0 to {n - 1}: got {target!r}"
    )


def _predict(subject, ids, question: _Question, asked: int, weights, knock_out: bool):
    """Tell of the likeliest names, and of the one that is asked for."""
    p = question.logits.softmax(dim=0)  # (V,)
    best = p.topk(min(TOP, len(p))).indices.tolist()
    best += [asked] if asked not in best else []
    numbers = torch.tensor(best, device=ids.device)  # (n,)
    without = None
    if knock_out:
        heads = weights.shape[1]
        without = without_each_head(subject, ids, question.place, heads, numbers)
    names = tuple(question.name(i) for i in best)
    return Prediction(names, p[numbers].cpu().numpy(), without, question.words)


def _explain(subject, ids, question: _Question, asked: int, weights, cut: Text) -> dict:
    """Score the tokens by each method, and say what was explained."""
    scores = explain_by_each(subject, ids, question.place, asked, weights)
    name = question.name(asked)
    apart = {*cut.special, *([] if subject.causal else [question.place])}
    return dict(
        scores=scores,
        agreement=agreements(scores, apart),
        target=f'logit of "{name}", less the mean of all others',
    )


def _is_pair(text) -> bool:
    """Tell whether this is a source and a target, not a row of ids."""
    if not isinstance(text, list | tuple) or len(text) != 2:
        return False
    rows = (isinstance(x, str | list | tuple) or getattr(x, "ndim", 0) for x in text)
    return all(rows)
