// The graph of routes: places from left to right, the words below and the answer above, an edge as wide as what was handed on.

const GRAPH = {
  left: 92,
  narrow: 62,
  right: 16,
  most: 112,
  full: 21,
  least: 2.5,
  low: 24,
  high: 78,
  tall: 440,
  thick: 8,
  spots: 240,
  bins: 14,
  chunk: 400,
};
const NEAR = 7; // pixels at which a place or an edge is under the pointer

// Where everything stands, for so many pixels.
function laidOut(group, width) {
  const left = width < 560 ? GRAPH.narrow : GRAPH.left;
  const rows = group.levels.length + 1;
  const band = group.own ? clamp(GRAPH.tall / group.levels.length, GRAPH.low, GRAPH.high) : 220;
  const sides = [group.tokens, group.others].map((names, side) => {
    const shown = names.map((name) => cutShort(spelled(name), width < 560 ? 9 : 14));
    return { ...columnsAt(shown, weights(group, side), width - left - GRAPH.right), shown };
  });
  const top = group.own ? 26 : sides[0].room + 14;
  const y = (row) => top + (rows - 1 - row) * band;
  const x = (row, place) => left + sides[row > 0 || group.own ? 0 : 1].x[place];
  const end = left + Math.max(...sides.map((side) => side.end)) + GRAPH.right;
  return {
    left,
    band,
    rows,
    sides,
    x,
    y,
    top,
    width: Math.min(width, end),
    height: y(0) + 14 + sides[1].room,
    narrow: width < 560,
  };
}

const cutShort = (text, most) => (text.length > most ? `${[...text].slice(0, most - 1).join("")}\u2026` : text);

// What decides which places get room for their names: all that they hand on and receive.
function weights({ levels, places, own }, side) {
  const sums = range(places[side]).map(() => 0);
  const add = (values) => values.forEach((x, t) => (sums[t] += sizeOf(x)));
  levels.forEach((level) => {
    if (own || side === 0) add(level.given);
    if (own || side === 1) add(level.received);
  });
  return sums;
}

// Places that take part stand wide enough to be named; of a long text the others move together, so that all of it stays in sight.
function columnsAt(names, weight, width) {
  const count = names.length;
  const wide = clamp(width / Math.max(1, count), 0, GRAPH.most);
  const least = Math.min(GRAPH.least, (0.4 * width) / count);
  const room = wide >= GRAPH.full ? count : Math.max(0, Math.floor((width - count * least) / (GRAPH.full - least)));
  const order = range(count).sort((a, b) => weight[b] - weight[a]);
  const named = new Set(order.slice(0, room));
  let at = 0;
  const x = names.map((_, t) => {
    const step = room === count ? wide : named.has(t) ? GRAPH.full : least;
    at += step;
    return at - step / 2;
  });
  const longest = Math.max(...names.map((name) => name.length), 1) * 6.9;
  const turned = longest > wide - 6 || room < count;
  return { x, named, turned, end: at, room: turned ? Math.min(74, 0.72 * longest + 10) : 20, wide };
}

const curve = (x0, y0, x1, y1) => {
  const [a, b, c, d, middle] = [x0, y0, x1, y1, (y0 + y1) / 2].map((z) => z.toFixed(1));
  return `M${a} ${b}C${a} ${middle} ${c} ${middle} ${c} ${d}`;
};
const wayOf = (plan, { level, i, j }) => curve(plan.x(level + 1, i), plan.y(level + 1), plan.x(level, j), plan.y(level));
const binOf = (amount, most) => clamp(Math.ceil(GRAPH.bins * Math.sqrt(most > 0 ? sizeOf(amount) / most : 0)), 1, GRAPH.bins);
const thickness = (bin) => Math.max(0.7, GRAPH.thick * (bin / GRAPH.bins) ** 2);
const signOf = (amount) => (amount < 0 ? "against" : "for");

function graphOf(face, group, { pick, pickEdge, tell, clearAll }) {
  const layers = ["stays", "edges", "lit", "spots", "names", "over"].map((kind) => [kind, svg("g", { class: kind })]);
  const parts = Object.fromEntries(layers);
  const node = svg("svg", { class: "routes", role: "img", tabindex: "0", ...QUIET }, Object.values(parts));
  const box = make("div", { class: "graph" }, node);
  const graph = { node: box, shown: 0, way: null, cursor: { row: 0, place: 0 }, at: null };
  let [plan, chunks, drawnAt] = [null, [], 0];
  const byLevel = group.levels.map((_, at) => group.edges.map((edge, n) => [edge, n]).filter(([edge]) => edge.level === at));

  // Neighbours in the order of sizes, alike in width, are one path: a move of the slider touches one of them.
  const cut = () => {
    chunks = [];
    group.edges.forEach((edge, n) => {
      const bin = binOf(edge.amount, group.most);
      let chunk = chunks.at(-1);
      if (!chunk || chunk.bin !== bin || n - chunk.from === GRAPH.chunk) {
        chunk = {
          from: n,
          to: n,
          bin,
          shown: -1,
          paths: ["for", "against"].map((sign) => svg("path", { class: sign, "stroke-width": thickness(bin) })),
        };
        chunks.push(chunk);
      }
      chunk.to = n + 1;
    });
    parts.edges.replaceChildren(...chunks.toReversed().flatMap(({ paths }) => paths));
  };
  const showEdges = () => {
    for (const chunk of chunks) {
      const many = clamp(graph.shown, chunk.from, chunk.to) - chunk.from;
      if (many === chunk.shown) continue;
      chunk.shown = many;
      const mine = group.edges.slice(chunk.from, chunk.from + many);
      chunk.paths.forEach((path, against) => {
        const drawn = mine.filter((edge) => edge.amount < 0 === Boolean(against)).map((edge) => (edge.d ??= wayOf(plan, edge)));
        path.setAttribute("d", drawn.join(""));
      });
    }
  };
  const draw = () => {
    drawnAt = box.clientWidth || 900;
    plan = laidOut(group, drawnAt);
    group.edges.forEach((edge) => (edge.d = null));
    const { width, height } = plan;
    for (const [name, value] of Object.entries({ viewBox: `0 0 ${width} ${height}`, width, height }))
      node.setAttribute(name, value);
    cut();
    showEdges();
    parts.stays.replaceChildren(...staying(group, plan));
    parts.spots.replaceChildren(...spots(group, plan));
    parts.names.replaceChildren(...axes(group, plan));
    graph.light(graph.way, graph.part);
    mark();
  };
  const mark = () => {
    const { at } = graph;
    const ring = (row, place, kind) => svg("circle", { class: kind, cx: plan.x(row, place), cy: plan.y(row), r: 9 });
    parts.over.replaceChildren(
      ...(at?.edge
        ? [
            svg("path", {
              class: `${signOf(at.edge.amount)} halo`,
              d: wayOf(plan, at.edge),
              "stroke-width": Math.max(3, thickness(binOf(at.edge.amount, group.most)) + 2),
            }),
          ]
        : []),
      ...(at?.spot ? [ring(at.spot.row, at.spot.place, "ring")] : []),
      ...(graph.chosen ? [ring(graph.chosen.row, graph.chosen.place, "ring chosen")] : []),
    );
  };
  // What of the way is drawn carries a part of it.
  graph.light = (way, part) => {
    Object.assign(graph, { way, part });
    parts.edges.classList.toggle("dim", Boolean(way));
    parts.spots.classList.toggle("dim", Boolean(way));
    const most = sizeOf(way?.lit[0]?.amount ?? 0);
    parts.lit.replaceChildren(
      ...(way ? largestOf(way.lit, part).reverse() : []).map((edge) =>
        svg("path", {
          class: edge.stays ? "stay" : signOf(edge.amount),
          d: edge.stays ? straight(plan, edge) : wayOf(plan, edge),
          "stroke-width": thickness(binOf(edge.amount, most)),
        }),
      ),
    );
  };
  graph.show = (n) => {
    graph.shown = n;
    showEdges();
  };
  graph.point = (at) => {
    graph.at = at;
    mark();
    tell(at);
  };
  graph.choose = (chosen) => {
    graph.chosen = chosen;
    if (chosen) graph.cursor = { ...chosen };
    mark();
  };
  graph.plan = () => plan;
  const under = (event) => {
    const frame = node.getBoundingClientRect();
    const scale = plan.width / (frame.width || 1);
    return nearest(group, plan, byLevel, graph, (event.clientX - frame.left) * scale, (event.clientY - frame.top) * scale);
  };
  node.addEventListener("mousemove", (event) => graph.point(under(event)));
  node.addEventListener("mouseleave", () => graph.point(null));
  node.addEventListener("click", (event) => {
    const at = under(event);
    if (at?.edge) pickEdge(at.edge);
    else if (at?.spot) pick(at.spot);
  });
  walkSpots(node, group, graph, pick, clearAll);
  face.on("point", (column) => {
    const place = column?.ids?.[0];
    if (place !== undefined && group.own && place < group.places[0] && graph.at?.spot?.place !== place) {
      graph.at = { spot: { row: 0, place } };
      mark();
    }
  });
  const watch = new ResizeObserver(
    () => box.clientWidth && Math.abs(box.clientWidth - drawnAt) > 1 && requestAnimationFrame(draw),
  );
  watch.observe(box);
  face.signal.addEventListener("abort", () => watch.disconnect());
  graph.draw = draw;
  return graph;
}

// The largest that carry a part of all of these, no more than can be told apart.
function largestOf(lit, part, most = 300) {
  const goal = part * total(lit.map((edge) => sizeOf(edge.amount)));
  let [sum, n] = [0, 0];
  while (n < Math.min(lit.length, most) && sum < goal) sum += sizeOf(lit[n++].amount);
  return lit.slice(0, n);
}

const straight = (plan, { level, i }) => `M${plan.x(level + 1, i).toFixed(1)} ${plan.y(level + 1)}V${plan.y(level)}`;

// What stays at its place, behind the edges: one path for each width.
function staying({ levels, most, own }, plan) {
  const bins = new Map();
  if (own)
    levels.forEach((level) =>
      level.stay.forEach((x, t) => {
        const bin = binOf(Math.min(sizeOf(x), most), most);
        if (sizeOf(x) > most / 400) bins.set(bin, (bins.get(bin) ?? "") + straight(plan, { level: level.at, i: t }));
      }),
    );
  return [...bins].map(([bin, d]) => svg("path", { class: "stay", d, "stroke-width": thickness(bin) }));
}

// The places that hold most, as large as what they hold; no more of them than can be told apart.
function spots(group, plan) {
  const rows = range(plan.rows).map((row) => rowAmounts(group, row).map((amount, place) => ({ row, place, amount })));
  const all = rows.flat().sort(bySize);
  const most = sizeOf(all[0]?.amount ?? 0);
  const shown = all.slice(0, GRAPH.spots).filter(({ amount }) => sizeOf(amount) > most / 60);
  return shown.map(({ row, place, amount }) => {
    const at = { cx: plan.x(row, place).toFixed(1), cy: plan.y(row), r: (7 * Math.sqrt(sizeOf(amount) / most)).toFixed(1) };
    return svg("circle", { class: signOf(amount), ...at });
  });
}

// The names of places, of layers, and which end is which.
function axes(group, plan) {
  const text = (x, y, words, more = {}) => svg("text", { x: x.toFixed(1), y: y.toFixed(1), ...more }, words);
  const named = (side, row, below) =>
    plan.sides[side].shown.flatMap((name, t) => {
      const { named: kept, turned, x } = plan.sides[side];
      if (!kept.has(t)) return [];
      const [at, y] = [plan.left + x[t], plan.y(row) + (below ? 20 : -12)];
      if (!turned) return [text(at, y, name, { "text-anchor": "middle", "data-place": t })];
      const [cx, cy] = below ? [at + 4, y - 4] : [at, y];
      const more = {
        "text-anchor": below ? "end" : "start",
        transform: `rotate(-45 ${cx.toFixed(1)} ${cy.toFixed(1)})`,
        "data-place": t,
      };
      return [text(cx, cy, name, more)];
    });
  const layer = group.levels.map((level) =>
    text(
      plan.left - (plan.narrow ? 10 : 22),
      (plan.y(level.at) + plan.y(level.at + 1)) / 2 + 4,
      cutShort(level.name, plan.narrow ? 8 : 12),
      { "text-anchor": "end", class: "quiet" },
    ),
  );
  const ends = [
    [plan.rows - 1, "the answer"],
    [0, "the words"],
  ].map(([row, words]) => text(0, plan.y(row) + (row ? -6 : 14), words, { class: "quiet end" }));
  return [
    ...named(1, 0, true),
    ...(group.own ? [] : named(0, 1, false)),
    ...(group.own ? layer : []),
    ...(plan.narrow || !group.own ? [] : ends),
  ];
}

// What is at a point of the drawing: a place, or the largest drawn edge that runs by.
function nearest(group, plan, byLevel, graph, px, py) {
  const column = (row) => {
    const xs = range(group.places[row > 0 || group.own ? 0 : 1]).map((t) => plan.x(row, t));
    return xs.reduce((best, x, t) => (Math.abs(x - px) < Math.abs(xs[best] - px) ? t : best), 0);
  };
  const row = clamp(Math.round(plan.rows - 1 - (py - plan.top) / plan.band), 0, plan.rows - 1);
  const place = column(row);
  if (py > plan.y(0) + NEAR) return { spot: { row: 0, place: column(0) } };
  if (Math.hypot(plan.x(row, place) - px, plan.y(row) - py) <= NEAR + 1) return { spot: { row, place } };
  const level = Math.floor(plan.rows - 1 - (py - plan.top) / plan.band);
  if (!byLevel[level]) return null;
  const down = clamp((py - plan.y(level + 1)) / plan.band, 0, 1);
  const across = alongCurve(down);
  const far = ([{ i, j }]) => Math.abs(plan.x(level + 1, i) + across * (plan.x(level, j) - plan.x(level + 1, i)) - px);
  const close = byLevel[level].filter(([edge, n]) => n < graph.shown && far([edge]) <= NEAR);
  if (close.length) return { edge: close.reduce((best, one) => (far(one) + 0.5 < far(best) ? one : best))[0] };
  return null;
}

// How far across an edge is where it is so far down: both ends are upright.
function alongCurve(down) {
  let [low, high] = [0, 1];
  for (let n = 0; n < 24; n++) {
    const t = (low + high) / 2;
    const y = 1.5 * t * (1 - t) ** 2 + 1.5 * t * t * (1 - t) + t ** 3;
    if (y < down) low = t;
    else high = t;
  }
  return 3 * low * low - 2 * low ** 3;
}

// Arrow keys go from place to place and from row to row; Enter chooses one, Escape lets all go.
function walkSpots(node, group, graph, pick, clearAll) {
  node.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const { row, place } = graph.cursor;
    const last = (at) => group.places[at > 0 || group.own ? 0 : 1] - 1;
    const to = {
      ArrowLeft: [row, place - 1],
      ArrowRight: [row, place + 1],
      ArrowUp: [row + 1, place],
      ArrowDown: [row - 1, place],
      Home: [row, 0],
      End: [row, Infinity],
    }[event.key];
    if (!to && !["Enter", " ", "Escape"].includes(event.key)) return;
    event.preventDefault();
    event.stopPropagation();
    if (event.key === "Escape") return clearAll();
    if (!to) return pick(graph.cursor);
    const next = clamp(to[0], 0, graph.plan().rows - 1);
    graph.cursor = { row: next, place: clamp(to[1], 0, last(next)) };
    graph.point({ spot: graph.cursor });
  });
}
