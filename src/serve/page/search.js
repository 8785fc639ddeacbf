// SPDX-License-Identifier: Apache-2.0
// Search while it is typed: the answer of the last key counts, earlier questions are called off.

import { get } from "./api.js";

const find = (id) => document.getElementById(id);

function resultOf(item, choose) {
  const entry = document.createElement("li"), button = document.createElement("button");
  const above = document.createElement("small");
  button.type = "button";
  button.textContent = item.name + (item.children === undefined ? "" : ` (${item.classes} classes)`);
  above.textContent = item.above.map((a) => a.name).join(" › ") || item.rank || "#" + item.node;
  button.append(above);
  button.addEventListener("click", () => choose(item.node));
  entry.append(button);
  return entry;
}

export function startSearch(choose, complain) {
  const input = find("search"), list = find("results"), found = find("found"), tree = find("tree");
  let waiting = null;

  function showTree() {
    list.hidden = true;
    tree.hidden = false;
    found.textContent = "";
    list.replaceChildren();
  }

  async function look() {
    waiting?.abort();
    const query = input.value.trim();
    if (!query)
      return showTree();
    waiting = new AbortController();
    try {
      const answer = await get("search", { q: query, count: 50 }, waiting.signal);
      list.replaceChildren(...answer.nodes.map((item) => resultOf(item, choose)));
      found.textContent = answer.total > answer.nodes.length
        ? `${answer.total} found, the best ${answer.nodes.length} are shown` : `${answer.total} found`;
      list.hidden = false;
      tree.hidden = true;
    } catch (error) {
      complain(error);
    }
  }

  input.addEventListener("input", look);
  input.addEventListener("keydown", (event) => {
    if (event.key === "Escape") {
      input.value = "";
      showTree();
    } else if (event.key === "ArrowDown") {
      (list.hidden ? tree : list.querySelector("button"))?.focus();
      event.preventDefault();
    }
  });
  list.addEventListener("keydown", (event) => {
    const buttons = [...list.querySelectorAll("button")], at = buttons.indexOf(document.activeElement);
    if (event.key === "ArrowDown")
      buttons[at + 1]?.focus();
    else if (event.key === "ArrowUp")
      (buttons[at - 1] ?? input).focus();
    else if (event.key === "Escape") {
      input.value = "";
      showTree();
      input.focus();
    } else
      return;
    event.preventDefault();
  });
}
