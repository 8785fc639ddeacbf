// SPDX-License-Identifier: Apache-2.0
// The node that was chosen: where it stands, what is known of it, and real pictures of it.

import { get } from "./api.js";
import { figure, load, release } from "./pictures.js";

const find = (id) => document.getElementById(id);
const some = 4; // of a class at first, so that drawn ones stand near them
let shown = 0; // which choice the answers belong to

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
  const real = answer.real === undefined ? "" : `, ${answer.real} real pictures`;
  if (answer.children === undefined)
    return `Class #${answer.node}${real}`;
  return `${answer.rank ? answer.rank + ", " : ""}${answer.classes} classes${real}`;
}

function showNumbers(answer) {
  find("numbers").replaceChildren(...Object.entries(answer.numbers).map(([name, value]) => {
    const pair = document.createElement("div"), term = document.createElement("dt");
    const number = document.createElement("dd");
    term.textContent = name;
    number.textContent = Number(value.toPrecision(5));
    pair.append(term, number);
    return pair;
  }));
}

// Of a class its pictures; of a group the first one of some of its classes.
function listReal(answer, first) {
  if (answer.children !== undefined)
    return first ? [] : answer.some.slice(0, 3 * some).map((node) => ({ node, picture: 0, caption: "#" + node }));
  const list = [];
  const end = Math.min(answer.real, first + (first ? 5 * some : some));
  for (let picture = first; picture < end; picture++)
    list.push({ node: answer.node, picture, caption: `${picture + 1} of ${answer.real}` });
  return list;
}

async function showReal(answer, first, complain) {
  const box = find("real-pictures"), mine = shown, more = find("real-more");
  find("real").hidden = !answer.real;
  if (!first) {
    release(box);
    box.replaceChildren();
  }
  const list = answer.real ? listReal(answer, first) : [];
  const next = first + list.length;
  more.hidden = answer.children !== undefined || next >= answer.real;
  more.onclick = () => showReal(answer, next, complain).catch(complain);
  for (const one of list) {
    const { element, image } = figure(`Real picture of ${answer.name}, ${one.caption}`, one.caption);
    try {
      await load(image, "real", { node: one.node, picture: one.picture });
    } catch (error) {
      if (error.code !== 404)
        throw error;
      continue; // a class without pictures
    }
    if (mine !== shown)
      return;
    box.append(element);
  }
}

// Fetches the node and shows it; the answer says where it stands in the tree.
export async function showNode(node, choose, complain) {
  const answer = await get("tree", { node, count: 0 });
  shown++;
  showPath(answer, choose);
  answer.name ||= "All classes";
  find("name").textContent = answer.name;
  find("facts").textContent = factsOf(answer);
  showNumbers(answer);
  showReal(answer, 0, complain).catch(complain);
  return answer;
}
