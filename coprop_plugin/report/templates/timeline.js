"use strict";
// The lanes under the video: everything that has a time, on one axis.

function element(kind, name, text) {
  const made = document.createElement(kind);
  if (name) made.className = name;
  if (text !== undefined) made.textContent = text;
  return made;
}

class Timeline {
  constructor(root, data) {
    this.root = root;
    this.data = data;
    this.length = Math.max(data.duration, data.spans[data.spans.length - 1][1]);
    this.drawSegments();
    this.drawSound();
    this.drawAreas();
    this.drawCurves("Confidence", "confidence");
    this.drawCurves("IoU", "scores");
    this.drawAxis();
    this.drawBands();
    this.pointer = root.appendChild(element("div", "pointer"));
    this.pointer.hidden = true;
    this.pointerTime = this.pointer.appendChild(element("span"));
    this.head = root.appendChild(element("div", "head"));
  }

  percent(seconds) { return `${Math.min(100, Math.max(0, 100 * seconds / this.length))}%`; }

  secondsAt(clientX) {
    const box = this.root.getBoundingClientRect();
    return Math.min(1, Math.max(0, (clientX - box.left) / box.width)) * this.length;
  }

  show(seconds) { this.head.style.left = this.percent(seconds); }

  showSegment(point) {
    this.segments.forEach((segment, k) => segment.classList.toggle("now", k === point));
  }

  hover(seconds) {
    this.pointer.hidden = seconds === null;
    if (seconds === null) return;
    this.pointer.style.left = this.percent(seconds);
    this.pointerTime.textContent = `${seconds.toFixed(2)} s`;
  }

  lane(kind, label, note) {
    const lane = this.root.appendChild(element("div", `lane ${kind}`));
    const text = lane.appendChild(element("span", "label", label));
    if (note) text.append(" ", element("small", "", note));
    return lane;
  }

  drawSegments() {
    const lane = this.lane("segments", "Segments");
    this.segments = this.data.points.map((point, k) => {
      const box = lane.appendChild(element("div", "segment"));
      box.append(element("span", "", point.silent ? `${k + 1} silent` : `${k + 1}`));
      box.classList.toggle("silent", point.silent);
      box.style.left = this.percent(point.start);
      box.style.width = this.percent(point.end - point.start);
      return box;
    });
    if (!this.segments.length) lane.remove();
  }

  drawSound() {
    const wave = this.data.wave, share = this.data.sound / this.length;
    const at = (k) => (1000 * share * (k + 0.5) / wave.length).toFixed(2);
    const above = wave.map((pair, k) => `L${at(k)} ${(50 - 48 * pair[1]).toFixed(2)}`);
    const below = wave.map((pair, k) => `L${at(k)} ${(50 - 48 * pair[0]).toFixed(2)}`);
    const path = `M0 50${above.join("")}L${1000 * share} 50${below.reverse().join("")}Z`;
    this.draw(this.lane("", "Waveform"), [["wave", path]]);
    const lane = this.lane("spectrogram", "Spectrogram", "mel, 0.1–7.5 kHz");
    if (!this.data.spectrogram) return;
    const picture = lane.appendChild(new Image());
    picture.alt = "";
    picture.src = this.data.spectrogram;
    picture.style.width = this.percent(this.data.sound);
  }

  drawAreas() {
    const layers = this.data.layers;
    const most = Math.max(0.001, ...layers.flatMap((layer) => layer.areas));
    const lane = this.lane("", "Area", `0–${(100 * most).toFixed(most < 0.1 ? 1 : 0)} %`);
    const paths = layers.map((layer) => [
      `curve ${layer.name}`, this.steps(layer.areas.map((area) => area / most)),
    ]);
    const [start, end] = [this.data.spans[0][0], this.data.spans[this.data.spans.length - 1][1]];
    const filled = `${paths[0][1]}L${this.x(end)} 100L${this.x(start)} 100Z`;
    this.draw(lane, [["area", filled], ...paths.slice(1), paths[0]]);
  }

  drawCurves(title, field) {
    const layers = this.data.layers.filter((layer) => layer[field] && layer[field].length);
    if (!layers.length) return;
    const least = Math.min(...layers.flatMap((layer) => layer[field]));
    const floor = least >= 0.5 ? 0.5 : 0;
    const paths = layers.map((layer) => [
      `curve ${layer.name}`,
      this.steps(layer[field].map((value) => (value - floor) / (1 - floor))),
    ]);
    this.draw(this.lane("", title, `${floor}–1`), paths.reverse());
  }

  x(seconds) { return (1000 * Math.min(1, seconds / this.length)).toFixed(2); }

  steps(values) {
    return values.map((value, t) => {
      const [start, end] = this.data.spans[t], y = (96 - 92 * value).toFixed(2);
      return `${t ? "L" : "M"}${this.x(start)} ${y}L${this.x(end)} ${y}`;
    }).join("");
  }

  draw(lane, paths) {
    const space = "http://www.w3.org/2000/svg";
    const svg = document.createElementNS(space, "svg");
    svg.setAttribute("viewBox", "0 0 1000 100");
    svg.setAttribute("preserveAspectRatio", "none");
    for (const [name, d] of paths) {
      const path = svg.appendChild(document.createElementNS(space, "path"));
      path.setAttribute("class", name);
      path.setAttribute("d", d);
    }
    lane.append(svg);
  }

  drawAxis() {
    const lane = this.root.appendChild(element("div", "lane axis"));
    const steps = [0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60, 120, 300, 600, 1800, 3600];
    const step = steps.find((s) => this.length / s <= 8) || 7200;
    for (let k = 0; k * step <= this.length * 0.97; k += 1) {
      const tick = lane.appendChild(element("span", "", `${+(k * step).toFixed(1)} s`));
      tick.style.left = this.percent(k * step);
    }
  }

  drawBands() {
    this.data.points.slice(1).forEach((point) => {
      this.root.appendChild(element("div", "mark")).style.left = this.percent(point.start);
    });
    const silent = this.data.silent || [];
    silent.forEach((flag, t) => {
      if (!flag || silent[t - 1]) return;
      let last = t;
      while (silent[last + 1]) last += 1;
      const [start, end] = [this.data.spans[t][0], this.data.spans[last][1]];
      const band = this.root.appendChild(element("div", "band"));
      band.style.left = this.percent(start);
      band.style.width = this.percent(end - start);
    });
  }
}
