// One text through one model: its tokens, and how much each looks at each.

class Frame {
  constructor(packed, codes, mask, without) {
    this.packed = packed;
    this.label = packed.label;
    this.causal = packed.causal;
    this.tokens = packed.tokens.map(readToken);
    this.layers = packed.layers.map((layer) => layer.layer); // their own numbers
    this.codes = codes; // a kept layer: bytes (H, T, T)
    this.mask = mask; // bytes (T, T) or nothing
    this.without = without; // floats (kept layers, H, n) or nothing
    this.inners = new Map();
  }

  get T() {
    return this.tokens.length;
  }

  get H() {
    return this.packed.heads;
  }

  get hasMask() {
    return this.causal || this.mask !== null;
  }

  may(t, s) {
    if (this.causal && s > t) return false;
    return this.mask === null || this.mask[t * this.T + s] === 1;
  }

  // The codes of one head, (T, T).
  head(layer, head) {
    const size = this.T * this.T;
    const codes = this.codes[this.layers.indexOf(layer)];
    return codes.subarray(head * size, (head + 1) * size);
  }

  weight(layer, head, t, s) {
    return VALUES[this.head(layer, head)[t * this.T + s]];
  }

  row(layer, head, t) {
    const codes = this.head(layer, head).subarray(t * this.T, (t + 1) * this.T);
    return Array.from(codes, (code) => VALUES[code]);
  }

  strongestKey(layer, head, t) {
    const row = this.row(layer, head, t);
    return row.indexOf(Math.max(...row));
  }

  // The strongest links of one head: [{t, s, weight}], at most `most`.
  strongest(layer, head, most) {
    const codes = this.head(layer, head);
    const places = Array.from(codes.keys()).filter((i) => codes[i] > 0);
    places.sort((a, b) => codes[b] - codes[a] || a - b);
    return places.slice(0, most).map((i) => ({
      t: Math.floor(i / this.T),
      s: i % this.T,
      weight: VALUES[codes[i]],
    }));
  }

  tagsOf(layer, head) {
    return this.packed.tags.filter((tag) => tag.layer === layer && tag.head === head);
  }

  get innerLayers() {
    return this.packed.layers.filter((layer) => layer.inner).map((layer) => layer.layer);
  }

  // The q, k, v of a layer, unpacked once, when somebody asks for them.
  inner(layer) {
    if (!this.inners.has(layer)) this.inners.set(layer, this.openInner(layer));
    return this.inners.get(layer);
  }

  async openInner(layer) {
    const { inner } = this.packed.layers[this.layers.indexOf(layer)];
    const names = ["q", "k", "v", "bias"].filter((name) => inner[name]);
    const numbers = await Promise.all(names.map((name) => unpack(inner[name])));
    const opened = { scale: inner.scale, note: inner.note };
    names.forEach((name, i) => {
      opened[name] = { numbers: numbers[i], width: inner[name].shape[2] };
    });
    return opened;
  }
}

// Row t of head h of numbers (H, T, width).
function vector(part, T, head, t) {
  const start = (head * T + t) * part.width;
  return part.numbers.subarray(start, start + part.width);
}

async function openFrame(packed) {
  const codes = packed.layers.map((layer) => unpack(layer.weights));
  const mask = packed.mask ? unpack(packed.mask) : null;
  const { without } = packed.prediction ?? {};
  const left = without ? unpack(without) : null;
  return new Frame(packed, await Promise.all(codes), await mask, await left);
}

// Pair up tokens of two texts that are the same, by their longest common sequence:
// [[i, j], ...] in order, null where one text has no partner.
function align(one, other) {
  const [n, m] = [one.length, other.length];
  const wide = m + 1;
  const common = new Uint16Array((n + 1) * wide);
  for (let i = n - 1; i >= 0; i -= 1) {
    for (let j = m - 1; j >= 0; j -= 1) {
      common[i * wide + j] = one[i].raw === other[j].raw
        ? common[(i + 1) * wide + j + 1] + 1
        : Math.max(common[(i + 1) * wide + j], common[i * wide + j + 1]);
    }
  }
  const pairs = [];
  let [i, j] = [0, 0];
  while (i < n || j < m) {
    if (i < n && j < m && one[i].raw === other[j].raw) pairs.push([i++, j++]);
    else if (j >= m || (i < n && common[(i + 1) * wide + j] >= common[i * wide + j + 1])) {
      pairs.push([i++, null]);
    } else pairs.push([null, j++]);
  }
  return pairs;
}
