// SPDX-License-Identifier: Apache-2.0
// Puts the parts of the page together.

import { get, hasToken, Refused } from "./api.js";
import { Tree } from "./tree.js";
import { startSearch } from "./search.js";
import { showNode } from "./node.js";
import { chooseForDrawing, startDrawing } from "./draw.js";
import { startRuns } from "./runs.js";

const find = (id) => document.getElementById(id);

function complain(error) {
  if (error.name === "AbortError")
    return;
  const notice = find("notice");
  notice.textContent = error instanceof Refused ? error.message : "The page itself failed: " + error.message;
  notice.hidden = false;
  if (!(error instanceof Refused))
    throw error;
}

async function choose(node, reveal) {
  try {
    const answer = await showNode(node, (other) => choose(other, true), complain);
    chooseForDrawing(answer);
    find("notice").hidden = true;
    if (reveal && node !== -1)
      await tree.reveal(answer.above, answer.place);
  } catch (error) {
    complain(error);
  }
}

const tree = new Tree(find("tree"), (node) => choose(node, false), complain);

async function start() {
  if (!hasToken())
    throw new Refused("Open the address that 'finediffusion serve' printed, with all that stands behind the #.", 401);
  const [info] = await Promise.all([get("info"), tree.start()]);
  const weights = info.deltas.length ? info.deltas.join(", ") + " over " + info.base : info.base;
  startDrawing(info, complain);
  startRuns(info, complain);
  find("model").textContent = `${info.model}: ${weights}; ${info.classes} classes`;
  document.title = weights + " · finediffusion";
  startSearch((node) => choose(node, true), complain);
  await choose(-1, false);
}

start().catch(complain);
