"""The folder of a run: which run it holds, and what may be done to it."""

import hashlib
import shutil
from pathlib import Path

from llmkit.planning.shapes import FIELDS
from llmkit.pretraining.options import PretrainOptions
from llmkit.training import LOG, find_checkpoints

MODEL_FILES = ("config.json", "model.safetensors", "tokenizer.json", "run.json")
# What a run may go on with otherwise than it began: where the text lies, and how a
# batch is computed. What is learned from stays the same.
MAY_CHANGE = ("corpus", "size", "accumulation", "precision")
LATER = (
    *FIELDS,
    "batch_size",
    "optimizer",
)  # not in the record of an older run: the preset's


def identity(options: PretrainOptions, text: str) -> dict:
    """Return what says which run this is."""
    kept = ("corpus", "size", "objective", "tokenizer", "preset", "seed", "precision")
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
    told = {name: getattr(options, name) for name in kept}
    shape, recipe = options.shape(1), options.recipe
    told |= {name: getattr(shape, field) for name, field in FIELDS.items()}
    told |= {"batch_size": recipe.batch_size}
    told |= {"optimizer": recipe.training["optimizer"]}
    told |= {"accumulation": recipe.training["accumulation"]}
    return told | {"vocab_size": options.vocabulary, "text_sha256": digest}


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
