// Two views of why: what explains a prediction, and what each head was worth for it.

// Not an explanation: several answers to "which tokens mattered?", side by side.
function makeExplanations(app) {
  const element = el("div", { class: "explanations" });

  function draw() {
    const { frame, colours, state } = app;
    const names = Object.keys(frame.packed.scores);
    const most = names.map((name) =>
      Math.max(...frame.packed.scores[name].map(Math.abs), 1e-12));
    const rows = frame.tokens.map((_, position) => {
      const bars = names.map((name, i) => {
        const value = frame.packed.scores[name][position] ?? NaN; // what was no number
        return signedBar(value / most[i], number(value), colours);
      });
      const row = [tokenButton(app, position), ...bars];
      row.kind = position === state.query ? "chosen" : "";
      return row;
    });
    const target = frame.packed.target ? ` ${prose(frame.packed.target)}` : " the answer";
    const about = `Which tokens mattered for${target}? Each bar is a share of its column's `
      + "largest; orange speaks for, blue against.";
    element.replaceChildren(
      el("h3", {}, "Attention is not an explanation"),
      el("p", {}, "Each column is a way to say which tokens mattered. If attention explained "
        + "the prediction, its column would look like the others."),
      agreementTable(frame),
      el("p", { class: "hint" }, about),
      scroller("explanations", table("By token", ["token", ...names], rows)));
  }
  return { element, draw };
}

function tokenButton(app, position) {
  const press = () => app.set({ query: position, key: null });
  return el("button", { type: "button", class: "link", "data-name": `token${position}`,
    onclick: press }, tokenText(app.frame.tokens[position]));
}

// A bar from the middle: right and orange for plus, left and blue for minus.
function signedBar(part, text, colours) {
  const bar = el("span", { class: "fill" });
  const size = 50 * Math.min(Math.abs(part) || 0, 1);
  bar.style.width = `${size}%`;
  bar.style.left = `${part < 0 ? 50 - size : 50}%`;
  bar.style.background = css(part < 0 ? colours.blue : colours.orange);
  return el("span", { class: "measure" }, el("span", { class: "track" }, bar),
    el("span", { class: "value" }, text));
}

function agreementTable(frame) {
  const pairs = frame.packed.agreement;
  if (!pairs.length) return null;
  const rows = pairs.map(([one, other, rank]) =>
    [`${one} and ${other}`, rank === null ? "–" : signed(rank), agreementWords(rank)]);
  const caption = "How far their orders of the tokens agree (Spearman: 1 the same, 0 "
    + "unrelated, −1 reversed)";
  return scroller("agreement", table(caption, ["pair", "rank correlation", "in words"], rows));
}

function agreementWords(rank) {
  if (rank === null) return "one of them is the same everywhere";
  if (rank > 0.8) return "agree";
  if (rank > 0.4) return "agree in part";
  if (rank > -0.4) return "hardly agree";
  return "contradict each other";
}

// Knock-out: the prediction with one head's output set to zero, for every head.
function makeKnockOut(app) {
  const answer = el("select");
  answer.addEventListener("change", () => app.set({ answer: Number(answer.value) }));
  const body = el("div");
  const title = el("h3");
  const element = el("div", {}, title, body);
  const choose = el("label", { class: "option" }, "probability of ", answer);
  let shown = null;

  function draw() {
    const { frame, colours, state } = app;
    const { prediction } = frame.packed;
    if (shown !== frame) {
      shown = frame;
      answer.replaceChildren(...prediction.names.map((name, i) =>
        el("option", { value: String(i) }, clip(visible(name), 60))));
    }
    answer.value = String(app.answer());
    title.textContent = frame.without ? "What if a head were silent?" : "The prediction";
    const parts = [predictionTable(app, prediction)];
    if (frame.without) {
      const sizes = effects(app);
      const most = Math.max(...sizes.map(({ change }) => Math.abs(change)), 1e-12);
      const rows = sizes.slice(0, 12).map(({ layer, head, left, change }) => {
        const row = [headButton(app, layer, head), number(left), signedBar(change / most,
          signed(change, 3), colours)];
        row.kind = layer === state.layer && head === state.head ? "chosen" : "";
        return row;
      });
      const caption = "The heads that matter most, one silenced at a time";
      parts.push(choose, scroller("heads by effect",
        table(caption, ["without", "probability", "change"], rows)));
    }
    body.replaceChildren(...parts);
  }
  return { element, draw };
}

function predictionTable(app, prediction) {
  const { frame, state } = app;
  const slot = frame.layers.indexOf(state.layer);
  const n = prediction.names.length;
  const asked = prediction.question ? `${prose(prediction.question)}: ` : "";
  const head = ["answer", "probability"];
  if (frame.without) head.push(`without layer ${state.layer}, head ${state.head}`);
  const rows = prediction.names.map((name, i) => {
    const row = [el("bdi", {}, clip(visible(name), 60)), number(prediction.p[i])];
    if (frame.without) row.push(number(frame.without[(slot * frame.H + state.head) * n + i]));
    return row;
  });
  return scroller("prediction", table(`${asked}what the model predicts`, head, rows));
}

// What silencing each head does to the chosen answer, the largest first.
function effects(app) {
  const { frame } = app;
  const { p, names } = frame.packed.prediction;
  const chosen = app.answer();
  const found = frame.layers.flatMap((layer, slot) =>
    Array.from({ length: frame.H }, (_, head) => {
      const left = frame.without[(slot * frame.H + head) * names.length + chosen];
      return { layer, head, left, change: left - p[chosen] };
    }));
  return found.sort((a, b) => Math.abs(b.change) - Math.abs(a.change));
}

// Colours of the atlas by effect: orange where silence helps the answer, blue where it
// hurts.
function effectShades(app) {
  const { colours } = app;
  const all = effects(app);
  const most = Math.max(...all.map(({ change }) => Math.abs(change)), 1e-12);
  const by = new Map(all.map(({ layer, head, change }) => [`${layer} ${head}`, change]));
  const marks = [[0, signed(-most, 3)], [0.5, "0"], [1, signed(most, 3)]];
  return {
    key: `effect ${app.answer()}`,
    colour: (layer, head) => colours.ofSign(by.get(`${layer} ${head}`) / most),
    words: (layer, head) => `without it ${signed(by.get(`${layer} ${head}`), 3)}`,
    legend: legend(colours.signs, marks, "change of probability without the head"),
  };
}
