/* HTTP to our own server. What goes wrong comes back as an Error whose message is a sentence for the person. */

// Nothing of a healthy server takes so long, but for what gives its own time.
const TIMEOUT = 100_000;

export class RequestError extends Error {
  constructor(message, status, body) {
    super(message);
    this.status = status;
    this.body = body;
  }
}

function sentence(body, text, status) {
  const error = body?.error;
  if (typeof error === "string") return error;
  if (error?.message) return error.message;
  if (body?.errors) return Object.values(body.errors).flat().join(" ");
  // DIGITS's PUT and DELETE answer a bare sentence; a page has it in its place.
  const said = text.includes("<") ? new DOMParser().parseFromString(text, "text/html").querySelector(".error-page > .breakable")?.textContent : text;
  return said || `The server answered with status ${status}.`;
}

export async function request(url, options = {}) {
  let response;
  let text;
  try {
    // A server that was killed may leave a request without an end.
    response = await fetch(url, { signal: AbortSignal.timeout(TIMEOUT), ...options, headers: { Accept: "application/json", ...options.headers } });
    // It may break in the middle, too.
    text = await response.text();
  } catch (error) {
    if (error.name === "AbortError") throw error; // by whoever asked, who knows why
    throw new RequestError("The server does not answer. Is it still running?", 0, null);
  }
  let body = null;
  try {
    body = JSON.parse(text);
  } catch {
    // A bare sentence.
  }
  // The banner says so on every page, whatever the request was for.
  if (response.status === 401) dispatchEvent(new Event("loggedout"));
  if (!response.ok) throw new RequestError(sentence(body, text, response.status), response.status, body);
  return body ?? text;
}

/** Whether the same request may be answered another time: the server was away, or at fault. */
export const mayPass = (error) => error.status === 0 || error.status >= 500;

export const get = (url, options) => request(url, options);

/** Sends `fields` as a form would: an object, a FormData, or a list of pairs. */
export function send(method, url, fields = {}, options = {}) {
  const pairs = fields instanceof FormData || Array.isArray(fields) ? fields : Object.entries(fields);
  return request(url, { method, body: new URLSearchParams(pairs), ...options });
}
