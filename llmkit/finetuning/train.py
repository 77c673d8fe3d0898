"""Train a classifier, and keep the best that it was. Lesson 07."""

import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import ClassVar

import torch
from torch import Tensor

from llmkit.batches import ClassBatches
from llmkit.finetuning.classifier import Classifier
from llmkit.finetuning.cures import ClassLoss, class_weights, layer_rates
from llmkit.finetuning.examples import Examples
from llmkit.finetuning.recipe import Recipe
from llmkit.finetuning.use import predict
from llmkit.metrics import accuracy, macro_f1
from llmkit.training import (
    Step,
    TrainingConfig,
    as_main_has_it,
    fit,
    from_all,
    is_sharded,
    join,
    whole_weights,
)


@dataclass(frozen=True)
class FineStep(Step):
    """What one step of fine-tuning did; `tokens` counts texts here."""

    unit: ClassVar[str] = "texts"
    epoch: float = 0.0  # how often the texts were seen so far
    val_accuracy: float | None = None  # on validation, where this step evaluated
    val_f1: float | None = None  # macro F1, likewise
    best: bool = False  # better on validation than any step before


def batches_of(
    classifier: Classifier, examples: Examples, recipe: Recipe
) -> ClassBatches:
    """Return a classifier's batches of these texts, each of them once an epoch."""
    tokenizer = classifier.tokenizer
    if recipe.word_dropout and tokenizer.mask_token_id is None:
        raise ValueError(
            "--word-dropout hides words behind the tokenizer's mask, and this one has "
            "none: use a model such as BERT, or another cure"
        )
    return ClassBatches(
        classifier.encode(examples.texts),
        examples.labels,
        recipe.batch_size,
        filler=classifier.filler,
        seed=recipe.seed,
        blank=recipe.word_dropout,
        blank_id=tokenizer.mask_token_id or 0,
        special=frozenset(tokenizer.all_special_ids),
    )


@dataclass
class Best:
    """Judge a classifier on validation, and keep it as it was at its best.

    It is enough after `patience` evaluations without a gain, if that is above 0.
    """

    classifier: Classifier
    validation: Examples
    patience: int = 0
    rank: tuple[float, float] = (-math.inf, -math.inf)  # macro F1, then less loss
    waited: int = 0  # evaluations since the best
    scores: dict[str, float] = field(default_factory=dict)  # of the last one
    weights: dict[str, Tensor] = field(default_factory=dict)  # of the best

    @property
    def enough(self) -> bool:
        """Tell whether to stop."""
        return 0 < self.patience <= self.waited

    def judge(self) -> float:
        """Score the classifier as it is now, and return its loss."""
        self.scores = as_main_has_it(score(self.classifier, self.validation))
        found = (self.scores["val_f1"], -self.scores["val_loss"])
        self.waited = 0 if found > self.rank else self.waited + 1
        if found > self.rank:
            self.rank, self.weights = found, whole_weights(self.classifier)
        return self.scores["val_loss"]

    def memory(self) -> tuple[dict, dict[str, Tensor]]:
        """Return what a checkpoint must keep of this."""
        return {"rank": self.rank, "waited": self.waited}, self.weights

    def recall(self, state: dict) -> None:
        """Go on from what a checkpoint kept."""
        self.rank, self.waited = tuple(state["rank"]), state["waited"]
        self.weights = state["best"]


def train(
    classifier: Classifier,
    examples: Examples,
    validation: Examples,
    recipe: Recipe,
    out: Path | None = None,
    save_every: float = 60.0,
    resume: bool = False,
) -> Iterator[FineStep]:
    """Fine-tune, yielding each step; leave the classifier as it was at its best.

    Best is the highest macro F1 on validation, and of equals the lowest loss. The rate
    climbs and falls in straight lines over all epochs, so a run that `patience` ends
    early has not come to the end of them. A classifier that is cut among processes
    stays as it is: its best lies in the last checkpoint, whole.

    out: folder for checkpoints; None keeps none. save_every: seconds between them.
    resume: go on from the latest, bit for bit.

    Raises: ValueError if the recipe does not fit the model or the data.
    Source: Devlin et al. 2019, section 4.1 and appendix A.3; Lesson 07.
    """
    batches = batches_of(classifier, examples, recipe)
    best = Best(classifier, validation, recipe.patience)
    config = replace(_config(recipe, batches), out=out, save_every=save_every)
    run = _fit(classifier, batches, examples, recipe, config, best, resume)
    try:
        for step in run:
            told = FineStep(**asdict(step), epoch=step.number / len(batches))
            if step.val_loss is not None:
                told = replace(told, **best.scores, best=not best.waited)
            yield told
    finally:  # also where the caller breaks off
        run.close()
        if best.weights and not is_sharded(classifier):
            classifier.load_state_dict(best.weights)
        classifier.eval()


def _config(recipe: Recipe, batches: ClassBatches) -> TrainingConfig:
    """Say a recipe in the words of the one training loop."""
    return TrainingConfig(
        steps=recipe.epochs * len(batches),
        learning_rate=recipe.learning_rate,
        betas=(0.9, 0.999),
        weight_decay=recipe.weight_decay,
        warmup=recipe.warmup,
        decay=1 - recipe.warmup,
        evaluate_every=recipe.evaluate_every or len(batches),
        seed=recipe.seed,
    )


def _fit(
    classifier, batches, examples: Examples, recipe: Recipe, config, best, resume
) -> Iterator[Step]:
    """Hand everything to the one training loop."""
    classifier.freeze(recipe.freeze)
    weights = None
    if recipe.balance:
        weights = class_weights(examples.labels, len(examples.names))
    _, layer_of = classifier.layers()
    head = recipe.head_rate / recipe.learning_rate
    return fit(
        classifier,
        batches,
        config,
        best,
        resume,
        objective=ClassLoss(recipe.smoothing, weights, recipe.adversarial),
        rate_of=layer_rates(layer_of, recipe.layer_decay, head),
    )


def score(classifier: Classifier, examples: Examples) -> dict[str, float]:
    """Return the loss, accuracy and macro F1 on these texts, as a `FineStep` has them.

    The loss is in nats a text. Several processes share the texts, but for a classifier
    that is cut among them, through which all go together.
    """
    state, texts = join(), examples.texts
    rank, W = state.process_index, state.num_processes
    if is_sharded(classifier):
        p = predict(classifier, texts)  # (N, C)
    else:
        p = torch.empty(len(texts), len(classifier.names))  # (N, C)
        for k, part in enumerate(from_all(predict(classifier, texts[rank::W]))):
            p[k::W] = part
    labels = torch.tensor(examples.labels)  # (N,)
    loss = -p.gather(1, labels[:, None]).clamp_min(1e-9).log().mean()
    return {
        "val_loss": float(loss),
        "val_accuracy": accuracy(p, labels),
        "val_f1": macro_f1(p, labels),
    }
