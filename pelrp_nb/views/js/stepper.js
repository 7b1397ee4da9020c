// Walks from the answer back to the inputs, step by step, and says what happened on each.

const SPEED = { slow: 2400, normal: 1200, fast: 500 }; // milliseconds of one step
const KEYS = "Left and right arrow: one step. Page up and page down: one layer on, one back. Home and End: the answer and the inputs. "
  + "Space: play or pause. h: heads. On tokens, left and right move from token to token, Enter chooses one.";

kinds.stepper = (root, face) => {
  const scene = sceneOf(face, face.data);
  root.append(head(face.data), ...[filters(scene), stepper(scene)].filter(Boolean));
  scene.filtered();
};

function head(data) {
  const value = Number(data.value);
  const share = Number.isNaN(Number(data.share)) ? "nan" : percent(Number(data.share));
  const state = data.ledger.closed ? make("span", { class: "good" }, "ledger closed") : make("span", { class: "bad" }, "ledger OPEN");
  const said = [data.model, data.method, data.sinks.length ? `positions carry ${share}` : "no positions found in this model"];
  return make("header", {},
    make("h1", {}, `${data.target} `, make("span", { class: "amount" }, digits(Math.abs(value), 5)(value))),
    make("p", { class: "quiet" }, `${said.join(" \u00b7 ")} \u00b7 `, state));
}

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
  const node = section("Step by step", "From the answer back to the inputs: what each token carries on the way, and what is kept.",
    control.node, said, panes[0].node, panes[5].node, panes[4].node, make("div", { class: "columns" }, panes[1].node, panes[2].node), panes[3].node);
  shortcuts(scene, control);
  return node;
}

// --- the control ------------------------------------------------------------------------------------------------------

function walker(scene) {
  const { face, last } = scene;
  const still = window.matchMedia("(prefers-reduced-motion: reduce)");
  const text = (at) => {
    const step = scene.walk[at];
    const [tokens, gap] = ["tokens", "gap"].map((name) => step.account.find(([row]) => row === name)[1]);
    return `step ${at} of ${last}, ${step.name}, ${digits(Math.abs(tokens))(tokens)} on the tokens, gap ${tiny(gap)}`;
  };
  const marks = last > 160 ? [] : range(last + 1).filter((at) => scene.walk[at].kind === "layer");
  const layer = (at, by) => {
    const stops = range(last + 1).filter((stop) => ["answer", "layer", "inputs"].includes(scene.walk[stop].kind));
    return (by > 0 ? stops.find((stop) => stop > at) : stops.findLast((stop) => stop < at)) ?? (by > 0 ? last : 0);
  };
  const track = slider("Step", { max: last, page: layer, value: scene.at(), text, marks }, scene.go);
  const where = make("span", { class: "where" });
  let timer = null;
  const stop = () => { clearInterval(timer); timer = null; update(); };
  const play = () => {
    if (timer) return stop();
    if (still.matches) return scene.go(scene.at() + 1); // no motion of its own: one step per press
    if (scene.at() === last) scene.go(0);
    timer = setInterval(() => (scene.at() < last && root.isConnected ? scene.go(scene.at() + 1) : stop()), SPEED[face.get("speed")] ?? SPEED.normal);
    return update();
  };
  const { root } = face;
  const buttons = [press("\u00ab", "to the answer", () => scene.go(0), "far"), press("\u2039", "one step back", () => scene.go(scene.at() - 1)),
    press("\u25b6", "play", play), press("\u203a", "one step on", () => scene.go(scene.at() + 1)), press("\u00bb", "to the inputs", () => scene.go(last), "far")];
  const speed = select("Speed", Object.keys(SPEED).map((name) => [name, name]), face.get("speed") ?? "normal", (name) => { face.set({ speed: name }); stop(); });
  const update = () => {
    const at = scene.at();
    track.show(at);
    write(where, `${at} / ${last}${GAP}${scene.walk[at].name}`);
    buttons.forEach((button, i) => disable(button, i < 2 ? at === 0 : i > 2 && at === last));
    const name = timer ? "pause" : still.matches ? "one step on, without motion" : "play";
    if (buttons[2].title !== name) ["aria-label", "title"].forEach((key) => buttons[2].setAttribute(key, name));
    write(buttons[2], timer ? "\u275a\u275a" : "\u25b6");
  };
  const node = make("div", { role: "group", "aria-label": "Walk" },
    make("div", { class: "walker" }, buttons, track.node, where), make("div", { class: "controls small" }, speed.node, extras(face), fold("Keys", () => make("p", { class: "quiet" }, KEYS)).node));
  return { node, update, play, layer };
}

function extras(face) {
  return ["heads", "predict"].map((name) => {
    const box = toggle(name === "heads" ? "heads" : "predict, then step", face.get(name), (on) => face.set({ [name]: on }));
    face.on(name, box.show);
    return box.node;
  });
}

// Keys work anywhere in the view but where they mean something else.
function shortcuts(scene, control) {
  const run = {
    ArrowRight: () => scene.go(scene.at() + 1), ArrowLeft: () => scene.go(scene.at() - 1),
    PageUp: () => scene.go(control.layer(scene.at(), 1)), PageDown: () => scene.go(control.layer(scene.at(), -1)), Home: () => scene.go(0), End: () => scene.go(scene.last),
    " ": control.play, h: () => scene.face.set({ heads: !scene.face.get("heads") }), "?": () => scene.face.root.querySelector("details > summary")?.click(),
  };
  scene.face.root.addEventListener("keydown", (event) => {
    const own = event.target.closest("input, select, textarea, button, summary, .scroll, pre");
    const typed = own && (!own.matches("button") || event.key === " ") && event.key !== "h" && event.key !== "?";
    if (event.defaultPrevented || event.altKey || event.ctrlKey || event.metaKey || typed || !(event.key in run) || event.target.matches("input[type=text], textarea")) return;
    event.preventDefault();
    run[event.key]();
  });
}

// --- its panes --------------------------------------------------------------------------------------------------------

function tokensPane(scene) {
  const { face, data } = scene;
  const [place, key, sums] = [make("div", { class: "pairs" }), legend(), make("p", { class: "quiet" })];
  const set = (name) => (value) => face.set({ [name]: value });
  const reductions = Object.keys(data.parts).map((name) => [name, name]);
  const choices = {
    part: choice("Show", Object.entries(PARTS), scene.part(), set("part")),
    reduction: reductions.length > 1 && choice("Reduction", reductions, scene.reduction(), set("reduction")),
    scaled: choice("Colour", [["this", "this step"], ["all", "all steps"]], face.get("scaled") ?? "this", set("scaled")),
  };
  for (const [name, box] of Object.entries(choices)) if (box) face.on(name, box.show);
  let strip = null;
  let values = null;
  const show = (x) => digits(widest(scene))(x);
  const read = readout(face, ({ ids }) => (values ? Object.keys(PARTS).filter((part) => values[part]).map((part) => `${part} ${show(summed(values[part], ids))}`) : []));
  const build = () => {
    strip = stripOf(face, "tokens", scene.columns);
    clear(place, strip.node);
  };
  scene.rebuild.unshift(build);
  const update = () => {
    const step = scene.step();
    values = amountsOn(scene, step);
    if (!values) return write(sums, "The places of this boundary are not the tokens of the input; its sum is in the account.");
    const part = values[scene.part()] ?? values.content;
    const own = largest(...[values.content, values.position, values.both].filter(Boolean).map(scene.gather));
    const all = step.kind === "inputs" && scene.reduction() !== "signed" ? own : widest(scene);
    const scale = (face.get("scaled") ?? "this") === "all" ? Math.max(all, own) : own;
    strip.paint([{ values: scene.gather(part), scale, shown: all }]);
    strip.pair(scene.gather(values.content), values.position ? scene.gather(values.position) : [], scale);
    key.paint(scale);
    read.update();
    const stated = Object.keys(PARTS).filter((name) => values[name]).map((name) => `${name} ${show(total(values[name]))}`);
    const only = scene.reduction() === "signed" || step.kind !== "inputs" ? "" : " Only the signed reduction is conserved.";
    return write(sums, `Sum of ${data.tokens.length.toLocaleString("en")} tokens: ${stated.join(", ")}.${only}`);
  };
  const keys = make("span", { class: "keys" }, make("i", { class: "content" }), " content ", make("i", { class: "position" }), " position, as far as paid");
  const node = make("section", { "aria-label": "Tokens" },
    make("div", { class: "controls" }, Object.values(choices).filter(Boolean).map((box) => box.node), key.node, keys), place, read.node, sums);
  return { node, update };
}

function flowPane(scene) {
  const drawing = make("div", { class: "stepflow" });
  const update = () => {
    const { flow } = scene.step();
    clear(drawing, splits(flow.from.map(([name, x]) => [name, Number(x)]), flow.to.map(([name, x]) => [name, Number(x)]), Math.abs(Number(scene.data.value))));
  };
  return { node: make("section", { "aria-label": "This step" }, make("h3", {}, "Where this step's relevance went"), drawing), update };
}

function accountPane(scene) {
  const book = ledgerOf("account so far", scene.step().account);
  const scale = largest(...scene.walk.map((step) => step.account.map(([, x]) => x)));
  const gap = make("p", { class: "quiet" });
  const update = () => {
    const { account } = scene.step();
    book.paint(account, scale);
    const left = account.find(([name]) => name === "gap")[1];
    gap.className = Math.abs(left) <= scene.data.ledger.allowed ? "good" : "bad";
    write(gap, `gap ${tiny(left)}, allowed ${tiny(scene.data.ledger.allowed)}`);
  };
  return { node: make("section", { "aria-label": "Account so far" }, make("h3", {}, "The account so far"), book.node, gap), update };
}

function rulePane(scene) {
  const body = make("div", { class: `rules${Object.keys(scene.data.rules).length ? " known" : ""}` });
  let drawn = null;
  const update = () => {
    const names = scene.step().rules.filter((name) => name in scene.data.rules);
    if (drawn === names.join()) return;
    drawn = names.join();
    const page = make("div");
    const show = (name) => clear(page, ruleCard(scene.data.rules[name]));
    if (names.length) show(names[0]);
    clear(body, names.length ? [choice("Rules in force", names.map((name) => [name, scene.data.rules[name].name]), names[0], show).node, page]
      : make("p", { class: "quiet" }, Object.keys(scene.data.rules).length ? "No rule yet: nothing has moved." : "The result's card names no composite, so the rules are not known."));
  };
  return { node: make("section", { "aria-label": "Rule" }, make("h3", {}, "The rule in force"), body), update };
}

// A rule's page: what it says, its formula, its own source lines.
function ruleCard(rule) {
  return make("div", { class: "rule" }, make("p", {}, `${rule.sentence} `, make("span", { class: "quiet" }, `Conserves ${rule.conserves}. ${rule.paper}.`)),
    formula(rule.formula),
    fold("the definition, as it is written", () => source(rule.relevance, `definition of ${rule.name}`)).node,
    fold("the fast form, as it is run", () => source(rule.forward, `fast form of ${rule.name}`)).node);
}

function headsPane(scene) {
  const { face, data } = scene;
  const body = make("div");
  const node = make("section", { "aria-label": "Heads", hidden: "" }, make("h3", {}, "Heads"), body);
  const update = async () => {
    node.hidden = !face.get("heads");
    const { layer } = scene.step();
    if (node.hidden) return;
    if (layer === null) return clear(body, make("p", { class: "quiet" }, "Heads belong to a layer: step to one."));
    if (!data.offers?.includes("heads")) {
      return clear(body, make("p", { class: "quiet" }, "This result was made without heads. Type explain(..., options=Options(detail={\"heads\"}))."));
    }
    const [found, attention] = await Promise.all([face.more("heads"), data.offers.includes("attention") ? face.more("attention") : null]);
    if (scene.step().layer !== layer) return undefined; // stepped on while waiting
    const rows = headRows(found, attention, layer);
    if (!rows.length) return clear(body, make("p", { class: "quiet" }, `Nothing is kept by head in layer ${layer}.`));
    const map = heatOf(face, `heads of layer ${layer}`, scene.columns);
    map.paint(rows.map((row) => ({ ...row, values: scene.gather(row.values) })));
    return clear(body, map.node);
  };
  return { node, update };
}

function headRows(found, attention, layer) {
  const rows = [];
  const here = attention?.[`layer ${layer}`];
  if (here?.heads) unpacked(here.heads).forEach((values, h) => rows.push({ name: `head ${h} output`, values }));
  for (const [sink, parts] of Object.entries(found ?? {})) {
    if (!new RegExp(`\\blayer ${layer}\\b`).test(sink)) continue;
    for (const [part, box] of Object.entries(parts)) unpacked(box).forEach((values, h) => rows.push({ name: `head ${h} ${part} position`, values }));
  }
  return rows;
}
