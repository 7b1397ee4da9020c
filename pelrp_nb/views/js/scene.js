// A scene is one explanation in one face: its numbers parsed once, the columns that the filters leave, and the step it stands on.

const WINDOW = 2048; // columns in one strip; a longer input is turned page by page
const PARTS = { both: "both", content: "content", position: "position" };

const REDUCED = { signed: "with their signs", absolute: "sizes", positive: "positive parts", l2: "lengths" };

// What was explained, by what, and whether its ledger closes.
function head(data) {
  const value = Number(data.value);
  const { verdict } = data.ledger;
  const state = make("span", { class: toneOf(verdict) }, `ledger ${verdict}`);
  const said = [data.model, data.method, data.unbooked ?? data.share_means].filter(Boolean);
  return make(
    "header",
    {},
    make("h1", {}, `${data.target} `, make("span", { class: "amount" }, digits(Math.abs(value), 5)(value))),
    make("p", { class: "quiet" }, `${said.join(" \u00b7 ")} \u00b7 `, state),
    ...noted(data.notes),
  );
}

function sceneOf(face, data) {
  const parsed = (columns) => Object.fromEntries(Object.entries(columns).map(([name, values]) => [name, numbers(values)]));
  const last = data.walk.length - 1;
  const scene = {
    face,
    data,
    last,
    parts: Object.fromEntries(Object.entries(data.parts).map(([name, columns]) => [name, parsed(columns)])),
    boundaries: data.boundaries.map((b) => ({ ...b, values: numbers(b.relevance), total: Number(b.total) })),
    sinks: data.sinks.map((sink) => ({ ...sink, values: numbers(sink.relevance), total: Number(sink.total) })),
    walk: data.walk.map((step) => ({ ...step, account: step.account.map(([name, x]) => [name, Number(x)]) })),
    columns: [],
    from: 0,
    rebuild: [],
    at: () => clamp(face.get("step") ?? last, 0, last),
    step: () => scene.walk[scene.at()],
    go: (to) => face.set({ step: clamp(to, 0, last) }),
    part: () => face.get("part") ?? "both",
    reduction: () => (face.get("reduction") in scene.parts ? face.get("reduction") : "signed"),
    filtered() {
      scene.all = columnsOf(
        data,
        { words: wholeWords(face, data), hidden: face.get("hidden"), top: face.get("top") ?? 0 },
        scene.parts.signed.both,
      );
      scene.from = clamp(scene.from, 0, Math.max(0, Math.floor((scene.all.length - 1) / WINDOW) * WINDOW));
      scene.columns = scene.all.slice(scene.from, scene.from + WINDOW);
      face.within(scene, () => scene.rebuild.forEach((build) => build()));
    },
    gather: (values) => scene.columns.map((column) => summed(values, column.ids)),
  };
  ["words", "hidden", "top"].forEach((name) => face.on(name, scene.filtered));
  return scene;
}

// Words as people read them, unless tokens are asked for as the model cuts them.
const wholeWords = (face, data) => Boolean(data.words) && (face.get("words") ?? true);

// Content and position of each token on a step; position is null on a branch, which carries both.
function amountsOn(scene, step) {
  if (step.kind === "inputs") return scene.parts[scene.reduction()];
  const none = scene.data.tokens.map(() => 0);
  if (step.kind === "answer") return { content: none, position: none, both: none };
  const here = scene.boundaries[step.boundary].values;
  if (here.length !== none.length) return null;
  if (step.kind !== "layer") return { content: here, position: null, both: here };
  const position = paidBy(scene, step);
  return { content: here, position, both: here.map((x, t) => x + position[t]) };
}

function paidBy(scene, step) {
  const sum = scene.data.tokens.map(() => 0);
  step.paid.forEach((sink) =>
    scene.sinks[sink].values.forEach((x, t) => {
      sum[t] += x;
    }),
  );
  return sum;
}

// The largest number of any step: so that a colour means the same on all of them.
function widest(scene) {
  scene.most ??= largest(
    ...scene.boundaries.map((b) => b.values),
    scene.parts.signed.content,
    scene.parts.signed.position,
    scene.parts.signed.both,
  );
  return scene.most;
}

function filters(scene) {
  const { face, data } = scene;
  const said = make("span", { class: "quiet", role: "status" });
  const set = (name) => (value) => face.set({ [name]: value });
  const boxes = {
    hidden: data.special?.some(Boolean) && toggle("hide special tokens", face.get("hidden"), set("hidden")),
    words: data.words && toggle("whole words", wholeWords(face, data), set("words")),
    top:
      data.tokens.length > 3 &&
      select(
        "Tokens",
        [[0, "all"], ...[3, 5, 10, 20, 50].filter((k) => k < data.tokens.length).map((k) => [k, `the ${k} largest`])],
        face.get("top") ?? 0,
        set("top"),
      ),
  };
  const count = data.tokens.length;
  const pager = count > WINDOW && turn(scene);
  const unset = { words: true };
  for (const [name, box] of Object.entries(boxes)) if (box) face.on(name, (value) => box.show(value ?? unset[name] ?? 0));
  scene.rebuild.push(() => {
    const kept = new Set(scene.all.flatMap((column) => column.ids));
    const lost = range(count).filter((t) => !kept.has(t));
    const sum = total(lost.map((t) => scene.parts.signed.both[t]));
    write(
      said,
      lost.length
        ? `${lost.length.toLocaleString("en")} of ${count.toLocaleString("en")} tokens hidden, together ` +
            `${digits(largest(scene.parts.signed.both))(sum)}; the ledger is of all.`
        : "",
    );
  });
  const shown = Object.values(boxes).filter(Boolean);
  return (
    (shown.length || pager) &&
    make(
      "div",
      { class: "controls" },
      shown.map((box) => box.node),
      pager,
      said,
    )
  );
}

function turn(scene) {
  const where = make("span", { "aria-live": "polite" });
  const go = (by) => {
    scene.from += by;
    scene.filtered();
  };
  const [back, on] = [press("\u2039", "previous tokens", () => go(-WINDOW)), press("\u203a", "next tokens", () => go(WINDOW))];
  scene.rebuild.push(() => {
    const [count, last] = [scene.all.length, scene.from + scene.columns.length];
    write(where, `tokens ${scene.from} to ${last - 1} of ${count.toLocaleString("en")}; sums are over all`);
    disable(back, scene.from === 0);
    disable(on, last >= count);
  });
  return make("span", { class: "turn" }, back, where, on);
}
