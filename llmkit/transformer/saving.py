"""Keep a model in a folder: weights in safetensors, its shape beside them."""

import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from llmkit.transformer.config import ModelConfig
from llmkit.transformer.models import Decoder, Encoder, MaskedLM, Seq2Seq

WEIGHTS, CONFIG = "model.safetensors", "config.json"
KINDS = {"decoder": Decoder, "encoder": Encoder, "masked": MaskedLM, "seq2seq": Seq2Seq}
Model = Decoder | Encoder | MaskedLM | Seq2Seq


def save_model(model: Model, folder: str | Path) -> None:
    """Write model.safetensors and config.json into folder, each whole or not at all.

    A table that is used twice (a tied head) is saved once.

    Raises: OSError if they can't be written; a model from before stays. ValueError for
    a model of another class, or half a Seq2Seq.

    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     save_model(Encoder(ModelConfig(vocab_size=9)), folder)
    ...     load_model(folder).config.vocab_size
    9
    """
    folder = Path(folder).expanduser()
    kind = {made: name for name, made in KINDS.items()}.get(type(model))
    if kind is None or (kind == "decoder" and model.cross):
        whole = " with cross=True: save the whole Seq2Seq" if kind else ""
        raise ValueError(
            f"only {', '.join(made.__name__ for made in KINDS.values())} can be read "
            f"again: got a {type(model).__name__}{whole}"
        )
    # named_parameters tells of each parameter once, whatever its names
    state = {k: v.detach().contiguous().cpu() for k, v in model.named_parameters()}
    text = json.dumps({"model": kind, **asdict(model.config)}, indent=2)
    parts = {name: folder / f"{name}.part" for name in (WEIGHTS, CONFIG)}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        save_file(state, parts[WEIGHTS])
        parts[CONFIG].write_text(text + "\n")
        for name, part in parts.items():
            os.replace(part, folder / name)
    except (OSError, SafetensorError) as error:
        for part in parts.values():
            part.unlink(missing_ok=True)
        raise OSError(
            f"could not save the model in {str(folder)!r}: {error}; free some disk, or "
            "choose another folder"
        ) from error


def load_model(folder: str | Path) -> Model:
    """Read what `save_model` wrote: a model of the kind that it was.

    Raises: ValueError if the folder holds no model, or a damaged one.
    """
    folder = Path(folder).expanduser()
    config_file, weights_file = folder / CONFIG, folder / WEIGHTS
    for file in (config_file, weights_file):
        if not file.is_file():
            raise ValueError(
                f"no model in {str(folder)!r}: {file.name} is missing; give the --out "
                "folder of a finished `llmkit pretrain`"
            )
    try:
        config = json.loads(config_file.read_text())
        model = KINDS[config.pop("model")](ModelConfig(**config))
        state = load_file(weights_file)
    except (SafetensorError, ValueError, LookupError, AttributeError, TypeError) as e:
        raise ValueError(f"the model in {str(folder)!r} is damaged: {e}") from None
    fill(model, state, repr(str(folder)))
    return model


def check_names(expected: Iterable[str], found: Iterable[str], whose: str) -> None:
    """Refuse a set of tensors in which one is missing, or one too many.

    Raises: ValueError that names the first of them.
    """
    expected, found = set(expected), set(found)
    for what, names in (
        ("is missing", expected - found),
        ("is not expected", found - expected),
    ):
        if names:
            more = f" (and {len(names) - 1} more)" if len(names) > 1 else ""
            raise ValueError(
                f"the tensors of {whose} do not fit their config: {min(names)!r} "
                f"{what}{more}; they belong to another model, or a copy was cut short"
            )


@torch.no_grad()
def fill(model: nn.Module, state: Mapping[str, Tensor], whose: str) -> None:
    """Copy weights into a model, name by name.

    Raises: ValueError that names what is missing, unexpected, or of another shape.
    """
    own = dict(model.named_parameters())
    check_names(own, state, whose)
    for name, weight in own.items():
        if state[name].shape != weight.shape:
            raise ValueError(
                f"the tensors of {whose} do not fit their config: {name!r} is "
                f"{tuple(state[name].shape)} and should be {tuple(weight.shape)}"
            )
        weight.copy_(state[name])
