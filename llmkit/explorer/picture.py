"""Draw weights as a PNG file: what stands where no script may run."""

import struct
import zlib

import numpy as np

# Matplotlib's cividis at equal steps, from 0 to 1: read by everyone, in grey too.
CIVIDIS = """00224e 002e6a 1a386f 32436d 434e6c 535a6d 61656f 6f7073 7d7c78
8c8878 9b9476 aba072 bcae6c cdbb63 dec958 f0d846 fee838"""
WEIGHTS = [[int(x[i : i + 2], 16) for i in (0, 2, 4)] for x in CIVIDIS.split()]
SIDE = 22  # of a head, in pixels, where there are many
LARGE = 240  # of a head that stands alone
GAP = 3


def png(codes: np.ndarray, palette: np.ndarray) -> bytes:
    """Return a PNG file from palette indices (height, width) and colours (n, 3).

    Source: Portable Network Graphics, third edition, W3C 2025.

    >>> png(np.zeros((1, 1), np.uint8), np.zeros((1, 3), np.uint8))[:8]
    b'\\x89PNG\\r\\n\\x1a\\n'
    """
    height, width = codes.shape
    rows = np.zeros((height, width + 1), np.uint8)  # each row begins with its filter
    rows[:, 1:] = codes
    parts = (
        (b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 3, 0, 0, 0)),
        (b"PLTE", palette.astype(np.uint8).tobytes()),
        (b"IDAT", zlib.compress(rows.tobytes(), 9)),
        (b"IEND", b""),
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + name + data + _check(name + data)
        for name, data in parts
    )


def _check(data: bytes) -> bytes:
    return struct.pack(">I", zlib.crc32(data))


def draw(weights: np.ndarray) -> bytes:
    """Return a PNG of all heads (L, H, T, T): a row for each layer, a column a head.

    One head is drawn large. Large texts are pooled by their strongest links.
    """
    L, H = weights.shape[:2]
    side = max(SIDE, LARGE // max(L, H))
    shades = len(SHADES) - 1
    sheet = np.full((L * (side + GAP) + GAP, H * (side + GAP) + GAP), shades, np.uint8)
    for layer in range(L):
        for head in range(H):
            y, x = (GAP + i * (side + GAP) for i in (layer, head))
            small = _pooled(weights[layer, head], side)
            codes = np.rint(np.sqrt(np.clip(small, 0, 1)) * (shades - 1))
            sheet[y : y + side, x : x + side] = codes
    return png(sheet, SHADES)


def _pooled(weights: np.ndarray, side: int) -> np.ndarray:
    """Return (side, side) from (T, T): each pixel is the strongest link below it."""
    T = len(weights)
    first = np.arange(side) * T // side
    if side >= T:
        return weights[first][:, first]
    rows = np.maximum.reduceat(weights, first, axis=0)
    return np.maximum.reduceat(rows, first, axis=1)


def _shades(count: int = 32) -> np.ndarray:
    """Return the palette of the file: so many steps of cividis, and white."""
    places = np.linspace(0, 1, len(WEIGHTS))
    steps = np.linspace(0, 1, count)
    columns = [np.interp(steps, places, column) for column in np.transpose(WEIGHTS)]
    return np.vstack([np.rint(np.transpose(columns)), [[255] * 3]]).astype(np.uint8)


SHADES = _shades()
