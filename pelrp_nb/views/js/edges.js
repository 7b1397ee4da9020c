// Routes as a view reads them: edges by size, how much of the answer some of them carry, and the way through one token.
// Rows of places lie between levels: row 0 under the first, row r above level r - 1; an edge of level l leads from row l + 1 down.

// Places and amounts as Python packed them: [[place, amount], ...].
function sparse({ wide, at, amount }) {
  const bytes =
    typeof at === "string"
      ? Uint8Array.from(atob(at), (c) => c.charCodeAt(0))
      : new Uint8Array(at.buffer, at.byteOffset, at.byteLength);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  return unpacked(amount).map((x, n) => [wide === 2 ? view.getUint16(2 * n, true) : view.getUint32(4 * n, true), x]);
}

const bySize = (a, b) => Math.abs(b.amount) - Math.abs(a.amount);
const sizeOf = (x) => (Number.isFinite(x) ? Math.abs(x) : 0);

// A group of attentions between the same places, its numbers parsed once.
function routesOf(group) {
  const others = group.others ?? group.tokens;
  const levels = group.levels.map((level, at) => levelOf(level, at, others.length));
  const edges = levels.flatMap((level) => level.edges).sort(bySize);
  const whole = total(levels.map((level) => level.size)) || 1;
  let sum = 0;
  const carried = edges.map((edge) => (sum += sizeOf(edge.amount)) / whole);
  const heads = group.heads.map((head, at) => ({
    ...head,
    at,
    size: Number(head.size),
    name: `${head.attention} head ${head.head}`,
  }));
  return {
    ...group,
    others,
    levels,
    edges,
    heads,
    places: [group.tokens.length, others.length],
    whole: total(heads.map((head) => head.size)) || 1,
    most: sizeOf(edges[0]?.amount ?? 0),
    last: carried.at(-1) ?? 0,
    carried: (n) => (n > 0 ? (carried[Math.min(n, carried.length) - 1] ?? 0) : 0),
    // How many of the largest edges carry a share of all.
    count(share) {
      let [low, high] = [0, edges.length];
      while (low < high) {
        const middle = (low + high) >> 1;
        if (carried[middle] < share - 1e-9) low = middle + 1;
        else high = middle;
      }
      return share > 0 ? Math.min(low + 1, edges.length) : 0;
    },
  };
}

function levelOf(level, at, wide) {
  const parts = Object.fromEntries(
    ["given", "received", "query", "positions", "kept"].map((name) => [name, numbers(level[name])]),
  );
  const node = level.node && Object.fromEntries(Object.entries(level.node).map(([name, values]) => [name, numbers(values)]));
  const edges = sparse(level.edges).map(([place, amount]) => ({
    level: at,
    i: Math.floor(place / wide),
    j: place % wide,
    amount,
  }));
  edges.sort(bySize);
  const stay = parts.query.map((x, t) => x + (node ? node.skip[t] : 0));
  const [out, into] = [stay.map(sizeOf), range(wide).map((j) => sizeOf(stay[j] ?? 0))];
  const rest = [[...parts.given], [...parts.received]];
  for (const { i, j, amount } of edges) {
    out[i] += sizeOf(amount);
    into[j] += sizeOf(amount);
    rest[0][i] -= amount;
    rest[1][j] -= amount;
  }
  rest[0].forEach((x, i) => (out[i] += sizeOf(x)));
  rest[1].forEach((x, j) => (into[j] += sizeOf(x)));
  return { ...level, ...parts, at, node, edges, stay, out, into, rest, size: Number(level.size) };
}

// The relevance at each place of a row.
function rowAmounts({ levels }, row) {
  if (row > 0) return levels[row - 1].node?.relevance ?? levels[row - 1].given;
  return levels[0].received.map((x, t) => x + (levels[0].stay[t] ?? 0));
}

// Which part of the answer reaches the words along what is drawn: `among(edge)` says which edges are.  In proportion to sizes.
function reached({ levels, own, places }, among) {
  if (!own) return null;
  let part = range(places[0]).map(() => 1);
  for (const level of [...levels].reverse()) part = passedDown(level, part, among);
  const sizes = levels[0].into;
  return total(part.map((x, t) => x * sizes[t])) / (total(sizes) || 1);
}

function passedDown(level, part, among) {
  const next = part.map((x, t) => x * sizeOf(level.stay[t]));
  for (const edge of level.edges) if (among(edge)) next[edge.j] += part[edge.i] * sizeOf(edge.amount);
  return next.map((x, t) => (level.into[t] > 0 ? x / level.into[t] : part[t]));
}

// The way through one place of a row, up to the answer and down to the words: the part of each edge, and of what stays, that leads
// through it, in proportion to sizes; the largest first.
function wayThrough(group, { row, place }) {
  const [lit, parts] = [[], { [row]: range(group.places[0]).map((t) => Number(t === place)) }];
  const walk = (level, from, to, side) => {
    const [part, sizes] = [parts[from], level[side]];
    const next = part.map((x, t) => x * sizeOf(level.stay[t]));
    part.forEach((x, t) => x > 0.001 && lit.push({ level: level.at, i: t, j: t, stays: true, amount: x * level.stay[t] }));
    for (const edge of level.edges) {
      const [here, there] = side === "into" ? [edge.i, edge.j] : [edge.j, edge.i];
      const amount = part[here] * edge.amount;
      if (amount) lit.push({ ...edge, amount });
      next[there] += sizeOf(amount);
    }
    parts[to] = next.map((x, t) => (sizes[t] > 0 ? x / sizes[t] : part[t]));
  };
  for (let at = row - 1; at >= 0; at--) walk(group.levels[at], at + 1, at, "into");
  for (let at = row; at < group.levels.length; at++) walk(group.levels[at], at, at + 1, "out");
  return { lit: lit.sort(bySize), parts };
}

// The way down from a place as a walk through it alone found it: by level what was handed on, and what stayed.
function walkedWay({ levels, others }, row, found) {
  const lit = levels.slice(0, row).flatMap(({ name, at }) => {
    if (!found[name]) return [];
    const { edges, stay } = levelOf(found[name], at, others.length);
    return [...edges, ...stay.map((amount, t) => ({ level: at, i: t, j: t, stays: true, amount })).filter(({ amount }) => amount)];
  });
  return { lit: lit.sort(bySize) };
}

// The heads of one edge, the largest first, and what others have of it.
function headsOf(group, { level, i, j, amount }) {
  const place = i * group.places[1] + j;
  const found = group.heads
    .filter((head) => head.level === level)
    .map((head) => ({ head, amount: (head.cells ??= new Map(sparse(head.edges))).get(place) ?? 0 }))
    .filter((one) => one.amount);
  return { found: found.sort(bySize), rest: amount - total(found.map((one) => one.amount)) };
}
