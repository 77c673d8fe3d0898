"""What a trained classifier says of texts. Lesson 07."""

from collections.abc import Sequence

import torch
from torch import Tensor

from llmkit.batches import side_by_side
from llmkit.training import best_precision


@torch.inference_mode()
def predict(classifier, texts: Sequence[str], batch_size: int = 64) -> Tensor:
    """Return the probability of each class for each text: (N, C).

    Texts of like length are read together, so that little is filled up; the rows come
    in the order of the texts. It computes in bfloat16 where training would.

    Raises: ValueError if batch_size is below 1.

    >>> from llmkit.finetuning import load_classifier
    >>> classifier = load_classifier("minilm", names=("negative", "positive"))
    >>> predict(classifier, ["A joy.", "I want my money back."]).shape
    torch.Size([2, 2])
    """
    if batch_size < 1:
        raise ValueError(f"batch_size is at least 1: got {batch_size}")
    rows = classifier.encode(texts)
    device = next(classifier.parameters()).device
    order = sorted(range(len(rows)), key=lambda i: len(rows[i]))
    found = torch.empty(len(rows), len(classifier.names))  # (N, C)
    half = best_precision(classifier) == "bf16"
    was_training = classifier.training
    classifier.eval()
    try:
        for start in range(0, len(order), batch_size):
            places = order[start : start + batch_size]
            batch = side_by_side([rows[i] for i in places], classifier.filler)
            ids, mask = (x.to(device) for x in batch)  # (B, T) twice
            with torch.autocast(device.type, torch.bfloat16, enabled=half):
                logits = classifier(ids, mask).float()  # (B, C)
            found[places] = logits.softmax(dim=-1).cpu()
    finally:
        classifier.train(was_training)
    return found
