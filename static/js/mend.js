/* The grid of rows to mend. Hooks: table[data-mend-grid] with rows of textarea/input[data-cell="name"] and one
   form[data-mend-form] per row (htmx sends it and swaps the row); button[data-mend-all] with [data-mend-count].
   Without this file each row is a form with a button. */

const grid = document.querySelector("[data-mend-grid]");
const saveAll = document.querySelector("[data-mend-all]");
const unsaved = grid?.dataset.unsaved || "";
let goTo = null; // the cell to be in after a row was swapped: {row, cell}

const cellsOf = (name) => [...grid.querySelectorAll(`[data-cell="${name}"]`)];
const rowOf = (node) => node.closest("tr");
const changedRows = () => [...grid.querySelectorAll("tr")].filter((row) => row.querySelector("[data-changed]"));

function mark(cell) {
  const changed = cell.value !== cell.defaultValue;
  cell.toggleAttribute("data-changed", changed);
  cell.title = changed ? unsaved : "";
  count();
}

function count() {
  if (!saveAll) return;
  const n = changedRows().length;
  saveAll.hidden = n < 2;
  saveAll.querySelector("[data-mend-count]").textContent = String(n);
}

function move(cell, step) {
  const column = cellsOf(cell.dataset.cell);
  const next = column[column.indexOf(cell) + step];
  if (next) next.focus();
  return Boolean(next);
}

function save(cell, step = 0) {
  const column = cellsOf(cell.dataset.cell);
  const next = column[column.indexOf(cell) + step];
  goTo = { from: rowOf(cell).id, row: rowOf(step && next ? next : cell).id, cell: cell.dataset.cell };
  cell.form.querySelector("[data-mend-save]").click();
}

/* In a text of several lines the arrows move inside it until its edge. */
function atEdge(cell, key) {
  if (cell.tagName !== "TEXTAREA") return true;
  if (cell.selectionStart !== cell.selectionEnd) return false;
  return key === "ArrowUp" ? cell.selectionStart === 0 : cell.selectionEnd === cell.value.length;
}

grid?.addEventListener("keydown", (event) => {
  const cell = event.target.closest("[data-cell]");
  if (!cell || event.isComposing) return;
  if (event.key === "Enter" && !event.shiftKey && !event.altKey && !event.ctrlKey && !event.metaKey) {
    event.preventDefault();
    save(cell, 1);
  } else if (event.key === "Escape") {
    event.preventDefault();
    cell.value = cell.defaultValue;
    mark(cell);
  } else if (event.key === "ArrowUp" || event.key === "ArrowDown") {
    if (event.shiftKey || cell.list || !atEdge(cell, event.key)) return;
    if (move(cell, event.key === "ArrowUp" ? -1 : 1)) event.preventDefault();
  }
});

grid?.addEventListener("input", (event) => {
  const cell = event.target.closest("[data-cell]");
  if (cell) mark(cell);
});

/* Cells of a spreadsheet: columns by tab, rows by line end, quoted where a cell holds either. */
function parseCells(text) {
  const rows = [[]];
  let cell = "";
  let quoted = false;
  for (let i = 0; i < text.length; i += 1) {
    const c = text[i];
    if (quoted) {
      if (c === '"' && text[i + 1] === '"') {
        cell += c;
        i += 1;
      } else if (c === '"') quoted = false;
      else cell += c;
    } else if (c === '"' && cell === "") quoted = true;
    else if (c === "\t" || c === "\n") {
      rows[rows.length - 1].push(cell);
      cell = "";
      if (c === "\n") rows.push([]);
    } else if (c !== "\r") cell += c;
  }
  rows[rows.length - 1].push(cell);
  if (rows.length > 1 && rows[rows.length - 1].every((value) => value === "")) rows.pop();
  return rows;
}

grid?.addEventListener("paste", (event) => {
  const cell = event.target.closest("[data-cell]");
  const text = event.clipboardData?.getData("text/plain") || "";
  if (!cell || !text.includes("\t")) return; // a mere text is pasted as usual
  event.preventDefault();
  const names = ["prompt", "answer"];
  const first = names.indexOf(cell.dataset.cell);
  const rows = [...grid.querySelectorAll("tbody tr")]; // by row: a very long text has no cell
  const start = rows.indexOf(rowOf(cell));
  parseCells(text).forEach((values, down) => {
    values.forEach((value, right) => {
      const target = rows[start + down]?.querySelector(`[data-cell="${names[first + right]}"]`);
      if (!target) return;
      target.value = value;
      mark(target);
    });
  });
});

saveAll?.addEventListener("click", () => {
  goTo = null;
  changedRows().forEach((row) => {
    row.querySelector("[data-mend-save]").click();
  });
});

document.addEventListener("htmx:afterSettle", () => {
  count();
  const left = document.getElementById("rows-left");
  const tab = document.querySelector(".tabs [aria-current] .count");
  if (left && tab) tab.textContent = left.textContent;
  if (!goTo) return;
  const row = document.getElementById(goTo.row);
  const failed = grid.querySelector("[aria-invalid]");
  const target = failed && goTo.from === rowOf(failed)?.id ? failed : row?.querySelector(`[data-cell="${goTo.cell}"]`);
  goTo = null;
  target?.focus();
});

window.addEventListener("beforeunload", (event) => {
  if (grid && changedRows().length) event.preventDefault();
});
