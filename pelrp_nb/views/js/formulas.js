// A rule's page in short, its formula, and source as it is written.

const formula = (text) => make("pre", { class: "formula" }, text);
const source = (text, name = "source") =>
  make("pre", { class: "source", tabindex: "0", role: "region", "aria-label": name, ...QUIET }, make("code", {}, text));

// A rule's page: what it says, its formula, its own source lines.
function ruleCard(rule) {
  return make(
    "div",
    { class: "rule" },
    make("p", {}, `${rule.sentence} `, make("span", { class: "quiet" }, `Conserves ${rule.conserves}. ${rule.paper}.`)),
    formula(rule.formula),
    fold("the definition, as it is written", () => source(rule.relevance, `definition of ${rule.name}`)).node,
    fold("the fast form, as it is run", () => source(rule.forward, `fast form of ${rule.name}`)).node,
  );
}
