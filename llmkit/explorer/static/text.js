// Words and elements. Text from data only ever becomes textContent.

const LONGEST = 24; // letters of a token that are shown
const LONGEST_TITLE = 200;
const HIDDEN = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Zs}\p{Cs}]/gu;
const MARKS = { " ": "␣", "\n": "⏎", "\t": "⇥" };

// Show what has no shape of its own: white space, controls, zero-width characters.
function visible(text) {
  const marked = text.replace(HIDDEN, (letter) => {
    const code = letter.codePointAt(0).toString(16).toUpperCase().padStart(4, "0");
    return MARKS[letter] ?? `⟨${code}⟩`;
  });
  if (/^\p{M}/u.test(marked)) return `◌${marked}`; // an accent needs something below
  return marked || "∅";
}

// A sentence keeps its spaces; what else is unseen in it shows.
function prose(text) {
  return visible(text).replaceAll("␣", " ");
}

function clip(text, most) {
  const letters = Array.from(text.slice(0, 3 * most)); // an emoji takes two units
  return letters.length > most ? `${letters.slice(0, most - 1).join("")}…` : text;
}

// Keep right-to-left letters from turning the sentence around them.
function isolated(text) {
  return `\u2068${text}\u2069`;
}

function readToken(raw) {
  const full = visible(raw.slice(0, 4 * LONGEST_TITLE));
  return { raw, shown: clip(full, LONGEST), full: clip(full, LONGEST_TITLE) };
}

function quoted(frame, position) {
  return `“${isolated(frame.tokens[position].shown)}” (${position})`;
}

// Make an element: el("p", {class: "note"}, "text", another).
function el(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value === true) element.setAttribute(name, "");
    else if (value !== false && value != null) element.setAttribute(name, value);
  }
  element.append(...children.filter((child) => child != null));
  return element;
}

function svg(tag, attributes = {}, ...children) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) {
    element.setAttribute(name, value);
  }
  element.append(...children);
  return element;
}

function tokenText(token) {
  return el("bdi", { title: token.full }, token.shown);
}

// A table from rows of texts or elements; the first cell of a row names it.
function table(caption, head, rows) {
  const heads = head.map((text) => el("th", { scope: "col" }, text));
  const body = rows.map((cells) => {
    const [first, ...rest] = cells;
    const row = el("tr", { class: cells.kind });
    row.append(el("th", { scope: "row" }, first));
    row.append(...rest.map((cell) => el("td", {}, cell)));
    return row;
  });
  const made = el("table", {}, el("caption", {}, caption));
  made.append(el("thead", {}, el("tr", {}, ...heads)), el("tbody", {}, ...body));
  return made;
}

// What is wider than the page scrolls in a box of its own, by keyboard too.
function scroller(label, ...children) {
  const box = { class: "scroller", role: "region", tabindex: "0", "aria-label": label };
  return el("div", box, ...children);
}

function number(value, digits = 3) {
  if (Number.isNaN(value)) return "NaN";
  if (!Number.isFinite(value)) return value > 0 ? "∞" : "−∞";
  const size = Math.abs(value);
  const text = size >= 1e5 || (size > 0 && size < 0.5 * 10 ** -digits)
    ? size.toExponential(1)
    : size.toFixed(digits);
  return value < 0 ? `−${text}` : text;
}

function signed(value, digits = 2) {
  if (Number.isNaN(value)) return "NaN";
  const text = Math.abs(value).toFixed(digits);
  if (Number(text) === 0) return text;
  return value < 0 ? `−${text}` : `+${text}`;
}

// A weight is kept to 0.004: two decimals say what is known.
function share(weight) {
  return weight > 0 && weight < 0.005 ? "<0.01" : weight.toFixed(2);
}

function plural(count, thing) {
  return `${count} ${thing}${count === 1 ? "" : "s"}`;
}
