// The payload's numbers: base64 of deflated bytes, as payload.py packs them.

const VALUES = Float32Array.from({ length: 256 }, (_, code) => (code / 255) ** 2);

function bytesOf(base64) {
  const letters = atob(base64);
  const bytes = new Uint8Array(letters.length);
  for (let i = 0; i < letters.length; i += 1) bytes[i] = letters.charCodeAt(i);
  return bytes;
}

async function inflate(bytes) {
  const inflater = new DecompressionStream("deflate-raw");
  const stream = new Blob([bytes]).stream().pipeThrough(inflater);
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

// Sixteen bits as a number: sign, five bits of exponent, ten bits of fraction.
function half(bits) {
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits >> 10) & 31;
  const fraction = bits & 1023;
  if (exponent === 0) return sign * fraction * 2 ** -24;
  if (exponent === 31) return fraction ? NaN : sign * Infinity;
  return sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
}

// All high bytes come first, then all low bytes: they deflate better apart.
function halves(bytes) {
  const n = bytes.length / 2;
  const numbers = new Float32Array(n);
  for (let i = 0; i < n; i += 1) numbers[i] = half((bytes[i] << 8) | bytes[n + i]);
  return numbers;
}

// Give the numbers of a block: codes of √weight and masks stay bytes.
async function unpack(block) {
  const bytes = await inflate(bytesOf(block.data));
  if (block.kind === "half") return halves(bytes);
  if (block.kind === "float") return new Float32Array(bytes.buffer);
  return bytes;
}
