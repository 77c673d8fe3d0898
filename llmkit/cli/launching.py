"""`llmkit launch`: the same command in one process or many, as a launch file says.

A launch file is a config file of Accelerate. This module finds it, refuses what can't
work before anything starts, and puts the command together; `llmkit.cli.watching` runs
it.
"""

import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path

import tyro

from llmkit.cli import watching
from llmkit.planning import hardware

FILES = Path(__file__).parent.parent / "launch"
WORKS = ("pretrain", "finetune")  # commands that can be launched


@dataclass(frozen=True)
class LaunchOptions:
    """Train in one process or many; behind -- stands the command to launch."""

    name: tyro.conf.Positional[str]  # a launch file by its name, or a .yaml of your own
    processes: int | None = None  # in all; else as many as the launch file says
    max_restarts: int = 0  # times to go on from the last checkpoint after a crash
    time_limit: float = 600.0  # seconds that processes wait for one that is silent
    machine: int | None = None  # which of several machines this is, from 0
    address: str | None = None  # of machine 0, as the others see it
    dry_run: bool = False  # print the command and start nothing

    def __post_init__(self):
        for name, least in (("processes", 1), ("max_restarts", 0), ("machine", 0)):
            value = getattr(self, name)
            if value is not None and value < least:
                flag = name.replace("_", "-")
                raise ValueError(f"--{flag} must be {least} or more: got {value}")
        if not self.time_limit > 0:
            raise ValueError(f"--time-limit must be above 0: got {self.time_limit}")


@dataclass(frozen=True)
class Work:
    """What is launched: its name, its flags and what they say."""

    name: str
    flags: tuple[str, ...]
    options: object
    old: int | None = None  # when the record of a run was written that lay there before

    def again(self) -> "Work":
        """Return the command that goes on after a crash, from what it left."""
        now = _written(self.options)
        if now is None or (now == self.old and "--resume" not in self.flags):
            return self  # it had not begun: what lies there is another run's
        kept = tuple(x for x in self.flags if x not in ("--overwrite", "--resume"))
        return replace(self, flags=(*kept, "--resume"))


def known() -> list[str]:
    """Return the names of the launch files that llmkit brings."""
    return sorted(path.stem for path in FILES.glob("*.yaml"))


def run(options: LaunchOptions, command: list[str], parse: Callable) -> int:
    """Print the whole command, run it, and return its exit code."""
    file, config = read(options.name)
    work = _work(command, parse)
    processes = options.processes or config["num_processes"]
    _check_shares(options, config, processes, work)
    if not options.dry_run:
        check_machine(options, config, processes)
    environment = {}
    if options.time_limit != LaunchOptions.time_limit:
        environment["LLMKIT_TIME_LIMIT"] = f"{options.time_limit:g}"
    if config.get("use_cpu"):
        environment["ACCELERATE_USE_CPU"] = "true"
    launcher = _launcher(options, file, config, processes)

    def line(work: Work) -> list[str]:
        return [*launcher, "-m", "llmkit", work.name, *work.flags]

    watching.show(environment, line(work))
    if options.dry_run:
        return 0
    return watching.watch(work, line, environment, options.max_restarts)


def read(name: str) -> tuple[Path, dict]:
    """Find a launch file by its name, or by its path, and read it.

    Raises: ValueError that lists the known ones.
    """
    import yaml

    own = name.endswith((".yaml", ".yml"))
    file = Path(name) if own else FILES / f"{name}.yaml"
    if not file.is_file():
        what = "no launch file" if own else "unknown launch file"
        raise ValueError(
            f"{what} {name!r}; choose one of {', '.join(known())}, or give a .yaml file"
        )
    try:
        config = yaml.safe_load(file.read_text(encoding="utf-8"))
        whole = {"distributed_type", "num_processes"} <= set(config)
    except (yaml.YAMLError, UnicodeError, TypeError) as error:
        why = " ".join(str(error).split())
        raise ValueError(f"the launch file {name!r} can't be read: {why}") from None
    if not whole:
        raise ValueError(
            f"the launch file {name!r} says no distributed_type or num_processes: "
            f"begin with a copy of {FILES / 'ddp.yaml'}"
        )
    return file, config


def check_machine(options: LaunchOptions, config: dict, processes: int) -> None:
    """Refuse what this machine can't do.

    Raises: ValueError that says what came, what is here, and what to do.
    """
    import torch

    name, machines = options.name, config.get("num_machines", 1)
    if machines > 1 and (options.machine is None or options.address is None):
        raise ValueError(
            f"launch file {name!r} starts on {machines} machines: add --machine 0 on "
            "the first and so on, and --address with that of machine 0, as the others "
            "see it"
        )
    here = -(-processes // machines)
    if config["distributed_type"] == "DEEPSPEED" and not find_spec("deepspeed"):
        raise ValueError(
            f"launch file {name!r} needs DeepSpeed, which is not installed: pip "
            "install deepspeed, or use fsdp2, which does the same"
        )
    if config.get("use_cpu"):
        there, what, other = hardware.usable_cores(), "cores", "cpu"
    else:
        there, what, other = torch.cuda.device_count(), "GPUs", name
    if not there:
        raise ValueError(
            f"launch file {name!r} needs {here} GPU{'s' * (here > 1)} and torch sees "
            "none here: use llmkit launch cpu, or a machine with a GPU and a torch "
            "that knows it"
        )
    if here > there:
        raise ValueError(
            f"{here} processes are asked for and this machine has {there} "
            f"{what[: len(what) - (there == 1)]}: use "
            f"llmkit launch {other} --processes {there * machines}"
        )


def _work(command: list[str], parse: Callable) -> Work:
    """Read the command behind --, so that its mistakes are told once, and first."""
    if not command or command[0] not in WORKS:
        what = f"got {command[0]!r}" if command else "nothing stands there"
        raise ValueError(
            f"behind -- comes the command to launch, {' or '.join(WORKS)}: {what}; "
            "for example: llmkit launch cpu -- pretrain --corpus stories --out build/x"
        )
    name, *flags = command
    options = parse(name, flags)
    return Work(name, tuple(flags), options, _written(options))


def _written(options) -> int | None:
    """Return when the record of a run was written, None if there is none."""
    record = Path(options.out) / "run.json"
    return record.stat().st_mtime_ns if record.exists() else None


def _check_shares(options, config: dict, processes: int, work: Work) -> None:
    """Refuse processes among which machines, the work or a batch do not divide."""
    machines = config.get("num_machines", 1)
    if processes % machines:
        raise ValueError(
            f"{processes} processes do not divide among {machines} machines: use a "
            f"multiple of {machines}"
        )
    if options.machine is not None and options.machine >= machines:
        raise ValueError(
            f"--machine is {options.machine} and the launch file has {machines}: "
            f"expected 0 to {machines - 1}"
        )
    _check_optimizer(options, config, work)
    told = work.options
    rows = (told.recipe if work.name == "pretrain" else told).batch_size
    if rows % processes:
        fits = [n for n in range(1, rows + 1) if not rows % n]
        raise ValueError(
            f"a batch of {rows} rows does not divide among {processes} processes: use "
            f"--processes with one of {', '.join(map(str, fits))}"
        )


def _check_optimizer(options, config: dict, work: Work) -> None:
    """Refuse an optimizer that the engine can't share out."""
    if work.name == "finetune" or config["distributed_type"] != "DEEPSPEED":
        return
    if work.options.training().optimizer == "muon":
        raise ValueError(
            f"launch file {options.name!r} cuts weights into flat pieces, and Muon "
            "needs whole matrices: add --optimizer adamw, or use fsdp2"
        )


def _launcher(options, file: Path, config: dict, processes: int) -> list[str]:
    """Return the command of Accelerate up to the module that it starts."""
    line = [sys.executable, "-m", "accelerate.commands.launch", "--quiet"]
    line += ["--config_file", str(file), "--num_processes", str(processes)]
    if config.get("use_cpu") and processes > 1:
        # Accelerate starts several processes on the CPU by way of its GPU launcher,
        # alone; ACCELERATE_USE_CPU then keeps them off the GPU.
        line += ["--multi_gpu"]
        if config.get("num_machines", 1) == 1:
            line += ["--main_process_port", "0"]  # any that is free
    if options.machine is not None:
        line += ["--machine_rank", str(options.machine)]
    if options.address is not None:
        line += ["--main_process_ip", options.address]
    return line
