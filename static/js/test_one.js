/* Test One: a preview of the picture, dropping one on the form, snapshots as they come, and waiting for the answer. */

import { busy, h, role, setText } from "./dom.js";
import { mountDrop } from "./drop.js";
import { request } from "./requests.js";

const BETWEEN_LOOKS = 100;
// The server gives a test two minutes, and others may come first.
const TIMEOUT = 240_000;

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
    const tab = open("", "_blank");
    if (!tab) {
      // No tab may be opened from here; the form itself may.
      form.target = "_blank";
      return;
    }
    event.preventDefault();
    const done = busy(role(el, "submit"), "Testing…");
    const problem = await testIn(tab, form, picture);
    done();
    if (problem !== null) say(problem);
  });
}

/** Asks for the test and shows its page in `tab`. Answers null, or what went wrong in a sentence; the tab goes then. */
async function testIn(tab, form, picture) {
  tab.document.title = `Testing ${picture}…`;
  tab.document.body.textContent = `Testing ${picture}… Esc stops waiting.`;
  tab.document.addEventListener("keydown", (event) => event.key === "Escape" && tab.close());
  // This page asks, and not the tab: nobody is told when a tab is stopped, closed, or led elsewhere.
  const givenUp = new AbortController();
  const watch = setInterval(() => stillWaits(tab) || givenUp.abort(), BETWEEN_LOOKS);
  try {
    const signal = AbortSignal.any([givenUp.signal, AbortSignal.timeout(TIMEOUT)]);
    const page = await request(form.action, { method: "POST", body: new FormData(form), headers: { Accept: "text/html" }, signal });
    if (!stillWaits(tab)) return null;
    tab.document.open();
    tab.document.write(page);
    tab.document.close();
    return null;
  } catch (problem) {
    if (givenUp.signal.aborted) return null;
    if (problem.status === undefined) throw problem; // ours: a bug must be seen
    tab.close();
    return problem.message;
  } finally {
    clearInterval(watch);
  }
}

function stillWaits(tab) {
  try {
    return !tab.closed && tab.location.href === "about:blank";
  } catch (refused) {
    if (refused.name !== "SecurityError") throw refused;
    return false; // another site's page is in it
  }
}

/**
 * A snapshot became ready: first in the list, and chosen if the first of the list was. `words` say after how many epochs
 * it was taken.
 */
export function addSnapshot(el, epoch, words) {
  const select = role(el, "snapshots");
  const label = `Epoch #${words}`;
  const known = [...select.options].find((option) => Number(option.value) === epoch);
  if (known) return setText(known, label);
  const newestChosen = select.selectedIndex <= 0;
  const before = [...select.options].find((option) => Number(option.value) < epoch) ?? null;
  select.insertBefore(h("option", { value: epoch }, label), before);
  if (newestChosen) select.selectedIndex = 0;
  role(el, "no-snapshots").hidden = true;
  for (const control of [select, role(el, "submit")]) control.disabled = false;
}

/** Snapshots are gone. Where the chosen one is among them, the newest is chosen. */
export function removeSnapshots(el, epochs) {
  const select = role(el, "snapshots");
  for (const option of [...select.options]) if (epochs.includes(Number(option.value))) option.remove();
}
