# ---
# jupyter:
#   jupytext:
#     text_representation: {extension: .py, format_name: percent}
#   kernelspec: {display_name: Python 3, language: python, name: python3}
# ---

# %% [markdown]
# # 03 The Transformer: one block, three machines
#
# *What is the least you must add to attention to get a model?*
#
# Attention mixes. It cannot think about what it mixed, it forgets what it
# started from, and stacked on itself it goes deaf. Three small additions
# mend that, and what comes out is the block of which every language model of
# today is a pile. We add them one by one and measure what each is worth.
# Then we turn the same block into three machines, and one of them becomes
# BERT before your eyes, to the fifth digit.
#
# After this lesson you can
#
# - write attention in six ways, from a loop to one fused product, and check
#   each against the one before;
# - say what residual, norm and MLP are for, having seen a stack without them;
# - count a model's parameters and FLOPs on the back of an envelope;
# - tell encoder, decoder and encoder-decoder apart by who may look at whom;
# - load BERT's and GPT-2's weights into your own class, and check it.
#
# **Takes** about two hours with the exercises; the code runs in about one
# minute on a 2-core CPU. **Needs** lessons 01 and 02. No network, no GPU.

# %% tags=["parameters"]
profile = "cpu"  # "smoke" (seconds), "cpu" (a laptop) or "gpu"
bert = "minilm"  # or a folder, or a hub id such as "bert-base-uncased"
gpt2 = ""  # "gpt2" where the hub can be reached; else random weights
seed = 0

# %%
import math
import time

import torch
import torch.nn.functional as F
from torch import nn

from llmkit import figures
from llmkit.attention import MultiHeadAttention
from llmkit.exercises import (
    band,
    check,
    for_profile,
    hint,
    predict,
    quiz,
    solution,
)
from llmkit.exercises.lesson_03 import Parts, mystery, stream_norms, the_fault

torch.set_num_threads(1)  # small sums: a second thread only gets in the way
began = time.perf_counter()
random = torch.Generator().manual_seed(seed)

# %% [markdown]
# ## 1. Six ways to write one look
#
# Code grows by being rewritten. Here is attention of lesson 01, one query at
# a time, one key at a time, as you would explain it to a patient friend:
#
# $$o_t = \sum_s \frac{e^{q_t \cdot k_s / \sqrt K}}
# {\sum_j e^{q_t \cdot k_j / \sqrt K}}\, v_s$$

# %%
T, K = 5, 4
q, k, v = torch.randn(3, T, K, generator=random)  # (T, K) each


# %%
def look_loop(q, k, v):
    rows = []
    for query in q:
        parts = [(query @ key / math.sqrt(len(query))).exp() for key in k]
        total = sum(parts)
        rows.append(sum(p / total * value for p, value in zip(parts, v)))
    return torch.stack(rows)  # (T, K)


first = look_loop(q, k, v)

# %% [markdown]
# **Second:** all dot products at once are one product of matrices. The loops
# are gone; the numbers stay.


# %%
def look(q, k, v, visible=None):
    scores = q @ k.mT / math.sqrt(q.size(-1))  # (..., T, T)
    if visible is not None:
        scores = scores.masked_fill(~visible, -math.inf)
    return scores.softmax(dim=-1) @ v  # (..., T, K)


differences = [(look(q, k, v) - first).abs().max().item()]

# %% [markdown]
# **Third:** a class owns the matrices that make queries, keys and values out
# of the tokens $x$. A class is worth its lines only where there is something
# to own.


# %%
class Head(nn.Module):
    def __init__(self, D, K, causal=False):
        super().__init__()
        self.q, self.k, self.v = (
            nn.Linear(D, K, bias=False) for _ in range(3)
        )
        self.causal = causal

    def forward(self, x):
        past = torch.ones(x.size(-2), x.size(-2)).bool().tril()
        visible = past if self.causal else None
        return look(self.q(x), self.k(x), self.v(x), visible)


# %% [markdown]
# The class must do what its three matrices do by hand:

# %%
B, D, H = 2, 16, 4
x = torch.randn(B, T, D, generator=random)  # (B, T, D)
head = Head(D, D // H)
by_hand = look(x @ head.q.weight.T, x @ head.k.weight.T, x @ head.v.weight.T)
differences.append((head(x) - by_hand).abs().max().item())

# %% [markdown]
# **Fourth:** causal. There is a law to hold it to. Row $t$ of a causal look
# must be the last row of a *plain* look at the first $t$ tokens, since the
# rest does not exist for it:

# %%
head.causal = True
causal = head(x)
head.causal = False
prefixes = [head(x[:, : t + 1])[:, -1] for t in range(T)]
gap = (causal - torch.stack(prefixes, dim=1)).abs().max()
differences.append(gap.item())

# %% [markdown]
# **Fifth:** several heads side by side, and a matrix $W_O$ that lets their
# findings meet. **Sixth:** the same with one product for all queries, keys
# and values of all heads. That one is yours.
#
# ### Exercise 03.1: implement fused causal heads (20 minutes)
#
# `w_qkv` is (3D, D): first the rows that make all queries, then those of the
# keys, then those of the values, each cut into $H$ heads of $K = D / H$.
# `w_out` is (D, D). Both are used as in a linear layer, `x @ w.T`. Use
# nothing but tensors: product, view, permute, softmax. `hint("03.1")` helps.


# %%
def fused_heads(x, w_qkv, w_out, n_heads):
    """Return causal multi-head attention of x, (B, T, D) to (B, T, D)."""
    ...


fused_heads = check("03.1", fused_heads).best

# %% [markdown]
# Against four separate heads of the fifth kind, whose rows we stack; and
# against `llmkit`'s `MultiHeadAttention`, which we use from here on.

# %%
heads = [Head(D, D // H, causal=True) for _ in range(H)]
w_out = torch.randn(D, D, generator=random)
fifth = torch.cat([h(x) for h in heads], dim=-1) @ w_out.T  # (B, T, D)

# %%
stacked = [getattr(h, part).weight for part in "qkv" for h in heads]
w_qkv = torch.cat(stacked)  # (3D, D)
sixth = fused_heads(x, w_qkv, w_out, H)
differences.append((sixth - fifth).abs().max().item())

# %%
ours = MultiHeadAttention(D, H, causal=True, bias=False)
ours.load_state_dict({"qkv.weight": w_qkv, "out.weight": w_out})
differences.append((ours(x) - sixth).abs().max().item())
print([f"{difference:.0e}" for difference in differences])
assert max(differences) < 1e-5

# %% [markdown]
# Six programs, each held against the one before. Whenever you rewrite
# something, do it this way: keep the slow version and compare.
#
# ## 2. What attention lacks
#
# Now make it a model: embed tokens and positions, look, compare with the
# embedding's table. We train on our stories for a few steps, then add one
# part, and train again from the start. The text is small and the steps are
# few, on purpose: we want to see who is *quick*.

# %%
from llmkit.batches import NextTokenBatches
from llmkit.stories import stories
from llmkit.tokenizer import WordTokenizer
from llmkit.training import TrainingConfig, fit

# %%
text = "\n" + "".join(stories(8_000, seed=seed + 1))
tokenizer = WordTokenizer.train(text)
V, end = tokenizer.vocab_size, tokenizer.encode("\n")[0]
D, H, context = 64, 4, 48
batches = NextTokenBatches(
    torch.tensor(tokenizer.encode(text)), context, 32, seed, boundary=end
)


# %%
class Model(nn.Module):
    """Embed, run through the blocks, compare with the table."""

    def __init__(self, *blocks):
        super().__init__()
        self.table = nn.Embedding(V, D)
        self.places = nn.Embedding(context, D)
        self.blocks = nn.Sequential(*blocks)
        for table in (self.table, self.places):
            nn.init.normal_(table.weight, std=0.1)

    def forward(self, ids):
        x = self.table(ids) + self.places.weight[: ids.size(1)]  # (B, T, D)
        return self.blocks(x) @ self.table.weight.T  # (B, T, V)


# %% [markdown]
# `fit` is the kit's only training loop (lesson 06 opens it). A run whose loss
# stops being a number ends with an error, which we want to *see*, and go on.


# %%
def train(name, model, steps, rate=0.003):
    """Train; return (step numbers, losses) for a picture."""
    config = TrainingConfig(steps, learning_rate=rate, warmup=0.0, decay=0.0)
    losses = []
    try:
        for step in fit(model, batches, config):
            losses.append(step.loss)
        print(f"{name:>14}: loss {losses[0]:.2f} → {losses[-1]:.2f}")
    except ValueError as error:
        print(f"{name:>14}: {error}")
    return range(1, len(losses) + 1), losses


# %% [markdown]
# The three additions, each with its reason:
#
# - **Residual**, $x + f(x)$. What a part finds is *added* to what was there.
#   Without it a token that looks at its neighbours no longer knows what it
#   was itself.
# - **Norm.** A sum grows with each addition. Before a part reads the sum, the
#   numbers of each token are brought to mean 0 and spread 1, then scaled and
#   moved by learned weights.
# - **MLP.** Attention only averages values, and an average is linear in them.
#   Two matrices with a bend between them, applied to each token alone, let it
#   *conclude* something from what it found.
#
# The norm, in full, with learned $g$ and $b$ and a tiny $\epsilon$:
#
# $$\mathrm{norm}(x) = g\,\frac{x - \bar x}
# {\sqrt{\overline{(x - \bar x)^2} + \epsilon}} + b$$


# %%
def norm_by_hand(x, g, b, epsilon=1e-5):
    centred = x - x.mean(dim=-1, keepdim=True)  # (B, T, D)
    variance = centred.square().mean(dim=-1, keepdim=True)  # (B, T, 1)
    return g * centred / (variance + epsilon).sqrt() + b  # (B, T, D)


x, layer = 3 + 2 * torch.randn(2, 5, D), nn.LayerNorm(D)
by_hand = norm_by_hand(x, layer.weight, layer.bias)
assert torch.allclose(by_hand, layer(x), atol=1e-5)

# %% [markdown]
# The bars run over the $D$ numbers of *one token*, never over time or over
# the batch: a text may not depend on its neighbours in a batch.
#
# Now the parts. **Guess first:** which rung of the ladder below buys most in
# the first 60 steps?


# %%
def attend():
    return MultiHeadAttention(D, H, causal=True)


def think():
    return nn.Sequential(nn.Linear(D, 4 * D), nn.GELU(), nn.Linear(4 * D, D))


# %%
class Add(nn.Module):
    """Add to x what a part makes of it, normed first or not."""

    def __init__(self, part, norm=None):
        super().__init__()
        self.part, self.norm = part, norm or nn.Identity()

    def forward(self, x):
        return x + self.part(self.norm(x))


# %% [markdown]
# With these the whole ladder can be spelt:


# %%
def norm():
    return nn.LayerNorm(D)


def block():
    return nn.Sequential(Add(attend(), norm()), Add(think(), norm()))


# %%
rungs = {
    "attention": lambda: [attend()],
    "+ residual": lambda: [Add(attend())],
    "+ MLP, no norm": lambda: [Add(attend()), Add(think())],
    "+ norm, no MLP": lambda: [Add(attend(), norm()), norm()],
    "one block": lambda: [block(), norm()],
    "a stack of 3": lambda: [block(), block(), block(), norm()],
}

# %% [markdown]
# Each rung begins anew, from the same seed, and sees the same rows:

# %%
steps = for_profile(profile, smoke=6, cpu=60, gpu=60)
curves = {}
for name, make in rungs.items():
    torch.manual_seed(seed)
    curves[name] = train(name, Model(*make()), steps)

# %%
ladder_gain = curves["attention"][1][-1] - curves["one block"][1][-1]
figures.lines(curves, "training step", "nats a token")

# %% [markdown]
# Read it honestly. The residual alone helps a little; norm and MLP help a lot,
# most of all together; and three blocks are about as quick as one. What a part
# buys depends on what is there already, so beware of ladders, this one
# included. Stories this simple ask for little depth, and the steps are few.
# Neither the residual nor the third block has shown yet what it is for: that
# is the next section. (Lesson 06 trains two blocks to the end.)
#
# ### Exercise 03.2: implement a GPT of one block (25 minutes)
#
# Put the parts together: $x$ is the sum of embedding and position; attention
# reads $\mathrm{norm}_1(x)$ and its answer is added; the MLP reads
# $\mathrm{norm}_2(x)$ and its answer is added; a last norm; and each token is
# compared with every row of the embedding's table $E$.
#
# $$x \leftarrow x + \mathrm{look}(\mathrm{norm}_1(x)), \quad
# x \leftarrow x + \mathrm{down}(\mathrm{gelu}(\mathrm{up}(
# \mathrm{norm}_2(x)))), \quad z = \mathrm{norm}(x)\,E^\top$$
#
# `p` holds `table` (V, D), which is $E$; `places` (context, D); `norm1`,
# `norm2`, `up`, `down`, `norm`. `look` is causal attention. The bend is
# `F.gelu`. Call the norms as they are, or yours with their `.weight` and
# `.bias`.


# %%
def tiny_gpt(ids, p, look):
    """Return the logits (B, T, V) of the token after each of ids (B, T)."""
    ...


tiny_gpt = check("03.2", tiny_gpt).best

# %% [markdown]
# This is `llmkit`'s `Decoder` with one layer. From here on we import it.

# %%
from llmkit.transformer import Decoder, ModelConfig

# %%
model = Decoder(ModelConfig(65, context=16, n_layers=1, d_model=32))
b = model.blocks[0]
tables = model.embedding.weight, model.positions.weight
p = Parts(*tables, b.norm1, b.norm2, b.up, b.down, model.norm)

# %%
ids = torch.randint(65, (2, 9), generator=random)
off = (tiny_gpt(ids, p, b.attention) - model(ids)).abs().max().item()
print(f"largest difference: {off:.0e}")
assert off < 1e-5

# %% [markdown]
# ## 3. Depth, and what it takes
#
# Why is the residual there at all, if one block gains so little by it? Stack
# twelve blocks, in five ways: with neither residual nor norm, with one of
# them, and with both in two orders. **Pre-norm** norms what a part *reads*,
# $x + f(\mathrm{norm}(x))$; **post-norm** norms the *sum*,
# $\mathrm{norm}(x + f(x))$, as in 2017 and in BERT.


# %%
class Post(Add):
    """Norm the sum: post-norm."""

    def forward(self, x):
        return self.norm(x + self.part(x))


# %%
ways = {
    "neither": lambda part: part,
    "norm only": lambda part: nn.Sequential(norm(), part),
    "residual only": lambda part: Add(part),
    "post-norm": lambda part: Post(part, norm()),
    "pre-norm": lambda part: Add(part, norm()),
}


# %% [markdown]
# Weights are drawn as they were in 2017 (Glorot's way, a compromise between
# keeping sizes on the way forward and on the way back). After the stack comes
# a last norm, whichever way it is wired:


# %%
def deep(way, L=12):
    """Stack L blocks wired in one way, then a norm; weights as in 2017."""
    torch.manual_seed(seed)
    wire = ways[way]
    blocks = [nn.Sequential(wire(attend()), wire(think())) for _ in range(L)]
    model = Model(*blocks, norm())
    for weight in model.blocks.parameters():
        if weight.ndim == 2:
            nn.init.xavier_uniform_(weight)
    return model


# %% [markdown]
# `stream_norms` sends the loss back through a model and measures how large
# the gradient is after each block. **Guess** the factor from block 11 back to
# block 0 where there is neither residual nor norm.

# %%
ids = batches[0][0][:8]
gradients = {way: stream_norms(deep(way), ids)[1][:12] for way in ways}
kept = {way: (g[0] / g[-1]).item() for way, g in gradients.items()}
by_depth = {way: (range(12), g.tolist()) for way, g in gradients.items()}
figures.lines(by_depth, "block", "gradient norm", log="y", size=(6.4, 4))

# %%
for way, share in kept.items():
    print(f"{way:>14}: at block 0, {share:.1e} × that at block 11")

# %% [markdown]
# With neither, hardly anything arrives: the first blocks could not learn if
# they wanted to. A residual is a road on which the gradient travels back
# untouched, $\partial(x + f)/\partial x = 1 + f'$; alone, it lets the sum
# grow on the way forward, and the gradient on the way *back*. A norm alone
# keeps the gradient's *size* in bounds, but size is not sense. So train all
# five, at one and the same rate, without warm-up. The dashed line is what a
# model reaches that only knows how frequent each word is:

# %%
steps = for_profile(profile, smoke=3, cpu=60, gpu=60)
depth = {way: train(way, deep(way), steps) for way in ways}

# %%
drawn = {way: curve for way, curve in depth.items() if curve[0]}
share = torch.bincount(batches.ids, minlength=V) / len(batches.ids)
level = ("frequencies alone", torch.special.entr(share).sum().item())
figures.lines(
    drawn, "training step", "nats a token", level=level, size=(6.4, 4)
)

# %% [markdown]
# Pre-norm is far ahead. With the residual alone the sum runs away: where a
# curve ends early, the loss stopped being a number. Those that lie on the
# dashed line have learnt how frequent words are and nothing of what follows
# what, whatever the size of their gradients. That is no proof that they
# cannot: with warm-up, a smaller rate and patience, post-norm trained the
# first Transformers and BERT.
# Pre-norm *forgives*, and that is why nearly everybody uses it now. The
# difference is in what each can bear, not in the best loss it can reach.
#
# ### Exercise 03.3: debug a block that is wired differently (12 minutes)
#
# `mystery()` builds a deep pre-norm decoder in which somebody left *one* block
# post-norm. Nothing fails. But the stream, the sum that runs through the
# blocks, tells: draw its norm by depth, and that of its gradient.

# %%
suspect = mystery()
ids = torch.randint(50, (4, 32), generator=random)
stream, gradient = stream_norms(suspect, ids)  # (12,) each, after each block
found = {"stream": stream, "gradient × 100": 100 * gradient}
by_depth = {name: (range(12), n.tolist()) for name, n in found.items()}
figures.lines(by_depth, "block", "norm")

# %%
wired_wrong = ...  # the number of the block, as in suspect.blocks[number]
wired_wrong = check("03.3", wired_wrong, truth=the_fault(suspect)).best

# %% [markdown]
# ## 4. Count it
#
# A layer holds $W_Q, W_K, W_V, W_O$, each $D \times D$: together $4D^2$. Its
# MLP widens to $4D$ and back: $8D^2$. Whoever remembers **$12 D^2$ a layer**
# can size any GPT on a napkin; biases and norms are small change, and the
# embedding adds $V D$.
#
# ### Exercise 03.4: predict the parameters of GPT-2 small (6 minutes)
#
# 12 layers, $D = 768$, $V = 50{,}257$, a context of 1,024, head tied to the
# embedding. How many? A pencil will do, and 2% off is fine.

# %%
mine = predict("03.4", ...)


# %%
def count(**changes):
    """Count the parameters of GPT-2 small, changed, without making one."""
    with torch.device("meta"):  # shapes and no memory
        model = Decoder(ModelConfig.preset("gpt2", **changes))
    return sum(weight.numel() for weight in model.parameters())


mine.reveal(count())

# %% [markdown]
# The same pencil counts work. A matrix multiplies and adds once for each of
# its numbers: **2 FLOPs a parameter and token**. The look itself adds
# $4 T D$ a layer (scores, then mixture). Does torch agree?

# %%
from torch.utils.flop_counter import FlopCounterMode

small = Decoder(ModelConfig(V, context, n_layers=3, d_model=D))
ids = batches[0][0]
with FlopCounterMode(display=False) as counter:
    small(ids, watch=[])  # by the formula, which torch can count

# %%
pencil = 2 * (3 * 12 * D**2 + V * D) + 3 * 4 * context * D
torchs = counter.get_total_flops() / ids.numel()
print(f"FLOPs a token: torch {torchs:,.0f}, pencil {pencil:,}")

# %% [markdown]
# Training costs three times that: back through a matrix is two products more,
# one for its input and one for itself. Hence the famous $6ND$: 6 FLOPs a
# parameter and token (lesson 08 plans with it).
#
# ### Exercise 03.5: measure what tying saves (8 minutes)
#
# GPT-2's head is its embedding's table, used backwards: the same numbers say
# what a token *means* and when to *say* it. Untied, it would be a second
# $V \times D$. What share of all the untied model's parameters does tying
# save? `count(tied=False)` counts.

# %%
share = ...  # a number between 0 and 1
share = check("03.5", share).best

# %% [markdown]
# And what does it cost? Train both, same steps, same stories:

# %%
steps = for_profile(profile, smoke=6, cpu=100, gpu=300)
for tied in (True, False):
    torch.manual_seed(seed)
    shape = ModelConfig(V, context, n_layers=2, d_model=D, tied=tied)
    size = sum(w.numel() for w in Decoder(shape).parameters())
    print(f"{size:,} parameters")
    train("tied" if tied else "a head apart", Decoder(shape), steps)

# %% [markdown]
# The head apart is a little ahead, for the many more weights that it has. It
# could also learn at a rate of its own, which is why fast recipes untie it
# (lesson 06). Where memory is dear, one ties it.
#
# ## 5. One block, three machines
#
# The block does not know what it is for. Who may look at whom decides:
#
# - an **encoder** looks both ways, and turns a text into meanings: BERT;
# - a **decoder** looks back, and guesses what comes: GPT;
# - an **encoder-decoder** reads one text with the first and writes another
#   with the second, whose blocks get one more part: **cross-attention**, with
#   queries from what is being written, and keys and values from what was
#   read.
#
# All three in one picture. Rows look, columns are looked at, and the colour
# says in which machine.

# %%
read = ["the", "cat", "sat", "on", "the", "mat"]
written = ["die", "Katze", "saß", "auf"]
S, T = len(read), len(written)
may_look = torch.zeros(S + T, S + T)
may_look[:S, :S] = 1  # the encoder: all of the source
may_look[S:, :S] = 2  # cross-attention: all that was read
may_look[S:, S:] = 3 * torch.ones(T, T).tril()  # the decoder: its own past

# %%
names = dict(columns=read + written, rows=read + written)
names |= dict(title="who may look at whom", size=(7.2, 4.6))
picture = figures.heatmap(may_look, "is looked at", "looks", "kind", **names)
kinds = ["never", "encoder", "cross", "decoder"]
picture.figure.axes[1].set_yticks(range(4), kinds)  # beside the colours
picture

# %% [markdown]
# Upper left an encoder, lower right a decoder, lower left what joins them.
# Cross-attention needs no new formula: with $x$ what is being written and $m$
# the memory of what was read,
#
# $$\mathrm{cross}(x, m) =
# \mathrm{look}(x W_Q^\top,\; m W_K^\top,\; m W_V^\top)\, W_O^\top$$

# %%
cross = MultiHeadAttention(D, 1, bias=False, cross=True)
x, m = torch.randn(1, T, D), torch.randn(1, S, D)  # written, read
w_q, (w_k, w_v) = cross.q.weight, cross.kv.weight.chunk(2)
mine = look(x @ w_q.T, m @ w_k.T, m @ w_v.T) @ cross.out.weight.T
assert torch.allclose(mine, cross(x, memory=m), atol=1e-5)

# %% [markdown]
# A shape is only a set of fields, so the choices of a decade fit in a table:

# %%
from dataclasses import asdict

from llmkit.transformer import PRESETS

# %%
shapes = {name: asdict(ModelConfig.preset(name)) for name in PRESETS}
print(" " * 15, *(f"{name:>12}" for name in shapes))
for field in ("positions", "norm", "norm_place", "activation", "bias", "tied"):
    row = (f"{shape[field]!s:>12}" for shape in shapes.values())
    print(f"{field:>15}", *row)

# %% [markdown]
# ## 6. The proof
#
# Does our block do what BERT's does? There is a way to be sure: **load BERT's
# weights into our class** and compare every layer. `minilm` is a small BERT
# that comes as a Python package; with a network, set `bert` to
# `"bert-base-uncased"`. Theirs is called the usual way; ours takes a mask
# that is true where a token is.

# %%
import transformers

from llmkit.batches import pad
from llmkit.pretrained import model_folder
from llmkit.tokenizer import HFTokenizer
from llmkit.transformer import Encoder, mean_pool

# %%
transformers.logging.set_verbosity_error()
transformers.logging.disable_progress_bar()
folder = model_folder(bert)
theirs = transformers.BertModel.from_pretrained(folder).eval()
ours = Encoder.from_hf(folder)
words = HFTokenizer.from_pretrained(folder)

# %% [markdown]
# Six sentences, and a row of ids for each, filled up to one length:

# %%
sentences = [
    "The cat sat on the mat.",
    "A feline was resting on the rug.",
    "The cat did not sit on the mat.",
    "The dog chased a cat across the yard.",
    "My mother plays the piano.",
    "Stocks fell sharply on Monday.",
]

# %%
rows = [words.encode(s, special_tokens=True) for s in sentences]
ids = pad(rows, filler=0)  # (B, T)
is_token = pad([[1] * len(row) for row in rows], filler=0).bool()  # (B, T)

# %% [markdown]
# A *hook* is called with what a layer returns. We collect ours block by block
# and hold them against theirs.

# %%
states = []
hooks = [
    block.register_forward_hook(lambda block, given, x: states.append(x))
    for block in ours.blocks
]

# %%
with torch.no_grad():
    meanings = ours(ids, is_token)  # (B, T, D)
    told = theirs(ids, is_token.long(), output_hidden_states=True)
for hook in hooks:
    hook.remove()

# %%
layers = zip(states, told.hidden_states[1:])
gaps = [(mine - other).abs().max().item() for mine, other in layers]
print("largest difference in each layer:", [f"{gap:.0e}" for gap in gaps])
bert_difference = max(gaps)
assert bert_difference < 1e-4

# %% [markdown]
# Millions of numbers, trained by somebody else for days. And not only
# `llmkit`'s class makes of them what the original makes: BERT is post-norm,
# and the `Post` that you wrote in section 3 is all there is to its blocks.

# %%
one = torch.tensor([rows[3]])  # (1, T): a single sentence, no padding
with torch.no_grad():
    told_one = theirs(one, output_hidden_states=True).hidden_states
    x = told_one[0]  # (1, T, D): the embeddings
    for b in ours.blocks:
        mlp = nn.Sequential(b.up, nn.GELU(), b.down)
        x = Post(mlp, b.norm2)(Post(b.attention, b.norm1)(x))
gap = (x - told_one[-1]).abs().max().item()
print(f"your blocks, all layers: {gap:.0e}")
assert gap < 1e-4

# %% [markdown]
# Are these vectors good for anything? Average each sentence's meanings,
# padding left out, and compare the first sentence with the others by the
# angle between the two.

# %%
vectors = F.normalize(mean_pool(meanings, is_token), dim=-1)  # (B, D)
alike = (vectors[1:] @ vectors[0]).tolist()
print("like", repr(sentences[0]))
for score, sentence in sorted(zip(alike, sentences[1:]), reverse=True):
    print(f"  {score:.2f}  {sentence}")

# %% [markdown]
# Mark what comes first. A sentence that says the *opposite*, in nearly the
# same words, lies nearer than one that says the same in others. Such vectors
# know what a text is about better than what it claims: lesson 07 meets this
# again as negation.
#
# ### What do its 72 heads look at?
#
# An **atlas**: each small map is one head, rows are blocks. Some have a habit
# so plain that it has a name, and the score behind the name. Choose one, and
# see it as a map or as lines; the arrow keys move too. **Guess** first: where
# do most heads of a BERT put most of their weight?

# %%
from llmkit.explorer import explore


def atlas(sentence, reader=ours):
    """Show where every head of BERT looks in a sentence."""
    return explore(reader, sentence, tokenizer=words, title=sentence)


figures.play(atlas, sentence=figures.typed("sentence", sentences))

# %% [markdown]
# Many rest on `[SEP]` or `[CLS]`, which say nothing: a head that finds nothing
# to do still has to spend its 100% somewhere (Clark et al. 2019). The names
# come from this one sentence. Type another, and see which of them stay.
#
# ### GPT-2
#
# Now GPT-2: pre-norm, causal, with a head. Without a network the weights are
# random, biases and norms too, so that no lucky zero can hide a weight that
# went astray. Only the text will not be literature.

# %%
GPT2 = transformers.GPT2LMHeadModel
torch.manual_seed(seed)
size = dict(vocab_size=V, n_positions=64, n_embd=96, n_layer=4, n_head=4)
size |= dict(bos_token_id=None, eos_token_id=None)
size |= dict(initializer_range=0.2)  # loud, so that a fault would show
random_gpt2 = GPT2(transformers.GPT2Config(**size))
with torch.no_grad():  # at birth biases are 0 and norms 1: too easy
    for weight in random_gpt2.parameters():
        if weight.ndim == 1:
            weight.add_(0.2 * torch.randn_like(weight))

# %%
real = gpt2 and GPT2.from_pretrained(model_folder(gpt2))
theirs = (real or random_gpt2).eval()
ours = Decoder.from_hf(theirs)

# %% [markdown]
# One prompt, and the logits after each of its tokens:

# %%
speaks = HFTokenizer.from_pretrained(gpt2) if gpt2 else tokenizer
prompt = torch.tensor([speaks.encode("\nOne sunny")])
with torch.no_grad():
    logits = theirs(prompt).logits  # (1, T, V)
    gap = (ours(prompt) - logits).abs().max() / logits.abs().max()

# %% [markdown]
# One wrong number early on and the two texts part for good. So let both write
# 20 tokens, each time the likeliest:

# %%
from llmkit.generation import generate

mine = torch.stack(list(generate(ours, prompt, 20, temperature=0)), dim=1)
how = dict(max_new_tokens=20, do_sample=False, pad_token_id=0)
how |= dict(attention_mask=torch.ones_like(prompt))
other = theirs.generate(prompt, **how)[:, prompt.size(1) :]

# %%
gpt2_difference = gap.item()
print(f"logits off by {gap:.0e} of the largest; both go on")
print(speaks.decode(mine[0].tolist()))
assert torch.equal(mine, other)

# %% [markdown]
# And back: `ours.to_hf("my-folder")` writes what `transformers` loads.
#
# ## 7. Read one thing, write another
#
# People write dates in many ways; machines want one. Nobody will write us
# rules: we show pairs, in six wordings, and train. One day in ten is never
# shown.

# %%
from llmkit import pairs
from llmkit.batches import PairBatches, pair_batch
from llmkit.tokenizer import CharTokenizer
from llmkit.training import show_progress
from llmkit.transformer import Seq2Seq

# %%
shown = list(pairs.dates(20_000, seed=seed + 1))
unseen = list(pairs.dates(500, seed=seed + 2, unseen=True))
letters = CharTokenizer.train("\n" + "".join(map("".join, shown)))
end = letters.encode("\n")[0]
for source, answer in shown[:4]:
    print(f"{source:>28} → {answer}")

# %% [markdown]
# One block to read, one to write. The loss is that of any decoder; the source
# enters through cross-attention alone.


# %%
def as_ids(some):
    """Turn pairs of text into pairs of ids."""
    return [tuple(letters.encode(text) for text in pair) for pair in some]


# %%
torch.manual_seed(seed)
size = dict(context=40, n_layers=1, n_heads=4, d_model=48)
shape = ModelConfig.preset("modern", vocab_size=letters.vocab_size, **size)
writer = Seq2Seq(shape)
print(f"{sum(w.numel() for w in writer.parameters()):,} parameters")

# %% [markdown]
# The same loop, the same loss. Each batch holds sources, the answers so far
# and a mask of the sources' padding; the labels are the next characters.

# %%
recipe = dict(optimizer="muon", muon_rate=0.02, learning_rate=0.01)
steps = for_profile(profile, smoke=12, cpu=300, gpu=600)
config = TrainingConfig(steps, warmup=0.05, **recipe)
data = PairBatches(as_ids(shown), 64, end, seed)
losses = [s.loss for s in show_progress(fit(writer, data, config))]

# %%
writer = writer.cpu().eval()
axis = "nats a character"
figures.lines({"dates": (range(len(losses)), losses)}, "step", axis, log="y")


# %% [markdown]
# To answer, read once and write until the end comes. Beginning and end are a
# line break; an answer has ten characters and its end.


# %%
@torch.no_grad()
def rewrite(sources):
    """Write the answer to each source, the likeliest character each time."""
    asked = as_ids([(source, "") for source in sources])
    (source, start, mask), _ = pair_batch(asked, end)
    memory = writer.encode(source, mask)  # read once
    new = generate(writer.decoder, start, 11, temperature=0, memory=memory)
    rows = torch.stack(list(new), dim=1).tolist()
    return [letters.decode(row).split("\n")[0] for row in rows]


# %%
answers = rewrite([source for source, _ in unseen])
right = [told == true for told, (_, true) in zip(answers, unseen)]
exact = sum(right) / len(right)
print(f"{exact:.1%} of {len(unseen)} unseen dates, to the last character")

# %% [markdown]
# How does it do it? Ask where each character that it writes was looking. The
# weights of cross-attention, averaged over heads, are an **alignment**: they
# read like a translation.


# %%
@torch.no_grad()
def alignment(source, head="mean"):
    """Return what is written, and where each character looked: (T, S)."""
    answer = rewrite([source])[0]
    (ids, target, mask), _ = pair_batch(as_ids([(source, answer)]), end)
    watch = []
    writer(ids, target, mask, watch=watch)
    weights = watch[-1][0]  # (H, T, S), of the last block
    return answer, weights.mean(0) if head == "mean" else weights[head]


# %%
def draw(source, head):
    answer, weights = alignment(source, head)
    title = f"writing {answer}, head: {head}"
    return figures.attention_map(weights, [*answer, "end"], [*source], title)


# %%
examples = ["Wednesday, 3 March 2021", "the 22nd of May 1987"]
examples += ["December 31, 1999", "Fri Feb 29 2036", "7-Jun-1954"]
heads = figures.choice("head", ["mean", *range(shape.n_heads)])
figures.play(draw, source=figures.choice("date", examples), head=heads)

# %% [markdown]
# Where a character is copied, the bright cell is the one it is copied from:
# the last digits of the year, and of the day. The month's number looks mostly
# into the month's name. Run the cell and try:
#
# - another wording: what moves, and what stays?
# - single heads: do they share the work?
# - a short month, "7-Jun-1954": which letters tell June from July?
#
# Where little is left to decide (the century, a hyphen), weights lie where
# they may, even on the weekday. Does the weekday matter, then? Tell it lies:

# %%
lies = [f"{day}, 3 March 2021" for day in ("Monday", "Friday", "Sunday")]
for lie, told in zip(lies, rewrite(lies)):
    print(f"{lie:>22} → {told}")

# %% [markdown]
# The answer stays. A weight on something is no proof that it was used:
# attention is not an explanation of what a model did. (Lesson 07 returns to
# that.)
#
# ## 8. What you measured

# %%
results = {
    "fused difference": max(differences),
    "bert difference": bert_difference,
    "gpt2 difference": gpt2_difference,
    "gradient kept without residual": kept["neither"],
    "gradient kept pre-norm": kept["pre-norm"],
    "gain of the ladder": ladder_gain,
    "dates exact": exact,
    "seconds": time.perf_counter() - began,
}
band("03", profile, results)

# %% [markdown]
# ## Recap
#
# - A block is attention and an MLP, each added to a stream and each reading
#   it through a norm. Residuals keep the road back open; norms keep the sum
#   readable.
# - $12 D^2$ parameters a layer; 2 FLOPs a parameter and token forward, 6 in
#   training.
# - Encoder, decoder, encoder-decoder: one block, and three answers to *who
#   may look at whom*.
# - Equal to BERT and GPT-2 in every layer is a claim that anybody can check.
#   You did.

# %%
quiz("03")

# %% [markdown]
# ## Scale it
#
# The decoder of this lesson is what `llmkit pretrain` trains. On eight GPUs:
#
# ```sh
# accelerate launch --num_processes 8 --module llmkit pretrain \
#     --corpus stories --preset small --out build/small
# ```
#
# **Next, lesson 04:** a model eats ids. Where do they come from, and what was
# thrown away on the road?
