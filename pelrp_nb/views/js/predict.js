// Predict, then step: the reader says what each token will carry, and the next step scores it.

function predictPane(scene) {
  const { face } = scene;
  const [place, score] = [make("ol", { class: "strip guesses", "aria-label": "your prediction" }), spoken()];
  const node = make(
    "section",
    { "aria-label": "Predict", hidden: "" },
    make("h3", {}, "What will each token carry after the next step?"),
    make("p", { class: "quiet" }, "Drag the bars up (for the answer) or down (against it); arrow keys do the same. Then step."),
    place,
    make(
      "div",
      { class: "controls" },
      action("Step, and score it", () => scene.go(scene.at() + 1), "main"),
    ),
    score,
  );
  let [guesses, standing] = [[], null];
  const amounts = () => {
    const values = amountsOn(scene, scene.step());
    return values ? scene.gather(values.both) : null;
  };
  const start = () => {
    const now = amounts() ?? scene.columns.map(() => 0);
    const scale = largest(now);
    standing = scene.at();
    guesses = scene.columns.map((column, i) => guess(column, scale ? now[i] / scale : 0));
    clear(
      place,
      guesses.map((one) => one.node),
    );
  };
  const update = () => {
    node.hidden = !face.get("predict");
    if (node.hidden) {
      standing = null;
      return;
    }
    if (standing === null || guesses.length !== scene.columns.length) return start();
    if (scene.at() === standing + 1 && amounts())
      write(
        score,
        scored(
          guesses.map((one) => one.value()),
          amounts(),
          scene.columns,
        ),
      );
    else if (scene.at() !== standing) write(score, "");
    if (scene.at() !== standing) start();
  };
  scene.rebuild.push(() => {
    standing = null;
  });
  return { node, update };
}

// One token's bar, a slider from -1 to 1 that is dragged up and down.
function guess(column, value) {
  const filled = make("i");
  const bar = make(
    "div",
    {
      class: "guess",
      role: "slider",
      tabindex: "0",
      "aria-label": `prediction for ${column.name}`,
      "aria-orientation": "vertical",
      "aria-valuemin": "-1",
      "aria-valuemax": "1",
      ...QUIET,
    },
    filled,
  );
  let now = 0;
  const show = (next) => {
    now = clamp(Math.round(20 * next) / 20, -1, 1) || 0;
    bar.setAttribute("aria-valuenow", String(now));
    filled.className = shade(0.75 * Math.sign(now), 1);
    filled.style.height = `${50 * Math.abs(now)}%`;
    filled.style.top = `${now > 0 ? 50 - 50 * now : 50}%`;
  };
  const point = (event) => {
    const { top, height } = bar.getBoundingClientRect();
    show(1 - (2 * (event.clientY - top)) / height);
  };
  bar.addEventListener("pointerdown", (event) => {
    bar.setPointerCapture(event.pointerId);
    point(event);
  });
  bar.addEventListener("pointermove", (event) => {
    if (bar.hasPointerCapture(event.pointerId)) point(event);
  });
  bar.addEventListener("keydown", (event) => {
    const by = { ArrowUp: 0.1, ArrowDown: -0.1, PageUp: 0.5, PageDown: -0.5, Home: -2, End: 2 }[event.key];
    if (by === undefined) return;
    event.preventDefault();
    event.stopPropagation();
    show(now + by);
  });
  show(value);
  return { node: make("li", {}, make("div", { class: "token" }, label(column.text), bar)), value: () => now };
}

// How near a prediction came: the cosine of the two lists of numbers, the signs, and the token that carries most.
function scored(guessed, actual, columns) {
  const dot = (a, b) => total(a.map((x, i) => x * b[i]));
  const size = Math.sqrt(dot(guessed, guessed) * dot(actual, actual));
  if (!size || !Number.isFinite(size)) return "There is nothing to score: one of the two is zero everywhere.";
  const scale = largest(actual);
  const told = range(actual.length).filter((i) => Math.abs(actual[i]) > 0.05 * scale);
  const right = told.filter((i) => Math.sign(guessed[i]) === Math.sign(actual[i])).length;
  const most = (values) => columns[values.reduce((best, x, i) => (Math.abs(x) > Math.abs(values[best]) ? i : best), 0)].name;
  const both =
    most(guessed) === most(actual)
      ? `You named the token that carries most: ${most(actual)}.`
      : `Most is on ${most(actual)}; you said ${most(guessed)}.`;
  const near = (dot(guessed, actual) / size).toFixed(2).replace("-", MINUS);
  return `Agreement ${near} (1 is perfect, 0 is chance). Signs right on ${right} of ${told.length}. ${both}`;
}
