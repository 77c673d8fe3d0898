"""Make the page: one HTML output that needs no kernel, no network and no other file.

A picture and a table come first, for where scripts are stripped. The script beside them
reads the payload, finds their place and builds the explorer over it.
"""

import base64
import hashlib
import html
import unicodedata
from collections.abc import Mapping
from functools import cache
from importlib.resources import files

import numpy as np

from llmkit.explorer import picture
from llmkit.explorer.record import Record

# In this order they make one script.
SCRIPTS = ("decode", "text", "colours", "frames", "atlas", "heatmap", "lines")
SCRIPTS += ("arithmetic", "compare", "training", "predictions", "question", "app")
SCRIPTS += ("start",)
LONGEST = 24  # letters of a token that are shown
LINKS = 12  # in the table
UNSEEN = {"Cc", "Cf", "Cs", "Zl", "Zp", "Zs"}  # letters without a shape
MARKS = {" ": "␣", "\n": "⏎", "\t": "⇥"}


def visible(text: str, longest: int = LONGEST) -> str:
    r"""Return a token as it is shown: nothing unseen, nothing too long.

    >>> visible(" the"), visible("a\u200bb"), visible("long" * 9, 6)
    ('␣the', 'a⟨200B⟩b', 'longl…')
    """
    letters = [
        MARKS.get(x, f"⟨{ord(x):04X}⟩") if unicodedata.category(x) in UNSEEN else x
        for x in text[: 4 * longest]
    ]
    shown = "".join(letters)
    return shown[: longest - 1] + "…" if len(shown) > longest else shown or "∅"


@cache
def script() -> str:
    """Return the script of the explorer, without comments and indents."""
    static = files("llmkit.explorer") / "static"
    code = "\n".join(
        (static / f"{name}.js").read_text(encoding="utf-8") for name in SCRIPTS
    )
    lines = (line.strip() for line in code.splitlines())
    return "\n".join(line for line in lines if line and not line.startswith("//"))


@cache
def style() -> str:
    """Return the style of the explorer."""
    sheet = files("llmkit.explorer") / "static" / "explorer.css"
    return " ".join(sheet.read_text(encoding="utf-8").split())


def render(payload: str, fallback: str) -> str:
    """Return the output: what stands without scripts, the payload, the script.

    payload: JSON in which no "<" is left. It begins with a mark by which the script
    finds it, whatever a front end does to ids, attributes and places.
    """
    name = hashlib.sha256(payload.encode()).hexdigest()[:16]
    mark = f'{{"explorer":"{name}"'
    sheet = style().replace("\\", r"\\").replace("`", r"\`")
    code = (
        f"(() => {{\n'use strict';\nconst STYLE = `{sheet}`;\n{script()}\n"
        f"start(document.currentScript, '{mark}');\n}})();"
    )
    data = f"{mark},{payload[1:]}"
    return (
        f'<div>{fallback}<script type="application/json">{data}</script></div>'
        f"<script>{code}</script>"
    )


def fallback(record: Record, head: tuple[int, int], title: str, hide: bool) -> str:
    """Return what stands where no script runs: a picture, and a table of links.

    head: layer and head of the table. hide: keep the table closed, and the answer out
    of the picture's words, as a question is asked about it.
    """
    L, H, T, _ = record.weights.shape
    layer, number = head
    links = strongest(record.weights[layer, number], record)
    many = f"all {L} × {H} heads" if L * H > 1 else "one head"
    alt = f"Attention of {many} over {T} tokens, brighter is more."
    if title:
        alt = f"{visible(title, 80).replace('␣', ' ')}. {alt}"
    if links and not hide:
        first, second, weight = links[0]
        alt += f" Layer {layer}, head {number}: “{first}” looks at “{second}”, {weight}"
    data = base64.b64encode(picture.draw(record.weights)).decode("ascii")
    rows = "".join(
        f"<tr><td>{html.escape(a)}</td><td>{html.escape(b)}</td><td>{weight}</td></tr>"
        for a, b, weight in links
    )
    return (
        f'<img src="data:image/png;base64,{data}" alt="{html.escape(alt)}" '
        'style="max-width: 100%">'
        f"<details><summary>The strongest looks of layer {layer}, head {number}"
        "</summary><table><thead><tr><th>from</th><th>to</th><th>weight</th></tr>"
        f"</thead><tbody>{rows}</tbody></table></details>"
    )


def strongest(weights: np.ndarray, record: Record) -> list[tuple[str, str, str]]:
    """Return the strongest links of a head (T, T): from, to, weight, as shown."""
    T = len(record.tokens)
    best = np.argsort(-weights, axis=None, kind="stable")[:LINKS]
    pairs = [divmod(int(place), T) for place in best]
    token = [visible(text) for text in record.tokens]
    return [
        (f"{token[t]} ({t})", f"{token[s]} ({s})", f"{weights[t, s]:.2f}")
        for t, s in pairs
        if weights[t, s] > 0
    ]


def document(output: str, title: str) -> str:
    """Return a whole HTML file around an output: it may load nothing from anywhere."""
    name = html.escape(visible(title, 80).replace("␣", " ") if title else "Attention")
    rules = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; "
    rules += "script-src 'unsafe-inline'"
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{rules}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<title>{name}</title><link rel="icon" href="data:,">'
        "<style>h1 { position: absolute; clip-path: inset(50%) } "
        "body { margin: 16px; background: #fff; color: #1b1d20 } "
        "@media (prefers-color-scheme: dark) { body { background: #0d1013; "
        "color: #e8eaed } }</style>"
        f"</head><body><main><h1>{name}</h1>{output}</main></body></html>\n"
    )


def palette() -> Mapping:
    """Return the colours that Python and the page share."""
    return {
        "weights": picture.WEIGHTS,
        "ends": [[0, 114, 178], [213, 94, 0]],  # blue and orange of llmkit.figures
        "bright": [[86, 180, 233], [255, 149, 64]],  # the same on a dark page
    }
