"""The explorer in a real browser: clicked, keyed, measured, and looked at."""

import importlib.util
import json
import re
import time
import urllib.request
from dataclasses import replace
from pathlib import Path

import nbformat
import numpy as np
import pytest
from conftest import need
from helpers import ROOT
from test_browser import TOKEN, browser, lab  # noqa: F401 (fixtures)
from test_explorer_page import HOSTILE, STATIC, hostile_explorer, inner_of, looks

from llmkit.explorer import (
    Explorer,
    Prediction,
    Question,
    Record,
    Training,
    find_tags,
)
from llmkit.explorer import payload as packing

pytestmark = [pytest.mark.slow, pytest.mark.browser]
SHOTS = ROOT / "build" / "explorer"
SENTENCE = "[CLS] the cat sat on the mat because it was tired . [SEP]"
TEXT = tuple(SENTENCE.split())
LAYERS, HEADS, WIDTH = 3, 4, 6


def softmax(scores: np.ndarray) -> np.ndarray:
    powers = np.exp(scores - scores.max(-1, keepdims=True))
    return powers / powers.sum(-1, keepdims=True)


def record(seed=0, causal=False, tokens=TEXT, heat=2.0, **changes) -> Record:
    """Make a record whose weights follow from its q and k, some heads with a habit."""
    T = len(tokens)
    away = np.subtract.outer(np.arange(T), np.arange(T))
    seen = away >= 0 if causal else np.ones((T, T), bool)
    weights, inner = [], {}
    for layer in range(LAYERS):
        one = inner_of(HEADS, T, WIDTH, seed + layer)
        bias = np.zeros((HEADS, T, T), np.float16)
        bias[1] = 4 * heat * (away == 1)
        bias[2, :, 0] = 3 * heat
        scores = one.q.astype(float) @ one.k.astype(float).swapaxes(-1, -2)
        scores = np.where(seen, scores * one.scale * heat + bias, -np.inf)
        weights.append(softmax(scores))
        inner[layer] = replace(one, scale=one.scale * heat, bias=bias, note="as it is")
    weights = np.array(weights, np.float32)
    tags = find_tags(weights, tokens, causal)
    shown = dict(tokens=tokens, weights=weights, causal=causal, inner=inner, tags=tags)
    return Record(**shown | changes)


def explained(**changes) -> Record:
    """Make a record with everything that a page can show."""
    random = np.random.default_rng(7)
    T = len(TEXT)
    names = ("attention", "rollout", "gradient × input", "leave one out")
    scores = {name: random.normal(size=T) for name in names}
    pairs = [(a, b) for i, a in enumerate(names) for b in names[i + 1 :]]
    p = np.array([0.6, 0.3, 0.1])
    without = softmax(np.log(p) + random.normal(size=(LAYERS, HEADS, 3)) * 0.5)
    return record(
        scores=scores,
        agreement={pair: 0.9 - 0.3 * i for i, pair in enumerate(pairs)},
        target='logit of "positive"',
        prediction=Prediction(("positive", "mixed", "negative"), p, without, "mood"),
        **changes,
    )


def compared() -> Explorer:
    after = (*TEXT[:-3], "old", *TEXT[-2:])
    frames = record(label="before"), record(3, label="after", tokens=after)
    return Explorer(frames, "compare", title="Before and after")


def trained(count=5) -> Explorer:
    frames = tuple(
        record(causal=True, heat=0.1 + i / 2, label=f"step {40 * i}")
        for i in range(count)
    )
    steps = tuple(range(40 * count))
    losses = tuple(1 + 3 * np.exp(-step / 50) for step in steps)
    run = Training(steps, losses, tuple(40 * i for i in range(count)))
    return Explorer(frames, "training", run, title="A run")


def asked() -> Explorer:
    words = 'Which token does head 1 of layer 0 look at most from "sat"?'
    return Explorer((record(),), question=Question(0, 1, 3, words))


@pytest.fixture
def open_page(browser, tmp_path):  # noqa: F811
    """Save explorers and open them from disk; nothing else may be loaded."""
    pages, opened = [], []

    def go(*explorers, html=None, stay=False, init=None, strangers=False, **how):
        page = browser.new_page(**dict(viewport={"width": 1100, "height": 900}) | how)
        page.errors, page.asked_for, page.strangers = [], [], strangers
        page.on("pageerror", lambda error: page.errors.append(str(error)))
        page.on("request", lambda request: page.asked_for.append(request.url))
        page.route(re.compile(r"^(?!file:|data:)"), lambda route: route.abort())
        if init:
            page.add_init_script(init)
        path = tmp_path / f"page{len(pages)}.html"
        if html is None and len(explorers) == 1:
            explorers[0].save(path)
        else:
            body = html or "".join(x._repr_html_() for x in explorers)
            path.write_text(f"<!doctype html><title>t</title>{body}", "utf-8")
        page.goto(path.as_uri())
        if not stay:
            page.locator(".explorer").first.wait_for(timeout=20_000)
        pages.append(page)
        opened.append((page, path.as_uri()))
        return page

    yield go
    for page, address in opened:
        strangers = [x for x in page.asked_for if not x.startswith(("data:", address))]
        assert not page.errors and (page.strangers or not strangers)
        page.close()


def until(page, expression: str, seconds: float = 30.0) -> None:
    """Wait for something to be true; Playwright's own way needs eval, which is banned.

    Its wait_for_function runs text inside the page where it has to ask more than once,
    and a saved explorer's security policy allows that to nobody.
    """
    end = time.monotonic() + seconds
    while not page.evaluate(expression):
        assert time.monotonic() < end, f"never true: {expression}"
        page.wait_for_timeout(20)


def plain(text: str) -> str:
    return text.replace("\u2068", "").replace("\u2069", "")


def said(page) -> str:
    """Return what the live text says now, without the marks that isolate tokens."""
    return plain(page.locator("[role=status]").inner_text())


def tab(page, view: str):
    page.locator(f"[data-view={view}]").click()


def table(page, name: str) -> list[list[str]]:
    """Return the rows of the table whose caption begins so."""
    names = [plain(x) for x in page.locator(".explorer caption").all_inner_texts()]
    place, *_ = [i for i, text in enumerate(names) if text.startswith(name)]
    found = page.locator(".explorer table").nth(place)
    rows = found.locator("tbody tr").all()
    return [[plain(x) for x in row.locator("th, td").all_inner_texts()] for row in rows]


def value(text: str) -> float:
    return float(text.replace("−", "-").replace("<0.01", "0.002"))


def focused(page) -> str:
    """Return what has the focus: its role, or its element's name."""
    return page.evaluate(
        """() => {
            const inside = document.activeElement.shadowRoot?.activeElement;
            return inside && (inside.getAttribute('role') ?? inside.tagName);
        }"""
    )


# Numbers


def test_the_browser_unpacks_what_python_packed(open_page):
    page = open_page(asked())
    decode = (STATIC / "decode.js").read_text("utf-8")
    run = f"async block => {{ {decode}; return Array.from(await unpack(block)); }}"
    weights = looks(2, 3, 40, heat=3)
    codes = np.array(page.evaluate(run, packing.pack(weights, "root")))
    assert (codes == packing.roots(weights).ravel()).all()
    table = page.evaluate(f"() => {{ {decode}; return Array.from(VALUES); }}")
    assert np.abs(np.array(table)[codes] - weights.ravel()).max() <= 0.004
    every = np.arange(2**16, dtype=np.uint16).view(np.float16)
    every = every[np.isfinite(every)]
    found = np.array(page.evaluate(run, packing.pack(every, "half")), np.float16)
    assert (found.view(np.uint16)[1:] == every.view(np.uint16)[1:]).all()
    floats = np.random.default_rng(0).normal(size=50).astype(np.float32)
    found = np.array(page.evaluate(run, packing.pack(floats, "float")), np.float32)
    assert (found == floats).all()


def test_the_heatmap_reads_out_the_tensor(open_page):
    one = record()
    page = open_page(Explorer((one,)))
    board = page.locator(".board")
    board.focus()
    cell = page.locator('[role=gridcell][aria-label^="layer 2, head 3"]')
    cell.click()
    board.focus()
    page.keyboard.press("Home")
    for _ in TEXT:
        page.keyboard.press("ArrowUp")
    for t in range(len(TEXT)):
        for s in (0, 1, 5):
            page.keyboard.press("Home")
            for _ in range(s):
                page.keyboard.press("ArrowRight")
            words = said(page)
            found = re.search(
                r"“(.+)” \((\d+)\) looks at “(.+)” \((\d+)\): (\S+)", words
            )
            assert found, words
            assert (int(found[2]), int(found[4])) == (t, s)
            assert (found[1], found[3]) == (TEXT[t], TEXT[s])
            assert abs(value(found[5]) - one.weights[2, 3, t, s]) <= 0.0091
        page.keyboard.press("ArrowDown")


def test_the_pointer_reads_values_and_chooses(open_page):
    one = record(causal=True)
    page = open_page(Explorer((one,), views=["heatmap", "text"]))
    canvas = page.locator(".board canvas")
    box = canvas.bounding_box()
    T = len(TEXT)
    # the last cell of the diagonal lies in the lower right corner
    page.mouse.move(box["x"] + box["width"] - 8, box["y"] + box["height"] - 8)
    words = plain(page.locator(".passing").inner_text())
    weight = one.weights[0, 1, T - 1, T - 1]
    assert words.startswith(f"“[SEP]” ({T - 1}) looks at “[SEP]” ({T - 1}): ")
    assert abs(value(words.split(": ")[-1]) - weight) <= 0.0091
    page.mouse.move(box["x"] + box["width"] - 8, box["y"] + box["height"] * 0.45)
    assert "may not look at" in plain(page.locator(".passing").inner_text())
    page.mouse.click(box["x"] + box["width"] - 8, box["y"] + box["height"] - 8)
    assert f"“[SEP]” ({T - 1}) looks at “[SEP]” ({T - 1})" in said(page)
    page.mouse.move(2, 2)
    assert page.locator(".passing").inner_text() == ""


def test_the_text_view_tells_the_strongest_looks(open_page):
    one = record()
    page = open_page(Explorer((one,)))
    page.locator('[role=gridcell][aria-label^="layer 1, head 0"]').click()
    tab(page, "text")
    rows = table(page, "The strongest looks of layer 1, head 0")
    best = np.sort(one.weights[1, 0].ravel())[::-1][: len(rows)]
    assert len(rows) == 20
    assert np.abs([value(row[2]) for row in rows] - best).max() <= 0.0091
    everything = table(page, "All that “the” (1) looks at")
    found = [value(row[1]) for row in everything]
    assert np.abs(found - one.weights[1, 0, 1]).max() <= 0.0091


@pytest.mark.parametrize("causal", [False, True])
def test_the_arithmetic_is_what_the_model_computed(open_page, causal):
    one = record(causal=causal)
    page = open_page(Explorer((one,), views=["atlas", "arithmetic"]))
    t, s, layer, head = 5, 2, 1, 2
    page.locator('[role=gridcell][aria-label^="layer 1, head 2"]').click()
    page.locator("[role=option]").nth(t).click()
    page.get_by_role("button", name=f"All {len(TEXT)} keys").click()
    page.locator(f"[data-name=key{s}]").click()
    inner = one.inner[layer]
    q, k = inner.q[head, t].astype(float), inner.k[head, s].astype(float)
    page.get_by_role("button", name="All 6 dimensions").click()
    rows = table(page, "q of “the” (5)")
    found = np.array([[value(x) for x in row[1:]] for row in rows[:-1]])
    assert np.abs(found - np.transpose([q, k, q * k])).max() <= 6e-4
    assert abs(value(rows[-1][3]) - q @ k) <= 6e-4
    answer = value(page.locator("output").inner_text())
    assert abs(answer - one.weights[layer, head, t, s]) <= 6e-4
    softmaxed = table(page, "From score to weight")
    weights = [value(row[3]) for row in softmaxed[:-1]]
    keys = [int(re.search(r"\((\d+)\)$", row[0])[1]) for row in softmaxed[:-1]]
    assert np.abs(weights - one.weights[layer, head, t, keys]).max() <= 6e-4
    mixed = table(page, "Values, weighted and added")
    output = one.weights[layer, head, t] @ inner.v[head].astype(np.float32)
    assert np.abs([value(x) for x in mixed[-1][2:]] - output).max() <= 2e-3
    assert len(softmaxed) == len(TEXT) + 1
    page.get_by_role("button", name="Only the strongest keys").click()
    best = np.argsort(-one.weights[layer, head, t])[: 6 if causal else 8]
    assert len(table(page, "From score to weight")) == len({*best.tolist(), s}) + 2
    if causal:
        page.get_by_role("button", name=f"All {len(TEXT)} keys").click()
        page.locator("[data-name=key9]").click()
        assert "may not look at “was” (9): the score becomes −∞" in plain(
            page.locator(".arithmetic").inner_text()
        )
        assert page.locator("output").inner_text() == "0.000"


def test_only_kept_layers_have_arithmetic_and_the_page_leads_there(open_page):
    one = record()
    few = replace(one, inner={2: one.inner[2]})
    page = open_page(Explorer((few,), views=["arithmetic"]))
    page.get_by_role("button", name="layer 2", exact=True).click()
    assert said(page).startswith("Layer 2")
    assert page.locator(".step").count() == 5


def test_explanations_and_their_agreement_are_told(open_page):
    one = explained()
    page = open_page(Explorer((one,)))
    tab(page, "explanations")
    rows = table(page, "By token")
    names = list(one.scores)
    found = np.array([[value(x) for x in row[1:]] for row in rows])
    assert np.abs(found - np.transpose([one.scores[x] for x in names])).max() <= 6e-4
    pairs = table(page, "How far their orders")
    assert pairs[0] == ["attention and rollout", "+0.90", "agree"]
    last = "gradient × input and leave one out"
    assert pairs[-1] == [last, "−0.60", "contradict each other"]
    page.locator("[data-name=token4]").click()
    assert focused(page) == "BUTTON" and "“on” (4) looks at" in said(page)


def test_knocking_out_tells_what_is_left(open_page):
    one = explained()
    page = open_page(Explorer((one,)))
    tab(page, "knockout")
    page.locator("select").select_option("2")
    change = one.prediction.without[..., 2] - 0.1
    rows = table(page, "The heads that matter most")
    order = np.argsort(-np.abs(change), axis=None)
    for row, place in zip(rows, order):
        layer, head = divmod(int(place), HEADS)
        assert row[0] == f"layer {layer}, head {head}"
        assert abs(value(row[1]) - one.prediction.without[layer, head, 2]) <= 6e-4
        assert abs(value(row[2].replace("+", "")) - change[layer, head]) <= 6e-4
    cell = page.locator('[role=gridcell][aria-label^="layer 0, head 0"]')
    assert f"{abs(change[0, 0]):.3f}" in cell.get_attribute("aria-label")
    layer, head = divmod(int(order[3]), HEADS)
    page.get_by_role("button", name=f"layer {layer}, head {head}").click()
    left = [value(row[2]) for row in table(page, "mood: what the model predicts")]
    assert np.abs(left - one.prediction.without[layer, head]).max() <= 6e-4


def test_a_prediction_without_knock_outs_is_told_alone(open_page):
    one = explained()
    alone = replace(one, prediction=replace(one.prediction, without=None))
    page = open_page(Explorer((alone,)))
    page.get_by_role("tab", name="Prediction").click()
    rows = table(page, "mood: what the model predicts")
    assert rows == [["positive", "0.600"], ["mixed", "0.300"], ["negative", "0.100"]]
    assert page.locator(".flat").count() == 0  # the atlas still shows the heads


def test_a_difference_is_the_second_minus_the_first(open_page):
    both = compared()
    one, other = both.frames
    page = open_page(both)
    page.locator('[role=gridcell][aria-label^="layer 1, head 3"]').click()
    board = page.locator(".board")
    board.focus()
    for key in ["Home", *["ArrowUp"] * 20, "ArrowDown", "ArrowDown", "ArrowRight"]:
        page.keyboard.press(key)
    words = said(page)
    assert words.startswith("“cat” (2) to “the” (1): ")
    difference = other.weights[1, 3, 2, 1] - one.weights[1, 3, 2, 1]
    assert abs(value(words.split(": ")[1].replace("+", "")) - difference) <= 0.0131
    for _ in range(8):  # "tired" is in the first text only, "old" in the second
        page.keyboard.press("ArrowDown")
    assert said(page) == "“tired” (10) to “the” (1): nothing to compare"
    page.keyboard.press("ArrowDown")
    assert said(page) == "“old” (10) to “the” (1): nothing to compare"
    page.keyboard.press("ArrowDown")
    words = said(page)
    assert words.startswith("“.” (11) to “the” (1): ")
    # the same frame at both ends: nothing moves
    page.locator("select").nth(1).select_option("0")
    assert set(row[1] for row in table(page, "Heads that changed most")) == {"0.00"}
    page.get_by_role("button", name="after").click()
    tab(page, "heatmap")
    assert "“.” (11) looks at" in said(page)


# Behaviour


ALL = ("heatmap", "lines", "arithmetic", "explanations", "knockout", "text")


def test_every_view_follows_what_was_chosen_once(open_page):
    page = open_page(Explorer((explained(),)))
    page.locator('[role=gridcell][aria-label^="layer 2, head 1"]').click()
    page.locator(".tokens").first.locator("[role=option]").nth(6).click()
    for view in ALL:
        tab(page, view)
        assert said(page).startswith("Layer 2, head 1, previous ")
        assert "“mat” (6) looks at “the” (5)" in said(page)
        assert page.locator("[role=tabpanel]").inner_text().strip() or view == "heatmap"
    tab(page, "lines")
    sides = page.locator(".lines [role=listbox]")
    assert sides.nth(0).locator("[aria-selected=true]").inner_text() == "mat"
    assert sides.nth(1).locator("[aria-selected=true]").inner_text() == "the"
    page.get_by_label("only the chosen token").check()
    sides.nth(1).locator("[role=option]").nth(2).click()
    assert "“mat” (6) looks at “cat” (2)" in said(page)
    tab(page, "arithmetic")
    assert "“mat” (6) looks at “cat” (2)" in plain(page.locator("h3").last.inner_text())


def test_everything_can_be_done_from_the_keyboard(open_page):
    page = open_page(Explorer((explained(),), title="keys"))
    press = page.keyboard.press
    press("Tab")
    assert focused(page) == "option"
    press("End")
    assert f"“[SEP]” ({len(TEXT) - 1}) looks at" in said(page)
    press("Tab")
    assert focused(page) == "gridcell"
    for key, place in [
        ("PageUp", (0, None)),
        ("Home", (0, 0)),
        ("ArrowDown", (1, 0)),
        ("ArrowRight", (1, 1)),
        ("PageDown", (2, 1)),
        ("End", (2, 3)),
        ("ArrowDown", (2, 3)),
        ("ArrowUp", (1, 3)),
        ("ArrowLeft", (1, 2)),
    ]:
        press(key)
        assert focused(page) == "gridcell"
        head = r"\d" if place[1] is None else place[1]
        assert re.match(rf"Layer {place[0]}, head {head}\b", said(page)), key
    press("Tab")
    assert focused(page) == "BUTTON"  # a tag
    press("Enter")
    assert page.locator(".faint").count() > 0
    assert page.locator(".filters [aria-pressed=true]").count() == 1
    press("Enter")
    assert page.locator(".faint").count() == 0
    while focused(page) != "tab":
        press("Tab")
    names = []
    for _ in range(len(ALL)):
        names.append(page.locator("[aria-selected=true][role=tab]").inner_text())
        page.wait_for_timeout(100)  # the arithmetic unpacks its numbers
        press("Tab")
        assert focused(page) != "tab"
        press("Escape")
        assert focused(page) == "tab"
        press("ArrowRight")
    assert len(set(names)) == len(ALL)
    assert page.locator("[aria-selected=true][role=tab]").inner_text() == names[0]
    press("Tab")
    press("Enter")  # from a cell of the heatmap to its arithmetic
    assert page.locator("[aria-selected=true][role=tab]").inner_text() == "Arithmetic"


def test_keys_do_not_reach_the_notebook_around(open_page):
    page = open_page(Explorer((record(),)))
    page.evaluate(
        """() => { window.heard = [];
            document.addEventListener('keydown', event => heard.push(event.key)); }"""
    )
    page.locator(".board").focus()
    for key in ("ArrowDown", "d", "Escape", "x", "Control+s"):
        page.keyboard.press(key)
    assert page.evaluate("heard") == ["Control", "s"]
    host = page.locator("main > div")
    assert host.get_attribute("data-lm-suppress-shortcuts") == "true"


def test_a_question_hides_the_answer_until_it_is_given(open_page):
    page = open_page(asked())
    assert page.locator("[role=tab]").first.is_hidden()
    assert page.locator("canvas").first.is_hidden()
    page.get_by_role("button", name="cat").click()
    verdict = plain(page.locator(".verdict").inner_text())
    assert "You predicted it. The head looks most at “cat” (2): " in verdict
    assert page.locator("[role=tab]").first.is_visible()
    assert "Layer 0, head 1" in said(page) or "You predicted it" in said(page)
    page = open_page(asked())
    page.get_by_role("button", name="mat").click()
    words = plain(page.locator(".verdict").inner_text())
    assert re.match(r"You chose “mat” \(6\): \S+, number \d+ of 13. The head", words)
    page = open_page(asked())
    page.get_by_role("button", name="Show me").click()
    assert plain(page.locator(".verdict").inner_text()).startswith("The head looks")
    assert focused(page) == "P"


def test_training_is_scrubbed_and_played(open_page):
    page = open_page(trained())
    slider = page.locator("input[type=range]")
    assert slider.get_attribute("aria-valuetext").startswith("step 160, loss ")
    slider.focus()
    page.keyboard.press("Home")
    assert slider.get_attribute("aria-valuetext") == "step 0, loss 4.00"
    page.locator(".still").nth(2).click()
    assert slider.input_value() == "2"
    page.locator("circle").nth(1).click()
    assert slider.input_value() == "1"
    page.get_by_role("button", name="Play").click()
    until(
        page,
        """() => { const root = document.querySelector('main > div').shadowRoot;
            return root.querySelector('input[type=range]').value === '4'; }""",
    )
    page.get_by_role("button", name="Play").wait_for()
    for view in ("heatmap", "lines", "arithmetic", "compare", "text"):
        tab(page, view)
        slider.fill("0")
        slider.fill("3")


def test_with_reduced_motion_nothing_moves_by_itself(open_page):
    page = open_page(trained(), reduced_motion="reduce")
    button = page.get_by_role("button", name="Next")
    slider = page.locator("input[type=range]")
    button.click()
    assert slider.input_value() == "0"
    page.wait_for_timeout(1000)
    assert slider.input_value() == "0"
    button.click()
    assert slider.input_value() == "1"


# Places where it stands


def test_several_on_a_page_do_not_meet(open_page):
    first, second = Explorer((record(),)), Explorer((record(5),), title="second")
    page = open_page(first, second, first)  # the same twice
    page.locator(".explorer").nth(2).wait_for()
    states = page.locator("[role=status]")
    before = states.all_inner_texts()
    page.locator('[role=gridcell][aria-label^="layer 2, head 3"]').nth(1).click()
    after = states.all_inner_texts()
    assert (before[0], before[2]) == (after[0], after[2]) and before[1] != after[1]
    # no name is left behind, and none is shared
    names = page.evaluate(
        """() => {
            const frame = document.createElement('iframe');
            document.body.append(frame);
            const known = new Set(Object.getOwnPropertyNames(frame.contentWindow));
            return Object.getOwnPropertyNames(window).filter(x => !known.has(x));
        }"""
    )
    assert not [x for x in names if x != "0" and "playwright" not in x.lower()]
    assert page.locator("[id]").count() == 0


MOVED = """output => {
    // as VS Code does: scripts are made anew, without attributes, at the end
    const place = document.createElement('div');
    place.innerHTML = output;
    document.body.append(place);
    for (const old of Array.from(place.querySelectorAll('script'))) {
        const script = document.createElement('script');
        if (old.type) script.type = old.type;
        script.text = old.textContent;
        place.append(script);
        script.remove();
    }
}"""


def test_a_script_that_was_moved_finds_its_place(open_page):
    page = open_page(html="<p>notebook</p>", stay=True)
    for seed in (0, 1, 0):
        page.evaluate(MOVED, Explorer((record(seed),))._repr_html_())
    page.locator(".explorer").nth(2).wait_for()
    places = page.locator("body > div > div")
    for i in range(3):
        assert places.nth(i).locator(".explorer").count() == 1


def test_one_that_is_replaced_is_forgotten(open_page):
    page = open_page(html="<div></div>", stay=True)
    output = Explorer((record(),))._repr_html_()
    page.evaluate(
        """output => { window.show = () => {
            const place = document.querySelector('div');
            place.innerHTML = output;
            for (const old of Array.from(place.querySelectorAll('script'))) {
                const script = document.createElement('script');
                if (old.type) script.type = old.type;
                script.text = old.textContent;
                old.replaceWith(script);
            }
            return place.firstElementChild;
        }; }""",
        output,
    )
    page.evaluate("() => { window.first = new WeakRef(show()); }")
    page.locator(".explorer").wait_for()
    page.locator("[role=gridcell]").nth(3).click()
    page.evaluate("() => { show(); }")
    page.locator(".explorer").wait_for()
    session = page.context.new_cdp_session(page)
    for _ in range(5):
        page.evaluate("document.body.classList.toggle('theme')")
        page.wait_for_timeout(100)
        session.send("HeapProfiler.collectGarbage")
    assert page.evaluate("first.deref() === undefined")


def test_without_scripts_a_picture_stands_there(open_page):
    output = Explorer((record(),), title="A cat")._repr_html_()
    stripped = re.sub(r"<script.*?</script>", "", output, flags=re.S)
    page = open_page(html=stripped, stay=True)
    image = page.locator("img")
    assert image.evaluate("image => image.complete && image.naturalWidth") > 60
    assert image.get_attribute("alt").startswith("A cat. Attention of all 3 × 4 heads")
    page.locator("summary").click()
    assert page.locator("td").first.is_visible()
    page.screenshot(path=shot("no-script"))


def test_a_browser_that_cannot_unpack_says_so(open_page):
    page = open_page(
        Explorer((record(),)), stay=True, init="delete window.DecompressionStream"
    )
    page.get_by_role("alert").wait_for()
    words = page.get_by_role("alert").inner_text()
    assert "no DecompressionStream" in words and "The picture stays" in words
    assert page.locator("img").is_visible()


# Odd ones

ODD = {
    "one token": lambda: Explorer((Record(("a",), np.ones((1, 1, 1, 1))),)),
    "many heads": lambda: Explorer((Record(TEXT, looks(2, 32, len(TEXT))),)),
    "a long text": lambda: Explorer((Record(("w",) * 400, looks(1, 2, 400, heat=5)),)),
    "a blind query": lambda: Explorer((blind(),)),
    "nothing in common": lambda: Explorer(
        (record(), record(tokens=("x", "y"))), "compare"
    ),
    "one step": lambda: trained(1),
    "no loss": lambda: replace(
        trained(2), training=Training((0, 9), (float("nan"),) * 2, (0, 1))
    ),
    "two depths": lambda: Explorer(
        (record(), Record(TEXT, looks(1, 2, len(TEXT)), label="small")), "compare"
    ),
}


def blind() -> Record:
    """Make a record in which one query may look nowhere."""
    one = record()
    weights = one.weights.copy()
    weights[:, :, 4] = 0
    mask = np.ones((len(TEXT),) * 2, bool)
    mask[4] = False
    return replace(one, weights=weights, mask=mask)


@pytest.mark.parametrize("name", ODD)
def test_odd_ones_open_and_every_view_draws(open_page, name):
    page = open_page(ODD[name](), viewport={"width": 400, "height": 900})
    tokens = page.locator(".body > .tokens [role=option]")
    for view in page.locator("[role=tab]").all():
        view.click()
        page.wait_for_timeout(100)
        tokens.nth(min(4, tokens.count() - 1)).click()
        assert page.evaluate("document.documentElement.scrollWidth") <= 400
    cells = page.locator("[role=gridcell]")
    if cells.count():
        cells.last.click()
        tokens.first.focus()
    if page.locator(".filters button").count() == 2:  # of two texts, the other
        page.locator(".filters button").last.click()
        for view in page.locator("[role=tab]").all():
            view.click()
    page.keyboard.press("Tab")


# Text from data


def test_hostile_text_runs_nothing(open_page):
    ran = "window.alert = () => { window.ran = true; }"
    page = open_page(hostile_explorer(HOSTILE), init=ran)
    page.locator(".guess").first.click()
    for view in ("heatmap", "lines", "arithmetic", "explanations", "knockout", "text"):
        tab(page, view)
        page.wait_for_timeout(100)
    assert page.evaluate("window.ran") is None
    root = "document.querySelector('main > div').shadowRoot"
    assert page.evaluate(f"{root}.querySelectorAll('img, script, iframe').length") == 0
    shown = page.locator(".tokens").last.locator("[role=option]").all_inner_texts()
    shown = page.locator(".body > .tokens [role=option]").all_inner_texts()
    assert len(shown) == len(HOSTILE)
    assert max(map(len, shown)) <= 24
    assert shown[0] == "</script><img␣src=x␣one…"
    assert shown[3].startswith("⟨202E⟩gnirts") and "⟨200B⟩" in shown[5]
    assert shown[6].startswith("⟨D800⟩") and shown[-1] == "∅"
    bold = page.locator("b, i, u").all_inner_texts()
    assert not [x for x in bold if x == "b"]


# How it looks


WIDTHS = (400, 760, 1200)


def shot(name: str) -> Path:
    SHOTS.mkdir(parents=True, exist_ok=True)
    return SHOTS / f"{name}.png"


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", WIDTHS)
def test_nothing_overflows_and_a_picture_is_kept(open_page, width, scheme):
    how = dict(viewport={"width": width, "height": 900}, color_scheme=scheme)
    views = [(Explorer((explained(),), title="One text"), ALL)]
    views += [(compared(), ("compare",)), (trained(), ("training",))]
    for explorer, names in views:
        page = open_page(explorer, **how)
        for view in names:
            tab(page, view)
            page.wait_for_timeout(60)
            page.screenshot(path=shot(f"{view}-{width}-{scheme}"), full_page=True)
            wide = page.evaluate("document.documentElement.scrollWidth")
            assert wide <= width, f"{view} is {wide} wide"
    page = open_page(asked(), **how)
    page.screenshot(path=shot(f"question-{width}-{scheme}"))
    dark = page.locator(".explorer").evaluate("box => box.classList.contains('dark')")
    assert dark == (scheme == "dark")


def test_at_twice_the_size_it_is_sharp_and_fits(open_page):
    how = dict(viewport={"width": 600, "height": 450}, device_scale_factor=2)
    page = open_page(Explorer((explained(),)), **how)
    assert page.evaluate("document.documentElement.scrollWidth") <= 600
    for canvas in page.locator("canvas").all():
        wide = canvas.evaluate("x => [x.width, x.getBoundingClientRect().width]")
        assert abs(wide[0] - 2 * wide[1]) <= 1
    page.screenshot(path=shot("heatmap-twice-the-size"), full_page=True)


def test_it_follows_the_theme_of_the_page_around(open_page):
    style = "<style>body.night { color: #eee; background: #111 }</style>"
    output = Explorer((record(),))._repr_html_()
    page = open_page(html=style + output, color_scheme="dark")
    box = page.locator(".explorer")
    assert "dark" not in box.get_attribute("class")  # a light page, whatever the system
    page.evaluate("document.body.classList.add('night')")
    until(
        page,
        """() => document.querySelector('div').shadowRoot
            .querySelector('.explorer').classList.contains('dark')""",
    )
    page.evaluate("document.body.classList.remove('night')")
    until(
        page,
        """() => !document.querySelector('div').shadowRoot
            .querySelector('.explorer').classList.contains('dark')""",
    )


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_no_fault(open_page, scheme):
    spec = importlib.util.find_spec("axe_playwright_python")
    need(spec, "axe", "pip install axe-playwright-python")
    axe = Path(spec.origin).with_name("axe.min.js").read_text("utf-8")
    views = [(Explorer((explained(),), title="One text"), ALL), (asked(), ())]
    views += [(compared(), ("compare",)), (trained(), ("training",))]
    for explorer, names in views:
        page = open_page(explorer, color_scheme=scheme)
        page.evaluate(axe)
        for view in names or [None]:
            if view:
                tab(page, view)
            found = page.evaluate("axe.run(document)")["violations"]
            faults = [
                (x["id"], x["impact"], [node["html"][:90] for node in x["nodes"][:3]])
                for x in found
            ]
            assert not faults, f"{view}: {json.dumps(faults, indent=1)}"


WATCH = """
    const real = Element.prototype.attachShadow;
    const after = (then) => requestAnimationFrame(() => {
        const channel = new MessageChannel();  // a task after the frame: it is painted
        channel.port1.onmessage = then;
        channel.port2.postMessage(0);
    });
    window.after = after;
    Element.prototype.attachShadow = function (options) {
        after(() => { window.painted = performance.now(); });
        return real.call(this, options);
    };
"""
SWITCH = """async () => {
    const root = document.querySelector('main > div').shadowRoot;
    const cells = Array.from(root.querySelectorAll('[role=gridcell]'));
    const times = [];
    for (let i = 0; i < 15; i += 1) {
        const start = performance.now();
        cells[(i * 7 + 3) % cells.length].click();
        await new Promise(window.after);
        times.push(performance.now() - start);
    }
    return times;
}"""


@pytest.mark.parametrize("shape, most", [((6, 12, 64), 0.5), ((12, 12, 128), 1.5)])
def test_it_is_quick(open_page, shape, most):
    tokens = tuple(f"word{t}" for t in range(shape[2]))
    weights = looks(*shape, heat=1.5)
    tags = find_tags(weights, tokens)
    page = open_page(
        Explorer((Record(tokens, weights, tags=tags),)), stay=True, init=WATCH
    )
    until(page, "window.painted")
    painted = page.evaluate("window.painted / 1000")
    times = sorted(page.evaluate(SWITCH))
    print(
        f"{shape}: first paint {painted:.2f} s (goal {most}); a switch of head "
        f"{times[len(times) // 2]:.0f} ms, at most {times[-1]:.0f} (goal 50)"
    )
    # Generous: the machine may be busy. The goals are what is printed.
    assert painted < 5 * most and times[len(times) // 2] < 5 * 50


# In JupyterLab, and in what it leaves behind

CELLS = (
    "import numpy as np\n"
    "from llmkit.explorer import explore\n"
    "tokens = ['[CLS]', 'the', 'cat', '<b>sat</b>', '[SEP]']\n"
    "look = lambda seed: np.random.default_rng(seed).dirichlet(np.ones(5), (2, 3, 5))",
    "explore(look(0), tokens=tokens, title='first')",
    "handle = explore(look(1), tokens=tokens, title='old').show()",
    "explore(look(2), tokens=tokens, title='new').update(handle)",
    "1 + 1",
)
IN_LAB = """async () => {
    const panel = window.jupyterapp.shell.currentWidget;
    await panel.sessionContext.ready;
    await window.jupyterapp.commands.execute('notebook:run-all-cells');
    await window.jupyterapp.commands.execute('docmanager:save');
}"""
READY = "window.jupyterapp?.shell?.currentWidget?.context?.isReady"


def call(lab, method: str, path: str, body=None) -> dict:  # noqa: F811
    """Ask the server for a file, or give it one."""
    request = urllib.request.Request(
        f"{lab}/api/contents/{path}",
        method=method,
        data=json.dumps(body).encode() if body else None,
        headers={"Authorization": f"token {TOKEN}"},
    )
    with urllib.request.urlopen(request, timeout=20) as answer:
        return json.loads(answer.read())


def is_labs(error) -> bool:
    """Tell whether it was a script of JupyterLab's own files that failed.

    Now and then one of them removes a node twice.
    """
    frames = [x for x in (error.stack or "").splitlines() if x.strip()[:3] == "at "]
    return bool(frames) and "/static/lab/" in frames[0]


@pytest.fixture(scope="module")
def notebook(lab, browser):  # noqa: F811
    """Run a notebook with explorers in JupyterLab; leave it open."""
    kernel = {"name": "python3", "display_name": "Python 3"}  # or JupyterLab asks
    made = nbformat.v4.new_notebook(
        cells=[nbformat.v4.new_code_cell(source) for source in CELLS],
        metadata={"kernelspec": kernel},
    )
    body = {"type": "notebook", "content": made}
    call(lab, "PUT", "explorers.ipynb", body)
    page = browser.new_page(viewport={"width": 1200, "height": 2600})
    page.errors = []
    page.on("pageerror", lambda e: None if is_labs(e) else page.errors.append(str(e)))
    page.set_default_timeout(60_000)
    page.goto(f"{lab}/lab/tree/explorers.ipynb?reset&token={TOKEN}")
    page.wait_for_function(READY)
    page.evaluate(IN_LAB)
    yield page
    assert not page.errors
    page.close()


def test_in_jupyterlab_it_shows_and_is_replaced(notebook):
    notebook.locator(".explorer").nth(1).wait_for()
    titles = notebook.locator(".explorer h2").all_inner_texts()
    assert titles == ["first", "new"]
    cell = notebook.locator('[role=gridcell][aria-label^="layer 1, head 2"]').first
    cell.click()
    words = notebook.locator("[role=status]").all_inner_texts()
    assert words[0].startswith("Layer 1, head 2") and words[0] != words[1]


def test_in_jupyterlab_its_keys_are_its_own(notebook):
    state = """() => { const {content} = window.jupyterapp.shell.currentWidget;
        return [content.activeCellIndex, content.mode, content.widgets.length]; }"""
    notebook.locator("[role=gridcell][tabindex='0']").first.click()
    before = notebook.evaluate(state)
    for key in ("ArrowUp", "ArrowUp", "ArrowLeft", "ArrowRight", *"ddxbay", "Enter"):
        notebook.keyboard.press(key)
    assert notebook.evaluate(state) == before
    said = notebook.locator("[role=status]").first.inner_text()
    assert said.startswith("Layer 0, head 2")
    notebook.keyboard.press("Escape")
    notebook.screenshot(path=shot("jupyterlab-light"))


def test_in_jupyterlab_it_follows_the_theme(notebook):
    change = """async theme => {
        await window.jupyterapp.commands.execute('apputils:change-theme', {theme});
    }"""
    box = notebook.locator(".explorer.dark")
    try:
        notebook.evaluate(change, "JupyterLab Dark")
        box.nth(1).wait_for()
        notebook.screenshot(path=shot("jupyterlab-dark"))
    finally:
        notebook.evaluate(change, "JupyterLab Light")
    notebook.locator(".explorer:not(.dark)").nth(1).wait_for()
    assert box.count() == 0


def test_a_trusted_notebook_shows_it_without_a_kernel(notebook, lab, browser):  # noqa: F811
    page = browser.new_page(viewport={"width": 1200, "height": 2600})
    page.goto(f"{lab}/lab/tree/explorers.ipynb?reset&token={TOKEN}")
    page.locator(".explorer").nth(1).wait_for(timeout=60_000)
    page.locator("[data-view=lines]").first.click()
    assert page.locator(".lines").count() == 1
    page.close()


def test_an_untrusted_notebook_shows_the_picture(notebook, lab, browser):  # noqa: F811
    saved = call(lab, "GET", "explorers.ipynb")["content"]
    for cell in saved["cells"]:
        cell["metadata"].pop("trusted", None)
    saved["metadata"]["strange"] = True  # so that it is not what was signed
    body = {"type": "notebook", "content": saved}
    call(lab, "PUT", "strange.ipynb", body)
    page = browser.new_page(viewport={"width": 1200, "height": 2000})
    page.goto(f"{lab}/lab/tree/strange.ipynb?reset&token={TOKEN}")
    picture = page.locator(".jp-OutputArea img[alt^='first. Attention of all 2 × 3']")
    picture.wait_for(timeout=60_000)
    assert picture.evaluate("image => image.complete && image.naturalWidth") > 60
    page.locator(".jp-OutputArea summary").first.click()
    assert "<b>sat</b> (3)" in page.locator(".jp-OutputArea td").all_inner_texts()
    assert page.locator(".explorer").count() == 0
    text = page.locator(".jp-OutputArea").first.inner_text()
    assert "explorer" not in text and "function" not in text  # no script as text
    page.screenshot(path=shot("jupyterlab-untrusted"))
    page.close()


def test_a_static_export_works_with_no_network(notebook, lab, open_page):  # noqa: F811
    from nbconvert import HTMLExporter

    saved = nbformat.from_dict(call(lab, "GET", "explorers.ipynb")["content"])
    body, _ = HTMLExporter().from_notebook_node(saved)
    page = open_page(html=body, strangers=True)
    page.locator(".explorer").nth(1).wait_for()
    page.locator("[data-view=text]").nth(1).click()
    assert len(table(page, "All that “the” (1) looks at")) == 5
