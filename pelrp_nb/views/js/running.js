// A long text as people read it: words in colour in a box of its own, and under it the whole of it as one line.  A step repaints
// the words that are in sight, so it costs the same whether there are two hundred or two thousand.

const DENSE = 160; // words in one strip; more of them are running text

// What `stripOf` gives, for a long text with one row of numbers, which are told by the readout.
function denseOf(face, name, columns) {
  const spans = columns.map((column, i) => {
    const pieces = typeof column.text === "string" ? [[column.text, false]] : column.text;
    const shown = pieces.map(([piece, chip]) => (chip ? make("span", { class: "chip" }, piece) : piece));
    return make("span", { class: column.special ? "mark" : "word", "data-at": i }, shown);
  });
  const about = `${name}, in colour; arrow keys tell the numbers, Enter chooses`;
  const text = make(
    "p",
    { class: "running dense", dir: "auto", tabindex: "0", role: "group", "aria-label": about, ...QUIET },
    spans.flatMap((span) => [" ", span]),
  );
  const mini = miniOf(face, text, spans);
  const sight = sightOf(face, text, spans, () => repaintAll(false));
  let [values, scale] = [[], 0];
  const repaintAll = (whole) => {
    const [first, last] = whole ? [0, spans.length - 1] : sight();
    for (let i = first; i <= last; i++) {
      const amount = values[i];
      repaint(spans[i], amount === undefined ? "" : shade(amount, scale).replace(/^p0$/, ""));
    }
  };
  window.addEventListener("beforeprint", () => repaintAll(true), { signal: face.signal });
  const at = new Map(columns.map((column, i) => [column.key, i]));
  markedBy(face, "point", spans, "pointed", (column) => at.get(column?.key));
  markedBy(face, "token", spans, "chosen", (token) => columns.findIndex(({ ids }) => ids.includes(token)));
  let now = -1;
  pointed(text, spans.length, (i) => spans[i], false)((i) => {
    now = i;
    if (columns[i]) face.point(columns[i]);
  });
  const choose = () => {
    const token = columns[now]?.ids[0];
    if (token !== undefined) face.set({ token: face.get("token") === token ? -1 : token });
  };
  text.addEventListener("click", choose);
  text.addEventListener("keydown", (event) => {
    if (event.key !== "Enter") return;
    event.preventDefault();
    event.stopPropagation();
    choose();
  });
  return {
    node: make("div", {}, text, mini.node),
    pair() {},
    paint([row]) {
      [values, scale] = [row.values, row.scale];
      repaintAll(false);
      mini.paint(values, scale);
    },
  };
}

// One class on one of many nodes, moved when `name` is told: which(value) is its index.
function markedBy(face, name, nodes, mark, which) {
  let before = null;
  const move = (value) => {
    before?.classList.remove(mark);
    before = nodes[which(value)] ?? null;
    before?.classList.add(mark);
  };
  face.on(name, move);
  if (name === "token") move(face.get("token"));
}

// The first and the last of the words that can be seen, from places that are measured once for each width of the box.
function sightOf(face, box, spans, moved) {
  let [tops, from, high] = [null, 0, 0];
  const measure = () => {
    tops = spans.map((span) => span.offsetTop);
    [from, high] = [box.scrollTop, box.clientHeight];
    moved();
  };
  const look = new ResizeObserver(measure);
  look.observe(box);
  face.signal.addEventListener("abort", () => look.disconnect());
  box.addEventListener(
    "scroll",
    () => {
      from = box.scrollTop;
      moved();
    },
    { passive: true },
  );
  const firstBelow = (y) => {
    let [low, end] = [0, tops.length];
    while (low < end) {
      const middle = (low + end) >> 1;
      if (tops[middle] < y) low = middle + 1;
      else end = middle;
    }
    return low;
  };
  return () => {
    if (tops === null || !high) return [0, Math.min(spans.length, 2 * DENSE) - 1]; // not laid out yet
    return [firstBelow(from - 60), firstBelow(from + high + 60) - 1];
  };
}

// A text longer than its box: the whole of it as one line under the box, and the box stands where most is carried, at any width,
// until the reader moves it.
function miniOf(face, text, spans) {
  const [wide, high] = [720, 8];
  const node = make("canvas", { class: "mini", width: wide, height: high, "aria-hidden": "true", hidden: "" });
  const goTo = (i) => {
    if (spans[i]) text.scrollTop = spans[i].offsetTop - (text.clientHeight - spans[i].offsetHeight) / 2;
  };
  let [placed, own, sizes] = [false, false, []];
  ["wheel", "pointerdown", "keydown"].forEach((event) => text.addEventListener(event, () => (own = true), { passive: true }));
  const look = new ResizeObserver(() => {
    node.hidden = text.scrollHeight <= text.clientHeight + 4;
    if (node.hidden || own || !text.clientHeight) return;
    placed = true;
    goTo(sizes.indexOf(Math.max(...sizes)));
  });
  look.observe(text);
  face.signal.addEventListener("abort", () => look.disconnect());
  node.addEventListener("click", (event) => {
    own = true;
    const { left, width } = node.getBoundingClientRect();
    goTo(clamp(Math.floor(((event.clientX - left) / width) * spans.length), 0, spans.length - 1));
  });
  return {
    node,
    paint(values, scale) {
      if (!placed) sizes = values.map((x) => (Number.isFinite(x) ? Math.abs(x) : 0));
      const [pen, shades] = [node.getContext("2d"), palette(face.root)];
      const strongest = range(wide).map(() => 0);
      values.forEach((x, i) => {
        const first = Math.floor((i * wide) / values.length);
        for (let at = first; at < Math.max(first + 1, Math.floor(((i + 1) * wide) / values.length)); at++)
          if (!(Math.abs(x) <= Math.abs(strongest[at]))) strongest[at] = x;
      });
      strongest.forEach((x, at) => {
        [pen.fillStyle] = shadeOf(shades, x, scale);
        pen.fillRect(at, 0, 1, high);
      });
    },
  };
}

// Pointer and arrow keys over the words of one text; `turned` where they run from right to left.
function pointed(node, count, at, turned) {
  let [now, tell] = [-1, () => {}];
  const go = (next) => {
    now = clamp(next, 0, count - 1);
    tell(now);
    const word = at(now);
    if (word && node.scrollHeight > node.clientHeight) node.scrollTop = word.offsetTop - node.clientHeight / 2;
  };
  node.addEventListener("mouseover", (event) => {
    const found = event.target.closest?.("[data-at]");
    if (found) tell((now = Number(found.dataset.at)));
  });
  node.addEventListener("keydown", (event) => {
    const by = turned ? -1 : 1;
    const to = { ArrowLeft: now - by, ArrowRight: now + by, Home: 0, End: count - 1 }[event.key];
    if (to === undefined || !count || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    event.stopPropagation();
    go(to);
  });
  return (hear) => {
    tell = hear;
  };
}
