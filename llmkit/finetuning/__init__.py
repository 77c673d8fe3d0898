"""Teach a pretrained BERT to sort texts: data in, a classifier and its judgement out.

`load_splits` reads labelled texts and `report` looks at them; `load_classifier` gives a
pretrained model a new head, `train` fine-tunes it by a `Recipe`, `predict` asks it,
`evaluate_classes` judges it, and two attributions say which words moved it.
`Finetuning` is all of that in one, for the command line.

Source: Devlin et al. 2019, section 4.1; Lesson 07.
"""

from llmkit.finetuning.attribution import (
    agreement,
    gradient_times_input,
    leave_one_out,
)
from llmkit.finetuning.classifier import Classifier
from llmkit.finetuning.cures import ClassLoss, average, class_weights, layer_rates
from llmkit.finetuning.evaluation import Evaluation, Mistake, evaluate_classes
from llmkit.finetuning.examples import Examples, Splits, load_splits, read_examples
from llmkit.finetuning.loading import load_classifier
from llmkit.finetuning.options import FinetuneOptions
from llmkit.finetuning.recipe import Recipe
from llmkit.finetuning.reporting import DataReport, report
from llmkit.finetuning.rows import Skipped
from llmkit.finetuning.run import Finetuning
from llmkit.finetuning.train import FineStep, batches_of, score, train
from llmkit.finetuning.use import predict

__all__ = [
    "ClassLoss",
    "Classifier",
    "DataReport",
    "Evaluation",
    "Examples",
    "FineStep",
    "FinetuneOptions",
    "Finetuning",
    "Mistake",
    "Recipe",
    "Skipped",
    "Splits",
    "agreement",
    "average",
    "batches_of",
    "class_weights",
    "evaluate_classes",
    "gradient_times_input",
    "layer_rates",
    "leave_one_out",
    "load_classifier",
    "load_splits",
    "predict",
    "read_examples",
    "report",
    "score",
    "train",
]
