// A picture with relevance over it: pixels at the inputs, patches on the way.

kinds.image = (root, face) => throughOf(root, face, (scene) => (scene.data.image ? [overlay(scene)] : walked(scene)));

function overlay(scene) {
  const { face, data } = scene;
  const { height, width, rows, columns, prefix } = data.image;
  const zoom = clamp(Math.floor(448 / Math.max(height, width)), 1, 32);
  const canvas = make("canvas", {
    role: "img",
    tabindex: "0",
    class: "picture",
    width: width * zoom,
    height: height * zoom,
    ...QUIET,
  });
  const [said, key, read] = [spoken(), legend(), spoken("readout quiet")];
  const maps = Object.fromEntries(Object.entries(data.image.maps).map(([name, box]) => [name, unpacked(box)]));
  const picture = data.image.picture && pixelsOf(data.image.picture, height, width, () => field && update());
  const control = walker(scene, ["heads"]);
  const set = (name) => (value) => face.set({ [name]: value });
  const opacity = dial(
    "Opacity",
    { min: 0, max: 100, step: 5, big: 20, value: face.get("opacity") ?? 70, text: (x) => `${x} %` },
    set("opacity"),
  );
  const part = choice("Show", Object.entries(PARTS), scene.part(), set("part"));
  const lines = toggle("patch grid", face.get("lines"), set("lines"));
  const patches = (values) => range(rows).map((r) => range(columns).map((c) => values[prefix + r * columns + c] ?? 0));
  let field = null;
  const update = () => {
    const step = scene.step();
    write(said, step.said);
    control.update();
    const values = amountsOn(scene, step);
    const name = values?.[scene.part()] ? scene.part() : "content";
    const fine = step.kind === "inputs" && scene.reduction() === "signed" && maps.content;
    const flat = fine
      ? name === "both"
        ? maps.content.map((row, y) => row.map((x, i) => x + maps.position[y][i]))
        : maps[name]
      : values
        ? patches(values[name])
        : [];
    field = { flat, scale: fine ? Number(data.image.most[name]) : largest(...flat), patch: values && patches(values[name]) };
    key.paint(field.scale);
    canvas.setAttribute(
      "aria-label",
      `${name} over the picture, ${rows} by ${columns} patches; ${step.said} Arrow keys read the patches.`,
    );
    paintOver(canvas, {
      picture,
      ...field,
      zoom,
      opacity: (face.get("opacity") ?? 70) / 100,
      grid: face.get("lines") ? [rows, columns] : null,
      shades: palette(face.root),
    });
  };
  let at = [0, 0];
  const tell = (r, c) => {
    if (!field?.patch?.[r] || c < 0 || c >= columns) return;
    at = [r, c];
    write(read, `patch ${r},${c}${GAP}${digits(largest(...field.patch))(field.patch[r][c])}`);
    face.point({ ids: [prefix + r * columns + c], name: `patch ${r},${c}` });
  };
  canvas.addEventListener("mousemove", (event) => {
    const box = canvas.getBoundingClientRect();
    tell(
      Math.floor(((event.clientY - box.top) / box.height) * rows),
      Math.floor(((event.clientX - box.left) / box.width) * columns),
    );
  });
  canvas.addEventListener("keydown", (event) => {
    const by = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] }[event.key];
    if (!by) return;
    event.preventDefault();
    event.stopPropagation();
    tell(clamp(at[0] + by[0], 0, rows - 1), clamp(at[1] + by[1], 0, columns - 1));
  });
  ["step", "part", "opacity", "lines"].forEach((name) => face.on(name, update));
  face.on("part", part.show);
  face.on("opacity", opacity.show);
  face.on("lines", lines.show);
  face.on("theme", update);
  scene.rebuild.push(update);
  shortcuts(scene, control);
  const panes = [flowPane(scene), accountPane(scene), rulePane(scene), headsPane(scene)];
  const refresh = () => panes.forEach((pane) => pane.update());
  ["step", "heads"].forEach((name) => face.on(name, refresh));
  scene.rebuild.push(refresh);
  return section(
    "Step by step",
    "From the answer back to the pixels, layer by layer: what each patch carries there, and what was kept on the way.",
    control.node,
    said,
    make(
      "div",
      { class: "columns" },
      make("div", {}, canvas, read),
      make("div", {}, make("div", { class: "controls" }, part.node, opacity.node, lines.node, key.node), panes[1].node),
    ),
    panes[3].node,
    panes[0].node,
    panes[2].node,
  );
}

function paintOver(canvas, { picture, flat, scale, opacity, grid, shades }) {
  const pen = canvas.getContext("2d");
  const [width, height] = [canvas.width, canvas.height];
  pen.globalAlpha = 1;
  pen.imageSmoothingEnabled = false;
  pen.fillStyle = "#808080";
  pen.fillRect(0, 0, width, height);
  if (picture) pen.drawImage(picture, 0, 0, width, height);
  const [tall, wide] = [height / flat.length, width / (flat[0]?.length ?? 1)];
  flat.forEach((row, r) =>
    row.forEach((x, c) => {
      const share = scale > 0 && Number.isFinite(x) ? Math.min(1, Math.abs(x) / scale) : 0; // more than 1 is no alpha
      pen.globalAlpha = opacity * (picture ? Math.sqrt(share) : 1);
      [pen.fillStyle] = shadeOf(shades, x, scale);
      pen.fillRect(Math.floor(c * wide), Math.floor(r * tall), Math.ceil(wide), Math.ceil(tall));
    }),
  );
  if (!grid) return;
  pen.globalAlpha = 0.5;
  pen.fillStyle = "#000";
  for (let r = 1; r < grid[0]; r++) pen.fillRect(0, (r * height) / grid[0], width, 1);
  for (let c = 1; c < grid[1]; c++) pen.fillRect((c * width) / grid[1], 0, 1, height);
}
