/* The rows of one table of jobs, and what stands around them: counts, order, pages, selection. */

import { allow, h, role, setText, svg } from "./dom.js";
import { count, duration, interval, moment, number } from "./format.js";

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
  name: (row) => h("td", { class: "name" }, h("div", null, h("a", { href: row.url, title: row.name }, row.name), row.group ? h("span", { class: "group" }, row.group) : null, row.private ? h("span", { class: "group", title: "Only you can see it" }, "private") : null, row.username ? h("span", { class: "owner", title: "Who made it" }, row.username) : null), row.cause ? h("div", { class: row.status === "Error" ? "cause" : "waits", title: row.cause }, row.cause) : null, row.remark ? h("div", { class: "waits", title: row.remark }, row.remark) : null),
  status: (row) => h("td", null, h("span", { class: `status status-${row.status.toLowerCase()}`, "data-status": row.status }, row.status)),
  title: (row) => h("td", { class: "minor" }, row.title),
  progress: (row) => h("td", null, h("div", { class: "progress-cell" }, h("progress", { max: 100, value: row.progress ?? 0, "aria-label": `Progress of ${row.name}` }), h("span", { class: "number" }, `${Math.floor(row.progress ?? 0)} %`))),
  loss: (row, key) => h("td", { class: "number" }, number(row[key])),
  curve: (row) => h("td", { class: "curve" }, sparkline(row.sparkline)),
  seconds: (row, key) => h("td", { class: "number" }, duration(row[key])),
  refs: (row) => h("td", { class: "number" }, count(row.refs ?? 0)),
  submitted: (row) => h("td", null, h("time", { datetime: new Date(row.submitted * 1000).toISOString() }, moment(row.submitted))),
};

const COLUMNS = {
  running: (row) => [cells.name(row), cells.title(row), cells.status(row), cells.progress(row), h("td", { class: "number" }, h("div", { class: "loss-cell" }, sparkline(row.sparkline), h("span", null, number(row["loss (train) last"])))), h("td", { class: "number" }, interval(row.remark ? null : row.seconds_left)), cells.submitted(row)],
  models: (row) => [cells.name(row), cells.status(row), cells.loss(row, "loss (train) last"), cells.loss(row, "loss (val) last"), cells.curve(row), cells.seconds(row, "elapsed"), cells.submitted(row)],
  datasets: (row) => [cells.name(row), cells.title(row), cells.status(row), cells.refs(row), cells.seconds(row, "elapsed"), cells.submitted(row)],
};

function tableRow(name, row, picked, heads) {
  const columns = COLUMNS[name](row);
  columns.forEach((cell, index) => (cell.dataset.label = heads[index])); // for where there is no room for a head
  return h("tr", { "data-job-id": row.id, class: picked ? "picked" : null }, h("td", { class: "pick" }, h("input", { type: "checkbox", "aria-label": `Select ${row.name}`, checked: picked, disabled: !row.may_change, title: row.may_change ? null : `Only ${row.username ? `${row.username} and admins` : "admins"} may change it`, "data-role": "pick" })), columns);
}

/**
 * Puts the rows in place. What looks as before keeps its element, and stays where it is: a click on something that is taken
 * away between pressing and releasing is none.
 */
function place(body, fresh) {
  const before = new Map([...body.children].map((row) => [row.dataset.jobId, row]));
  const { activeElement } = document;
  const focused = body.contains(activeElement) ? `tr[data-job-id="${activeElement.closest("tr").dataset.jobId}"] ${activeElement.tagName}` : null;
  const rows = fresh.map((row) => {
    const old = before.get(row.dataset.jobId);
    if (!old) return row;
    old.className = row.className;
    for (const [index, cell] of [...row.cells].entries()) if (!old.cells[index].isEqualNode(cell)) old.cells[index].replaceWith(cell);
    return old;
  });
  const staying = new Set(rows);
  for (const row of [...body.children]) if (!staying.has(row)) row.remove();
  for (const [index, row] of rows.entries()) if (body.children[index] !== row) body.insertBefore(row, body.children[index] ?? null);
  if (focused && document.activeElement !== activeElement) body.querySelector(focused)?.focus();
}

/**
 * Shows the page of a table that the server answered. `picked` maps the ids that a person selected, on this page or
 * another one, to names.
 */
export function showTable(section, name, table, picked) {
  section.hidden = name === "running" && table.total === 0;
  setText(role(section, "count"), table.matching === table.total ? count(table.total) : `${count(table.matching)} of ${count(table.total)}`);
  const heads = [...section.querySelectorAll("thead th:not(.pick)")].map((head) => head.textContent);
  place(role(section, "rows"), table.rows.map((row) => tableRow(name, row, picked.has(row.id), heads)));
  const nothing = role(section, "nothing");
  nothing.hidden = table.rows.length > 0;
  setText(nothing, table.total ? "No job here matches the filter." : `No ${name} yet.`);
  section.querySelector(".table-scroll").hidden = table.rows.length === 0;
  for (const head of section.querySelectorAll("th[aria-sort]")) {
    head.setAttribute("aria-sort", head.querySelector("button").dataset.sort === table.sort ? table.order : "none");
  }
  showPages(section, table);
  showSelection(section, name, table, picked);
}

function showPages(section, table) {
  role(section, "pages").hidden = table.pages === 1;
  setText(role(section, "range"), `${count(table.first)}–${count(table.first + table.rows.length - 1)} of ${count(table.matching)}`);
  allow(section.querySelector('[data-page="previous"]'), table.page > 1);
  allow(section.querySelector('[data-page="next"]'), table.page < table.pages);
}

function showSelection(section, name, table, picked) {
  const here = table.rows.filter((row) => picked.has(row.id)).length;
  const changeable = table.rows.filter((row) => row.may_change).length;
  const elsewhere = picked.size - here;
  role(section, "bulk").hidden = picked.size === 0;
  setText(role(section, "selected"), `${count(picked.size)} selected${elsewhere ? `, ${count(elsewhere)} of them on other pages` : ""}`);
  const pickAll = role(section, "pick-page");
  pickAll.disabled = changeable === 0;
  pickAll.checked = here > 0 && here === changeable;
  pickAll.indeterminate = here > 0 && here < table.rows.length;
  pickAll.setAttribute("aria-label", table.pages > 1 ? `Select the ${table.rows.length} ${name} on this page` : `Select all ${name}`);
  const pickMatching = role(section, "pick-matching");
  pickMatching.hidden = !(pickAll.checked && changeable === table.rows.length && table.pages > 1 && picked.size < table.matching);
  setText(pickMatching, `Select all ${count(table.matching)}${table.filter ? " that match" : ""}`);
}
