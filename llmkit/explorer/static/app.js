// The whole explorer: what is chosen, the parts that show it, the words that say it.

const TABS = {
  heatmap: { name: "Heatmap", make: makeHeatmap },
  lines: { name: "Lines", make: makeLines },
  arithmetic: { name: "Arithmetic", make: makeArithmetic },
  compare: { name: "Compare", make: makeCompare },
  training: { name: "Training", make: makeTraining },
  explanations: { name: "Not an explanation", make: makeExplanations },
  knockout: { name: "Knock-out", make: makeKnockOut },
  text: { name: "As text", make: makeText },
};

class App {
  constructor(root, packed, frames) {
    Object.assign(this, { root, packed, frames, comparisons: new Map() });
    const { start, views } = packed;
    this.state = {
      frame: packed.mode === "training" ? frames.length - 1 : 0,
      layer: start.layer, head: start.head, query: start.query, key: null,
      view: views.tabs[0], tag: null, asked: !packed.question,
      from: 0, to: frames.length - 1, partner: null, answer: 0,
      only: false, wide: false, every: false,
    };
    this.build();
  }

  get frame() {
    return this.frames[this.state.frame];
  }

  has(view) {
    return this.packed.views.tabs.includes(view);
  }

  // The key that is chosen, or else the one that the query looks at most.
  key() {
    const { layer, head, query, key } = this.state;
    return key ?? this.frame.strongestKey(layer, head, query);
  }

  // What the query gives each token; nothing where it may not look.
  looks() {
    const { layer, head, query } = this.state;
    const row = this.frame.row(layer, head, query);
    return row.map((weight, s) => (this.frame.may(query, s) ? weight : null));
  }

  answer() {
    return Math.min(this.state.answer, this.frame.packed.prediction.names.length - 1);
  }

  comparison() {
    const { from, to } = this.state;
    const key = `${from} ${to}`;
    if (!this.comparisons.has(key)) {
      this.comparisons.set(key, makeComparison(this.frames[from], this.frames[to]));
    }
    return this.comparisons.get(key);
  }

  shades() {
    if (this.state.view === "compare") return changeShades(this);
    if (this.state.view === "knockout" && this.frame.without) return effectShades(this);
    return null;
  }

  // Choose something; everything follows, and the words say what is shown now.
  set(change) {
    const before = this.frame;
    Object.assign(this.state, change);
    if (this.frame !== before) this.carryOver(before);
    this.draw();
    this.say(this.words());
  }

  // Another text or model: keep the token and the head where it has them.
  carryOver(before) {
    const { state, frame } = this;
    if (!hasHead(frame, state.layer, state.head)) {
      Object.assign(state, { layer: frame.layers[0], head: 0 });
    }
    if (before.tokens.some(({ raw }, i) => raw !== frame.tokens[i]?.raw)
      || before.T !== frame.T) {
      const pairs = align(before.tokens, frame.tokens);
      const partner = pairs.find(([i, j]) => i === state.query && j !== null);
      Object.assign(state, { query: partner?.[1] ?? frame.T - 1, key: null });
    }
  }

  linkWords(t, s) {
    const { frame, state } = this;
    if (!frame.may(t, s)) return `${quoted(frame, t)} may not look at ${quoted(frame, s)}`;
    const weight = share(frame.weight(state.layer, state.head, t, s));
    return `${quoted(frame, t)} looks at ${quoted(frame, s)}: ${weight}`;
  }

  words() {
    const { frame, state } = this;
    const own = this.views[state.view].words; // of compare: a difference
    if (own) return own();
    const { layer, head, query } = state;
    const tags = frame.tagsOf(layer, head).map((tag) => `${tag.name} ${share(tag.score)}`);
    const where = [`Layer ${layer}, head ${head}`, ...tags].join(", ");
    return `${where}. ${this.linkWords(query, this.key())}`;
  }

  say(text) {
    this.glance(null);
    this.status.textContent = text;
  }

  // What is under the pointer; without it, what is chosen.
  glance(text) {
    this.passing.textContent = text ?? "";
    this.status.classList.toggle("hushed", text !== null);
  }

  room() {
    return Math.max(this.panel.clientWidth, 200);
  }

  build() {
    const { packed } = this;
    this.status = el("p", { class: "status", role: "status", "aria-live": "polite" });
    this.passing = el("p", { class: "status passing", "aria-hidden": "true" });
    this.panel = el("div", { class: "panel", role: "tabpanel", tabindex: "-1" });
    this.views = Object.fromEntries(packed.views.tabs.map((view) =>
      [view, TABS[view].make(this)]));
    this.ribbon = makeTokens(this, { label: "Text: choose the token that looks",
      choose: (query) => this.set({ query, key: null }) });
    this.atlas = packed.views.atlas ? makeAtlas(this) : null;
    this.control = packed.mode === "training" ? makeScrubber(this)
      : this.frames.length > 1 ? makeSwitch(this) : null;
    this.tabs = makeTabs(this);
    const notes = packed.notes.map((note) => el("p", { class: "note" }, note));
    const title = el("h2", { class: packed.title ? "" : "unseen" },
      prose(packed.title || "Attention"));
    const name = packed.title ? `Attention: ${prose(packed.title)}` : "Attention";
    this.question = packed.question ? { element: el("div") } : null;
    const lines = el("div", { class: "said" }, this.status, this.passing);
    const main = el("div", { class: "main" }, this.tabs.element, lines, this.panel);
    this.body = el("div", { class: "body" });
    this.body.append(...[this.control?.element, this.ribbon.element].filter(Boolean),
      el("div", { class: this.atlas ? "columns two" : "columns" },
        ...[this.atlas?.element, main].filter(Boolean)));
    this.box = el("div", { class: "explorer", role: "region", "aria-label": name });
    const above = [title, ...notes, this.question?.element].filter(Boolean);
    this.box.append(...above, this.body);
    this.box.addEventListener("keydown", (event) => this.keydown(event));
  }

  // Escape leaves a view for its tab. No other key may reach the notebook around.
  keydown(event) {
    if (event.key === "Escape" && this.panel.contains(event.target)) this.tabs.focus();
    if (!event.ctrlKey && !event.metaKey && !event.altKey) event.stopPropagation();
  }

  theme(host) {
    const dark = isDark(host);
    if (this.colours?.dark === dark) return false;
    this.colours = makeColours(this.packed.palette, dark);
    this.box.classList.toggle("dark", dark);
    this.box.style.setProperty("--shut", this.colours.shut);
    return true;
  }

  draw() {
    const { state } = this;
    this.body.hidden = !state.asked;
    if (!state.asked) return;
    this.control?.draw();
    this.ribbon.draw(state.query, this.looks());
    this.atlas?.draw();
    this.tabs.draw();
    const view = this.views[state.view];
    if (this.panel.firstChild !== view.element) this.panel.replaceChildren(view.element);
    keepFocus(this.root, this.panel, () => view.draw());
  }
}

// Draw a view; if the button in use was made anew, it keeps the focus.
function keepFocus(root, panel, draw) {
  const name = root.activeElement?.dataset?.name;
  const inside = name && panel.contains(root.activeElement);
  draw();
  if (inside) panel.querySelector(`[data-name="${name}"]`)?.focus();
}

// With no head silenced, knock-out has only the prediction to show.
function nameOfView(app, view) {
  const plain = view === "knockout" && !app.frames.some((frame) => frame.without);
  return plain ? "Prediction" : TABS[view].name;
}

function makeTabs(app) {
  const tabs = app.packed.views.tabs.map((view) => {
    const tab = el("button", { type: "button", role: "tab", "data-view": view,
      onclick: () => app.set({ view }) }, nameOfView(app, view));
    return [view, tab];
  });
  const element = el("div", { role: "tablist", "aria-label": "Views" });
  element.append(...tabs.map(([, tab]) => tab));
  const focus = () => tabs.find(([view]) => view === app.state.view)[1].focus();
  element.addEventListener("keydown", (event) => {
    const here = tabs.findIndex(([view]) => view === app.state.view);
    const last = tabs.length - 1;
    const next = { ArrowLeft: here || last + 1, ArrowRight: here === last ? 1 : here + 2,
      Home: 1, End: last + 1 }[event.key];
    if (!next) return;
    event.preventDefault();
    app.set({ view: tabs[next - 1][0] });
    focus();
  });

  function draw() {
    for (const [view, tab] of tabs) {
      const here = view === app.state.view;
      tab.setAttribute("aria-selected", String(here));
      tab.tabIndex = here ? 0 : -1;
    }
    app.panel.setAttribute("aria-label", nameOfView(app, app.state.view));
  }
  return { element, draw, focus };
}

// Which of several texts or models the views show.
function makeSwitch(app) {
  const buttons = app.frames.map((frame, i) => el("button", { type: "button",
    onclick: () => app.set({ frame: i }) }, nameOf(frame, `text ${i}`)));
  const element = el("div", { class: "filters", role: "group", "aria-label": "Shown now" },
    ...buttons);
  const draw = () => buttons.forEach((button, i) =>
    button.setAttribute("aria-pressed", String(i === app.state.frame)));
  return { element, draw };
}

// The strongest links of the head as a table, for those who read rather than look.
function makeText(app) {
  const element = el("div");
  function draw() {
    const { frame, state } = app;
    const { layer, head, query } = state;
    const links = frame.strongest(layer, head, 20).map(({ t, s, weight }) =>
      [quoted(frame, t), quoted(frame, s), share(weight)]);
    const row = frame.row(layer, head, query).map((weight, s) =>
      [quoted(frame, s), frame.may(query, s) ? share(weight) : "may not look"]);
    element.replaceChildren(
      scroller("strongest links", table(`The strongest looks of layer ${layer}, head ${head}`,
        ["from", "to", "weight"], links)),
      scroller("all weights of the token", table(`All that ${quoted(frame, query)} looks at`,
        ["to", "weight"], row)));
  }
  return { element, draw };
}
