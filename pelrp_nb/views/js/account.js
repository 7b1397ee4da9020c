// The ledger with its keepers by name, the layers as one map, and the card.

function layersMap(scene) {
  const rows = scene.boundaries.filter((b) => b.values.length === scene.data.tokens.length).reverse();
  if (!rows.length) return null;
  const [place, most] = [make("div"), largest(...rows.map((row) => row.values))];
  const goTo = (row) => {
    const at = scene.walk.findIndex((step) => scene.boundaries[step.boundary]?.name === row.name);
    if (at >= 0) scene.go(at);
  };
  const table = fold("as a table", () => grid(scene, rows, most, "relevance by boundary and token"));
  scene.rebuild.push(() => {
    const map = heatOf(scene.face, "relevance, boundaries by tokens", scene.columns, goTo);
    clear(place, map.node);
    map.paint(
      rows.map((row) => ({ name: row.name, values: scene.gather(row.values) })),
      most,
    );
    table.update();
  });
  return section("All layers", "The same numbers at once, the last layer on top. Press a row to step there.", place, table.node);
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
