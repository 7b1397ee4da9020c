// What every kind of view is made of: tokens with signed numbers, bars, ledgers, formulas, the colour scale.

// The columns of a strip: tokens, or words where subwords are merged; without what is hidden.  `ids` are token indices.
function columnsOf(data, { words = false, hidden = false, top = 0 } = {}, amounts = []) {
  let all = data.tokens.map((text, t) => ({ ids: [t], text, special: Boolean(data.special?.[t]) }));
  if (words && data.words) all = data.words.map(({ ids, text }) => ({ ids, text, special: ids.every((t) => data.special?.[t]) }));
  const size = (column) => Math.abs(summed(amounts, column.ids)) || 0;
  let kept = hidden ? all.filter((column) => !column.special) : all;
  if (top > 0 && top < kept.length) {
    const least = kept.map(size).sort((a, b) => b - a)[top - 1];
    kept = kept.filter((column) => size(column) >= least).slice(0, top);
  }
  return kept.map((column) => ({ ...column, key: column.ids[0], name: `${column.ids[0]} ${spelled(column.text)}` }));
}

const summed = (values, ids) => (ids.length === 1 ? values[ids[0]] : total(ids.map((t) => values[t])));

// Tokens in colour with their signed numbers; many of them with one row are running text.
// paint(rows): rows of { name, values, scale }, one value per column or undefined;
// nothing moves when it is called again.  pair(content, position) draws the two-tone bars.
function stripOf(face, name, columns, rowNames = [""]) {
  if (rowNames.length === 1 && columns.length > DENSE) return denseOf(face, name, columns);
  const cells = columns.map((column, i) => cellOf(face, column, rowNames.length, i === 0));
  const heads = make("span", { class: "label" }, "x");
  const rowsNamed = make(
    "div",
    { class: "names", "aria-hidden": "true" },
    heads,
    rowNames.map((row) => make("small", {}, row)),
  );
  const stacked = rowNames.length > 1;
  const items = cells.map((cell) => cell.node);
  const list = make("ol", { class: `strip${stacked ? " stacked" : ""}`, "aria-label": name }, items);
  walkByArrows(list);
  const node = stacked ? make("div", { class: "rowed" }, rowsNamed, list) : list;
  const mark = (token) => cells.forEach(({ column, block }) => block.classList.toggle("chosen", column.ids.includes(token)));
  face.on("token", mark);
  face.on("point", (column) =>
    cells.forEach(({ block, column: own }) => block.classList.toggle("pointed", own.key === column?.key)),
  );
  mark(face.get("token"));
  const paint = (rows) => {
    const shows = rows.map((row) => digits(row.shown ?? row.scale));
    cells.forEach(({ lines, shaded }, c) =>
      rows.forEach(({ values, scale }, r) => {
        const amount = values[c];
        repaint(shaded[r], amount === undefined ? "" : shade(amount, scale));
        write(lines[r], amount === undefined ? "" : shows[r](amount));
      }),
    );
  };
  const pair = (content, position, scale) => cells.forEach(({ bars }, c) => twoBars(bars, content[c], position[c], scale));
  return { node, cells, paint, pair };
}

// One token: its text, a line of number for each row, and a place for two bars.  With one row the whole token is shaded.
function cellOf(face, column, rows, reached) {
  const lines = range(rows).map(() => make("small", {}));
  const bars = make("span", { class: "pair", "aria-hidden": "true" });
  const named = { type: "button", class: "token", tabindex: reached ? "0" : "-1", "data-token": column.ids[0], ...QUIET };
  const block = make("button", named, label(column.text), lines, bars);
  block.addEventListener("mouseenter", () => face.point(column));
  block.addEventListener("focus", () => face.point(column));
  block.addEventListener("click", () => face.set({ token: face.get("token") === column.ids[0] ? -1 : column.ids[0] }));
  const node = make("li", { class: column.special ? "special" : "" }, block);
  return { column, lines, bars, block, node, shaded: rows === 1 ? [block] : lines };
}

// Another shade in place of the one before.
function repaint(node, shade) {
  if (node.shade === shade) return;
  if (node.shade) node.classList.remove(node.shade);
  if (shade) node.classList.add(shade);
  node.shade = shade;
}

// Content above position, each from the middle of the box to the right for plus, to the left for minus: two backgrounds.
function twoBars(box, content, position, scale) {
  const parts = [content, position].map((x) => (scale > 0 && Number.isFinite(x) ? clamp(x / scale, -1, 1) / 2 : 0));
  const at = parts.map((part) => (100 * Math.min(0.5, 0.5 + part)) / Math.max(0.01, 1 - Math.abs(part)));
  box.style.backgroundSize = `1px 100%, ${parts.map((part) => `${(100 * Math.abs(part)).toFixed(1)}% 5px`).join(", ")}`;
  box.style.backgroundPosition = `50% 0, ${at[0].toFixed(1)}% 0, ${at[1].toFixed(1)}% 100%`;
}

// A bar about the middle of its box: to the right for plus, to the left for minus.
function stretch(bar, amount, scale) {
  const part = scale > 0 && Number.isFinite(amount) ? clamp(amount / scale, -1, 1) : 0;
  bar.style.left = `${part < 0 ? 50 + 50 * part : 50}%`;
  bar.style.width = `${50 * Math.abs(part)}%`;
}

function walkByArrows(list) {
  list.addEventListener("keydown", (event) => {
    const blocks = [...list.querySelectorAll("button")];
    const at = blocks.indexOf(event.target);
    const to = { ArrowLeft: at - 1, ArrowRight: at + 1, Home: 0, End: blocks.length - 1 }[event.key];
    if (at < 0 || to === undefined) return;
    event.preventDefault();
    event.stopPropagation();
    if (!blocks[to]) return;
    blocks[at].tabIndex = -1;
    blocks[to].tabIndex = 0;
    blocks[to].focus();
  });
}

// What is under the pointer, in words: told(column) gives the facts.
function readout(face, told, empty = "Point at a token, or move over them with the arrow keys.") {
  const node = make("p", { class: "readout quiet" }, empty);
  let last = null;
  const show = (column) => {
    last = column;
    if (!column) return clear(node, empty);
    return node.replaceChildren(make("b", {}, column.name), `${GAP}${told(column).join(GAP)}`);
  };
  face.on("point", show);
  return { node, update: () => last && show(last) };
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

// Lines that a screen reader speaks when they change.
const spoken = (kind = "said") => make("p", { class: kind, role: "status", "aria-live": "polite" });
