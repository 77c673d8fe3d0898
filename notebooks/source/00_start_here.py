# ---
# jupyter:
#   jupytext:
#     text_representation: {extension: .py, format_name: percent}
#   kernelspec: {display_name: Python 3, language: python, name: python3}
# ---

# %% [markdown]
# # 00 Start here: a language model before coffee
#
# *Can this machine train a language model in a minute?*
#
# Yes. Choose **Run → Run All Cells** and watch the next section. Then come
# back up here, coffee in hand, and read.
#
# **You will leave with** a model that you trained yourself; a sense of what
# the number under its curve means; and a working knowledge of this book's
# instruments: checks, hints, predictions, widgets.
#
# **It takes** about a minute of computing on two cores, and 45 minutes of
# you. **It needs** some Python. No network, no GPU, and nothing that you
# would have to know about language models.

# %% tags=["parameters"]
profile = "cpu"  # "smoke" (seconds), "cpu" (a laptop) or "gpu"
seed = 0  # another number, another model

# %% [markdown]
# ## Result first
#
# Three cells, no explanation yet. The first fetches the tools. The second
# makes something to read: little stories. The third makes a model that
# knows nothing at all, and a function that lets it tell a story.

# %%
import math
import textwrap

import torch

from llmkit import figures
from llmkit.batches import NextTokenBatches, evaluation_batches
from llmkit.exercises import for_profile
from llmkit.generation import generate
from llmkit.pretraining import PRESETS
from llmkit.stories import STORIES, stories
from llmkit.tokenizer import WordTokenizer
from llmkit.training import TrainingConfig, fit
from llmkit.transformer import Decoder, ModelConfig

# %%
count = for_profile(profile, smoke=3_000, cpu=30_000, gpu=100_000)
text = "\n" + "".join(stories(count, seed=1))
tokenizer = WordTokenizer.train(text)
V, line_break = tokenizer.vocab_size, tokenizer.encode("\n")[0]
ids = torch.tensor(tokenizer.encode(text))
batches = NextTokenBatches(
    ids, context=64, batch_size=32, seed=seed, boundary=line_break
)
unseen = "".join(stories(for_profile(profile, smoke=200, cpu=1000, gpu=1000)))
unseen_ids = torch.tensor(tokenizer.encode("\n" + unseen))
evaluation = evaluation_batches(unseen_ids, 64, boundary=line_break)
floor = STORIES.nats(unseen) / (len(unseen_ids) - 1)
print(textwrap.fill(next(stories(1, seed=1)), 79))

# %%
torch.manual_seed(seed)
model = Decoder(ModelConfig(vocab_size=V, **PRESETS["plain"].model))


def tell(n=1, temperature=1.0, seed=0, prompt=""):
    """Let the model tell n stories that begin with the prompt."""
    start = torch.tensor([tokenizer.encode("\n" + prompt)] * n)
    start = start.to(model.head.weight.device)
    new = torch.stack(list(generate(model, start, 60, temperature, seed=seed)))
    told = [prompt + tokenizer.decode(row) for row in new.T.tolist()]
    return [story.split("\n")[0] + "\n" for story in told]  # to the line break


# %% [markdown]
# Now train it. The blue curve is how wrong the model still is; the orange
# dots are the same for stories that it never trains on. The black dashed line
# is the floor: nothing, however clever, can get below it. Under the curve the
# model tells a story now and then, as well as it can at that moment. Read
# them in order.

# %%
steps = for_profile(profile, smoke=20, cpu=450, gpu=2000)
rates = dict(muon_rate=0.02, learning_rate=0.02, head_rate=0.02, clip=0.0)
training = TrainingConfig(
    steps, optimizer="muon", evaluate_every=steps // 5, **rates
)
run = fit(model, batches, training, evaluation)
for step in figures.live_loss(run, floor=("floor", floor)):
    if step.number in (1, 5, 10, 25, 50, 100, 200, 350, steps):
        print(f"After step {step.number} ({step.seconds:.0f} s):")
        print(textwrap.fill(tell()[0], 79), end="\n\n")
model = model.cpu()

# %% [markdown]
# At the first step it draws words out of a hat. A few steps later it has
# noticed full stops and capital letters. Then the grammar comes, and last of
# all the plot: whoever buys a key now opens a locked door with it, and the
# animal from the first sentence is still there in the last one. (Profile
# `smoke` stops long before that.)
#
# You have trained a language model. Nobody told it a single rule.
#
# ## What just happened, in five sentences
#
# 1. We made up thousands of short stories, and cut their **text** into words
#    and marks, which are called *tokens*.
# 2. Each token in the vocabulary got a number, its **id**, because a model
#    computes with numbers and nothing else.
# 3. The ids were dealt out in **batches**: a few rows of tokens, and for each
#    token one question, *which token comes next?*
# 4. The **model** answered each question with a probability for every token
#    it knows, the **loss** said how surprised it was by the true answer, and
#    all its *weights*, the numbers that it computes with, were nudged so that
#    the surprise would have been smaller.
# 5. To tell a story, the model draws a token from its own probabilities,
#    reads what it has drawn, and draws the next, until there is a **text**.
#
# That is all of it. The models behind the famous chat windows are made by
# the same five sentences, with more of everything.

# %%
weights = sum(weight.numel() for weight in model.parameters())
stages = [
    ("text", f"{count:,}\nstories"),
    ("ids", f"{len(ids) / 1e6:.1f} million,\n{V} different"),
    ("batches", "32 rows\nof 64 ids"),
    ("model", f"{weights / 1e6:.2f} million\nweights"),
    ("loss", f"{step.loss:.2f} nats\na token"),
    ("text", "a story of\nits own"),
]
figures.flow(stages)

# %% [markdown]
# Each stage has its lesson:
#
# | stage | the question | where |
# |---|---|---|
# | text → ids → batches | what does a model really eat? | lesson 04 |
# | model | how does a word look at other words? | [lesson 01] |
# | model | how does it know their order? | lesson 02 |
# | model | what else is in there? | lesson 03 |
# | loss | how good is it, and how good could it be? | [lesson 06] |
# | model → text | how are the next words chosen? | [lesson 06] |
#
# [lesson 01]: 01_attention.ipynb
# [lesson 06]: 06_next_token.ipynb
#
# ### The first three stages by hand
#
# Six words are enough to see all of it. This sentence will follow us through
# the whole book. Its tokenizer knows the words of this sentence and no
# others. A space belongs to the word after it; `␣` makes it visible.

# %%
from llmkit.batches import next_token

sentence = "the cat sat on the mat"
tiny = WordTokenizer.train(sentence)
numbers = tiny.encode(sentence)
print([figures.visible(word) for word in tiny.words])
print(numbers, "and back:", tiny.decode(numbers))

# %% [markdown]
# The first `the` and the second have different ids: one of them has a space
# before it. Computers are like that.
#
# Now the questions. Shift the row by one, and each token stands beside the
# token that follows it. Six tokens make five questions with five answers,
# and nobody had to write them. That is why a language model can learn from
# any text there is.

# %%
inputs, labels = next_token(torch.tensor([numbers]))
for i, (x, y) in enumerate(zip(inputs[0].tolist(), labels[0].tolist())):
    known = tiny.decode(numbers[: i + 1])
    print(f"{x} → {y}   {known!r}, and then? {tiny.decode([y])!r}")

# %% [markdown]
# ### Has it only copied?
#
# A fair suspicion. Let the model tell many stories, and look each of them up
# in the text that it has read.

# %%
many = for_profile(profile, smoke=20, cpu=100, gpu=100)
told = tell(many)
print(f"{sum(story in text for story in told)} of {many} are copies.")
print(f"The language has {STORIES.count():.1e} stories; it read {count:,}.")

# %% [markdown]
# It has not stored the stories. It has found the rules that make them.
#
# An honest word about those rules: this is a toy language, with a few hundred
# words and five scenes. The model knows nothing of real frogs. We use a toy
# because we know *everything* about it, down to the exact probability of each
# story. So we can say how far a model is from perfect, which nobody can say
# about English. [Lesson 06](06_next_token.ipynb) feeds the same code with
# real text, or with yours.
#
# ## What the curve counts
#
# The loss is *surprise*. Before each token the model spreads probability over
# all tokens. Then the true one comes, and we look up the probability $p$ that
# the model had given to it. If it had said $p = 1$, it knew, and is not
# surprised at all. If it had said one in a million, it should be ashamed. The
# measure with these manners is the logarithm:
#
# $$\text{surprise} = -\ln p$$
#
# Its unit is the *nat*, because the logarithm is natural. Small numbers, by
# hand:

# %%
for p in (1, 1 / 2, 1 / 4, 1 / 10, 1 / 100, 1 / 1000):
    print(f"p = {p:<6}  surprise = {math.log(1 / p):.2f} nats")

# %%
p = torch.linspace(0.01, 1, 100)
curve = {"surprise": (p, (1 / p).log())}
figures.lines(curve, "p, given to the true token", "surprise (nats)")

# %% [markdown]
# Half the probability costs $\ln 2 = 0.69$ nats more, always: from 1 to 1/2
# just as from 1/100 to 1/200. And surprises add up. Two tokens with
# probabilities 1/4 and 1/10 come together with probability 1/40, and the
# surprise at both is the sum of the two.
#
# The **loss** is the mean surprise over all tokens. A perfect player still
# has some: stories begin with a name, and the name is drawn by lot. That rest
# is the dashed floor, computed exactly from the rules of the language.

# %%
from llmkit.training import evaluate

val_loss = evaluate(model, evaluation)
print(f"loss on unseen stories: {val_loss:.3f} nats a token")
print(f"floor:                  {floor:.3f}")
print(f"left to learn:          {val_loss / floor - 1:.1%}")

# %% [markdown]
# (Why did the blue curve end above the orange dots? In training each row has
# 64 tokens: a story, and the beginning of the next. Beginnings are hard to
# guess, so the rows have more than their share of surprise. The orange dots
# count whole stories.)
#
# ### Exercise 00.1: predict
#
# Scroll up: where did the curve begin, at the very left, before the model knew
# anything? Now we make another new model for the same stories, but this one
# reads *characters* rather than words. It is not trained at all.
#
# **What is its loss?** Commit to a number: replace `None`, and run the cell.
# A wrong guess costs nothing and teaches more than a right one. If you have
# no idea, think what somebody who knows nothing would say about the next
# character, and look at the formula above.

# %%
from llmkit.exercises import check, hint, predict, solution
from llmkit.tokenizer import CharTokenizer

letters = CharTokenizer.train(text)
print("characters to choose from:", letters.vocab_size)
guess = None  # a number, before you run on
mine = predict("00.1", guess)

# %% [markdown]
# Now measure, and compare.

# %%
newborn = Decoder(ModelConfig(vocab_size=letters.vocab_size, context=64))
some = torch.tensor(letters.encode(text[:20_000]))
first_loss = evaluate(newborn, evaluation_batches(some, context=64))
mine.reveal(first_loss)

# %% [markdown]
# Open `hint("00.1")` in a new cell if that number is a riddle to you. It is
# the first thing that people who train models look at: a curve which begins
# somewhere else has a bug in it.
#
# ## How this book works
#
# ### A check that fails
#
# Most exercises ask you to write a few lines. A check sits in the same cell
# and tells you at once how it went. Here is somebody who thought: *a miss is
# one minus a hit, so surprise must be one minus* $p$.


# %%
def hopeful(p):
    return (1 - p).mean()


check("00.2", hopeful)

# %% [markdown]
# The check tried this function on twenty random inputs, beside a function
# that can be trusted. And it recognised the mistake, as it knows the classic
# ones. A failed check is never an exception: the lesson goes on with the
# kit's own version, so that Run All always reaches the end.
#
# ### A hint, and another
#
# Each exercise has two hints, and the second says more. Plain `hint("00.2")`
# gives you the next one that you have not seen.

# %%
hint("00.2", level=1)

# %% [markdown]
# ### Exercise 00.2: implement
#
# Your turn. The model gave probabilities $p_1 \ldots p_N$ to the $N$ tokens
# that came. Return the loss, which is the mean surprise:
#
# $$L = -\frac{1}{N}\sum_{i=1}^{N} \ln p_i$$
#
# `p` is a *tensor*, PyTorch's array of numbers. `p.log()` takes the natural
# logarithm of each of them; `p.sum()` and `p.mean()` do what they say. Put
# your code in place of the `...`.


# %%
def loss(p):
    """Return the mean surprise at tokens of probabilities p (N,)."""
    ...


loss = check("00.2", loss).best

# %% [markdown]
# The last line is the same in every exercise. `.best` is your function if it
# passed, and the kit's if it did not. When you give up (or when you have
# passed and want to compare), `solution("00.2")` shows the kit's source.
#
# Now the test that matters. Take a real batch, look up the probability that
# your model gave to each true token, and compare with what the package
# computes. This is how the book builds everything: by hand first; then
# **equal to `llmkit`**; and from then on imported.

# %%
from llmkit.metrics import token_loss

inputs, labels = evaluation[0]  # (B, T) ids each
asked = labels != -100  # -100 says: nothing is asked here
with torch.no_grad():
    logits = model(inputs)  # (B, T, V), scores for every token
p = logits[asked].softmax(dim=-1)  # (N, V), probabilities
p_true = p[range(len(p)), labels[asked]]  # (N,), of the token that came
total, number = token_loss(logits, labels)
assert torch.isclose(loss(p_true), total / number)
print(f"{loss(p_true):.4f} by hand, {total / number:.4f} by llmkit")

# %% [markdown]
# ### Progress, profiles, and what to do when a cell is slow
#
# `progress()` lists the exercises of all lessons, `progress("00")` those of
# this one. What you have passed stays passed, on this machine alone.

# %%
from llmkit.exercises import progress

progress("00")

# %% [markdown]
# **Slow?** A `[*]` beside a cell says that it is running or waiting for its
# turn. Nothing here should take more than a minute on two idle cores. If it
# does:
#
# - Shut down other notebooks (**Kernel → Shut Down All Kernels**, then run
#   this one again). Each holds memory, and two that compute at once slow each
#   other down far more than twofold.
# - Interrupt with the ■ button, or press `I` twice. Training ends after the
#   step under way, and the model keeps what it has learnt.
# - Go down a size: in the first code cell, write `profile = "smoke"`, restart
#   and run all. Everything runs in seconds and works, except that models stay
#   stupid. `"gpu"` goes up a size.
# - Lost? **Kernel → Restart Kernel and Run All Cells** mends most things. A
#   notebook run out of order is the oldest bug in the world.
#
# ## Play: the temperature
#
# A model does not choose a token. It gives *scores* $z$ to all $V$ tokens,
# which are turned into probabilities, and then a die is cast. How bold the
# die is, you decide: divide the scores by a temperature $\tau$ first.
#
# $$p_i = \frac{e^{z_i / \tau}}{\sum_{j=1}^{V} e^{z_j / \tau}}$$
#
# Here is a story that has been begun. After *danced* comes a place, and as we
# wrote the rules, we can count how often each word should come. The table
# compares that with what the model says at three temperatures.

# %%
from llmkit.generation import next_token_probabilities

prompt = "Once Ada and a sleepy frog danced"
begun = torch.tensor([tokenizer.encode("\n" + prompt)])
with torch.no_grad():
    z = model(begun)[0, -1]  # (V,), the scores of the next token
bent = {}
for tau in (0.5, 1.0, 2.0):
    p = (z / tau).exp() / (z / tau).exp().sum()
    assert torch.allclose(p, next_token_probabilities(z, tau), atol=1e-6)
    bent[f"τ = {tau}"] = p

# %%
from collections import Counter

places = STORIES.words["{place}"][""]
counted = Counter(place.split()[0] for place in places)
print("word   rules ", *bent)
for word, times in counted.most_common(5):
    id = tokenizer.encode(" " + word)[0]
    said = "".join(f"{p[id]:8.3f}" for p in bent.values())
    print(f"{word:6} {times / len(places):.3f}{said}")

# %% [markdown]
# At $\tau = 1$ the model comes near the rules: it has learnt not only what is
# possible but *how often*. Below 1 the rich get richer. Above 1 everybody gets
# a chance, whether they deserve it or not.
#
# Move the slider and read what the model tells at that temperature. The
# second slider casts the die anew. (In a saved notebook or on a web page the
# sliders are missing: they need a running kernel.)


# %%
def draw(temperature, die):
    """Draw the next word's probabilities, with a story told so."""
    p, best = next_token_probabilities(z, temperature).topk(9)
    words = [tokenizer.words[i] for i in best]
    story = tell(1, temperature, die, prompt)[0]
    verdict = "a story" if STORIES.parse(story).valid else "not a story"
    title = textwrap.fill(story, 70) + f"\n({verdict})"
    picture = figures.bars(dict(zip(words, p.tolist())), "probability", title)
    picture.figure.axes[0].set(ylim=(0, 1), xlabel="after “danced”")
    picture.figure.axes[0].title.set_size(9)
    picture.figure.set_figheight(4)
    return picture


figures.play(
    draw,
    temperature=figures.slider("temperature", 0.1, 2.5, 1.0),
    die=figures.slider("die", 0, 50, 0),
)

# %% [markdown]
# ### Exercise 00.3: measure
#
# `STORIES.parse(story)` reads a text by the rules of the language. Its
# `.valid` says whether it is a story, and printed it says where it broke:

# %%
cool, hot = tell(many, temperature=0.7), tell(many, temperature=1.5)
print("cool:", STORIES.parse(cool[0]))
print("hot: ", STORIES.parse(hot[0]))

# %% [markdown]
# `cool` and `hot` are lists of stories, told at temperatures 0.7 and 1.5.
# **Which share of the stories is lost on the way from cool to hot?** Measure
# the share that is valid in each list, from 0 to 1, and take the difference.

# %%
from llmkit.exercises.lesson_00 import share_valid

lost = ...  # the valid share of cool, minus the valid share of hot
truth = share_valid(cool) - share_valid(hot)  # don't call it: count yourself
lost = check("00.3", lost, truth=truth).best

# %% [markdown]
# Now the whole range. For every temperature: the share that is valid, and, as
# a measure of variety, the share of the language's words that all these
# stories together use.

# %%
import re

heat = (0.1, 0.4, 0.7, 1.0, 1.3, 1.6, 2.0)
pages = [tell(many, tau) for tau in heat]
valid = [share_valid(page) for page in pages]
words = STORIES.vocabulary()
found = [set(re.findall(r"[\w'-]+", "".join(page))) for page in pages]
used = [len(words & some) / len(words) for some in found]
figures.lines(
    {"valid stories": (heat, valid), "words used": (heat, used)},
    x="temperature",
    y="share",
)

# %% [markdown]
# Cold stories are safe, and poorer in words. Hot ones use every word there
# is, and break. Somewhere below 1 is what most people want, and there is no
# formula for it: it is a matter of taste and of the task. One caution about
# the numbers: with a hundred stories, a share near a half is uncertain by
# about $\sqrt{0.5 \cdot 0.5 / 100} = 0.05$ either way. Give
# `tell` another `seed` and see it wobble.
#
# ## Exercise 00.4: debug
#
# Here is a training loop, the same eight lines that everybody writes. It
# runs. It raises nothing. `token_loss` returns the surprise, added up, and
# the count of tokens; `backward` computes for each weight in which direction
# the loss grows, its *gradient*; the optimizer moves the weights against it.


# %%
def train(model, optimizer, batches, steps):
    losses = []
    for i in range(steps):
        inputs, labels = batches[i]
        total, count = token_loss(model(inputs), labels)
        loss = total / count
        loss.backward()
        optimizer.zero_grad()
        optimizer.step()
        losses.append(loss.item())
    return losses


# %%
def small_run(train, steps=60):
    """Train a new small model with a loop; return the curve."""
    torch.manual_seed(seed)
    small = Decoder(ModelConfig(vocab_size=V, n_layers=1, d_model=64))
    optimizer = torch.optim.AdamW(small.parameters(), lr=0.01)
    losses = train(small, optimizer, batches, steps)
    return range(1, steps + 1), losses


before = small_run(train)
figures.lines(
    {"this loop": before}, "step", "nats a token", level=("ln V", math.log(V))
)

# %% [markdown]
# A lively curve, until you read the numbers on the axis. It wobbles in the
# second decimal, because each batch is different, and it goes nowhere. The
# dashed line is what a model scores that has learnt nothing at all.
#
# **Find the fault.** One line is in the wrong place. Mend `train` in the cell
# above and run it; then put its name in place of the `...` below.

# %%
mended = ...  # write: train
mended = check("00.4", mended).best
figures.lines(
    {"before": before, "mended": small_run(mended)},
    "step",
    "nats a token",
    level=("ln V", math.log(V)),
)

# %% [markdown]
# Remember this picture. Most bugs in this trade look like the first curve:
# no crash, no warning, only a number that ought to move.
#
# ## This machine
#
# `doctor` looks at the machine that runs this notebook. It marks what is as
# it should be (✓), what is worth knowing (!), and what would stop a lesson
# (✗), with what to do about it. (In a saved notebook you see the machine that
# saved it. Run the cell for yours.) In a terminal, `llmkit doctor` prints the
# same table.

# %%
from llmkit import doctor
from llmkit.exercises.cards import Card, show

findings = doctor.examine()
table = [("", "what", "here", "what to do")]
table += [(f.mark, f.name, f.value, f.advice) for f in findings]
show(Card(heading="This machine", table=table))
stops = [f.name for f in findings if f.mark == doctor.BAD]
print("Mend first:", ", ".join(stops) or "nothing, every lesson can run.")

# %% [markdown]
# How to read it:
#
# - **Versions** beside a `!` differ from those that were tested. Leave them,
#   unless a lesson breaks.
# - **device** says who computes. Every lesson is made for two CPU cores. With
#   a GPU, take `profile = "gpu"` for larger models and better results.
# - **precision** timed a training step with 32 bits a number, and with 16.
#   Training chooses between them by itself; lesson 08 says how, and why.
# - **hub** is the Hugging Face hub, where people keep models and texts. No
#   lesson depends on it, and **offline BERT** stands in for it in lesson 07.
#
# One figure is missing in the table, because only you have measured it: how
# fast training went. Lessons state their minutes for a machine that trains
# this model on 31,000 tokens a second. (Profile `smoke` is over too soon to
# tell.)

# %%
speed = step.tokens / step.seconds
print(f"Your machine: {speed:,.0f} tokens a second.")
print(f"Expect {31_000 / speed:.1f} × the minutes that a lesson states.")

# %% [markdown]
# ## Is it as it should be?
#
# Each lesson ends with a *band*: what it measured, beside what it should
# have measured. Outside, it names the likely reasons.

# %%
from llmkit.exercises import band, quiz

results = {"loss / floor": val_loss / floor, "seconds": step.seconds}
results["valid stories"] = share_valid(told)
band("00", profile, results)

# %% [markdown]
# ## Recap
#
# - A language model turns the tokens so far into a probability for each token
#   that may come next. Telling a story is drawing from these, again and
#   again.
# - The loss is its mean surprise, $-\ln p$ of what came, in nats a token. It
#   begins near $\ln V$ and can't go below the entropy of the language.
# - Temperature bends the probabilities before the draw. It changes the
#   stories and leaves the model as it is.
# - A loop can run and learn nothing. Look at the curve.
# - Checks, hints, solutions and predictions are there to be used. Wrong
#   answers are free.

# %%
quiz("00")

# %% [markdown]
# ## Scale it
#
# All that you ran in cells is one command, which you can type in a terminal.
# It takes any text, so its tokens are characters unless you say otherwise.
#
# ```
# llmkit pretrain --corpus stories --out build/story-model
# llmkit generate build/story-model --prompt "Once"
# ```
#
# On a machine with eight GPUs, `accelerate` starts the same command eight
# times, and the eight share each batch. Not one line of the training loop
# changes; lesson 08 shows that the result does not change either.
#
# ```
# accelerate launch --num_processes 8 -m llmkit pretrain \
#     --corpus stories --preset small --out build/large
# ```
#
# ## Where to go next
#
# In order: [lesson 01](01_attention.ipynb) opens the model and takes out its
# most important part, one dot product at a time. If you can't wait to train
# on your own text, [lesson 06](06_next_token.ipynb) takes any file. You will
# want to come back for the rest.
