"""Start Accelerate's launcher, and tell in a line which of its processes died how.

``python -m llmkit.training.launcher FILE FLAGS`` is ``accelerate launch FLAGS``, and
leaves in a file what it tells. By itself that ends with two tracebacks of its own, in
which the words of the process that died drown.
"""

import logging
import signal
import sys
from pathlib import Path
from subprocess import CalledProcessError

from accelerate.commands.launch import launch_command, launch_command_parser
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError


def main(file: Path, arguments: list[str]) -> int:
    """Be the launcher; return its exit code."""
    told = launch_command_parser().parse_args(arguments)
    told.quiet = False  # then it raises what it knows
    logging.disable(logging.ERROR)  # torch's own words on the same
    try:
        launch_command(told)
    except ChildFailedError as error:
        rank, code = first(error.failures)
        died = f"process {rank} of {told.num_processes} {describe(code)}"
    except CalledProcessError as error:
        died = f"the process {describe(error.returncode)}"
    else:
        return 0
    file.write_text(died)
    return 1


def first(failures: dict) -> tuple[int, int]:
    """Return the process that was the first to die, and its exit code.

    failures: of torch, by process, in the order in which it saw them: then it ended the
    others, by SIGTERM and, whoever did not heed that for long, by SIGKILL.
    """
    codes = {rank: failure.exitcode for rank, failure in failures.items()}
    began = min(int(failure.timestamp) for failure in failures.values())
    early = [rank for rank, one in failures.items() if int(one.timestamp) <= began + 1]
    own = [rank for rank in early if codes[rank] != -signal.SIGTERM] or early
    killed = [rank for rank in own if codes[rank] < 0]  # before those who missed it
    rank = (killed or own)[0]
    return rank, codes[rank]


def describe(code: int) -> str:
    """Say what a process's exit code tells.

    >>> describe(-9)
    'was killed by SIGKILL, as a system does whose memory is full'
    >>> describe(1)
    'died with exit code 1, its own words stand above'
    """
    if code >= 0:
        return f"died with exit code {code}, its own words stand above"
    name = signal.Signals(-code).name
    why = ", as a system does whose memory is full" if name == "SIGKILL" else ""
    return f"was killed by {name}{why}"


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.argv[2:]))
