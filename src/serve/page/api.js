// SPDX-License-Identifier: Apache-2.0
// The token, and what the server answers. It stands in the fragment of the address, which no server sees, and is
// kept for this tab alone.

const key = "token";

function takeToken() {
  const given = location.hash.slice(1);
  if (/^[\w-]{43}$/.test(given)) {
    sessionStorage.setItem(key, given);
    history.replaceState(null, "", location.pathname);
  }
  return sessionStorage.getItem(key);
}

const token = takeToken();

export class Refused extends Error {
  constructor(message, code) {
    super(message);
    this.code = code;
  }
}

// The response to GET, or to POST where there is a body; throws Refused with the server's words.
export async function ask(path, { query, body, signal } = {}) {
  const address = new URL("api/" + path, location.href);
  for (const [name, value] of Object.entries(query ?? {}))
    address.searchParams.set(name, value);
  const headers = { Authorization: "Bearer " + token };
  if (body !== undefined)
    headers["Content-Type"] = "application/json";
  let response;
  try {
    response = await fetch(address, { method: body === undefined ? "GET" : "POST", headers, signal,
      body: body === undefined ? undefined : JSON.stringify(body) });
  } catch (error) {
    if (error.name === "AbortError")
      throw error;
    throw new Refused("The program does not answer; is it still running?", 0);
  }
  if (!response.ok) {
    const said = await response.json().catch(() => ({}));
    throw new Refused(said.error || `The program answered ${response.status}`, response.status);
  }
  return response;
}

export async function get(path, query, signal) {
  return (await ask(path, { query, signal })).json();
}

export function hasToken() {
  return token !== null;
}
