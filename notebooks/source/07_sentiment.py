# ---
# jupyter:
#   jupytext:
#     text_representation: {extension: .py, format_name: percent}
#   kernelspec: {display_name: Python 3, language: python, name: python3}
# ---

# %% [markdown]
# # 07 Sentiment: standing on BERT's shoulders
#
# *1,000 reviews are few. What do somebody else's months of pretraining buy?*
#
# > Late, crammed, and smelling of wet dog, but when my waters broke at the
# > third stop that driver turned his bus round and took me straight to the
# > maternity wing. Hero.
#
# Praise or blame? You know, although it begins with three complaints and has
# one kind word. Counting words won't do, and nobody labels a million reviews
# for you. So we take a model that has read for months, and teach it the rest.
#
# **You will leave with** a fine-tuned BERT, several times faster than the
# loop that most pages show; a learning rate chosen by looking; cures for
# overfitting with their effect *and* its error; a report that reads its own
# mistakes; and reasons not to believe a picture of attention.
#
# **It takes** six minutes of computing on two idle cores, and two hours
# of you. **It needs** lessons 01 and 03; 04 to 06 help. No network, no GPU.

# %% tags=["parameters"]
profile = "cpu"  # "smoke" (seconds), "cpu" (a laptop) or "gpu"
model = "minilm"  # a folder or, with a network, "bert-base-uncased"
seed = 0

# %%
import time

import torch
import torch.nn.functional as F
from torch import nn

from llmkit import figures
from llmkit.batches import ClassBatches, side_by_side
from llmkit.exercises import (
    band,
    check,
    for_profile,
    hint,
    predict,
    quiz,
    solution,
)
from llmkit.finetuning import predict as probabilities
from llmkit.metrics import accuracy

began = time.perf_counter()

# %% [markdown]
# ## 1. Look first
#
# The reviews were written for this course, by hand. There are three splits:
# one to learn from, one to choose by, and one that is kept for the end. A
# review that is hard carries a tag that says why.

# %%
from llmkit.finetuning import load_classifier, load_splits, report

splits = load_splits("reviews")
names = splits.train.names
untouched = load_classifier(model, names, seed=seed)
print(report(splits, untouched.count, untouched.limit))

# %%
random = torch.Generator().manual_seed(seed)
size = for_profile(profile, smoke=48, cpu=1056, gpu=1056)
places = torch.randperm(len(splits.train), generator=random).tolist()
learn = splits.train.take(places[:size])
few = slice(for_profile(profile, smoke=24, cpu=None, gpu=None))
choose = splits.validation.take(range(len(splits.validation))[few])
test = splits.test.take(range(len(splits.test))[few])

# %%
for tag in ("negation", "irony", "understatement"):
    at = next(i for i, tags in enumerate(learn.tags) if tag in tags)
    print(f"{names[learn.labels[at]]}, {tag}: {learn.texts[at]}\n")

# %% [markdown]
# A BERT reads **WordPieces**: common words whole, others in parts that begin
# with `##`, all in small letters. Two tokens come in addition: `[CLS]` in
# front, whose last state stands for the whole text, and `[SEP]` at the end.

# %%
review = sorted(learn.texts, key=len)[size // 3]
ids = untouched.encode([review])[0]
pieces = untouched.tokenizer.convert_ids_to_tokens(ids)
figures.cuts({"tokens": pieces})

# %% [markdown]
# ### What does it know before any training?
#
# Average the last states of each review into one vector: MiniLM, our model,
# was pretrained so that this mean says what a sentence is about. Draw them in
# the two directions in which they differ most (principal components).
# **Guess first:** will praise and blame lie apart?

# %%
from llmkit.transformer import mean_pool

count = for_profile(profile, smoke=24, cpu=240, gpu=480)
by_length = sorted(range(size), key=lambda i: len(learn.texts[i]))
some = learn.take(by_length[size // 3 :][:count])  # of like length
told = torch.tensor(some.labels)

# %%
ids, mask = side_by_side(untouched.encode(some.texts), untouched.filler)
with torch.inference_mode():
    encoder = untouched.eval().model.base_model
    states = encoder(ids, mask).last_hidden_state  # (N, T, D)
vectors = F.normalize(mean_pool(states, mask), dim=-1)  # (N, D)

# %%
_, _, directions = torch.pca_lowrank(vectors, q=2)  # (D, 2)
points = (vectors - vectors.mean(dim=0)) @ directions  # (N, 2)
figures.scatter_classes(points, some.labels, names, title="before training")

# %% [markdown]
# No: the rings, the means of the classes, lie close together. Then what *are*
# the directions about? Ask each review for its nearest neighbour.

# %%
near = (vectors @ vectors.T).fill_diagonal_(-1)  # (N, N) cosines
closest, neighbour = near.max(dim=1)  # (N,) each
alike = told == told[neighbour]
print(f"{alike.float().mean():.0%} have a neighbour of their own class\n")
at = closest.masked_fill(alike, -1).argmax()
for i in (at, neighbour[at]):
    print(f"{names[told[i]]}: {some.texts[i]}")

# %% [markdown]
# It knows what a review is *about*, and puts praise and blame of one thing
# side by side. What we want is in there too, somewhere. It must be brought to
# the front, and that is fine-tuning.
#
# And the new head? It was drawn by lot, and so are its answers:

# %%
untrained = accuracy(probabilities(untouched, some.texts), told)
print(f"right before training: {untrained:.0%}")

# %% [markdown]
# ## 2. The usual loop
#
# This is what most pages on the subject show. Read it, and mark what you
# would change, before you read on.

# %%
from transformers import AutoModel, AutoTokenizer
from transformers.utils.logging import disable_progress_bar

from llmkit.pretrained import model_folder

disable_progress_bar()
folder = model_folder(model)
tokenizer = AutoTokenizer.from_pretrained(folder)
bert = AutoModel.from_pretrained(folder)

# %%
head = nn.Linear(bert.config.hidden_size, len(names))
weights = [*bert.parameters(), *head.parameters()]
optimizer = torch.optim.AdamW(weights, lr=2e-5)
texts, labels = list(learn.texts), learn.labels

# %%
rounds = for_profile(profile, smoke=1, cpu=5, gpu=20)
start = time.perf_counter()
bert.train()
for i in range(rounds):
    here = slice(16 * i, 16 * i + 16)
    how = dict(padding="max_length", truncation=True, max_length=128)
    batch = tokenizer(texts[here], return_tensors="pt", **how)
    labels = torch.tensor(learn.labels[here])
    outputs = bert(**batch).last_hidden_state  # (B, 128, D)
    logits = head(outputs[:, -1])  # (B, C)
    optimizer.zero_grad()
    F.cross_entropy(logits, labels).backward()
    optimizer.step()
usual_pace = 16 * rounds / (time.perf_counter() - start)

# %% [markdown]
# And what such pages print at the end:

# %%
right = (logits.argmax(dim=-1) == labels).float().mean()
print(f"accuracy {right:.2f}; {usual_pace:.1f} reviews a second")

# %% [markdown]
# It runs, and something comes out. Line by line:
#
# - `padding="max_length"`: every row is filled up to 128 tokens. Section 3
#   counts what that costs.
# - `labels = ...` overwrites the labels of the whole set. So the last cell,
#   which looks like an evaluation, judges the *last batch*: 16 training
#   texts, and one of them is 6 points of "accuracy".
# - `lr=2e-5`, all the time and for all weights alike. The head is new and
#   knows nothing, the rest knows much: should they move alike? And AdamW
#   pulls all weights towards zero, biases and norms too.
# - Nothing is shuffled, nothing is validated. It ends when it ends.
# - `outputs[:, -1]`: the last position. What stands there?

# %%
last = tokenizer.convert_ids_to_tokens(batch["input_ids"][:, -1])
fillers = last.count(tokenizer.pad_token)
print(f"{fillers} of {len(last)} last tokens are {tokenizer.pad_token}")

# %% [markdown]
# Filler! The mask keeps the words from looking at it, but *it* looks at the
# words, and so it has a state, for which pretraining had no use. Does that
# state depend on how far we fill up? It should not. Compare with `[CLS]`.


# %%
@torch.no_grad()
def filled_to(length):
    """Return the first and the last state of a review, filled up so far."""
    how = dict(padding="max_length", max_length=length, return_tensors="pt")
    states = bert.eval()(**tokenizer(review, **how)).last_hidden_state
    return states[0, [0, -1]]  # (2, D)


# %%
short, long = filled_to(64), filled_to(128)
moved = ((short - long).norm(dim=-1) / short.norm(dim=-1)).tolist()
print(f"from 64 to 128 places: [CLS] moves by {moved[0]:.4%},")
print(f"the last position by {moved[1]:.0%} of its length")

# %% [markdown]
# `[CLS]` stays, but for rounding. What the last position says hangs on the
# length of a row, which has nothing to do with the review. Such a model can
# even learn something, as the filler does see the words. But by accident.
# (Ours will read the *mean* of the states, on which MiniLM was pretrained; the
# kit puts one more block on MiniLM's six, which makes this mean where the head
# reads.)
#
# ## 3. Filling up
#
# The median review has some 30 tokens. Fill each batch up to *its own*
# longest row; better still, make batches of like length. But sort all rows
# once, and the same ones meet in every epoch. So: shuffle, cut into **pools**
# of some batches, sort each pool, and cut it into batches.
#
# ### Exercise 07.1: implement buckets (15 minutes)
#
# `rows` are the ids of each text and `order` holds their numbers, shuffled.
# Sort `pool` rows of it at a time, cut into batches of at most `B`, and
# return ids and mask (True where a token is) of each batch.


# %%
def bucketed(rows, order, B, pool, filler=0):
    """Return batches, (ids (B, T), mask (B, T)) each."""
    ...


bucketed = check("07.1", bucketed).best

# %% [markdown]
# The kit's `ClassBatches` deals its batches in random order, too. Apart from
# that both must agree:

# %%
rows, filler = untouched.encode(learn.texts), untouched.filler
theirs = ClassBatches(rows, learn.labels, 16, filler, seed)
dice = torch.Generator().manual_seed(1_000_003 * seed)  # as the kit draws
order = torch.randperm(len(rows), generator=dice).tolist()

# %%
ours = [x.tolist() for x, _ in bucketed(rows, order, 16, 50 * 16, filler)]
kits = [theirs[i][0][0].tolist() for i in range(len(theirs))]
assert sorted(ours) == sorted(kits)

# %% [markdown]
# What does it save? A pass forward and back for the same few reviews:


# %%
def passes(batches):
    """Return the seconds of a pass forward and back, and the places used."""
    start, places = time.perf_counter(), 0
    for ids, mask in batches:
        untouched(ids, mask).sum().backward()
        places += ids.numel()
    untouched.zero_grad()
    return time.perf_counter() - start, places


# %%
sample = order[: for_profile(profile, smoke=8, cpu=48, gpu=480)]
shuffled = bucketed(rows, sample, 16, pool=16, filler=filler)
room = [128 - ids.size(1) for ids, _ in shuffled]
wide = [[F.pad(x, (0, r)) for x in batch] for batch, r in zip(shuffled, room)]
ways = {
    "to-128": wide,
    "to-the-longest": shuffled,
    "buckets": bucketed(rows, sample, 16, pool=48, filler=filler),
}

# %%
passes(shuffled[:1])  # the first call is always slow
timed = {name: passes(batches) for name, batches in ways.items()}
for name, (_, places) in timed.items():
    print(f"{name:>14}: {places:>6,} places")
taken = {name: seconds for name, (seconds, _) in timed.items()}
figures.bars(taken, y=f"seconds for {len(sample)} reviews")

# %% [markdown]
# The same words, and a fraction of the time: a place costs, whether a word
# stands there or not.
#
# ## 4. Ours
#
# Lower layers know what serves every task: letters, words, grammar. So they
# should change least. In **layer-wise decay** (Howard and Ruder 2018) block
# $L$, the topmost, learns at the rate $\eta$, and each layer below it $\xi$
# times as fast as the one above. The head has its own rate:
#
# $$\eta_l = \eta\, \xi^{L - l} \quad (l = 0, \ldots, L), \qquad
# \eta_{L+1} = \eta_{\text{head}}$$
#
# ### Exercise 07.2: implement the groups (12 minutes)
#
# `weights` maps names to tensors, `layer_of` maps names to layers: 0 are the
# embeddings, $L + 1$ is the head. Return a list of groups for the optimizer,
# dictionaries with `params`, `lr` and `weight_decay`. The last is `pull` for
# matrices, and 0 for what has a single dimension.


# %%
def layer_groups(weights, layer_of, rate, decay, head_rate, pull):
    """Return a list of parameter groups."""
    ...


layer_groups = check("07.2", layer_groups).best

# %% [markdown]
# A `Recipe` holds the numbers. The kit builds its optimizer by `layer_rates`,
# and both must give each weight the same rate:

# %%
from llmkit.finetuning import Recipe, layer_rates

classifier = load_classifier(model, names, dropout=0.0, seed=seed)
L, layer_of = classifier.layers()
named, usually = dict(classifier.named_parameters()), Recipe()
rate, head_rate = usually.learning_rate, usually.head_rate
decay, pull = usually.layer_decay, usually.weight_decay

# %%
groups = layer_groups(named, layer_of, rate, decay, head_rate, pull)
share_of = layer_rates(layer_of, decay, head_rate / rate)
for name, group in zip(named, groups):
    assert abs(group["lr"] - rate * share_of(name)) < 1e-9

# %%
rates = {layer_of[name]: group["lr"] for name, group in zip(named, groups)}
layers = list(range(L + 1))  # all but the head
heights = [rates[layer] for layer in layers]
figures.lines({"rate": (layers, heights)}, "layer", "rate")

# %% [markdown]
# (Layer 0, half of all weights, is a table in which our reviews touch few
# rows: the recipe does not train it at all. The topmost layer is the block
# that makes the mean, by attention that is even. Other BERTs have none.)
#
# `train` does the rest through `fit`, the loop of lesson 06: batches as above,
# new in each epoch; a rate that climbs for a tenth of the training, then falls
# to zero; and the weights that were best on validation are kept (by macro F1,
# which is like accuracy and counts both classes alike).

# %%
from llmkit.finetuning import evaluate_classes, train

epochs = for_profile(profile, smoke=1, cpu=3, gpu=3)
recipe = Recipe(epochs=epochs, seed=seed)
run, coin = train(classifier, learn, choose, recipe), ("a coin", 0.693)  # ln 2
steps = list(figures.live_loss(run, floor=coin, y="nats a review"))
classifier = classifier.cpu()

# %%
our_pace = steps[-1].tokens / steps[-1].seconds
for step in steps:
    if step.val_loss is not None:
        print(f"epoch {step.epoch:.0f}: validation {step.val_accuracy:.1%}")
print(f"{our_pace:.1f} reviews a second, the usual loop {usual_pace:.1f}:")
print(f"{our_pace / usual_pace:.1f} times as fast")

# %%
said = probabilities(classifier, test.texts)  # (N, C)
evaluation = evaluate_classes(said, test)
print(f"test accuracy, with its 95% interval: {evaluation.accuracy}")

# %% [markdown]
# Look at the picture again. The loss on validation is hardly below the coin's,
# and yet most answers are right. A few wrong answers, given with great
# certainty, cost as much as many right ones earn. Section 7 comes back to it.
#
# The usual loop would have to read as many reviews at its own pace; the kit's
# benchmark trains both to the end. (Ours also leaves the embeddings alone, has
# no dropout, and computes in bfloat16 where the machine is made for it.) Mind
# the interval: a test set of this size can't tell two models apart that are
# two points from each other.
#
# ## 5. What is that worth?
#
# A number needs a neighbour. **Majority**: always say the commoner class.
# **Words**: weigh each word by its rarity (TF-IDF), and let a logistic
# regression learn what speaks for what. That takes a blink, and has beaten
# many a network.

# %%
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline


def count_words(examples):
    """Fit a logistic regression to words and pairs of words."""
    counter = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True)
    counter = make_pipeline(counter, LogisticRegression(C=10, max_iter=1000))
    return counter.fit(examples.texts, examples.labels)


# %%
ours, labels = evaluation.accuracy.value, torch.tensor(test.labels)
results = {"majority": labels.bincount().max().item() / len(labels)}
results["words"] = count_words(learn).score(test.texts, test.labels)
for name, share in (results | {"BERT": ours}).items():
    print(f"{name:>9}: {share:.1%}")

# %% [markdown]
# ### The colleague who was better
#
# A colleague sends the baseline *Words*, on the same reviews, and it beats
# your BERT. She had made some more reviews by changing those that were there
# a little, and split afterwards.

# %%
from llmkit.exercises.lesson_07 import leaked

hers = leaked(splits, seed)
counter = count_words(hers.train)
too_good = counter.score(hers.test.texts, hers.test.labels)
print(f"her words: {too_good:.1%} of {len(hers.test)} test texts")

# %% [markdown]
# Too good to be true, like the loss below the floor in lesson 06.
#
# ### Exercise 07.3: debug the test set that leaked (15 minutes)
#
# Return the numbers of the test texts that may stay. A text counts as a copy
# of another if they share at least half of their runs of three words:
# Jaccard's measure, from lesson 04.

# %%
from llmkit.corpus import jaccard, shingles


def clean(train, test):
    """Return the places of test texts that stand nowhere in train."""
    ...


clean = check("07.3", clean).best

# %%
stay = clean(hers.train.texts, hers.test.texts)
left = hers.test.take(stay)
honest = counter.score(left.texts, left.labels)
print(f"{len(hers.test) - len(stay)} leaked; on the others: {honest:.1%}")

# %% [markdown]
# Nothing had to be trained again; only the question was wrong. The `report`
# of section 1 looks for such copies, before anybody is proud.
#
# ### How many reviews does it take?
#
# Fine-tune on 50, 200 and 800 reviews, each time with three other draws, and
# count words in the very same texts.
#
# **Exercise 07.4: predict.** What is the accuracy of the fine-tuned model
# after 50 examples? Look at the numbers above, and commit yourself.

# %%
mine = predict("07.4", ...)  # a share, such as 0.9

# %% [markdown]
# `taught` fine-tunes a fresh copy, and returns it as it is *at the end*: we
# want to see what training does, so no best moment is picked.


# %%
def draw_lot(n, lot):
    """Return n reviews of the training set, drawn by lot."""
    dice = torch.Generator().manual_seed(1000 * seed + lot)
    order = torch.randperm(len(learn), generator=dice).tolist()
    return learn.take(order[:n])


def taught(examples, lot=0, dropout=0.0, **how):
    """Fine-tune a fresh model on examples; the lot decides their order."""
    fresh = load_classifier(model, names, dropout, seed)
    rows = max(min(32, len(examples) // 4), 1)  # of few texts, a few a step
    how = dict(batch_size=rows, evaluate_every=10**9) | how
    recipe = Recipe(seed=lot, **how)
    for _ in train(fresh, examples, choose.take([0, 1]), recipe):
        pass
    return fresh


# %%
sizes = for_profile(  # and epochs
    profile,
    smoke={16: 1, 32: 1},
    cpu={50: 5, 200: 3, 800: 2},
    gpu={50: 6, 200: 4, 800: 3},
)
lots = range(for_profile(profile, smoke=1, cpu=3, gpu=5))  # draws

# %% [markdown]
# Both learn from the same draws, and answer the same test texts:

# %%
curve = torch.zeros(len(sizes), len(lots), 2)
for i, (n, often) in enumerate(sizes.items()):
    for lot in lots:
        drawn = draw_lot(n, lot)
        said = probabilities(taught(drawn, lot, epochs=often), test.texts)
        words = count_words(drawn).score(test.texts, test.labels)
        curve[i, lot] = torch.tensor([accuracy(said, labels), words])
    print(f"{n} examples, {len(lots)} draws: done")

# %%
mean, spread = curve.mean(dim=1), curve.std(dim=1)  # (sizes, 2) each
by_size = {
    name: (list(sizes), mean[:, i], spread[:, i])
    for i, name in enumerate(("BERT", "words"))
}
bars = f"± 1 standard deviation, {len(lots)} draws"
figures.curve_picture(by_size, "examples", "test accuracy", bars, log="x")

# %%
mine.reveal(mean[0, 0].item())

# %% [markdown]
# Compare the lines, and mind the bars. Fifty examples lift words hardly at all
# off the coin, and BERT a little. Then the lines part: go from a height of
# BERT's to the right, and see how many examples words alone need for the same.
# Pretraining did not answer our question; it makes each answer count for more.
#
# ### Your own encoder
#
# Lesson 05 trained a small encoder in a minute. Can it stand in for BERT? We
# pretrain one here, on Python's manuals and on the reviews themselves, without
# their labels, and fine-tune it with the same `fit`, which takes any model.

# %%
from llmkit.batches import MaskedBatches, Masking
from llmkit.corpus import load
from llmkit.tokenizer import HFTokenizer

amount = for_profile(profile, smoke=50_000, cpu=600_000, gpu=None)
prose = [*load("python-docs", size=amount).documents, *learn.texts]
bpe = HFTokenizer.train_bpe(prose, 2048, ("<|end|>", "[MASK]"))
stream = [i for text in prose for i in (*bpe.encode(text.rstrip()), 0)]

# %%
from llmkit.training import TrainingConfig, fit
from llmkit.transformer import MaskedLM, ModelConfig

torch.manual_seed(seed)
shape = ModelConfig(2048, 128, n_layers=2, d_model=64, positions="rotary")
reader, blank = MaskedLM(shape), MaskedLM(shape)
masking = Masking(1, 2048, special=(0,), share=0.4)
masked = MaskedBatches(torch.tensor(stream), masking, 128, 16, 0, seed)

# %%
own_steps = for_profile(profile, smoke=3, cpu=200, gpu=4000)
config = TrainingConfig(own_steps, optimizer="muon", learning_rate=0.02)
*_, end = fit(reader, masked, config)
print(f"{end.loss:.2f} nats a hidden piece after {end.seconds:.0f} s")

# %% [markdown]
# A head on the mean of its states makes a classifier of it:


# %%
class Sorter(nn.Module):
    """Give each text a logit for each class."""

    def __init__(self, encoder):
        super().__init__()
        self.encoder, self.head = encoder, nn.Linear(64, len(names))

    def forward(self, ids, mask):
        states = self.encoder.hidden(ids, mask=mask)  # (B, T, D)
        return self.head(mean_pool(states, mask))  # (B, C)


def as_rows(texts):
    """Return the ids of each text, behind an end (id 0)."""
    return [[0, *bpe.encode(text)][:128] for text in texts]


# %%
batches = ClassBatches(as_rows(learn.texts), learn.labels, 16, seed=seed)
config = TrainingConfig(4 * len(batches), learning_rate=2e-3)
asked = side_by_side(as_rows(test.texts))
for name, own in {"untrained": blank, "your-own": reader}.items():
    sorter = Sorter(own)
    for _ in fit(sorter, batches, config):
        pass
    with torch.no_grad():
        results[name] = accuracy(sorter.cpu().eval()(*asked), labels)

# %%
results["BERT"] = ours
figures.bars(results, y="test accuracy", highlight=["BERT"])

# %% [markdown]
# There is the answer to our question, in points of accuracy: how far the last
# bar stands above the others. And some seconds of reading, of other things, do
# not replace months: compare "your-own" with "untrained", and both with
# counted words.
#
# ## 6. How fast?
#
# The **learning rate** decides first. One epoch at each rate, from far too
# small to far too large, on some of the reviews; the head keeps its own.
# **Guess:** what is a BERT worth that does not learn at all?

# %%
rates = for_profile(
    profile,
    smoke=[1e-4, 1e-2],
    cpu=[1e-6, 1e-4, 4e-4, 2e-3, 1e-2],
    gpu=[1e-6, 1e-5, 1e-4, 4e-4, 2e-3, 1e-2],
)
held, N = torch.tensor(choose.labels), len(choose)
part = draw_lot(for_profile(profile, smoke=16, cpu=240, gpu=1056), 0)

# %%
found = {"validation accuracy": [], "validation loss, nats": []}
for rate in rates:
    after = taught(part, epochs=1, learning_rate=rate)
    p = probabilities(after, choose.texts)  # (N, C)
    nats = -p[range(N), held].clamp_min(1e-9).log()
    for some, x in zip(found.values(), (p.argmax(dim=-1) == held, nats)):
        some.append((x.double().mean(), x.double().std() / N**0.5))

# %%
swept = []
for y, pairs in found.items():
    points = {"one epoch": (rates, *zip(*pairs))}
    how = dict(x="learning rate", y=y, spread="± 1 standard error")
    swept.append(figures.curve_picture(points, **how, log="x"))
figures.Stack(tuple(swept))

# %% [markdown]
# Far left only the head learns, on a BERT that is as good as frozen: that is
# worth something, as the mean of its states knows a little. Further right the
# blocks learn too, and at the end is a cliff: what was pretrained is gone, and
# does not come back. The cliff is elsewhere for another seed or length. So
# stay some way to its *left*, and mind the bars before you believe in one
# point over its neighbour.
#
# **Warm-up** is said to be needed, as the first steps, with a raw head, could
# spoil what lies below. Does it help here? One run without it:

# %%
abrupt = taught(part, epochs=1, learning_rate=4e-4, warmup=0.0)
right = probabilities(abrupt, choose.texts).argmax(dim=-1) == held
print(f"validation accuracy without warm-up: {right.double().mean():.1%}")

# %% [markdown]
# Compare it with the same rate above, and with the bars: what you can say of
# it from one run is little. Its price is nothing, so the recipe keeps it.
#
# ## 7. By heart, and what helps
#
# Take few reviews, and read them again and again.

# %%
few = draw_lot(for_profile(profile, smoke=16, cpu=100, gpu=100), 0)
again = for_profile(profile, smoke=2, cpu=8, gpu=12)
crammed = load_classifier(model, names, dropout=0.0, seed=seed)
slow = Recipe(epochs=again, batch_size=32)
diary = list(train(crammed, few, choose, slow))

# %%
pace = len(diary) // again  # steps an epoch
read = list(range(1, again + 1))
known = [sum(s.loss for s in diary[pace * e - pace : pace * e]) for e in read]
known = [total / pace for total in known]
ends = [step for step in diary if step.val_loss is not None]
unseen = [step.val_loss for step in ends]

# %%
curves = {"training": (read, known), "validation": (read, unseen)}
turned_up = unseen[-1] - min(unseen)
print("validation accuracy:", *(f"{step.val_accuracy:.0%}" for step in ends))
figures.lines(curves, "epochs", "nats a text", level=coin)

# %% [markdown]
# The training loss goes to zero: all reviews are known by heart. The
# validation loss climbs far above the coin's, while the *accuracy* rises a
# little and then stays: it is not wrong more often, only ever more sure when
# it is.
#
# Six cures. The first five are arguments of `Recipe`:
#
# - **dropout**: blank a tenth of all numbers while training;
# - **smoothing**: ask for 95%, not for certainty (Szegedy et al. 2016);
# - **freezing**: leave the lower three blocks as they are, too;
# - **word dropout**: hide one word in seven behind `[MASK]`;
# - **adversarial**: push the embeddings where it hurts most, and learn from
#   that as well (Miyato et al. 2017);
# - **averaging**: train twice, in two orders, and take the mean of the
#   *weights* (Wortsman et al. 2022).
#
# Each is tried on the same draws as no cure at all, and judged at the very
# end, on test texts (on the CPU every second one, to save time), by which
# nothing is chosen. **Guess:** which helps most?

# %%
cures = {
    "no cure": {},
    "dropout": dict(dropout=0.1),
    "smoothing": dict(smoothing=0.1),
    "freezing": dict(freeze=4),
    "word dropout": dict(word_dropout=0.15),
    "adversarial": dict(adversarial=0.02),
}

# %%
n, again = for_profile(profile, smoke=(16, 1), cpu=(64, 4), gpu=(96, 6))
every = for_profile(profile, smoke=1, cpu=2, gpu=1)
judges, truth = test.texts[::every], labels[::every]
outcomes = {name: [] for name in [*cures, "averaging"]}
uncured = []  # their weights, to be averaged
for name, how in cures.items():
    for lot in lots:
        cured = taught(draw_lot(n, lot), lot, epochs=again, **how)
        outcomes[name].append(probabilities(cured, judges))
        if name == "no cure":
            uncured.append(cured.cpu().state_dict())
    print(f"{name}: done")

# %% [markdown]
# Averaging asks for a second run on each draw, in another order:

# %%
from llmkit.finetuning import average

for lot in lots:
    twin = taught(draw_lot(n, lot), lot + 100, epochs=again).cpu()
    twin.load_state_dict(average([uncured[lot], twin.state_dict()]))
    outcomes["averaging"].append(probabilities(twin, judges))

# %% [markdown]
# Two measures of each text: was it right, and how surprised was the model at
# the label? The gain is the difference to no cure, draw by draw.


# %%
def right_of(p):
    return (p.argmax(dim=-1) == truth).double()  # (N,)


def nats_of(p):
    return -p[range(len(truth)), truth].clamp_min(1e-9).log()  # (N,)


def gains(name, measure):
    """Return the mean difference to no cure, for each draw."""
    pairs = zip(outcomes[name], outcomes["no cure"])
    return torch.tensor([(measure(a) - measure(b)).mean() for a, b in pairs])


# %%
def draw_cures(measure, y):
    """Draw the mean difference of each cure, and its spread over draws."""
    points = {}
    for i, name in enumerate([*outcomes][1:]):
        d = gains(name, measure)
        points[name] = ([i], [d.mean()], [d.std()])
    picture = figures.curve_picture(points, "cure", y, bars)
    axes = picture.figure.axes[0]
    axes.axhline(0, color="black", lw=0.8)
    axes.set_xticks([])
    return picture


# %%
above = draw_cures(right_of, "gain in accuracy")
below = draw_cures(nats_of, "change of the loss, nats")
figures.Stack((above, below))

# %% [markdown]
# Read both pictures. Where a bar crosses zero, the draws do not agree that
# anything happened. What cures certainty shows in the loss first, since the
# loss is what certainty costs; accuracy may not follow, or even fall.
#
# ### Exercise 07.5: measure the gain, with an interval (12 minutes)
#
# The draws are one source of luck, the test texts are the other. Draw those
# with replacement, many times, and see how the gain varies. Both models must
# be judged on the *same* draws, or hard texts make noise: the **paired**
# bootstrap. `cured` and `plain` say how often each text was classified right,
# each row of `draws` holds N numbers of texts. Return the gain in accuracy,
# and the ends of its 95% interval: quantiles 0.025 and 0.975 of all rounds.


# %%
def gain(cured, plain, draws):
    """Return (gain, low, high) from (N,), (N,) and draws (R, N)."""
    ...


gain = check("07.5", gain).best

# %%
draws = torch.randint(len(truth), (2000, len(truth)), generator=random)
often_right = {
    name: torch.stack([right_of(p) for p in some]).mean(dim=0)  # (N,)
    for name, some in outcomes.items()
}
plain = often_right.pop("no cure")
for name, cured in often_right.items():
    value, low, high = gain(cured, plain, draws)
    shown = "" if low > 0 or high < 0 else "  not shown"
    print(f"{name:>12}: {value:+.1%} ({low:+.1%} to {high:+.1%}){shown}")

# %% [markdown]
# The kit's `bootstrap_difference` does the same, with draws of its own:

# %%
from llmkit.metrics import bootstrap_difference

kits = bootstrap_difference(cured, plain)
assert abs(kits.value - value) < 1e-6 and abs(kits.low - low) < 0.02
print(f"{name}: {kits}")

# %% [markdown]
# With so many comparisons, one may look good, or bad, by luck alone. And the
# plainest cure of all stands in section 5: what did *more examples* gain?
#
# ## 8. Read the errors
#
# Back to the model of section 4. For each class: how many of those it named
# were right (precision), and how many of those there were did it find
# (recall)?

# %%
print(evaluation.report)

# %%
by_tag = {
    row.tag: (row.n, row.accuracy.value, row.accuracy.low, row.accuracy.high)
    for row in evaluation.by_tag
}
tags = figures.tag_picture(by_tag, ("all", ours), "accuracy by tag")
confused = figures.confusion_picture(evaluation.confusion, names)
figures.Stack((confused, tags))

# %% [markdown]
# A tag has few texts and a long bar: rank tags only where bars part. Next:
# when it is 90% sure, is it right in 90% of the cases?

# %%
bins = evaluation.calibration
shares = bins.counts, bins.confidence, bins.accuracy
figures.calibration_picture(*shares, bins.error)

# %% [markdown]
# Hatching on top of a bar is confidence without cover. Who knows the training
# texts by heart is usually too sure; smoothing, or fewer epochs, mends that
# sooner than it mends accuracy.
#
# ### The mistakes it is most sure of
#
# Which words moved it? The honest way is an experiment: **leave one out**.
# Take a word away, and see how far the margin $m$ falls. With $z$ for the
# logits of two classes, and word $i$:
#
# $$m = z_{\text{said}} - z_{\text{other}}, \qquad
# s_i = m(\text{text}) - m(\text{text without word } i)$$

# %%
from llmkit.finetuning import agreement, gradient_times_input, leave_one_out


def draw_mistake(mistake):
    """Draw which words spoke for what was said wrongly."""
    text, said = mistake.text, mistake.predicted
    scores = leave_one_out(classifier, text, said)
    title = f"{mistake.true}, but it said {said} ({mistake.confidence:.2f})"
    title = ", ".join([title, *mistake.tags])
    return figures.word_scores_picture(scores, said, text, title)


figures.Stack(tuple(map(draw_mistake, evaluation.errors(5))))

# %% [markdown]
# Read them as a friend would. Is the verdict really clear? Does the model
# hang on a word that a reader passes over? Only reading tells you what to
# write more examples of. And a score says what *this model* does; it is no
# verdict on the word.
#
# ## 9. Attention is not an explanation
#
# Pictures of attention are popular as explanations. First, did fine-tuning
# change attention at all? Half the sum of $|a_{\text{after}} -
# a_{\text{before}}|$ is the share of a look that went elsewhere. For each
# head, over all who look, in some texts:


# %%
@torch.no_grad()
def attention(classifier, text):
    """Return all attention weights on a text, (L, H, T, T)."""
    bert = classifier.eval().model
    bert.set_attn_implementation("eager")  # another way keeps no weights
    ids = torch.tensor(classifier.encode([text]))
    found = bert(input_ids=ids, output_attentions=True).attentions
    return torch.stack(found)[:, 0]


# %%
watched = test.texts[: for_profile(profile, smoke=6, cpu=30, gpu=100)]
moves = []
for text in watched:
    a, b = attention(classifier, text), attention(untouched, text)
    moves.append((a - b).abs().sum(dim=-1).mean(dim=-1) / 2)  # (L, H)
move = torch.stack(moves).mean(dim=0)
figures.heatmap(move, "head", "block", "share of the looks that moved")

# %% [markdown]
# (Here blocks count from 0.) The topmost block makes the mean, evenly, and
# stays so. Below it, some heads moved. Does the one that moved most, over all
# those reviews, look elsewhere in this one, too? *Compare* begins with the one
# that moved most here: orange is where it looks more now, blue where it
# looked.

# %%
from llmkit.explorer import compare, explore

block, most = divmod(move.argmax().item(), move.size(1))
print(f"moved most: layer {block}, head {most}")
phrase = "Not once did it fail me."
moments = ("before", "after")
compare(untouched, classifier, phrase, labels=moments, layers=())

# %% [markdown]
# Tempting to say what it "looks for". Test it: rank the words of a review by
# the attention that all places pay them in the two blocks below the topmost,
# and by a second score. **Gradient × input** multiplies the slope of $m$ at
# each word's embedding $x_i$ by that embedding:
#
# $$s_i = x_i \cdot \frac{\partial m}{\partial x_i}$$
#
# Leaving out is the experiment that both should predict. Attention has no
# sign, so we compare sizes, by Spearman's rank correlation: 1 is the same
# order, 0 is none.


# %%
def looked_at(classifier, text, words):
    """Return how much each word is looked at below the topmost block."""
    weights = attention(classifier, text)[-3:-1].mean(dim=(0, 1, 2))  # (T,)
    told = classifier.tokenizer(text, return_offsets_mapping=True)
    scores, end = [], 0
    for word in words:
        start = text.index(word, end)
        end = start + len(word)
        cuts = enumerate(told["offset_mapping"])
        own = [t for t, (a, b) in cuts if start <= a < b <= end]
        scores.append((word, weights[own].sum().item()))
    return scores


def sizes_of(scores):
    return [(word, abs(score)) for word, score in scores]


# %%
agreed = {"attention": [], "gradient × input": []}
for text in watched:
    out = leave_one_out(classifier, text)
    looks = looked_at(classifier, text, [word for word, _ in out])
    slopes = gradient_times_input(classifier, text)
    if len(out) > 4:  # fewer can't be ranked
        for name, scores in zip(agreed, (looks, slopes)):
            agreed[name].append(agreement(sizes_of(scores), sizes_of(out)))

# %%
for name, found in agreed.items():
    found = agreed[name] = torch.tensor(found)
    reach = found.std() / len(found) ** 0.5
    print(f"{name:>16} and leaving out: {found.mean():.2f} ± {reach:.2f}")

# %% [markdown]
# (± is one standard error.) Neither is near 1. Where attention is high, taking
# the word away often changes little: a word may be looked at and then
# multiplied by nearly nothing, or speak through places that were looked at
# instead. Gradients, too, see only an infinitely small step, and taking out is
# a large one. Here are the ways side by side, on one review, and how far they
# agree. *Attention* is that of the topmost block there: even, so it ranks
# nothing and agrees with nobody. *Rollout* follows attention through all
# blocks (Abnar and Zuidema 2020):

# %%
views = ("atlas", "explanations", "knockout", "heatmap", "lines")
how = dict(explain=True, knock_out=True, layers=())
explore(classifier, phrase, views=views, **how)

# %% [markdown]
# *Knock-out* tells what each head was worth to the verdict. A picture of
# attention is a hint where to look, and no reason (Jain and Wallace 2019). Do
# the experiment.
#
# ## 10. Play: your review, please
#
# Type a review, and press Enter. You see the probabilities, and the words
# that spoke for what was said (orange) or against it (blue).


# %%
ways_to_score = {
    "leave one out": leave_one_out,
    "gradient × input": gradient_times_input,
}


def draw_review(review, score):
    """Draw what the model says of a review, and which words moved it."""
    if not review.strip():
        return figures.note("Type a review, and press Enter.")
    p = probabilities(classifier, [review])[0]  # (C,)
    said = names[p.argmax()]
    scores = ways_to_score[score](classifier, review, said)
    told = ", ".join(f"{n} {x:.2f}" for n, x in zip(names, p.tolist()))
    return figures.word_scores_picture(scores, said, review, told)


# %%
examples = [
    "Not once did it fail me.",
    "Once more it failed me.",
    "Lovely, another evening spent on hold.",
    "One could do worse on a wet Tuesday.",
    "The cat sat on the mat, and would not leave it. Nor would I.",
]
figures.play(
    draw_review,
    review=figures.typed("review", examples),
    score=figures.choice("score", list(ways_to_score)),
)

# %% [markdown]
# Things to find: turn a verdict by one word. Put *but* in the middle, and
# swap the halves. Write praise without a kind word.
#
# ### Exercise 07.6: fool it (10 minutes)
#
# Write a review that a reader understands and the model does not: new, at
# least five different English words, with the label that a careful reader
# would give.

# %%
review = ...  # your text
label = "positive"  # or "negative": what it really says


def says(text):
    return dict(zip(names, probabilities(classifier, [text])[0].tolist()))


fooled = check("07.6", (review, label), truth=says)

# %% [markdown]
# Collect what fools it: those reviews, with their labels, are the examples
# that it lacks most.
#
# ## 11. What you measured

# %%
measured = {
    "accuracy": ours,
    "BERT minus words": ours - results["words"],
    "times as fast as the usual loop": our_pace / usual_pace,
    "time with buckets": taken["buckets"] / taken["to-128"],
    "last position moves": moved[1],
    "gain of more examples": (mean[-1, 0] - mean[0, 0]).item(),
    "validation loss turned up": turned_up,
    "leaked minus honest": too_good - honest,
    "attention and leaving out": agreed["attention"].mean().item(),
    "seconds": time.perf_counter() - began,
}
band("07", profile, measured)

# %% [markdown]
# ## Recap
#
# - Look at the data, and at what the model knows, before you train it.
# - Filler is paid for. Buckets read the same texts in less time.
# - Never classify by `[:, -1]` of a padded row, and never judge by one batch
#   of training.
# - Choose the rate by a sweep, on validation; lower layers learn more slowly.
# - Overfitting shows as certainty, in the loss; accuracy may stay as it is.
# - A gain needs an error bar, over draws and over texts.
# - Beside each score put majority, counted words, and a search for leaks.
# - Read the mistakes. Attention tells where it looks, and not why it says so.

# %%
quiz("07")

# %% [markdown]
# ## Scale it
#
# Section 4 as one command, on the reviews or on your own file (`.csv`,
# `.jsonl`, `.parquet`, and any number of classes), and then a text:
#
# ```sh
# llmkit finetune --model minilm --data reviews --out build/sentiment
# llmkit classify build/sentiment "Not once did it fail me."
# ```
#
# On eight GPUs, with a larger model and a dataset of the hub:
#
# ```sh
# accelerate launch --num_processes 8 --module llmkit finetune \
#     --model bert-base-uncased --data hub:NAME --batch-size 128 \
#     --learning-rate 5e-5 --out build/sentiment
# ```
#
# **Next, lesson 08:** what happens in those eight processes.
