"""One fine-tuning, from its options to its result. Lesson 07."""

import json
import os
import time
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Literal

from llmkit.finetuning.classifier import Classifier
from llmkit.finetuning.cures import average
from llmkit.finetuning.evaluation import Evaluation, evaluate_classes
from llmkit.finetuning.examples import Splits, load_splits
from llmkit.finetuning.loading import load_classifier
from llmkit.finetuning.recipe import Recipe
from llmkit.finetuning.reporting import DataReport, report
from llmkit.finetuning.train import FineStep, train
from llmkit.finetuning.use import predict
from llmkit.training import alone_in, chosen_tracker, is_main, track, wait_for_all

FILES = ("config.json", "model.safetensors", "run.json")
# What a model of another kind may have left, and would be read beside the new one.
OLD = ("model*.safetensors*", "tokenizer*.json", "vocab.*", "merges.txt")
OLD += ("special_tokens_map.json", "added_tokens.json")


@dataclass(frozen=True, kw_only=True)
class FinetuneOptions(Recipe):
    """What to fine-tune, on what, how, and where it goes."""

    data: str  # reviews, hub:NAME, or a .csv .tsv .jsonl .parquet or "label text" .txt
    out: Path  # folder for the classifier
    model: str = "minilm"  # minilm (no network), a folder, or a hub id
    validation: str | None = None  # what the best step is chosen by; else a tenth
    test: str | None = None  # what is judged at the very end
    text: str | None = None  # column of the texts, where it can't be guessed
    label: str | None = None  # column of the labels, likewise
    track: str = "auto"  # curves: tensorboard (auto: where installed), wandb or none
    bad_rows: Literal["refuse", "skip"] = "refuse"  # rows without a text or a label
    overwrite: bool = False  # throw away what --out holds


@dataclass
class Finetuning:
    """One run, made ready: what its data are, then its steps, then its result.

    Raises: ValueError if the data or the model can't be used, or `out` holds a run.
    """

    options: FinetuneOptions
    evaluation: Evaluation | None = field(default=None, init=False)

    def __post_init__(self):
        told = self.options
        chosen_tracker(told.track)
        _check_folder(told)
        self.splits: Splits = load_splits(
            told.data,
            told.validation,
            told.test,
            seed=told.seed,
            text=told.text,
            label=told.label,
            bad_rows=told.bad_rows,
        )
        self.classifier = self._begin()
        self.classifier.freeze(told.freeze)  # refused now, not after the report
        self.seconds, self.seen = 0.0, 0

    @cached_property
    def report(self) -> DataReport:
        """Say what the data are, before anything is learned from them."""
        return report(self.splits, self.classifier.count, self.classifier.limit)

    def steps(self) -> Iterator[FineStep]:
        """Train, yielding each step; leave the best classifier in the folder.

        With `average`, one run after another is made from the same beginning, with
        other orders of the texts, and the mean of their weights is kept.
        """
        told = self.options
        with alone_in(told.out):
            if is_main():  # the others train along and write nothing
                _check_folder(told)  # again: a run may have ended there meanwhile
            yield from self._runs()
            if is_main():
                self._clear_old()
                self.classifier.save(told.out)
                identity = {
                    k: str(v) if isinstance(v, Path) else v
                    for k, v in asdict(told).items()
                }
                identity = json.dumps(identity, indent=1) + "\n"
                (told.out / "run.json").write_text(identity)
            wait_for_all()  # the folder is whole before any process goes

    def _clear_old(self) -> None:
        """Throw away what a model of another kind left, where that was asked for."""
        if self.options.overwrite:
            out = self.options.out
            for old in (file for name in OLD for file in out.glob(name)):
                old.unlink()

    def _runs(self) -> Iterator[FineStep]:
        """Make each run, write its steps down, and average the classifiers."""
        told, states = self.options, []
        file = told.out / "metrics.jsonl"
        with open(file, "w", buffering=1) if is_main() else nullcontext() as log:
            for k in range(told.average):
                self.classifier = self._begin() if k else self.classifier
                for step in track(self._train(k), told.out, told.track, asdict(told)):
                    if log:
                        log.write(json.dumps({"run": k, **asdict(step)}) + "\n")
                    yield step
                states.append(self.classifier.state_dict())
        if len(states) > 1:
            self.classifier.load_state_dict(average(states))

    def _begin(self) -> Classifier:
        """Load the pretrained model anew, with a head that always begins alike."""
        told = self.options
        names = self.splits.train.names
        return load_classifier(told.model, names, told.dropout, told.seed)

    def _train(self, k: int) -> Iterator[FineStep]:
        """Make run k, keeping account of its time and of the texts it saw."""
        told, before, seen = self.options, self.seconds, self.seen
        recipe = replace(told, seed=(told.seed + k) % 2**32)
        splits = self.splits
        for step in train(self.classifier, splits.train, splits.validation, recipe):
            self.seconds, self.seen = before + step.seconds, seen + step.tokens
            done = (k + step.progress) / told.average
            yield replace(step, progress=done)

    def result(self) -> dict:
        """Judge the classifier on the test split, or else on validation; for JSON.

        `seconds` is training alone; `judged_on` says which texts the scores are of.
        Those on validation flatter, as the best step was chosen by them.
        """
        name = "test" if self.splits.test else "validation"
        examples = getattr(self.splits, name)
        began = time.perf_counter()
        probabilities = predict(self.classifier, examples.texts)  # (N, C)
        reading = time.perf_counter() - began
        self.evaluation = evaluate_classes(probabilities, examples)
        accuracy = self.evaluation.accuracy
        return {
            "seconds": round(self.seconds, 3),
            "examples_per_second": round(self.seen / self.seconds, 1),
            "examples": self.seen,
            "parameters": sum(p.numel() for p in self.classifier.parameters()),
            "judged_on": name,
            "rows": len(examples),
            "accuracy": round(accuracy.value, 5),
            "accuracy_interval": [round(accuracy.low, 5), round(accuracy.high, 5)],
            "macro_f1": round(self.evaluation.macro_f1.value, 5),
            "predictions_per_second": round(len(examples) / reading, 1),
        }


def _check_folder(options: FinetuneOptions) -> None:
    """Keep a new run from mixing with what lies in its folder."""
    out = options.out
    if out.exists() and not out.is_dir():
        raise ValueError(f"--out {str(out)!r} is a file; give a folder")
    known = options.model != "minilm" and out.exists()  # else there is no such model
    if known and Path(os.path.expanduser(options.model)).resolve() == out.resolve():
        raise ValueError("--out is the folder of --model, which would be overwritten")
    old = [name for name in FILES if (out / name).exists()]
    if old and not options.overwrite:
        raise ValueError(
            f"--out {str(out)!r} holds another model ({old[0]}); choose another "
            "folder, or add --overwrite to replace it"
        )
