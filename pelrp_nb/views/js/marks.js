// What is on the screen as a list of marks: boxes, paths, words and pixels, where they stand and in the colours that they have.  So
// a picture of a view holds what the view shows, and no view needs a second drawing of itself.

const AROUND = 20; // pixels of the margin of a picture

// One sheet { width, height, ground, marks } of what `drawn` selects, one under the other, or of all; under it the caption.
function sheetOf(face, what) {
  const { root } = face;
  root.classList.add("pictured"); // nothing to press, nothing cut off
  try {
    const chosen = what.drawn ? [...root.querySelectorAll(what.drawn)] : [];
    const blocks = (chosen.length ? chosen : [root]).map((node) => blockOf(node)).filter(Boolean);
    const { color, fontFamily } = getComputedStyle(root);
    const width = Math.ceil(Math.max(400, ...blocks.map(({ right, left }) => right - left + 2 * AROUND)));
    const marks = [];
    let y = AROUND;
    for (const { left, top, bottom, found } of blocks) {
      marks.push(...found.map((mark) => movedBy(mark, AROUND - left, y - top)));
      y += bottom - top + AROUND;
    }
    const line = { kind: "words", x: AROUND, size: 11, weight: "400", slant: "normal", family: fontFamily, fill: paintOf(color) };
    for (const text of what.caption ? wrapped(what.caption(), Math.floor((width - 2 * AROUND) / 5.6)) : []) {
      marks.push({ ...line, text, y: y + 4 });
      y += 16;
    }
    return { width, height: Math.ceil(y + 4), ground: paintOf(getComputedStyle(root).backgroundColor), marks };
  } finally {
    root.classList.remove("pictured");
  }
}

function blockOf(node) {
  const found = [];
  marksIn(node, { alpha: 1, clip: Infinity }, found);
  if (!found.length) return null;
  const { left, top, width } = node.getBoundingClientRect();
  const far = (of) => Math.max(...found.map(of));
  return {
    found,
    left,
    top: Math.min(top, ...found.map(({ top: one }) => one)),
    right: Math.max(left + width, far(({ right }) => right)),
    bottom: far(({ bottom }) => bottom),
  };
}

function movedBy(mark, dx, dy) {
  if (!mark.matrix) return { ...mark, x: mark.x + dx, y: mark.y + dy };
  const [a, b, c, d, e, f] = mark.matrix;
  return { ...mark, matrix: [a, b, c, d, e + dx, f + dy] };
}

function wrapped(text, most) {
  const lines = [""];
  for (const word of text.split(" ")) {
    if (lines.at(-1) && lines.at(-1).length + word.length >= most) lines.push("");
    lines.push(`${lines.pop()} ${word}`.trim());
  }
  return lines;
}

// A colour as CSS computes it: { colour: "#rrggbb", alpha }.
function paintOf(css, seen = 1) {
  const [, kind, inner] = /^(\w+)\((.*)\)$/.exec(css) ?? [];
  if (!inner) return { colour: "#000000", alpha: 0 };
  const [r, g, b, alpha = 1] = inner.match(/-?[\d.]+(?:e-?\d+)?/g).map(Number);
  const unit = kind === "color" ? 255 : 1;
  const two = (x) => Math.round(clamp(x * unit, 0, 255)).toString(16).padStart(2, "0");
  return { colour: `#${two(r)}${two(g)}${two(b)}`, alpha: alpha * seen };
}

// --- the walk over nodes ----------------------------------------------------------------------------------------------

function marksIn(node, around, found) {
  const style = getComputedStyle(node);
  if (style.display === "none") return;
  const [box, inside] = [node.getBoundingClientRect(), node.ownerSVGElement];
  const here = { alpha: around.alpha * Number(style.opacity), clip: around.clip };
  const put = (mark) =>
    found.push({ left: mark.x, top: mark.y, right: mark.x + (mark.wide ?? 0), bottom: mark.y + (mark.high ?? 0), ...mark });
  if (style.visibility === "visible") {
    if (inside) shapeIn(node, style, box, here.alpha, put);
    else groundOf(node, style, box, here.alpha, put);
    if (node.tagName === "CANVAS") return pixelsOn(node, style, box, here.alpha, put);
    if (/^m(frac|sqrt)$/.test(node.tagName)) lineIn(node, style, box, put);
  }
  const cuts = style.overflowX !== "visible" && style.display !== "inline" && node.tagName !== "svg";
  if (cuts) here.clip = Math.min(here.clip, box.right);
  const closed = node.tagName === "DETAILS" && !node.open;
  for (const child of closed ? [] : node.childNodes) {
    if (child.nodeType === 1 && child.tagName !== "title") marksIn(child, here, found);
    else if (child.nodeType === 3 && style.visibility === "visible") wordsMarked(child, style, here, put);
  }
  return undefined;
}

// What lies under a node: its colour, the layers of its background, its borders, and a line drawn before what is in it.
function groundOf(node, style, { left, top, width, height }, alpha, put) {
  const round = Math.min(parseFloat(style.borderTopLeftRadius) || 0, height / 2) * (/%/.test(style.borderTopLeftRadius) ? 9 : 1);
  const box = (x, y, wide, high, colour, curved = 0) => {
    const fill = paintOf(colour, alpha);
    const bent = Math.min(curved, wide / 2, high / 2);
    if (fill.alpha && wide > 0 && high > 0) put({ kind: "box", x, y, wide, high, round: bent, fill });
  };
  if (!width || !height || !node.isConnected) return;
  box(left, top, width, height, style.backgroundColor, round);
  if (style.backgroundImage !== "none") layersOf(style, { left, top, width, height }, box, alpha, put);
  const before = getComputedStyle(node, "::before");
  if (before.content !== "none" && before.position === "absolute") {
    const [x, y, wide, high] = ["left", "top", "width", "height"].map((side) => parseFloat(before[side]));
    box(left + x, top + y, wide, high, before.backgroundColor);
  }
  bordersOf(style, { left, top, width, height }, round, alpha, put);
}

// Layers of one colour at their places, and stripes; the first one lies on top.
function layersOf(style, { left, top, width, height }, box, alpha, put) {
  const [sizes, places] = [style.backgroundSize, style.backgroundPosition].map((all) => all.split(/,\s*/));
  const length = (text, whole) => (/%/.test(text) ? (parseFloat(text) * whole) / 100 : parseFloat(text));
  const layers = style.backgroundImage.split(/,\s*(?=(?:repeating-)?linear-gradient)/);
  [...layers.keys()].reverse().forEach((i) => {
    const colours = layers[i].match(/(?:rgba?|color)\([^)]*\)/g) ?? [];
    if (layers[i].startsWith("repeating")) {
      const [from, to] = [...layers[i].matchAll(/([\d.]+)px/g)].slice(-2).map(([, x]) => Number(x));
      box(left, top, width, height, colours[0]);
      const [stroke, d] = [paintOf(colours.at(-1), alpha), stripes(width, height, to * Math.SQRT2)];
      const far = { left, top, right: left + width, bottom: top + height };
      return put({ kind: "path", d, matrix: [1, 0, 0, 1, left, top], stroke, thick: to - from, ...far });
    }
    const [wide, high = "100%"] = (sizes[i] ?? sizes[0]).split(" ").map((x) => (x === "auto" ? "100%" : x));
    const [w, h] = [length(wide, width), length(high, height)];
    const [x, y] = (places[i] ?? places[0]).split(" ");
    return box(left + length(x, width - w), top + length(y, height - h), w, h, colours[0]);
  });
}

// Lines from above left to below right, inside a box.
const stripes = (width, height, apart) =>
  range(Math.ceil((width + height) / apart))
    .map((i) => i * apart - height + apart / 2)
    .map((at) => [Math.max(0, at), Math.max(0, -at), Math.min(width, height + at), Math.min(height, width - at)].map(fixed))
    .map(([x, y, toX, toY]) => `M${x} ${y}L${toX} ${toY}`)
    .join("");

function bordersOf(style, { left, top, width, height }, round, alpha, put) {
  const sides = ["Top", "Right", "Bottom", "Left"].map((side) => {
    const [thick, kind] = [parseFloat(style[`border${side}Width`]), style[`border${side}Style`]];
    const stroke = paintOf(style[`border${side}Color`], alpha);
    return { thick: kind === "none" ? 0 : thick, dash: kind === "dashed" ? "5 3" : "", stroke };
  });
  const seen = sides.filter(({ thick, stroke }) => thick > 0 && stroke.alpha);
  if (!seen.length) return;
  const half = seen[0].thick / 2;
  const far = { matrix: [1, 0, 0, 1, left, top], left, top, right: left + width, bottom: top + height };
  if (seen.length === 4 && new Set(seen.map(({ thick, stroke }) => `${thick} ${stroke.colour}`)).size === 1) {
    const [w, h, r] = [width - 2 * half, height - 2 * half, Math.max(0, Math.min(round, width / 2, height / 2) - half)];
    const arc = (x, y) => `a${r} ${r} 0 0 1 ${x} ${y}`;
    const there = `M${half + r} ${half}h${w - 2 * r}${arc(r, r)}v${h - 2 * r}${arc(-r, r)}`;
    const back = `h${2 * r - w}${arc(-r, -r)}v${2 * r - h}${arc(r, -r)}Z`;
    return put({ kind: "path", d: there + back, ...seen[0], ...far });
  }
  const lines = [`M0 ${half}h${width}`, `M${width - half} 0v${height}`, `M0 ${height - half}h${width}`, `M${half} 0v${height}`];
  sides.forEach((side, i) => {
    if (seen.includes(side)) put({ kind: "path", d: lines[i], ...side, ...far });
  });
  return undefined;
}

// A canvas that knows its cells is drawn by them, so that its numbers are text; of any other the pixels are taken.
function pixelsOn(node, style, { left, top, width, height }, alpha, put) {
  if (!width || !height || !node.width || !node.height) return;
  const cells = node.cells?.();
  if (!cells || cells.length > 4000) {
    const canvas = make("canvas", { width: node.width, height: node.height });
    const pen = canvas.getContext("2d");
    pen.filter = style.filter;
    pen.drawImage(node, 0, 0);
    put({ kind: "pixels", canvas, x: left, y: top, wide: width, high: height, alpha });
    return;
  }
  for (const { x, y, wide, high, back, ink, text } of cells) {
    put({ kind: "box", x: left + x, y: top + y, wide, high, round: 0, fill: paintOf(back, alpha) });
    const line = { ...fontOf({ ...plainFont(style), fontSize: "11px" }), fill: paintOf(ink, alpha) };
    if (text) put({ ...line, text, x: left + x + (wide - widthOf(text, line)) / 2, y: top + y + high / 2 + 4 });
  }
}

// What MathML draws beside letters: the line of a fraction, the sign of a root.
function lineIn(node, style, { left, top, right, bottom }, put) {
  const stroke = paintOf(style.color);
  const far = { kind: "path", matrix: [1, 0, 0, 1, 0, 0], stroke, thick: 1, left, top, right, bottom };
  const [over, under] = [...node.children].map((child) => child.getBoundingClientRect());
  if (node.tagName === "msqrt") {
    const [at, low] = [over.left, bottom - 1];
    return put({ ...far, d: `M${left} ${(top + 2 * bottom) / 3}L${(2 * left + at) / 3} ${low}L${at - 1} ${top + 1}H${right}` });
  }
  return put({ ...far, d: `M${left} ${(over.bottom + under.top) / 2}H${right}` });
}

// --- shapes of a drawing ----------------------------------------------------------------------------------------------

function shapeIn(node, style, { left, top, right, bottom }, alpha, put) {
  const of = (name) => Number(node.getAttribute(name) ?? 0);
  const round = () => {
    const [r, x] = [of("r"), of("cx") - of("r")];
    return `M${x} ${of("cy")}a${r} ${r} 0 1 0 ${2 * r} 0a${r} ${r} 0 1 0 ${-2 * r} 0Z`;
  };
  const d = {
    path: () => node.getAttribute("d"),
    rect: () => `M${of("x")} ${of("y")}h${of("width")}v${of("height")}h${-of("width")}Z`,
    line: () => `M${of("x1")} ${of("y1")}L${of("x2")} ${of("y2")}`,
    polyline: () => `M${node.getAttribute("points").trim().split(/\s+/).join("L")}`,
    circle: round,
  }[node.tagName]?.();
  if (!d) return;
  const { a, b, c, d: e, e: x, f: y } = node.getScreenCTM();
  const fill = /^(line|polyline)$/.test(node.tagName) ? null : paintOf(style.fill, alpha * Number(style.fillOpacity));
  const stroke = paintOf(style.stroke, alpha * Number(style.strokeOpacity));
  if (!fill?.alpha && !stroke.alpha) return;
  const dash = style.strokeDasharray === "none" ? "" : style.strokeDasharray.replace(/px/g, "").replace(/,\s*/g, " ");
  const thick = parseFloat(style.strokeWidth);
  put({ kind: "path", d, matrix: [a, b, c, e, x, y], fill, stroke, thick, dash, left, top, right, bottom });
}

// --- words ------------------------------------------------------------------------------------------------------------

const NO_XML = /[\0-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]|[\ud800-\udbff](?![\udc00-\udfff])|(?<![\ud800-\udbff])[\udc00-\udfff]/g;
const MATHEMATICS = "http://www.w3.org/1998/Math/MathML";
const TURNED_WORDS = /[\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufefc]/;

const plainFont = ({ fontSize, fontWeight, fontStyle, fontFamily }) => ({ fontSize, fontWeight, fontStyle, fontFamily });
const fontOf = ({ fontSize, fontWeight, fontStyle, fontFamily }, scale = 1) => ({
  kind: "words",
  size: parseFloat(fontSize) * scale,
  weight: fontWeight,
  slant: fontStyle,
  family: fontFamily,
});

const measured = new Map(); // font -> how far it goes above and below its line
const ruler = make("canvas").getContext("2d");

function widthOf(text, { size, weight, slant, family }) {
  ruler.font = `${slant} ${weight} ${size}px ${family}`;
  return ruler.measureText(text).width;
}

function risesOf({ size, weight, slant, family }) {
  const font = `${slant} ${weight} ${size}px ${family}`;
  if (!measured.has(font)) {
    ruler.font = font;
    const { fontBoundingBoxAscent: above, fontBoundingBoxDescent: below } = ruler.measureText("x");
    measured.set(font, above / (above + below));
  }
  return measured.get(font);
}

// One text: a run for each line of it, as wide as it is on the screen, cut where its box cuts it.
function wordsMarked(node, style, { alpha, clip }, put) {
  const parent = node.parentNode;
  const drawing = parent.ownerSVGElement ? parent.getScreenCTM() : null;
  const font = fontOf(style, drawing ? Math.hypot(drawing.a, drawing.b) : 1);
  const fill = drawing ? paintOf(style.fill, alpha * Number(style.fillOpacity)) : paintOf(style.color, alpha);
  if (style.textTransform === "math-auto" && /^\p{L}$/u.test(node.data.trim())) font.slant = "italic";
  if (drawing && Math.abs(drawing.b) > 0.01) return turnedWords(parent, drawing, { ...font, fill }, style, put);
  const rise = risesOf(font);
  for (const { text, left, top, right, bottom } of runsOf(node, style)) {
    if (left > clip - 2) continue;
    const part = right > clip + 1 ? Math.max(1, Math.floor((text.length * (clip - left)) / (right - left)) - 1) : text.length;
    const shown = part < text.length ? `${[...text].slice(0, part).join("")}\u2026` : text;
    const wide = Math.min(right, Math.max(clip, left)) - left;
    const line = { ...font, fill, text: shown.replace(NO_XML, ""), left, top, right: left + wide, bottom };
    if (style.writingMode.startsWith("vertical")) put({ ...line, x: left + rise * (right - left), y: bottom, turn: -90 });
    else put({ ...line, x: left, y: top + rise * (bottom - top), wide: parent.namespaceURI === MATHEMATICS ? 0 : wide });
  }
  return undefined;
}

// Words of a drawing that are turned, from where the first of them begins.
function turnedWords(node, { a, b, c, d, e, f }, font, { textAnchor }, put) {
  const [x, y, long] = [Number(node.getAttribute("x")), Number(node.getAttribute("y")), node.getComputedTextLength()];
  const from = x - { start: 0, middle: long / 2, end: long }[textAnchor];
  const { left, top, right, bottom } = node.getBoundingClientRect();
  const at = { x: a * from + c * y + e, y: b * from + d * y + f, turn: (Math.atan2(b, a) * 180) / Math.PI };
  put({ ...font, text: node.textContent.replace(NO_XML, ""), ...at, left, top, right, bottom });
}

function runsOf(node, style) {
  const [spot, runs] = [document.createRange(), []];
  const boxes = (from, to) => {
    spot.setStart(node, from);
    spot.setEnd(node, to);
    return [...spot.getClientRects()].filter(({ width, height }) => width > 0 && height > 0);
  };
  const take = (from, to, rects) => {
    const [{ left, top, right, bottom }, last] = [rects[0], runs.at(-1)];
    const text = node.data.slice(from, to);
    const joins = last && Math.abs(last.top - top) < 1 && left >= last.right - 0.5 && !TURNED_WORDS.test(text + last.text);
    if (!joins) return runs.push({ text, to, left, top, right, bottom });
    const between = node.data.slice(last.to, from);
    const gap = style.whiteSpace.startsWith("pre") ? between : between && " ";
    return Object.assign(last, { text: last.text + gap + text, to, right });
  };
  for (const { 0: word, index } of node.data.matchAll(/\S+/g)) {
    const rects = boxes(index, index + word.length);
    if (rects.length === 1) take(index, index + word.length, rects);
    let at = index;
    for (const letter of rects.length > 1 ? word : "") {
      const own = boxes(at, at + letter.length);
      if (own.length) take(at, at + letter.length, own);
      at += letter.length;
    }
  }
  return runs;
}
