// Flows, and the palette for canvases.  Widths show |amount|; the sign is printed, and what is below zero has a dashed edge.

const TONES = {
  content: "content",
  tokens: "content",
  positions: "position",
  softmax: "kept",
  constants: "kept",
  stabilisers: "kept",
  gap: "bad",
  "other streams": "aside",
};
const tone = (name, amount) => `${TONES[name] ?? "content"}${amount < 0 ? " minus" : ""}`;

// The shades of the palette as the theme paints them, for canvases.
function palette(root) {
  const theme = root.dataset.theme;
  if (root.shades?.theme === theme) return root.shades;
  const swatches = range(41).map((i) => make("span", { class: `p${i - 20}`, hidden: "" }));
  root.append(...swatches);
  const shades = {
    theme,
    of: swatches.map((swatch) => {
      const { backgroundColor, color } = getComputedStyle(swatch);
      return [backgroundColor, color];
    }),
  };
  swatches.forEach((swatch) => swatch.remove());
  root.shades = shades;
  return shades;
}

function shadeOf(shades, amount, scale) {
  const name = shade(amount, scale);
  return name === "nan" ? ["#9a9a9a", "#000"] : shades.of[Number(name.slice(1)) + 20];
}

// One split: what came in on the left, where it went on the right; where there is little room, numbers stand under names.
function splits(from, to, unit, room = 480) {
  const width = clamp(room, 264, 480);
  const narrow = width < 440;
  const [left, right, between] = narrow ? [104, width - 118, 30] : [146, width - 174, 20];
  const box = { width, height: 176, bar: 14, left, right, between };
  const show = digits(unit);
  const listed = (side) => side.map(([name, x]) => `${name} ${show(x)}`).join(", ") || "nothing";
  const said = `from ${listed(from)} to ${listed(to)}`;
  const out = svg("svg", { viewBox: `0 0 ${box.width} ${box.height}`, role: "img", class: "split", "aria-label": said });
  const size = (x) => (Number.isFinite(x) ? Math.abs(x) : 0);
  const sums = [from, to].map((side) => total(side.map(([, x]) => size(x))));
  const high = Math.max(24, box.height - 2 - box.between * Math.max(from.length, to.length));
  const scale = Math.max(...sums) > 0 ? high / Math.max(...sums) : 0;
  const stack = (side, sum) => {
    let y = (box.height - sum * scale - box.between * (side.length - 1)) / 2;
    return side.map(([name, x]) => {
      const end = { name, x, y, thick: size(x) * scale, share: sum > 0 ? size(x) / sum : 0 };
      y += end.thick + box.between;
      return end;
    });
  };
  const [starts, ends] = [stack(from, sums[0]), stack(to, sums[1])];
  let used = 0; // the part of every start that earlier ends have taken
  for (const end of ends) {
    let y = end.y;
    for (const start of starts) {
      const [thin, thick] = [start.thick * end.share, end.thick * start.share];
      out.append(ribbon(box.left + box.bar, start.y + used * start.thick, thin, box.right, y, thick, tone(end.name, end.x)));
      y += thick;
    }
    used += end.share;
  }
  const mark = ({ name, x, y, thick }, at, text, anchor) => [
    svg("rect", { x: at, y, width: box.bar, height: Math.max(1.5, thick), rx: 2, class: `end ${tone(name, x)}` }),
    svg(
      "text",
      { x: text, y: y + thick / 2 + (narrow ? -2 : 4), "text-anchor": anchor },
      name,
      svg("tspan", { class: "quiet", ...(narrow ? { x: text, dy: 14 } : {}) }, ` ${show(x)}`),
    ),
  ];
  out.append(...starts.flatMap((end) => mark(end, box.left, box.left - 8, "end")));
  out.append(...ends.flatMap((end) => mark(end, box.right, box.right + box.bar + 8, "start")));
  return out;
}

// A band from (x0, y0) to (x1, y1), the upper edges, with its two widths.
function ribbon(x0, y0, thick0, x1, y1, thick1, kind) {
  const middle = (x0 + x1) / 2;
  const curve = (a, b, x) => `C${[middle, a, middle, b, x, b].map((z) => z.toFixed(1)).join(" ")}`;
  const start = `M${x0.toFixed(1)} ${y0.toFixed(1)}`;
  const d = `${start}${curve(y0, y1, x1)}v${thick1.toFixed(1)}${curve(y1 + thick1, y0 + thick0, x0)}Z`;
  return svg("path", { class: `ribbon ${kind}`, d });
}
