// What a walk has on the screen, to take away: page, picture of the step, table, data.

const exporter = (scene) =>
  saving(scene.face, {
    name: `${spelled(scene.data.model)}-${spelled(scene.data.target)}`,
    title: `${spelled(scene.data.target)}, ${scene.data.model}`,
    fallback: () => plainTable(scene),
    picture: (penOf) => picture(scene, penOf),
    rows: () => table(scene),
    readable: () => readable(scene),
    with: "model, target, method and ledger",
  });

function caption({ data, step }) {
  const value = Number(data.value);
  const answer = `${spelled(data.target)} ${digits(Math.abs(value), 5)(value)}`;
  return `${answer}; ${data.model}, ${data.method}; ${step().name}; ledger ${data.ledger.state}.`;
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

// --- a picture of the step: one layout, two pens ----------------------------------------------------------------------

function picture(scene, penOf) {
  const [width, edge, cell, line] = [900, 24, 74, 46];
  const perRow = Math.floor((width - 2 * edge) / (cell + 4));
  const columns = scene.columns.slice(0, 600);
  const rows = Math.ceil(columns.length / perRow);
  const { account } = scene.step();
  const height = 92 + rows * line + 30 + account.length * 22 + 50;
  const pen = penOf(width, height);
  const values = amountsOn(scene, scene.step());
  const shown = values ? scene.gather(values[scene.part()] ?? values.content) : [];
  const [scale, shades] = [Math.max(widest(scene), largest(shown)), palette(scene.face.root)];
  const ink = getComputedStyle(scene.face.root).color;
  pen.text(
    edge,
    36,
    `${spelled(scene.data.target)} ${digits(Math.abs(Number(scene.data.value)), 5)(Number(scene.data.value))}`,
    20,
    ink,
  );
  pen.text(edge, 58, `${scene.data.model} \u00b7 ${scene.data.method} \u00b7 ${scene.step().name}`.slice(0, 120), 12, ink);
  columns.forEach((column, i) => {
    const [x, y] = [edge + (i % perRow) * (cell + 4), 78 + Math.floor(i / perRow) * line];
    const [back, text] = shadeOf(shades, shown[i] ?? 0, scale);
    pen.box(x, y, cell, line - 6, back);
    pen.text(x + cell / 2, y + 16, clipped(spelled(column.text)), 12, text, "middle");
    pen.text(x + cell / 2, y + 32, shown.length ? digits(scale)(shown[i]) : "", 11, text, "middle");
  });
  const [top, most] = [78 + rows * line + 18, largest(account.map(([, x]) => x))];
  account.forEach(([name, amount], i) => {
    const y = top + i * 22;
    pen.text(edge, y + 11, name, 12, ink);
    pen.text(edge + 190, y + 11, digits(most, 5)(amount), 12, ink, "end");
    const long = most > 0 && Number.isFinite(amount) ? (Math.abs(amount) / most) * 250 : 0;
    pen.box(edge + 480 - (amount < 0 ? long : 0), y, Math.max(0.5, long), 12, shadeOf(shades, Math.sign(amount) * 0.75, 1)[0]);
  });
  pen.text(edge, height - 20, caption(scene).slice(0, 160), 10, ink);
  return pen.done(getComputedStyle(scene.face.root).backgroundColor);
}
