"""Which documents are taken for the same, against a comparison of each with each."""

import random
from itertools import combinations, count, islice

import networkx
import pytest
from helpers import ROOT  # noqa: F401 (sets the profile of hypothesis)
from hypothesis import given
from hypothesis import strategies as st

from llmkit.corpus import (
    Pair,
    Report,
    deduplicate,
    deduplicated,
    duplicate_groups,
    jaccard,
    letter_shingles,
    near_duplicates,
    shingles,
)
from llmkit.corpus.duplicates import HASHES, bands, fingerprint, found, normalised

SETS = st.sets(st.integers(0, 9))
TEXTS = st.text(st.sampled_from("ab \n"), max_size=30)


def random_words(rng, n):
    return ["".join(rng.choices("abcdefgh", k=4)) for _ in range(n)]


def planted(originals=40, seed=0):
    """Return documents of which many are others with some of the words changed."""
    rng = random.Random(seed)
    documents = []
    for _ in range(originals):
        words = random_words(rng, rng.randint(5, 80))
        documents.append(" ".join(words))
        for changes in rng.sample(range(6), rng.randint(0, 3)):
            copy = list(words)
            for _ in range(changes):
                copy[rng.randrange(len(copy))] = "changed"
            documents.append(" ".join(copy))
    rng.shuffle(documents)
    return documents


def brute_force(documents, threshold, shingles=shingles):
    """Compare every document with every other; leave exact copies out."""
    sets = [shingles(text) for text in documents]
    prints = [fingerprint(text) for text in documents]
    places = [i for i, print_ in enumerate(prints) if prints.index(print_) == i]
    pairs = ((i, j, jaccard(sets[i], sets[j])) for i, j in combinations(places, 2))
    return {Pair(*pair) for pair in pairs if pair[2] >= threshold}


# --- the measure -------------------------------------------------------------------


@given(SETS, SETS)
def test_jaccard_is_the_share_that_both_have(a, b):
    either = [x for x in range(10) if x in a or x in b]
    both = [x for x in either if x in a and x in b]
    assert jaccard(a, b) == (len(both) / len(either) if either else 1)
    assert jaccard(a, b) == jaccard(b, a)
    assert jaccard(a, a) == 1


@given(TEXTS, st.integers(1, 5))
def test_shingles_are_the_runs_of_words(text, n):
    words = text.lower().split()
    runs = {" ".join(words[i : i + n]) for i in range(len(words) - n + 1)}
    assert shingles(text, n) == (runs or ({" ".join(words)} if words else set()))


@given(TEXTS, st.integers(1, 5))
def test_letter_shingles_are_the_runs_of_characters(text, n):
    line = " ".join(text.split())
    runs = {line[i : i + n] for i in range(len(line)) if len(line[i : i + n]) == n}
    assert letter_shingles(text, n) == (runs or ({line} if line else set()))


@pytest.mark.parametrize("shingles", [shingles, letter_shingles])
def test_a_shingle_of_nothing_is_refused(shingles):
    with pytest.raises(ValueError, match="n is 0: expected a length of shingles of 1"):
        shingles("a text", 0)


def test_small_letters_and_spaces_make_no_difference():
    assert normalised(" Straße\n\tNR. 5 ") == "strasse nr. 5"
    assert fingerprint("A\u00a0cat") == fingerprint("a  CAT\n")
    assert fingerprint("a cat") != fingerprint("acat")
    assert len(fingerprint("half a pair: \ud83d")) == 16


@pytest.mark.parametrize("percent", range(1, 101))
def test_bands_find_a_pair_at_the_threshold_almost_surely(percent):
    b, r = bands(percent / 100)
    assert b * r <= HASHES
    assert b >= 2
    if r > 1:
        assert found(percent / 100, b, r) >= 0.999
    if r < HASHES // 2:  # and no wider band would
        assert found(percent / 100, HASHES // (r + 1), r + 1) < 0.999


def test_the_probability_to_be_found_is_what_chance_says():
    rng, trials = random.Random(0), 20_000
    hits = sum(
        any(all(rng.random() < 0.5 for _ in range(3)) for _ in range(4))
        for _ in range(trials)
    )
    assert found(0.5, b=4, r=3) == pytest.approx(hits / trials, abs=0.015)


# --- near duplicates ---------------------------------------------------------------


@pytest.mark.parametrize("threshold", [0.5, 0.8])
@pytest.mark.parametrize("seed", range(3))
def test_planted_pairs_are_those_of_brute_force(threshold, seed):
    documents = planted(seed=seed)
    expected = brute_force(documents, threshold)
    assert len(expected) > 5
    named = set(near_duplicates(documents, threshold, seed=seed))
    near = {pair for pair in named if pair.similarity < 1}
    assert near == {pair for pair in expected if pair.similarity < 1}


@given(st.lists(TEXTS, max_size=12), st.floats(0.05, 1))
def test_every_pair_is_a_pair(documents, threshold):
    pairs = list(near_duplicates(documents, threshold))
    for first, second, similarity in pairs:
        assert first < second
        one, other = documents[first], documents[second]
        assert similarity == jaccard(shingles(one), shingles(other)) >= threshold
    assert [pair.second for pair in pairs] == sorted(pair.second for pair in pairs)
    assert len(set(pairs)) == len(pairs)


def test_letters_find_what_words_do_not():
    documents = ["colourful neighbours", "colourful neighbors"]
    assert list(near_duplicates(documents, 0.5)) == []
    (pair,) = near_duplicates(documents, 0.5, shingles=letter_shingles)
    assert pair == (0, 1, jaccard(*map(letter_shingles, documents)))


def test_the_same_seed_finds_the_same():
    documents = planted(20)
    one, other = (list(near_duplicates(documents, 0.1, seed=3)) for _ in range(2))
    assert one == other


def test_a_copy_is_paired_with_the_first_alone():
    documents = ["a cat sat", "A cat sat", "a dog", "a  cat sat"]
    assert list(near_duplicates(documents)) == [Pair(0, 1, 1.0), Pair(0, 3, 1.0)]


@given(st.lists(st.tuples(st.integers(0, 15), st.integers(0, 15)), max_size=20))
def test_groups_are_the_connected_parts_of_the_graph(edges):
    pairs = [Pair(*sorted(edge), 0.9) for edge in edges]
    graph = networkx.Graph(edges)
    expected = sorted(map(sorted, networkx.connected_components(graph)))
    assert duplicate_groups(pairs) == expected


@pytest.mark.parametrize("threshold", [0, -1, 1.01, float("nan")])
@pytest.mark.parametrize("search", [near_duplicates, deduplicated])
def test_a_threshold_that_means_nothing_is_refused(search, threshold):
    with pytest.raises(ValueError, match="expected a similarity above 0 and at most 1"):
        list(search(["a"], threshold))


# --- deduplicate -------------------------------------------------------------------


def greedy(documents, threshold):
    """Keep each document that is near none kept before: by brute force."""
    kept, prints = [], set()
    for text in documents:
        near = any(jaccard(shingles(text), shingles(one)) >= threshold for one in kept)
        if not near and fingerprint(text) not in prints:
            kept.append(text)
        prints.add(fingerprint(text))
    return kept


@pytest.mark.parametrize("threshold", [0.3, 0.8, 1.0])
def test_the_first_of_each_group_is_kept(threshold):
    documents = planted(seed=7)
    documents += [text.upper() for text in documents[:9]]
    kept, report = deduplicate(documents, threshold)
    assert kept == greedy(documents, threshold)
    assert len(kept) < len(documents) - 9
    assert report.documents_left == len(kept)
    assert report.characters_left == sum(map(len, kept))
    assert report.step("copies").removed >= 9


@given(st.lists(TEXTS, max_size=12))
def test_without_a_threshold_only_copies_go(documents):
    kept, report = deduplicate(documents, threshold=None)
    prints = list(map(fingerprint, documents))
    first = [prints.index(each) == place for place, each in enumerate(prints)]
    assert kept == [text for text, is_first in zip(documents, first) if is_first]
    assert list(report.steps) == ["copies"]
    assert report.characters == sum(map(len, documents))
    assert report.characters_left == sum(map(len, kept))


def test_the_report_shows_what_was_dropped_and_for_what():
    documents = ["the cat sat on the mat", "The cat sat on the mat today"]
    _, report = deduplicate(documents, threshold=0.5)
    assert report.step("near copies").examples == [
        ("The cat sat on the mat today", "0.80 like: the cat sat on the mat")
    ]


def test_a_stream_without_end_is_deduplicated_as_it_comes():
    endless = (f"document number {i // 2}" for i in count())
    report = Report()
    kept = list(islice(deduplicated(endless, None, report=report), 3))
    assert kept == [f"document number {i}" for i in range(3)]
    assert report.step("copies").removed == 2


@pytest.mark.parametrize("search", [near_duplicates, deduplicated])
def test_one_text_is_refused_in_words(search):
    with pytest.raises(ValueError, match="one text, 'a cat': expected several"):
        list(search("a cat"))


@pytest.mark.slow
def test_all_of_python_docs_against_brute_force():
    from llmkit.corpus import load

    documents = load("python-docs", size=200_000).documents
    expected = brute_force(documents, 0.7)
    near = {pair for pair in near_duplicates(documents, 0.7) if pair.similarity < 1}
    assert near <= expected
    missed = {pair for pair in expected - near if pair.similarity < 1}
    assert len(missed) <= 0.01 * len(expected)
