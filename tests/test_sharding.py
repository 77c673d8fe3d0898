"""Check that training with weights cut among processes is training all the same.

Accelerate shards on GPUs alone: on CPU processes it would quietly fall back to plain
data parallel. So the two processes here, which its own launcher starts from
fsdp2.yaml, tell it that they may: what then runs is its FSDP2 code, and torch's
fully_shard over gloo, with the settings of that file. As a program, this file is what
each of them runs.
"""

import csv
import json
import os
import sys
from pathlib import Path

import pytest
import torch
from conftest import need
from helpers import (
    ROOT,
    SENTENCES,
    UnevenBatches,
    finish,
    has_extra,
    random_ids,
    save_tiny,
    small_model,
    start,
    start_with_extras,
    train,
)
from safetensors.torch import load_file, save_file

from llmkit.batches import evaluation_batches
from llmkit.finetuning import FinetuneOptions, Finetuning
from llmkit.metrics import IGNORE
from llmkit.training import TrainingConfig, fit, leave, plain_loss, processes
from llmkit.training.checkpoints import gather
from llmkit.training.sharding import is_sharded, local

pytestmark = [pytest.mark.slow, pytest.mark.process]
HERE = {"ACCELERATE_USE_CPU": "true"}  # the launch files are for GPUs
RUNS = {
    "adamw": dict(steps=10, clip=0.5),
    "muon": dict(steps=6, optimizer="muon", weight_decay=0.1),
    "in pieces": dict(steps=6, accumulation=2),
    "tied": dict(steps=6),
    "half": dict(steps=6, precision="bf16"),
}
# Of half precision, less is promised; its turns are the only numbers that stay whole.
SHAPES = {"tied": dict(tied=True), "half": dict(positions="rotary", d_model=22)}
NEAR = {"half": 0.03}


class Batches(UnevenBatches):
    """Give batches of which every third is so short that one process has less to do.

    Of 3 rows in 4 pieces one process has two, the other one.
    """

    def __getitem__(self, i: int):
        inputs, labels = super().__getitem__(i)
        rows = 3 if i % 3 == 1 else len(labels)
        return inputs[:rows], labels[:rows]


def model(seed: int = 0, name: str = ""):
    """Build a model whose weights do not divide by two."""
    shape = dict(tied=False, d_model=21, n_heads=1) | SHAPES.get(name, {})
    return small_model(seed, loud=False, **shape)


def evaluation() -> list:
    """Return five batches, so that one of two processes has one fewer."""
    return evaluation_batches(random_ids(80), 8, batch_size=2)


def run_all(folder: Path) -> None:
    """Make every run; the first process leaves weights and losses in the folder."""
    told = {}
    for name, recipe in RUNS.items():
        ours = model(name=name)
        steps = train(ours, Batches(5), evaluation(), **recipe)
        weights, _, _ = gather(ours, [])
        told[name] = {
            "losses": [step.loss for step in steps],
            "val_loss": steps[-1].val_loss,
            "cut": is_sharded(ours),
            "here": sum(local(p).numel() for p in ours.parameters()),
            "whole": sum(p.numel() for p in ours.parameters()),
        }
        if processes.is_main():
            save_file(
                {n: w.contiguous() for n, w in weights.items()}, folder / f"{name}.st"
            )
            (folder / "told.json").write_text(json.dumps(told))


def leave_after(number: int, config: TrainingConfig) -> None:
    """Train a model and leave after some steps."""
    for step in fit(model(), Batches(5), config):
        if step.number == number:
            break


def stop_and_go_on(folder: Path) -> None:
    """Leave after step 3 of 6, then go on in the folder with another model."""
    out = folder / "run"
    config = TrainingConfig(steps=6, precision="fp32", out=out, optimizer="muon")
    leave_after(3, config)
    ours = model(7)  # all of which the checkpoint must replace
    steps = list(fit(ours, Batches(5), config, resume=True))
    weights, _, _ = gather(ours, [])
    if processes.is_main():
        (folder / "numbers.json").write_text(json.dumps([s.number for s in steps]))
        save_file(
            {n: w.contiguous() for n, w in weights.items()}, folder / "resumed.st"
        )


def save_in_parts(folder: Path) -> None:
    """Write what each process has, by torch's own distributed checkpoints."""
    import torch.distributed.checkpoint as parts
    from torch.distributed.checkpoint.state_dict import get_model_state_dict

    ours = model()
    train(ours, Batches(5), steps=2)
    parts.save(get_model_state_dict(ours), checkpoint_id=folder / "parts")
    weights, _, _ = gather(ours, [])
    if processes.is_main():
        save_file({n: w.contiguous() for n, w in weights.items()}, folder / "whole.st")


def may_shard_here(original):
    """Return an Accelerator's maker that shards on the CPU, too."""
    from accelerate.utils import DistributedType, FullyShardedDataParallelPlugin

    def make(**options):
        accelerator = original(**options)
        accelerator.state.distributed_type = DistributedType.FSDP
        plugin = accelerator.state.fsdp_plugin = FullyShardedDataParallelPlugin()
        if options["mixed_precision"] != "no":
            plugin.set_mixed_precision(options["mixed_precision"])
        return accelerator

    return make


@pytest.fixture(scope="module")
def both(tmp_path_factory) -> Path:
    """Run this file in two processes that shard; return what they left."""
    folder = tmp_path_factory.mktemp("both")
    config = ROOT / "llmkit" / "launch" / "fsdp2.yaml"
    line = ["-m", "accelerate.commands.launch", "--config_file", config]
    process = start(*line, "--num_processes", 2, __file__, folder, env=HERE)
    code, _, err = finish(process)
    assert code == 0, err
    return folder


def far(one: dict, other: dict) -> float:
    """Return the largest difference between weights of the same names."""
    assert one.keys() == other.keys()
    return max(float((one[n] - other[n]).abs().max()) for n in one)


@pytest.mark.parametrize("name", RUNS)
def test_weights_that_are_cut_train_as_whole_ones_do(name, both):
    ours, near = model(name=name), NEAR.get(name, 1e-4)
    steps = train(ours, Batches(5), evaluation(), **RUNS[name])
    theirs = {n: p.detach() for n, p in ours.named_parameters()}
    assert far(load_file(both / f"{name}.st"), theirs) < near
    told = json.loads((both / "told.json").read_text())[name]
    assert told["losses"] == pytest.approx([step.loss for step in steps], abs=near)
    assert told["val_loss"] == pytest.approx(steps[-1].val_loss, abs=near)
    # and they were: each process holds about a half
    assert told["cut"] and 0.4 < told["here"] / told["whole"] < 0.6


def test_what_was_cut_goes_on_cut_and_in_one_process(both, tmp_path):
    assert json.loads((both / "numbers.json").read_text()) == [4, 5, 6]
    whole = model()
    train(whole, Batches(5), steps=6, optimizer="muon", out=tmp_path)
    theirs = {n: p.detach() for n, p in whole.named_parameters()}
    assert far(load_file(both / "resumed.st"), theirs) < 1e-4
    # and the checkpoint of the cut run, read by one process
    alone = model(7)
    longer = dict(steps=9, optimizer="muon", resume=True)
    (step, *_) = train(alone, Batches(5), out=both / "run", **longer)
    train(whole, Batches(5), out=tmp_path, **longer)
    pairs = zip(alone.parameters(), whole.parameters())
    assert max(float((a - b).detach().abs().max()) for a, b in pairs) < 1e-4
    assert step.number == 7 and "was made by 2 and this run goes on with 1" in step.note


def test_parts_that_two_processes_wrote_are_read_by_one(both):
    import torch.distributed.checkpoint as parts

    fresh = {n: torch.zeros_like(p) for n, p in model().named_parameters()}
    parts.load(fresh, checkpoint_id=both / "parts", no_dist=True)
    assert far(fresh, load_file(both / "whole.st")) == 0
    assert len(list((both / "parts").glob("*.distcp"))) == 2


# DeepSpeed, beneath Accelerate


def meet() -> None:
    """Have processes talk by gloo alone; a way of its own DeepSpeed would compile."""
    import deepspeed

    deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False
    deepspeed.init_distributed("gloo")


def zero(folder: Path) -> None:
    """Train by DeepSpeed with the settings that the launcher made of its file."""
    import deepspeed
    from accelerate.utils import DeepSpeedPlugin
    from deepspeed.utils.zero_to_fp32 import get_fp32_state_dict_from_zero_checkpoint

    meet()
    rank, size = torch.distributed.get_rank(), torch.distributed.get_world_size()
    plugin = DeepSpeedPlugin()
    sizes = dict(train_micro_batch_size_per_gpu=3, train_batch_size=6)
    plugin.deepspeed_config_process(must_match=False, **sizes)
    config = plugin.deepspeed_config | {"zero_allow_untested_optimizer": True}
    ours = model()
    whole = sum(p.numel() for p in ours.parameters())
    adamw = torch.optim.AdamW(ours.parameters(), lr=1e-3)
    engine, *_ = deepspeed.initialize(model=ours, optimizer=adamw, config=config)
    for inputs, labels in BATCHES:
        count = int((labels != IGNORE).sum())
        x, y = inputs.tensor_split(size)[rank], labels.tensor_split(size)[rank]
        total, _ = plain_loss(engine, x, y)
        engine.backward(total * size / count)
        engine.step()
    engine.save_checkpoint(str(folder / "zero"))
    kept = sum(t.numel() for state in adamw.state.values() for t in state.values())
    told = {"whole": whole, "optimizer": kept, "config": config["zero_optimization"]}
    (folder / f"zero{rank}.json").write_text(json.dumps(told, default=str))
    torch.distributed.barrier()
    if rank == 0:  # read the pieces of both
        weights = get_fp32_state_dict_from_zero_checkpoint(str(folder / "zero"))
        save_file({n: w.contiguous() for n, w in weights.items()}, folder / "zero.st")
    torch.distributed.destroy_process_group()


ZERO = dict(steps=8, accumulation=2, clip=0.5)  # what `fit` does with DeepSpeed


def take_deepspeed() -> None:
    """Have Accelerate take DeepSpeed, as it would on GPUs."""
    from accelerate.state import PartialState
    from accelerate.utils import DeepSpeedPlugin, DistributedType

    original = processes.Accelerator

    def make(**options):
        PartialState._shared_state["distributed_type"] = DistributedType.MULTI_CPU
        accelerator = original(**options)
        plugin = DeepSpeedPlugin()
        plugin.set_mixed_precision(options["mixed_precision"])
        plugin.select(_from_accelerator_state=True)
        accelerator.state.distributed_type = DistributedType.DEEPSPEED
        # Accelerate asks this again and again
        PartialState._shared_state["distributed_type"] = DistributedType.DEEPSPEED
        accelerator.state.deepspeed_plugins = {"default": plugin}
        return accelerator

    processes.join()
    meet()
    processes.Accelerator = make


def fit_zero(folder: Path) -> None:
    """Train, evaluate and save through `fit`, Accelerate and DeepSpeed."""
    take_deepspeed()
    ours = model()
    steps = train(ours, Batches(5), evaluation(), out=folder / "fit", **ZERO)
    weights, _, _ = gather(ours, [])
    if processes.is_main():
        save_file({n: w.contiguous() for n, w in weights.items()}, folder / "fit.st")
        told = [[step.loss for step in steps], steps[-1].val_loss]
        (folder / "fit.json").write_text(json.dumps(told))
    told = {}
    for name in SHAPES:
        ours = model(name=name)
        steps = train(ours, Batches(5), **ZERO | RUNS[name])
        weights, _, _ = gather(ours, [])
        told[name] = [step.loss for step in steps]
        if processes.is_main():
            save_file(
                {n: w.contiguous() for n, w in weights.items()}, folder / f"{name}.st"
            )
    (folder / "shapes.json").write_text(json.dumps(told))
    go_on(folder)
    processes.leave()


def go_on(folder: Path) -> None:
    """Go on by DeepSpeed from its own checkpoint and from one process's; refuse."""
    whole, out = model(), folder / "half"
    recipe = ZERO | dict(steps=6)
    train(whole, Batches(5), **recipe)
    leave_after(3, TrainingConfig(precision="fp32", out=out, **recipe))
    for name in ("half", "one"):
        ours = model(7)  # all of which the checkpoint must replace
        steps = train(ours, Batches(5), resume=True, out=folder / name, **recipe)
        assert [step.number for step in steps] == [4, 5, 6], steps
        ours, theirs = gather(ours, [])[0], gather(whole, [])[0]
        most = far(ours, theirs)
        assert most == 0 if name == "half" else most < 1e-5, (name, most)
    for wrong, changed, recipe in (
        ("Muon needs whole .*--optimizer adamw", model(), dict(optimizer="muon")),
        ("of another model .size mismatch", small_model(tied=False, d_model=12), {}),
        ("of another model .Missing key", small_model(n_layers=1, tied=False), {}),
    ):
        with pytest.raises(ValueError, match=wrong):
            train(changed, Batches(5), resume=True, out=out, **ZERO | recipe)


FINE = {
    "plain": dict(),
    "of few layers": dict(freeze=2),
    "averaged": dict(average=2, epochs=1),
    "adversarial": dict(adversarial=0.1, epochs=2),
}


def finetune(folder: Path, **recipe) -> dict:
    """Fine-tune a tiny BERT on some sentences; return the result."""
    around = folder.parent.parent
    data = str(around / "train.csv")
    told = dict(data=data, validation=data, model=str(around / "tiny"))
    told |= dict(batch_size=4, epochs=3, learning_rate=1e-3, track="none")
    run = Finetuning(FinetuneOptions(out=folder, **told | recipe))
    list(run.steps())
    assert not is_sharded(run.classifier)
    return run.result() if processes.is_main() else {}


def finetune_all(folder: Path) -> None:
    """Make every fine-tuning; the first process leaves its result."""
    told = {}
    for name, recipe in FINE.items():
        try:
            told[name] = finetune(folder / name, **recipe)
        except ValueError as error:
            told[name] = str(error)
    if processes.is_main():
        (folder / "fine.json").write_text(json.dumps(told))


def fine_zero(folder: Path) -> None:
    """Fine-tune through `fit`, Accelerate and DeepSpeed."""
    take_deepspeed()
    finetune_all(folder)
    processes.leave()


def fine_fsdp(folder: Path) -> None:
    """Fine-tune with weights that FSDP2 cuts."""
    processes.Accelerator = may_shard_here(processes.Accelerator)
    finetune_all(folder)
    processes.leave()


@pytest.fixture(scope="module")
def fine(tmp_path_factory) -> Path:
    """Make every fine-tuning in this process alone."""
    folder = tmp_path_factory.mktemp("fine")
    with open(folder / "train.csv", "w", newline="") as file:
        csv.writer(file).writerows([("text", "label"), *SENTENCES[:33]])
    save_tiny(folder / "tiny")
    (folder / "alone").mkdir()
    finetune_all(folder / "alone")
    return folder


@pytest.mark.parametrize("engine", ["fsdp2", "deepspeed-zero2", "deepspeed-zero3"])
def test_fine_tuning_with_weights_that_are_cut_is_the_same(engine, fine):
    """The last of each epoch's batches has one text: one process has none of it."""
    (fine / engine).mkdir()
    if engine == "fsdp2":
        config = ROOT / "llmkit" / "launch" / "fsdp2.yaml"
        line = ["-m", "accelerate.commands.launch", "--config_file", config]
        line += ["--num_processes", 2, __file__, fine / engine, "fine_fsdp"]
        code, _, err = finish(start(*line, env=HERE))
        assert code == 0, err
    else:
        run_deepspeed(int(engine[-1]), fine / engine, "fine_zero")
    ours = json.loads((fine / engine / "fine.json").read_text())
    theirs = json.loads((fine / "alone" / "fine.json").read_text())
    if "deepspeed" in engine:
        assert "--adversarial asks for gradients twice" in ours.pop("adversarial")
    for name in ours:
        assert ours[name]["accuracy"] == theirs[name]["accuracy"]
        assert ours[name]["examples"] == theirs[name]["examples"]
        mine, other = (
            load_file(place / name / "model.safetensors")
            for place in (fine / engine, fine / "alone")
        )
        # Softmax does not feel a key's bias: its gradient is rounding, which AdamW
        # turns into whole steps.
        felt = [n for n in other if not n.endswith("key.bias")]
        assert far({n: mine[n] for n in felt}, {n: other[n] for n in felt}) < 1e-4


BATCHES = [UnevenBatches(6)[i] for i in range(8)]


def run_deepspeed(stage: int, folder: Path, what: str) -> None:
    """Start two processes from DeepSpeed's launch file, or skip where there is none."""
    if os.environ.get("NO_DEEPSPEED"):
        pytest.skip("DeepSpeed is missing: .ci/run could not install it")
    how = "DS_BUILD_OPS=0 pip install --no-build-isolation -c constraints.txt deepspeed"
    need(has_extra("deepspeed"), "DeepSpeed", how)
    config = ROOT / "llmkit" / "launch" / f"deepspeed-zero{stage}.yaml"
    line = ["-m", "accelerate.commands.launch", "--config_file", config]
    line += ["--num_processes", 2, __file__, folder, what]
    process = start_with_extras(*line, env=HERE | {"DS_ACCELERATOR": "cpu"})
    code, _, err = finish(process, timeout=300)
    assert code == 0, err


@pytest.mark.parametrize("stage", [2, 3])
def test_fit_trains_by_deepspeed_and_any_engine_reads_its_checkpoint(stage, tmp_path):
    half = ZERO | dict(steps=6)
    leave_after(3, TrainingConfig(precision="fp32", out=tmp_path / "one", **half))
    run_deepspeed(stage, tmp_path, "fit")
    twin = model()
    steps = train(twin, Batches(5), evaluation(), **ZERO)
    theirs = {n: p.detach() for n, p in twin.named_parameters()}
    assert far(load_file(tmp_path / "fit.st"), theirs) < 1e-4
    losses, val_loss = json.loads((tmp_path / "fit.json").read_text())
    assert losses == pytest.approx([step.loss for step in steps], abs=1e-4)
    assert val_loss == pytest.approx(steps[-1].val_loss, abs=1e-4)
    told = json.loads((tmp_path / "shapes.json").read_text())
    for name in SHAPES:
        ours, near = model(name=name), NEAR.get(name, 1e-4)
        steps = train(ours, Batches(5), **ZERO | RUNS[name])
        theirs = {n: p.detach() for n, p in ours.named_parameters()}
        assert far(load_file(tmp_path / f"{name}.st"), theirs) < near
        assert told[name] == pytest.approx([step.loss for step in steps], abs=near)
    # and one process goes on from there as from a checkpoint of its own
    longer = ZERO | dict(steps=11)
    alone, out = model(), tmp_path / "fit"
    (step, *_) = train(alone, Batches(5), out=out, resume=True, **longer)
    own = tmp_path / "own"
    train(model(), Batches(5), out=own, **ZERO)
    twin = model()
    train(twin, Batches(5), out=own, resume=True, **longer)
    assert step.number == 9
    pairs = zip(alone.parameters(), twin.parameters())
    assert max(float((a - b).detach().abs().max()) for a, b in pairs) < 1e-4


@pytest.mark.parametrize("stage", [2, 3])
def test_deepspeed_trains_as_whole_weights_do_and_one_process_reads_it(stage, tmp_path):
    run_deepspeed(stage, tmp_path, "zero")
    twin = model()
    adamw = torch.optim.AdamW(twin.parameters(), lr=1e-3)
    for inputs, labels in BATCHES:
        total, count = plain_loss(twin, inputs, labels)
        (total / count).backward()
        torch.nn.utils.clip_grad_norm_(twin.parameters(), 1.0)  # as the file says
        adamw.step()
        adamw.zero_grad()
    weights = load_file(tmp_path / "zero.st")
    theirs = {n: p.detach() for n, p in twin.named_parameters()}
    assert far({n: weights[n] for n in theirs}, theirs) < 1e-4
    for rank in (0, 1):  # and each kept about half of AdamW's two averages
        told = json.loads((tmp_path / f"zero{rank}.json").read_text())
        assert told["config"]["stage"] == stage
        assert 0.8 < told["optimizer"] / told["whole"] < 1.2


def main(folder: Path, what: str = "") -> None:
    """Run as one of two processes that shard."""
    if what:
        told = {"zero": zero, "fit": fit_zero, "fine_zero": fine_zero}
        (told | {"fine_fsdp": fine_fsdp})[what](folder)
        return
    processes.Accelerator = may_shard_here(processes.Accelerator)
    run_all(folder)
    stop_and_go_on(folder)
    save_in_parts(folder)
    processes.wait_for_all()
    processes.leave()


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
    leave()
