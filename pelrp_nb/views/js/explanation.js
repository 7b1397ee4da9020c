// All of one explanation: the walk, the whole flow, positions, layers, ledger, export, card.

kinds.explanation = (root, face) => {
  const { data } = face;
  const names = Object.keys(data.streams);
  const body = make("div");
  const chosen = () => (names.includes(face.get("stream")) ? face.get("stream") : names[0]);
  let input = null;
  const show = () => {
    const name = chosen();
    const scene = sceneOf(face, name ? data.streams[name] : data);
    clear(body, [
      head(scene.data),
      filters(scene),
      stepper(scene),
      wholeFlow(scene),
      xray(scene),
      layersMap(scene),
      ledger(scene.data),
      exporter(scene),
      card(scene.data),
    ]);
    scene.filtered();
    face.on("stream", () => {
      face.forget();
      input?.show(chosen());
      show();
    });
  };
  if (names.length) {
    const each = names.map((name) => [name, name]);
    input = choice("Input", each, chosen(), (name) => face.set({ stream: name }));
    root.append(make("div", { class: "controls" }, input.node));
  }
  root.append(body);
  show();
};
