// Compare: one frame minus another, tokens aligned; orange is more, blue is less.

// What two frames have in common: tokens in pairs, and how far each head moved.
function makeComparison(one, other) {
  const pairs = align(one.tokens, other.tokens);
  const shared = pairs.filter(([i, j]) => i !== null && j !== null);
  const known = new Map();

  // Half the sum of differences, averaged over queries: 0 for the same, 1 for all moved.
  function moved(layer, head) {
    if (!hasHead(one, layer, head) || !hasHead(other, layer, head)) return null;
    const [a, b] = [one.head(layer, head), other.head(layer, head)];
    let sum = 0;
    for (const [t, u] of shared) {
      for (const [s, v] of shared) {
        sum += Math.abs(VALUES[b[u * other.T + v]] - VALUES[a[t * one.T + s]]);
      }
    }
    return shared.length ? sum / 2 / shared.length : 0;
  }

  function change(layer, head) {
    const key = `${layer} ${head}`;
    if (!known.has(key)) known.set(key, moved(layer, head));
    return known.get(key);
  }

  // One head of each, cell by aligned cell; null where only one may look or speak.
  function differences([layer, head], [otherLayer, otherHead]) {
    const [a, b] = [one.head(layer, head), other.head(otherLayer, otherHead)];
    return pairs.map(([t, u]) => pairs.map(([s, v]) => {
      if ([t, u, s, v].includes(null)) return null;
      if (!one.may(t, s) && !other.may(u, v)) return null;
      return VALUES[b[u * other.T + v]] - VALUES[a[t * one.T + s]];
    }));
  }

  const token = ([i, j]) => (i === null ? [other, j] : [one, i]);
  return { one, other, pairs, shared, change, differences, token };
}

function hasHead(frame, layer, head) {
  return frame.layers.includes(layer) && head < frame.H;
}

function nameOf(frame, otherwise) {
  return frame.label ? `“${isolated(clip(prose(frame.label), 60))}”` : otherwise;
}

function makeCompare(app) {
  const canvas = el("canvas", { "aria-hidden": "true" });
  const board = el("div", { class: "board", role: "application", tabindex: "0",
    "aria-roledescription": "heatmap",
    "aria-label": "Differences: arrow keys move from cell to cell" }, canvas);
  const ends = [endChooser(app, "from", "from "), endChooser(app, "to", "to ")];
  const partner = partnerChooser(app);
  const foot = el("div");
  const note = el("p", { class: "hint" });
  const most = el("div");
  const element = el("div", {},
    el("p", { class: "options" }, ...ends.map((end) => end.element), partner.element),
    el("div", { class: "wide" }, board), foot, note, most);
  let [layout, values, cell, local] = [null, null, [0, 0], null];

  function place() {
    const { pairs, other } = app.comparison();
    const side = app.frame === other ? 1 : 0;
    const at = (position) => pairs.findIndex((pair) => pair[side] === position);
    const { query } = app.state;
    const key = app.key();
    const stays = local && local.query === query && local.key === key;
    return stays ? local.cell : [at(query), at(key)];
  }

  function draw() {
    const { colours } = app;
    const found = app.comparison();
    const { pairs, other, shared } = found;
    ends.forEach((end) => end.draw());
    values = found.differences(...partner.draw(found));
    const sizes = values.flat().map((value) => Math.abs(value ?? 0));
    const largest = Math.max(0.01, sizes.reduce((a, b) => Math.max(a, b), 0));
    const shut = channels(colours.shut);
    const paint = (i, j) => (values[i][j] === null ? shut
      : colours.ofSign(values[i][j] / largest));
    const say = (i, j) => (Math.abs(values[i][j] ?? 0) < 0.005 ? "" : signed(values[i][j]));
    const names = pairs.map((pair) => {
      const [frame, position] = found.token(pair);
      return frame.tokens[position].shown;
    });
    layout = gridLayout(canvas, app.room(), names);
    cell = place();
    const marks = [[0, signed(-largest)], [0.5, "0"], [1, signed(largest)]];
    drawGrid(canvas, layout, colours,
      { rows: names, columns: names, paint, number: say, at: cell });
    foot.replaceChildren(legend(colours.signs, marks, "difference of weights"));
    note.textContent = `Orange: more in ${nameOf(other, "the second")}. Blue: less. Grey: not `
      + `in both, or no look allowed. ${shared.length} of ${pairs.length} tokens are in both.`;
    most.replaceChildren(mostChanged(app, found));
  }

  function words([i, j]) {
    const found = app.comparison();
    const called = (pair) => quoted(...found.token(pair));
    const value = values[i][j];
    const text = value === null ? "nothing to compare" : signed(value);
    return `${called(found.pairs[i])} to ${called(found.pairs[j])}: ${text}`;
  }

  // Choose a cell; where this text lacks the token, nothing else can follow.
  function go(next) {
    const { pairs, other } = app.comparison();
    const side = app.frame === other ? 1 : 0;
    const [query, key] = next.map((at) => pairs[at][side]);
    const linked = query !== null && key !== null;
    local = linked ? null : { cell: next, query: app.state.query, key: app.key() };
    app.set(linked ? { query, key } : {});
  }

  const over = (event) => cellAt(event, canvas, layout, values.length, values.length);
  canvas.addEventListener("pointermove", (event) => {
    const found = over(event);
    app.glance(found ? words(found) : null);
  });
  canvas.addEventListener("pointerleave", () => app.glance(null));
  canvas.addEventListener("click", (event) => {
    const found = over(event);
    if (found) go(found);
    board.focus();
  });
  board.addEventListener("keydown", (event) => {
    const next = stepOn(event.key, cell, values.length, values.length);
    if (!next) return;
    event.preventDefault();
    go(next);
  });
  return { element, draw, words: () => words(cell) };
}

// Which of the frames stands at one end of the difference.
function endChooser(app, end, label) {
  const options = app.frames.map((frame, i) =>
    el("option", { value: String(i) }, clip(prose(frame.label || `text ${i}`), 60)));
  const select = el("select", {}, ...options);
  select.addEventListener("change", () => app.set({ [end]: Number(select.value) }));
  const draw = () => { select.value = String(app.state[end]); };
  return { element: el("label", {}, label, select), draw };
}

// The second model may have other heads; then say which one is compared.
function partnerChooser(app) {
  const select = el("select");
  select.addEventListener("change", () =>
    app.set({ partner: select.value.split(" ").map(Number) }));
  const element = el("label", {}, "its head ", select);
  let shown = null;

  // Give the heads to compare: [layer, head] of the one and of the other.
  function draw({ one, other }) {
    const { layer, head, partner } = app.state;
    const own = [layer, head];
    const at = (frame, ...pairs) => pairs.find((pair) => pair && hasHead(frame, ...pair))
      ?? [frame.layers[0], 0];
    const heads = [at(one, own), at(other, partner, own)];
    if (shown !== other) {
      shown = other;
      const every = other.layers.flatMap((l) =>
        Array.from({ length: other.H }, (_, h) => [l, h]));
      select.replaceChildren(...every.map(([l, h]) =>
        el("option", { value: `${l} ${h}` }, `layer ${l}, head ${h}`)));
    }
    select.value = heads[1].join(" ");
    return heads;
  }
  return { element, draw };
}

// The heads that moved most, as a table to choose from.
function mostChanged(app, { other, change }) {
  const heads = other.layers.flatMap((layer) =>
    Array.from({ length: other.H }, (_, head) => [layer, head, change(layer, head)]));
  const moved = heads.filter(([, , part]) => part !== null);
  moved.sort((a, b) => b[2] - a[2]);
  const rows = moved.slice(0, 5).map(([layer, head, part]) =>
    [headButton(app, layer, head), share(part)]);
  const caption = "Heads that changed most: the part of a token's looks that moved";
  return table(caption, ["head", "moved"], rows);
}

function headButton(app, layer, head) {
  const here = layer === app.state.layer && head === app.state.head;
  return el("button", { type: "button", class: "link", "aria-pressed": String(here),
    "data-name": `head${layer}.${head}`,
    onclick: () => app.set({ layer, head }) }, `layer ${layer}, head ${head}`);
}

// Colours of the atlas while two frames are compared.
function changeShades(app) {
  const { change } = app.comparison();
  const { colours, state } = app;
  const marks = [0, 0.25, 0.5, 1].map((part) => [Math.sqrt(part), String(part)]);
  return {
    key: `change ${state.from} ${state.to}`,
    colour: (layer, head) => {
      const part = change(layer, head);
      return part === null ? channels(colours.shut) : colours.ofWeight(part);
    },
    words: (layer, head) => {
      const part = change(layer, head);
      return part === null ? "not in both" : `moved ${share(part)}`;
    },
    legend: legend(colours.gradient, marks, "part of the looks that moved"),
  };
}
