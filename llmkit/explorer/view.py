"""The explorer itself: records in, one HTML output out."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from llmkit.explorer import page, payload
from llmkit.explorer.record import Question, Record, Training
from llmkit.explorer.tags import MEANINGS

MODES = ("one", "compare", "training")
VIEWS = ("atlas", "heatmap", "lines", "arithmetic", "compare", "training")
VIEWS += ("explanations", "knockout", "text")


@dataclass(frozen=True, eq=False)
class Explorer:
    """Hold records and show them: an interactive page, and a picture without scripts.

    mode: "one" record, "compare" two, or "training", one after the other. views: those
    to show, in their order (atlas, heatmap, lines, arithmetic, compare, training,
    explanations, knockout, text); None: all that the records have numbers for.

    Raises: ValueError if mode, views or question do not fit the records.
    Source: Lessons 01, 03, 05, 06 and 07.

    >>> import numpy as np
    >>> look = np.tril(np.ones((1, 1, 3, 3))) / [[1], [2], [3]]
    >>> Explorer((Record(("the", "cat", "sat"), look, causal=True),))
    <Explorer: 1 text, 1 layer × 1 head × 3 tokens>
    """

    frames: tuple[Record, ...]
    mode: str = "one"
    training: Training | None = None
    title: str = ""
    question: Question | None = None
    views: Sequence[str] | None = None

    def __post_init__(self):
        if self.mode not in MODES:
            raise ValueError(f"mode is one of {', '.join(MODES)}: got {self.mode!r}")
        expected = {"one": 1, "compare": 2}.get(self.mode)
        if not self.frames or expected not in (None, len(self.frames)):
            raise ValueError(
                f"mode {self.mode!r} shows {expected or 'one or more'} records: got "
                f"{len(self.frames)}"
            )
        if self.training and len(self.training.frames_at) != len(self.frames):
            raise ValueError(
                f"each record has its place on the curve: got {len(self.frames)} "
                f"records and {len(self.training.frames_at)} places"
            )
        self._check_views()
        if self.question:
            self._check_question(self.question)

    def _check_views(self) -> None:
        wanted = self.views or ()
        if unknown := [view for view in wanted if view not in VIEWS]:
            raise ValueError(f"views are {', '.join(VIEWS)}: got {unknown[0]!r}")
        if empty := [view for view in wanted if view not in self._possible]:
            raise ValueError(
                f"there is nothing to show in the view {empty[0]!r}: these records "
                f"have {', '.join(self._possible)}"
            )
        if self.views is not None and not set(wanted) - {"atlas"}:
            raise ValueError("choose at least one view beside the atlas")

    def _check_question(self, question: Question) -> None:
        L, H, T, _ = self.frames[self._first].weights.shape
        limits = {"layer": L, "head": H, "query": T}
        for name, count in limits.items():
            if not 0 <= getattr(question, name) < count:
                raise ValueError(
                    f"a question asks about a {name} from 0 to {count - 1}: got "
                    f"{getattr(question, name)}"
                )

    @property
    def _first(self) -> int:
        """Return which record is shown first: of a training, the last."""
        return len(self.frames) - 1 if self.mode == "training" else 0

    @cached_property
    def _possible(self) -> list[str]:
        """Return the views that the records have numbers for."""
        frames = self.frames
        L, H = frames[0].weights.shape[:2]
        has = dict.fromkeys(VIEWS, True) | {
            "atlas": L * H > 1 or len(frames) > 1,
            "arithmetic": any(frame.inner for frame in frames),
            "compare": len(frames) > 1,
            "training": self.mode == "training",
            "explanations": all(frame.scores for frame in frames),
            "knockout": all(frame.prediction for frame in frames),
        }
        return [view for view in VIEWS if has[view]]

    def _start(self) -> dict:
        """Return what is chosen at first: what was asked, moved most, or has a tag."""
        frame = self.frames[self._first]
        T = len(frame.tokens)
        if self.question:
            asked = self.question
            return {"layer": asked.layer, "head": asked.head, "query": asked.query}
        moved = self._most_moved() if self.mode == "compare" else None
        if moved is not None:
            return dict(zip(("layer", "head", "query"), moved))
        tags = [tag for tag in frame.tags or () if tag.name != "uniform"]
        best = max(tags, key=lambda tag: tag.score, default=None)
        layer, head = (best.layer, best.head) if best else (0, 0)
        query = T - 1 if frame.causal else min(1, T - 1)
        return {"layer": layer, "head": head, "query": query}

    def _most_moved(self) -> tuple[int, int, int] | None:
        """Return the head that differs most between two frames, and its query."""
        one, other = (frame.weights for frame in self.frames)
        if one.shape != other.shape:
            return None
        part = np.abs(one - other).sum(axis=-1) / 2  # (L, H, T)
        layer, head = np.unravel_index(part.mean(axis=-1).argmax(), part.shape[:2])
        return int(layer), int(head), int(part[layer, head].argmax())

    def _tabs(self) -> list[str]:
        """Return the views beside the atlas, what the mode is about first."""
        wanted = self.views or self._possible
        if self.views is None and self.mode in wanted:
            wanted = [self.mode, *(view for view in wanted if view != self.mode)]
        return [view for view in wanted if view != "atlas"]

    def _repr_html_(self) -> str:
        """Return the output: a picture, a payload, a script."""
        start = self._start()
        chosen = (start["layer"], start["head"])
        first = self.frames[self._first]
        stand_in = page.fallback(first, chosen, self.title, self.question is not None)
        about = {
            "title": self.title,
            "mode": self.mode,
            "start": start,
            "views": {
                "atlas": "atlas" in (self.views or self._possible),
                "tabs": self._tabs(),
            },
            "question": asdict(self.question) if self.question else None,
            "palette": page.palette(),
            "meanings": MEANINGS,
            "training": self._curve(range(len(self.frames))),
        }
        around = page.render(payload.to_json(about), stand_in)
        room = payload.MOST - len(around)
        frames = [payload.pack_record(record) for record in self.frames]
        frames, places, notes = payload.fit(frames, room, keep=[start["layer"]])
        about |= {"notes": notes, "training": self._curve(places), "frames": frames}
        return page.render(payload.to_json(about), stand_in)

    def _curve(self, places: Sequence[int]) -> dict | None:
        """Return the loss curve, with the places of the frames that are left."""
        if self.training is None:
            return None
        return {
            "steps": [int(step) for step in self.training.steps],
            "losses": payload.numbers(self.training.losses),
            "frames_at": [self.training.frames_at[place] for place in places],
        }

    def __repr__(self) -> str:
        L, H, T, _ = self.frames[0].weights.shape
        counts = (len(self.frames), "text"), (L, "layer"), (H, "head"), (T, "token")
        words = [f"{n} {name}{'' if n == 1 else 's'}" for n, name in counts]
        title = f"{self.title}: " if self.title else ""
        return f"<Explorer: {title}{words[0]}, {' × '.join(words[1:])}>"

    def save(self, path: str | Path) -> Path:
        """Write a page that opens from disk, with no network; return its path."""
        path = Path(path)
        whole = page.document(self._repr_html_(), self.title)
        path.write_text(whole, encoding="utf-8")
        return path

    def show(self):
        """Show it in a notebook; return a handle by which `update` can replace it."""
        from IPython.display import display

        return display(self, display_id=True)

    def update(self, handle) -> None:
        """Stand where another explorer was shown before."""
        handle.update(self)
