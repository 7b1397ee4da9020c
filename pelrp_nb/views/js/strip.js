// Tokens with their signed numbers, and what is under the pointer in words.

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
  const stacked = rowNames.length > 1;
  const items = cells.map((cell) => cell.node);
  const list = make("ol", { class: `strip${stacked ? " stacked" : ""}`, "aria-label": name }, items);
  walkByArrows(list);
  const node = stacked ? make("div", { class: "rowed" }, namesBeside(list, rowNames), list) : list;
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

// The names of rows, beside each line that the tokens are wrapped into; on paper, whose lines nobody can measure, before each token
// at the edge, where those of one line lie on top of each other.
function namesBeside(list, rowNames) {
  const once = () =>
    make(
      "div",
      {},
      make("span", { class: "label" }, "x"),
      rowNames.map((row) => make("small", {}, row)),
    );
  const node = make("div", { class: "names", "aria-hidden": "true" }, once());
  const place = () => {
    const lines = new Set([...list.children].map((item) => item.offsetTop)).size || 1;
    while (node.childElementCount < lines) node.append(once());
    while (node.childElementCount > lines) node.lastChild.remove();
  };
  new ResizeObserver(place).observe(list);
  for (const item of list.children) item.dataset.rows = rowNames.join("\n");
  return node;
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
