// Whether a kernel answers.  Asked when a view is drawn and at every wish; silence for a while means that it is busy, or gone.

const PATIENCE = 5000; // milliseconds of silence before the reader is told

// changed(state): "asking", "here", "silent" (asked, no answer) or "none" (a file: there is nobody to ask).
function aliveOf(face, changed) {
  let state = null;
  let timer = null;
  const enter = (next) => {
    if (next === state) return;
    state = next;
    changed(state);
  };
  const heard = () => {
    clearTimeout(timer);
    timer = null;
    enter("here");
  };
  const wait = () => {
    if (timer === null)
      timer = setTimeout(() => {
        timer = null;
        enter("silent");
      }, PATIENCE);
  };
  face.listen("msg:custom", heard);
  return {
    heard,
    wait,
    quiet() {
      clearTimeout(timer);
      timer = null;
    },
    ask(name, more = {}) {
      if (state === "none") return;
      wait();
      try {
        face.send({ ask: name, ...more });
      } catch {
        enter("silent");
      }
    },
    begin() {
      if (!face.model.send) return enter("none");
      enter("asking");
      return this.ask("hello");
    },
  };
}

const SILENCE = {
  none: "This is the last state, saved. Run the cell in a notebook to set something and see it computed.",
  silent: "The kernel does not answer: it is busy with another cell, or gone. What is shown is the last that it sent.",
};

// The line that says so; empty and without height while all is well.
function silence() {
  const node = make("p", { class: "notice", role: "status" });
  return { node, show: (state) => write(node, SILENCE[state] ?? "") };
}

// A trait of a live view, or what a file has in its place.
const traitOf = (face, name) => face.model.get(name) ?? face.get(name);
const traitsOf = (face, names) => Object.fromEntries(names.map((name) => [name, traitOf(face, name)]));
