// What the views of routes hand out: pictures, tables, data.

const routesCaption = ({ target, value, about }) => `${target} ${digits(Math.abs(Number(value)), 5)(Number(value))}; ${about}`;

function takenHeads(face, group) {
  const { data } = face;
  const rows = () => [
    [`# ${routesCaption(data)}`],
    ["head", "looks like", "part", "relevance", "handed", "size"],
    ...group.heads.map((head) =>
      [head.name, head.looks, head.part, head.relevance, head.handed, head.size].map((x) =>
        typeof x === "string" ? x : Number(x),
      ),
    ),
  ];
  return {
    name: `heads-${data.target}`,
    title: `${data.target}: what each head handed on`,
    fallback: () => rowsTable(rows()),
    caption: () => routesCaption(data),
    rows,
    readable: () => ({
      caption: routesCaption(data),
      state: face.model.get("state"),
      heads: group.heads.map((head) => plainHead(group, head)),
    }),
    with: "target, value, model and method",
  };
}

const plainHead = (group, { attention, head, looks, part, relevance, handed, size, edges }) => ({
  attention,
  head,
  looks,
  part,
  relevance,
  handed,
  size,
  edges: sparse(edges).map(([place, amount]) => [Math.floor(place / group.places[1]), place % group.places[1], amount]),
});

function rowsTable([[caption], ...rows]) {
  return make(
    "table",
    {},
    make("caption", {}, caption),
    rows.map((row) =>
      make(
        "tr",
        {},
        row.map((x) => make("td", {}, String(x))),
      ),
    ),
  );
}

// --- the graph ---------------------------------------------------------------------------------------------------------

function takenRoutes(face, group) {
  const { data } = face;
  const drawn = () => group.edges.slice(0, group.count(clamp(face.get("shown") ?? atFirst(group), 0, 100) / 100));
  const listed = ({ level, i, j, amount }) => [
    levelAt(group, level),
    i,
    nameIn(group.tokens, i),
    j,
    nameIn(group.others, j),
    amount,
  ];
  const rows = () => [[`# ${routesCaption(data)}`], ["layer", "at", "token", "to", "other", "amount"], ...drawn().map(listed)];
  return {
    name: `routes-${data.target}`,
    title: `${data.target}: which way relevance went`,
    fallback: () => rowsTable(rows()),
    caption: () => routesCaption(data),
    rows,
    readable: () => ({
      caption: routesCaption(data),
      state: face.model.get("state"),
      tokens: group.tokens.map(spelled),
      others: group.others.map(spelled),
      levels: group.levels.map(({ name, node, given, received, query, positions, kept, edges }) => ({
        name,
        node,
        given,
        received,
        query,
        positions,
        kept,
        edges: edges.map(({ i, j, amount }) => [i, j, amount]),
      })),
      heads: group.heads.map((head) => plainHead(group, head)),
    }),
    with: "target, value, model and method",
  };
}

const nameIn = (names, at) => spelled(names[at]);
