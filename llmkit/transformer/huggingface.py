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
    if hasattr(source, "state_dict"):
        whose, config = f"a live {type(source).__name__}", source.config.to_dict()
        _check_type(config, family, kind)
        state = source.state_dict()
    else:
        folder = model_folder(source)
        whose, config = repr(str(folder)), _read_config(folder, family, kind)
        state = _read_tensors(folder)
    model = kind(family.shape(config))
    state = _tidy(state, kind, family)
    if model.config.tied:
        _drop_copy(state, family, whose)
    own = dict(model.named_parameters())
    check_names({n for name in own for n in family.names(name)}, state, whose)
    translated = {}
    for name in own:
        parts = [state[part] for part in family.names(name)]
        turn = family.is_transposed(name)
        translated[name] = torch.cat([p.mT if turn else p for p in parts])
    fill(model, translated, whose)
    return model.eval()


def as_hf(model: Stack):
    """Build their model, in eval mode, with the weights of ours.

    Raises: ValueError if this shape is none that their model can have.
    """
    import transformers

    family = FAMILIES.get(type(model))
    if family is None or model.cross:
        raise ValueError(
            "Hugging Face's BERT is an encoder and its GPT-2 a decoder alone: got a "
            f"{type(model).__name__} that is neither; keep it with save_model"
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
    found = config.get("model_type")
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
        if (folder / INDEX).is_file():
            shards = json.loads((folder / INDEX).read_text("utf-8"))["weight_map"]
            files = [folder / Path(name).name for name in sorted(set(shards.values()))]
        return {k: v for file in files for k, v in load_file(file).items()}
    except FileNotFoundError:
        missing = next(file.name for file in files if not file.is_file())
        pickled = list(folder.glob("*.bin")) + list(folder.glob("*.pt"))
        why = (
            f"{pickled[0].name} is a pickle, which may run code and is never loaded; "
            "save the model again with safetensors"
            if pickled
            else "copy or download the folder again, whole"
        )
        raise ValueError(f"{missing} is missing in {str(folder)!r}: {why}") from None
    except (OSError, ValueError, LookupError, AttributeError, SafetensorError) as error:
        raise ValueError(
            f"the weights in {str(folder)!r} are damaged: {error}; copy or download "
            "them again"
        ) from None


def _tidy(
    state: dict[str, Tensor], kind: type[Stack], family: Family
) -> dict[str, Tensor]:
    """Write names as they are today, and leave out what our model has no use for."""
    tidy = {}
    for name, tensor in state.items():
        name = name.removeprefix(family.prefix)
        name = re.sub(r"LayerNorm\.gamma$", "LayerNorm.weight", name)  # before 2019
        name = re.sub(r"LayerNorm\.beta$", "LayerNorm.bias", name)
        head_of_bert = kind is Encoder and name.startswith("cls.")
        if not head_of_bert and not re.match(family.left_behind, name):
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
