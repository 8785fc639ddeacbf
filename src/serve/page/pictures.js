// SPDX-License-Identifier: Apache-2.0
// Pictures: fetched with the token, so shown from memory (blob:), and let go when they are not shown any more.

import { ask } from "./api.js";

export async function pictureUrl(path, query, signal) {
  const response = await ask(path, { query, signal });
  return response.status === 204 ? null : URL.createObjectURL(await response.blob());
}

export function release(element) {
  for (const image of element.querySelectorAll("img"))
    if (image.src.startsWith("blob:"))
      URL.revokeObjectURL(image.src);
}

// Gives the image what the path answers; what was there before is let go.
export async function load(image, path, query) {
  const url = await pictureUrl(path, query);
  if (url === null)
    return false;
  if (image.src.startsWith("blob:"))
    URL.revokeObjectURL(image.src);
  image.src = url;
  image.decode().then(() => image.classList.toggle("large", image.naturalWidth > 144)).catch(() => {});
  return true;
}

export function figure(alt, caption) {
  const element = document.createElement("figure"), image = document.createElement("img");
  const text = document.createElement("figcaption");
  image.alt = alt;
  image.width = image.height = 144;
  text.textContent = caption;
  element.append(image, text);
  return { element, image, text };
}

export function button(label, title, act) {
  const element = document.createElement("button");
  element.type = "button";
  element.textContent = label;
  if (title)
    element.setAttribute("aria-label", title);
  element.addEventListener("click", act);
  return element;
}

// Saves what a path answers, under the name that the answer gives it.
export async function save(path, query, name) {
  const response = await ask(path, { query });
  const given = /filename="([\w.-]+)"/.exec(response.headers.get("Content-Disposition") ?? "");
  const link = document.createElement("a"), url = URL.createObjectURL(await response.blob());
  link.href = url;
  link.download = given ? given[1] : name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(url), 10000);
}
