"""Hand a model to the engine beneath, and take it back. Lesson 08."""

from torch import nn

from llmkit.training.checkpoints import find_checkpoints, load_latest
from llmkit.training.processes import agree, engine, naming_a_loss, wait_for_all
from llmkit.training.sharding import is_sharded, local
from llmkit.training.zero import offloading, set_up


def prepare(accelerator, model: nn.Module, optimizers: list, config) -> tuple:
    """Hand model and optimizers to accelerate."""
    if engine(accelerator) == "DeepSpeed":
        set_up(accelerator, optimizers, config)
    plugin = accelerator.state.fsdp_plugin if "FSDP" in engine(accelerator) else None
    if type(getattr(plugin, "cpu_offload", None)).__name__ == "CPUOffloadPolicy":
        raise offloading("fsdp_offload_params: true")
    if config.compile:
        model.compile()  # in place: its weights keep their names
    with naming_a_loss(accelerator):
        return accelerator.prepare(model, *optimizers)


def bare(accelerator, model, optimizers: list) -> tuple[nn.Module, list]:
    """Take off what accelerate wrapped around model and optimizers."""
    plain = [getattr(optimizer, "optimizer", optimizer) for optimizer in optimizers]
    return accelerator.unwrap_model(model), plain


def resumed(accelerator, model, parts, config, resume, judge) -> tuple[dict, str]:
    """Load the latest checkpoint, if that is wanted; return what to say of it, too."""
    try:
        wait_for_all()  # one of them may be saving still
        found = find_checkpoints(config.out) if resume and config.out else []
        _check_agreement(accelerator, int(found[0].name[-8:]) if found else 0)
        state, notes = load_latest(config.out, *parts) if found else ({}, [])
        _check_agreement(accelerator, state.get("step", 0))
        if state:
            judge.recall(state)
        return state, _note(accelerator, notes, state)
    except BaseException:
        release(accelerator, model)
        raise


def _note(accelerator, notes: list, state: dict) -> str:
    """Return what is to be said of how a run goes on."""
    number = state.get("step", 0)
    notes = [f"{what}: went on from step {number}" for what in notes]
    before, now = state.get("processes", 1), accelerator.num_processes
    if state and before != now:
        notes.append(
            f"step {number} was made by {before} and this run goes on with {now} "
            "(processes): batches stay the same, sums are rounded otherwise and "
            "dropout draws anew"
        )
    return "; ".join(notes)


def _check_agreement(accelerator, number: int) -> None:
    """Refuse to go on from different steps.

    Raises: ValueError.
    """
    latest, earliest = agree(accelerator, number, -number)
    if latest != -earliest:
        raise ValueError(
            f"one process would go on from step {int(-earliest)} and another from step "
            f"{int(latest)}: --out must lie on a disk that all of them see"
        )


def is_finite(accelerator, model: nn.Module) -> bool:
    """Tell whether all weights are numbers, those of other processes too."""
    fine = all(bool(local(p).isfinite().all()) for p in model.parameters())
    return not any(agree(accelerator, not fine)) if is_sharded(model) else fine


def release(accelerator, model: nn.Module) -> None:
    """Forget that accelerate prepared a model."""
    bare = accelerator.unwrap_model(model, keep_fp32_wrapper=False)
    vars(bare).pop("_is_accelerate_prepared", None)
    bare._compiled_call_impl = None
