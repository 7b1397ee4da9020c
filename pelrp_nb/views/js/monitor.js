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
  let here = false; // somebody who computes
  const change = (text) => alive.ask("run", { settings: { ...form.values(), text }, beside: true });
  const shown = resultOf(face, () => (here ? change : null));
  const walk = walkOf(face, () => alive.ask("walk"));
  const alive = aliveOf(face, (state) => {
    notice.show(state);
    here = state !== "none";
    form.live(state);
    walk.live(state);
  });
  const run = () => alive.ask("run", { settings: form.values() });
  const kept = () => traitsOf(face, [...SETTINGS, "report", "earlier"]);
  root.append(form.node, notice.node, meter.node, shown.node, walk.node, savingShown(face, "monitor", kept));

  let report = listed(traitOf(face, "report"));
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
    report = listed(traitOf(face, "report"));
    alive.heard();
    form.labels(report.labels);
    draw();
  });
  face.listen("msg:custom", (message) => {
    if (message.serial !== report.serial) return;
    if (message.walk) walk.show(message.walk);
    if (message.from === undefined) return;
    const boundaries = report.boundaries.slice(0, message.from).concat(message.boundaries.map(inNumbers));
    report = { ...report, boundaries, phase: message.phase, times: message.times, memory: message.memory };
    draw();
  });
  form.labels(report.labels);
  draw();
  alive.begin();
};

// Numbers travel packed.
const inNumbers = (boundary) => ({ ...boundary, relevance: numbers(boundary.relevance) });
const listed = ({ boundaries, ...rest }) => ({ ...unpackedOf(rest), boundaries: boundaries.map(inNumbers) });
const unpackedOf = ({ result, ...rest }) => ({
  ...rest,
  result: result && { ...result, content: numbers(result.content), position: numbers(result.position) },
});

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
  if (phase === "done") {
    return `Done. ${result.target} ${digits(Math.abs(result.value), 5)(Number(result.value))}. Ledger ${result.verdict}.`;
  }
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
