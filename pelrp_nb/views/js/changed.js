// One word changed in place: the cell of a word becomes a field, Enter runs the text with what is typed, and the result before it
// stays beside the new one.

// What can be changed in a strip of tokens.  result(): of the report that is shown; change(text): run it, null where nobody can.
function wordsChanged(face, strip, result, change) {
  const wordOf = (token) => result()?.words.find(([, , ids]) => ids.includes(token));
  const letters = () => [...result().text]; // Python counts letters, not halves of them
  let end = () => {};
  const begin = (token) => {
    const word = change() && wordOf(token);
    if (!word) return;
    end();
    const [start, stop, ids] = word;
    const cells = strip.cells.filter(({ column }) => column.ids.some((id) => ids.includes(id)));
    const old = letters().slice(start, stop).join("");
    const named = { "aria-label": `another word for ${old}`, size: Math.max(6, old.length + 2) };
    const field = make("input", { type: "text", class: "changing", spellcheck: "false", dir: "auto", ...named, ...QUIET });
    field.value = old;
    const show = (on) => cells.forEach(({ block }) => block.toggleAttribute("hidden", on));
    end = (focus = false) => {
      end = () => {};
      field.remove();
      show(false);
      if (focus) cells[0].block.focus();
    };
    field.addEventListener("keydown", (event) => {
      event.stopPropagation();
      if (event.key === "Escape") end(true);
      if (event.key !== "Enter" || event.isComposing) return;
      const [typed, text] = [field.value.trim(), letters()];
      end(true);
      if (typed !== old) change()([...text.slice(0, start), typed, ...text.slice(stop)].join(""));
    });
    field.addEventListener("blur", () => end());
    show(true);
    cells[0].node.append(field);
    field.select();
  };
  strip.node.addEventListener("keydown", (event) => {
    const token = event.target.closest?.("[data-token]")?.dataset.token;
    if (event.key !== "F2" || token === undefined) return;
    event.preventDefault();
    begin(Number(token));
  });
  strip.node.addEventListener("dblclick", (event) => {
    const token = event.target.closest?.("[data-token]")?.dataset.token;
    if (token !== undefined) begin(Number(token));
  });
  const press = action("", () => begin(face.get("token")));
  const offer = () => {
    const word = change() && wordOf(face.get("token"));
    press.hidden = !word;
    if (word) write(press, `Change \u201c${letters().slice(word[0], word[1]).join("")}\u201d`);
  };
  face.on("token", offer);
  return { press, offer };
}

const CHANGE_IT = "Press a word twice, or F2 on it, to change it.";

// The result before a word was changed and the one after it, in one strip: what is alike before and behind it stands under each
// other, what was changed is one column.
function besideOf(face, before, now) {
  const [was, is] = [before, now].map(({ tokens }) => tokens.map(spelled));
  const most = Math.min(was.length, is.length);
  const alike = (same) => (range(most).find((i) => !same(i)) ?? most);
  const first = alike((i) => was[i] === is[i]);
  const last = Math.min(most - first, alike((i) => was[was.length - 1 - i] === is[is.length - 1 - i]));
  const columnAt = (i, j, text, name) => ({ was: i, ids: j, key: j[0] ?? -1, text, name, special: Boolean(now.special?.[j[0]]) });
  const plain = (i, j) => columnAt([i], [j], now.tokens[j], `${j} ${is[j]}`);
  const [gone, come] = [range(was.length - last - first, first), range(is.length - last - first, first)];
  const texts = [gone.map((i) => was[i]).join(" "), come.map((j) => is[j]).join(" ")].map((text) => text || "\u2013");
  const changed = columnAt(gone, come, texts.join(" \u2192 "), texts.join(" \u2192 "));
  const columns = [
    ...range(first).map((i) => plain(i, i)),
    ...(gone.length || come.length ? [changed] : []),
    ...range(last).map((i) => plain(was.length - last + i, is.length - last + i)),
  ].slice(Math.max(0, first - WIDE / 2), Math.max(0, first - WIDE / 2) + WIDE);
  const [old, fresh] = [before.result, now.result];
  const both = ({ content, position }) => content.map((x, t) => Number(x) + Number(position[t]));
  const sum = (values, ids) => total(ids.map((t) => values[t]));
  const [left, right] = [both(old), both(fresh)];
  const rows = [columns.map((column) => sum(left, column.was)), columns.map((column) => sum(right, column.ids))];
  const names = ["before", "now"];
  const same = old.target === fresh.target;
  if (same) {
    rows.push(rows[1].map((x, c) => x - rows[0][c]));
    names.push("difference");
  }
  const scale = largest(...rows);
  const strip = stripOf(face, "words before and now", columns, names);
  strip.paint(rows.map((values) => ({ values, scale })));
  const told = ({ target, value }) => `${target} ${digits(Math.abs(Number(value)), 5)(Number(value))}`;
  const sentence = make(
    "p",
    { class: "lead" },
    `Before: ${told(old)}. Now: ${told(fresh)}.`,
    !same && " Each row explains its own answer, so they are not subtracted.",
  );
  const show = digits(scale);
  const at = (key) => columns.findIndex((column) => column.key === key);
  return { sentence, strip, told: ({ key }) => names.map((name, r) => `${name} ${show(rows[r][at(key)])}`) };
}
