# ---
# jupyter:
#   jupytext:
#     text_representation: {extension: .py, format_name: percent}
#   kernelspec: {display_name: Python 3, language: python, name: python3}
# ---

# %% [markdown]
# # 08 Scaling: the same code on many machines
#
# *The model works. Now it is to be a hundred times larger. What breaks first,
# and what will it cost?*
#
# One answer is to rent eight GPUs, and to see. Here is another: an hour of
# arithmetic, which costs nothing, and then one command. Nothing in the
# training code changes from one process to eight. What changes is who holds
# what, and you will see it move.
#
# **You will leave with** the memory and the time of a training on paper,
# before it runs; gradients averaged by hand, and a bug that sat in famous
# libraries for years; a picture of who holds what under DDP, ZeRO and
# FSDP; two real processes that learn what one does; a run that is killed and
# goes on as if nothing had been; and a plan whose error you measured.
#
# **It takes** about 2 minutes of computing on two idle cores, and two hours
# of you. **It needs** lessons 03 and 06. No network, no GPU.

# %% tags=["parameters"]
profile = "cpu"  # "smoke" (seconds), "cpu" (a laptop) or "gpu"
layers = 32  # a model of your own, for section 4 …
width = 4096  # … and its width, a multiple of 64: with 32, about 7 billion
budget = 100.0  # dollars that you would pay for a training …
deadline = "24h"  # … and how long it may take
seed = 0

# %%
import copy
import json
import os
import shlex
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import nn

from llmkit import figures, planning
from llmkit.batches import NextTokenBatches, evaluation_batches
from llmkit.exercises import (
    band,
    check,
    for_profile,
    hint,
    predict,
    quiz,
    solution,
)
from llmkit.metrics import IGNORE, token_loss
from llmkit.planning import device, named_config, size_of, step_seconds
from llmkit.planning.ranges import say_bytes, say_dollars, say_seconds
from llmkit.stories import stories
from llmkit.tokenizer import WordTokenizer
from llmkit.training import TrainingConfig, best_precision, fit
from llmkit.transformer import Decoder, ModelConfig

began = time.perf_counter()

# %% [markdown]
# ## 1. Arithmetic before compute
#
# How large is GPT-2, the small one? A block has four matrices: queries, keys
# and values in one, $D \times 3D$; $W_O$ after them, $D \times D$; two of the
# MLP, $D \times 4D$ and $4D \times D$. That is $12 D^2$, and $13 D$ for biases
# and norms. Around $L$ blocks stand two tables, of $V$ tokens (it is the head,
# too) and of $T$ positions, and a last norm:
#
# $$N = V D + T D + L\,(12 D^2 + 13 D) + 2 D$$

# %%
gpt2 = named_config("gpt2-124m")
V, T = gpt2.vocab_size, gpt2.context
L, D, H = gpt2.n_layers, gpt2.d_model, gpt2.n_heads
N = V * D + T * D + L * (12 * D**2 + 13 * D) + 2 * D
print(f"{N:,} parameters")

# %% [markdown]
# And how much work is a token? Each weight of a matrix multiplies and adds
# once going forward: 2 operations. Backward there are two such products, one
# for the gradient of the input, one for that of the weight: 4 more. So comes
# the famous rule, **6 operations a parameter and token**, $6N$ a token. (For a
# whole run it is written $6ND$. That $D$ counts tokens; ours is the width.)
#
# The rule leaves something out. Attention compares each token with those
# before it, half of $T$ on average, and that work has no parameters. With $M$
# for the weights in matrices ($12 L D^2$ and the head, $V D$), a token takes
#
# $$6 M + 6 L T D$$

# %%
M = L * 12 * D**2 + V * D
per_token = 6 * M + 6 * L * T * D
size = size_of(gpt2, "gpt2-124m")
assert (size.parameters, size.flops) == (N, per_token)
print(f"by the rule {6 * N / 1e6:,.0f} million operations a token,")
print(f"with attention {per_token / 1e6:,.0f} million")

# %% [markdown]
# A small difference, for texts of 1,024 tokens. Now let them grow.

# %%
contexts = [2**k for k in range(9, 18)]
longer = [planning.flops_per_token(replace(gpt2, context=t)) for t in contexts]
curve = {"GPT-2": (contexts, [work / (6 * N) for work in longer])}

# %%
how = dict(level=("the rule", 1.0), log="x")
figures.lines(curve, "tokens of context", "work, in units of 6N", **how)

# %% [markdown]
# Whoever plans long contexts by $6N$ misses most of the bill.
#
# ### What breaks first?
#
# Let it read 10 billion tokens, on this machine and on one H100. The kit's
# table of devices knows what each can do at best, and which share of that
# training usually reaches: from … to, so the answer is a range, too.

# %%
tokens, batch = 10e9, 2**19  # of the whole run, and of a step
for name, precision in {"cpu": "fp32", "h100": "bf16"}.items():
    step = step_seconds(size, device(name), "single", 1, precision, batch)
    print(f"{name:>5}: {(step * (tokens / batch)).show(say_seconds)}")
print(f"weights: {say_bytes(4 * N)}, and any phone has room for that")

# %% [markdown]
# Time breaks first, and memory is next (section 3). So we need more hands, and
# must make sure that many hands do what one pair did.
#
# ## 2. One batch, many hands
#
# Deal the rows of a batch to $W$ **processes**, each with a copy of the model
# (**data parallel**). Process $r$ (its number is its **rank**) has $n_r$ of
# the $n$ labels, and computes the gradient $g_r$ of *its* mean loss. What we
# want is the gradient $g$ of the mean over all labels, with $\ell_i$ for the
# loss of one:
#
# $$g = \frac{1}{n} \sum_{i=1}^{n} \nabla \ell_i
# = \sum_{r=1}^{W} \frac{n_r}{n}\, g_r$$
#
# First some data, the stories of lesson 06:

# %%
count = for_profile(profile, smoke=1_500, cpu=6_000, gpu=20_000)
text = "\n" + "".join(stories(count, seed=seed + 1))
unseen = "\n" + "".join(stories(60, seed=seed))
tokenizer = WordTokenizer.train(text + unseen)
story_end = tokenizer.encode("\n")[0]
ids, unseen_ids = (torch.tensor(tokenizer.encode(t)) for t in (text, unseen))

# %% [markdown]
# Let rows differ: of each, only the first 2, 4, … or 64 tokens are asked for,
# the rest is ignored (label -100). So it is in practice, where one answer is
# a word and the next a page.

# %%
how = dict(context=64, boundary=story_end, seed=seed)
deck = NextTokenBatches(ids, batch_size=8, **how)
held_out = NextTokenBatches(unseen_ids, batch_size=16, **how)


# %%
def uneven(i, deck=deck):
    """Return a batch whose rows ask for 2 to 64 labels each: (B, T) each."""
    x, y = deck[i]  # (B, T) each
    random = torch.Generator().manual_seed(i)
    asked = 2 ** torch.randint(1, 7, (len(y), 1), generator=random)
    return x, y.masked_fill(torch.arange(64) >= asked, IGNORE)


# %%
x, y = uneven(0)
print("labels a row:", (y != IGNORE).sum(dim=1).tolist())

# %% [markdown]
# Each process then comes to this, on its own rows:


# %%
def gradients(model, x, y):
    """Return the gradient of the mean loss, by weight, and the labels."""
    total, n = token_loss(model(x), y)
    weights = list(model.parameters())
    return list(torch.autograd.grad(total / n, weights)), int(n)


# %%
def farthest(a, b):
    """Return the largest difference between two lists of tensors."""
    return max((u - v).abs().max().item() for u, v in zip(a, b))


# %% [markdown]
# ### Exercise 08.1: implement the average (8 minutes)
#
# `gradients` holds a list for each process, with one tensor for each weight;
# `counts` are the labels $n_r$. Return $g$, one tensor for each weight.


# %%
def average_gradients(gradients, counts):
    """Return the gradient of the whole batch, a list of tensors."""
    ...


average_gradients = check("08.1", average_gradients).best

# %% [markdown]
# Two copies, each with half of the rows, against one model with all of them:

# %%
shape = ModelConfig(
    tokenizer.vocab_size, context=64, n_layers=2, n_heads=4, d_model=64
)
torch.manual_seed(seed)
model = Decoder(shape)

# %%
copies = [copy.deepcopy(model) for _ in range(2)]
whole, n = gradients(model, x, y)
parts = [gradients(m, x[r::2], y[r::2]) for r, m in enumerate(copies)]
shared = average_gradients(*zip(*parts))

# %%
print("labels of the two:", [n_r for _, n_r in parts], "of", n)
print(f"farthest from one big batch: {farthest(shared, whole):.1e}")
print(f"the two from each other: {farthest(parts[0][0], parts[1][0]):.2f}")
assert farthest(shared, whole) < 1e-6

# %% [markdown]
# What is left is rounding: sums in another order. Now let each copy step by
# the average, three times.

# %%
hands = [torch.optim.AdamW(m.parameters(), lr=3e-3) for m in copies]
for i in range(3):
    x_i, y_i = uneven(i)
    own = [gradients(m, x_i[r::2], y_i[r::2]) for r, m in enumerate(copies)]
    average = average_gradients(*zip(*own))
    for m, hand in zip(copies, hands):
        for weight, g in zip(m.parameters(), average):
            weight.grad = g
        hand.step()

# %%
twins = [list(m.parameters()) for m in copies]
print("weights of the copies, from each other:", farthest(*twins))

# %% [markdown]
# The same step from the same weights: they stay twins, and *nobody ever sends
# a weight*. What is sent is a gradient, once a step: each gives its own and
# gets the average of all (**all-reduce**).
#
# The kit's `fit` does not even need the $n_r$. Each process counts the $n$
# labels of the whole batch and divides its *sum* of losses by them. Then
# gradients need only be added up.
#
# ### Exercise 08.2: debug the last batch (12 minutes)
#
# A colleague deals rows so. It worked for months, with full batches.


# %%
def loses_rows(rows, W):
    """Return, for each of W processes, its rows and what their mean counts."""
    size = len(rows) // W
    return [(rows[r * size : (r + 1) * size], 1 / W) for r in range(W)]


# %% [markdown]
# Then came a last batch with three rows.

# %%
last = [2.0, 4.0, 9.0]  # the losses of its rows
for W in (1, 2, 3, 4):
    dealt = loses_rows(last, W)
    means = [sum(s) / len(s) if s else float("nan") for s, _ in dealt]
    loss = sum(weight * m for m, (_, weight) in zip(means, dealt))
    print(f"W = {W}: loss {loss:.2f}")

# %% [markdown]
# The loss must not depend on $W$. Return, for each process, the rows that it
# computes and what its mean counts. Each row counts once, shares differ by one
# row at most, and no process stays away: the others would wait for it for
# ever.


# %%
def deal(rows, W):
    """Return W pairs: a list of rows (never empty), and a weight."""
    ...


deal = check("08.2", deal).best

# %%
for W in (1, 2, 3, 4):
    means = [weight * sum(s) / len(s) for s, weight in deal(last, W)]
    print(f"W = {W}: loss {sum(means):.2f}")

# %% [markdown]
# ### The same hands, one after another
#
# Who has one device can play all $W$ processes in turn: compute a piece of
# the batch, keep the gradient, and step only after the last piece
# (**gradient accumulation**). It costs nothing but time, and saves what grows
# with the rows. Backward adds gradients up by itself, so each piece needs its
# sum over the $n$ of *all* pieces:


# %%
def accumulate(model, x, y, pieces, bug=False):
    """Leave the gradient of a batch in the model, piece by piece."""
    n = (y != IGNORE).sum()
    for rows, labels in zip(x.chunk(pieces), y.chunk(pieces)):
        total, own = token_loss(model(rows), labels)
        loss = total / own / pieces if bug else total / n
        loss.backward()


# %% [markdown]
# With `bug=True` it does what looks just as right: the mean loss of each
# piece, divided by the number of pieces. That is the **mean of means**.


# %%
def error(model, x, y, pieces, bug):
    """Return how far the gradient is off, as a share of its length."""
    found = copy.deepcopy(model)
    accumulate(found, x, y, pieces, bug)
    g = nn.utils.parameters_to_vector(gradients(model, x, y)[0])
    ours = torch.cat([p.grad.flatten() for p in found.parameters()])
    return ((ours - g).norm() / g.norm()).item()


# %%
pieces = [2, 4, 8]
errors = {
    name: (pieces, [error(model, x, y, p, bug) for p in pieces])
    for name, bug in {"sums over n": False, "mean of means": True}.items()
}
figures.lines(errors, "pieces", "error of the gradient", log="y")

# %% [markdown]
# The correct way is exact but for rounding, for any number of pieces. The
# other one gets worse with each cut: with 8 pieces, a row of 2 labels has the
# same say as a row of 64, and the error is about as long as the gradient.
# Does that matter? The loss goes down either way, which is why hardly anybody
# noticed: reported in 2021, the bug was still in the trainers that most people
# used in October 2024. Train both, from the same weights on the same rows.

# %%
judged = [uneven(i, held_out) for i in range(2)]


@torch.no_grad()
def judge(model):
    """Return the loss over all labels held out, each counted once."""
    told = [token_loss(model(x), y) for x, y in judged]
    return (sum(t for t, _ in told) / sum(n for _, n in told)).item()


# %%
def trained(bug, lot, steps):
    """Train by accumulation; return the losses on the way, and the model."""
    torch.manual_seed(lot)
    model, curve = Decoder(shape), []
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for i in range(steps):
        accumulate(model, *uneven(i + 1000 * lot), 8, bug)
        optimizer.step()
        optimizer.zero_grad()
        if (i + 1) % (steps // 8) == 0:
            curve.append(judge(model))
    return curve, model


# %% [markdown]
# Luck must not decide, so each is trained from several seeds.

# %%
steps, lots = for_profile(profile, smoke=(8, 1), cpu=(200, 3), gpu=(400, 5))
curves = {"mean of means": [], "sums over n": []}
for lot in range(lots):
    for name, told in curves.items():
        curve, model = trained(name == "mean of means", lot, steps)
        told.append(curve)
    ends = ", ".join(f"{k} {told[-1][-1]:.3f}" for k, told in curves.items())
    print(f"seed {lot}, at the end: {ends}")

# %%
at = list(range(steps // 8, steps + 1, steps // 8))
means = {k: (at, torch.tensor(curves[k]).mean(dim=0)) for k in errors}
figures.lines(means, "steps", "nats a label, held out")

# %% [markdown]
# It learns, later. You would call it a bad learning rate, or bad luck. That is
# what makes it expensive.
#
# ### More rows are another recipe
#
# All of this keeps the *batch* as it was. Eight devices with as many rows
# *each* as one had make a batch eight times larger, and that is another
# recipe. What about the learning rate? "Multiply it by eight", says the
# **linear scaling law**. Let us ask: 8 rows and 64 rows, the same number of
# tokens, several rates.

# %%
evaluation = evaluation_batches(unseen_ids, 64, boundary=story_end)
read = for_profile(profile, smoke=8, cpu=640, gpu=640)  # batches of 8
several = for_profile(profile, smoke=1, cpu=5, gpu=6)
rates = [0.004 * 2**k for k in range(several)]


def loss_at(rate, rows):
    torch.manual_seed(seed)
    steps = read * 8 // rows
    config = TrainingConfig(steps, learning_rate=rate, warmup=0.2)
    rows_of = replace(deck, batch_size=rows)
    *_, last = fit(Decoder(shape), rows_of, config, evaluation)
    return last.val_loss


# %%
found = {f"{b} rows": [loss_at(r, b) for r in rates] for b in (8, 64)}
for name, told in found.items():
    print(f"{name}: best at {rates[told.index(min(told))]}")

# %%
swept = {name: (rates, told) for name, told in found.items()}
picture = figures.lines(swept, "learning rate", "nats a token", log="x")
axes = picture.figure.axes[0]
axes.minorticks_off()
axes.set_xticks(rates, rates)
picture

# %% [markdown]
# Is it eight times? Look where each line is lowest (one seed each, so that
# neighbours may change places). And 64 rows stay above 8 rows, for they made
# an eighth of the steps. Eight times is a rule of thumb, found with SGD on
# pictures (Goyal et al. 2017). Adam's steps do not even grow with the
# gradient; there √8 is a better place to begin looking (Malladi et al. 2022),
# and beyond some batch no rate makes up for the steps that are missing
# (McCandlish et al. 2018). In the kit `--batch-size` counts the rows of *all*
# processes: add devices, and the recipe stays.
#
# ## 3. What fills a device
#
# ### Exercise 08.3: predict (3 minutes)
#
# A model of **1 billion parameters** is trained with AdamW in float32. How
# many gigabytes do the weights take, with all that training keeps beside each
# of them by the end of backward? Leave out what grows with the text.

# %%
guess = None  # gigabytes, of 10⁹ bytes
mine = predict("08.3", guess)

# %% [markdown]
# With 4 bytes a number, a parameter has a weight, a gradient, and AdamW's two
# averages, of the gradient and of its square:
#
# $$\text{state} = (4 + 4 + 8)\, N \text{ bytes}$$
#
# Then come the **activations**: what backward needs of forward. A GPT-2 block
# keeps of each token its two norms' inputs and results, $4D$; queries, keys
# and values, $3D$; the mixture, $D$; the MLP's inside, before and after its
# activation, $8D$; and a number for each head. After the blocks, $2D$ more:
#
# $$\text{activations} = 4\,B\,T\,\bigl(L\,(16 D + H) + 2 D\bigr)
# \text{ bytes}$$
#
# For GPT-2, by hand and by the kit:

# %%
B = 8  # rows of T tokens
by_hand = {
    "weights": 4 * N,
    "gradients": 4 * N,
    "averages": 8 * N,
    "activations": 4 * B * T * (L * (16 * D + H) + 2 * D),
}

# %%
held = planning.memory(size, "single", rows=B)
kits = held.parameters, held.gradients, held.optimizer, held.activations
assert tuple(by_hand.values()) == kits

# %%
for name, amount in by_hand.items():
    print(f"{name:>11}: {say_bytes(amount)}")
at_the_loss = held.buffers_in["logits"]
print(f"     logits: {say_bytes(at_the_loss)}, at the loss alone")
billion = 1e9 * (4 + 4 + 8) / 1e9
print(f"\nand the state of a billion parameters: {billion:g} GB")
mine.reveal(billion)

# %% [markdown]
# Weights and gradients are the smallest parts. The state is four times the
# weights, and what rows leave behind comes on top. At the loss, 50,257 logits
# for each token, three times over, rival all that the blocks keep. Activations
# can be given up: keep only each block's input and compute the rest again
# (**activation checkpointing**), for a third more work. The state cannot. It
# can be cut.
#
# ## 4. Where each piece lives
#
# With data parallel (**DDP**, distributed data parallel) eight devices hold
# the same state eight times. **ZeRO** (zero redundancy optimizer, Rajbhandari
# et al. 2020) cuts it in as many shares as there are devices, more of it each
# time: the averages (ZeRO-1), the gradients too (ZeRO-2), the weights too
# (ZeRO-3; in PyTorch **FSDP2**, fully sharded data parallel). Each device owns
# one share. What it needs of others must be sent. Two words stand over the
# pictures: **reduce-scatter** adds up gradients and leaves each rank the sum
# of its share; **all-gather** gives every rank the shares of all.
#
# Move the slider through one step of training, key by key if you like: the
# arrow keys work. Watch one rank. When does it hold more than its own?

# %%
moments = planning.moment_names(blocks=3)


def draw_moment(strategy, ranks, moment):
    """Draw who holds which piece at a moment of a step."""
    now = planning.holdings(strategy, ranks, moment, blocks=3)
    bytes_each = [now.bytes_each(rank) for rank in range(ranks)]
    notes = [f"{amount:.1f} bytes" for amount in bytes_each]
    title = f"{strategy}, moment {moment}: {now.words}"
    return figures.shards_picture(now.held, notes, title)


# %%
cut = ["fsdp2", "zero2", "zero1", "ddp"]
figures.play(
    draw_moment,
    strategy=figures.choice("strategy", cut),
    ranks=figures.slider("ranks", 2, 8, 4),
    moment=figures.slider("moment", 0, len(moments) - 1, 5),
)

# %% [markdown]
# On the right stand the bytes that a rank holds for each parameter of the
# model, in float32. Here they are through the whole step, for eight ranks:

# %%
places = list(range(len(moments)))
through = {}
for name in reversed(cut):
    now = [planning.holdings(name, 8, i) for i in places]
    through[name] = (places, [moment.bytes_each(0) for moment in now])

# %%
y_axis = "bytes a parameter, each rank"
picture = figures.lines(through, "moment of the step", y_axis)
axes = picture.figure.axes[0]
axes.set_xticks(places, moments, rotation=40, ha="right")
picture

# %% [markdown]
# So is ZeRO-3 always best? Count what a device sends in a step for it. To
# average $N$ numbers around a ring of $W$ devices, each sends $2N(W-1)/W$:
# half of it to cut and add up (reduce-scatter), half to gather the sums
# (all-gather). ZeRO-1 and ZeRO-2 send as much: of the gradients they need the
# first half only, but after the update the new weights must be gathered. And
# where weights are cut, each block is gathered twice, for forward and
# backward, and again for each piece of an accumulated batch.

# %%
from llmkit.planning.timing import traffic

ways = {
    "ddp": ("ddp", "bf16", 1),
    "fsdp2, bf16": ("fsdp2", "bf16", 1),
    "fsdp2, fp32": ("fsdp2", "fp32", 1),
    "fsdp2, batch in 4": ("fsdp2", "bf16", 4),
}
edges = ("ddp", "fsdp2, batch in 4")

# %%
sent = {}
for name, (strategy, precision, many) in ways.items():
    total = traffic(size, strategy, 8, precision, many) / 1e9
    averaged = 4 * N * 7 / 8 / 1e9 * (2 if strategy == "ddp" else 1)
    sent[name] = {"gradients": averaged, "weights": total - averaged}
figures.stacked(sent, "GB that each of 8 devices sends a step")

# %% [markdown]
# In float32 it is the half more that the ZeRO paper counts. Where weights
# travel in 16 bits it is no more than DDP's, until batches come in pieces.
# Does that matter? Devices talk while they compute. How long for each?

# %%
h100 = device("h100")
work = step_seconds(size, h100, "single", 1, "bf16", batch // 8).likely
wires = {"in one machine": h100.link, "between machines": h100.network}
wires["at 10 Gbit/s"] = 10e9 / 8  # bytes a second
print(f"computing: {1e3 * work:.0f} ms; talk:")
for wire, speed in wires.items():
    least, most = (sum(sent[way].values()) * 1e9 / speed for way in edges)
    print(f"{wire:>16}: {1e3 * least:.0f} ms for ddp, ", end="")
    print(f"{1e3 * most:.0f} ms for fsdp2 with its batch in 4")

# %% [markdown]
# What is short hides behind the computing, and what is long makes all wait. So
# cut what does not fit, and nothing else.
#
# ### Play: your model on their GPUs
#
# Your own model is the one with the `layers` and the `width` of the first
# code cell.

# %%
own = ModelConfig.preset(
    "modern", n_layers=layers, d_model=width, n_heads=max(1, width // 64)
)
sizes = {"my own": size_of(own, "my own")}
for name in ("gpt2-124m", "gpt2-355m", "gpt2-1.5b"):
    sizes[name] = size_of(named_config(name), name)

# %%
huge = replace(own, n_layers=80, d_model=8192, n_heads=64)
sizes["80 layers of 8192"] = size_of(huge)
kinds = ["parameters", "gradients", "optimizer", "activations", "buffers"]

# %% [markdown]
# Each bar is what *one* H100 would hold, part by part, each at its fullest
# (they do not all peak at the same moment). The dashed line is what it has.
# Which is the simplest strategy that stays below?
#
# Two things surprise. ZeRO is DeepSpeed's here, which in bf16 holds weights
# and gradients in 2 bytes each, and a float32 copy of the weights among the
# optimizer's numbers, where it is cut: so zero1 halves what it does not cut.
# And ddp holds more than one GPU alone: its buffers have a second copy of the
# gradients, to send. (Buffers also hold the logits, 16-bit copies of weights,
# and what the allocator keeps back.)


# %%
def draw_memory(model, gpus, rows, checkpoints):
    """Draw what one GPU holds under each strategy, in bf16."""
    bars, size = {}, sizes[model]
    for name in planning.STRATEGIES:
        many = 1 if name == "single" else gpus
        again = checkpoints == "yes"
        how = (name, rows, many, "bf16", again)
        one = planning.memory(size, *how, place="gpu")
        bars[name] = {kind: getattr(one, kind) / 1e9 for kind in kinds}
    count = f"{size.parameters / 1e9:.3g} billion parameters"
    title = f"{model}: {count}, {gpus} GPUs"
    level = ("an H100", h100.memory / 1e9)
    return figures.stacked(bars, "GB on each GPU", title, level)


# %%
figures.play(
    draw_memory,
    model=figures.choice("model", list(sizes)),
    gpus=figures.slider("GPUs", 2, 64, 8),
    rows=figures.slider("rows a GPU", 1, 32, 1),
    checkpoints=figures.choice("checkpointing", ["no", "yes"]),
)

# %% [markdown]
# With few parameters and many rows, all bars are alike: none of these
# strategies cuts activations (tensor parallelism does, which we leave out),
# so only fewer rows or checkpointing help. With many parameters the state
# rules, and each cut is a step down.
#
# ## 5. Precision
#
# GPUs multiply 16-bit numbers many times as fast as 32-bit ones. There are
# two kinds. **float16** has more digits, **bfloat16** has the range of
# float32.

# %%
for dtype in (torch.float32, torch.float16, torch.bfloat16):
    info = torch.finfo(dtype)
    digits, least = f"{info.eps:.1e}", f"{info.smallest_normal:.1e}"
    print(f"{str(dtype)[6:]:>8}: steps of {digits} around 1, ", end="")
    print(f"full digits from {least}, up to {info.max:.1e}")

# %% [markdown]
# Do gradients fit? Take real ones, of the model that section 2 trained last:
# at the logits, where backward begins, and at the weights.

# %%
z = model(x)  # (B, T, V)
z.retain_grad()
total, n = token_loss(z, y)
model.zero_grad()
(total / n).backward()

# %%
at_weights = torch.cat([p.grad.flatten() for p in model.parameters()])
real = {"at the logits": z.grad.flatten(), "at the weights": at_weights}
real = {name: g[g != 0].abs() for name, g in real.items()}

# %%
zones = {"zero in float16": (-200, -25), "few digits left": (-25, -14)}
logs = {name: g.log2().numpy() for name, g in real.items()}
figures.histogram(logs, "log₂ of a gradient's size", zones=zones)

# %% [markdown]
# What falls below $2^{-25}$ becomes zero, without a word. The logits' gradient
# is $(p - \text{label})/n$: the better the model, the smaller its $p$ for
# wrong tokens, and all that it would still learn from them is lost.
#
# The cure is a **loss scale** $S$. Multiply the loss by it, and by the chain
# rule all gradients are $S$ times as large; divide by $S$ before the step.
# How large may it be? Too large, and gradients overflow to infinity.


# %%
def lost(S, dtype):
    """Return the share that ends as zero or infinity, of the worse kind."""
    scaled = [(g * S).to(dtype) for g in real.values()]
    gone = [((g == 0) | g.isinf()).float().mean().item() for g in scaled]
    return max(gone)


# %%
powers = list(range(0, 41, 2))
formats = {"float16": torch.float16, "bfloat16": torch.bfloat16}
shares = {
    name: (powers, [lost(2.0**k, dtype) for k in powers])
    for name, dtype in formats.items()
}
figures.lines(shares, "log₂ of the loss scale", "share that is lost")

# %%
without = lost(1, torch.float16)
best = min(powers, key=lambda k: lost(2.0**k, torch.float16))
scaled = lost(2.0**best, torch.float16)
print(f"float16 loses {without:.1%} of the kind that loses more;")
print(f"with a scale of 2^{best} {scaled:.2%}; bfloat16 ", end="")
print(f"{lost(1, torch.bfloat16):.1%}, without any")

# %% [markdown]
# When gradients shrink, the valley moves to the right, so a *scaler* must
# follow it: raise $S$ until something overflows, skip that step, halve it.
# bfloat16 needs none of this: its range is float32's. It pays in digits, which
# sums must not do: a weight of 1 and a step of 0.001 give

# %%
one = torch.tensor(1.0)
print("bfloat16:", (one.bfloat16() + 0.001).item())
print(" float32:", (one + 0.001).item())

# %% [markdown]
# In bfloat16 nothing happened. So weights, averages and long sums stay in
# float32, and only products go through 16 bits: **mixed precision**. It saves
# no memory of the state, and is *not* always faster: each product must convert
# its inputs, and not every chip multiplies bfloat16. Measure yours.

# %%
where = "cuda" if torch.cuda.is_available() else "cpu"


def pass_seconds(layer, x, half):
    """Return the seconds of a pass forward and back."""
    times = []
    for _ in range(9):
        start = time.perf_counter()
        with torch.autocast(where, torch.bfloat16, enabled=half):
            layer(x).sum().backward()
        if where == "cuda":
            torch.cuda.synchronize()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


# %%
faster, advice = {}, {}
for D_in in (32, 128, 512, 1024):
    layer = nn.Linear(D_in, D_in).to(where)
    inputs = torch.randn(1024, D_in, device=where)
    slow, fast = (pass_seconds(layer, inputs, half) for half in (False, True))
    faster[f"width={D_in}"] = slow / fast
    advice[D_in] = best_precision(layer).replace("no", "fp32")

# %%
print("what fit would take here:", advice)
picture = figures.bars(faster, "speed in bfloat16 (in float32: 1)")
picture.figure.axes[0].axhline(1, color="black", linestyle="--")
picture

# %% [markdown]
# Below the line it is slower. The kit's `precision="auto"` goes by a rule of
# device and width, not by this measurement: near the line the two may differ.
#
# ## 6. The same command, twice the processes
#
# Now for real. `llmkit launch` starts a command in as many processes as you
# say; each learns by its environment who it is, and trains on its share. They
# start outside of this notebook (as `python -m llmkit`, with the notebook's
# own Python), and must not inherit what a launcher may have told *it*.

# %%
box = tempfile.TemporaryDirectory(prefix="lesson-08-")
folder = Path(box.name)  # it goes when this notebook ends
told = ("RANK", "LOCAL_", "WORLD_", "MASTER_", "ACCELERATE_", "TORCHELASTIC")
clean = {k: v for k, v in os.environ.items() if not k.startswith(told)}
clean["ACCELERATE_USE_CPU"] = "true"  # here all of them work on the CPU,
clean["OMP_NUM_THREADS"] = "1"  # each with one thread: sums in one order


# %%
def start(command):
    """Start a command of llmkit's beside this notebook."""
    print("$", command)
    return subprocess.Popen(
        [sys.executable, "-m", *shlex.split(command)],
        cwd=folder,
        env=clean,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


# %% [markdown]
# The flags are those of a large run, but for the shape: GPT-2's recipe, AdamW,
# 16 rows a step *whoever computes them*. And a checkpoint every thousandth of
# a second, which is after each step.

# %%
length = for_profile(profile, smoke=8, cpu=60, gpu=60)
flags = (
    "--corpus stories --size 200000 --tokenizer word --preset gpt2-124m "
    "--layers 2 --width 64 --heads 4 --context 64 --batch-size 16 "
    f"--max-steps {length} --precision fp32 --save-every 0.001 --track none"
)

# %% [markdown]
# Two processes need two cores that this notebook may use (in a container they
# can be fewer than the machine has). `llmkit launch` refuses more processes
# than cores. Where there is only one core, one process takes both shares in
# turn, as in section 2.

# %%
cores = planning.usable_cores()
way, shared_by = "launch cpu --processes 2 -- pretrain", "two processes"
if cores == 1:
    way, shared_by = "pretrain --accumulation 2", "one process in two pieces"
    print("one core: no second process, but one that takes two pieces in turn")

# %%
one = start(f"llmkit pretrain {flags} --out one")
two = start(f"llmkit {way} {flags} --out two")
killed = start(f"llmkit pretrain {flags} --out killed")

# %% [markdown]
# Every run writes a line a step into its `metrics.jsonl`. The third run will
# not reach its end.


# %%
def steps_of(name):
    """Return what a run has written down so far, step by step."""
    log = folder / name / "metrics.jsonl"
    lines = log.read_text().splitlines() if log.exists() else []
    return [json.loads(line) for line in lines if line.endswith("}")]


# %%
while len(steps_of("killed")) < length // 3 and killed.poll() is None:
    time.sleep(0.005)
killed.kill()  # SIGKILL: no last words, no tidying up
killed.communicate()
print(f"killed after step {len(steps_of('killed'))} of {length}")

# %% [markdown]
# A checkpoint is written under another name and renamed when it is whole, so
# whatever the moment of death, there is a good one or none. Go on from it,
# with the same command and `--resume`, while the others finish.


# %%
def finish(**running):
    """Wait for commands to end, and say how far each is meanwhile."""
    told = time.monotonic()
    while any(run.poll() is None for run in running.values()):
        time.sleep(0.1)
        if time.monotonic() - told > 3:
            far = [f"{name} {len(steps_of(name))}" for name in running]
            print("steps: " + ", ".join(far))
            told = time.monotonic()
    for name, run in running.items():
        said, _ = run.communicate()
        if run.returncode:
            raise RuntimeError(f"{name} failed:\n{said[-2000:]}")
    print("all at their end")


# %%
killed = start(f"llmkit pretrain {flags} --out killed --resume")
finish(one=one, two=two, killed=killed)

# %% [markdown]
# Now lay the curve of the shared batch over that of the whole one.

# %%
logs = {name: steps_of(name) for name in ("one", "two", "killed")}
losses = {name: [s["loss"] for s in log] for name, log in logs.items()}
at = list(range(1, length + 1))

# %%
names = {"one process": "one", shared_by: "two"}
laid = {told: (at, losses[name]) for told, name in names.items()}
figures.lines(laid, "step", "nats a token")

# %% [markdown]
# Two lines, one on top of the other. How far apart, at the worst step, and in
# the last weights? And the run that died?


# %%
def apart(a, b):
    """Return the largest difference between the weights of two runs."""
    a, b = (load_file(folder / name / "model.safetensors") for name in (a, b))
    return max((a[k] - b[k]).abs().max().item() for k in a)


# %%
pairs = list(zip(losses["one"], losses["two"], strict=True))
loss_apart = max(abs(a - b) for a, b in pairs)
resumed_apart = apart("one", "killed")
print(f"one process and {shared_by}: losses {loss_apart:.1e} ", end="")
print(f"and weights {apart('one', 'two'):.1e} apart")
print(f"uninterrupted and resumed: weights {resumed_apart} apart")
assert losses["killed"] == losses["one"]

# %% [markdown]
# Between a whole batch and a shared one there is rounding. (GPT-2's preset
# here has no dropout. With it, each share would throw its own dice.) Between a
# run that was killed and one that was not there is *nothing*, not a bit:
# weights, averages, schedule, order of the data, and the dice of dropout where
# there is any, are part of the state, or follow from the step's number.
#
# (Was it faster? These runs can't tell, as three shared the cores. For so
# small a model, talk eats what two hands gain. Processes pay where each brings
# a device of its own.)
#
# ## 7. Plan, then measure
#
# A plan for a machine that you have can begin with a probe: 20 steps of the
# very model, in a process of its own. Half of them are on so many rows, half
# on twice as many; a line through both gives the seconds of a step and of a
# token, whatever the batch.

# %%
large = for_profile(profile, smoke=(1, 64), cpu=(4, 128), gpu=(8, 512))
probed = ModelConfig(2048, 128, large[0], n_heads=4, d_model=large[1])
probed_size = size_of(probed)
here = device(planning.here() or "l4")  # an unknown GPU: trust the probe alone

# %%
probe = planning.calibrate(probed, probed_size, here)
print(f"{probe.step:.3f} s a step, {probe.token * 1e6:.0f} µs a token")

# %% [markdown]
# From that line, a run of 24 rows a step:

# %%
rows = 24  # the probe had 16 and 32
run_steps = for_profile(profile, smoke=4, cpu=40, gpu=200)
how = ("single", 1, "fp32", rows * 128)

# %%
by_table = step_seconds(probed_size, here, *how) * run_steps
planned = step_seconds(probed_size, here, *how, measured=probe) * run_steps
print("by the table of devices:", by_table.show(say_seconds))
print("by the probe:           ", planned.show(say_seconds))

# %% [markdown]
# Now the run itself, with nothing known of its outcome.

# %%
random_ids = torch.randint(2048, (rows, 128))
config = TrainingConfig(run_steps, precision="fp32")
run = fit(Decoder(probed), [(random_ids, random_ids)] * run_steps, config)
*_, last_step = run
predicted, measured = planned.likely, last_step.seconds
print(f"predicted {predicted:.2f} s, measured {measured:.2f} s")

# %% [markdown]
# ### Exercise 08.4: measure the error of the plan (5 minutes)
#
# By how much did `predicted` miss, as a share of the truth? Below zero if the
# run took longer than the plan said.

# %%
from llmkit.exercises.lesson_08 import missed

plan_error = ...  # from `predicted` and `measured`
truth = missed(predicted, measured)
plan_error = check("08.4", plan_error, truth=truth).best
print(f"the plan was off by {truth:+.1%}; the table by ", end="")
print(f"{by_table.likely / measured - 1:+.0%}")

# %% [markdown]
# A table knows the chip, a probe knows *this* machine, today. The table is why
# plans state a range, and a probe is why you rent one hour before you rent a
# hundred. (Where something else ran meanwhile, a probe errs, and the table may
# even come nearer.)
#
# ### GPT-2 on eight H100s
#
# `llmkit plan --preset gpt2-124m --tokens 10e9 --gpu h100 --gpus 8` weighs
# every strategy and says which to take, why, what it costs and how to start
# it:

# %%
from llmkit.planning.report import say, show

question = planning.PlanOptions("gpt2-124m", tokens=10e9, gpu="h100", gpus=8)
show(planning.answer(question))

# %% [markdown]
# No strategy is faster than the plainest one here. The state is small, 32 rows
# are enough to keep a device busy, and talk hides behind the computing.
#
# ### Your budget
#
# `budget` and `deadline` stand in the first code cell. Which GPUs are likely
# to keep both, for those 10 billion tokens? (`llmkit plan` takes them as
# `--budget` and `--deadline`; where it can't be done, it says what could.)

# %%
from llmkit.planning.asking import seconds

rented = [name for name in planning.device_names() if device(name).price]
plans = []
for gpu in rented:
    for gpus in (1, 8):
        plan = planning.answer(replace(question, gpu=gpu, gpus=gpus))
        plans.append((gpu, plan.chosen))

# %%
good = [
    (gpu, way)
    for gpu, way in plans
    if way.dollars.likely <= budget and way.seconds.likely <= seconds(deadline)
]
good.sort(key=lambda pair: pair[1].dollars.likely)
print(f"{len(good)} of {len(plans)} keep ${budget:g} and {deadline}")

# %%
for gpu, way in good[:8]:
    cost, takes = way.dollars.likely, way.seconds.likely
    print(f"{way.devices} × {gpu:<9} {way.name:<6} ", end="")
    print(f"{say_dollars(cost):>6} in {say_seconds(takes)}")

# %% [markdown]
# Money hardly depends on the number of devices: twice as many for half the
# time. What you buy with more of them is the evening.
#
# ### Must you train it at all?
#
# The cheapest training is the one that somebody else paid for. `llmkit choose`
# follows a rule of thumb, and gives its reasons, of which these come first:

# %%
from llmkit.planning.choosing import ChooseOptions, choose

asked = [
    ChooseOptions("sort mails into 5 classes", 20),
    ChooseOptions("sort mails into 5 classes", 3_000),
    ChooseOptions("a language model of old letters", 100_000, "gpu"),
]

# %%
for task in asked:
    choice = choose(task)
    print(f"{task.task}, {task.examples:,} examples: {choice.technique}")
    say(choice.reasons[0], "  - ")

# %% [markdown]
# ### Exercise 08.5: choose, and say why (6 minutes)
#
# Three situations, three techniques. Give each a technique and the reason
# that decides it. Some reasons are no reasons.

# %%
from llmkit.exercises.lesson_08 import REASONS, SITUATIONS, TECHNIQUES

for name, situation in SITUATIONS.items():
    print(f"{name}: {situation}")
print("\ntechniques:", ", ".join(TECHNIQUES), "\nreasons:")
for name, reason in REASONS.items():
    print(f"  {name:>8}: {reason}")

# %%
choices = {
    "A": (..., ...),  # a technique and a reason, by their names
    "B": (..., ...),
    "C": (..., ...),
}
check("08.5", choices)

# %% [markdown]
# ## 8. What you measured

# %%
results = {
    "pieces minus whole": farthest(shared, whole),
    "mean of means, error": errors["mean of means"][1][-1],
    "lost in float16": without,
    "lost with a loss scale": scaled,
    "two shares minus one": loss_apart,
    "resumed minus uninterrupted": resumed_apart,
    "error of the plan": truth,
    "seconds": time.perf_counter() - began,
}
band("08", profile, results)

# %% [markdown]
# ## Recap
#
# - Do the arithmetic first: $N$, $6N$ a token *and attention*, 16 bytes a
#   parameter, and activations that grow with the rows.
# - Sums and counts add up, means do not. With sums, one process, two, and
#   accumulation are the same training (without dropout).
# - A larger batch is another recipe; its learning rate must be looked for.
# - DDP holds all of it everywhere. ZeRO and FSDP cut it, for more talk: cut
#   what does not fit.
# - float16 loses small gradients unless the loss is scaled, bfloat16 does not.
#   Neither is always faster.
# - A run is resumed when its weights are equal, bit for bit.
# - A plan without an error is a guess. Probe, predict, measure.

# %%
quiz("08")

# %% [markdown]
# ## Scale it
#
# The command of section 6, with other launch files and larger models. From
# `ddp` on they expect eight GPUs (`--processes 2`: two), and the last two need
# `pip install deepspeed`:
#
# ```sh
# C="--corpus my.txt --tokenizer bpe --vocab-size 50257"
# llmkit launch gpu -- pretrain $C --preset small --out a
# llmkit launch ddp -- pretrain $C --preset gpt2-124m --out b
# llmkit launch fsdp2 -- pretrain $C --preset gpt2-1.5b --out c
# llmkit launch deepspeed-zero2 -- pretrain $C --preset gpt2-355m --out d
# llmkit launch deepspeed-zero3 -- pretrain $C --preset gpt2-1.5b --out e
# ```
#
# On two machines with eight GPUs each, the same on both but for the number,
# with `--out` on a disk that both see:
#
# ```sh
# llmkit launch two-nodes --machine 0 --address ADDRESS -- pretrain …
# llmkit launch two-nodes --machine 1 --address ADDRESS -- pretrain …
# ```
#
# Each prints the `accelerate launch` command that it runs, and each name is a
# commented file of some lines in `llmkit/launch`. With `--max-restarts 3` a
# run that dies goes on by itself, from its last checkpoint. (Bit for bit, if
# the device adds up in one order each time: our CPU did, GPUs may not.)
#
# That was the last lesson. You began with a dot product.
