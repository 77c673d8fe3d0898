"""The command that does what was planned, and what must be made ready first. Lesson 08.

A launch file of llmkit's is used as it is where it says all that the plan needs; else
the command names a copy of it, and a note says what to change there.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import ceil

from llmkit.planning.hardware import A_MACHINE
from llmkit.planning.memory import STRATEGIES
from llmkit.planning.options import Option, Question, by_llmkit

PORT = 29_500  # where machines meet, as in two-nodes.yaml


@dataclass(frozen=True)
class Launch:
    """Which launch file, and what is said beside it."""

    name: str  # of a file that llmkit brings, or a path
    llmkit: tuple[str, ...] = ()  # flags of `llmkit launch`
    accelerate: tuple[str, ...] = ()  # flags of `accelerate launch`
    notes: list[str] = field(default_factory=list)  # what to do first, in words

    @property
    def path(self) -> str:
        """Return where the file lies."""
        own = self.name.endswith(".yaml")
        return self.name if own else f"llmkit/launch/{self.name}.yaml"


def launch_of(question: Question, chosen: Option) -> Launch:
    """Return how the processes of a plan are started.

    >>> from llmkit.planning import device, make_plan, named_config, size_of
    >>> question = Question(size_of(named_config("gpt2-124m")), device("h100"), 1e9)
    >>> launch_of(question, make_plan(question).chosen).name
    'gpu'
    """
    if question.device.is_cpu:
        return Launch("cpu")
    W, base = chosen.devices, STRATEGIES[chosen.strategy].launch
    machines, changes, notes = ceil(W / A_MACHINE), [], []
    ours, theirs = [f"--processes {W}"], [f"--num_processes {W}"]
    if machines > 1:
        base = "two-nodes" if base == "ddp" else base
        if machines != 2 or base != "two-nodes":
            changes.append(f"num_machines: {machines}")
            changes.append(f"main_process_port: {PORT}")
        ours.append("--machine 0 --address ADDRESS")
        theirs.append(f"--num_machines {machines} --machine_rank 0")
        theirs.append(f"--main_process_ip ADDRESS --main_process_port {PORT}")
        notes.append(
            f"{W} devices are {machines} machines of {A_MACHINE}: give the command on "
            "each, with its number in place of 0, and the address of machine 0"
        )
    if chosen.checkpointing and chosen.strategy == "fsdp2":
        changes.append("fsdp_activation_checkpointing: true")
    if not changes:
        flags = (tuple(ours), tuple(theirs)) if W > 1 else ()
        return Launch(base, *flags, notes=notes)
    told = f"my-{base}.yaml, a copy of llmkit/launch/{base}.yaml that says"
    notes.append(f"make ready {told} {' and '.join(changes)}")
    return Launch(f"my-{base}.yaml", tuple(ours), tuple(theirs), notes)


def commands(
    question: Question, chosen: Option, told: Sequence[str]
) -> tuple[str, str, list[str]]:
    """Return the command, the same without llmkit's launcher, and what to do first.

    told: the flags that name the model; none where llmkit can't train it.
    """
    launch = launch_of(question, chosen)
    start = ["accelerate launch", f"--config_file {launch.path}", *launch.accelerate]
    if not (told and by_llmkit(chosen)):
        mixed = chosen.precision.replace("fp32", "no")
        own = " ".join([*start, f"--mixed_precision {mixed} your_training_script.py"])
        return own, own, launch.notes
    work = _work(question, chosen, told)
    ours = " ".join(["llmkit launch", launch.name, *launch.llmkit, "--", work])
    return ours, " ".join([*start, "-m llmkit", work]), launch.notes


def _is_finetune(told: Sequence[str]) -> bool:
    return told[0].startswith("--model")


def _work(question: Question, chosen: Option, told: Sequence[str]) -> str:
    rows, flags = chosen.batch_tokens // question.size.context, [*told]
    if _is_finetune(told):  # which cuts no batch into pieces
        flags.append(f"--batch-size {rows // chosen.accumulation}")
        return f"finetune --data YOUR_TEXTS --out build/run {' '.join(flags)}"
    flags.append(f"--batch-size {rows} --accumulation {chosen.accumulation}")
    if STRATEGIES[chosen.strategy].deepspeed:  # which takes no Muon
        flags.append("--optimizer adamw")
    flags += [f"--precision {chosen.precision}", f"--max-steps {chosen.steps}"]
    return f"pretrain --corpus YOUR_TEXT --out build/run {' '.join(flags)}"
