// Controls: real buttons and radios, and a slider with a name, for the notebook's own have none.

const QUIET = { "data-lm-suppress-shortcuts": "true" }; // JupyterLab: its shortcuts sleep while this has the focus

function press(sign, name, action, kind = "") {
  const button = make("button", { type: "button", class: `press ${kind}`, "aria-label": name, title: name, ...QUIET }, sign);
  button.addEventListener("click", () => button.getAttribute("aria-disabled") === "true" || action());
  return button;
}

// A button that says in words what it does.
function action(text, run, kind = "") {
  const button = make("button", { type: "button", class: `press ${kind}`, ...QUIET }, text);
  button.addEventListener("click", () => button.getAttribute("aria-disabled") === "true" || run());
  return button;
}

const disable = (button, off) => button.setAttribute("aria-disabled", String(off));

// One of several: [[value, text, whether it is of no use here], ...].
function choice(name, options, value, chosen) {
  const group = `pelrp-${unique++}`;
  const inputs = options.map(([option]) => make("input", { type: "radio", name: group, value: option, ...QUIET }));
  const show = (now) =>
    inputs.forEach((input, i) => {
      input.checked = options[i][0] === now;
    });
  inputs.forEach((input, i) => input.addEventListener("change", () => chosen(options[i][0])));
  show(value);
  const node = make(
    "fieldset",
    {},
    make("legend", {}, name),
    make(
      "div",
      { class: "options" },
      inputs.map((input, i) => make("label", {}, input, make("span", { class: options[i][2] ? "quiet" : null }, options[i][1]))),
    ),
  );
  return { node, show };
}

// On or off.
function toggle(text, value, chosen) {
  const input = make("input", { type: "checkbox", ...QUIET });
  const show = (now) => {
    input.checked = Boolean(now);
  };
  input.addEventListener("change", () => chosen(input.checked));
  show(value);
  return { node: make("label", { class: "toggle" }, input, make("span", {}, text)), show };
}

function select(name, options, value, chosen) {
  const box = make(
    "select",
    { "aria-label": name, ...QUIET },
    options.map(([option, text]) => make("option", { value: option }, text)),
  );
  const show = (now) => {
    box.value = String(now);
  };
  box.addEventListener("change", () => chosen(options[box.selectedIndex][0]));
  show(value);
  return { node: make("label", { class: "pick" }, make("span", {}, name), box), show };
}

// A slider: arrows, Page, Home, End, mouse, touch.
// `text(value)` is what a screen reader says; `page(value, sign)` is where the Page keys lead.
function slider(name, { min = 0, max, step = 1, big = 4 * step, page = null, value = min, text = String, marks = [] }, moved) {
  const spot = make("b");
  const node = make("div", {
    class: "track",
    role: "slider",
    tabindex: "0",
    "aria-label": name,
    "aria-valuemin": min,
    "aria-valuemax": max,
    ...QUIET,
  });
  const place = (x) => `${max > min ? (100 * (x - min)) / (max - min) : 50}%`;
  marks.forEach((x) => {
    const mark = make("i");
    mark.style.left = place(x);
    node.append(mark);
  });
  node.append(spot);
  let now = value;
  const show = (next) => {
    now = next;
    spot.style.left = place(clamp(next, min, max));
    node.setAttribute("aria-valuenow", String(Number(next.toPrecision(6))));
    node.setAttribute("aria-valuetext", text(next));
  };
  const go = (next) => {
    if (node.getAttribute("aria-disabled") === "true") return;
    const near = clamp(Math.round((next - min) / step) * step + min, min, max);
    if (near !== now) {
      show(near);
      moved(near);
    }
  };
  const keys = {
    ArrowLeft: -step,
    ArrowDown: -step,
    ArrowRight: step,
    ArrowUp: step,
    PageDown: -big,
    PageUp: big,
    Home: -Infinity,
    End: Infinity,
  };
  node.addEventListener("keydown", (event) => {
    if (!(event.key in keys) || event.altKey || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    event.stopPropagation();
    const by = keys[event.key];
    if (page && event.key.startsWith("Page")) return go(page(now, Math.sign(by)));
    return go(Number.isFinite(by) ? now + by : by > 0 ? max : min);
  });
  const point = (event) => {
    const { left, width } = node.getBoundingClientRect();
    if (width) go(min + ((max - min) * (event.clientX - left)) / width);
  };
  node.addEventListener("pointerdown", (event) => {
    node.setPointerCapture(event.pointerId);
    point(event);
  });
  node.addEventListener("pointermove", (event) => {
    if (node.hasPointerCapture(event.pointerId)) point(event);
  });
  show(value);
  return { node, show, go: (next) => go(next), at: () => now };
}

// A slider with its name before it and its value behind it.
function dial(name, options, moved) {
  const shown = make("output", { class: "value" });
  const text = options.text ?? String;
  const track = slider(name, options, (value) => {
    write(shown, text(value));
    moved(value);
  });
  write(shown, text(options.value ?? options.min ?? 0));
  const node = make("div", { class: "dial" }, make("span", { class: "name", "aria-hidden": "true" }, name), track.node, shown);
  return {
    node,
    show(value) {
      track.show(value);
      write(shown, text(value));
    },
  };
}

// Content that is built when it is opened, and again when it changes while open.
function fold(name, build, open = false) {
  const body = make("div");
  const node = make("details", { open: open ? "" : null }, make("summary", { ...QUIET }, name), body);
  let made = false;
  const update = () => {
    if (node.open) clear(body, build());
    made = node.open;
  };
  node.addEventListener("toggle", () => {
    if (!made) update();
    made = made && node.open;
  });
  update();
  return { node, update, name: (text) => write(node.firstChild, text) };
}

const section = (name, about, ...parts) =>
  make("section", { "aria-label": name }, make("h2", {}, name), about && make("p", { class: "quiet" }, about), ...parts);

const region = (name, ...parts) =>
  make("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": name, ...QUIET }, ...parts);
