/* The end of a job's log, read on as it grows. */

import { role, throttled } from "./dom.js";
import { get } from "./requests.js";

const KEPT = 256 * 1024;

export function mount(el) {
  const pre = role(el, "text");
  const follow = role(el, "follow");
  let offset = null;
  let busy = false;
  let again = false;

  async function read() {
    if (busy) {
      again = true;
      return;
    }
    busy = true;
    again = false;
    try {
      // Without an offset the server answers the end of the log.
      const answer = await get(`/jobs/${el.dataset.jobId}/log${offset === null ? "" : `?since=${offset}`}`);
      // A log that grew too long was cut, and begins anew at its end.
      if (offset !== null && answer.size < offset) pre.textContent = "";
      append(answer.text);
      offset = answer.next;
      again ||= answer.next < answer.size && answer.text !== "";
    } catch {
      again = false; // The connection banner says it; the next event asks again.
    } finally {
      busy = false;
    }
    // The last word of a job is told once.
    if (again) read();
  }

  function append(text) {
    if (!text) return;
    if (pre.textContent.length + text.length > KEPT) pre.textContent = pre.textContent.slice(-KEPT / 2) + text;
    else pre.append(text);
    if (follow.checked) pre.scrollTop = pre.scrollHeight;
  }

  // Reading back in the log means not wanting to be carried to its end.
  pre.addEventListener("wheel", (event) => event.deltaY < 0 && (follow.checked = false), { passive: true });
  follow.addEventListener("change", () => follow.checked && (pre.scrollTop = pre.scrollHeight));
  const news = throttled(read, 2000);
  document.addEventListener("jobnews", news);
  news();
}
