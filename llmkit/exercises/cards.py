"""Cards: what the exercises say, as plain text and as HTML with the same words.

A card carries marks (✓ ✗ ○) rather than colours, escapes every text that it shows, and
may carry data for a program that reads the executed notebook.
"""

import html
import re
import sys
import textwrap
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple, TypeVar

PASSED, FAILED, NOT_ATTEMPTED = "passed", "failed", "not attempted"
MARKS = {PASSED: "✓", FAILED: "✗", NOT_ATTEMPTED: "○"}
_LEFT = ' style="text-align:left"'


class Fold(NamedTuple):
    """Hold a line that a click unfolds; plain text shows the line alone."""

    line: str
    inside: str


@dataclass(frozen=True, repr=False, eq=False, kw_only=True)
class Card:
    """Hold a heading, paragraphs, a table, some code, and data for programs.

    body: paragraphs, which may mark code with backticks, and folds. table: rows of
    cells, the first row is the head. data: MIME type → JSON.

    >>> Card(heading="○ 01.1 attend", body=("Replace `...` by your code.",))
    ○ 01.1 attend
      Replace `...` by your code.
    """

    heading: str
    body: tuple[str | Fold, ...] = ()
    table: tuple[tuple[str, ...], ...] = ()
    code: str = ""
    data: Mapping[str, object] = field(default_factory=dict)

    def __repr__(self) -> str:
        parts = [self.heading, *map(_plain, self.body)]
        if self.table:
            parts.append(_columns(self.table))
        if self.code:
            parts.append("\n" + textwrap.indent(self.code, "    "))
        return "\n".join(parts)

    def _repr_html_(self) -> str:
        body = "".join(map(_html, self.body))
        code = f"<pre><code>{html.escape(self.code)}</code></pre>" if self.code else ""
        return (
            f'<div role="status"><p><strong>{markup(self.heading)}</strong></p>'
            f"{body}{_html_table(self.table)}{code}</div>"
        )

    def _repr_mimebundle_(self, include=None, exclude=None) -> dict[str, object]:
        return {
            **self.data,
            "text/plain": repr(self),
            "text/html": self._repr_html_(),
        }

    def _ipython_display_(self) -> None:
        """Add nothing: `show` has shown this card when it was made."""


AnyCard = TypeVar("AnyCard", bound=Card)


def show(card: AnyCard) -> AnyCard:
    """Show a card in a notebook, and hand it back.

    It is shown here, not as the value of its cell, so that
    ``attend = check("01.1", attend).best`` speaks too. Outside IPython the card's text
    is its repr, and nothing is printed.
    """
    if notebook_shell() is not None:
        from IPython.display import display

        display(card._repr_mimebundle_(), raw=True)
    return card


def notebook_shell() -> object | None:
    """Return the running IPython shell, or None; never import IPython to find out."""
    ipython = sys.modules.get("IPython")
    return None if ipython is None else ipython.get_ipython()


def markup(text: str) -> str:
    """Escape a text for HTML; what stands in backticks becomes code.

    >>> markup("a < b, so write `x & y`")
    'a &lt; b, so write <code>x &amp; y</code>'
    """
    escaped = html.escape(text)
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", escaped).replace("\n", "<br>")


def _plain(part: str | Fold) -> str:
    text, indent = (part.line, "    ") if isinstance(part, Fold) else (part, "  ")
    wrapper = textwrap.TextWrapper(
        width=79,
        initial_indent=indent,
        subsequent_indent=indent,
        break_long_words=False,
        break_on_hyphens=False,
    )
    return "\n".join(map(wrapper.fill, text.splitlines()))


def _html(part: str | Fold) -> str:
    if isinstance(part, Fold):
        line, inside = map(markup, part)
        return f"<details><summary>{line}</summary><p>{inside}</p></details>"
    return f"<p>{markup(part)}</p>"


def _columns(table: tuple[tuple[str, ...], ...]) -> str:
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    rows = (
        "  " + "  ".join(f"{cell:<{n}}" for cell, n in zip(row, widths, strict=True))
        for row in table
    )
    return "\n".join(row.rstrip() for row in rows)


def _html_table(table: tuple[tuple[str, ...], ...]) -> str:
    if not table:
        return ""
    head, *rows = table
    top = "".join(f'<th scope="col"{_LEFT}>{markup(cell)}</th>' for cell in head)
    rest = "".join(
        "<tr>" + "".join(f"<td{_LEFT}>{markup(cell)}</td>" for cell in row) + "</tr>"
        for row in rows
    )
    return f"<table><thead><tr>{top}</tr></thead><tbody>{rest}</tbody></table>"
