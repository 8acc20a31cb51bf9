/* Follows a job: every event once, in order, whether it comes through the socket or is read again over HTTP. */

import { connect, heard } from "./connection.js";
import { get } from "./requests.js";

const POLL = 2000;

// Of these the curve has all that there is to say; of those the last says all.
const IN_THE_CURVE = "train,validation";
const PASSING = "progress,usage";

/**
 * Calls `onEvents(events)` with all events from the first on, and `onStatus(status)` when the job's status changed.
 * The offset says what was applied; a socket message that does not continue at it makes us fetch the gap.
 * `loadCurve()` fetches the curve before, thinned, and answers the byte up to which it has told: events before that
 * come without its points, and `onEvents` gets true for them: what they say of the curve is told already.
 */
export function followJob(jobId, { onEvents, onStatus, loadCurve = null }) {
  const socket = connect();
  let offset = 0;
  let seam = loadCurve ? null : 0;
  let fetching = false;
  let askAgain = false;
  let running = true;
  let gone = false;
  let retry = null;

  function takeStatus(status) {
    running = status.running;
    onStatus(status);
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
        if (answer.events.length) onEvents(answer.events, early !== "");
      } while (answer.more || askAgain);
      takeStatus(answer.status);
    } catch (error) {
      if (error.status === undefined) throw error; // ours: a bug must be seen
      gone = error.status === 404;
      if (gone) onStatus({ deleted: true });
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
    onEvents(message.events, false);
  });
  socket.on("job update", (message) => {
    if (message.job_id !== jobId) return;
    heard();
    if (message.update === "status" || message.update === "attribute") {
      takeStatus(message);
      // The last events may have come in one breath with the status, or been lost: ask once.
      if (!message.running) catchUp();
    } else if (message.update === "deleted") {
      gone = true;
      onStatus({ deleted: true });
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
