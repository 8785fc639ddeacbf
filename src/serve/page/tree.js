// SPDX-License-Identifier: Apache-2.0
// The tree: of any number of nodes the rows that can be seen are made, and parts of lists are fetched when they
// come into sight. Focus stays on the tree; the active row is named by aria-activedescendant.

import { get } from "./api.js";

const rowHeight = 32, page = 200;

function branch(item, parent, index) {
  return { item, parent, index, level: parent ? parent.level + 1 : 0, total: item.children ?? 0, open: false,
    rows: 0, children: new Map(), opened: [], pages: new Map() };
}

export class Tree {
  constructor(element, onChoose, complain) {
    this.element = element;
    this.onChoose = onChoose;
    this.complain = complain;
    this.root = null;
    this.active = 0;
    this.chosen = null;
    this.space = document.createElement("div");
    this.space.setAttribute("role", "none");
    element.append(this.space);
    element.addEventListener("scroll", () => this.drawSoon());
    element.addEventListener("keydown", (event) => this.onKey(event));
    element.addEventListener("click", (event) => this.onClick(event));
    element.addEventListener("focus", () => this.drawSoon());
    new ResizeObserver(() => this.drawSoon()).observe(element);
  }

  async start() {
    const answer = await get("tree", { node: -1, count: page });
    this.root = branch({ node: -1, name: "", children: answer.total }, null, 0);
    this.take(this.root, answer);
    this.root.open = true;
    this.root.rows = this.root.total;
    if (this.root.total === 1)
      await this.open(this.root.children.get(0));
    this.draw();
  }

  take(node, answer) {
    answer.nodes.forEach((item, i) => {
      const index = answer.first + i;
      if (!node.children.has(index))
        node.children.set(index, branch(item, node, index));
    });
  }

  // The page of the list that holds child `index`.
  fetchPage(node, index) {
    const number = Math.floor(index / page);
    if (!node.pages.has(number))
      node.pages.set(number, get("tree", { node: node.item.node, first: number * page, count: page })
        .then((answer) => { this.take(node, answer); this.drawSoon(); })
        .catch((error) => { node.pages.delete(number); throw error; }));
    return node.pages.get(number);
  }

  // Row k of what is below the node: the child's node, or where it will be.
  at(node, k) {
    let before = 0; // rows of opened children so far
    for (const child of node.opened) {
      const row = child.index + before;
      if (k <= row)
        break;
      if (k <= row + child.rows)
        return this.at(child, k - row - 1);
      before += child.rows;
    }
    const index = k - before;
    return { parent: node, index, node: node.children.get(index) };
  }

  // The row of a node, the other way.
  rowOf(node) {
    let row = 0;
    for (; node.parent; node = node.parent) {
      row += node.index;
      for (const sibling of node.parent.opened)
        if (sibling.index < node.index)
          row += sibling.rows;
      if (node.parent.parent)
        row++;
    }
    return row;
  }

  grow(node, rows) {
    for (let at = node; at && (at === node || at.open); at = at.parent)
      at.rows += rows;
  }

  async open(node) {
    if (!node.total || node.open)
      return;
    await this.fetchPage(node, 0);
    if (node.open)
      return;
    node.open = true;
    const opened = node.parent.opened;
    opened.push(node);
    opened.sort((a, b) => a.index - b.index);
    let rows = node.total;
    for (const child of node.opened)
      rows += child.rows;
    this.grow(node, rows);
    this.draw();
  }

  close(node) {
    if (!node.open)
      return;
    const rows = node.rows;
    this.grow(node, -rows);
    node.open = false;
    node.parent.opened = node.parent.opened.filter((child) => child !== node);
    this.draw();
  }

  // Opens what is above a node (as the server lists it, from the uppermost on) and chooses it.
  async reveal(above, place) {
    let at = this.root;
    for (const step of [...above.map((a) => a.place), place]) {
      await this.fetchPage(at, step);
      const child = at.children.get(step);
      if (!child)
        return;
      if (at.parent)
        await this.open(at);
      at = child;
    }
    this.chosen = at.item.node;
    this.moveTo(this.rowOf(at));
  }

  // A row may be reached before what stands in it has come.
  async whenThere(parent, index, act) {
    try {
      if (!parent.children.has(index))
        await this.fetchPage(parent, index);
      act(parent.children.get(index));
    } catch (error) {
      this.complain(error);
    }
  }

  choose(node) {
    this.chosen = node.item.node;
    this.onChoose(node.item.node);
    this.draw();
  }

  moveTo(row) {
    this.active = Math.max(0, Math.min(row, this.root.rows - 1));
    const top = this.active * rowHeight, view = this.element;
    if (top < view.scrollTop)
      view.scrollTop = top;
    else if (top + rowHeight > view.scrollTop + view.clientHeight)
      view.scrollTop = top + rowHeight - view.clientHeight;
    this.draw();
  }

  onKey(event) {
    if (!this.root || event.ctrlKey || event.altKey || event.metaKey)
      return;
    const { parent, index, node } = this.at(this.root, this.active);
    const many = Math.max(1, Math.floor(this.element.clientHeight / rowHeight) - 1);
    const moves = { ArrowDown: 1, ArrowUp: -1, PageDown: many, PageUp: -many, Home: -Infinity, End: Infinity };
    if (event.key in moves)
      this.moveTo(this.active + moves[event.key]);
    else if (event.key === "ArrowRight" && node?.open)
      this.moveTo(this.active + 1);
    else if (event.key === "ArrowRight")
      this.whenThere(parent, index, (there) => this.open(there).catch(this.complain));
    else if (event.key === "ArrowLeft" && node?.open)
      this.close(node);
    else if (event.key === "ArrowLeft" && parent.parent)
      this.moveTo(this.rowOf(parent));
    else if (event.key === "Enter" || event.key === " ")
      this.whenThere(parent, index, (there) => this.choose(there));
    else
      return;
    event.preventDefault();
  }

  onClick(event) {
    const row = event.target.closest(".row");
    if (!row)
      return;
    this.active = Number(row.dataset.row);
    const { node } = this.at(this.root, this.active);
    if (!node)
      return;
    if (event.target.closest(".mark") && node.total)
      node.open ? this.close(node) : this.open(node).catch(this.complain);
    else
      this.choose(node);
  }

  drawSoon() {
    this.frame ??= requestAnimationFrame(() => { this.frame = null; this.draw(); });
  }

  draw() {
    if (!this.root)
      return;
    const view = this.element, rows = this.root.rows;
    this.active = Math.max(0, Math.min(this.active, rows - 1));
    this.space.style.height = rows * rowHeight + "px";
    const first = Math.max(0, Math.floor(view.scrollTop / rowHeight) - 4);
    const last = Math.min(rows, Math.ceil((view.scrollTop + view.clientHeight) / rowHeight) + 4);
    const shown = [];
    for (let row = first; row < last; row++)
      shown.push(this.makeRow(row));
    this.space.replaceChildren(...shown);
    if (this.active >= first && this.active < last)
      view.setAttribute("aria-activedescendant", "row" + this.active);
    else
      view.removeAttribute("aria-activedescendant");
  }

  makeRow(row) {
    const { parent, index, node } = this.at(this.root, row);
    const element = document.createElement("div");
    element.className = row === this.active ? "row active" : "row";
    element.id = "row" + row;
    element.dataset.row = row;
    element.setAttribute("role", "treeitem");
    element.setAttribute("aria-level", parent.level + 1);
    element.setAttribute("aria-setsize", parent.total);
    element.setAttribute("aria-posinset", index + 1);
    element.setAttribute("aria-selected", node ? node.item.node === this.chosen : false);
    element.style.top = row * rowHeight + "px";
    element.style.paddingLeft = parent.level * 16 + "px";
    const mark = document.createElement("span"), label = document.createElement("span");
    mark.className = "mark";
    mark.setAttribute("aria-hidden", "true");
    label.className = "label";
    label.textContent = node ? node.item.name : "…";
    element.append(mark, label);
    if (!node) {
      this.fetchPage(parent, index).catch(() => {});
      return element;
    }
    if (node.total) {
      element.setAttribute("aria-expanded", node.open);
      mark.textContent = node.open ? "▾" : "▸";
      const count = document.createElement("span");
      count.className = "count";
      count.textContent = node.item.classes;
      count.title = node.item.classes + " classes";
      element.append(count);
    }
    return element;
  }
}
