// Maps and flows.  Widths show |amount|; the sign is printed, and minus is drawn hatched.

const TONES = { content: "content", tokens: "content", positions: "position", softmax: "kept", constants: "kept", stabilisers: "kept", gap: "bad" };
const tone = (name, amount) => `${TONES[name] ?? "content"}${amount < 0 ? " minus" : ""}`;

// The shades of the palette as the theme paints them, for canvases.
function palette(root) {
  const theme = root.dataset.theme;
  if (root.shades?.theme === theme) return root.shades;
  const swatches = range(41).map((i) => make("span", { class: `p${i - 20}`, hidden: "" }));
  root.append(...swatches);
  const shades = { theme, of: swatches.map((swatch) => { const { backgroundColor, color } = getComputedStyle(swatch); return [backgroundColor, color]; }) };
  swatches.forEach((swatch) => swatch.remove());
  root.shades = shades;
  return shades;
}

function shadeOf(shades, amount, scale) {
  const name = shade(amount, scale);
  return name === "nan" ? ["#9a9a9a", "#000"] : shades.of[Number(name.slice(1)) + 20];
}

// Rows by columns in colour; numbers are printed where there is room, and under the pointer in any case.
// paint([{ name, values }], scale); `picked(row)` is called when a row is pressed.
function heatOf(face, name, columns, picked = null) {
  const canvas = make("canvas", { role: "img", tabindex: "0", "aria-label": name, ...QUIET });
  const [names, heads, cross, told] = [make("div", { class: "rownames", "aria-hidden": "true" }), make("div", { class: "heads", "aria-hidden": "true" }), make("div", { class: "cross" }), spoken("readout quiet")];
  const board = make("div", { class: "board" }, heads, canvas, cross);
  const node = make("div", { class: "heat" }, make("div", { class: "heatbox" }, names, make("div", { class: "scroll" }, board)), told);
  const size = { cell: 0, row: 20 };
  let [rows, scale, at] = [[], 1, [0, 0]];
  const draw = () => {
    const room = (board.parentNode.clientWidth || 640) - 2;
    size.cell = clamp(Math.floor(room / Math.max(1, columns.length)), 5, 62);
    const named = size.cell >= 34;
    node.classList.toggle("named", named);
    clear(heads, named && columns.map((column) => { const text = label(column.text); text.style.width = `${size.cell}px`; return text; }));
    const [width, height] = [size.cell * columns.length, size.row * rows.length];
    const sharp = Math.min(window.devicePixelRatio || 1, 8000 / Math.max(1, width));
    Object.assign(canvas, { width: Math.round(width * sharp), height: Math.round(height * sharp) });
    Object.assign(canvas.style, { width: `${width}px`, height: `${height}px` });
    const pen = canvas.getContext("2d");
    if (!width || !height) return;
    pen.scale(sharp, sharp);
    const [shades, show, room2] = [palette(face.root), digits(scale, 3), size.cell > 9 ? 1 : 0];
    Object.assign(pen, { font: "11px system-ui, sans-serif", textAlign: "center", textBaseline: "middle" });
    rows.forEach(({ values }, r) => values.forEach((x, c) => {
      const [back, ink] = shadeOf(shades, x, scale);
      pen.fillStyle = back;
      pen.fillRect(c * size.cell, r * size.row, size.cell - room2, size.row - 1);
      if (size.cell >= 46) { pen.fillStyle = ink; pen.fillText(show(x), c * size.cell + size.cell / 2, r * size.row + size.row / 2); }
    }));
  };
  const tell = (r, c, point = true) => {
    if (!rows[r] || !columns[c]) return;
    at = [r, c];
    write(told, `${rows[r].name}${GAP}${columns[c].name}${GAP}${digits(scale)(rows[r].values[c])}`);
    if (point) face.point(columns[c]);
  };
  const cell = (event) => { const box = canvas.getBoundingClientRect(); return [Math.floor((event.clientY - box.top) / size.row), Math.floor((event.clientX - box.left) / size.cell)]; };
  canvas.addEventListener("mousemove", (event) => tell(...cell(event)));
  canvas.addEventListener("click", (event) => { const [r, c] = cell(event); if (picked) picked(rows[r]); else if (columns[c]) face.set({ token: columns[c].ids[0] }); });
  canvas.addEventListener("keydown", (event) => {
    const by = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] }[event.key];
    if (event.key === "Enter" && picked) picked(rows[at[0]]);
    if (!by) return;
    event.preventDefault();
    event.stopPropagation();
    tell(clamp(at[0] + by[0], 0, rows.length - 1), clamp(at[1] + by[1], 0, columns.length - 1));
  });
  face.on("point", (column) => {
    const c = columns.findIndex((other) => other.ids[0] === column?.ids[0]);
    Object.assign(cross.style, { display: c < 0 ? "none" : "block", left: `${c * size.cell - 1}px`, width: `${size.cell + 1}px` });
  });
  const paint = (next, most = largest(...next.map((row) => row.values))) => {
    [rows, scale] = [next, most];
    clear(names, rows.map((row) => make("div", { title: row.name }, row.name)));
    canvas.setAttribute("aria-label", `${name}: ${rows.length} rows, ${columns.length} columns, largest ${digits(scale)(scale)}; arrow keys read the cells`);
    draw();
  };
  new ResizeObserver(() => requestAnimationFrame(draw)).observe(node);
  face.root.addEventListener("theme", draw);
  write(told, "Point at a cell, or move over them with the arrow keys.");
  return { node, paint };
}

// One split: what came in on the left, where it went on the right.
function splits(from, to, unit) {
  const [width, height, bar, top, near, far] = [480, 176, 14, 8, 146, 306];
  const out = svg("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", class: "split",
    "aria-label": `${from.map(([name]) => name).join(", ") || "nothing"} to ${to.map(([name, x]) => `${name} ${digits(unit)(x)}`).join(", ")}` });
  const size = (x) => (Number.isFinite(x) ? Math.abs(x) : 0);
  const sums = [from, to].map((side) => total(side.map(([, x]) => size(x))));
  const room = height - 2 * top - 20 * Math.max(from.length, to.length, 1) + 20;
  const scale = Math.max(...sums) > 0 && Number.isFinite(Math.max(...sums)) ? room / Math.max(...sums) : 0;
  const place = (side, sum) => {
    let y = (height - sum * scale - 20 * (side.length - 1)) / 2;
    return side.map(([name, x]) => { const thick = size(x) * scale; const here = { name, x, y, thick }; y += thick + 20; return here; });
  };
  const [left, right] = [place(from, sums[0]), place(to, sums[1])];
  let used = 0;
  right.forEach((end) => left.forEach((start) => {
    const part = sums[0] > 0 ? start.thick / (sums[0] * scale || 1) : 0;
    const [a, b] = [start.y + (used * start.thick), end.y];
    const share = sums[1] > 0 ? end.thick / (sums[1] * scale || 1) : 0;
    const offset = end.thick * left.slice(0, left.indexOf(start)).reduce((sum, other) => sum + other.thick / (sums[0] * scale || 1), 0);
    out.append(ribbon(near + bar, a, start.thick * share, far, b + offset, end.thick * part, tone(end.name, end.x)));
    if (start === left.at(-1)) used += share;
  }));
  const show = digits(unit);
  const mark = ({ name, x, y, thick }, at, text) => out.append(
    svg("rect", { x: at, y, width: bar, height: Math.max(1.5, thick), rx: 2, class: `end ${tone(name, x)}` }),
    svg("text", { x: text, y: y + thick / 2 + 4, "text-anchor": at < 200 ? "end" : "start" }, name, svg("tspan", { class: "quiet" }, ` ${show(x)}`)));
  left.forEach((end) => mark(end, near, near - 8));
  right.forEach((end) => mark(end, far, far + bar + 8));
  return out;
}

function ribbon(x0, y0, thick0, x1, y1, thick1, kind) {
  const middle = (x0 + x1) / 2;
  const near = (x) => x.toFixed(1);
  return svg("path", { class: `ribbon ${kind}`, d: `M${near(x0)} ${near(y0)}C${near(middle)} ${near(y0)} ${near(middle)} ${near(y1)} ${near(x1)} ${near(y1)}`
    + `v${near(thick1)}C${near(middle)} ${near(y1 + thick1)} ${near(middle)} ${near(y0 + thick0)} ${near(x0)} ${near(y0 + thick0)}Z` });
}
