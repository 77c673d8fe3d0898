"""A pretrained model with a new head that sorts texts into classes. Lesson 07.

The model and its tokenizer are those of Hugging Face: any that reads a text at once
(BERT, RoBERTa, DistilBERT …). See `loading`.
"""

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import takewhile
from pathlib import Path

from torch import Tensor, nn


class Classifier(nn.Module):
    """Give each text a logit for each class.

    model: a Hugging Face model for sequence classification; tokenizer: its own; names:
    of the classes, in the order of the logits.
    Source: Devlin et al. 2019, section 4.1: the last state of the first token, [CLS],
    goes through a dense layer with tanh (the pooler), then through the new head. Where
    a model was pretrained on the mean of all states, a block below makes that state of
    the first token the mean (`pooling`).

    >>> import torch
    >>> from llmkit.finetuning import load_classifier
    >>> classifier = load_classifier("minilm", names=("negative", "positive"))
    >>> (ids,) = classifier.encode(["A joy."])
    >>> ids = torch.tensor([ids])
    >>> classifier(ids, torch.ones_like(ids).bool()).shape
    torch.Size([1, 2])
    """

    def __init__(self, model: nn.Module, tokenizer, names: Sequence[str]):
        super().__init__()
        self.model, self.tokenizer, self.names = model, tokenizer, tuple(names)

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Return logits (B, C) of texts (B, T); the mask is True where a token is."""
        with _first_token_only(self.model):
            found = self.model(input_ids=input_ids, attention_mask=attention_mask)
        return found.logits

    @property
    def _no_split_modules(self) -> list[str]:
        """Return the kinds of block that FSDP2 gathers, by Accelerate's name for it."""
        return list(getattr(self.model, "_no_split_modules", None) or [])

    @property
    def embeddings(self) -> nn.Embedding:
        """Return the table of token embeddings."""
        return self.model.get_input_embeddings()

    @property
    def limit(self) -> int:
        """Return how many tokens of a text are read at most, special ones included."""
        most = getattr(self.model.config, "max_position_embeddings", None) or 512
        tables = {id(m): m for m in _tables(self.model) if m.num_embeddings == most}
        tables.pop(id(self.embeddings), None)
        # A filler among the positions: then they count on from it, as RoBERTa's do.
        fillers = [m.padding_idx for m in tables.values() if m.padding_idx is not None]
        return min(most - 1 - max(fillers, default=-1), self.tokenizer.model_max_length)

    @property
    def filler(self) -> int:
        """Return the id that fills up short rows."""
        return self.tokenizer.pad_token_id or 0

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """Return each text's ids, special tokens included, cut to `limit`.

        Raises: ValueError if it is given one text, not several.
        """
        if isinstance(texts, str):
            raise ValueError(f"texts come in a list: got the string {texts[:20]!r}")
        if not texts:
            return []
        found = self.tokenizer(list(texts), truncation=True, max_length=self.limit)
        return found["input_ids"]

    def count(self, text: str) -> int:
        """Return how many tokens a text has, none cut off, special ones included."""
        return len(self.tokenizer(text, verbose=False)["input_ids"])

    def layers(self) -> tuple[int, dict[str, int]]:
        """Return how many layers there are, and the layer of each weight by its name.

        Embeddings are layer 0, the blocks 1 to L, and the new head is L + 1. BERT's
        pooler, which is pretrained too, goes with the last block.
        """
        base = self.model.base_model
        blocks = next(m for m in base.modules() if isinstance(m, nn.ModuleList))
        number = {id(p): n for n, b in enumerate(blocks, 1) for p in b.parameters()}
        order = [id(p) for p in base.parameters()]
        below = {*takewhile(lambda p: p not in number, order)}  # ELECTRA widens them
        below |= {id(m.weight) for m in _tables(base)} - number.keys()
        L = len(blocks)
        number = dict.fromkeys(order, L) | number | dict.fromkeys(below, 0)
        return L, {
            name: number.get(id(p), L + 1) for name, p in self.named_parameters()
        }

    def freeze(self, layers: int) -> None:
        """Keep the embeddings and the first `layers` - 1 blocks as they are.

        layers: 0 freezes nothing, 1 the embeddings, 2 the first block too.
        Raises: ValueError if it is more than there are.
        """
        L, layer_of = self.layers()
        if not 0 <= layers <= L + 1:
            raise ValueError(
                f"this model has {L} blocks above its embeddings: freeze is from 0 "
                f"(nothing) to {L + 1} (all but the head): got {layers}"
            )
        for name, weight in self.named_parameters():
            weight.requires_grad_(layer_of[name] >= layers)

    def save(self, folder: str | Path) -> None:
        """Write a folder that `transformers.pipeline("text-classification")` loads."""
        with quiet():
            self.model.save_pretrained(folder)
            self.tokenizer.save_pretrained(folder)


@contextmanager
def _first_token_only(model: nn.Module) -> Iterator[None]:
    """Let the last block work out only what the head reads: the first token's state.

    All tokens are looked at as before; what comes after the look, three quarters of a
    block's work, is done for one of them.
    """
    if model.config.model_type not in _READS_FIRST:
        yield
        return
    after = model.base_model.encoder.layer[-1].attention.output
    handle = after.register_forward_pre_hook(
        lambda module, states: tuple(x[:, :1] for x in states)  # (B, 1, D) twice
    )
    try:
        yield
    finally:
        handle.remove()


# Whose blocks are BERT's, and whose head reads the first token.
_READS_FIRST = ("bert", "roberta", "electra")


def _tables(module: nn.Module) -> list[nn.Embedding]:
    return [part for part in module.modules() if isinstance(part, nn.Embedding)]


@contextmanager
def quiet() -> Iterator[None]:
    """Keep `transformers` from reporting a new head, which is what was asked for."""
    from transformers.utils import logging as theirs

    level, bar = theirs.get_verbosity(), theirs.is_progress_bar_enabled()
    theirs.set_verbosity(logging.ERROR)
    theirs.disable_progress_bar()
    try:
        yield
    finally:
        theirs.set_verbosity(level)
        if bar:
            theirs.enable_progress_bar()
