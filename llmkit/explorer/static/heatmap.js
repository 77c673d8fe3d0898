// Heatmap: one head, queries down and keys across. Compare draws with it too.

const SMALLEST_TEXT = 11; // labels stand where rows are at least so high
const VALUES_FROM = 30; // cells this large hold their number
const LARGEST_SQUARE = 52;
const MOST_LABEL = 120;
const LABEL_FONT = "13px system-ui, sans-serif";

// Place a picture of rows × columns in the room there is, beside its labels.
function gridLayout(canvas, room, names) {
  const context = canvas.getContext("2d");
  context.font = `bold ${LABEL_FONT}`;
  const widths = names.map((name) => context.measureText(isolated(name)).width);
  const widest = widths.reduce((a, b) => Math.max(a, b), 0) + 12;
  const label = Math.ceil(Math.min(widest, MOST_LABEL, Math.max(44, room * 0.24)));
  const [rows, columns] = [names.length, names.length];
  const fits = Math.floor((room - label - 2) / columns);
  const cell = Math.min(Math.max(fits, 1), LARGEST_SQUARE);
  const width = label + columns * cell + 2;
  return { label, cell, width, height: label + rows * cell + 2 };
}

// Shorten a label until it fits.
function fitted(context, text, room) {
  if (context.measureText(text).width <= room) return text;
  let letters = Array.from(text);
  while (letters.length > 1 && context.measureText(`${letters.join("")}…`).width > room) {
    letters = letters.slice(0, -1);
  }
  return `${letters.join("")}…`;
}

// Label an axis; where cells are small, only some, and always the chosen one.
function axisLabels(context, layout, names, chosen, vertical, colours) {
  const { label, cell } = layout;
  const every = Math.ceil(SMALLEST_TEXT / cell);
  const size = Math.min(13, Math.max(SMALLEST_TEXT, cell - 3));
  context.textBaseline = "middle";
  names.forEach((name, i) => {
    const here = i === chosen;
    const near = chosen !== null && Math.abs(i - chosen) * cell < SMALLEST_TEXT;
    if (!here && (i % every || near)) return;
    context.save();
    context.translate(label, label);
    if (vertical) context.rotate(-Math.PI / 2);
    context.font = `${here ? "bold " : ""}${size}px system-ui, sans-serif`;
    context.fillStyle = here ? colours.chosen : colours.text;
    context.textAlign = vertical ? "left" : "right";
    const middle = (i + 0.5) * cell;
    const [x, y] = vertical ? [5, middle] : [-5, middle];
    context.fillText(isolated(fitted(context, name, label - 10)), x, y);
    context.restore();
  });
}

// Draw cells, labels, and a frame around the chosen cell.
function drawGrid(canvas, layout, colours, { rows, columns, paint, number: say, at }) {
  const context = sharp(canvas, layout.width, layout.height);
  const { label, cell } = layout;
  const image = new ImageData(columns.length, rows.length);
  const pixels = new Uint32Array(image.data.buffer);
  for (let i = 0; i < rows.length; i += 1) {
    for (let j = 0; j < columns.length; j += 1) {
      pixels[i * columns.length + j] = pixel(paint(i, j));
    }
  }
  const small = el("canvas", { width: columns.length, height: rows.length });
  small.getContext("2d").putImageData(image, 0, 0);
  context.imageSmoothingEnabled = false;
  const [width, height] = [columns.length * cell, rows.length * cell];
  context.drawImage(small, label, label, width, height);
  axisLabels(context, layout, rows, at[0], false, colours);
  axisLabels(context, layout, columns, at[1], true, colours);
  if (cell >= VALUES_FROM) drawNumbers(context, layout, rows, columns, paint, say);
  context.strokeStyle = css(colours.orange);
  context.lineWidth = 1;
  if (at[0] !== null) {
    context.strokeRect(label - 0.5, label + at[0] * cell - 0.5, width + 1, cell + 1);
  }
  if (at[0] !== null && at[1] !== null) {
    const [x, y] = [label + at[1] * cell, label + at[0] * cell];
    context.lineWidth = 3;
    context.strokeRect(x - 1, y - 1, cell + 2, cell + 2);
  }
}

function drawNumbers(context, { label, cell }, rows, columns, paint, say) {
  context.textAlign = "center";
  context.textBaseline = "middle";
  context.font = `${cell >= 44 ? 13 : 11}px system-ui, sans-serif`;
  const texts = rows.map((_, i) => columns.map((__, j) => say(i, j)));
  const wide = (text) => context.measureText(text).width > cell - 2;
  if (texts.flat().some(wide)) return; // they would run into each other
  rows.forEach((_, i) => columns.forEach((__, j) => {
    const text = texts[i][j];
    if (!text) return;
    context.fillStyle = inkOn(paint(i, j));
    context.fillText(text, label + (j + 0.5) * cell, label + (i + 0.5) * cell);
  }));
}

// The cell under the pointer, or null.
function cellAt(event, canvas, { label, cell }, rows, columns) {
  const box = canvas.getBoundingClientRect();
  const scale = canvas.offsetWidth / box.width || 1;
  const j = Math.floor(((event.clientX - box.left) * scale - label) / cell);
  const i = Math.floor(((event.clientY - box.top) * scale - label) / cell);
  return i >= 0 && j >= 0 && i < rows && j < columns ? [i, j] : null;
}

// Where a key moves to on a grid, or null.
function stepOn(key, [i, j], rows, columns) {
  const goes = {
    ArrowUp: [i - 1, j], ArrowDown: [i + 1, j],
    ArrowLeft: [i, j - 1], ArrowRight: [i, j + 1],
    Home: [i, 0], End: [i, columns - 1],
    PageUp: [i - 10, j], PageDown: [i + 10, j],
  }[key];
  if (!goes) return null;
  const bound = (value, count) => Math.min(Math.max(value, 0), count - 1);
  return [bound(goes[0], rows), bound(goes[1], columns)];
}

function makeHeatmap(app) {
  const canvas = el("canvas", { "aria-hidden": "true" });
  const board = el("div", { class: "board", role: "application", tabindex: "0",
    "aria-roledescription": "heatmap",
    "aria-label": "Heatmap of one head: arrow keys move from cell to cell" }, canvas);
  const foot = el("div");
  const hint = el("p", { class: "hint" });
  const element = el("div", {}, el("div", { class: "wide" }, board), foot, hint);
  let layout = null;

  function draw() {
    const { frame, colours, state } = app;
    const codes = frame.head(state.layer, state.head);
    const names = frame.tokens.map((token) => token.shown);
    const shut = channels(colours.shut);
    const paint = (t, s) =>
      (frame.may(t, s) ? colours.ofCode(codes[t * frame.T + s]) : shut);
    const say = (t, s) => { // next to nothing stays blank
      const weight = VALUES[codes[t * frame.T + s]];
      return frame.may(t, s) && weight >= 0.005 ? share(weight) : "";
    };
    layout = gridLayout(canvas, app.room(), names);
    const at = [state.query, app.key()];
    drawGrid(canvas, layout, colours,
      { rows: names, columns: names, paint, number: say, at });
    foot.replaceChildren(weightLegend(colours, frame.hasMask));
    hint.textContent = "Rows look, columns are looked at. Point, click, or use the arrow "
      + `keys.${app.has("arithmetic") ? " Enter shows the arithmetic of a cell." : ""}`;
  }

  const over = (event) => cellAt(event, canvas, layout, app.frame.T, app.frame.T);
  canvas.addEventListener("pointermove", (event) => {
    const cell = over(event);
    app.glance(cell ? app.linkWords(...cell) : null);
  });
  canvas.addEventListener("pointerleave", () => app.glance(null));
  canvas.addEventListener("click", (event) => {
    const cell = over(event);
    if (cell) app.set({ query: cell[0], key: cell[1] });
    board.focus();
  });
  board.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && app.has("arithmetic")) app.set({ view: "arithmetic" });
    const here = [app.state.query, app.key()];
    const next = stepOn(event.key, here, app.frame.T, app.frame.T);
    if (!next) return;
    event.preventDefault();
    app.set({ query: next[0], key: next[1] });
  });
  return { element, draw };
}
