"""Check the planning figures against what real models and papers come to."""

import json
import math
import re
import weakref
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from helpers import POSITIONS, random_ids, small_model
from hypothesis import given
from hypothesis import strategies as st
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

from llmkit.metrics import token_loss
from llmkit.planning import (
    SHAPES,
    STRATEGIES,
    Cost,
    Measured,
    ModelSize,
    Question,
    Range,
    device,
    device_names,
    estimate_cost,
    expected_loss,
    flops_per_token,
    here,
    kept_by_block,
    make_plan,
    memory,
    named_config,
    optimal_tokens,
    probe,
    size_of,
    size_of_hf,
    step_seconds,
    weigh,
)
from llmkit.planning.hardware import (
    _data,
    known_as,
    machine,
    machine_names,
    usable_cores,
)
from llmkit.planning.memory import largest
from llmkit.planning.options import best, weigh_all
from llmkit.planning.scaling import HOFFMANN, law
from llmkit.planning.sizes import FP32, HALF
from llmkit.planning.timing import traffic
from llmkit.training import TrainingConfig, make_optimizers
from llmkit.transformer import Decoder, MaskedLM, ModelConfig

SHAPED = [
    dict(),
    dict(positions="rotary", bias=False, tied=False, activation="relu2"),
    dict(n_layers=2, d_ff=96, vocab_size=500),
    dict(context=128, d_model=64),
]
MODERN = dict(positions="rotary", bias=False, tied=False, norm="rms", qk_norm=True)
GPT2 = {"gpt2-124m": 124_439_808, "gpt2-355m": 354_823_168}
GPT2 |= {"gpt2-774m": 774_030_080, "gpt2-1.5b": 1_557_611_200}


def shape(changes: dict) -> ModelConfig:
    """Return the shape of a model that is small, but not so small that parts vanish."""
    return ModelConfig(**dict(vocab_size=65, n_layers=3) | changes)


@pytest.fixture(scope="module")
def gpt2() -> ModelSize:
    return size_of(named_config("gpt2-124m"), "gpt2-124m")


# Parameters and operations


@pytest.mark.parametrize("name", GPT2)
def test_gpt2_has_as_many_parameters_as_its_paper_s_files(name):
    assert size_of(named_config(name)).parameters == GPT2[name]


def test_bert_has_as_many_as_hugging_face_s():
    import transformers

    config = named_config("bert-110m")
    with torch.device("meta"):
        twin = transformers.BertForMaskedLM(transformers.BertConfig())
    theirs = sum(p.numel() for p in twin.parameters())
    assert size_of(config, masked=True).parameters == theirs


def test_a_name_that_is_not_known_lists_those_that_are():
    with pytest.raises(ValueError, match=f"'gpt5'; choose one of {', '.join(SHAPES)}"):
        named_config("gpt5")


@pytest.mark.parametrize("changes", SHAPED)
def test_flops_are_those_that_torch_counts(changes):
    config = shape(changes)
    model, B = Decoder(config), 2
    ids = random_ids(B, config.context, vocab_size=config.vocab_size)
    with FlopCounterMode(display=False) as counter:
        # Watched, because torch does not count its own fast road.
        token_loss(model(ids, watch=[]), ids)[0].backward()
    T, D = config.context, config.d_model
    counted = counter.get_total_flops() / (B * T)
    hidden = config.n_layers * 6 * D * T  # this road computes what the mask hides, too
    assert flops_per_token(config) == pytest.approx(counted - hidden, rel=0.001)


@pytest.mark.parametrize("asked", [1.0, 0.25])
def test_flops_of_a_masked_model_count_its_head_s_own_layer(asked):
    config = shape(dict(vocab_size=200))
    model, T = MaskedLM(config), config.context
    ids = random_ids(2, T, vocab_size=200)
    where = (torch.arange(T) < asked * T).expand(2, T)
    with FlopCounterMode(display=False) as counter:
        told = model(ids, watch=[], asked=where)
        token_loss(told, ids[where])[0].backward()
    counted = counter.get_total_flops() / (2 * T)
    found = flops_per_token(config, asked, sees=1.0, masked=True)
    assert found == pytest.approx(counted, rel=0.001)
    assert size_of(config, masked=True, asked=asked).flops == found


@pytest.mark.parametrize("positions", POSITIONS)
@pytest.mark.parametrize("changes", SHAPED)
def test_parameters_and_tokens_are_exact(changes, positions):
    config = shape(changes | dict(positions=positions))
    cost = estimate_cost(config, TrainingConfig(steps=7), batch_size=3)
    assert cost.parameters == sum(p.numel() for p in Decoder(config).parameters())
    assert cost.tokens == 7 * 3 * config.context
    assert cost.flops == pytest.approx(cost.tokens * flops_per_token(config))


@pytest.mark.slow
def test_nothing_is_allocated():
    huge = ModelConfig(100_000, context=4096, n_layers=200, n_heads=64, d_model=16_384)
    assert estimate_cost(huge, TrainingConfig(steps=1), 1).parameters > 6e11


def test_a_run_that_only_a_clock_ends_says_so():
    cost = estimate_cost(small_model().config, TrainingConfig(seconds=5), 4)
    assert str(cost).split(", ")[1] == "as many tokens as the time allows"
    assert "FLOPs" not in str(cost)
    assert str(Cost(1234, 5e9, 2000, 10**7)) == (
        "1,234 parameters, 2,000 tokens, 5e+09 FLOPs, about 10 MB of memory"
    )


# Memory, beside the tensors that really live


class Living(TorchDispatchMode):
    """Add up the bytes of all tensors that live, and keep the most there were."""

    def __init__(self):
        super().__init__()
        self.sizes, self.now, self.peak = {}, 0, 0

    def __torch_dispatch__(self, op, types, args=(), kwargs=None):
        result = op(*args, **(kwargs or {}))
        for tensor in tree_leaves(result):
            if isinstance(tensor, torch.Tensor):
                self.meet(tensor.untyped_storage())
        return result

    def meet(self, storage) -> None:
        if storage._cdata not in self.sizes:
            self.sizes[storage._cdata] = storage.nbytes()
            self.now += storage.nbytes()
            weakref.finalize(storage, self.part, storage._cdata)
            self.peak = max(self.peak, self.now)

    def part(self, key: int) -> None:
        self.now -= self.sizes.pop(key)


def living_peak(config: ModelConfig, rows: int, pieces: int, masked: bool) -> int:
    """Train with tensors that have no numbers; return the peak of a later step."""
    living = Living()
    with FakeTensorMode(), living:
        model = (MaskedLM if masked else Decoder)(config)
        optimizers = make_optimizers(model, TrainingConfig(steps=1))
        ids = torch.zeros(rows, config.context, dtype=torch.long)
        for _ in range(2):  # the first step makes the averages
            living.peak = 0
            for _ in range(pieces):
                token_loss(model(ids), ids)[0].backward()
            for optimizer in optimizers:
                optimizer.step()
                optimizer.zero_grad(set_to_none=True)
    return living.peak


@pytest.mark.slow
@pytest.mark.parametrize("pieces", [1, pytest.param(3, marks=pytest.mark.slow)])
@pytest.mark.parametrize(
    ("changes", "rows", "masked"),
    [
        (dict(vocab_size=65), 16, False),
        pytest.param(dict(vocab_size=3000), 16, False, marks=pytest.mark.slow),
        (dict(vocab_size=3000, d_model=256, tied=True), 1, False),
        (dict(vocab_size=3000, d_model=256, tied=False), 1, False),
        (dict(MODERN, activation="relu2"), 16, False),
        (dict(n_kv_heads=2, positions="rotary", activation="relu"), 16, False),
        (dict(norm_place="post", embedding_norm=True), 16, True),
        (dict(dropout=0.1, context=128), 8, False),
    ],
)
def test_peak_is_that_of_the_tensors_that_live(changes, rows, masked, pieces):
    config = shape(dict(n_layers=2, vocab_size=500) | changes)
    size = size_of(config, masked=masked)
    told = memory(size, "single", rows, accumulation=pieces)
    real = living_peak(config, rows, pieces, masked)
    assert told.peak == pytest.approx(real, rel=0.05)


def kept_per_token(config: ModelConfig, number: int) -> float:
    """Return the bytes that forward really saves of a token in each block."""
    sums = []
    for layers in (1, 2):
        for rows in (1, 2):  # what does not grow with the text drops out
            seen, amp = {}, number == HALF
            with FakeTensorMode(), torch.autocast("cpu", torch.bfloat16, amp):
                model = Decoder(replace(config, n_layers=layers))
                own = {p.untyped_storage()._cdata for p in model.parameters()}

                def keep(tensor, seen=seen):
                    storage = tensor.untyped_storage()
                    seen[storage._cdata] = storage
                    return tensor

                ids = torch.zeros(rows, config.context, dtype=torch.long)
                with torch.autograd.graph.saved_tensors_hooks(keep, lambda x: x):
                    result = model(ids)
                del result
            sums.append(sum(s.nbytes() for key, s in seen.items() if key not in own))
    return ((sums[3] - sums[2]) - (sums[1] - sums[0])) / config.context


@pytest.mark.slow
@pytest.mark.parametrize("number", [FP32, HALF])
@pytest.mark.parametrize(
    "changes",
    [
        dict(),
        dict(positions="sinusoidal", bias=False),
        dict(positions="rotary"),
        dict(MODERN, activation="relu2"),
        dict(positions="rotary", n_kv_heads=2),
        dict(n_kv_heads=1, activation="relu"),
        dict(n_kv_heads=2, positions="rotary", qk_norm=True),
        dict(norm_place="post", d_ff=64),
    ],
)
def test_a_block_keeps_what_torch_saves(changes, number):
    config = shape(changes)
    assert kept_by_block(config, number) == pytest.approx(
        kept_per_token(config, number), rel=0.03
    )


SEVEN_AND_A_HALF = ModelSize(
    name="the example of the ZeRO paper",
    kind="decoder",
    parameters=7_500_000_000,
    matrices=7_500_000_000,
    block=100_000_000,
    table=100_000_000,
    tied=True,
    layers=72,
    width=3072,
    widest=12_288,
    vocabulary=50_257,
    context=1024,
    flops=4.5e10,
    kept={FP32: 0.0, HALF: 0.0},
    outside={FP32: 0.0, HALF: 0.0},
)


@pytest.mark.parametrize(
    ("strategy", "gigabytes"), [("zero1", 31.4), ("zero2", 16.6), ("zero3", 1.9)]
)
def test_zero_holds_what_its_paper_says(strategy, gigabytes):
    """Rajbhandari et al. 2020, figure 1: 7.5 billion parameters on 64 devices."""
    held = memory(SEVEN_AND_A_HALF, strategy, 1, devices=64, precision="bf16")
    state = held.parameters + held.gradients + held.optimizer
    assert state / 1e9 == pytest.approx(gigabytes, abs=0.05)


def test_all_sixteen_bytes_are_there_and_fsdp_cuts_them_all(gpt2):
    N = gpt2.parameters
    whole = memory(gpt2, "ddp", 1, devices=8)
    cut = memory(gpt2, "fsdp2", 1, devices=8)
    for held, share in ((whole, 1), (cut, 8)):
        state = held.parameters + held.gradients + held.optimizer
        assert state == pytest.approx(16 * N / share)


def test_fsdp_gathers_whole_gradients_over_the_pieces_of_a_batch(gpt2):
    one, two = (memory(gpt2, "fsdp2", 1, 8, accumulation=n) for n in (1, 2))
    assert two.gradients == 8 * one.gradients == 4 * gpt2.parameters


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
def test_parts_are_there_and_the_peak_is_no_more_than_their_sum(
    gpt2, strategy, precision
):
    devices = 1 if strategy == "single" else 8
    for checkpointing in (False, True):
        held = memory(gpt2, strategy, 4, devices, precision, checkpointing, place="gpu")
        parts = (held.parameters, held.gradients, held.optimizer, held.activations)
        assert all(part > 0 for part in (*parts, held.buffers))
        assert max(parts) < held.peak <= sum(parts) + held.buffers + 8 * gpt2.table


@given(st.integers(1, 64), st.sampled_from([*STRATEGIES]), st.booleans())
def test_more_rows_take_more_and_checkpointing_takes_less(rows, strategy, mixed):
    size = SEVEN_AND_A_HALF
    size = replace(size, kept={FP32: 2e5, HALF: 1e5})
    told = dict(devices=8, precision="bf16" if mixed else "fp32", place="gpu")
    one, more = (memory(size, strategy, n, **told) for n in (rows, rows + 1))
    less = memory(size, strategy, rows, checkpointing=True, **told)
    assert one.peak < more.peak
    assert less.activations < one.activations


@given(st.integers(0, 1000), st.integers(1, 1000))
def test_the_largest_that_fits_is_found(limit, most):
    assert largest(lambda n: n <= limit, most) == min(limit, most)


WIDE = dict(vocab_size=4096, context=256, n_layers=4, n_heads=16, d_model=1024)
GROUPED = dict(vocab_size=4096, context=512, n_layers=8, n_heads=8, d_model=256)
GROUPED |= dict(n_kv_heads=2, positions="rotary", bias=False, tied=False)


@pytest.mark.parametrize(
    ("changes", "rows", "precision", "megabytes"),
    [
        (dict(vocab_size=8192, context=256, n_layers=6, d_model=384), 8, "fp32", 785),
        (dict(vocab_size=8192, context=256, n_layers=6, d_model=384), 8, "bf16", 685),
        (GROUPED, 4, "fp32", 588),
        (GROUPED, 4, "bf16", 500),  # from 468 to 523, of the same program
        (WIDE, 4, "fp32", 1184),
        (WIDE, 4, "bf16", 1221),
    ],
)
def test_measured_memory_stays_as_it_was_measured(changes, rows, precision, megabytes):
    """The table in benchmarks/RESULTS.md: what was predicted, beside what it was."""
    size = size_of(shape(changes))
    held = memory(size, "single", rows, precision=precision, place="cpu")
    assert held.peak / 1e6 == pytest.approx(megabytes, rel=0.08)


# Devices


def test_every_device_has_figures_that_agree_and_their_sources():
    for name in device_names():
        found = device(name)
        assert found.source and found.memory > 1e9 and found.bandwidth > 0
        flops = found.flops
        assert flops["fp32"] <= flops.get("bf16", 1e99) <= flops.get("fp8", 1e99)
        assert found.link > 0 and found.network > 0
        assert found.is_cpu == (found.price is None)
        if found.price:
            assert 0 < found.price.low <= found.price.likely <= found.price.high
            assert "2026" in found.priced


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("H100", "h100"),
        ("NVIDIA A100 80GB", "a100"),
        ("GeForce RTX 4090", "rtx4090"),
        ("4090", "rtx4090"),
        ("RTX A6000", "a6000"),
        ("Tesla T4", "t4"),
    ],
)
def test_a_device_is_known_however_it_is_written(typed, meant):
    assert device(typed).name == meant


def test_an_unknown_device_is_told_its_neighbour_and_all_others():
    with pytest.raises(ValueError, match=r"'h10O'; did you mean h100\? Known: t4, l4,"):
        device("h10O")
    with pytest.raises(ValueError, match="unknown --gpu 'abacus'; Known: t4"):
        device("abacus")


A100, H100 = "NVIDIA A100", "NVIDIA H100"


@pytest.mark.parametrize(
    ("called", "gigabytes", "name"),
    [
        ("NVIDIA A10", 23.7, "a10"),
        ("NVIDIA A10G", 23.7, None),
        (f"{A100}-SXM4-80GB", 85.1, "a100"),
        (f"{A100}-SXM4-40GB", 42.3, "a100-40gb"),
        (f"{A100}-SXM-64GB", 68.0, None),
        (f"{A100} 80GB PCIe", 85.1, None),  # other links than the one in the file
        (f"{A100}-SXM4-40GB MIG 1g.5gb", 5.1, None),
        ("GRID A100-40C", 42.3, None),
        (f"{H100} 80GB HBM3", 85.0, "h100"),
        (f"{H100} PCIe", 85.0, "h100-pcie"),
        (f"{H100} NVL", 100.0, None),
        (f"{H100} 80GB HBM3 MIG 3g.40gb", 42.0, None),
        ("NVIDIA GH200 480GB", 101.5, None),
        ("NVIDIA H200", 150.1, "h200"),
        ("NVIDIA H200 NVL", 150.1, None),
        ("NVIDIA H20", 100.0, None),
        ("NVIDIA B200", 191.5, "b200"),
        ("NVIDIA L4", 23.7, "l4"),
        ("NVIDIA L40", 47.7, None),
        ("NVIDIA L40S", 47.7, "l40s"),
        ("NVIDIA GeForce RTX 3090", 25.4, "rtx3090"),
        ("NVIDIA GeForce RTX 3090 Ti", 25.4, None),
        ("NVIDIA GeForce RTX 4090", 25.3, "rtx4090"),
        ("NVIDIA GeForce RTX 4090 D", 25.3, None),
        ("NVIDIA GeForce RTX 4090 Laptop GPU", 17.0, None),
        ("NVIDIA GeForce RTX 5090", 33.7, "rtx5090"),
        ("NVIDIA RTX A6000", 50.9, "a6000"),
        ("NVIDIA RTX 6000 Ada Generation", 50.9, None),
        ("Tesla V100-SXM2-16GB", 16.9, None),
        ("Tesla T4", 15.6, "t4"),
        ("AMD Instinct MI300X", 206.1, "mi300x"),
        ("GeForce GTX 1080 Ti", 11.7, None),
        ("", 8.0, None),
    ],
)
def test_a_card_is_known_by_all_of_its_name_and_its_memory(
    called, gigabytes, name, monkeypatch
):
    card = SimpleNamespace(total_memory=gigabytes * 1e9)
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.get_device_name", lambda: called)
    monkeypatch.setattr("torch.cuda.get_device_properties", lambda _: card)
    assert here() == name


def test_every_card_of_the_file_can_be_met():
    for name in device_names():
        found = device(name)
        if not found.is_cpu:
            words = _data()["devices"][name]["called"]
            assert known_as(f"NVIDIA {words}", 0.99 * found.memory) == name


def test_without_a_gpu_the_cpu_is_here(monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert here() == "cpu"


def test_this_machine_s_cpu_is_as_large_as_it_is():
    import psutil

    mine = device("cpu")
    assert mine.memory == psutil.virtual_memory().total
    assert mine.flops["fp32"] == 1e11 * usable_cores()


def test_cores_are_those_that_the_process_may_use(monkeypatch):
    monkeypatch.setattr("os.sched_getaffinity", lambda _: {1, 3, 4}, raising=False)
    assert usable_cores() == 3
    assert device("cpu").flops["fp32"] == 3e11
    monkeypatch.delattr("os.sched_getaffinity")
    monkeypatch.setattr("os.cpu_count", lambda: 6)
    assert usable_cores() == 6


def test_what_choose_calls_hardware_is_made_of_known_devices():
    for name in machine_names():
        found = machine(name)
        assert found.room == found.count * found.free * found.device.memory
        slow, fast = found.speed(10**6), found.speed(10**9)
        assert 0 < slow <= fast < found.count * max(found.device.flops.values())
        size = float(re.search(r"(\d+) GB", found.said)[1])
        assert found.device.memory / 1e9 == pytest.approx(size, rel=0.08)


# Time


def test_traffic_is_that_of_the_zero_paper(gpt2):
    """Section 7: 2 numbers a parameter for plain averaging, ZeRO-1 and -2; 3 for 3."""
    W, N = 1000, gpt2.parameters
    for strategy, times, wide in (("ddp", 2, 4), ("zero1", 2, 2), ("zero2", 2, 2)):
        sent = traffic(gpt2, strategy, W, "bf16", 1)
        assert sent == pytest.approx(times * wide * N, rel=0.01)
    assert traffic(gpt2, "zero3", W, "bf16", 1) == pytest.approx(3 * 2 * N, rel=0.01)


def test_pieces_cost_talk_where_parameters_are_gathered(gpt2):
    once, often = (
        {name: traffic(gpt2, name, 8, "bf16", n) for name in STRATEGIES} for n in (1, 4)
    )
    assert often["ddp"] == once["ddp"] and often["zero1"] == once["zero1"]
    assert all(often[name] > 2 * once[name] for name in ("fsdp2", "zero3", "zero2"))


@given(st.sampled_from(["t4", "h100", "rtx4090", "cpu"]), st.integers(10, 20))
def test_a_step_s_time_has_bounds_and_grows_with_its_tokens(name, power):
    size = SEVEN_AND_A_HALF
    tokens, how = 2**power, (size, device(name), "single", 1, "fp32")
    step, twice = (step_seconds(*how, n) for n in (tokens, 2 * tokens))
    assert 0 < step.low < step.likely < step.high
    assert step.likely < twice.likely <= 2 * step.likely
    longer = step_seconds(*how, tokens, checkpointing=True)
    assert step.likely < longer.likely <= step.likely * 4 / 3


def test_devices_that_talk_slowly_gain_less(gpt2):
    def gain(name: str) -> float:
        how = (gpt2, device(name))
        alone = step_seconds(*how, "single", 1, "bf16", 2**16)
        together = step_seconds(*how, "ddp", 8, "bf16", 2**16)
        return alone.likely / together.likely

    assert 1 < gain("rtx4090") < gain("h100") <= 8


def test_the_published_run_of_gpt2_lies_within_the_bounds(gpt2):
    """llm.c, discussion 481: 10 billion tokens on 8 A100 in about 90 minutes."""
    plan = make_plan(Question(gpt2, device("a100"), 1e10, gpus=8))
    assert plan.chosen.name == "ddp"
    assert plan.chosen.seconds.low < 90 * 60 < plan.chosen.seconds.high


def test_what_was_measured_is_what_is_predicted_from(gpt2):
    measured = Measured(0.5, 0.001, 0.2, slope=5e7, fixed=2e9, off=1.0, steps=20)
    how = (gpt2, device("cpu"), "single", 1, "fp32", 1000)
    step = step_seconds(*how, measured=measured)
    assert step.bounds == pytest.approx((1.3, 1.5, 1.7))
    question = Question(gpt2, device("cpu"), 1e6, batch_tokens=2048, measured=measured)
    option = weigh(question, "single", "fp32")
    assert option.memory.peak == pytest.approx(2e9 + 2 * 5e7)


def test_a_line_is_drawn_through_the_two_halves_of_a_probe():
    phases = [
        {"seconds": [9.0, 9.0, *[1.0] * 8], "peak": 10e8},
        {"seconds": [9.0, 9.0, *[1.8] * 8], "peak": 14e8},
    ]
    found = probe._measured({"phases": phases}, 100, 4, [9e8, 12e8])
    assert found.token == pytest.approx(0.8 / 400)
    assert found.step == pytest.approx(0.2)
    assert (found.slope, found.fixed) == pytest.approx((1e8, 6e8))
    assert found.off == pytest.approx(14 / 12) and found.spread == 0.1


def test_a_busy_moment_does_not_turn_the_line_over():
    phases = [
        {"seconds": [2.0] * 10, "peak": 10e8},
        {"seconds": [1.9] * 10, "peak": 10e8},
    ]
    found = probe._measured({"phases": phases}, 100, 4, [9e8, 12e8])
    assert found.token > 0 and found.step > 0 and found.slope > 0


@pytest.mark.process
@pytest.mark.slow
def test_a_probe_finds_the_parameters_and_about_the_memory():
    config = ModelConfig(2048, context=128, n_layers=2, n_heads=4, d_model=256)
    found = probe.run_probe(config, [[8, 3], [16, 3]])
    size = size_of(config)
    assert found["parameters"] == size.parameters
    for phase, rows in zip(found["phases"], (8, 16)):
        told = memory(size, "single", rows, place="cpu").peak
        assert len(phase["seconds"]) == 3 and min(phase["seconds"]) > 0
        assert phase["peak"] == pytest.approx(told, rel=0.3)


@pytest.mark.process
@pytest.mark.slow
def test_a_probe_that_fails_says_why():
    with pytest.raises(
        ValueError, match="the probe of 4 layers of 128 failed: .*got 0"
    ):
        probe.run_probe(ModelConfig(65), [[0, 1]])


# Loss


def test_chinchilla_s_own_model_comes_to_its_own_loss():
    assert law(70e9, 1.4e12, **HOFFMANN) == pytest.approx(1.94, abs=0.01)


@given(st.floats(8, 10))
def test_the_tokens_that_suit_a_model_are_best_for_their_compute(power):
    from llmkit.planning.scaling import BESIROGLU

    N = 10**power
    D = optimal_tokens(N)
    here = law(N, D, **BESIROGLU)
    for share in (0.8, 1.25):  # the same compute, 6 N D, spent otherwise
        assert here < law(N * share, D / share, **BESIROGLU)
    assert 15 < D / N < 35


def test_a_loss_is_given_only_where_the_law_was_fitted_or_near():
    assert "lies outside" not in expected_loss(124_000_000, 1e10).caveat
    assert "lies outside" in expected_loss(124_000_000, 1e9).caveat
    assert expected_loss(200_000, 1e6) is None
    assert (
        "what training from scratch comes" in expected_loss(10**9, 1e10, False).caveat
    )


# The choice


def test_what_fits_whole_is_left_whole(gpt2):
    plan = make_plan(Question(gpt2, device("h100"), 1e10, gpus=8))
    assert plan.chosen.name == "ddp" and plan.chosen.precision == "bf16"
    assert plan.why[0].startswith("ddp: the whole state, 2.0 GB, fits each h100")


def test_what_does_not_fit_is_cut():
    config = ModelConfig.preset("modern", n_layers=32, d_model=4096, n_heads=32)
    size = size_of(config, "7b")
    plan = make_plan(Question(size, device("h100"), 1e10, gpus=8))
    assert {"gradients", "optimizer"} <= STRATEGIES[plan.chosen.strategy].shares
    assert "with ddp one row takes" in plan.why[0]
    assert plan.chosen.memory.peak < device("h100").memory


def test_one_device_shares_nothing(gpt2):
    question = Question(gpt2, device("h100"), 1e9)
    assert {x.strategy for x in weigh_all(question, ["bf16"])} == {"single"}
    assert make_plan(question).why[0].startswith("single: there is one device")


def test_among_equals_the_simplest_is_taken(gpt2):
    question = Question(gpt2, device("h100"), 1e10, gpus=8)
    options = weigh_all(question, ["bf16"])
    same = [replace(x, seconds=Range(1, 1, 1)) for x in options]
    assert best(question, same).name == "ddp"
    faster = [
        replace(x, seconds=Range(1, 0.5, 1)) if x.strategy == "zero2" else x
        for x in same
    ]
    assert best(question, faster).name == "zero2"


@given(st.floats(1e6, 1e12), st.integers(1, 64), st.integers(0, 2**20))
def test_a_batch_is_what_its_parts_make_and_tokens_are_reached(tokens, gpus, batch):
    size = SEVEN_AND_A_HALF
    question = Question(size, device("h200"), tokens, gpus, batch)
    option = weigh(question, "zero3", "bf16", checkpointing=True)
    rows = option.micro_batch * option.accumulation * option.devices
    assert option.batch_tokens == rows * size.context
    assert option.steps * option.batch_tokens >= tokens
    assert (option.steps - 1) * option.batch_tokens < tokens


@pytest.mark.parametrize(
    ("told", "words"),
    [
        (dict(tokens=0), "--tokens must be above 0: got 0"),
        (dict(tokens=math.nan), "--tokens must be above 0: got nan"),
        (dict(tokens=math.inf), r"--tokens must be at most 1e\+18: got inf"),
        (dict(tokens=0.5), "--tokens must be 1 or more: got 0.5"),
        (dict(gpus=10**6), r"--gpus must be at most 100000: got 1e\+06"),
        (dict(budget=math.inf), r"--budget must be at most 1e\+12: got inf"),
        (dict(deadline=math.inf), r"be at most 1e\+10 seconds: got inf"),
        (dict(gpus=-2), "--gpus must be above 0: got -2"),
        (dict(budget=-1), "--budget must be above 0: got -1"),
        (dict(batch_tokens=-1), "--batch-tokens must be above 0: got -1"),
        (
            dict(precision="fp8"),
            "--precision fp8: h100 trains in fp32 or bf16 or fp16;",
        ),
    ],
)
def test_a_question_that_makes_no_sense_is_refused(gpt2, told, words):
    with pytest.raises(ValueError, match=words):
        Question(**dict(size=gpt2, device=device("h100"), tokens=1e9) | told)


# Models of Hugging Face's


def save_config(folder, kind: str, name: str, **changes) -> str:
    from transformers import AutoConfig

    config = AutoConfig.for_model(kind, **changes)
    config.architectures = [name]
    config.save_pretrained(folder)
    return str(folder)


@pytest.mark.slow
def test_hugging_face_s_gpt2_is_as_large_as_ours(tmp_path, gpt2):
    theirs = size_of_hf(save_config(tmp_path, "gpt2", "GPT2LMHeadModel"))
    assert theirs.parameters == gpt2.parameters == GPT2["gpt2-124m"]
    assert (theirs.layers, theirs.width, theirs.tied) == (12, 768, True)
    assert theirs.block == gpt2.block and theirs.generates
    assert theirs.flops == pytest.approx(gpt2.flops, rel=0.01)
    assert theirs.kept[FP32] >= gpt2.kept[FP32]


FEW = {"BERT": ("bert", "BertForMaskedLM"), "GPT-2": ("gpt2", "GPT2LMHeadModel")}
FEW |= {"DistilBERT": ("distilbert", "DistilBertModel")}
FEW |= {"RoBERTa": ("roberta", "RobertaForMaskedLM")}


@pytest.mark.slow
@pytest.mark.parametrize("kind", FEW)
def test_models_with_few_positions_keep_as_much_a_token_as_those_with_many(
    kind, tmp_path
):
    small = dict(num_hidden_layers=2, hidden_size=32, num_attention_heads=2)
    small |= dict(vocab_size=50)
    if kind == "GPT-2":
        small |= dict(bos_token_id=None, eos_token_id=None)
    sizes = [
        size_of_hf(
            save_config(
                tmp_path / str(n), *FEW[kind], max_position_embeddings=n, **small
            )
        )
        for n in (3, 24, 64, 127, 512)
    ]
    padding = 2 if kind == "RoBERTa" else 0
    contexts = [size.context + padding for size in sizes]
    assert contexts == [3, 24, 64, 127, 512]
    assert all(size.kept == sizes[-1].kept for size in sizes)
    assert sizes[0].flops < sizes[-1].flops


def test_a_model_that_reads_no_token_is_refused(tmp_path):
    small = dict(num_hidden_layers=1, hidden_size=32, num_attention_heads=2)
    for positions, words in ((1, "can't build what its config"), (2, "no position")):
        told = save_config(
            tmp_path,
            "roberta",
            "RobertaModel",
            max_position_embeddings=positions,
            **small,
        )
        with pytest.raises(ValueError, match=words):
            size_of_hf(told)


@pytest.mark.slow
def test_a_llama_is_counted_and_planned(tmp_path):
    small = dict(hidden_size=64, num_hidden_layers=3, num_attention_heads=4)
    small |= dict(intermediate_size=160, num_key_value_heads=2, vocab_size=500)
    size = size_of_hf(save_config(tmp_path, "llama", "LlamaForCausalLM", **small), 128)
    attention, ff = 64 * (64 + 2 * 32 + 64), 3 * 64 * 160
    assert size.parameters == 2 * 500 * 64 + 3 * (attention + ff + 2 * 64) + 64
    plan = make_plan(Question(size, device("l4"), 1e6))
    assert plan.command == plan.accelerate
    assert plan.command.endswith(" --mixed_precision bf16 your_training_script.py")


@pytest.mark.parametrize(
    ("kind", "name", "words"),
    [
        ("t5", "T5ForConditionalGeneration", "is made of an encoder and a decoder"),
        ("mixtral", "MixtralForCausalLM", "is made of experts"),
    ],
)
def test_models_that_tokens_do_not_go_through_whole_are_refused(
    tmp_path, kind, name, words
):
    small = dict(num_hidden_layers=1, hidden_size=32, num_attention_heads=2)
    with pytest.raises(ValueError, match=words):
        size_of_hf(save_config(tmp_path, kind, name, **small))


def test_a_folder_without_a_config_and_one_with_code_of_its_own(tmp_path):
    with pytest.raises(ValueError, match="holds no config.json"):
        size_of_hf(str(tmp_path))
    told = {"model_type": "mine", "auto_map": {"AutoConfig": "mine.Config"}}
    (tmp_path / "config.json").write_text(json.dumps(told))
    (tmp_path / "mine.py").write_text("raise SystemExit('it was run')")
    with pytest.raises(
        ValueError, match="code that a repository brings along is never"
    ):
        size_of_hf(str(tmp_path))


SMALL = dict(model_type="bert", hidden_size=32, num_hidden_layers=1, vocab_size=50)
SMALL |= dict(num_attention_heads=2, intermediate_size=64)


@pytest.mark.parametrize(
    ("told", "words"),
    [
        ({}, "can't read its config.json .*model_type"),
        (dict(model_type="mine"), "can't read its config.json .*type `mine`"),
        ("{", "can't read its config.json .*not a valid JSON"),
        (SMALL | dict(hidden_size="wide"), "can't read .*expected int, got str"),
        (SMALL | dict(architectures=["MineForCausalLM"]), "no class 'MineForCausalLM'"),
        (SMALL | dict(num_attention_heads=3), "can't build what .*not a multiple of"),
        (SMALL | dict(vocab_size=-5), "can't build what .*negative dimension"),
        (SMALL | dict(num_hidden_layers=0), "is a BertModel, .*one stack of blocks"),
        (dict(model_type="vit"), "is a ViTModel, and this plan counts models of texts"),
        (dict(model_type="clip"), "is a CLIPModel, and this plan counts models of te"),
        (dict(model_type="llava"), "is a LlavaModel, .*choose another, or give the"),
    ],
)
def test_a_config_that_can_t_be_planned_for_is_one_line_that_says_what_to_do(
    told, words, tmp_path
):
    text = told if isinstance(told, str) else json.dumps(told)
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(ValueError, match=words) as error:
        size_of_hf(str(tmp_path))
    said = str(error.value)
    assert said.startswith("--hf ") and "\n" not in said
    assert "--layers and --width" in said


def test_a_file_is_no_folder_of_a_model(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(ValueError, match="is a file: give the folder that holds conf"):
        size_of_hf(str(tmp_path / "config.json"))


@pytest.mark.slow
def test_a_model_that_can_t_be_followed_is_told_without_a_page_of_torch_s(
    tmp_path, caplog
):
    told = dict(model_type="longformer", attention_window=8, num_hidden_layers=1)
    (tmp_path / "config.json").write_text(json.dumps(told))
    with pytest.raises(ValueError, match="is a LongformerModel, which can't be follow"):
        size_of_hf(str(tmp_path))
    assert not caplog.records


def test_blocks_are_counted_once_and_not_built_over_and_over():
    shape = dict(context=64, d_model=64, n_heads=4)
    one, two, many = (
        size_of(ModelConfig(100, n_layers=n, **shape)) for n in (1, 2, 100_000)
    )
    assert many.parameters == one.parameters + 99_999 * one.block
    assert two.matrices - one.matrices == (many.matrices - two.matrices) / 99_998
    real = sum(
        p.numel() for p in Decoder(ModelConfig(100, n_layers=2, **shape)).parameters()
    )
    assert two.parameters == real


def test_a_context_longer_than_a_model_reads_is_refused():
    with pytest.raises(ValueError, match="'minilm' reads 512 tokens at most"):
        size_of_hf("minilm", 1024)
