// What a run of the monitor gave: its result, the walk on request, and the layers as they filled in.

const WIDE = 120; // tokens that get a column of their own

function resultOf(face, change) {
  const node = make("div");
  let serial = null;
  let page = null;
  const show = (report) => {
    const now = `${report.serial} ${report.tokens.length}`;
    if (now !== serial) {
      serial = now;
      page = report.tokens.length ? pageOf(face, report, change) : null;
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
    make("p", {}, prose(text)),
    make("p", { class: "quiet" }, "The kernel goes on, and the model is as it was."),
  );

// change(): runs a text in which one word is another, null where nobody can.
function pageOf(face, report, change) {
  const columns = columnsOf(report).slice(0, WIDE);
  const more = report.tokens.length - columns.length;
  const strip = stripOf(face, "tokens", columns);
  const head = make("h1");
  const facts = make("p", { class: "quiet" });
  const map = mapOf(face, columns, report);
  const account = make("div");
  let [last, pair] = [report, null];
  const place = make("div", { class: "words" }, strip.node);
  const told = (column) => [...(pair ? pair.told(column) : []), ...(column.ids.length ? map.told(column.ids[0]) : [])];
  const words = readout(face, told, `Point at a token, or move over them with the arrow keys. ${change() ? CHANGE_IT : ""}`);
  let edit = wordsChanged(face, strip, () => last.result, change);
  const node = make(
    "div",
    { class: "found" },
    make("header", {}, head, facts),
    place,
    words.node,
    make("div", { class: "controls" }, edit.press),
    make(
      "section",
      { "aria-label": "Layers" },
      make("h2", {}, "Relevance on its way back"),
      make(
        "p",
        { class: "quiet" },
        "One row per boundary, filled from the top while the walk back runs. The check says whether all that was kept so far " +
          "and what is here still make up the answer.",
      ),
      map.node,
      more > 0 && make("p", { class: "quiet" }, `${more.toLocaleString("en")} more tokens are not drawn; totals are over all.`),
    ),
    account,
  );
  const show = (now) => {
    const { result } = now;
    last = now;
    const before = result && traitOf(face, "earlier");
    if (before?.result && !pair) {
      pair = besideOf(face, unpackedOf(before), now);
      clear(place, pair.sentence, pair.strip.node);
      const { press } = edit;
      edit = wordsChanged(face, pair.strip, () => last.result, change);
      press.replaceWith(edit.press);
    }
    edit.offer();
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
        ? [result.model, result.method, result.unbooked ?? carrying(percent(result.share), result)].join(GAP)
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
            result.allowed === null ? null : Number(result.allowed),
          ).node,
          make("p", { class: toneOf(result.verdict) }, `${markOf(result.verdict)}ledger ${result.account}`),
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
    { class: "grid live wraps" },
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
    const scale = largest(...trunk.map(({ relevance }) => relevance));
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
    const print = digits(largest(...trunk.map(({ relevance }) => relevance)));
    const parts = last.result
      ? [`content ${print(Number(last.result.content[token]))}`, `position ${print(Number(last.result.position[token]))}`]
      : [];
    return [...parts, ...trunk.slice(0, 4).map(({ name, relevance }) => `${name} ${print(Number(relevance[token]))}`)];
  };
  return { node, show, told };
}

function rowOf(name, columns, count) {
  const [check, sum] = [make("td", { class: "check" }), make("td", { class: "sum", "data-of": "total" })];
  const cells = columns.map((column) => make("td", { "data-of": spelled(column.text) }));
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
          ? "later"
          : "\u2013",
    );
  };
  return { name, node, show };
}
