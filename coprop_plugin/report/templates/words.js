// The editor of words and boxes: from the fields of the page to control_points.json.

function boxesText(found) {
  return Object.entries(found || {}).flatMap(([word, boxes]) => (boxes.length
    ? boxes.map((box) => `${word}: ${box.join(" ")}`) : [`${word}:`])).join("; ");
}

function boxesOf(text) {
  const found = {};
  for (const part of text.split(";").map((each) => each.trim()).filter(Boolean)) {
    const cut = part.lastIndexOf(":");
    const word = (cut < 0 ? part : part.slice(0, cut)).trim();
    const box = cut < 0 ? [] : part.slice(cut + 1).trim().split(/[\s,]+/).filter(Boolean).map(Number);
    found[word] = found[word] || [];
    if (box.length === 4 && box.every(Number.isFinite)) found[word].push(box);
  }
  return found;
}

// What the fields say, as the content of control_points.json.
function editedPoints() {
  const content = structuredClone(data.edit.points), { sounds } = content;
  sounds.boxes = sounds.boxes || {};
  for (const row of document.querySelectorAll("#editor tr[data-frame]")) {
    const { frame } = row.dataset, [words, boxes] = row.querySelectorAll("input");
    sounds.segments[frame] = words.value.split(",").map((each) => each.trim()).filter(Boolean);
    if (boxes.value.trim() !== boxes.dataset.before) sounds.boxes[frame] = boxesOf(boxes.value);
  }
  return content;
}

function offerEdits() {
  if (!data.edit || !$("editor")) return;
  const { sounds } = data.edit.points;
  for (const row of document.querySelectorAll("#editor tr[data-frame]")) {
    const { frame } = row.dataset, [words, boxes] = row.querySelectorAll("input");
    words.value = (sounds.segments[frame] || []).join(", ");
    boxes.value = boxesText(data.edit.boxes[frame]);
    boxes.dataset.before = boxes.value.trim();
  }
  $("saveEdit").addEventListener("click", () => {
    const link = element("a");
    const text = JSON.stringify(editedPoints(), null, 1);
    link.href = URL.createObjectURL(new Blob([text], { type: "application/json" }));
    link.download = "control_points.json";
    link.click();
  });
}

offerEdits();
