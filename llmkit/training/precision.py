"""In which precision to compute. Lesson 08."""

import torch
from torch import nn

from llmkit.training.processes import on_cpu
from llmkit.training.schedule import TrainingConfig

WIDE = 256  # numbers a token from which bfloat16 pays on a CPU with AMX


def best_precision(model: nn.Module | None = None) -> str:
    """Return the mixed precision that pays on this device: "bf16" or "no".

    bfloat16 is fast on GPUs from Ampere on, and on CPUs with AMX where the model's
    layers are wide (narrow ones spend more on converting than they save); elsewhere it
    is emulated, and slower than float32. Measured in benchmarks/RESULTS.md.
    """
    if uses_cuda():
        return "bf16" if torch.cuda.get_device_capability()[0] >= 8 else "no"
    layers = [m for m in (model or nn.Module()).modules() if isinstance(m, nn.Linear)]
    widest = max((min(m.weight.shape) for m in layers), default=WIDE)
    return "bf16" if torch.cpu._is_amx_tile_supported() and widest >= WIDE else "no"


def uses_cuda() -> bool:
    """Tell whether training computes on a GPU of CUDA's kind: there, and wished for."""
    return torch.cuda.is_available() and not on_cpu()


def mixed_precision(config: TrainingConfig, model: nn.Module) -> str:
    """Return accelerate's name of the precision that is asked for: "bf16" or "no".

    >>> mixed_precision(TrainingConfig(steps=1, precision="fp32"), nn.Linear(2, 2))
    'no'
    """
    if config.precision == "auto":
        return best_precision(model)
    return {"fp32": "no", "bf16": "bf16"}[config.precision]
