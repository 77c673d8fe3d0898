"""Keep training's state on disk so that a stop, even a crash, loses little. Lesson 08.

A checkpoint is a folder ``step-00000100``: weights and optimizer state in safetensors,
numbers in ``state.json``, with a checksum of each file. It is written under another
name and renamed when whole, so a checkpoint is there or it is not.
"""

import hashlib
import json
import os
import shutil
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn


def save_checkpoint(
    folder: Path, step: int, model: nn.Module, optimizers: list, numbers: dict, keep=2
) -> Path:
    """Write the whole state after `step`; only then delete all but the last `keep`.

    numbers: whatever else belongs to the state and fits into JSON.

    Raises: OSError if it can't be written; checkpoints from before are untouched.
    """
    final = Path(folder) / f"step-{step:08d}"
    draft = Path(folder) / f"draft-{step:08d}"
    for old in Path(folder).glob("draft-*"):  # what a killed run left
        shutil.rmtree(old, ignore_errors=True)
    try:
        draft.mkdir(parents=True)
        _save_tensors(model.state_dict(), draft / "model.safetensors")
        tensors = _flatten(model, optimizers)
        _save_tensors(tensors, draft / "optimizer.safetensors")
        sums = {f.name: _checksum(f) for f in sorted(draft.glob("*.safetensors"))}
        kinds = _kinds(optimizers)
        state = {"step": step, "optimizers": kinds, "checksums": sums, **numbers}
        (draft / "state.json").write_text(json.dumps(state, indent=1))
        _flush(draft / "state.json")
        shutil.rmtree(final, ignore_errors=True)
        os.replace(draft, final)
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


def find_checkpoints(folder: Path) -> list[Path]:
    """List the checkpoints of a run, the latest first."""
    return sorted(Path(folder).glob("step-*"), reverse=True)


def load_latest(folder: Path, model: nn.Module, optimizers: list) -> tuple[dict, list]:
    """Put the latest checkpoint that is whole into model and optimizers.

    Returns: its numbers ({} if there is none), and what is wrong with later ones.
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
            model.load_state_dict(_untie(model, weights))
        except RuntimeError as error:
            what = str(error).splitlines()[-1].strip()
            raise ValueError(
                f"{path.name} is of another model ({what}): go on with the same shape "
                "and text, or start anew"
            ) from None
        _unflatten(model, optimizers, tensors)
        return state, wrong
    return {}, wrong


def _read(path: Path) -> tuple[dict, dict, dict]:
    """Read a checkpoint's numbers, weights and optimizer state.

    Raises: ValueError naming what is missing, cut short or changed; OSError if the
    disk does not answer, which says nothing about what is on it.
    """
    try:
        state = json.loads((path / "state.json").read_text())
        for name, checksum in state["checksums"].items():
            if _checksum(path / name) != checksum:
                raise ValueError(f"{name} has a wrong checksum")
        weights = load_file(path / "model.safetensors")
        return state, weights, load_file(path / "optimizer.safetensors")
    except (FileNotFoundError, ValueError, KeyError, TypeError, SafetensorError) as e:
        raise ValueError(f"{path.name} is damaged ({e})") from None


def _kinds(optimizers: list) -> list[str]:
    return [type(optimizer).__name__ for optimizer in optimizers]


def _flatten(model: nn.Module, optimizers: list) -> dict[str, Tensor]:
    """Give each tensor of the optimizers' state a name."""
    names = {id(weight): name for name, weight in model.named_parameters()}
    return {
        f"{i}/{names[id(weight)]}/{key}": value
        for i, optimizer in enumerate(optimizers)
        for weight, state in optimizer.state.items()
        for key, value in state.items()
    }


def _unflatten(model: nn.Module, optimizers: list, tensors: dict) -> None:
    weights = dict(model.named_parameters())
    for name, value in tensors.items():
        i, weight, key = name.split("/")
        where = weights[weight]
        # A step counter stays on the CPU in float32, as AdamW keeps it.
        device = value.device if value.ndim == 0 else where.device
        optimizers[int(i)].state[where][key] = value.to(device)


def _save_tensors(tensors: dict[str, Tensor], file: Path) -> None:
    """Write tensors, each memory once (a tied head is its embedding), and flush."""
    once = {t.data_ptr(): name for name, t in reversed(tensors.items())}
    chosen = {n: t for n, t in tensors.items() if t.numel() and once[t.data_ptr()] == n}
    save_file({n: t.contiguous().cpu() for n, t in chosen.items()}, file)
    _flush(file)


def _flush(file: Path) -> None:
    """Have a file on the disk itself before anything is said of it."""
    with open(file, "rb") as handle:
        os.fsync(handle.fileno())


def _untie(model: nn.Module, weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Give a weight that was saved under its other name back to both."""
    state = model.state_dict()
    here = {t.data_ptr(): weights[n] for n, t in state.items() if n in weights}
    return {n: here[t.data_ptr()] for n, t in state.items() if t.data_ptr() in here}


def _checksum(file: Path) -> str:
    with open(file, "rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()
