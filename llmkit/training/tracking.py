"""Write steps where a browser shows them as curves. Lesson 08."""

from collections.abc import Iterable, Iterator
from importlib.util import find_spec
from pathlib import Path

TRACKERS = ("auto", "none", "tensorboard", "wandb")
SHOWN = ("loss", "val_loss", "val_accuracy", "val_f1", "rate", "tokens", "seconds")


def track(steps: Iterable, out: Path, kind: str = "auto", about=None) -> Iterator:
    """Pass on each step of `fit` and have one of Accelerate's trackers note it.

    kind: "tensorboard" (to the folder `out`), "wandb" (Weights & Biases), "none", or
    "auto": TensorBoard where it is installed. about: what says which run this is. Of
    several processes the first notes.

    Raises: ValueError if there is no such tracker, or it is not installed.

    >>> from llmkit.training import Step
    >>> [s.number for s in track([Step(1, 2.5, 0.1, 64, 0.5, 1.0)], Path("."), "none")]
    [1]
    """
    kind = chosen_tracker(kind)
    tracker = _start(kind, Path(out), about or {}) if kind != "none" else None
    try:
        for step in steps:
            if tracker:
                told = {name: getattr(step, name, None) for name in SHOWN}
                told = {name: x for name, x in told.items() if x is not None}
                tracker.log(told, step=step.number)
            yield step
    finally:
        if tracker:
            tracker.finish()
        if hasattr(steps, "close"):  # at once, so that what it raises is heard
            steps.close()


def chosen_tracker(kind: str) -> str:
    """Return what "auto" stands for here, and any other name as it is.

    Raises: ValueError if there is no such tracker, or it is not installed.
    """
    if kind not in TRACKERS:
        raise ValueError(
            f"unknown tracker {kind!r}; choose one of {', '.join(TRACKERS)}"
        )
    if kind == "auto":
        return "tensorboard" if find_spec("tensorboard") else "none"
    if kind != "none" and not find_spec(kind):
        raise ValueError(
            f"--track {kind} needs {kind}, which is not installed: pip install {kind}, "
            "or leave it out; metrics.jsonl is written anyway"
        )
    return kind


def _start(kind: str, out: Path, about: dict):
    """Start one of Accelerate's trackers, with what says which run this is."""
    from accelerate.tracking import LOGGER_TYPE_TO_CLASS

    about = {k: v if isinstance(v, int | float) else str(v) for k, v in about.items()}
    where = {"logging_dir": out} if kind == "tensorboard" else {"dir": str(out)}
    name = "tensorboard" if kind == "tensorboard" else "llmkit"
    tracker = LOGGER_TYPE_TO_CLASS[kind](name, **where)
    tracker.start()
    if kind == "wandb":  # TensorBoard would make a run of its own of them
        tracker.store_init_configuration(about)
    return tracker
