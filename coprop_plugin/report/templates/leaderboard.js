// Chooses lines by data set and words, and opens the details that a model's name leads to.

const which = document.getElementById("which");
const words = document.getElementById("words");
const details = [...document.querySelectorAll("details[data-clip]")];

function choose() {
  const wanted = words.value.trim().toLowerCase();
  const shows = (element) => {
    const line = data.clips[Number(element.dataset.clip)];
    const text = `${line.backend} ${line.row}`.toLowerCase();
    return (!which.value || line.data === which.value) && text.includes(wanted);
  };
  for (const element of [...rows, ...details]) element.hidden = !shows(element);
  const shown = rows.filter((row) => !row.hidden).length;
  document.getElementById("said").textContent = `${shown} of ${rows.length} lines`;
}

function open() {
  const target = document.getElementById(location.hash.slice(1));
  if (target instanceof HTMLDetailsElement) {
    target.open = true;
    target.scrollIntoView();
  }
}

which.addEventListener("change", choose);
words.addEventListener("input", choose);
window.addEventListener("hashchange", open);
open();
