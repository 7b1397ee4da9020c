// What a walk has on the screen, to take away: page, picture of the step, table, data.

const exporter = (scene, drawn = null) =>
  saving(scene.face, {
    name: fileOf(scene.data),
    title: `${spelled(scene.data.target)}, ${scene.data.model}`,
    fallback: () => plainTable(scene),
    drawn,
    caption: () => caption(scene),
    rows: () => table(scene),
    readable: () => readable(scene),
    with: "model, target, method and ledger",
  });

// Of a card alone, before it is stepped through: its picture.
function cardOut(face) {
  const what = { name: fileOf(face.data), drawn: ".card", caption: () => captionOf(face.data) };
  const button = action("SVG", () => pictureOut(face, what));
  button.setAttribute("aria-label", "Save as SVG");
  return button;
}

const fileOf = ({ model, target }) => `${spelled(model)}-${spelled(target)}`;
const caption = ({ data, step }) => captionOf(data, `${step().name}; `);

function captionOf(data, step = "") {
  const value = Number(data.value);
  const answer = `${spelled(data.target)} ${digits(Math.abs(value), 5)(value)}`;
  return `${answer}; ${data.model}, ${data.method}; ${step}ledger ${data.ledger.state}.`;
}

// The data with plain numbers where they travelled as bytes.
function readable(scene) {
  const listed = ({ values, ...rest }) => ({ ...rest, relevance: values });
  const data = { ...scene.data, parts: scene.parts, boundaries: scene.boundaries.map(listed), sinks: scene.sinks.map(listed) };
  return { caption: caption(scene), step: scene.step(), state: scene.face.model.get("state"), data };
}

function table(scene) {
  const values = amountsOn(scene, scene.step()) ?? scene.parts.signed;
  const parts = ["content", "position", "both"].filter((part) => values[part]);
  const rows = scene.data.tokens.map((text, t) => [t, spelled(text), ...parts.map((part) => values[part][t])]);
  const account = scene.step().account.map(([name, amount]) => ["", name, amount]);
  return [[`# ${caption(scene)}`], ["index", "token", ...parts], ...rows, [], ["", "account", "amount"], ...account];
}

// What shows where scripts do not run: text alone, so that nothing in it can be obeyed.
function plainTable(scene) {
  const cells = (kind, texts) => texts.map((text) => make(kind, {}, text));
  const show = digits(widest(scene));
  const { content, position, both } = scene.parts.signed;
  return make(
    "table",
    {},
    make("caption", {}, caption(scene)),
    make("tr", {}, cells("th", ["token", "content", "position", "both"])),
    scene.data.tokens.map((text, t) =>
      make("tr", {}, cells("td", [spelled(text), show(content[t]), show(position[t]), show(both[t])])),
    ),
  );
}
