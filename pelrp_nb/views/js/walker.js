// The control of a walk: buttons, a track to scrub, keys that work anywhere in the view, and play.

const SPEED = { slow: 2400, normal: 1200, fast: 500 }; // milliseconds of one step
const KEYS =
  "Left and right arrow: one step. Page up and page down: one layer on, one back. Home and End: the answer and the inputs. " +
  "Space: play or pause. h: heads. On tokens, left and right move from token to token, Enter chooses one.";

function walker(scene, more = ["heads", "predict"]) {
  const { face, last } = scene;
  const track = slider(
    "Step",
    { max: last, page: nextLayer(scene), value: scene.at(), text: told(scene), marks: layerMarks(scene) },
    scene.go,
  );
  const where = make("span", { class: "where" });
  const player = playerOf(scene, () => update());
  const buttons = [
    press("\u00ab", "to the answer", () => scene.go(0), "far"),
    press("\u2039", "one step back", () => scene.go(scene.at() - 1)),
    press("\u25b6", "play", player.press),
    press("\u203a", "one step on", () => scene.go(scene.at() + 1)),
    press("\u00bb", "to the inputs", () => scene.go(last), "far"),
  ];
  const speeds = Object.keys(SPEED).map((name) => [name, name]);
  const speed = select("Speed", speeds, face.get("speed") ?? "normal", (name) => {
    face.set({ speed: name });
    player.stop();
  });
  const update = () => {
    const at = scene.at();
    track.show(at);
    write(where, `${at} / ${last}${GAP}${scene.walk[at].name}`);
    buttons.forEach((button, i) => disable(button, i < 2 ? at === 0 : i > 2 && at === last));
    for (const key of ["aria-label", "title"]) buttons[2].setAttribute(key, player.name());
    write(buttons[2], player.playing() ? "\u275a\u275a" : "\u25b6");
  };
  const keys = fold("Keys", () => make("p", { class: "quiet" }, KEYS));
  const line = make("div", { class: "walker stuck" }, buttons, track.node, where);
  const rest = make("div", { class: "controls small" }, speed.node, extras(face, more), keys.node);
  return {
    node: make("div", { class: "walk", role: "group", "aria-label": "Walk" }, line, rest),
    update,
    play: player.press,
    layer: nextLayer(scene),
  };
}

// What a screen reader says of a step.
const told = (scene) => (at) => {
  const account = Object.fromEntries(scene.walk[at].account);
  const amount = digits(Math.abs(account.tokens))(account.tokens);
  const gap = unlessRounding(account.gap, scene.data.ledger.allowed);
  return `step ${at} of ${scene.last}, ${scene.walk[at].name}, ${amount} on the tokens, the gap is ${gap}`;
};

const stopsOf = (scene) => range(scene.last + 1).filter((at) => ["answer", "layer", "inputs"].includes(scene.walk[at].kind));
const layerMarks = (scene) => (scene.last > 160 ? [] : stopsOf(scene));

const nextLayer = (scene) => (at, by) => {
  const stops = stopsOf(scene);
  return (by > 0 ? stops.find((stop) => stop > at) : stops.findLast((stop) => stop < at)) ?? (by > 0 ? scene.last : 0);
};

// Plays from where it stands, from the answer if it stands at the end.  Nothing moves by itself where motion is not wanted.
function playerOf(scene, changed) {
  const still = window.matchMedia("(prefers-reduced-motion: reduce)");
  let timer = null;
  const stop = () => {
    clearInterval(timer);
    timer = null;
    changed();
  };
  const tick = () => (scene.at() < scene.last ? scene.go(scene.at() + 1) : stop());
  const play = () => {
    if (scene.at() === scene.last) scene.go(0);
    timer = setInterval(tick, SPEED[scene.face.get("speed")] ?? SPEED.normal);
    changed();
  };
  scene.face.signal.addEventListener("abort", () => clearInterval(timer));
  return {
    stop,
    playing: () => timer !== null,
    name: () => (timer ? "pause" : still.matches ? "one step on, without motion" : "play"),
    press() {
      if (timer) stop();
      else if (still.matches) scene.go(scene.at() + 1);
      else play();
    },
  };
}

function extras(face, more) {
  return more.map((name) => {
    const box = toggle(name === "heads" ? "heads" : "predict, then step", face.get(name), (on) => face.set({ [name]: on }));
    face.on(name, box.show);
    return box.node;
  });
}

// Keys work anywhere in the view, but not where they mean something else.
function shortcuts(scene, control) {
  const { face } = scene;
  const run = {
    ArrowRight: () => scene.go(scene.at() + 1),
    ArrowLeft: () => scene.go(scene.at() - 1),
    PageUp: () => scene.go(control.layer(scene.at(), 1)),
    PageDown: () => scene.go(control.layer(scene.at(), -1)),
    Home: () => scene.go(0),
    End: () => scene.go(scene.last),
    " ": control.play,
    h: () => face.set({ heads: !face.get("heads") }),
    "?": () => control.node.querySelector("summary").click(),
  };
  const means = (target, key) => {
    if (target.matches("select, textarea, input:not([type=checkbox], [type=radio])")) return true;
    if (key === " ") return target.matches("button, summary, input");
    return key.length > 1 && target.closest("input, .scroll, pre") !== null;
  };
  const hear = (event) => {
    const { key, target } = event;
    const taken = event.defaultPrevented || event.altKey || event.ctrlKey || event.metaKey;
    if (taken || !(key in run) || means(target, key)) return;
    event.preventDefault();
    run[key]();
  };
  face.root.addEventListener("keydown", hear, { signal: face.signal });
}
