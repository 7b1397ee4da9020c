// A face is one drawn view of one model: what a kind of view reads, writes and listens to.

const kinds = {}; // name -> draw(root, face): fills the root; may return a function that is called when the data change
const LINKED = ["step", "token"]; // traits of their own, so that other widgets can be linked to them; the rest is in `state`

function faceOf(model, root) {
  const heard = new Map(); // name -> functions
  const waiting = new Map(); // part asked for -> functions
  const offs = [];
  let drawn = new AbortController(); // aborts when all is drawn anew
  let scope = null; // what is being drawn: its listeners are forgotten when it is drawn anew
  const get = (name) => (LINKED.includes(name) ? model.get(name) : model.get("state")?.[name]);
  const tell = (name) => (heard.get(name) ?? []).forEach(({ hear }) => hear(get(name)));
  const listen = (event, hear) => {
    model.on(event, hear);
    offs.push(() => model.off(event, hear));
  };
  LINKED.forEach((name) => listen(`change:${name}`, () => tell(name)));
  root.addEventListener("theme", () => tell("theme"));
  let before = model.get("state") ?? {};
  listen("change:state", () => {
    const now = model.get("state") ?? {};
    const changed = [...new Set([...Object.keys(before), ...Object.keys(now)])].filter((name) => before[name] !== now[name]);
    before = now;
    changed.forEach(tell);
  });
  listen("change:more", () => {
    for (const [part, found] of waiting)
      if (part in model.get("more")) {
        waiting.delete(part);
        found.forEach((hear) => hear(model.get("more")[part]));
      }
  });
  return {
    root,
    model,
    get,
    listen,
    get data() {
      return model.get("data");
    },
    // For listeners and timers outside of what is drawn: they end with it.
    get signal() {
      return drawn.signal;
    },
    // set({ step: 3, part: "content" }): in every view of the model, and in Python.
    set(changes) {
      const rest = Object.entries(changes).filter(([name]) => !LINKED.includes(name));
      LINKED.forEach((name) => {
        if (name in changes) model.set(name, changes[name]);
      });
      if (rest.length) model.set("state", { ...model.get("state"), ...Object.fromEntries(rest) });
      model.save_changes();
    },
    on(name, hear) {
      if (!heard.has(name)) heard.set(name, []);
      heard.get(name).push({ hear, scope });
    },
    // Draw parts that will be drawn anew: what they listened to the last time is forgotten first.
    within(owner, run) {
      for (const [name, list] of heard) {
        const others = list.filter((one) => one.scope !== owner);
        heard.set(name, others);
      }
      scope = owner;
      run();
      scope = null;
    },
    // What is under the pointer or has the focus: heard in this view only, by all of its panes.
    point(token) {
      (heard.get("point") ?? []).forEach(({ hear }) => hear(token));
    },
    // A large part that is sent on demand; null where there is no kernel to ask.
    more(part) {
      const have = model.get("more") ?? {};
      if (part in have) return Promise.resolve(have[part]);
      if (!model.get("asks")) return Promise.resolve(null);
      return new Promise((found) => {
        waiting.set(part, [...(waiting.get(part) ?? []), found]);
        model.set("wanted", [...new Set([...model.get("wanted"), part])]);
        model.save_changes();
      });
    },
    send(message) {
      model.send?.(message);
    },
    forget() {
      heard.clear();
      drawn.abort();
      drawn = new AbortController();
    },
    leave() {
      drawn.abort();
      offs.forEach((off) => off());
    },
  };
}

// --- what a host asks for ---------------------------------------------------------------------------------------------

function render({ model, el }) {
  const root = make("div", { class: "pelrp" });
  clear(el, root);
  ownKeys(root);
  const face = faceOf(model, root);
  const leave = followTheme(root);
  let update = null;
  const draw = (anew) => {
    try {
      if (update && !anew) return update();
      face.forget();
      clear(root);
      const kind = kinds[model.get("kind")];
      if (!kind) throw new Error(`no view is called ${model.get("kind")}`);
      update = kind(root, face) ?? null;
    } catch (error) {
      update = null;
      clear(root, make("p", { role: "alert" }, `This could not be drawn: ${error.message}`));
    }
    return undefined;
  };
  face.listen("change:data", () => draw(false));
  face.listen("change:kind", () => draw(true));
  draw(true);
  return () => {
    face.leave();
    leave();
  };
}

// A notebook has shortcuts of its own: plain keys are the view's while it has the focus, those with Control or Command stay the
// notebook's.  JupyterLab looks for the attribute on what has the focus before it hears a key, so it is taken off beforehand.
function ownKeys(root) {
  for (const kind of ["keydown", "keyup"]) {
    root.addEventListener(kind, (event) => {
      const theirs = event.ctrlKey || event.metaKey;
      event.target.toggleAttribute("data-lm-suppress-shortcuts", !theirs);
      if (!theirs) event.stopPropagation();
    });
  }
}

// Dark where the notebook is dark, else where the system is; light on paper.
function followTheme(root) {
  const system = window.matchMedia("(prefers-color-scheme: dark)");
  const outer = [document];
  try {
    if (window.parent !== window) outer.unshift(window.parent.document);
  } catch {
    /* another origin: ask the system */
  }
  const paper = window.matchMedia("print");
  let printing = false;
  const said = () => {
    if (printing || paper.matches) return false;
    for (const { body, documentElement: top } of outer) {
      if (body?.dataset.jpThemeLight) return body.dataset.jpThemeLight === "false";
      if (/vscode-(dark|high-contrast)/.test(body?.className ?? ""))
        return !body.classList.contains("vscode-high-contrast-light");
      if (body?.classList.contains("vscode-light")) return false;
      if (top.getAttribute("theme")) return top.getAttribute("theme") === "dark";
    }
    return system.matches;
  };
  const paint = () => {
    const theme = said() ? "dark" : "light";
    if (root.dataset.theme === theme) return;
    root.dataset.theme = theme;
    root.dispatchEvent(new Event("theme"));
    if (document.body?.classList.contains("pelrp-page")) document.body.dataset.theme = root.dataset.theme;
  };
  const watch = new MutationObserver(paint);
  outer.forEach(({ body, documentElement: top }) =>
    [body, top].forEach(
      (node) => node && watch.observe(node, { attributes: true, attributeFilter: ["class", "theme", "data-jp-theme-light"] }),
    ),
  );
  const turned = ({ type }) => {
    printing = type === "beforeprint";
    paint();
  };
  const sides = ["beforeprint", "afterprint"];
  sides.forEach((side) => window.addEventListener(side, turned));
  [system, paper].forEach((media) => media.addEventListener("change", paint));
  paint();
  return () => {
    sides.forEach((side) => window.removeEventListener(side, turned));
    paper.removeEventListener("change", paint);
    watch.disconnect();
    system.removeEventListener("change", paint);
  };
}
