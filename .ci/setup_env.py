"""Make .venv with the tested versions; what `make setup` runs (Windows: `py` and this).

Standard library only, and in words that an old Python still understands, so that it
can say what is missing. A second call sees from .venv/ready.txt that nothing changed.
"""

from __future__ import print_function

import hashlib
import io
import os
import shutil
import subprocess
import sys

EXTRAS = "course,offline,test"
OLDEST = (3, 11)
NEEDED_GB = 4.0
INPUTS = ("pyproject.toml", "constraints.txt")
STAMP = os.path.join(".venv", "ready.txt")
PYTHON = os.path.join(
    ".venv", *(("Scripts", "python.exe") if os.name == "nt" else ("bin", "python"))
)


def missing_python():
    """Say in one line that this Python is too old, or return None."""
    if sys.version_info[:2] >= OLDEST:
        return None
    names = ["python3.%d" % minor for minor in range(14, OLDEST[1] - 1, -1)]
    newer = [name for name in names if on_path(name)]
    advice = "install one, then: make setup PYTHON=python3.12"
    if newer:
        advice = "you have one, so: make setup PYTHON=%s" % newer[0]
    this = "%d.%d.%d" % sys.version_info[:3]
    return "this is Python %s and 3.11 or newer is needed; %s" % (this, advice)


def on_path(name):
    """Tell whether a program of this name starts (a shim may exist and not start)."""
    try:
        with open(os.devnull, "w") as null:
            return subprocess.call([name, "-V"], stdout=null, stderr=null) == 0
    except OSError:
        return False


def missing_venv():
    """Say in one line that the standard library lacks venv, or return None."""
    import importlib.util

    if all(importlib.util.find_spec(name) for name in ("venv", "ensurepip")):
        return None
    return (
        "this Python has no venv module; install it (Debian and Ubuntu: "
        "apt install python%d.%d-venv), then try again" % sys.version_info[:2]
    )


def missing_disk():
    """Say in one line that the disk is too small for the packages, or return None."""
    free = shutil.disk_usage(".").free / 1e9
    if free >= NEEDED_GB or os.path.exists(PYTHON):
        return None
    return (
        "the packages need about %.0f GB of disk (10 with CUDA's) and %.1f GB are free "
        "here; free some, then try again" % (NEEDED_GB, free)
    )


def fingerprint():
    """Digest all that decides which packages are installed."""
    digest = hashlib.sha256(EXTRAS.encode("utf-8"))
    for name in INPUTS:
        with open(name, "rb") as file:
            digest.update(file.read())
    return digest.hexdigest()


def stamp():
    """Return (fingerprint, folder) of the finished .venv, or two empty strings."""
    try:
        with io.open(STAMP, encoding="utf-8") as file:
            digest, folder = file.read().splitlines()
        return digest, folder
    except (IOError, OSError, ValueError):
        return "", ""


def is_ready():
    """Tell whether .venv was finished for these inputs, here, and still starts."""
    return stamp() == (fingerprint(), os.getcwd()) and on_path(PYTHON)


def install():
    """Make .venv and install into it; the stamp is written last, so only when whole."""
    moved = stamp()[1] not in ("", os.getcwd())  # its programs name their old folder
    if os.path.exists(STAMP):
        os.remove(STAMP)
    if moved or not on_path(PYTHON):
        subprocess.check_call([sys.executable, "-m", "venv", "--clear", ".venv"])
    pip = [PYTHON, "-m", "pip", "--disable-pip-version-check", "install"]
    if not sys.stdout.isatty():
        pip.append("-qq")  # in a terminal the reader sees the downloads move
    print("Installing the tested versions into .venv (a minute or a few) ...")
    sys.stdout.flush()
    pip += ["--constraint", "constraints.txt", "--editable", ".[%s]" % EXTRAS]
    subprocess.check_call(pip)
    with io.open(STAMP, "w", encoding="utf-8") as file:
        file.write("%s\n%s\n" % (fingerprint(), os.getcwd()))
    print("Ready.")


def main():
    """Set up once; exit 1 with one line that says what is missing."""
    os.chdir(os.path.join(os.path.dirname(os.path.abspath(__file__)), os.pardir))
    if is_ready():
        return
    for missing in (missing_python, missing_venv, missing_disk):
        if missing():
            sys.exit("llmkit: error: " + missing())
    try:
        install()
    except subprocess.CalledProcessError:
        sys.exit(
            "llmkit: error: the set-up did not finish (pip's reason stands above); "
            "nothing is marked as ready, so simply try again"
        )


if __name__ == "__main__":
    main()
