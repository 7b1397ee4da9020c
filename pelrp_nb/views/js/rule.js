// The rule card: a page of the textbook, its two forms as they stand in the source, and the numbers of its example.

kinds.rule = (root, face) => {
  const many = face.data.cards;
  const body = make("div");
  const show = (name) => clear(body, cardOf(many.find((card) => card.name === name) ?? many[0]));
  const now = face.get("rule") ?? many[0].name;
  if (many.length > 1) {
    const pick = select(
      "Rule",
      many.map(({ name }) => [name, name]),
      now,
      (name) => face.set({ rule: name }),
    );
    face.on("rule", (name) => {
      pick.show(name);
      show(name);
    });
    root.append(make("div", { class: "controls" }, pick.node));
  }
  root.append(body, savingShown(face, `rule-${many.map(({ name }) => name).join("-")}`));
  show(now);
};

function cardOf(card) {
  const forms = [
    ["relevance", "The definition"],
    ["forward", "The same as a bent gradient"],
  ].map(([name, title]) => make("div", {}, make("h3", {}, title), source(card[name], `source of ${name}`)));
  return make(
    "article",
    { "aria-label": `rule ${card.name}` },
    make("header", {}, make("h1", {}, make("code", {}, card.name)), make("p", { class: "lead" }, prose(card.sentence))),
    make(
      "div",
      { class: "columns" },
      make(
        "div",
        {},
        formula(card),
        card.about.filter(({ kind }) => kind === "text").map(({ text }) => make("p", {}, prose(text))),
      ),
      card.worked && pictureOf(card),
    ),
    facts("what the page says", [
      ["Conserves", prose(card.conserves)],
      ["Paper", prose(card.paper)],
    ]),
    fold("The page as it is written", () =>
      card.about.map(({ kind, text }) => (kind === "formula" ? letters(text) : make("p", {}, prose(text)))),
    ).node,
    section("Source", "", make("div", { class: "columns" }, forms)),
    exampleOf(card.example),
  );
}

// The case of the bench as it starts, drawn.
const pictureOf = (card) =>
  make(
    "figure",
    {},
    neuronOf(card.name, card.conserves, card.worked),
    make(
      "figcaption",
      { class: "quiet" },
      "One small case: bands are as wide as the relevance that they carry, from right to left.",
    ),
  );

// Relevance in, what each input received by both forms, and what was kept.
function exampleOf(example) {
  const show = digits(largest(...example.inputs.map(({ relevance }) => flat(relevance)), flat(example.output.relevance)));
  const scale = largest(...example.inputs.map(({ relevance }) => flat(relevance)));
  const { sums } = example;
  const words =
    `Handed back ${show(Number(sums.in))}, received ${show(Number(sums.out))}, kept ${show(Number(sums.kept))}. ` +
    `The two forms differ by ${unlessRounding(Number(example.difference), 1e-9 * Math.max(1, scale))}.`;
  return section(
    "Its example, computed",
    words,
    make(
      "div",
      { class: "columns" },
      example.inputs.map((input) => tensorOf(`R(${input.name})`, input.shape, input.relevance, show, scale)),
    ),
    fold("Inputs, constants and output", () =>
      make(
        "div",
        { class: "columns" },
        example.inputs.map((input) => tensorOf(input.name, input.shape, input.values)),
        example.constants.map(([name, value]) =>
          typeof value === "string" ? make("p", {}, `${name} = ${value}`) : tensorOf(name, value.shape, value.values),
        ),
        tensorOf("output", example.output.shape, example.output.values),
        tensorOf("R(output)", example.output.shape, example.output.relevance, show, scale),
      ),
    ).node,
  );
}

const flat = (values) => (Array.isArray(values) ? values.flatMap(flat) : [Number(values)]);

// A tensor as tables of its last two axes, a heading for each place on the axes before.
function tensorOf(name, shape, values, show = null, scale = 0) {
  const print = show ?? digits(largest(flat(values)));
  const matrices = [];
  const cut = (part, depth, at) =>
    depth <= 2
      ? matrices.push([at, depth === 2 ? part : depth === 1 ? [part] : [[part]]])
      : part.forEach((inner, i) => cut(inner, depth - 1, [...at, i]));
  cut(values, shape.length, []);
  const tables = matrices.map(([at, rows]) =>
    make(
      "table",
      { class: "grid numbers", "aria-label": `${name} ${at.join(", ")}` },
      make(
        "tbody",
        {},
        rows.map((row) =>
          make(
            "tr",
            {},
            row.map((x) => make("td", { class: scale ? shade(Number(x), scale) : "" }, entry(x, print))),
          ),
        ),
      ),
    ),
  );
  return make(
    "div",
    {},
    make("h3", {}, make("code", {}, name), make("span", { class: "quiet" }, ` (${shape.join(", ") || "a number"})`)),
    region(name, tables),
  );
}

const entry = (x, print) =>
  typeof x === "boolean"
    ? x
      ? "1"
      : "0"
    : typeof x === "string" && !["NaN", "Infinity", "-Infinity"].includes(x)
      ? x
      : print(Number(x));
