// what makes a page a tool; without it everything stands there all the same
const all = (what, inside = document) => [...inside.querySelectorAll(what)];
addEventListener("beforeprint", () => all("main details").forEach(one => one.open = true));

const wide = matchMedia("(min-width: 1240px)"), side = document.querySelector("aside details");
const fold = () => side.open = wide.matches;
if (side) { fold(); wide.addEventListener("change", fold); }

// chips hide a variant in tables and pictures; its name stands at each of its points
const chips = all("[data-chip]");
if (chips.length) document.querySelector(".chips").hidden = false;
for (const chip of chips) {
  const shown = all(`[data-of="${chip.dataset.chip}"]`);
  for (const one of shown) if (one instanceof SVGElement) {
    const title = document.createElementNS("http://www.w3.org/2000/svg", "title");
    title.textContent = chip.textContent.trim();
    one.prepend(title);
  }
  const mark = on => shown.forEach(one => one.classList.toggle("marked", on));
  chip.addEventListener("mouseenter", () => mark(true));
  chip.addEventListener("mouseleave", () => mark(false));
  chip.addEventListener("click", () => {
    const on = chip.getAttribute("aria-pressed") !== "true";
    chip.setAttribute("aria-pressed", on);
    shown.forEach(one => one.classList.toggle("gone", !on));
  });
}

// every table sorts by every column; a figure that is missing goes last either way
for (const table of all("table.results")) {
  const body = table.tBodies[0];
  const heads = all("thead th:not([colspan])", table);
  // two header rows: the column that a heading stands above is found by where it stands
  const left = node => node.getBoundingClientRect().left;
  heads.sort((a, b) => left(a) - left(b));
  const value = (row, column) => {
    const cell = row.cells[column];
    if (cell.dataset.sort !== undefined) return cell.dataset.sort === "" ? null : +cell.dataset.sort;
    const text = cell.firstChild ? cell.firstChild.textContent.trim().replace("−", "-").replace("< ", "") : "";
    return text === "" || text === "–" ? null : /^[-+]?[\d.,]+( ?%)?$/.test(text) ? parseFloat(text.replace(",", "")) : text;
  };
  heads.forEach((th, column) => {
    if (!th.textContent.trim()) return;
    // no <button>: Chromium leaves those out where a printed table repeats its head
    let button = th.querySelector("span");
    if (!button) {
      button = document.createElement("span");
      const small = th.querySelector("small");
      button.append(...[...th.childNodes].filter(node => node !== small));
      th.prepend(button);
    }
    button.className = "sort";
    button.role = "button";
    button.tabIndex = 0;
    button.addEventListener("keydown", event => {
      if (event.key === "Enter" || event.key === " ") { event.preventDefault(); button.click(); }
    });
    button.addEventListener("click", () => {
      const numbers = [...body.rows].some(row => typeof value(row, column) === "number");
      const first = column && numbers ? "descending" : "ascending";
      const other = first === "ascending" ? "descending" : "ascending";
      const order = th.getAttribute("aria-sort") === first ? other : first;
      heads.forEach(head => head.removeAttribute("aria-sort"));
      th.setAttribute("aria-sort", order);
      const sign = order === "ascending" ? 1 : -1;
      body.append(...[...body.rows].sort((one, two) => {
        const a = value(one, column), b = value(two, column);
        if (a === null || b === null) return (a === null) - (b === null);
        return sign * (typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b)));
      }));
    });
  });
}
