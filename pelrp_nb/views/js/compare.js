// Several explanations side by side: methods, targets, models or texts; with linked hover and differences.

kinds.compare = (root, face) => {
  const { items } = face.data;
  const scenes = items.map((item) => sceneOf(face, item.data));
  const same = items.every((item) => item.data.tokens.map(spelled).join("\n") === items[0].data.tokens.map(spelled).join("\n"));
  const stops = scenes.map((scene) => scene.walk.filter((step) => ["layer", "inputs"].includes(step.kind)));
  const level = stops.every((list) => list.length === stops[0].length);
  const state = {
    part: () => face.get("part") ?? "both",
    against: () => Number(face.get("against") ?? -1),
    at: () => face.get("stop") ?? stops[0].length - 1,
  };
  const [place, key, title] = [make("div"), legend(), make("h3")];
  const update = () => {
    const steps = scenes.map((_, i) => (level ? stops[i][state.at()] : stops[i].at(-1)));
    write(title, steps.every((step) => step.name === steps[0].name) ? steps[0].name : "");
    const rows = scenes.map((scene, i) => {
      const values = amountsOn(scene, steps[i]);
      return values?.[state.part()] ?? values?.content ?? [];
    });
    const base = rows[state.against()];
    const shown = base && same ? rows.map((row) => row.map((x, t) => x - base[t])) : rows;
    const scale = largest(...shown);
    key.paint(scale);
    panes.forEach((pane) => pane.paint(shown, scale));
  };
  const names = items.map((item) => item.name);
  const panes = same ? [together(face, scenes[0], names)] : scenes.map((scene, i) => apart(face, scene, names[i], i));
  const against =
    same &&
    select("Difference to", [["-1", "none"], ...names.map((name, i) => [String(i), name])], String(state.against()), (i) =>
      face.set({ against: i }),
    );
  const dialer =
    level &&
    stops[0].length > 1 &&
    dial("After", { max: stops[0].length - 1, value: state.at(), text: (i) => stops[0][i].name }, (at) => face.set({ stop: at }));
  const part = choice("Show", Object.entries(PARTS), state.part(), (value) => face.set({ part: value }));
  root.append(
    make(
      "header",
      {},
      make("h1", {}, face.data.said?.length ? quoted(face.data.said) : "Side by side"),
      make("p", { class: "quiet" }, `${items.length} results${same ? "" : " of different texts"}`),
    ),
    make("div", { class: "controls" }, part.node, against && against.node, dialer && dialer.node, key.node),
    section(
      "Tokens",
      null,
      title,
      panes.map((pane) => pane.node),
    ),
    agreement(scenes, names, same),
    accounts(items),
    savingShown(face, "comparison"),
  );
  face.on("part", part.show);
  if (against) face.on("against", (i) => against.show(String(i ?? -1)));
  if (dialer) face.on("stop", (at) => dialer.show(at ?? stops[0].length - 1));
  ["part", "against", "stop"].forEach((name) => face.on(name, update));
  clear(place);
  update();
};

function together(face, scene, names) {
  const columns = columnsOf(scene.data);
  const strip = stripOf(face, "tokens", columns, names);
  const read = readout(face, ({ ids }) =>
    names.map((name, i) => `${name} ${last ? digits(last.scale)(last.rows[i][ids[0]]) : ""}`),
  );
  let last = null;
  return {
    node: make("div", {}, strip.node, read.node),
    paint(rows, scale) {
      last = { rows, scale };
      strip.paint(rows.map((values) => ({ values, scale })));
      read.update();
    },
  };
}

// Texts of different words: a strip each; a word under the pointer is marked wherever it stands.
function apart(face, scene, name, i) {
  const columns = columnsOf(scene.data).map((column) => ({ ...column, key: spelled(column.text) }));
  const strip = stripOf(face, `tokens of ${name}`, columns);
  return {
    node: make("div", { class: "apart" }, make("h3", {}, name), strip.node),
    paint(rows, scale) {
      strip.paint([{ values: rows[i], scale }]);
    },
  };
}

function agreement(scenes, names, same) {
  if (!same || scenes.length < 2) return null;
  const values = scenes.map((scene) => scene.parts.signed.both);
  const cosine = (a, b) => {
    const dot = (x, y) => total(x.map((z, t) => z * y[t]));
    return dot(a, b) / Math.sqrt(dot(a, a) * dot(b, b));
  };
  const cell = (a, b) => {
    const x = cosine(a, b);
    return make("td", { class: shade(x, 1) }, Number.isFinite(x) ? digits(1, 3)(x) : "nan");
  };
  return section(
    "Agreement",
    "The cosine of the relevance per token at the inputs: 1 is the same up to a factor, \u22121 the opposite.",
    region(
      "agreement",
      make(
        "table",
        { class: "grid" },
        make(
          "thead",
          {},
          make(
            "tr",
            {},
            make("td"),
            names.map((name) => make("th", { scope: "col" }, name)),
          ),
        ),
        make(
          "tbody",
          {},
          names.map((name, i) =>
            make(
              "tr",
              {},
              make("th", { scope: "row" }, name),
              values.map((other) => cell(values[i], other)),
            ),
          ),
        ),
      ),
    ),
  );
}

function accounts(items) {
  const names = items[0].data.ledger.rows.map(([name]) => name);
  const scale = largest(...items.map((item) => item.data.ledger.rows.map(([, x]) => Number(x))));
  const show = digits(scale, 5);
  const amounts = items.map(({ data: { ledger } }) =>
    ledger.rows.map(([name, amount]) => booked(name, Number(amount), ledger.allowed, show)),
  );
  const idle = (r) => names[r] !== "value" && amounts.every((account) => [show(0), ROUNDING].includes(account[r]));
  const line = (name, cells) =>
    make(
      "tr",
      {},
      make("th", { scope: "row" }, name),
      cells.map((text) => make("td", { class: "number" }, text)),
    );
  return section(
    "Accounts",
    null,
    region(
      "accounts",
      make(
        "table",
        { class: "facts accounts" },
        make(
          "thead",
          {},
          make(
            "tr",
            {},
            make("td"),
            items.map((item) => make("th", { scope: "col" }, item.name)),
          ),
        ),
        make(
          "tbody",
          {},
          line(
            "target",
            items.map((item) => item.data.target),
          ),
          line(
            "model",
            items.map((item) => item.data.model),
          ),
          line(
            "method",
            items.map((item) => item.data.method),
          ),
          names.map((name, r) =>
            !idle(r) &&
            line(
              name,
              amounts.map((account) => account[r]),
            ),
          ),
          line(
            "positions carry",
            items.map((item) => (item.data.unbooked ? "\u2013" : percent(Number(item.data.share)))),
          ),
          items.some((item) => item.data.share_means) &&
            line(
              "which means",
              items.map((item) => (item.data.unbooked ? "" : item.data.share_means)),
            ),
          line(
            "ledger",
            items.map((item) => item.data.ledger.verdict),
          ),
        ),
      ),
    ),
  );
}
