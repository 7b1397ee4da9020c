// Positions: which layer paid which token's place, over which wavelengths, for asking or for being asked, and what a shift changes.

kinds.xray = (root, face) => {
  const scene = sceneOf(face, face.data);
  root.append(head(face.data), ...[filters(scene), xray(scene)].filter(Boolean));
  scene.filtered();
};

const HALF = "For rotary positions, half of the query-key path goes to positions by construction: a convention, no measurement of the rotation.";

function xray(scene) {
  const { data } = scene;
  if (!data.sinks.length) return section("Positions", "No positions were found in this model: there is no sink.");
  const half = data.sinks.some((sink) => sink.kind === "rotary") ? ` ${HALF}` : "";
  const offers = (part) => data.offers?.includes(part);
  return section("Positions", `Where positions enter, and whose position was paid there.${half}`, sinkMap(scene),
    offers("query_key") || offers("heads") ? queryKey(scene) : null, offers("frequencies") ? spectrum(scene) : null, offers("pairs") ? pairs(scene) : null,
    data.dial ? make("section", { "aria-label": "Shift" }, make("h3", {}, "All positions shifted"), dialOf(scene.face, data.dial).node) : null,
    !data.offers?.length && make("p", { class: "quiet" }, "For queries against keys, heads and frequencies, type explain(..., options=Options(detail={\"query_key\", \"heads\", \"frequencies\"}))."));
}

function sinkMap(scene) {
  const [place, key] = [make("div"), legend()];
  const most = largest(...scene.sinks.map((sink) => sink.values));
  key.paint(most);
  const table = fold("as a table", () => grid(scene, scene.sinks, most, "positional relevance by sink and token"));
  scene.rebuild.push(() => {
    const map = heatOf(scene.face, "positional relevance, sinks by tokens", scene.columns);
    clear(place, map.node);
    map.paint(scene.sinks.map((sink) => ({ name: sink.name, values: scene.gather(sink.values) })), most);
    table.update();
  });
  return make("section", { "aria-label": "Sinks" }, make("div", { class: "controls" }, key.node), place, table.node);
}

// Rows by columns as a table of signed numbers.
function grid(scene, rows, scale, name) {
  const columns = scene.columns.slice(0, 120);
  const [show, sums] = [digits(scale), digits(largest(rows.map((row) => row.total)))];
  const top = make("tr", {}, make("td"), make("th", { scope: "col" }, "sum"), columns.map((column) => make("th", { scope: "col", title: column.name }, label(column.text))));
  const body = rows.map((row) => make("tr", {}, make("th", { scope: "row", title: row.name }, make("span", { class: "label" }, row.name)), make("td", { class: "sum" }, sums(row.total)),
    columns.map((column) => { const x = summed(row.values, column.ids); return make("td", { class: shade(x, scale) }, x === undefined ? "" : show(x)); })));
  return region(name, make("table", { class: "grid" }, make("thead", {}, top), make("tbody", {}, body)));
}

// --- queries against keys ---------------------------------------------------------------------------------------------

function queryKey(scene) {
  const { face, data } = scene;
  const [place, said] = [make("div"), make("p", { class: "quiet" })];
  const sinks = data.sinks.filter((sink) => sink.kind === "rotary");
  if (!sinks.length) return null;
  let [sink, head, strip] = [sinks[0].name, "all", null];
  const heads = make("span");
  const values = async () => {
    if (head === "all" && data.offers.includes("query_key")) return (await face.more("query_key"))?.[sink];
    return (await face.more("heads"))?.[sink];
  };
  const update = async () => {
    const found = await values();
    if (!found?.query || !strip) return;
    const rows = ["query", "key"].map((side) => {
      const all = unpacked(found[side]);
      if (!Array.isArray(all[0])) return all;
      if (head === "all") return all[0].map((_, t) => total(all.map((row) => row[t])));
      return all[Math.floor((Number(head) * all.length) / unpacked(found.query).length)]; // grouped queries share a key head
    });
    const scale = largest(...rows);
    strip.paint(rows.map((row) => ({ values: scene.gather(row), scale })));
    const show = digits(scale);
    write(said, `As a query ${show(total(rows[0]))}, as a key ${show(total(rows[1]))}: the totals of a layer are equal, only token by token they differ.`);
  };
  const pick = select("Sink", sinks.map((one) => [one.name, one.name]), sink, (name) => { sink = name; update(); });
  if (data.offers.includes("heads")) {
    face.more("heads").then((found) => {
      const count = found?.[sink]?.query?.shape?.[0] ?? found?.[sink]?.query?.length ?? 0;
      heads.append(select("Head", [["all", "all"], ...range(count).map((h) => [String(h), String(h)])], "all", (name) => { head = name; update(); }).node);
    });
  }
  scene.rebuild.push(() => { strip = stripOf(face, "queries and keys", scene.columns, ["query", "key"]); clear(place, strip.node); update(); });
  return make("section", { "aria-label": "Queries and keys" }, make("h3", {}, "Asking and being asked"),
    make("div", { class: "controls" }, pick.node, heads), place, said);
}

// --- frequencies ------------------------------------------------------------------------------------------------------

function spectrum(scene) {
  const { face, data } = scene;
  const drawing = make("div");
  const said = make("p", { class: "quiet" });
  const names = data.sinks.filter((sink) => sink.kind === "rotary").map((sink) => sink.name);
  if (!names.length) return null;
  let [sink, column] = [names[0], null];
  const update = async () => {
    const found = (await face.more("frequencies"))?.[sink];
    if (!found) return;
    const [relevance, waves] = [unpacked(found.relevance), unpacked(found.wavelength).map(Number)];
    const sum = (ids) => waves.map((_, f) => total(ids.map((t) => relevance[t][f])));
    const all = sum(range(relevance.length));
    const one = column && sum(column.ids);
    clear(drawing, bars(waves, all, one));
    const f = all.reduce((best, x, i) => (Math.abs(x) > Math.abs(all[best]) ? i : best), 0);
    write(said, `${column ? `${column.name}, drawn as a line, beside` : ""} ${column ? "all" : "All"} tokens together: most at a wavelength of ${wave(waves[f])} tokens, ${digits(largest(all))(all[f])}.`);
  };
  const pick = select("Sink", names.map((name) => [name, name]), sink, (name) => { sink = name; update(); });
  face.on("point", (next) => { column = next; update(); });
  update();
  return make("section", { "aria-label": "Frequencies" }, make("h3", {}, "Over which wavelengths"), make("div", { class: "controls" }, pick.node), drawing, said);
}

const wave = (x) => (Number.isFinite(x) ? (x < 100 ? x.toFixed(1) : x < 1000 ? x.toFixed(0) : `${(x / 1000).toFixed(x < 10_000 ? 1 : 0)}k`) : "never turning");

function bars(waves, values, line) {
  const [width, height, left, low] = [640, 190, 64, 36];
  const most = largest(values, line ?? []) || 1;
  const slot = (width - left - 10) / Math.max(1, waves.length);
  const y = (x) => (height - low) / 2 + 6 - (Number.isFinite(x) ? (x / most) * ((height - low) / 2 - 6) : 0);
  const show = digits(most, 3);
  const every = Math.ceil(34 / slot);
  const out = svg("svg", { viewBox: `0 0 ${width} ${height}`, class: "bars", role: "img",
    "aria-label": `spectrum: ${waves.map((w, i) => `wavelength ${wave(w)} ${show(values[i])}`).join(", ")}` });
  out.append(svg("line", { x1: left, x2: width - 10, y1: y(0), y2: y(0), class: "axis" }),
    ...[most, 0, -most].map((x) => svg("text", { x: left - 8, y: y(x) + 4, "text-anchor": "end", class: "quiet" }, x ? show(x) : "0")),
    svg("text", { x: width - 10, y: height - 2, "text-anchor": "end", class: "quiet" }, "wavelength in tokens"));
  values.forEach((x, i) => {
    out.append(svg("rect", { x: left + i * slot + slot * 0.12, width: slot * 0.76, y: Math.min(y(0), y(x)), height: Math.max(0.8, Math.abs(y(x) - y(0))), class: shade(x, most) }, svg("title", {}, `${wave(waves[i])}: ${show(x)}`)));
    if (i % every === 0) out.append(svg("text", { x: left + (i + 0.5) * slot, y: height - 18, "text-anchor": "middle", class: "quiet" }, Number.isFinite(waves[i]) ? wave(waves[i]) : "\u221e"));
  });
  if (line) out.append(svg("polyline", { class: "line", points: line.map((x, i) => `${(left + (i + 0.5) * slot).toFixed(1)},${y(x).toFixed(1)}`).join(" ") }));
  return out;
}

// --- pairs of tokens --------------------------------------------------------------------------------------------------

function pairs(scene) {
  const { face } = scene;
  const [place, said, picks] = [make("div"), make("p", { class: "quiet" }), make("div", { class: "controls" })];
  let [sink, head] = [null, "all"];
  const update = async () => {
    const all = await face.more("pairs");
    if (!all) return;
    sink ??= Object.keys(all)[0];
    const found = all[sink];
    if (!picks.childElementCount) {
      const heads = found.heads ? unpacked(found.heads).length : 0;
      picks.append(select("Sink", Object.keys(all).map((name) => [name, name]), sink, (name) => { sink = name; update(); }).node);
      if (heads) picks.append(select("Head", [["all", "all"], ...range(heads).map((h) => [String(h), String(h)])], "all", (name) => { head = name; update(); }).node);
    }
    const matrix = head === "all" ? unpacked(found.relevance) : unpacked(found.heads)[Number(head)];
    const map = heatOf(face, "bias paid for each pair, queries by keys", scene.columns);
    clear(place, map.node);
    map.paint(scene.columns.map((column) => ({ name: column.name, values: scene.gather(column.ids.map((t) => matrix[t]).reduce((a, b) => a.map((x, k) => x + b[k]))) })));
    write(said, found.written === "centred" ? "Rows are queries, columns keys. The bias is centred per row, since softmax ignores a constant of a row."
      : "Rows are queries, columns keys. The bias is written as a function of distance.");
  };
  scene.rebuild.push(update);
  return make("section", { "aria-label": "Pairs" }, make("h3", {}, "Which pairs"), picks, place, said);
}
