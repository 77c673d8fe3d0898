"""The translation tasks: right answers, and no answer on both sides."""

import re
from datetime import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmkit.pairs import dates, reversals, sortings

TASKS = (reversals, sortings, dates)
every_task = pytest.mark.parametrize("task", TASKS)
# strptime knows all the wordings but the ordinal; CI speaks English, as the task does
WORDINGS = ("%d %B %Y", "%B %d, %Y", "%A, %d %B %Y", "%a %b %d %Y", "%d-%b-%Y")


@given(st.integers(0, 99))
def test_words_come_back_to_front_and_in_order(seed):
    assert all(word[::-1] == back for word, back in reversals(20, seed))
    assert all(sorted(word) == list(order) for word, order in sortings(20, seed))


@given(st.integers(0, 99), st.booleans())
def test_python_reads_the_same_dates(seed, unseen):
    for words, iso in dates(40, seed, unseen):
        plain = re.sub(r"^the (\d+)[a-z]+ of ", r"\1 ", words)
        read = set()
        for wording in WORDINGS:
            try:
                read.add(datetime.strptime(plain, wording).date().isoformat())
            except ValueError:
                continue
        assert read == {iso}, words


def test_ordinals_are_english():
    told = dict(pair[::-1] for pair in dates(20_000) if pair[0].startswith("the "))
    ends = {iso[-2:]: words.split()[1] for iso, words in told.items()}
    assert len(ends) == 31
    odd = {"01": "1st", "02": "2nd", "03": "3rd", "11": "11th", "12": "12th"}
    odd |= {"13": "13th", "21": "21st", "22": "22nd", "23": "23rd", "31": "31st"}
    for day, words in ends.items():
        assert words == odd.get(day, f"{int(day)}th")


@every_task
def test_no_answer_is_on_both_sides(task):
    seen = {answer for _, answer in task(5_000, seed=1)}
    unseen = {answer for _, answer in task(1_000, seed=2, unseen=True)}
    assert len(seen) > 3_000 and len(unseen) > 800 and not seen & unseen


@every_task
def test_the_same_seed_gives_the_same_pairs(task):
    assert list(task(50, seed=3)) == list(task(50, seed=3)) != list(task(50, seed=4))
    assert list(task(0)) == []
    with pytest.raises(
        ValueError, match="n is -1: expected a number of pairs, 0 or mor"
    ):
        task(-1)
