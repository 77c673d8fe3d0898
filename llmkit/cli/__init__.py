"""The command line: flags from dataclass fields, and which room answers."""

import io
import json
import re
import sys
from collections.abc import Callable
from contextlib import closing, redirect_stderr
from dataclasses import dataclass
from itertools import dropwhile, takewhile
from pathlib import Path

import tyro

EXAMPLES = """examples:
  llmkit doctor
  llmkit course --profile smoke --only 00 01
  llmkit pretrain --corpus stories --out build/story-model
  llmkit pretrain --corpus my.txt --out build/mine --max-seconds 120
  llmkit pretrain --corpus python-docs --tokenizer bpe --vocab-size 2048 --out build/b
  llmkit pretrain --corpus python-docs --objective masked --tokenizer bpe --out build/m
  llmkit generate build/story-model --prompt "Once" --max-new-tokens 300 --seed 1
  llmkit fill build/m "Return the [MASK] of the list."
  llmkit progress --lesson 01
  llmkit notebooks --only 01
"""


@dataclass(frozen=True)
class GenerateOptions:
    """Continue a prompt with a model that `llmkit pretrain` made."""

    folder: tyro.conf.Positional[Path]  # the --out folder of a finished pretrain
    prompt: str = ""  # the text to continue; "" begins a new one
    max_new_tokens: int = 200  # how many tokens to add
    temperature: float = 1.0  # 0 takes the best token always; above 1 is wilder
    top_k: int | None = None  # draw among the k best tokens only
    top_p: float | None = None  # draw among the fewest that reach this probability
    seed: int | None = None  # the same seed, the same text


@dataclass(frozen=True)
class FillOptions:
    """Fill in the blanks of a text with a model that was pretrained on masks."""

    folder: tyro.conf.Positional[Path]  # the --out folder of a pretrain, masked
    text: tyro.conf.Positional[str]  # a text with [MASK] in place of words
    top: int = 5  # how many tokens to show for each blank


def pretrain(options) -> int:
    """Train, print what it costs first and one JSON object last."""
    from llmkit.pretraining import Pretraining
    from llmkit.training import find_checkpoints, show_progress

    run = Pretraining(options)
    print(f"This run: {run.cost}.", flush=True)
    try:
        with closing(run.steps()) as steps:
            for _ in show_progress(steps):
                pass
    except KeyboardInterrupt:
        kept = [path.name for path in find_checkpoints(options.out)]
        what = f"{kept[0]} is kept" if kept else "there is no checkpoint yet"
        print(
            f"llmkit pretrain: stopped; {what} in {str(options.out)!r}; go on with the "
            "same command and --resume",
            file=sys.stderr,
        )
        return 130
    print(json.dumps(run.result()))
    return 0


def generate(options: GenerateOptions) -> int:
    """Print the prompt and then each token as it is drawn."""
    import torch

    from llmkit import generation
    from llmkit.pretraining import END, prompt_ids, spell
    from llmkit.tokenizer import load_tokenizer
    from llmkit.transformer import load_model

    model = load_model(options.folder)
    if not hasattr(model, "new_cache"):
        raise ValueError(
            f"{str(options.folder)!r} holds a {type(model).__name__}, which writes no "
            "texts: use llmkit fill, or train a GPT with llmkit pretrain"
        )
    tokenizer = load_tokenizer(options.folder)
    ids = torch.tensor([prompt_ids(tokenizer, options.prompt)], dtype=torch.long)
    tokens = generation.generate(
        model,
        ids,
        options.max_new_tokens,
        temperature=options.temperature,
        top_k=options.top_k,
        top_p=options.top_p,
        seed=options.seed,
        end=tokenizer.special_tokens.get(END),
    )
    print(options.prompt, end="", flush=True)
    for text in spell(tokenizer, (int(token) for token in tokens)):
        print(text, end="", flush=True)
    print()
    return 0


def fill(options: FillOptions) -> int:
    """Print the best tokens for each blank, the likeliest first."""
    from llmkit.pretraining import fill_blanks

    blanks = fill_blanks(options.folder, options.text, options.top)
    for number, guesses in enumerate(blanks, start=1):
        print(f"blank {number}")
        for token, p in guesses:
            print(f"  {p:6.1%}  {token}")
    return 0


def _pretrain():
    from llmkit.pretraining import PretrainOptions

    return PretrainOptions, pretrain


def _generate():
    return GenerateOptions, generate


def _fill():
    return FillOptions, fill


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
    name, *rest = arguments
    if name not in COMMANDS:
        return _fail("llmkit", f"unknown command {name!r}; one of: {_names()}")
    try:
        kind, run = COMMANDS[name][1]()
        return run(_parse(name, kind, rest))
    except (ValueError, OSError) as error:
        return _fail(f"llmkit {name}", str(error))
    except KeyboardInterrupt:
        return 130


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
    print(f"{who}: error: {' '.join(message.split())}", file=sys.stderr)
    return 2
