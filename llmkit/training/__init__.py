"""Training: one loop, two optimizers, a schedule, checkpoints, a progress bar."""

from llmkit.training.checkpoints import (
    find_checkpoints,
    joined,
    load_best,
    load_latest,
    name_latest,
    numbers_in,
    save_checkpoint,
)
from llmkit.training.folder import (
    LOG,
    RECORD,
    check_same_run,
    keep_log_before,
    write_line,
    write_record,
)
from llmkit.training.launched import engine_asked_for
from llmkit.training.lock import LOCK, alone_in
from llmkit.training.loop import Step, fit
from llmkit.training.objective import Judge, ask, evaluate, plain_loss
from llmkit.training.optimizers import Muon, make_optimizers, orthogonalize
from llmkit.training.precision import best_precision, uses_cuda
from llmkit.training.processes import (
    as_main_has_it,
    from_all,
    is_main,
    join,
    leave,
    wait_for_all,
)
from llmkit.training.reporting import describe, show_progress
from llmkit.training.schedule import TrainingConfig, progress, rate
from llmkit.training.sharding import is_sharded, whole_weights
from llmkit.training.tracking import chosen_tracker, track

__all__ = [
    "LOCK",
    "LOG",
    "RECORD",
    "Judge",
    "Muon",
    "Step",
    "TrainingConfig",
    "alone_in",
    "as_main_has_it",
    "ask",
    "best_precision",
    "check_same_run",
    "chosen_tracker",
    "describe",
    "engine_asked_for",
    "evaluate",
    "find_checkpoints",
    "fit",
    "from_all",
    "is_main",
    "is_sharded",
    "join",
    "joined",
    "keep_log_before",
    "leave",
    "load_best",
    "load_latest",
    "make_optimizers",
    "name_latest",
    "numbers_in",
    "orthogonalize",
    "plain_loss",
    "progress",
    "rate",
    "save_checkpoint",
    "show_progress",
    "track",
    "uses_cuda",
    "wait_for_all",
    "whole_weights",
    "write_line",
    "write_record",
]
