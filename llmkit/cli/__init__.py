"""The command line: flags from dataclass fields, and which room answers."""

import io
import re
import sys
from collections.abc import Callable
from contextlib import redirect_stderr
from itertools import dropwhile, takewhile

import tyro

from llmkit.cli import models
from llmkit.cli.watching import end_with_launcher, mistake_is_noted, note_mistake

EXAMPLES = """examples:
  llmkit doctor
  llmkit course --profile smoke --only 00 01
  llmkit pretrain --corpus stories --out build/story-model
  llmkit pretrain --corpus my.txt --out build/mine --max-seconds 120
  llmkit pretrain --corpus python-docs --tokenizer bpe --vocab-size 2048 --out build/b
  llmkit pretrain --corpus python-docs --objective masked --tokenizer bpe --out build/m
  llmkit pretrain --corpus my.txt --layers 2 --width 256 --context 128 --out build/own
  llmkit generate build/story-model --prompt "Once" --max-new-tokens 300 --seed 1
  llmkit fill build/m "Return the [MASK] of the list."
  llmkit finetune --data reviews --out build/reviews
  llmkit finetune --data my.csv --text review --label stars --epochs 2 --out build/mine
  llmkit classify build/reviews "I have had worse evenings." "Never again."
  llmkit plan --preset gpt2-124m --tokens 10e9 --gpu h100 --gpus 8 --budget 500
  llmkit plan --layers 12 --width 768 --tokens 3e9 --gpu rtx4090 --deadline 3d
  llmkit plan --hf minilm --tokens 1e7 --gpu t4
  llmkit plan --preset tiny --tokens 1e6 --calibrate
  llmkit choose --task "sort mails into 5 classes" --examples 300 --hardware cpu
  llmkit launch cpu --processes 2 -- pretrain --corpus stories --out build/two
  llmkit launch ddp --max-restarts 3 -- pretrain --corpus my.txt --out build/mine
  llmkit progress --lesson 01
  llmkit notebooks --only 01
"""


def _pretrain():
    from llmkit.pretraining import PretrainOptions

    return PretrainOptions, models.pretrain


def _generate():
    return models.GenerateOptions, models.generate


def _fill():
    return models.FillOptions, models.fill


def _finetune():
    from llmkit.finetuning import FinetuneOptions

    return FinetuneOptions, models.finetune


def _classify():
    return models.ClassifyOptions, models.classify


def _plan():
    from llmkit.cli import plans

    return plans.PlanOptions, plans.plan


def _choose():
    from llmkit.cli import plans

    return plans.ChooseOptions, plans.choose


def _launch():
    from llmkit.cli import launching

    return launching.LaunchOptions, launching.run


def _course():
    from llmkit.course import CourseOptions, run

    return CourseOptions, run


def _notebooks():
    from llmkit.course import NotebookOptions, build

    return NotebookOptions, build


def _doctor():
    from llmkit.doctor import DoctorOptions, run

    return DoctorOptions, run


def _progress():
    from llmkit.exercises.overview import ProgressOptions, run

    return ProgressOptions, run


COMMANDS: dict[str, tuple[str, Callable]] = {
    "doctor": ("check this machine and say what to do about each problem", _doctor),
    "course": ("run the lessons without a browser and print a table", _course),
    "pretrain": ("train a language model on a text", _pretrain),
    "generate": ("continue a prompt with a trained model", _generate),
    "fill": ("fill in the [MASK]s of a text with a masked model", _fill),
    "finetune": ("teach a pretrained BERT to sort texts into classes", _finetune),
    "classify": ("sort texts with a model that finetune made", _classify),
    "plan": ("say what a run takes, and which technique to choose", _plan),
    "choose": ("choose a way to train, in words", _choose),
    "launch": ("train with pretrain or finetune on many processes or GPUs", _launch),
    "progress": ("show which exercises are done", _progress),
    "notebooks": ("build the notebooks from their sources", _notebooks),
}


def main(arguments: list[str] | None = None) -> int:
    """Run one command; return its exit code: 2 for a user's mistake."""
    arguments = sys.argv[1:] if arguments is None else arguments
    for stream in (sys.stdout, sys.stderr):  # a console that lacks a sign shows "?"
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    if not arguments or arguments[0] in ("-h", "--help"):
        print(_overview())
        return 0
    end_with_launcher()
    name, *rest = arguments
    if name not in COMMANDS:
        return _fail("llmkit", f"unknown command {name!r}; one of: {_names()}")
    try:
        kind, run = COMMANDS[name][1]()
        if name == "launch":
            return _launched(kind, run, rest)
        return run(_parse(name, kind, rest))
    except ConnectionError as error:  # another process died, which a restart may mend
        if not mistake_is_noted():  # or left for a reason that it has told
            print(f"llmkit {name}: error: {error}", file=sys.stderr)
        return 1
    except (ValueError, OSError) as error:
        return _fail(f"llmkit {name}", str(error))
    except KeyboardInterrupt:
        return 130


def _launched(kind: type, run: Callable, arguments: list[str]) -> int:
    """Launch the command that stands behind --, which has flags of its own."""
    cut = arguments.index("--") if "--" in arguments else len(arguments)
    options = _parse("launch", kind, arguments[:cut])

    def parse(name: str, flags: list[str]):
        return _parse(name, COMMANDS[name][1]()[0], flags)

    return run(options, arguments[cut + 1 :], parse)


def _parse(name: str, kind: type, arguments: list[str]):
    """Turn flags into the dataclass of options, or raise ValueError in one line."""
    about = f"{COMMANDS[name][0]}.\n\n{_examples(name)}"
    said = io.StringIO()
    try:
        with redirect_stderr(said):
            return tyro.cli(
                kind,
                prog=f"llmkit {name}",
                description=about,
                args=arguments,
                config=(tyro.conf.FlagCreatePairsOff,),
            )
    except SystemExit as stop:
        if not stop.code:
            raise
        raise ValueError(_flatten(said.getvalue())) from None


def _flatten(box: str) -> str:
    """Take the first paragraph out of the box that tyro draws around an error.

    The box is of lines, or of spaces and dashes where output can't show lines.
    """
    title, *lines = (line.strip("│╭╮╰╯─ ") for line in box.splitlines())
    lines = ("" if set(line) == {"-"} else line for line in lines)
    words = " ".join(takewhile(bool, dropwhile(lambda line: not line, lines)))
    what = re.sub(r"^Error parsing \w+: ", "", words or title)
    what = re.sub(  # of a flag that may be left out
        r"no type matching \{None\}\|(\w+) could be instantiated from \[(.*)\]",
        lambda found: f"expected {found[1]}, got {found[2]}",
        what,
    )
    return f"{what} (--help lists the flags)"


def _examples(name: str) -> str:
    first, *lines = EXAMPLES.splitlines()
    return "\n".join([first, *(x for x in lines if f"llmkit {name}" in x)])


def _overview() -> str:
    commands = "\n".join(f"  {name:<10} {what}" for name, (what, _) in COMMANDS.items())
    return (
        f"usage: llmkit COMMAND [flags]\n\n{commands}\n\n{EXAMPLES}\n"
        "llmkit COMMAND --help shows the flags of a command."
    )


def _names() -> str:
    return ", ".join(COMMANDS)


def _fail(who: str, message: str) -> int:
    if note_mistake(message):
        print(f"{who}: error: {' '.join(message.split())}", file=sys.stderr)
    return 2
