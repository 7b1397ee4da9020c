// The break-it switch: the right rules or one mistake in force, and the account at every boundary on the way back.

kinds.broken = (root, face) => {
  const { data } = face;
  const right = data.variants[0];
  const columns = columnsOf(data);
  const strip = stripOf(face, "tokens", columns, ["right", "now"]);
  const scale = largest(...data.variants.map(sums));
  const [mistake, verdict] = [make("p", { class: "lead" }), make("p", { role: "status", "aria-live": "polite" })];
  const [path, account] = [pathOf(right.stations), ledgerOf("ledger", right.rows.map(([name, x]) => [name, Number(x)]))];
  const most = largest(...data.variants.map(({ rows }) => rows.map(([, x]) => Number(x))));
  const words = readout(face, ({ ids }) => data.variants.filter((v) => v === right || v === now()).map((v) => `${v.name} ${digits(scale)(sums(v)[ids[0]])}`));
  const now = () => data.variants.find(({ name }) => name === face.get("variant")) ?? right;
  const show = () => {
    const chosen = now();
    pick.show(chosen.name);
    write(mistake, chosen.mistake);
    verdict.className = chosen.closed ? (chosen === right ? "good" : "quiet") : "bad";
    write(verdict, verdictOf(chosen, right));
    strip.paint([right, chosen].map((each) => ({ values: columns.map(({ ids }) => sums(each)[ids[0]]), scale })));
    path.show(chosen, largest(...data.variants.map(({ stations }) => stations.flatMap(({ total: t, gap }) => [Number(t), Number(gap)]))));
    account.paint(chosen.rows.map(([name, x]) => [name, Number(x)]), most);
    words.update();
  };
  const pick = choice("In force", data.variants.map(({ name }) => [name, name.replaceAll("-", " ")]), now().name, (name) => face.set({ variant: name }));
  face.on("variant", show);
  root.append(
    make("header", {}, make("h1", {}, "Break it"), make("p", { class: "quiet" }, data.facts.join(GAP))),
    make("div", { class: "controls" }, pick.node), mistake, verdict,
    make("div", { class: "columns" },
      section("From the answer back", "What arrives at each boundary, and what the account cannot explain up to there.", path.node),
      section("Ledger", "Every unit of the answer, by who took it.", account.node)),
    section("Tokens", "By the right rules, and by those in force.", strip.node, words.node));
  show();
};

const sums = ({ content, position }) => content.map((x, t) => Number(x) + Number(position[t]));

function verdictOf(chosen, right) {
  if (chosen === right) return `\u2713 The ledger is ${chosen.account}.`;
  if (chosen.closed) return `Still closed: this model has no ${chosen.needs}, or they took no more than rounding here.`;
  return `\u2717 The account balances at ${chosen.between[0]} and no longer at ${placeOf(chosen.between[1])}: the mistake lies between them. `
    + `In the end ${digits(Math.abs(Number(chosen.gap)))(Number(chosen.gap))} is missing.`;
}

const placeOf = (name) => (name === "input" ? "tokens and positions" : name);

function pathOf(stations) {
  const rows = stations.map(({ name }) => {
    const cells = [make("td"), make("td"), make("td", { class: "wide" }), make("td", { class: "check" })];
    return { name, cells, node: make("tr", {}, make("th", { scope: "row" }, name), cells) };
  });
  const node = make("table", { class: "book path", "aria-label": "from the answer back" },
    make("thead", {}, make("tr", {}, ["", "relevance", "gap", "", "check"].map((text) => make("th", { scope: "col" }, text)))),
    make("tbody", {}, rows.map((row) => row.node)));
  const show = (chosen, scale) => {
    const print = digits(scale);
    chosen.stations.forEach(({ total: sum, gap, closed }, i) => {
      const { cells, node: line, name } = rows[i];
      write(cells[0], print(Number(sum)));
      write(cells[1], print(Number(gap)));
      clear(cells[2], bar(Number(gap), scale));
      cells[3].className = `check ${closed ? "good" : "bad"}`;
      write(cells[3], closed ? "\u2713 closed" : "\u2717 open");
      line.classList.toggle("leak", Boolean(chosen.between) && name === placeOf(chosen.between[1]));
    });
  };
  return { node, show };
}
