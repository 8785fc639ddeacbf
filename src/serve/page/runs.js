// SPDX-License-Identifier: Apache-2.0
// Curves of runs: lines of their logs as they are written, one chart for each number, one line for each run.

import { ask, get } from "./api.js";
import { load } from "./pictures.js";

const find = (id) => document.getElementById(id);
const width = 640, height = 200, left = 56, bottom = 22, points = 600, every = 2000;
const svgSpace = "http://www.w3.org/2000/svg";
const first = ["loss", "val_loss", "lr", "images_per_second", "memory"];
// Numbers that are one thing: a chart for all of them, from 0 on, in bytes.
const together = { memory: { resident_bytes: "now", peak_bytes: "at the most", device_bytes: "on GPUs" } };
let runs = [], timer = null;

function take(run, line) {
  let entry;
  try {
    entry = JSON.parse(line);
  } catch {
    return; // a damaged line hides no other
  }
  const values = { ...entry, ...entry.eval };
  for (const [name, value] of Object.entries(values))
    if (typeof value === "number" && name !== "step" && name !== "seconds") {
      if (!run.series.has(name))
        run.series.set(name, []);
      run.series.get(name).push([entry.step, value]);
    }
}

async function readLog(run, i) {
  for (;;) {
    const text = await (await ask("log", { query: { run: i, from: run.from } })).text();
    if (!text)
      return;
    run.from += new TextEncoder().encode(text).length;
    for (const line of text.split("\n"))
      if (line)
        take(run, line);
  }
}

// At most so many points, each the mean of those that it stands for.
function thin(list) {
  const each = Math.max(1, Math.ceil(list.length / points)), out = [];
  for (let i = 0; i < list.length; i += each) {
    const part = list.slice(i, i + each);
    out.push([part.at(-1)[0], part.reduce((sum, p) => sum + p[1], 0) / part.length]);
  }
  return out;
}

function make(name, attributes, text) {
  const element = document.createElementNS(svgSpace, name);
  for (const [key, value] of Object.entries(attributes))
    element.setAttribute(key, value);
  if (text !== undefined)
    element.textContent = text;
  return element;
}

// So many digits that values a hundredth of the span apart differ.
function short(value, span = 0) {
  const digits = span > 0 && value ? Math.ceil(Math.log10(Math.abs(value) / span)) + 3 : 4;
  return String(Number(value.toPrecision(Math.min(9, Math.max(4, digits)))));
}

// As the program writes sizes.
function size(value) {
  const units = ["bytes", "KiB", "MiB", "GiB", "TiB"];
  const i = Math.max(0, Math.min(units.length - 1, Math.floor(Math.log2(Math.max(value, 1)) / 10)));
  return `${Number((value / 1024 ** i).toPrecision(3))} ${units[i]}`;
}

function chart(name, lines) {
  const text = name in together ? size : short;
  const all = lines.flatMap((line) => line.points);
  const xs = all.map((p) => p[0]), ys = all.map((p) => p[1]);
  const x0 = Math.min(...xs), x1 = Math.max(...xs, x0 + 1), y1 = Math.max(...ys);
  const y0 = name in together ? 0 : Math.min(...ys);
  const high = y1 > y0 ? y1 : y0 + (Math.abs(y0) || 1);
  const x = (value) => left + (value - x0) / (x1 - x0) * (width - left - 8);
  const y = (value) => 8 + (high - value) / (high - y0) * (height - bottom - 16);
  const last = lines.map((line) => `${line.name}: ${text(line.points.at(-1)[1], high - y0)} at step ${line.points.at(-1)[0]}`);
  const label = `${name}; ${last.join("; ")}`;
  const svg = make("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": label });
  for (const value of [y0, (y0 + high) / 2, high])
    svg.append(make("line", { x1: left, x2: width - 8, y1: y(value), y2: y(value) }),
      make("text", { x: left - 4, y: y(value) + 4, "text-anchor": "end" }, text(value, high - y0)));
  svg.append(make("text", { x: left, y: height - 6 }, "step " + x0),
    make("text", { x: width - 8, y: height - 6, "text-anchor": "end" }, x1));
  for (const line of lines)
    svg.append(make("polyline", { class: `c${line.run % 4} d${line.part}`,
      points: line.points.map((p) => `${x(p[0]).toFixed(1)},${y(p[1]).toFixed(1)}`).join(" ") }));
  const box = document.createElement("figure"), caption = document.createElement("figcaption");
  box.className = "chart";
  caption.textContent = `${name}: ${last.join("; ")}`;
  box.append(caption, svg);
  return box;
}

// What a chart shows of each run: [number of the log, what the line is called].
const parts = (name) => name in together ? Object.entries(together[name]) : [[name, ""]];

function draw() {
  const apart = Object.values(together).flatMap((group) => Object.keys(group));
  const known = runs.flatMap((run) => [...run.series.keys()]).filter((name) => !apart.includes(name));
  const charts = [];
  for (const name of new Set([...first, ...known])) {
    const lines = runs.flatMap((run, i) => parts(name).map(([key, word], part) =>
      ({ run: i, part, name: word ? `${run.run} ${word}` : run.run, points: thin(run.series.get(key) ?? []) })))
      .filter((line) => line.points.length);
    if (lines.length)
      charts.push(chart(name, lines));
  }
  find("curves").replaceChildren(...charts);
}

async function showPreviews(listed) {
  for (const [i, run] of listed.entries()) {
    const step = run.previews.at(-1);
    if (step === undefined || runs[i].preview === step)
      continue;
    const image = runs[i].image ??= document.createElement("img");
    image.alt = `Preview of ${run.run} at step ${step}`;
    await load(image, "run-preview", { run: i, step });
    runs[i].preview = step;
    find("previews").append(image);
  }
}

async function refresh(complain) {
  try {
    const listed = (await get("runs")).runs;
    if (runs.length !== listed.length)
      runs = listed.map((run) => ({ run: run.run, from: 0, series: new Map() }));
    for (const [i, run] of runs.entries())
      await readLog(run, i);
    draw();
    await showPreviews(listed);
  } catch (error) {
    complain(error);
  }
  if (!find("runs").hidden)
    timer = setTimeout(() => refresh(complain), every);
}

export function startRuns(info, complain) {
  const button = find("runs-button"), section = find("runs");
  button.hidden = !info.runs;
  button.addEventListener("click", () => {
    section.hidden = !section.hidden;
    button.setAttribute("aria-expanded", !section.hidden);
    clearTimeout(timer);
    if (!section.hidden) {
      refresh(complain);
      section.scrollIntoView();
    }
  });
}
