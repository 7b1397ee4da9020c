// All positions shifted by a constant: what changes with the dial, and what cannot.

kinds.dial = (root, face) => root.append(dialOf(face, face.data).node);

function dialOf(face, data) {
  const columns = columnsOf(data).slice(0, 120);
  const names = Object.keys(data.position);
  const strip = stripOf(face, "relevance of positions", columns, names);
  const answer = make("p", { role: "status", "aria-live": "polite" });
  const scales = Object.fromEntries(names.map((name) => [name, largest(...data.position[name].map(numbers))]));
  const [value, sum] = [digits(largest(numbers(data.value)), 6), digits(largest(numbers(data.totals.position)), 6)];
  const at = () => clamp(face.get("shift") ?? 0, 0, data.shifts.length - 1);
  const show = () => {
    const i = at();
    strip.paint(
      names.map((name) => ({ values: columns.map(({ ids }) => Number(data.position[name][i][ids[0]])), scale: scales[name] })),
    );
    write(
      answer,
      `Positions begin at ${data.shifts[i]}: ${spelled(data.target)} = ${value(Number(data.value[i]))}, ` +
        `positions together ${sum(Number(data.totals.position[i]))}.`,
    );
  };
  const turn = dial(
    "All positions later by",
    {
      min: 0,
      max: Math.max(0, data.shifts.length - 1),
      step: 1,
      value: at(),
      text: (i) => String(data.shifts[i]),
      marks: range(data.shifts.length),
    },
    (i) => face.set({ shift: i }),
  );
  face.on("shift", () => {
    turn.show(at());
    show();
  });
  const rows = Object.entries(data.drift).map(([name, change]) => {
    const told = unlessRounding(Number(change), data.allowed);
    const stays = told === ROUNDING;
    return make(
      "tr",
      {},
      make("th", { scope: "row" }, DRIFTS[name] ?? `positions, ${name}`),
      make("td", { class: "number" }, told),
      make("td", { class: stays ? "good" : "" }, stays ? "\u2713 stays" : "changes"),
    );
  });
  const node = make(
    "div",
    {},
    make("div", { class: "controls" }, turn.node),
    answer,
    strip.node,
    make("h3", {}, "The largest change over all shifts, as part of the largest number"),
    region("what changes", make("table", { class: "facts" }, make("tbody", {}, rows))),
  );
  show();
  return { node, show };
}

const DRIFTS = { value: "the answer", "signed total": "positions together, signed" };
