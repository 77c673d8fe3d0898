// Arithmetic: how one weight came about, with the numbers the model multiplied.

const FEW = 4; // dimensions shown at first
const MOST_KEYS = 8; // keys shown at first

function makeArithmetic(app) {
  const element = el("div", { class: "arithmetic" });
  let turn = 0; // the numbers unpack in their own time: only the last draw may show

  async function draw() {
    const mine = ++turn;
    const { frame, state } = app;
    if (!frame.innerLayers.includes(state.layer)) {
      element.replaceChildren(elsewhere(app));
      return;
    }
    const inner = await frame.inner(state.layer);
    if (mine !== turn) return;
    const all = compute(frame, inner, state.layer, state.head, state.query);
    const focused = app.root.activeElement?.dataset?.name;
    element.replaceChildren(...steps(app, all, app.key()));
    if (focused) element.querySelector(`[data-name="${focused}"]`)?.focus();
  }
  return { element, draw };
}

function elsewhere(app) {
  const { frame, state } = app;
  const buttons = frame.innerLayers.map((layer) => el("button",
    { type: "button", onclick: () => app.set({ layer }) }, `layer ${layer}`));
  const kept = plural(buttons.length, "layer");
  return el("p", {}, `The numbers of layer ${state.layer} were not kept; those of `
    + `${kept} were: `, ...buttons);
}

function dot(one, other) {
  return one.reduce((sum, value, i) => sum + value * other[i], 0);
}

// Do what the layer did, for one query: scores, mask, softmax, weighted values.
function compute(frame, inner, layer, head, t) {
  const { T } = frame;
  const q = vector(inner.q, T, head, t);
  const keys = Array.from({ length: T }, (_, s) => {
    const k = vector(inner.k, T, head, s);
    const product = dot(q, k);
    const bias = inner.bias ? vector(inner.bias, T, head, t)[s] : 0;
    const open = frame.may(t, s);
    const score = open ? product * inner.scale + bias : -Infinity;
    return { s, k, v: vector(inner.v, T, head, s), product, bias, open, score };
  });
  const largest = Math.max(...keys.map(({ score }) => score));
  for (const key of keys) {
    key.power = key.open && largest > -Infinity ? Math.exp(key.score - largest) : 0;
  }
  const total = keys.reduce((sum, { power }) => sum + power, 0);
  for (const key of keys) {
    key.weight = total ? key.power / total : 0;
    key.stored = frame.weight(layer, head, t, key.s);
  }
  return { frame, inner, t, q, keys, largest, total };
}

function steps(app, all, s) {
  const { frame, inner, t, keys } = all;
  const key = keys[s];
  const title = el("h3", {}, quoted(frame, t), " looks at ", quoted(frame, s), ": weight ",
    el("output", { class: "answer" }, number(key.weight)));
  const stored = `The model's own weight is ${number(key.stored)}, kept to 0.004 for the `
    + "pictures; here it is computed again from q, k and v, kept as float16.";
  return [
    title,
    inner.note ? el("p", { class: "hint" }, inner.note) : null,
    productStep(app, all, key),
    scaleStep(all, key),
    maskStep(all, key),
    softmaxStep(app, all, key),
    valueStep(app, all, key),
    el("p", { class: "hint" }, stored),
  ].filter(Boolean);
}

function step(count, title, ...children) {
  const name = el("h4", {}, el("span", { class: "count" }, String(count)), title);
  return el("section", { class: "step" }, name, ...children);
}

// A button that shows all of something, or less again.
function more(app, name, all, few) {
  const open = app.state[name];
  return el("button", { type: "button", "aria-expanded": String(open), "data-name": name,
    onclick: () => app.set({ [name]: !open }) }, open ? few : all);
}

function productStep(app, { q, frame, t }, key) {
  const width = q.length;
  const count = app.state.wide ? width : Math.min(FEW, width);
  const rows = Array.from({ length: count }, (_, i) =>
    [String(i), number(q[i]), number(key.k[i]), number(q[i] * key.k[i])]);
  if (count < width) rows.push([`… ${width - count} more`, "", "", ""]);
  const sum = ["sum", "", "", number(key.product)];
  sum.kind = "sum";
  rows.push(sum);
  const head = ["dimension", "q", "k", "q × k"];
  const caption = `q of ${quoted(frame, t)} times k of ${quoted(frame, key.s)}`;
  const button = width > FEW
    ? more(app, "wide", `All ${width} dimensions`, `Only ${FEW} dimensions`) : null;
  return step(1, "q · k: how well the two fit",
    scroller("q times k", table(caption, head, rows)), button);
}

function scaleStep({ inner, q }, key) {
  const root = Math.abs(inner.scale * Math.sqrt(q.length) - 1) < 1e-3;
  const by = root ? `÷ √${q.length}` : `× ${number(inner.scale, 4)}`;
  const scaled = key.product * inner.scale;
  let line = `${number(key.product)} ${by} = ${number(scaled)}`;
  if (inner.bias) {
    line += `, then ${number(scaled)} ${key.bias < 0 ? "−" : "+"} `
      + `${number(Math.abs(key.bias))} = ${number(scaled + key.bias)}`;
  }
  const title = inner.bias ? "Scale, and add the bias" : "Scale: ÷ √d keeps scores near 1";
  return step(2, root || inner.bias ? title : "Scale", el("p", { class: "sum" }, line));
}

function maskStep({ frame, t }, key) {
  const words = key.open
    ? `${quoted(frame, t)} may look at ${quoted(frame, key.s)}: the score stays.`
    : `${quoted(frame, t)} may not look at ${quoted(frame, key.s)}: the score becomes −∞, `
      + "and the weight 0.";
  return step(3, frame.hasMask ? "Mask" : "Mask: none here", el("p", {}, words));
}

// The keys with the largest weights and the chosen one, in the order of the text.
function shownKeys(app, keys, chosen) {
  if (app.state.every || keys.length <= MOST_KEYS) return keys;
  const open = keys.filter((key) => key.open);
  const best = open.sort((a, b) => b.weight - a.weight).slice(0, MOST_KEYS);
  return keys.filter((key) => best.includes(key) || key === chosen);
}

function keyButton(app, { frame }, s) {
  return el("button", { type: "button", class: "link", "data-name": `key${s}`,
    onclick: () => app.set({ key: s }) }, quoted(frame, s));
}

function softmaxStep(app, all, chosen) {
  const shown = shownKeys(app, all.keys, chosen);
  const rows = shown.map((key) => {
    const row = [keyButton(app, all, key.s), number(key.score), number(key.power),
      number(key.weight)];
    row.kind = key === chosen ? "chosen" : "";
    return row;
  });
  const rest = all.keys.length - shown.length;
  if (rest) rows.push([`… ${rest} more`, "", "", ""]);
  const sum = ["sum", "", number(all.total), all.total ? "1" : "0"];
  sum.kind = "sum";
  rows.push(sum);
  const caption = `From score to weight; the largest score is ${number(all.largest)}`;
  const head = ["key", "score", "e^(score − largest)", "weight"];
  const button = all.keys.length > MOST_KEYS
    ? more(app, "every", `All ${all.keys.length} keys`, "Only the strongest keys") : null;
  return step(4, "Softmax: shares of 1",
    scroller("softmax", table(caption, head, rows)), button);
}

function valueStep(app, all, chosen) {
  const width = chosen.v.length;
  const count = app.state.wide ? width : Math.min(FEW, width);
  const dims = Array.from({ length: count }, (_, i) => i);
  const rows = shownKeys(app, all.keys, chosen).map((key) => {
    const row = [quoted(all.frame, key.s), number(key.weight),
      ...dims.map((i) => number(key.weight * key.v[i]))];
    row.kind = key === chosen ? "chosen" : "";
    return row;
  });
  const rest = all.keys.length - rows.length;
  if (rest) rows.push([`… ${rest} more`, "", ...dims.map(() => "")]);
  const total = (i) => all.keys.reduce((sum, key) => sum + key.weight * key.v[i], 0);
  const sum = ["sum: what the head passes on", "1", ...dims.map((i) => number(total(i)))];
  sum.kind = "sum";
  rows.push(sum);
  const head = ["key", "weight", ...dims.map((i) => `weight × v[${i}]`)];
  const part = count < width ? `; ${count} of ${width} dimensions` : "";
  const words = `Values, weighted and added${part}`;
  const some = (numbers) => `${dims.map((i) => number(numbers[i])).join(", ")}`
    + `${count < width ? ", …" : ""}`;
  const line = `${number(chosen.weight)} × (${some(chosen.v)}) = `
    + `(${some(chosen.v.map((x) => chosen.weight * x))})`;
  return step(5, "weight × v: what is passed on",
    el("p", {}, `v of ${quoted(all.frame, chosen.s)}: `, el("b", {}, line)),
    scroller("weight times v", table(words, head, rows)));
}
