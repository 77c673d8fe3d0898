"""The commands that plan: what a run takes, and which kind of training to choose."""

import json
from dataclasses import asdict

from llmkit.planning import PlanOptions, answer, choosing
from llmkit.planning.choosing import ChooseOptions


def plan(options: PlanOptions) -> int:
    """Print what a run takes and which technique to choose, or one JSON object."""
    from llmkit.planning.report import show

    found = answer(options, _own_shapes())
    if options.json:
        print(json.dumps(found.as_dict()))
    else:
        show(found)
    return 0


def _own_shapes() -> dict[str, dict]:
    """Return the shapes that `llmkit pretrain` has names for."""
    from llmkit.pretraining import PRESETS

    return {name: preset.model for name, preset in PRESETS.items()}


def choose(options: ChooseOptions) -> int:
    """Print which way to train suits a task, and why."""
    choice = choosing.choose(options)
    if options.json:
        print(json.dumps(asdict(choice)))
        return 0
    print(f"{choice.technique[0].upper()}{choice.technique[1:]}, because:")
    for reason in choice.reasons:
        print(f"  - {reason}")
    print(f"Read: {', '.join('lesson ' + lesson for lesson in choice.lessons)}")
    print(f"Otherwise: {choice.instead}")
    if choice.command:
        print(f"\n{choice.command}")
    return 0
