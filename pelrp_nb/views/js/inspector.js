// The map of a model: modules as nested boxes, layers that are alike once, each operation with its rule; beside it, always in
// sight, the page of the operation that was pressed.

const KEEPS = {
  all: ["\u25cf", "hand on all they receive"],
  booked: ["\u25d0", "hand on all but what is booked by name: a bias, a constant"],
  measured: ["\u25d1", "keep a part, which is measured: the softmax"],
  nothing: ["\u25cb", "promise nothing"],
};

kinds.inspector = (root, face) => {
  const { data } = face;
  const panel = panelOf(data);
  const map = { boxes: [], chosen: null };
  const choose = (button, show) => {
    map.chosen?.setAttribute("aria-pressed", "false");
    button.setAttribute("aria-pressed", "true");
    map.chosen = button;
    show();
  };
  const tree = make("ul", { class: "tree", "aria-label": "modules" }, moduleBox(data, data.tree, "", map, panel, choose));
  root.append(
    make("header", {}, make("h1", {}, data.model), make("p", { class: "quiet" }, `${data.method} \u00b7 ${data.summary}`)),
    data.refusals.length
      ? make(
          "div",
          { role: "note" },
          data.refusals.map((text) => make("p", { class: "bad" }, "refused: ", prose(text))),
        )
      : make("p", { class: "good" }, "refused: nothing"),
    keptBy(data),
    finder(map),
    make(
      "div",
      { class: "mapped" },
      make("section", { "aria-label": "Model" }, region("map of the model", tree)),
      make("section", { "aria-label": "Rule" }, panel.node),
    ),
    positionsOf(data),
    savingShown(face, `rules-${data.model}`),
  );
  (map.first ?? map.any)?.();
};

// How many operations keep what, with the signs that the map uses.
function keptBy({ kept }) {
  const some = Object.entries(KEEPS).filter(([name]) => kept[name] > 0);
  return make(
    "ul",
    { class: "signs", "aria-label": "what operations conserve" },
    some.map(([name, [sign, said]]) =>
      make("li", { class: name }, make("b", {}, `${sign} ${kept[name].toLocaleString("en")}`), ` ${said}`),
    ),
  );
}

// --- the map ----------------------------------------------------------------------------------------------------------

// A module: the positions that enter, its operations, the modules inside it.
function moduleBox(data, node, within, map, panel, choose) {
  const place = [within, node.name && titleOf(node)].filter(Boolean).join(".");
  const box = { words: wordsOfModule(data, node) };
  map.boxes.push(box);
  const lines = (node.lines ?? []).map((i) => data.lines[i]);
  const own = lines.filter((line) => line.rule !== "plain");
  const plain = lines.filter((line) => line.rule === "plain");
  const button = (line) => operationButton(line, () => panel.operation(line, place), map, choose);
  const children = (node.children ?? []).map((child) => moduleBox(data, child, place, map, panel, choose));
  const parts = [
    ...(node.sinks ?? []).map((kind) => positionButton(kind, () => panel.position(kind, place), choose)),
    ...own.map(button),
    plain.length > 0 &&
      make("span", { class: "plain quiet" }, "as it is: ", plain.map((line) => line.operation).join(", ")),
  ].filter(Boolean);
  const alone = !children.length && parts.length < 2;
  const title = [make("b", {}, titleOf(node)), ` ${node.kind}`, alike(node)];
  const operations = parts.length > 0 && make("div", { class: "operations" }, parts);
  if (alone) {
    box.node = make("li", { class: `leaf${parts.length ? "" : " idle"}` }, make("span", {}, title), operations);
    return box.node;
  }
  box.fold = make(
    "details",
    { open: "" },
    make("summary", { ...QUIET }, title),
    operations,
    children.length > 0 && make("ul", {}, children),
  );
  box.node = make("li", {}, box.fold);
  return box.node;
}

const titleOf = ({ name, alike: all }) => (all ? `${all[0]}\u2013${all.at(-1)}` : name || "the model");
const alike = ({ alike: all }) => all && make("span", { class: "quiet" }, ` \u00b7 ${all.length} alike`);

function operationButton(line, show, map, choose) {
  const [sign] = KEEPS[line.keeps];
  const button = make(
    "button",
    { type: "button", class: `operation ${line.keeps}`, "aria-pressed": "false", ...QUIET },
    make("i", { "aria-hidden": "true" }, sign),
    `${line.operation} `,
    make("b", {}, line.rule),
  );
  const press = () => choose(button, show);
  button.addEventListener("click", press);
  if (/attention|softmax/.test(`${line.operation} ${line.rule}`)) map.first ??= press;
  map.any ??= press;
  return button;
}

function positionButton(kind, show, choose) {
  const button = make(
    "button",
    { type: "button", class: "operation enters", "aria-pressed": "false", ...QUIET },
    "positions enter: ",
    make("b", {}, kind),
  );
  button.addEventListener("click", () => choose(button, show));
  return button;
}

// --- what was pressed -------------------------------------------------------------------------------------------------

function panelOf(data) {
  const node = make("div", { class: "panel" });
  const page = ({ rule, conserves }) => {
    const found = data.pages[rule] ?? data.pages[rule.replace(/\(.*/, "")];
    const alone = `${rule} has no page of its own${conserves ? `; it conserves ${conserves}` : ""}.`;
    return found ? ruleCard(found) : make("p", { class: "quiet" }, alone);
  };
  const where = (place) => make("p", { class: "quiet" }, place ? `in ${place}` : "in the model itself");
  return {
    node,
    operation(line, place) {
      clear(node, [
        make("h2", {}, `${line.operation}: ${line.rule}`),
        where(place),
        make("p", {}, make("span", { class: "quiet" }, "Why this rule: "), prose(line.reason), "."),
        page(line),
      ]);
    },
    position(kind, place) {
      const told = data.roles.filter(([, role]) => role.startsWith("positions") && role.includes(kind));
      clear(node, [
        make("h2", {}, `Positions enter here: ${kind}`),
        where(place),
        told.length > 0 &&
          facts(
            "why",
            told.map(([name, role, why]) => [name, `${role}: ${why}`]),
          ),
        page({ rule: kind }),
      ]);
    },
  };
}

// What enters by position, and what each argument and constant was taken for.
function positionsOf(data) {
  const counted = new Map();
  for (const [, kind] of data.sinks) counted.set(kind, (counted.get(kind) ?? 0) + 1);
  const said = [...counted].map(([kind, n]) => `${kind} in ${n} place${n > 1 ? "s" : ""}`).join(", ");
  return section(
    "Positions",
    data.sinks.length ? `Positions enter and receive: ${said}.` : `There is no sink: ${data.unbooked}.`,
    data.roles.length > 0 &&
      make(
        "table",
        { class: "facts" },
        make(
          "thead",
          {},
          make(
            "tr",
            {},
            ["what", "taken for", "why"].map((name) => make("th", { scope: "col" }, name)),
          ),
        ),
        make(
          "tbody",
          {},
          data.roles.map(([name, role, why]) =>
            make("tr", {}, make("th", { scope: "row" }, name), make("td", {}, role), make("td", { class: "quiet" }, why)),
          ),
        ),
      ),
    noted(data.notes, ""),
    data.sinks.length > 0 && fold(`${data.sinks.length} sinks by name`, () => facts("sinks", data.sinks)).node,
  );
}

// --- looking for something --------------------------------------------------------------------------------------------

// `LlamaRMSNorm`, `rms_norm` and "RMS norm" are the same words.
const plainWords = (text) =>
  text
    .replace(/([a-z0-9])([A-Z])/g, "$1 $2")
    .replace(/([A-Z]+)([A-Z][a-z])/g, "$1 $2")
    .replace(/[_\W]+/g, " ")
    .trim()
    .toLowerCase();

function wordsOfModule(data, node) {
  const lines = (node.lines ?? []).map((i) => data.lines[i]);
  const told = lines.map(({ operation, rule, reason }) => `${operation} ${rule} ${reason}`);
  return plainWords([node.name, node.alike?.join(" ") ?? "", node.kind, ...(node.sinks ?? []), ...told].join(" | "));
}

function finder(map) {
  const found = spoken("quiet");
  const search = make("input", {
    type: "search",
    "aria-label": "Find a module, operation or rule",
    placeholder: "find: rotary, attention, rms_norm",
    ...QUIET,
  });
  const look = () => write(found, sought(map.boxes, plainWords(search.value)));
  search.addEventListener("input", look);
  const open = (on) =>
    map.boxes.forEach(({ fold: node }) => {
      if (node) node.open = on;
    });
  return make(
    "div",
    { class: "controls" },
    search,
    action("open all", () => open(true)),
    action("close all", () => open(false)),
    found,
  );
}

// Shows the boxes that hold the words and opens the way to them; the number found, in words.
function sought(boxes, words) {
  for (const { node, words: own } of boxes) {
    node.hidden = Boolean(words);
    node.classList.toggle("found", Boolean(words) && own.includes(words));
  }
  if (!words) return "";
  const some = boxes.filter((box) => box.words.includes(words));
  for (const { node } of some)
    for (let up = node; up; up = up.parentElement.closest("li")) {
      up.hidden = false;
      if (up !== node) up.querySelector("details").open = true;
    }
  return some.length ? `${some.length} found` : `nothing is called "${words}" here`;
}
