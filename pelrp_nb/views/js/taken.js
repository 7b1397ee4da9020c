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
    picture: (penOf) => headsPicture(face, group, penOf),
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

function headsPicture(face, group, penOf) {
  const [side, across, top, line] = [120, 6, 70, 176];
  const heads = [...group.heads].sort((a, b) => b.size - a.size).slice(0, 36);
  const pen = penOf(24 + across * 146, top + Math.ceil(heads.length / across) * line + 20);
  const [ink, ground] = [getComputedStyle(face.root).color, getComputedStyle(face.root).backgroundColor];
  const shades = palette(face.root);
  pen.text(24, 34, `${face.data.target}: what each head handed on`, 18, ink);
  pen.text(24, 54, routesCaption(face.data).slice(0, 140), 11, ink);
  heads.forEach((head, at) => {
    const [x, y] = [24 + (at % across) * 146, top + Math.floor(at / across) * line];
    const cells = sparse(head.edges);
    const [scale, cell] = [largest(cells.map(([, amount]) => amount)), side / Math.max(...group.places)];
    pen.box(x, y, cell * group.places[1], cell * group.places[0], shadeOf(shades, 0, 1)[0]);
    for (const [place, amount] of cells)
      pen.box(
        x + (place % group.places[1]) * cell,
        y + Math.floor(place / group.places[1]) * cell,
        cell,
        cell,
        shadeOf(shades, amount, scale)[0],
      );
    pen.text(x, y + side + 16, cutShort(head.name, 22), 11, ink);
    pen.text(x, y + side + 30, `${looking(head)}; ${partOfAll(group, head)}`, 9, ink);
  });
  return pen.done(ground);
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
    picture: (penOf) => routesPicture(face, group, drawn(), penOf),
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

function routesPicture(face, group, drawn, penOf, what = "which way relevance went") {
  const plan = laidOut(group, 900);
  const [edge, top] = [20, 64];
  const pen = penOf(plan.width + 2 * edge, plan.height + top + 40);
  const look = getComputedStyle(face.root);
  const colour = (name) => look.getPropertyValue(`--${name}`).trim();
  const moved = { ...plan, x: (row, place) => plan.x(row, place) + edge, y: (row) => plan.y(row) + top };
  pen.text(edge, 30, `${face.data.target}: ${what}`, 18, look.color);
  pen.text(edge, 50, routesCaption(face.data).slice(0, 130), 11, look.color);
  group.levels.forEach((level) => {
    level.stay.forEach((x, t) => {
      if (group.own && sizeOf(x) > group.most / 400)
        pen.line(
          straight(moved, { level: level.at, i: t }),
          colour("stay"),
          thickness(binOf(Math.min(sizeOf(x), group.most), group.most)),
          { alpha: 0.6 },
        );
    });
    pen.text(edge, (moved.y(level.at) + moved.y(level.at + 1)) / 2 + 4, cutShort(level.name, 12), 11, look.color);
  });
  [...drawn].reverse().forEach((one) => {
    const more = { alpha: 0.8, dash: one.amount < 0 ? "6 4" : "" };
    pen.line(wayOf(moved, one), colour(signOf(one.amount)), thickness(binOf(one.amount, group.most)), more);
  });
  plan.sides.forEach(({ shown, named, turned }, side) =>
    shown.forEach((name, t) => {
      if (!named.has(t) || (group.own && side === 0)) return;
      const [row, below] = side === 1 ? [0, true] : [1, false];
      const [x, y] = [moved.x(row, t), moved.y(row) + (below ? 18 : -8)];
      pen.text(
        x + (turned && below ? 4 : 0),
        y,
        name,
        11,
        look.color,
        turned ? (below ? "end" : "start") : "middle",
        turned ? -45 : 0,
      );
    }),
  );
  pen.text(
    edge,
    plan.height + top + 28,
    `${drawn.length} edges drawn, ${percent(group.carried(drawn.length))} of what heads handed on; dashed: against`,
    10,
    look.color,
  );
  return pen.done(look.backgroundColor);
}
