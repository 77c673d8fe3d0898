"""Tell little stories whose exact probability is known.

No model can predict these stories better than their entropy allows. So the loss has a
floor that is known to the last digit, and whatever a model writes can be checked: is
it a story, and if not, which character is the first wrong one?

A *scene* is a list of templates: a story takes one from each scene in turn. A template
has *slots*, such as `{hero}`, to fill with words. Three rules make the language:

1. The first `{hero}` of a story is a choice: every word on the list is equally likely.
2. Every later `{hero}` repeats that choice: whoever sets out comes home again.
3. `{tool.deed}` chooses from the deeds of the tool that was chosen before it: a key
   unlocks a door, a spoon eats its way through jelly.

Source: Lesson 06.
"""

import random
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, combinations, product, zip_longest
from math import inf, log, prod
from statistics import fmean

Lists = Sequence[str] | Mapping[str, Sequence[str]]
Chosen = dict[str, str]  # the words that fill the slots: {"{hero}": "Ada"}


@dataclass(frozen=True)
class Entropy:
    """Say how much surprise a language holds."""

    nats_per_story: float
    characters_per_story: float

    @property
    def nats_per_character(self) -> float:
        """Return the floor: no model's mean loss per character can be lower."""
        return self.nats_per_story / self.characters_per_story


@dataclass(frozen=True)
class Parse:
    """Say whether a text is one story, and if not, where it stops being one."""

    text: str
    position: int  # the first wrong character, or len(text) if only the rest is missing
    expected: tuple[str, ...]  # a few continuations that would be right at `position`
    log_prob: float  # nats; -inf if the text is not a story

    @property
    def valid(self) -> bool:
        """Return whether the text is a story."""
        return self.log_prob > -inf

    def __str__(self) -> str:
        """Explain the verdict in a line."""
        if self.valid:
            return f"a story of {-self.log_prob:.1f} nats"
        before, rest = self.text[: self.position], self.text[self.position :]
        found = repr(rest[:12]) if rest else "the end"
        expected = " or ".join(map(repr, self.expected)) or "the end"
        return f"not a story: {found} after {before[-20:]!r}, expected {expected}"


class Language:
    """Hold a small language: tell its stories, recognize them, measure them exactly.

    `scenes` are lists of templates; a space joins them, and a newline ends the story.
    `words` has a list for each slot, and for a slot like `pet.says` one for each pet.

    Raises ValueError if a slot cannot be filled, or if one text might be told in two
    ways, for then its probability would not be that of one telling.

    >>> words = {"pet": ["cat", "cow"], "pet.says": {"cat": ["Purr"], "cow": ["Moo"]}}
    >>> tiny = Language([["A {pet}.", "My {pet}!"], ["{pet.says}, {pet}!"]], words)
    >>> tiny.count()
    4
    >>> print(tiny.parse("A cow. Purr, cow!\\n"))
    not a story: 'Purr, cow!\\n' after 'A cow. ', expected 'Moo'
    """

    def __init__(
        self, scenes: Sequence[Sequence[str]], words: Mapping[str, Lists]
    ) -> None:
        ends = [" "] * (len(scenes) - 1) + ["\n"]
        self.scenes = [  # a template is kept in parts: ["A ", "{pet}", ".\n"]
            [_parts(template + end) for template in scene]
            for scene, end in zip(scenes, ends)
        ]
        self.words = {  # the lists of a slot, by the word that they depend on
            f"{{{slot}}}": lists if isinstance(lists, Mapping) else {"": lists}
            for slot, lists in words.items()
        }
        _check(self)

    def sample(self, rng: random.Random) -> str:
        """Tell one story; it ends with a newline and holds no other."""
        parts = [part for scene in self.scenes for part in rng.choice(scene)]
        chosen: Chosen = {}
        for slot in _slots(parts):
            chosen[slot] = rng.choice(self.choices(slot, chosen))
        return "".join(chosen.get(part, part) for part in parts)

    def choices(self, slot: str, chosen: Chosen) -> Sequence[str]:
        """List the words that may fill a slot, given what was chosen before."""
        return self.words[slot][chosen.get(_parent(slot), "")]

    def enumerate(self) -> Iterator[tuple[str, float]]:
        """Tell every story with its log-probability (for small languages only)."""
        for plot in product(*self.scenes):
            parts = list(chain(*plot))
            for chosen in self._castings(_slots(parts), {}):
                text = "".join(chosen.get(part, part) for part in parts)
                yield text, self._log_prob(chosen)

    def _castings(self, slots: list[str], chosen: Chosen) -> Iterator[Chosen]:
        """Fill the slots in every way."""
        if not slots:
            yield chosen
            return
        for word in self.choices(slots[0], chosen):
            yield from self._castings(slots[1:], chosen | {slots[0]: word})

    def _log_prob(self, chosen: Chosen) -> float:
        """Add up the choices: a template for each scene, then a word for each slot."""
        words = (self.choices(slot, chosen) for slot in chosen)
        return -sum(log(len(choices)) for choices in chain(self.scenes, words))

    def log_prob(self, text: str) -> float:
        """Return the exact log-probability in nats; -inf if the text is no story."""
        return self.parse(text).log_prob

    def nats(self, text: str) -> float:
        """Return the surprise of a text of whole stories: the sum of their -log_prob.

        Raises ValueError if a line is not a story.
        """
        parses = [self.parse(line) for line in text.splitlines(keepends=True)]
        for number, parse in enumerate(parses, start=1):
            if not parse.valid:
                raise ValueError(f"line {number} is {parse}; give whole stories only")
        return -sum(parse.log_prob for parse in parses)

    def parse(self, text: str) -> Parse:
        """Say whether a text is a story, and if not, where it first breaks."""
        position, chosen = 0, {}
        for scene in self.scenes:
            tries = [self._follow(parts, text, position, chosen) for parts in scene]
            # At most one template can be read to its end: the others stop before it.
            position, chosen, missing = max(tries, key=lambda attempt: attempt[0])
            if missing:
                expected = chain(*(m for p, _, m in tries if p == position))
                return Parse(text, position, tuple(dict.fromkeys(expected))[:5], -inf)
        whole = position == len(text)
        return Parse(text, position, (), self._log_prob(chosen) if whole else -inf)

    def _follow(
        self, parts: list[str], text: str, position: int, chosen: Chosen
    ) -> tuple[int, Chosen, list[str]]:
        """Read along a template: where it stops, what it chose, what is missing."""
        chosen = dict(chosen)
        for part in parts:
            new = part in self.words and part not in chosen
            options = self.choices(part, chosen) if new else [chosen.get(part, part)]
            found = next((o for o in options if text.startswith(o, position)), None)
            if found is None:
                starts = {o[:n] for o in options for n in range(len(o))}
                best = max((s for s in starts if text.startswith(s, position)), key=len)
                missing = [o[len(best) :] for o in options if o.startswith(best)]
                return position + len(best), chosen, missing
            if new:
                chosen[part] = found
            position += len(found)
        return position, chosen, []

    def entropy(self) -> Entropy:
        """Measure the language exactly, by adding up the entropy of every choice.

        Source: the chain rule of entropy, H(X, Y) = H(X) + H(Y | X).
        """
        plots = [_slots(chain(*plot)) for plot in product(*self.scenes)]
        lists = {slot: by_word.values() for slot, by_word in self.words.items()}
        surprise = {s: fmean(log(len(c)) for c in lists[s]) for s in lists}
        nats = log(len(plots)) + fmean(sum(surprise[s] for s in plot) for plot in plots)
        length = {s: fmean(fmean(map(len, c)) for c in lists[s]) for s in lists}
        characters = sum(
            fmean(sum(length.get(part, len(part)) for part in parts) for parts in scene)
            for scene in self.scenes
        )
        return Entropy(nats, characters)

    def count(self) -> int:
        """Return how many different stories there are."""
        plots = (_slots(chain(*plot)) for plot in product(*self.scenes))
        return sum(prod(self._ways(slots)) for slots in plots)

    def _ways(self, slots: list[str]) -> Iterator[int]:
        """Count the ways to fill each slot together with those that depend on it."""
        for slot in slots:
            if not _parent(slot):
                columns = [self.words[s] for s in slots if _parent(s) == slot]
                words = self.words[slot][""]
                yield sum(prod(len(c[word]) for c in columns) for word in words)

    def vocabulary(self) -> set[str]:
        """Return the words of all stories, as the tables spell them."""
        plain = set(chain(*chain(*self.scenes))) - self.words.keys()
        lists = chain(*(by_word.values() for by_word in self.words.values()))
        return set(re.findall(r"[\w'-]+", " ".join(chain(plain, *lists))))


def _parts(template: str) -> list[str]:
    """Split "A {pet}." into "A ", "{pet}" and "."."""
    return [part for part in re.split(r"(\{.*?\})", template) if part]


def _slots(parts: Iterable[str]) -> list[str]:
    """List the slots among the parts, each of them once."""
    return [part for part in dict.fromkeys(parts) if part.startswith("{")]


def _parent(slot: str) -> str:
    """Return what a slot depends on: "{pet}" for "{pet.says}", and "" for "{pet}"."""
    return slot.partition(".")[0] + "}" if "." in slot else ""


def _check(language: Language) -> None:
    """Raise ValueError unless all slots can be filled and no text told in two ways."""
    words = language.words
    if not language.scenes or not all(language.scenes):
        raise ValueError("no template: give one scene or more, with a template or more")
    for slot, lists in words.items():
        wanted = words.get(_parent(slot), {}).get("", ()) if _parent(slot) else ("",)
        if set(lists) != set(wanted) or not all(lists.values()):
            each = f" for each of {', '.join(wanted)}" if _parent(slot) else ""
            raise ValueError(f"{slot} has {lists}: expected a list of words{each}")
        for choices in lists.values():
            _check_differ([[word] for word in choices])
    sure = {""}  # the slots that every telling has filled so far
    for scene in language.scenes:
        for slots in map(_slots, scene):
            for at, slot in enumerate(slots):
                parent = _parent(slot)
                if slot not in words:
                    raise ValueError(f"{slot} has no words: use {', '.join(words)}")
                if parent not in sure.union(slots[:at]):
                    raise ValueError(f"{slot} comes too early: put {parent} before it")
        _check_differ(scene)
        sure |= set.intersection(*map(set, scene))


def _check_differ(choices: Sequence[list[str]]) -> None:
    """Raise ValueError unless plain text tells any two choices apart."""
    for one, other in combinations(choices, 2):
        pairs = zip_longest(one, other, fillvalue="")
        a, b = next((pair for pair in pairs if pair[0] != pair[1]), ("", ""))
        if _slots([a, b]) or a.startswith(b) or b.startswith(a):
            raise ValueError(
                f"{''.join(one)!r} and {''.join(other)!r} begin alike: let plain text "
                "tell them apart, or one story might be told in two ways"
            )
