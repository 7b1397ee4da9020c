// Which way relevance went: a graph of places and layers, pruned by a slider; a place lights its way, an edge shows its heads, a
// head opens its matrix.

kinds.routes = (root, face) => {
  const draw = () => {
    const group = chosenGroup(face);
    clear(root, [
      routesHead(face.data),
      groupPick(face, () => {
        face.forget();
        draw();
      }),
      ...routesView(face, group),
      saving(face, takenRoutes(face, group)),
    ]);
    group.ready();
  };
  draw();
};

const GRAPH_IS =
  "From the answer above down to the words below. An edge is what the heads of a layer handed from one place to another, as wide " +
  "as it is much; grey is what stayed at its place. Choose a word, a place or an edge; arrow keys read places, Enter chooses, " +
  "Escape lets go.";

// How many edges stand there at first: as many as can be told apart.
const atFirst = (group) =>
  Math.min(Math.round(100 * group.carried(Math.max(24, Math.round(1.2 * Math.max(...group.places))))), 80);

function routesView(face, group) {
  const share = () => clamp(face.get("shown") ?? atFirst(group), 0, Math.floor(100 * group.last + 1e-6));
  const said = make("p", { class: "quiet drawn" });
  const read = spoken("readout quiet");
  const [panel, key] = [make("div"), legendOf(group.own)];
  const show = digits(group.most);
  const far = Math.max(1, Math.floor(100 * group.last + 1e-6));
  const track = dial("Show", { max: far, big: 10, value: share(), text: (x) => `${x} %` }, (shown) => face.set({ shown }));
  const pick = (spot) => {
    const again = same(spot, chosenSpot(face, group));
    face.set({ token: again ? -1 : spot.place, row: again ? null : spot.row, edge: null, head: null });
  };
  const pickEdge = (edge) => face.set({ edge: [edge.level, edge.i, edge.j], head: null });
  const clearAll = () => face.set({ token: -1, row: null, edge: null, head: null });
  const tell = (at) => {
    if (!at) return write(read, POINT_AT);
    return write(read, at.edge ? edgeTold(group, at.edge, show) : spotTold(group, at.spot));
  };
  const graph = graphOf(face, group, { pick, pickEdge, tell, clearAll });
  const prune = () => {
    track.show(share());
    const n = group.count(share() / 100);
    graph.show(n);
    if (graph.way) graph.light(graph.way, share() / 100);
    const part = reached(group, (edge) => sizeOf(edge.amount) >= sizeOf(group.edges[n - 1]?.amount ?? Infinity));
    const carries = `${n.toLocaleString("en")} ${n === 1 ? "edge carries" : "edges carry"} ${atLeast(group.carried(n))}`;
    const rest = part === null ? "" : ` Along what is drawn, grey included, ${atLeast(part)} of the answer reaches the words.`;
    write(said, `${carries} of what heads handed on.${rest}`);
    graph.node.firstChild.setAttribute("aria-label", graphTold(face, group, n, show));
  };
  const choose = () => {
    const [spot, edge] = [chosenSpot(face, group), chosenEdge(face, group)];
    graph.choose(spot);
    graph.light(spot && group.own ? wayThrough(group, spot) : null, share() / 100);
    clear(panel, edge ? edgePanel(face, group, edge, show) : spot ? spotPanel(face, group, spot, graph, share, pickEdge) : null);
    letGo.hidden = !spot && !edge;
  };
  const [opened, letGo] = [openedOf(face, group), action("Let go", clearAll)];
  face.on("shown", prune);
  ["token", "row", "edge"].forEach((name) => face.on(name, choose));
  group.ready = () => {
    graph.draw();
    prune();
    choose();
    opened.update();
    tell(null);
  };
  return [
    make(
      "section",
      { "aria-label": "Routes", class: "first" },
      make("div", { class: "controls" }, track.node, key, letGo),
      said,
      graph.node,
      read,
    ),
    panel,
    opened.node,
    section(
      "More",
      null,
      fold("how to read it", () => make("p", {}, GRAPH_IS)).node,
      fold("the largest edges, as a table", () => edgeTable(group, show)).node,
      fold("heads, as small matrices", () =>
        make(
          "div",
          {},
          make("p", { class: "quiet" }, HEADS_ARE),
          thumbsOf(face, group, (head) => face.set({ head: head.at })),
        ),
      ).node,
    ),
  ];
}

const atLeast = (part) => (part > 0 && part < 0.005 ? "under 1 %" : percent(part));
const POINT_AT = "Point at a place or an edge; choose a word to see its way, an edge to see its heads.";
const same = (a, b) => Boolean(a && b) && a.row === b.row && a.place === b.place;

function chosenSpot(face, group) {
  const place = face.get("token") ?? -1;
  const row = clamp(face.get("row") ?? 0, 0, group.levels.length);
  return place >= 0 && place < group.places[row > 0 || group.own ? 0 : 1] ? { row, place } : null;
}

function chosenEdge(face, group) {
  const [level, i, j] = face.get("edge") ?? [];
  return group.levels[level]?.edges.find((edge) => edge.i === i && edge.j === j) ?? null;
}

// --- in words ---------------------------------------------------------------------------------------------------------

const nameAt = (group, row, place) => `\u201c${spelled((row > 0 || group.own ? group.tokens : group.others)[place])}\u201d`;
const levelAt = (group, level) => group.levels[level].name;

function edgeTold(group, { level, i, j, amount }, show) {
  const ends = [nameAt(group, level + 1, i), nameAt(group, level, j)];
  return `${levelAt(group, level)}: ${ends[0]} at ${i} hands ${show(amount)} to ${ends[1]} at ${j}`;
}

function spotTold(group, { row, place }) {
  const amounts = rowAmounts(group, row);
  const where = row > 0 ? `after the attention of ${levelAt(group, row - 1)}` : "among the words";
  const facts = [`${place} ${nameAt(group, row, place)} ${where}: ${digits(largest(amounts))(amounts[place])}`];
  if (row > 0) {
    const { node, given } = group.levels[row - 1];
    const show = digits(largest(given, node?.skip ?? []));
    if (node) facts.push(`skipped on ${show(node.skip[place])}`);
    facts.push(`handed on ${show(given[place])}`);
  } else
    facts.push(`received ${digits(largest(group.levels[0].received))(group.levels[0].received[place])} in ${levelAt(group, 0)}`);
  return facts.join(GAP);
}

function graphTold(face, group, n, show) {
  const first = group.edges.slice(0, Math.min(n, 3)).map((edge) => edgeTold(group, edge, show));
  const size = `${group.tokens.length} places, ${group.levels.length} levels of attention, ${n} edges drawn`;
  return `routes: ${size}. The largest: ${first.join("; ") || "none"}. Arrow keys read places, Enter lights the way through one.`;
}

const legendOf = (own) =>
  make("span", { class: "keys" }, strokeOf("for"), " for", strokeOf("against"), " against", own && [strokeOf("stay"), " stayed"]);

const strokeOf = (kind) =>
  svg(
    "svg",
    { width: 26, height: 10, "aria-hidden": "true", class: "stroke" },
    svg("path", { class: kind, d: "M1 5H25", "stroke-width": 4 }),
  );

// --- what was chosen --------------------------------------------------------------------------------------------------

// A place: what it holds and where that goes, from whom it came, and which words its way leads to.
function spotPanel(face, group, spot, graph, share, pickEdge) {
  const [{ row, place }, { way }] = [spot, graph];
  const [below, above] = [row > 0 ? group.levels[row - 1] : null, group.levels[row]];
  const out = below ? below.edges.filter((edge) => edge.i === place) : [];
  const into = above && (group.own || row === 0) ? above.edges.filter((edge) => edge.j === place) : [];
  const where = row > 0 ? `After the attention of ${below.name}.` : "One of the words.";
  return section(
    `The way through ${nameAt(group, row, place)}`,
    `${where} Lit is what leads through it, as wide as its part: mixed in proportion to sizes, which draws ways and proves none.`,
    way && make("p", {}, wordsOfWay(group, spot, way)),
    below && group.own && exactWay(face, group, spot, (found) => graph.light(walkedWay(group, row, found.levels), share() / 100)),
    make(
      "div",
      { class: "columns" },
      below && make("div", {}, make("h3", {}, "What it holds goes"), accountOfSpot(below, place)),
      edgeList(group, "It hands on to", out, below?.rest[0][place], (edge) => nameAt(group, row - 1, edge.j), pickEdge),
      edgeList(
        group,
        above ? `It receives in ${above.name} from` : "",
        into,
        above?.rest[1][place],
        (edge) => nameAt(group, row + 1, edge.i),
        pickEdge,
      ),
    ),
  );
}

// The same by a walk of its own, where a kernel listens: what is lit then leads from the place down, and is exact.
function exactWay(face, group, { row, place }, then) {
  const { name } = group.levels[row - 1];
  return walkedOf(face, `exact ${name} place ${place}`, "this place", nameAt(group, row, place), then);
}

function wordsOfWay(group, { row, place }, { parts }) {
  const top = group.levels.length;
  const amounts = rowAmounts(group, 0);
  const reach = parts[0].map((part, t) => [t, part * amounts[t]]).sort(([, a], [, b]) => sizeOf(b) - sizeOf(a));
  const show = digits(largest(amounts));
  if (row > 0) {
    const named = reach
      .slice(0, 3)
      .filter(([, x]) => sizeOf(x) > 0)
      .map(([t, x]) => `${nameAt(group, 0, t)} ${show(x)}`);
    return `Down to the words it leads to ${named.join(", ") || "none"}.`;
  }
  const from = parts[top].map((part, t) => [t, part * rowAmounts(group, top)[t]]).sort(([, a], [, b]) => sizeOf(b) - sizeOf(a));
  const share = sizeOf(from[0][1]) / (total(from.map(([, x]) => sizeOf(x))) || 1);
  const much = share > 0.995 ? "all of it" : `${percent(share)} of it`;
  return `It holds ${show(amounts[place])}; ${much} came down from ${nameAt(group, top, from[0][0])}.`;
}

function accountOfSpot({ node, given, query, positions, kept }, place) {
  const parts = [
    ["handed on to places", given[place]],
    ["stayed, as the query's part", query[place]],
    ["positions", positions[place]],
    ["kept by the softmax", kept[place]],
  ];
  if (!node) return ledgerOf("what the heads hold", [...parts, ["heads", total(parts.map(([, x]) => x))]], 0).node;
  const rest = node.branch[place] - total(parts.map(([, x]) => x));
  const rows = [
    ["skipped on", node.skip[place]],
    ...parts,
    ["constants and the like", rest],
    ["this place", node.relevance[place]],
  ];
  return ledgerOf(
    "what it holds goes",
    rows.filter(([name, x], at) => at === rows.length - 1 || x !== 0 || name === "skipped on"),
    0,
  ).node;
}

function edgeList(group, title, edges, rest, named, pickEdge) {
  if (!title || !(edges.length || sizeOf(rest))) return null;
  const scale = edges.length ? largest(edges.map((edge) => edge.amount)) : sizeOf(rest);
  const show = digits(scale);
  const rows = edges.slice(0, 8).map((edge) =>
    make(
      "li",
      {},
      action(`${named(edge)} ${show(edge.amount)}`, () => pickEdge(edge), "edge"),
      bar(edge.amount, scale),
    ),
  );
  const left = total(edges.slice(8).map((edge) => edge.amount)) + rest;
  const more = Math.abs(left) > scale / 1000 ? make("li", { class: "quiet" }, `others ${show(left)}`) : null;
  return make("div", {}, make("h3", {}, title), make("ul", { class: "edgelist" }, rows, more));
}

// An edge: which heads it goes through.
function edgePanel(face, group, edge, show) {
  const { found, rest } = headsOf(group, edge);
  const scale = largest(found.map((one) => one.amount));
  const rows = found.slice(0, 12).map(({ head, amount }) =>
    make(
      "li",
      {},
      action(`${group.own ? `head ${head.head}` : head.name} ${show(amount)}`, () => face.set({ head: head.at }), "edge"),
      bar(amount, scale),
    ),
  );
  const left = rest + total(found.slice(12).map((one) => one.amount));
  const more = Math.abs(left) > scale / 1000 ? make("li", { class: "quiet" }, `other heads ${show(left)}`) : null;
  return section(
    `${levelAt(group, edge.level)}: ${nameAt(group, edge.level + 1, edge.i)} to ${nameAt(group, edge.level, edge.j)}`,
    `Handed on ${show(edge.amount)}, through these heads; each opens its matrix.`,
    make("ul", { class: "edgelist" }, rows, more),
  );
}

function edgeTable(group, show) {
  const cells = (kind, texts) =>
    texts.map((text, at) => make(kind, { class: at === 3 ? "number" : null, scope: kind === "th" ? "col" : null }, text));
  const rows = group.edges.slice(0, 40).map((edge) => {
    const [most] = headsOf(group, edge).found;
    const ends = [nameAt(group, edge.level + 1, edge.i), nameAt(group, edge.level, edge.j)];
    return make(
      "tr",
      {},
      cells("td", [
        levelAt(group, edge.level),
        ...ends,
        show(edge.amount),
        most ? `head ${most.head.head} ${show(most.amount)}` : "",
      ]),
    );
  });
  const top = make("tr", {}, cells("th", ["layer", "from", "to", "amount", "most of it through"]));
  return region("the largest edges", make("table", { class: "facts" }, make("thead", {}, top), make("tbody", {}, rows)));
}
