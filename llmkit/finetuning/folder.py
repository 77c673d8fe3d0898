"""The folder of a fine-tuning: which run it holds, and what may be done to it."""

import hashlib
import os
from dataclasses import asdict
from pathlib import Path

from llmkit.finetuning.examples import Splits
from llmkit.finetuning.options import FinetuneOptions
from llmkit.training import RECORD

FILES = ("config.json", "model.safetensors", RECORD)
CHECKPOINTS = "checkpoints"  # folder in --out, of a run that is not at its end
DONE = "checkpoints-done"  # the same, on its way out
# What a run may go on with otherwise than it began: texts may lie elsewhere.
MAY_CHANGE = ("data", "validation", "test", "text", "label", "bad_rows", "out", "track")
MAY_CHANGE += ("save_every", "overwrite", "resume")
# What a model of another kind may have left, and would be read beside the new one.
OLD = (RECORD, "model*.safetensors*", "tokenizer*.json", "vocab.*", "merges.txt")
OLD += ("special_tokens_map.json", "added_tokens.json")


def identity(options: FinetuneOptions, splits: Splits) -> dict:
    """Return what says which run this is."""
    told = {k: str(v) if isinstance(v, Path) else v for k, v in asdict(options).items()}
    texts = repr(
        [(x.texts, x.labels, x.names) for x in (splits.train, splits.validation)]
    )
    digest = hashlib.sha256(texts.encode("utf-8", "surrogatepass")).hexdigest()
    return told | {"text_sha256": digest}


def check_folder(options: FinetuneOptions) -> None:
    """Keep a new run from mixing with what lies in its folder."""
    out = options.out
    if out.exists() and not out.is_dir():
        raise ValueError(f"--out {str(out)!r} is a file; give a folder")
    known = options.model != "minilm" and out.exists()  # else there is no such model
    if known and Path(os.path.expanduser(options.model)).resolve() == out.resolve():
        raise ValueError("--out is the folder of --model, which would be overwritten")
    begun = (out / RECORD).exists()
    going = begun and (out / CHECKPOINTS).exists()
    if options.resume and not begun:
        raise ValueError(
            f"--resume: {str(out)!r} holds no run to go on with; leave --resume out to "
            "begin one"
        )
    if options.resume or options.overwrite:
        return
    if going:
        raise ValueError(
            f"--out {str(out)!r} holds a run that was stopped; choose another folder, "
            "or add --resume to go on with it, or --overwrite to throw it away"
        )
    if old := [name for name in FILES if (out / name).exists()]:
        raise ValueError(
            f"--out {str(out)!r} holds another model ({old[0]}); choose another "
            "folder, or add --overwrite to replace it"
        )
