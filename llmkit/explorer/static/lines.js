// Lines: queries left, keys right, a line for each look; thicker is more.

const ROW = 22; // height of a token, as in explorer.css
const FAINTEST = 0.04; // below this a look of another token is not drawn
const MIDDLE = 190;

function makeLines(app) {
  const canvas = el("canvas", { "aria-hidden": "true" });
  const [left, right] = ["query", "key"].map((side) => column(app, side));
  const only = el("input", { type: "checkbox" });
  only.addEventListener("change", () => app.set({ only: only.checked }));
  const element = el("div", {},
    el("label", { class: "option" }, only, " only the chosen token"),
    el("div", { class: "lines" },
      el("div", {}, el("h3", {}, "looks"), left.element), canvas,
      el("div", {}, el("h3", {}, "is looked at"), right.element)));

  function draw() {
    const { frame, state, colours } = app;
    only.checked = state.only;
    const row = frame.row(state.layer, state.head, state.query);
    left.draw(state.query, null);
    right.draw(app.key(), app.looks());
    const context = sharp(canvas, MIDDLE, frame.T * ROW);
    const codes = frame.head(state.layer, state.head);
    const link = (t, s, weight) => {
      const [from, to] = [(t + 0.5) * ROW, (s + 0.5) * ROW];
      context.lineWidth = 0.5 + 4 * weight;
      context.beginPath();
      context.moveTo(0, from);
      context.bezierCurveTo(MIDDLE / 2, from, MIDDLE / 2, to, MIDDLE, to);
      context.stroke();
    };
    context.strokeStyle = colours.line;
    for (let t = 0; t < frame.T && !state.only; t += 1) {
      for (let s = 0; s < frame.T; s += 1) {
        const weight = VALUES[codes[t * frame.T + s]];
        if (t === state.query || weight < FAINTEST) continue;
        context.globalAlpha = 0.15 + 0.35 * weight;
        link(t, s, weight);
      }
    }
    context.strokeStyle = css(colours.orange);
    row.forEach((weight, s) => {
      if (weight === 0) return;
      context.globalAlpha = 0.25 + 0.75 * Math.sqrt(weight);
      link(state.query, s, weight);
    });
  }
  return { element, draw };
}

// A column of tokens to choose from.
function column(app, side) {
  const words = { query: "The token that looks", key: "The token that is looked at" };
  const choose = (position) => app.set(side === "key" ? { key: position }
    : { query: position, key: null });
  const list = makeTokens(app, { label: words[side], choose, tall: true });
  return { element: list.element, draw: list.draw };
}

// Scroll a list, and only the list, until an element of it can be seen.
function keepInSight(list, element) {
  const box = list.closest(".lines") ?? list;
  const [outer, inner] = [box, element].map((part) => part.getBoundingClientRect());
  if (inner.top < outer.top) box.scrollTop -= outer.top - inner.top;
  if (inner.bottom > outer.bottom) box.scrollTop += inner.bottom - outer.bottom;
}

// A list of tokens of which one is chosen: the ribbon above, the columns of lines.
function makeTokens(app, { label, choose, tall = false }) {
  const element = el("div", { role: "listbox", "aria-label": label,
    class: tall ? "tokens tall" : "tokens",
    "aria-orientation": tall ? "vertical" : "horizontal" });
  let options = [];
  let shown = null;

  function build(frame) {
    shown = frame;
    options = frame.tokens.map((token, position) => {
      const option = el("span", { role: "option", tabindex: "-1" }, tokenText(token));
      option.addEventListener("click", () => go(position));
      return option;
    });
    element.replaceChildren(...options);
  }

  function go(position) {
    choose(position);
    options[position]?.focus();
  }

  element.addEventListener("keydown", (event) => {
    const here = Math.max(options.indexOf(event.target), 0);
    const last = options.length - 1;
    const next = {
      ArrowLeft: here - 1, ArrowUp: here - 1, ArrowRight: here + 1, ArrowDown: here + 1,
      Home: 0, End: last, PageUp: here - 10, PageDown: here + 10,
      Enter: here, " ": here,
    }[event.key];
    if (next === undefined) return;
    event.preventDefault();
    go(Math.min(Math.max(next, 0), last));
  });

  // weights: what the query gives each token, null where it may not look; or nothing.
  function draw(chosen, weights) {
    const { frame, colours } = app;
    if (shown !== frame) build(frame);
    if (chosen !== null) keepInSight(element, options[chosen]);
    options.forEach((option, position) => {
      const here = position === chosen;
      option.setAttribute("aria-selected", String(here));
      option.tabIndex = here || (chosen === null && position === 0) ? 0 : -1;
      const weight = weights?.[position] ?? null;
      const colour = weight !== null && colours.ofWeight(weight);
      option.classList.toggle("shut", weights !== null && weight === null);
      option.style.background = colour ? css(colour) : "";
      option.style.color = colour ? inkOn(colour) : "";
    });
  }
  return { element, draw };
}
