/* Status badge, progress, times and cause of a job, kept up to date on its page. */

import { h, role, setText } from "./dom.js";
import { count, duration, fillTimes, interval, moment, timeOfDay } from "./format.js";

export const WITH_END = new Set(["Done", "Aborted", "Error"]);

/** Answers {applyStatus(status), applyEvent(event), reached(percent)}; events of other kinds are left to the page. */
export function jobStatus(page) {
  const badge = role(page, "status");
  const title = document.title;
  let progress = Number(role(page, "progress").value);
  let secondsLeft = null;
  let secondsLeftAt = 0;
  let elapsed = null;
  let elapsedAt = 0;
  let running = page.dataset.running === "true";

  function showProgress(percent) {
    progress = percent;
    role(page, "progress").value = percent;
    setText(role(page, "percent"), `${Math.floor(percent)} %`);
    document.title = running && percent > 0 && percent < 100 ? `${Math.floor(percent)} % · ${title}` : title;
  }

  function showTimes() {
    const now = Date.now() / 1000;
    const left = running && secondsLeft ? secondsLeft.map((end) => Math.max(0, end - (now - secondsLeftAt))) : null;
    setText(role(page, "seconds-left"), interval(left));
    const since = badge.dataset.status === "Running" ? now - elapsedAt : 0;
    setText(role(page, "elapsed"), duration(elapsed === null ? null : elapsed + since));
  }

  function showHistory(times) {
    const items = times.map(({ status, time }) => h("li", null, h("span", { class: `status status-${status.toLowerCase()}` }, status), h("time", { "data-time": time }, moment(time))));
    role(page, "history").replaceChildren(...items);
    fillTimes(role(page, "history"));
  }

  function showContainment(containment) {
    const panel = role(page, "containment");
    panel.hidden = !containment;
    if (!containment) return;
    panel.dataset.good = String(containment.is_good);
    setText(role(panel, "containment-title"), containment.title);
    setText(role(panel, "containment-of"), containment.of);
    const items = containment.protections.map(({ name, in_force: inForce, text }) => h("li", { "data-in-force": inForce ? "true" : "false" }, h("strong", null, name), ` ${text}`));
    role(panel, "protections").replaceChildren(...items);
  }

  function applyStatus(status) {
    if (status.deleted) return setText(badge, "Deleted");
    running = status.running;
    page.dataset.running = String(running);
    badge.dataset.status = status.status;
    badge.className = `status status-${status.status.toLowerCase()}`;
    setText(badge, status.status);
    for (const action of ["abort", "pause", "resume"]) role(page, action).hidden = !status[`can_${action}`];
    page.querySelector('[data-action="train-longer"]').hidden = !status.can_train_longer;
    const failure = role(page, "failure");
    failure.hidden = !status.cause;
    setText(role(page, "cause"), status.cause ?? "");
    const line = role(page, "cause-line");
    line.hidden = !status.line;
    if (status.line) {
      line.replaceChildren(h("a", { href: `#line-${status.line}` }, `Line ${status.line} of the network`));
      const source = document.getElementById(`line-${status.line}`);
      source.classList.add("bad-line");
      source.closest("details").open = true;
    }
    setText(role(page, "remark"), status.remark ?? "");
    showContainment(status.containment);
    if (status.name) setText(role(page, "name"), status.name);
    [elapsed, elapsedAt] = [status.elapsed, Date.now() / 1000];
    showHistory(status.times);
    if (status.status === "Done") showProgress(100);
    showTimes();
  }

  function applyEvent(event) {
    if (event.type === "progress") {
      showProgress(event.fraction * 100);
      secondsLeft = event.seconds_left ?? null;
      secondsLeftAt = event.time;
      setText(role(page, "phase"), event.phase ?? "–");
      const of = event.total ? ` of ${count(event.total)}` : "";
      if (event.done !== undefined) setText(role(page, "done"), `${count(event.done)}${of}`);
      showTimes();
    } else if (event.type === "message") {
      role(page, "messages").hidden = false;
      const list = role(page, "message-list");
      list.append(h("li", { "data-level": event.level }, h("time", null, timeOfDay(event.time)), h("span", null, event.text)));
      while (list.children.length > 200) list.firstChild.remove();
    }
  }

  /** Something else tells that the job is at least as far. */
  const reached = (percent) => percent > progress && showProgress(Math.min(percent, 100));

  setInterval(() => running && showTimes(), 1000);
  showProgress(progress);
  return { applyStatus, applyEvent, reached };
}
