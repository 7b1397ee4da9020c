// What every kind of view is made of: bars, ledgers, facts, the colour scale.

// A bar about the middle of its box: to the right for plus, to the left for minus.
function stretch(bar, amount, scale) {
  const part = scale > 0 && Number.isFinite(amount) ? clamp(amount / scale, -1, 1) : 0;
  bar.style.left = `${part < 0 ? 50 + 50 * part : 50}%`;
  bar.style.width = `${50 * Math.abs(part)}%`;
}

function bar(amount, scale, steps = 20) {
  const part = scale > 0 && Number.isFinite(amount) ? Math.sign(amount) : 0;
  const filled = make("i", { class: `p${Math.round(0.75 * steps * part) || 0}` });
  stretch(filled, amount, scale);
  return make("span", { class: "bar", "aria-hidden": "true" }, filled);
}

// An account: rows of [name, amount], the last one the sum; up to `allowed` its gap is rounding.  paint(rows, scale) writes new
// amounts into the same rows.
function ledgerOf(name, rows, allowed, scale = largest(rows.map(([, amount]) => amount))) {
  const lines = rows.map(([row]) => {
    const [amount, filled] = [make("td", {}), make("td", { class: "wide" })];
    return {
      amount,
      filled,
      node: make("tr", { class: row === rows.at(-1)[0] ? "value" : "" }, make("th", { scope: "row" }, row), amount, filled),
    };
  });
  const paint = (next, most = scale) => {
    const show = digits(most, 5);
    next.forEach(([row, amount], i) => {
      const text = booked(row, amount, allowed, show);
      write(lines[i].amount, text);
      clear(lines[i].filled, bar([ROUNDING, NOT_KEPT].includes(text) ? 0 : amount, most));
    });
  };
  paint(rows);
  return {
    node: make(
      "table",
      { class: "book", "aria-label": name },
      make(
        "tbody",
        {},
        lines.map((line) => line.node),
      ),
    ),
    paint,
  };
}

const facts = (name, rows, kind = "") =>
  region(
    name,
    make(
      "table",
      { class: "facts" },
      make(
        "tbody",
        {},
        rows.map(([key, value]) => make("tr", {}, make("th", { scope: "row" }, key), make("td", { class: kind }, value))),
      ),
    ),
  );

// The colour scale, symmetric about zero.
function legend() {
  const [low, high] = [make("span"), make("span")];
  const swatches = range(11).map((i) => make("span", { class: `p${Math.round((i / 5 - 1) * 20) || 0}` }));
  const paint = (scale) => {
    const show = digits(scale, 3);
    write(low, show(-scale));
    write(high, show(scale));
  };
  return { node: make("span", { class: "scale" }, low, make("i", { "aria-hidden": "true" }, swatches), high), paint };
}

// A sentence in pieces [text, name]: a name is somebody's word and keeps its own direction.
const quoted = (parts) => parts.map(([text, name]) => (name ? make("bdi", {}, text) : text));

// Text as Python writes it: what stands between back ticks is code.
const prose = (text) => text.split(/\u0060+([^\u0060]+)\u0060+/).map((part, i) => (i % 2 ? make("code", {}, part) : part));

const plainly = (text) => text.replaceAll("\u0060", "");

const noted = (notes, before = "Note: ") => notes.map((note) => make("p", { class: "note" }, before, prose(note)));

// Lines that a screen reader speaks when they change.
const spoken = (kind = "said") => make("p", { class: kind, role: "status", "aria-live": "polite" });
