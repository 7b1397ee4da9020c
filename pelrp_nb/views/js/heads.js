// Heads: what each of them handed on, as small matrices with the pattern that they look like; each opens.

kinds.heads = (root, face) => {
  const draw = () => {
    const group = chosenGroup(face);
    const opened = openedOf(face, group);
    const choose = (head) => face.set({ head: face.get("head") === head.at ? null : head.at });
    const pick = groupPick(face, () => {
      face.forget();
      draw();
    });
    const tiles = section("Heads", HEADS_ARE, thumbsOf(face, group, choose));
    clear(root, [routesHead(face.data), pick, tiles, opened.node, saving(face, takenHeads(face, group))]);
    opened.update();
  };
  draw();
};

const HEADS_ARE =
  "A small matrix for each head: rows hand on, columns receive; the colours go with the square root, to the head's own largest. " +
  "What a head looks like is the pattern that has at least half of what it handed on here; on another text it may look otherwise.";

// Where a chosen head stands open; it comes into sight when it is chosen.
function openedOf(face, group) {
  const node = make("div");
  const update = () => {
    const head = group.heads[face.get("head") ?? -1];
    clear(node, head && headPanel(face, group, head));
  };
  face.on("head", () => {
    update();
    node.firstChild?.scrollIntoView({ block: "nearest" });
  });
  return { node, update };
}

function headPanel(face, group, head) {
  const show = digits(Math.max(head.size, Math.abs(head.handed)));
  const facts = `${looking(head)}; handed on ${show(head.handed)}, by size ${show(head.size).slice(1)}: ${partOfAll(group, head)}.`;
  return section(head.name, `Looks like: ${facts}`, exactOf(face, head), openHead(face, group, head));
}

// What passes through a head and nothing else, walked by a kernel when it is asked to: what each word carries of it.
const exactOf = (face, head) => walkedOf(face, `exact ${head.name}`, "this head", head.name);

// What passes through one part alone; `then` is told what was found.
function walkedOf(face, part, what, name, then = () => {}) {
  const there = part in (face.model.get("more") ?? {});
  if (!there && !(face.data.exact && face.model.get("asks"))) return null;
  const [said, place] = [spoken("quiet"), make("div")];
  const show = (found) => {
    if (!found?.streams) return clear(said, prose(found?.refused ?? "The kernel does not answer."));
    const rows = found.streams.map(([stream, tokens, box]) => ({ stream, tokens, values: numbers(box) }));
    const [scale, sum] = [largest(...rows.map((row) => row.values)), total(rows.flatMap((row) => row.values))];
    write(said, `Walked: ${digits(Math.max(scale, Math.abs(sum)))(sum)} reach the words through ${what} alone.`);
    clear(
      place,
      rows.map(({ stream, tokens, values }) => {
        const columns = columnsOf({ tokens });
        const strip = stripOf(face, `what ${stream || "each word"} carries of ${name}`, columns);
        strip.paint([{ values, scale }]);
        return strip.node;
      }),
    );
    return then(found);
  };
  const run = () => {
    write(said, "Walking.");
    face.more(part).then(show);
  };
  return make("div", { class: "exact" }, action(`Exact: walk through ${what} alone`, run), said, place);
}

// --- what both views of routes share ----------------------------------------------------------------------------------

function routesHead(data) {
  const value = Number(data.value);
  return make(
    "header",
    {},
    make("h1", {}, make("bdi", {}, data.target), " ", make("span", { class: "amount" }, digits(Math.abs(value), 5)(value))),
    make("p", { class: "quiet" }, data.about),
    make("p", {}, data.said),
    noted(data.notes),
  );
}

function chosenGroup(face) {
  face.parsed ??= new WeakMap();
  const one = face.data.groups[face.get("group") ?? 0] ?? face.data.groups[0];
  if (!face.parsed.has(one)) face.parsed.set(one, routesOf(one));
  return face.parsed.get(one);
}

// Of several streams: whose places.
function groupPick(face, changed) {
  const { groups } = face.data;
  if (groups.length < 2) return null;
  const box = select(
    "Between",
    groups.map((group, at) => [at, group.name || `attentions ${at + 1}`]),
    face.get("group") ?? 0,
    (group) => {
      face.set({ group, head: null, edge: null, token: -1 });
    },
  );
  face.on("group", changed);
  return make("div", { class: "controls" }, box.node);
}
