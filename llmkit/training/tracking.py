"""Write steps where a browser shows them as curves. Lesson 08."""

from collections.abc import Iterable, Iterator
from importlib.util import find_spec
from pathlib import Path

TRACKERS = ("auto", "none", "tensorboard", "wandb")
SHOWN = ("loss", "val_loss", "val_accuracy", "val_f1", "rate", "tokens", "seconds")


def track(
    steps: Iterable, out: Path, kind: str = "auto", about=None, name: str = ""
) -> Iterator:
    """Pass on each step of `fit` and have one of Accelerate's trackers note it.

    kind: "tensorboard" (to the folder `out`), "wandb" (Weights & Biases), "none", or
    "auto": TensorBoard where it is installed. about: what says which run this is; name:
    of one of several in the folder. Of several processes the first notes.

    Raises: ValueError if there is no such tracker, it is not installed, or can't begin.

    >>> from llmkit.training import Step
    >>> [s.number for s in track([Step(1, 2.5, 0.1, 64, 0.5, 1.0)], Path("."), "none")]
    [1]
    """
    kind = chosen_tracker(kind)
    tracker = None
    try:
        for step in steps:
            if tracker is None and kind != "none":
                tracker = _start(kind, Path(out), about or {}, name, step.number)
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


def _start(kind: str, out: Path, about: dict, name: str, first: int):
    """Start one of Accelerate's trackers, with what says which run this is.

    first: the step that is noted first; TensorBoard drops what it has of that and later
    ones, which a run that was killed had made and makes again.
    """
    from accelerate.tracking import LOGGER_TYPE_TO_CLASS

    about = {k: v if isinstance(v, int | float) else str(v) for k, v in about.items()}
    board = {"logging_dir": out, "purge_step": first}
    where = board if kind == "tensorboard" else {"dir": str(out)}
    project = {"wandb": "llmkit"}.get(kind, kind)
    run = f"{project}/{name}" if name else project
    tracker = LOGGER_TYPE_TO_CLASS[kind](run, **where)
    try:
        tracker.start()
    except Exception as error:  # of many kinds
        why = str(error).strip().splitlines() or [type(error).__name__]
        offline = ", or set WANDB_MODE=offline" if kind == "wandb" else ""
        raise ValueError(
            f"--track {kind} could not begin ({why[0]}): mend that{offline}, or leave "
            "it out; metrics.jsonl is written anyway"
        ) from error
    if kind == "wandb":  # TensorBoard would make a run of its own of them
        tracker.store_init_configuration(about)
    return tracker
