"""The whole answer: what it takes, which technique, why, and the command. Lesson 08."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass

from llmkit.planning.commands import commands
from llmkit.planning.limits import check_limits, check_room
from llmkit.planning.memory import Memory
from llmkit.planning.options import Option, Question, best, weigh_all
from llmkit.planning.ranges import Range
from llmkit.planning.scaling import Loss, expected_loss
from llmkit.planning.timing import TALK, traffic
from llmkit.planning.words import reasons, warnings

MEMORY_ERROR = 0.1  # share by which a predicted peak may be off, either way


@dataclass(frozen=True)
class Plan:
    """An answer to a `Question`; `llmkit.planning.report` prints it."""

    question: Question
    options: list[Option]  # in each precision that the device has
    chosen: Option
    loss: Loss | None  # None where no law is known: not a GPT from scratch
    why: list[str]
    warnings: list[str]
    command: str
    accelerate: str  # the same, without llmkit's launcher

    def as_dict(self) -> dict:
        """Return everything, ready for JSON: bytes, seconds, dollars, nats."""
        question, size, chosen = self.question, self.question.size, self.chosen
        found = {
            "model": size.name,
            "parameters": size.parameters,
            "tokens": question.tokens,
            "flops": size.flops * question.tokens,
            "flops_per_token": size.flops,
            "hardware": _hardware(question),
            "strategies": [self._option(option) for option in self.options],
            "recommended": self._option(chosen) | {"why": self.why},
            "command": self.command,
            "accelerate": self.accelerate,
            "time": _range(chosen.seconds, "seconds"),
            "cost": _range(chosen.dollars, "dollars"),
            "loss": asdict(self.loss) if self.loss else None,
            "warnings": self.warnings,
        }
        if question.measured:
            found["calibration"] = asdict(question.measured)
        return found

    def _option(self, option: Option) -> dict:
        how = (option.strategy, option.devices, option.precision, option.accumulation)
        return {
            "name": option.strategy,
            "checkpointing": option.checkpointing,
            "precision": option.precision,
            "devices": option.devices,
            "fits": option.fits,
            "micro_batch": option.micro_batch,
            "largest_micro_batch": option.largest_micro_batch,
            "accumulation": option.accumulation,
            "batch_tokens": option.batch_tokens,
            "steps": option.steps,
            "memory": _memory(option.memory),
            "memory_error": MEMORY_ERROR,
            "tokens_per_second": option.batch_tokens / option.step.likely,
            "time": _range(option.seconds, "seconds"),
            "cost": _range(option.dollars, "dollars"),
            "communication": TALK[option.strategy],
            "bytes_sent_per_step": traffic(self.question.size, *how),
        }


def make_plan(question: Question, told: Sequence[str] = ()) -> Plan:
    """Weigh every way, choose one, and say why.

    told: the flags that name the model, for the command; none where neither `llmkit
    pretrain` nor `finetune` can train it.

    Raises: ValueError if the model fits nowhere, or a budget or deadline can't be met.

    >>> from llmkit.planning import device, named_config, size_of
    >>> size = size_of(named_config("gpt2-124m"), "gpt2-124m")
    >>> make_plan(Question(size, device("h100"), tokens=1e10, gpus=8)).chosen.name
    'ddp'
    """
    options = weigh_all(question, question.precisions)
    check_room(question, options)
    chosen = best(question, options)
    check_limits(question, chosen)
    size, loss = question.size, None
    if size.generates:
        loss = expected_loss(size.parameters, question.tokens, bool(told))
    command, accelerate, first = commands(question, chosen, told)
    return Plan(
        question,
        options,
        chosen,
        loss,
        reasons(question, options, chosen, loss),
        first + warnings(question, options, chosen, loss),
        command,
        accelerate,
    )


def _hardware(question: Question) -> dict:
    device = question.device
    return {
        "name": device.name,
        "full": device.full,
        "count": question.gpus,
        "memory": device.memory,
        "peak_flops": device.flops,
        "price_per_hour": _range(device.price, "dollars"),
        "price_source": device.priced,
        "source": device.source,
    }


def _memory(memory: Memory) -> dict:
    return {
        "parameters": memory.parameters,
        "gradients": memory.gradients,
        "optimizer": memory.optimizer,
        "activations": memory.activations,
        "buffers": memory.buffers,
        "buffers_in": memory.buffers_in,
        "peak": memory.peak,
    }


def _range(found: Range | None, unit: str) -> dict | None:
    if found is None:
        return None
    return {"unit": unit} | asdict(found)
