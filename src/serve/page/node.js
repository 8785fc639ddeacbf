// SPDX-License-Identifier: Apache-2.0
// The node that was chosen: where it stands, and what is known of it.

import { get } from "./api.js";

const find = (id) => document.getElementById(id);

function showPath(answer, choose) {
  const steps = [{ node: -1, name: "All classes" }, ...answer.above];
  find("path").querySelector("ol").replaceChildren(...(answer.node === -1 ? [] : steps).map((step) => {
    const entry = document.createElement("li"), button = document.createElement("button");
    button.type = "button";
    button.textContent = step.name;
    button.addEventListener("click", () => choose(step.node));
    entry.append(button);
    return entry;
  }));
}

function factsOf(answer) {
  if (answer.children === undefined)
    return `Class #${answer.node}`;
  const rank = answer.rank ? `${answer.rank}, ` : "";
  return `${rank}${answer.classes} classes`;
}

// Fetches the node and shows it; the answer says where it stands in the tree.
export async function showNode(node, choose) {
  const answer = await get("tree", { node, count: 0 });
  showPath(answer, choose);
  find("name").textContent = node === -1 ? "All classes" : answer.name;
  find("facts").textContent = factsOf(answer);
  return answer;
}
