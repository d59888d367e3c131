"use strict";
// Sorts the table by the column whose heading is pressed; clips without a value stay last.

const data = JSON.parse(document.getElementById("data").textContent);
const table = document.getElementById("clips");
const headings = [...table.tHead.rows[0].cells];
const rows = [...table.tBodies[0].rows];

function sortBy(column, direction) {
  const sign = direction === "ascending" ? 1 : -1;
  const value = (row) => data.clips[Number(row.dataset.clip)][data.columns[column]];
  rows.sort((one, other) => {
    const [a, b] = [value(one), value(other)];
    if (a === null || b === null) return (a === null) - (b === null);
    return sign * (typeof a === "string" ? a.localeCompare(b) : a - b);
  });
  table.tBodies[0].append(...rows);
  headings.forEach((heading, k) => {
    if (k === column) heading.setAttribute("aria-sort", direction);
    else heading.removeAttribute("aria-sort");
  });
}

headings.forEach((heading, column) => {
  heading.querySelector("button").addEventListener("click", () => {
    const again = heading.getAttribute("aria-sort") === "ascending";
    sortBy(column, again ? "descending" : "ascending");
    const order = again ? "largest first" : "smallest first";
    document.getElementById("said").textContent = `Sorted by ${heading.textContent}, ${order}`;
  });
});
