// Heat maps of rows by columns: one is chosen, and where rows are steps one of them is read as a line of coloured tokens.

kinds.maps = (root, face) => {
  const { data } = face;
  const maps = data.maps.map((one) => ({ ...one, amounts: unpacked(one.amounts) }));
  const place = make("div");
  const chosen = () => Math.max(0, maps.map(({ name }) => name).indexOf(face.get("map")));
  const names = maps.map(({ name }, i) => [i, name]);
  const pick = maps.length > 1 && select("Show", names, chosen(), (i) => face.set({ map: maps[i].name }));
  const show = () => {
    if (pick) pick.show(chosen());
    face.within(place, () => clear(place, heatMapOf(face, maps[chosen()], data.steps)));
  };
  root.append(
    make("header", {}, make("h1", {}, data.title), make("p", { class: "quiet" }, data.means)),
    ...(pick ? [make("div", { class: "controls" }, pick.node)] : []),
    place,
    ...noted(data.notes),
    savingShown(face, data.title),
  );
  face.on("map", show);
  show();
};

function heatMapOf(face, map, steps) {
  const columns = map.columns.map((text, t) => ({ ids: [t], key: t, text, special: false, name: `${t} ${spelled(text)}` }));
  const there = (row) => row.map((x) => (Number.isFinite(x) ? x : null));
  const rows = map.rows.map((text, r) => ({ r, name: spelled(text), values: there(map.amounts[r]) }));
  const scale = largest(...map.amounts);
  const heat = heatOf(face, map.name, columns, steps ? (row) => face.set({ step: row.r }) : null);
  heat.paint(rows, scale);
  return make("div", {}, steps ? rowStepsOf(face, map, columns, rows, scale, steps) : null, heat.node);
}

function rowStepsOf(face, map, columns, rows, scale, steps) {
  const place = make("div");
  const said = make("p", { role: "status", "aria-live": "polite" });
  const at = () => clamp(face.get("step") ?? 0, 0, rows.length - 1);
  const turn = dial(
    `The ${steps}`,
    { min: 0, max: Math.max(0, rows.length - 1), value: at(), text: (i) => rows[i].name, marks: range(rows.length) },
    (i) => face.set({ step: i }),
  );
  const show = () => {
    const { name, values } = rows[at()];
    const seen = columns.filter(({ key }) => values[key] !== null);
    const most = seen.reduce((best, { key }) => (Math.abs(values[key]) > Math.abs(values[best]) ? key : best), seen[0].key);
    turn.show(at());
    face.within(place, () => {
      const strip = stripOf(face, `relevance for each ${steps}`, seen);
      clear(place, strip.node);
      strip.paint([{ values: seen.map(({ key }) => values[key]), scale }]);
    });
    write(said, `${name}: most of all by ${columns[most].name}, ${digits(scale)(values[most])}.`);
  };
  face.on("step", show);
  show();
  return make("div", {}, rows.length > 1 && make("div", { class: "controls" }, turn.node), said, place);
}
