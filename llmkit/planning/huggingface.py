"""How large a model of Hugging Face's is, by its config.json alone. Lesson 08.

No weight is downloaded and no code of a repository is run. What backward needs is not
known from a formula here: forward runs once on torch's fake tensors, which have shapes
and no numbers, and what it would save is added up.
"""

import copy
import logging
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

from llmkit.planning.sizes import FP32, HALF, ModelSize, count
from llmkit.pretrained import minilm_folder

if TYPE_CHECKING:
    from torch import nn

CAUSAL = ("ForCausalLM", "LMHeadModel")  # how classes that predict what comes end
POSITIONS = ("max_position_embeddings", "n_positions", "max_seq_len")
LENGTH = 64  # tokens of the shorter of two texts that forward runs on


def size_of_hf(source: str, context: int | None = None) -> ModelSize:
    """Measure a model by its config.

    source: a folder with a config.json, "minilm", or a hub id. context: tokens of a
    text, as many as the model can read unless told. Dropout is left out.

    Raises: ValueError if there is no such config, transformers knows no such model, or
    it is one that this plan can't count.

    >>> size_of_hf("minilm").layers
    6
    """
    config = _config(source)
    model = _on_meta(source, config)
    most = _most(config, model)
    if most is not None and most < 1:
        raise ValueError(
            f"--hf {str(source)!r}: its config.json leaves no position for a token "
            "beside those for padding; give it more"
        )
    if context and most and context > most:
        raise ValueError(
            f"--context {context}: {source!r} reads {most} tokens at most; choose fewer"
        )
    context = context or min(most or 1024, 4096)
    names = [name for name, _ in model.named_parameters()]
    if config.is_encoder_decoder or any(".experts." in name for name in names):
        what = "an encoder and a decoder" if config.is_encoder_decoder else "experts"
        raise ValueError(
            f"{source!r} is made of {what}, and this plan counts models that every "
            "token goes through whole; choose another, or --layers and --width"
        )
    return _measure(str(source), config, model, context)


def _measure(name: str, config, model: "nn.Module", context: int) -> ModelSize:
    from torch import nn

    blocks = _blocks(name, config, model)
    counted, head = count(model, blocks[0]), model.get_output_embeddings()
    table = model.get_input_embeddings().weight
    tied = head is not None and head.weight is table
    looked_up = sum(
        m.weight.numel() for m in model.modules() if isinstance(m, nn.Embedding)
    )
    matrices = counted["matrices"] - looked_up + (table.numel() if tied else 0)
    kind = type(model).__name__
    sees = 0.5 if kind.endswith(CAUSAL) else 1.0
    looks = len(blocks) * 4 * config.hidden_size * context * sees
    try:
        kept = {b: _kept(config, b) / len(blocks) for b in (FP32, HALF)}
    except Exception as error:  # a forward that asks for numbers, or for other inputs
        raise ValueError(
            f"{name!r} is a {kind}, which can't be followed without real numbers "
            f"({type(error).__name__}); give its shape by --layers and --width"
        ) from error
    wide = [max(p.shape) for p in blocks[0].parameters() if p.ndim > 1]
    return ModelSize(
        name=name,
        kind=kind,
        **counted,
        table=table.numel(),
        tied=tied,
        layers=len(blocks),
        width=config.hidden_size,
        widest=max(wide),
        vocabulary=config.vocab_size,
        context=context,
        flops=3 * (2 * matrices + looks),
        kept=kept,
        outside=dict.fromkeys(kept, 0.0),
        asked=0.0 if head is None else 1.0,
    )


def _blocks(name: str, config, model: "nn.Module") -> "nn.ModuleList":
    """Return the blocks of a model that reads texts.

    Raises: ValueError if it is none, or has no blocks.
    """
    from torch import nn

    try:
        table = model.get_input_embeddings()
    except NotImplementedError:  # of images, or of several things at once
        table = None
    numbers = (getattr(config, x, None) for x in ("hidden_size", "vocab_size"))
    stacks = [m for m in model.modules() if isinstance(m, nn.ModuleList) and len(m)]
    if not (isinstance(table, nn.Embedding) and all(numbers) and stacks):
        raise ValueError(
            f"--hf {name!r} is a {type(model).__name__}, and this plan counts models "
            "of texts alone, which have one table of tokens and one stack of blocks; "
            "choose another, or give the shape by --layers and --width"
        )
    return max(stacks, key=lambda m: sum(p.numel() for p in m.parameters()))


def _on_meta(source: str, config) -> "nn.Module":
    import torch

    try:
        with torch.device("meta"):
            return _build(config)
    except Exception as error:  # numbers that do not fit each other, of many kinds
        raise ValueError(
            f"--hf {str(source)!r}: transformers can't build what its config.json says "
            f"({_line(error)}); correct it, or give the shape by --layers and --width"
        ) from error


def _build(config) -> "nn.Module":
    """Build the model that the config names, with its head where it has one."""
    import transformers

    named = (config.architectures or [""])[0]
    if named and not hasattr(transformers, named):
        raise ValueError(f"it has no class {named!r}")
    auto = transformers.AutoModel
    if named.endswith(CAUSAL):
        auto = transformers.AutoModelForCausalLM
    elif named.endswith("ForMaskedLM"):
        auto = transformers.AutoModelForMaskedLM
    return auto.from_config(config, trust_remote_code=False)


def _kept(config, number: int) -> float:
    """Return the bytes of a token that forward saves, all blocks together.

    From two lengths, so that what does not grow with the text drops out. A model that
    reads fewer tokens is given room for them: no block keeps more for that.
    """
    import torch
    from torch._subclasses.fake_tensor import FakeTensorMode

    roomy = copy.deepcopy(config)
    for name in POSITIONS:
        if 0 < (getattr(roomy, name, None) or 0) < 4 * LENGTH:
            setattr(roomy, name, 4 * LENGTH)
    mixed = torch.autocast("cpu", torch.bfloat16) if number < FP32 else nullcontext()
    with _silent(), FakeTensorMode(), mixed:
        model = _build(roomy).eval()
        own = {_key(x) for x in (*model.parameters(), *model.buffers())}
        sums = [_saved(model, own, length) for length in (LENGTH, 2 * LENGTH)]
    return (sums[1] - sums[0]) / LENGTH


def _saved(model: "nn.Module", own: set, length: int) -> int:
    import torch

    kept = {}

    def keep(tensor):
        if _key(tensor) not in own:
            kept[_key(tensor)] = tensor.untyped_storage()  # alive, so that keys differ
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        result = model(input_ids=torch.zeros(1, length, dtype=torch.long))
    total = sum(storage.nbytes() for storage in kept.values())
    del result
    return total


def _key(tensor) -> int:
    return tensor.untyped_storage()._cdata


@contextmanager
def _silent() -> Iterator[None]:
    """Keep torch from logging a page where forward fails: one line is raised."""
    log = logging.getLogger("torch._subclasses.fake_tensor")
    before, log.disabled = log.disabled, True
    try:
        yield
    finally:
        log.disabled = before


def _most(config, model: "nn.Module") -> int | None:
    """Return the tokens that a model can read, None where that has no end.

    RoBERTa and its kin keep the first of their positions for padding.
    """
    found = (getattr(config, name, None) for name in POSITIONS)
    most = next((x for x in found if isinstance(x, int) and 0 < x < 10**9), None)
    for name, part in model.named_modules():
        if most and name.endswith("position_embeddings"):
            padding = getattr(part, "padding_idx", None)
            return most if padding is None else most - padding - 1
    return most


def _line(error: Exception) -> str:
    """Return the first line of an error's words, or its name where it says nothing."""
    first, *more = (str(error).strip() or type(error).__name__).splitlines()
    whole = f"{first} {more[0].strip()}" if more and first.endswith(":") else first
    return whole.rstrip(".")


def _config(source: str):
    """Read the config of a folder, or of a hub's repository."""
    from transformers import AutoConfig

    folder = minilm_folder() if source == "minilm" else Path(source).expanduser()
    if folder is not None and folder.is_file():
        raise ValueError(
            f"--hf {source!r} is a file: give the folder that holds config.json"
        )
    if folder is None or not folder.is_dir():
        folder = _download(source)
    if not (folder / "config.json").is_file():
        raise ValueError(
            f"--hf {source!r} holds no config.json: give a folder that save_pretrained "
            "wrote, or a hub id"
        )
    try:
        return AutoConfig.from_pretrained(
            folder, local_files_only=True, trust_remote_code=False
        )
    except Exception as error:  # of many kinds
        raise ValueError(
            f"--hf {source!r}: transformers can't read its config.json "
            f"({_line(error)}); code that a repository brings "
            "along is never run: choose another, or give the shape by --layers and "
            "--width"
        ) from error


def _download(source: str) -> Path:
    """Fetch config.json alone; without a network, say so at once."""
    from huggingface_hub import constants, hf_hub_download, model_info

    offline = constants.HF_HUB_OFFLINE
    try:
        if not offline:  # one question of our own: a download would try for a minute
            model_info(source, timeout=5)
    except Exception:  # of whatever library it speaks HTTP with
        offline = True
    try:
        file = hf_hub_download(source, "config.json", local_files_only=offline)
    except Exception as error:
        raise ValueError(
            f"--hf {source!r}: there is no such folder, and no config of that name was "
            "downloaded before or can be now; 'minilm' needs no network, nor do "
            "--preset and --layers"
        ) from error
    return Path(file).parent
