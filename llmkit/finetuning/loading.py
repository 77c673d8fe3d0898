"""Make a classifier of a pretrained model's folder, or say what is wrong. Lesson 07.

Weights come from safetensors only, and nothing that a folder or a repository brings
along is executed.
"""

import json
from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors import SafetensorError
from torch import nn

from llmkit.finetuning.classifier import Classifier, quiet
from llmkit.finetuning.pooling import add_mean_block, is_mean_pooled
from llmkit.pretrained import model_folder
from llmkit.training import best_precision, uses_cuda

_OFFLINE = "'minilm' needs no network"


def load_classifier(
    source: str | Path,
    names: Sequence[str] | None = None,
    dropout: float | None = None,
    seed: int = 0,
) -> Classifier:
    """Load a pretrained model, and give it a head for these classes.

    source: "minilm", a folder, or a hub id such as "bert-base-uncased". names: of the
    classes; None takes those that the folder's own head was trained for. A head that
    was trained for the very same names is kept; any other begins at random, by `seed`.
    A BERT that was pretrained on the mean of a text's states, as minilm was, gets one
    more block that begins as that mean (`pooling`).
    dropout: its rate everywhere in the model; None keeps the model's own.

    Raises: ValueError if there is no such model, its weights are pickled or damaged, it
    has no tokenizer, or it is of a kind that can't sort texts.
    Source: Lesson 07.
    """
    folder = model_folder(source)
    _check_files(folder)
    config, trained = _config(folder)
    tokenizer = _tokenizer(folder)
    names = tuple(trained if names is None else names)
    if len(names) < 2:
        raise ValueError(
            f"{str(source)!r} has no head of its own: say which classes there are"
            if names == ()
            else f"a classifier needs two classes: got {names}"
        )
    if len({*names}) < len(names):
        raise ValueError(f"each class has a name of its own: got {names}")
    config.problem_type = "single_label_classification"
    config.id2label = dict(enumerate(names))
    config.label2id = {name: i for i, name in enumerate(names)}
    if dropout is not None:
        _check_dropout(dropout)
        for key, rate in config.to_dict().items():
            if "dropout" in key and type(rate) in (int, float):
                setattr(config, key, dropout)
    torch.manual_seed(seed)
    model = _model(folder, config, keep_head=names == trained)
    return Classifier(model, tokenizer, names)


def _check_dropout(rate: float) -> None:
    if not 0 <= rate < 1:
        raise ValueError(f"dropout is a share, from 0 to below 1: got {rate}")


def _check_files(folder: Path) -> None:
    """Refuse a folder that lacks something, and say what."""
    if not (folder / "config.json").is_file():
        raise ValueError(
            f"{str(folder)!r} holds no model: there is no config.json; give a folder "
            f"that save_pretrained wrote, or a hub id; {_OFFLINE}"
        )
    if not any(folder.glob("*.safetensors")):
        pickled = [*folder.glob("*.bin"), *folder.glob("*.pt"), *folder.glob("*.pth")]
        raise ValueError(
            f"{str(folder)!r} has pickled weights only ({pickled[0].name}), which can "
            "run code when they are loaded: convert them with "
            "model.save_pretrained(folder) where you trust them"
            if pickled
            else f"{str(folder)!r} has no weights (*.safetensors)"
        )


def _tokenizer(folder: Path):
    names = ("tokenizer.json", "vocab.txt", "vocab.json", "*.model")
    if not any(any(folder.glob(name)) for name in names):
        raise ValueError(
            f"{str(folder)!r} has no tokenizer (tokenizer.json or vocab.txt): copy it "
            "from the model that this one was made of"
        )
    from transformers import AutoTokenizer

    try:
        with quiet():
            return AutoTokenizer.from_pretrained(
                folder, local_files_only=True, trust_remote_code=False
            )
    except Exception as error:  # of many kinds
        raise ValueError(
            f"the tokenizer in {str(folder)!r} can't be read: {_first_line(error)}"
        ) from error


def _config(folder: Path):
    """Return the model's config, and the names its own head was trained for."""
    from transformers import AutoConfig
    from transformers.models.auto.modeling_auto import (
        MODEL_FOR_MASKED_LM_MAPPING_NAMES as kinds,  # BERT and its kin
    )

    try:
        told = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        kind = told.get("model_type")
        if kind in kinds:
            with quiet():
                config = AutoConfig.from_pretrained(
                    folder, local_files_only=True, trust_remote_code=False
                )
    except Exception as error:  # of many kinds
        raise ValueError(
            f"the config.json in {str(folder)!r} can't be read: {_first_line(error)}"
        ) from error
    if kind not in kinds or config.is_encoder_decoder:
        raise ValueError(
            f"{str(folder)!r} holds a model of the kind {kind!r}, and what sorts texts "
            "is one that reads them at once: take a BERT, RoBERTa, DistilBERT, ELECTRA "
            f"…; {_OFFLINE}"
        )
    heads = [x for x in told.get("architectures") or [] if "ForSequenceClass" in x]
    labels = config.id2label if heads else {}
    return config, tuple(str(labels[i]) for i in sorted(labels))


def _model(folder: Path, config, keep_head: bool) -> nn.Module:
    from transformers import AutoModelForSequenceClassification

    _load_whole()
    try:
        with quiet():
            model, found = AutoModelForSequenceClassification.from_pretrained(
                folder,
                config=config,
                local_files_only=True,
                trust_remote_code=False,
                use_safetensors=True,
                ignore_mismatched_sizes=not keep_head,
                output_loading_info=True,
                dtype=torch.float32,
            )
    except SafetensorError as error:
        raise ValueError(
            f"the weights in {str(folder)!r} are damaged ({_first_line(error)}): copy "
            "or download the file again"
        ) from error
    except Exception as error:  # of many kinds
        raise ValueError(
            f"no classifier can be made of {str(folder)!r}: {_first_line(error)}"
        ) from error
    wrong = {*found["missing_keys"], *(name for name, *_ in found["mismatched_keys"])}
    body = [k for k in wrong if keep_head or not _in_head(k)]
    if body:
        raise ValueError(
            f"{str(folder)!r} lacks weights of its model, such as {sorted(body)[0]}: "
            "the file is incomplete or of another model"
        )
    if not keep_head:
        _new_head(model)
        if config.model_type == "bert" and is_mean_pooled(folder):
            add_mean_block(model)
    if best_precision(model) == "bf16" and not uses_cuda():
        # torch's fused attention takes ten times as long backwards in bfloat16 there.
        model.set_attn_implementation("eager")
    return model


def _load_whole() -> None:
    """Have `transformers` cut nothing: what DeepSpeed cuts, it cuts when training."""
    from transformers.integrations import deepspeed

    if deepspeed.is_deepspeed_zero3_enabled():
        deepspeed.unset_hf_deepspeed_config()


def _in_head(name: str) -> bool:
    """Tell whether a weight belongs to what comes after the blocks."""
    return "pooler" in name or name.split(".")[0] in _HEADS


_HEADS = ("classifier", "pre_classifier", "score", "logits_proj", "head")


def _new_head(model: nn.Module) -> None:
    """Let the last layer begin at random, whatever the file held for other classes."""
    last = [m for m in model.modules() if isinstance(m, nn.Linear)][-1]
    last.weight.data.normal_(std=0.02)
    if last.bias is not None:
        last.bias.data.zero_()


def _first_line(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
