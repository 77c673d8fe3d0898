"""How long does an epoch of fine-tuning take beside the usual ways, and how good is it?

The same BERT (MiniLM, 22.7 million weights), the same sentences, the same torch:

    usual     the loop of many texts: every row padded to 128 tokens, the model's own
              dropout, AdamW at 2e-5 over all weights, 32 rows a step, float32
    trainer   Hugging Face's Trainer at its defaults (8 rows a step, AdamW at 5e-5 that
              falls in a straight line), with dynamic padding
    ours      llmkit.finetuning at its defaults, as `llmkit finetune` runs it

    python benchmarks/finetune_speed.py --train sst2.train.txt --validation sst2.dev.txt

Each seed runs A B C or C B A in turn. Seconds are those of training alone.
--usual-steps N times N steps of the usual loop and multiplies, as all its steps are
alike; without it the whole epoch is run and judged. Prints a table and one JSON
object last.
"""

import argparse
import json
import platform
import statistics
import tempfile
import time

import torch
import transformers

from llmkit.batches import ClassBatches
from llmkit.finetuning import (
    Classifier,
    Recipe,
    load_classifier,
    load_splits,
    predict,
    train,
)
from llmkit.pretrained import model_folder

ROWS, WIDTH, RATE = 32, 128, 2e-5  # of the usual loop
WAYS = ("usual", "trainer", "ours")


def accuracy(classifier, examples) -> float:
    """Return the share of texts whose class is found."""
    guesses = predict(classifier, examples.texts).argmax(dim=1)  # (N,)
    right = guesses == torch.tensor(examples.labels)  # (N,)
    return right.double().mean().item()


def plain(splits, seed: int) -> Classifier:
    """Load the model as `transformers` does, with its own dropout."""
    folder = model_folder("minilm")
    torch.manual_seed(seed)
    model = transformers.AutoModelForSequenceClassification.from_pretrained(
        folder, num_labels=len(splits.train.names), attn_implementation="sdpa"
    )
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    return Classifier(model, tokenizer, splits.train.names)


def usual(splits, seed: int, steps: int | None) -> dict:
    """Train as many texts show it: all rows as long as the longest that may come."""
    classifier = plain(splits, seed)
    pad = classifier.filler
    rows = [
        [*ids[:WIDTH], *[pad] * (WIDTH - len(ids))]
        for ids in classifier.encode(splits.train.texts)
    ]
    batches = ClassBatches(rows, splits.train.labels, ROWS, seed=seed)
    optimizer = torch.optim.AdamW(classifier.parameters(), lr=RATE)
    classifier.train()
    most = min(steps or len(batches), len(batches))
    began = time.perf_counter()
    for step in range(most):
        (ids, _), labels = batches[step]
        logits = classifier(ids, ids != pad)
        torch.nn.functional.cross_entropy(logits, labels).backward()
        optimizer.step()
        optimizer.zero_grad()
    seconds = (time.perf_counter() - began) * len(batches) / most
    whole = most == len(batches)
    found = accuracy(classifier, splits.validation) if whole else None
    return {"seconds": seconds, "accuracies": [found]}


def trainer(splits, seed: int, epochs: int) -> dict:
    """Train by Hugging Face's Trainer at its defaults, with dynamic padding."""
    classifier = plain(splits, seed)
    rows = classifier.encode(splits.train.texts)
    data = [
        {"input_ids": ids, "attention_mask": [1] * len(ids), "labels": label}
        for ids, label in zip(rows, splits.train.labels)
    ]
    with tempfile.TemporaryDirectory() as folder:
        arguments = transformers.TrainingArguments(
            folder,
            num_train_epochs=epochs,
            seed=seed,
            save_strategy="no",
            report_to=[],
            disable_tqdm=True,
            use_cpu=not torch.cuda.is_available(),
        )
        run = transformers.Trainer(
            classifier.model,
            arguments,
            train_dataset=data,
            data_collator=transformers.DataCollatorWithPadding(classifier.tokenizer),
        )
        began = time.perf_counter()
        run.train()
        seconds = time.perf_counter() - began
    return {"seconds": seconds, "accuracies": [accuracy(classifier, splits.validation)]}


def ours(splits, seed: int, epochs: int) -> dict:
    """Train as `llmkit finetune` does, judged after each epoch; the last one counts."""
    recipe = Recipe(epochs=epochs, seed=seed)
    classifier = load_classifier("minilm", splits.train.names, recipe.dropout, seed)
    found = []
    for step in train(classifier, splits.train, splits.validation, recipe):
        if step.val_accuracy is not None:
            found.append(step.val_accuracy)
        seconds = step.seconds
    return {"seconds": seconds, "accuracies": found}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--train", required=True, help='"label text" lines, or a table')
    parser.add_argument("--validation", required=True)
    parser.add_argument("--seeds", type=int, nargs="+", default=[11, 12, 13, 14, 15])
    parser.add_argument("--epochs", type=int, default=1, help="of ours and Trainer")
    parser.add_argument("--usual-steps", type=int, help="steps to time of the usual")
    parser.add_argument("--only", nargs="+", choices=WAYS, default=WAYS)
    told = parser.parse_args()
    transformers.utils.logging.set_verbosity_error()
    splits = load_splits(told.train, told.validation)
    ways = {
        "usual": lambda seed: usual(splits, seed, told.usual_steps),
        "trainer": lambda seed: trainer(splits, seed, told.epochs),
        "ours": lambda seed: ours(splits, seed, told.epochs),
    }
    runs = []
    for turn, seed in enumerate(told.seeds):
        order = [way for way in ways if way in told.only]
        for way in order if turn % 2 == 0 else reversed(order):
            runs.append({"way": way, "seed": seed, **ways[way](seed)})
            print(json.dumps(runs[-1]), flush=True)
    result = summary(runs, told)
    print(json.dumps(result))


def summary(runs: list[dict], told) -> dict:
    """Print a table; return medians, and our seconds as a share of each peer's."""
    by_way = {way: [r for r in runs if r["way"] == way] for way in told.only}
    print("| way | seconds, median | accuracy, median | accuracies |")
    print("|---|---|---|---|")
    result = {"benchmark": "finetune_speed", "epochs": told.epochs}
    result |= {"machine": f"{platform.machine()}, {torch.get_num_threads()} threads"}
    for way, some in by_way.items():
        seconds = statistics.median(r["seconds"] for r in some)
        last = [a for r in some if (a := r["accuracies"][-1]) is not None]
        median = statistics.median(last) if last else None
        result[way] = {"seconds": round(seconds, 2), "accuracy": median}
        shown = " ".join(f"{a:.4f}" for a in last)
        print(f"| {way} | {seconds:.1f} | {median or '-'} | {shown} |")
    for way in set(by_way) - {"ours"} if "ours" in by_way else ():
        pairs = zip(by_way["ours"], by_way[way])
        shares = [a["seconds"] / b["seconds"] for a, b in pairs]
        result[f"share of {way}"] = round(statistics.median(shares), 3)
    return result | {"torch": torch.__version__, "runs": runs}


if __name__ == "__main__":
    main()
