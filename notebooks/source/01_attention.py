# ---
# jupyter:
#   jupytext:
#     text_representation: {extension: .py, format_name: percent}
#   kernelspec: {display_name: Python 3, language: python, name: python3}
# ---

# %% [markdown]
# # 01 Attention: a soft look-up
#
# > *the cat sat on the mat because it was tired*
#
# Who was tired? You know at once that it was the cat: mats rarely complain.
# A model does not know. It holds one vector, a short list of numbers, for
# each word, and the vector of "it" is the same in every sentence of the
# language. **How can a vector find out what it refers to?**
#
# It asks the others. That is attention, the one place in a Transformer where
# words meet. After this lesson you can
#
# - work out attention on paper, and then write it in four lines;
# - say why the scores are divided by $\sqrt{K}$, having seen what happens
#   when they are not;
# - hide the future, and spot a mask that only seems to hide it;
# - split attention into heads, and prove that two can do what one cannot;
# - say what attention costs, and what torch does about it.
#
# **Takes** about 50 minutes with the exercises; the code runs in less than
# one minute on a 2-core CPU. **Needs** Python, the dot product, and lesson 00
# for how checks and hints work.

# %% tags=["parameters"]
profile = "cpu"  # "smoke" (seconds), "cpu" (a laptop) or "gpu"
seed = 0

# %%
import math
import time

import torch
import torch.nn.functional as F
from torch import nn

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

torch.set_num_threads(1)  # small sums: a second thread only gets in the way
random = torch.Generator().manual_seed(seed)

# %% [markdown]
# ## 1. A dict that matches a little
#
# You have used a look-up a thousand times. A Python dict has **keys** and
# **values**. You come with a **query**: if it equals a key, you get that
# key's value. If not, you get nothing.

# %%
legs = {"cat": 4, "on": 0, "mat": 0}
print("cat:", legs.get("cat"), "   it:", legs.get("it"))

# %% [markdown]
# All or nothing is no use here: "it" equals no other word. So let keys match
# *a little*. Give each word a key of two numbers that says what it offers:
# how alive it is, and how good to lie on. The query of "it", in a sentence
# about being tired, says what it seeks: something alive above all, and
# perhaps something soft. Here they are, small enough for paper. We made these
# numbers up; where real ones come from is the end of section 5.

# %%
words = ["cat", "on", "mat"]
k = torch.tensor([[1.0, 0.0], [-1.0, 1.0], [0.0, 1.0]])  # (S, K) keys
q = torch.tensor([2.0, 1.0])  # (K,) the query of "it"
arrows = {f"key of {w}": ([0, x], [0, y]) for w, (x, y) in zip(words, k)}
arrows["query of it"] = ([0, q[0]], [0, q[1]])
figures.lines(arrows, "alive", "good to lie on", "keys and a query")

# %% [markdown]
# How well does key $s$ match the query? The dot product says: multiply number
# by number and add up. It is large where both point the same way, zero at a
# right angle, negative where they disagree. Call it the score $z_s$:
#
# $$z_s = q \cdot k_s = q_1 k_{s1} + q_2 k_{s2}$$
#
# **Take a pencil** and work out the three scores before you run the cell.

# %%
z = k @ q  # (S,)
z

# %% [markdown]
# A look-up should give each key a *share*: positive, and all together 1.
# Dividing the scores by their sum will not do, since one is negative.
# **Softmax** first makes every score positive with $e^z$, then divides:
#
# $$w_s = \frac{e^{z_s}}{\sum_j e^{z_j}}$$
#
# One point more in the score is $e \approx 2.7$ times the share. With
# $e^2 \approx 7.4$, $e^1 \approx 2.7$ and $e^{-1} \approx 0.4$ you can still
# do it by hand.
#
# **Guess first:** what share does the cat get: half, two thirds, all of it?

# %%
w = z.exp() / z.exp().sum()  # (S,)
print({word: round(share, 3) for word, share in zip(words, w.tolist())})

# %% [markdown]
# Each key comes with a **value** $v_s$: what that word hands over. Ours holds
# two facts about it, its legs and its letters. What the look-up returns is
# the average of all the values, weighed by their shares:
#
# $$o = \sum_s w_s\, v_s$$

# %%
v = torch.tensor([[4.0, 3.0], [0.0, 2.0], [0.0, 3.0]])  # (S, 2) values
legs_of_it, letters_of_it = (w @ v).tolist()
print(f"it has {legs_of_it:.2f} legs and {letters_of_it:.2f} letters")

# %% [markdown]
# "It" has become mostly a cat: nearly three legs, since the mat has none and
# took a share. That is all there is to attention. **A key is what a word is
# found by, a value is what it gives.** They need not have anything in common,
# not even their width.
#
# The dict has not gone away. Divide the scores by a *temperature* $\tau$
# before the softmax. Cold, the best key takes all: a dict. Hot, everybody
# gets the same: an average that does not listen.

# %%
for tau in (0.1, 1.0, 100.0):
    shares = (z / tau).softmax(dim=0)  # (S,)
    print(f"temperature {tau:>5}:", [f"{share:.2f}" for share in shares])

# %% [markdown]
# ## 2. Everyone looks at once
#
# In a sentence *every* word asks. We have $T$ queries and $S$ keys, each of
# $K$ numbers; when a sentence looks at itself, $S = T$. Here is a table for
# our sentence, made by hand and with larger numbers than before. Read "sat
# seeks (2, 0)" as: *who* sat? Whoever is not listed offers nothing.

# %%
sentence = "the cat sat on the mat because it was tired"
seeks = {"the": (1, 1), "cat": (0, 1), "sat": (2, 0), "on": (0, 2)}
seeks |= {"mat": (0, 1), "dog": (0, 1), "it": (2, 0), "tired": (3, 0)}
offers = {"cat": (3, 0), "sat": (0, 1), "mat": (0, 4), "dog": (3, 0)}
offers |= {"it": (2, 0), "tired": (1, 0)}
four_legs = {"cat": 4, "dog": 4}

# %% [markdown]
# The next function stacks queries, keys and values as the rows of three
# matrices. A value is (legs, letters), as before.


# %%
def vectors(text):
    """Return queries, keys (T, K) and values (T, 2) of a text's words."""
    words = text.split()
    q = torch.tensor([seeks.get(word, (0, 0)) for word in words])
    k = torch.tensor([offers.get(word, (0, 0)) for word in words])
    v = torch.tensor([(four_legs.get(w, 0), len(w)) for w in words])
    return q.double(), k.double(), v.double()


short = "the cat sat on the mat"
q, k, v = vectors(short)

# %% [markdown]
# All the scores at once are one product of matrices: row $t$, column $s$
# holds $q_t \cdot k_s$.
#
# $$Z = Q K^\top$$
#
# Then softmax, *along each row*: each query shares out its own attention, so
# each **row** sums to 1. A column sums to whatever it likes: being looked at
# is a popularity contest, and no law says that it is fair.

# %%
w = (q @ k.T).softmax(dim=-1)  # (T, S)
print("rows:   ", [f"{x:.2f}" for x in w.sum(dim=1)])
print("columns:", [f"{x:.2f}" for x in w.sum(dim=0)])
figures.attention_map(w, short.split(), title="who looks at whom")

# %% [markdown]
# Find the row of "on": it seeks something to lie on, and looks at "mat". Both
# rows of "the" are equal, and so are both columns: nothing in a dot product
# tells first from fifth. Lesson 02 mends that.
#
# ## 3. Why divide by √K
#
# Our vectors have $K = 2$ numbers; those of real models have 64 or more. What
# does width do to a score? Take queries and keys of random numbers with
# spread (standard deviation) 1, as in a model before training. A score is
# then a sum of $K$ random products, each of variance 1:
#
# $$\mathrm{Var}(q \cdot k) = \sum_{i=1}^{K} \mathrm{Var}(q_i k_i) = K$$

# %%
for K in (1, 16, 256):
    q_K, k_K = torch.randn(2, 10_000, K, generator=random)
    spread = (q_K * k_K).sum(dim=-1).std()
    print(f"K = {K:>3}: spread of q·k {spread:6.2f}, √K = {math.sqrt(K):.0f}")

# %% [markdown]
# The spread of the scores grows like $\sqrt K$, and softmax lives on
# differences. So width acts like cold. **Guess:** with $K = 1024$ and 32 keys
# to choose from, how many of them still matter?
#
# We measure two things. The **entropy** of the weights,
# $-\sum_s w_s \ln w_s$, says how widely a row looks: 0 if at one key only,
# $\ln 32$ if at all alike (in nats, the unit of natural logarithms). And the
# **gradient**, which tells each score how it should change. A model learns by
# nothing else: it comes from above, through the softmax. We send random
# demands from above and measure how much of them arrives at the scores.


# %%
def softness(K, scale, S=32):
    """Return the mean entropy of the weights, and the mean gradient norm."""
    N = for_profile(profile, smoke=100, cpu=400, gpu=400)
    q = torch.randn(N, 1, K, generator=random)
    k = torch.randn(N, S, K, generator=random)
    z = (q @ k.mT * scale).requires_grad_()  # (N, 1, S)
    w = z.softmax(dim=-1)  # (N, 1, S)
    from_above = torch.randn(w.shape, generator=random)
    (gradient,) = torch.autograd.grad(w, z, from_above)  # (N, 1, S)
    entropy = torch.special.entr(w).sum(dim=-1).mean().item()
    return entropy, gradient.norm(dim=-1).mean().item()


# %% [markdown]
# First without a scale, then with $1 / \sqrt K$, for widths up to 1024:

# %%
widths = [2**i for i in range(1, 11)]
plain = [softness(K, 1.0) for K in widths]
scaled = [softness(K, 1 / math.sqrt(K)) for K in widths]
curves = {"q·k": plain, "q·k / √K": scaled}
entropies = {name: (widths, [h for h, _ in c]) for name, c in curves.items()}
gradients = {name: (widths, [g for _, g in c]) for name, c in curves.items()}

# %%
alike = ("all alike", math.log(32))
figures.lines(
    entropies, "width K", "entropy of the weights (nats)", level=alike, log="x"
)

# %%
figures.lines(gradients, "width K", "gradient norm at the scores", log="x")

# %% [markdown]
# Without the scale the entropy falls towards zero: every query stares at one
# key, and *which one* is chance. The gradient rises a little at first, since a
# row in two minds is easily moved; then it dries up, and training can hardly
# change where a query looks. Divided by $\sqrt K$, both curves are flat: **a
# head behaves the same whatever its width.**
#
# Divide by $K$ and you get the opposite: all scores near 0, all keys alike.
# And note what was assumed: numbers that are random. A trained model may
# sharpen a row as far as it pays, by growing its queries. The scale only
# makes sure that it does not *begin* deaf.

# %%
entropy_kept = {name: c[-1][0] / c[0][0] for name, c in curves.items()}
print(f"entropy at K = {widths[-1]}, as a part of that at K = {widths[0]}:")
print({name: round(part, 2) for name, part in entropy_kept.items()})

# %% [markdown]
# ## 4. Not everyone may look everywhere
#
# A model that writes must guess the next word from those before it. If it can
# look ahead while it learns, it copies the answer and learns nothing. So we
# forbid cells with a **mask**, true where a query may look.
#
# Back to paper: cat, on and mat scored 2, −1 and 1. Forbid the mat. There are
# two ways. *After* the softmax, set its weight to 0. *Before* it, set its
# score to $-\infty$, since $e^{-\infty} = 0$. Are they the same?

# %%
may_look = torch.tensor([True, True, False])
after = z.softmax(dim=0) * may_look
before = z.masked_fill(~may_look, -math.inf).softmax(dim=0)
for name, w in {"after": after, "before": before}.items():
    print(f"{name:>6}: {[f'{x:.3f}' for x in w]}, sum {w.sum():.3f}")

# %% [markdown]
# No. Masked after, the mat has already taken its share of the total, and
# leaves a row that no longer sums to one. The sum itself tells tales: the
# smaller it is, the better the *forbidden* key would have matched. Masked
# before, the mat was never there. (Divide the first row by its sum and you
# get the second: then it is the same, by a longer road.)
#
# ### Exercise 01.1: implement `attend` (15 minutes)
#
# You have met every part. Put them together:
#
# $$\mathrm{attend}(Q, K, V) =
# \mathrm{softmax}\!\left(\frac{Q K^\top}{\sqrt K} + M\right) V$$
#
# where $M$ is 0 where a query may look and $-\infty$ where not. (Under the
# root, $K$ is the width of a key; above, it is the matrix of keys. Two
# traditions, one letter.) `q` is (..., T, K), `k` and `v` are (..., S, K).
# The dots are any number of dimensions in front, so use `transpose(-2, -1)`
# in place of `.T`. `mask` is boolean, or `None`. Return the output **and**
# the weights. Stuck? `hint("01.1")` in a new cell.


# %%
def attend(q, k, v, mask=None):
    """Return what was found (..., T, K) and the weights (..., T, S)."""
    ...


attend = check("01.1", attend).best

# %% [markdown]
# Trust, but compare. `llmkit.attention.attention` is this function with
# kinder error messages, and torch has its own, `scaled_dot_product_attention`
# (SDPA). On a batch of random heads, all three must agree.

# %%
from llmkit.attention import MultiHeadAttention, attention, causal_mask

Q, K, V = torch.randn(3, 2, 4, 10, 16, generator=random)  # (B, H, T, K)
mask = torch.rand(10, 10, generator=random) < 0.5  # (T, S)
mask.fill_diagonal_(True)  # nobody may be left with nothing to look at
mine, theirs = attend(Q, K, V, mask)[0], attention(Q, K, V, mask)[0]
torchs = F.scaled_dot_product_attention(Q, K, V, mask)
assert torch.allclose(mine, theirs, atol=1e-5)
assert torch.allclose(mine, torchs, atol=1e-5)
sdpa_difference = (mine - torchs).abs().max().item()
print(f"largest difference to SDPA: {sdpa_difference:.1e}")

# %% [markdown]
# ### Exercise 01.2: implement the causal mask (10 minutes)
#
# *Causal* means: token $t$ may look at itself and at what came before. As a
# picture, a triangle of `True`. With `S` larger than `T` the queries are the
# **last** `T` of the `S` positions, as when a model has read a text and adds
# to it (lesson 06).


# %%
def my_causal_mask(T, S=None):
    """Return a boolean (T, S), True where a query may look."""
    ...


my_causal_mask = check("01.2", my_causal_mask).best
assert torch.equal(my_causal_mask(3, 5), causal_mask(3, 5))

# %% [markdown]
# What a mask does by itself shows best when nobody asks for anything: with
# queries of zeros all scores are 0, and each row shares itself out evenly
# over what it may see. That is a running average of the past.

# %%
w = attend(0 * q, k, v, my_causal_mask(6))[1]
figures.attention_map(w, short.split(), title="nobody asks, causal")

# %% [markdown]
# ### What the future leaks
#
# Here is the test for any mask: **change the last word, and see which outputs
# move.** Only the last may. We change "mat" to "dog" and measure how far each
# output moves, in three ways: without a mask, masked too late, and masked in
# time.


# %%
def too_late(q, k, v, mask):
    """Attend, then mask the weights: a classic mistake."""
    w = attend(q, k, v)[1] * mask
    return w @ v, w


def moved(look, mask):
    """Return how far each output moves when the last word is another."""
    before = look(*vectors("the cat sat on the mat"), mask)[0]
    after = look(*vectors("the cat sat on the dog"), mask)[0]
    return (after - before).norm(dim=-1)  # (T,)


# %%
causal = my_causal_mask(6)
moves = {
    "no mask": moved(attend, None),
    "mask after softmax": moved(too_late, causal),
    "mask before softmax": moved(attend, causal),
}
curves = {name: (range(1, 7), m.tolist()) for name, m in moves.items()}
picture = figures.lines(curves, "position of the output", "how far it moved")
picture.figure.axes[0].set_ylim(top=3.4)  # room for the legend
picture

# %% [markdown]
# The late mask is the dangerous one: its map *looks* causal, zeros and all,
# yet early outputs move, because each row's sum has seen the future. A model
# will find such a crack. With the mask in time, the first five stay exactly
# where they are.

# %%
early = {name: move[:-1].max().item() for name, move in moves.items()}
print({name: round(move, 3) for name, move in early.items()})
assert early["mask before softmax"] == 0
sums = too_late(q, k, v, causal)[1].sum(dim=-1).tolist()
named = [f"{t}:{word}" for t, word in enumerate(short.split(), start=1)]
title = "masked too late: rows that do not sum to one"
figures.bars(dict(zip(named, sums)), "sum of the row", title)

# %% [markdown]
# The gradient tells the same tale. Ask the third output ("sat") which keys it
# would like to change:

# %%
k_free = k.clone().requires_grad_()
attend(q, k_free, v, causal)[0][2].sum().backward()
for word, gradient in zip(short.split(), k_free.grad.tolist()):
    print(f"{word:>4} {[round(g, 3) for g in gradient]}")

# %% [markdown]
# The last three rows are not small: they are zero, all of them. Nothing that
# is hidden can be learnt from. (The second number is zero in every row, too,
# for a reason of its own: "sat" seeks (2, 0) and never asks about lying on.)
#
# ## 5. Heads: looking in several ways at once
#
# A row of weights sums to one, so a query has *one* attention to give away.
# But "sat" has two questions: who sat, and on what? One look that goes half
# to the cat and half to the mat returns half a cat on half a mat, averaged
# into a single vector. **Heads** look side by side, each with queries, keys
# and values of its own, and their answers are kept apart.
#
# It costs nothing extra. The model's width $D$ is cut into $H$ slices of
# $K = D / H$ numbers, and each head looks with one slice. So
# (B, T, D) must become (B, H, T, K): B texts, H heads, T tokens, K numbers.
#
# ### Exercise 01.3: debug "my heads are mixed" (10 minutes)
#
# Somebody wrote the function below. The shape is right, nothing fails, the
# model even learns a little. Feed it numbers that carry their own address
# (token 2, number 3 is 23) and look at head 0.


# %%
def mixed_heads(x, n_heads):
    """Cut (B, T, D) into heads (B, H, T, K), wrongly."""
    B, T, D = x.shape
    return x.reshape(B, n_heads, T, D // n_heads)


x = torch.tensor([[[0, 1, 2, 3], [10, 11, 12, 13], [20, 21, 22, 23]]])
mixed_heads(x, n_heads=2)[0, 0]

# %% [markdown]
# Three rows for three tokens: row $t$ of head 0 should hold the first half of
# token $t$. Which tokens do you see instead? Write it right.


# %%
def split_heads(x, n_heads):
    """Cut (B, T, D) into heads (B, H, T, K)."""
    ...


split_heads = check("01.3", split_heads).best
split_heads(x, n_heads=2)[0, 0]

# %% [markdown]
# Now a class can own the weights. One linear map makes all queries, keys and
# values from the tokens $X$; `attend` looks, in all heads at once; the slices
# are laid side by side again, and a last map $W_O$ lets them talk:
#
# $$Q, K, V = X W_Q,\; X W_K,\; X W_V \qquad
# Y = [\,\mathrm{attend}_1, \dots, \mathrm{attend}_H\,]\, W_O$$


# %%
class Heads(nn.Module):
    """Look in H ways at once; (B, T, D) to (B, T, D)."""

    def __init__(self, d_model, n_heads, split=split_heads):
        super().__init__()
        self.n_heads, self.split = n_heads, split
        self.qkv = nn.Linear(d_model, 3 * d_model)  # three maps in one
        self.out = nn.Linear(d_model, d_model)

    def forward(self, x, mask=None):
        parts = self.qkv(x).chunk(3, dim=-1)  # (B, T, D) each
        q, k, v = (self.split(p, self.n_heads) for p in parts)  # (B, H, T, K)
        found, _ = attend(q, k, v, mask)  # (B, H, T, K)
        return self.out(found.transpose(1, 2).flatten(2))  # (B, T, D)


# %% [markdown]
# With the same weights it must do what `llmkit`'s `MultiHeadAttention` does.
# And we can put the mixed version beside it, with the test of section 4:
# change the last token, and see which outputs move.

# %%
torch.manual_seed(seed)
theirs = MultiHeadAttention(d_model=16, n_heads=4, causal=True)
x = torch.randn(1, 6, 16)  # (B, T, D)
y = torch.cat([x[:, :-1], torch.randn(1, 1, 16)], dim=1)  # another last token
for split in (mixed_heads, split_heads):
    mine = Heads(16, 4, split)
    mine.load_state_dict(theirs.state_dict())
    off = (mine(x, causal) - theirs(x)).abs().max().item()
    moves = (mine(x, causal) - mine(y, causal)).norm(dim=-1)[0]
    print(f"{split.__name__:>12}: off by {off:.1e}; the outputs move by")
    print(" " * 13, [round(move, 3) for move in moves.tolist()])
heads_difference = off
assert torch.allclose(mine(x, causal), theirs(x), atol=1e-5)

# %% [markdown]
# Mixed heads break the mask, too: what they call position 1 holds pieces of
# other tokens, so the future walks in through the back door. From here on we
# use `MultiHeadAttention`.
#
# ### One head provably fails
#
# Is one head really worse, or only clumsier? Here is a task where we can
# prove it. Three tokens: the cat, the mat, and "sat". The first two carry 8
# random numbers each, their meaning, and every token carries a mark of its
# role. "sat" must return both meanings, 16 numbers in all: who, and on what.

# %%
C, D = 8, 16  # numbers of meaning in a noun; width of a token


def scenes(n):
    """Return n scenes (n, 3, D), and who and what of each (n, 2 C)."""
    who, what = torch.randn(2, n, C)
    x = torch.zeros(n, 3, D)
    x[:, 0, :C], x[:, 1, :C] = who, what
    x[:, range(3), range(C, C + 3)] = 1  # the role of each token
    return x, torch.cat([who, what], dim=-1)


# %% [markdown]
# **The proof.** Let one head have any weights $w_s$ at all, chosen by
# whatever magic. What it returns is
#
# $$\hat y = W_O \sum_s w_s W_V\, x_s + b = W z + b,
# \qquad z = \sum_s w_s x_s$$
#
# It has mixed the tokens into one, $z$, *before* anything else. In $z$ are
# $C$ mixed numbers and three marks that sum to one: $C + 2$ free numbers. So
# $\hat y$ can move in $C + 2$ directions, while the target moves in $2C$, all
# independent, each with variance 1. The other $C - 2$ are missed altogether.
# The mean squared error is at least
#
# $$\frac{2C - (C + 2)}{2C} = \frac{C - 2}{2C}$$
#
# More width does not help; the loss happened in the average. Nor does a
# network afterwards: $C + 2$ numbers cannot smoothly hold $2C$. And two heads?
# Let one look at the cat alone, the other at the mat alone: error zero.
# That two *can* is no promise that they *learn* to. So we train both.


# %%
def train(n_heads, steps):
    """Train on fresh scenes; return the errors and the final one."""
    torch.manual_seed(seed)
    look = MultiHeadAttention(D, n_heads)
    optimizer = torch.optim.Adam(look.parameters(), lr=0.01)
    errors = []
    for _ in range(steps):
        x, target = scenes(256)
        error = (look(x)[:, 2] - target).square().mean()  # what "sat" says
        optimizer.zero_grad()
        error.backward()
        optimizer.step()
        errors.append(error.item())
    x, target = scenes(10_000)
    return errors, (look(x)[:, 2] - target).square().mean().item()


# %%
steps = for_profile(profile, smoke=300, cpu=800, gpu=800)
learnt = {"one head": train(1, steps), "two heads": train(2, steps)}
figures.lines(
    {name: (range(len(e)), e) for name, (e, _) in learnt.items()},
    "training step",
    "mean squared error",
    level=("nothing below this with one head", (C - 2) / (2 * C)),
)

# %% [markdown]
# Same number of parameters, same steps, same scenes. One head sinks to about
# a half, what a blind average earns; then it learns to let the contents steer
# its weights, which gains a little. It never crosses the dashed line, and now
# you know that it never will. Two heads walk straight through.
#
# This is also where real queries and keys come from. Nobody wrote a table:
# the matrices $W_Q$, $W_K$, $W_V$ began at random, and gradients found the
# cat.

# %%
for name, (_, error) in learnt.items():
    print(f"{name:>9}: error {error:.4f} on 10,000 new scenes")

# %% [markdown]
# ## 6. Play
#
# The whole sentence, our table of section 2, a causal mask. Two heads: "who"
# asks as in the table; "where" swaps each query's two numbers, so that who
# sought something alive now seeks something to lie on. The keys are the same.

# %%
tokens = sentence.split()
for t, token in enumerate(tokens, start=1):
    seek, offer = seeks.get(token, (0, 0)), offers.get(token, (0, 0))
    print(f"{t:>2} {token:<8} seeks {seek}   offers {offer}")

# %% [markdown]
# ### Exercise 01.4: predict where each row looks (8 minutes)
#
# In head "who", with the causal mask: at which token do rows 4 ("on"), 5 (the
# second "the"), 6 ("mat") and 8 ("it") look *most*? Paper and the list above
# are enough. Put four words in place of the dots, such as
# `["cat", "cat", "on", "the"]`, before you run on.

# %%
guess = ...
mine = predict("01.4", guess)

# %% [markdown]
# Three small functions make the picture: one for the weights, one for the
# arithmetic of a single cell, one to draw. None keeps anything from one call
# to the next.


# %%
def look(head, temperature, mask):
    """Return q, k, v, the scores that enter the softmax, and the weights."""
    q, k, v = vectors(sentence)
    q = q.flip(-1) if head == "where" else q
    z = q @ k.T / math.sqrt(2) / temperature  # (T, S)
    visible = causal_mask(len(tokens))  # (T, S)
    if mask == "in time":
        z = z.masked_fill(~visible, -math.inf)  # (T, S)
    w = z.softmax(dim=-1)  # (T, S)
    return q, k, v, z, w * visible if mask == "too late" else w


# %%
w = look("who", 1.0, "in time")[-1]
best = [tokens[s] for s in w.argmax(dim=-1)]
mine.reveal([best[3], best[4], best[5], best[7]])

# %% [markdown]
# Now the arithmetic of one cell, step by step, as you would write it down:


# %%
def arithmetic(head, temperature, mask, t, s):
    """Tell how the cell of query t and key s came about, in numbers."""
    q, k, v, z, w = look(head, temperature, mask)
    (a, b), (c, d), (legs, letters) = q[t], k[s], v[s]
    dot, share, found = q[t] @ k[s], z[t].softmax(dim=0)[s], w[t] @ v
    scaled = dot / math.sqrt(2)
    cold = scaled / temperature
    told = [
        f"{tokens[t]} → {tokens[s]}",
        f"q·k      {a:g} × {c:g} + {b:g} × {d:g} = {dot:g}",
        f"÷ √K     {dot:g} ÷ 1.414 = {scaled:.3f}",
        f"÷ τ      {scaled:.3f} ÷ {temperature:g} = {cold:.3f}",
    ]
    unseen = "still to come: becomes" if s > t else "seen already: stays"
    now = f"{z[t, s]:.3f}".replace("-inf", "−∞")
    if mask == "in time":
        told.append(f"mask     {unseen} {now}")
    told.append(f"softmax  e^({now}) ÷ {z[t].exp().sum():.4g} = {share:.3f}")
    if mask == "too late":
        told.append(f"mask     {unseen} {w[t, s]:.3f}")
    told += [
        f"× v      {w[t, s]:.3f} × ({legs:g} legs, {letters:g} letters)"
        f" = ({w[t, s] * legs:.2f}, {w[t, s] * letters:.2f})",
        f"row      sums to {w[t].sum():.3f},"
        f" returns ({found[0]:.2f}, {found[1]:.2f})",
    ]
    return "\n".join(told)


# %%
def draw(head, temperature, mask, query, key):
    """Draw all weights, and under them the arithmetic of one cell."""
    w, t, s = look(head, temperature, mask)[-1], query - 1, key - 1
    title = f"head {head!r}, temperature {temperature:g}, mask: {mask}"
    picture = figures.attention_map(w, tokens, title=title)
    told = arithmetic(head, temperature, mask, t, s)
    box = {"ls": "", "marker": "s", "ms": 26, "mfc": "none", "mew": 3}
    picture.figure.axes[0].plot(s, t, color=figures.ORANGE, **box)
    style = {"ha": "left", "family": "monospace", "size": 9}
    picture.figure.supxlabel(told, x=0.02, **style)
    return figures.Picture(picture.figure, f"{picture.alt} {told}")


figures.play(
    draw,
    head=figures.choice("head", ["who", "where"]),
    temperature=figures.slider("temperature τ", 0.05, 5.0, 1.0),
    mask=figures.choice("mask", ["in time", "too late", "none"]),
    query=figures.slider("query (row)", 1, 10, 8),
    key=figures.slider("key (column)", 1, 10, 2),
)

# %% [markdown]
# Run the cell yourself and the controls come alive. Things to find:
#
# - Turn the temperature all the way down. Attention is a dict again. Whom does
#   "it" find? And all the way up: what does every row become?
# - Put the mask on "too late", query 4, key 6. Does the row sum to one? Where
#   did the rest go?
# - Head "where": what does "it" look at now? Two heads, two answers, both in
#   the output. This is what one average could not give.
# - Compare the rows of "because" and "was", then the two columns "the". Why is
#   each pair so alike?
#
# ### The same, with no kernel
#
# Such a picture needs a kernel: the Python behind a notebook. The kit's
# **explorer** brings its numbers along, and its arithmetic too: it works in a
# saved notebook, in a file opened from disk, and by keyboard alone. It shows
# any model; here it gets our two heads. First it asks you something. Click the
# token that you think it is, then click any cell of the map, and choose
# *Arithmetic*.

# %%
from llmkit.explorer import Inner, Record, explore

two = [look(head, 1.0, "in time") for head in ("who", "where")]
*qkv, _, looks = (torch.stack(x).numpy() for x in zip(*two))  # (H, T, K) each
inner = Inner(*(x.astype("float16") for x in qkv), 1 / math.sqrt(2))
record = Record(tuple(tokens), looks[None], causal=True, inner={0: inner})
explore(record, title="head 0: who, head 1: where", ask=(0, 1, "it"))

# %% [markdown]
# The two ends of the temperature, checked for "it": one key, and all eight
# that it may look at, alike.

# %%
cold, hot = (look("who", tau, "in time")[-1] for tau in (0.05, 1e6))
assert torch.allclose(cold[7], F.one_hot(cold[7].argmax(), 10).double())
assert torch.allclose(hot[7, :8], torch.full((8,), 1 / 8).double())

# %% [markdown]
# ## 7. What it costs
#
# Everyone looks at everyone: $T \times T$ weights in each head. Twice the
# text, four times the work. The other half of a Transformer is the MLP of
# lesson 03, two linear maps with a bend between them. It treats each token
# alone: twice the text, twice the work. So however cheap attention begins, in
# the end it is the larger bill.
#
# Time it, with width $D = 96$ and 4 heads: our `attend`, torch's SDPA, and an
# MLP of the usual shape (to 4 D numbers and back). **Guess** the order of the
# three at the shortest text, and at the longest.

# %%
H, D = 4, 96
mlp = nn.Sequential(nn.Linear(D, 4 * D), nn.GELU(), nn.Linear(4 * D, D))
longest = for_profile(profile, smoke=512, cpu=2048, gpu=4096)
lengths = [2**i for i in range(6, 13) if 2**i <= longest]


def heads(T):
    """Return random q, k, v for T tokens, (3, 1, H, T, K)."""
    return torch.randn(3, 1, H, T, D // H)


def tokens_of(T):
    """Return T random tokens, (1, T, D)."""
    return torch.randn(1, T, D)


# %%
@torch.no_grad()
def seconds(function, *inputs):
    """Return the shortest of seven runs: what else runs only adds."""
    times = []
    for _ in range(7):
        start = time.perf_counter()
        function(*inputs)
        times.append(time.perf_counter() - start)
    return min(times)


# %%
sdpa = F.scaled_dot_product_attention
clock = {
    "attend": [seconds(attend, *heads(T)) for T in lengths],
    "SDPA": [seconds(sdpa, *heads(T)) for T in lengths],
    "MLP": [seconds(mlp, tokens_of(T)) for T in lengths],
}
ms = {name: (lengths, [1000 * s for s in t]) for name, t in clock.items()}
figures.lines(ms, "tokens T", "milliseconds", log="xy")

# %% [markdown]
# On logarithmic axes $T^2$ is a line twice as steep as $T$. Your curves may
# wobble: a clock measures everything else that your machine does.
# Memory does not wobble. For training, torch keeps what the way back will
# need, and lets us count it:


# %%
def kept_bytes(function, T):
    """Return how many bytes wait for the backward pass."""
    q, k, v = (x.requires_grad_() for x in heads(T))
    kept = {}

    def note(x):
        kept[x.data_ptr()] = x.nbytes
        return x

    with torch.autograd.graph.saved_tensors_hooks(note, lambda x: x):
        output = function(q, k, v)  # held, so that nothing is freed meanwhile
    del output
    return sum(kept.values())


# %%
memory = {
    name: [kept_bytes(function, T) for T in lengths]
    for name, function in {"attend": attend, "SDPA": sdpa}.items()
}
mb = {name: (lengths, [b / 1e6 for b in m]) for name, m in memory.items()}
figures.lines(mb, "tokens T", "megabytes kept for the way back", log="xy")

# %%
growth = {name: kept[-1] / kept[-2] for name, kept in memory.items()}
for name, factor in growth.items():
    print(f"{name:>6}: twice the text, {factor:.2f} times the memory")

# %% [markdown]
# SDPA gives the same numbers and never holds all the weights: it walks through
# the keys in small blocks, keeps a running softmax, and on the way back works
# out again what it threw away. The *work* is still $T^2$; the *memory* is not,
# and since moving memory is slow, time falls as well. Short texts gain little.
# What you lose is the weights themselves: to look at a map, ask for the slow
# road (`watch=[]` in `MultiHeadAttention`).
#
# ### Exercise 01.5: measure where attention outweighs the MLP (8 minutes)
#
# The clock depends on your machine; the number of multiplications does not.
# `flops` below counts them, as they happen, by watching torch. At which $T$
# do the look-up alone (`attend`: scores and mixture, without the linear maps
# around it) and the MLP cost the same? Try some $T$, or find the rule.

# %%
from torch.utils.flop_counter import FlopCounterMode


def flops(function, *inputs):
    """Count the additions and multiplications in matrix products."""
    with FlopCounterMode(display=False) as counter:
        function(*inputs)
    return counter.get_total_flops()


print("attend:", flops(attend, *heads(64)))
print("MLP:   ", flops(mlp, tokens_of(64)))

# %%
equal_at = ...  # the T at which both cost the same
equal_at = check("01.5", equal_at).best

# %%
race = zip(lengths, clock["attend"], clock["MLP"])
print(f"equal in FLOPs at T = {equal_at:.0f}; on this clock,")
print("attend was slower at T =", [T for T, a, m in race if a > m])

# %% [markdown]
# The clock usually turns earlier than the count: softmax has hardly any
# multiplications, but it walks over the whole $T \times T$ table, and walking
# through memory is what takes the time. A FLOP is not a second.
#
# ## 8. What you measured
#
# Each lesson ends with its results beside what they should be.

# %%
band(
    "01",
    profile,
    {
        "sdpa_difference": sdpa_difference,
        "heads_difference": heads_difference,
        "entropy_kept_without_scale": entropy_kept["q·k"],
        "entropy_kept_with_scale": entropy_kept["q·k / √K"],
        "leak_masked_before": early["mask before softmax"],
        "leak_masked_after": early["mask after softmax"],
        "error_of_one_head": learnt["one head"][1],
        "error_of_two_heads": learnt["two heads"][1],
        "memory_growth_attend": growth["attend"],
        "memory_growth_sdpa": growth["SDPA"],
    },
)

# %% [markdown]
# ## Recap
#
# - Attention is a dict whose keys match a little: scores, softmax over the
#   **keys**, and an average of the **values**.
# - $\sqrt K$ keeps the scores at one size whatever the width. Without it,
#   wide heads start deaf.
# - Mask **before** the softmax. A hidden key then counts for nothing, on the
#   way forward and on the way back.
# - Heads keep answers apart that one average would mix. Cut the width first,
#   then swap heads and time.
# - Work is $T^2$ for all; memory need not be.

# %%
quiz("01")

# %% [markdown]
# ## Scale it
#
# The attention of this lesson is the one that `llmkit` trains with, SDPA and
# all, on a laptop or on eight GPUs:
#
# ```sh
# accelerate launch --num_processes 8 --module llmkit pretrain \
#     --corpus stories --preset small --out build/small
# ```
#
# The same command without `accelerate launch --num_processes 8 --module` runs
# on whatever you have. Lesson 06 takes it apart; lesson 08 says what it costs.
#
# **Next, lesson 02:** shuffle the words of our sentence, and attention returns
# the same vectors, shuffled. It cannot tell who sat on whom. We shall tell it.
