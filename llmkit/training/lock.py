"""One run at a time in a folder. Lesson 08."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from llmkit.training.processes import is_main, wait_for_all

LOCK = ".lock"  # stays when the run is over: it is the open file that locks


@contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """Keep other runs out of a folder, which is made, while this one works there.

    The system gives the lock back when the process ends, however it does.

    Raises: ValueError if another run is at work there.
    """
    if not is_main():  # the first process keeps it for all
        wait_for_all()
        yield
        return
    Path(folder).mkdir(parents=True, exist_ok=True)
    lock = FileLock(Path(folder) / LOCK)
    try:
        lock.acquire(blocking=False)
    except Timeout:
        raise ValueError(
            f"another run is at work in {str(folder)!r}; wait for it, stop it, or "
            "choose another --out"
        ) from None
    try:
        wait_for_all()
        yield
    finally:
        lock.release()
