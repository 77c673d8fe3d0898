"""Test the story language: exact probabilities, and a parser that misses nothing."""

import math
import random
import re
import time
from collections.abc import Iterator
from itertools import product, takewhile
from statistics import fmean, stdev

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmkit.stories import STORIES, Language, stories

PET_WORDS = {
    "name": ["Ada", "Bo"],
    "mood": ["shy", "sad"],
    "pet": ["cat", "cow", "dog"],
    "pet.says": {
        "cat": ["Meow", "Purr"],
        "cow": ["Moo"],
        "dog": ["Woof", "Yip", "Grr"],
    },
}
PET_SCENES = [
    ["A {pet}.", "Once {name} had a {pet}.", "The {pet} is {mood}."],
    ["It is {mood}.", "It says {pet.says} to {name}, the {pet}."],
]


@pytest.fixture(scope="module")
def told() -> list[str]:
    return list(stories(20_000, seed=1))


# Small languages, of which every story can be listed


@st.composite
def word_lists(draw) -> list[str]:
    """Draw a list of words in which no word begins another."""
    words: list[str] = []
    for word in draw(st.lists(st.text("xy", min_size=1, max_size=3), min_size=1)):
        if not any(w.startswith(word) or word.startswith(w) for w in words):
            words.append(word)
    return words[:3]


@st.composite
def languages(draw) -> Language:
    words = {"a": draw(word_lists()), "b": draw(word_lists())}
    words["a.c"] = {word: draw(word_lists()) for word in words["a"]}
    text = st.lists(st.sampled_from(["{a}", "{b}", "{a}{a.c}", "x", " "]), max_size=3)
    scenes = []
    for marks in draw(
        st.lists(st.sampled_from(["P", "PQ", "PQR"]), min_size=1, max_size=3)
    ):
        start = "".join(draw(text))  # the templates of a scene may begin alike ...
        scenes.append([start + mark + "".join(draw(text)) for mark in marks])
    return Language(scenes, words)


def edits(text: str, alphabet: str) -> Iterator[str]:
    """Make every text that differs from a text by one character."""
    for at in range(len(text) + 1):
        for new in ["", *alphabet]:
            yield text[:at] + new + text[at + 1 :]  # replaced, or left out
            yield text[:at] + new + text[at:]  # put in


@pytest.mark.slow
@settings(deadline=None, max_examples=50)
@given(languages())
def test_a_small_language_measures_itself_exactly(language):
    told = list(language.enumerate())
    probs = [math.exp(log_prob) for _, log_prob in told]
    assert math.fsum(probs) == pytest.approx(1)
    assert len({text for text, _ in told}) == len(told) == language.count()
    entropy = language.entropy()
    nats = -math.fsum(p * log_prob for p, (_, log_prob) in zip(probs, told))
    characters = math.fsum(p * len(text) for p, (text, _) in zip(probs, told))
    assert entropy.nats_per_story == pytest.approx(nats)
    assert entropy.characters_per_story == pytest.approx(characters)
    assert entropy.nats_per_character == pytest.approx(nats / characters)


@pytest.mark.slow
@settings(deadline=None, max_examples=50)
@given(languages(), st.randoms(use_true_random=False))
def test_the_parser_accepts_exactly_the_stories_of_a_small_language(language, rng):
    told = dict(language.enumerate())
    text = language.sample(rng)
    assert text in told
    for edited in rng.sample(list(edits(text, "xP ")), 20):
        parse = language.parse(edited)
        assert parse.log_prob == pytest.approx(told.get(edited, -math.inf))
        check_place(edited, parse, list(told))
    for story in rng.sample(list(told), min(20, len(told))):
        assert language.log_prob(story) == pytest.approx(told[story])


def agreement(text: str, story: str) -> int:
    """Count the characters that two texts have in common from their start."""
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(text, story)))


def check_place(text, parse, told):
    """Check where a parse breaks, and what it expects there, against all stories."""
    assert parse.position == max(agreement(text, story) for story in told)
    read = text[: parse.position]
    assert parse.valid == (text in told)
    assert all(any(t.startswith(read + e) for t in told) for e in parse.expected)
    assert bool(parse.expected) == (read not in told)
    assert len(parse.expected) <= 5


@pytest.mark.slow
def test_every_edit_of_every_pet_story_is_judged_rightly():
    language = Language(PET_SCENES, PET_WORDS)
    told = dict(language.enumerate())
    # By hand, plot by plot: "A {pet}. It is {mood}." can be told in 3 * 2 ways, ...
    assert len(told) == language.count() == 6 + 12 + 12 + 12 + 6 + 24
    for text in told:
        for edited in edits(text, "o. "):
            assert language.parse(edited).valid == (edited in told)


# The language of the course


@pytest.mark.slow
def test_entropy_agrees_with_many_stories(told):
    entropy = STORIES.entropy()
    for exact, seen in [
        (entropy.nats_per_story, [-STORIES.log_prob(text) for text in told]),
        (entropy.characters_per_story, [len(text) for text in told]),
    ]:
        error = stdev(seen) / math.sqrt(len(seen))
        assert error < 1e-3 * exact
        assert abs(fmean(seen) - exact) < 3 * error


def recognizers(language: Language) -> list[tuple[re.Pattern, list[str]]]:
    """Write each plot as a regular expression: another way to recognize stories."""
    found = []
    for plot in product(*language.scenes):
        slots: list[str] = []
        pattern = ""
        for part in (part for parts in plot for part in parts):
            if part in slots:
                pattern += rf"(?P=s{slots.index(part)})"
            elif part in language.words:
                words = [w for ws in language.words[part].values() for w in ws]
                pattern += rf"(?P<s{len(slots)}>{'|'.join(map(re.escape, set(words)))})"
                slots.append(part)
            else:
                pattern += re.escape(part)
        found.append((re.compile(pattern), slots))
    return found


def is_story(text, language, recognizers) -> bool:
    for pattern, slots in recognizers:
        if match := pattern.fullmatch(text):
            chosen = dict(zip(slots, match.groups()))
            return all(
                word in language.choices(s, chosen) for s, word in chosen.items()
            )
    return False


@pytest.mark.slow
def test_the_parser_agrees_with_regular_expressions(told):
    patterns = recognizers(STORIES)
    assert all(is_story(text, STORIES, patterns) for text in told[:100])
    rng = random.Random(0)
    edited = {
        e for text in told[:3] for e in rng.sample(list(edits(text, "aes .")), 200)
    }
    valid = [text for text in edited if STORIES.parse(text).valid]
    assert valid == [text for text in edited if is_story(text, STORIES, patterns)]
    assert len(valid) < 0.1 * len(edited)


@pytest.mark.slow
def test_the_stories_are_many_clean_and_of_a_good_length(told):
    assert STORIES.count() > 10**9
    assert len(set(told)) == len(told)
    assert all(text.isascii() and text.endswith("\n") for text in told)
    assert all(text.count("\n") == 1 and "  " not in text for text in told)
    lengths = sorted(map(len, told))
    assert lengths[len(told) // 20] > 130 and lengths[-len(told) // 20] < 220
    assert 0.2 < STORIES.entropy().nats_per_character < 0.5


def test_the_vocabulary_is_that_of_the_stories(told):
    vocabulary = STORIES.vocabulary()
    assert len(vocabulary) >= 300
    assert vocabulary == set(re.findall(r"[\w'-]+", "".join(told)))


@pytest.mark.slow
def test_the_english_is_right(told):
    text = "".join(told)
    assert not re.search(r"\b[Aa] [aeiou]", text)
    assert not re.search(r"\b[Aa]n [^aeiou]", text)
    assert not re.search(r"[.!] [a-z]", text)  # a sentence begins with a capital
    assert not re.search(r"(\b\w+\b) \1\b", text)  # and no word comes twice in a row


def test_the_hero_the_tool_and_the_friend_stay_the_same(told):
    heroes, tools, friends = (
        STORIES.words[slot][""] for slot in ("{hero}", "{tool}", "{friend}")
    )
    pronouns = {"Ada": {"she", "her"}, "Abe": {"he", "him"}}
    for text in told[:2000]:
        words = re.findall(r"\w+", text)
        (hero,) = set(words) & set(heroes)
        like = "Ada" if heroes.index(hero) < heroes.index("Abe") else "Abe"
        assert set(words) & {"she", "her", "he", "him"} <= pronouns[like]
        assert any(words.count(tool) >= 2 for tool in tools)
        assert any(words.count(friend) == 2 for friend in friends)


def test_a_seed_makes_the_stories():
    assert list(stories(20, seed=3)) == list(stories(20, seed=3))
    assert list(stories(20, seed=3)) != list(stories(20, seed=4))
    endless = stories(seed=3)
    assert [next(endless) for _ in range(20)] == list(stories(20, seed=3))
    assert list(stories(0)) == []
    with pytest.raises(ValueError, match="n is -1: expected a number of stories"):
        stories(-1)


STORY = (
    "Once Ada and a shy otter sang in a mill. For a wig she bought a rusty key. "
    "Oh no, a locked door! But Ada opened it with the key. "
    "So Ada fed the otter a hot pie.\n"
)


def test_a_story_is_the_sum_of_its_choices():
    parse = STORIES.parse(STORY)
    assert parse.valid and parse.position == len(STORY) and parse.expected == ()
    sizes = dict(
        scenes=2 * 3 * 4 * 3 * 3, hero=40, temper=32, friend=32, hid=16, place=16
    )
    sizes |= dict(
        price=16, look=32, tool=24, trouble=3, deed=2, gave=16, taste=32, food=24
    )
    assert parse.log_prob == pytest.approx(-math.log(math.prod(sizes.values())))
    assert str(parse) == f"a story of {-parse.log_prob:.1f} nats"


@pytest.mark.parametrize(
    ("right", "wrong", "at", "expected"),
    [
        ("For a wig she", "For a wig he", "he", "she"),  # the hero's pronoun
        ("But Ada", "But Abe", "be", "da"),  # the hero's name
        ("a locked door", "a dark cave", "dark", "locked door"),  # the tool's trouble
        ("opened", "climbed", "climbed", "opened it"),  # the tool's deed
        ("with the key", "with the rope", "rope", "key"),  # the tool again
        ("the otter", "the owl", "wl", "tter"),  # the friend comes back
        ("a hot pie.\n", "a hot pie.", "", "\n"),  # only the end is missing
        ("a hot pie.\n", "a hot pie.\nO", "O", None),  # a story, and more
    ],
)
def test_a_broken_story_is_broken_at_the_right_place(right, wrong, at, expected):
    text = STORY.replace(right, wrong)
    parse = STORIES.parse(text)
    assert not parse.valid and parse.log_prob == -math.inf == STORIES.log_prob(text)
    start = text.index(wrong) + wrong.index(at) if at else len(text)
    assert parse.position == start
    if expected is None:
        assert parse.expected == ()
        assert str(parse).endswith("expected the end")
    else:
        assert any(e.startswith(expected) for e in parse.expected)
        assert repr(at)[1:-1] in str(parse) and repr(expected)[1:-1] in str(parse)


def test_every_beginning_of_a_story_is_only_incomplete(told):
    assert len(STORIES.parse("One ").expected) == 5  # a few, not all the weathers
    for text in told[:5]:
        for end in range(len(text)):
            parse = STORIES.parse(text[:end])
            assert not parse.valid and parse.position == end and parse.expected
    assert (
        str(STORIES.parse("Once")) == "not a story: the end after 'Once', expected ' '"
    )


def test_the_nats_of_a_text_are_those_of_its_stories(told):
    text = "".join(told[:50])
    assert STORIES.nats(text) == pytest.approx(-sum(map(STORIES.log_prob, told[:50])))
    assert STORIES.nats("") == 0
    with pytest.raises(
        ValueError, match=r"^line 3 is not a story: 'Two.*' after '', expected 'On"
    ):
        STORIES.nats(told[0] + told[1] + "Two\n")
    with pytest.raises(
        ValueError, match=r"line 50 is not a story: the end .*whole stories"
    ):
        STORIES.nats(text[:-1])


@pytest.mark.parametrize(
    ("scenes", "words", "message"),
    [
        ([], {}, "no template"),
        ([["Hi."], []], {}, "no template"),
        ([["A {pet}."]], {"dog": ["Rex"]}, "{pet} has no words: use {dog}"),
        ([["A {pet}."]], {"pet": []}, "{pet} has .* expected a list of words"),
        ([["A {pet.is}."]], PET_WORDS, "{pet.is} has no words"),
        ([["It says {pet.says}."]], PET_WORDS, "{pet.says} comes too early: put {pet}"),
        (
            [["A {pet}.", "An owl."], ["It says {pet.says}."]],
            PET_WORDS,
            "{pet.says} comes too early",
        ),
        (
            [["A."]],
            {"pet.says": {"cat": ["Meow"]}},
            "{pet.says} has .* expected a list",
        ),
        (
            [["A."]],
            {"pet": ["cat", "cow"], "pet.says": {"cat": ["Meow"]}},
            "{pet.says} has .* expected a list of words for each of cat, cow",
        ),
        ([["A {pet}."]], {"pet": ["car", "carp"]}, "'car' and 'carp' begin alike"),
        ([["A {pet}."]], {"pet": ["cat", "cat"]}, "'cat' and 'cat' begin alike"),
        ([["A cat", "A cat naps"], ["It is shy."]], {}, "begin alike"),
        ([["A {pet}.", "A dog."]], PET_WORDS, "'A {pet}.*' and 'A dog.*' begin alike"),
        ([["{pet}!", "{name}!"]], PET_WORDS, "let plain text tell them apart"),
    ],
)
def test_a_language_that_could_not_be_told_or_read_is_refused(scenes, words, message):
    with pytest.raises(ValueError, match=message.replace("{", r"\{")):
        Language(scenes, words)


def test_telling_and_reading_are_quick(told):
    def best(action) -> float:
        times = []
        for _ in range(3):
            start = time.perf_counter()
            action()
            times.append(time.perf_counter() - start)
        return min(times)

    assert best(lambda: list(stories(500))) < 0.5
    assert best(lambda: STORIES.nats("".join(told[:500]))) < 1  # 500 stories a second
