/* The list of jobs, live: one page of each table, filtered and sorted by the server. */

import { mountBulk, mountSelection } from "../bulk.js";
import { connect, heard } from "../connection.js";
import { debounced, embedded, oncePerFrame, role, throttled } from "../dom.js";
import { showTable } from "../job_table.js";
import { get, mayPass } from "../requests.js";

const TABLES = ["running", "models", "datasets"];
const POLL = 2000;
const TYPING = 150;
// Several things happen to a job when it ends, and each is told.
const BETWEEN_LOADS = 400;
const PATIENCE = 10_000;

export function mount(el) {
  const state = {
    // What the person wants to see, in the words of the address, so that a reload and the way back show it again.
    query: new URLSearchParams(location.search),
    tables: embedded(el, "tables"),
    picked: Object.fromEntries(TABLES.map((table) => [table, new Map()])),
    reading: null, // a promise while the tables are read anew
    told: new Map(), // rows of jobs at work that were told since that began
  };
  const show = () => render(el, state);
  const load = loader(state, show);
  mountView(el, state, load);
  mountSelection(el, state, show);
  mountBulk(el, state, load);
  followJobs(state, load, oncePerFrame(show));
  show();
}

function render(el, state) {
  const jobs = TABLES.reduce((sum, table) => sum + state.tables[table].total, 0);
  role(el, "welcome").hidden = jobs > 0;
  role(el, "tables").hidden = jobs === 0;
  for (const table of TABLES) showTable(el.querySelector(`[data-table="${table}"]`), table, state.tables[table], state.picked[table]);
}

/**
 * Answers a function that reads the tables anew, one reading at a time: what is asked for meanwhile is read after it, since
 * an answer may be older than what happened before it came. Who wants to see something else waits for no answer.
 */
function loader(state, show) {
  let isOutdated = false;
  let asked = "";
  let givenUp = new AbortController();
  async function read() {
    asked = String(state.query);
    givenUp = new AbortController();
    const mine = givenUp.signal;
    state.told.clear();
    try {
      const tables = await get(`/tables.json?${asked}`, { signal: AbortSignal.any([mine, AbortSignal.timeout(PATIENCE)]) });
      if (mine.aborted) return;
      heard(!connect().connected);
      tables.running.rows = tables.running.rows.map((row) => ({ ...row, ...state.told.get(row.id) }));
      state.tables = tables;
      show();
    } catch (error) {
      if (mine.aborted) return;
      if (error.status === undefined) throw error; // ours: a bug must be seen
      // The banner says that the line is down; the next answer brings everything.
      if (mayPass(error)) setTimeout(() => !document.hidden && load(), POLL);
    }
  }
  async function readOn() {
    try {
      do {
        isOutdated = false;
        await read();
      } while (isOutdated);
    } finally {
      state.reading = null;
    }
  }
  function load() {
    isOutdated = true;
    if (asked !== String(state.query)) givenUp.abort();
    state.reading ??= readOn();
    return state.reading;
  }
  return load;
}

// What the person wants to see

function mountView(el, state, load) {
  // The address says at every moment what is asked for: whatever loads the tables, a reload shows the same again.
  const look = (change) => {
    change(state.query);
    history.replaceState(null, "", state.query.size ? `?${state.query}` : location.pathname);
    load();
  };
  const filter = role(el, "filter");
  const filterSoon = debounced(() => {
    // What one no longer sees must not be deleted by accident.
    for (const table of TABLES) {
      state.picked[table].clear();
      state.tables[table].page = 1;
    }
    look((query) => {
      const text = filter.value.trim();
      if (text) query.set("filter", text);
      else query.delete("filter");
      for (const table of TABLES) query.delete(`${table}.page`);
    });
  }, TYPING);
  filter.addEventListener("input", filterSoon);
  el.addEventListener("click", (event) => {
    const table = event.target.closest?.("[data-table]")?.dataset.table;
    const sort = event.target.closest?.("[data-sort]")?.dataset.sort;
    const step = event.target.closest?.("[data-page]");
    if (sort) {
      const { sort: before, order } = state.tables[table];
      const first = ["name", "title", "status"].includes(sort) ? "ascending" : "descending";
      const turned = order === "ascending" ? "descending" : "ascending";
      const wanted = { sort, order: before === sort ? turned : first };
      // The next click counts from here, whether this one is answered by then or not.
      Object.assign(state.tables[table], wanted, { page: 1 });
      look((query) => {
        for (const [what, value] of Object.entries(wanted)) query.set(`${table}.${what}`, value);
        query.delete(`${table}.page`);
      });
    } else if (step) {
      const { page, pages } = state.tables[table];
      const wanted = Math.min(Math.max(page + (step.dataset.page === "next" ? 1 : -1), 1), pages);
      state.tables[table].page = wanted;
      look((query) => query.set(`${table}.page`, wanted));
    }
  });
}

// Live

function followJobs(state, load, showSoon) {
  const socket = connect();
  // A page that nobody looks at reads everything when it is looked at again.
  const loadSoon = throttled(() => !document.hidden && load(), BETWEEN_LOADS);
  socket.on("connect", () => {
    socket.emit("join", { room: "job_management" }, load);
  });
  socket.on("job update", (message) => {
    heard();
    if (message.update === "progress") {
      // What is being read may be of before.
      if (state.reading) state.told.set(message.job_id, message.row);
      const { rows } = state.tables.running;
      const at = rows.findIndex((row) => row.id === message.job_id);
      if (at < 0) return; // on another page
      rows[at] = { ...rows[at], ...message.row }; // the message is the same for everybody
      showSoon();
      return;
    }
    if (["deleted", "private"].includes(message.update)) for (const table of TABLES) state.picked[table].delete(message.job_id);
    if (message.update === "status" && !message.running) state.picked.running.delete(message.job_id);
    loadSoon();
  });
  document.addEventListener("visibilitychange", () => !document.hidden && load());
  addEventListener("pageshow", (event) => event.persisted && load());
  setInterval(() => !socket.connected && !document.hidden && load(), POLL);
}
