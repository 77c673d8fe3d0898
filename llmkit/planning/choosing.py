"""Train from scratch, fine-tune all or a part, or only prompt? Lessons 05 to 08.

A rule of thumb that shows its figures: how many examples there are, what each way needs
of them, and what the hardware holds.
"""

from dataclasses import dataclass

from llmkit.planning.hardware import machine, machine_names
from llmkit.planning.ranges import say_bytes, say_count, say_seconds
from llmkit.planning.tasks import kind_of

SCRATCH, ALL, PART, PROMPT = (
    "train from scratch",
    "fine-tune all of a pretrained model",
    "fine-tune a part of a pretrained model",
    "prompt a model with a few examples in the text",
)
# The kinds of tasks, as `kind_of` tells them.
ABOUT = {
    "classify": "sorting texts into classes",
    "write": "writing texts",
    "language": "a model of a kind of text",
}
QUALITY = {"quick": 0.5, "good": 1.0, "best": 2.0}
FEW, SOME = 40, 500  # examples from which a part of a model moves safely, and all of it
STATE = 16  # bytes of a parameter in training: weight, gradient, two averages
LENGTH = 250  # tokens of an example, unless told
PER_PARAMETER = 20  # tokens that a parameter needs from scratch: Hoffmann et al. 2022
BASE = {"classify": 110e6, "write": 1.5e9, "language": 124e6}  # models to begin from
# Parameters that the text must be enough for before scratch is worth it: to write, as
# many as a pretrained model has; to be a model of this very text, a small model's.
WORTH = {"language": 1e6, "write": BASE["write"]}
SMALL_BASE = 22.7e6  # to sort texts on a CPU: MiniLM, which lesson 07 begins from
PROMPTED = 7e9  # few-shot prompting works from some billions on


@dataclass(frozen=True)
class ChooseOptions:
    """What is to be done, with how many examples, on what."""

    task: str  # in words: "sort mails into 5 classes"
    examples: int  # labelled ones; for writing, texts of the kind that is wanted
    hardware: str = "cpu"  # cpu (a laptop's), gpu (24 GB) or 8xgpu (80 GB each)
    quality: str = "good"  # quick, good or best
    tokens: int = LENGTH  # of an example, about
    json: bool = False  # print one JSON object, for a program to read

    def __post_init__(self):
        for name, known in (("hardware", machine_names()), ("quality", QUALITY)):
            if getattr(self, name) not in known:
                raise ValueError(
                    f"unknown --{name} {getattr(self, name)!r}; choose one of "
                    f"{', '.join(known)}"
                )
        if self.examples < 0:
            raise ValueError(f"--examples can't be below 0: got {self.examples}")
        if self.tokens < 1:
            raise ValueError(f"--tokens must be above 0: got {self.tokens}")
        if not self.task.strip():
            raise ValueError('--task is empty: say it in words, "sort mails into 5"')


@dataclass(frozen=True)
class Choice:
    """Which way to take, why, and what to read."""

    technique: str
    kind: str  # of task: classify, write, language
    reasons: list[str]
    lessons: list[str]
    command: str
    instead: str  # what would change the answer


def choose(options: ChooseOptions) -> Choice:
    """Choose a way to train for a task.

    Raises: ValueError if the words do not tell what kind of task it is.
    Source: Howard and Ruder 2018 (fine-tuning), Brown et al. 2020 (few-shot), Hoffmann
    et al. 2022 (tokens a parameter); Lessons 06 to 08.

    >>> choose(ChooseOptions("sort mails into 5 classes", examples=3000)).technique
    'fine-tune all of a pretrained model'
    """
    kind = kind_of(options.task)
    technique = _decide(kind, options)
    told = (technique, kind, options)
    reasons = [_about_examples(*told), _about_scratch(*told), _about_hardware(*told)]
    lessons, command = _read(technique, kind, options)
    instead = _instead(technique, kind, options)
    return Choice(technique, kind, reasons, lessons, command, instead)


def _decide(kind: str, options: ChooseOptions) -> str:
    """Follow the rule: enough text for scratch; else by examples and room."""
    if kind in WORTH and _can_feed(options) >= WORTH[kind]:
        return SCRATCH
    if options.examples * QUALITY[options.quality] < FEW and kind != "language":
        return PROMPT
    return ALL if _is_enough(options) and _fits(kind, options) else PART


def _is_enough(options: ChooseOptions) -> bool:
    """Tell whether there are examples enough to move all of a model."""
    return options.examples * QUALITY[options.quality] >= SOME


def _fits(kind: str, options: ChooseOptions) -> bool:
    """Tell whether the state of training fits, with a fifth left for the rest."""
    return STATE * _base(kind, options) <= 0.8 * machine(options.hardware).room


def _base(kind: str, options: ChooseOptions) -> float:
    """Return the parameters of a pretrained model to begin from."""
    small = kind == "classify" and options.hardware == "cpu"
    return SMALL_BASE if small else BASE[kind]


def _can_feed(options: ChooseOptions) -> float:
    """Return the parameters that the text is enough for."""
    return options.examples * options.tokens / PER_PARAMETER


def _about_examples(technique: str, kind: str, options: ChooseOptions) -> str:
    n = f"{options.examples:,} example{'s' * (options.examples != 1)}"
    are = "is" if options.examples == 1 else "are"
    if technique == PROMPT:
        return (
            f"{n} {are} too few to move weights without learning them by heart (under "
            f"{FEW} or so); a large model can take a few of them in its prompt"
        )
    if technique == PART and _is_enough(options):
        return (
            f"{n} would be enough to move all weights, which {_where(options)} can't "
            "hold while they move; of a part it can"
        )
    if technique == PART:
        return (
            f"{n} {are} few: a head on frozen layers, or adapters, has few weights to "
            "fit and so overfits less; all of a model moves safely from about "
            f"{SOME} on"
        )
    if technique == ALL:
        return (
            f"{n} are enough to move all weights (from about {SOME} on), with a low "
            "rate, warm-up and early stopping"
        )
    tokens = options.examples * options.tokens
    return (
        f"{n} of {options.tokens} tokens are {say_count(tokens)} tokens, enough for "
        f"{say_count(_can_feed(options))} parameters from scratch ({PER_PARAMETER} "
        "tokens each)"
    )


def _about_scratch(technique: str, kind: str, options: ChooseOptions) -> str:
    fed, base = _can_feed(options), _base(kind, options)
    if technique == SCRATCH or fed >= base:
        return (
            f"a pretrained model has {say_count(base)} parameters and saw the texts of "
            "others: if there is one of your language and kind of text, compare"
        )
    return (
        f"from scratch, at {PER_PARAMETER} tokens a parameter, your text is enough for "
        f"{say_count(fed)} parameters; a pretrained model has {say_count(base)}, "
        "trained on much more"
    )


def _where(options: ChooseOptions) -> str:
    return f"{options.hardware} ({machine(options.hardware).said})"


def _about_hardware(technique: str, kind: str, options: ChooseOptions) -> str:
    found, where = machine(options.hardware), _where(options)
    room = found.room
    if technique == PROMPT:
        held = 2 * PROMPTED
        how = "fits" if held <= room else "is too much for"
        return (
            f"nothing is trained; few-shot prompting works in models of some billions: "
            f"{say_count(PROMPTED)} parameters take {say_bytes(held)} in bf16, which "
            f"{how} {where}, and {say_bytes(PROMPTED / 2)} at 4 bits a number; or ask "
            "a hosted model"
        )
    base, passes = _base(kind, options), 3
    if technique == SCRATCH:
        base, passes = min(base, _can_feed(options)), 1
    work = (2 if technique == PART else 6) * base * options.tokens * options.examples
    held, part = STATE * base, ""
    if technique == PART:
        part = f"; a part of them, little more than {say_bytes(4 * base)}"
    fits = "fits" if held <= 0.8 * room else "is too much for"
    took = passes * work / found.speed(base)
    time = "under a minute" if took < 60 else f"about {say_seconds(took)}"
    return (
        f"to train all {say_count(base)} parameters takes {say_bytes(held)} ({STATE} "
        f"bytes each) and activations, which {fits} {where}{part}; {time} of computing "
        f"for {passes} {'pass' if passes == 1 else 'passes'} over the examples"
    )


def _read(technique: str, kind: str, options: ChooseOptions) -> tuple[list[str], str]:
    """Return the lessons to read and the command to begin with."""
    many = ["08 scaling"] if options.hardware == "8xgpu" else []
    if technique == SCRATCH:
        command = "llmkit pretrain --corpus YOUR_TEXT --tokenizer bpe --out build/model"
        return ["04 text to batches", "06 next-token pretraining", *many], command
    if technique == PROMPT:
        command = 'python: transformers.pipeline("text-generation", MODEL)(PROMPT)'
        return ["06 next-token pretraining"], command
    if kind != "classify":  # `llmkit finetune` sorts texts; here `fit` does it
        command = "python: fit(Decoder.from_hf(FOLDER_OR_ID), batches, config)"
        return ["06 next-token pretraining", "08 scaling"], command
    freeze = " --freeze 4" if technique == PART else ""
    command = f"llmkit finetune --data YOUR_TEXTS --out build/classifier{freeze}"
    return ["07 sentiment fine-tuning", *many], command


def _instead(technique: str, kind: str, options: ChooseOptions) -> str:
    """Say what would change the answer."""
    if technique == PROMPT:
        need = int(FEW / QUALITY[options.quality])
        return f"from {need:,} examples on: {PART}; label some and come back"
    if technique == PART and _is_enough(options):
        room = say_bytes(STATE * _base(kind, options) / 0.8)
        return f"on hardware with {room}: {ALL}"
    if technique == PART:
        need = int(SOME / QUALITY[options.quality])
        return f"from {need:,} examples on, where the hardware holds it: {ALL}"
    if technique == ALL:
        return f"if it overfits, or many such models must be kept: {PART}"
    return f"if a pretrained model of this language exists: {ALL}"
