"""From a corpus to the ids that a run learns from, and those that it is judged by."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from llmkit import corpus
from llmkit.batches import (
    MaskedBatches,
    Masking,
    NextTokenBatches,
    PackedBatches,
    evaluation_batches,
    keep_apart,
    masked_evaluation,
)
from llmkit.pretraining.options import PretrainOptions
from llmkit.tokenizer import CharTokenizer, HFTokenizer, Tokenizer, WordTokenizer
from llmkit.transformer import ModelConfig

END, MASK = "<|end|>", "[MASK]"  # after each document; in place of a hidden token


@dataclass(frozen=True)
class TokenData:
    """A text as ids, split by documents."""

    tokenizer: Tokenizer
    train: Tensor  # (N,)
    validation: Tensor  # (M,)
    size: int  # bytes of the text that validation stands for
    end: int | None  # the token after each document, where the tokenizer has one


def read(options: PretrainOptions, documents: tuple[str, ...]) -> TokenData:
    """Split documents, train the tokenizer, and turn both sides into ids.

    No document stands on both sides, nor a copy of one. A text that is one document is
    cut instead: the last tenth is for validation. BPE learns its merges from the
    training side alone.

    Raises: ValueError if the text is too short to split, or for its vocabulary.
    """
    if len(documents) == 1:
        tokenizer = _train_tokenizer(options, documents)
        # Split as ids: a cut in the text could fall into the middle of a word.
        ids = torch.tensor(_wary(tokenizer).encode(documents[0]))
        train, validation = corpus.split(ids)
        size = _bytes(tokenizer.decode(validation.tolist()))
        return TokenData(tokenizer, train, validation, size, _end(tokenizer))
    train, validation = corpus.split_documents(documents)
    # A character or word that only validation has must have an id; BPE spells anything.
    known = train if options.tokenizer == "bpe" else documents
    tokenizer = _train_tokenizer(options, known)
    sides = [_encode(tokenizer, side) for side in (train, validation)]
    return TokenData(tokenizer, *sides, _bytes("".join(validation)), _end(tokenizer))


def deal(options: PretrainOptions, data: TokenData, shape: ModelConfig) -> tuple:
    """Return the batches to train on, and those to judge by.

    Raises: ValueError if there is too little text on one of the sides.
    """
    if len(data.validation) < 2:
        raise ValueError(
            f"the validation text, about a tenth, is {len(data.validation)} tokens "
            "long: give more text"
        )
    context, rows = shape.context, options.recipe.batch_size
    if options.objective == "masked":
        mask = data.tokenizer.special_tokens[MASK]
        special = tuple(data.tokenizer.special_tokens.values())
        usual = Masking(mask, data.tokenizer.vocab_size, special)
        masking = replace(usual, share=options.recipe.share)
        how = dict(context=context, boundary=data.end)
        batches = MaskedBatches(
            data.train, masking, batch_size=rows, seed=options.seed, **how
        )
        # At BERT's 15%, whatever training hides, so that runs can be compared.
        return batches, masked_evaluation(data.validation, usual, **how)
    evaluation = evaluation_batches(data.validation, context)
    if data.end is None or not (data.train == data.end).any():
        batches = NextTokenBatches(data.train, context, rows, seed=options.seed)
        return batches, evaluation
    batches = PackedBatches(data.train, context, rows, data.end, seed=options.seed)
    return batches, [keep_apart(batch, data.end) for batch in evaluation]


def _train_tokenizer(options: PretrainOptions, documents: Sequence[str]) -> Tokenizer:
    if options.tokenizer == "bpe":
        return _train_bpe(options, documents)
    kind = {"char": CharTokenizer, "word": WordTokenizer}[options.tokenizer]
    return kind.train("".join(documents))


def _train_bpe(options: PretrainOptions, documents: Sequence[str]) -> HFTokenizer:
    """Train with the special tokens that the run will train on, and no others."""
    special = [END] if len(documents) > 1 else []
    special += [MASK] if options.objective == "masked" else []
    if len(documents) == 1:  # then the last tenth is for validation
        documents = [documents[0][: round(0.9 * len(documents[0]))]]
    try:
        return HFTokenizer.train_bpe(documents, options.vocabulary, special)
    except ValueError as error:
        words = str(error).replace("vocab_size=", "--vocab-size ")
        default = "" if options.vocab_size else " (as it is unless told)"
        told = f"--vocab-size is {options.vocabulary}{default}:"
        words = words.replace(f"vocab_size is {options.vocabulary}:", told)
        raise ValueError(words) from error


def _wary(tokenizer: Tokenizer) -> Tokenizer:
    """Return the tokenizer that takes "<|end|>" in a text for text."""
    bpe = isinstance(tokenizer, HFTokenizer)
    return tokenizer.trusting_no_text() if bpe else tokenizer


def _bytes(text: str) -> int:
    return len(text.encode("utf-8", "surrogatepass"))


def _end(tokenizer: Tokenizer) -> int | None:
    """Return the token after each document, where the tokenizer has one."""
    return tokenizer.special_tokens.get(END)


def _encode(tokenizer: Tokenizer, documents: list[str]) -> Tensor:
    """Put documents one after the other; the end token takes a separator's place."""
    end = _end(tokenizer)
    if end is None:
        return torch.tensor(tokenizer.encode("".join(documents)))  # (N,)
    ids, wary = [], _wary(tokenizer)
    for document in documents:
        ids += [*wary.encode(document.rstrip()), end]
    return torch.tensor(ids)  # (N,)
