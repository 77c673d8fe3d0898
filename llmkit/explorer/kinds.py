"""What to hold of each kind of model: where its heads are, and how to run it.

Models are told apart by what they have, not by their class, as this room imports
neither ours nor Hugging Face's. Everything else here works on a `Subject`.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

SHOWN = (
    "an Encoder, MaskedLM, Decoder, Seq2Seq or Classifier of ours, or a live model of "
    "Hugging Face like BERT or GPT-2; of any other give its weights (layers, heads, T, "
    "T) and tokens="
)


@dataclass(frozen=True)
class Part:
    """Hold where the heads of one layer can be watched, and where silenced."""

    attention: nn.Module
    out: nn.Module  # reads what all heads found, side by side, (B, T, H K)
    maps: tuple[nn.Module, ...] = ()  # that make q, k, v; none where attention tells


@dataclass(frozen=True)
class Subject:
    """Hold one model, ready to be looked at."""

    model: nn.Module
    parts: tuple[Part, ...]  # one a layer
    # From ids (B, T), and a list for the weights of each layer or None, to logits.
    run: Callable[[Tensor, list | None], Tensor | None]
    tables: tuple[nn.Module, ...]  # that embed a token, the one before it, and so on
    head: nn.Module | None  # from states to logits of the vocabulary
    causal: bool
    limit: int | None  # most tokens that it reads
    classes: tuple[str, ...] = ()  # into which it sorts texts, if it does

    @property
    def device(self) -> torch.device:
        """Return where the model lives."""
        return next(self.model.parameters()).device


def subject_of(model: nn.Module, source: Tensor | None = None) -> Subject:
    """Find out what a model is, and how to look at it.

    source: (1, S), what a Seq2Seq reads before it writes.
    Raises: ValueError for a model of another kind, or a source that is missing or one
    too many.
    """
    if all(hasattr(model, x) for x in ("model", "tokenizer", "names")):  # a Classifier
        found = _theirs(model.model, tuple(model.names))
    elif all(hasattr(model, x) for x in ("encode", "encoder", "decoder")):
        if source is None:
            raise ValueError(
                "a Seq2Seq reads one text and writes another: give text=(source, "
                "target)"
            )
        return _ours(model.decoder, model, source)
    elif hasattr(model, "blocks") and hasattr(model, "embedding"):
        if getattr(model, "cross", False):
            raise ValueError(
                "this decoder looks at what an encoder read: give the whole Seq2Seq"
            )
        found = _ours(model)
    elif hasattr(model, "set_attn_implementation"):
        found = _theirs(model)
    else:
        raise ValueError(f"explore shows {SHOWN}: got a {type(model).__name__}")
    if source is not None:
        raise ValueError(
            f"only a Seq2Seq takes a pair (source, target): got one for a "
            f"{type(model).__name__}; give one text"
        )
    return found


@contextmanager
def at_rest(model: nn.Module) -> Iterator[None]:
    """Switch dropout off, and leave each part in the mode that it was in."""
    modes = {part: part.training for part in model.modules()}
    model.eval()
    try:
        yield
    finally:
        for part, training in modes.items():
            part.training = training


def _ours(model: nn.Module, whole=None, source: Tensor | None = None) -> Subject:
    """Describe a stack of our blocks; `whole` is the Seq2Seq that it belongs to."""
    memory = None
    if whole is not None:
        with at_rest(whole), torch.no_grad():
            here = next(whole.parameters()).device
            memory = whole.encode(
                source.to(here)
            )  # once: what was read does not change

    def run(ids: Tensor, watch: list | None) -> Tensor:
        if memory is None:
            return model(ids, watch=watch)  # (B, T, V), or (B, T, D) without a head
        rows = memory._replace(states=memory.states.expand(len(ids), -1, -1))
        return model(ids, watch=watch, memory=rows)  # (B, T, V)

    parts = [Part(block.attention, block.attention.out) for block in model.blocks]
    return Subject(
        model=model if whole is None else whole,
        parts=tuple(parts),
        run=run,
        tables=(model.embedding, *model.earlier),
        head=getattr(model, "head", None),
        causal=parts[0].attention.causal,
        limit=model.config.context,
    )


def _theirs(model: nn.Module, classes: tuple[str, ...] = ()) -> Subject:
    """Describe a live model of Hugging Face."""
    parts = [part for name, m in model.named_modules() if (part := _part(name, m))]
    if not parts or getattr(model.config, "is_encoder_decoder", False):
        raise ValueError(f"explore shows {SHOWN}: got a {type(model).__name__}")

    def run(ids: Tensor, watch: list | None) -> Tensor | None:
        # Not output_attentions: what transformers hooks in for that, it leaves there.
        watched = [] if watch is None else parts
        keep = [part.attention.register_forward_hook(tell(watch)) for part in watched]
        try:
            told = dict(attention_mask=torch.ones_like(ids))  # (B, T), no padding
            found = model(input_ids=ids, return_dict=True, **told)
        finally:
            for handle in keep:
                handle.remove()
        return getattr(found, "logits", None)

    def tell(watch: list | None):
        return lambda module, args, found: watch.append(found[1])  # (B, H, T, T)

    labels = getattr(model.config, "id2label", None) or {}
    return Subject(
        model=model,
        parts=tuple(parts),
        run=run,
        tables=(model.get_input_embeddings(),),
        head=model.get_output_embeddings(),
        causal=bool(getattr(parts[0].attention, "is_causal", False)),
        limit=_limit(model),
        classes=classes or tuple(str(labels[i]) for i in sorted(labels)),
    )


def _part(name: str, module: nn.Module) -> Part | None:
    """Return where this module's heads are, if it is one layer's self-attention."""
    if "cross" in name or getattr(module, "is_cross_attention", False):
        return None
    inside = getattr(module, "self", None)
    if all(hasattr(inside, x) for x in ("query", "key", "value")):  # BERT and its kin
        maps = (inside.query, inside.key, inside.value)
        return Part(inside, module.output.dense, maps)
    if hasattr(module, "q_lin"):  # DistilBERT
        maps = (module.q_lin, module.k_lin, module.v_lin)
        return Part(module, module.out_lin, maps)
    if hasattr(module, "c_attn"):  # GPT-2: one map makes all three
        return Part(module, module.c_proj, (module.c_attn,))
    return None


def _limit(model: nn.Module) -> int | None:
    """Return how many positions a model knows, if it says so."""
    most = getattr(model.config, "max_position_embeddings", None)
    for name, table in model.named_modules():
        filler = getattr(table, "padding_idx", None)
        if name.endswith("position_embeddings") and filler is not None:
            return most - 1 - filler  # RoBERTa counts on from its filler
    return most
