// A case of a rule as a picture: at the right what was handed back, at the left what each input received, bands as wide as their
// relevance.  What stays by design is neutral.

const PATHS = {
  attention: [
    ["through the values", ["v"]],
    ["through the scores", ["q", "k"]],
  ],
};
const ROOM = { width: 358, row: 36, left: 114, middle: 196, right: 262, bar: 16 };

function neuronOf(rule, conserves, { inputs, outputs, sums }) {
  const name = rule.split("(")[0];
  const received = inputs.map((input) => ({ ...input, value: Number(input.value), relevance: Number(input.relevance) }));
  const [handed, kept] = [Number(sums.in), Number(sums.kept)];
  const groups = (PATHS[name] ?? [["", null]]).map(([title, of]) => ({
    title,
    ends: received.filter((input) => !of || of.includes(input.of)),
  }));
  if (Math.abs(kept) > 1e-9 * Math.max(1, largest(received.map(({ relevance }) => relevance))))
    groups.at(-1).ends.push({ name: "kept", relevance: kept, kept: conserves === "all" ? "bad" : "design" });
  for (const group of groups) group.sum = total(group.ends.map(({ relevance }) => relevance));
  const most = largest(groups.flatMap(({ ends, sum }) => [sum, ...ends.map(({ relevance }) => relevance)]));
  const scale = {
    thick: (x) => (most > 0 && Number.isFinite(x) ? (ROOM.bar * Math.abs(x)) / most : 0),
    show: digits(most, 3),
    handed,
  };
  const height = ROOM.row * total(groups.map(({ ends }) => ends.length)) + 8;
  const drawn = svg("g");
  let at = 4;
  for (const group of groups) {
    group.rows = group.ends.map((end) => ({ ...end, y: (at += ROOM.row) - ROOM.row / 2 }));
    drawn.append(...groupOfBands(group, height / 2, scale));
  }
  const told = groups
    .flatMap(({ title, sum, ends }) => [
      title && `${title} ${scale.show(sum)}`,
      ...ends.map((end) =>
        end.kept ? `kept ${scale.show(end.relevance)}` : `${end.name} received ${scale.show(end.relevance)}`,
      ),
    ])
    .filter(Boolean);
  return svg(
    "svg",
    {
      viewBox: `0 0 ${ROOM.width} ${height}`,
      class: "neuron",
      role: "img",
      "aria-label": `${scale.show(handed)} handed back: ${told.join(", ")}`,
    },
    drawn,
    cellBody(outputs, handed, height / 2, scale),
  );
}

// One way back: a band from the neuron to where its inputs meet, from there one to each of them.
function groupOfBands({ title, sum, rows }, middle, scale) {
  const meet = title ? total(rows.map(({ y }) => y)) / rows.length : middle;
  const from = title ? ROOM.middle : ROOM.right;
  const parts = title ? [bandOf(ROOM.right, middle, from, meet, scale.thick(sum), sum, "")] : [];
  for (const { y, relevance, kept } of rows)
    parts.push(bandOf(from, meet, ROOM.left, y, scale.thick(relevance), relevance, kept));
  if (title)
    parts.push(
      svg("circle", { cx: from, cy: meet, r: 5, class: "cell" }),
      svg("text", { x: from + 8, y: meet + (meet < middle ? -16 : 20) }, title),
      svg("text", { x: from + 8, y: meet + (meet < middle ? -3 : 33), class: "quiet" }, sharedOut(sum, scale)),
    );
  for (const row of rows) parts.push(...endOf(row, scale));
  return parts;
}

const sharedOut = (x, { show, handed }) => `${show(x)}${handed ? ` (${percent(x / handed)})` : ""}`;

function endOf({ name, value, relevance, kept, y }, scale) {
  const mark = kept
    ? svg("rect", { x: ROOM.left - 5, y: y - 5, width: 10, height: 10, class: `stays ${kept}` })
    : svg("circle", { cx: ROOM.left, cy: y, r: 6, class: "cell" });
  const first = kept ? (kept === "bad" ? "kept" : "kept, by design") : `${name} = ${digits(largest([value]), 3)(value)}`;
  const text = (dy, words, kind) => svg("text", { x: ROOM.left - 12, y: y + dy, "text-anchor": "end", class: kind }, words);
  return [mark, text(-2, first, ""), text(13, sharedOut(relevance, scale), "quiet")];
}

function cellBody(outputs, handed, y, { show }) {
  const named =
    outputs.length === 1
      ? `${outputs[0].name} = ${digits(largest([Number(outputs[0].value)]), 3)(Number(outputs[0].value))}`
      : outputs.map(({ name }) => name).join(", ");
  const text = (dy, words, kind) => svg("text", { x: ROOM.right + 20, y: y + dy, class: kind }, words);
  return [
    svg("circle", { cx: ROOM.right, cy: y, r: 13, class: "cell body" }),
    text(-2, named, ""),
    text(13, `R = ${show(handed)}`, "quiet"),
  ];
}

// A band along a curve, at least a hair wide: colour by sign, a dashed edge below zero, neutral where it stays.
function bandOf(x0, y0, x1, y1, thick, amount, kept) {
  const [middle, half] = [(x0 + x1) / 2, Math.max(0.6, thick / 2)];
  const curve = (a, b, x) => `C${middle} ${a.toFixed(1)} ${middle} ${b.toFixed(1)} ${x} ${b.toFixed(1)}`;
  const [there, back] = [curve(y0 - half, y1 - half, x1), curve(y1 + half, y0 + half, x0)];
  const d = `M${x0} ${(y0 - half).toFixed(1)}${there}v${(2 * half).toFixed(1)}${back}Z`;
  const kind = kept ? `stays ${kept}` : amount ? shade(0.7 * Math.sign(amount), 1) : "none";
  return svg("path", { d, class: `band ${kind}${amount < 0 ? " minus" : ""}` });
}
