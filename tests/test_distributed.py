"""Check that two real processes train as one does, on the CPU, through gloo.

As a program, this file is what each of the two processes runs.
"""

import json
import sys
from pathlib import Path

import pytest
import torch
from helpers import UnevenBatches, finish, random_ids, small_model, start, train
from safetensors.torch import load_file, save_file

from llmkit.batches import evaluation_batches

pytestmark = [pytest.mark.slow, pytest.mark.process]
RUNS = {
    "adamw": [dict(steps=6, clip=0.5)],
    "muon in pieces": [dict(steps=4, optimizer="muon", accumulation=2)],
    "one fit after another": [dict(steps=3), dict(steps=3, learning_rate=5e-4)],
    "with checkpoints": [dict(steps=5, out="checkpoints", save_every=0)],
    "by the clock": [dict(steps=0, seconds=0.3)],
}


def run_all(folder: Path) -> dict[str, list[tuple]]:
    """Make every run; leave its weights in the folder and return what it told."""
    told = {}
    for name, recipes in RUNS.items():
        model = small_model(loud=False)
        evaluation = evaluation_batches(random_ids(50), 8, batch_size=2)
        steps = []
        for recipe in recipes:
            where = {"out": folder / recipe["out"]} if "out" in recipe else {}
            steps += train(model, UnevenBatches(5), evaluation, **recipe | where)
        save_file(
            {n: p.detach() for n, p in model.named_parameters()},
            folder / f"{name}.safetensors",
        )
        told[name] = [(s.number, s.tokens, s.loss, s.val_loss) for s in steps]
    (folder / "told.json").write_text(json.dumps(told))
    return told


@pytest.fixture(scope="module")
def results(tmp_path_factory) -> tuple[list[Path], Path]:
    """Make every run in two processes, and in this one; return the folders."""
    both, here = tmp_path_factory.mktemp("both"), tmp_path_factory.mktemp("here")
    launcher = ["-m", "torch.distributed.run", "--nproc_per_node", 2]
    process = start(*launcher, __file__, both, env={"ACCELERATE_USE_CPU": "true"})
    code, _, err = finish(process, timeout=300)
    assert code == 0, err
    run_all(here)
    return [both / "0", both / "1"], here


def told(folder: Path) -> dict:
    """Read what the steps of each run told."""
    return json.loads((folder / "told.json").read_text())


@pytest.mark.parametrize("run", [name for name in RUNS if name != "by the clock"])
def test_two_processes_train_as_one_does(run, results):
    (first, second), here = results
    weights = load_file(first / f"{run}.safetensors")
    for name, weight in load_file(second / f"{run}.safetensors").items():
        assert torch.equal(weight, weights[name])
    expected = load_file(here / f"{run}.safetensors")
    most = 1e-4 if "muon" in run else 1e-6  # Muon blows up what rounding did
    assert max(float((weights[n] - expected[n]).abs().max()) for n in weights) < most
    assert told(first)[run] == told(second)[run]
    for ours, theirs in zip(told(first)[run], told(here)[run], strict=True):
        assert ours == pytest.approx(theirs, abs=1e-5)


def test_every_process_stops_at_the_same_step_of_the_clock(results):
    (first, second), _ = results
    numbers = [[s[0] for s in told(each)["by the clock"]] for each in (first, second)]
    assert numbers[0] == numbers[1] and len(numbers[0]) > 1


def test_one_process_keeps_the_checkpoints_and_any_number_goes_on(results):
    (first, second), here = results
    assert (first / "checkpoints" / "step-00000005").is_dir()
    assert not (second / "checkpoints").exists()
    models = []
    for folder in (first, here):
        model = small_model(1, loud=False)
        out = folder / "checkpoints"
        (last, *_) = train(model, UnevenBatches(5), steps=6, out=out, resume=True)
        assert last.number == 6
        models.append(model)
    pairs = zip(*(model.parameters() for model in models))
    assert max(float((a - b).detach().abs().max()) for a, b in pairs) < 1e-5


def main(folder: Path) -> None:
    """Run as one of several processes, each with a folder of its own."""
    from accelerate import Accelerator

    accelerator = Accelerator()
    assert accelerator.num_processes == 2
    mine = folder / str(accelerator.process_index)
    mine.mkdir()
    run_all(mine)
    accelerator.end_training()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
