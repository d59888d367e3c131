"use strict";
// Points and names of one clip after the other; every change is saved at once.

const data = JSON.parse(document.getElementById("data").textContent);
const at = (id) => document.getElementById(id);
const audio = at("audio");
const names = [...data.names];
let index = 0;
let shown = null; // the clip as the server gave it
let points = []; // {second, names}: a list of names, [] for silence, null for unnamed
let cursor = 0;
let saving = Promise.resolve();

function made(kind, name, text) {
  const element = document.createElement(kind);
  if (name) element.className = name;
  if (text !== undefined) element.textContent = text;
  return element;
}

const share = (second) => `${100 * Math.min(1, Math.max(0, second / shown.duration_s))}%`;
const label = (point) => (point.names === null ? "?" : point.names.join(", ") || "silence");

// The point at or before the cursor.
function current() {
  let found = 0;
  points.forEach((point, k) => { if (point.second <= cursor + 1e-6) found = k; });
  return found;
}

function draw() {
  const now = current();
  at("segments").replaceChildren(...points.map((point, k) => {
    const end = k + 1 < points.length ? points[k + 1].second : shown.duration_s;
    const silent = point.names !== null && point.names.length === 0;
    const block = made("div", `segment${silent ? " silent" : ""}${k === now ? " now" : ""}`);
    block.style.left = share(point.second);
    block.style.width = share(end - point.second);
    block.append(made("span", "", label(point)));
    return block;
  }));
  at("points").replaceChildren(...points.map((point, k) => {
    const mark = made("div", `point${k === now ? " now" : ""}`);
    mark.style.left = share(point.second);
    return mark;
  }));
  at("head").style.left = share(cursor);
  at("names").replaceChildren(...names.map((name, k) => {
    const button = made("button", "", k < 9 ? `${k + 1} ${name}` : name);
    button.type = "button";
    button.setAttribute("aria-pressed", String((points[now].names || []).includes(name)));
    button.addEventListener("click", () => toggle(name));
    return button;
  }), field());
  at("readout").textContent =
    `${cursor.toFixed(2)} s of ${shown.duration_s.toFixed(2)} s; from ${points[now].second.toFixed(2)} s on: ${label(points[now])}`;
}

function field() {
  const input = made("input");
  input.id = "other";
  input.placeholder = "another name";
  input.setAttribute("aria-label", "Another name");
  input.addEventListener("keydown", (event) => {
    event.stopPropagation();
    const name = input.value.trim();
    if (event.key === "Escape") at("plot").focus();
    if (event.key !== "Enter" || !name) return;
    if (!names.includes(name)) names.push(name);
    toggle(name);
    at("plot").focus();
  });
  return input;
}

function save() {
  const body = JSON.stringify({
    seconds: points.map((point) => point.second),
    names: points.map((point) => point.names),
  });
  const clip = index;
  at("saved").textContent = "saving …";
  // One after the other, so that the last change is the one that stays.
  saving = saving.then(async () => {
    try {
      const answer = await fetch(`points/${clip}`, {
        method: "POST", body, headers: { "Content-Type": "application/json" },
      });
      const said = answer.ok ? "saved" : `NOT SAVED: ${await answer.text()}`;
      at("saved").textContent = said;
      if (answer.ok) at("clip").options[clip].textContent = `✓ ${data.clips[clip]}`;
    } catch (error) {
      at("saved").textContent = `NOT SAVED: ${error}`;
    }
  });
}

function changed() { draw(); save(); }

function toggle(name) {
  const point = points[current()];
  const before = point.names || [];
  point.names = before.includes(name) ? before.filter((other) => other !== name) : [...before, name];
  changed();
}

function setPoint() {
  const second = Math.round(cursor * 1000) / 1000;
  if (points.some((point) => Math.abs(point.second - second) < 0.01)) return;
  points.push({ second, names: null });
  points.sort((a, b) => a.second - b.second);
  changed();
}

function removePoint() {
  if (current() === 0) points[0].names = null;
  else points.splice(current(), 1);
  changed();
}

function move(second) {
  cursor = Math.min(shown.duration_s, Math.max(0, second));
  audio.currentTime = cursor;
  draw();
}

function jump(step) {
  const seconds = points.map((point) => point.second);
  const found = step < 0
    ? seconds.filter((second) => second < cursor - 0.01).pop()
    : seconds.find((second) => second > cursor + 0.01);
  if (found !== undefined) move(found);
}

async function open(k) {
  if (k < 0 || k >= data.clips.length) return;
  audio.pause();
  index = k;
  at("clip").value = String(k);
  const answer = await fetch(`clips/${k}`);
  if (!answer.ok) {
    at("saved").textContent = await answer.text();
    return;
  }
  const view = await answer.json();
  const sound = await (await fetch(`audio/${k}`)).blob();
  if (index !== k) return; // another clip was asked for meanwhile
  shown = view;
  points = shown.seconds.map((second, n) => ({ second, names: shown.names[n] }));
  points.forEach((point) => (point.names || []).forEach((name) => {
    if (!names.includes(name)) names.push(name);
  }));
  cursor = 0;
  at("spectrogram").src = shown.spectrogram;
  at("frames").replaceChildren(...shown.frames.map((source) => {
    const image = made("img");
    image.src = source;
    image.alt = "";
    return image;
  }));
  const path = shown.peaks.map(([low, high], n) => `M${(n + 0.5) / shown.peaks.length},${-high}V${-low}`);
  const wave = document.createElementNS("http://www.w3.org/2000/svg", "path");
  wave.setAttribute("d", path.join(""));
  wave.setAttribute("class", "curve");
  at("wave").replaceChildren(wave);
  // A blob can be sought in without ranges.
  if (audio.src) URL.revokeObjectURL(audio.src);
  audio.src = URL.createObjectURL(sound);
  at("saved").textContent = "";
  draw();
  at("plot").focus();
}

const KEYS = {
  " ": () => (audio.paused ? audio.play() : audio.pause()),
  Enter: setPoint,
  Delete: removePoint,
  Backspace: removePoint,
  "[": () => jump(-1),
  "]": () => jump(1),
  p: () => open(index - 1),
  f: () => open(index + 1),
  n: () => at("other").focus(),
  0: () => { points[current()].names = []; changed(); },
};

document.addEventListener("keydown", (event) => {
  if (!shown || event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.target.matches("button, select, input")) return;
  const step = event.shiftKey ? 1 : 0.1;
  if (event.key === "ArrowLeft") move(cursor - step);
  else if (event.key === "ArrowRight") move(cursor + step);
  else if (/^[1-9]$/.test(event.key) && names[event.key - 1]) toggle(names[event.key - 1]);
  else if (KEYS[event.key]) KEYS[event.key]();
  else return;
  event.preventDefault();
});

at("plot").addEventListener("click", (event) => {
  const box = at("plot").getBoundingClientRect();
  move(shown.duration_s * (event.clientX - box.left) / box.width);
});
at("previous").addEventListener("click", () => open(index - 1));
at("next").addEventListener("click", () => open(index + 1));
at("clip").addEventListener("change", () => open(Number(at("clip").value)));
at("clip").append(...data.clips.map((name, k) => {
  const option = made("option", "", data.done[k] ? `✓ ${name}` : name);
  option.value = String(k);
  return option;
}));

function follow() {
  if (shown && !audio.paused) {
    cursor = Math.min(audio.currentTime, shown.duration_s);
    draw();
  }
  requestAnimationFrame(follow);
}

follow();
open(Math.max(0, data.done.indexOf(false)));
