"""Look at this machine and say what the lessons will find: `llmkit doctor`.

Each examination returns one `Finding`: what was looked at, what was found, a mark that
needs no colour, and what to do about it. Only a ✗ stops a lesson.
"""

import json
import os
import platform
import shutil
import sys
import threading
import time
import urllib.error
import urllib.request
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path

from llmkit import pretrained

GOOD, NOTE, BAD = "✓", "!", "✗"
NEEDED = ["torch", "transformers", "datasets", "accelerate", "tokenizers"]
NEEDED += ["safetensors", "numpy", "ipykernel", "ipywidgets", "matplotlib"]
HANDY = ["jupyterlab", "papermill", "jupytext"]
INSTALL = 'pip install -c constraints.txt -e ".[course]"'
GB = 1e9


@dataclass(frozen=True)
class DoctorOptions:
    """Say whether this machine can run the lessons, and what to do where it cannot."""

    json: bool = False  # print the findings as JSON, for a program to read


@dataclass(frozen=True)
class Finding:
    """One line of the table: what was examined, what was found, what to do."""

    name: str
    value: str
    mark: str = GOOD
    advice: str = ""


def pinned_versions() -> dict[str, str]:
    """Read the tested versions from constraints.txt (in the clone or in the wheel).

    >>> pinned_versions()["torch"]
    '2.13.0'
    """
    here = Path(__file__).parent
    for path in (here.parent / "constraints.txt", here / "constraints.txt"):
        if path.is_file():
            lines = path.read_text(encoding="utf-8").splitlines()
            return dict(line.split("==") for line in lines if "==" in line[1:])
    return {}


def examine_package(name: str, tested: dict[str, str]) -> Finding:
    """Compare an installed version with the tested one; a missing one may be bad."""
    try:
        # a local version (2.13.0+cpu) is a build of the same release
        version = metadata.version(name).split("+")[0]
    except metadata.PackageNotFoundError:
        return Finding(name, "missing", BAD if name in NEEDED else NOTE, INSTALL)
    if version == tested.get(name, version):
        return Finding(name, version)
    advice = f"tested with {tested[name]}; if a lesson breaks: {INSTALL}"
    return Finding(name, version, NOTE, advice)


def examine_device() -> Finding:
    """Name what will compute: a GPU with its memory, Apple's, or this processor."""
    import torch

    if torch.cuda.is_available():
        device = torch.cuda.get_device_properties(0)
        count = torch.cuda.device_count()
        value = f"cuda: {count} × {device.name}, {device.total_memory / GB:.0f} GB"
        return Finding("device", value, GOOD, "lessons can take profile gpu")
    if torch.backends.mps.is_available():
        return Finding("device", f"mps: {platform.processor()}")
    return Finding("device", f"cpu: {_processor()}", GOOD, "lessons take profile cpu")


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:  # not Linux
        return platform.processor() or platform.machine()
    names = [x.split(":", 1)[1].strip() for x in lines if x.startswith("model name")]
    return names[0] if names else platform.machine()


def examine_cores() -> Finding:
    """Count the cores that this process may use."""
    affinity = getattr(os, "sched_getaffinity", None)
    cores = len(affinity(0)) if affinity else os.cpu_count() or 1
    if cores > 1:
        return Finding("cores", str(cores))
    return Finding("cores", "1", NOTE, "lessons will take about twice their minutes")


def examine_memory() -> Finding:
    """Check that a lesson fits into the memory that is free now."""
    import psutil

    memory = psutil.virtual_memory()
    value = f"{memory.available / GB:.1f} GB free of {memory.total / GB:.1f}"
    advice = "close other programs and shut down other kernels"
    return Finding("memory", value, *_enough(memory.available / GB, 1, 3, advice))


def examine_disk(folder: str = ".") -> Finding:
    """Check that checkpoints and executed notebooks fit on the disk."""
    free = shutil.disk_usage(folder).free / GB
    advice = "free some: checkpoints, data and executed notebooks go here"
    return Finding("disk", f"{free:.1f} GB free", *_enough(free, 0.5, 2, advice))


def _enough(have: float, least: float, good: float, advice: str) -> tuple[str, str]:
    if have >= good:
        return GOOD, ""
    need = f"a lesson needs {least:g} GB, {good:g} are comfortable; {advice}"
    return (NOTE if have >= least else BAD), need


def examine_precision(rounds: int = 10) -> Finding:
    """Time a training step of two layers in float32 and bfloat16: which pays here?"""
    import torch
    from torch.nn import Linear, ReLU, Sequential

    device = "cuda" if torch.cuda.is_available() else "cpu"
    net = Sequential(Linear(384, 1536), ReLU(), Linear(1536, 384)).to(device)
    x = torch.randn(512, 384, device=device)

    def step(dtype: torch.dtype) -> float:
        start = time.perf_counter()
        with torch.autocast(device, dtype, enabled=dtype != torch.float32):
            loss = net(x).float().square().mean()
        loss.backward()
        loss.item()  # waits until the device has finished
        return time.perf_counter() - start

    # on one core, turn and turn about, the best of each: other programs disturb less
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    pairs = [(step(torch.float32), step(torch.bfloat16)) for _ in range(rounds)]
    torch.set_num_threads(threads)
    ratio = min(full for full, _ in pairs) / min(short for _, short in pairs)
    best = "fp32"
    if ratio > 1.2:  # the layers of the lessons are too narrow for it on a CPU
        best = "bf16" if device == "cuda" else "fp32; bf16 where layers are wide"
    return Finding("precision", f"{best} (bf16 runs {ratio:.1f} × as fast)")


def examine_hub(timeout: float = 3.0) -> Finding:
    """Ask the hub for a sign of life; without one the offline sources remain."""
    from huggingface_hub import constants

    offline = "no matter: stories, python-docs and your files need no network"
    if constants.HF_HUB_OFFLINE:
        return Finding("hub", "switched off by HF_HUB_OFFLINE", NOTE, offline)
    reached = threading.Event()

    def knock() -> None:
        request = urllib.request.Request(constants.ENDPOINT, method="HEAD")
        try:
            urllib.request.urlopen(request, timeout=timeout).close()
        except urllib.error.HTTPError:
            pass  # an answer all the same
        except (OSError, ValueError):
            return
        reached.set()

    # a thread, because looking a name up knows no time limit
    thread = threading.Thread(target=knock, daemon=True)
    thread.start()
    thread.join(timeout)
    if reached.is_set():
        return Finding("hub", "reachable")
    return Finding("hub", "not reachable", NOTE, offline)


def examine_minilm() -> Finding:
    """Look for the offline BERT and check the digest of its weights."""
    name, folder = "offline BERT", pretrained.minilm_folder()
    if folder is None:
        advice = f"without a network: {pretrained.INSTALL}"
        return Finding(name, "missing", NOTE, advice)
    digest = pretrained.digest(folder / "model.safetensors") or "no weights"
    if digest == pretrained.MINILM_SHA256:
        return Finding(name, "MiniLM, checksum as published")
    advice = f"damaged or changed: {pretrained.INSTALL} --force-reinstall"
    return Finding(name, f"checksum: {digest[:10]}", BAD, advice)


def examine_kernel() -> Finding:
    """Check that Jupyter's kernel named python3 runs this very Python."""
    advice = "python -m ipykernel install --sys-prefix"
    from jupyter_client.kernelspec import KernelSpecManager, NoSuchKernel

    try:
        program = KernelSpecManager().get_kernel_spec("python3").argv[0]
    except NoSuchKernel:
        return Finding("kernel", "missing", BAD, advice)
    # a bare name means: the Python that runs Jupyter
    if os.path.isabs(program) and not _same_python(program):
        return Finding("kernel", f"python3 runs {program}", NOTE, advice)
    return Finding("kernel", "python3 runs this Python")


def _same_python(program: str) -> bool:
    # folders, not files: every environment's python links to the same program
    return Path(program).parent == Path(sys.executable).parent


def examine() -> list[Finding]:
    """Make every examination; one that breaks is itself a finding."""
    tested = pinned_versions()
    findings = [Finding("python", platform.python_version())]
    findings += [examine_package(name, tested) for name in NEEDED + HANDY]
    looks = (examine_kernel, examine_device, examine_precision, examine_cores)
    for look in (*looks, examine_memory, examine_disk, examine_minilm, examine_hub):
        try:
            findings.append(look())
        except Exception as error:  # a damaged package may raise anything
            name = look.__name__.removeprefix("examine_")
            reason = str(error).partition("\n")[0]
            findings.append(Finding(name, f"unknown: {reason}", BAD, INSTALL))
    return findings


def run(options: DoctorOptions) -> int:
    """Print the findings; return 1 where a lesson cannot run, else 0."""
    findings = examine()
    if options.json:
        print(json.dumps([asdict(finding) for finding in findings], indent=2))
    else:
        _print_table(findings)
    return int(any(finding.mark == BAD for finding in findings))


def _print_table(findings: list[Finding]) -> None:
    from rich.console import Console
    from rich.table import Table

    good, note, bad = marks = _marks(sys.stdout.encoding)
    shown = dict(zip((GOOD, NOTE, BAD), marks))
    table = Table("", "what", "here", "what to do", box=None, pad_edge=False)
    table.columns[1].no_wrap = True
    table.columns[3].ratio = 1  # advice takes what is left of the line
    for finding in findings:
        table.add_row(shown[finding.mark], finding.name, finding.value, finding.advice)
    Console(markup=False).print(table)  # [course] is no colour
    stops = sum(finding.mark == BAD for finding in findings)
    if stops:
        print(f"\n{bad} {stops} to mend before every lesson can run.")
    else:
        print(f"\n{good} Every lesson can run here ({note} = worth knowing).")


def _marks(encoding: str | None) -> tuple[str, str, str]:
    try:
        (GOOD + BAD).encode(encoding or "ascii")
    except UnicodeEncodeError:  # an old Windows console, or a file it writes
        return "ok", NOTE, "NO"
    return GOOD, NOTE, BAD
