"""What DeepSpeed must be told, and how its flat pieces become whole again. Lesson 08.

DeepSpeed keeps the optimizer's state, and with stage 3 the weights, in flat pieces, one
a process. Where this joins them, all processes must call it together.
"""

from torch import Tensor, nn

from llmkit.training.schedule import TrainingConfig


def set_up(accelerator, optimizers: list, config: TrainingConfig) -> None:
    """Fill in what a launch file can't know.

    Raises: ValueError for an optimizer that needs whole matrices.
    """
    kinds = [type(optimizer).__name__ for optimizer in optimizers]
    if kinds != ["AdamW"]:
        raise ValueError(
            f"DeepSpeed cuts weights into flat pieces, and this run uses {kinds}: Muon "
            "needs whole matrices; use optimizer='adamw', or the launch file fsdp2"
        )
    told = accelerator.state.deepspeed_plugin.deepspeed_config
    told["gradient_clipping"] = config.clip  # DeepSpeed clips where the gradients are
    told["gradient_accumulation_steps"] = 1  # `fit` itself cuts the batch
    told["train_micro_batch_size_per_gpu"] = 1  # for its own statistics alone


def by_deepspeed(weight: Tensor) -> bool:
    """Tell whether DeepSpeed keeps a weight."""
    return hasattr(weight, "ds_id") or hasattr(weight, "_hp_mapping")


def whole_weight(weight: Tensor) -> Tensor:
    """Join a weight in float32."""
    from deepspeed.utils import safe_get_full_fp32_param

    return safe_get_full_fp32_param(weight)


def whole_state(model: nn.Module, optimizer) -> dict[str, Tensor]:
    """Join AdamW's state, each tensor under the name that it has elsewhere.

    optimizer: DeepSpeed's, around AdamW.
    """
    from deepspeed.utils import (
        lazy_init_hp_params_optimizer_state,
        safe_get_full_optimizer_state,
    )

    found, adamw = {}, optimizer.optimizer
    count = next(state["step"] for state in adamw.state.values() if state)
    # By itself, stage 2 would know where the state of the first group is, alone.
    flat = getattr(optimizer, "single_partition_of_fp32_groups", [])
    for weights, piece in zip(getattr(optimizer, "bit16_groups", []), flat):
        lazy_init_hp_params_optimizer_state(weights, piece, adamw.state)
    for name, weight in model.named_parameters():
        if weight.requires_grad:
            for key in ("exp_avg", "exp_avg_sq"):
                state = safe_get_full_optimizer_state(weight, key)
                found[f"0/{name}/{key}"] = state.view(whole_weight(weight).shape)
            found[f"0/{name}/step"] = count.clone()
    return found
