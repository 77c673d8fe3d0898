"""One fine-tuning, from its options to its result. Lesson 07."""

import json
import os
import shutil
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path

from llmkit.finetuning.classifier import Classifier
from llmkit.finetuning.cures import average
from llmkit.finetuning.evaluation import Evaluation, evaluate_classes
from llmkit.finetuning.examples import Splits, load_splits
from llmkit.finetuning.folder import (
    CHECKPOINTS,
    DONE,
    MAY_CHANGE,
    OLD,
    check_folder,
    identity,
)
from llmkit.finetuning.loading import load_classifier
from llmkit.finetuning.options import FinetuneOptions
from llmkit.finetuning.reporting import DataReport, report
from llmkit.finetuning.train import FineStep, train
from llmkit.finetuning.use import predict
from llmkit.training import (
    LOG,
    alone_in,
    check_same_run,
    chosen_tracker,
    engine_asked_for,
    find_checkpoints,
    is_main,
    is_sharded,
    keep_log_before,
    load_best,
    numbers_in,
    track,
    wait_for_all,
    write_line,
    write_record,
)


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
        if told.adversarial and engine_asked_for() == "DeepSpeed":
            raise ValueError(
                "--adversarial asks for gradients twice a step, which DeepSpeed takes "
                "for two steps: use the launch file fsdp2, or leave it out"
            )
        check_folder(told)
        self.splits: Splits = load_splits(
            told.data,
            told.validation,
            told.test,
            seed=told.seed,
            text=told.text,
            label=told.label,
            bad_rows=told.bad_rows,
        )
        self.identity = identity(told, self.splits)
        if told.resume:
            check_same_run(told.out, self.identity, MAY_CHANGE)
        self.seconds, self.seen = 0.0, 0
        self.was_done = told.resume and not (told.out / CHECKPOINTS).exists()
        if self.was_done:
            self._recall()
            return
        self.classifier = self._begin()
        self.classifier.freeze(told.freeze)  # refused now, not after the report

    @cached_property
    def report(self) -> DataReport:
        """Say what the data are, before anything is learned from them."""
        return report(self.splits, self.classifier.count, self.classifier.limit)

    def steps(self) -> Iterator[FineStep]:
        """Train, yielding each step; leave the best classifier in the folder.

        With `average`, one run after another is made from the same beginning, with
        other orders of the texts, and the mean of their weights is kept. A run that
        had reached its end yields no step: whoever goes on until all is done may do so
        once too often.
        """
        told = self.options
        if self.was_done:
            shutil.rmtree(told.out / DONE, ignore_errors=True)
            return
        with alone_in(told.out):
            if is_main():  # the others train along and write nothing
                self._open()
            wait_for_all()
            yield from self._runs()
            wait_for_all()  # nobody reads the checkpoints any more
            if is_main():
                self.classifier.save(told.out)
                os.replace(told.out / CHECKPOINTS, told.out / DONE)  # whole or not
                shutil.rmtree(told.out / DONE)
            wait_for_all()  # the folder is whole before any process goes

    def _recall(self) -> None:
        """Take a run that had reached its end from its folder."""
        self.classifier = load_classifier(self.options.out)
        ends = {}
        for line in (self.options.out / LOG).read_text().splitlines():
            step = json.loads(line)
            ends[step["run"]] = step["seconds"], step["tokens"]
        self.seconds = sum(seconds for seconds, _ in ends.values())
        self.seen = sum(texts for _, texts in ends.values())

    def _open(self) -> None:
        """Make the folder this run's; what another left goes, if that was asked for."""
        told, out = self.options, self.options.out
        check_folder(told)  # again: a run may have ended there meanwhile
        if told.resume:
            return
        shutil.rmtree(out / DONE, ignore_errors=True)  # what a killed run left
        if told.overwrite:
            for old in (file for name in OLD for file in out.glob(name)):
                old.unlink()
            for name in (CHECKPOINTS, "tensorboard"):
                shutil.rmtree(out / name, ignore_errors=True)
        (out / LOG).unlink(missing_ok=True)
        (out / CHECKPOINTS).mkdir(exist_ok=True)
        write_record(out, self.identity)  # last: then there is a run to go on with

    def _runs(self) -> Iterator[FineStep]:
        """Make each run, and average the classifiers."""
        told, states = self.options, []
        for k in range(told.average):
            self.classifier = self._begin() if k else self.classifier
            name = f"run-{k:02d}" if told.average > 1 else ""
            run = track(self._train(k), told.out, told.track, self.identity, name)
            yield from self._written(run, k)
            states.append(self.classifier.state_dict())
        if len(states) > 1:
            self.classifier.load_state_dict(average(states))

    def _written(self, run: Iterator[FineStep], k: int) -> Iterator[FineStep]:
        """Pass on the steps of run k, and write each down."""
        log = None
        try:
            for step in run:
                if log is None and is_main():
                    keep_log_before(step.number, self.options.out, k)
                    log = open(self.options.out / LOG, "a", buffering=1)  # noqa: SIM115
                if log:
                    write_line(log, {"run": k, **asdict(step)})
                yield step
        finally:
            run.close()
            if log:
                log.close()

    def _begin(self) -> Classifier:
        """Load the pretrained model anew, with a head that always begins alike."""
        told = self.options
        names = self.splits.train.names
        return load_classifier(told.model, names, told.dropout, told.seed)

    def _train(self, k: int) -> Iterator[FineStep]:
        """Make run k, keeping account of its time and of the texts it saw."""
        told, before, seen = self.options, self.seconds, self.seen
        recipe = replace(told, seed=(told.seed + k) % 2**32)
        splits, out = self.splits, told.out / CHECKPOINTS / f"run-{k:02d}"
        data = (self.classifier, splits.train, splits.validation)
        step = None
        for step in train(*data, recipe, out, told.save_every, told.resume):
            self.seconds, self.seen = before + step.seconds, seen + step.tokens
            done = (k + step.progress) / told.average
            yield replace(step, progress=done)
        if step is None:  # it was at its end before
            numbers = numbers_in(find_checkpoints(out)[0])
            self.seconds += numbers["seconds"]
            self.seen += numbers["tokens"]
        if is_sharded(self.classifier):
            self.classifier = self._joined(out)

    def _joined(self, out: Path) -> Classifier:
        """Return the best classifier of a run, whole again.

        What was frozen is taken as it was: DeepSpeed has it in half precision.
        """
        wait_for_all()  # for the first, which writes the checkpoint
        fresh = self._begin()
        fresh.freeze(self.options.freeze)
        best = load_best(find_checkpoints(out)[0])
        kept = {n for n, p in fresh.named_parameters() if not p.requires_grad}
        best = {name: x for name, x in best.items() if name not in kept}
        fresh.load_state_dict(best, strict=False)
        return fresh.to(next(self.classifier.parameters()).device)

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
