"""Figures that are not known exactly, and how they are said. Lesson 08."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Range:
    """What is likely, and between which bounds it should lie.

    >>> hours = Range(2.0, 3.0, 5.0)
    >>> (hours * 2).high, hours.show("{:.0f} h")
    (10.0, '3 h (2 h to 5 h)')
    """

    low: float
    likely: float
    high: float

    def __mul__(self, other: "Range | float") -> "Range":
        """Multiply each bound by a number, or by another range's."""
        if isinstance(other, Range):
            pairs = zip(self.bounds, other.bounds)
            return Range(*(mine * its for mine, its in pairs))
        return Range(*(mine * other for mine in self.bounds))

    @property
    def bounds(self) -> tuple[float, float, float]:
        """Return low, likely and high."""
        return self.low, self.likely, self.high

    def show(self, how) -> str:
        """Say it in words; how: a format, or a function of a number."""
        say = how.format if isinstance(how, str) else how
        low, likely, high = (say(x) for x in self.bounds)
        return likely if low == high else f"{likely} ({low} to {high})"


def say_seconds(seconds: float) -> str:
    """Say a time in the unit that suits it.

    >>> [say_seconds(x) for x in (0.25, 5, 90, 5400, 3e5, 2e8)]
    ['0.25 s', '5 s', '90 s', '90 min', '3.5 days', '6.3 years']
    """
    steps = ((120, 1, "s"), (7200, 60, "min"), (172_800, 3600, "h"))
    for below, unit, name in (*steps, (6.3e7, 86_400, "days")):
        if seconds < below:
            return f"{_two(seconds / unit)} {name}"
    return f"{_two(seconds / 3.156e7)} years"


def say_dollars(dollars: float) -> str:
    """Say an amount of money.

    >>> say_dollars(0.034), say_dollars(12.345), say_dollars(123456), say_dollars(1e-5)
    ('$0.03', '$12', '$120,000', 'under a cent')
    """
    if dollars < 0.005:
        return "under a cent"
    return f"${dollars:.2f}" if dollars < 10 else f"${float(f'{dollars:.2g}'):,.0f}"


def say_count(number: float) -> str:
    """Say a large number in words.

    >>> say_count(1e10), say_count(124439808), say_count(5000)
    ('10 billion', '124 million', '5,000')
    """
    for size, name in ((1e12, "trillion"), (1e9, "billion"), (1e6, "million")):
        if number >= size:
            return f"{number / size:.3g} {name}"
    return f"{number:,.0f}"


def say_bytes(count: float) -> str:
    """Say a number of bytes.

    >>> say_bytes(85520809984), say_bytes(2.5e6), say_bytes(0)
    ('85.5 GB', '2.5 MB', '0')
    """
    for size, name in ((1e12, "TB"), (1e9, "GB"), (1e6, "MB")):
        if count >= size:
            return f"{count / size:.1f} {name}"
    return f"{count / 1e3:.0f} kB" if count else "0"


def _two(x: float) -> str:
    """Write a number to two digits, or to the ones."""
    return f"{x:.2g}" if x < 10 else f"{x:.0f}"
