// The bench: sliders for everything in a small case of a rule; Python computes, the page shows shares and leak.

const GROUPS = { input: "Inputs", weight: "Weights", option: "Options", output: "Relevance handed back" };

kinds.bench = (root, face) => {
  const { data, model } = face;
  const notice = silence();
  const dials = new Map();
  let values = { ...traitOf(face, "values") };
  const alive = aliveOf(face, (state) => {
    notice.show(state);
    root.classList.toggle("still", state === "none");
    for (const { node } of dials.values()) still(node, state === "none");
    disable(reset, state === "none");
  });
  const set = (key, value) => {
    values = { ...values, [key]: value };
    model.set("values", values);
    model.save_changes();
    alive.wait();
  };
  const groups = Object.entries(GROUPS).map(([group, title]) => {
    const here = data.controls.filter((control) => control.group === group);
    return (
      here.length > 0 &&
      make(
        "div",
        { role: "group", "aria-label": title },
        make("h2", {}, title),
        here.map((control) => {
          const made = controlOf(control, values[control.key], (value) => set(control.key, value));
          dials.set(control.key, made);
          return made.node;
        }),
      )
    );
  });
  const reset = action("Start again", () => alive.ask("reset"));
  const paid = paidOf(traitOf(face, "result"), data);
  root.append(
    make("header", {}, make("h1", {}, make("code", {}, data.name)), make("p", { class: "lead" }, prose(data.sentence))),
    formula(data),
    notice.node,
    make(
      "div",
      { class: "bench" },
      make("div", { class: "sliders" }, groups, make("div", { class: "controls" }, reset)),
      paid.node,
    ),
    savingShown(face, `bench-${data.name}`, () => traitsOf(face, ["values", "result"])),
  );
  const show = () => paid.show(traitOf(face, "result"));
  show();
  face.listen("change:result", () => {
    alive.heard();
    show();
  });
  face.listen("change:values", () => {
    values = { ...traitOf(face, "values") };
    for (const [key, { show: put }] of dials) put(values[key]);
  });
  alive.begin();
};

function controlOf({ key, value, low, high, step, choices }, now, moved) {
  if (choices.length)
    return choice(
      key,
      choices.map((name) => [name, name]),
      now ?? value,
      moved,
    );
  const places = step < 0.1 ? 2 : step < 1 ? 1 : 0;
  const text = (x) => `${x < 0 ? MINUS : ""}${Math.abs(x).toFixed(places)}`;
  return dial(key, { min: low, max: high, step, value: Number(now ?? value), text }, moved);
}

// A control that cannot be moved, because there is nobody to compute.
function still(node, on) {
  for (const part of node.querySelectorAll("[role=slider], input")) {
    if (part.tagName === "INPUT") part.disabled = on;
    else part.setAttribute("aria-disabled", String(on));
  }
}

// What every input received, as share of what was handed back, and what nobody received.
function paidOf(first, { name: rule, conserves }) {
  const rows = [...first.inputs.map(({ name }) => name), "received", "kept", "handed back"];
  const cells = rows.map(() => [make("td"), make("td"), make("td"), make("td", { class: "wide" })]);
  const table = make(
    "table",
    { class: "book shares", "aria-label": "what every input received" },
    make(
      "thead",
      {},
      make(
        "tr",
        {},
        ["", "value", "relevance", "share", ""].map((text) => make("th", { scope: "col" }, text)),
      ),
    ),
    make(
      "tbody",
      {},
      rows.map((name, i) =>
        make("tr", { class: i === rows.length - 3 ? "value" : "" }, make("th", { scope: "row" }, name), cells[i]),
      ),
    ),
  );
  const [outputs, leak, forms] = [
    make("p", {}),
    make("p", { role: "status", "aria-live": "polite" }),
    make("p", { class: "quiet" }),
  ];
  const drawn = make("figure");
  const node = make("div", { class: "paid" }, drawn, outputs, table, leak, forms);
  const show = (result) => {
    if (result.error) {
      clear(leak, prose(result.error));
      leak.className = "bad";
      return;
    }
    const { sums } = result;
    clear(drawn, neuronOf(rule, conserves, result));
    const all = [
      ...result.inputs.map((input) => [Number(input.value), Number(input.relevance)]),
      [null, Number(sums.out)],
      [null, Number(sums.kept)],
      [null, Number(sums.in)],
    ];
    const scale = largest(all.map(([, relevance]) => relevance));
    const [print, printed] = [digits(scale), digits(largest(all.map(([value]) => value ?? 0)))];
    all.forEach(([value, relevance], i) => {
      write(cells[i][0], value === null ? "" : printed(value));
      write(cells[i][1], print(relevance));
      write(cells[i][2], Number(sums.in) ? percent(relevance / Number(sums.in)) : "\u2013");
      clear(cells[i][3], bar(relevance, scale));
      cells[i][3].classList.toggle("stays", i === all.length - 2 && conserves !== "all");
    });
    outputs.hidden = result.outputs.length < 2; // one output stands in the picture
    write(outputs, result.outputs.map((y) => `${y.name} = ${digits(Math.abs(Number(y.value)) || 1)(Number(y.value))}`).join(GAP));
    const rounded = 1e-9 * Math.max(1, scale);
    const whole = Math.abs(Number(sums.kept)) <= rounded;
    const design = conserves && conserves !== "all"; // the rule's page says itself that something stays
    leak.className = whole ? "good" : design ? "quiet" : "bad";
    write(
      leak,
      whole
        ? "\u2713 Nothing leaks: the inputs receive all that was handed back."
        : `${design ? "" : "\u2717 "}${print(Number(sums.kept))} was kept: the inputs receive ${print(Number(sums.out))} of ` +
            `${print(Number(sums.in))}.${design ? ` That is by design: the rule conserves ${plainly(conserves)}.` : ""}`,
    );
    write(forms, `Definition and bent gradient differ by ${unlessRounding(Number(result.difference), rounded)}.`);
  };
  return { node, show };
}
