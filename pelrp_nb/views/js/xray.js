// Positions: what each token's place received in each layer, over which wavelengths, as query or key, and what a shift changes.

kinds.xray = (root, face) => {
  const scene = sceneOf(face, face.data);
  const first = face.data.dial ? shiftOf(face, face.data.dial) : [head(face.data)];
  root.append(...first, ...[filters(scene), xray(scene), exporter(scene)].filter(Boolean));
  scene.filtered();
};

const HALF =
  "For rotary positions, half of the query-key path goes to positions by construction: " +
  "a convention, no measurement of the rotation and no evidence of what a position is worth. " +
  "Type exchange(model, inputs) for that.";
const WORTH = "What a position is worth is told by exchange(model, inputs).";
const ASK = 'For queries against keys, heads and frequencies, type Options(detail={"query_key", "heads", "frequencies"}).';

function xray(scene) {
  const { data } = scene;
  if (!data.sinks.length) return section("Positions", `There is no sink: ${data.unbooked}.`);
  const half = data.conventional ? ` ${HALF}` : data.exchange ? "" : ` ${WORTH}`;
  const offers = (part) => data.offers?.includes(part);
  return section(
    "Positions",
    `A row for each place where positions enter the model: what the position of each token received there.${half}`,
    sinkMap(scene),
    offers("query_key") || offers("heads") ? queryKey(scene) : null,
    offers("frequencies") ? spectrum(scene) : null,
    offers("pairs") ? pairs(scene) : null,
    data.exchange
      ? make(
          "section",
          { "aria-label": "Exchange" },
          make("h3", {}, "What positions are worth"),
          make("p", { class: "quiet" }, data.exchange.means),
          worthOf(scene.face, data.exchange),
        )
      : null,
    !data.offers?.length && make("p", { class: "quiet" }, ASK),
  );
}

function sinkMap(scene) {
  const [place, key] = [make("div"), legend()];
  const most = largest(...scene.sinks.map((sink) => sink.values));
  key.paint(most);
  const table = fold("as a table", () => grid(scene, scene.sinks, most, "positional relevance by sink and token"));
  scene.rebuild.push(() => {
    const map = heatOf(scene.face, "positional relevance, sinks by tokens", scene.columns);
    clear(place, map.node);
    map.paint(
      scene.sinks.map((sink) => ({ name: sink.name, values: scene.gather(sink.values) })),
      most,
    );
    table.update();
  });
  return make("section", { "aria-label": "Sinks" }, make("div", { class: "controls" }, key.node), place, table.node);
}

// Rows by columns as a table of signed numbers.
function grid(scene, rows, scale, name) {
  const columns = scene.columns.slice(0, 120);
  const [show, sums] = [digits(scale), digits(largest(rows.map((row) => row.total)))];
  const top = make(
    "tr",
    {},
    make("td"),
    make("th", { scope: "col" }, "sum"),
    columns.map((column) => make("th", { scope: "col", title: column.name }, label(column.text))),
  );
  const body = rows.map((row) =>
    make(
      "tr",
      {},
      make("th", { scope: "row", title: row.name }, make("span", { class: "label" }, row.name)),
      make("td", { class: "sum", "data-of": "sum" }, sums(row.total)),
      columns.map((column) => {
        const x = summed(row.values, column.ids);
        return make("td", { class: shade(x, scale), "data-of": spelled(column.text) }, x === undefined ? "" : show(x));
      }),
    ),
  );
  const more = scene.columns.length - columns.length;
  return make(
    "div",
    {},
    region(name, make("table", { class: "grid wraps" }, make("thead", {}, top), make("tbody", {}, body))),
    more > 0 && make("p", { class: "quiet" }, `${more.toLocaleString("en")} more tokens are not drawn; sums are over all.`),
  );
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
    write(
      said,
      `As a query ${show(total(rows[0]))}, as a key ${show(total(rows[1]))}: ` +
        "the totals of a layer are equal, only token by token they differ.",
    );
  };
  const pick = select(
    "Sink",
    sinks.map((one) => [one.name, one.name]),
    sink,
    (name) => {
      sink = name;
      update();
    },
  );
  if (data.offers.includes("heads")) {
    face.more("heads").then((found) => {
      const count = found?.[sink]?.query?.shape?.[0] ?? found?.[sink]?.query?.length ?? 0;
      heads.append(
        select("Head", [["all", "all"], ...range(count).map((h) => [String(h), String(h)])], "all", (name) => {
          head = name;
          update();
        }).node,
      );
    });
  }
  scene.rebuild.push(() => {
    strip = stripOf(face, "queries and keys", scene.columns, ["query", "key"]);
    clear(place, strip.node);
    update();
  });
  return make(
    "section",
    { "aria-label": "Queries and keys" },
    make("h3", {}, "As a query and as a key"),
    make("div", { class: "controls" }, pick.node, heads),
    place,
    said,
  );
}

// --- pairs of tokens --------------------------------------------------------------------------------------------------

const WRITTEN = {
  centred: "The bias is centred per row, by attention, since softmax ignores a constant of a row.",
  "as paid": "Half of each pair goes to the query's token, half to the key's.",
  distance: "The bias is written as a function of distance.",
};

function pairs(scene) {
  const { face } = scene;
  const [place, said, picks] = [make("div"), make("p", { class: "quiet" }), make("div", { class: "controls" })];
  let [all, sink, head, map] = [null, null, "all", null];
  const update = () => {
    if (!all || !map) return;
    const found = all[sink];
    const matrix = head === "all" ? unpacked(found.relevance) : unpacked(found.heads)[Number(head)];
    const row = (ids) => ids.map((t) => matrix[t]).reduce((a, b) => a.map((x, k) => x + b[k]));
    map.paint(scene.columns.map((column) => ({ name: column.name, values: scene.gather(row(column.ids)) })));
    write(said, `Rows are queries, columns keys. ${WRITTEN[found.written] ?? ""}`);
  };
  face.more("pairs").then((found) => {
    all = found ?? {};
    [sink] = Object.keys(all);
    if (!sink) return;
    const heads = all[sink].heads ? unpacked(all[sink].heads).length : 0;
    const choose = (set) => (name) => {
      set(name);
      update();
    };
    picks.append(
      select(
        "Sink",
        Object.keys(all).map(asOption),
        sink,
        choose((name) => {
          sink = name;
        }),
      ).node,
      select(
        "Head",
        ["all", ...range(heads)].map(asOption),
        "all",
        choose((name) => {
          head = name;
        }),
      ).node,
    );
    update();
  });
  scene.rebuild.push(() => {
    map = heatOf(face, "relevance of the bias for each pair, queries by keys", scene.columns);
    clear(place, map.node);
    update();
  });
  return make("section", { "aria-label": "Pairs" }, make("h3", {}, "Which pairs"), picks, place, said);
}

const asOption = (name) => [String(name), String(name)];
