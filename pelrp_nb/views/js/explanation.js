// All of one explanation: the card, and behind one press the walk, the whole flow, positions, layers, ledger, export, recipe.

const walked = (scene) => [filters(scene), stepper(scene)];
kinds.explanation = (root, face) => throughOf(root, face, walked);

// The card, and the rest of it when it is asked for: `first` gives what is walked through.
function throughOf(root, face, first) {
  const { data } = face;
  const names = Object.keys(data.streams);
  const chosen = () => (names.includes(face.get("stream")) ? face.get("stream") : names[0]);
  const [top, body] = [make("div"), make("div", { class: "through" })];
  let button = null;
  const rest = () => {
    const name = chosen();
    const scene = sceneOf(face, name ? data.streams[name] : data);
    const each = names.map((one) => [one, one]);
    const input = names.length ? choice("Input", each, name, (one) => face.set({ stream: one })).node : null;
    clear(body, [
      input && make("div", { class: "controls" }, input),
      ...first(scene),
      wholeFlow(scene),
      xray(scene),
      layersMap(scene),
      ledger(scene.data),
      exporter(scene, '.card, [aria-label="Step by step"]'),
      recipe(scene.data),
    ]);
    scene.filtered();
  };
  const show = () => {
    const open = Boolean(face.get("through"));
    button = action(open ? "Close the steps" : "Step through", () => face.set({ through: !open }), open ? "" : "main");
    button.setAttribute("aria-expanded", String(open));
    clear(top, resultCard(face), footOf(data, open ? [button] : [button, cardOut(face)]));
    if (open) rest();
    else clear(body);
  };
  const again = (name) => () => {
    const focus = document.activeElement;
    const [pressed, picked] = [focus === button, name === "stream" && body.contains(focus)];
    face.forget();
    draw();
    if (pressed) button.focus();
    if (picked) body.querySelector("fieldset input:checked")?.focus();
  };
  const draw = () => {
    show();
    ["through", "stream"].forEach((name) => face.on(name, again(name)));
  };
  root.append(top, body);
  draw();
}

// Under the card: the way on, what was explained by what, and what could have been read otherwise.
function footOf(data, buttons) {
  const said = [data.model, data.method, data.unbooked ?? data.share_means].filter(Boolean);
  const notes = noted(data.notes, "");
  return make(
    "footer",
    { class: "foot" },
    buttons,
    make("span", { class: "quiet" }, said.join(" \u00b7 ")),
    notes.length > 0 && fold(`${notes.length} note${notes.length > 1 ? "s" : ""}: read otherwise, or not told`, () => notes).node,
  );
}
