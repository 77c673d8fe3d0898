# ---
# jupyter:
#   jupytext:
#     text_representation: {extension: .py, format_name: percent}
#   kernelspec: {display_name: Python 3, language: python, name: python3}
# ---

# %% [markdown]
# # 02 Positions: telling order to a bag
#
# > *the cat sat on the mat* — *the mat sat on the cat*
#
# One is a nap, the other an accident. The words are the same, only their
# order differs. **Shuffle the sentence: what changes for attention?**
#
# Nothing. That is the trouble of this lesson, and there are four cures. After
# it you can
#
# - prove that attention sees a bag of words, and say what a causal mask leaks;
# - build the table of sines and cosines, and say why a formula that is often
#   copied loses half of it;
# - turn queries and keys so that only their distance is left (rotary);
# - tell a model that *survives* a longer text from one that *uses* it.
#
# **Takes** about 60 minutes with the exercises; the code runs in about one
# and a half minutes on a 2-core CPU, nearly all of it in section 7. **Needs**
# lesson 01, sine and cosine.

# %% tags=["parameters"]
profile = "cpu"  # "smoke" (seconds), "cpu" (a laptop) or "gpu"
seed = 0

# %%
import math

import torch
import torch.nn.functional as F

from llmkit import figures
from llmkit.attention import MultiHeadAttention, attention
from llmkit.exercises import (
    band,
    check,
    for_profile,
    hint,
    predict,
    quiz,
    solution,
)
from llmkit.positions import alibi, learned, rotary, rotate, sinusoidal

torch.set_num_threads(1)  # small sums: a second thread only gets in the way
random = torch.Generator().manual_seed(seed)

# %% [markdown]
# ## 1. Shuffle the sentence
#
# Each word gets a random vector, the same one wherever it stands, and a whole
# attention layer with random weights looks around, without a mask. Cat and
# mat change places. **Guess first:** how far does the output of "sat" move?

# %%
sentence = "the cat sat on the mat"
words = sentence.split()
vector = {w: torch.randn(16, generator=random) for w in dict.fromkeys(words)}
x = torch.stack([vector[word] for word in words])[None]  # (1, T, D)
torch.manual_seed(seed)
look = MultiHeadAttention(d_model=16, n_heads=4)

# %%
order = [0, 5, 2, 3, 4, 1]
y = look(x)[0].detach()  # (T, D)
shuffled = look(x[:, order])[0].detach()  # (T, D)
for place, (was, row) in enumerate(zip(order, shuffled)):
    moved = (row - y[was]).norm().item()
    print(f"{words[was]:>4} at {place}: its output moved by {moved:.1e}")

# %% [markdown]
# Rounding, nothing else. Every word gets what it got before, and takes it
# along to its new place. "Sat" has no idea who sat.
#
# In symbols: let $P$ be the matrix that shuffles rows. Queries, keys and
# values are made row by row, so shuffled tokens give $PQ$, $PK$ and $PV$.
# Softmax works along each row, whatever order it stands in:
#
# $$\mathrm{softmax}\big((PQ)(PK)^\top\big)\,PV
# = P\,\mathrm{softmax}(QK^\top)\,P^\top P\,V
# = P\,\mathrm{softmax}(QK^\top)\,V$$
#
# since $P^\top P$ undoes what it did (and the scale $1/\sqrt K$ changes
# nothing here). In words: **an output is a sum over the
# keys, and a sum does not care for the order of its terms.** A hundred
# shuffles, to be sure:

# %%
bag_moves = 0.0
for _ in range(100):
    order = torch.randperm(6, generator=random)
    off = look(x[:, order])[0] - y[order]  # attend(PX) - P attend(X)
    bag_moves = max(bag_moves, off.abs().max().item())
print(f"largest difference: {bag_moves:.1e}")
assert bag_moves < 1e-5

# %% [markdown]
# ### What a causal mask leaks
#
# To be honest, a decoder is not quite so blind. Its mask belongs to *places*:
# word $t$ sees those before it, and so it knows which words these are. It
# does not know their order. Swap "cat" and "sat" and watch "mat", the last
# word, in one causal layer and in two.

# %%
torch.manual_seed(seed)
one, two = (MultiHeadAttention(16, 4, causal=True) for _ in range(2))
swapped = x[:, [0, 2, 1, 3, 4, 5]]
for name, model in {"one": one, "two": lambda x: two(x + one(x))}.items():
    moved = (model(swapped) - model(x))[0, -1].norm().item()
    print(f"{name} causal: the last output moves by {moved:.1e}")

# %% [markdown]
# One layer: a bag still, the bag of the past. But "cat" and "sat" themselves
# have changed: whoever stands second has seen the other. A second layer looks
# at what they became, and order seeps in. So a deep decoder can do something
# without positions (Haviv et al. 2022, Kazemnejad et al. 2023). Section 7
# measures how much. An encoder has no mask and gets nothing.
#
# ## 2. A clock with soft hands
#
# How do you write "position 13" as a vector? A single number 13 would grow
# without end. Computers write numbers in bits, all of one size: 1101. The
# last bit flips at every step, the next at every second, then at every
# fourth. Slow bits say roughly where, fast ones where exactly.

# %%
bits = [[(t >> bit) & 1 for bit in range(4)] for t in range(16)]
names = ["1s", "2s", "4s", "8s"]
size = (4.2, 3.4)
figures.heatmap(bits, "bit", "position", "value", columns=names, size=size)

# %% [markdown]
# Bits flip hard, and networks like smooth numbers. So take a clock instead:
# **dials whose hands turn evenly, each slower than the one before.** Dial
# $i$ turns by $\omega_i$ radians at each position (all the way round is
# $2\pi \approx 6.28$ of them). The end of its hand is a point on a circle, two
# numbers. With $D$ numbers there are $D/2$ dials, and
# row $t$ of the table holds
#
# $$P_{t,2i} = \sin(t\,\omega_i) \qquad P_{t,2i+1} = \cos(t\,\omega_i)
# \qquad \omega_i = \mathrm{base}^{-2i/D}$$
#
# for $i = 0 \dots D/2 - 1$ (Vaswani et al. 2017, section 3.5). Positions
# count from 0. Dial 0 turns by one radian, 57°, at each position. The base
# says how slow the slowest is: with 10,000 it needs tens of thousands of
# positions to go round, so that in a long text, too, it says roughly where.
#
# ### Exercise 02.1: implement `sinusoids` (12 minutes)
#
# Return the table, (length, d_model). Sine and cosine alternate: dial 0 in
# dimensions 0 and 1, dial 1 in 2 and 3. Stuck? `hint("02.1")` in a new cell.


# %%
def sinusoids(length, d_model, base=10_000.0):
    """Return the table of sines and cosines, (T, D)."""
    ...


sinusoids = check("02.1", sinusoids).best
P = sinusoids(64, 32)  # (T, D)
assert torch.allclose(P, sinusoidal(64, 32), atol=1e-4)

# %% [markdown]
# Here are the first eight dials at positions 0, 1 and 10. The hand points to
# (cos, sin): it starts on the right and turns against the clock, as angles do
# in geometry, if not in kitchens.

# %%
hands = {
    f"at {t}": [(cos, sin) for sin, cos in P[t].view(-1, 2)[:8].tolist()]
    for t in (0, 1, 10)
}
figures.dials(hands, [f"dial {i}" for i in range(8)])

# %% [markdown]
# And the table itself, a row for each position: the binary counter again,
# with soft edges, fast on the left and slow on the right.

# %%
figures.heatmap(P, "dimension", "position", "value", centred=True)

# %% [markdown]
# The table is **added** to the embeddings, and from then on "cat at 1" and
# "cat at 5" are two vectors. What makes it better than random rows is what
# its rows say about each other:
#
# $$P_t \cdot P_s = \sum_i \big(\sin t\omega_i \sin s\omega_i
# + \cos t\omega_i \cos s\omega_i\big)
# = \sum_i \cos\big((t - s)\,\omega_i\big)$$
#
# Only the distance is left. All pairs as a picture must be stripes:

# %%
similar = P @ P.T  # (T, T)
spread = max(similar.diagonal(k).std().item() for k in range(63))
print(f"largest spread along a stripe: {spread:.1e}")
figures.heatmap(similar, "position s", "position t", "dot product")

# %% [markdown]
# The model is *offered* distances here; nothing forces it to take them. Its
# scores also mix words with places, through matrices that it must learn.
#
# ## 3. A formula to correct
#
# Some texts and programs add the sine and the cosine of one frequency into
# **one** number:
#
# $$p_t = \sin(t\,\omega) + \cos(t\,\omega)
# = \sqrt 2\,\sin\!\big(t\,\omega + \tfrac{\pi}{4}\big)$$
#
# It looks richer than a sine, and is one: a single wave, moved and
# stretched. A wave takes each height twice in a round, once going up and once
# coming down. **Find two positions that collide:** nearly the same sum, while
# the hands of the dial point to quite different places.

# %%
t = torch.arange(512.0).double()
dial = torch.stack([t.sin(), t.cos()], dim=-1)  # (512, 2)
summed = dial.sum(dim=-1, keepdim=True)  # (512, 1)
off, apart = (torch.cdist(x[:40], x[:40]) for x in (summed, dial))
off[apart < 1] = math.inf  # look only where the hands point apart
a, b = sorted(divmod(off.argmin().item(), 40))

# %%
for n in (a, b):
    sin, cos = dial[n].tolist()
    both = f"sin {sin:+.3f}, cos {cos:+.3f}"
    print(f"position {n:>2}: {both}, sum {sin + cos:.4f}")

# %% [markdown]
# Now count. Say that two positions **collide** when their points are closer
# than 0.02, about one degree on the dial: noise would blur them. Among 512
# positions there are 130,816 pairs; each line is one frequency.


# %%
def collisions(points, near=0.02):
    """Count the pairs of positions that are closer than this."""
    return int((torch.pdist(points) < near).sum())  # pdist: each pair once


counts = {}
for w in (1.0, 0.5, 0.1):
    dial = torch.stack([(w * t).sin(), (w * t).cos()], dim=-1)  # (512, 2)
    summed = dial.sum(dim=-1, keepdim=True)  # (512, 1)
    counts[w] = collisions(dial), collisions(summed)
    print(f"ω = {w}: dial {counts[w][0]}, sum {counts[w][1]}")

# %% [markdown]
# A dial collides as well: after a few rounds any circle is crowded. The sum
# collides several times as often, though its range is wider by $\sqrt 2$.
#
# Does that ruin the whole table? Be fair, and give the sum $D$ frequencies
# for its $D$ numbers. We look for the two rows that are closest.


# %%
def summed_table(length, d_model):
    """Return the table with one number a frequency, (T, D)."""
    frequency = 10_000.0 ** (-torch.arange(d_model) / d_model)  # (D,)
    angles = torch.arange(length)[:, None] * frequency.double()  # (T, D)
    return angles.sin() + angles.cos()


widths = [2, 4, 8, 16, 32, 64]
tables = {"sine and cosine": sinusoidal, "their sum": summed_table}
closest = {
    name: (widths, [torch.pdist(make(512, D)).min().item() for D in widths])
    for name, make in tables.items()
}
title = "the two closest of 512 rows"
picture = figures.lines(closest, "width D", "distance", title, log="xy")
axes = picture.figure.axes[0]
axes.minorticks_off()
axes.set_xticks(widths, widths)
picture

# %% [markdown]
# No: in a wide table no rows collide, in either form. The sum keeps them
# closer together, and width makes up for it. Whoever says that a model
# *cannot* tell positions apart with it claims too much.
#
# The deeper loss is another. "The word $k$ places back" should mean the same
# everywhere. On a dial it does: to move by $k$ is to turn by $k\omega$, and
# a turn is one matrix, whatever $t$:
#
# $$\begin{pmatrix} \sin (t+k)\omega \\ \cos (t+k)\omega \end{pmatrix} =
# \begin{pmatrix} \cos k\omega & \sin k\omega \\
# -\sin k\omega & \cos k\omega \end{pmatrix}
# \begin{pmatrix} \sin t\omega \\ \cos t\omega \end{pmatrix}$$
#
# A layer is made of matrices, so it can learn this one. Each line needs
# *both* numbers of the old point. We ask least squares for the best matrix
# $M$ that makes row $t + k$ out of row $t$, for all $t$ at once, and see how
# much of the rows it misses.


# %%
def missed(table, k):
    """Return what is left of the rows k later, as a part of their length."""
    now, later = table[:-k].double(), table[k:].double()
    M = torch.linalg.lstsq(now, later, driver="gelsd").solution  # (D, D)
    return ((now @ M - later).norm() / later.norm()).item()


shares = {name: missed(make(512, 32), 7) for name, make in tables.items()}
for name, share in shares.items():
    print(f"{name:>15}: the best matrix misses {share:.1e}")

# %% [markdown]
# The dials move exactly, and it took one matrix for all 505 pairs of rows. A
# sum has thrown away where on the circle it was, and whether it is going up
# or down; the best matrix can only guess that from the other sums. So keep
# sine and cosine two numbers.
#
# ## 4. A table that is learnt
#
# Why a formula at all? Let training choose the rows: a matrix with one row
# for each position, like the embedding of words. Simple, and GPT-2 and BERT
# do so. But a row is trained only when a text reaches it. Take room for 256
# positions, read a text of 64, and count the rows that get no gradient. (Any
# loss will do; we take the sum of squares.)

# %%
table = torch.randn(256, 16, generator=random).requires_grad_()
learned(table, length=64).square().sum().backward()
untouched = int((table.grad == 0).all(dim=1).sum())
print(untouched, "of 256 rows get none")

# %% [markdown]
# Those rows stay what they were at birth: noise. Past the last row there is
# not even noise:

# %%
try:
    learned(table, length=300)
except ValueError as error:
    print(error)

# %% [markdown]
# ## 5. Rotary: do not add, turn
#
# What attention needs from positions is the *distance* of query and key. So
# take the dials to where the two meet (Su et al. 2021). Cut each query and
# each key into pairs of numbers, points in a plane. Turn the query at $t$ by
# $t\omega$, the key at $s$ by $s\omega$, and then take their dot product. Let
# $R_\theta$ be the matrix that turns by $\theta$:
#
# $$\begin{aligned}
# (R_{t\omega}\,q) \cdot (R_{s\omega}\,k)
# &= (R_{t\omega}\,q)^\top R_{s\omega}\,k \\
# &= q^\top R_{t\omega}^\top\, R_{s\omega}\,k \\
# &= q^\top R_{-t\omega}\, R_{s\omega}\,k \\
# &= q^\top R_{(s-t)\omega}\,k
# \end{aligned}$$
#
# Third line: a turn transposed is the turn back. Fourth: two turns add up.
# **What is left is the two words and one turn by their distance.** Nothing
# was added, and nothing has to be learnt. A sinusoid is added once, at the
# bottom of a model; this turn happens in every layer and in every head.
#
# **Take a pencil.** One dial, a quarter turn a position: $(a, b)$ becomes
# $(-b, a)$. Let $q = (2, 1)$ and $k = (1, 0)$. Query at 1, key at 0:
# $(-1, 2) \cdot (1, 0) = -1$. Query at 3, key at 2:
# $(1, -2) \cdot (-1, 0) = -1$ again. Now query at 2, key at 0: another
# distance, another score.
#
# The angles are those of the sinusoids, with the width $K$ of a head for $D$:

# %%
T, K = 64, 16
turns = rotary(T, K)  # (2, T, K / 2), all cosines, then all sines
assert torch.equal(turns[0], sinusoidal(T, K)[:, 1::2])
assert torch.equal(turns[1], sinusoidal(T, K)[:, 0::2])

# %% [markdown]
# ### Exercise 02.2: implement `turn` (10 minutes)
#
# Turn each point $(a, b)$ by its angle $\theta$:
#
# $$a' = a \cos\theta - b \sin\theta \qquad b' = a \sin\theta + b \cos\theta$$
#
# `x` is (..., T, K) and `turns` as above. In `llmkit` dimension $i$ pairs up
# with $i + K/2$, so the halves are `a, b = x.chunk(2, dim=-1)`. (The paper
# pairs neighbours. Either will do, as long as everybody agrees.)


# %%
def turn(x, turns):
    """Turn each pair of x (..., T, K) by its position."""
    ...


turn = check("02.2", turn).best
q, k, v = torch.randn(3, T, K, generator=random)  # (T, K) each
assert torch.allclose(turn(q, turns), rotate(q, turns), atol=1e-5)

# %% [markdown]
# The test of the four lines. One query and one key, always three apart, at
# four places of the text:

# %%
score = {}
for at in (3, 10, 33, 63):
    there, three_back = turns[:, at : at + 1], turns[:, at - 3 : at - 2]
    score[at] = (turn(q[:1], there) @ turn(k[:1], three_back).mT).item()
    print(f"query at {at:>2}, key at {at - 3:>2}: score {score[at]:.5f}")
shift_difference = max(score.values()) - min(score.values())

# %% [markdown]
# ### Exercise 02.3: debug "the output knows where it stands" (8 minutes)
#
# Somebody put it together like this. Nothing fails. But a text should mean
# the same on page 7, so they moved all of it by ten positions and compared.


# %%
def look_wrong(q, k, v, turns):
    """Attend with rotary positions, wrongly."""
    q, k, v = (turn(x, turns) for x in (q, k, v))
    return attention(q, k, v)


x = q[:6], k[:6], v[:6]
here, later = (look_wrong(*x, turns[:, n : n + 6]) for n in (0, 10))
for name, a, b in zip(("output", "weights"), here, later):
    print(f"moved by ten, {name} off by {(a - b).abs().max():.1e}")

# %% [markdown]
# The weights do not care, the output does. Find the fault, and write it
# right: return the output only, (..., T, K).


# %%
def look_right(q, k, v, turns):
    """Attend with rotary positions, (..., T, K)."""
    ...


look_right = check("02.3", look_right).best
here, later = (look_right(*x, turns[:, n : n + 6]) for n in (0, 10))
print(f"moved by ten, output off by {(here - later).abs().max():.1e}")

# %% [markdown]
# ## 6. ALiBi: the slope
#
# The plainest of all: let a far key cost something. For each step away, head
# $h$ takes a fixed slope $m_h$ off the score (Press et al. 2022):
#
# $$z_{ts} = \frac{q_t \cdot k_s}{\sqrt K} - m_h\,(t - s)
# \qquad m_h = 2^{-8h/H} \qquad h = 1 \dots H$$
#
# No table, no dial, nothing to learn. Lesson 01 showed what a mask does when
# nobody asks; here is what a slope does. With scores of zero, each step
# divides the weight by $e^{m_h}$.

# %%
H = 4
m = 2.0 ** (-8 * torch.arange(1, H + 1) / H)  # (H,)
z = -m[:, None] * (63 - torch.arange(64))  # (H, T): the last query
assert torch.equal(z, alibi(H, 64)[:, -1])
w = z.softmax(dim=-1).flip(-1)  # (H, T): nearest key first
fade = {f"head {h}": (range(64), w[h - 1].tolist()) for h in range(1, 5)}
figures.lines(fade, "steps back", "weight when nobody asks", log="y")

# %% [markdown]
# Head 1 has all but forgotten what stands twenty places back; for head 4 the
# farthest of the 64 still weighs four fifths of the nearest. A strong match
# can shout from afar, but every step away it must shout louder.
#
# ## 7. Measured
#
# Which of them serves a text longer than any in training? That is called to
# *extrapolate*, and more often claimed than shown. So: five small decoders,
# alike in all but positions. They train on windows of 64 characters of the
# course's stories (a story has about 200), and then read 256. **Write down
# your guess:** which will still be well at the end?

# %%
from llmkit.batches import NextTokenBatches, next_token
from llmkit.stories import stories
from llmkit.tokenizer import CharTokenizer

count = for_profile(profile, smoke=1_000, cpu=6_000, gpu=6_000)
text = "".join(stories(count, seed=seed))
tokenizer = CharTokenizer.train(text)
ids = torch.tensor(tokenizer.encode(text))
judged = for_profile(profile, smoke=100, cpu=400, gpu=400)
unseen = "".join(stories(judged, seed=seed + 1))
rows = torch.tensor(tokenizer.encode(unseen)).unfold(0, 257, 256)  # (B, T+1)

# %% [markdown]
# The decoder is lesson 03's; here it is a box with a switch for positions.
# One detail: a new embedding holds numbers of about 0.02, and beside sines of
# size 1 a word would drown in its place. The paper makes the words larger,
# by $\sqrt D$. With this box, in so few steps, a smaller table learns faster:
# 1.6 against 1.9 nats when we tried.

# %%
from llmkit.training import TrainingConfig, fit, show_progress
from llmkit.transformer import Decoder, ModelConfig

shape = {"context": 256, "n_layers": 2, "n_heads": 4, "d_model": 64}
steps = for_profile(profile, smoke=30, cpu=500, gpu=2000)
how = TrainingConfig(steps, learning_rate=5e-3, precision="fp32")


def train(positions, window=64, **changes):
    """Train a decoder on windows of this length, 1024 characters a step."""
    torch.manual_seed(seed)
    size = shape | changes | {"positions": positions}
    model = Decoder(ModelConfig(tokenizer.vocab_size, **size))
    if positions == "sinusoidal":
        model.sinusoids.mul_(0.03)  # as small as a new word
    batches = NextTokenBatches(ids, window, 1024 // window, seed)
    for _ in show_progress(fit(model, batches, how), every=60):
        pass
    return model.cpu().eval()


# %% [markdown]
# Two more for comparison. *One layer* without positions can see nothing but a
# bag, as section 1 proved. And rotary, trained at 256 on as many characters,
# shows what a longer text is worth to a model that has learnt to read it.

# %%
models = {}
for name in ("none", "learned", "sinusoidal", "rotary", "alibi"):
    print(f"{name}:", end=" ")
    models[name] = train(name)
print("rotary, trained at 256:", end=" ")
models["rotary at 256"] = train("rotary", window=256)
print("one layer, none:", end=" ")
bag = train("none", n_layers=1)

# %% [markdown]
# Now all read the same unseen rows of 256, and we note the loss at each
# position: how surprised a model is by the next character, in nats.


# %%
@torch.no_grad()
def losses(model, rows):
    """Return the loss at each position of each row, (B, T)."""
    x, y = next_token(rows)  # (B, T) each
    logits = torch.cat([model(part) for part in x.split(50)])  # (B, T, V)
    return F.cross_entropy(logits.mT, y, reduction="none")


loss = {
    name: losses(model, rows).mean(dim=0) for name, model in models.items()
}
bag_loss = losses(bag, rows).mean(dim=0)

# %% [markdown]
# The first characters of a row are hard for everybody: there is nothing yet
# to go by. So we do not average over all of it, but stretch by stretch.

# %%
stretches = [(0, 32), (32, 64), (64, 128), (128, 192), (192, 256)]
print("mean loss from position", *(f"{a:>8}" for a, _ in stretches), sep="")
for name, at in (loss | {"a bag (one layer)": bag_loss}).items():
    means = [f"{at[a:b].mean():8.3f}" for a, b in stretches]
    print(f"{name:>23}", *means, sep="")

# %%
middle = [16 * n + 7.5 for n in range(16)]
curves = {
    name: (middle, at.view(16, 16).mean(dim=1).tolist())
    for name, at in loss.items()
}
title = "trained at 64 (but for the last), read to 256"
size = (7.2, 4.2)
picture = figures.lines(
    curves, "position", "nats a character", title, size=size
)
picture.figure.axes[0].axvline(64, color="gray", lw=1)
picture

# %% [markdown]
# The grey line is where training ended. Compare with the column from 32.
#
# - **Learned**: the loss leaps up at 64, where the untrained rows begin.
# - **Sinusoidal** leaps as well. A formula gives a row for every position,
#   but this model has never seen these rows either. Inside the window it is
#   hardly better than none so far: it must first learn to read the dials.
#   With four times the steps (profile `gpu`) it leaves none far behind.
# - **Rotary** learns fastest inside the window, and is well for a while
#   beyond it. Then it ends worst of all. Only distances count, but a distance
#   of 200 is as new to it as row 200 to the others. Relative is not unlimited.
# - **None** is the worst inside the window. Most of what it knows is a bag:
#   the *single* layer, which can't see order, is nearly as good here. What the
#   second layer adds is the leak; it grows with training. Beyond 64 it gets
#   worse, too, yet ends better than three models that do have positions.
# - **ALiBi** stays flat: four times the text, and hardly any harm done.
#
# So ALiBi extrapolates? Its loss does. But a flat curve is also what you get
# from a model that never looks back more than 64 characters. So take the far
# past away. We judge the last 32 characters of each row twice, with all the
# row to look at and with its last 64 characters alone, and subtract. Below
# zero, the far past helps. **Guess the sign** for ALiBi. (The ± is a
# standard error.)


# %%
def far_past(model):
    """Return what the far past changes, its standard error, and the rest."""
    whole = losses(model, rows)[:, -32:]
    cut = losses(model, rows[:, -65:])[:, -32:]  # 64 inputs, the same labels
    change = (whole - cut).mean(dim=1)  # (B,)
    error = (change.std() / len(change) ** 0.5).item()
    return change.mean().item(), error, cut.mean().item()


far = {name: far_past(model) for name, model in models.items()}

# %%
print("               far past adds      without it   at 32 to 63")
for name, (change, error, cut) in far.items():
    inside = loss[name][32:64].mean()
    print(
        f"{name:>13}: {change:+.4f} ± {error:.4f} {cut:12.3f} {inside:12.3f}"
    )

# %% [markdown]
# There is something to be found back there: the model trained at 256 is a
# little better for it. Nobody trained at 64 gains. Even ALiBi, the calm one,
# does no better with the whole row than with its end, and rather worse. So
# cut the text to its last 64 characters and count positions anew: the two
# columns on the right show that each of the five is then about as good as it
# was inside its window. **ALiBi survives a longer text; it gains nothing from
# it.**
#
# Mind what this shows and what not: one text, one size, seconds of training.
# (Four times as many, profile `gpu`, gave the same picture when we tried.)
# Larger models may do otherwise, and rotary ones are taught longer texts by
# slowing their dials (a larger base) and training on. What stays is the
# test: do not ask whether the loss is flat, ask what the far past is worth.

# %% [markdown]
# ## 8. Play with the dials
#
# ### Exercise 02.4: predict what base 100 does (6 minutes)
#
# A head of width $K = 16$ has eight dials. In a text of 64 positions, how
# many of them go all the way round at least once: with base 10,000, and with
# base 100? Two whole numbers in place of the dots, such as `[8, 1]`.

# %%
guess = ...
mine = predict("02.4", guess)

# %%
i = torch.arange(8)
speeds = {base: base ** (-2 * i / 16) for base in (10_000.0, 100.0)}
rounds = [int((64 * w >= 2 * math.pi).sum()) for w in speeds.values()]
print("dials that go round:", dict(zip(speeds, rounds)))
mine.reveal(rounds)

# %%
d = torch.arange(65)  # distances
near_far = {
    f"base {base:,.0f}": (
        d.tolist(),
        (d[:, None] * w).cos().mean(dim=1).tolist(),
    )
    for base, w in speeds.items()
}
title = "a word meets itself"
figures.lines(near_far, "distance of query and key", "score", title)

# %% [markdown]
# The picture shows one word as query and as key, its points all of length 1.
# A small base makes many fast dials: the score falls sooner, and swings more.
#
# Now move things. Query and key are again one word, so the score is highest
# where both stand in one place. Above, their hands; below, the score by
# distance, $\frac{2}{K} \sum_i \cos(d\,\omega_i)$, and $\cos(d\,\omega_i)$ of
# one dial alone.


# %%
def draw(query, key, dial, base):
    """Draw the hands of query and key, and their score by distance."""
    w = base ** (-2 * torch.arange(8) / 16)  # (K / 2,)
    hands = {
        name: list(zip((at * w).cos().tolist(), (at * w).sin().tolist()))
        for name, at in {"query": query, "key": key}.items()
    }
    names = [f"[ dial {i} ]" if i == dial else f"dial {i}" for i in range(8)]
    title = f"query at {query}, key at {key}, base {base:,}"
    return figures.Stack(
        (
            figures.dials(hands, names, title),
            score_by_distance(query, key, dial, w),
        )
    )


# %%
def score_by_distance(query, key, dial, w):
    """Draw the score against the distance, and mark where we are."""
    d = torch.arange(-200, 201)  # query minus key
    parts = (d[:, None] * w).cos()  # (distances, K / 2)
    curves = {
        "all dials": (d.tolist(), parts.mean(dim=1).tolist()),
        f"dial {dial} alone": (d.tolist(), parts[:, dial].tolist()),
    }
    score = ((query - key) * w).cos().mean().item()
    title = f"distance {query - key}: score {score:.3f}"
    picture = figures.lines(curves, "query - key", "score", title)
    axes = picture.figure.axes[0]
    axes.plot(query - key, score, "o", color="black", ms=8)
    axes.set_ylim(-1.1, 1.7)  # room for the legend
    return picture


# %%
figures.play(
    draw,
    query=figures.slider("query at", 0, 200, 12),
    key=figures.slider("key at", 0, 200, 9),
    dial=figures.slider("dial i", 0, 7, 2),
    base=figures.choice("base", [10_000, 100, 10, 1_000_000]),
)

# %% [markdown]
# Run the cell yourself and the controls come alive. Things to find:
#
# - Move query and key by the same amount. All hands turn. What does not?
# - Pull the key away from the query. Which dial notices one step, and which
#   notices a hundred?
# - Choose base 100: near words stand out more, and far ones swing about zero.
#   With base 10 far ones come back; at what distance? With base 1,000,000
#   some dials hardly ever move: a head can keep there what should match at
#   any distance.
#
# ### Exercise 02.5: measure what one dial can tell apart (8 minutes)
#
# Dial 0 turns by one radian at each position, and is round after 6.3. Yet
# position 7 does not land where 0 was. **How many positions, from 0 on, can
# it keep apart,** if two points closer than 0.02 count as the same? It ends
# with the first position that is too near to one before it. You have
# `sinusoids(n, 2)`, which is dial 0 alone, and `torch.cdist`.

# %%
apart = ...  # how many positions
apart = check("02.5", apart).best

# %%
points = sinusoidal(100, 2)
print(f"one dial: {apart:.0f} positions")
for n in (6, 19, 25, 44):
    nearest = (points[:n] - points[n]).norm(dim=1).min()
    print(f"position {n:>2} comes as near as {nearest:.3f} to one before")

# %% [markdown]
# Eight dials of different speed tell far more, as the three hands of a
# clock tell every second of half a day.
#
# ## 9. What you measured

# %%
rise = {  # how much worse at the end than at the edge of the window
    name: (at[-64:].mean() - at[32:64].mean()).item()
    for name, at in loss.items()
}
band(
    "02",
    profile,
    {
        "bag_moves": bag_moves,
        "spread_along_stripe": spread,
        "collisions_sum_to_dial": counts[1.0][1] / counts[1.0][0],
        "missed_by_dials": shares["sine and cosine"],
        "missed_by_sums": shares["their sum"],
        "rows_without_gradient": untouched,
        "rotary_shift_difference": shift_difference,
        "loss_rotary_64": loss["rotary"][:64].mean(),
        "loss_none_minus_rotary": (loss["none"] - loss["rotary"])[:64].mean(),
        "rise_learned": rise["learned"],
        "rise_rotary": rise["rotary"],
        "rise_alibi": rise["alibi"],
        "far_past_alibi": far["alibi"][0],
        "far_past_trained_long": far["rotary at 256"][0],
    },
)

# %% [markdown]
# ## Recap
#
# - Attention sees a bag: shuffle the words and the outputs are shuffled,
#   nothing more. A causal mask leaks a little order, over several layers.
# - Sinusoids are dials of many speeds. Sine **and** cosine, two numbers: then
#   a move is a turn, one matrix for the whole text. Their sum loses that.
# - A learned row exists only where training has been.
# - Rotary turns queries and keys, never values; the score keeps the distance.
# - ALiBi makes far keys cost. Its loss stays flat on longer texts, and flat
#   is not the same as well informed.

# %%
quiz("02")

# %% [markdown]
# ## Scale it
#
# Most models that write today turn their queries and keys, and so does
# `llmkit`'s recipe for a GPU, with windows of 256:
#
# ```sh
# accelerate launch --num_processes 8 --module llmkit pretrain \
#     --corpus stories --preset small --out build/small
# ```
#
# Leave out `accelerate launch --num_processes 8 --module` and it runs on
# whatever you have.
#
# **Next, lesson 03:** the box with the switch. We open it, and build the whole
# Transformer around what you now know.
