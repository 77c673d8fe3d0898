"""From token ids to batches of inputs and labels.

The objective lives here, in the labels. For next-token prediction the label of each
position is the token after it, for masked prediction the token that was hidden there;
-100 asks for nothing. A model never shifts anything.

The batch of a step is a pure function of the seed and the step's number. So a run that
resumes at step 500 sees what it would have seen, and so does each of many processes.

Inputs are one tensor, or a dict of tensors by the names that the model gives them.
"""

from llmkit.batches.buckets import ClassBatches, side_by_side
from llmkit.batches.masking import MaskedBatches, Masking, masked_evaluation
from llmkit.batches.packing import PackedBatches, document_numbers, keep_apart
from llmkit.batches.pairs import PairBatches, pad, pair_batch
from llmkit.batches.windows import (
    NextTokenBatches,
    Windows,
    boundaries,
    evaluation_batches,
    next_token,
)

__all__ = [
    "ClassBatches",
    "MaskedBatches",
    "Masking",
    "NextTokenBatches",
    "PackedBatches",
    "PairBatches",
    "Windows",
    "boundaries",
    "document_numbers",
    "evaluation_batches",
    "keep_apart",
    "masked_evaluation",
    "next_token",
    "pad",
    "pair_batch",
    "side_by_side",
]
