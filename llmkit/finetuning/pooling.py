"""Read a whole text where a model was pretrained to, and stay a plain BERT. Lesson 07.

BERT's head reads the last state of the first token. A model of sentence embeddings,
such as MiniLM, was pretrained on the mean of all states instead, and its first token
knows little. A mean is what attention makes where every score is alike, so one more
block of the usual kind can make it, and every tool that loads a BERT loads this one.
"""

import json
from pathlib import Path

import torch
from torch import nn

LOUD = 1000.0  # the mean's weight beside the token's own state, which is added to it


def is_mean_pooled(folder: Path) -> bool:
    """Tell whether the model in a folder was pretrained on the mean of its states.

    Source: the folder's 1_Pooling/config.json (Reimers and Gurevych 2019).

    >>> from llmkit.pretrained import model_folder
    >>> is_mean_pooled(model_folder("minilm"))
    True
    """
    try:
        told = json.loads((folder / "1_Pooling" / "config.json").read_text("utf-8"))
        return told["pooling_mode_mean_tokens"] is True
    except (OSError, ValueError, KeyError, TypeError):
        return False


@torch.no_grad()
def add_mean_block(model: nn.Module) -> None:
    """Put a block on top of a BERT, which begins as the mean of a text's states.

    Its queries and keys are zero, so all scores are; its values are the states, and its
    MLP adds nothing. Its norm takes the mean and makes it as long as any state. The
    pooler, which was made for the first token's own state, begins by passing it on.
    Values, MLP and pooler learn with the rest. Queries and keys can't, as the gradient
    of each is a product with the other, which is zero: its looks stay even for good.

    model: a `BertForSequenceClassification`.
    """
    from transformers.models.bert.modeling_bert import BertLayer

    block = BertLayer(model.config)
    for part in block.modules():
        if isinstance(part, nn.Linear):
            part.weight.zero_()
            part.bias.zero_()
    block.attention.self.value.weight.fill_diagonal_(1.0)
    block.attention.output.dense.weight.fill_diagonal_(LOUD)
    block.intermediate.dense.weight.normal_(std=model.config.initializer_range)
    model.bert.encoder.layer.append(block.train(model.training))
    model.config.num_hidden_layers += 1
    model.bert.pooler.dense.weight.zero_().fill_diagonal_(1.0)
    model.bert.pooler.dense.bias.zero_()
