"""Weights that are cut among processes, as FSDP2 or DeepSpeed keep them. Lesson 08.

A cut tensor of FSDP2 (torch's DTensor) is each process's rows of a whole one; of
DeepSpeed see `zero`. What joins or cuts is done by all processes together.
"""

from torch import Tensor, nn

from llmkit.training.zero import by_deepspeed, whole_weight


def is_sharded(model: nn.Module) -> bool:
    """Tell whether a model's weights are cut."""
    return any(_is_cut(p) or by_deepspeed(p) for p in model.parameters())


def whole(tensor: Tensor) -> Tensor:
    """Join a tensor that is cut; return any other as it is."""
    if by_deepspeed(tensor):
        return whole_weight(tensor)
    return tensor.full_tensor() if _is_cut(tensor) else tensor


def whole_weights(model: nn.Module) -> dict[str, Tensor]:
    """Return a copy of a model's state_dict in which nothing is cut."""
    state = model.state_dict(keep_vars=True)
    return {name: whole(x).detach().clone() for name, x in state.items()}


def local(tensor: Tensor) -> Tensor:
    """Return this process's part of a tensor that is cut."""
    return tensor.to_local() if _is_cut(tensor) else tensor


def cut_like(tensor: Tensor, weight: Tensor) -> Tensor:
    """Cut a whole tensor as a weight is cut, or bring it to where the weight is."""
    tensor = tensor.to(weight.device)
    if not _is_cut(weight):
        return tensor
    from torch.distributed.tensor import distribute_tensor

    return distribute_tensor(tensor, weight.device_mesh, weight.placements)


def _is_cut(tensor: Tensor) -> bool:
    return hasattr(tensor, "full_tensor")  # without importing what a laptop won't need
