/* The list of jobs, live: filter, sort, selection, and what one does to many at once. */

import { connect, heard } from "../connection.js";
import { confirmed, debounced, embedded, h, role, setText, svg } from "../dom.js";
import { count, duration, moment, number } from "../format.js";
import { get, send } from "../requests.js";

const TABLES = ["running", "models", "datasets"];
const POLL = 2000;
const TEXT = ["name", "group", "title", "status", "notes", "cause", "id"];

export function mount(el) {
  const state = { rows: embedded(el, "initial-rows"), filter: "", picked: new Set(), sort: {} };
  for (const table of TABLES) state.sort[table] = { key: "submitted", descending: true };
  state.sort.running = { key: "status", descending: false }; // what runs before what waits
  const show = () => render(el, state);
  mountControls(el, state, show);
  mountBulk(el, state, show);
  followJobs(state, show);
  show();
}

// Live

function followJobs(state, show) {
  const socket = connect();
  const refetch = async () => {
    try {
      state.rows = await get("/completed_jobs.json");
      heard(!socket.connected);
      show();
    } catch {
      // The banner says that the line is down; the next answer brings everything.
    }
  };
  const refetchSoon = debounced(refetch, 200);
  const waiting = new Map();
  const refetchRow = (id) => {
    if (waiting.has(id)) return;
    waiting.set(id, setTimeout(async () => {
      waiting.delete(id);
      try {
        const { job } = await get(`/jobs/${id}/table_data.json`);
        const at = state.rows.running.findIndex((row) => row.id === id);
        if (at < 0 || !["Initialized", "Waiting", "Running"].includes(job.status)) return refetchSoon();
        state.rows.running[at] = job;
        show();
      } catch (error) {
        if (error.status === 404) refetchSoon();
      }
    }, 500));
  };
  socket.on("connect", () => {
    socket.emit("join", { room: "job_management" });
    refetch();
  });
  socket.on("job update", (message) => {
    heard();
    if (message.update === "progress") refetchRow(message.job_id);
    else refetchSoon();
  });
  document.addEventListener("visibilitychange", () => !document.hidden && refetch());
  addEventListener("pageshow", (event) => event.persisted && refetch());
  setInterval(() => !socket.connected && refetch(), POLL);
}

// Rows

function matching(rows, filter) {
  const words = filter.toLowerCase().split(/\s+/).filter(Boolean);
  if (!words.length) return rows;
  return rows.filter((row) => {
    const text = TEXT.map((key) => row[key] ?? "").join(" ").toLowerCase();
    return words.every((word) => text.includes(word));
  });
}

function sorted(rows, { key, descending }) {
  const empty = (value) => value === null || value === undefined || value === "";
  const order = (a, b) => {
    if (empty(a) || empty(b)) return empty(a) - empty(b);
    const less = typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b), "en", { numeric: true });
    return descending ? -less : less;
  };
  return [...rows].sort((a, b) => order(a[key], b[key]));
}

function sparkline(losses) {
  const finite = (losses ?? []).filter((loss) => typeof loss === "number");
  if (finite.length < 2) return null;
  const [low, high] = [Math.min(...finite), Math.max(...finite)];
  const x = (index) => (index * 116) / (finite.length - 1) + 1;
  const y = (loss) => 22 - (high > low ? (20 * (loss - low)) / (high - low) : 10);
  return svg("svg", { class: "sparkline", viewBox: "0 0 120 24", role: "img", "aria-label": `Training loss from ${number(finite[0])} to ${number(finite.at(-1))}` },
    svg("polyline", { points: finite.map((loss, index) => `${x(index).toFixed(1)},${y(loss).toFixed(1)}`).join(" ") }),
    svg("circle", { cx: x(finite.length - 1), cy: y(finite.at(-1)), r: 2 }));
}

const cells = {
  name: (row) => h("td", { class: "name" }, h("div", null, h("a", { href: row.url, title: row.name }, row.name), row.group ? h("span", { class: "group" }, row.group) : null), row.cause ? h("div", { class: "cause", title: row.cause }, row.cause) : null, row.waits_for ? h("div", { class: "waits" }, row.waits_for) : null),
  status: (row) => h("td", null, h("span", { class: `status status-${row.status.toLowerCase()}`, "data-status": row.status }, row.status)),
  title: (row) => h("td", { class: "minor" }, row.title),
  progress: (row) => h("td", null, h("div", { class: "progress-cell" }, h("progress", { max: 100, value: row.progress ?? 0, "aria-label": `Progress of ${row.name}` }), h("span", { class: "number" }, `${Math.floor(row.progress ?? 0)} %`))),
  loss: (row, key) => h("td", { class: "number" }, number(row[key])),
  curve: (row) => h("td", null, sparkline(row.sparkline)),
  seconds: (row, key) => h("td", { class: "number" }, duration(row[key])),
  refs: (row) => h("td", { class: "number" }, count(row.refs ?? 0)),
  submitted: (row) => h("td", null, h("time", { datetime: new Date(row.submitted * 1000).toISOString() }, moment(row.submitted))),
};

const COLUMNS = {
  running: (row) => [cells.name(row), cells.title(row), cells.status(row), cells.progress(row), h("td", { class: "number" }, h("div", { class: "loss-cell" }, sparkline(row.sparkline), h("span", null, number(row["loss (train) last"])))), cells.seconds(row, "seconds_left"), cells.submitted(row)],
  models: (row) => [cells.name(row), cells.status(row), cells.loss(row, "loss (train) last"), cells.loss(row, "loss (val) last"), cells.curve(row), cells.seconds(row, "elapsed"), cells.submitted(row)],
  datasets: (row) => [cells.name(row), cells.title(row), cells.status(row), cells.refs(row), cells.seconds(row, "elapsed"), cells.submitted(row)],
};

function tableRow(table, row, state) {
  const picked = state.picked.has(row.id);
  return h("tr", { "data-job-id": row.id, class: picked ? "picked" : null }, h("td", { class: "pick" }, h("input", { type: "checkbox", "aria-label": `Select ${row.name}`, checked: picked, "data-role": "pick" })), COLUMNS[table](row));
}

/** Puts the rows in place; a row that looks as before keeps its element, and so its focus. */
function place(body, fresh) {
  const before = new Map([...body.children].map((row) => [row.dataset.jobId, row]));
  const focused = document.activeElement?.closest?.("tr")?.dataset.jobId;
  const rows = fresh.map((row) => {
    const old = before.get(row.dataset.jobId);
    return old && old.isEqualNode(row) ? old : row;
  });
  if (rows.length === body.children.length && rows.every((row, index) => row === body.children[index])) return;
  const focus = focused && body.contains(document.activeElement) ? document.activeElement.tagName : null;
  body.replaceChildren(...rows);
  if (focus) body.querySelector(`tr[data-job-id="${focused}"] ${focus}`)?.focus();
}

function render(el, state) {
  const { rows } = state;
  const ids = new Set(TABLES.flatMap((table) => rows[table].map((row) => row.id)));
  for (const id of state.picked) if (!ids.has(id)) state.picked.delete(id);
  role(el, "welcome").hidden = ids.size > 0;
  role(el, "tables").hidden = ids.size === 0;
  for (const table of TABLES) renderTable(el.querySelector(`[data-table="${table}"]`), table, state);
}

function renderTable(section, table, state) {
  const all = state.rows[table];
  const shown = sorted(matching(all, state.filter), state.sort[table]);
  section.hidden = table === "running" && all.length === 0;
  setText(role(section, "count"), shown.length === all.length ? all.length : `${shown.length} of ${all.length}`);
  place(role(section, "rows"), shown.map((row) => tableRow(table, row, state)));
  const nothing = role(section, "nothing");
  nothing.hidden = shown.length > 0;
  setText(nothing, all.length ? "No job here matches the filter." : `No ${table} yet.`);
  section.querySelector(".table-scroll").hidden = shown.length === 0;
  for (const head of section.querySelectorAll("th[aria-sort]")) {
    const { key, descending } = state.sort[table];
    const here = head.querySelector("button").dataset.sort === key;
    head.setAttribute("aria-sort", here ? (descending ? "descending" : "ascending") : "none");
  }
  const picked = shown.filter((row) => state.picked.has(row.id)).length;
  role(section, "bulk").hidden = picked === 0;
  setText(role(section, "selected"), `${picked} selected`);
  const pickAll = role(section, "pick-all");
  pickAll.checked = picked > 0 && picked === shown.length;
  pickAll.indeterminate = picked > 0 && picked < shown.length;
}

// What a person does

function mountControls(el, state, show) {
  role(el, "filter").addEventListener("input", (event) => {
    state.filter = event.target.value;
    show();
  });
  let lastPicked = null;
  el.addEventListener("click", (event) => {
    const table = event.target.closest?.("[data-table]")?.dataset.table;
    const sortKey = event.target.closest?.("[data-sort]")?.dataset.sort;
    if (sortKey) {
      const before = state.sort[table];
      state.sort[table] = { key: sortKey, descending: before.key === sortKey ? !before.descending : !["name", "title", "status"].includes(sortKey) };
      show();
    } else if (event.target.dataset?.role === "pick-all") {
      const boxes = [...event.target.closest("section").querySelectorAll("tbody tr")];
      for (const row of boxes) state.picked[event.target.checked ? "add" : "delete"](row.dataset.jobId);
      show();
    } else if (event.target.dataset?.role === "pick") {
      const row = event.target.closest("tr");
      const rows = [...row.parentElement.children];
      const from = event.shiftKey ? rows.findIndex((other) => other.dataset.jobId === lastPicked) : -1;
      const [first, last] = [from < 0 ? rows.indexOf(row) : from, rows.indexOf(row)].sort((a, b) => a - b);
      for (const one of rows.slice(first, last + 1)) state.picked[event.target.checked ? "add" : "delete"](one.dataset.jobId);
      lastPicked = row.dataset.jobId;
      show();
    }
  });
}

function mountBulk(el, state, show) {
  const error = role(el, "error");
  el.addEventListener("click", async (event) => {
    const action = event.target.dataset?.bulk;
    if (!action) return;
    const rows = matching(state.rows[event.target.closest("[data-table]").dataset.table], state.filter).filter((row) => state.picked.has(row.id));
    if (!rows.length || !(await confirmBulk(el, action, rows))) return;
    const fields = rows.map((row) => ["job_ids[]", row.id]);
    error.hidden = true;
    try {
      await (action === "delete" ? send("DELETE", "/jobs", fields) : send("POST", "/abort_jobs", fields));
      for (const row of rows) state.picked.delete(row.id);
    } catch (problem) {
      setText(error, problem.message);
      error.hidden = false;
    }
    try {
      state.rows = await get("/completed_jobs.json");
      show();
    } catch {
      // As above: the banner says it.
    }
  });
}

function confirmBulk(el, action, rows) {
  const dialog = role(el, "confirm");
  const what = `${count(rows.length)} job${rows.length === 1 ? "" : "s"}`;
  setText(role(dialog, "confirm-title"), action === "delete" ? `Delete ${what}?` : `Abort ${what}?`);
  setText(role(dialog, "confirm-text"), action === "delete" ? "Their folders and everything in them go for good." : "They stop after the step they are at. They cannot go on later.");
  role(dialog, "confirm-names").replaceChildren(...rows.map((row) => h("li", null, row.name)));
  setText(role(dialog, "confirm-yes"), action === "delete" ? "Delete" : "Abort");
  return confirmed(dialog);
}
