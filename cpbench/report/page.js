"use strict";
// Sorting. A sorted view has an address: #sort=TABLE:COLUMN:ascending (or descending).

function order(row, column) {
  const text = row.cells[column].dataset.order;
  return column === 0 || text === undefined ? text : Number(text);
}

function sort(table, column, direction) {
  const sign = direction === "descending" ? -1 : 1;
  const body = table.tBodies[0];
  const rows = [...body.rows].map((row) => [order(row, column), row]);
  rows.sort(([a], [b]) => {
    if (a === undefined || b === undefined) return (a === undefined) - (b === undefined); // no value: last
    return sign * (column === 0 ? a.localeCompare(b, "en", { numeric: true }) : a - b);
  });
  body.append(...rows.map(([, row]) => row));
  for (const header of table.tHead.rows[0].cells) header.removeAttribute("aria-sort");
  table.tHead.rows[0].cells[column].setAttribute("aria-sort", direction);
}

function click(table, header) {
  const first = header.cellIndex === 0 ? "ascending" : "descending";
  const other = first === "ascending" ? "descending" : "ascending";
  const direction = header.getAttribute("aria-sort") === first ? other : first;
  sort(table, header.cellIndex, direction);
  const parts = [table.id, header.dataset.column, direction].map(encodeURIComponent);
  history.replaceState(null, "", "#sort=" + parts.join(":"));
}

function reveal(element) {
  for (let each = element; each; each = each.parentElement) if (each.tagName === "DETAILS") each.open = true;
  element.scrollIntoView();
}

function follow() {
  const hash = location.hash.slice(1);
  if (!hash.startsWith("sort=")) {
    const target = document.getElementById(hash);
    if (target) reveal(target);
    return;
  }
  let parts;
  try {
    parts = hash.slice(5).split(":").map(decodeURIComponent);
  } catch {
    return; // not an address of ours
  }
  const [id, name, direction] = parts;
  const table = document.getElementById(id);
  if (!table || !table.matches("table.sortable") || !["ascending", "descending"].includes(direction)) return;
  const header = [...table.tHead.rows[0].cells].find((each) => each.dataset.column === name);
  if (!header) return;
  sort(table, header.cellIndex, direction);
  reveal(table);
}

for (const table of document.querySelectorAll("table.sortable")) {
  for (const header of table.tHead.rows[0].cells) {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...header.childNodes);
    button.addEventListener("click", () => click(table, header));
    header.append(button);
  }
}
if (matchMedia("(max-width: 40rem)").matches) document.getElementById("contents").open = false; // a screen of links
addEventListener("hashchange", follow);
follow();
