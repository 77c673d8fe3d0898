"""The commands that train models and use them."""

import json
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import tyro


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


@dataclass(frozen=True)
class ClassifyOptions:
    """Sort texts into classes with a model that `llmkit finetune` made."""

    folder: tyro.conf.Positional[Path]  # the --out folder of a finetune
    texts: tyro.conf.Positional[tuple[str, ...]] = ()  # else lines on standard input
    json: bool = False  # one JSON object a line


def pretrain(options) -> int:
    """Train, print what it costs first and one JSON object last."""
    from llmkit.pretraining import Pretraining

    run = Pretraining(options)
    if not _follow(run.steps, f"This run: {run.cost}."):
        return _stopped("pretrain", options.out)
    _note_if_done(run, "give a larger --max-steps or --max-seconds to go on")
    return _tell(run.result)


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


def finetune(options) -> int:
    """Say what the data are, train, judge, and print one JSON object last."""
    from llmkit.finetuning import Finetuning

    run = Finetuning(options)
    if not _follow(run.steps, run.report):
        return _stopped("finetune", options.out)
    _note_if_done(run, "choose another --out to train another")

    def judge() -> dict:
        result = run.result()
        print(run.evaluation)
        return result

    return _tell(judge)


def _follow(steps: Callable[[], Iterator], about: object) -> bool:
    """Go through a run's steps; return whether it came to its end.

    Of several processes, the first speaks for all.
    """
    from llmkit.training import is_main, show_progress

    if is_main():
        print(about, flush=True)
    try:
        with closing(steps()) as run:
            for _ in show_progress(run) if is_main() else run:
                pass
    except KeyboardInterrupt:
        return False
    return True


def _note_if_done(run, more: str) -> None:
    """Say that there was nothing left to do, and what there would be."""
    from llmkit.training import is_main

    if run.was_done and is_main():
        where = str(run.options.out)
        print(f"Note: the run in {where!r} had reached its end; {more}", flush=True)


def _stopped(name: str, out: Path) -> int:
    """Say what Ctrl-C left."""
    from llmkit.training import is_main, name_latest

    if is_main():
        kept = name_latest(out)
        what = f"{kept} is kept" if kept else "there is no checkpoint yet"
        print(
            f"llmkit {name}: stopped; {what} in {str(out)!r}; go on with the same "
            "command and --resume",
            file=sys.stderr,
        )
    return 130


def _tell(result: Callable[[], dict]) -> int:
    """Print the result of a run, which the first process works out."""
    from llmkit.training import is_main, leave

    if is_main():
        print(json.dumps(result()))
    leave()
    return 0


def classify(options: ClassifyOptions) -> int:
    """Print the class of each text and how sure the model is of it."""
    from llmkit.finetuning import load_classifier, predict

    classifier = load_classifier(options.folder)
    typed = sys.stdin.isatty()  # then each line is answered at once
    for texts in _in_batches(_texts(options), 1 if typed else 256):
        for text, p in zip(texts, predict(classifier, texts).tolist()):
            by_name = dict(zip(classifier.names, p))
            label = max(by_name, key=by_name.get)
            if options.json:
                told = {"label": label, "probabilities": by_name, "text": text}
                print(json.dumps(told, ensure_ascii=False), flush=True)
            else:
                print(f"{label}\t{by_name[label]:.3f}\t{text}", flush=True)
    return 0


def _texts(options: ClassifyOptions) -> Iterator[str]:
    """Yield the texts of the command line, or else each line of standard input."""
    try:
        for text in options.texts or sys.stdin:
            text.encode()  # bytes that are not UTF-8 may come as halves of a character
            yield text if options.texts else text.rstrip("\r\n")
    except UnicodeError as error:
        raise ValueError(
            "a text is not in UTF-8: convert it, with iconv for example"
        ) from error


def _in_batches(texts: Iterable[str], size: int) -> Iterator[list[str]]:
    """Take texts some at a time, so that a file may be longer than memory."""
    texts = iter(texts)
    while some := list(islice(texts, size)):
        yield some
