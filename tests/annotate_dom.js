// A page without a browser: just what annotate.js uses of one. Presses keys, prints what is saved.
const fs = require("fs");

class Element {
  constructor(kind) {
    Object.assign(this, { kind, children: [], attributes: {}, style: {}, listeners: {} });
    Object.assign(this, { options: [], paused: true, currentTime: 0, value: "" });
  }
  append(...children) {
    this.children.push(...children);
    if (this.kind === "select") this.options.push(...children);
  }
  replaceChildren(...children) {
    this.children = children;
    children.forEach((child) => { if (child.id) elements[child.id] = child; });
  }
  setAttribute(name, value) { this.attributes[name] = value; }
  addEventListener(name, act) { (this.listeners[name] ??= []).push(act); }
  focus() {}
  pause() { this.paused = true; }
  play() { this.paused = false; }
  getBoundingClientRect() { return { left: 0, width: 100 }; }
}

const [script, ...keys] = process.argv.slice(2);
const elements = {};
const listeners = [];
const saved = [];
const view = { duration_s: 5, seconds: [0], names: [null], spectrogram: "", frames: [""], peaks: [[0, 1]] };
global.document = {
  getElementById: (id) => (elements[id] ??= new Element(id === "clip" ? "select" : "div")),
  createElement: (kind) => new Element(kind),
  createElementNS: (_, kind) => new Element(kind),
  addEventListener: (_, act) => listeners.push(act),
};
elements.data = new Element("script");
elements.data.textContent = JSON.stringify({ clips: ["a", "b"], done: [true, false], names: ["dog", "girl"] });
global.requestAnimationFrame = () => {};
URL.createObjectURL = () => "blob:";
URL.revokeObjectURL = () => {};
global.fetch = async (path, options) => {
  if (options) saved.push([path, JSON.parse(options.body)]);
  return { ok: true, text: async () => "", json: async () => view, blob: async () => ({}) };
};

function press(key) {
  if (key.startsWith("type:")) {
    const field = elements.names.children.find((child) => child.id === "other");
    field.value = key.slice(5);
    field.listeners.keydown[0]({ key: "Enter", stopPropagation() {} });
    return;
  }
  const shiftKey = key.startsWith("Shift+");
  const target = { matches: () => false };
  listeners[0]({ key: key.replace("Shift+", ""), shiftKey, target, preventDefault() {} });
}

const settled = () => new Promise((done) => setTimeout(done, 5));
(async () => {
  (0, eval)(fs.readFileSync(script, "utf8").replace('"use strict";', ""));
  await settled();
  keys.forEach(press);
  await settled();
  const shown = elements.segments.children.map((block) => block.children[0].textContent);
  console.log(JSON.stringify({ saved, shown, playing: !elements.audio.paused }));
})();
