// A circuit: the messages from word to word that carry what two runs differ in, and nothing else; a place shows what it reads, who
// reads it, a message the heads that it goes through.

kinds.circuit = (root, face) => {
  const draw = () => {
    const group = chosenGroup(face);
    const pick = groupPick(face, () => {
      face.forget();
      draw();
    });
    clear(root, [routesHead(face.data), pick, ...circuitView(face, group), saving(face, takenCircuit(face, group))]);
    group.ready();
  };
  draw();
};

const CIRCUIT_IS =
  "The words below, the answer above; a line leads from the place that is read up to the place that reads it, " +
  "as wide as the answer would change without it. " +
  "Choose a place or a line; arrow keys read places, Enter chooses, Escape lets go.";

function circuitView(face, group) {
  const [panel, read, show] = [make("div"), spoken("readout quiet"), digits(group.most)];
  const clearAll = () => face.set({ token: -1, row: null, edge: null });
  const pick = (spot) => {
    const again = same(spot, chosenSpot(face, group));
    face.set({ token: again ? -1 : spot.place, row: again ? null : spot.row, edge: null });
  };
  const pickEdge = ({ level, i, j }) => face.set({ edge: [level, i, j] });
  const tell = (at) =>
    write(read, at?.edge ? messageTold(group, at.edge, show) : at?.spot ? placeTold(group, at.spot) : CIRCUIT_IS);
  const graph = graphOf(face, group, { pick, pickEdge, tell, clearAll });
  const letGo = action("Let go", clearAll);
  const choose = () => {
    const [spot, edge] = [chosenSpot(face, group), chosenEdge(face, group)];
    const lit = edge ? [edge] : spot ? [...readBy(group, spot), ...readers(group, spot)].sort(bySize) : null;
    graph.choose(spot);
    graph.light(lit && { lit }, 1);
    clear(panel, edge ? messagePanel(group, edge, show) : spot ? placePanel(group, spot, pickEdge) : null);
    letGo.hidden = !lit;
  };
  ["token", "row", "edge"].forEach((name) => face.on(name, choose));
  group.ready = () => {
    graph.draw();
    graph.show(group.edges.length);
    const first = group.edges.slice(0, 3).map((edge) => messageTold(group, edge, show));
    const size = `${group.tokens.length} places, ${group.levels.length} levels of attention, ${group.edges.length} messages`;
    const named = first.join("; ") || "none";
    const told = `circuit: ${size}. The largest: ${named}. Arrow keys read places, Enter shows what one reads.`;
    graph.node.firstChild.setAttribute("aria-label", told);
    choose();
    tell(null);
  };
  const table = section("All messages", null, messageTable(group, show));
  const controls = make("div", { class: "controls" }, circuitKey(), letGo);
  const chart = make("section", { "aria-label": "Circuit", class: "first losing" }, controls, graph.node, read);
  return [chart, panel, table];
}

// What a place reads in the attention below it, and who reads it in the one above.
const readBy = ({ levels }, { row, place }) => (row > 0 ? levels[row - 1].edges.filter(({ i }) => i === place) : []);
const readers = ({ levels, own }, { row, place }) =>
  own || row === 0 ? (levels[row]?.edges ?? []).filter(({ j }) => j === place) : [];

const messageTold = (group, { level, i, j, amount }, show) =>
  `${levelAt(group, level)}: ${nameAt(group, level + 1, i)} at ${i} reads ` +
  `${nameAt(group, level, j)} at ${j}; without it ${show(amount)}`;

function placeTold(group, spot) {
  const where = spot.row > 0 ? `after the attention of ${levelAt(group, spot.row - 1)}` : "among the words";
  const counts = `reads ${readBy(group, spot).length}, is read by ${readers(group, spot).length}`;
  return `${spot.place} ${nameAt(group, spot.row, spot.place)} ${where}: ${counts}`;
}

function placePanel(group, spot, pickEdge) {
  const { row } = spot;
  const reads = edgeList(group, "It reads", readBy(group, spot), 0, (edge) => nameAt(group, row - 1, edge.j), pickEdge);
  const read = edgeList(group, "It is read by", readers(group, spot), 0, (edge) => nameAt(group, row + 1, edge.i), pickEdge);
  const none = reads || read ? null : make("p", {}, "No message of the circuit comes or goes here.");
  return section(nameAt(group, row, spot.place), null, make("div", { class: "columns" }, reads, read, none));
}

function messagePanel(group, edge, show) {
  const { found } = headsOf(group, edge);
  const scale = largest(found.map(({ amount }) => amount));
  const rows = found.map(({ head, amount }) =>
    make("li", {}, make("span", {}, `${head.name} ${show(amount)}`), bar(amount, scale)),
  );
  return section(messageTold(group, edge, show), "Through these heads.", make("ul", { class: "edgelist" }, rows));
}

const messagesOf = (group) =>
  group.heads
    .flatMap((head) => sparse(head.edges).map(([place, amount]) => ({ head, place, amount })))
    .sort(bySize)
    .map(({ head, place, amount }) => {
      const [i, j] = [Math.floor(place / group.places[1]), place % group.places[1]];
      return [head.attention, head.head, i, nameIn(group.tokens, i), j, nameIn(group.others, j), amount];
    });

const MESSAGE = ["layer", "head", "at", "token", "reads", "other", "without it"];

function messageTable(group, show) {
  const row = (kind, texts) =>
    make(
      "tr",
      {},
      texts.map((text, at) => make(kind, { class: at === 3 ? "number" : null, scope: kind === "th" ? "col" : null }, text)),
    );
  const told = ([layer, head, at, token, source, other, amount]) =>
    row("td", [`${layer} head ${head}`, `${token} at ${at}`, `${other} at ${source}`, show(amount)]);
  const head = make("thead", {}, row("th", ["head", "place", "reads", "without it"]));
  return region("all messages", make("table", { class: "facts messages" }, head, make("tbody", {}, messagesOf(group).map(told))));
}

// A number is what the answer would change by: what it would lose is drawn as what speaks for it.
const circuitKey = () =>
  make("span", { class: "keys" }, strokeOf("against"), " the answer would lose it", strokeOf("for"), " it would gain");

function takenCircuit(face, group) {
  const { data } = face;
  const rows = () => [[`# ${routesCaption(data)}`], MESSAGE, ...messagesOf(group)];
  return {
    name: `circuit-${data.target}`,
    title: `${data.target}: a circuit`,
    fallback: () => rowsTable(rows()),
    caption: () => routesCaption(data),
    rows,
    readable: () => ({
      caption: routesCaption(data),
      state: face.model.get("state"),
      columns: MESSAGE,
      messages: messagesOf(group),
    }),
    with: "target, value and what is left",
  };
}
