"""The processes of one run: how they start, agree, stop, and notice a loss. Lesson 08.

A launcher (`llmkit launch`, ``accelerate launch``, ``torchrun``) starts one program
several times and tells each by its environment who it is. Started by hand, a program
is the only process, and all of this comes down to nothing.
"""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from importlib.util import find_spec

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState, PartialState
from accelerate.utils import broadcast_object_list, gather_object

from llmkit.training.launched import check_devices, cpu_asked_for, engine_asked_for

TIME_LIMIT = 600.0  # seconds that processes wait for each other, unless told


def join() -> PartialState:
    """Meet the other processes of this run, once; later calls return the same.

    Raises: ValueError if LLMKIT_TIME_LIMIT, how long to wait for each other, is no
    number above 0, or the devices that a launch file is for are not here.
    """
    if not PartialState._shared_state:
        check_devices()
    told = os.environ.get("LLMKIT_TIME_LIMIT", str(TIME_LIMIT))
    try:
        limit = timedelta(seconds=float(told))
        if limit.total_seconds() <= 0:
            raise ValueError
    except (ValueError, OverflowError):
        raise ValueError(
            f"LLMKIT_TIME_LIMIT is {told!r}: expected seconds, above 0; unset it, or "
            "use llmkit launch --time-limit"
        ) from None
    return PartialState(cpu=on_cpu(), timeout=limit)


def is_main() -> bool:
    """Tell whether this process writes files and speaks for all."""
    return join().is_main_process


def wait_for_all() -> None:
    """Go on only when every process is here."""
    state = join()
    with naming_a_loss(state):
        state.wait_for_everyone()


def from_all(value) -> list:
    """Return what each process has, in their order; all must call it together."""
    if join().num_processes == 1:
        return [value]
    with naming_a_loss(join()):
        return gather_object([value])


def as_main_has_it(value):
    """Return in every process what the first one has.

    For what is decided by rounding: processes that decide otherwise would wait for each
    other forever.
    """
    found = [value]
    if join().num_processes > 1:
        with naming_a_loss(join()):
            broadcast_object_list(found)
    return found[0]


def leave() -> None:
    """Say goodbye to the other processes; the end of a program with several."""
    if PartialState._shared_state:
        PartialState().destroy_process_group()


def start(mixed_precision: str) -> Accelerator:
    """Start accelerate anew: it would keep the precision of its first start.

    Raises: ValueError if that is not the engine that was asked for.
    """
    asked = engine_asked_for()
    if asked == "DeepSpeed" and not find_spec("deepspeed"):
        raise ValueError(
            "this run asks for DeepSpeed, which is not installed: pip install "
            "deepspeed, or choose another launch file, such as fsdp2"
        )
    join()
    AcceleratorState._reset_state()
    accelerator = Accelerator(mixed_precision=mixed_precision, cpu=on_cpu())
    got = engine(accelerator)
    if asked and got != asked:
        raise ValueError(
            f"this run asks for {asked} and would get {got}: Accelerate falls back to "
            "that on CPU processes, or where it was started with other settings; use "
            "llmkit launch cpu here, or run it where each process has a GPU"
        )
    return accelerator


def engine(accelerator: Accelerator) -> str:
    """Return what runs beneath: FSDP2, DeepSpeed, data parallel, or one process."""
    kind = accelerator.distributed_type.value
    if kind == "FSDP":
        version = getattr(accelerator.state.fsdp_plugin, "fsdp_version", 1)
        return f"FSDP{version}"
    if kind == "DEEPSPEED":
        return "DeepSpeed"
    return "one process" if kind == "NO" else f"plain data parallel ({kind})"


def agree(accelerator: Accelerator, *numbers: float) -> list[float]:
    """Return the largest that any process has of each number."""
    if accelerator.num_processes == 1:
        return list(numbers)
    mine = torch.tensor([numbers], dtype=torch.float32, device=accelerator.device)
    return accelerator.gather(mine).amax(dim=0).tolist()


@contextmanager
def naming_a_loss(accelerator: Accelerator | PartialState) -> Iterator[None]:
    """Say in words what torch says where another process has died.

    Raises: ConnectionError.
    """
    try:
        yield
    except RuntimeError as error:
        several = accelerator.num_processes > 1
        if not several or not _is_loss(error):
            raise
        why = " ".join(str(error).split())
        raise ConnectionError(
            f"process {accelerator.process_index} of {accelerator.num_processes} lost "
            f"another one, which died or did not answer in time ({why[:200]})"
        ) from error


class Interrupts:
    """Hold Ctrl-C back until a step is whole; a second one stops at once.

    One process stops after the step in which it was asked to. Several must stop after
    the same step, so they hold Ctrl-C back through the whole run, and tell each other
    of it once a step.
    """

    def __init__(self, several: bool):
        self.several, self.caught, self._before = several, False, None
        self.agreed = 0.0  # above 0 if all of several are to stop
        if several:
            self._listen()

    @contextmanager
    def held(self) -> Iterator[None]:
        """Make one step, through which Ctrl-C only makes a note."""
        if not self.several:
            self.caught = False
            self._listen()
        try:
            yield
        finally:
            if not self.several:
                self.close()

    def heed(self) -> None:
        """Raise KeyboardInterrupt if it came in the step before, to any of several."""
        if self.agreed if self.several else self.caught:
            raise KeyboardInterrupt

    def close(self) -> None:
        """Leave Ctrl-C to whom it belonged."""
        if self._before is not None:
            signal.signal(signal.SIGINT, self._before)
            self._before = None

    def _listen(self) -> None:
        now = signal.getsignal(signal.SIGINT)
        in_main = threading.current_thread() is threading.main_thread()
        if in_main and callable(now):  # else nobody listens to Ctrl-C here
            self._before = now
            signal.signal(signal.SIGINT, self._catch)

    def _catch(self, number, frame) -> None:
        self.caught = True
        self.close()


def on_cpu() -> bool:
    """Tell whether processes are to work on the CPU.

    Accelerate itself would take each of several processes without a GPU for the only
    one.
    """
    if cpu_asked_for():
        return True
    device = torch.accelerator.current_accelerator()
    alone = device is None or device.type == "mps"  # several can't share it
    return "LOCAL_RANK" in os.environ and alone


def _is_loss(error: RuntimeError) -> bool:
    """Tell torch's many ways to say that another process is gone from other errors."""
    words = ("gloo", "nccl", "connection closed by peer", "connection reset by peer")
    said = str(error).lower()
    return isinstance(error, torch.distributed.DistError) or any(
        word in said for word in words
    )
