// What is on the screen, to take away: page, picture, table, data.  Made here, without network.

function exporter(scene) {
  const said = spoken("quiet");
  const name = () =>
    `${spelled(scene.data.model)}-${spelled(scene.data.target)}`
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
      const { text, lacking } = await keptPage(scene);
      if (text === null) return write(said, 'This host does not hand out the view: in Python type result.to_html("why.html").');
      save("html", "text/html", text);
      return lacking.length && write(said, `saved ${name()}.html without ${lacking.join(", ")}: no kernel sent them`);
    },
    SVG: () => save("svg", "image/svg+xml", picture(scene, svgPen)),
    PNG: () => picture(scene, canvasPen).toBlob((blob) => save("png", "image/png", blob)),
    CSV: () => save("csv", "text/csv", table(scene)),
    JSON: () => save("json", "application/json", JSON.stringify(readable(scene))),
  };
  return section(
    "Save as a file",
    null,
    make(
      "div",
      { class: "controls" },
      Object.entries(runs).map(([kind, run]) => action(kind, run)),
    ),
    make("p", { class: "quiet caption" }, "A caption with model, target, method and ledger goes with each."),
    said,
  );
}

function caption({ data, step }) {
  const value = Number(data.value);
  const answer = `${spelled(data.target)} ${digits(Math.abs(value), 5)(value)}`;
  return `${answer}; ${data.model}, ${data.method}; ${step().name}; ledger ${data.ledger.state}.`;
}

// The data with plain numbers where they travelled as bytes.
function readable(scene) {
  const listed = ({ values, ...rest }) => ({ ...rest, relevance: values });
  const data = { ...scene.data, boundaries: scene.boundaries.map(listed), sinks: scene.sinks.map(listed) };
  return { caption: caption(scene), step: scene.step(), state: scene.face.model.get("state"), data };
}

// Comma separated, the caption first; a cell that a spreadsheet would compute is text.
function table(scene) {
  const values = amountsOn(scene, scene.step()) ?? scene.parts.signed;
  const cell = (x) => {
    const text = typeof x === "number" ? String(x) : /^[=+\-@\t\r]/.test(x) ? `'${x}` : x;
    return /[",\n\r]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
  };
  const parts = ["content", "position", "both"].filter((part) => values[part]);
  const rows = scene.data.tokens.map((text, t) => [t, spelled(text), ...parts.map((part) => values[part][t])]);
  const account = scene.step().account.map(([name, amount]) => ["", name, amount]);
  return [[`# ${caption(scene)}`], ["index", "token", ...parts], ...rows, [], ["", "account", "amount"], ...account]
    .map((row) => row.map(cell).join(","))
    .join("\r\n");
}

// --- a picture of the step: one layout, two pens ----------------------------------------------------------------------

function picture(scene, penOf) {
  const [width, edge, cell, line] = [900, 24, 74, 46];
  const perRow = Math.floor((width - 2 * edge) / (cell + 4));
  const columns = scene.columns.slice(0, 600);
  const rows = Math.ceil(columns.length / perRow);
  const { account } = scene.step();
  const height = 92 + rows * line + 30 + account.length * 22 + 50;
  const pen = penOf(width, height);
  const values = amountsOn(scene, scene.step());
  const shown = values ? scene.gather(values[scene.part()] ?? values.content) : [];
  const [scale, shades] = [Math.max(widest(scene), largest(shown)), palette(scene.face.root)];
  const ink = getComputedStyle(scene.face.root).color;
  pen.text(
    edge,
    36,
    `${spelled(scene.data.target)} ${digits(Math.abs(Number(scene.data.value)), 5)(Number(scene.data.value))}`,
    20,
    ink,
  );
  pen.text(edge, 58, `${scene.data.model} \u00b7 ${scene.data.method} \u00b7 ${scene.step().name}`.slice(0, 120), 12, ink);
  columns.forEach((column, i) => {
    const [x, y] = [edge + (i % perRow) * (cell + 4), 78 + Math.floor(i / perRow) * line];
    const [back, text] = shadeOf(shades, shown[i] ?? 0, scale);
    pen.box(x, y, cell, line - 6, back);
    pen.text(x + cell / 2, y + 16, clipped(spelled(column.text)), 12, text, "middle");
    pen.text(x + cell / 2, y + 32, shown.length ? digits(scale)(shown[i]) : "", 11, text, "middle");
  });
  const [top, most] = [78 + rows * line + 18, largest(account.map(([, x]) => x))];
  account.forEach(([name, amount], i) => {
    const y = top + i * 22;
    pen.text(edge, y + 11, name, 12, ink);
    pen.text(edge + 190, y + 11, digits(most, 5)(amount), 12, ink, "end");
    const long = most > 0 && Number.isFinite(amount) ? (Math.abs(amount) / most) * 250 : 0;
    pen.box(edge + 480 - (amount < 0 ? long : 0), y, Math.max(0.5, long), 12, shadeOf(shades, Math.sign(amount) * 0.75, 1)[0]);
  });
  pen.text(edge, height - 20, caption(scene).slice(0, 160), 10, ink);
  return pen.done(getComputedStyle(scene.face.root).backgroundColor);
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
    text: (x, y, text, size, fill, anchor = "start") =>
      out.append(svg("text", { x, y, fill, "font-size": size, "text-anchor": anchor }, text)),
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
    text: (x, y, text, size, fill, anchor = "start") =>
      queue.push(() => {
        Object.assign(pen, {
          fillStyle: fill,
          font: `${size}px system-ui, sans-serif`,
          textAlign: anchor === "middle" ? "center" : anchor,
        });
        pen.fillText(text, x, y);
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
