// Files that a view hands out: page, picture, table, data.  Made here, without network; pictures by one layout and two pens.

// The row of buttons.  what: { name, title, fallback(), picture(penOf), rows(), readable(), with }.
function saving(face, what) {
  const said = spoken("quiet");
  const name = () =>
    what.name
      .replace(/[^\p{L}\p{N}]+/gu, "-")
      .replace(/^-+|-+$/g, "")
      .slice(0, 60) || "explanation";
  const save = (kind, type, content) => {
    const file = `${name()}.${kind}`;
    const link = make("a", { download: file });
    link.href = URL.createObjectURL(content instanceof Blob ? content : new Blob([content], { type }));
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
    write(said, `saved ${file}`);
  };
  const runs = {
    HTML: async () => {
      const { text, lacking } = await keptPage(face, what);
      if (text === null) return write(said, 'This host does not hand out the view: in Python type result.to_html("why.html").');
      save("html", "text/html", text);
      return lacking.length && write(said, `saved ${name()}.html without ${lacking.join(", ")}: no kernel sent them`);
    },
    SVG: () => save("svg", "image/svg+xml", what.picture(svgPen)),
    PNG: () => what.picture(canvasPen).toBlob((blob) => save("png", "image/png", blob)),
    CSV: () => save("csv", "text/csv", separated(what.rows())),
    JSON: () => save("json", "application/json", JSON.stringify(what.readable())),
  };
  return section(
    "Save as a file",
    null,
    make(
      "div",
      { class: "controls" },
      Object.entries(runs).map(([kind, run]) => action(kind, run)),
    ),
    make("p", { class: "quiet caption" }, `A caption with ${what.with} goes with each.`),
    said,
  );
}

// Comma separated; a cell that a spreadsheet would compute is text.
function separated(rows) {
  const cell = (x) => {
    const text = typeof x === "number" ? String(x) : /^[=+\-@\t\r]/.test(x) ? `'${x}` : x;
    return /[",\n\r]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
  };
  return rows.map((row) => row.map(cell).join(",")).join("\r\n");
}

const clipped = (text) => (text.length > 10 ? `${[...text].slice(0, 9).join("")}\u2026` : text);

function svgPen(width, height) {
  const out = svg("svg", {
    xmlns: "http://www.w3.org/2000/svg",
    viewBox: `0 0 ${width} ${height}`,
    width,
    height,
    "font-family": "system-ui, sans-serif",
  });
  return {
    box: (x, y, w, h, fill) => out.append(svg("rect", { x, y, width: w, height: h, rx: 3, fill })),
    text(x, y, text, size, fill, anchor = "start", turn = 0) {
      const transform = turn ? `rotate(${turn} ${x} ${y})` : null;
      out.append(svg("text", { x, y, fill, "font-size": size, "text-anchor": anchor, transform }, text));
    },
    line: (d, stroke, width, { dash = "", alpha = 1 } = {}) =>
      out.append(
        svg("path", { d, fill: "none", stroke, "stroke-width": width, "stroke-dasharray": dash || null, opacity: alpha }),
      ),
    done(ground) {
      out.prepend(svg("rect", { width, height, fill: ground }));
      return new XMLSerializer().serializeToString(out);
    },
  };
}

function canvasPen(width, height) {
  const canvas = make("canvas", { width: 2 * width, height: 2 * height });
  const pen = canvas.getContext("2d");
  const queue = [];
  return {
    box: (...box) =>
      queue.push(() => {
        const [x, y, w, h, fill] = box;
        pen.fillStyle = fill;
        pen.fillRect(x, y, w, h);
      }),
    text: (x, y, text, size, fill, anchor = "start", turn = 0) =>
      queue.push(() => {
        Object.assign(pen, {
          fillStyle: fill,
          font: `${size}px system-ui, sans-serif`,
          textAlign: anchor === "middle" ? "center" : anchor,
        });
        pen.save();
        pen.translate(x, y);
        pen.rotate((turn * Math.PI) / 180);
        pen.fillText(text, 0, 0);
        pen.restore();
      }),
    line: (d, stroke, width, { dash = "", alpha = 1 } = {}) =>
      queue.push(() => {
        Object.assign(pen, { strokeStyle: stroke, lineWidth: width, globalAlpha: alpha });
        pen.setLineDash(dash ? dash.split(" ").map(Number) : []);
        pen.stroke(new Path2D(d));
        pen.globalAlpha = 1;
      }),
    done(ground) {
      pen.scale(2, 2);
      pen.fillStyle = ground;
      pen.fillRect(0, 0, width, height);
      queue.forEach((run) => run());
      return canvas;
    },
  };
}
