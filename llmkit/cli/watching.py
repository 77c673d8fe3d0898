"""Run a launched command, stop all of it together, and begin again after a crash."""

import os
import shlex
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

MISTAKE = "LLMKIT_MISTAKE"  # where the first of many processes notes a user's mistake
LAUNCHER = "LLMKIT_LAUNCHER"  # the process that started all, by its number
PATIENCE = 30.0  # seconds to finish a step and save, after Ctrl-C


def show(environment: dict[str, str], line: list[str]) -> None:
    """Print a command as a shell would take it."""
    told = [f"{name}={value}" for name, value in environment.items()]
    print(f"$ {' '.join(told)} {shlex.join(line)}", flush=True)


def watch(work, line: Callable, environment: dict[str, str], restarts: int) -> int:
    """Run a command; after a crash begin it again, `restarts` times at most.

    line: gives the command of a piece of work.
    Returns: its exit code; 2 for a user's mistake, which no restart would mend, and 130
    after Ctrl-C.
    """
    with tempfile.TemporaryDirectory(prefix="llmkit-") as folder:
        mistake, death = Path(folder) / "mistake", Path(folder) / "death"
        environment = {**os.environ, **environment, MISTAKE: str(mistake)}
        environment[LAUNCHER] = str(os.getpid())
        for left in range(restarts, -1, -1):
            death.unlink(missing_ok=True)
            code = _run(_telling(line(work), death), environment)
            if code in (0, 130):
                return code
            if mistake.exists():
                return 2
            work = work.again()
            resumes = "--resume" in work.flags
            died = death.read_text() if death.exists() else "the launcher itself died"
            if left:
                where = f"from {_last(work)}" if resumes else "from the beginning"
                _say(f"{died}; it goes on {where}; {left - 1} restarts are left")
        more = ", or let --max-restarts 3 do so" * (not restarts)
        how = f"go on from {_last(work)} with --resume" if resumes else "begin again"
        _say(f"error: {died}; whatever else ran was stopped; {how}{more}")
        return code


def _telling(line: list[str], death: Path) -> list[str]:
    """Return the same command, with a launcher that tells in a file who died how."""
    module = line.index("accelerate.commands.launch")
    ours = ["llmkit.training.launcher", str(death)]
    return [*line[:module], *ours, *line[module + 1 :]]


def _say(words: str) -> None:
    print(f"llmkit launch: {words}", file=sys.stderr, flush=True)


def note_mistake(message: str) -> bool:
    """Note a user's mistake for who launched this; return whether it was the first.

    So that a mistake which every process makes is told once.
    """
    if MISTAKE not in os.environ:
        return True
    try:
        with open(os.environ[MISTAKE], "x") as file:
            file.write(message)
    except FileExistsError:
        return False
    except OSError:  # the launcher is gone
        return True
    return True


def mistake_is_noted() -> bool:
    """Tell whether another process of this run has noted a mistake."""
    return MISTAKE in os.environ and Path(os.environ[MISTAKE]).exists()


def end_with_launcher() -> None:
    """End this process soon after the one that launched it, however that one ends.

    Else a launcher that is killed would leave its run behind, with the folder taken.
    """
    if LAUNCHER not in os.environ:
        return
    import psutil

    def watch() -> None:
        with suppress(psutil.NoSuchProcess):
            launcher = psutil.Process(int(os.environ[LAUNCHER]))
            while launcher.status() != psutil.STATUS_ZOMBIE:
                time.sleep(1.0)
        os._exit(1)  # as if killed: the last checkpoint stays

    threading.Thread(target=watch, daemon=True).start()


def _last(work) -> str:
    """Name the last checkpoint of a run."""
    from llmkit.training import name_latest

    return name_latest(work.options.out) or "step 0"


def _run(line: list[str], environment: dict[str, str]) -> int:
    """Run a command to its end; leave none of its processes behind."""
    import psutil

    ours = psutil.Popen(line, env=environment, start_new_session=True)
    family: set[psutil.Process] = {ours}
    try:
        with _ended_like_ctrl_c():
            while True:
                _learn(ours, family)
                with suppress(psutil.TimeoutExpired):
                    return ours.wait(1.0)
    except KeyboardInterrupt:
        workers = _learn(ours, family)
        for process in workers or [ours]:  # the launcher ends when they have
            with suppress(psutil.Error):
                process.send_signal(signal.SIGINT)
        with suppress(KeyboardInterrupt):  # a second one stops at once
            psutil.wait_procs(family, PATIENCE)
        return 130
    finally:
        for process in family:
            with suppress(psutil.Error):
                process.kill()
        psutil.wait_procs(family, PATIENCE)


def _learn(ours, family: set) -> list:
    """Return a launcher's children; note them and theirs.

    It starts them in sessions of their own: once it is dead, nobody knows whose they
    are.
    """
    import psutil

    with suppress(psutil.Error):
        family |= set(ours.children(recursive=True))
        return ours.children()
    return []


@contextmanager
def _ended_like_ctrl_c() -> Iterator[None]:
    """Take a friendly request to end for Ctrl-C."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
