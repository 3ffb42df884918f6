"use strict";
// The last minutes as charts, the latest frame as numbers. Everything comes from the server that sent this page; also
// the list of readings (temperature, battery, ...) with their titles and units.
const [SHORTEST_S, LONGEST_S] = [60, 300];
const byId = (id) => document.getElementById(id);
const points = [];
let switches = [];
let lastK = null;
let recent = [];
let dropped = 0;
let readings = [];

function written(value, reading) {
  if (value === null || value === undefined) return "unknown";
  return `${(reading.factor * value).toFixed(reading.decimals)} ${reading.unit}`;
}

// a number beside the others and a chart below them for each reading
function addReadings(rows) {
  const element = (name, properties) => Object.assign(document.createElement(name), properties);
  readings = rows.map((row) => ({ ...row, unit: row.unit === "C" ? "°C" : row.unit }));
  for (const reading of readings) {
    const [number, chart, canvas] = ["div", "figure", "canvas"].map((name) => document.createElement(name));
    number.append(element("dt", { textContent: reading.title }));
    number.append(element("dd", { id: reading.name, textContent: "–" }));
    byId("numbers").append(number);
    canvas.dataset.series = reading.name;
    canvas.dataset.factor = reading.factor;
    chart.append(element("figcaption", { textContent: `${reading.title}, ${reading.unit}` }), canvas);
    byId("curves").append(chart);
  }
}

function addPoint(point) {
  const last = points[points.length - 1];
  if (last && Math.floor(last.t) === Math.floor(point.t)) points.pop();
  points.push(point);
  while (points.length && points[0].t < point.t - LONGEST_S) points.shift();
}

function showState(state) {
  byId("state").textContent = state;
  byId("state").className = state;
}

function showResult(line) {
  const now = performance.now();
  recent.push(now);
  recent = recent.filter((at) => now - at < 3000);
  dropped += line.dropped;
  byId("name").textContent = line.label;
  byId("score").textContent = (100 * line.score).toFixed(0) + " %";
  byId("k").textContent = line.k;
  byId("why").textContent = line.why;
  const deadline = line.deadline_ms === null ? "" : " of " + line.deadline_ms.toFixed(0);
  byId("age").textContent = line.age_ms.toFixed(1) + deadline + " ms";
  byId("fps").textContent = (recent.length / 3).toFixed(1);
  byId("dropped").textContent = dropped;
  for (const reading of readings) byId(reading.name).textContent = written(line[reading.name], reading);
  if (lastK !== null && lastK !== line.k) {
    switches.push({ t: line.t_wall, from: lastK, to: line.k, reason: line.why });
    listSwitches();
  }
  lastK = line.k;
  addPoint({ ...line, t: line.t_wall });
  showState("running");
}

function listSwitches() {
  switches = switches.slice(-200);
  const rows = switches.slice(-50).reverse().map((change) => {
    const row = document.createElement("li");
    const time = new Date(1000 * change.t).toLocaleTimeString();
    row.textContent = `${time}  ${change.from} → ${change.to}  ${change.reason}`;
    return row;
  });
  byId("switches").replaceChildren(...rows);
}

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

function drawAll() {
  document.querySelectorAll("canvas").forEach(draw);
}

function showSettings(settings) {
  byId("title").textContent = settings.title;
  const choice = byId("fix");
  if (choice.options.length === 1) {
    for (const k of settings.heads) choice.add(new Option(k, k));
  }
  choice.value = settings.fixed_k === null ? "" : settings.fixed_k;
  byId("limit").value = settings.max_temp_c === null ? "" : settings.max_temp_c;
}

byId("controls").addEventListener("submit", async (event) => {
  event.preventDefault();
  const [k, limit] = [byId("fix").value, byId("limit").value];
  const wanted = { k: k === "" ? null : Number(k), max_temp_c: limit === "" ? null : Number(limit) };
  const headers = { "Content-Type": "application/json" };
  const answer = await fetch("control", { method: "POST", headers, body: JSON.stringify(wanted) });
  if (answer.ok) showSettings(await answer.json());
  byId("answer").textContent = answer.ok ? "set" : await answer.text();
});

async function start() {
  const history = await (await fetch("history")).json();
  addReadings(history.readings);
  showSettings(history);
  showState(history.state);
  history.points.forEach(addPoint);
  switches = history.switches;
  if (points.length) lastK = points[points.length - 1].k;
  listSwitches();
  const source = new EventSource("events");
  source.onmessage = (message) => {
    const line = JSON.parse(message.data);
    if (line.event) showState(line.event.state);
    else showResult(line);
  };
  source.onerror = () => showState("no connection");
  setInterval(drawAll, 500);
  drawAll();
}

start();
