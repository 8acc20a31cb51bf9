/* Selecting jobs, and doing something to all of them at once. */

import { deletionConfirmed } from "./deletion.js";
import { allow, confirmed, h, role, setText, showSentences } from "./dom.js";
import { count } from "./format.js";
import { get, send } from "./requests.js";

const NAMES_SHOWN = 7;
const PATIENCE = 10_000;
// So many at once that a person sees it go on.
const AT_ONCE = 50;

/** `state.picked` maps the ids that are selected in each table to names; `show` draws the page anew. */
export function mountSelection(el, state, show) {
  let lastPicked = null;
  const mark = (picked, rows, on) => {
    for (const row of rows) {
      if (row.may_change === false) continue; // another person's
      if (on) picked.set(row.id, row.name);
      else picked.delete(row.id);
    }
  };
  el.addEventListener("click", async (event) => {
    const table = event.target.closest?.("[data-table]")?.dataset.table;
    if (!table) return;
    const { rows } = state.tables[table];
    const picked = state.picked[table];
    const what = event.target.dataset?.role;
    if (what === "pick-page") {
      mark(picked, rows, event.target.checked);
    } else if (what === "pick") {
      const place = (id) => rows.findIndex((row) => row.id === id);
      const clicked = place(event.target.closest("tr").dataset.jobId);
      const from = event.shiftKey && place(lastPicked) >= 0 ? place(lastPicked) : clicked;
      mark(picked, rows.slice(Math.min(from, clicked), Math.max(from, clicked) + 1), event.target.checked);
      lastPicked = rows[clicked].id;
    } else if (what === "pick-matching") {
      const { filter } = state.tables[table];
      // They act on all of them, or on none.
      const section = event.target.closest("[data-table]");
      allowBulk(section, false);
      try {
        const { names } = await get(`/tables/${table}/names.json?${new URLSearchParams({ filter })}`, { signal: AbortSignal.timeout(PATIENCE) });
        // Somebody may want to see others by now, and what one does not see must not be deleted by accident.
        if (picked.size && filter === (state.query.get("filter") ?? "")) mark(picked, names, true);
      } catch (problem) {
        showFaults(role(el, "error"), [problem.message]);
      } finally {
        allowBulk(section, true);
      }
    } else if (what === "pick-none") {
      picked.clear();
    } else {
      return;
    }
    show();
  });
}

/** Lets the buttons for what is selected in a table be pressed or not. */
function allowBulk(section, on) {
  for (const button of section.querySelectorAll("[data-role=bulk] button")) allow(button, on);
}

/** `load` reads the tables again. */
export function mountBulk(el, state, load) {
  el.addEventListener("click", async (event) => {
    const action = event.target.dataset?.bulk;
    if (!action) return;
    const section = event.target.closest("[data-table]");
    const picked = state.picked[section.dataset.table];
    allowBulk(section, false);
    let agreed = [];
    try {
      agreed = await confirmBulk(el, action, picked);
    } catch (problem) {
      if (problem.status === undefined) throw problem; // ours: a bug must be seen
      showFaults(role(el, "error"), [problem.message]);
    }
    if (!agreed.length) {
      allowBulk(section, true);
      return;
    }
    const faults = await actOnAll(action, agreed, picked, (done, all) => {
      setText(role(section, "selected"), `${action === "delete" ? "Deleting" : "Aborting"}… ${count(done)} of ${count(all)}`);
    });
    allowBulk(section, true);
    showFaults(role(el, "error"), faults);
    await load();
    // The button that was pressed is gone with the selection.
    if (document.activeElement === document.body) role(section, "pick-page").focus();
  });
}

/** Answers what could not be done, in sentences. What was done is selected no more. */
async function actOnAll(action, agreed, picked, told) {
  // The newest first: ids begin with their time, and models go before the datasets that they read.
  const ids = agreed.sort().reverse();
  const faults = [];
  for (let done = 0; done < ids.length; done += AT_ONCE) {
    told(done, ids.length);
    const some = ids.slice(done, done + AT_ONCE);
    const fields = some.map((id) => ["job_ids[]", id]);
    try {
      await (action === "delete" ? send("DELETE", "/jobs", fields) : send("POST", "/abort_jobs", fields));
    } catch (problem) {
      faults.push(...(problem.body?.faults ?? [problem.message]));
      if (!problem.status) break; // Nobody answers any more.
    }
    for (const id of some) picked.delete(id);
  }
  return faults;
}

function showFaults(error, faults) {
  showSentences(error, faults);
  if (faults.length) error.scrollIntoView({ block: "nearest" });
}

/** Answers the ids of those jobs with which it is to be done. */
async function confirmBulk(el, action, picked) {
  const dialog = role(el, `confirm-${action}`);
  const names = [...picked.values()];
  const what = `${count(names.length)} job${names.length === 1 ? "" : "s"}`;
  const more = names.length - NAMES_SHOWN;
  setText(role(dialog, "confirm-title"), action === "delete" ? `Delete ${what}?` : `Abort ${what}?`);
  role(dialog, "confirm-names").replaceChildren(...names.slice(0, NAMES_SHOWN).map((name) => h("li", null, name)), more > 0 ? h("li", { class: "more" }, `and ${count(more)} more`) : "");
  const ids = [...picked.keys()];
  if (action === "delete") return deletionConfirmed(dialog, ids);
  return (await confirmed(dialog)) ? ids : [];
}
