// The rule inspector: the model as a tree; at every module which rule serves which operation, why, and what it keeps.

kinds.tree = (root, face) => {
  const { data } = face;
  const body = make("div", { class: "tree" });
  const found = make("p", { class: "quiet", role: "status", "aria-live": "polite" });
  const box = make("input", { type: "search", "aria-label": "Find a module, an operation or a rule", placeholder: "find a module, an operation or a rule", spellcheck: "false", ...QUIET });
  const pick = select("Rule", [["", "all"], ...data.counts.map(([name, count]) => [name, `${name} (${count})`])], face.get("rule") ?? "", (rule) => face.set({ rule }));
  const show = () => {
    const [rule, text] = [face.get("rule") ?? "", (face.get("find") ?? "").toLowerCase()];
    pick.show(rule);
    if (box.value.toLowerCase() !== text) box.value = face.get("find") ?? "";
    const wanted = (node) => node.rules.some((line) => (!rule || line.rule === rule) && says(line, node, text)) || (!rule && text && node.name.toLowerCase().includes(text));
    const some = Boolean(rule || text);
    const kept = some ? pruned(data.tree, wanted) : data.tree;
    clear(body, kept ? branchOf(kept, "", some ? 99 : 2, rule) : make("p", {}, "Nothing of that kind is in this model."));
    write(found, some ? `${countOf(kept, wanted)} modules` : `${data.counts.length} rules in force`);
  };
  box.addEventListener("input", () => face.set({ find: box.value }));
  face.on("rule", show);
  face.on("find", show);
  root.append(
    make("header", {}, make("h1", {}, data.model), make("p", { class: "quiet" }, [data.method, data.sinks.length
      ? `positions enter at ${data.sinks.length} place${data.sinks.length > 1 ? "s" : ""}` : "no positions found"].join(GAP))),
    data.refusals.length ? make("div", { class: "failure" }, make("p", {}, make("b", {}, "Refused")), data.refusals.map((text) => make("p", {}, text)))
      : make("p", { class: "good" }, "\u2713 Nothing would be refused."),
    make("div", { class: "controls" }, box, pick.node), found, body,
    data.sinks.length > 0 && fold("Where positions enter", () => facts("sinks", data.sinks)).node || "");
  show();
};

const says = (line, node, text) => !text || [node.name, node.kind, ...Object.values(line)].some((part) => part.toLowerCase().includes(text));

// The tree without the branches in which nothing is wanted; null if nothing is.
function pruned(node, wanted) {
  const children = node.children.map((child) => pruned(child, wanted)).filter(Boolean);
  return wanted(node) || children.length ? { ...node, children } : null;
}

const countOf = (node, wanted) => (node ? (wanted(node) ? node.alike.length : 0) + node.alike.length * total(node.children.map((child) => countOf(child, wanted))) : 0);

function branchOf(node, path, open, marked) {
  const many = node.alike.length;
  const name = many > 1 ? `${node.alike[0]} \u2013 ${node.alike[many - 1]}` : node.name;
  const rules = [...new Set(node.rules.map(({ rule }) => rule))];
  const head = [make("code", {}, name || "model"), make("span", { class: "quiet" }, node.kind), many > 1 && make("span", { class: "times" }, `${many} alike`),
    ...rules.map((rule) => make("span", { class: `tag${rule === "none" ? " bad" : ""}${rule === marked ? " marked" : ""}` }, rule))];
  if (!node.children.length && !node.rules.length) return make("div", { class: "leaf" }, head);
  const inner = make("div", { class: "inner" });
  const details = make("details", { open: open > 0 ? "" : null }, make("summary", { ...QUIET }, head), inner);
  let built = false;
  const build = () => {
    if (built || !details.open) return;
    built = true;
    if (node.rules.length) inner.append(rulesOf(node.rules, `rules of ${name}`, marked));
    inner.append(...node.children.map((child) => branchOf(child, `${path}.${name}`, open - 1, marked)));
  };
  details.addEventListener("toggle", build);
  build();
  return details;
}

const rulesOf = (rules, name, marked) => region(name, make("table", { class: "facts lines" },
  make("thead", {}, make("tr", {}, ["operation", "rule", "because it is", "conserves"].map((text) => make("th", { scope: "col" }, text)))),
  make("tbody", {}, rules.map(({ operation, rule, reason, conserves }) => make("tr", { class: rule === marked ? "marked" : "" },
    make("td", {}, make("code", {}, operation)), make("td", {}, make("code", { class: rule === "none" ? "bad" : "" }, rule)), make("td", {}, reason), make("td", {}, conserves))))));
