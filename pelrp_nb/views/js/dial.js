// All positions shifted by a constant: what changes with the dial, and what cannot.

// What a shift of all positions did, said first; then the dial.
function shiftOf(face, data) {
  const changes = Object.entries(data.drift).filter(([, change]) => unlessRounding(Number(change), data.allowed) !== ROUNDING);
  const names = changes.map(([name]) => driftOf(name));
  const moved = Object.fromEntries(changes);
  const far = data.shifts.at(-1);
  const value = digits(largest(numbers(data.value)));
  const ends = [Math.min, Math.max].map((most) => value(most(...numbers(data.value))));
  const claim =
    "value" in moved
      ? `With all positions up to ${far} later, the answer runs from ${ends.join(" to ")}.`
      : `With all positions up to ${far} later, the answer stays.`;
  const listed = names.filter((name) => name !== DRIFTS.value).join("; ");
  const still = "Attention sees differences of positions alone.";
  const told =
    "value" in moved
      ? "This model gives each place a vector of its own, so later places are another input: the answer may change, and it does."
      : listed
        ? `${still} Sums with their signs stay as they are; what changes is no plain sum: ${listed}.`
        : `${still} Nothing else changes here either.`;
  return [
    make("header", {}, make("h1", {}, claim), make("p", { class: "lead" }, told)),
    make("section", { "aria-label": "Shift" }, make("h2", {}, "Turn the dial"), dialOf(face, data).node),
  ];
}

function dialOf(face, data) {
  const columns = columnsOf(data).slice(0, 120);
  const names = Object.keys(data.position);
  const strip = stripOf(
    face,
    "relevance of positions",
    columns,
    names.map((name) => REDUCED[name] ?? name),
  );
  const answer = make("p", { role: "status", "aria-live": "polite" });
  const scales = Object.fromEntries(names.map((name) => [name, largest(...data.position[name].map(numbers))]));
  const [value, sum] = [digits(largest(numbers(data.value)), 6), digits(largest(numbers(data.totals.position)), 6)];
  const at = () => clamp(face.get("shift") ?? 0, 0, data.shifts.length - 1);
  const show = () => {
    const i = at();
    clock.show(i);
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
  const clock = clockOf(data.shifts.length);
  const last = Math.max(0, data.shifts.length - 1);
  const player = playerOf({ face, at, last, go: (i) => face.set({ shift: clamp(i, 0, last) }) }, () => named());
  const play = press("\u25b6", "play", player.press);
  const named = () => {
    for (const key of ["aria-label", "title"]) play.setAttribute(key, player.name());
    write(play, player.playing() ? "\u275a\u275a" : "\u25b6");
  };
  named();
  face.on("shift", () => {
    turn.show(at());
    show();
  });
  const rows = Object.entries(data.drift).map(([name, change]) => {
    const told = unlessRounding(Number(change), data.allowed, (x) => (x < 0.01 ? "under 1 %" : percent(x)));
    const stays = told === ROUNDING;
    return make(
      "tr",
      {},
      make("th", { scope: "row" }, driftOf(name)),
      make("td", { class: "number" }, told),
      make("td", { class: stays ? "good" : "" }, stays ? "\u2713 stays" : "changes"),
    );
  });
  const node = make(
    "div",
    {},
    make("div", { class: "controls" }, clock.node, play, turn.node),
    answer,
    strip.node,
    make("h3", {}, "The largest change over all shifts, as part of the largest number"),
    region("what changes", make("table", { class: "facts" }, make("tbody", {}, rows))),
  );
  show();
  return { node, show };
}

const DRIFTS = { value: "the answer", "signed total": "positions together, with their signs" };
const driftOf = (name) => DRIFTS[name] ?? `positions, ${REDUCED[name] ?? name}`;

// The dial as a clock: a mark for each shift, a hand that turns to the one shown.
function clockOf(count) {
  const angle = (i) => (count > 1 ? (360 * i) / count : 0);
  const marks = range(count).map((i) => svg("line", { x1: 30, x2: 30, y1: 4, y2: 9, transform: `rotate(${angle(i)} 30 30)` }));
  const hand = svg("line", { x1: 30, x2: 30, y1: 32, y2: 11, class: "hand" });
  const node = svg(
    "svg",
    { viewBox: "0 0 60 60", class: "clock", "aria-hidden": "true" },
    svg("circle", { cx: 30, cy: 30, r: 27 }),
    marks,
    hand,
  );
  return { node, show: (i) => hand.setAttribute("style", `transform: rotate(${angle(i)}deg)`) };
}
