// One module draws the result, in a file, an iframe or a notebook cell.  Python owns the numbers: here they are only shown.
// A token may be any text, so text enters the page through textContent alone.

const WINDOW = 120; // tokens shown at a time
const PARTS = { both: "both", content: "content", position: "position" };
const ROWS = { stream: "after the layer", attention: "attention", mlp: "MLP" };
let groups = 0;

export function render({ model, el }) {
  const root = make("div", { class: "pelrp" });
  el.replaceChildren(root);
  root.addEventListener("keydown", (event) => event.stopPropagation()); // a notebook has shortcuts of its own
  const draw = () => {
    try {
      root.replaceChildren(...views(model.get("explanation")));
    } catch (error) {
      root.replaceChildren(make("p", { role: "alert" }, `This result could not be drawn: ${error.message}`));
    }
  };
  model.on("change:explanation", draw);
  draw();
  return () => model.off("change:explanation", draw);
}

function views(data) {
  const names = Object.keys(data.streams);
  const body = make("div");
  const show = (name) => body.replaceChildren(...sections(name ? data.streams[name] : data));
  show("");
  if (!names.length) return [body];
  return [make("div", { class: "controls" }, choice("Input", ["", ...names].map((name) => [name, name || "all"]), show)), body];
}

function sections(data) {
  const page = { data, from: 0, redraw: [] };
  const drawn = [head(data), pager(page), tokens(page), layers(page), positions(page), ledger(data), card(data)];
  page.redraw.forEach((draw) => draw());
  return drawn.filter(Boolean);
}

// --- sections ---------------------------------------------------------------------------------------------------------

function head(data) {
  const value = Number(data.value);
  const facts = [...data.facts, data.sinks.length ? `positions carry ${percent(data.share)}` : "no positions found in this model"];
  facts.push(data.ledger.closed ? "ledger closed" : "ledger OPEN");
  return make("header", {},
    make("h1", {}, `${data.target} `, make("span", { class: "amount" }, digits(Math.abs(value), 5)(value))),
    make("p", { class: "quiet" }, facts.join(" · ")));
}

function pager(page) {
  const count = page.data.tokens.length;
  if (count <= WINDOW) return null;
  const where = make("span", { "aria-live": "polite" });
  const go = (by) => {
    page.from = clamp(page.from + by, 0, Math.floor((count - 1) / WINDOW) * WINDOW);
    page.redraw.forEach((draw) => draw());
  };
  const [back, on] = [press("\u2039", "previous tokens", () => go(-WINDOW)), press("\u203a", "next tokens", () => go(WINDOW))];
  page.redraw.push(() => {
    const last = Math.min(page.from + WINDOW, count);
    where.textContent = `tokens ${page.from} to ${last - 1} of ${count.toLocaleString("en")}; sums are over all`;
    disable(back, page.from === 0);
    disable(on, last === count);
  });
  return make("div", { class: "controls" }, back, where, on);
}

function tokens(page) {
  const { data } = page;
  const state = { part: "both", reduction: "signed" };
  const [strip, out, key, totals] = [list("tokens"), readout(), make("span", { class: "scale" }), make("p", { class: "quiet" })];
  const draw = () => {
    const parts = mapped(data.parts[state.reduction], numbers);
    const scale = largest(...Object.values(parts));
    const show = digits(scale);
    const told = (t) => [named(data, t), ...Object.keys(PARTS).map((part) => `${PARTS[part]} ${show(parts[part][t])}`)];
    fill(strip, out, shown(page).map((t) => {
      const amount = parts[state.part][t];
      const block = make("button", { type: "button", class: `token ${shade(amount, scale, data.steps)}` },
        ...label(data.tokens[t]), make("small", {}, show(amount)));
      return [t, block, told(t), data.special[t]];
    }));
    legend(key, scale, data.steps);
    const sums = data.sums[state.reduction];
    totals.textContent = `Sum of ${data.tokens.length.toLocaleString("en")} tokens: `
      + Object.keys(sums).map((part) => `${PARTS[part]} ${show(Number(sums[part]))}`).join(", ")
      + (state.reduction === "signed" ? "." : ". Only the signed reduction is conserved.");
  };
  page.redraw.push(draw);
  const reductions = Object.keys(data.parts).map((name) => [name, name]);
  return section("Tokens", "What each token adds to the answer: orange for it, purple against it. "
    + "Content is what a token says, position is where it stands.",
    make("div", { class: "controls" },
      choice("Show", Object.entries(PARTS), (part) => { state.part = part; draw(); }),
      reductions.length > 1 && choice("Reduction", reductions, (name) => { state.reduction = name; draw(); }), key),
    strip, out, totals);
}

function layers(page) {
  const { data } = page;
  const steps = stepsOf(data);
  if (!steps.length) return null;
  const state = { at: steps.length - 1, scale: "all" };
  const [strip, out, key] = [list("tokens at this layer"), readout(), make("span", { class: "scale" })];
  const control = stepper(steps, state, () => draw());
  const all = fold("All layers in one table");
  const scaleOf = (step) => largest(...Object.keys(ROWS).map((row) => step[row]?.values ?? []));
  const whole = largest(...steps.map((step) => [scaleOf(step)]));
  const draw = () => {
    const step = steps[state.at];
    const scale = state.scale === "all" ? whole : scaleOf(step);
    const show = digits(whole);
    control.update();
    const blocks = shown(page).map((t) => {
      const rows = Object.keys(ROWS).map((row) => [row, step[row]?.values[t]]);
      const lines = rows.map(([, x]) => make("small", { class: x === undefined ? "" : shade(x, scale, data.steps) }, x === undefined ? "" : show(x)));
      const told = rows.filter(([, x]) => x !== undefined).map(([row, x]) => `${row === "stream" ? step.stream.name : ROWS[row]} ${show(x)}`);
      return [t, make("button", { type: "button", class: "token stack" }, ...label(data.tokens[t]), ...lines), [named(data, t), ...told], data.special[t]];
    });
    fill(strip, out, blocks);
    strip.prepend(rowNames(step));
    legend(key, scale, data.steps);
    all.fill(() => grid(page, steps.map((s) => s.stream).filter(Boolean), whole, step.stream));
  };
  page.redraw.push(draw);
  return section("Layer by layer", "The same relevance at each boundary on the way back: after each layer, and what its attention and its MLP brought.",
    control.node, strip, out,
    make("div", { class: "controls" },
      choice("Colour scale", [["all", "all layers"], ["this", "this layer"]], (scale) => { state.scale = scale; draw(); }), key),
    all.node);
}

function positions(page) {
  const { data } = page;
  const about = "Where positions enter, and whose position was paid there.";
  if (!data.sinks.length) return section("Positions", "No positions were found in this model: there is no sink.");
  const rows = data.sinks.map((sink) => ({ ...sink, values: numbers(sink.relevance), total: Number(sink.total) }));
  const scale = largest(...rows.map((row) => row.values));
  const [place, key] = [make("div"), make("span", { class: "scale" })];
  legend(key, scale, data.steps);
  page.redraw.push(() => place.replaceChildren(grid(page, rows, scale)));
  const half = data.sinks.some((sink) => sink.kind === "rotary")
    && " For rotary positions, half of the query-key path goes to positions by construction: a convention, no measurement of the rotation.";
  return section("Positions", about + (half || ""), make("div", { class: "controls" }, key), place);
}

function ledger(data) {
  const rows = data.ledger.rows.map(([name, amount]) => [name, Number(amount)]);
  const scale = largest(rows.map(([, amount]) => amount));
  const show = digits(scale, 5);
  const line = ([name, amount]) => make("tr", { class: name },
    make("th", { scope: "row" }, name), make("td", {}, show(amount)), make("td", { class: "wide" }, bar(amount, scale, data.steps)));
  const keepers = Object.entries(data.ledger.keepers).concat([["gap", data.ledger.layers]]).map(([name, list]) => {
    if (!list.length) return null;
    const part = fold(name === "gap" ? "gap seen at each boundary" : `${name} by name (${list.length.toLocaleString("en")})`);
    const one = name === "gap" ? digits(largest(list.map((x) => Number(x[1])))) : show;
    part.fill(() => facts(list.map(([key, x]) => [key, one(Number(x))]), "number"));
    return part.node;
  });
  return section("Ledger", "Where every unit of the value went. The gap is what nobody can explain.",
    make("table", { class: "book" }, make("tbody", {}, ...rows.map(line))),
    make("p", { class: "quiet", role: "status" }, `Ledger ${data.ledger.state}.`), ...keepers);
}

function card(data) {
  if (!data.card.length) return null;
  const part = fold("What is needed to run it again");
  part.fill(() => facts(data.card, ""));
  return make("section", { "aria-label": "Card" }, part.node);
}

// --- the layer control ------------------------------------------------------------------------------------------------

function stepsOf(data) {
  const steps = new Map();
  for (const boundary of data.boundaries) {
    const id = boundary.layer ?? "start";
    if (!steps.has(id)) steps.set(id, {});
    const row = boundary.kind === "attention" || boundary.kind === "mlp" ? boundary.kind : "stream";
    const values = boundary.relevance.length === data.tokens.length ? numbers(boundary.relevance) : [];
    steps.get(id)[row] = { ...boundary, values, total: Number(boundary.total) };
  }
  return [...steps.values()];
}

function stepper(steps, state, draw) {
  const last = steps.length - 1;
  const go = (at) => { state.at = clamp(at, 0, last); draw(); };
  const spot = make("b");
  const place = (i) => `${last ? (100 * i) / last : 50}%`;
  const ticks = steps.map((_, i) => { const tick = make("i"); tick.style.left = place(i); return tick; });
  const track = make("div", { class: "track", role: "slider", tabindex: "0", "aria-label": "Layer", "aria-valuemin": "0",
    "aria-valuemax": String(last), "data-lm-suppress-shortcuts": "true" }, ...(last > 120 ? [] : ticks), spot);
  const keys = { ArrowLeft: -1, ArrowDown: -1, ArrowRight: 1, ArrowUp: 1, PageDown: -4, PageUp: 4, Home: -Infinity, End: Infinity };
  const press1 = (event) => {
    if (!(event.key in keys) || event.altKey || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    go(state.at + keys[event.key]);
  };
  const point = (event) => {
    const { left, width } = track.getBoundingClientRect();
    go(Math.round((last * (event.clientX - left)) / width));
  };
  track.addEventListener("pointerdown", (event) => { track.setPointerCapture(event.pointerId); point(event); });
  track.addEventListener("pointermove", (event) => { if (track.hasPointerCapture(event.pointerId)) point(event); });
  const buttons = [press("\u00ab", "first boundary", () => go(0), "far"), press("\u2039", "back one layer", () => go(state.at - 1)),
    press("\u203a", "on one layer", () => go(state.at + 1)), press("\u00bb", "last boundary", () => go(last), "far")];
  const out = make("output", { "aria-live": "polite" });
  const node = make("div", { role: "group", "aria-label": "Step through the layers" },
    make("div", { class: "stepper" }, buttons[0], buttons[1], track, buttons[2], buttons[3]), out);
  node.addEventListener("keydown", press1);
  const update = () => {
    const text = told(steps[state.at]);
    spot.style.left = place(state.at);
    track.setAttribute("aria-valuenow", String(state.at));
    track.setAttribute("aria-valuetext", text);
    out.textContent = text;
    buttons.forEach((button, i) => disable(button, state.at === (i < 2 ? 0 : last)));
  };
  return { node, update };
}

function told(step) {
  const sum = ([row, name]) => step[row] && `${name} ${digits(Math.abs(step[row].total))(step[row].total)}`;
  const name = step.stream?.name ?? step.attention?.name ?? step.mlp?.name;
  const gap = step.stream?.gap;
  const parts = [`${name}:`, ...Object.entries({ stream: "total", attention: "attention", mlp: "MLP" }).map(sum).filter(Boolean)];
  if (gap !== null && gap !== undefined) parts.push(`gap ${Number(gap).toExponential(1).replace("-", "\u2212").replace("e-", "e\u2212")}`);
  return parts.join(" \u2002");
}

function rowNames(step) {
  const rows = Object.keys(ROWS).map((row) => make("small", {}, step[row] ? (row === "stream" && step.stream.kind === "embeddings" ? "embeddings" : ROWS[row]) : ""));
  return make("li", { class: "names", "aria-hidden": "true" }, make("span", { class: "label" }, "x"), ...rows);
}

// --- pieces -----------------------------------------------------------------------------------------------------------

function grid(page, rows, scale, current) {
  const { data } = page;
  const [show, columns] = [digits(scale), shown(page)];
  const top = make("tr", {}, make("td"), make("th", { scope: "col" }, "sum"),
    ...columns.map((t) => make("th", { scope: "col", title: named(data, t) }, ...label(data.tokens[t]))));
  const body = rows.map((row) => make("tr", { class: row === current ? "current" : "" },
    make("th", { scope: "row", title: row.name }, make("span", { class: "label" }, row.name)),
    make("td", { class: "sum" }, digits(largest(rows.map((r) => r.total)))(row.total)),
    ...columns.filter((t) => t < row.values.length).map((t) =>
      make("td", { class: shade(row.values[t], scale, data.steps), title: `${row.name}, ${named(data, t)}` }, show(row.values[t])))));
  return make("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "relevance by row and token" },
    make("table", { class: "grid" }, make("thead", {}, top), make("tbody", {}, ...body)));
}

function bar(amount, scale, steps) {
  const part = scale > 0 && Number.isFinite(amount) ? clamp(amount / scale, -1, 1) : 0;
  const filled = make("i", { class: `p${Math.sign(part) * Math.round(0.75 * steps)}` });
  filled.style.left = `${part < 0 ? 50 + 50 * part : 50}%`;
  filled.style.width = `${50 * Math.abs(part)}%`;
  return make("span", { class: "bar", "aria-hidden": "true" }, filled);
}

function fill(strip, out, blocks) {
  strip.replaceChildren(...blocks.map(([t, block, told, special], i) => {
    block.tabIndex = i === 0 ? 0 : -1;
    block.dataset.token = t;
    block.dataset.lmSuppressShortcuts = "true";
    const tell = () => out.replaceChildren(make("b", {}, told[0]), ` \u2002${told.slice(1).join(" \u2002")}`);
    block.addEventListener("mouseenter", tell);
    block.addEventListener("focus", tell);
    return make("li", { class: special ? "special" : "" }, block);
  }));
}

function list(name) {
  const strip = make("ol", { class: "strip", "aria-label": name });
  strip.addEventListener("keydown", (event) => {
    const blocks = [...strip.querySelectorAll("button")];
    const at = blocks.indexOf(event.target);
    const to = { ArrowLeft: at - 1, ArrowRight: at + 1, Home: 0, End: blocks.length - 1 }[event.key];
    if (at < 0 || to === undefined || !blocks[to]) return;
    event.preventDefault();
    blocks[at].tabIndex = -1;
    blocks[to].tabIndex = 0;
    blocks[to].focus();
  });
  return strip;
}

function choice(name, options, chosen) {
  const group = `pelrp-${groups++}`;
  const labels = options.map(([value, text], i) => {
    const input = make("input", { type: "radio", name: group, value, "data-lm-suppress-shortcuts": "true" });
    input.checked = i === 0;
    input.addEventListener("change", () => chosen(value));
    return make("label", {}, input, make("span", {}, text));
  });
  return make("fieldset", {}, make("legend", {}, name), make("div", { class: "options" }, ...labels));
}

function fold(name) {
  const node = make("details", {}, make("summary", {}, name));
  const body = make("div");
  let build = () => "";
  node.append(body);
  node.addEventListener("toggle", () => node.open && body.replaceChildren(build()));
  return { node, fill(next) { build = next; if (node.open) body.replaceChildren(build()); } };
}

const section = (name, about, ...parts) =>
  make("section", { "aria-label": name }, make("h2", {}, name), make("p", { class: "quiet" }, about), ...parts);
const readout = () => make("p", { class: "readout quiet" }, "Point at a token, or move over them with the arrow keys.");
const facts = (rows, kind) => make("div", { class: "scroll" }, make("table", { class: "facts" }, make("tbody", {},
  ...rows.map(([key, value]) => make("tr", {}, make("th", { scope: "row" }, key), make("td", { class: kind }, value))))));

function press(sign, name, action, kind = "") {
  const button = make("button", { type: "button", class: `press ${kind}`, "aria-label": name, title: name, "data-lm-suppress-shortcuts": "true" }, sign);
  button.addEventListener("click", () => button.getAttribute("aria-disabled") === "true" || action());
  return button;
}

function legend(node, scale, steps) {
  const show = digits(scale, 3);
  const swatches = Array.from({ length: 11 }, (_, i) => make("span", { class: `p${Math.round((i / 5 - 1) * steps)}` }));
  node.replaceChildren(show(-scale), make("i", { "aria-hidden": "true" }, ...swatches), show(scale));
}

function label(token) {
  const parts = typeof token === "string" ? [[token, false]] : token;
  return [make("span", { class: "label", dir: "auto" }, ...parts.map(([text, chip]) => (chip ? make("span", { class: "chip" }, text) : text)))];
}

function make(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children.filter((child) => child !== null && child !== false && child !== undefined)); // strings become text nodes
  return node;
}

const disable = (button, off) => button.setAttribute("aria-disabled", String(off));
const shown = ({ data, from }) => Array.from({ length: Math.min(WINDOW, data.tokens.length - from) }, (_, i) => from + i);
const spelled = (token) => (typeof token === "string" ? token : token.map(([text, chip]) => (chip ? `\u27e8${text}\u27e9` : text)).join(""));
const named = (data, t) => `${t} ${spelled(data.tokens[t])}`;
const numbers = (values) => values.map(Number);
const mapped = (object, change) => Object.fromEntries(Object.entries(object).map(([key, value]) => [key, change(value)]));
const clamp = (x, low, high) => Math.max(low, Math.min(high, x));
const percent = (share) => (Number.isNaN(Number(share)) ? "nan" : `${Math.round(100 * Number(share))} %`);
const largest = (...columns) => columns.reduce((most, column) => column.reduce((m, x) => (Number.isFinite(x) ? Math.max(m, Math.abs(x)) : m), most), 0);

function shade(amount, scale, steps) {
  if (Number.isNaN(amount)) return "nan";
  const part = Number.isFinite(amount) ? (scale > 0 ? clamp(amount / scale, -1, 1) : 0) : Math.sign(amount);
  return `p${Math.round(part * steps) || 0}`;
}

function digits(scale, figures = 4) {
  const power = scale > 0 && Number.isFinite(scale) ? Math.floor(Math.log10(scale)) : 0;
  const exponent = power < -4 || power > 6;
  const count = exponent ? figures - 1 : clamp(figures - 1 - power, 0, figures + 3);
  return (x) => {
    if (Number.isNaN(x)) return "nan";
    if (!Number.isFinite(x)) return x > 0 ? "+inf" : "\u2212inf";
    const text = exponent ? Math.abs(x).toExponential(count).replace("-", "\u2212") : Math.abs(x).toFixed(count);
    return Number(text.replace("\u2212", "-")) === 0 ? (0).toFixed(count) : (x < 0 ? "\u2212" : "+") + text;
  };
}
