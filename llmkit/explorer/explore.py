"""Show what a model looks at: one text, two side by side, or all along its training."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace

from torch import nn

from llmkit.explorer.look import look, record_of
from llmkit.explorer.record import Question, Record, Training
from llmkit.explorer.view import Explorer


def explore(
    model_or_weights,
    text=None,
    *,
    tokenizer=None,
    tokens: Sequence[str] | None = None,
    layers: Collection[int] | None = None,
    views: Sequence[str] | None = None,
    title: str = "",
    ask: tuple[int, int, int | str] | None = None,
    target: int | str | None = None,
    explain: bool = False,
    knock_out: bool = False,
) -> Explorer:
    """Show where each head of a model looks in a text.

    model_or_weights: an Encoder, MaskedLM, Decoder, Seq2Seq or Classifier of ours; a
    live model of Hugging Face like BERT or GPT-2; weights (L, H, T, T), or a list of
    layers, with tokens; or a `Record`. text, tokenizer, tokens, layers, target, explain
    and knock_out: see `look`. views: names of the views to show, None for all that
    there is something for. ask: layer, head and token (its position, or its text) of a
    question that is put to the reader before the answer shows.

    Raises: ValueError that says in one line what does not fit.
    Source: Lessons 01, 03 and 07.

    >>> from llmkit.transformer import Decoder, ModelConfig
    >>> model = Decoder(ModelConfig(vocab_size=9, context=8))
    >>> page = explore(model, [3, 1, 4], tokens=["the", "cat", "sat"])
    >>> page.frames[0].weights.shape
    (4, 4, 3, 3)
    """
    how = dict(tokenizer=tokenizer, tokens=tokens, layers=layers, target=target)
    how |= dict(explain=explain, knock_out=knock_out)
    record = _record(model_or_weights, text, **how)
    question = None if ask is None else _question(record, ask)
    return Explorer((record,), title=title, question=question, views=views)


def compare(
    one,
    other,
    text=None,
    *,
    labels: Sequence[str] = (),
    title: str = "",
    views: Sequence[str] | None = None,
    **how,
) -> Explorer:
    """Show two looks side by side, and what changed: two models, texts, or moments.

    one, other: each a `Record` from `look`, or what `explore` takes, to read `text`
    with whatever else is said of `how` (see `look`). labels: what to call the two.

    Raises: ValueError if they have not the same layers and heads; and as `explore`.
    Source: Lesson 07.

    >>> from llmkit.transformer import Decoder, ModelConfig
    >>> model = Decoder(ModelConfig(vocab_size=9, context=8))
    >>> before = look(model, [3, 1], tokens=["the", "cat"], label="before")
    >>> after = look(model, [3, 4], tokens=["the", "dog"], label="after")
    >>> [record.label for record in compare(before, after).frames]
    ['before', 'after']
    """
    frames = [_record(x, text, **how) for x in (one, other)]
    if labels:
        if len(labels) != 2:
            raise ValueError(f"two looks have two labels: got {list(labels)}")
        frames = [replace(x, label=label) for x, label in zip(frames, labels)]
    _check_heads(frames)
    return Explorer(tuple(frames), mode="compare", title=title, views=views)


def through_training(
    records: Iterable,
    steps: Sequence[int],
    text=None,
    *,
    curve: Iterable = (),
    title: str = "",
    views: Sequence[str] | None = None,
    **how,
) -> Explorer:
    """Show one text through the checkpoints of a training run, beside its loss.

    records: from `look`, one for each moment, or models to read `text` with whatever
    else is said of `how` (see `look`). steps: of each, after how many steps it was
    taken. curve: the loss along the run, as the steps that `fit` yields or as pairs
    (step, loss).

    Raises: ValueError if there is not one step for each, in growing order, or the text
    or the shape is not the same in all.
    Source: Lessons 05 and 06.

    >>> from llmkit.transformer import Decoder, ModelConfig
    >>> model = Decoder(ModelConfig(vocab_size=9, context=8))
    >>> taken = [look(model, [3, 1], tokens=["the", "cat"]) for _ in range(2)]
    >>> page = through_training(taken, [0, 10], curve=[(1, 2.2), (10, 1.9)])
    >>> page.training.frames_at
    (0, 1)
    """
    frames = [_record(x, text, **how) for x in records]
    steps = [int(step) for step in steps]
    if len(steps) != len(frames) or not steps or steps != sorted({*steps}):
        raise ValueError(
            f"each look has a step of its own, in growing order: got {len(frames)} "
            f"looks and steps {steps}"
        )
    _check_heads(frames)
    if any(x.tokens != frames[0].tokens for x in frames):
        raise ValueError(
            "training is watched on one text: got looks at different tokens; give the "
            "same text to each look"
        )
    frames = [replace(x, label=f"step {step}") for x, step in zip(frames, steps)]
    training = _training(steps, curve)
    shown = dict(mode="training", training=training, title=title, views=views)
    return Explorer(tuple(frames), **shown)


def _record(given, text, **how) -> Record:
    """Return a record of whatever can be shown."""
    if isinstance(given, nn.Module):
        if text is None:
            raise ValueError("a model shows nothing before it reads: give text=")
        return look(given, text, **how)
    given = given.frames[0] if isinstance(given, Explorer) else given
    for name in ("explain", "knock_out", "target"):
        asked = how.get(name)
        if asked is not None and asked is not False:  # a target may be 0
            raise ValueError(
                f"{name} asks a model again: got {type(given).__name__}; give the model"
            )
    if isinstance(given, Record):
        return given
    return record_of(given, text, how.get("tokenizer"), how.get("tokens"))


def _training(steps: Sequence[int], curve: Iterable) -> Training | None:
    """Find each look's place on the curve: where the nearest step is."""
    points = [
        (x.number, x.loss) if hasattr(x, "number") else (x[0], x[1]) for x in curve
    ]
    if not points:
        return None
    at = [min(range(len(points)), key=lambda i: abs(points[i][0] - s)) for s in steps]
    numbers, losses = zip(*points)
    return Training(tuple(map(int, numbers)), tuple(map(float, losses)), tuple(at))


def _check_heads(frames: Sequence[Record]) -> None:
    shapes = [x.weights.shape[:2] for x in frames]
    if len({*shapes}) > 1:
        raise ValueError(
            f"heads are compared one by one: got (layers, heads) {shapes[0]} and "
            f"{next(s for s in shapes if s != shapes[0])}; give models of one shape"
        )


def _question(record: Record, ask: tuple[int, int, int | str]) -> Question:
    """Put a question of where one head looks from one token."""
    layer, head, token = ask
    L, H, T, _ = record.weights.shape
    if not (0 <= layer < L and 0 <= head < H):
        raise ValueError(
            f"ask is (layer, head, token), layers from 0 to {L - 1}, heads from 0 to "
            f"{H - 1}: got {ask}"
        )
    if isinstance(token, str):
        places = [t for t, x in enumerate(record.tokens) if x.strip() == token.strip()]
        if len(places) != 1:
            raise ValueError(
                f"{token!r} stands at {places or 'no position'} of {T} here: ask by a "
                "position"
            )
        token = places[0]
    if not 0 <= token < T:
        raise ValueError(f"positions are from 0 to {T - 1}: got {token}")
    word = record.tokens[token].strip() or record.tokens[token]
    words = f'Which token does head {head} of layer {layer} look at most from "{word}"?'
    return Question(layer, head, token, words)
