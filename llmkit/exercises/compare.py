"""Say in words how two values differ: tensors, arrays, numbers, containers."""

import reprlib
from collections.abc import Mapping
from numbers import Number

KINDS = {"b": "true/false", "i": "whole", "u": "whole", "f": "real", "c": "complex"}


def difference(
    got: object, want: object, rtol: float = 1e-4, atol: float = 1e-5
) -> str | None:
    """Say how `got` differs from `want`; None when they agree.

    Arrays agree by shape, kind of number and value (within rtol and atol); lists and
    tuples item by item; numbers within rtol and atol; all else by ==.

    >>> difference([1, 2], (1, 2)) is None
    True
    >>> difference((1.0, 2.0), (1.0, 3.0))
    'item 1 of the answer: expected 3.0, got 2.0'
    """
    if is_array(want) and is_array(got):
        return _array_difference(got, want, rtol, atol)
    if isinstance(want, Mapping) and isinstance(got, Mapping):
        if set(got) != set(want):
            return f"expected the keys {_short(list(want))}, got {_short(list(got))}"
        return _first_difference(got, want, want, rtol, atol)
    if isinstance(want, list | tuple) and isinstance(got, list | tuple):
        if len(got) != len(want):
            return f"expected {describe(want)}, got {describe(got)}"
        return _first_difference(got, want, range(len(want)), rtol, atol)
    if is_number(want) and (is_number(got) or _is_scalar(got)):
        got = got if is_number(got) else got.item()
        if agree(float(got), float(want), rtol, atol):
            return None
        return f"expected {want}, got {got}"
    if is_array(want) or is_array(got) or type(got) is not type(want) or got != want:
        return f"expected {describe(want)}, got {describe(got)}"
    return None


def agree(a: float, b: float, rtol: float, atol: float = 0.0) -> bool:
    """Tell whether two numbers are close; NaN agrees with NaN, and b sets the scale."""
    if a == b or (a != a and b != b):
        return True
    return abs(a - b) <= atol + rtol * abs(b) < float("inf")


def is_array(value: object) -> bool:
    """Tell whether a value is a torch tensor or a numpy array, without importing them.

    >>> is_array([1, 2])
    False
    """
    return hasattr(value, "shape") and hasattr(value, "dtype")


def is_number(value: object) -> bool:
    """Tell whether a value is a real number; True and False are not.

    >>> is_number(2.5), is_number(True), is_number("2.5")
    (True, False, False)
    """
    return isinstance(value, Number) and not isinstance(value, bool | complex)


def describe(value: object) -> str:
    """Describe a value briefly: a tensor by its shape, a container by its parts.

    >>> describe((1.5, "the cat"))
    "tuple of 2 (1.5, 'the cat')"
    """
    if is_number(value):
        return str(value)
    if is_array(value):
        kind = "" if "float" in str(value.dtype) else f" of {value.dtype}"
        return f"{type(value).__name__.lower()} {_shape(value)}{kind}"
    if isinstance(value, list | tuple) and len(value) <= 4:
        parts = ", ".join(map(describe, value))
        return f"{type(value).__name__} of {len(value)} ({parts})"
    if isinstance(value, list | tuple | Mapping):
        return f"{type(value).__name__} of {len(value)}"
    return _short(value)


def changed(now: object, before: object) -> bool:
    """Tell whether data changed; what is not data (a model, say) may change freely.

    >>> changed([1, 5], [1, 2]), changed(object(), object())
    (True, False)
    """
    if isinstance(before, list | tuple):
        if len(now) != len(before):
            return True
        return any(changed(a, b) for a, b in zip(now, before, strict=True))
    if isinstance(before, Mapping):
        if set(now) != set(before):
            return True
        return any(changed(now[key], before[key]) for key in before)
    if is_array(before) or isinstance(before, Number | str | set):
        return difference(now, before, rtol=0, atol=0) is not None
    return False


def _first_difference(got, want, keys, rtol, atol) -> str | None:
    for key in keys:
        if found := difference(got[key], want[key], rtol, atol):
            return f"item {key!r} of the answer: {found}"
    return None


def _array_difference(got, want, rtol, atol) -> str | None:
    import numpy as np

    a, b = _numpy(got), _numpy(want)
    if a.shape != b.shape:
        return f"expected shape {_shape(b)}, got {_shape(a)}"
    ours, theirs = KINDS.get(b.dtype.kind), KINDS.get(a.dtype.kind)
    if ours != theirs:
        return (
            f"expected {ours} values ({want.dtype}), got {theirs} values ({got.dtype})"
        )
    exact = a.dtype.kind not in "fc"
    off = a != b if exact else ~np.isclose(a, b, rtol, atol, equal_nan=True)
    if not off.any():
        return None
    place = tuple(int(i) for i in np.argwhere(off)[0])
    return (
        f"{int(off.sum())} of {off.size} values differ; the first, at {list(place)}, "
        f"should be {_value(b[place])} and is {_value(a[place])}"
    )


def _numpy(value):
    import numpy as np

    if not hasattr(value, "detach"):
        return np.asarray(value)
    value = value.detach().cpu()
    if value.dtype.is_floating_point:
        value = value.double()  # numpy has no bfloat16
    return value.numpy()


def _is_scalar(value: object) -> bool:
    return is_array(value) and tuple(value.shape) == ()


def _shape(value) -> str:
    return str(tuple(int(n) for n in value.shape))


def _value(number) -> str:
    return str(number) if number.dtype.kind not in "fc" else f"{number:.4g}"


def _short(value: object) -> str:
    return reprlib.repr(value)
