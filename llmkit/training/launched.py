"""What the launcher of this process was asked for: an engine, and devices. Lesson 08.

Accelerate goes on with less where a machine has not what its launch file is for: on the
CPU without GPUs, without cutting weights on CPU processes. A run that was meant for
eight GPUs would then take a year, so llmkit refuses.
"""

import os
from functools import cache
from pathlib import Path

import torch


def engine_asked_for() -> str:
    """Return the engine that a launch file asked for, or "" for none."""
    if os.environ.get("ACCELERATE_USE_DEEPSPEED", "").lower() == "true":
        return "DeepSpeed"
    if os.environ.get("ACCELERATE_USE_FSDP", "").lower() == "true":
        return f"FSDP{os.environ.get('FSDP_VERSION', '1')}"
    return ""


def cpu_asked_for() -> bool:
    """Tell whether all is to be computed on the CPU, also where there is a GPU."""
    return os.environ.get("ACCELERATE_USE_CPU", "").lower() in ("1", "true", "yes")


def check_devices() -> None:
    """Refuse to go on without the GPUs that a launch file is for.

    Raises: ValueError that says what to do.
    """
    name, config = launch_file()
    if not name or cpu_asked_for() or config.get("use_cpu"):
        return
    here = int(os.environ.get("LOCAL_WORLD_SIZE", 1))
    there = torch.accelerator.device_count()
    if here > there:
        raise ValueError(
            f"the launch file {name!r} is for GPUs, {here} of them here, and torch "
            f"sees {there or 'none'}: use llmkit/launch/cpu.yaml, fewer processes, or "
            "a machine with the GPUs and a torch that knows them"
        )


@cache
def launch_file() -> tuple[str, dict]:
    """Return the name and the settings of the file that Accelerate's launcher has.

    It does not tell its processes: it is read off its command line. Empty where there
    was no such file, or no such launcher.
    """
    import psutil

    try:
        line = psutil.Process().parent().cmdline()
    except (psutil.Error, AttributeError):
        return "", {}
    told = [line[i + 1] for i, word in enumerate(line[:-1]) if word == "--config_file"]
    told += [x.partition("=")[2] for x in line if x.startswith("--config_file=")]
    launchers = ("accelerate", "llmkit.training.launcher")
    if not told or not any(name in word for word in line for name in launchers):
        return "", {}
    import yaml

    try:
        config = yaml.safe_load(Path(told[0]).read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError):
        return "", {}
    return told[0], config if isinstance(config, dict) else {}
