// The result as a card: what was decided and because of which words, the words in colour, what the value is made of, and whether
// the numbers add up.  All the rest stands behind one press.

const WORDS_AT_ONCE = 3000; // words of one text that are drawn; the rest is one press away

function resultCard(face) {
  const { data } = face;
  const { reading } = data;
  const shown = reading.streams.map((stream) => streamOf(face, stream, data.streams[stream.name] ?? data));
  const scale = largest(...shown.map(({ amounts }) => amounts("both")));
  const kinds = new Set(reading.streams.map(({ kind }) => kind));
  const pointAt = `Point at ${kinds.size > 1 ? "a part" : POINTED[[...kinds][0]]}, or use the arrow keys.`;
  const [key, told] = [legend(), make("p", { class: "readout quiet" })];
  key.paint(scale);
  const show = digits(scale);
  const positioned = data.sinks.length > 0;
  const part = () => (positioned && PARTS[face.get("part")] ? face.get("part") : "both");
  const box = choice("Show", Object.entries(PARTS), part(), (name) => face.set({ part: name }));
  const paint = () => {
    box.show(part());
    shown.forEach((one) => one.paint(part(), scale));
  };
  const tell = (name, parts) => {
    if (!name) return write(told, pointAt);
    const listed = Object.keys(parts).filter((key) => positioned || key === "both");
    const amounts = listed.map((key) => `${positioned ? `${key} ` : ""}${show(parts[key])}`);
    return told.replaceChildren(make("b", {}, make("bdi", {}, name)), `${GAP}${amounts.join(GAP)}`);
  };
  shown.forEach((one) => one.hear(tell));
  tell(null);
  ["part", "theme"].forEach((name) => face.on(name, paint));
  paint();
  return make(
    "section",
    { class: "card", "aria-label": "Result" },
    make("h1", {}, quoted(reading.headline)),
    make("p", { class: "against" }, quoted(reading.against), reading.outside && ` ${reading.outside}`),
    shown.map((one) => one.node),
    told,
    make(
      "div",
      { class: "controls" },
      make("span", { class: "sides" }, make("bdi", {}, reading.sides[0]), key.node, make("bdi", {}, reading.sides[1])),
      positioned && box.node,
    ),
    madeOf(data, reading.terms),
    make("p", { class: `sums ${toneOf(data.ledger.verdict)}` }, `${markOf(data.ledger.verdict)}${reading.adds_up}`),
  );
}

const POINTED = { text: "a word", picture: "a patch", sound: "a stretch" };

// --- one stream: its text, sound or picture ---------------------------------------------------------------------------

function streamOf(face, stream, data) {
  const parts = Object.fromEntries(Object.entries(data.parts.signed).map(([name, values]) => [name, numbers(values)]));
  const whole = ({ ids, text = data.tokens[ids[0]], before = " ", special = false }) => ({ ids, text, before, special });
  const given = { ...stream, words: stream.words.map((word) => whole(typeof word === "number" ? { ids: [word] } : word)) };
  const drawn = stream.kind === "picture" ? patchesOf(face, stream, parts, data.image) : wordsOf(face, given, parts, data.sound);
  if (!stream.name) return drawn;
  const name = make("span", { class: "quiet" }, stream.name);
  return { ...drawn, node: make("div", { class: "named" }, name, make("div", {}, drawn.node)) };
}

// A text as people read it: one paragraph, each word on its colour, one stop of the Tab key.
function wordsOf(face, stream, parts, sound = null) {
  const words = stream.words.slice(0, WORDS_AT_ONCE);
  const spans = words.map((word, i) => {
    const kind = `${word.special ? "mark" : "word"}${stream.kind === "sound" ? " stretch" : ""}`;
    const text = stream.kind === "sound" ? "" : word.text;
    const pieces = typeof text === "string" ? [[text, false]] : text;
    return make(
      "span",
      { class: kind, "data-at": i },
      pieces.map(([piece, chip]) => (chip ? make("span", { class: "chip" }, piece) : piece)),
    );
  });
  const left = stream.words.length - words.length;
  const name = stream.kind === "sound" ? "the sound from its start to its end" : "the text";
  const node = make(
    stream.kind === "sound" ? "div" : "p",
    {
      class: stream.kind === "sound" ? `timeline${sound ? " over" : ""}` : "running",
      dir: stream.turned ? "rtl" : "ltr",
      tabindex: "0",
      role: "group",
      "aria-label": `${name}, in colour; arrow keys tell the numbers`,
      ...QUIET,
    },
    sound && spectrogramOf(sound),
    spans.flatMap((span, i) => [words[i].before, span]),
    left > 0 && make("span", { class: "quiet" }, ` and ${left.toLocaleString("en")} more words`),
  );
  const values = Object.fromEntries(Object.keys(parts).map((key) => [key, words.map(({ ids }) => summed(parts[key], ids))]));
  const tellAt = pointed(node, words.length, (i) => spans[i], stream.turned);
  face.on("point", (column) => spans.forEach((span, i) => span.classList.toggle("pointed", words[i].ids[0] === column?.key)));
  const mini = stream.kind === "text" ? miniOf(face, node, spans) : null;
  const ends = stream.kind === "sound" && words.length > 0 && axisOf(words, sound);
  return {
    node: mini ? make("div", {}, node, mini.node) : ends ? make("div", {}, node, ends) : node,
    amounts: (key) => values[key],
    paint(key, scale) {
      spans.forEach((span, i) => repaint(span, shade(values[key][i], scale).replace(/^p0$/, "")));
      mini?.paint(values[key], scale);
    },
    hear(tell) {
      tellAt((i) => {
        if (i < 0) return tell(null);
        const each = Object.fromEntries(Object.keys(values).map((key) => [key, values[key][i]]));
        face.point({ ids: words[i].ids, key: words[i].ids[0], name: spelled(words[i].text) });
        return tell(spelled(words[i].text), each);
      });
    },
  };
}

// What a time line lies over: how loud each band of tones is.
function spectrogramOf({ picture, height, width }) {
  const named = { role: "img", "aria-label": "the sound: time to the right, higher tones higher" };
  const canvas = make("canvas", { ...named, width, height });
  const draw = () => canvas.getContext("2d").drawImage(pixels, 0, 0);
  const pixels = pixelsOf(picture, height, width, draw);
  draw();
  return canvas;
}

// Where the time line begins and ends.
const axisOf = (words, sound) =>
  make(
    "p",
    { class: "quiet axis" },
    make("span", {}, spelled(words[0].text)),
    sound && make("span", {}, "higher tones higher, louder ones stronger"),
    make("span", {}, spelled(words.at(-1).text)),
  );

// --- what the value is made of ----------------------------------------------------------------------------------------

const MEANT = {
  tokens: "what the inputs themselves carry",
  positions: "what is carried by where they stand",
  constants: "what the model adds whatever the input is: biases and the like",
  softmax: "what depends on how large attention's scores are, not on which token they choose",
  stabilisers: "what small numbers added to denominators keep",
  gap: "what is missing: it should be zero",
};
const KEPT_BY = { tokens: "content", positions: "position", constants: "constant", gap: "bad" };

// One bar from zero: each term begins where the one before it ends; what is below zero runs back, hatched, one line lower.
function madeOf(data, terms) {
  const value = Number(data.value);
  const amounts = terms.map(([name, called, amount, shown]) => ({ name, called, shown, amount: Number(amount) }));
  const sums = amounts.reduce((all, { amount }) => [...all, all.at(-1) + (Number.isFinite(amount) ? amount : 0)], [0]);
  const [low, high] = [Math.min(...sums), Math.max(...sums)];
  const at = (x) => (high > low ? (100 * (x - low)) / (high - low) : 0);
  const bars = amounts.map(({ name, amount }, i) => {
    const tone = KEPT_BY[name] ?? "kept";
    const bar = make("i", { class: `${tone}${amount < 0 ? " minus" : ""}` });
    bar.style.left = `${at(Math.min(sums[i], sums[i + 1])).toFixed(2)}%`;
    bar.style.width = `${Math.abs(at(sums[i + 1]) - at(sums[i])).toFixed(2)}%`;
    return bar;
  });
  const mixed = [1, -1].every((side) => amounts.some(({ amount }) => amount * side > 0));
  const zero = make("b", { class: "zero" });
  zero.style.left = `${at(0).toFixed(2)}%`;
  const show = digits(largest(amounts.map(({ amount }) => amount), [value]));
  return make(
    "div",
    { class: "made" },
    make("div", { class: `waterfall${mixed ? " deep" : ""}`, "aria-hidden": "true" }, zero, bars),
    make(
      "p",
      {},
      make("strong", {}, show(value)),
      " is ",
      amounts.flatMap(({ name, called, shown, amount }, i) => [
        i ? ", " : "",
        make(
          "span",
          { class: "term", title: MEANT[name] },
          make("i", { class: `swatch ${KEPT_BY[name] ?? "kept"}${amount < 0 ? " minus" : ""}`, "aria-hidden": "true" }),
          `${called} ${shown}`,
        ),
      ]),
      ".",
    ),
  );
}
