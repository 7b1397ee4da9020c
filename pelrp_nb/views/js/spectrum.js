// Which rotary frequencies were paid: each is a pair of coordinates with a wavelength in tokens.

function spectrum(scene) {
  const { face, data } = scene;
  const drawing = make("div");
  const said = make("p", { class: "quiet" });
  const names = data.sinks.filter((sink) => sink.kind === "rotary").map((sink) => sink.name);
  if (!names.length) return null;
  let [sink, column] = [names[0], null];
  const update = async () => {
    const found = (await face.more("frequencies"))?.[sink];
    if (!found) return;
    const [relevance, waves] = [unpacked(found.relevance), unpacked(found.wavelength).map(Number)];
    const sum = (ids) => waves.map((_, f) => total(ids.map((t) => relevance[t][f])));
    const all = sum(range(relevance.length));
    const one = column && sum(column.ids);
    clear(drawing, bars(waves, all, one, drawing.clientWidth || undefined));
    const f = all.reduce((best, x, i) => (Math.abs(x) > Math.abs(all[best]) ? i : best), 0);
    write(
      said,
      `${column ? `The line is ${column.name}. ` : ""}All tokens together: ` +
        `most at a wavelength of ${wave(waves[f])} tokens, ${digits(largest(all))(all[f])}.`,
    );
  };
  const pick = select(
    "Sink",
    names.map((name) => [name, name]),
    sink,
    (name) => {
      sink = name;
      update();
    },
  );
  face.on("point", (next) => {
    column = next;
    update();
  });
  update();
  return make(
    "section",
    { "aria-label": "Frequencies" },
    make("h3", {}, "Over which wavelengths"),
    make("div", { class: "controls" }, pick.node),
    drawing,
    said,
  );
}

const wave = (x) =>
  Number.isFinite(x)
    ? x < 100
      ? x.toFixed(1)
      : x < 1000
        ? x.toFixed(0)
        : `${(x / 1000).toFixed(x < 10_000 ? 1 : 0)}k`
    : "never turning";

function bars(waves, values, line, room = 640) {
  const [width, height, left, low] = [clamp(room, 264, 640), 190, 80, 36];
  const most = largest(values, line ?? []) || 1;
  const slot = (width - left - 10) / Math.max(1, waves.length);
  const y = (x) => (height - low) / 2 + 6 - (Number.isFinite(x) ? (x / most) * ((height - low) / 2 - 6) : 0);
  const show = digits(most, 3);
  const every = Math.ceil(34 / slot);
  const out = svg("svg", {
    viewBox: `0 0 ${width} ${height}`,
    class: "bars",
    role: "img",
    "aria-label": `spectrum: ${waves.map((w, i) => `wavelength ${wave(w)} ${show(values[i])}`).join(", ")}`,
  });
  out.append(
    svg("line", { x1: left, x2: width - 10, y1: y(0), y2: y(0), class: "axis" }),
    ...[most, 0, -most].map((x) =>
      svg("text", { x: left - 8, y: y(x) + 4, "text-anchor": "end", class: "quiet" }, x ? show(x) : "0"),
    ),
    svg("text", { x: width - 10, y: height - 2, "text-anchor": "end", class: "quiet" }, "wavelength in tokens"),
  );
  values.forEach((x, i) => {
    out.append(
      svg(
        "rect",
        {
          x: left + i * slot + slot * 0.12,
          width: slot * 0.76,
          y: Math.min(y(0), y(x)),
          height: Math.max(0.8, Math.abs(y(x) - y(0))),
          class: shade(x, most),
        },
        svg("title", {}, `${wave(waves[i])}: ${show(x)}`),
      ),
    );
    if (i % every === 0)
      out.append(
        svg(
          "text",
          { x: left + (i + 0.5) * slot, y: height - 18, "text-anchor": "middle", class: "quiet" },
          Number.isFinite(waves[i]) ? wave(waves[i]) : "\u221e",
        ),
      );
  });
  if (line)
    out.append(
      svg("polyline", {
        class: "line",
        points: line.map((x, i) => `${(left + (i + 0.5) * slot).toFixed(1)},${y(x).toFixed(1)}`).join(" "),
      }),
    );
  return out;
}
