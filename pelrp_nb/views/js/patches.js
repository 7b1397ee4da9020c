// A picture in the card: itself, and beside it its grey shadow under the relevance of its patches, in their grid.

const TALL = 116; // pixels of the height of a picture in the card

function patchesOf(face, stream, parts, image) {
  const [rows, columns, prefix] = stream.grid;
  const [high, wide] = image ? [image.height, image.width] : [rows, columns];
  const height = Math.round(Math.min(TALL, (300 * high) / wide));
  const width = Math.max(1, Math.round((height * wide) / high));
  const sized = (more) => {
    const canvas = make("canvas", { role: "img", class: "pane", width: 2 * width, height: 2 * height, ...more });
    canvas.style.width = `${width}px`;
    return canvas;
  };
  const map = sized({ tabindex: "0", ...QUIET });
  const show = () => own?.getContext("2d").drawImage(pixels, 0, 0, own.width, own.height);
  const drawn = () => {
    show();
    if (last) paint(...last);
  };
  const pixels = image?.picture && pixelsOf(image.picture, image.height, image.width, drawn);
  const own = pixels && sized({ "aria-label": "the picture" });
  let last = null; // what was painted
  show();
  const patches = Object.fromEntries(Object.keys(parts).map((key) => [key, parts[key].slice(prefix)]));
  const paint = (key, scale) => {
    last = [key, scale];
    const field = range(rows).map((r) => patches[key].slice(r * columns, (r + 1) * columns));
    shadowed(map, field, scale, pixels, face.root);
    map.setAttribute("aria-label", `${key} of ${rows} by ${columns} patches over the picture; arrow keys tell their numbers.`);
  };
  let at = null;
  let tell = () => {};
  const go = (r, c) => {
    at = [clamp(r, 0, rows - 1), clamp(c, 0, columns - 1)];
    const i = at[0] * columns + at[1];
    face.point({ ids: [prefix + i], key: prefix + i, name: `patch ${at.join(",")}` });
    const each = Object.fromEntries(Object.keys(patches).map((key) => [key, patches[key][i]]));
    tell(`row ${at[0] + 1}, column ${at[1] + 1}`, each);
  };
  map.addEventListener("mousemove", (event) => {
    const box = map.getBoundingClientRect();
    const [down, across] = [(event.clientY - box.top) / box.height, (event.clientX - box.left) / box.width];
    go(Math.floor(down * rows), Math.floor(across * columns));
  });
  map.addEventListener("keydown", (event) => {
    const by = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] }[event.key];
    if (!by || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    event.stopPropagation();
    go(...(at ? [at[0] + by[0], at[1] + by[1]] : [0, 0]));
  });
  return {
    node: make("div", { class: "pictures" }, own, map),
    amounts: (key) => patches[key],
    paint,
    hear(next) {
      tell = next;
    },
  };
}

// A field of numbers in colour, and the picture's grey shadow over it: darker where the picture is dark, lighter in a dark theme.
function shadowed(canvas, field, scale, pixels, root) {
  const pen = canvas.getContext("2d");
  const [rows, columns] = [field.length, field[0]?.length ?? 0];
  const [tall, wide] = [canvas.height / rows, canvas.width / columns];
  const shades = palette(root);
  pen.globalCompositeOperation = "source-over";
  pen.globalAlpha = 1;
  field.forEach((row, r) =>
    row.forEach((x, c) => {
      [pen.fillStyle] = shadeOf(shades, x, scale);
      pen.fillRect(Math.floor(c * wide), Math.floor(r * tall), Math.ceil(wide), Math.ceil(tall));
    }),
  );
  if (!pixels) return;
  pen.globalAlpha = 0.4;
  pen.filter = "grayscale(1)";
  pen.globalCompositeOperation = root.dataset.theme === "dark" ? "screen" : "multiply";
  pen.drawImage(pixels, 0, 0, canvas.width, canvas.height);
  pen.filter = "none";
}

// Bytes of red, green, blue, or a JPEG, as a canvas of the picture's own size; a JPEG is there a moment later: then drawn().
function pixelsOf(box, height, width, drawn) {
  const sent = box.jpeg ?? box;
  const bytes =
    typeof sent === "string"
      ? Uint8Array.from(atob(sent), (c) => c.charCodeAt(0))
      : new Uint8Array(sent.buffer, sent.byteOffset, sent.byteLength);
  const canvas = make("canvas", { width, height });
  const pen = canvas.getContext("2d");
  if (box.jpeg) {
    createImageBitmap(new Blob([bytes], { type: "image/jpeg" })).then((image) => {
      pen.drawImage(image, 0, 0, width, height);
      drawn();
    });
    return canvas;
  }
  const data = new ImageData(width, height);
  for (let i = 0; i < width * height; i++) data.data.set([bytes[3 * i], bytes[3 * i + 1], bytes[3 * i + 2], 255], 4 * i);
  pen.putImageData(data, 0, 0);
  return canvas;
}
