// Colours: cividis for weights, blue to orange for what has a sign.

function mix(from, to, part) {
  return from.map((value, i) => Math.round(value + (to[i] - value) * part));
}

// Walk along anchors; place is from 0 to 1.
function along(anchors, place) {
  const at = Math.min(Math.max(place, 0), 1) * (anchors.length - 1);
  const below = Math.min(Math.floor(at), anchors.length - 2);
  return mix(anchors[below], anchors[below + 1], at - below);
}

function css(colour) {
  return `rgb(${colour.join(" ")})`;
}

function luminance(colour) {
  const [r, g, b] = colour.map((value) => {
    const part = value / 255;
    return part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
  });
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
}

// Black or white, whichever is read better on a colour: at least 4.5 to 1.
function inkOn(colour) {
  return luminance(colour) > 0.179 ? "#000" : "#fff";
}

function pixel([r, g, b]) {
  return ((255 << 24) | (b << 16) | (g << 8) | r) >>> 0; // little-endian RGBA
}

// What a theme needs to draw with.
function makeColours(palette, dark) {
  const middle = dark ? [22, 25, 29] : [255, 255, 255];
  const [blue, orange] = dark ? palette.bright : palette.ends;
  const ladder = [blue, middle, orange];
  const weights = Uint32Array.from({ length: 256 }, (_, code) =>
    pixel(along(palette.weights, code / 255)));
  return {
    dark,
    blue,
    orange,
    middle,
    weights, // by code: places on the palette are √weight
    ofCode: (code) => along(palette.weights, code / 255),
    ofWeight: (weight) => along(palette.weights, Math.sqrt(weight)),
    ofSign: (value) => along(ladder, 0.5 + value / 2), // from −1 to 1
    surface: dark ? "#16191d" : "#ffffff",
    shut: dark ? "#41484f" : "#e9e9e9", // where no query may look
    line: dark ? "#8b949e" : "#6b7178",
    text: dark ? "#e8eaed" : "#1b1d20",
    chosen: dark ? "#ffb077" : "#a8430a",
    gradient: `linear-gradient(to right, ${palette.weights.map(css).join(", ")})`,
    signs: `linear-gradient(to right, ${ladder.map(css).join(", ")})`,
  };
}

// Light text around the explorer means a dark page, whoever made it dark.
function isDark(host) {
  const found = getComputedStyle(host).color.match(/[\d.]+/g);
  return luminance((found ?? [0, 0, 0]).slice(0, 3).map(Number)) > 0.4;
}

// Look again when the page changes its theme. The watch must not keep an explorer
// alive that was replaced: it holds it weakly and ends with it.
function watchTheme(host, changed) {
  const watched = new WeakRef(host);
  const system = matchMedia("(prefers-color-scheme: dark)");
  const look = () => {
    const there = watched.deref();
    if (there?.isConnected) there.lookAgain();
    else stop();
  };
  const observer = new MutationObserver(() => requestAnimationFrame(look));
  const stop = () => {
    observer.disconnect();
    system.removeEventListener("change", look);
  };
  host.lookAgain = changed;
  const attributes = { attributes: true };
  observer.observe(document.documentElement, attributes);
  observer.observe(document.body, attributes);
  system.addEventListener("change", look);
}

// A canvas of so many CSS pixels, sharp on any screen; gives its context.
function sharp(canvas, width, height) {
  const most = 16000 / Math.max(width, height); // larger ones stay empty in Safari
  const ratio = Math.min(window.devicePixelRatio || 1, 3, most);
  canvas.width = Math.max(1, Math.round(width * ratio));
  canvas.height = Math.max(1, Math.round(height * ratio));
  canvas.style.width = `${width}px`;
  canvas.style.height = `${height}px`;
  const context = canvas.getContext("2d");
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  return context;
}

// The scale under a picture: labels stand where their values are.
function legend(gradient, marks, caption) {
  const bar = el("span", { class: "bar" });
  bar.style.background = gradient;
  const ticks = marks.map(([place, text]) => {
    const tick = el("span", { class: "tick" }, text);
    tick.style.left = `${100 * place}%`;
    return tick;
  });
  const scale = el("span", { class: "scale" }, bar, ...ticks);
  return el("div", { class: "legend" }, el("span", {}, caption), scale);
}

function weightLegend(colours, shut) {
  const marks = [0, 0.1, 0.25, 0.5, 1].map((w) => [Math.sqrt(w), String(w)]);
  const made = legend(colours.gradient, marks, "weight");
  if (shut) {
    const box = el("span", { class: "shut" });
    made.append(el("span", {}, box, " may not look"));
  }
  return made;
}
