"""What a run can be told, and what is refused before any work is done."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from llmkit.pretraining.presets import MASKED_PRESETS, PRESETS, Preset
from llmkit.training import TrainingConfig

OBJECTIVES = {"next-token": PRESETS, "masked": MASKED_PRESETS}
TOKENIZERS = ("char", "word", "bpe")
VOCABULARY = 2048  # tokens of a BPE vocabulary, unless told


@dataclass(frozen=True)
class PretrainOptions:
    """What to pretrain, on what, for how long, and where it goes."""

    corpus: str  # stories, python-docs, reviews, hub:NAME, or a file or folder of text
    out: Path  # folder for the model and its checkpoints
    objective: str = "next-token"  # what to predict: next-token (GPT) or masked (BERT)
    tokenizer: str = "char"  # what a token is: char, word, or bpe (pieces of words)
    vocab_size: int | None = None  # tokens to learn for bpe (2048 unless told)
    preset: str = "tiny"  # tiny (a laptop), plain (no look back) or small (a GPU)
    size: int | None = None  # characters of text to use, at most
    max_steps: int | None = None  # end after this many updates of the weights
    max_seconds: float | None = None  # end after this much training
    target_loss: float | None = None  # end once the validation loss is this low
    save_every: float | None = None  # seconds between checkpoints (60 unless told)
    compile: bool = False  # fuse the model's parts first: takes a while, pays on a GPU
    track: str = "auto"  # curves: tensorboard (auto: where installed), wandb or none
    seed: int = 0  # weights, order of the data, and the text of stories
    overwrite: bool = False  # throw away the run that --out holds
    resume: bool = False  # go on with the run that --out holds

    def __post_init__(self):
        self._check_name("objective", OBJECTIVES)
        self._check_name("tokenizer", TOKENIZERS)
        self._check_name("preset", OBJECTIVES[self.objective])
        numbers = ("size", "max_steps", "max_seconds", "target_loss", "vocab_size")
        for name in (*numbers, "save_every"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                flag = name.replace("_", "-")
                raise ValueError(f"--{flag} must be above 0: got {value}")
        if not 0 <= self.seed < 2**32:
            raise ValueError(f"--seed must be from 0 to 2**32 - 1: got {self.seed}")
        if self.overwrite and self.resume:
            raise ValueError(
                "--overwrite throws the old run away and --resume goes on with it: "
                "choose one"
            )
        self._check_tokens()

    def _check_name(self, name: str, known: Iterable[str]) -> None:
        if getattr(self, name) not in known:
            goes_with = f" for --objective {self.objective}" * (name == "preset")
            raise ValueError(
                f"unknown {name} {getattr(self, name)!r}{goes_with}; "
                f"choose one of: {', '.join(known)}"
            )

    def _check_tokens(self) -> None:
        """Refuse what only a learned vocabulary can do."""
        if self.tokenizer == "bpe":
            return
        if self.vocab_size is not None:
            raise ValueError(
                f"--vocab-size {self.vocab_size} is for --tokenizer bpe: the tokens of "
                f"--tokenizer {self.tokenizer} are those that the text has; leave it "
                "out, or choose bpe"
            )
        if self.objective == "masked":
            raise ValueError(
                "--objective masked needs a tokenizer that has a mask: got "
                f"--tokenizer {self.tokenizer}; use --tokenizer bpe"
            )

    @property
    def recipe(self) -> Preset:
        """Return the preset for this run's objective."""
        return OBJECTIVES[self.objective][self.preset]

    @property
    def vocabulary(self) -> int | None:
        """Return the number of tokens for BPE to learn; None for other tokenizers."""
        return (self.vocab_size or VOCABULARY) if self.tokenizer == "bpe" else None

    def training(self) -> TrainingConfig:
        """Return the preset's recipe with this run's end."""
        recipe = dict(self.recipe.training, seed=self.seed, out=self.out)
        recipe |= dict(compile=self.compile)
        if self.max_seconds:
            recipe |= dict(seconds=self.max_seconds, steps=0)
        if self.max_steps:
            recipe |= dict(steps=self.max_steps)
        if self.save_every:
            recipe |= dict(save_every=self.save_every)
        recipe["target_loss"] = self.target_loss or 0.0
        return TrainingConfig(**recipe)
