/* Rename, hide, abort, pause, resume, train longer and delete a job; edit its notes. */

import { deletionConfirmed } from "./deletion.js";
import { allow, busy, confirmed, role, setText } from "./dom.js";
import { WITH_END } from "./job_status.js";
import { get, send } from "./requests.js";

const BETWEEN_LOOKS = 200;

export function mount(el) {
  const { jobId } = el.dataset;
  const line = role(el, "name-line");
  const form = el.querySelector("form.rename");
  const error = role(el, "action-error");

  const editing = (on) => {
    line.hidden = on;
    form.hidden = !on;
    if (on) {
      form.elements.job_name.value = role(el, "name").textContent;
      form.elements.job_name.select();
    } else {
      line.querySelector("button").focus();
    }
  };
  const attempt = async (work) => {
    error.hidden = true;
    try {
      await work();
    } catch (problem) {
      setText(error, problem.message);
      error.hidden = false;
    }
  };

  el.querySelector('[data-action="rename"]').addEventListener("click", () => editing(true));
  el.querySelector('[data-action="cancel-rename"]').addEventListener("click", () => editing(false));
  form.addEventListener("keydown", (event) => event.key === "Escape" && editing(false));
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const name = form.elements.job_name.value.trim();
    attempt(async () => {
      if (!name) throw new Error("A job needs a name.");
      await send("PUT", `/jobs/${jobId}`, { job_name: name });
      for (const node of [role(el, "name"), role(el, "delete-name")]) setText(node, name);
      const here = document.querySelector('.breadcrumb [aria-current="page"]');
      setText(here, name);
      editing(false);
    });
  });
  const privacy = role(el, "private"); // where the page is its owner's
  privacy?.addEventListener("change", () => {
    const wanted = privacy.checked;
    // Of two that are under way the later one need not be the last.
    privacy.disabled = true;
    attempt(async () => {
      try {
        await send("PUT", `/jobs/${jobId}`, { private: wanted ? 1 : 0 });
      } catch (problem) {
        privacy.checked = !wanted;
        throw problem;
      } finally {
        privacy.disabled = false;
        if (document.activeElement === document.body) privacy.focus(); // it had it
      }
    });
  });
  role(el, "abort").addEventListener("submit", async (event) => {
    event.preventDefault();
    if (!(await confirmed(role(el, "confirm-abort")))) return;
    const done = busy(event.target.querySelector("button"), "Aborting…");
    // The form goes once the job has ended; till then it could be asked again.
    attempt(() => send("POST", `/jobs/${jobId}/abort`)).finally(done);
  });
  for (const [action, words] of [["pause", "Pausing…"], ["resume", "Resuming…"]]) {
    role(el, action).addEventListener("submit", (event) => {
      event.preventDefault();
      const done = busy(event.target.querySelector("button"), words);
      // The form goes once the job has stopped, or is in the queue.
      attempt(() => send("POST", `/jobs/${jobId}/${action}`)).finally(done);
    });
  }
  const longer = el.querySelector('[data-action="train-longer"]');
  const asked = role(el, "ask-longer");
  el.querySelector('[data-action="cancel-longer"]').addEventListener("click", () => asked.close());
  longer.addEventListener("click", async () => {
    if (!(await confirmed(asked))) return;
    const done = busy(longer, "Training…");
    attempt(() => send("POST", `/jobs/${jobId}/train-longer`, new FormData(asked.querySelector("form")))).finally(done);
  });
  const remove = el.querySelector('[data-action="delete"]');
  remove.addEventListener("click", () => attempt(async () => {
    allow(remove, false);
    const agreed = await deletionConfirmed(role(el, "confirm-delete"), [jobId]).finally(() => allow(remove, true));
    if (!agreed.length) return;
    const done = busy(remove, "Deleting…");
    try {
      if (el.closest("[data-running]").dataset.running === "true") await stop(jobId);
      await send("DELETE", `/jobs/${jobId}`);
    } catch (problem) {
      done();
      throw problem;
    }
    location.assign("/");
  }));
}

/**
 * Resolves once the job that is to be deleted has ended; the server kills it when it does not stop by itself. Where other
 * jobs read it, nothing is stopped.
 */
async function stop(jobId) {
  const hasEnded = async () => WITH_END.has((await get(`/jobs/${jobId}/status`)).status);
  try {
    await send("POST", `/jobs/${jobId}/abort`, { to_delete: 1 });
  } catch (problem) {
    // It may just have ended by itself.
    if (problem.status !== 403 || !(await hasEnded())) throw problem;
  }
  while (!(await hasEnded())) await new Promise((resolve) => setTimeout(resolve, BETWEEN_LOOKS));
}

export function mountNotes(el) {
  const text = role(el, "text");
  const form = role(el, "form");
  const edit = el.querySelector('[data-action="edit"]');
  const editing = (on) => {
    form.hidden = !on;
    text.hidden = on;
    edit.hidden = on;
    if (on) form.elements.job_notes.focus();
    else edit.focus();
  };
  edit.addEventListener("click", () => editing(true));
  el.querySelector('[data-action="cancel"]').addEventListener("click", () => {
    form.elements.job_notes.value = text.textContent;
    editing(false);
  });
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const notes = form.elements.job_notes.value.trim();
    try {
      await send("PUT", `/jobs/${el.dataset.jobId}`, { job_notes: notes });
      setText(text, notes);
      setText(role(el, "error"), "");
      editing(false);
    } catch (problem) {
      setText(role(el, "error"), problem.message);
    }
  });
}
