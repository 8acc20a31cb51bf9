/* Status badge, progress, times and cause of a job, kept up to date on its page. */

import { h, role, setText } from "./dom.js";
import { count, duration, fillTimes, interval, moment, timeOfDay } from "./format.js";

// What a person may do next with a job, the last of them always.
const GOES_ON = '[data-action="pause"], [data-action="resume"], [data-action="train-longer"], [data-action="delete"]';
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
  let towardLimit = 0;
  let running = page.dataset.running === "true";

  function showProgress(percent) {
    progress = percent;
    role(page, "progress").value = percent;
    setText(role(page, "percent"), `${Math.floor(percent)} %`);
    document.title = running && percent > 0 && percent < 100 ? `${Math.floor(percent)} % · ${title}` : title;
  }

  function showTimes() {
    const now = Date.now() / 1000;
    // Nobody knows how long it waits for what the remark says.
    const left = running && secondsLeft && !role(page, "remark").textContent ? secondsLeft.map((end) => Math.max(0, end - (now - secondsLeftAt))) : null;
    setText(role(page, "seconds-left"), interval(left));
    const since = badge.dataset.status === "Running" ? now - elapsedAt : 0;
    setText(role(page, "elapsed"), duration(elapsed === null ? null : elapsed + since));
    if (page.dataset.timeLimit) showTimeLimit(3600 * page.dataset.timeLimit, since);
  }

  /** Who goes on after an end has all of it again. */
  function showTimeLimit(limit, since) {
    const left = duration(Math.max(0, limit - towardLimit - since));
    setText(role(page, "time-limit"), WITH_END.has(badge.dataset.status) ? duration(limit) : `${left} of ${duration(limit)} left`);
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

  function showGone(sentence) {
    running = false;
    page.dataset.running = "false";
    document.title = title;
    badge.className = "status";
    setText(badge, "Gone");
    page.querySelector(".actions").hidden = true;
    setText(role(page, "gone"), sentence);
    role(page, "gone").hidden = false;
  }

  function applyStatus(status) {
    if (status.gone) return showGone(status.gone);
    // What it had reached is less of what it is to reach now.
    if (status.running && !running) showProgress(status.progress);
    running = status.running;
    page.dataset.running = String(running);
    badge.dataset.status = status.status;
    badge.className = `status status-${status.status.toLowerCase()}`;
    setText(badge, status.status);
    const focused = document.activeElement.closest(".changes button");
    for (const action of ["abort", "pause", "resume"]) role(page, action).hidden = !status[`can_${action}`];
    page.querySelector('[data-action="train-longer"]').hidden = !status.can_train_longer;
    for (const name of ["goes-on", "goes-on-longer"]) setText(role(page, name), status.goes_on ?? "");
    role(page, "goes-on").hidden = !status.can_resume;
    // Who paused with the keyboard finds Resume under it.
    if (focused?.closest("[hidden]")) [...page.querySelectorAll(GOES_ON)].find((button) => !button.closest("[hidden]")).focus();
    const failure = role(page, "failure");
    failure.hidden = !status.cause;
    setText(role(page, "cause"), status.cause ?? "");
    const line = role(page, "cause-line");
    line.hidden = !status.line;
    if (status.line) {
      line.replaceChildren(h("a", { href: `#line-${status.line}` }, `Line ${status.line} of the network`));
      // Which line it was, pasted code may have said: there need not be one.
      const source = document.getElementById(`line-${status.line}`);
      source?.classList.add("bad-line");
      if (source) source.closest("details").open = true;
    }
    setText(role(page, "remark"), status.remark ?? "");
    showContainment(status.containment);
    if (status.name) setText(role(page, "name"), status.name);
    [elapsed, elapsedAt, towardLimit] = [status.elapsed, Date.now() / 1000, status.seconds_toward_limit];
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
      list.append(h("li", { "data-level": event.level }, event.time && h("time", null, timeOfDay(event.time)), h("span", null, event.text)));
      while (list.children.length > 200) list.firstChild.remove();
    }
  }

  /** Something else tells that the job is at least as far. */
  const reached = (percent) => percent > progress && showProgress(Math.min(percent, 100));

  setInterval(() => running && showTimes(), 1000);
  showProgress(progress);
  return { applyStatus, applyEvent, reached };
}
