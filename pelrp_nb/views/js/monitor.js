// The monitor: settings, a run, and the boundaries filling in from the last layer to the first while relevance walks back.

const ENDED = { done: "done", cancelled: "cancelled", failed: "failed", idle: "nothing has run yet" };
const UNDER_WAY = {
  waiting: "waiting for the run before",
  loading: "loading the model",
  forward: "forward pass",
  backward: "walking back",
};
const SETTINGS = ["text", "model", "target", "contrast", "method", "device", "audit", "typing"];
const TRUNK = ["layer", "embeddings"]; // boundaries that all relevance crosses
const PAUSE = 700; // milliseconds without a key that count as a pause of typing

kinds.monitor = (root, face) => {
  const notice = silence();
  const form = settingsOf(
    face,
    () => run(),
    () => alive.ask("cancel"),
  );
  const meter = meterOf();
  const shown = resultOf(face);
  const walk = walkOf(face, () => alive.ask("walk"));
  const alive = aliveOf(face, (state) => {
    notice.show(state);
    form.live(state);
    walk.live(state);
  });
  const run = () => alive.ask("run", { settings: form.values() });
  root.append(form.node, notice.node, meter.node, shown.node, walk.node);

  let report = traitOf(face, "report");
  const draw = () => {
    const busy = report.phase in UNDER_WAY;
    form.busy(busy);
    meter.show(report, waysOf(report).length);
    shown.show(report);
    walk.offer(report);
    if (busy) alive.wait();
    else alive.quiet();
  };
  face.listen("change:report", () => {
    report = traitOf(face, "report");
    alive.heard();
    form.labels(report.labels);
    draw();
  });
  face.listen("msg:custom", (message) => {
    if (message.serial !== report.serial) return;
    if (message.walk) walk.show(message.walk);
    if (message.from === undefined) return;
    const boundaries = report.boundaries.slice(0, message.from).concat(message.boundaries);
    report = { ...report, boundaries, phase: message.phase, times: message.times, memory: message.memory };
    draw();
  });
  form.labels(report.labels);
  draw();
  alive.begin();
};

// The boundaries that the walk back will cross, as far as those behind it tell: each stream from its last layer to its embeddings.
function waysOf(report) {
  const streams = new Map();
  for (const { name, kind, layer } of report.boundaries) {
    const prefix = kind === "embeddings" ? name.slice(0, -"embeddings".length) : name.slice(0, name.lastIndexOf("layer "));
    streams.set(prefix, Math.max(streams.get(prefix) ?? 0, (layer ?? -1) + 1));
  }
  return [...streams].flatMap(([prefix, layers]) => [
    ...range(layers)
      .reverse()
      .map((layer) => `${prefix}layer ${layer}`),
    `${prefix}embeddings`,
  ]);
}

// --- settings ---------------------------------------------------------------------------------------------------------

function settingsOf(face, run, cancel) {
  const { data, model } = face;
  const fields = {};
  let pause = null;
  const keep = (name, value) => {
    model.set(name, value);
    model.save_changes();
  };
  const text = make("textarea", {
    rows: 2,
    "aria-label": "Text",
    placeholder: "Type a text",
    spellcheck: "false",
    dir: "auto",
    ...QUIET,
  });
  const waited = () => {
    keep("text", text.value);
    if (traitOf(face, "typing")) run();
  };
  text.addEventListener("input", () => {
    clearTimeout(pause);
    pause = setTimeout(waited, PAUSE);
  });
  text.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
    event.preventDefault();
    clearTimeout(pause);
    keep("text", text.value);
    run();
  });
  fields.text = {
    node: text,
    get: () => text.value,
    show: (value) => {
      if (text.value !== value) text.value = value;
    },
    boxes: [text],
  };
  const known = `pelrp-${unique++}`;
  const labels = make("datalist", { id: known });
  const put = (name, field, boxes) => {
    fields[name] = { ...field, get: () => traitOf(face, name), boxes };
  };
  for (const [name, title, options] of [
    ["model", "Model", data.models],
    ["method", "Method", data.methods],
    ["device", "Device", [["", "where it is"], ...data.devices.map((device) => [device, device])]],
  ]) {
    const field = select(title, options, traitOf(face, name), (value) => keep(name, value));
    put(name, field, [field.node.lastChild]);
  }
  for (const [name, title, hint] of [
    ["target", "Target", "highest logit"],
    ["contrast", "Rather than", "nothing"],
  ]) {
    const box = make("input", {
      type: "text",
      "aria-label": title,
      placeholder: hint,
      list: known,
      size: 14,
      spellcheck: "false",
      ...QUIET,
    });
    box.addEventListener("change", () => keep(name, box.value));
    box.addEventListener("keydown", (event) => {
      if (event.key === "Enter") {
        keep(name, box.value);
        run();
      }
    });
    fields[name] = {
      node: make("label", { class: "pick" }, make("span", {}, title), box),
      get: () => box.value,
      show: (value) => {
        if (box.value !== value) box.value = value;
      },
      boxes: [box],
    };
  }
  for (const [name, title] of [
    ["audit", "measure every softmax"],
    ["typing", "run at each pause of typing"],
  ]) {
    const field = toggle(title, traitOf(face, name), (value) => keep(name, value));
    put(name, field, [field.node.firstChild]);
  }
  for (const name of SETTINGS) {
    fields[name].show(traitOf(face, name));
    face.listen(`change:${name}`, () => fields[name].show(traitOf(face, name)));
  }
  const picks = data.texts.map((each, i) => [String(i), each.length > 60 ? `${each.slice(0, 58)}\u2026` : each]);
  const pick =
    picks.length > 0 &&
    select("Pick a text", [["", "\u2014"], ...picks], "", (at) => {
      if (at === "") return;
      fields.text.show(data.texts[Number(at)]);
      waited();
    });
  const [go, stop] = [action("Run", run, "main"), action("Cancel", cancel)];
  const node = make(
    "div",
    { class: "settings", role: "group", "aria-label": "What to explain" },
    make("div", { class: "typed" }, text, make("div", { class: "runs" }, go, stop)),
    make(
      "div",
      { class: "picks" },
      pick && pick.node,
      fields.model.node,
      fields.method.node,
      fields.target.node,
      fields.contrast.node,
      data.devices.length > 1 && fields.device.node,
    ),
    make("div", { class: "controls" }, fields.audit.node, fields.typing.node),
    labels,
  );
  return {
    node,
    values: () => Object.fromEntries(SETTINGS.map((name) => [name, fields[name].get()])),
    labels: (names) =>
      clear(
        labels,
        (names ?? []).map((name) => make("option", { value: name })),
      ),
    busy(on) {
      disable(stop, !on || node.dataset.off === "true");
    },
    live(state) {
      const off = state === "none";
      node.dataset.off = String(off);
      disable(go, off);
      for (const { boxes } of Object.values(fields))
        boxes.forEach((box) => {
          box.disabled = off;
        });
      if (pick) pick.node.lastChild.disabled = off;
    },
  };
}

// --- how far it is ----------------------------------------------------------------------------------------------------

function meterOf() {
  const done = make("i");
  const line = make(
    "div",
    { class: "progress", role: "progressbar", "aria-label": "Layers walked back", "aria-valuemin": 0 },
    done,
  );
  const [words, amounts, said] = [make("span", { class: "phase" }), make("span", { class: "quiet" }), spoken("hidden")];
  const node = make("div", { class: "meter" }, line, make("p", {}, words, " ", amounts), said);
  const show = (report, ways) => {
    const crossed = report.boundaries.filter(({ kind }) => TRUNK.includes(kind)).length;
    const [ended, all] = [report.phase in ENDED, Math.max(1, ways)];
    const now = report.phase === "done" ? all : crossed;
    done.style.width = `${(100 * now) / all}%`;
    line.dataset.phase = report.phase;
    line.setAttribute("aria-valuemax", all);
    line.setAttribute("aria-valuenow", now);
    line.setAttribute("aria-valuetext", ENDED[report.phase] ?? UNDER_WAY[report.phase]);
    const where =
      report.phase === "backward" && ways ? `${UNDER_WAY.backward}: ${crossed} of ${ways} boundaries` : UNDER_WAY[report.phase];
    write(words, report.phase === "failed" ? "failed" : (where ?? ENDED[report.phase]));
    write(amounts, [time(report.times), memory(report.memory)].filter(Boolean).join(GAP));
    if (ended) write(said, spokenEnd(report));
    else write(said, "running");
  };
  return { node, show };
}

function spokenEnd({ phase, result, error }) {
  if (phase === "done")
    const closed = result.closed ? "closed" : `open at ${result.opened}`;
    return `Done. ${result.target} ${digits(Math.abs(result.value), 5)(Number(result.value))}. Ledger ${closed}.`;
  return phase === "failed" ? `Failed. ${error.text}` : ENDED[phase];
}

const ms = (seconds) => (seconds < 10 ? `${Math.round(1000 * seconds)} ms` : `${seconds.toFixed(1)} s`);

function time(times) {
  const parts = ["loading", "forward", "backward"]
    .filter((name) => times[name] >= (name === "loading" ? 0.05 : 0))
    .map((name) => `${name} ${ms(times[name])}`);
  return times.total === undefined ? "" : `${ms(times.total)}${parts.length ? ` (${parts.join(", ")})` : ""}`;
}

const memory = (found) =>
  found && `${found[0] < 1e9 ? `${Math.round(found[0] / 1e6)} MB` : `${(found[0] / 1e9).toFixed(2)} GB`} (${found[1]})`;

// --- what came out ----------------------------------------------------------------------------------------------------

const WIDE = 120; // tokens that get a column of their own

function resultOf(face) {
  const node = make("div");
  let serial = null;
  let page = null;
  const show = (report) => {
    const now = `${report.serial} ${report.tokens.length}`;
    if (now !== serial) {
      serial = now;
      page = report.tokens.length ? pageOf(face, report) : null;
    }
    const some = page && (report.phase !== "failed" || report.boundaries.length > 0);
    if (some) page.show(report);
    if (report.phase === "failed") return clear(node, failure(report.error), some && page.node);
    if (!page) return clear(node);
    if (node.firstChild !== page.node) clear(node, page.node);
    return undefined;
  };
  return { node, show };
}

const failure = ({ kind, text, ours }) =>
  make(
    "div",
    { class: "failure", role: "alert" },
    make("p", {}, make("b", {}, ours ? "This cannot be explained as it is." : `The model broke off with ${kind}.`)),
    make("p", {}, text),
    make("p", { class: "quiet" }, "The kernel goes on, and the model is as it was."),
  );

function pageOf(face, report) {
  const columns = columnsOf(report).slice(0, WIDE);
  const more = report.tokens.length - columns.length;
  const strip = stripOf(face, "tokens", columns);
  const head = make("h1");
  const facts = make("p", { class: "quiet" });
  const map = mapOf(face, columns, report);
  const account = make("div");
  const words = readout(face, ({ ids }) => map.told(ids[0]));
  const node = make(
    "div",
    { class: "found" },
    make("header", {}, head, facts),
    strip.node,
    words.node,
    make(
      "section",
      { "aria-label": "Layers" },
      make("h2", {}, "Relevance on its way back"),
      make(
        "p",
        { class: "quiet" },
        "One row per boundary, filled from the top while the walk back runs. The check says whether the account " +
          "still balances there; it is known when the walk has ended.",
      ),
      map.node,
      more > 0 && make("p", { class: "quiet" }, `${more.toLocaleString("en")} more tokens are not drawn; totals are over all.`),
    ),
    account,
  );
  const show = (now) => {
    const { result } = now;
    const both = result && result.content.map((x, t) => Number(x) + Number(result.position[t]));
    const scale = both ? largest(both) : 0;
    strip.paint([{ values: columns.map(({ ids }) => (both ? both[ids[0]] : undefined)), scale }]);
    strip.node.classList.toggle("pairs", Boolean(both));
    if (both)
      strip.pair(
        columns.map(({ ids }) => Number(result.content[ids[0]])),
        columns.map(({ ids }) => Number(result.position[ids[0]])),
        scale,
      );
    map.show(now);
    words.update();
    clear(
      head,
      result
        ? [`${result.target} `, make("span", { class: "amount" }, digits(Math.abs(Number(result.value)), 5)(Number(result.value)))]
        : [make("span", { class: "quiet" }, now.phase in UNDER_WAY ? "\u2026" : "no result")],
    );
    write(
      facts,
      result
        ? [result.model, result.method, result.sinks ? `positions carry ${percent(result.share)}` : "no positions found"].join(GAP)
        : "\u00a0",
    );
    if (result && !account.firstChild)
      account.append(
        section(
          "Ledger",
          "",
          ledgerOf(
            "ledger",
            result.rows.map(([name, x]) => [name, Number(x)]),
          ).node,
          make("p", { class: result.closed ? "good" : "bad" }, `${result.closed ? "\u2713" : "\u2717"} ledger ${result.account}`),
        ),
      );
  };
  return { node, show };
}

// The stepper of the result, fetched when it is asked for.
function walkOf(face, ask) {
  const place = make("div");
  const open = action("Step through it", ask);
  const node = make("div", { hidden: "" }, make("div", { class: "controls" }, open), place);
  let serial = null;
  return {
    node,
    live(state) {
      disable(open, state === "none");
    },
    offer(report) {
      if (report.serial !== serial) clear(place);
      serial = report.serial;
      node.hidden = report.phase !== "done";
    },
    show(data) {
      face.forget(); // of a stepper that was here before
      const scene = sceneOf(face, data);
      clear(place, filters(scene), stepper(scene));
      scene.filtered();
    },
  };
}

// --- layers -----------------------------------------------------------------------------------------------------------

function mapOf(face, columns, report) {
  const body = make("tbody");
  const table = make(
    "table",
    { class: "grid live" },
    make(
      "thead",
      {},
      make(
        "tr",
        {},
        make("th", { scope: "col" }, "boundary"),
        make("th", { scope: "col" }, "check"),
        make("th", { scope: "col" }, "total"),
        columns.map((column) => make("th", { scope: "col" }, label(column.text))),
      ),
    ),
    body,
  );
  const node = region("relevance at each boundary", table);
  let rows = [];
  let last = report;
  const grow = (names) => {
    rows = names.map((name) => rowOf(name, columns, report.tokens.length));
    clear(
      body,
      rows.map((row) => row.node),
    );
  };
  const show = (now) => {
    last = now;
    const names = waysOf(now);
    if (names.join("\n") !== rows.map(({ name }) => name).join("\n")) grow(names);
    const trunk = now.boundaries.filter(({ kind }) => TRUNK.includes(kind));
    const scale = largest(...trunk.map(({ relevance }) => numbers(relevance)));
    const print = digits(scale);
    for (const row of rows)
      row.show(
        trunk.find(({ name }) => name === row.name),
        scale,
        print,
        now.phase,
      );
  };
  const told = (token) => {
    const trunk = last.boundaries.filter(({ kind }) => TRUNK.includes(kind));
    const print = digits(largest(...trunk.map(({ relevance }) => numbers(relevance))));
    const parts = last.result
      ? [`content ${print(Number(last.result.content[token]))}`, `position ${print(Number(last.result.position[token]))}`]
      : [];
    return [...parts, ...trunk.slice(0, 4).map(({ name, relevance }) => `${name} ${print(Number(relevance[token]))}`)];
  };
  return { node, show, told };
}

function rowOf(name, columns, count) {
  const [check, sum] = [make("td", { class: "check" }), make("td", { class: "sum" })];
  const cells = columns.map(() => make("td"));
  const node = make("tr", { class: "dim" }, make("th", { scope: "row" }, name), check, sum, cells);
  const show = (boundary, scale, print, phase) => {
    node.classList.toggle("dim", !boundary);
    if (!boundary) {
      write(check, "");
      return;
    }
    write(sum, print(Number(boundary.total)));
    cells.forEach((cell, c) => {
      // the boundary of another stream has places of its own
      const amount = boundary.relevance[columns[c].ids[0]];
      const there = amount !== undefined && boundary.relevance.length === count;
      cell.className = there ? shade(Number(amount), scale) : "";
      write(cell, there ? print(Number(amount)) : "");
    });
    const known = boundary.closed !== null;
    check.className = `check ${known ? (boundary.closed ? "good" : "bad") : "quiet"}`;
    write(
      check,
      known
        ? `${boundary.closed ? "\u2713" : "\u2717"} ${boundary.closed ? "closed" : `gap ${print(Number(boundary.gap))}`}`
        : phase in UNDER_WAY
          ? "running"
          : "\u2013",
    );
  };
  return { name, node, show };
}
