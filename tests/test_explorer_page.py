"""The explorer's page: what is packed, how large it gets, what text can do to it."""

import base64
import io
import json
from html.parser import HTMLParser

import numpy as np
import pytest
from helpers import ROOT
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image

from llmkit.explorer import (
    Explorer,
    Inner,
    Prediction,
    Question,
    Record,
    Tag,
    Training,
    explore,
)
from llmkit.explorer import page as pages
from llmkit.explorer import payload as packing
from llmkit.explorer import picture as pictures

STATIC = ROOT / "llmkit" / "explorer" / "static"
WORDS = ["the", "cat", "sat", "on", "the", "mat"]
HOSTILE = [
    "</script><img src=x onerror=alert(1)>",
    "<!--<script>",
    "\"'`${1}",
    "\u202egnirts\u2066",
    "👩\u200d👩\u200d👧",
    "\u200b\u200c\ufeff",
    "\ud800 alone",
    "\x00\x1b\r\n\t ",
    "&lt;b&gt; &amp; ]]>",
    "\u0301\u0308",
    "س\u064e لام",
    "long" * 2500,
    "",
]


def looks(L=1, H=1, T=6, seed=0, heat=1.0, causal=False) -> np.ndarray:
    """Draw weights (L, H, T, T); the hotter, the sharper."""
    scores = np.random.default_rng(seed).normal(size=(L, H, T, T)) * heat
    if causal:
        scores = np.where(np.tri(T, dtype=bool), scores, -np.inf)
    powers = np.exp(scores - scores.max(-1, keepdims=True))
    return (powers / powers.sum(-1, keepdims=True)).astype(np.float32)


def inner_of(H: int, T: int, K: int, seed: int = 0) -> Inner:
    random = np.random.default_rng(seed)
    q, k, v = random.normal(size=(3, H, T, K)).astype(np.float16)
    return Inner(q, k, v, K**-0.5)


def record(L=1, H=1, T=6, **changes) -> Record:
    tokens = tuple(WORDS[t % len(WORDS)] for t in range(T))
    return Record(**dict(tokens=tokens, weights=looks(L, H, T)) | changes)


def payload_of(explorer: Explorer) -> dict:
    """Read the payload of an output as a browser would."""
    return Reader(explorer._repr_html_()).payload


class Reader(HTMLParser):
    """Collects what a browser would make of an output."""

    def __init__(self, text: str):
        super().__init__()
        self.tags, self.attributes, self.texts, self.scripts = [], [], [], []
        self.inside = None
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.attributes += [(tag, *pair) for pair in attributes]
        self.inside = dict(attributes).get("type", "code") if tag == "script" else None
        if tag == "script":
            self.scripts.append("")

    def handle_endtag(self, tag):
        if tag == "script":
            self.inside = None

    def handle_data(self, data):
        if self.inside:
            self.scripts[-1] += data
        else:
            self.texts.append(data)

    @property
    def payload(self) -> dict:
        return json.loads(self.scripts[0])


# What is packed


@given(st.lists(st.floats(0, 1, width=32), min_size=1, max_size=40))
def test_no_weight_moves_by_more_than_0_004(weights):
    weights = np.array(weights, np.float32)
    kept = packing.unpack(packing.pack(weights, "root"))
    assert np.abs(kept - weights).max() <= 0.004
    assert (kept[weights == 0] == 0).all()


@given(st.lists(st.integers(0, 2**16 - 1), min_size=1, max_size=40))
def test_float16_is_exact_to_the_bit(bits):
    numbers = np.array(bits, np.uint16).view(np.float16)
    kept = packing.unpack(packing.pack(numbers, "half"))
    assert kept.view(np.uint16).tolist() == bits


@pytest.mark.parametrize("kind, dtype", [("float", np.float32), ("mask", bool)])
def test_other_blocks_are_exact(kind, dtype):
    array = (np.arange(12).reshape(3, 4) % 3 * 0.1).astype(dtype)
    kept = packing.unpack(packing.pack(array, kind))
    assert kept.shape == (3, 4) and (kept == array).all()


@settings(max_examples=15)
@given(st.tuples(*[st.integers(1, 3)] * 2, st.integers(1, 9)), st.booleans(), st.data())
def test_the_output_carries_what_was_recorded(shape, causal, data):
    L, H, T = shape
    weights = looks(L, H, T, seed=T, causal=causal)
    layer = data.draw(st.integers(0, L - 1))
    inner = inner_of(H, T, 4)
    one = record(L, H, T, weights=weights, causal=causal, inner={layer: inner})
    (frame,) = payload_of(Explorer((one,)))["frames"]
    assert frame["tokens"] == list(one.tokens) and frame["causal"] is causal
    for i, kept in enumerate(frame["layers"]):
        assert kept["layer"] == i
        moved = packing.unpack(kept["weights"]) - weights[i]
        assert np.abs(moved).max() <= 0.004
    found = frame["layers"][layer]["inner"]
    for name in ("q", "k", "v"):
        assert (packing.unpack(found[name]) == getattr(inner, name)).all()
    assert found["scale"] == inner.scale and "bias" not in found


def test_everything_said_about_a_record_is_carried():
    mask = np.tri(6, dtype=bool)
    weights = looks(1, 2, causal=True)
    without = np.array([[[0.5, 0.5], [0.9, 0.1]]])
    one = record(
        weights=weights,
        label="before",
        mask=mask,
        tags=(Tag(0, 1, "previous", 0.75),),
        scores={"rollout": np.arange(6) / 7, "gradient": np.full(6, np.nan)},
        agreement={("rollout", "gradient"): 0.25},
        target="logit of “good”",
        prediction=Prediction(("good", "bad"), np.array([0.7, 0.3]), without, "is it?"),
    )
    (frame,) = payload_of(Explorer((one,)))["frames"]
    assert frame["label"] == "before" and frame["target"] == "logit of “good”"
    assert (packing.unpack(frame["mask"]) == mask).all()
    assert frame["tags"] == [dict(layer=0, head=1, name="previous", score=0.75)]
    assert frame["scores"]["rollout"][1] == 0.142857
    assert frame["scores"]["gradient"] == [None] * 6
    assert frame["agreement"] == [["rollout", "gradient", 0.25]]
    predicted = frame["prediction"]
    assert predicted["names"] == ["good", "bad"] and predicted["question"] == "is it?"
    kept = packing.unpack(predicted["without"])
    assert np.allclose(kept, without) and kept.shape == (1, 2, 2)


def test_a_loss_that_is_no_number_does_not_spoil_the_json():
    run = Training((0, 1, 2), (2.0, float("inf"), 1.0), (0, 2))
    page = Explorer((record(), record()), "training", run)
    assert payload_of(page)["training"]["losses"] == [2.0, None, 1.0]


# How large it gets


@pytest.mark.slow
def test_twelve_by_twelve_heads_over_128_tokens_stay_small():
    weights = looks(12, 12, 128, heat=1.5)  # the heat with the largest entropy
    page = Explorer((record(12, 12, 128, weights=weights),))
    assert len(page._repr_html_()) <= 2_300_000
    assert payload_of(page)["notes"] == []


@pytest.fixture
def small(monkeypatch):
    """Call a page large from 0.25 MB on, so that tests need not make large ones."""
    monkeypatch.setattr(packing, "MOST", 250_000)


def with_inner(layers, L=6, T=32, K=64, H=4) -> Record:
    inner = {layer: inner_of(H, T, K, layer) for layer in layers}
    return record(L, H, T, inner=inner)


def test_the_arithmetic_goes_first_and_the_page_says_so(small):
    asked = Question(5, 0, 0, "where?")
    page = Explorer((with_inner([1, 2, 3, 4, 5]),), question=asked)
    assert len(page._repr_html_()) <= packing.MOST
    read = payload_of(page)
    layers = read["frames"][0]["layers"]
    assert [x["layer"] for x in layers] == list(range(6))
    # the question's layer, then from the first on
    assert [x["layer"] for x in layers if "inner" in x] == [1, 5]
    words = "To stay below 0.25 MB, the arithmetic is kept for layers 5, 1."
    assert read["notes"] == [words]


def test_then_layers_go_but_never_the_first_and_the_last(small):
    one = record(12, 4, 80, inner={3: inner_of(4, 80, 4)})
    page = Explorer((one,), question=Question(5, 0, 0, "where?"))
    assert len(page._repr_html_()) <= packing.MOST
    read = payload_of(page)
    kept = [x["layer"] for x in read["frames"][0]["layers"]]
    assert kept == [0, 3, 5, 6, 9, 11]
    assert read["notes"] == [
        "To stay below 0.25 MB, the arithmetic is left out.",
        "To stay below 0.25 MB, these layers are shown: 0, 3, 5, 6, 9, 11.",
    ]


def test_then_steps_of_training_go(small):
    frames = tuple(record(2, 4, 32, label=str(i)) for i in range(24))
    run = Training(tuple(range(24)), tuple(range(24)), tuple(range(24)))
    page = Explorer(frames, "training", run)
    assert len(page._repr_html_()) <= packing.MOST
    read = payload_of(page)
    places = read["training"]["frames_at"]
    assert len(places) == len(read["frames"]) < 24
    assert (places[0], places[-1]) == (0, 23)
    assert [frame["label"] for frame in read["frames"]] == list(map(str, places))
    assert read["notes"][-1] == f"Of 24 steps, {len(places)} are shown."


def test_what_is_far_too_large_is_refused_in_one_line(small):
    with pytest.raises(ValueError, match="256 tokens make a page above 0.25.*shorter"):
        Explorer((record(2, 4, 256),))._repr_html_()


# What text can do to it


def hostile_explorer(texts) -> Explorer:
    """Put texts everywhere that text can come from."""
    texts = tuple(texts)
    T = len(texts)
    a, b = texts[0], texts[-1]
    one = Record(
        texts,
        looks(1, 2, T),
        label=a,
        tags=(Tag(0, 0, a, 1.0),),
        scores={"x" + a: np.ones(T), "y": np.ones(T)},
        agreement={("x" + a, "y"): 1.0},
        target=b,
        prediction=Prediction((a, b), np.array([0.5, 0.5]), question=a),
        inner={0: Inner(*np.ones((3, 2, T, 2), np.float16), 1.0, note=a)},
    )
    return Explorer((one,), title=b, question=Question(0, 0, 0, a))


@settings(max_examples=60)
@given(st.lists(st.text(max_size=40), min_size=1, max_size=5))
@example(HOSTILE)
@example([HOSTILE[0]])
def test_text_from_data_is_only_ever_text(texts):
    page = hostile_explorer(texts)
    output = page._repr_html_()
    output.encode("utf-8")  # no lone half of a pair is left
    read = Reader(output)
    assert read.tags.count("script") == 2 and read.tags.count("img") == 1
    plain = {"div", "img", "details", "summary", "table", "thead", "tbody"}
    assert set(read.tags) <= plain | {"tr", "th", "td", "script"}
    assert {name for _, name, _ in read.attributes} <= {"src", "alt", "style", "type"}
    assert read.payload["frames"][0]["tokens"] == texts
    assert read.payload["title"] == texts[-1]
    assert "<" not in read.scripts[0]
    shown = "".join(read.texts)
    assert all(ord(letter) >= 32 for letter in shown)
    assert max(map(len, read.texts)) < 100


@given(st.text(max_size=60))
def test_a_whole_page_has_only_its_own_elements(title):
    whole = pages.document("", title)
    read = Reader(whole)
    head = "meta meta meta title link style"
    assert read.tags == ["html", "head", *head.split(), "body", "main", "h1"]


@pytest.mark.parametrize(
    "text, shown",
    [
        (" the", "␣the"),
        ("\n\t", "⏎⇥"),
        ("a\u200bb", "a⟨200B⟩b"),
        ("\u202e", "⟨202E⟩"),
        ("\ud800", "⟨D800⟩"),
        ("", "∅"),
        ("x" * 24, "x" * 24),
        ("x" * 25, "x" * 23 + "…"),
        ("\u00a0", "⟨00A0⟩"),
    ],
)
def test_what_is_unseen_is_marked(text, shown):
    assert pages.visible(text) == shown


# What stands without scripts


def picture_of(output: str) -> Image.Image:
    (source,) = [
        value for tag, name, value in Reader(output).attributes if name == "src"
    ]
    data = base64.b64decode(source.removeprefix("data:image/png;base64,"))
    return Image.open(io.BytesIO(data))


@pytest.mark.parametrize("L, H, T", [(1, 1, 6), (2, 3, 5), (12, 12, 128)])
def test_the_picture_opens_and_shows_the_weights(L, H, T):
    weights = looks(L, H, T, heat=3)
    image = picture_of(Explorer((record(L, H, T, weights=weights),))._repr_html_())
    image.load()
    pixels = np.asarray(image.convert("RGB")).astype(int)
    side = (image.width - pictures.GAP) // H - pictures.GAP
    assert image.height == L * (side + pictures.GAP) + pictures.GAP
    # the strongest cell of the last head is as bright as the palette says
    layer, head = L - 1, H - 1
    t, s = np.unravel_index(weights[layer, head].argmax(), (T, T))
    y, x = ((i + 0.5) * side / T for i in (t, s))
    corner = [pictures.GAP + i * (side + pictures.GAP) for i in (layer, head)]
    found = pixels[int(corner[0] + y), int(corner[1] + x)]
    places = np.linspace(0, 1, len(pictures.WEIGHTS))
    root = np.sqrt(weights[layer, head].max())
    wanted = [np.interp(root, places, c) for c in np.transpose(pictures.WEIGHTS)]
    assert np.abs(found - wanted).max() < 16


def test_the_palette_is_cividis():
    from matplotlib import colormaps

    places = np.linspace(0, 1, len(pictures.WEIGHTS))
    wanted = colormaps["cividis"](places)[:, :3] * 255
    assert np.abs(np.array(pictures.WEIGHTS) - wanted).max() <= 1


def test_the_picture_says_in_words_what_it_shows():
    weights = np.tri(3)[None, None] / [[1], [2], [3]]
    one = Record(("the", "cat", "sat"), weights, causal=True)
    read = Reader(Explorer((one,), title="A cat")._repr_html_())
    (alt,) = [value for _, name, value in read.attributes if name == "alt"]
    assert alt == (
        "A cat. Attention of one head over 3 tokens, brighter is more. "
        "Layer 0, head 0: “the (0)” looks at “the (0)”, 1.00"
    )
    assert "".join(read.texts).startswith("The strongest looks of layer 0, head 0")
    assert read.texts[7:10] == ["cat (1)", "the (0)", "0.50"]


def test_a_question_is_not_answered_by_the_picture():
    asked = Explorer((record(),), question=Question(0, 0, 2, "where?"))
    read = Reader(asked._repr_html_())
    (alt,) = [value for _, name, value in read.attributes if name == "alt"]
    assert "looks at" not in alt


# The explorer


@pytest.mark.parametrize(
    "changes, words",
    [
        (dict(mode="both"), "mode is one of one, compare, training: got 'both'"),
        (dict(mode="compare"), "mode 'compare' shows 2 records: got 1"),
        (dict(frames=()), "mode 'one' shows 1 records: got 0"),
        (dict(views=["map"]), "views are atlas, heatmap, .*: got 'map'"),
        (dict(views=["knockout"]), "nothing to show in the view 'knockout'"),
        (dict(views=[]), "choose at least one view beside the atlas"),
        (dict(views=["atlas"]), "choose at least one view beside the atlas"),
        (dict(question=Question(0, 1, 0, "?")), "a head from 0 to 0: got 1"),
        (dict(question=Question(0, 0, 6, "?")), "a query from 0 to 5: got 6"),
        (
            dict(mode="training", training=Training((1,), (1.0,), (0, 0))),
            "got 1 records and 2 places",
        ),
    ],
)
def test_what_does_not_fit_is_refused(changes, words):
    frames = () if changes.get("views") == ["atlas"] else (record(),)
    frames = (record(2),) if changes.get("views") == ["atlas"] else frames
    with pytest.raises(ValueError, match=words) as caught:
        Explorer(**dict(frames=frames) | changes)
    assert "\n" not in str(caught.value)


def test_views_come_in_the_order_asked_for():
    many = record(2, 2)
    read = payload_of(Explorer((many,), views=["lines", "heatmap"]))
    assert read["views"] == {"atlas": False, "tabs": ["lines", "heatmap"]}
    every = payload_of(Explorer((many,)))["views"]
    assert every == {"atlas": True, "tabs": ["heatmap", "lines", "text"]}
    two = payload_of(Explorer((many, many), "compare"))["views"]
    assert two["tabs"] == ["compare", "heatmap", "lines", "text"]


def test_it_opens_on_the_head_with_the_clearest_tag():
    tags = (Tag(0, 1, "uniform", 1.0), Tag(1, 0, "next", 0.6), Tag(1, 1, "first", 0.9))
    read = payload_of(Explorer((record(2, 2, tags=tags),)))
    assert read["start"] == {"layer": 1, "head": 1, "query": 1}
    causal = record(weights=looks(causal=True), causal=True)
    assert payload_of(Explorer((causal,)))["start"]["query"] == 5


def test_the_same_records_make_the_same_output():
    assert Explorer((record(),))._repr_html_() == Explorer((record(),))._repr_html_()


def test_it_is_saved_as_a_page_that_may_load_nothing(tmp_path):
    page = Explorer((record(),), title="A <cat>")
    path = page.save(tmp_path / "page.html")
    read = Reader(path.read_text("utf-8"))
    assert any("default-src 'none'" in x[2] for x in read.attributes)
    assert "A <cat>" in read.texts
    links = [x[2] for x in read.attributes if x[1] in ("src", "href")]
    assert all(link.startswith("data:") for link in links)


def test_it_replaces_what_a_handle_shows():
    class Handle:
        def update(self, shown):
            self.shown = shown

    handle, page = Handle(), Explorer((record(),))
    page.update(handle)
    assert handle.shown is page


def test_explore_gives_a_page():
    page = explore(looks(2, 2), tokens=WORDS, title="two layers")
    assert repr(page) == (
        "<Explorer: two layers: 1 text, 2 layers × 2 heads × 6 tokens>"
    )
    assert payload_of(page)["frames"][0]["tokens"] == WORDS


# Its script


def test_every_script_is_used_and_short():
    assert {path.stem for path in STATIC.glob("*.js")} == set(pages.SCRIPTS)
    for path in STATIC.iterdir():
        lines = path.read_text("utf-8").splitlines()
        assert len(lines) <= 300, path.name
        assert max(map(len, lines)) <= 100 or path.suffix == ".css", path.name


def test_the_script_writes_no_html_and_loads_nothing():
    name = "http://www.w3.org/2000/svg"  # a name, not a place
    code = (pages.script() + pages.style()).replace(name, "")
    banned = "innerHTML outerHTML insertAdjacentHTML document.write eval( Function("
    banned += " import( fetch( XMLHttpRequest http: @import url( localStorage"
    banned += " </script <!--"
    for word in banned.split():
        assert word not in code, word
    links = [line for line in code.splitlines() if "https:" in line]
    assert not links


def test_the_script_can_lose_its_indents():
    for path in STATIC.glob("*.js"):
        for line in path.read_text("utf-8").splitlines():
            assert line.count("`") % 2 == 0, f"{path.name}: a text over several lines"
            assert "/*" not in line, path.name


def test_a_comparison_begins_where_most_has_moved():
    before = np.full((2, 3, 4, 4), 0.25, np.float32)
    after = before.copy()
    after[1, 2, 3] = [0.7, 0.1, 0.1, 0.1]  # far
    after[0, 1, :] = [0.3, 0.2, 0.25, 0.25]  # many, and a little
    frames = [Record(("a", "b", "c", "d"), w) for w in (before, after)]
    start = payload_of(Explorer(tuple(frames), mode="compare"))["start"]
    assert start == {"layer": 1, "head": 2, "query": 3}
