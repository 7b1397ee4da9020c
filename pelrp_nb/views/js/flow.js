// The whole way of the answer at a glance: through all layers to content, and what positions, softmax and constants take.

const LANES = ["positions", "softmax", "constants", "stabilisers", "other streams"];

kinds.flow = (root, face) => {
  const scene = sceneOf(face, face.data);
  root.append(head(face.data), wholeFlow(scene), exporter(scene));
  scene.filtered();
};

function wholeFlow(scene) {
  const place = make("div");
  const drawing = sankey(scene);
  clear(place, drawing.node);
  scene.face.on("step", drawing.update);
  drawing.update();
  return section(
    "The whole flow",
    "Where the answer went, from left to right: the wider, the more; below zero with a dashed edge. Press a layer to go there.",
    region("the whole flow", place),
  );
}

// Stations are the answer, every boundary, and the inputs; between them segments, whose keepers drop into lanes of their own.
function stationsOf(scene) {
  const stops = range(scene.last + 1).filter((at) => ["answer", "layer", "inputs"].includes(scene.walk[at].kind));
  return stops.map((at) => ({ at, name: scene.walk[at].name, amounts: Object.fromEntries(scene.walk[at].account) }));
}

function sankey(scene) {
  const stations = stationsOf(scene);
  const most = largest(
    ...stations.map(({ amounts }) =>
      Object.entries(amounts)
        .filter(([name]) => name !== "gap")
        .map(([, x]) => x),
    ),
  );
  const lanes = LANES.filter((lane) => stations.some(({ amounts }) => !(Math.abs(amounts[lane] ?? 0) <= 1e-6 * most)));
  const [left, right, y0] = [24, 120, 92];
  const wide = (scene.face.root.clientWidth || 1100) - 60 - left - right;
  const gap = clamp(Math.floor(Math.min(900, wide) / Math.max(1, stations.length - 1)), 34, 140);
  const size = most > 0 ? 104 / most : 0;
  const thick = (x) => (Number.isFinite(x) ? Math.max(1.2, Math.abs(x) * size) : 1.2);
  const [width, deep] = [
    left + gap * (stations.length - 1) + right,
    lanes.map((lane) => thick(largest(stations.map(({ amounts }) => amounts[lane])))),
  ];
  const laneY = lanes.map((_, l) => y0 + 78 + total(deep.slice(0, l)) + 34 * l + deep[l] / 2);
  const height = (lanes.length ? laneY.at(-1) + deep.at(-1) / 2 : y0 + 60) + 34;
  const x = (i) => left + gap * i;
  const out = svg("svg", {
    class: "sankey",
    width,
    height,
    viewBox: `0 0 ${width} ${height}`,
    role: "group",
    "aria-label": "the whole flow",
  });
  stations.forEach(({ amounts }, i) => {
    const next = stations[i + 1]?.amounts;
    if (!next) return;
    const [a, b] = [thick(amounts.tokens), thick(next.tokens)];
    out.append(ribbon(x(i), y0 - a / 2, a, x(i + 1), y0 - b / 2, b, tone("tokens", next.tokens)));
    lanes.forEach((lane, l) => {
      const [before, after, taken] = [amounts[lane], next[lane], next[lane] - amounts[lane]];
      if (before)
        out.append(
          ribbon(
            x(i),
            laneY[l] - thick(before) / 2,
            thick(before),
            x(i + 1),
            laneY[l] - thick(after) / 2,
            thick(after),
            tone(lane, after),
          ),
        );
      if (Math.abs(taken) > 1e-6 * most)
        out.append(
          ribbon(
            x(i),
            y0 + a / 2 - Math.min(thick(taken), a),
            Math.min(thick(taken), a),
            x(i + 1),
            laneY[l] + thick(after) / 2 - thick(taken),
            thick(taken),
            `${tone(lane, taken)} drop`,
          ),
        );
    });
  });
  const cursor = svg("line", { class: "cursor", y1: 10, y2: height - 22 });
  out.append(
    cursor,
    ...stations.map((station, i) =>
      stop(
        scene,
        station,
        x(i),
        y0,
        thick(station.amounts.tokens),
        gap,
        height,
        i % Math.ceil(62 / gap) === 0 || i === stations.length - 1,
      ),
    ),
  );
  ends(out, scene, stations.at(-1).amounts, lanes, x(stations.length - 1) + 14, [y0, ...laneY]);
  const update = () => {
    const here = stations.findLastIndex(({ at }) => at <= scene.at());
    const [from, to] = [stations[here], stations[here + 1]];
    const along = to ? (scene.at() - from.at) / (to.at - from.at) : 0;
    cursor.setAttribute("x1", x(here) + gap * along);
    cursor.setAttribute("x2", x(here) + gap * along);
  };
  return { node: out, update };
}

function stop(scene, { at, name, amounts }, x, y0, thick, gap, height, named) {
  const said = `${name}: ${digits(Math.abs(amounts.tokens))(amounts.tokens)} on the tokens; step there`;
  const node = svg(
    "g",
    { class: "stop", role: "button", tabindex: "0", "aria-label": said, ...QUIET },
    svg("title", {}, said),
    svg("rect", { class: "touch", x: x - gap / 2, y: 0, width: gap, height }),
    svg("rect", { class: "end content", x: x - 2, y: y0 - thick / 2, width: 4, height: thick, rx: 2 }),
    named &&
      svg(
        "text",
        { x, y: height - 6, "text-anchor": "middle", class: "quiet" },
        name
          .replace(/^the /, "")
          .replace("embeddings", "emb.")
          .replace("layer ", gap < 60 ? "" : "layer "),
      ),
  );
  node.addEventListener("click", () => scene.go(at));
  node.addEventListener("keydown", (event) => {
    if (event.key === "Enter" || event.key === " ") {
      event.preventDefault();
      event.stopPropagation();
      scene.go(at);
    }
  });
  return node;
}

function ends(out, scene, amounts, lanes, x, places) {
  const show = digits(largest(Object.values(amounts)));
  ["content", ...lanes].forEach((name, i) =>
    out.append(
      svg("text", { x, y: places[i] - 2, class: "name" }, name),
      svg("text", { x, y: places[i] + 13, class: "quiet" }, show(amounts[name === "content" ? "tokens" : name])),
    ),
  );
}
