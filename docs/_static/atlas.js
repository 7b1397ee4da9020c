/* A field over the atlas: only rows that hold all of its words stay, and it says how many. */
document.addEventListener("DOMContentLoaded", () => {
  const rows = [...document.querySelectorAll("article table tbody tr")].filter((row) => row.cells.length > 6);
  if (!document.querySelector("section#the-atlas") || !rows.length) return;
  const field = document.createElement("input");
  const told = document.createElement("output");
  const label = document.createElement("label");
  field.type = "search";
  field.placeholder = "llama, rotary, refused ...";
  label.append("Find an architecture, a class, a kind of position: ", field);
  const box = document.createElement("p");
  box.className = "pick-rows";
  box.append(label, told);
  document.querySelector("section#the-atlas > h1").after(box);
  const words = rows.map((row) => row.textContent.toLowerCase());
  field.addEventListener("input", () => {
    const wanted = field.value.toLowerCase().split(/\s+/).filter(Boolean);
    rows.forEach((row, i) => { row.hidden = !wanted.every((word) => words[i].includes(word)); });
    const left = rows.filter((row) => !row.hidden).length;
    told.value = wanted.length ? `${left} of ${rows.length}` : "";
    for (const table of document.querySelectorAll("article table")) {
      const own = rows.filter((row) => table.contains(row));
      const gone = own.length > 0 && own.every((row) => row.hidden);
      (table.closest("section:not(#the-atlas)") ?? table).hidden = gone;
    }
  });
});
