// Files that a view hands out: page, picture, table, data.  Made here, without network; a picture is what is on the screen, as
// `marks.js` finds it there, written by one of two pens: SVG, or pixels.

// Hands out one file, called after the view.
function handOut(called, kind, type, content) {
  const name = called
    .replace(/[^\p{L}\p{N}]+/gu, "-")
    .replace(/^-+|-+$/g, "")
    .slice(0, 60);
  const file = `${name || "explanation"}.${kind}`;
  const link = make("a", { download: file });
  link.href = URL.createObjectURL(content instanceof Blob ? content : new Blob([content], { type }));
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
  return file;
}

const pictureOut = (face, what) => handOut(what.name, "svg", "image/svg+xml", svgOf(sheetOf(face, what)));

// The row of buttons.  what: { name, title, fallback(), with }, and { rows(), readable(), caption(), drawn, kept() } where there
// are any; drawn: a selector of what is in the picture, else all of it; kept(): state that a page needs beside `standing`.
function saving(face, what) {
  const said = spoken("quiet");
  const tell = (file, without = "") => write(said, `saved ${file}${without}`);
  const save = (...content) => tell(handOut(what.name, ...content));
  const runs = {
    HTML: async () => {
      const { text, lacking } = await keptPage(face, what);
      if (text === null) return write(said, 'This host does not hand out the view: in Python type .to_html("why.html").');
      return tell(
        handOut(what.name, "html", "text/html", text),
        lacking.length ? ` without ${lacking.join(", ")}: no kernel sent them` : "",
      );
    },
    SVG: () => tell(pictureOut(face, what)),
    PNG: () => canvasOf(sheetOf(face, what)).toBlob((blob) => save("png", "image/png", blob)),
    CSV: what.rows && (() => save("csv", "text/csv", separated(what.rows()))),
    JSON: what.readable && (() => save("json", "application/json", JSON.stringify(what.readable()))),
  };
  const node = section(
    "Save as a file",
    null,
    make(
      "div",
      { class: "controls" },
      Object.entries(runs).map(([kind, run]) => run && action(kind, run)),
    ),
    what.with && make("p", { class: "quiet caption" }, `A caption with ${what.with} goes with each.`),
    said,
  );
  node.classList.add("saved");
  return node;
}

// Of a view without a table of its own: the page and the picture.
const savingShown = (face, name, kept) =>
  saving(face, { name, title: name, kept, fallback: () => make("pre", {}, face.root.innerText) });

// Comma separated; a cell that a spreadsheet would compute is text.
function separated(rows) {
  const cell = (x) => {
    const text = typeof x === "number" ? String(x) : /^[=+\-@\t\r]/.test(x) ? `'${x}` : x;
    return /[",\n\r]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
  };
  return rows.map((row) => row.map(cell).join(",")).join("\r\n");
}

// --- two pens for one sheet { width, height, ground, marks } ----------------------------------------------------------

const fixed = (x) => Number(x.toFixed(2));

function svgOf({ width, height, ground, marks }) {
  const out = svg("svg", {
    xmlns: "http://www.w3.org/2000/svg",
    viewBox: `0 0 ${width} ${height}`,
    width,
    height,
    "font-family": "system-ui, sans-serif",
    "xml:space": "preserve",
  });
  const painted = (name, paint) => (paint?.alpha ? { [name]: paint.colour, ...seenAs(name, paint.alpha) } : { [name]: "none" });
  const seenAs = (name, alpha) => (alpha < 1 ? { [`${name}-opacity`]: fixed(alpha) } : {});
  const draw = {
    box: ({ x, y, wide, high, round, fill }) => {
      const at = { x: fixed(x), y: fixed(y), width: fixed(wide), height: fixed(high) };
      return svg("rect", { ...at, rx: round || null, ...painted("fill", fill) });
    },
    path: ({ d, matrix, fill, stroke, thick, dash }) =>
      svg("path", {
        d,
        transform: matrix && `matrix(${matrix.map(fixed).join(" ")})`,
        ...painted("fill", fill),
        ...(stroke?.alpha ? { ...painted("stroke", stroke), "stroke-width": fixed(thick), "stroke-dasharray": dash || null } : {}),
      }),
    words: ({ text, x, y, wide, size, weight, slant, family, fill, turn }) =>
      svg(
        "text",
        {
          x: fixed(x),
          y: fixed(y),
          ...painted("fill", fill),
          "font-size": fixed(size),
          "font-weight": weight === "400" ? null : weight,
          "font-style": slant === "normal" ? null : slant,
          "font-family": family,
          textLength: wide ? fixed(wide) : null,
          lengthAdjust: wide ? "spacingAndGlyphs" : null,
          transform: turn ? `rotate(${fixed(turn)} ${fixed(x)} ${fixed(y)})` : null,
        },
        text,
      ),
    pixels: ({ x, y, wide, high, alpha }) => {
      const at = { x: fixed(x), y: fixed(y), width: fixed(wide), height: fixed(high), preserveAspectRatio: "none" };
      return svg("image", { ...at, style: "image-rendering: pixelated", opacity: alpha < 1 ? fixed(alpha) : null });
    },
  };
  out.append(svg("rect", { width, height, fill: ground.colour }), ...marks.map((mark) => draw[mark.kind](mark)));
  document.implementation.createHTMLDocument("").adoptNode(out); // where nothing is loaded
  const canvases = marks.filter(({ kind }) => kind === "pixels").map(({ canvas }) => canvas.toDataURL());
  out.querySelectorAll("image").forEach((image, i) => image.setAttribute("href", canvases[i]));
  return new XMLSerializer().serializeToString(out);
}

function canvasOf({ width, height, ground, marks }) {
  const sharp = Math.min(2, 16_000 / Math.max(width, height)); // what browsers take
  const canvas = make("canvas", { width: Math.round(sharp * width), height: Math.round(sharp * height) });
  const pen = canvas.getContext("2d");
  const filled = (paint, run) => {
    if (!paint?.alpha) return;
    Object.assign(pen, { fillStyle: paint.colour, strokeStyle: paint.colour, globalAlpha: paint.alpha });
    run();
  };
  const draw = {
    box: ({ x, y, wide, high, round, fill }) =>
      filled(fill, () => {
        pen.beginPath();
        pen.roundRect(x, y, wide, high, Math.min(round, wide / 2, high / 2));
        pen.fill();
      }),
    path({ d, matrix, fill, stroke, thick, dash }) {
      const path = new Path2D(d);
      if (matrix) pen.transform(...matrix);
      filled(fill, () => pen.fill(path));
      filled(stroke, () => {
        pen.lineWidth = thick;
        pen.setLineDash(dash ? dash.split(/[ ,]+/).map(Number) : []);
        pen.stroke(path);
      });
    },
    words: ({ text, x, y, wide, size, weight, slant, family, fill, turn }) =>
      filled(fill, () => {
        pen.font = `${slant} ${weight} ${size}px ${family}`;
        pen.translate(x, y);
        pen.rotate(((turn ?? 0) * Math.PI) / 180);
        pen.fillText(text, 0, 0, wide ? wide + 1 : undefined);
      }),
    pixels({ x, y, wide, high, canvas: image, alpha }) {
      Object.assign(pen, { globalAlpha: alpha, imageSmoothingEnabled: false });
      pen.drawImage(image, x, y, wide, high);
    },
  };
  pen.scale(sharp, sharp);
  draw.box({ x: 0, y: 0, wide: width, high: height, round: 0, fill: ground });
  marks.forEach((mark) => {
    pen.save();
    draw[mark.kind](mark);
    pen.restore();
  });
  return canvas;
}
