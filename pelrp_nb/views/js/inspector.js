// Which rule applies to each module and operation of a model, why, and what it keeps.

kinds.inspector = (root, face) => {
  const { data } = face;
  const [tree, page] = [make("ul", { class: "tree", "aria-label": "modules" }), make("div")];
  const chosen = (rule) => {
    clear(
      page,
      rule in data.pages
        ? [make("h3", {}, rule), ruleCard(data.pages[rule])]
        : make("p", { class: "quiet" }, `${rule} has no page of its own.`),
    );
  };
  const branches = [];
  tree.append(branch(data.tree, 0, chosen, branches));
  const found = spoken("quiet");
  const search = make("input", {
    type: "search",
    "aria-label": "Find a module, operation or rule",
    placeholder: "find a module, operation or rule",
    ...QUIET,
  });
  search.addEventListener("input", () => write(found, sought(branches, search.value.trim().toLowerCase())));
  const open = (on) =>
    branches.forEach(({ fold: node }) => {
      if (node) node.open = on;
    });
  root.append(
    make("header", {}, make("h1", {}, data.model), make("p", { class: "quiet" }, `${data.method} \u00b7 ${data.summary}`)),
    data.refusals.length
      ? make(
          "div",
          { role: "note" },
          data.refusals.map((text) => make("p", { class: "bad" }, `refused: ${text}`)),
        )
      : make("p", { class: "good" }, "refused: nothing"),
    make(
      "div",
      { class: "controls" },
      search,
      action("open all", () => open(true)),
      action("close all", () => open(false)),
      found,
    ),
    make(
      "div",
      { class: "columns" },
      make("section", { "aria-label": "Model" }, make("h3", {}, "The model"), tree),
      make("section", { "aria-label": "Rule" }, make("p", { class: "quiet" }, "Press a rule to read its page."), page),
    ),
    section(
      "Positions",
      data.sinks.length ? "Where positions enter and receive." : `There is no sink: ${data.unbooked}.`,
      data.sinks.length > 8
        ? fold(`${data.sinks.length} sinks by name`, () => facts("sinks", data.sinks)).node
        : facts("sinks", data.sinks),
    ),
  );
};

// A module: its own rules, then the modules inside it.
function branch(node, depth, chosen, branches) {
  const rules = node.rules.map((rule) =>
    make(
      "tr",
      {},
      make("th", { scope: "row" }, rule.operation),
      make(
        "td",
        {},
        action(rule.rule, () => chosen(rule.rule), "link"),
      ),
      make("td", { class: "quiet" }, rule.reason),
      make("td", { class: "quiet" }, rule.conserves),
    ),
  );
  const own =
    rules.length > 0 &&
    make(
      "table",
      { class: "facts" },
      make(
        "thead",
        {},
        make(
          "tr",
          {},
          ["operation", "rule", "why", "conserves"].map((name) => make("th", { scope: "col" }, name)),
        ),
      ),
      make("tbody", {}, rules),
    );
  const name = [
    make("b", {}, node.name || "the model"),
    ` ${node.kind}`,
    own && make("span", { class: "quiet" }, ` \u00b7 ${[...new Set(node.rules.map((rule) => rule.rule))].join(", ")}`),
  ];
  const inner = {
    words: `${node.name} ${node.kind} ${node.rules.map((rule) => `${rule.operation} ${rule.rule}`).join(" ")}`.toLowerCase(),
  };
  branches.push(inner);
  const kids = runsOf(node.children).map((run) =>
    run.length > 1 ? alike(run, depth + 1, chosen, branches) : branch(run[0], depth + 1, chosen, branches),
  );
  inner.fold =
    own || kids.length
      ? make(
          "details",
          { open: depth < 2 ? "" : null },
          make("summary", { ...QUIET }, name),
          own && region(`rules of ${node.name || "the model"}`, own),
          kids.length ? make("ul", {}, kids) : null,
        )
      : null;
  inner.node = make("li", {}, inner.fold ?? make("div", { class: "leaf" }, name));
  return inner.node;
}

// Neighbours that differ in their number alone, three of them or more, are one run: a line that opens to each of them.
function runsOf(children) {
  const runs = [];
  let same = null;
  for (const child of children) {
    const shape = /^\d+$/.test(child.name) ? JSON.stringify({ ...child, name: "" }) : null;
    if (shape !== null && shape === same) runs.at(-1).push(child);
    else runs.push([child]);
    same = shape;
  }
  return runs.flatMap((run) => (run.length > 2 ? [run] : run.map((child) => [child])));
}

function alike(run, depth, chosen, branches) {
  const [first, last] = [run[0].name, run.at(-1).name];
  const inner = { words: `${first}\u2013${last}` };
  branches.push(inner);
  const one = branch(run[0], depth, chosen, branches);
  const others = run.slice(1).map((child) => branch(child, depth + 1, chosen, branches));
  inner.fold = make(
    "details",
    {},
    make("summary", { ...QUIET }, make("b", {}, `${first}\u2013${last}`), ` ${run[0].kind} \u00b7 ${run.length} alike`),
    make("ul", {}, one, others),
  );
  inner.node = make("li", {}, inner.fold);
  return inner.node;
}

// Shows the branches that hold the words, opens the way to them; the number found, in words.
function sought(branches, words) {
  let count = 0;
  for (const { node, words: own } of branches) {
    node.hidden = Boolean(words);
    node.classList.toggle("found", Boolean(words) && own.includes(words));
  }
  if (!words) return "";
  for (const { node } of branches.filter((one) => one.words.includes(words))) {
    count += 1;
    for (let up = node; up; up = up.parentElement.closest("li")) {
      up.hidden = false;
      if (up !== node) up.querySelector("details").open = true;
    }
  }
  return `${count} found`;
}
