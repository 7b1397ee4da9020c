// A view as one page that needs neither network nor kernel, in the state that it is in.  A page copies itself; in a notebook the
// page is written from the view's own module and style, without Python: a saved notebook without a kernel can be exported too.

const SENT = 5000; // milliseconds that a kernel may take to send a large part

// { text, lacking }: the page, null where the host keeps the module to itself; and the parts that nobody could send.
async function keptPage(face, { title, fallback, kept }) {
  const held = document.getElementById("view-data");
  if (held && document.body.classList.contains("pelrp-page")) return { text: pageNow(face, held), lacking: [] };
  const [shell, module, kind] = ["_shell", "_esm", "kind"].map((trait) => face.model.get(trait));
  const own = shell?.kinds?.[kind];
  if (!own || !module) return { text: null, lacking: [] };
  const more = { ...face.model.get("more") };
  const wanted = (face.data.offers ?? []).filter((part) => !(part in more));
  const late = new Promise((done) => setTimeout(done, SENT, null));
  const found = await Promise.all(wanted.map((part) => Promise.race([face.more(part), late])));
  wanted.forEach((part, i) => {
    if (found[i]) more[part] = found[i];
  });
  const parts = {
    title: escaped(title),
    style: face.model.get("_css"),
    policy: own.policy,
    code: cut(module, own.parts),
    fallback: fallback().outerHTML,
    values: inScript({ kind, data: face.data, ...standing(face, kept?.()), more, wanted: [], asks: false }),
  };
  const text = shell.page.replace(/\{(policy|title|style|code|fallback|values)\}/g, (_, name) => parts[name]);
  return { text, lacking: wanted.filter((part) => !(part in more)) };
}

// The parts of the module that a page needs; each stands behind its name.
function cut(module, parts) {
  const pieces = module.slice(0, module.lastIndexOf("export default")).split(/^\/\*(\w+)\*\/\n/m);
  return parts.map((part) => `/*${part}*/\n${pieces[pieces.indexOf(part) + 1]}`).join("");
}

// The page that this view is in, as it stands.
function pageNow(face, held) {
  const copy = document.documentElement.cloneNode(true);
  copy.querySelector("#view").replaceChildren();
  copy.querySelector("body").className = "pelrp-page";
  copy.querySelector("#view-data").textContent = inScript({ ...JSON.parse(held.textContent), ...standing(face) });
  return `<!doctype html>\n${copy.outerHTML}\n`;
}

// Where a view stands; what a live one holds beside that is state in a page.
const standing = ({ model }, more = {}) => {
  const [step, token] = ["step", "token"].map((key) => model.get(key));
  return { step, token, state: { ...model.get("state"), ...more } };
};

const escaped = (text) => text.replace(/[&<>"']/g, (mark) => `&#${mark.charCodeAt(0)};`);

// JSON that may stand inside a script element; bytes as base64.
function inScript(values) {
  const text = JSON.stringify(values, (_, value) => (ArrayBuffer.isView(value) ? base64(value) : value));
  return text.replace(/[<>&\u2028\u2029]/g, (mark) => `\\u${mark.charCodeAt(0).toString(16).padStart(4, "0")}`);
}

function base64({ buffer, byteOffset, byteLength }) {
  const bytes = new Uint8Array(buffer, byteOffset, byteLength);
  const pieces = range(Math.ceil(bytes.length / 8192)).map((i) =>
    String.fromCharCode(...bytes.subarray(8192 * i, 8192 * (i + 1))),
  );
  return btoa(pieces.join(""));
}
