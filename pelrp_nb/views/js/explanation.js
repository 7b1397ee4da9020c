// All of one explanation: the walk, the whole flow, positions, layers, ledger, export, card.

kinds.explanation = (root, face) => {
  const { data } = face;
  const names = Object.keys(data.streams);
  const body = make("div");
  const show = (name) => {
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
  };
  if (names.length)
    root.append(
      make(
        "div",
        { class: "controls" },
        choice(
          "Input",
          ["", ...names].map((name) => [name, name || "all"]),
          "",
          (name) => {
            face.forget();
            show(name);
          },
        ).node,
      ),
    );
  root.append(body);
  show("");
};
