"""The folder of a run: which run it holds, and what may be done to it."""

import hashlib
import json
import os
import shutil
from pathlib import Path
from typing import TextIO

from llmkit.planning.shapes import FIELDS
from llmkit.pretraining.options import PretrainOptions
from llmkit.training import find_checkpoints

LOG = "metrics.jsonl"  # one line a step
MODEL_FILES = ("config.json", "model.safetensors", "tokenizer.json", "run.json")
# What a run may go on with otherwise than it began: where the text lies, and how a
# batch is computed. What is learned from stays the same.
MAY_CHANGE = ("corpus", "size", "accumulation", "precision")
LATER = (*FIELDS, "batch_size")  # not in the record of an older run: the preset's


def identity(options: PretrainOptions, text: str) -> dict:
    """Return what says which run this is."""
    kept = ("corpus", "size", "objective", "tokenizer", "preset", "seed", "precision")
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
    told = {name: getattr(options, name) for name in kept}
    shape, recipe = options.shape(1), options.recipe
    told |= {name: getattr(shape, field) for name, field in FIELDS.items()}
    told |= {"batch_size": recipe.batch_size}
    told |= {"accumulation": recipe.training["accumulation"]}
    return told | {"vocab_size": options.vocabulary, "text_sha256": digest}


def check_same_run(out: Path, identity: dict) -> None:
    """Let a run go on only as what it was; its text may have moved meanwhile."""
    try:
        before = dict(json.loads((out / "run.json").read_text()))
    except (ValueError, TypeError):
        raise ValueError(
            f"--resume: {str(out / 'run.json')!r} is damaged; begin again with "
            "--overwrite, or choose another --out"
        ) from None
    for name, now in identity.items():
        first = before.get(name, now if name in LATER else None)
        if name not in MAY_CHANGE and first != now:
            raise ValueError(
                f"--resume: {str(out)!r} was started with {name} {first!r}, not "
                f"{now!r}; use the same, or another --out"
            )


def check_folder(options: PretrainOptions) -> None:
    """Keep a new run from mixing with an old one."""
    out = Path(options.out)
    if out.exists() and not out.is_dir():
        raise ValueError(f"--out {str(out)!r} is a file; give a folder")
    old = [name for name in MODEL_FILES if (out / name).exists()]
    old += [path.name for path in find_checkpoints(out)]
    if options.resume and not (out / "run.json").exists():
        raise ValueError(
            f"--resume: {str(out)!r} holds no run to go on with; leave --resume out to "
            "begin one"
        )
    if old and not options.resume and not options.overwrite:
        raise ValueError(
            f"--out {str(out)!r} holds another run ({old[0]}); choose another folder, "
            "or add --resume to go on with it, or --overwrite to throw it away"
        )


def clear(out: Path) -> None:
    """Throw an old run away; whatever else lies in the folder stays."""
    for path in [*find_checkpoints(out), *out.glob("draft-*")]:
        shutil.rmtree(path)
    shutil.rmtree(out / "tensorboard", ignore_errors=True)
    for name in (*MODEL_FILES, LOG):
        (out / name).unlink(missing_ok=True)


def keep_log_before(number: int, out: Path) -> None:
    """Drop lines of steps that are made again, and one that a crash cut short."""
    log, kept = out / LOG, []
    for line in log.read_text().splitlines() if log.exists() else []:
        try:
            if json.loads(line)["number"] < number:
                kept.append(line + "\n")
        except (ValueError, TypeError, KeyError):
            continue
    replace_text(log, "".join(kept))


def replace_text(file: Path, text: str) -> None:
    """Write a file whole or not at all."""
    draft = file.with_name(f"{file.name}.part")
    draft.write_text(text)
    os.replace(draft, file)


def write_line(log: TextIO, step: dict) -> None:
    """Write down a step.

    Raises: OSError if the disk is full, and what to do then.
    """
    try:
        log.write(json.dumps(step) + "\n")
    except OSError as error:
        raise OSError(
            f"could not write {LOG}: {error}; free some disk and go on with --resume"
        ) from error
