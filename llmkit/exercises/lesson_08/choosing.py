"""Exercise 08.5: choose a technique for three situations, and say why."""

from collections.abc import Mapping
from dataclasses import dataclass

from llmkit.exercises import Exercise, Wrong
from llmkit.exercises.cards import FAILED, NOT_ATTEMPTED, PASSED
from llmkit.exercises.exercise import Verdict

SITUATIONS = {
    "A": "124 million parameters on eight GPUs of 80 GB each, in one machine",
    "B": "13 billion parameters, all to be trained, on the same eight GPUs",
    "C": "355 million parameters on one GPU of 24 GB; the recipe wants 512 rows a step",
}
TECHNIQUES = ("ddp", "fsdp2", "accumulation")
REASONS = {
    "fits": "each device holds the whole state, and nothing talks less",
    "cut": "no device holds the whole state, all together do",
    "rows": "the state fits; the rows of a batch do not, and need not be there at once",
    "newest": "it saves the most memory, and so it is always best",
    "fastest": "more devices are always faster",
}
RIGHT = {
    "A": ("ddp", "fits"),
    "B": ("fsdp2", "cut"),
    "C": ("accumulation", "rows"),
}
FAULTS = {  # what is wrong with a technique, by situation
    ("A", "fsdp2"): "A: 16 bytes each are 2 GB, which every device holds easily. To "
    "cut them saves memory that nobody needs, and gathers every block twice a step.",
    ("A", "accumulation"): "A: accumulation works through a batch on one device piece "
    "by piece; seven others would idle. Let each take a share of the rows.",
    ("B", "ddp"): "B: 13 billion parameters at 16 bytes are 208 GB, and ddp puts all "
    "of it on every device of 80 GB.",
    ("B", "accumulation"): "B: accumulation shrinks what grows with the rows, and it "
    "is the state that does not fit, even with a single row.",
    ("C", "ddp"): "C: ddp needs a second device, and there is one.",
    ("C", "fsdp2"): "C: there is nobody to share with: on one device every piece is "
    "your own.",
}
WHY = "{}: the technique is right, and the reason is not: {}"
NEWEST = "what saves most memory also talks most. Take it where memory is short"
FASTEST = "devices that wait for each other gain little; ask what must fit where"
OTHER = "that is the reason for another technique"


@dataclass(frozen=True)
class Reasoned:
    """Judge techniques and their reasons: ``{"A": (technique, reason), ...}``.

    >>> Reasoned().judge({"A": ("ddp", "fits"), "B": ...}, ()).status
    'not attempted'
    """

    def judge(self, answer, wrong, *, seed=0, truth=None) -> Verdict:
        """Look at each situation in turn: first the technique, then the reason."""
        if answer is None or answer is ... or _unfinished(answer):
            return Verdict(NOT_ATTEMPTED, "")
        if not isinstance(answer, Mapping) or set(answer) != set(RIGHT):
            known = ", ".join(RIGHT)
            return Verdict(FAILED, f"Give a dictionary with the keys {known}.")
        for name, right in RIGHT.items():
            if fault := _fault(name, answer[name], right):
                return Verdict(FAILED, fault)
        return Verdict(PASSED, "All three, with their reasons.")


def _unfinished(answer) -> bool:
    if not isinstance(answer, Mapping):
        return False
    given = answer.values()
    return any(x is ... or (isinstance(x, list | tuple) and ... in x) for x in given)


def _fault(name: str, told, right: tuple[str, str]) -> str:
    """Say what is wrong with one answer, or return ""."""
    if not isinstance(told, list | tuple) or len(told) != 2:
        return f'{name}: give a pair, such as ("ddp", "fits").'
    technique, reason = told
    for value, known in ((technique, TECHNIQUES), (reason, tuple(REASONS))):
        if value not in known:
            return f"{name}: {value!r} is not among {', '.join(known)}."
    if technique != right[0]:
        return FAULTS[name, technique]
    if reason != right[1]:
        plain = {"newest": NEWEST, "fastest": FASTEST}.get(reason, OTHER)
        return WHY.format(name, plain + ".")
    return ""


def _but(**changes) -> dict:
    return RIGHT | changes


CHOICE = Exercise(
    id="08.5",
    kind="measure",
    title="a technique for three situations",
    minutes=6,
    difficulty=2,
    checker=Reasoned(),
    hints=(
        "Multiply the parameters by 16 bytes first. Does that fit one device? Does it "
        "fit all together? Only then ask about rows.",
        "124 million take 2 GB, 13 billion 208 GB, 355 million 5.7 GB. What fits is "
        "left whole; what fits only all together is cut; what grows with the rows is "
        "worked through in pieces.",
    ),
    solution=RIGHT,
    why="First the state: whole where it fits, cut where it does not. Then the rows.",
    wrong=(
        Wrong(_but(A=("fsdp2", "newest")), FAULTS["A", "fsdp2"]),
        Wrong(_but(A=("accumulation", "rows")), FAULTS["A", "accumulation"]),
        Wrong(_but(A=("ddp", "fastest")), WHY.format("A", FASTEST + ".")),
        Wrong(_but(B=("ddp", "fits")), FAULTS["B", "ddp"]),
        Wrong(_but(B=("accumulation", "rows")), FAULTS["B", "accumulation"]),
        Wrong(_but(B=("fsdp2", "newest")), WHY.format("B", NEWEST + ".")),
        Wrong(_but(C=("fsdp2", "cut")), FAULTS["C", "fsdp2"]),
        Wrong(_but(C=("ddp", "fastest")), FAULTS["C", "ddp"]),
    ),
)
