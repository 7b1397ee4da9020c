// Predict, then step: the reader says what a token will carry, and the next step scores what was said, and nothing else.

function predictPane(scene) {
  const { face } = scene;
  const [place, score] = [make("ol", { class: "strip guesses", "aria-label": "your prediction" }), spoken()];
  const node = make(
    "section",
    { "aria-label": "Predict", hidden: "" },
    make("h3", {}, "What will each token carry after the next step?"),
    make(
      "p",
      { class: "quiet" },
      "Drag a bar up (for the answer) or down (against it), or use its arrow keys, then step. " +
        "Faint bars show the step before: they are no prediction and are not scored.",
    ),
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
          guesses.map((one) => one.said()),
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
  let [now, said] = [0, false];
  const show = (next, own = true) => {
    said ||= own;
    bar.classList.toggle("unsaid", !said);
    bar.setAttribute("aria-valuetext", said ? String(clamp(Math.round(20 * next) / 20, -1, 1) || 0) : "not predicted");
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
  show(value, false);
  return { node: make("li", {}, make("div", { class: "token" }, label(column.text), bar)), said: () => (said ? now : null) };
}

// How near the predictions came (null where nobody made one): the signs, their cosine, and the token that carries most.
function scored(guessed, actual, columns) {
  const made = range(actual.length).filter((i) => guessed[i] !== null);
  if (!made.length) return "Nothing was predicted, so nothing is scored.";
  const [ours, true_] = [made.map((i) => guessed[i]), made.map((i) => actual[i])];
  const count = `${made.length} of ${actual.length} token${actual.length > 1 ? "s" : ""} predicted. `;
  const scale = largest(actual);
  const told = range(made.length).filter((i) => Math.abs(true_[i]) > 0.05 * scale);
  const right = told.filter((i) => Math.sign(ours[i]) === Math.sign(true_[i])).length;
  const signs = told.length ? `Signs right on ${right} of ${told.length}. ` : "None of them carries more than a trace. ";
  const dot = (a, b) => total(a.map((x, i) => x * b[i]));
  const size = Math.sqrt(dot(ours, ours) * dot(true_, true_));
  const near = made.length > 2 && size > 0 && Number.isFinite(size);
  const agreement = near
    ? `Agreement ${(dot(ours, true_) / size).toFixed(2).replace("-", MINUS)} (1 is perfect, 0 is chance). `
    : "";
  const most = (values) => values.reduce((best, x, i) => (Math.abs(x) > Math.abs(values[best]) ? i : best), 0);
  const [named, is] = [made[most(ours)], most(actual)];
  const both =
    named === is
      ? `You named the token that carries most: ${columns[is].name}.`
      : `Most is on ${columns[is].name}; you said ${columns[named].name}.`;
  return `${count}${signs}${agreement}${both}`;
}
