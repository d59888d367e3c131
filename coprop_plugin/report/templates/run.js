// One clock, the video's: whatever moves is drawn from its current time.

const $ = (id) => document.getElementById(id);
const data = JSON.parse($("data").textContent);
const video = $("video");
const own = data.layers[0];
const timeline = new Timeline($("plot"), data);
const pictures = new Map(data.layers.map((layer) => [layer, new Map()]));
const PLAY = "M8 5v14l11-7z", PAUSE = "M7 5h4v14H7zM13 5h4v14h-4z";
let beside = null, shownPoint = null;

function openVideo() {
  const text = $("movie").textContent.trim();
  video.src = data.beside;
  if (text) {
    const bytes = Uint8Array.from(atob(text), (char) => char.charCodeAt(0));
    video.src = URL.createObjectURL(new Blob([bytes], { type: "video/mp4" }));
  }
  video.addEventListener("error", () => {
    $("failure").textContent = text
      ? "This browser cannot play the video (H.264 in mp4)."
      : `The video cannot be played: ${data.beside} must be in the same folder as this page.`;
    $("failure").hidden = false;
  });
}

// The last frame whose span has begun; -1 before the first and well after the last.
function frameAt(seconds) {
  const spans = data.spans, last = spans.length - 1;
  let low = 0, high = last;
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if (spans[middle][0] <= seconds + 1e-3) low = middle; else high = middle - 1;
  }
  const tail = spans[last][1] + (spans[last][1] - spans[last][0]) / 2;
  return seconds + 1e-3 < spans[0][0] || seconds >= tail ? -1 : low;
}

function pointAt(frame) { return data.points.findLastIndex((point) => point.frame <= frame); }

function picture(layer, frame) {
  const known = pictures.get(layer);
  if (!layer.masks[frame]) return null;
  if (!known.has(frame)) {
    const made = new Image();
    made.onload = () => { if (video.paused) render(); };
    made.src = layer.masks[frame];
    known.set(frame, made);
    if (known.size > 64) known.delete(known.keys().next().value);
  }
  const found = known.get(frame);
  return found.complete ? found : null;
}

function paint(canvas, layer, frame, withVideo) {
  const context = canvas.getContext("2d");
  context.clearRect(0, 0, canvas.width, canvas.height);
  if (withVideo && video.readyState >= 2) {
    context.drawImage(video, 0, 0, canvas.width, canvas.height);
  }
  if (frame < 0 || !$("showMasks").checked) return;
  const mask = picture(layer, frame);
  if (mask) context.drawImage(mask, 0, 0, canvas.width, canvas.height);
  for (let ahead = 1; ahead < 5; ahead += 1) picture(layer, frame + ahead);
}

function figures(layer, frame) {
  if (frame < 0) return "";
  const parts = [`${(100 * layer.areas[frame]).toFixed(1)} % of the frame`];
  if (layer.confidence.length) parts.push(`confidence ${layer.confidence[frame].toFixed(3)}`);
  if (layer.scores) parts.push(`IoU ${layer.scores[frame].toFixed(3)}`);
  return parts.join(" · ");
}

function place(frame) {
  const parts = [`frame ${frame}`], point = pointAt(frame);
  if (point >= 0) parts.push(`segment ${point + 1} of ${data.points.length}`);
  if (point >= 0 && data.points[point].frame === frame) parts.push("control point");
  if (data.silent && data.silent[frame]) parts.push("silent");
  return parts.join(" · ");
}

function render() {
  const seconds = video.currentTime, frame = frameAt(seconds), point = pointAt(frame);
  paint($("masks"), own, frame, false);
  if (beside) paint($("otherScreen"), beside, frame, !data.painted);
  timeline.show(seconds);
  showPoint(frame < 0 ? -1 : point);
  $("clock").textContent = `${seconds.toFixed(2)} / ${data.duration.toFixed(2)} s`;
  $("scrubber").value = seconds;
  const where = frame < 0 ? "no mask at this time" : place(frame);
  $("scrubber").setAttribute("aria-valuetext", `${seconds.toFixed(2)} seconds, ${where}`);
  $("readout").textContent = where;
  showClasses(frame);
  $("caption").textContent = figures(own, frame);
  if (beside) $("otherCaption").textContent = figures(beside, frame);
}

// Of the classes in the legend, those that sound in this frame stand out.
function showClasses(frame) {
  const sounding = own.classes[frame] || [];
  for (const entry of document.querySelectorAll(".legend li")) {
    entry.classList.toggle("now", sounding.includes(Number(entry.dataset.class)));
  }
}

function showPoint(point) {
  if (point === shownPoint) return;
  shownPoint = point;
  timeline.showSegment(point);
  for (const row of $("points").tBodies[0].rows) {
    row.classList.toggle("now", Number(row.dataset.point) === point);
  }
}

function renderWhilePlaying() {
  render();
  if (!video.paused && !video.ended) requestAnimationFrame(renderWhilePlaying);
}

function seek(seconds) { video.currentTime = Math.min(data.duration, Math.max(0, seconds)); }

// A little inside the frame, so that rounding does not land before it.
function goTo(frame) {
  const [start, end] = data.spans[Math.min(data.spans.length - 1, Math.max(0, frame))];
  seek(start + Math.min(0.002, (end - start) / 4));
  $("said").textContent = `${start.toFixed(2)} seconds, ${place(frameAt(video.currentTime))}`;
}

function step(by) { goTo(Math.max(0, frameAt(video.currentTime)) + by); }

function leap(by) {
  if (!data.points.length) return;
  const frame = frameAt(video.currentTime), point = pointAt(frame);
  // Back goes to the start of this segment first, as players do with tracks.
  const back = by < 0 && frame > data.points[point].frame;
  const target = Math.min(data.points.length - 1, Math.max(0, back ? point : point + by));
  goTo(data.points[target].frame);
}

function toggle() { if (video.paused) video.play(); else video.pause(); }

function compareWith(name) {
  beside = data.layers.find((layer) => layer.name === name) || null;
  $("other").hidden = !beside;
  $("stage").classList.toggle("two", Boolean(beside));
  if (beside) {
    $("otherDot").className = `dot ${beside.name}`;
    $("otherName").textContent = beside.title;
    $("otherScreen").setAttribute("aria-label", `The same frame with other masks: ${beside.title}`);
  }
  render();
}

function offerComparisons() {
  const others = data.layers.slice(1);
  $("compare").hidden = !others.length;
  for (const layer of [{ name: "", title: "Nothing" }, ...others]) {
    const label = $("chips").appendChild(element("label"));
    const radio = label.appendChild(element("input"));
    radio.type = "radio";
    radio.name = "beside";
    radio.value = layer.name;
    label.append(element("span", "", layer.title));
    radio.checked = others.length ? layer === others[0] : true;
    radio.addEventListener("change", () => compareWith(layer.name));
  }
  if (others.length) compareWith(others[0].name);
}

function nextComparison() {
  const radios = [...$("compare").querySelectorAll("input")];
  const chosen = radios[(radios.findIndex((radio) => radio.checked) + 1) % radios.length];
  chosen.checked = true;
  compareWith(chosen.value);
}

const KEYS = {
  " ": toggle,
  ArrowLeft: () => step(-1),
  ArrowRight: () => step(1),
  Home: () => goTo(0),
  End: () => goTo(data.spans.length - 1),
  p: () => leap(-1),
  n: () => leap(1),
  m: () => $("showMasks").click(),
  c: nextComparison,
};

function onKey(event) {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const { tagName, type } = event.target;
  const act = KEYS[event.key.length === 1 ? event.key.toLowerCase() : event.key];
  // Controls keep the keys that they use themselves.
  const presses = event.key === " " && (["BUTTON", "SUMMARY"].includes(tagName) || type === "checkbox");
  if (!act || presses || tagName === "SELECT" || type === "radio") return;
  event.preventDefault();
  act();
}

function listen() {
  for (const canvas of [$("masks"), $("otherScreen")]) [canvas.height, canvas.width] = data.size;
  video.addEventListener("play", () => {
    $("playIcon").setAttribute("d", PAUSE);
    $("play").setAttribute("aria-label", "Pause");
    requestAnimationFrame(renderWhilePlaying);
  });
  video.addEventListener("pause", () => {
    $("playIcon").setAttribute("d", PLAY);
    $("play").setAttribute("aria-label", "Play");
  });
  for (const name of ["loadeddata", "seeked", "pause", "ended"]) video.addEventListener(name, render);
  $("play").addEventListener("click", toggle);
  video.addEventListener("click", toggle);
  $("previous").addEventListener("click", () => leap(-1));
  $("next").addEventListener("click", () => leap(1));
  $("showMasks").addEventListener("change", render);
  $("sound").addEventListener("change", () => { video.muted = !$("sound").checked; });
  $("speed").addEventListener("change", () => { video.playbackRate = Number($("speed").value); });
  $("scrubber").max = timeline.length;
  $("scrubber").addEventListener("input", () => seek(Number($("scrubber").value)));
  document.addEventListener("keydown", onKey);
  $("points").addEventListener("click", (event) => {
    const row = event.target.closest("[data-seek]") && event.target.closest("tr");
    if (row) goTo(data.points[Number(row.dataset.point)].frame);
  });
}

function listenToPlot() {
  const plot = $("plot");
  plot.addEventListener("pointerdown", (event) => {
    plot.setPointerCapture(event.pointerId);
    seek(timeline.secondsAt(event.clientX));
  });
  plot.addEventListener("pointermove", (event) => {
    timeline.hover(timeline.secondsAt(event.clientX));
    if (event.buttons & 1) seek(timeline.secondsAt(event.clientX));
  });
  plot.addEventListener("pointerleave", () => timeline.hover(null));
}

function summarise() {
  const spoken = data.points.map((point, k) => {
    const state = point.silent ? "silent" : "sounding";
    return `segment ${k + 1} from ${point.start.toFixed(2)} to ${point.end.toFixed(2)} seconds, ${state}`;
  });
  $("summary").textContent = `${data.duration.toFixed(1)} seconds. ${spoken.join("; ")}`;
}

openVideo();
listen();
listenToPlot();
offerComparisons();
summarise();
if (data.painted) $("masksLabel").hidden = true;
render();
