// SPDX-License-Identifier: Apache-2.0
// The form, and a card for each thing that was asked: one order, or several beside each other (deltas, scales of
// guidance). What happens to orders is told by the server.

import { ask, get } from "./api.js";
import { button, figure, load, release, save } from "./pictures.js";

const find = (id) => document.getElementById(id);
const most = 24; // cards that stay
const scales = [1, 1.5, 2, 3, 4, 6];
const open = new Set(["waits", "draws"]);

let complain, info, chosen = null;
const cells = new Map(); // by order

export function chooseForDrawing(answer) {
  chosen = answer;
  find("draw-title").textContent = "Draw " + answer.name;
}

// ---- one order

class Cell {
  constructor(card, caption, order) {
    this.card = card;
    this.order = order;
    this.figures = [];
    this.fetched = 0;
    this.element = document.createElement("div");
    this.element.className = "cell";
    const title = document.createElement("h5");
    title.textContent = caption;
    this.progress = document.createElement("progress");
    this.progress.max = 1;
    this.progress.value = 0;
    this.progress.setAttribute("aria-label", "Progress of " + (caption || card.title));
    this.state = document.createElement("span");
    this.cancel = button("Cancel", "Cancel " + (caption || card.title), () =>
      ask("cancel", { body: { order } }).catch(complain));
    this.bar = document.createElement("div");
    this.bar.className = "actions";
    this.bar.append(this.progress, this.state, this.cancel);
    this.pictures = document.createElement("div");
    this.pictures.className = "pictures";
    if (caption)
      this.element.append(title);
    this.element.append(this.bar, this.pictures);
    cells.set(order, this);
  }

  tell(told) {
    if (this.now && !open.has(this.now) && open.has(told.state))
      return; // older than what is known
    const drawing = told.state === "draws" && told.steps
      ? told.step / told.steps * Math.min(info.batch, told.pictures - told.done) : 0;
    this.progress.value = told.state === "done" ? 1 : Math.min(1, (told.done + drawing) / told.pictures);
    this.state.textContent = { waits: "waits",
      draws: `${told.done} of ${told.pictures}, step ${told.step} of ${told.steps}`,
      done: `${told.pictures} in ${told.seconds.toFixed(1)} s`, cancelled: "cancelled",
      failed: "failed: " + told.error }[told.state];
    this.cancel.hidden = this.progress.hidden = !open.has(told.state);
    this.now = told.state;
    if (told.done > this.fetched)
      this.refresh().catch(complain);
    if (told.state === "draws")
      this.look().catch(() => {});
    if (!open.has(told.state))
      this.card.ended(told);
  }

  // Fetches what is done and not here yet. One at a time: what is told meanwhile is looked at afterwards.
  async refresh() {
    if (this.busy)
      return;
    this.busy = true;
    try {
      this.answer = await get("order", { order: this.order });
      for (const [p, picture] of this.answer.list.entries()) {
        if (!picture.done || this.figures[p]?.done)
          continue;
        const one = this.place(p, picture);
        await load(one.image, "picture", { order: this.order, picture: p });
        one.image.alt = `Drawn: ${picture.class}, seed ${picture.seed}`;
        this.finish(one, p, picture);
      }
      this.fetched = this.answer.done;
    } finally {
      this.busy = false;
    }
  }

  place(p, picture) {
    if (!this.figures[p]) {
      const what = `${picture.class}, seed ${picture.seed}`, one = figure("Not drawn yet: " + what, what);
      this.figures[p] = one;
      let before = p - 1;
      while (before >= 0 && !this.figures[before])
        before--;
      if (before < 0)
        this.pictures.prepend(one.element);
      else
        this.figures[before].element.after(one.element);
    }
    return this.figures[p];
  }

  finish(one, p, picture) {
    one.done = true;
    const what = `${picture.class}, seed ${picture.seed}`;
    const bar = document.createElement("div"), query = { order: this.order, picture: p };
    bar.className = "actions";
    bar.append(
      button("Save", "Save " + what, () => save("picture", query, "picture.png").catch(complain)),
      button("More like this", "More like " + what, () => moreLike(this.answer, picture)));
    one.element.append(bar);
  }

  // The first picture that is being made, as it is now.
  async look() {
    if (this.looking || this.figures.some((one) => one?.done) && !this.answer)
      return;
    this.looking = true;
    try {
      this.answer ??= await get("order", { order: this.order });
      const p = this.answer.list.findIndex((picture, i) => !picture.done && !this.figures[i]?.done);
      if (p >= 0 && this.now === "draws") {
        const one = this.place(p, this.answer.list[p]);
        if (!one.done && await load(one.image, "preview", { order: this.order, picture: p }) && !one.done)
          one.image.alt = `In the making: ${this.answer.list[p].class}`;
      }
    } finally {
      setTimeout(() => { this.looking = false; }, 1000);
    }
  }
}

// A sheet has a hundred classes. Of those that have more, each click saves one sheet and says which is next: browsers ask
// before they take several files at once.
async function saveSheet(order, from, label, title) {
  const { sheets } = await get("order", { order }), page = Number(from.dataset.page ?? 0);
  await save("sheet", { order, page }, "sheet.png");
  const next = (page + 1) % sheets;
  from.dataset.page = next;
  if (sheets > 1) {
    from.textContent = `${label}, part ${next + 1} of ${sheets}`;
    from.setAttribute("aria-label", `${from.textContent}, of ${title}`);
    find("told").textContent = `Part ${page + 1} of ${sheets} is saved`;
  }
}

// ---- what was asked at once

class Card {
  constructor(title) {
    this.title = title;
    this.element = document.createElement("article");
    this.element.className = "card";
    const head = document.createElement("h4");
    head.textContent = title;
    this.row = document.createElement("div");
    this.row.className = "cells";
    this.foot = document.createElement("div");
    this.foot.className = "actions";
    this.cells = [];
    this.element.append(head, this.row, this.foot);
    this.foot.append(button("Show command", "Show the commands of " + title, (event) => this.showCommand(event.target)),
      button("Remove", "Remove " + title, () => this.remove()));
  }

  add(caption, told) {
    const cell = new Cell(this, caption, told.order);
    this.cells.push(cell);
    this.row.append(cell.element);
    cell.tell(told);
  }

  ended(told) {
    if (this.sheet || this.cells.some((cell) => cell.now !== "done"))
      return;
    this.sheet = true;
    this.cells.forEach((cell, i) => {
      const label = this.cells.length > 1 ? `Save sheet ${i + 1}` : "Save sheet";
      this.foot.append(button(label, `${label} of ${this.title}`, (event) =>
        saveSheet(cell.order, event.target, label, this.title).catch(complain)));
    });
    find("told").textContent = `${this.title}: ${told.state}`;
  }

  async showCommand(from) {
    try {
      const answers = await Promise.all(this.cells.map((cell) => get("order", { order: cell.order })));
      const area = this.area ??= document.createElement("textarea");
      area.className = "command";
      area.readOnly = true;
      area.setAttribute("aria-label", "Commands that draw the same");
      area.value = answers.map((answer) => answer.command).join("\n");
      this.foot.after(area);
      area.focus();
      area.select();
      from.setAttribute("aria-expanded", "true");
    } catch (error) {
      complain(error);
    }
  }

  remove() {
    for (const cell of this.cells) {
      cells.delete(cell.order);
      if (open.has(cell.now))
        ask("cancel", { body: { order: cell.order } }).catch(complain);
    }
    release(this.element);
    this.element.remove();
    find("drawn-title").focus?.();
  }
}

async function catchUp() {
  for (const told of (await get("orders")).orders)
    cells.get(told.order)?.tell(told);
}

// Orders `wanted`: pairs of a caption and the options that differ.
async function order(title, common, wanted) {
  const card = new Card(title);
  const told = [];
  for (const [caption, options] of wanted) {
    const body = { ...common, ...options };
    told.push([caption, await (await ask("draw", { body })).json()]);
  }
  for (const [caption, one] of told)
    card.add(caption, one);
  await catchUp(); // what was told before the cells were there
  find("drawn").prepend(card.element);
  const all = find("drawn").children;
  for (let i = all.length - 1; i >= most; i--) {
    release(all[i]);
    all[i].remove();
  }
  find("notice").hidden = true; // what was wrong before is not any more
  find("told").textContent = title + " is queued";
}

// What was ordered before the page was loaded, by it or a script.
async function restore() {
  const told = (await get("orders")).orders.slice(0, most / 2).reverse();
  for (const one of told) {
    const { options } = await get("order", { order: one.order });
    const card = new Card(`Order ${one.order}: ${options.classes}, seed ${options.seed ?? 0}`);
    card.add(info.deltas.length > 1 ? nameOf(one.delta) : "", one);
    find("drawn").prepend(card.element);
  }
}

// ---- the form

function nameOf(delta) {
  const names = info.deltas.map((path) => path.split("/").filter(Boolean));
  const own = names[delta];
  return own.length > 1 && /^delta\.safetensors$/.test(own.at(-1)) ? own.at(-2) : own.at(-1);
}

function options() {
  const form = new FormData(find("draw")), asked = { classes: chosen.select };
  for (const name of ["per-class", "seed", "guidance", "steps"])
    if (form.get(name) !== "")
      asked[name] = Number(form.get(name));
  for (const name of ["sampler", "guide"])
    if (form.get(name))
      asked[name] = form.get(name);
  return asked;
}

function deltas() {
  const value = find("draw").elements.delta.value;
  if (info.deltas.length < 2)
    return [["", {}]];
  const list = info.deltas.map((path, i) => [nameOf(i), { delta: i }]);
  return value === "all" ? list : [list[Number(value)]];
}

async function draw() {
  const asked = options();
  await order(`${chosen.name}: seed ${asked.seed ?? 0}, w ${asked.guidance ?? info.usual.guidance}, ` +
    `${asked.sampler} in ${asked.steps} steps`, asked, deltas());
}

async function drawStrip() {
  const asked = { ...options(), "per-class": 1 };
  const wanted = deltas().flatMap(([name, delta]) =>
    scales.map((w) => [name ? `${name}, w = ${w}` : `w = ${w}`, { ...delta, guidance: w }]));
  await order(`${chosen.name}: seed ${asked.seed ?? 0} over w`, asked, wanted);
}

// The same class and way with the seeds that follow.
async function moreLike(answer, picture) {
  const asked = { ...answer.options, classes: "#" + picture.node, "per-class": 8, seed: picture.seed + 1,
    delta: answer.delta };
  await order(`More like ${picture.class}, seed ${picture.seed}`, asked, [["", {}]]).catch(complain);
}

function fill(select, list) {
  select.replaceChildren(...list.map(([value, text]) => new Option(text, value)));
}

// What the server tells, for as long as the page is there.
async function follow() {
  for (;;) {
    try {
      const response = await ask("events");
      await catchUp();
      const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
      let rest = "";
      for (let got = await reader.read(); !got.done; got = await reader.read()) {
        const lines = (rest + got.value).split("\n");
        rest = lines.pop();
        for (const line of lines)
          if (line.startsWith("data: ")) {
            const told = JSON.parse(line.slice(6));
            cells.get(told.order)?.tell(told);
          }
      }
    } catch (error) {
      complain(error);
    }
    await new Promise((resolve) => setTimeout(resolve, 2000));
  }
}

export function startDrawing(given, onError) {
  info = given;
  complain = onError;
  const form = find("draw").elements;
  fill(form.sampler, info.samplers.map((name) => [name, name]));
  form.sampler.value = info.samplers.includes("ddim") ? "ddim" : info.usual.sampler;
  form.steps.value = form.sampler.value === info.usual.sampler ? info.usual.steps : 50;
  form.guidance.placeholder = info.usual.guidance;
  form.guide.placeholder = info.usual.guide;
  find("delta-label").hidden = info.deltas.length < 2;
  fill(form.delta, [["all", "all beside each other"], ...info.deltas.map((path, i) => [i, nameOf(i)])]);
  find("draw").addEventListener("submit", (event) => {
    event.preventDefault();
    draw().catch(complain);
  });
  find("strip").addEventListener("click", () => drawStrip().catch(complain));
  restore().catch(complain).finally(follow);
}
