"""Exercise 04.1: implement one merge step of byte pair encoding."""

import json
import random
from collections import Counter
from collections.abc import Mapping
from itertools import pairwise

import tokenizers

from llmkit.exercises import Exercise, Twin, mistakes

Word = tuple[int, ...]
Step = tuple[tuple[int, int], dict[Word, int]]  # the pair, and the words with it merged


def merge_step(words: Mapping[Word, int], new: int) -> Step:
    """Merge the commonest pair of neighbours into one new token, in every word.

    words: how often each word occurs, by the ids of its tokens. new: the id of the new
    token. Of pairs that are equally common, the one of the lowest ids is merged.

    Returns: the pair, and the words with it merged, from left to right.
    Source: Sennrich et al. 2016, algorithm 1; Lesson 04.

    >>> merge_step({(1, 2, 3): 5, (2, 3): 1}, new=9)
    ((2, 3), {(1, 9): 5, (9,): 1})
    """
    counts: Counter[tuple[int, int]] = Counter()
    for word, count in words.items():
        for pair in pairwise(word):
            counts[pair] += count
    best = min(counts, key=lambda pair: (-counts[pair], pair))
    return best, {merged(word, best, new): count for word, count in words.items()}


def merged(word: Word, pair: tuple[int, int], new: int) -> Word:
    """Put the new token wherever the pair stands, from left to right.

    >>> merged((1, 1, 1, 2), (1, 1), 9)
    (9, 1, 2)
    """
    done, i = [], 0
    while i < len(word):
        here = word[i : i + 2] == pair
        done.append(new if here else word[i])
        i += 2 if here else 1
    return tuple(done)


def by_the_library(words: Mapping[Word, int], new: int) -> Step:
    """Let Hugging Face's `tokenizers` learn one merge, each id written as a letter."""
    letters = {i: chr(0x4E00 + i) for word in words for i in word}
    ids = {letter: i for i, letter in letters.items()}
    spelled = {"".join(map(letters.get, word)): word for word in words}
    tokenizer = tokenizers.Tokenizer(tokenizers.models.BPE())
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=len(letters) + 1, show_progress=False
    )
    texts = (text for text, word in spelled.items() for _ in range(words[word]))
    tokenizer.train_from_iterator(texts, trainer)
    ((left, right),) = json.loads(tokenizer.to_str())["model"]["merges"]
    cut = {text: tokenizer.encode(text).tokens for text in spelled}
    return (ids[left], ids[right]), {
        tuple(ids.get(token, new) for token in cut[text]): words[word]
        for text, word in spelled.items()
    }


def cases(seed: int) -> tuple:
    """Draw words of few ids, of which 12 ends in 2; by turns, what is special.

    Two pairs alone that are equally common; a pair that repeats in one word; a pair of
    equal tokens that overlaps itself; a common word that makes no pair by itself.
    """
    draw = random.Random(seed)
    alphabet = [[1, 2, 12], [2, 3, 32], [1, 11, 21, 4]][seed % 3]
    a, b, c = alphabet[:3]
    if seed % 4 == 0:
        return {(c, b): 2, (a, b): 2}, 300
    if seed % 4 == 3:
        return {(a,): 9, (b, c): draw.randint(2, 4), (c, c, b): 1}, 300
    words = {}
    while len(words) < 5:
        word = tuple(draw.choices(alphabet, k=draw.randint(1, 6)))
        words[word] = draw.randint(1, 4)
    special = (a, b, c, a, b) if seed % 4 == 1 else (a, a, a, b)
    return words | {special: 20}, 300


# The classic mistakes. What a mistake says to the learner is its docstring.


def unweighted(words, new):
    """It looks like each word counts once, however often it occurs: a pair in a word
    that occurs 5 times counts 5.
    """
    return _step(words, new, Counter(p for word in words for p in pairwise(word)))


def first_place_only(words, new):
    """It looks like you merge the first place in a word and stop: the pair may stand
    there again.
    """
    pair = _best(_counts(words))
    done = {}
    for word, count in words.items():
        at = [i for i, found in enumerate(pairwise(word)) if found == pair][:1]
        cut = [(*word[:i], new, *word[i + 2 :]) for i in at] or [word]
        done[cut[0]] = count
    return pair, done


def second_kept(words, new):
    """It looks like the second token of a merged pair stays: after a merge, go on two
    places further, not one.
    """
    pair = _best(_counts(words))

    def cut(word):
        new_word, follows = [], list(pairwise(word))
        for i, token in enumerate(word):
            new_word.append(new if follows[i : i + 1] == [pair] else token)
        return tuple(new_word)

    return pair, {cut(word): count for word, count in words.items()}


def from_the_right(words, new):
    """It looks like you merge from the right: of three equal tokens in a row the first
    two are merged, and the third is left over.
    """
    pair = _best(_counts(words))
    back = pair[::-1]
    return pair, {
        merged(word[::-1], back, new)[::-1]: count for word, count in words.items()
    }


def across_words(words, new):
    """It looks like you count pairs across the border of two words: the last token of
    one and the first of the next are no neighbours. Count inside each word.
    """
    counts = _counts(words)
    for (word, count), after in zip(list(words.items())[:-1], list(words)[1:]):
        counts[word[-1], after[0]] += count
    return _step(words, new, counts)


def first_of_equals(words, new):
    """It looks like you take the first of several pairs that are equally common, as
    `max` and `most_common` do: take the one of the lowest ids, so that everybody who
    trains on this text gets the same tokens.
    """
    counts = _counts(words)
    best = max(counts, key=counts.get)
    return best, {merged(word, best, new): count for word, count in words.items()}


def written_as_text(words, new):
    """It looks like you write the ids as text and use `replace`: then "1 2" is found in
    "11 2" as well. Compare the tokens themselves.
    """
    pair = _best(_counts(words))
    old = " ".join(map(str, pair))
    done = {}
    for word, count in words.items():
        text = " ".join(map(str, word)).replace(old, str(new))
        done[tuple(map(int, text.split()))] = count
    return pair, done


def either_order(words, new):
    """It looks like (a, b) and (b, a) are the same pair to you: "on" and "no" are not
    the same letters to merge.
    """
    counts = Counter()
    for pair, count in _counts(words).items():
        counts[min(pair, pair[::-1])] += count
    pair = _best(counts)
    both = {
        merged(merged(word, pair, new), pair[::-1], new): count
        for word, count in words.items()
    }
    return pair, both


def _counts(words):
    counts = Counter()
    for word, count in words.items():
        for pair in pairwise(word):
            counts[pair] += count
    return counts


def _best(counts):
    return min(counts, key=lambda pair: (-counts[pair], pair))


def _step(words, new, counts):
    best = _best(counts)
    return best, {merged(word, best, new): count for word, count in words.items()}


MERGE = Exercise(
    id="04.1",
    kind="implement",
    title="one merge step",
    minutes=12,
    difficulty=2,
    checker=Twin(trusted=by_the_library, cases=cases),
    hints=(
        "Two passes. Count each pair of neighbours in each word, as often as the word "
        "occurs (`itertools.pairwise` gives the pairs). Then rewrite each word from "
        "left to right, and where the pair stands, put `new` and jump over both.",
        "`best = min(counts, key=lambda pair: (-counts[pair], pair))` takes the "
        "commonest, and of equals the lowest. To rewrite a word: `i = 0`, and while "
        "`i < len(word)`: if `word[i:i + 2] == best`, append `new` and add 2 to i, "
        "else append `word[i]` and add 1.",
    ),
    solution=merge_step,
    why="Training is this step, repeated until the vocabulary is full. The kit does "
    "the same, but keeps the counts, since a merge changes those of neighbours alone.",
    wrong=mistakes(
        unweighted,
        first_place_only,
        second_kept,
        from_the_right,
        across_words,
        first_of_equals,
        written_as_text,
        either_order,
    ),
)
