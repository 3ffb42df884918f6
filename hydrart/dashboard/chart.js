"use strict";
// A chart of the points of page.js on a canvas, and its name for screen readers.
const [SHORTEST_S, WORDS_S] = [60, 5];

function draw(canvas) {
  const style = getComputedStyle(document.documentElement);
  const colour = (name) => style.getPropertyValue(name);
  const scale = window.devicePixelRatio || 1;
  const [width, height] = [canvas.clientWidth, canvas.clientHeight];
  if (canvas.width !== Math.round(width * scale)) canvas.width = Math.round(width * scale);
  if (canvas.height !== Math.round(height * scale)) canvas.height = Math.round(height * scale);
  const pen = canvas.getContext("2d");
  pen.setTransform(scale, 0, 0, scale, 0, 0);
  pen.clearRect(0, 0, width, height);
  pen.font = "11px system-ui, sans-serif";
  const names = canvas.dataset.series.split(" ");
  const factor = Number(canvas.dataset.factor ?? 1);
  const known = names.flatMap((name) => points.map((point) => point[name])).filter((value) => value !== null);
  canvas.classList.toggle("unknown", !known.length);
  nameIt(canvas, factor);
  pen.fillStyle = colour("--dim");
  if (!known.length) {
    pen.fillText("unknown", 4, height / 2);
    return;
  }
  let [low, high] = [Math.min(...known) * factor, Math.max(...known) * factor];
  const margin = Math.max((high - low) * 0.1, 0.5);
  [low, high] = [low - margin, high + margin];
  const end = points[points.length - 1].t;
  const span = Math.min(Math.max(end - points[0].t, SHORTEST_S), LONGEST_S);
  const left = 34;
  const x = (t) => left + (width - left - 4) * (1 - (end - t) / span);
  const y = (value) => 4 + (height - 18) * (1 - (value * factor - low) / (high - low));
  pen.strokeStyle = colour("--grid");
  for (const value of [low + margin, high - margin]) {
    pen.beginPath();
    pen.moveTo(left, y(value / factor));
    pen.lineTo(width, y(value / factor));
    pen.stroke();
    pen.fillText(value.toFixed(high - low < 10 ? 1 : 0), 0, y(value / factor) + 4);
  }
  for (let minute = 0; minute <= span / 60; minute++) {
    const place = Math.max(left, Math.min(x(end - 60 * minute) - 14, width - 24));
    pen.fillText(minute ? `-${minute} min` : "now", place, height - 1);
  }
  pen.strokeStyle = colour("--mark");
  pen.setLineDash([2, 3]);
  for (const change of switches) {
    if (change.t < end - span) continue;
    pen.beginPath();
    pen.moveTo(x(change.t), 4);
    pen.lineTo(x(change.t), height - 14);
    pen.stroke();
  }
  pen.setLineDash([]);
  names.forEach((name, index) => {
    pen.strokeStyle = colour(index ? "--second" : "--line");
    pen.lineWidth = 1.5;
    pen.beginPath();
    let previous = null;
    for (const point of points) {
      if (point[name] === null) {
        previous = null;
        continue;
      }
      if (previous === null) pen.moveTo(x(point.t), y(point[name]));
      else {
        if (name === "k") pen.lineTo(x(point.t), y(previous));
        pen.lineTo(x(point.t), y(point[name]));
      }
      previous = point[name];
    }
    pen.stroke();
    pen.lineWidth = 1;
  });
}

// Describe the chart in words from time to time.
function nameIt(canvas, factor) {
  const named = Number(canvas.dataset.named ?? -WORDS_S);
  if (canvas.hasAttribute("aria-label") && now() - named < WORDS_S) return;
  canvas.dataset.named = now();
  const name = canvas.dataset.series.split(" ")[0];
  const values = points.map((point) => point[name]).filter((value) => value !== null && value !== undefined);
  const number = (value) => Number((factor * value).toFixed(1));
  const words = values.length
    ? `${number(values[values.length - 1])} now, ${number(Math.min(...values))} to ${number(Math.max(...values))}`
    : "unknown";
  canvas.setAttribute("aria-label", `chart of the last minutes, ${canvas.dataset.title}: ${words}`);
}
