// Formulas of the rules' pages, written in LaTeX, as MathML: browsers set it by themselves, without a font or a library.

const MATH = "http://www.w3.org/1998/Math/MathML";
const mathml = (tag, attributes = {}, ...children) => grown(document.createElementNS(MATH, tag), attributes, children);

const SIGNS = {
  alpha: "\u03b1", beta: "\u03b2", gamma: "\u03b3", delta: "\u03b4", varepsilon: "\u03b5", cdot: "\u22c5", le: "\u2264",
  ldots: "\u2026", langle: "\u27e8", rangle: "\u27e9", top: "\u22a4",
}; // prettier-ignore
const NAMED = ["sin", "cos", "log", "exp", "max", "min"];
const SPACES = { ",": "0.17em", quad: "1em", qquad: "2em" };
const FENCES = /^[()[\]|\u27e8\u27e9]$/;

// A line of LaTeX as pieces that may stand under each other where there is no room beside each other.
function setMath(latex) {
  const pieces = latex.split(/\s*\\qquad\s*/).map((piece) => {
    const parts = atomsUpTo(piece.match(/\\[a-zA-Z]+|\\.|\s+|\d+(?:\.\d+)?|./gu) ?? [], null);
    return mathml("math", { display: "inline", displaystyle: "true" }, parts);
  });
  return make("div", { class: "line" }, pieces);
}

// What stands up to the token `end`; tokens are taken from the list.
function atomsUpTo(tokens, end) {
  const row = [];
  while (tokens.length && tokens[0] !== end) {
    const apart = NAMED.includes(tokens[0].slice(1)) && row.length && !/[=+(,\u2212\u22c5]$/.test(row.at(-1).textContent);
    if (apart) row.push(mathml("mspace", { width: SPACES[","] }));
    const one = atomOf(tokens);
    if (one) row.push(withScripts(one, tokens));
  }
  if (end !== null && tokens.shift() !== end) throw new Error(`a formula lacks ${end}`);
  return row;
}

function atomOf(tokens) {
  const token = tokens.shift();
  if (/^\s/.test(token)) return null;
  if (token === "{") return mathml("mrow", {}, atomsUpTo(tokens, "}"));
  if (token.startsWith("\\")) return commandOf(token.slice(1), tokens);
  if (/^\d/.test(token)) return mathml("mn", {}, token);
  if (/^\p{L}/u.test(token)) return mathml("mi", {}, token);
  return mathml("mo", FENCES.test(token) ? { stretchy: "false" } : {}, token === "-" ? MINUS : token);
}

function commandOf(name, tokens) {
  if (name in SIGNS)
    return /angle/.test(name)
      ? mathml("mo", { stretchy: "false" }, SIGNS[name])
      : mathml(/cdot|le/.test(name) ? "mo" : "mi", {}, SIGNS[name]);
  if (name in SPACES) return mathml("mspace", { width: SPACES[name] });
  if (NAMED.includes(name)) return mathml("mi", {}, name);
  if (name === "sum") return mathml("mo", { movablelimits: "false" }, "\u2211");
  if (name === "text") return mathml("mtext", {}, wordsIn(tokens).replace(/^ | $/g, "\u00a0"));
  if (name === "mathrm") return mathml("mi", { mathvariant: "normal" }, wordsIn(tokens));
  if (name === "sqrt") return mathml("msqrt", {}, groupOf(tokens));
  if (name === "tilde") return mathml("mover", {}, groupOf(tokens), mathml("mo", {}, "~"));
  if (name === "frac" || name === "tfrac") {
    const parts = mathml("mfrac", {}, groupOf(tokens), groupOf(tokens));
    return name === "frac" ? parts : mathml("mstyle", { displaystyle: "false" }, parts);
  }
  if (name === "left") {
    const [open, inner] = [tokens.shift(), atomsUpTo(tokens, "\\right")];
    return mathml("mrow", {}, mathml("mo", {}, open), inner, mathml("mo", {}, tokens.shift()));
  }
  throw new Error(`a formula has \\${name}, which is not known here`);
}

// The words of \text{...}, spaces as they are.
function wordsIn(tokens) {
  const end = tokens.indexOf("}");
  return tokens
    .splice(0, end + 1)
    .slice(1, -1)
    .join("");
}

function groupOf(tokens) {
  let one = null;
  while (!one) one = atomOf(tokens);
  return one;
}

// What follows above and below: primes, a subscript, a superscript; below and above a sum its limits.
function withScripts(base, tokens) {
  let [low, over] = [null, null];
  for (;;) {
    // a prime stands high in its font: raised once more it would push its letter down
    if (tokens[0] === "'") base = mathml("mrow", {}, base, mathml("mo", { lspace: 0, rspace: 0 }, (tokens.shift(), "\u2032")));
    else if (tokens[0] === "_") low = (tokens.shift(), groupOf(tokens));
    else if (tokens[0] === "^") over = (tokens.shift(), groupOf(tokens));
    else break;
  }
  if (base.textContent === "\u2211" && low) return mathml("munder", {}, base, low);
  if (low && over) return mathml("msubsup", {}, base, low, over);
  if (low) return mathml("msub", {}, base, low);
  return over ? mathml("msup", {}, base, over) : base;
}
