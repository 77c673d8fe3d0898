"""Keep training's state on disk so that a stop, even a crash, loses little. Lesson 08.

A checkpoint is a folder ``step-00000100``: weights and optimizer state in safetensors,
numbers in ``state.json``, with a checksum of each file. It is written under another
name and renamed when whole, so a checkpoint is there or it is not.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from llmkit.training.processes import is_main
from llmkit.training.sharding import cut_like, is_sharded, whole
from llmkit.training.zero import is_zero, put_back, whole_shape, whole_state

BEST = "best.safetensors"


def save_checkpoint(
    folder: Path, step: int, model: nn.Module, optimizers: list, numbers: dict, keep=2
) -> Path:
    """Write the whole state after `step`; only then delete all but the last `keep`.

    numbers: whatever else belongs to the state and fits into JSON.

    Raises: OSError if it can't be written; checkpoints from before are untouched.
    """
    return write_checkpoint(folder, step, gather(model, optimizers), numbers, keep)


def gather(
    model: nn.Module, optimizers: list, keep: bool = True
) -> tuple[dict, dict, list[str]]:
    """Return whole weights, whole optimizer state, and the optimizers' kinds.

    Where weights are cut among processes, all of them must call this together. Each
    tensor goes to the machine's memory as soon as it is joined: a GPU may hold no more
    than its part of all. keep: False where another process is to have them alone.
    """

    def join(tensor: Tensor) -> Tensor | None:
        found = whole(tensor).detach()
        return found.cpu() if keep else None

    weights, seen = {}, set()
    for name, weight in model.state_dict(keep_vars=True).items():
        if id(weight) not in seen:  # a tied head is its embedding
            weights[name] = join(weight)
        seen.add(id(weight))
    if optimizers and is_zero(model):
        return weights, whole_state(model, *optimizers, keep), _kinds(optimizers)
    state = {name: join(x) for name, x in _flatten(model, optimizers).items()}
    return weights, state, _kinds(optimizers)


def write_checkpoint(
    folder: Path,
    step: int,
    found: tuple[dict, dict, list[str]],
    numbers: dict,
    keep: int = 2,
    best: dict[str, Tensor] | None = None,
) -> Path:
    """Write what `gather` found, as `save_checkpoint` says; for one process alone.

    best: weights of an earlier step that belong to the state, too.
    """
    weights, tensors, kinds = found
    final = Path(folder) / f"step-{step:08d}"
    draft = Path(folder) / f"draft-{step:08d}"
    for old in Path(folder).glob("draft-*"):  # what a killed run left
        shutil.rmtree(old, ignore_errors=True)
    try:
        draft.mkdir(parents=True)
        _save_tensors(weights, draft / "model.safetensors")
        _save_tensors(tensors, draft / "optimizer.safetensors")
        if best:
            _save_tensors(best, draft / BEST)
        sums = {f.name: _checksum(f) for f in sorted(draft.glob("*.safetensors"))}
        state = {"step": step, "optimizers": kinds, "checksums": sums, **numbers}
        state["own_checksum"] = _checksum_of(state)
        (draft / "state.json").write_text(json.dumps(state, indent=1))
        _flush(draft / "state.json")
        shutil.rmtree(final, ignore_errors=True)
        os.replace(draft, final)
        _flush(Path(folder))  # its name, too
    except (OSError, SafetensorError) as error:
        shutil.rmtree(draft, ignore_errors=True)
        good = [path.name for path in find_checkpoints(folder)][:1]
        raise OSError(
            f"could not save the checkpoint of step {step} in {str(folder)!r}: "
            f"{error}; the last good one is {good[0] if good else 'none'}; free some "
            "disk and go on with --resume"
        ) from error
    # What is later than this was damaged: this run has passed it over.
    good = [path for path in find_checkpoints(folder) if path.name <= final.name]
    for old in set(find_checkpoints(folder)) - set(good[:keep]):
        shutil.rmtree(old, ignore_errors=True)
    return final


def joined(model: nn.Module, fresh: Callable[[], nn.Module]) -> nn.Module:
    """Return a model with whole weights: itself, or a fresh one if its own are cut.

    Where they are, all processes must call this together, and the first gets it; the
    others keep what they have.
    """
    if not is_sharded(model):
        return model
    weights, _, _ = gather(model, [], keep=is_main())
    if not is_main():
        return model
    other = fresh()
    other.load_state_dict(_as_here(other, weights))
    return other


def find_checkpoints(folder: Path) -> list[Path]:
    """List the checkpoints of a run, the latest first."""
    return sorted(Path(folder).glob("step-*"), reverse=True)


def name_latest(out: Path) -> str:
    """Name the latest checkpoint below a folder, "" if there is none.

    Of several runs that follow each other there, it is one of the last.
    """
    found = sorted(Path(out).rglob("step-*"))
    return found[-1].name if found else ""


def numbers_in(checkpoint: Path) -> dict:
    """Read what a checkpoint tells in numbers, and none of its weights."""
    return json.loads((checkpoint / "state.json").read_text())


def load_best(checkpoint: Path) -> dict[str, Tensor]:
    """Read the weights of an earlier step that were kept as the best, whole.

    Raises: FileNotFoundError if none were kept.
    """
    return load_file(checkpoint / BEST)


def load_latest(folder: Path, model: nn.Module, optimizers: list) -> tuple[dict, list]:
    """Put the latest checkpoint that is whole into model and optimizers.

    Returns: its numbers ({} if there is none), among them the weights that were kept
    as the "best", and what is wrong with later ones.
    Raises: ValueError if it belongs to another model or other optimizers.
    """
    wrong = []
    for path in find_checkpoints(folder):
        try:
            state, weights, tensors = _read(path)
        except ValueError as error:
            wrong.append(str(error))
            continue
        if state["optimizers"] != _kinds(optimizers):
            raise ValueError(
                f"{path.name} was made with {state['optimizers']} and this run uses "
                f"{_kinds(optimizers)}: go on with the same optimizer, or start anew"
            )
        try:
            _put(model, optimizers, weights, tensors)
        except RuntimeError as error:
            what = str(error).splitlines()[-1].strip()
            raise ValueError(
                f"{path.name} is of another model ({what}): go on with the same shape "
                "and text, or start anew"
            ) from None
        return state, wrong
    return {}, wrong


def _put(model: nn.Module, optimizers: list, weights: dict, tensors: dict) -> None:
    """Put whole weights and states where the engine beneath keeps them.

    Raises: RuntimeError if they do not fit.
    """
    if not is_zero(model):
        model.load_state_dict(_as_here(model, weights))
        _unflatten(model, optimizers, tensors)
        return
    here, there = _as_here(model, weights), model.state_dict(keep_vars=True)
    for name in sorted(here.keys() ^ there.keys()):
        raise RuntimeError(f"Missing key: {name} is in one of them alone")
    for name, weight in there.items():
        if here[name].shape != whole_shape(weight):
            raise RuntimeError(f"size mismatch for {name}: {[*here[name].shape]}")
    put_back(model, *optimizers, here, tensors)


def _read(path: Path) -> tuple[dict, dict, dict]:
    """Read a checkpoint's numbers, weights and optimizer state.

    Raises: ValueError naming what is missing, cut short or changed; OSError if the
    disk does not answer, which says nothing about what is on it.
    """
    try:
        state = numbers_in(path)
        if state.pop("own_checksum") != _checksum_of(state):
            raise ValueError("state.json has a wrong checksum")
        for name, checksum in state["checksums"].items():
            if _checksum(path / name) != checksum:
                raise ValueError(f"{name} has a wrong checksum")
        weights = load_file(path / "model.safetensors")
        state["best"] = load_file(path / BEST) if BEST in state["checksums"] else {}
        return state, weights, load_file(path / "optimizer.safetensors")
    except (FileNotFoundError, ValueError, KeyError, TypeError, SafetensorError) as e:
        raise ValueError(f"{path.name} is damaged ({e})") from None


def _checksum_of(state: dict) -> str:
    return hashlib.sha256(json.dumps(state).encode()).hexdigest()


def _kinds(optimizers: list) -> list[str]:
    within = [getattr(optimizer, "optimizer", optimizer) for optimizer in optimizers]
    return [type(optimizer).__name__ for optimizer in within]


def _flatten(model: nn.Module, optimizers: list) -> dict[str, Tensor]:
    """Give each tensor of the optimizers' state a name."""
    names = {id(weight): name for name, weight in _named(model).items()}
    return {
        f"{i}/{names[id(weight)]}/{key}": value
        for i, optimizer in enumerate(optimizers)
        for weight, state in optimizer.state.items()
        for key, value in state.items()
    }


def _named(model: nn.Module) -> dict[str, nn.Parameter]:
    """Name the weights as a state_dict does, which knows no wrapped blocks.

    Activation checkpointing, where a launch file asks for it, wraps each block.
    """
    named = model.named_parameters()
    return {name.replace("_checkpoint_wrapped_module.", ""): x for name, x in named}


def _unflatten(model: nn.Module, optimizers: list, tensors: dict) -> None:
    weights = _named(model)
    for name, value in tensors.items():
        i, weight, key = name.split("/")
        where, optimizer = weights[weight], optimizers[int(i)]
        if value.ndim:
            optimizer.state[where][key] = cut_like(value, where)
        else:  # a step counter; AdamW keeps it beside the weight where it is fused
            fused = any(group.get("fused") is True for group in optimizer.param_groups)
            optimizer.state[where][key] = value.to(where.device) if fused else value


def _save_tensors(tensors: dict[str, Tensor], file: Path) -> None:
    """Write tensors, and flush."""
    save_file({n: t.contiguous().cpu() for n, t in tensors.items()}, file)
    _flush(file)


def _flush(path: Path) -> None:
    """Have a file, or a folder's list of names, on the disk itself.

    Windows opens no folder, and writes names by itself.
    """
    if os.name == "nt" and path.is_dir():
        return
    handle = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _as_here(model: nn.Module, weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Cut saved weights as this model's are, and give a tied one to both its names."""
    state = model.state_dict(keep_vars=True)
    saved = {id(tensor): name for name, tensor in state.items() if name in weights}
    names = {name: saved.get(id(tensor), name) for name, tensor in state.items()}
    here = {
        name: cut_like(weights[under], state[name])
        for name, under in names.items()
        if under in weights
    }
    return here | {n: w for n, w in weights.items() if n not in state}  # to be refused


def _checksum(file: Path) -> str:
    with open(file, "rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()
