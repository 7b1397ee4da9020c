// Walks from the answer back to the inputs, step by step, and says what happened on each.

kinds.stepper = (root, face) => {
  const scene = sceneOf(face, face.data);
  root.append(head(face.data), ...[filters(scene), stepper(scene), exporter(scene)].filter(Boolean));
  scene.filtered();
};

function stepper(scene) {
  const { face } = scene;
  const said = spoken();
  const control = walker(scene);
  const panes = [tokensPane(scene), flowPane(scene), accountPane(scene), rulePane(scene), headsPane(scene), predictPane(scene)];
  const show = () => {
    write(said, scene.step().said);
    control.update();
    panes.forEach((pane) => pane.update());
  };
  ["step", "part", "reduction", "scaled", "heads", "predict"].forEach((name) => face.on(name, show));
  scene.rebuild.push(show);
  const node = section(
    "Step by step",
    "From the answer back to the inputs, layer by layer: what each token carries there, and what was kept on the way.",
    control.node,
    said,
    panes[0].node,
    panes[5].node,
    panes[4].node,
    make("div", { class: "columns" }, panes[1].node, panes[2].node),
    panes[3].node,
  );
  shortcuts(scene, control);
  return node;
}

// --- its panes --------------------------------------------------------------------------------------------------------

function tokensPane(scene) {
  const { face, data } = scene;
  const [place, key, sums] = [make("div", { class: "pairs" }), legend(), make("p", { class: "quiet" })];
  const set = (name) => (value) => face.set({ [name]: value });
  const reductions = Object.keys(data.parts).map((name) => [name, REDUCED[name] ?? name]);
  const choices = {
    part: choice("Show", Object.entries(PARTS), scene.part(), set("part")),
    reduction: reductions.length > 1 && choice("Numbers", reductions, scene.reduction(), set("reduction")),
    scaled: choice(
      "Colour",
      [
        ["this", "this step"],
        ["all", "all steps"],
      ],
      face.get("scaled") ?? "all",
      set("scaled"),
    ),
  };
  for (const [name, box] of Object.entries(choices)) if (box) face.on(name, box.show);
  let strip = null;
  let values = null;
  const show = (x) => digits(widest(scene))(x);
  const read = readout(face, ({ ids }) =>
    values
      ? Object.keys(PARTS)
          .filter((part) => values[part])
          .map((part) => `${part} ${show(summed(values[part], ids))}`)
      : [],
  );
  const build = () => {
    strip = stripOf(face, "tokens", scene.columns);
    clear(place, strip.node);
  };
  scene.rebuild.unshift(build);
  const update = () => {
    const step = scene.step();
    values = amountsOn(scene, step);
    if (!values) return write(sums, "Here the model has other places than tokens; what they carry together is in the account.");
    const part = values[scene.part()] ?? values.content;
    const own = largest(...[values.content, values.position, values.both].filter(Boolean).map(scene.gather));
    const all = step.kind === "inputs" && scene.reduction() !== "signed" ? own : widest(scene);
    const scale = (face.get("scaled") ?? "all") === "all" ? Math.max(all, own) : own;
    strip.paint([{ values: scene.gather(part), scale, shown: all }]);
    strip.pair(scene.gather(values.content), values.position ? scene.gather(values.position) : [], scale);
    key.paint(scale);
    read.update();
    const stated = Object.keys(PARTS)
      .filter((name) => values[name])
      .map((name) => `${name} ${show(total(values[name]))}`);
    const only = scene.reduction() === "signed" || step.kind !== "inputs" ? "" : " Only numbers with signs add up.";
    return write(sums, `Sum of ${data.tokens.length.toLocaleString("en")} tokens: ${stated.join(", ")}.${only}`);
  };
  const keys = make(
    "span",
    { class: "keys" },
    make("i", { class: "content" }),
    " content ",
    make("i", { class: "position" }),
    " position, so far",
  );
  const node = make(
    "section",
    { "aria-label": "Tokens" },
    make(
      "div",
      { class: "controls" },
      Object.values(choices)
        .filter(Boolean)
        .map((box) => box.node),
      key.node,
      keys,
    ),
    place,
    read.node,
    sums,
  );
  return { node, update };
}

function flowPane(scene) {
  const drawing = make("div", { class: "stepflow" });
  const unit = Math.abs(Number(scene.data.value));
  const amounts = (side) => side.map(([name, x]) => [name, Number(x)]);
  const draw = (from, to) => clear(drawing, splits(amounts(from), amounts(to), unit, drawing.clientWidth || undefined));
  const update = async () => {
    const step = scene.step();
    draw(step.flow.from, step.flow.to);
    if (step.kind !== "attention" || /cross/.test(step.name) || !scene.data.offers?.includes("attention")) return;
    const found = (await scene.face.more("attention"))?.[`layer ${step.layer}`];
    if (found && scene.step() === step) draw(step.flow.from, insideAttention(step.flow.to, found));
  };
  const node = make("section", { "aria-label": "This step" }, make("h3", {}, "Where this step's relevance went"), drawing);
  return { node, update };
}

// What attention brought, taken apart: through values, through scores, and what its softmax keeps.
function insideAttention([[, brought], past], { values, scores }) {
  const kept = Number(brought) - Number(values) - Number(scores);
  return [["values", values], ["scores", scores], ["softmax", kept], past];
}

function accountPane(scene) {
  const { allowed, verdict } = scene.data.ledger;
  const book = ledgerOf("account so far", scene.step().account, allowed);
  const scale = largest(...scene.walk.map((step) => step.account.map(([, x]) => x)));
  const gap = make("p", { class: "quiet" });
  const update = () => {
    const { account } = scene.step();
    book.paint(account, scale);
    const left = account.find(([name]) => name === "gap")[1];
    const told = unlessRounding(left, allowed);
    const known = allowed !== null && !verdict.startsWith("cannot");
    gap.className = known ? (told === ROUNDING ? "good" : "bad") : "quiet";
    const missing = told === ROUNDING ? "only rounding is missing" : `the gap is ${told}`;
    write(gap, known ? `${missing}, ${tiny(allowed)} allowed` : `the gap: ${told}; ledger ${verdict}`);
  };
  return {
    node: make("section", { "aria-label": "Account so far" }, make("h3", {}, "The account so far"), book.node, gap),
    update,
  };
}

function rulePane(scene) {
  const body = make("div", { class: `rules${Object.keys(scene.data.rules).length ? " known" : ""}` });
  let drawn = null;
  const update = () => {
    const names = scene.step().rules.filter((name) => name in scene.data.rules);
    const first = scene.step().kind === "answer";
    if (drawn === names.join() + first) return;
    drawn = names.join() + first;
    const page = make("div");
    const show = (name) => clear(page, ruleCard(scene.data.rules[name]));
    if (names.length) show(names[0]);
    clear(
      body,
      names.length
        ? [
            choice(
              "Rules in force",
              names.map((name) => [name, scene.data.rules[name].name]),
              names[0],
              show,
            ).node,
            page,
          ]
        : make(
            "p",
            { class: "quiet" },
            Object.keys(scene.data.rules).length
              ? first
                ? "No rule yet: all of it is still one number, and nothing has moved."
                : "No rule of its own: what arrives here stays here."
              : "The result's card names no composite, so the rules are not known.",
          ),
    );
  };
  return { node: make("section", { "aria-label": "Rule" }, make("h3", {}, "The rule in force"), body), update };
}

function headsPane(scene) {
  const { face, data } = scene;
  const body = make("div");
  const node = make("section", { "aria-label": "Heads", hidden: "" }, make("h3", {}, "Heads"), body);
  const say = (text) => clear(body, make("p", { class: "quiet" }, text));
  let map = null;
  scene.rebuild.push(() => {
    map = heatOf(face, "relevance, heads by tokens", scene.columns);
  });
  const update = async () => {
    node.hidden = !face.get("heads");
    const { layer } = scene.step();
    if (node.hidden) return undefined;
    if (layer === null) return say("Heads belong to a layer: step to one.");
    if (!data.offers?.includes("heads")) return say('This result was made without heads. Type Options(detail={"heads"}).');
    const wanted = ["heads", "attention"].map((part) => (data.offers.includes(part) ? face.more(part) : null));
    const [found, attention] = await Promise.all(wanted);
    if (scene.step().layer !== layer) return undefined; // stepped on while waiting
    const rows = headRows(found, attention, layer);
    if (!rows.length) return say(`Nothing is kept by head in layer ${layer}.`);
    clear(body, map.node);
    return map.paint(rows.map((row) => ({ ...row, values: scene.gather(row.values) })));
  };
  return { node, update };
}

// What each head of a layer gave, and what its positions received as queries and as keys.
function headRows(found, attention, layer) {
  const rows = [];
  const add = (box, what) => unpacked(box).forEach((values, h) => rows.push({ name: `head ${h} ${what}`, values }));
  if (attention?.[`layer ${layer}`]?.heads) add(attention[`layer ${layer}`].heads, "output");
  for (const [sink, parts] of Object.entries(found ?? {})) {
    if (!new RegExp(`\\blayer ${layer}\\b`).test(sink)) continue;
    for (const [part, box] of Object.entries(parts)) add(box, `${part} position`);
  }
  return rows;
}
