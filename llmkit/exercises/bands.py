"""Expected bands: is what this lesson measured what it should be? Lesson 00.

A band is data beside the exercises of its lesson:
``BANDS = {"cpu": {"val_loss": Band(1.0, 1.2, why_low="…", why_high="…")}}``.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from llmkit.exercises.cards import FAILED, MARKS, PASSED, Card, show
from llmkit.exercises.exercise import lesson_module

BAND_MIME = "application/vnd.llmkit.band+json"


@dataclass(frozen=True)
class Band:
    """Hold the range in which a result is expected, and why it may miss it.

    low, high: both included; -math.inf or math.inf where that side is open.
    Raises: ValueError for an empty range, or a side that can be missed unexplained.
    """

    low: float
    high: float
    why_low: str = ""
    why_high: str = ""

    def __post_init__(self) -> None:
        if not self.low <= self.high:
            raise ValueError(f"a band needs low <= high: got {self.low}, {self.high}")
        for side, edge, why in [
            ("low", self.low, self.why_low),
            ("high", self.high, self.why_high),
        ]:
            if math.isfinite(edge) and not why:
                raise ValueError(f"{self!r} can be missed: say the cause in why_{side}")

    def miss(self, value: float | None) -> str:
        """Say how a value misses the band, and the likely reason; "" inside it.

        >>> Band(0, 60, "it did not train", "a slow machine").miss(75)
        'too high (75 > 60): a slow machine'
        """
        if value is None:
            return "not measured"
        if math.isnan(value):
            return "not a number: the training diverged, or nothing was counted"
        if value < self.low:
            return f"too low ({value:.4g} < {self.low:.4g}): {self.why_low}"
        if value > self.high:
            return f"too high ({value:.4g} > {self.high:.4g}): {self.why_high}"
        return ""

    def __str__(self) -> str:
        if self.low == -math.inf:
            return f"at most {self.high:.4g}"
        if self.high == math.inf:
            return f"at least {self.low:.4g}"
        return f"{self.low:.4g} to {self.high:.4g}"


@dataclass(frozen=True, repr=False, eq=False, kw_only=True)
class BandResult(Card):
    """Say whether every result lies in its band; true when it does."""

    inside: bool

    def __bool__(self) -> bool:
        return self.inside


PROFILES = ("smoke", "cpu", "gpu")


def for_profile(profile: str, **choices):
    """Return the choice for this profile: a size, or a number of steps.

    Raises: ValueError for a profile that does not exist.

    >>> for_profile("smoke", smoke=10, cpu=500, gpu=2000)
    10
    """
    if profile not in PROFILES:
        raise ValueError(
            f"unknown profile {profile!r}; choose one of: {', '.join(PROFILES)}"
        )
    return choices[profile]


def band(lesson: str, profile: str, results: Mapping[str, float]) -> BandResult:
    """Compare what a lesson measured with its bands, show the table, and return it.

    results: numbers by name, one for each band of this profile.

    Raises: ValueError for an unknown lesson or profile, or a result without a band.
    """
    bands = _bands(lesson, profile)
    if unknown := [name for name in results if name not in bands]:
        raise ValueError(
            f"lesson {lesson} has no band for {', '.join(unknown)}; "
            f"profile {profile!r} expects {', '.join(bands)}"
        )
    values = {name: _number(results.get(name)) for name in bands}
    return show(compared(lesson, profile, bands, values))


def compared(
    lesson: str,
    profile: str,
    bands: Mapping[str, Band],
    values: Mapping[str, float | None],
) -> BandResult:
    """Put values beside their bands on a card."""
    rows, misses, found = [("", "result", "measured", "expected")], [], []
    for name, expected in bands.items():
        value, miss = values[name], expected.miss(values[name])
        measured = "—" if value is None else f"{value:.4g}"
        rows.append((MARKS[FAILED if miss else PASSED], name, measured, str(expected)))
        if miss:
            misses.append(f"{name} is {miss}")
        edges = {"low": _finite(expected.low), "high": _finite(expected.high)}
        numbers = {"value": _finite(value), **edges}
        found.append({"name": name, **numbers, "inside": not miss, "message": miss})
    inside = not misses
    end = "all as expected" if inside else f"{len(misses)} outside the expected band"
    mark = MARKS[PASSED if inside else FAILED]
    return BandResult(
        heading=f"{mark} Lesson {lesson}, profile {profile}: {end}",
        body=tuple(misses),
        table=tuple(rows),
        data={
            BAND_MIME: {
                "lesson": lesson,
                "profile": profile,
                "inside": inside,
                "results": found,
            }
        },
        inside=inside,
    )


def _bands(lesson: str, profile: str) -> Mapping[str, Band]:
    profiles = getattr(lesson_module(lesson), "BANDS", {})
    if profile not in profiles:
        known = ", ".join(profiles) or "none at all"
        raise ValueError(
            f"lesson {lesson} has no bands for profile {profile!r}; it has: {known}"
        )
    return profiles[profile]


def _number(value: object) -> float | None:
    return None if value is None else float(value)


def _finite(value: float | None) -> float | None:
    """Return None for what JSON cannot say."""
    return value if value is not None and math.isfinite(value) else None
