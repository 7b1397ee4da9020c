// Many results as small multiples: a tile for each, sorted and filtered in the page; a tile opens as the card of its result.

const TILES = 24; // drawn at first, and more of them with each press
const [LONG_TEXT, LEAD] = [40, 12]; // words from which a tile shows a part, and of these how many stand before the strongest

// The largest first, what is no number last.
const falling = (of) => (one, other) => {
  const [x, y] = [of(one), of(other)];
  return y > x ? 1 : y < x ? -1 : Number.isNaN(x) - Number.isNaN(y);
};
const SCALED = { all: "by all results", own: "each by its own largest" };
const ORDERS = {
  given: ["as they came", () => 0],
  value: ["value", falling((one) => one.value)],
  label: ["label", (one, other) => one.target.localeCompare(other.target)],
  length: ["length of the text", falling((one) => one.length)],
  share: ["share of positions", falling((one) => (one.sinks.length ? one.share : -1))],
};

kinds.several = (root, face) => {
  const { data } = face;
  const all = data.items.map(readAs);
  const positioned = all.some(({ sinks }) => sinks.length > 0);
  const state = {
    part: () => (positioned && PARTS[face.get("part")] ? face.get("part") : "both"),
    sort: () => (face.get("sort") in ORDERS ? face.get("sort") : "given"),
    own: () => face.get("colour") === "own",
    count: () => face.get("count") ?? TILES,
  };
  const most = largest(all.map((one) => one.most));
  const tiles = new Map(); // result -> its tile, made when it is first seen
  const tileFor = (one) => {
    if (!tiles.has(one)) tiles.set(one, resultTile(face, one, data.called));
    return tiles.get(one);
  };
  const [list, said, key] = [make("ol", { class: "tiles", "aria-label": "results" }), spoken("quiet"), legend()];
  walkByArrows(list);
  const controls = {
    sort: select(
      "Sort by",
      Object.entries(ORDERS).map(([name, [text]]) => [name, text]),
      state.sort(),
      (sort) => face.set({ sort }),
    ),
    turned: toggle("the other way round", face.get("turned"), (turned) => face.set({ turned })),
    part: choice("Show", Object.entries(PARTS), state.part(), (part) => face.set({ part })),
    colour: choice("Colour", Object.entries(SCALED), state.own() ? "own" : "all", (colour) => face.set({ colour })),
  };
  const hint = "Filter by text or label";
  const finder = make("input", { type: "search", "aria-label": hint, placeholder: hint, ...QUIET });
  finder.value = face.get("find") ?? "";
  finder.addEventListener("input", () => face.set({ find: finder.value, count: TILES }));
  const more = action("", () => face.set({ count: state.count() + 4 * TILES }));
  let shown = [];
  const paint = () => {
    controls.part.show(state.part());
    controls.colour.show(state.own() ? "own" : "all");
    key.node.hidden = state.own();
    key.paint(most);
    shown.forEach((one) => tileFor(one).paint(state.part(), state.own() ? one.most : most));
  };
  const draw = () => {
    const wanted = (face.get("find") ?? "").trim().toLowerCase();
    const found = all.filter(({ searched }) => searched.includes(wanted)).sort(ORDERS[state.sort()][1]);
    if (face.get("turned")) found.reverse();
    shown = found.slice(0, state.count());
    controls.sort.show(state.sort());
    controls.turned.show(face.get("turned"));
    if (finder.value !== (face.get("find") ?? "")) finder.value = face.get("find") ?? "";
    clear(list, shown.map((one) => tileFor(one).node));
    shown.forEach((one, i) => tileFor(one).reach(i === 0));
    const left = found.length - shown.length;
    more.hidden = left <= 0;
    write(more, `Show ${Math.min(left, 4 * TILES).toLocaleString("en")} more`);
    const counted = `${found.length.toLocaleString("en")} of ${all.length.toLocaleString("en")} results`;
    const drawn = left > 0 ? ` The first ${shown.length} are drawn.` : "";
    write(said, wanted ? `${counted} hold \u201c${wanted}\u201d in their text or label.${drawn}` : drawn.trim());
    paint();
  };
  const open = () => tiles.forEach((tile, one) => tile.open(face.get("open") === one.at));
  root.append(
    make("header", {}, make("h1", {}, data.title), data.facts && make("p", { class: "quiet" }, data.facts)),
    make("div", { class: "controls" }, make("label", { class: "find" }, finder), controls.sort.node, controls.turned.node),
    make("div", { class: "controls" }, positioned && controls.part.node, controls.colour.node, key.node),
    said,
    list,
    make("div", { class: "controls" }, more),
    ...[...data.skipped, data.left].filter(Boolean).map((note) => make("p", { class: "note" }, note)),
    savingShown(face, "explanations"),
  );
  ["find", "sort", "turned", "count"].forEach((name) => face.on(name, draw));
  ["part", "colour", "theme"].forEach((name) => face.on(name, paint));
  face.on("open", open);
  draw();
  open();
};

// A result as its card reads it, and what it is sorted and found by.
function readAs(item) {
  const whole = ({ tokens, content, position }) => {
    const parts = { content: numbers(content), position: numbers(position) };
    parts.both = parts.content.map((x, t) => x + parts.position[t]);
    return { tokens, parts: { signed: parts } };
  };
  const streams = Object.fromEntries(Object.entries(item.streams).map(([name, stream]) => [name, whole(stream)]));
  const one = { ...item, ...(item.tokens ? whole(item) : {}), streams, value: Number(item.value), share: Number(item.share) };
  one.strips = item.reading.streams.map((stream) => {
    const { tokens, parts } = streams[stream.name] ?? one;
    const words = stream.kind === "picture" ? range(tokens.length - stream.grid[2], stream.grid[2]) : stream.words;
    const ids = words.map((word) => (typeof word === "number" ? [word] : word.ids));
    const sum = ([part, values]) => [part, ids.map((own) => summed(values, own))];
    const sums = Object.fromEntries(Object.entries(parts.signed).map(sum));
    const texts = words.map((word, i) => spelled(word.text ?? tokens[ids[i][0]]));
    const before = words.map((word, i) => (i ? (word.before ?? " ") : ""));
    return { ...stream, ...sums, texts, before, special: words.map((word) => Boolean(word.special)) };
  });
  one.most = largest(...one.strips.map(({ both }) => both));
  one.length = total(one.strips.map(({ special }) => special.filter((on) => !on).length));
  one.text = one.strips.map(({ texts, before }) => texts.map((text, i) => before[i] + text).join("")).join(" ");
  one.searched = `${one.text} ${one.target}`.toLowerCase();
  return one;
}

// One tile: a button that opens the card under it.
function resultTile(face, one, called) {
  const shown = one.strips.map((strip) => (strip.kind === "picture" ? tilePicture(face, strip) : tileText(strip)));
  const sound = one.strips.some(({ kind }) => kind !== "text");
  const count = sound ? "" : `${one.length.toLocaleString("en")} ${one.length === 1 ? "word" : "words"}`;
  const told = [count, one.sinks.length > 0 && `positions ${percent(one.share)}`, ...one.apart].filter(Boolean).join(" \u00b7 ");
  const { verdict } = one.ledger;
  const button = make(
    "button",
    { type: "button", class: "tile", "aria-expanded": "false", tabindex: "-1", ...QUIET },
    make(
      "span",
      { class: "tileline" },
      make("span", { class: "quiet" }, `${called}${one.at}`),
      make("b", { dir: "auto" }, one.target),
      make("span", {}, one.shown),
    ),
    shown.map((strip) => strip.node),
    make(
      "span",
      { class: "tileline quiet" },
      make("span", {}, told),
      make("span", { class: toneOf(verdict) }, `${markOf(verdict)}${verdict}`),
    ),
  );
  const place = make("div", { class: "openedcard" });
  const node = make("li", {}, button, place);
  button.addEventListener("click", () => face.set({ open: face.get("open") === one.at ? null : one.at }));
  return {
    node,
    reach(first) {
      button.tabIndex = first ? 0 : -1;
    },
    paint: (part, scale) => shown.forEach((strip) => strip.paint(part, scale)),
    open(on) {
      if (on === (button.getAttribute("aria-expanded") === "true")) return;
      button.setAttribute("aria-expanded", String(on));
      node.classList.toggle("wide", on);
      face.within(one, () => clear(place, on && resultCard(Object.create(face, { data: { value: one } }))));
    },
  };
}

// Of a long text the part about its strongest word; sound as its stretches.
function tileText(strip) {
  const { texts, before, both, kind, special } = strip;
  const sizes = both.map((x) => (Number.isFinite(x) ? Math.abs(x) : 0));
  const long = kind === "text" && texts.length > LONG_TEXT;
  const from = long ? clamp(sizes.indexOf(Math.max(...sizes)) - LEAD, 0, texts.length - LONG_TEXT) : 0;
  const seen = range(long ? LONG_TEXT : texts.length, from);
  const spans = seen.map((i) => ({ i, span: make("span", { class: special[i] ? "mark" : null }, texts[i]) }));
  if (kind === "sound") spans.forEach(({ span }) => clear(span));
  const words = spans.flatMap(({ i, span }) => [i > from ? before[i] : from ? "\u2026 " : "", span]);
  const end = from + spans.length < texts.length ? " \u2026" : "";
  const look = { class: kind === "sound" ? "timeline" : "running", dir: strip.turned ? "rtl" : "ltr" };
  return {
    node: make("span", look, words, end),
    paint: (part, scale) => spans.forEach(({ i, span }) => repaint(span, shade(strip[part][i], scale).replace(/^p0$/, ""))),
  };
}

function tilePicture(face, strip) {
  const [rows, columns] = strip.grid;
  const canvas = make("canvas", { class: "pane", width: columns, height: rows, "aria-hidden": "true" });
  canvas.style.width = `${Math.min(200, Math.round((90 * columns) / rows))}px`;
  return {
    node: canvas,
    paint(part, scale) {
      const [pen, shades] = [canvas.getContext("2d"), palette(face.root)];
      strip[part].forEach((x, t) => {
        [pen.fillStyle] = shadeOf(shades, x, scale);
        pen.fillRect(t % columns, Math.floor(t / columns), 1, 1);
      });
    },
  };
}
