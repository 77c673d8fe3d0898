"""What a fine-tuning can be told. Lesson 07."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from llmkit.finetuning.recipe import Recipe


@dataclass(frozen=True, kw_only=True)
class FinetuneOptions(Recipe):
    """What to fine-tune, on what, how, and where it goes."""

    data: str  # reviews, hub:NAME, or a .csv .tsv .jsonl .parquet or "label text" .txt
    out: Path  # folder for the classifier
    model: str = "minilm"  # minilm (no network), a folder, or a hub id
    validation: str | None = None  # what the best step is chosen by; else a tenth
    test: str | None = None  # what is judged at the very end
    text: str | None = None  # column of the texts, where it can't be guessed
    label: str | None = None  # column of the labels, likewise
    track: str = "auto"  # curves: tensorboard (auto: where installed), wandb or none
    bad_rows: Literal["refuse", "skip"] = "refuse"  # rows without a text or a label
    save_every: float = 60.0  # seconds between checkpoints, which go with the end
    overwrite: bool = False  # throw away what --out holds
    resume: bool = False  # go on with the run that --out holds

    def __post_init__(self):
        super().__post_init__()
        if self.save_every <= 0:
            raise ValueError(f"--save-every must be above 0: got {self.save_every}")
        if self.overwrite and self.resume:
            raise ValueError(
                "--overwrite throws the old run away and --resume goes on with it: "
                "choose one"
            )
