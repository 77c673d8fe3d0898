// Atlas: every layer and head at once, drawn on one canvas under a grid of cells.

const GAP = 3;
const LABELS = 28; // for the numbers of layers, left, and of heads, above
const SMALLEST_CELL = 8;
const LARGEST_CELL = 84;
const WORDS_FROM = 56; // cells this large have their tag below them
const WORDS = 15; // its height

function makeAtlas(app) {
  const canvas = el("canvas", { "aria-hidden": "true" });
  const grid = el("div", { role: "grid", "aria-label": "All layers and heads" });
  const stage = el("div", { class: "stage" }, canvas, grid);
  const filters = el("div", { class: "filters", role: "group", "aria-label": "Tags" });
  const foot = el("div");
  const element = el("section", { class: "atlas" },
    el("h3", {}, "All heads"), stage, foot, filters);
  let cells = new Map(); // "layer head" to its element
  let built = ""; // what the grid was made for
  let painted = ""; // what the canvas shows
  let picked = null; // the cell that is chosen

  const chosen = () => cells.get(`${app.state.layer} ${app.state.head}`);

  function build(frame, size, below) {
    const key = `${frame.layers} ${frame.H} ${size} ${below}`;
    if (key === built) return;
    [built, painted, picked] = [key, "", null];
    cells = new Map();
    const names = Array.from({ length: frame.H }, (_, head) =>
      el("span", { role: "columnheader" }, String(head)));
    const corner = el("span", { role: "columnheader", class: "corner" }, "layer");
    const rows = frame.layers.map((layer) => {
      const row = Array.from({ length: frame.H }, (_, head) => {
        const cell = el("span", { role: "gridcell", tabindex: "-1",
          "aria-selected": "false" });
        cell.addEventListener("click", () => choose(layer, head));
        cells.set(`${layer} ${head}`, cell);
        return cell;
      });
      const name = el("span", { role: "rowheader", "aria-label": `layer ${layer}` },
        String(layer));
      return el("div", { role: "row" }, name, ...row);
    });
    grid.replaceChildren(el("div", { role: "row" }, corner, ...names), ...rows);
    grid.style.setProperty("--cell", `${size}px`);
    grid.style.setProperty("--gap", `${GAP}px`);
    grid.style.setProperty("--below", `${below}px`);
    grid.style.setProperty("--labels", `${LABELS}px`);
  }

  function choose(layer, head) {
    app.set({ layer, head });
    chosen().focus();
  }

  function move(event) {
    const { frame } = app;
    const row = frame.layers.indexOf(app.state.layer);
    const { head } = app.state;
    const [top, last] = [frame.layers.length - 1, frame.H - 1];
    const goes = {
      ArrowUp: [row - 1, head], ArrowDown: [row + 1, head],
      ArrowLeft: [row, head - 1], ArrowRight: [row, head + 1],
      Home: [row, 0], End: [row, last], PageUp: [0, head], PageDown: [top, head],
    }[event.key];
    if (!goes) return;
    event.preventDefault();
    const bound = (value, most) => Math.min(Math.max(value, 0), most);
    choose(frame.layers[bound(goes[0], top)], bound(goes[1], last));
  }
  grid.addEventListener("keydown", move);

  function draw() {
    const { frame, colours } = app;
    const columns = frame.H;
    const room = element.clientWidth - LABELS - GAP;
    const fits = Math.floor(room / columns) - GAP;
    const size = Math.min(Math.max(fits, SMALLEST_CELL), LARGEST_CELL);
    const shades = app.shades(); // a colour a head, or nothing: then their pictures
    const tagged = !shades && size >= WORDS_FROM && frame.packed.tags.length > 0;
    const below = GAP + (tagged ? WORDS : 0);
    build(frame, size, below);
    grid.classList.toggle("flat", shades !== null);
    const kind = [app.state.frame, app.state.tag, colours.dark, shades?.key, scale(size)];
    if (painted !== kind.join()) paint(size, below, shades, tagged);
    painted = kind.join();
    select();
    foot.replaceChildren(shades ? shades.legend : weightLegend(colours, frame.hasMask));
    drawFilters(frame);
  }

  const scale = (size) => `${size} ${window.devicePixelRatio}`;

  // All heads: this takes longest, so only when they have changed.
  function paint(size, below, shades, tagged) {
    const { frame, colours } = app;
    const [rows, columns] = [frame.layers.length, frame.H];
    const width = LABELS + columns * (size + GAP);
    const context = sharp(canvas, width, LABELS + rows * (size + below));
    const pooled = shades ? null : pooling(frame.T, Math.round(size * ratioOf(context)));
    frame.layers.forEach((layer, row) => {
      for (let head = 0; head < columns; head += 1) {
        const x = LABELS + head * (size + GAP);
        const y = LABELS + row * (size + below);
        if (shades) {
          context.fillStyle = css(shades.colour(layer, head));
          context.fillRect(x, y, size, size);
        } else drawHead(context, pooled, frame, layer, head, [x, y], colours);
        describe(frame, layer, head, tagged, shades);
      }
    });
  }

  function select() {
    const mark = (cell, here) => {
      cell.setAttribute("aria-selected", String(here));
      cell.tabIndex = here ? 0 : -1;
    };
    if (picked) mark(picked, false);
    picked = chosen();
    mark(picked, true);
  }

  function describe(frame, layer, head, tagged, shades) {
    const cell = cells.get(`${layer} ${head}`);
    const tags = frame.tagsOf(layer, head);
    const known = tags.map((tag) => `${tag.name} ${share(tag.score)}`);
    const more = shades ? [shades.words(layer, head)] : known;
    const words = [`layer ${layer}, head ${head}`, ...more].join(", ");
    const { tag } = app.state;
    cell.setAttribute("aria-label", words);
    cell.title = words;
    cell.classList.toggle("faint", tag !== null && !tags.some(({ name }) => name === tag));
    const name = tagged ? tags[0]?.name : null;
    cell.replaceChildren(...(name ? [el("span", { class: "tag" }, name)] : []));
  }

  function drawFilters(frame) {
    const counts = new Map();
    for (const { name } of frame.packed.tags) {
      counts.set(name, (counts.get(name) ?? 0) + 1);
    }
    const key = `${[...counts]} ${app.state.tag}`;
    if (filters.dataset.key === key) return;
    filters.dataset.key = key;
    const buttons = [...counts].map(([name, count]) => {
      const on = app.state.tag === name;
      const press = () => {
        app.set({ tag: on ? null : name });
        filters.querySelector(`[data-name="${CSS.escape(name)}"]`)?.focus();
      };
      return el("button", { type: "button", "aria-pressed": String(on),
        title: `heads that look ${app.packed.meanings[name] ?? "so"}`,
        "data-name": name, onclick: press }, `${name} ${count}`);
    });
    filters.replaceChildren(...buttons);
  }

  return { element, draw };
}

function ratioOf(context) {
  return context.getTransform().a;
}

// Which of a picture's `size` pixels a token falls on. Large heads are pooled by their
// strongest link, so that a thin diagonal stays in sight.
function pooling(T, size) {
  const first = Array.from({ length: size }, (_, i) => Math.floor((i * T) / size));
  const last = first.map((from, i) => Math.max(from + 1, Math.floor(((i + 1) * T) / size)));
  return { size, first, last, image: new ImageData(size, size) };
}

function drawHead(context, pooled, frame, layer, head, [x, y], colours) {
  const { size, first, last, image } = pooled;
  const codes = frame.head(layer, head);
  const pixels = new Uint32Array(image.data.buffer);
  const shut = pixel(channels(colours.shut));
  const { T } = frame;
  for (let i = 0; i < size; i += 1) {
    for (let j = 0; j < size; j += 1) {
      let most = 0;
      for (let t = first[i]; t < last[i]; t += 1) {
        for (let s = first[j]; s < last[j]; s += 1) {
          const code = codes[t * T + s];
          if (code > most) most = code;
        }
      }
      const open = most > 0 || frame.may(last[i] - 1, first[j]);
      pixels[i * size + j] = open ? colours.weights[most] : shut;
    }
  }
  const ratio = ratioOf(context);
  context.putImageData(image, Math.round(x * ratio), Math.round(y * ratio));
}

// "#rrggbb" as three numbers.
function channels(hex) {
  return [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16));
}
