"""What training takes, before it is paid for: memory, time, money, loss. Lesson 08.

Arithmetic only: a model is counted on torch's meta device, which has shapes and no
memory, and what a device can do is looked up. Only `calibrate` trains, for 20 steps.
"""

from llmkit.planning.asking import PlanOptions, answer
from llmkit.planning.cost import Cost, estimate_cost
from llmkit.planning.hardware import (
    Device,
    device,
    device_names,
    here,
    usable_cores,
)
from llmkit.planning.huggingface import size_of_hf
from llmkit.planning.memory import STRATEGIES, Memory, Strategy, memory
from llmkit.planning.moments import Moment, holdings, moment_names
from llmkit.planning.options import Option, Question, weigh
from llmkit.planning.plan import Plan, make_plan
from llmkit.planning.probe import calibrate
from llmkit.planning.ranges import Range
from llmkit.planning.scaling import Loss, expected_loss, optimal_tokens
from llmkit.planning.sizes import (
    SHAPES,
    ModelSize,
    flops_per_token,
    kept_by_block,
    named_config,
    size_of,
)
from llmkit.planning.timing import Measured, step_seconds

__all__ = [
    "SHAPES",
    "STRATEGIES",
    "Cost",
    "Device",
    "Loss",
    "Measured",
    "Memory",
    "ModelSize",
    "Moment",
    "Option",
    "Plan",
    "PlanOptions",
    "Question",
    "Range",
    "Strategy",
    "answer",
    "calibrate",
    "device",
    "device_names",
    "estimate_cost",
    "expected_loss",
    "flops_per_token",
    "here",
    "holdings",
    "kept_by_block",
    "make_plan",
    "memory",
    "moment_names",
    "named_config",
    "optimal_tokens",
    "size_of",
    "size_of_hf",
    "step_seconds",
    "usable_cores",
    "weigh",
]
