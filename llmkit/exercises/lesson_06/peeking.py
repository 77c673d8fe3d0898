"""Exercise 06.4: catch a decoder that peeks, even if it does so in evaluation only."""

import torch
from torch import Tensor

from llmkit.attention import MultiHeadAttention
from llmkit.exercises import Exercise, Twin, mistakes
from llmkit.transformer import Decoder, ModelConfig


class Suspect(Decoder):
    """A decoder with a fault planted in it. What it is, the learner finds out."""

    def forward(self, ids: Tensor, cache=None, watch=None) -> Tensor:
        """Return logits (B, T, V), with more to look at than there should be."""
        for block in self.blocks:
            block.attention.causal = self.training
        return super().forward(ids, cache, watch)


class Leaky(MultiHeadAttention):
    """Attention behind a mask with a hole in it.

    kind: from `KINDS`: how much of what it would see without a mask is mixed into each
    position (T,), in training and in evaluation.
    """

    def __init__(self, d_model: int, n_heads: int, kind: str):
        super().__init__(d_model, n_heads, causal=True)
        self.kind = kind

    def forward(self, x: Tensor, **how) -> Tensor:
        """Mix each position with those before it, and more: (B, T, D)."""
        self.causal = True
        masked = super().forward(x, **how)  # (B, T, D)
        self.causal = False
        open_ = super().forward(x, **how)  # (B, T, D)
        early = torch.arange(x.size(1)) < x.size(1) // 2  # (T,)
        share = KINDS[self.kind][0 if self.training else 1](early)  # (T,)
        return masked + share[:, None] * (open_ - masked)  # (B, T, D)


def _never(early: Tensor) -> Tensor:
    return torch.zeros(len(early))


def _always(early: Tensor) -> Tensor:
    return torch.ones(len(early))


def _late(early: Tensor) -> Tensor:
    return 1 - early.float()


def _a_little(early: Tensor) -> Tensor:
    return torch.full((len(early),), 1e-5)


KINDS = {  # in training, in evaluation
    "honest": (_never, _never),
    "no mask in evaluation": (_never, _always),
    "no mask in training": (_always, _never),
    "no mask at all": (_always, _always),
    "a mask that is too short": (_never, _late),
    "a mask that leaks a little": (_never, _a_little),
}


def influence(model: Decoder, ids: Tensor) -> Tensor:
    """Return how strongly each token (a column) moves each guess (a row): (T, T)."""
    seen: list[Tensor] = []
    hook = model.embedding.register_forward_hook(lambda m, i, x: seen.append(x))
    logits = model(ids[None])[0]  # (T, V)
    hook.remove()
    rows = [
        torch.autograd.grad(best, seen[0], retain_graph=True)[0][0].norm(dim=-1)  # (T,)
        for best in logits.amax(dim=-1)
    ]
    return torch.stack(rows)  # (T, T)


def peeks(model: Decoder, ids: Tensor) -> bool:
    """Tell whether any token of ids (T,) moves logits before it, in evaluation."""
    model.eval()
    ahead = influence(model, ids).triu(diagonal=1)  # (T, T), s > t
    return bool(ahead.any())


def swap_and_compare(model: Decoder, ids: Tensor) -> bool:
    """Change each token in turn, and see whether logits before it change."""
    model = model.double().eval()
    logits = model(ids[None])[0]  # (T, V)
    for s in range(1, len(ids)):
        other = ids.clone()
        other[s] = (ids[s] + 1) % model.config.vocab_size
        if not torch.allclose(model(other[None])[0, :s], logits[:s], 0, 1e-12):
            return True
    return False


def cases(seed: int) -> tuple:
    """Draw a small model with or without a fault, in either mode, and ids (T,)."""
    kind = list(KINDS)[seed % len(KINDS)]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        T = 4 + seed % 2
        config = ModelConfig(9, context=T, n_layers=1, d_model=8, n_heads=2)
        model = Decoder(config)
        for block in model.blocks:
            block.attention = Leaky(config.d_model, config.n_heads, kind)
        for weight in model.parameters():
            torch.nn.init.normal_(weight, std=0.5)
        model.train(seed // len(KINDS) % 2 == 0)
        return model, torch.randint(9, (T,))


def verdict(answer, model, ids):
    """Try an answer; a tensor that holds true or false will do."""
    told = answer(model, ids)
    return bool(told) if isinstance(told, Tensor) else told


# The classic mistakes. What a mistake says to the learner is its docstring.


def in_training(model, ids):
    """It looks like you test in training mode: a fault in evaluation stays hidden. Call
    `model.eval()` first, as whoever measures a validation loss does.
    """
    return bool(influence(model.train(), ids).triu(1).any())


def as_it_comes(model, ids):
    """It looks like you test the model in the mode that it happens to be in: say which
    one you mean, `model.eval()`.
    """
    return bool(influence(model, ids).triu(1).any())


def itself_and_past(model, ids):
    """It looks like you call it peeking when a token looks at itself or at the past:
    only the columns s > t are the future (`triu(diagonal=1)`).
    """
    return bool(influence(model.eval(), ids).triu(0).any())


def last_position(model, ids):
    """It looks like you test the last position only: nothing comes after it, so there
    is nothing at which it could peek.
    """
    return bool(influence(model.eval(), ids)[-1, len(ids) :].any())


def first_position(model, ids):
    """It looks like you test the first position only: a mask can be right at the
    beginning and too short at the end. Test them all.
    """
    return bool(influence(model.eval(), ids)[0, 1:].any())


def above_a_threshold(model, ids):
    """It looks like you allow for a small influence: behind a causal mask it is not
    small but exactly zero, so every leak counts, however small.
    """
    return bool((influence(model.eval(), ids).triu(1) > 1e-3).any())


def upside_down(model, ids):
    """It looks like your answer is upside down: return True for a model that peeks."""
    return not peeks(model, ids)


PEEKS = Exercise(
    id="06.4",
    kind="debug",
    title="catch the decoder that peeks",
    minutes=15,
    difficulty=3,
    checker=Twin(trusted=swap_and_compare, cases=cases, probe=verdict, runs=12),
    hints=(
        "The map of influence tells: anything right of its diagonal is the future. And "
        "a model can behave differently in training and in evaluation mode.",
        "`model.eval()`, then `influence(model, ids).triu(diagonal=1)` is what each "
        "position takes from the future: behind a mask it is exactly 0. Return "
        "`bool((… != 0).any())`.",
    ),
    solution=peeks,
    why="The mode is the point: the fault is there only when nobody trains.",
    wrong=mistakes(
        in_training,
        as_it_comes,
        itself_and_past,
        last_position,
        first_position,
        above_a_threshold,
        upside_down,
    ),
)
