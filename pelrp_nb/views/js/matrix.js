// Matrices of heads: small ones to choose from, sorted by what they hand on, and one that is opened.

const THUMB = { side: 76, cells: 64, first: 36 }; // pixels, cells that are drawn, heads that are shown at first

// The matrix of one head with the names of its places: at first what the page holds, whole where a kernel sends it.
function openHead(face, group, head) {
  const [tokens, others] = [group.tokens, group.others].map((names) =>
    names.map((text, t) => ({ ids: [t], key: t, text, special: false, name: `${t} ${spelled(text)}` })),
  );
  const map = heatOf(face, `what ${head.name} handed on, from rows to columns`, others, null, true);
  const said = make("p", { class: "quiet" });
  const show = (matrix, what) => {
    map.paint(tokens.map((token, i) => ({ name: token.name, values: matrix[i] })));
    write(said, `Each row hands on, each column receives. ${what}`);
  };
  const part = total(sparse(head.edges).map(([, x]) => sizeOf(x))) / (head.size || 1);
  const some = `These are its largest edges, ${percent(part)} of what it handed on; for all of them type result.routes.matrix(`;
  const whole = part > 0.9995 ? "All its edges are here, but for rounding." : `${some}"${head.attention}", ${head.head}).`;
  show(dense(group, head), whole);
  face.more(head.name).then((found) => found && show(unpacked(found), "All its edges are here."));
  return make("div", { class: "opened" }, map.node, said);
}

function dense({ places: [rows, columns] }, head) {
  const matrix = range(rows).map(() => new Array(columns).fill(0));
  for (const [place, amount] of sparse(head.edges)) matrix[Math.floor(place / columns)][place % columns] = amount;
  return matrix;
}

// What is told of a head: which, how much of all it handed on, what it looks like.
const looking = (head) => (head.looks ? `${head.looks} ${percent(head.part)}` : "no one pattern");
const partOfAll = (group, head) => `${percent(head.size / group.whole)} of all`;

// All heads as small matrices; choose(head) opens one.  paint() draws them in the colours of the theme.
function thumbsOf(face, group, choose) {
  const state = (name, unset) => face.get(name) ?? unset;
  const list = make("ol", { class: "thumbs", "aria-label": "heads" });
  const more = action("", () => face.set({ all: true }));
  let tiles = [];
  const kinds = [...new Set(group.heads.map((head) => head.looks))].sort();
  const pickKind = select(
    "Looks like",
    [["", "anything"], ...kinds.filter(Boolean).map((kind) => [kind, kind])],
    state("looks", ""),
    (looks) => face.set({ looks }),
  );
  const order = choice(
    "Order",
    [
      ["size", "largest first"],
      ["place", "by layer"],
    ],
    state("order", "size"),
    (order) => face.set({ order }),
  );
  const build = () => {
    pickKind.show(state("looks", ""));
    order.show(state("order", "size"));
    const kept = group.heads.filter((head) => !state("looks", "") || head.looks === state("looks", ""));
    const sorted = state("order", "size") === "size" ? kept.sort((a, b) => b.size - a.size) : kept;
    const shown = state("all", false) ? sorted : sorted.slice(0, THUMB.first);
    tiles = shown.map((head) => tileOf(face, group, head, choose));
    clear(
      list,
      tiles.map((tile) => tile.node),
    );
    more.hidden = shown.length === sorted.length;
    write(more, `Show all ${sorted.length} heads`);
    mark(face.get("head"));
  };
  const mark = (chosen) =>
    tiles.forEach(({ node, head }) => node.firstChild.setAttribute("aria-pressed", String(head.at === chosen)));
  ["looks", "order", "all"].forEach((name) => face.on(name, build));
  face.on("head", mark);
  face.on("theme", () => tiles.forEach((tile) => tile.paint()));
  build();
  return make("div", {}, make("div", { class: "controls" }, kinds.length > 1 && pickKind.node, order.node), list, more);
}

function tileOf(face, group, head, choose) {
  const canvas = make("canvas", { "aria-hidden": "true" });
  const paint = () => paintThumb(canvas, group, head, palette(face.root));
  const button = make(
    "button",
    { type: "button", class: "thumb", ...QUIET },
    canvas,
    make("b", {}, head.name),
    make("span", {}, looking(head)),
    make("span", { class: "quiet" }, partOfAll(group, head)),
  );
  button.addEventListener("click", () => choose(head));
  paint();
  return { node: make("li", {}, button), head, paint };
}

// Cells of a long text are drawn together: the strongest of them counts.
function paintThumb(canvas, { places }, head, shades) {
  const step = Math.max(1, Math.ceil(Math.max(...places) / THUMB.cells));
  const [rows, columns] = places.map((count) => Math.ceil(count / step));
  const strongest = new Map();
  for (const [place, amount] of sparse(head.edges)) {
    const at = Math.floor(Math.floor(place / places[1]) / step) * columns + Math.floor((place % places[1]) / step);
    if (!(Math.abs(amount) <= Math.abs(strongest.get(at) ?? 0))) strongest.set(at, amount);
  }
  const cell = Math.max(1, Math.floor((2 * THUMB.side) / Math.max(rows, columns)));
  Object.assign(canvas, { width: cell * columns, height: cell * rows });
  const long = THUMB.side / Math.max(rows, columns);
  Object.assign(canvas.style, { width: `${Math.round(long * columns)}px`, height: `${Math.round(long * rows)}px` });
  const pen = canvas.getContext("2d");
  const scale = largest(strongest.values());
  [pen.fillStyle] = shadeOf(shades, 0, 1);
  pen.fillRect(0, 0, canvas.width, canvas.height);
  for (const [at, amount] of strongest) {
    [pen.fillStyle] = shadeOf(shades, Math.sign(amount) * Math.sqrt(sizeOf(amount) / scale), 1);
    pen.fillRect((at % columns) * cell, Math.floor(at / columns) * cell, cell, cell);
  }
}
