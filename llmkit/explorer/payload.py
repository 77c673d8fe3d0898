"""Pack what was recorded into JSON that a page carries with it.

Weights become bytes of 255 √weight: small ones keep their digits, and no weight moves
by more than 0.004. What the arithmetic multiplies stays float16, exactly. Bytes are
deflated, and base64 makes letters of them.
"""

import base64
import json
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict

import numpy as np

from llmkit.explorer.record import Inner, Record

MOST = 4_000_000  # letters of a whole page
PLANES = (1, 0)  # float16 by halves: signs and exponents first, they deflate better


def pack(array: np.ndarray, kind: str) -> dict:
    """Return an array as a block: its kind, its shape and its bytes as letters.

    kind: "root" (weights from 0 to 1), "half" (float16), "float" (float32) or "mask".

    >>> pack(np.eye(2), "root")
    {'kind': 'root', 'shape': [2, 2], 'data': '+8/A8B8A'}
    """
    # Weights seldom repeat: letters by how frequent they are do better than matches.
    how = (9, zlib.DEFLATED, -zlib.MAX_WBITS, 9, zlib.Z_FILTERED)
    deflater = zlib.compressobj(*how)
    data = deflater.compress(_bytes_of(array, kind)) + deflater.flush()
    letters = base64.b64encode(data).decode("ascii")
    return {"kind": kind, "shape": list(array.shape), "data": letters}


def _bytes_of(array: np.ndarray, kind: str) -> bytes:
    if kind == "root":
        return roots(array).tobytes()
    if kind == "half":
        pairs = np.ascontiguousarray(array, "<f2").view(np.uint8).reshape(-1, 2)
        return pairs[:, PLANES].T.tobytes()
    return np.ascontiguousarray(array, "<f4" if kind == "float" else np.uint8).tobytes()


def unpack(block: Mapping) -> np.ndarray:
    """Return the array of a block, as decode.js does in the page.

    >>> unpack(pack(np.array([[0.0, 1.0]]), "root"))
    array([[0., 1.]], dtype=float32)
    """
    data = zlib.decompress(base64.b64decode(block["data"]), -zlib.MAX_WBITS)
    numbers = np.frombuffer(data, np.uint8)
    if block["kind"] == "root":
        numbers = (numbers / np.float32(255)) ** 2
    elif block["kind"] == "half":
        numbers = np.ascontiguousarray(numbers.reshape(2, -1)[PLANES, :].T)
        numbers = numbers.view("<f2")
    elif block["kind"] == "float":
        numbers = numbers.view("<f4")
    return numbers.reshape(block["shape"])


def roots(weights: np.ndarray) -> np.ndarray:
    """Return 255 √weight, rounded to bytes.

    >>> roots(np.array([0.0, 0.0001, 0.25, 1.0])).tolist()
    [0, 3, 128, 255]
    """
    shares = np.clip(weights, 0, 1).astype(np.float32)
    return np.rint(255 * np.sqrt(shares)).astype(np.uint8)


def pack_record(record: Record) -> dict:
    """Return a record as plain lists and blocks, a block for each layer."""
    L, H, _, _ = record.weights.shape
    layers = [
        {"layer": layer, "weights": pack(record.weights[layer], "root")}
        for layer in range(L)
    ]
    for layer, inner in record.inner.items():
        layers[layer]["inner"] = _pack_inner(inner)
    return {
        "label": record.label,
        "tokens": list(record.tokens),
        "heads": H,
        "causal": bool(record.causal),
        "mask": None if record.mask is None else pack(record.mask, "mask"),
        "layers": layers,
        "tags": [asdict(tag) for tag in record.tags or ()],
        "scores": {name: numbers(row) for name, row in record.scores.items()},
        "agreement": [
            [*names, _number(rank)] for names, rank in record.agreement.items()
        ],
        "target": record.target,
        "prediction": _pack_prediction(record),
    }


def _pack_inner(inner: Inner) -> dict:
    packed = {name: pack(getattr(inner, name), "half") for name in ("q", "k", "v")}
    if inner.bias is not None:
        packed["bias"] = pack(inner.bias, "half")
    return packed | {"scale": float(inner.scale), "note": inner.note}


def _pack_prediction(record: Record) -> dict | None:
    found = record.prediction
    if found is None:
        return None
    without = None if found.without is None else pack(found.without, "float")
    packed = {"names": list(found.names), "p": numbers(found.p), "without": without}
    return packed | {"question": found.question}


def _number(value: float | None) -> float | None:
    """Return six digits: JSON has no NaN, and a page needs no more."""
    return None if value is None or not np.isfinite(value) else float(f"{value:.6g}")


def numbers(values: Iterable[float]) -> list[float | None]:
    """Return each number in six digits, None where there is none."""
    return [_number(float(value)) for value in values]


def to_json(payload: Mapping) -> str:
    r"""Return JSON that can stand inside a script: nothing in it ends one or opens one.

    >>> to_json({"text": "</script><!--"})
    '{"text":"\\u003c/script>\\u003c!--"}'
    """
    letters = json.dumps(payload, allow_nan=False, separators=(",", ":"))
    return letters.replace("<", r"\u003c")


def fit(
    frames: Sequence[dict], room: int, keep: Iterable[int] = ()
) -> tuple[list[dict], list[int], list[str]]:
    """Leave out what does not fit into so many letters, and say what it was.

    keep: layers that go last. First go the numbers of the arithmetic, deepest layer
    first; then every second layer, two of three, and so on, never the first and the
    last; then steps of training in the same way. Returns the frames, which of them are
    left, and a sentence for each thing left out.

    Raises: ValueError if even that is too large.
    """
    for thinner, places, notes in _ever_smaller(frames, tuple(keep)):
        if len(to_json({"frames": thinner})) <= room:
            return thinner, places, notes
    T = len(frames[0]["tokens"])
    raise ValueError(
        f"{T} tokens make a page above {MOST / 1e6:g} MB even with two layers: "
        "give a shorter text"
    )


def _ever_smaller(
    frames: Sequence[dict], keep: tuple[int, ...]
) -> Iterator[tuple[list[dict], list[int], list[str]]]:
    """Yield the frames, then with ever less of them."""
    everything = list(range(len(frames)))
    yield list(frames), everything, []
    inner = sorted({x["layer"] for f in frames for x in f["layers"] if "inner" in x})
    inner = [x for x in keep if x in inner] + [x for x in inner if x not in keep]
    bare = list(frames)
    for count in reversed(range(len(inner))):
        bare = [_without_inner(frame, inner[:count]) for frame in frames]
        kept = f"kept for layers {_listed(inner[:count])}" if count else "left out"
        yield bare, everything, [f"{_below()}, the arithmetic is {kept}."]
    arithmetic = [f"{_below()}, the arithmetic is left out."] if inner else []
    L = max(len(frame["layers"]) for frame in frames)
    thin = bare
    for stride in range(2, L):
        thin = [_every(frame, stride, keep) for frame in bare]
        kept = _listed([x["layer"] for x in thin[0]["layers"]])
        layers = [f"{_below()}, these layers are shown: {kept}."]
        yield thin, everything, arithmetic + layers
    layers = layers if L > 2 else []
    for stride in range(2, len(frames)):
        places = _spread(len(frames), stride)
        steps = [f"Of {len(frames)} steps, {len(places)} are shown."]
        yield [thin[i] for i in places], places, arithmetic + layers + steps


def _below() -> str:
    return f"To stay below {MOST / 1e6:g} MB"


def _spread(count: int, stride: int) -> list[int]:
    """Return every stride-th place, always with the first and the last."""
    return sorted({*range(0, count, stride), count - 1})


def _every(frame: dict, stride: int, keep: tuple[int, ...]) -> dict:
    layers = frame["layers"]
    kept = {layers[i]["layer"] for i in _spread(len(layers), stride)} | {*keep}
    layers = [x for x in layers if x["layer"] in kept]
    tags = [x for x in frame["tags"] if x["layer"] in kept]
    return frame | {"layers": layers, "tags": tags}


def _without_inner(frame: dict, kept: list[int]) -> dict:
    layers = [
        x if x["layer"] in kept else {k: v for k, v in x.items() if k != "inner"}
        for x in frame["layers"]
    ]
    return frame | {"layers": layers}


def _listed(layers: Sequence[int]) -> str:
    return ", ".join(map(str, layers))
