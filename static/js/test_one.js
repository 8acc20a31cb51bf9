/* Test One: a preview of the picture, dropping one on the form, snapshots as they come, and waiting for the answer. */

import { busy, h, role, setText } from "./dom.js";
import { mountDrop } from "./drop.js";

const BETWEEN_LOOKS = 100;

export function mount(el) {
  const form = el.querySelector("form");
  const { image_file: file, image_path: path } = form.elements;
  const preview = role(el, "preview");
  const error = role(el, "error");

  function showPreview() {
    if (preview.src) URL.revokeObjectURL(preview.src);
    const [chosen] = file.files;
    preview.hidden = !chosen;
    if (chosen) {
      preview.src = URL.createObjectURL(chosen);
      path.value = "";
    }
    error.hidden = true;
  }

  // A picture of a kind that browsers do not show may still be tested.
  preview.addEventListener("error", () => {
    preview.hidden = true;
  });
  mountDrop(role(el, "drop"), showPreview);
  path.addEventListener("input", () => {
    error.hidden = true;
    if (!path.value || !file.files.length) return;
    file.value = "";
    showPreview();
  });
  function say(problem) {
    setText(error, problem);
    error.hidden = false;
  }

  form.addEventListener("submit", async (event) => {
    const picture = file.files[0]?.name ?? path.value.trim();
    if (!picture) {
      event.preventDefault();
      say("Choose a picture, or name a path.");
      file.focus();
      return;
    }
    error.hidden = true;
    // A name of its own: each answer has a tab, and the tab can be looked at from here.
    form.target = `test-one-${Date.now()}`;
    const tab = open("", form.target);
    if (!tab) {
      // No tab may be opened from here; the form itself may.
      form.target = "_blank";
      return;
    }
    tab.document.title = tab.document.body.textContent = `Testing ${picture}…`;
    const done = busy(role(el, "submit"), "Testing…");
    const problem = await problemOf(tab);
    done();
    if (problem === null) return;
    tab.close();
    say(problem);
  });
}

/** Waits for what the server puts into the tab: null, or the sentence of a page that says what went wrong. */
function problemOf(tab) {
  return new Promise((resolve) => {
    const timer = setInterval(() => {
      const answer = lookAt(tab);
      if (answer === undefined) return;
      clearInterval(timer);
      resolve(answer);
    }, BETWEEN_LOOKS);
  });
}

/** What `problemOf` answers; undefined while there is nothing yet. */
function lookAt(tab) {
  if (tab.closed) return null;
  try {
    if (tab.location.href === "about:blank" || tab.document.readyState === "loading") return undefined;
    return tab.document.querySelector(".error-page > .breakable")?.textContent ?? null;
  } catch (refused) {
    if (refused.name !== "SecurityError") throw refused;
    // A page of the browser's own stands there, which says so in its words.
    return "The server does not answer. Is it still running?";
  }
}

/** A snapshot became ready: first in the list, and chosen if the first of the list was. */
export function addSnapshot(el, epoch) {
  const select = role(el, "snapshots");
  if ([...select.options].some((option) => Number(option.value) === epoch)) return;
  const newestChosen = select.selectedIndex <= 0;
  const before = [...select.options].find((option) => Number(option.value) < epoch) ?? null;
  select.insertBefore(h("option", { value: epoch }, `Epoch #${epoch}`), before);
  if (newestChosen) select.selectedIndex = 0;
  role(el, "no-snapshots").hidden = true;
  for (const control of [select, role(el, "submit")]) control.disabled = false;
}
