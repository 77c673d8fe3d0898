"""Weights from Hugging Face's BERT and GPT-2, and back. Lesson 03.

A file of weights is read from safetensors and never from a pickle, and no code that
lies beside it is run. What does not fit is named; nothing is guessed or filled in.
"""

import json
import re
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from llmkit.pretrained import model_folder
from llmkit.transformer.families import FAMILIES, Family
from llmkit.transformer.models import Encoder, MaskedLM
from llmkit.transformer.saving import check_names, fill
from llmkit.transformer.stack import Stack

INDEX = "model.safetensors.index.json"


def read(kind: type[Stack], source) -> Stack:
    """Build our model of this kind from theirs: live, a folder, or a name.

    Raises: ValueError as told in `Stack.from_hf`.
    """
    family = FAMILIES[kind]
    if hasattr(source, "state_dict") and hasattr(source, "config"):
        whose = f"a live {type(source).__name__}"
        config = getattr(source.config, "to_dict", dict)()
        _check_type(config, family, kind)
        state = source.state_dict()
    elif not isinstance(source, str | Path) or not str(source):
        raise ValueError(
            "from_hf takes a live model of Hugging Face's, a folder or a hub id: got "
            f"{source!r:.60} ({type(source).__name__})"
        )
    else:
        folder = model_folder(source)
        whose, config = repr(str(folder)), _read_config(folder, family, kind)
        state = _read_tensors(folder)
    shape = family.shape(config)
    state = _tidy(state, kind, family, whose)
    if shape.tied:
        _drop_copy(state, family, whose)
    with torch.device("meta"):  # no memory for a shape that may not be the file's
        empty = dict(kind(shape).named_parameters())
    _check_parts(empty, state, family, whose)
    translated = {}
    for name in empty:
        parts = [state[part] for part in family.names(name)]
        turn = family.is_transposed(name)
        translated[name] = torch.cat([p.mT if turn else p for p in parts])
    model = kind(shape)
    fill(model, translated, whose)
    return model.eval()


def write(model: Stack, folder: str | Path) -> None:
    """Write a folder that `transformers` loads.

    Raises: ValueError as told in `Stack.to_hf`.
    """
    folder = Path(folder).expanduser()
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"{str(folder)!r} is a file; give a folder")
    twin = as_hf(model)
    (folder / INDEX).unlink(missing_ok=True)  # of a larger model, saved before
    twin.save_pretrained(folder)


def as_hf(model: Stack):
    """Build their model, in eval mode, with the weights of ours.

    Raises: ValueError if this shape is none that their model can have.
    """
    import transformers

    family = FAMILIES.get(type(model))
    if family is None or model.cross:
        raise ValueError(
            "Hugging Face's BERT is an encoder and its GPT-2 a decoder alone: got a "
            f"{type(model).__name__} that is neither; save_model keeps a whole Seq2Seq"
        )
    fields = family.config(model.config)
    if type(model) is Encoder:
        config = transformers.BertConfig(**fields)
        twin, prefix = transformers.BertModel(config, add_pooling_layer=False), ""
    elif type(model) is MaskedLM:
        config = transformers.BertConfig(**fields)
        twin, prefix = transformers.BertForMaskedLM(config), family.prefix
    else:
        ends = dict(bos_token_id=None, eos_token_id=None)  # the vocabulary is ours
        config = transformers.GPT2Config(**fields, **ends)
        twin, prefix = transformers.GPT2LMHeadModel(config), family.prefix
    state = {}
    for name, weight in model.state_dict().items():
        names = family.names(name)
        weight = weight.mT if family.is_transposed(name) else weight
        for part, theirs in zip(weight.chunk(len(names)), names):
            head = theirs.startswith(("cls.", "lm_head."))
            state[theirs if head else prefix + theirs] = part
    if "cls.predictions.decoder.bias" in state:  # they keep it under two names
        state["cls.predictions.bias"] = state["cls.predictions.decoder.bias"]
    twin.load_state_dict(state)
    return twin.eval()


def _check_type(config: dict, family: Family, kind: type[Stack]) -> None:
    found = str(config.get("model_type"))
    if found != family.model_type:
        readers = {other.model_type: mine for mine, other in reversed(FAMILIES.items())}
        other = readers.get(found)
        advice = f"use {other.__name__}.from_hf" if other else "choose another model"
        raise ValueError(
            f"{kind.__name__}.from_hf reads models of type {family.model_type!r}: got "
            f"{found!r}; {advice}"
        )


def _read_config(folder: Path, family: Family, kind: type[Stack]) -> dict:
    """Read config.json and add what it leaves out, as they would."""
    from transformers import BertConfig, GPT2Config

    file = folder / "config.json"
    try:
        config = dict(json.loads(file.read_text("utf-8")))
    except FileNotFoundError:
        raise ValueError(
            f"no model in {str(folder)!r}: config.json is missing; give a folder that "
            "save_pretrained wrote"
        ) from None
    except (OSError, ValueError, TypeError) as error:
        raise ValueError(f"{str(file)!r} is damaged: {error}") from None
    _check_type(config, family, kind)
    theirs = {"bert": BertConfig, "gpt2": GPT2Config}[family.model_type]
    return theirs().to_dict() | config


def _read_tensors(folder: Path) -> dict[str, Tensor]:
    """Read all the tensors of a folder, from one file or from several."""
    files = [folder / "model.safetensors"]
    try:
        # As they do: an index may have been left by a larger model, saved before.
        if not files[0].is_file() and (folder / INDEX).is_file():
            shards = json.loads((folder / INDEX).read_text("utf-8"))["weight_map"]
            names = sorted(set(map(str, shards.values())))
            files = [folder / Path(name).name for name in names]  # nowhere else
        return {k: v for file in files for k, v in load_file(file).items()}
    except FileNotFoundError:
        missing = next(file.name for file in files if not file.is_file())
        pickled = list(folder.glob("*.bin")) + list(folder.glob("*.pt"))
        why = (
            f"{pickled[0].name} is a pickle, which may run code and is never loaded; "
            "save the model again with safetensors"
            if pickled
            else "copy or download the folder again, whole, or choose a model that "
            "has safetensors"
        )
        raise ValueError(f"{missing} is missing in {str(folder)!r}: {why}") from None
    except (
        OSError,
        ValueError,
        LookupError,
        AttributeError,
        TypeError,
        SafetensorError,
    ) as error:
        raise ValueError(
            f"the weights in {str(folder)!r} are damaged: {error}; copy or download "
            "them again"
        ) from None


def _check_parts(
    own: dict[str, Tensor], state: dict[str, Tensor], family: Family, whose: str
) -> None:
    """Refuse tensors that are missing, unexpected or of another shape, in their words.

    own: our parameters by name, for their shapes.
    """
    expected = {}
    for name, weight in own.items():
        parts = family.names(name)
        rows, *columns = weight.shape
        size = (rows // len(parts), *columns)
        turned = size[::-1] if family.is_transposed(name) else size
        expected |= dict.fromkeys(parts, tuple(turned))
    heads = {part for part in expected if part.startswith(("cls.", "lm_head."))}
    if heads and not heads & state.keys():
        raise ValueError(
            f"{whose} has no head that gives logits ({min(heads)!r} is missing): give "
            "the whole model, or read it as an Encoder"
        )
    check_names(expected, state, whose)
    for name, size in expected.items():
        if state[name].shape != size:
            raise ValueError(
                f"the tensors of {whose} do not fit their config: {name!r} is "
                f"{tuple(state[name].shape)} and should be {size}"
            )


def _tidy(
    state: dict[str, Tensor], kind: type[Stack], family: Family, whose: str
) -> dict[str, Tensor]:
    """Write names as they are today, and leave out what our model has no use for."""
    tidy = {}
    for name, tensor in state.items():
        name = name.removeprefix(family.prefix)
        name = re.sub(r"LayerNorm\.gamma$", "LayerNorm.weight", name)  # before 2019
        name = re.sub(r"LayerNorm\.beta$", "LayerNorm.bias", name)
        head_of_bert = kind is Encoder and name.startswith("cls.")
        if head_of_bert or re.match(family.left_behind, name):
            continue
        if name in tidy or not tensor.is_floating_point():
            what = "is there twice" if name in tidy else f"holds {tensor.dtype}"
            raise ValueError(
                f"the tensors of {whose} do not fit: {name!r} {what}; weights are real "
                "numbers, each there once: save the model again"
            )
        tidy[name] = tensor.float()
    if "cls.predictions.bias" in tidy:  # one bias under two names
        bias = tidy.pop("cls.predictions.bias")
        tidy.setdefault("cls.predictions.decoder.bias", bias)
    return tidy


def _drop_copy(state: dict[str, Tensor], family: Family, whose: str) -> None:
    """Take out a head that is the embedding's table once more."""
    (table,), (head,) = family.names("embedding.weight"), family.names("head.weight")
    if head not in state:
        return
    copy = state.pop(head)
    if table in state and not torch.equal(copy, state[table]):
        raise ValueError(
            f"{whose} says that its head is its embedding (tie_word_embeddings), and "
            f"{head!r} differs from {table!r}: set tie_word_embeddings to false in its "
            "config.json if they are meant to be two"
        )
