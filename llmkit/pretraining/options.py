"""What a run can be told, and what is refused before any work is done."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from llmkit.planning.shapes import FIELDS, check_above_zero, configure, reshape
from llmkit.pretraining.presets import MASKED_PRESETS, OTHERWISE, PRESETS, Preset
from llmkit.training import TrainingConfig
from llmkit.transformer import ModelConfig

OBJECTIVES = {"next-token": PRESETS, "masked": MASKED_PRESETS}
TOKENIZERS = ("char", "word", "bpe")
OPTIMIZERS = ("adamw", "muon")
PRECISIONS = ("auto", "fp32", "bf16")
VOCABULARY = 2048  # tokens of a BPE vocabulary, unless told
ABOVE_ZERO = ("size", "max_steps", "max_seconds", "target_loss", "vocab_size")
ABOVE_ZERO += ("batch_size", "accumulation", "save_every", *FIELDS)


@dataclass(frozen=True)
class PretrainOptions:
    """What to pretrain, on what, for how long, and where it goes."""

    corpus: str  # stories, python-docs, reviews, hub:NAME, or a file or folder of text
    out: Path  # folder for the model and its checkpoints
    objective: str = "next-token"  # what to predict: next-token (GPT) or masked (BERT)
    tokenizer: str = "char"  # what a token is: char, word, or bpe (pieces of words)
    vocab_size: int | None = None  # tokens to learn for bpe (2048 unless told)
    preset: str = "tiny"  # tiny, small, modern, gpt2-124m … (a wrong one lists all)
    layers: int | None = None  # blocks; this and what follows change the preset's
    width: int | None = None  # numbers that describe a token
    heads: int | None = None  # looks in each block (as wide each as in the preset)
    kv_heads: int | None = None  # keys and values that heads share (all their own)
    ff: int | None = None  # width inside each block (as many times the width)
    context: int | None = None  # tokens that the model looks at
    batch_size: int | None = None  # rows a step, of all processes together
    accumulation: int | None = None  # pieces that a batch is cut into, to save memory
    optimizer: str | None = None  # adamw, as DeepSpeed needs, or muon (the preset's)
    precision: str = "auto"  # fp32, bf16, or auto: the best that the device has
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
        self._check_name("optimizer", (None, *OPTIMIZERS))
        self._check_name("precision", PRECISIONS)
        check_above_zero(self, *ABOVE_ZERO)
        if not 0 <= self.seed < 2**32:
            raise ValueError(f"--seed must be from 0 to 2**32 - 1: got {self.seed}")
        if self.overwrite and self.resume:
            raise ValueError(
                "--overwrite throws the old run away and --resume goes on with it: "
                "choose one"
            )
        self._check_tokens()
        self.shape(VOCABULARY)  # refused now, not after the text was read
        rows, pieces = self.recipe.batch_size, self.recipe.training["accumulation"]
        if pieces > rows:
            raise ValueError(
                f"--accumulation {pieces} cuts a batch into more pieces than its "
                f"{rows} rows: use {rows} at most, or a larger --batch-size"
            )

    def _check_name(self, name: str, known: Iterable[str]) -> None:
        told = getattr(self, name)
        if told in known:
            return
        goes_with = ""
        if name == "preset":
            goes_with = f" for --objective {self.objective}"
            others = [x for x, presets in OBJECTIVES.items() if told in presets]
            goes_with += f" (it is one for --objective {others[0]})" if others else ""
        raise ValueError(
            f"unknown {name} {told!r}{goes_with}; choose one of: "
            f"{', '.join(x for x in known if x)}"
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
        """Return the preset for this run's objective, changed as told."""
        preset = OBJECTIVES[self.objective][self.preset]
        rows = self.batch_size or preset.batch_size
        pieces = preset.training.get("accumulation", 1)
        pieces = max(1, pieces * rows // preset.batch_size)  # of as many rows as before
        pieces = next(n for n in range(pieces, 0, -1) if rows % n == 0)
        training = preset.training | self._optimizer(preset)
        training |= {"accumulation": self.accumulation or pieces}
        return replace(
            preset,
            model=reshape(preset.model, self),
            training=training | {"precision": self.precision},
            batch_size=rows,
        )

    def _optimizer(self, preset: Preset) -> dict:
        """Return the optimizer, and its rates if it is not the preset's own."""
        own = preset.training.get("optimizer", "adamw")
        wanted = self.optimizer or own
        return {"optimizer": wanted} | (OTHERWISE[wanted] if wanted != own else {})

    def shape(self, vocab_size: int) -> ModelConfig:
        """Return the model's shape, once the tokenizer has its vocabulary.

        Raises: ValueError where its numbers do not fit each other.
        """
        return configure(vocab_size, self.recipe.model)

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
