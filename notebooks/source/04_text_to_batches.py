# ---
# jupyter:
#   jupytext:
#     text_representation: {extension: .py, format_name: percent}
#   kernelspec: {display_name: Python 3, language: python, name: python3}
# ---

# %% [markdown]
# # 04 From text to batches: what the model really eats
#
# A model never reads a text. It reads rows of whole numbers, and whatever
# happened on the way there, it learns as if it were language: broken
# letters, cookie banners, the same page ten times. **A heap of text came in.
# What reaches the model?**
#
# In this lesson we follow it all the way. After it you can
#
# - clean a text, look at what each filter caught, and doubt it;
# - find near copies without comparing everything with everything;
# - show what a leak between training and validation buys, and why it is a lie;
# - build a tokenizer merge by merge, and say who pays for its vocabulary;
# - pack documents without padding, and without a look at the neighbour;
# - read the labels of any objective off one picture.
#
# **Takes** about 70 minutes with the exercises; the code runs in about one
# minute on a 2-core CPU. **Needs** Python, and lesson 01 for masks.

# %% tags=["parameters"]
profile = "cpu"  # "smoke" (seconds), "cpu" (a laptop) or "gpu"
seed = 0

# %%
import math
import random
import textwrap
from collections import Counter
from itertools import accumulate, pairwise

import torch

from llmkit import figures
from llmkit.exercises import (
    band,
    check,
    for_profile,
    hint,
    predict,
    quiz,
    solution,
)
from llmkit.exercises.lesson_04 import SENTENCE, mess, share_of_padding

torch.set_num_threads(1)  # small sums: a second thread only gets in the way
draw_lots = random.Random(seed)

# %% [markdown]
# ## 1. A heap of text
#
# We begin with sound documents, the prose that comes inside Python, and make
# a mess of them on purpose. Since we planted the faults ourselves, we can say
# later what was found and what was not. On the web nobody can.

# %%
from llmkit.corpus import load

size = for_profile(profile, smoke=120_000, cpu=800_000, gpu=2_000_000)
sound = load("python-docs", size=size, seed=seed).documents
came_in, faults = mess(sound, seed)
print(f"{len(came_in):,} documents, {sum(map(len, came_in)):,} characters")

# %%
for fault, times in Counter(faults).most_common():
    first = came_in[faults.index(fault)]
    print(f"{times:>5} {fault or 'sound':>14}: {first[:50]!r}")

# %% [markdown]
# Most kinds you have seen elsewhere. The wrong encoding is also called
# *mojibake*: UTF-8 was read by another table, so that each é became two signs.
# The near copies differ in a word or two from a document that is here as well.
#
# **Write down a guess:** how many of a hundred documents should be left?
#
# ## 2. Repair, then judge
#
# Cleaning is many small steps of two kinds. A **repair** takes a text and
# returns it mended. A **judgement** takes a text and returns the reason to
# throw it away, or nothing. Repairs go first, so that the judges see what was
# meant. Most of the judges here follow a list that is widely used (Rae et al.
# 2021, appendix A.1); two ask whether the text is English at all.

# %%
from llmkit.corpus import JUDGEMENTS, REPAIRS, clean
from llmkit.corpus.judgements import not_english, other_script

judgements = (*JUDGEMENTS, other_script, not_english)


def fate(text):
    """Return the name of the judgement that removes a text, or "kept"."""
    for repair in REPAIRS:
        text = repair(text)
    guilty = (judge.__name__ for judge in judgements if judge(text))
    return next(guilty, "kept")


# %% [markdown]
# That is all of it. The kit's `clean` does the same, and keeps examples of
# what each step caught. **Read them.** A count of what was removed looks the
# same whether the filter was right or wrong.

# %%
kept, report = clean(came_in, REPAIRS, judgements)
fates = [fate(text) for text in came_in]
assert fates.count("kept") == len(kept)
print(report.examples())

# %% [markdown]
# And now the question that only a planted mess can answer: what became of
# each kind?

# %%
became = Counter(zip(faults, fates))
for fault in sorted(set(faults)):
    ends = [(n, end) for (f, end), n in became.items() if f == fault]
    told = ", ".join(f"{n} {end}" for n, end in sorted(ends, reverse=True))
    print(f"{fault or 'sound':>14}: {told}")

# %%
ends = zip(came_in, faults, fates)
wrongly = [t for t, fault, end in ends if (fault, end) == ("", "not_english")]
print(textwrap.shorten(wrongly[0] if wrongly else "none", 200))
lost = 1 - became["", "kept"] / faults.count("")
print(f"\nsound documents that were thrown away: {lost:.1%}")

# %% [markdown]
# Tables, advertising and other languages are gone. The price stands in the
# row "sound": a filter is a small model, and it errs. The one for English
# counts frequent words; an example full of code has few. The one for length
# throws out whole sentences that are merely short. A filter against rough
# language throws out the people whom that language is about (Dodge et al.
# 2021). Nobody notices who does not look.
#
# In the rows "wrong encoding" and "furniture", *kept* means mended. The copies
# wait for section 3. But **kept** in the row "signature" is a miss: no rule
# has ever heard of that toaster. Nobody needs to have. What stands word by
# word in many documents belongs to the place they come from, so count lines:

# %%
from llmkit.corpus.repairs import drop_lines, lines_of_many

often = lines_of_many(kept, least=10)
kept = [drop_lines(text, often) for text in kept]
for line, times in list(often.items())[:3]:
    print(f"{times:>4} × {line.strip()[:60]}")

# %% [markdown]
# ## 3. Copies, and copies that are not quite copies
#
# Equal texts are easy: remember a short fingerprint of each (a hash), and
# throw out what comes again. One changed word, though, and the fingerprint is
# another. So ask how *much* two texts share. Cut each into **shingles**, runs
# of a few words, and compare the sets. Their **Jaccard similarity** is
#
# $$J(A, B) = \frac{|A \cap B|}{|A \cup B|}$$

# %%
from llmkit.corpus import jaccard, shingles

A = shingles("the cat sat on the mat", n=2)
B = shingles("the cat sat on the sofa", n=2)
print("in both:   ", ", ".join(sorted(A & B)))
print("in only one:", ", ".join(sorted(A ^ B)))
J = len(A & B) / len(A | B)
assert jaccard(A, B) == J
print(f"J = {len(A & B)} / {len(A | B)} = {J:.3f}")

# %% [markdown]
# To compare every document with every other would take millions of such
# counts. Here is a game that estimates $J$ from one look at each document
# alone (Broder 1997). Write all six shingles on cards, shuffle them, and
# number them from the top. Each sentence names the **lowest number** among its
# own shingles. *How often do the two name the same?*
#
# Think of the top card. If it is in both sets, both name it. If it is in one
# only, that one names it and the other can't. Every card is equally likely to
# be on top, so
#
# $$P(\min A = \min B) = \frac{|A \cap B|}{|A \cup B|} = J(A, B)$$


# %%
def same_lowest():
    """Shuffle the cards; tell whether both name the same number."""
    cards = draw_lots.sample(sorted(A | B), len(A | B))
    return min(map(cards.index, A)) == min(map(cards.index, B))


rounds = for_profile(profile, smoke=2_000, cpu=20_000, gpu=20_000)
agreed = list(accumulate(same_lowest() for _ in range(rounds)))
minhash_error = abs(agreed[-1] / rounds - J)
print(f"named the same: {agreed[-1] / rounds:.3f}   J: {J:.3f}")

# %%
n = [round(1.3**k) for k in range(40) if 1.3**k <= rounds]
estimates = {"share that agreed": (n, [agreed[i - 1] / i for i in n])}
figures.lines(estimates, "shuffles", "share", level=("J", J), log="x")

# %% [markdown]
# A hash function is such a shuffle: it gives every shingle of the world its
# number. With 128 of them a document becomes 128 lowest numbers, its
# **MinHash**, however long it is, and the share of places where two MinHashes
# agree is near $J$. Documents that agree in a whole run of places are put
# into one drawer, and only those in one drawer are ever compared.

# %%
from llmkit.corpus import deduplicate

texts, copies = deduplicate(kept, threshold=0.8)
print(f"{len(kept) * (len(kept) - 1) // 2:,} pairs not compared one by one\n")
print(copies.examples())
alone, _ = deduplicate(sound, threshold=0.8)
print(f"\ncopies that nobody planted: {len(sound) - len(alone)}")

# %% [markdown]
# Each near copy is shown with the one it resembles. The last line is what the
# sound documents hold by themselves: documentation copies itself, and web
# pages do so far more. Now the picture of all that fell out. How near was
# your guess?

# %%
mended = {repair.__name__ for repair in REPAIRS}  # these remove nothing
steps = report.rows() + copies.rows()[1:]
left = {name: n for name, n, _ in steps if name not in mended}
documents_left = len(texts) / len(came_in)
print(f"{documents_left:.0%} of the documents are left")
figures.sieve(left, "documents", "what fell out")

# %% [markdown]
# ## 4. A leak, and the loss that it buys
#
# Part of the text is held back to judge by. If a validation text stands in
# the training text as well, a model may know it by heart, and its loss is a
# lie. The usual test looks for 13 words in a row (Brown et al. 2020).

# %%
from llmkit.corpus import leaks, split_documents

tenth = len(came_in) // 10
careless = leaks(came_in[tenth:], came_in[:tenth])
train, held_back = split_documents(texts, seed=seed)
careful = leaks(train, held_back)

# %%
print(f"the mess, cut at a tenth: {careless.share:.1%} leak")
print(f"cleaned, then split:      {careful.share:.1%} leak")
leak = careful.found[0] if careful.found else None
print(textwrap.fill(f"such as: {leak.example}" if leak else "none", 79))

# %% [markdown]
# It is less, and it is not nothing (but for the smallest profile). Jaccard
# compares wholes: a short text that is *quoted* in a long one shares little of
# the union. A test for leaks belongs after every split, however well it was
# prepared.
#
# What does a leak buy? We need a model that can learn by heart, and the
# plainest is a table: which character came after the last five? With $c$ for
# counts, $h$ for a history and $h'$ for it without its first character, it
# mixes what followed the long history with what it says of the shorter one.
# Where none is left to shorten, it guesses: 1/256 for whatever comes.
#
# $$P(w \mid h) = \frac{c(hw) + P(w \mid h')}{c(h) + 1}$$


# %%
def count(texts, n=5):
    """Count every run of up to n + 1 characters."""
    runs = Counter()
    for text in texts:
        for k in range(n + 2):
            runs.update(text[i : i + k] for i in range(len(text) - k + 1))
    return runs


def bits(texts, c, n=5):
    """Return the surprise at a character, in bits, on average."""
    total = 0.0
    for text in texts:
        for t, w in enumerate(text):
            p = 1 / 256
            for k in range(min(n, t) + 1):
                h = text[t - k : t]
                p = (c[h + w] + p) / (c[h] + 1)
            total -= math.log2(p)
    return total / sum(map(len, texts))


# %% [markdown]
# It trains on the training text, and then a part of the validation text leaks
# in: none of it, a quarter, a half, all. Beside it we judge a **fresh** text
# that never leaks. **Guess first:** what do the two curves do?

# %%
many = for_profile(profile, smoke=150, cpu=900, gpu=2000)
judged = for_profile(profile, smoke=12, cpu=60, gpu=120)
validation = held_back[:judged]
fresh = held_back[judged : 2 * judged]
c = count(train[:many])

# %%
shares, known, losses = [0, 0.25, 0.5, 1], 0, {"validation": [], "fresh": []}
for share in shares:
    leaking = validation[known : round(share * len(validation))]
    known += len(leaking)
    c.update(count(leaking))
    losses["validation"].append(bits(validation, c))
    losses["fresh"].append(bits(fresh, c))
curves = {name: (shares, loss) for name, loss in losses.items()}
figures.lines(curves, "share of validation that leaked", "bits a character")

# %%
bought, gained = (loss[0] - loss[-1] for loss in losses.values())
print(f"validation says {bought:.2f} bits better, fresh text {gained:.2f}")

# %% [markdown]
# The validation curve is what gets reported. The fresh one is what a user
# gets: next to nothing. **A loss on text that leaked measures
# memory.** Note the order that saved us: remove copies *first*, then split.
# Removing them in each part by itself leaves the twins that stand on both
# sides.
#
# ## 5. Merge by merge
#
# Now the text must become numbers. By characters? There are 150,000 of them.
# By words? There is always one more. By **bytes**: any text is bytes, and
# there are 256.

# %%
for character in "aé猫🐟":
    print(character, *character.encode())

# %% [markdown]
# Only, that makes long rows. So let the text itself say which bytes belong
# together (Sennrich et al. 2016):
#
# 1. cut the text into pieces: a word with the space before it, a run of
#    digits, of marks;
# 2. count the pairs of neighbours inside the pieces;
# 3. merge the commonest pair into one new token. Go to 2.
#
# **Take a pencil.** In `the cat sat on the mat` the pair `at` comes three
# times, and no other so often: the first merge. What is the second? (Two
# pairs are equally common. Then the one with the lower ids is merged, so that
# everybody who trains on this text gets the same tokens. The id of a byte is
# its number here, and letters are numbered as in the alphabet.)
#
# ### Exercise 04.1: implement `merge_step` (12 minutes)
#
# `words` says how often each word occurs, by the ids of its tokens, such as
# `{(1, 2, 3): 5}`. Find the commonest pair; of equals, the one of the lowest
# ids, as `min` compares tuples. Return it, and the words with it merged into
# `new`, from left to right. Stuck? `hint("04.1")` in a new cell.


# %%
def merge_step(words, new):
    """Merge the commonest pair into the token `new`: (pair, words)."""
    ...


merge_step = check("04.1", merge_step).best

# %%
from llmkit.tokenizer import BPETokenizer
from llmkit.tokenizer.merges import count_pieces

text = "the cat sat on the mat"
plain = BPETokenizer.train(text, 256)  # bytes, and no merge
pieces = count_pieces([text])
words = {tuple(plain.encode(p)): times for p, times in pieces.items()}
print(dict(pieces))

# %%
spelled = {i: token for i, token in enumerate(plain.tokens)}
merges = []
for new in range(256, 264):
    (a, b), words = merge_step(words, new)
    merges.append((spelled[a], spelled[b]))
    spelled[new] = spelled[a] + spelled[b]
    cut = ["|".join(spelled[i].decode() for i in word) for word in words]
    shown = "  ".join(map(figures.visible, cut))
    left, right = merges[-1]
    print(f"{left!s:>7} + {right!s:<7}", shown)
assert merges == BPETokenizer.train(text, 264).merges

# %% [markdown]
# The kit finds the same merges. It is quicker, since it keeps the counts: a
# merge changes only those of its neighbours.
#
# To **encode** a new text, apply the merges in the order in which they were
# learnt. `steps` shows each of them. What was never merged stays bytes; so
# nothing is unknown, and `decode(encode(x))` is `x`, always.

# %%
tiny = BPETokenizer.train(text, 264)
for tokens in tiny.steps("that hat"):
    print("|".join(tokens))
assert tiny.decode(tiny.encode("naïve 猫 🐟")) == "naïve 猫 🐟"

# %% [markdown]
# ## 6. Play: watch it learn to read
#
# Now on the cleaned text. Three more tokens get a name: one for the end of a
# document, one to hide a word behind, one to fill up rows. Since merges build
# on each other, one training gives every smaller tokenizer too: its first $n$
# merges.

# %%
END, MASK, PAD = special = ["<|end|>", "[MASK]", "[PAD]"]
V = for_profile(profile, smoke=1024, cpu=2048, gpu=4096)
tokenizer = BPETokenizer.train(train, V, special)


def with_merges(n, of=tokenizer):
    """Return the tokenizer that knows only the first n merges."""
    return BPETokenizer(of.tokens, of.merges[:n], of.special_tokens)


# %%
samples = {
    "English": "The cat sat on the mat because it was tired.",
    "code": "if cat.is_tired():\n    cat.sit(on=mat)",
    "German": "Die Katze saß auf der Matte, weil sie müde war.",
    "Chinese": "小猫坐在垫子上，因为它累了。",
}
most = len(tokenizer.merges)
some = [0, 50, 100, 200, 400, *range(600, most, 300), most]
lengths_by = {
    name: (some, [len(with_merges(n).encode(text)) for n in some])
    for name, text in samples.items()
}


# %%
def draw(merges, text):
    """Draw how the first merges cut a text, and how many tokens it has."""
    tokens = with_merges(merges).pieces(samples[text])
    made = tokenizer.merges[merges - 1] if merges else ("none",)
    last = " + ".join(map(repr, made))
    title = f"{merges} merges: {len(tokens)} tokens (the last: {last})"
    curves = figures.lines(lengths_by, "merges", "tokens")
    axes = curves.figure.axes[0]
    axes.set_ylim(0, 70)  # room for the legend
    axes.plot(merges, len(tokens), "o", color="black", ms=8)
    return figures.Stack((figures.cuts({text: tokens}, title), curves))


figures.play(
    draw,
    merges=figures.slider("merges", 0, most, min(300, most)),
    text=figures.choice("text", list(samples)),
)

# %% [markdown]
# Drag it, then walk with the arrow keys, merge by merge. Things to find:
#
# - The very first merges. What do they say about this text?
# - When does `the` become one token, and when ` the`?
# - In German, `ß` and `ü` are two bytes each. Do they ever become one token?
# - And Chinese? Move as far as you like.
#
# ### Exercise 04.2: predict the tokens of a sentence of emoji (5 minutes)
#
# Four pictures. How many tokens does our tokenizer make of them?

# %%
print(SENTENCE)
guess = ...  # a whole number
mine = predict("04.2", guess)

# %%
emoji_ids = tokenizer.encode(SENTENCE)
mine.reveal(len(emoji_ids))
print(*tokenizer.pieces(SENTENCE))

# %% [markdown]
# ## 7. What a vocabulary does
#
# ### "token" and " token"
#
# A space belongs to the word after it. So most words have two forms, and a
# capital makes it three:

# %%
for word in ("token", " token", "Token", " tokens"):
    ids, parts = tokenizer.encode(word), tokenizer.pieces(word)
    print(f"{word!r:>10}  {ids!s:<18} {'|'.join(parts)}")

# %% [markdown]
# To the model these are different numbers, with different rows of weights:
# nothing tells it that they are related, and it must learn each from its own
# examples. It is also why a prompt should not end with a space. ` the` is one
# token. How often does a text hold a lonely space, and then `the`?

# %%
seen = tokenizer.encode("".join(held_back))
space, the, both = (tokenizer.encode(t)[0] for t in (" ", "the", " the"))
apart = Counter(pairwise(seen))[space, the]
print(f"' the': {seen.count(both)} times; ' ' and then 'the': {apart}")

# %% [markdown]
# A prompt that ends with a space puts the model where it has hardly ever been.
#
# ### Fertility
#
# How many tokens does it take to say something? For English one counts tokens
# a word, the **fertility** of a tokenizer. Chinese writes no spaces between
# words (look what becomes of the last column), so we compare sentences that
# say the same, and code that does it.

# %%
chinese = [t for t, fault in zip(came_in, faults) if fault == "Chinese"]
other = BPETokenizer.train([*train, *chinese], V, special)
tokens_of = {name: len(tokenizer.encode(t)) for name, t in samples.items()}
print("           characters  bytes  tokens  a character   a word")
for name, text in samples.items():
    n = tokens_of[name]
    row = f"{len(text):>10} {len(text.encode()):>6} {n:>7}"
    each = f"{n / len(text):>12.2f} {n / len(text.split()):>8.2f}"
    print(f"{name:>10} {row} {each}")

# %%
per_character = {n: tokens_of[n] / len(samples[n]) for n in samples}
retrained = len(other.encode(samples["Chinese"]))
tokens_of["retrained"] = retrained
title = "the same said, and what it costs"
figures.bars(tokens_of, "tokens", title, highlight=["retrained"])

# %% [markdown]
# The Chinese sentence has the fewest characters and the highest bill: nearly
# a token a byte. So it is slower to write, fills the context sooner, and
# costs more where one pays by the token. Is Chinese hard? No. The last bar is
# Chinese again, in a tokenizer of the same size that had also read the few
# Chinese documents which we threw out in section 2. **A tokenizer is fair to
# what it has read.**
#
# ### What a vocabulary costs
#
# More merges, shorter rows. Each token also needs a row of weights, $V \cdot
# D$ in all, while the blocks have $12\,D^2$ each (lesson 03), whatever $V$ is.

# %%
largest = for_profile(profile, smoke=2048, cpu=8192, gpu=16384)
large = BPETokenizer.train(train, largest, special)

# %%
read = "".join(held_back)[:100_000]
bare = len(large.tokens) - len(large.merges)  # bytes and names: no merges
sizes = [2**k for k in range(9, 15) if 2**k <= largest]
cut = [len(with_merges(v - bare, large).encode(read)) for v in sizes]
needed = [1000 * n / len(read) for n in cut]  # tokens for 1,000 characters
D, L = 128, 3
blocks, table = 12 * L * D**2, [v * D for v in sizes]

# %%
costs = {"the table of tokens": (sizes, [n / 1e6 for n in table])}
level = ("the three blocks", blocks / 1e6)
what = "tokens for 1,000 characters"
pictures = (
    figures.lines({what: (sizes, needed)}, "V", what, log="x"),
    figures.lines(costs, "V", "million weights", level=level, log="x"),
)
for picture in pictures:
    axes = picture.figure.axes[0]
    axes.set_xticks(sizes, sizes)
    axes.set_ylim(0)
    axes.minorticks_off()
figures.Stack(pictures)

# %% [markdown]
# Each doubling of $V$ doubles the cost, and saves fewer tokens than the one
# before. (A text it has not read is judged, not the one it was trained on.)
# Right of where the lines cross, a small model is more dictionary than
# thought. A model of
# $D = 4096$ has a thousand times our $D^2$, and can afford 100,000 tokens.
#
# ## 8. Rows without holes
#
# A batch is a rectangle, and documents are not. The usual way gives each
# document a row and fills it up to 128 with padding. Let us see what that
# costs for the reviews of this course, which lesson 07 will need.

# %%
reviews = [tokenizer.encode(t) for t in load("reviews").documents]
lengths = [len(ids) for ids in reviews]
print(f"{len(lengths)} reviews: {min(lengths)} to {max(lengths)} tokens")

# %% [markdown]
# ### Exercise 04.3: measure the padding (8 minutes)
#
# Every row has 128 places; what is longer is cut. **Which share of all places
# is padding?** A number between 0 and 1, from `lengths`.

# %%
share = ...  # padding / places
share = check("04.3", share, truth=share_of_padding(lengths)).best

# %% [markdown]
# A model computes for every place, padding or not. Three cures: fill up only
# to the longest of the **batch**; put reviews **sorted** by length together,
# so that chance no longer says who meets whom; or give up rows for documents
# and **pack**: one long line, cut anywhere. All that this wastes is the rest
# that fills no row.


# %%
def wasted(lengths, rows=16):
    """Return the share of padding where a batch is as long as its longest."""
    groups = [lengths[i : i + rows] for i in range(0, len(lengths), rows)]
    return 1 - sum(lengths) / sum(max(g) * len(g) for g in groups)


line = sum(lengths) + len(lengths)  # with an end after each
waste = {
    "128": share,
    "batch": wasted(lengths),
    "sorted": wasted(sorted(lengths)),
    "packed": line % 128 / line,
}
figures.bars(waste, "share wasted", highlight=["packed"])

# %% [markdown]
# ### Exercise 04.4: implement `pack` (10 minutes)
#
# Put `end` after each document, lay all of them one after the other, and cut
# the line into rows of `length`. What does not fill a last row is dropped.
# Return two tensors, (B, T): the ids, and for each token the number of its
# document within the row. The number changes *at* an end token: it is there
# that the first token of the next document is asked for.


# %%
def pack(documents, length, end):
    """Return ids and document numbers, (B, T) each."""
    ...


pack = check("04.4", pack).best
end = tokenizer.special_tokens[END]
ids, documents = pack(reviews, 128, end)  # (B, T) each
print(f"{len(reviews)} padded rows become {len(ids)} packed ones")

# %%
few = [1, 2, 3], [4] * 11, [5, 6], [7] * 7, [8] * 4, [9] * 3  # six documents
packed, _ = pack(few, 12, 0)  # (B, T)
number = (packed.flatten() == 0).cumsum(0)  # over all rows, for the colours
number = number.view_as(packed)  # (B, T)
padded = [[i] * (len(f) + 1) + [-1] * (11 - len(f)) for i, f in enumerate(few)]
figures.rows_of_documents({"padded": padded, "packed": number.tolist()})

# %% [markdown]
# As many tokens, in half as many rows. (An end token has the colour of the
# document after it; the 6 is the end of 5.) Document 1 goes on in a new row:
# its second part will be read without its first. That is the price, and it is
# small where rows are long.
#
# ### The neighbour in the row
#
# A row now holds documents that have nothing to do with each other, and
# attention does not know. Here two sentences stand in one row, in a decoder
# with random weights, which looks at all that it may:

# %%
from llmkit.batches import document_numbers
from llmkit.transformer import Decoder, ModelConfig

torch.manual_seed(seed)
model = Decoder(ModelConfig(V, context=64, n_layers=2, d_model=64)).eval()
pair = ["The cat.", "It was on the mat."]
row, _ = pack([tokenizer.encode(t) for t in pair], 10, end)  # (1, T)
own = document_numbers(row, end)  # (1, T), as in exercise 04.4
names = [tokenizer.decode([i]).strip("<|>") for i in row[0].tolist()]

# %%
maps = []
for title, told in {"not told": None, "told its document": own}.items():
    watched = []  # the weights of each block, (B, H, T, T)
    model(row, documents=told, watch=watched)
    weights = watched[0][0, 0].detach()  # (T, T): first block, first head
    maps.append(figures.attention_map(weights, names, title=title))
figures.Stack(tuple(maps))

# %% [markdown]
# Left of the end token stands the first document, and in the upper map the
# second looks at it. In the lower map it can't. Is it really stopped? Change
# the first word, and see whether anything moves in the second document.

# %%
changed = row.clone()
changed[0, 0] = tokenizer.encode("A")[0]
second = own[0] == 1
moves = {}
for title, told in {"not told": None, "told": own}.items():
    before, after = (model(x, documents=told) for x in (row, changed))
    moves[title] = (before - after)[0, second].abs().max().item()
    print(f"{title:>8}: the second document moves by {moves[title]:.1e}")

# %% [markdown]
# Not less: *zero*, to the last bit. `PackedBatches` deals out such rows.
#
# ## 9. What is asked
#
# The last step makes questions of the rows. In this kit the objective lives
# in the **labels**: one for each place, and -100 where nothing is asked.
#
# - **Next token**: the label is the token after it, a *shift* by one. The
#   model never shifts anything.
# - **-100**: at the last place nothing follows; and padding is no answer.
# - **Masked**: choose 15% of the tokens. Of these, 80% become `[MASK]`, 10%
#   another token by lot, 10% stay. All of these are asked for, and no others.
#   Lesson 05 shows why.
#
# One picture with all three. (More tokens are chosen in it, and fewer of them
# hidden, so that each kind is there to be seen.)

# %%
from llmkit.batches import Masking

special_ids = tuple(tokenizer.special_tokens.values())
mask, pad = (tokenizer.special_tokens[name] for name in (MASK, PAD))
masking = Masking(mask, V, special_ids, share=0.5, kinds=(0.4, 0.3, 0.3))
x = [*tokenizer.encode("The cat sat on the mat."), end, pad, pad]
asks = torch.tensor([x])  # (1, T)
for lot in range(200):  # until each of the three kinds is there to be seen
    hidden, asked = masking(asks, torch.Generator().manual_seed(lot))
    stays = (asked == hidden) & (asked >= 0)
    swapped = (asked >= 0) & ~stays & (hidden != mask)
    if stays.sum() == 1 == swapped.sum() and (hidden == mask).any():
        break


# %%
def show(ids):
    """Return the tokens of ids, and -100 as it is."""
    return [tokenizer.decode([i]) if i >= 0 else "-100" for i in ids]


following = [*x[1:], pad]
following = [-100 if i == pad else i for i in following]
rows = {
    "ids": x,
    "next token": following,
    "hidden ids": hidden[0].tolist(),
    "masked": asked[0].tolist(),
}
none = {
    name: [i for i, label in enumerate(ids) if label == -100]
    for name, ids in rows.items()
}
chosen = {"hidden ids": [i for i, y in enumerate(rows["masked"]) if y >= 0]}
table_rows = {name: show(ids) for name, ids in rows.items()}
figures.token_table(table_rows, none, chosen)

# %% [markdown]
# Read downwards: under each of the ids stands what it is asked. Below, the
# framed ones were chosen, and one of them looks as it always did. Now with
# BERT's shares, on all reviews:

# %%
masking = Masking(mask, V, special_ids)
hidden, asked = masking(ids, torch.Generator().manual_seed(seed))
at = asked >= 0
is_mask, stays = hidden[at] == mask, hidden[at] == asked[at]
masked_share = at.float().mean().item()
print(f"asked for: {masked_share:.1%} of {at.numel():,} tokens")
print(f"of these: [MASK] {is_mask.float().mean():.1%},", end=" ")
print(f"as they were {stays.float().mean():.1%}")

# %% [markdown]
# ### Exercise 04.5: debug labels that are off by one (10 minutes)
#
# Somebody is happy: never has a loss fallen so fast. Here are their labels.


# %%
def their_labels(ids, pad):
    """Return what each token is asked, (B, T)."""
    return ids.masked_fill(ids == pad, -100)


# %% [markdown]
# And here is their training: a small decoder, on the reviews, each in a row of
# its own that is filled up. We give it whatever labels there are. (The recipe
# is one that learns fast; lesson 06 compares it with others.)

# %%
from llmkit.batches import pad as fill_up
from llmkit.training import TrainingConfig, fit

steps = for_profile(profile, smoke=15, cpu=160, gpu=400)
ended = [[*ids[:63], end] for ids in reviews]
shuffled = [draw_lots.sample(ended, 16) for _ in range(steps)]
batches = [fill_up(rows, pad) for rows in shuffled]  # (B, T) each
shape = dict(context=64, n_layers=2, d_model=64, positions="rotary")
rates = dict(optimizer="muon", muon_rate=0.02, learning_rate=0.01)
how = TrainingConfig(steps, precision="fp32", **rates)


# %%
def train_with(labels_for):
    """Train a small decoder; return it, and its loss at each step."""
    torch.manual_seed(seed)
    model = Decoder(ModelConfig(V, **shape, tied=False, quiet=True))
    asked = [(x, labels_for(x, pad)) for x in batches]
    losses = [step.loss for step in fit(model, asked, how)]
    return model.cpu().eval(), losses


# %%
from llmkit.generation import generate

theirs, their_losses = train_with(their_labels)
start = torch.tensor([tokenizer.encode("The cat")])
new = generate(theirs, start, 12, temperature=0)
print(f"loss after {steps} steps: {their_losses[-1]:.3f}")
print("The cat" + tokenizer.decode([int(token) for token in new]))

# %% [markdown]
# A loss near zero, and a writer that stutters. **Why?** Write the labels
# right: `ids` is (B, T), and so are the labels, with -100 wherever nothing
# follows or the label would be padding.


# %%
def labels_for(ids, pad):
    """Return for each token the one that follows, (B, T)."""
    ...


labels_for = check("04.5", labels_for).best
assert labels_for(asks, pad)[0].tolist() == following

# %%
ours, our_losses = train_with(labels_for)
new = generate(ours, start, 12, temperature=0)
print("The cat" + tokenizer.decode([int(token) for token in new]))
numbered = range(1, steps + 1)
curves = {"theirs": their_losses, "ours": our_losses}
curves = {name: (numbered, loss) for name, loss in curves.items()}
figures.lines(curves, "step", "nats a token", log="y")

# %% [markdown]
# Their label is the token that the model is looking at, so that it learns to
# copy. Ours is harder, and so its loss is higher; but after a few seconds it
# writes something that wants to be a review. **A
# loss that is too good is a bug until proven otherwise**, as it was in
# section 4. Other ways to be off by one are less kind: shift the wrong way,
# and it writes backwards; shift twice, in the data and again in the model,
# and it leaves out every other word at a loss that looks quite usual. So print
# a batch, and read it downwards, before you train anything for long.
#
# ## 10. What you measured

# %%
band(
    "04",
    profile,
    {
        "documents_left": documents_left,
        "sound_thrown_away": lost,
        "minhash_error": minhash_error,
        "leak_careless": careless.share,
        "leak_careful": careful.share,
        "bits_bought_by_leak": bought,
        "bits_gained_on_fresh": gained,
        "emoji_tokens": len(emoji_ids),
        "tokens_a_character_english": per_character["English"],
        "tokens_a_character_chinese": per_character["Chinese"],
        "chinese_after_reading": retrained / len(samples["Chinese"]),
        "characters_a_token": len(read) / cut[-1],
        "padding_to_128": share,
        "wasted_packed": waste["packed"],
        "neighbour_moves": moves["not told"],
        "neighbour_moves_told": moves["told"],
        "masked_share": masked_share,
        "loss_copying": their_losses[-1],
        "loss_next_token": our_losses[-1],
    },
)

# %% [markdown]
# ## Recap
#
# - Repair, then judge; read what each filter caught. Filters err.
# - Two MinHashes agree as often as their texts are alike.
# - Remove copies, then split, then test for leaks. A leak buys a loss, and
#   nothing else.
# - BPE merges the commonest neighbours. What it has not read, it spells out
#   byte by byte.
# - Pack, and tell the model which token belongs to which document.
# - The labels are the objective: shift once, and -100 for what must not count.

# %%
quiz("04")

# %% [markdown]
# ## Scale it
#
# All of this fits into memory here. A real corpus does not, so each step also
# comes as a stream that holds one document at a time; the ids go to a file,
# and training maps that file and reads the pages that it needs.

# %%
import tempfile
from pathlib import Path

from llmkit.corpus import cleaned, deduplicated, stream
from llmkit.idfile import open_ids, write_ids

documents = stream("reviews")  # or a folder of files, or hub:NAME
documents = deduplicated(cleaned(documents), threshold=None)
file = Path(tempfile.mkdtemp()) / "train.ids"
print(write_ids(documents, tokenizer, file, end))
print(open_ids(file)[:8])

# %% [markdown]
# Exact copies alone are removed here: for these, 16 bytes a document will do.
# Near copies need the MinHashes of all, and at the size of the web that is a
# job for many machines. The command that does it all and trains:
#
# ```sh
# accelerate launch --num_processes 8 --module llmkit pretrain \
#     --corpus hub:NAME --tokenizer bpe --vocab-size 32768 \
#     --preset small --out build/mine
# ```
#
# **Next, lesson 05:** we hide words in these rows, and a model learns from
# text that nobody has labelled.
