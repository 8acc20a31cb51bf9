/* Follows a job: every event once, in order, whether it comes through the socket or is read again over HTTP. */

import { connect, heard } from "./connection.js";
import { get } from "./requests.js";

const POLL = 2000;

// Of these the curve has all that there is to say; of those the last says all.
const IN_THE_CURVE = "train,validation";
const PASSING = "progress,usage";

const LAST_TOLD = "What you see is the last that this page was told.";
const GONE = {
  deleted: `This job was deleted. ${LAST_TOLD}`,
  private: `This job is private now: only its owner can see it. ${LAST_TOLD}`,
};

/**
 * Calls `onEvent(event)` with each event from the first on, `afterEvents()` after the last of those that came together, and
 * `onStatus(status)` when the job's status changed: {gone: a sentence} once there is no such job any more, for anybody or
 * for whoever looks.
 * The offset says what was applied; a socket message that does not continue at it makes us fetch the gap.
 * `loadCurve()` fetches the curve before, thinned, and answers the byte up to which it has told: events before that
 * come without its points, and `onEvent` gets true for them: what they say of the curve is told already.
 */
export function followJob(jobId, { onEvent, afterEvents, onStatus, loadCurve = null }) {
  const socket = connect();
  let offset = 0;
  let seam = loadCurve ? null : 0;
  let fetching = false;
  let askAgain = false;
  let running = true;
  let gone = false;
  let retry = null;

  function takeStatus(status) {
    if (gone) return; // what was asked before may be answered after
    running = status.running;
    onStatus(status);
  }

  function end(sentence) {
    if (gone) return;
    gone = true;
    onStatus({ gone: sentence });
  }

  function applyAll(events, isInCurve) {
    for (const event of events) {
      try {
        onEvent(event, isInCurve);
      } catch (error) {
        // A strange one, which pasted code may have written, must not hide those after it.
        console.error("This event cannot be shown:", event, error);
      }
    }
    afterEvents();
  }

  function askLater() {
    clearTimeout(retry);
    retry = setTimeout(catchUp, POLL);
  }

  async function catchUp() {
    if (gone) return;
    if (fetching) {
      askAgain = true;
      return;
    }
    fetching = true;
    try {
      let answer;
      do {
        askAgain = false;
        seam ??= await loadCurve();
        const early = offset < seam ? `&until=${seam}&without=${IN_THE_CURVE}&latest=${PASSING}` : "";
        answer = await get(`/jobs/${jobId}/events?since=${offset}${early}`, { signal: AbortSignal.timeout(10_000) });
        heard(!socket.connected);
        // The machine lost power, and the events their end: what the page shows may never have been.
        if (answer.next < offset) return location.reload();
        offset = answer.next;
        if (answer.events.length) applyAll(answer.events, early !== "");
      } while (answer.more || askAgain);
      takeStatus(answer.status);
    } catch (error) {
      if (error.status === undefined) throw error; // ours: a bug must be seen
      if (error.status === 404) end(error.message);
      else askLater(); // whatever else tells of news may have come and gone meanwhile
    } finally {
      fetching = false;
    }
  }

  // Read only once the room is joined: what is said between a read and the joining would be missed.
  const join = () => socket.emit("join", { room: jobId }, catchUp);
  socket.on("connect", join);
  socket.on("job events", (message) => {
    if (message.job_id !== jobId || message.next <= offset) return;
    heard();
    if (fetching || message.since !== offset) {
      catchUp();
      return;
    }
    offset = message.next;
    applyAll(message.events, false);
  });
  socket.on("job update", (message) => {
    if (message.job_id !== jobId) return;
    heard();
    if (message.update === "status" || message.update === "attribute") {
      takeStatus(message);
      // The last events may have come in one breath with the status, or been lost: ask once. And what was asked for before
      // this may be answered after it, with the status of before.
      if (!message.running || fetching) catchUp();
    } else if (message.update in GONE) {
      end(GONE[message.update]);
    }
  });
  document.addEventListener("visibilitychange", () => {
    if (!document.hidden) catchUp();
  });
  addEventListener("pageshow", (event) => {
    if (event.persisted) catchUp();
  });
  setInterval(() => {
    if (!socket.connected && running) catchUp();
  }, POLL);
  if (socket.connected) join();
  else catchUp();
}
