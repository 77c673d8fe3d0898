"""Check the labelled reviews and the data card that describes them."""

import json
import re
from collections import Counter
from itertools import combinations
from pathlib import Path
from statistics import mean

import pytest

DATA = Path(__file__).resolve().parent.parent / "data"
FIELDS = ["id", "text", "label", "domain", "tags", "split"]
LABELS = ("positive", "negative")
SHARES = {"train": 0.63, "validation": 0.14, "test": 0.23}
TAGS = ["negation", "contrast", "irony", "mixed", "comparative", "understatement"]


@pytest.fixture(scope="module")
def reviews() -> list[dict]:
    """Read every review of the file."""
    text = (DATA / "reviews.jsonl").read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()]


@pytest.fixture(scope="module")
def card() -> str:
    """Read the data card."""
    return (DATA / "README.md").read_text(encoding="utf-8")


def words(text: str) -> list[str]:
    """Split a text into lower-case words without punctuation.

    >>> words("Don't stop, please.")
    ["don't", 'stop', 'please']
    """
    return re.findall(r"[a-z0-9']+", text.lower())


def shingles(text: str) -> set[tuple[str, ...]]:
    """Collect the three-word sequences of a text; a shorter text is one sequence."""
    w = words(text)
    return set(zip(w, w[1:], w[2:], strict=False)) or {tuple(w)}


def jaccard(a: set, b: set) -> float:
    """Divide what two sets share by what they hold together."""
    shared = len(a & b)
    return shared / (len(a) + len(b) - shared)


def hard_share(rows: list[dict]) -> float:
    """Compute the share of reviews that carry a tag."""
    return mean(bool(row["tags"]) for row in rows)


def counts(rows: list[dict]) -> list[int]:
    """Count reviews, positive ones, negative ones and hard ones."""
    label = Counter(row["label"] for row in rows)
    hard = sum(bool(row["tags"]) for row in rows)
    return [len(rows), label["positive"], label["negative"], hard]


def table(card: str, name: str) -> dict[str, list[int]]:
    """Read the table of the card whose first column is called `name`."""
    body = card.split(f"\n| {name} | reviews |")[1].split("\n\n")[0]
    rows = [line.strip("| ").split(" | ") for line in body.splitlines()[2:]]
    return {row[0]: [int(cell) for cell in row[1:]] for row in rows}


def test_schema(reviews):
    for number, row in enumerate(reviews, start=1):
        assert list(row) == FIELDS, row
        assert row["id"] == f"r{number:04d}"
        assert row["label"] in LABELS, row
        assert row["split"] in SHARES, row
        assert row["domain"] == row["domain"].strip().lower() != "", row
        assert row["tags"] == [tag for tag in TAGS if tag in row["tags"]], row


def test_texts_are_clean_and_short(reviews):
    for row in reviews:
        text = row["text"]
        assert text == " ".join(text.split()), row
        assert text.isprintable(), row  # no mark that can't be seen
        assert not set(text) & set("<>@{}\\") and "http" not in text, row
        assert 3 <= len(text.split()) <= 110, row


def test_lengths_vary_but_do_not_give_the_label_away(reviews):
    lengths = {
        label: [len(row["text"].split()) for row in reviews if row["label"] == label]
        for label in LABELS
    }
    for values in lengths.values():
        assert min(values) <= 5 and max(values) >= 50
    ratio = mean(lengths["positive"]) / mean(lengths["negative"])
    assert 0.85 < ratio < 1.18


def test_there_are_enough_reviews_domains_and_tags(reviews):
    assert len(reviews) >= 1200
    domains = Counter(row["domain"] for row in reviews)
    assert len(domains) >= 10
    assert min(domains.values()) >= 0.7 * len(reviews) / len(domains)
    tagged = {(tag, row["label"]) for row in reviews for tag in row["tags"]}
    assert tagged == {(tag, label) for tag in TAGS for label in LABELS}


def test_labels_are_balanced_everywhere(reviews):
    groups = [[row for row in reviews if row["tags"]], reviews]
    for key in ("split", "domain"):
        for value in {row[key] for row in reviews}:
            groups.append([row for row in reviews if row[key] == value])
    for group in groups:
        positive = mean(row["label"] == "positive" for row in group)
        assert abs(positive - 0.5) <= 0.05


@pytest.mark.parametrize("split", SHARES)
def test_splits_are_alike(reviews, split):
    rows = [row for row in reviews if row["split"] == split]
    assert abs(len(rows) / len(reviews) - SHARES[split]) < 0.02
    everywhere = {(row["domain"], row["label"]) for row in reviews}
    assert {(row["domain"], row["label"]) for row in rows} == everywhere
    assert {tag for row in rows for tag in row["tags"]} == set(TAGS)
    assert 0.25 <= hard_share(rows) <= 0.35


def test_share_of_hard_reviews(reviews):
    assert 0.25 <= hard_share(reviews) <= 0.35
    for label in LABELS:
        rows = [row for row in reviews if row["label"] == label]
        assert 0.25 <= hard_share(rows) <= 0.35


def test_texts_are_unique(reviews):
    seen = Counter(" ".join(words(row["text"])) for row in reviews)
    assert [text for text, times in seen.items() if times > 1] == []


@pytest.mark.slow
def test_no_near_duplicates_within_or_across_splits(reviews):
    sets = [(row["id"], row["split"], shingles(row["text"])) for row in reviews]
    close = [
        (a[:2], b[:2])
        for a, b in combinations(sets, 2)
        if a[2] & b[2] and jaccard(a[2], b[2]) >= 0.5
    ]
    assert close == []


def test_near_duplicates_would_be_found():
    a = shingles("The soup was hot and the bread was fresh.")
    assert jaccard(a, shingles("The soup was hot and the bread was stale.")) > 0.5
    assert jaccard(a, shingles("Cold soup, old bread, rude waiter.")) == 0


@pytest.mark.parametrize("key", ["split", "domain"])
def test_card_counts_equal_the_file(reviews, card, key):
    expected = {"all": counts(reviews)}
    for value in {row[key] for row in reviews}:
        expected[value] = counts([row for row in reviews if row[key] == value])
    assert table(card, key) == expected


def test_card_counts_of_tags_equal_the_file(reviews, card):
    expected = {
        tag: counts([row for row in reviews if tag in row["tags"]])[:3] for tag in TAGS
    }
    assert table(card, "tag") == expected


def test_card_says_what_the_texts_are(card):
    plain = " ".join(card.split())
    assert "composed for this course and collected from nobody" in plain
    assert "License: MIT" in plain
    for name in [*FIELDS, "stories", "python-docs"]:
        assert f"`{name}`" in plain
