"""What DeepSpeed must be told, and how its flat pieces become whole again. Lesson 08.

DeepSpeed keeps the optimizer's state, and with stage 3 the weights, in flat pieces, one
a process. Where this joins them, all processes must call it together.
"""

import torch
from torch import Tensor, nn

from llmkit.training.schedule import TrainingConfig

AVERAGES = ("exp_avg", "exp_avg_sq")  # AdamW's


def set_up(accelerator, optimizers: list, config: TrainingConfig) -> None:
    """Fill in what a launch file can't know.

    Raises: ValueError for an optimizer that needs whole matrices, or for offloading,
    which puts an optimizer of DeepSpeed's own in the place of AdamW.
    """
    kinds = [type(optimizer).__name__ for optimizer in optimizers]
    if kinds != ["AdamW"]:
        raise ValueError(
            f"DeepSpeed cuts weights into flat pieces, and this run uses {kinds}: Muon "
            "needs whole matrices; use --optimizer adamw, or the launch file fsdp2"
        )
    told = accelerator.state.deepspeed_plugin.deepspeed_config
    for what in ("offload_optimizer", "offload_param"):
        where = told["zero_optimization"].get(what, {}).get("device") or "none"
        if where != "none":
            raise offloading(f"{what}_device: {where}")
    told["gradient_clipping"] = config.clip  # DeepSpeed clips where the gradients are
    told["gradient_accumulation_steps"] = 1  # `fit` itself cuts the batch
    told["train_micro_batch_size_per_gpu"] = 1  # for its own statistics alone


def offloading(what: str) -> ValueError:
    """Say that a launch file asks to keep on the CPU what is computed on a GPU."""
    return ValueError(
        f"the launch file sets {what}, and llmkit keeps all on the GPU: leave it out, "
        "and use more GPUs or a smaller model"
    )


def by_deepspeed(weight: Tensor) -> bool:
    """Tell whether DeepSpeed keeps a weight."""
    return hasattr(weight, "ds_id") or hasattr(weight, "_hp_mapping")


def is_zero(model: nn.Module) -> bool:
    """Tell whether DeepSpeed keeps a model's weights."""
    return any(by_deepspeed(weight) for weight in model.parameters())


def whole_weight(weight: Tensor) -> Tensor:
    """Join a weight in float32."""
    from deepspeed.utils import safe_get_full_fp32_param

    if not weight.requires_grad:  # the optimizer has no copy of what stays as it is
        from deepspeed import zero

        with zero.GatheredParameters([weight]):
            return weight.detach().float().clone()
    return safe_get_full_fp32_param(weight)


def whole_shape(tensor: Tensor) -> tuple[int, ...]:
    """Return the shape that a tensor has when it is joined."""
    return getattr(tensor, "ds_shape", tensor.shape)


def whole_state(
    model: nn.Module, optimizer, keep: bool = True
) -> dict[str, Tensor | None]:
    """Join AdamW's state, each tensor under the name that it has elsewhere.

    optimizer: DeepSpeed's, around AdamW. keep: whether this process is to have it.
    """
    from deepspeed.utils import safe_get_full_optimizer_state

    found, adamw = {}, optimizer.optimizer
    count = next(state["step"] for state in adamw.state.values() if state)
    _link(optimizer)
    for name, weight in model.named_parameters():
        if weight.requires_grad:
            for key in AVERAGES:
                state = safe_get_full_optimizer_state(weight, key)
                whole = state.view(whole_shape(weight)).cpu() if keep else None
                found[f"0/{name}/{key}"] = whole
            found[f"0/{name}/step"] = count.clone()
    return found


def put_back(model: nn.Module, optimizer, weights: dict, state: dict) -> None:
    """Cut whole weights and the whole state as DeepSpeed keeps its own.

    weights, state: as `whole_weight` and `whole_state` gave them, on the CPU.
    """
    adamw = optimizer.optimizer
    count = next(x for name, x in state.items() if name.endswith("/step"))
    for piece in _pieces(optimizer):
        averages = {key: torch.zeros_like(piece.data) for key in AVERAGES}
        adamw.state[piece] = {"step": count.clone().to(piece.device), **averages}
    _link(optimizer)
    for name, weight in model.named_parameters():
        _put(weight, weights[name])
        if weight.requires_grad:
            for key in AVERAGES:
                _put_state(weight, state[f"0/{name}/{key}"], key)


def _put(weight: Tensor, value: Tensor) -> None:
    """Change a weight, and the float32 copy that the optimizer moves."""
    if not hasattr(weight, "ds_id"):
        weight.data.copy_(value)
    else:
        from deepspeed import zero

        with zero.GatheredParameters([weight], modifier_rank=0):
            weight.data.copy_(value)
    if weight.requires_grad:
        _put_state(weight, value)


def _put_state(weight: Tensor, value: Tensor, key: str = "") -> None:
    """Put this process's piece of a value where the optimizer keeps it."""
    from deepspeed import utils

    value, kind = value.flatten().to(weight.device), "full"
    if hasattr(weight, "ds_id"):
        kind, size = "local", weight.ds_tensor.numel()
        rank, W = torch.distributed.get_rank(), torch.distributed.get_world_size()
        # The last piece is filled up, which DeepSpeed's own cutting does not expect.
        value = nn.functional.pad(value, (0, size * W - value.numel()))
        value = value.narrow(0, rank * size, size)
    if key:
        getattr(utils, f"safe_set_{kind}_optimizer_state")(weight, value, key)
    else:
        getattr(utils, f"safe_set_{kind}_fp32_param")(weight, value)


def _pieces(optimizer) -> list[Tensor]:
    """List the flat float32 pieces that this process's AdamW moves."""
    names = ("fp32_partitioned_groups_flat", "single_partition_of_fp32_groups")
    return next(getattr(optimizer, name) for name in names if hasattr(optimizer, name))


def _link(optimizer) -> None:
    """Tell each weight where its state lies; stage 3 needs no telling.

    By itself, stage 2 would know where the state of the first group is, alone.
    """
    from deepspeed.utils import lazy_init_hp_params_optimizer_state

    for weights, piece in zip(
        getattr(optimizer, "bit16_groups", []), _pieces(optimizer)
    ):
        lazy_init_hp_params_optimizer_state(weights, piece, optimizer.optimizer.state)
