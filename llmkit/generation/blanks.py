"""Fill in what is hidden, with a masked model. Lesson 05."""

import torch
from torch import Tensor


@torch.no_grad()
def fill_mask(model, ids: Tensor, mask_id: int, top: int = 5) -> tuple[Tensor, Tensor]:
    """Return the best tokens for each masked place, and their probabilities.

    model: a `MaskedLM`; ids: (B, T), with mask_id where a token is hidden. Each place
    is filled from its row of ids alone: no guess knows of another.

    Returns: tokens and probabilities, (N, top) each, best first, for the N masked
    places in reading order: row after row, from left to right.
    Raises: ValueError if the model has no head for masked tokens, no place is masked,
    or top is more than the vocabulary.
    Source: Devlin et al. 2019, section 3.1; Lesson 05.

    >>> from llmkit.transformer import MaskedLM, ModelConfig
    >>> model = MaskedLM(ModelConfig(vocab_size=9, context=8))
    >>> tokens, p = fill_mask(model, torch.tensor([[1, 0, 2, 0]]), mask_id=0, top=3)
    >>> tokens.shape, p.shape
    (torch.Size([2, 3]), torch.Size([2, 3]))
    """
    hidden = _check_blanks(model, ids, mask_id, top)  # (B, T)
    was_training = model.training
    model.eval()
    try:
        logits = model(ids)[hidden]  # (N, V)
    finally:
        model.train(was_training)
    p, tokens = logits.float().softmax(dim=-1).topk(top, dim=-1)  # (N, top) each
    return tokens, p


def _check_blanks(model, ids: Tensor, mask_id: int, top: int) -> Tensor:
    """Return where ids are hidden, boolean (B, T)."""
    if not hasattr(model, "head") or hasattr(model, "new_cache"):
        raise ValueError(
            f"only a MaskedLM fills in blanks: got {type(model).__name__}; a decoder "
            "continues a text (generate), and an Encoder has no head that guesses"
        )
    hidden = ids == mask_id  # (B, T)
    if not hidden.any():
        raise ValueError(
            f"no place is masked: got ids {tuple(ids.shape)} without mask_id {mask_id};"
            " put it where a token is to be guessed"
        )
    V = model.config.vocab_size
    if not 1 <= top <= V:
        raise ValueError(f"top is from 1 to the vocabulary's {V} tokens: got {top}")
    return hidden
