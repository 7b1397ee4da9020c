// One module draws every view, in a file, an iframe or a notebook cell.  Python owns the numbers: here they are only shown.
// A token may be any text, so text enters the page through textContent alone.

const MINUS = "\u2212";
const GAP = " \u2002"; // between two facts of one line
let unique = 0; // for names that tie controls together

// --- nodes ------------------------------------------------------------------------------------------------------------

function make(tag, attributes = {}, ...children) {
  return grown(document.createElement(tag), attributes, children);
}

function svg(tag, attributes = {}, ...children) {
  return grown(document.createElementNS("http://www.w3.org/2000/svg", tag), attributes, children);
}

function grown(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== null && value !== undefined && value !== false) node.setAttribute(name, value);
  }
  node.append(...children.flat().filter((child) => child !== null && child !== false && child !== undefined));
  return node;
}

const clear = (node, ...children) => node.replaceChildren(...children.flat().filter(Boolean));

function write(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

// --- numbers ----------------------------------------------------------------------------------------------------------

const numbers = (values) => Array.from(unpacked(values), Number); // in lists "NaN" and "Infinity" travel as text
const clamp = (x, low, high) => Math.max(low, Math.min(high, x));
const total = (values) => values.reduce((sum, x) => sum + x, 0);
const range = (count, from = 0) => Array.from({ length: Math.max(0, count) }, (_, i) => from + i);
const percent = (share) => (Number.isFinite(share) ? `${Math.round(100 * share) || 0} %`.replace("-", MINUS) : "nan");

function largest(...columns) {
  let most = 0;
  for (const column of columns) for (const x of column) if (Number.isFinite(x)) most = Math.max(most, Math.abs(x));
  return most;
}

// How to print the numbers of one table: with their sign, and as many decimals as show four figures of the largest.
function digits(scale, figures = 4) {
  const power = scale > 0 && Number.isFinite(scale) ? Math.floor(Math.log10(scale)) : 0;
  const exponent = power < -4 || power > 6;
  const count = exponent ? figures - 1 : clamp(figures - 1 - power, 0, figures + 3);
  return (x) => {
    if (Number.isNaN(x)) return "nan";
    if (!Number.isFinite(x)) return x > 0 ? "+inf" : `${MINUS}inf`;
    const text = exponent ? Math.abs(x).toExponential(count).replace("-", MINUS) : Math.abs(x).toFixed(count);
    return Number(text.replace(MINUS, "-")) === 0 ? (0).toFixed(count) : (x < 0 ? MINUS : "+") + text;
  };
}

const tiny = (x) => (x === 0 ? "0" : Number(x).toExponential(1).replace(/-/g, MINUS));

// What should be zero: its number where it is not, the word where it is; the digits of rounding differ between processors.
// Of an account that nobody kept (allowed is null) only what arrived is known.
const [ROUNDING, NOT_KEPT] = ["rounding", "not kept"];
const unlessRounding = (amount, allowed, show = tiny) => {
  if (allowed === null) return NOT_KEPT;
  return Number.isFinite(amount) && Math.abs(amount) <= allowed ? ROUNDING : show(amount);
};
const booked = (name, amount, allowed, show) => {
  if (name === "gap") return unlessRounding(amount, allowed, show);
  return allowed === null && !["tokens", "positions", "value"].includes(name) ? NOT_KEPT : show(amount);
};

// What a positional share is, and what must be said with it.
const carrying = (share, { share_means: means }) => `positions carry ${share}${means ? ` (${means})` : ""}`;

// The class of what is told of a ledger: closed, open, and what says neither.
const toneOf = (verdict) => (verdict === "closed" ? "good" : verdict.startsWith("open") ? "bad" : "quiet");
const markOf = (verdict) => ({ good: "\u2713 ", bad: "\u2717 " })[toneOf(verdict)] ?? "";

// The class of a signed number's colour: p-20 to p20, or nan.
function shade(amount, scale, steps = 20) {
  if (Number.isNaN(amount)) return "nan";
  const part = Number.isFinite(amount) ? (scale > 0 ? clamp(amount / scale, -1, 1) : 0) : Math.sign(amount);
  return `p${Math.round(part * steps) || 0}`;
}

// An array as Python packed it, { shape, f32 }, { shape, f16, scale } or { shape, i8, scale } with bytes or their base64 text;
// lists stay as they are.
function unpacked(box) {
  if (Array.isArray(box)) return box;
  const bytes = box.f32 ?? box.f16 ?? box.i8;
  const view = typeof bytes === "string" ? new DataView(Uint8Array.from(atob(bytes), (c) => c.charCodeAt(0)).buffer) : bytes;
  let at = 0;
  const part = (step) => (step === -128 ? NaN : step);
  const next = box.f32
    ? () => view.getFloat32(4 * at++, true)
    : box.i8
      ? () => part(view.getInt8(at++)) * box.scale
      : () => half(view.getUint16(2 * at++, true)) * box.scale;
  const cut = ([length, ...inner]) => range(length).map(() => (inner.length ? cut(inner) : next()));
  return cut(box.shape);
}

function half(bits) {
  const [sign, exponent, fraction] = [bits & 0x8000 ? -1 : 1, (bits >> 10) & 31, bits & 1023];
  if (exponent === 31) return fraction ? NaN : sign * Infinity;
  return sign * (exponent ? 2 ** (exponent - 15) * (1 + fraction / 1024) : 2 ** -14 * (fraction / 1024));
}

// --- text -------------------------------------------------------------------------------------------------------------

// A text from Python is a string, or pieces [text, chip] where a chip names what cannot be seen.
const spelled = (text) =>
  typeof text === "string" ? text : text.map(([part, chip]) => (chip ? `\u27e8${part}\u27e9` : part)).join("");

function label(text) {
  const parts = typeof text === "string" ? [[text, false]] : text;
  return make(
    "span",
    { class: "label", dir: "auto" },
    parts.map(([part, chip]) => (chip ? make("span", { class: "chip" }, part) : part)),
  );
}
