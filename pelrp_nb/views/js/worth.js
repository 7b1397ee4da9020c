// What positions are worth: the matrix of pairs, each place, and the profile over the distance between two places.

kinds.exchange = (root, face) => {
  const { data } = face;
  const value = Number(data.value);
  root.append(
    make("header", {}, make("h1", {}, `${data.target} `, make("span", { class: "amount" }, digits(Math.abs(value), 5)(value)))),
    ...data.streams.map((stream) =>
      section(`What positions are worth${stream.name ? `: ${stream.name}` : ""}`, data.means, worthOf(face, stream)),
    ),
    ...noted(data.notes),
    savingShown(face, `exchange-${data.target}`),
  );
};

function worthOf(face, stream) {
  const columns = stream.places.map((t, i) => {
    const text = stream.tokens[i];
    return { ids: [t], key: t, text, special: false, name: `${t} ${spelled(text)}` };
  });
  if (columns.length < 2) return make("p", { class: "quiet" }, stream.said);
  const rows = [stream.signed, stream.size].map(numbers);
  const [show, scale] = [make("div"), largest(...rows)];
  const [map, strip] = [
    heatOf(face, "worth of each pair of places", columns),
    stripOf(face, "worth of each place", columns, ["signed", "size"]),
  ];
  const matrices = stream.attentions.map(([name, matrix]) => [name, unpacked(matrix)]);
  const update = (chosen) => {
    const [, matrix] = matrices.find(([name]) => name === chosen);
    const there = (x) => (Number.isNaN(x) ? null : x); // what was not exchanged stays empty
    map.paint(columns.map((column, i) => ({ name: column.name, values: matrix[i].map(there) })));
  };
  const names = matrices.map(([name]) => [name, name]);
  update(names[0][0]);
  strip.paint(rows.map((values) => ({ values: values.map((x) => (Number.isNaN(x) ? undefined : x)), scale })));
  clear(show, profile(stream.away));
  return make(
    "div",
    {},
    make("p", { role: "status" }, stream.said),
    make("h3", {}, "Pairs"),
    names.length > 1 && make("div", { class: "controls" }, select("Attention", names, names[0][0], update).node),
    map.node,
    stream.left && make("p", { class: "quiet" }, stream.left),
    make("h3", {}, "Places, mean over their partners"),
    strip.node,
    make("h3", {}, "By distance, mean over pairs"),
    show,
  );
}

// Two lines over distance: the mean size of a pair, and its signed mean, dashed.
function profile({ distance, signed, size }) {
  const [width, height, left, low] = [640, 190, 80, 36];
  const most = largest(signed, size) || 1;
  const show = digits(most, 3);
  const far = Math.max(...distance, 2);
  const x = (d) => left + ((d - 1) / (far - 1)) * (width - left - 14);
  const y = (amount) => (height - low) / 2 + 6 - (amount / most) * ((height - low) / 2 - 6);
  const told = distance.map((d, i) => `distance ${d} size ${show(size[i])} signed ${show(signed[i])}`).join(", ");
  const points = (values) => values.map((amount, i) => `${x(distance[i]).toFixed(1)},${y(Number(amount)).toFixed(1)}`).join(" ");
  return svg(
    "svg",
    { viewBox: `0 0 ${width} ${height}`, class: "bars", role: "img", "aria-label": `profile: ${told}` },
    svg("line", { x1: left, x2: width - 10, y1: y(0), y2: y(0), class: "axis" }),
    ...[most, 0, -most].map((amount) =>
      svg("text", { x: left - 8, y: y(amount) + 4, "text-anchor": "end", class: "quiet" }, amount ? show(amount) : "0"),
    ),
    svg("polyline", { class: "line", points: points(size) }),
    svg("polyline", { class: "line", points: points(signed), "stroke-dasharray": "5 4" }),
    svg("text", { x: x(1), y: height - 18, "text-anchor": "middle", class: "quiet" }, "1"),
    svg("text", { x: x(far), y: height - 18, "text-anchor": "middle", class: "quiet" }, String(far)),
    svg("text", { x: width - 10, y: height - 2, "text-anchor": "end", class: "quiet" }, "distance in places; dashed: signed"),
  );
}
