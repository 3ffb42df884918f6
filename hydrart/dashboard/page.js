"use strict";
// Show the last minutes as charts and the latest frame as numbers. This page's server sends all data. It also sends
// the list of readings (temperature, battery, ...) with their titles and units.
const LONGEST_S = 300; // the charts' time span
const [STALE_S, DEADLINES] = [3, 3]; // an older answer is out of date; in seconds, and in deadlines
const DEAD_S = 4; // after this silence the server counts as gone; it sends a sign of life each second
const [AGAIN_S, ASK_S] = [3, 5]; // pause between two connection attempts; longest wait for an answer
const [RATE_S, ANNOUNCE_S] = [3, 2];
const BLIND = { max_temp_c: "The temperature limit", until_h: "The goal of the battery" };
const byId = (id) => document.getElementById(id);
const points = [];
let switches = [];
let lastK = null;
let recent = [];
let dropped = 0;
let readings = [];
let run = null; // id of the server's run
let state = "";
let reason = ""; // of the state
let periodS = 0;
let answeredAt = null; // all times here are on the clock of performance.now()
let aliveAt = null;
let announcedAt = -Infinity;
let source = null;
let trouble = ""; // reason of a missing connection
let settings = null; // the settings in force
const touched = new Set(); // controls with unsent changes

const now = () => performance.now() / 1000;
// Older browsers lack AbortSignal.timeout and wait without a limit.
const patience = () => (AbortSignal.timeout ? { signal: AbortSignal.timeout(1000 * ASK_S) } : {});

function written(value, reading) {
  if (value === null || value === undefined) return "unknown";
  return `${(reading.factor * value).toFixed(reading.decimals)} ${reading.unit}`;
}

// Add a number and a chart for each reading.
function addReadings(rows) {
  const element = (name, properties) => Object.assign(document.createElement(name), properties);
  document.querySelectorAll(".reading").forEach((old) => old.remove());
  readings = rows.map((row) => ({ ...row, unit: row.unit === "C" ? "°C" : row.unit }));
  for (const reading of readings) {
    const [number, chart, canvas] = ["div", "figure", "canvas"].map((name) => document.createElement(name));
    number.className = chart.className = "reading";
    number.append(element("dt", { textContent: reading.title }));
    number.append(element("dd", { id: reading.name, textContent: "–" }));
    byId("numbers").append(number);
    Object.assign(canvas.dataset, { series: reading.name, factor: reading.factor });
    canvas.dataset.title = `${reading.title} in ${reading.unit}`;
    canvas.setAttribute("role", "img");
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

function showLine(line) {
  byId("name").textContent = line.label;
  byId("score").textContent = (100 * line.score).toFixed(0) + " %";
  byId("k").textContent = line.k;
  byId("why").textContent = line.why;
  const deadline = line.deadline_ms === null ? "" : " of " + line.deadline_ms.toFixed(0);
  byId("age").textContent = line.age_ms.toFixed(1) + deadline + " ms";
  byId("dropped").textContent = dropped;
  for (const reading of readings) byId(reading.name).textContent = written(line[reading.name], reading);
  const blind = line.blind.map((goal) => `${BLIND[goal]} cannot act: no sensor tells, or only one k may run.`);
  byId("blind").textContent = blind.join(" ");
  periodS = (line.deadline_ms ?? 0) / 1000;
  showSeen(line.seen);
}

// Darken the area outside the network's view.
function showSeen(seen) {
  const box = byId("seen");
  const whole = !seen || (seen[2] > 0.999 && seen[3] > 0.999);
  box.hidden = whole;
  if (whole) return;
  ["left", "top", "width", "height"].forEach((side, i) => (box.style[side] = 100 * seen[i] + "%"));
}

function showResult(line) {
  answeredAt = now();
  recent.push(answeredAt);
  dropped += line.dropped;
  showLine(line);
  if (lastK !== null && lastK !== line.k) {
    switches.push({ t: line.t_wall, from: lastK, to: line.k, reason: line.why });
    listSwitches();
  }
  lastK = line.k;
  addPoint({ ...line, t: line.t_wall });
  state = "running";
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

function text(seconds) {
  if (seconds < 60) return `${Math.round(seconds)} s`;
  return seconds < 3600 ? `${Math.round(seconds / 60)} min` : `${(seconds / 3600).toFixed(1)} h`;
}

// Update the parts that change with time, also without answers.
function tick() {
  const time = now();
  if (source && aliveAt !== null && time - aliveAt > DEAD_S && !trouble) trouble = "no connection";
  recent = recent.filter((at) => time - at < RATE_S);
  if (answeredAt !== null) byId("fps").textContent = (recent.length / RATE_S).toFixed(1);
  const age = answeredAt === null ? null : time - answeredAt;
  const stale = Boolean(trouble) || state !== "running" || age === null || age > Math.max(STALE_S, DEADLINES * periodS);
  document.body.classList.toggle("stale", stale);
  byId("state").textContent = trouble || state;
  byId("state").className = trouble ? "" : state;
  byId("since").textContent = !stale || trouble && age === null ? "" : age === null ? reason : `last answer ${text(age)} ago`;
  announce(stale);
  document.querySelectorAll("canvas").forEach(draw);
}

// Announce a new label to screen readers, but not faster than they can speak.
function announce(stale) {
  const said = stale ? `${trouble || state}, ${byId("since").textContent ? "no new answers" : "no answer yet"}`
    : byId("name").textContent;
  if (said === byId("said").textContent || now() - announcedAt < ANNOUNCE_S) return;
  announcedAt = now();
  byId("said").textContent = said;
}

// Untouched controls show the settings in force.
function showSettings(given) {
  settings = given;
  byId("title").textContent = given.title;
  const choice = byId("fix");
  const listed = [...choice.options].slice(1).map((option) => Number(option.value));
  if (listed.join() !== given.heads.join()) {
    choice.replaceChildren(choice.options[0], ...given.heads.map((k) => new Option(k, k)));
  }
  if (!touched.has("fix")) choice.value = given.fixed_k ?? "";
  if (!touched.has("limit")) byId("limit").value = given.own_max_temp_c ?? "";
  byId("limit").placeholder = given.default_max_temp_c ?? "–";
  const bounds = given.bounds.k ? ` (the run has ${given.bounds.k})` : "";
  const limit = given.max_temp_c === null ? "no limit" : `at most ${given.max_temp_c} °C`;
  const ceiling = given.bounds.max_temp_c === null ? "" : ` (the run has --max-temp ${given.bounds.max_temp_c})`;
  byId("force").textContent = `In force: k ${given.fixed_k ?? "by the governor"}${bounds}, ${limit}${ceiling}.`;
}

for (const id of ["fix", "limit"]) {
  byId(id).addEventListener("input", () => {
    touched.add(id);
    byId("answer").textContent = "";
  });
}

byId("controls").addEventListener("submit", async (event) => {
  event.preventDefault();
  const wanted = {};
  const number = (id) => (byId(id).value === "" ? null : Number(byId(id).value));
  if (number("fix") !== (settings?.fixed_k ?? null)) wanted.k = number("fix");
  if (number("limit") !== (settings?.own_max_temp_c ?? null)) wanted.max_temp_c = number("limit");
  if (!Object.keys(wanted).length) {
    touched.clear();
    byId("answer").textContent = "nothing changed";
    return;
  }
  const headers = { "Content-Type": "application/json" };
  byId("answer").textContent = "…";
  try {
    const asked = { method: "POST", headers, body: JSON.stringify(wanted), ...patience() };
    const answer = await fetch("control", asked);
    if (answer.ok) {
      touched.clear();
      showSettings(await answer.json());
    }
    byId("answer").textContent = answer.ok ? "set" : `not set: ${await answer.text()}`;
  } catch {
    byId("answer").textContent = "not set: the server does not answer";
  }
});

function begin(history) {
  if (run !== history.run) {
    touched.clear();
    addReadings(history.readings);
    dropped = 0;
    recent = [];
    ["name", "score"].forEach((id) => (byId(id).textContent = id === "name" ? "waiting" : ""));
    ["k", "why", "age", "fps", "dropped"].forEach((id) => (byId(id).textContent = "–"));
  }
  run = history.run;
  points.length = 0;
  history.points.forEach(addPoint);
  switches = history.switches;
  lastK = points.length ? points[points.length - 1].k : null;
  if (history.latest) showLine(history.latest);
  showSettings(history);
  showSign(history);
  listSwitches();
  byId("picture").src = `picture?${Date.now()}`; // the old stream of pictures may have ended
}

function showEvent(event) {
  [state, reason] = [event.state, event.reason];
  byId("state").title = reason;
}

function showSign(sign) {
  aliveAt = now();
  showEvent(sign);
  const silent = sign.last_result_s;
  answeredAt = silent === null ? null : Math.max(answeredAt ?? -Infinity, now() - silent);
}

function listen() {
  source = new EventSource("updates");
  source.onmessage = (message) => {
    const line = JSON.parse(message.data);
    aliveAt = now();
    trouble = "";
    if (line.event) showEvent(line.event);
    else showResult(line);
  };
  source.addEventListener("alive", (message) => {
    trouble = "";
    showSign(JSON.parse(message.data));
  });
  source.addEventListener("settings", (message) => showSettings(JSON.parse(message.data)));
  source.onerror = () => lose("no connection");
}

// Request all data again, because another run may have begun meanwhile.
function lose(why) {
  trouble = why;
  source?.close();
  source = null;
  setTimeout(connect, 1000 * AGAIN_S);
}

async function connect() {
  try {
    const answer = await fetch("history", patience());
    if (answer.status === 401) return lose("log in again: open the address that hydrart printed");
    if (!answer.ok) return lose(await answer.text());
    begin(await answer.json());
    trouble = "";
    listen();
  } catch {
    lose("no connection");
  }
}

setInterval(tick, 500);
connect();
