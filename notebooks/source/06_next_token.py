# ---
# jupyter:
#   jupytext:
#     text_representation: {extension: .py, format_name: percent}
#   kernelspec: {display_name: Python 3, language: python, name: python3}
# ---

# %% [markdown]
# # 06 Next-token pretraining: the machine that continues
#
# *How good can a model be on a text, and how near are we?*
#
# Most people who train a language model can answer neither. They see a loss
# of 3.1, then 2.9, and hope. Here the text comes with its exact probability,
# so we know the best loss that any model can reach. We go there, we mark
# every page that the model writes, and then we meet one that is far *too*
# good. Last comes real text, and a loss predicted before it is measured.
#
# **You will leave with** the loss of every GPT, its shift included; perplexity
# and bits per byte; a way to find a learning rate; temperature, top-k and
# top-p; a test that catches any model which looks at the answer; and a small
# scaling law with its error.
#
# **It takes** about 5 minutes of computing on two idle cores, and two hours
# of you. **It needs** Python and lesson 00. Lesson 01 helps with masks. No
# network, no GPU.

# %% tags=["parameters"]
profile = "cpu"  # "smoke" (seconds), "cpu" (a laptop) or "gpu"
corpus = "python-docs"  # the real text of section 10, or a path to your file
seed = 0  # another number, other weights and other stories

# %%
import lzma
import math
import textwrap
import time
from collections import Counter, defaultdict
from dataclasses import replace

import torch

from llmkit import figures
from llmkit.batches import NextTokenBatches, evaluation_batches, next_token
from llmkit.exercises import (
    band,
    check,
    for_profile,
    hint,
    predict,
    quiz,
    solution,
)
from llmkit.metrics import bits_per_byte, perplexity, token_loss
from llmkit.tokenizer import CharTokenizer, WordTokenizer

began = time.perf_counter()

# %% [markdown]
# ## 1. A text is a chain of guesses
#
# Cover this sentence with your hand, and uncover it word by word: *the cat
# sat on the mat*. Before each word, say how likely it is. Those guesses are
# all that a language model makes, and together they give the probability of
# the whole sentence. With $x_t$ for token number $t$ and $x_{\lt t}$ for all
# tokens before it, the **chain rule** says
#
# $$P(x_1, \ldots, x_T) = \prod_{t=1}^{T} P(x_t \mid x_{\lt t})$$
#
# Here are the guesses of somebody who has read many books about cats.

# %%
sentence = "the cat sat on the mat"
guesses = [1 / 2, 1 / 4, 1 / 2, 1 / 2, 1, 1 / 4]  # P(x_t | x_<t)
for word, p in zip(sentence.split(), guesses):
    print(f"{word:>4}  {p:.2f}")
print("the whole sentence: 1 in", round(1 / math.prod(guesses)))

# %% [markdown]
# Products of many small numbers run out of digits. So we add logarithms
# instead, and divide by the number of tokens. That is the **loss**, the mean
# surprise, in nats a token:
#
# $$L = -\frac{1}{T} \sum_{t=1}^{T} \ln P(x_t \mid x_{\lt t})$$
#
# Two more names for the same knowledge. **Perplexity** $e^L$ asks: among how
# many equally likely tokens would guessing be as hard? **Bits per byte**
# asks: how many bits does a byte of this text take if one compresses it with
# these guesses, as well as can be?
#
# $$\text{perplexity} = e^{L}, \qquad
# \text{bits per byte} = \frac{L}{\ln 2} \cdot \frac{T}{\text{bytes}}$$

# %%
T, size = len(guesses), len(sentence.encode())
L = -sum(math.log(p) for p in guesses) / T
print(f"loss {L:.3f} nats a token, perplexity {math.exp(L):.2f}")
print(f"{L / math.log(2) * T:.0f} bits for {size} bytes")
assert perplexity(L) == math.exp(L)
assert math.isclose(bits_per_byte(L, T, size), L / math.log(2) * T / size)

# %% [markdown]
# One chance in 128 is 7 bits: check it in your head. Why three numbers? A
# longer token has more to be surprised at, so nats a token depend on how the
# text was cut. Bits per byte do not: only they compare models with different
# tokenizers.
#
# ### The bar looks back
#
# Look at the condition again: $x_{\lt t}$, the *past alone*. Is that a rule of
# politeness? Take a language of two texts, `aa` and `bb`, equally likely.
# Going forward, the first letter is a coin toss and the second is certain.
# Now let somebody be clever and guess each letter from *the other one*:

# %%
forward = {text: 1 / 2 * 1 for text in ("aa", "bb")}
both_ways = {text: 1 * 1 for text in ("aa", "bb")}
print("P(x₁) · P(x₂|x₁) sums to   ", sum(forward.values()))
print("P(x₁|x₂) · P(x₂|x₁) sums to", sum(both_ways.values()))

# %% [markdown]
# Certain twice, surprised never: a loss of zero, for a language that holds a
# whole bit of surprise. But probabilities must sum to 1, and these sum to 2.
# Each letter was explained by the other, and nobody explained the first. In
# section 8 a real network does it.
#
# ### Exercise 06.1: predict
#
# The stories of this course have a vocabulary of about 600 tokens. A model
# that knows nothing gives each of them the same probability. **What is its
# perplexity?** Commit to a number, and to a reason.

# %%
guess = None  # a number, before you run on
mine = predict("06.1", guess)

# %% [markdown]
# ## 2. A text whose floor is known
#
# A grammar of ours writes little stories, and draws each open word by lot:
# one of 24 kinds of weather, one of 40 heroes. And all must agree: whoever
# buys a key meets something to open. A token is a word together with the
# space before it, or a mark.

# %%
from llmkit.stories import STORIES, stories

count = for_profile(profile, smoke=3_000, cpu=60_000, gpu=200_000)
text = "\n" + "".join(stories(count, seed=seed + 1))
unseen = "".join(stories(for_profile(profile, smoke=100, cpu=600, gpu=2_000)))
tokenizer = WordTokenizer.train(text)
V = tokenizer.vocab_size
train_ids = tokenizer.encode(text)
unseen_ids = tokenizer.encode("\n" + unseen)
print(f"{count:,} stories, {len(train_ids):,} tokens, {V} different ones\n")
print(textwrap.fill(text.splitlines()[1], 79))

# %% [markdown]
# The course's own parser reads any story and tells its exact probability $P$,
# by the chain rule: it multiplies the lots that were drawn. So we know how
# surprised a reader is who knows the grammar *perfectly*. Over all $N$ tokens
# of the unseen stories that is
#
# $$\text{floor} = -\frac{1}{N} \sum_{\text{stories}} \ln P(\text{story})$$
#
# No model can be expected to do better: what is drawn by lot can't be known.

# %%
N = len(unseen_ids) - 1  # the very first line break is given
floor = STORIES.nats(unseen) / N
bits = bits_per_byte(floor, N, len(unseen.encode()))
print(f"floor: {floor:.4f} nats a token, perplexity {perplexity(floor):.2f}")
print(f"       {bits:.3f} bits per byte")

# %% [markdown]
# Nearly three words are in the running on average. But averages hide: after
# *One*, 24 kinds of weather; after *locked*, a door and nothing else.
#
# ## 3. The question, the answer, and the shift
#
# Each token of a row asks: what comes next? The answer stands one place to the
# right. Only the last one finds none. `next_token` cuts a row into questions
# and answers.

# %%
row = torch.tensor([train_ids[:9]])  # (B, T + 1)
inputs, labels = next_token(row)  # (B, T) each
for x, y in zip(inputs[0].tolist(), labels[0].tolist()):
    asked, answer = tokenizer.decode([x]), tokenizer.decode([y])
    print(f"{figures.visible(asked):>12} → {figures.visible(answer)}")

# %% [markdown]
# Each question is longer than it looks: the model answers from *all* the
# tokens up to there. And it answers all questions of a row at once. That is
# why there must be a mask: the answer to each question stands in the same
# row, one step ahead.
#
# ### Exercise 06.2: implement
#
# For $B$ rows of $T$ tokens $x$, a model returns scores for all $V$ tokens,
# the logits $z$ of shape $(B, T, V)$. Return the loss. No label is given
# here: the shift is yours to make.
#
# $$L = -\frac{1}{B\,(T-1)} \sum_{b=1}^{B} \sum_{t=1}^{T-1}
# \ln \operatorname{softmax}(z_{b,t})_{x_{b,t+1}}$$


# %%
def next_token_loss(logits, ids):
    """Return the loss of logits (B, T, V) on ids (B, T)."""
    ...


next_token_loss = check("06.2", next_token_loss).best

# %% [markdown]
# Does it equal the kit's? The kit makes the shift in the data, and adds up
# sums and counts, so that batches of any size average exactly.

# %%
logits, ids = torch.randn(2, 9, V), torch.randint(V, (2, 9))
total, number = token_loss(logits[:, :-1], next_token(ids)[1])
assert torch.isclose(next_token_loss(logits, ids), total / number)
print(f"both {total / number:.4f}, over {number} labels")

# %% [markdown]
# ## 4. How far does counting get?
#
# Before there were networks there was counting, and it is still the honest
# baseline. For every history $h$ of $n-1$ tokens, count how often each token
# $w$ came after it: an **n-gram** table. The smallest have names: *unigram*
# ($n = 1$, no history), *bigram*, *trigram*.


# %%
def continuations(ids, n):
    """Return, for each history of n - 1 tokens, how often each token came."""
    table = defaultdict(dict)
    grams = zip(*(ids[i:] for i in range(n)))
    for (*history, word), times in Counter(grams).items():
        table[tuple(history)][word] = times
    return table


tables = [continuations(train_ids, n) for n in (1, 2, 3)]

# %% [markdown]
# Plain counting fails on what it has never seen: probability 0, surprise
# infinite. The cure is to take a little, $d$, off every count, and to deal it
# out by the guess from the shorter history $h'$. With $c$ for counts, and
# $k(h)$ for the number of different tokens after $h$:
#
# $$P(w \mid h) = \frac{\max(c(hw) - d,\, 0) + d\,k(h)\,P(w \mid h')}{c(h)}$$
#
# Where $h$ was never seen, $P(w \mid h')$ stands alone. The chain of shorter
# and shorter histories ends at $1/V$.


# %%
def count_guess(word, history, tables, V, d=0.75):
    shorter = 1 / V
    if history:
        shorter = count_guess(word, history[1:], tables, V, d)
    after = tables[len(history)].get(history)
    if not after:
        return shorter
    kept = max(after.get(word, 0) - d, 0)
    return (kept + d * len(after) * shorter) / sum(after.values())


def count_loss(ids, n, tables, V):
    surprise = 0.0
    for t in range(1, len(ids)):
        history = tuple(ids[max(t - n + 1, 0) : t])
        surprise -= math.log(count_guess(ids[t], history, tables, V))
    return surprise / (len(ids) - 1)


# %%
names = ["unigram", "bigram", "trigram"]
losses = {"uniform": math.log(V)}
for n, name in enumerate(names, start=1):
    losses[name] = count_loss(unseen_ids, n, tables, V)
losses["floor"] = floor
figures.bars(losses, y="nats a token", highlight=["floor"])

# %% [markdown]
# Histories of two words already get most of the way. But a story holds
# together over thirty: the friend of the first sentence comes back in the
# last. Nobody has read all histories of thirty words. What is between the
# trigram and the floor can't be counted. It has to be *understood*, if only a
# little.
#
# ## 5. Train it
#
# Two blocks are plenty for a language this small. (One nearly does: try it.)
# Every row begins where a story begins.

# %%
from llmkit.training import (
    TrainingConfig,
    evaluate,
    fit,
    make_optimizers,
    rate,
)
from llmkit.transformer import Decoder, ModelConfig

shape = ModelConfig(
    vocab_size=V,
    context=64,
    n_layers=2,
    d_model=128,
    positions="rotary",  # lesson 02
    activation="relu2",  # relu, squared
    bias=False,
    tied=False,  # the head has a matrix of its own
    quiet=True,  # blocks and head begin at zero
)
torch.manual_seed(seed)
model = Decoder(shape)

# %%
story_end = tokenizer.encode("\n")[0]
batches = NextTokenBatches(
    torch.tensor(train_ids), 64, 32, seed, boundary=story_end
)
evaluation = evaluation_batches(
    torch.tensor(unseen_ids), 64, boundary=story_end
)
untrained = perplexity(evaluate(model, evaluation))
print(f"untrained: perplexity {untrained:.1f}, with {V} tokens")
mine.reveal(untrained)

# %% [markdown]
# Untrained, with a head of zeros, it knows nothing: perplexity is the size of
# the vocabulary.
#
# ### How large a step?
#
# The **learning rate** decides more than any other number. To find it, train
# a throw-away model and let the rate grow at every step, until it breaks
# (Smith 2015). We try two optimizers: **AdamW**, the usual choice, and
# **Muon**, which makes steps of equal length in all directions of a matrix.
# The inner loop is all that training ever is: loss, gradient, step.


# %%
def find_rate(low, high, count, optimizer):
    """Let the rate grow at every step; return the rates and the losses."""
    torch.manual_seed(seed)
    fresh, config = Decoder(shape), TrainingConfig(1, optimizer=optimizer)
    optimizers, losses = make_optimizers(fresh, config), []
    rates = torch.logspace(math.log10(low), math.log10(high), count).tolist()
    for i, r in enumerate(rates):
        x, y = batches[i]  # (B, T) each
        total, number = token_loss(fresh(x), y)
        (total / number).backward()
        for each in optimizers:
            for group in each.param_groups:
                group["lr"] = r
            each.step()
            each.zero_grad()
        losses.append((total / number).item())
    return rates, losses


# %%
tries = for_profile(profile, smoke=5, cpu=80, gpu=200)
found = {
    name: find_rate(3e-4, 1.0, tries, name.lower())
    for name in ("AdamW", "Muon")
}
for name, (rates, seen) in found.items():
    print(f"{name}: lowest at a rate of {rates[seen.index(min(seen))]:.3f}")
figures.lines(found, "learning rate", "nats a token", log="x")

# %% [markdown]
# AdamW's valley is narrow and ends at a cliff. Muon's is wide: over a range
# of ten or more, it hardly matters where you stand. Stay on the *left* side
# of the valley: the finder spends one step at each rate, and training must
# live with its rate for a long time. It is a first guess: trying a few rates
# nearby beats it.
#
# ### Down to the floor
#
# Now train. `look` takes down where the heads look in one
# unseen story.

# %%
from llmkit.explorer import look

story = unseen_ids[: unseen_ids.index(story_end, 1)]
spelt = [tokenizer.decode([i]) for i in story]
steps = for_profile(profile, smoke=15, cpu=1000, gpu=4000)
recipe = dict(
    optimizer="muon",  # for the matrices of the blocks; AdamW does the rest
    muon_rate=0.02,  # on the left of Muon's valley
    learning_rate=0.02,  # for the rest: one rate, as in the finder
    clip=0.0,  # gradients of any length
)

# %%
config = TrainingConfig(steps, evaluate_every=max(steps // 10, 1), **recipe)
run, gap_by_tokens = fit(model, batches, config, evaluation), {}
curve, looks = [], {}
for step in figures.live_loss(run, floor=("floor", floor)):
    curve.append((step.number, step.loss))
    if step.val_loss is not None:
        gap_by_tokens[step.tokens] = step.val_loss - floor
        looks[step.number] = look(model, story, tokens=spelt, layers=())
model = model.cpu()  # all that follows is small

# %%
val_loss = step.val_loss
print(f"{step.tokens:,} tokens read in {step.seconds:.0f} s of training")
print(f"loss  {val_loss:.4f}, perplexity {perplexity(val_loss):.3f}")
print(f"floor {floor:.4f}, perplexity {perplexity(floor):.3f}")
print(f"gap   {val_loss - floor:.4f}, or {val_loss / floor - 1:.2%} of it")

# %% [markdown]
# *Loss and floor* tell you how much is left to learn. Draw the gap on a
# logarithmic axis, and you see what the loss curve hides: learning goes on
# long after the curve looks flat.

# %%
gaps = {"model": (list(gap_by_tokens), list(gap_by_tokens.values()))}
level = ("trigram", losses["trigram"] - floor)
figures.lines(
    gaps, "tokens read", "nats above the floor", level=level, log="y"
)

# %% [markdown]
# The whole curve lies below the trigram. So what is learnt here needs a longer
# memory: who the hero was, which tool, which friend.
#
# (Training stays above validation: its rows are cut at 64 tokens, and the
# beginnings of stories are hard.)
#
# Drag along the loss curve, and see when a head begins to look back from a
# word to the one that it depends on.

# %%
from llmkit.explorer import through_training

through_training(looks.values(), list(looks), curve=curve, title="one story")

# %% [markdown]
# What does the model know about one story? Turn the surprise at each token
# into a perplexity of its own: among how many words did it choose?

# %%
some = torch.tensor([unseen_ids[:12]])
inputs, labels = next_token(some)
with torch.no_grad():
    p = model(inputs)[0].softmax(dim=-1)  # (T, V)
for y, p_y in zip(labels[0].tolist(), p[range(11), labels[0]].tolist()):
    word = figures.visible(tokenizer.decode([y]))
    print(f"{word:>12}  one among {1 / p_y:5.1f}")

# %% [markdown]
# Compare with the grammar: 40 heroes, 32 friends. Nobody told the model that
# they are equally likely. It comes out of the loss, since only the true odds
# have the least expected surprise.
#
# ## 6. Let it write, and mark every page
#
# A low loss is a promise. Does it hold? Let the model write 100 stories at
# once, from nothing but a line break, and let the parser read each of them.

# %%
from llmkit.generation import generate, next_token_probabilities


def tell(n=1, prompt="", seed=seed, model=model, **how):
    """Return n stories that begin with the prompt."""
    start = torch.tensor([tokenizer.encode("\n" + prompt)] * n)
    new = list(generate(model, start, 60, seed=seed, **how))
    rows = torch.stack(new, dim=1).tolist()  # n rows of 60 tokens
    told = [prompt + tokenizer.decode(row) for row in rows]
    return [story.split("\n")[0] + "\n" for story in told]


def share_valid(told):
    return sum(STORIES.parse(story).valid for story in told) / len(told)


# %%
told = tell(100)
valid = share_valid(told)
copies = sum("\n" + story in text for story in told)
print(f"{valid:.0%} of 100 are stories, {copies} are copies of what it read\n")
print(textwrap.fill(told[0], 79))

# %% [markdown]
# And the others, if any? The parser reads letter by letter, and says where
# each first breaks and what would have been right.

# %%
broken = [story for story in told if not STORIES.parse(story).valid]
for story in broken[:4]:
    verdict = textwrap.fill(str(STORIES.parse(story)), 79)
    print(verdict, end="\n\n")

# %% [markdown]
# A story has over forty tokens, and one slip breaks it. So even a model that
# is right 999 times in 1,000 breaks about one story in twenty. This is why a
# gap that looks tiny in the loss is plain to see in the text.
#
# ## 7. Drawing the next word
#
# The model gives logits $z$. How to draw from them is *your* choice, and a
# choice about the tail: hundreds of wrong words, each with a tiny
# probability. Three tools. **Temperature** $\tau$ makes the odds steeper
# (below 1) or flatter:
#
# $$p_i = \frac{e^{z_i / \tau}}{\sum_{j=1}^{V} e^{z_j / \tau}}$$
#
# **Top-k** keeps the $k$ likeliest tokens. **Top-p** keeps as many as it
# takes to hold a share $p$ of the probability: few where the model is sure,
# many where it is not. What is kept is divided by its sum.
#
# ### Exercise 06.3: implement
#
# Write top-p. Go from the likeliest token down, and stop as soon as those
# that you have kept reach `top_p` together. `p` may hold many distributions,
# one in each row. (`p.sort`, `cumsum` and `scatter` are your friends.)


# %%
def nucleus(p, top_p):
    """Keep the fewest tokens that reach top_p together; p: (..., V)."""
    ...


nucleus = check("06.3", nucleus).best

# %%
begun = tokenizer.encode("\nOnce Ada and a shy")
z = model(torch.tensor([begun]))[0, -1].detach()
ours = nucleus(z.softmax(dim=-1), 0.5)
theirs = next_token_probabilities(z, top_p=0.5)
assert torch.allclose(ours, theirs, atol=1e-6)
print(f"{(ours > 0).sum()} of {V} tokens hold half of the probability")

# %% [markdown]
# ### Play: three situations, three tools
#
# In the grammar some choices are even (which friend?), some are uneven
# (*in*, *on*, *under*), and at some places there is nothing to choose: after
# *But* comes the hero. The picture shows the likeliest words, and on the
# right all words by rank. Find the cliff between right and wrong ones. Which
# tool does harm where?

# %%
met = "Once Ada and a shy"
lived = met + " badger lived"
but = lived + " in a shoe. For a sock she bought a red key."
but += " Oh no, a locked door!"
prompts = {"even": met, "uneven": lived, "no choice": but + " But"}
stored = {}
for name, prompt in prompts.items():
    begun = torch.tensor([tokenizer.encode("\n" + prompt)])
    stored[name] = model(begun)[0, -1].detach()  # (V,) logits


vocabulary = [tokenizer.decode([i]) for i in range(V)]


def draw(situation, temperature, top_k, top_p):
    """Draw what the tools make of all V words; top_k = 40 keeps all."""
    z, k = stored[situation], None if top_k == 40 else top_k
    says = z.softmax(dim=-1)  # (V,)
    drawn = next_token_probabilities(z, temperature, k, top_p)  # (V,)
    last = " ".join(prompts[situation].split()[-2:])
    return figures.distribution(says, drawn, vocabulary, f"after “… {last}”")


figures.play(
    draw,
    situation=figures.choice("situation", list(prompts)),
    temperature=figures.slider("temperature", 0.0, 3.0, 2.0),
    top_k=figures.slider("top-k (40: all)", 1, 40, 40),
    top_p=figures.slider("top-p", 0.05, 1.0, 1.0),
)

# %% [markdown]
# Top-k with $k = 5$ is a good guard where there is no choice, and a bad one
# where 32 friends are waiting: 27 of them will never be met. Top-p adapts,
# but it too cuts off friends, as they are all equally likely. Heat does the
# opposite harm, as in the first picture: it invites the tail in.
#
# ### The same prompt, five ways

# %%
ways = {
    "greedy": dict(temperature=0),
    "as it is": dict(temperature=1),
    "hot": dict(temperature=2),
    "top-k 5": dict(top_k=5),
    "hot, but top-p 0.8": dict(temperature=2, top_p=0.8),
}
for name, how in ways.items():
    written = textwrap.fill(tell(prompt=lived, **how)[0], 79)
    print(f"{name}:\n{written}\n")

# %% [markdown]
# How hot is too hot? Mark 100 stories at each temperature.

# %%
heats = [0.4, 0.7, 1.0, 1.3, 1.6, 2.0]
shares = [share_valid(tell(100, temperature=heat)) for heat in heats]
figures.lines(
    {"valid": (heats, shares)}, x="temperature", y="share of valid stories"
)

# %% [markdown]
# **Greedy** sounds safe: always the likeliest word. But the likeliest word is
# always the same one, and soon so is the sentence. Let it go on for a while:

# %%
start = torch.tensor([[story_end]])
greedy = [int(token) for token in generate(model, start, 160, temperature=0)]
written = tokenizer.decode(greedy).replace("\n", " ")
print(textwrap.fill(written, 79))
parts = written.split(". ")
print(f"\n{len(parts)} sentences, {len(set(parts))} different ones")

# %% [markdown]
# ### Why it need not read everything again
#
# To add one token, a model could read the whole text again. But behind a
# causal mask no later token changes an earlier one. So its keys and values
# (lesson 01) stay right for ever, and a **KV cache** keeps them. First the
# promise: the same text.

# %%
kept = tell(5, cache=True)
reread = tell(5, cache=False)
assert kept == reread
print("five stories with the cache, five without: the same, word for word")

# %% [markdown]
# Then the gain. It grows with the length, so we take an untrained model with
# room for more. It writes nonsense, at the speed of sense.

# %%
torch.manual_seed(seed)
lengths = for_profile(
    profile, smoke=[16, 32], cpu=[32, 64, 128, 256], gpu=[64, 128, 256, 512]
)
long = Decoder(ModelConfig(V, context=lengths[-1] + 1, positions="rotary"))
four = torch.full((4, 1), story_end)  # four texts at once


def seconds_for(length, cache):
    start = time.perf_counter()
    list(generate(long, four, length, cache=cache))
    return time.perf_counter() - start


seconds_for(8, cache=True)  # the first call is always slow
curves = {
    name: (lengths, [seconds_for(length, cache) for length in lengths])
    for name, cache in [("read again", False), ("KV cache", True)]
}
figures.lines(curves, x="tokens written", y="seconds")

# %% [markdown]
# With the cache each token costs about the same, without it each costs more
# than the one before. All of this stands on one leg, the causal mask.
#
# ## 8. The machine that peeks
#
# Take the same shape, the same text, the same loss. Remove one thing: each
# position may now look at all others, also at those after it. The label of
# every question stands in plain sight, one place to the right.

# %%
peeking_steps = for_profile(profile, smoke=10, cpu=120, gpu=400)
torch.manual_seed(seed)
peeker = Decoder(shape)
for block in peeker.blocks:
    block.attention.causal = False
config = TrainingConfig(peeking_steps, **recipe)
*_, last = fit(peeker, batches, config, evaluation)
peeker = peeker.cpu()
peek_loss = last.val_loss
print(f"after {peeking_steps} steps: loss {peek_loss:.4f}, floor {floor:.4f}")
print(f"honest, after {steps} steps:  {val_loss:.4f}")

# %% [markdown]
# Without a known floor, this would be a day to celebrate. But we know that
# the lots hold more surprise than that.
# **A loss below the floor is not a good model. It is a broken measurement.**
# Now let it write.

# %%
for story in tell(3, model=peeker):
    print(textwrap.fill(story, 79), end="\n\n")
print(f"{share_valid(tell(100, model=peeker)):.0%} of 100 are stories")

# %% [markdown]
# It has learnt one thing: copy the next token. When it writes, there is none.
# That is the sum of 2 from section 1, in a network. Measure it as it must
# write, with the mask on, beside the humble bigram:

# %%
for block in peeker.blocks:
    block.attention.causal = True
masked_loss = evaluate(peeker, evaluation)
print(f"masked: {masked_loss:.2f}, the bigram: {losses['bigram']:.2f}")
for block in peeker.blocks:
    block.attention.causal = False

# %% [markdown]
# ### The gradient test
#
# Without a floor, how could we have known? Ask the model itself. Let $x_s$ be
# the vector of token $s$ right after the embedding, and $z_t$ the logits at
# position $t$. How much does token $s$ move the best guess at $t$?
#
# $$I_{ts} = \left\lVert
# \frac{\partial \max_v z_{t,v}}{\partial x_s} \right\rVert$$
#
# An honest model has $I_{ts} = 0$ for every $s > t$. Not small: *zero*,
# because there is no path. A hook catches the embedding's output, autograd
# does the rest.


# %%
def influence(model, ids):
    """Return how much each token of ids (T,) moves each guess: (T, T)."""
    seen = []
    hook = model.embedding.register_forward_hook(
        lambda module, args, output: seen.append(output)
    )
    z = model(ids[None])[0]  # (T, V)
    hook.remove()
    rows = []
    for best in z.amax(dim=-1):
        (slope,) = torch.autograd.grad(best, seen[0], retain_graph=True)
        rows.append(slope[0].norm(dim=-1))  # (T,)
    return torch.stack(rows)  # (T, T)


def draw_influence(model, ids, title):
    moved = influence(model, ids)
    share = moved / moved.sum(dim=1, keepdim=True)  # of each row
    future = share.triu(diagonal=1).max().item()
    print(f"largest share of a later token: {future:.3g}")
    words = [tokenizer.decode([i]) for i in ids.tolist()]
    picture = figures.attention_map(share, words, title=title)
    picture.figure.axes[0].set(xlabel="moved by", ylabel="guess after")
    return picture


# %%
few = torch.tensor(unseen_ids[1:9])
draw_influence(model, few, "what moves each guess: honest")

# %%
draw_influence(peeker, few, "what moves each guess: peeking")

# %% [markdown]
# A row is a guess, a column is a token that may have moved it, and what lies
# right of the diagonal is the future. In the first map the future is zero, to
# the last bit. In the second it is everywhere, and often the cell just right
# of the diagonal is the strongest of its row: the answer.
#
# ### Exercise 06.4: debug
#
# A colleague sends a model, and a riddle. *It writes lovely stories. Its
# training loss was fine. But its validation loss is terrible, so it must be
# overfitting.* You are not so sure, as no row was ever read twice.

# %%
from llmkit.exercises.lesson_06 import Suspect

suspect = Suspect(shape)
suspect.load_state_dict(model.state_dict())
with torch.no_grad():
    sums = [token_loss(suspect.train()(x), y) for x, y in evaluation]
total, number = map(sum, zip(*sums))
print(f"training mode:   {total / number:.3f}  (floor {floor:.3f})")
print(f"evaluation mode: {evaluate(suspect, evaluation):.3f}")

# %% [markdown]
# Training mode and evaluation mode differ only for layers such as dropout.
# This model has none: the two numbers should be equal.

# %%
print(textwrap.fill(tell(model=suspect)[0], 79))

# %% [markdown]
# Lovely, as promised. Write a test that would have caught this: does any token
# move a guess *before* it, when the model is evaluated? Use `influence`. The
# check tries your test on honest models and on several kinds of cheats.


# %%
def peeks(model, ids):
    """Return True if a model looks ahead in evaluation; ids: (T,)."""
    ...


peeks = check("06.4", peeks).best

# %%
models = {"ours": model, "without mask": peeker, "the suspect": suspect}
for name, each in models.items():
    print(f"{name:>12}: {'peeks' if peeks(each, few) else 'is honest'}")

# %% [markdown]
# The suspect drops its mask when it is evaluated. It *sees* the answers, but
# never learnt to use them, so they only confuse it. And it writes well: each
# new token has no future yet, and the KV cache keeps what it saw. Leaks do
# not always make a loss better: test for them by gradient, not by eye.
#
# ## 9. What buys a smaller gap?
#
# More reading, or better steps. Since we know the floor, we can compare in
# the currency that counts, the gap.


# %%
def raced(steps=0, rows=32, **how):
    """Train a new model with changes to the recipe; return all steps."""
    torch.manual_seed(seed)
    config = TrainingConfig(steps, **(recipe | how))
    data = replace(batches, batch_size=rows)
    return list(fit(Decoder(shape), data, config, evaluation))


def gap_after(steps, **how):
    return raced(steps, **how)[-1].val_loss - floor


# %% [markdown]
# ### The schedule
#
# The rate need not stay the same. Here are three plans for it, drawn by the
# kit's own `rate`:

# %%
plans = {
    "constant": dict(decay=0.0),
    "hold, then fall": dict(decay=0.6),  # as in section 5
    "fall all the way": dict(decay=1.0),
}
done = [i / 200 for i in range(201)]
figures.lines(
    {
        name: (done, [rate(TrainingConfig(1, **how), x) for x in done])
        for name, how in plans.items()
    },
    x="share of training done",
    y="share of the peak rate",
)

# %%
pace = for_profile(profile, smoke=3, cpu=150, gpu=300)
curves = {}
for name, how in plans.items():
    told = raced(pace, evaluate_every=pace // 5, **how)
    told = [s for s in told if s.val_loss is not None]
    gaps = [s.val_loss - floor for s in told]
    curves[name] = ([s.number for s in told], gaps)
figures.lines(curves, "steps", "nats above the floor", log="y")

# %% [markdown]
# A high rate gets around fast but cannot settle. Letting it fall costs
# nothing and usually ends lower. Only, the plan must know the end: a run that
# you stop half-way has not settled.
#
# ### By the clock
#
# Steps are not what you pay for. So each optimizer, with three sizes of
# batch, gets the same few seconds.

# %%
budget = for_profile(profile, smoke=0.3, cpu=5.0, gpu=10.0)
kinds = {"AdamW": dict(optimizer="adamw", learning_rate=0.005), "Muon": {}}
race = {name: ([2, 16, 128], []) for name in kinds}
print(f"after {budget:g} s   rows  steps    tokens   gap")
for name, how in kinds.items():
    for rows in race[name][0]:
        last = raced(rows=rows, seconds=budget, **how)[-1]
        gap = last.val_loss - floor
        race[name][1].append(gap)
        read = f"{last.number:5}  {last.tokens:8,}"
        print(f"{name:>9} {rows:5}  {read}  {gap:.3f}")
figures.lines(race, "rows a batch", "nats above the floor", log="x")

# %% [markdown]
# Two rows give a noisy direction, 128 leave time for few steps. Which size is
# best depends on budget and machine. Muon's step takes longer than AdamW's,
# and pays most where batches are large. Three doubts: whatever else your
# machine does takes part in the race; a larger batch could bear a larger
# rate; and these are single runs. One discovery earlier or later can move a
# gap by a factor of two, so believe only what is larger.
#
# ### Exercise 06.5: measure
#
# Let Muon read twice as many tokens: `2 * pace` steps in place of `pace`. **By
# what factor does the gap shrink?** `gap_after(steps)` trains and measures.
# Put a number, or code that computes it, in place of the `...`. The code takes
# as long as the three schedules did.

# %%
factor = ...  # gap after `pace` steps / gap after twice as many
factor = check("06.5", factor).best

# %% [markdown]
# ## 10. Real text
#
# The same code, on text that nobody drew by lot. `python-docs` is the prose
# that comes inside Python. To use your own file, set `corpus` in the first
# code cell to its path. We cut it into characters this time, since nobody can
# list all words of English.

# %%
from llmkit.corpus import load, split

size = for_profile(profile, smoke=200_000, cpu=1_000_000, gpu=None)
real_text = load(corpus, size=size, seed=seed).text
reading, checking = split(real_text)
letters = CharTokenizer.train(real_text)
reading_ids = torch.tensor(letters.encode(reading))
checking_ids = torch.tensor(letters.encode(checking))
print(f"{len(reading):,} characters, {letters.vocab_size} different ones\n")
print(textwrap.shorten(reading[:400], 300))

# %% [markdown]
# Count first: the code of section 4, unchanged. The tables get exactly as many
# characters as the model will read.

# %%
real_steps = for_profile(profile, smoke=12, cpu=300, gpu=3000)
seen = reading_ids[: real_steps * 24 * 64].tolist()  # rows of 64, 24 a step
unread = checking_ids.tolist()
start = time.perf_counter()
tables = [continuations(seen, n) for n in range(1, 6)]
results = {
    name: count_loss(unread, n, tables, letters.vocab_size)
    for n, name in [(1, "unigram"), (3, "trigram"), (5, "5-gram")]
}
print(f"counted and judged in {time.perf_counter() - start:.1f} s")

# %% [markdown]
# ### A loss, before it is measured
#
# Large models are expensive, so one predicts them from small ones. Losses
# tend to follow a **scaling law** (Kaplan et al. 2020; in this form, Hoffmann
# et al. 2022). With $D$ for the width:
#
# $$L(D) = E + A\,D^{-\alpha}$$
#
# Then each doubling of the width takes off a piece, and the pieces shrink by
# the same factor, $r = 2^{-\alpha}$. Three widths tell $r$, and $r$ tells the
# fourth:
#
# $$r = \frac{L_{32} - L_{64}}{L_{16} - L_{32}}, \qquad
# L_{128} = L_{64} - r\,(L_{32} - L_{64})$$


# %%
def reads(width, seed=seed, show=iter):
    """Train a model of this width on the real text; return it, its loss."""
    torch.manual_seed(seed)
    config = TrainingConfig(real_steps, **recipe)
    size = dict(vocab_size=letters.vocab_size, d_model=width)
    reader = Decoder(replace(shape, **size))
    rows = NextTokenBatches(reading_ids, 64, 24, seed)
    for _ in show(fit(reader, rows, config)):
        pass
    return reader.cpu(), evaluate(reader, real_evaluation)


real_evaluation = evaluation_batches(checking_ids, 64)
small = [reads(width)[1] for width in (16, 32, 64)]
print("width 16, 32, 64:", *(f"{loss:.3f}" for loss in small))

# %% [markdown]
# How sure are we? The same model from another seed ends elsewhere. Three
# seeds of the smallest give the spread $s$; the slopes of the formula say how
# much of it reaches the prediction. Beside it stands a simpler law, with
# $E = 0$: a straight line on logarithmic axes, laid through the three. **Write
# down your guess for 128, too.**

# %%
L1, L2, L3 = small
r = (L2 - L3) / (L1 - L2)
predicted = L3 - r * (L2 - L3)
straight = (L1 * L2 * L3) ** (1 / 3) * L3 / L1
again = torch.tensor([L1] + [reads(16, seed + i)[1] for i in (1, 2)])
slopes = [1 + 2 * r, 2 * r + r**2, r**2]  # of L3, L2 and L1
error = again.std().item() * math.hypot(*slopes)
print(f"r = {r:.2f}; at width 128: {predicted:.3f} ± {error:.3f}")
print(f"the straight law says {straight:.3f}")

# %% [markdown]
# Now train it, and see.

# %%
reader, real_loss = reads(128, show=figures.live_loss)
for name, told in {"law": predicted, "straight law": straight}.items():
    print(f"{name}: {told:.3f}, off by {told - real_loss:+.3f}")
print(f"measured: {real_loss:.3f}, a gain of {L3 - real_loss:.3f} over 64")

# %%
widths = [16, 32, 64, 128]
laws = {
    "measured": (widths, [*small, real_loss]),
    "law": (widths[2:], [L3, predicted]),
    "straight law": (widths[2:], [L3, straight]),
}
picture = figures.lines(laws, "width", "nats a character", log="x")
axes = picture.figure.axes[0]
axes.minorticks_off()
axes.set_xticks(widths, widths)
picture

# %% [markdown]
# The law with $E$ is usually the better one, and yet it may miss by a good
# part of the gain: three unknowns from three noisy points magnify the noise.
# And it holds for *one* text and *one*
# length of training. On our stories it would fail: there the loss comes down
# a staircase, discovery by discovery.
#
# And counting? Beside the model stands `lzma`, too, a zip program that has
# read the whole text: bits per byte let us compare even with that.


# %%
def zipped(text):
    return 8 * len(lzma.compress(text.encode()))  # bits


whole, bytes_there = len(unread) - 1, len(checking.encode())
by_zip = (zipped(reading + checking) - zipped(reading)) / bytes_there
results["model"] = real_loss
bits = {
    name: bits_per_byte(loss, whole, bytes_there)
    for name, loss in results.items()
}
figures.bars(bits | {"lzma": by_zip}, "bits per byte", highlight=["model"])

# %%
begin = torch.tensor([letters.encode(checking[:40])])
new = generate(reader, begin, 300, temperature=0.7, seed=seed)
print(checking[:40] + "█" + letters.decode([int(token) for token in new]))

# %% [markdown]
# Two remarks. First: look how well counting does. A table of
# five-letter sequences does as well as the network, or better, in a fraction
# of its time. And zip, which finds whole sentences again, beats both, as
# documentation repeats itself. But a table can only grow, while the network
# goes on finding rules in the space that it has. Train ten times as long, and
# look again.
#
# Second: this picture has no floor. Nobody knows that of English. From here
# on, a loss is only better or worse than another, and the leak test of
# section 8 is all that guards you.
#
# ## What this lesson measured
#
# Each result has a band in which it should lie on your profile.

# %%
results_here = {
    "loss / floor": val_loss / floor,
    "valid stories": valid,
    "peeking / floor": peek_loss / floor,
    "real text / unigram": real_loss / results["unigram"],
    "real text / 5-gram": real_loss / results["5-gram"],
    "scaling error": abs(real_loss - predicted),
    "seconds": time.perf_counter() - began,
}
band("06", profile, results_here)

# %% [markdown]
# ## What to remember
#
# - The chain rule turns a text into guesses, each from the past alone. The
#   loss is the mean surprise; perplexity counts the words in the running;
#   bits per byte compare across tokenizers.
# - The shift is made once, in the labels. A model never shifts.
# - Count first. A loss means something only beside a baseline and, where
#   there is one, a floor.
# - Compare recipes by the clock, and let the rate fall at the end. A predicted
#   loss needs an error bar.
# - A loss that is too good is a leak until proven otherwise, and the gradient
#   test proves it: exactly zero, or guilty.
# - Temperature, top-k and top-p change how you draw and not what the model
#   knows. The KV cache changes the time and not the text.

# %%
quiz("06")

# %% [markdown]
# ## Scale it
#
# What you did in sections 5 and 10 is one command, and it says what it will
# cost before it starts:
#
# ```
# llmkit pretrain --objective next-token --tokenizer char \
#     --preset tiny --corpus python-docs --out my-model
# llmkit generate my-model --prompt "Return " --max-new-tokens 300
# ```
#
# On a machine with eight GPUs, the same code and a larger preset:
#
# ```
# accelerate launch --num_processes 8 -m llmkit pretrain \
#     --objective next-token --tokenizer char \
#     --preset small --corpus hub:NAME --out my-model
# ```
#
# Not one line of the training loop changes, and neither does the loss: it is
# a sum and a count, whoever adds them up. Lesson 08 proves it.
