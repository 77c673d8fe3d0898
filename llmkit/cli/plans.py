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
    from llmkit.planning.report import say

    choice = choosing.choose(options)
    if options.json:
        print(json.dumps(asdict(choice)))
        return 0
    print(f"Task: {choosing.ABOUT[choice.kind]}")
    print(f"Take: {choice.technique}\n\nBecause")
    for reason in choice.reasons:
        say(reason, "  - ")
    print("\nWhat would change it")
    say(choice.instead, "  - ")
    print(f"\nRead\n  {', '.join('lesson ' + lesson for lesson in choice.lessons)}")
    print(f"\nBegin with\n  {choice.command}")
    return 0
