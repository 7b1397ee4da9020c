// The ledger with its keepers by name, the layers as one map, and the card.

const [MANY, STILL] = [12, 0.03]; // rows from which they are folded; a change, of the largest number, that is hardly any

function layersMap(scene) {
  const { face } = scene;
  const rows = scene.boundaries.filter((b) => b.values.length === scene.data.tokens.length).reverse();
  if (!rows.length) return null;
  const [place, most] = [make("div"), largest(...rows.map((row) => row.values))];
  const goTo = (row) => {
    const at = scene.walk.findIndex((step) => scene.boundaries[step.boundary]?.name === row.name.split(" \u2026 ")[0]);
    if (at >= 0) scene.go(at);
  };
  const table = fold("as a table", () => grid(scene, rows, most, "relevance by boundary and token"));
  const many = rows.length > MANY;
  const measure = () => (face.get("measure") in MEASURES ? face.get("measure") : many ? "root" : "all");
  const folded = () => many && (face.get("folded") ?? true);
  const boxes = [
    choice(
      "Colour",
      Object.entries(MEASURES).map(([name, [text]]) => [name, text]),
      measure(),
      (name) => face.set({ measure: name }),
    ),
    many && toggle("layers alone, folded where hardly anything changes", folded(), (on) => face.set({ folded: on })),
  ];
  const said = make("span", { class: "quiet", role: "status" });
  let map = null;
  const paint = () => {
    const shown = folded() ? quietFolded(rows.filter(({ kind }) => ["layer", "embeddings"].includes(kind)), most) : rows;
    boxes[0].show(measure());
    if (many) boxes[1].show(folded());
    write(said, shown.length < rows.length ? `${rows.length - shown.length} of ${rows.length} rows folded` : "");
    map?.paint(
      shown.map((row) => ({ name: row.name, values: scene.gather(row.values) })),
      most,
      measure(),
    );
  };
  ["measure", "folded"].forEach((name) => face.on(name, paint));
  scene.rebuild.push(() => {
    map = heatOf(face, "relevance, boundaries by tokens", scene.columns, goTo);
    clear(place, map.node);
    paint();
    table.update();
  });
  const controls = make("div", { class: "controls" }, boxes.filter(Boolean).map((box) => box.node), said);
  const about = "The same numbers at once, the last layer on top. Press a row to step there.";
  return section("All layers", about, controls, place, table.node);
}

// Neighbours of which none differs from the row above it by more than a little are one row, named from the first to the last.
function quietFolded(rows, most) {
  const moves = (i) => largest(rows[i].values.map((x, t) => x - rows[i - 1].values[t])) > STILL * most;
  const runs = [];
  rows.forEach((row, i) => {
    if (i > 0 && !moves(i)) runs.at(-1).push(row);
    else runs.push([row]);
  });
  return runs.flatMap((run) => (run.length > 2 ? [{ ...run[0], name: `${run[0].name} \u2026 ${run.at(-1).name}` }] : run));
}

function ledger(data) {
  const rows = data.ledger.rows.map(([name, amount]) => [name, Number(amount)]);
  const show = digits(largest(rows.map(([, amount]) => amount)), 5);
  const keepers = Object.entries(data.ledger.keepers)
    .concat([["gap", data.ledger.layers]])
    .map(([name, list]) => {
      if (!list.length) return null;
      const one = name === "gap" ? (x) => unlessRounding(x, data.ledger.allowed) : show;
      return fold(name === "gap" ? "gap seen at each boundary" : `${name} by name (${list.length.toLocaleString("en")})`, () =>
        facts(
          name,
          list.map(([key, x]) => [key, one(Number(x))]),
          "number",
        ),
      ).node;
    });
  return section(
    "Ledger",
    "What the value is made of. The gap is what is missing: it should be zero.",
    ledgerOf("ledger", rows, data.ledger.allowed).node,
    make("p", { class: `quiet ${toneOf(data.ledger.verdict)}`, role: "status" }, `Ledger ${data.ledger.state}.`),
    keepers,
  );
}

function recipe(data) {
  if (!data.card.length) return null;
  return make("section", { "aria-label": "Card" }, fold("What is needed to run it again", () => facts("card", data.card)).node);
}
