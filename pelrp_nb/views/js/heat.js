// Rows by columns in colour; numbers are printed where there is room, and under the pointer in any case.

const CELL = { height: 20, least: 5, most: 62, named: 32, upright: 12, side: 800, printed: 46 }; // pixels

// How strongly a number is coloured: its text, and what is coloured of x in a row whose largest is `own`.
const MEASURES = {
  all: ["by all rows", (x, own, scale) => [x, scale]],
  root: ["by the square root", (x, own, scale) => [Math.sign(x) * Math.sqrt(Math.abs(x) * scale), scale]],
  row: ["each row by its own largest", (x, own) => [x, own]],
};

// paint([{ name, values }], scale, measure); `picked(row)` is called when a row is pressed; `square`: as high as wide, all named.
function heatOf(face, name, columns, picked = null, square = false) {
  const canvas = make("canvas", { role: "img", tabindex: "0", "aria-label": name, ...QUIET });
  const [names, heads, cross] = ["rownames", "heads", "cross"].map((kind) => make("div", { class: kind, "aria-hidden": "true" }));
  const told = spoken("readout quiet");
  const board = make("div", { class: "scroll" }, make("div", { class: "board" }, heads, canvas, cross));
  const node = make("div", { class: `heat${square ? " square" : ""}` }, make("div", { class: "heatbox" }, names, board), told);
  const map = { rows: [], columns, scale: 1, cell: CELL.least, height: CELL.height, coloured: MEASURES.all[1] };
  canvas.cells = () => cellsOf(map, palette(face.root)); // for a picture
  const draw = () => {
    const room = Math.floor(((board.clientWidth || 640) - 2) / Math.max(1, columns.length));
    map.cell = square
      ? clamp(Math.min(room, Math.floor(CELL.side / columns.length)), 2, CELL.height)
      : clamp(room, CELL.least, CELL.most);
    map.height = square ? map.cell : CELL.height;
    const named = map.cell >= (square ? CELL.upright : CELL.named);
    node.classList.toggle("named", named);
    clear(heads, named ? columns.map((column) => label(column.text)) : []);
    for (const text of heads.children) text.style.width = `${map.cell}px`;
    names.hidden = map.height < CELL.upright;
    for (const text of names.children) Object.assign(text.style, { height: `${map.height}px`, lineHeight: `${map.height}px` });
    paintCells(canvas, map, palette(face.root));
  };
  const tell = (r, c) => {
    if (!map.rows[r] || !columns[c] || map.rows[r].values[c] === null) return;
    write(told, `${map.rows[r].name}${GAP}${columns[c].name}${GAP}${digits(map.scale)(map.rows[r].values[c])}`);
    face.point(columns[c]);
  };
  walkCells(canvas, map, tell, (r, c) => (picked ? picked(map.rows[r]) : face.set({ token: columns[c].ids[0] })));
  face.on("point", (column) => {
    const c = columns.findIndex((other) => other.ids[0] === column?.ids[0]);
    Object.assign(cross.style, { display: c < 0 ? "none" : "block", left: `${c * map.cell - 1}px`, width: `${map.cell + 1}px` });
  });
  face.on("theme", draw);
  new ResizeObserver(() => requestAnimationFrame(draw)).observe(node);
  write(told, "Point at a cell, or move over them with the arrow keys.");
  const paint = (rows, scale = largest(...rows.map((row) => row.values)), measure = "all") => {
    Object.assign(map, { rows, scale, coloured: MEASURES[measure][1] });
    clear(
      names,
      rows.map((row) => make("div", { title: row.name }, row.name)),
    );
    const size = `${rows.length} rows, ${columns.length} columns, largest ${digits(scale)(scale)}`;
    canvas.setAttribute("aria-label", `${name}: ${size}; arrow keys read the cells`);
    draw();
  };
  return { node, paint };
}

function paintCells(canvas, map, shades) {
  const { rows, columns, cell, height: tall } = map;
  const [width, height] = [cell * columns.length, tall * rows.length];
  const sharp = Math.min(window.devicePixelRatio || 1, 8000 / Math.max(1, width, height));
  Object.assign(canvas, { width: Math.round(width * sharp), height: Math.round(height * sharp) });
  Object.assign(canvas.style, { width: `${width}px`, height: `${height}px` });
  if (!width || !height) return;
  const pen = canvas.getContext("2d");
  pen.scale(sharp, sharp);
  Object.assign(pen, { font: "11px system-ui, sans-serif", textAlign: "center", textBaseline: "middle" });
  for (const { x, y, wide, high, back, ink, text } of cellsOf(map, shades)) {
    pen.fillStyle = back;
    pen.fillRect(x, y, wide, high);
    pen.fillStyle = ink;
    if (text) pen.fillText(text, x + cell / 2, y + tall / 2);
  }
}

// Each cell where it stands, with its colours, and its number where there is room for it.
function cellsOf({ rows, scale, cell, height: tall, coloured }, shades) {
  const [show, line] = [digits(scale, 3), cell > 9 ? 1 : 0];
  return rows.flatMap(({ values }, r) => {
    const own = largest(values);
    return values.flatMap((x, c) => {
      if (x === null) return []; // nothing stands there
      const [back, ink] = shadeOf(shades, ...coloured(x, own, scale));
      const place = { x: c * cell, y: r * tall, wide: cell - line, high: tall - (tall > 9 ? 1 : 0) };
      return [{ ...place, back, ink, text: cell < CELL.printed ? null : show(x) }];
    });
  });
}

// Pointer and arrow keys go over the cells; a press or Enter picks one.
function walkCells(canvas, map, tell, pick) {
  let at = [0, 0];
  const go = (r, c) => {
    at = [clamp(r, 0, map.rows.length - 1), clamp(c, 0, map.columns.length - 1)];
    tell(...at);
  };
  const under = (event) => {
    const box = canvas.getBoundingClientRect();
    return [Math.floor((event.clientY - box.top) / map.height), Math.floor((event.clientX - box.left) / map.cell)];
  };
  canvas.addEventListener("mousemove", (event) => go(...under(event)));
  canvas.addEventListener("click", (event) => {
    go(...under(event));
    pick(...at);
  });
  canvas.addEventListener("keydown", (event) => {
    const by = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0], Enter: [0, 0] }[event.key];
    if (!by) return;
    event.preventDefault();
    event.stopPropagation();
    go(at[0] + by[0], at[1] + by[1]);
    if (event.key === "Enter") pick(...at);
  });
}
