// A rule's page in short, its formula, and source as it is written.

const letters = (text) => make("pre", { class: "formula" }, text);
const source = (text, name = "source") =>
  make("pre", { class: "source", tabindex: "0", role: "region", "aria-label": name, ...QUIET }, make("code", {}, text));

// The formula as it is printed; of a rule that has none but in plain letters, those.
const formula = (rule) =>
  rule.latex?.length
    ? make(
        "div",
        { class: "formula set", tabindex: "0", role: "region", "aria-label": `formula of ${rule.name}`, ...QUIET },
        rule.latex.map(setMath),
      )
    : letters(rule.formula);

// A rule's page: what it says, its formula, its own source lines.
function ruleCard(rule) {
  return make(
    "div",
    { class: "rule" },
    make(
      "p",
      {},
      prose(`${rule.sentence} `),
      make("span", { class: "quiet" }, prose(`Conserves ${rule.conserves}. ${rule.paper}.`)),
    ),
    formula(rule),
    fold("the definition, as it is written", () => source(rule.relevance, `definition of ${rule.name}`)).node,
    fold("the fast form, as it is run", () => source(rule.forward, `fast form of ${rule.name}`)).node,
  );
}
