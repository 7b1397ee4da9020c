// The break-it switch: the right rules or one mistake in force, the account at every boundary on the way back, and the stepper.

kinds.broken = (root, face) => {
  const { data } = face;
  const right = data.variants[0];
  const now = () => data.variants.find(({ name }) => name === face.get("variant")) ?? right;
  const [mistake, verdict, tokens, place] = [
    make("p", { class: "lead" }),
    make("p", { role: "status", "aria-live": "polite" }),
    make("div"),
    make("div"),
  ];
  const most = largest(...data.variants.map(({ stations }) => stations.map(({ total: sum }) => Number(sum))));
  const path = pathOf(right.stations, most);
  const pick = choice(
    "In force",
    data.variants.map(({ name, idle }) => [name, `${name.replaceAll("-", " ")}${idle ? " (changes nothing here)" : ""}`, idle]),
    now().name,
    (name) => put(name),
  );
  const put = (name) => {
    // and step to where the account opens
    const { between, data: chosen } = data.variants.find((each) => each.name === name);
    const at = between ? chosen.walk.findIndex((step) => step.name === placed(between[1])) : -1;
    face.set({ variant: name, ...(at >= 0 ? { step: at } : {}) });
  };
  root.append(
    make("header", {}, make("h1", {}, "Break a rule"), make("p", { class: "quiet" }, [data.model, data.target].join(GAP))),
    make("div", { class: "controls" }, pick.node),
    mistake,
    verdict,
    make(
      "div",
      { class: "columns" },
      section("The account on the way back", "What arrives at each boundary, and what is missing up to there.", path.node),
      tokens,
    ),
    place,
    savingShown(face, `mistakes-${data.target}`),
  );
  const show = () => {
    const chosen = now();
    face.forget(); // of the variant before: its panes are gone
    face.on("variant", show);
    pick.show(chosen.name);
    write(mistake, chosen.mistake);
    verdict.className = chosen === right || !chosen.closed ? toneOf(chosen.verdict) : "quiet";
    write(verdict, verdictOf(chosen, right));
    path.show(chosen);
    const scene = sceneOf(face, chosen.data);
    clear(tokens, tokensOf(right, chosen));
    clear(
      place,
      chosen.written.length > 0 &&
        fold("The mistake, as it is written", () => chosen.written.map(([name, text]) => source(text, `source of ${name}`))).node,
      filters(scene),
      stepper(scene),
    );
    scene.filtered();
  };
  show();
};

function verdictOf(chosen, right) {
  if (!chosen.between && !chosen.closed) return `Ledger: ${chosen.account}.`;
  if (chosen === right) return `\u2713 The ledger is ${chosen.account}.`;
  if (chosen.closed) return `Still closed: this model has no ${chosen.needs}, or they took no more than rounding here.`;
  return (
    `\u2717 The account balances at ${placed(chosen.between[0])} and no longer at ${placed(chosen.between[1])}: ` +
    "the mistake lies between them. " +
    `In the end ${digits(Math.abs(Number(chosen.gap)))(Number(chosen.gap))} is missing.`
  );
}

const placed = (name) => (name === "input" ? "the inputs" : name);

const COMPARED = 12; // tokens that stand beside the account

// Tokens at the inputs, by the right rules and by those in force: the ones that differ most, in the order of the text.
function tokensOf(right, chosen) {
  const [before, after] = [right, chosen].map(({ data }) => numbers(data.parts.signed.both));
  const wrong = after.map((x, t) => x - before[t]);
  const scale = largest(before, after);
  const same = largest(wrong) <= 1e-6 * scale;
  const size = (t) => Math.abs(same ? before[t] : wrong[t]) || 0;
  const kept = new Set(range(before.length).sort((a, b) => size(b) - size(a)).slice(0, COMPARED));
  const columns = columnsOf(right.data).filter(({ key }) => kept.has(key));
  const left = before.length - columns.length;
  const show = digits(scale);
  const shown = chosen === right ? { relevance: before } : { right: before, wrong: after, difference: wrong };
  const rows = columns.map(({ key, text }) =>
    make(
      "tr",
      {},
      make("th", { scope: "row" }, label(text)),
      Object.values(shown).map((values) => make("td", { class: shade(values[key], scale) }, show(values[key]))),
    ),
  );
  const head = ["", ...Object.keys(shown)].map((name) => make("th", { scope: "col" }, name));
  const table = make("table", { class: "grid" }, make("thead", {}, make("tr", {}, head)), make("tbody", {}, rows));
  const told = same
    ? "The tokens receive what they should: this mistake is in the books alone."
    : "What the tokens should receive, what they get, and by how much that is wrong.";
  const more = left > 0 && `${left.toLocaleString("en")} more tokens, which ${same ? "carry" : "differ by"} less, are not shown.`;
  return section(
    "Tokens",
    chosen === right ? "What the tokens receive." : told,
    region("tokens, right and wrong", table),
    more && make("p", { class: "quiet" }, more),
  );
}

function pathOf(stations, scale) {
  const rows = stations.map(({ name }) => {
    const cells = [make("td"), make("td"), make("td", { class: "wide" }), make("td", { class: "check" })];
    return { name, cells, node: make("tr", {}, make("th", { scope: "row" }, name), cells) };
  });
  const node = make(
    "table",
    { class: "book path", "aria-label": "the account on the way back" },
    make(
      "thead",
      {},
      make(
        "tr",
        {},
        ["boundary", "relevance", "gap", "", "check"].map((text) => make("th", { scope: "col" }, text)),
      ),
    ),
    make(
      "tbody",
      {},
      rows.map((row) => row.node),
    ),
  );
  const show = (chosen) => {
    const print = digits(scale);
    const wide = largest(chosen.stations.map(({ gap, closed }) => (closed ? 0 : Number(gap)))) || scale;
    chosen.stations.forEach(({ total: sum, gap, closed }, i) => {
      const { cells, node: line, name } = rows[i];
      write(cells[0], print(Number(sum)));
      write(cells[1], closed ? ROUNDING : print(Number(gap)));
      clear(cells[2], bar(closed ? 0 : Number(gap), wide));
      const verdict = closed === null ? "\u2013" : closed ? "closed" : "open";
      cells[3].className = `check ${toneOf(verdict)}`;
      write(cells[3], `${markOf(verdict)}${verdict}`);
      line.classList.toggle("leak", Boolean(chosen.between) && name === placed(chosen.between[1]));
    });
  };
  return { node, show };
}
