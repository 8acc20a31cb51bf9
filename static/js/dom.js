/* Elements from data. Text is always text, never HTML. */

import { count } from "./format.js";

const SVG = "http://www.w3.org/2000/svg";

function fill(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes ?? {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else node.setAttribute(name, value === true ? "" : String(value));
  }
  node.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return node;
}

export const h = (tag, attributes, ...children) => fill(document.createElement(tag), attributes, children);
export const svg = (tag, attributes, ...children) => fill(document.createElementNS(SVG, tag), attributes, children);

/** The element of `el` with that `data-role`. */
export const role = (el, name) => el.querySelector(`[data-role="${name}"]`);

/** Set text only where it changes, so that selections and screen readers are left alone. */
export function setText(node, text) {
  if (node && node.textContent !== String(text)) node.textContent = String(text);
}

/** Call `work` at most once per frame, however often the returned function is called. */
export function oncePerFrame(work) {
  let asked = false;
  return () => {
    if (asked) return;
    asked = true;
    // A hidden tab gets no frames: draw when it is seen again, as the frame then comes.
    requestAnimationFrame(() => {
      asked = false;
      work();
    });
  };
}

/** Call `work` now, and then at most every `milliseconds`, the last call never lost. */
export function throttled(work, milliseconds) {
  let timer = null;
  let again = false;
  const run = () => {
    timer = setTimeout(() => {
      timer = null;
      if (again) {
        again = false;
        run();
      }
    }, milliseconds);
    work();
  };
  return () => {
    if (timer === null) run();
    else again = true;
  };
}

/** Call `work` when nothing has asked for it for `milliseconds`. */
export function debounced(work, milliseconds) {
  let timer = null;
  return (...args) => {
    clearTimeout(timer);
    timer = setTimeout(() => work(...args), milliseconds);
  };
}

/** Lets a button be pressed or not. It is not `disabled`, which would take the focus from who works with the keyboard. */
export function allow(button, on) {
  if (on) button.removeAttribute("aria-disabled");
  else button.setAttribute("aria-disabled", "true");
}

document.addEventListener("click", (event) => {
  if (!event.target.closest?.('button[aria-disabled="true"]')) return;
  event.preventDefault();
  event.stopImmediatePropagation();
}, true);

/** Says on a button that its work goes on, and keeps it from being pressed again. The answer puts it back as it was. */
export function busy(button, words) {
  const before = [...button.childNodes];
  button.replaceChildren(words);
  allow(button, false);
  button.setAttribute("aria-busy", "true");
  return () => {
    button.replaceChildren(...before);
    allow(button, true);
    button.removeAttribute("aria-busy");
  };
}

const SENTENCES_SHOWN = 5;

/** Shows sentences, of many the first ones, in an element that is hidden without any. */
export function showSentences(el, sentences) {
  const more = sentences.length - SENTENCES_SHOWN;
  el.hidden = sentences.length === 0;
  el.replaceChildren(...sentences.slice(0, SENTENCES_SHOWN).map((sentence) => h("p", null, sentence)), more > 0 ? h("p", null, `And ${count(more)} more.`) : "");
}

/** Opens a <dialog> and answers whether the person said yes. */
export function confirmed(dialog) {
  dialog.returnValue = "";
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => resolve(dialog.returnValue === "yes"), { once: true });
  });
}

/** What this browser was told to remember; null without an answer, or where storage is forbidden. */
export function remembered(key) {
  try {
    return localStorage.getItem(key);
  } catch {
    return null;
  }
}

export function remember(key, value) {
  try {
    localStorage.setItem(key, value);
  } catch {
    // The choice holds for this page only.
  }
}

/** The data that the server put into the page in a <script type="application/json">. */
export function embedded(el, name) {
  const script = el.querySelector(`script[data-role="${name}"]`);
  return script ? JSON.parse(script.textContent) : null;
}
