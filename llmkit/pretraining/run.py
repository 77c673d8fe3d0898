"""Pretraining from one line: text in, a folder with a model out. Lesson 06.

This room only puts the others together, in the order that data takes: corpus,
tokenizer, batches, model, training.
"""

import hashlib
import json
import shutil
from collections.abc import Iterator
from contextlib import closing
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch

from llmkit import corpus
from llmkit.batches import NextTokenBatches, evaluation_batches
from llmkit.planning import Cost, estimate_cost
from llmkit.tokenizer import CharTokenizer, WordTokenizer
from llmkit.training import Step, TrainingConfig, find_checkpoints, fit
from llmkit.transformer import Decoder, ModelConfig, save_model


@dataclass(frozen=True)
class Preset:
    """A model's shape and how to train it, without the text."""

    about: str  # for whom
    model: dict  # of `ModelConfig`, but for the vocabulary
    training: dict  # of `TrainingConfig`
    batch_size: int  # rows a step


# What each choice of `tiny` gained stands in benchmarks/RESULTS.md. `small` is made
# after it and has not been measured.
_FAST = dict(positions="rotary", activation="relu2", bias=False, tied=False, quiet=True)
PRESETS = {
    "tiny": Preset(
        "0.6 million weights, seconds on a laptop",
        dict(context=64, n_layers=3, n_heads=4, d_model=128, **_FAST),
        dict(
            steps=220,
            optimizer="muon",
            muon_rate=0.02,
            learning_rate=0.02,
            clip=0.0,
            evaluate_every=20,
        ),
        batch_size=24,
    ),
    "small": Preset(
        "10 million weights, minutes on a GPU",
        dict(context=256, n_layers=6, n_heads=6, d_model=384, **_FAST),
        dict(
            steps=2000,
            optimizer="muon",
            muon_rate=0.02,
            learning_rate=0.003,
            clip=1.0,
            evaluate_every=200,
        ),
        batch_size=64,
    ),
}
OBJECTIVES = ("next-token",)
TOKENIZERS = {"char": CharTokenizer, "word": WordTokenizer}
MODEL_FILES = ("config.json", "model.safetensors", "tokenizer.json", "run.json")


@dataclass(frozen=True)
class PretrainOptions:
    """What to pretrain, on what, for how long, and where it goes."""

    corpus: str  # stories, python-docs, reviews, hub:NAME, or a file or folder of text
    out: Path  # folder for the model and its checkpoints
    objective: str = "next-token"  # what the model learns to predict
    tokenizer: str = "char"  # what a token is: char or word
    preset: str = "tiny"  # model and recipe: tiny (a laptop) or small (a GPU)
    size: int | None = None  # characters of text to use, at most
    max_steps: int | None = None  # end after this many updates of the weights
    max_seconds: float | None = None  # end after this much training
    target_loss: float | None = None  # end once the validation loss is this low
    seed: int = 0  # weights, order of the data, and the text of stories
    overwrite: bool = False  # throw away the run that --out holds
    resume: bool = False  # go on with the run that --out holds

    def __post_init__(self):
        for name, known in (
            ("objective", OBJECTIVES),
            ("tokenizer", tuple(TOKENIZERS)),
            ("preset", tuple(PRESETS)),
        ):
            if getattr(self, name) not in known:
                raise ValueError(
                    f"unknown {name} {getattr(self, name)!r}; "
                    f"choose one of: {', '.join(known)}"
                )
        for name in ("size", "max_steps", "max_seconds", "target_loss"):
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

    def training(self) -> TrainingConfig:
        """Return the preset's recipe with this run's end."""
        recipe = dict(PRESETS[self.preset].training, seed=self.seed, out=self.out)
        if self.max_seconds:
            recipe |= dict(seconds=self.max_seconds, steps=0)
        if self.max_steps:
            recipe |= dict(steps=self.max_steps)
        recipe["target_loss"] = self.target_loss or 0.0
        return TrainingConfig(**recipe)


@dataclass
class Pretraining:
    """One run, made ready: what it will cost, then its steps, then its result.

    Raises: ValueError if the text can't be read or is too short, or `out` holds
    another run.
    """

    options: PretrainOptions
    last: Step | None = field(default=None, init=False)
    val_loss: float | None = field(default=None, init=False)

    def __post_init__(self):
        options = self.options
        preset = PRESETS[options.preset]
        _check_folder(options)
        text = corpus.load(options.corpus, size=options.size, seed=options.seed).text
        self.identity = _identity(options, text)
        if options.resume:
            _check_same_run(Path(options.out), self.identity)
        self.tokenizer = TOKENIZERS[options.tokenizer].train(text)
        shape = ModelConfig(vocab_size=self.tokenizer.vocab_size, **preset.model)
        context, rows = shape.context, preset.batch_size
        # Split as ids: a cut in the text could fall into the middle of a word.
        train, validation = corpus.split(torch.tensor(self.tokenizer.encode(text)))
        self.batches = NextTokenBatches(train, context, rows, seed=options.seed)
        self.evaluation = evaluation_batches(validation, context)
        torch.manual_seed(options.seed)
        self.model = Decoder(shape)
        self.training = options.training()

    @property
    def cost(self) -> Cost:
        """Say what the run will take, before it starts."""
        rows = self.batches.batch_size
        return estimate_cost(self.model.config, self.training, rows)

    def steps(self) -> Iterator[Step]:
        """Train, yielding each step; leave the model in the folder at the end.

        Raises: KeyboardInterrupt after Ctrl-C, with a checkpoint kept.
        """
        out = Path(self.options.out)
        out.mkdir(parents=True, exist_ok=True)
        if self.options.overwrite:
            _clear(out)
        (out / "run.json").write_text(json.dumps(self.identity, indent=1) + "\n")
        self.tokenizer.save(out)
        run = fit(
            self.model,
            self.batches,
            self.training,
            self.evaluation,
            resume=self.options.resume,
        )
        with closing(run), open(out / "metrics.jsonl", "a", buffering=1) as log:
            for step in run:
                self.last = step
                if step.val_loss is not None:
                    self.val_loss = step.val_loss
                log.write(json.dumps(asdict(step)) + "\n")
                yield step
        save_model(self.model, out)
        if self.last is None:
            raise ValueError(
                f"nothing left to do: the run in {str(out)!r} has reached its end, and "
                "its model is there; give a larger --max-steps or --max-seconds"
            )

    def result(self) -> dict:
        """Return the figures of the finished run, ready for JSON.

        `seconds` is training alone; `val_loss` is in nats a token over the whole
        validation split, in windows of the training context.
        """
        last, parameters = self.last, self.cost.parameters
        speed = last.tokens / last.seconds if last.seconds else 0.0
        return {
            "seconds": round(last.seconds, 3),
            "steps": last.number,
            "tokens": last.tokens,
            "parameters": parameters,
            "tokens_per_second": round(speed, 1),
            "val_loss": round(self.val_loss, 5),
        }


def _identity(options: PretrainOptions, text: str) -> dict:
    """Return what says which run this is."""
    kept = ("corpus", "size", "objective", "tokenizer", "preset", "seed")
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
    return {name: getattr(options, name) for name in kept} | {"text_sha256": digest}


def _check_same_run(out: Path, identity: dict) -> None:
    """Let a run go on only as what it was; its text may have moved meanwhile."""
    try:
        before = dict(json.loads((out / "run.json").read_text()))
    except (ValueError, TypeError):
        raise ValueError(
            f"--resume: {str(out / 'run.json')!r} is damaged; begin again with "
            "--overwrite, or choose another --out"
        ) from None
    for name in ("objective", "tokenizer", "preset", "seed", "text_sha256"):
        if before.get(name) != identity[name]:
            raise ValueError(
                f"--resume: {str(out)!r} was started with {name} {before.get(name)!r}, "
                f"not {identity[name]!r}; use the same, or another --out"
            )


def _check_folder(options: PretrainOptions) -> None:
    """Keep a new run from mixing with an old one."""
    out = Path(options.out)
    if out.exists() and not out.is_dir():
        raise ValueError(f"--out {str(out)!r} is a file; give a folder")
    old = [name for name in MODEL_FILES if (out / name).exists()]
    old += [path.name for path in find_checkpoints(out)]
    if options.resume and not (out / "run.json").exists():
        raise ValueError(
            f"--resume: {str(out)!r} holds no run to go on with; leave --resume out to "
            "begin one"
        )
    if old and not options.resume and not options.overwrite:
        raise ValueError(
            f"--out {str(out)!r} holds another run ({old[0]}); choose another folder, "
            "or add --resume to go on with it, or --overwrite to throw it away"
        )


def _clear(out: Path) -> None:
    """Throw an old run away; whatever else lies in the folder stays."""
    for path in [*find_checkpoints(out), *out.glob("draft-*")]:
        shutil.rmtree(path)
    for name in (*MODEL_FILES, "metrics.jsonl"):
        (out / name).unlink(missing_ok=True)
