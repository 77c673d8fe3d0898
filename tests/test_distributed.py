"""Check that two real processes train as one does, on the CPU, through gloo.

As a program, this file is what each of the two processes runs.
"""

import json
import sys
from pathlib import Path

import pytest
import torch
from accelerate import Accelerator
from helpers import UnevenBatches, finish, random_ids, small_model, start, train
from safetensors.torch import load_file, save_file

from llmkit.batches import evaluation_batches
from llmkit.training import TrainingConfig, evaluate, fit, leave, plain_loss

pytestmark = [pytest.mark.slow, pytest.mark.process]
RUNS = {
    "adamw": [dict(steps=20, clip=0.5)],
    "in pieces": [dict(steps=20, clip=0.5, accumulation=2)],
    "short batches": [dict(steps=20, clip=0.5)],
    "short batches in pieces": [dict(steps=20, clip=0.5, accumulation=2)],
    "muon in pieces": [dict(steps=4, optimizer="muon", accumulation=2)],
    "one fit after another": [dict(steps=3), dict(steps=3, learning_rate=5e-4)],
    "with checkpoints": [dict(steps=5, out="checkpoints", save_every=0)],
    "by the clock": [dict(steps=0, seconds=0.3)],
}


SAME = "adamw", "in pieces"  # in one process and in two, in one piece and in two


class ShortBatches(UnevenBatches):
    """Give batches of which every third has one row, so that one process has none."""

    def __getitem__(self, i: int):
        inputs, labels = super().__getitem__(i)
        rows = 1 if i % 3 == 2 else len(labels)
        return inputs[-rows:], labels[-rows:]


def run_all(folder: Path) -> dict[str, list[tuple]]:
    """Make every run; leave its weights in the folder and return what it told."""
    told = {}
    for name, recipes in RUNS.items():
        model = small_model(loud=False)
        evaluation = evaluation_batches(random_ids(50), 8, batch_size=2)
        batches = (ShortBatches if "short" in name else UnevenBatches)(5)
        steps = []
        for recipe in recipes:
            where = {"out": folder / recipe["out"]} if "out" in recipe else {}
            steps += train(model, batches, evaluation, **recipe | where)
        save_file(
            {n: p.detach() for n, p in model.named_parameters()},
            folder / f"{name}.safetensors",
        )
        told[name] = [(s.number, s.tokens, s.loss, s.val_loss) for s in steps]
    (folder / "told.json").write_text(json.dumps(told))
    (folder / "seen.json").write_text(json.dumps(look()))
    (folder / "drawn.json").write_text(json.dumps(draw()))
    return told


def look() -> dict:
    """Evaluate, and note every row that this process was asked for."""
    rows = []

    class Noting(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.model = small_model()

        def forward(self, ids):
            rows.extend(ids.tolist())
            return self.model(ids)

    evaluation = evaluation_batches(random_ids(99), 8, batch_size=2)
    return {"loss": evaluate(Noting(), evaluation, Accelerator()), "rows": rows}


def draw() -> dict:
    """Train some steps, and note what chance decides in them."""
    drawn, model = [], small_model()
    first = [float(weight.detach().sum()) for weight in model.parameters()]

    def noting(*arguments):
        drawn.append(torch.rand(4).tolist())
        return plain_loss(*arguments)

    list(fit(model, UnevenBatches(4), TrainingConfig(steps=3), objective=noting))
    return {"first weights": first, "dropout": drawn}


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
    most = 1e-5 if "muon" in run else 1e-6
    for ours, theirs in zip(told(first)[run], told(here)[run], strict=True):
        assert ours == pytest.approx(theirs, abs=most)


def test_one_process_is_two_and_one_piece_is_two(results):
    (both, _), here = results
    runs = [(folder, run) for folder in (both, here) for run in SAME]
    files = [load_file(folder / f"{run}.safetensors") for folder, run in runs]
    for weights in files[1:]:
        assert (
            max(float((weights[n] - files[0][n]).abs().max()) for n in weights) < 1e-6
        )
    steps = [told(folder)[run] for folder, run in runs]
    assert all(
        one == pytest.approx(first, abs=1e-6)
        for first, *others in zip(*steps)
        for one in others
    )
    assert len({tokens for _, tokens, _, _ in steps[0]}) == 20  # uneven, as promised


def test_evaluation_counts_each_example_once(results):
    (first, second), here = results
    seen = [
        json.loads((folder / "seen.json").read_text()) for folder in (first, second)
    ]
    alone = json.loads((here / "seen.json").read_text())
    assert sorted(seen[0]["rows"] + seen[1]["rows"]) == sorted(alone["rows"])
    assert seen[0]["loss"] == seen[1]["loss"]
    assert seen[0]["loss"] == pytest.approx(alone["loss"], abs=1e-12)


def test_chance_differs_by_process_where_it_must_and_only_there(results):
    (first, second), here = results
    drawn = [
        json.loads((folder / "drawn.json").read_text()) for folder in (first, second)
    ]
    assert drawn[0]["first weights"] == drawn[1]["first weights"]  # the same model
    for one, other in zip(drawn[0]["dropout"], drawn[1]["dropout"], strict=True):
        assert one != other
    assert drawn[0]["dropout"][0] != drawn[0]["dropout"][1]  # and by step
    assert (
        drawn[0]["dropout"] == json.loads((here / "drawn.json").read_text())["dropout"]
    )


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
        assert ("made by 2 and this run goes on with 1" in last.note) == (
            folder == first
        )
        models.append(model)
    pairs = zip(*(model.parameters() for model in models))
    assert max(float((a - b).detach().abs().max()) for a, b in pairs) < 1e-5


def main(folder: Path) -> None:
    """Run as one of several processes, each with a folder of its own."""
    accelerator = Accelerator()
    assert accelerator.num_processes == 2
    mine = folder / str(accelerator.process_index)
    mine.mkdir()
    run_all(mine)
    accelerator.end_training()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
    leave()
