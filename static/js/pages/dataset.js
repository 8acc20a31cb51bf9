/* The page of a dataset: databases, classes, mean image and skipped files, as the worker reports them. */

import { classChart } from "../class_chart.js";
import { embedded, h, role, setText } from "../dom.js";
import { count, shape } from "../format.js";
import { jobStatus } from "../job_status.js";
import { followJob } from "../live.js";
import { mayPass, request } from "../requests.js";

const SPLITS = { train: "Training", val: "Validation", test: "Test" };
const OF_DATA = new Set(["parsed", "distribution", "database", "analysed", "mean"]);
const BETWEEN_RENEWALS = 2000;
const splitOf = (db) => db.split("_")[0];

export function mount(page) {
  const status = jobStatus(page);
  const chart = classChart(role(page, "distribution"));
  const dataset = embedded(page, "dataset");
  let isOfItsEnd = page.dataset.running !== "true";
  if (dataset) showDistributions(dataset, chart);
  showShares(page);
  // What was told of the databases: of one that was finished before the job failed, only they know.
  let toldOfData = [];
  const apply = {
    progress: (event) => event.rate && setText(role(page, "rate"), count(Math.round(event.rate))),
    parsed: (event) => {
      chart.setLabels(event.labels);
      setText(role(page, "class-count"), count(event.labels.length));
    },
    distribution: (event) => chart.setCounts(splitOf(event.db), event.counts),
    database: (event) => showDatabase(page, event),
    analysed: (event) => showAnalysed(page, event, chart),
    mean: (event) => showMean(page, event.file),
    skipped: (event) => showSkipped(page, event),
    begun_anew() {
      toldOfData = [];
      forget(page, chart);
    },
  };
  followJob(page.dataset.jobId, {
    onEvent(event) {
      status.applyEvent(event);
      apply[event.type]?.(event);
      if (OF_DATA.has(event.type)) toldOfData.push(event);
    },
    afterEvents() {
      chart.draw();
      document.dispatchEvent(new Event("jobnews"));
    },
    onStatus(now) {
      status.applyStatus(now);
      document.dispatchEvent(new Event("jobnews"));
      if (isOfItsEnd || now.running !== false) return;
      isOfItsEnd = true;
      renew(page, () => toldOfData.forEach((event) => apply[event.type](event)));
    },
  });
}

/**
 * Ended before our eyes: the page of a dataset that has ended has links, sizes and paths that only the server knows. They
 * take their places; a reload would take away what somebody writes or is asked just now. `tellAgain()` shows what the job
 * has told of them.
 */
async function renew(page, tellAgain) {
  let text;
  try {
    text = await request(location.href, { headers: { Accept: "text/html" } });
  } catch (error) {
    if (error.status === undefined) throw error; // ours: a bug must be seen
    // A job that is gone says so by itself.
    if (mayPass(error)) setTimeout(() => renew(page, tellAgain), BETWEEN_RENEWALS);
    return;
  }
  const fresh = new DOMParser().parseFromString(text, "text/html");
  if (!role(fresh, "distribution")) return; // the login, after the end of the session
  role(page, "distribution").hidden = role(fresh, "distribution").hidden;
  for (const part of page.querySelectorAll("[data-at-end]")) {
    const other = fresh.querySelector(`[data-at-end="${part.dataset.atEnd}"]`);
    if (!part.isEqualNode(other)) part.replaceWith(other);
  }
  tellAgain();
  showShares(page);
}

function showDistributions(dataset, chart) {
  if (dataset.labels) chart.setLabels(dataset.labels);
  for (const [split, { distribution }] of Object.entries(dataset.splits)) if (distribution) setDistribution(chart, split, distribution);
  chart.draw();
}

/** A list is in the order of the labels; an object has its labels as keys. */
function setDistribution(chart, split, distribution) {
  if (Array.isArray(distribution)) return chart.setCounts(split, distribution);
  const labels = Object.keys(distribution).sort((a, b) => Number(a) - Number(b) || (a < b ? -1 : 1));
  if (split === "train") chart.setLabels(labels);
  chart.setCounts(split, labels.map((label) => distribution[label]));
}

function rowOf(page, db, make) {
  const body = role(page, "database-rows");
  role(body, "no-databases")?.remove();
  let row = body.querySelector(`[data-db="${db}"]`);
  if (!row) {
    row = make();
    body.append(row);
  }
  return row;
}

function showDatabase(page, event) {
  const row = rowOf(page, event.db, () => h("tr", { "data-db": event.db },
    h("th", { scope: "row" }, SPLITS[splitOf(event.db)] ?? event.db), h("td", { class: "number", "data-label": "Images" }), h("td", { class: "number", "data-label": "Share", "data-role": "share" }), h("td", { class: "number", "data-label": "Skipped" }), h("td")));
  setText(row.cells[1], count(event.entries));
  setText(row.cells[3], count(event.skipped ?? 0));
  setText(role(page, "image-shape"), shape([event.channels, event.height, event.width]));
  showShares(page);
}

/** How the images are shared among the databases; known once all counts are. */
function showShares(page) {
  const cells = [...page.querySelectorAll('[data-role="share"]')];
  const entries = cells.map((cell) => Number(cell.parentElement.cells[1].textContent.replaceAll(",", "")));
  const total = entries.reduce((a, b) => a + b, 0);
  cells.forEach((cell, index) => setText(cell, total ? `${((100 * entries[index]) / total).toFixed(1)} %` : "–"));
}

function showAnalysed(page, event, chart) {
  const [split, what] = event.role.split("_");
  const row = rowOf(page, event.role, () => h("tr", { "data-db": event.role },
    h("th", { scope: "row" }, `${SPLITS[split]} ${what}`), h("td", { class: "number", "data-label": "Images" }), h("td", { class: "number", "data-label": "Shape" }), h("td", { "data-label": "Stored as" }), h("td", { class: "breakable path" }), h("td")));
  setText(row.cells[1], count(event.entries));
  setText(row.cells[2], shape(event.shape));
  setText(row.cells[3], event.stored ?? "");
  setText(row.cells[4], event.path);
  if (event.role === "train_images") setText(role(page, "image-shape"), shape(event.shape));
  if (event.distribution) setDistribution(chart, split, event.distribution);
}

function showMean(page, file) {
  const box = role(page, "mean").querySelector(".mean-picture");
  if (box.querySelector("img")) return;
  box.replaceChildren(h("img", { class: "pixelated", src: `/jobs/${page.dataset.jobId}/files/${file}`, alt: "The mean of all training images" }));
}

const skipped = new Map();

/** What a worker told that did not finish is void: another one tells it again. */
function forget(page, chart) {
  skipped.clear();
  setText(role(page, "skipped-count"), "0");
  role(page, "skipped").hidden = true;
  role(page, "skipped-rows").replaceChildren();
  for (const row of role(page, "database-rows").querySelectorAll("[data-db]")) row.remove();
  role(page, "mean").querySelector(".mean-picture img")?.remove();
  chart.clear();
}

function showSkipped(page, event) {
  role(page, "skipped").hidden = false;
  skipped.set(event.db, event.count);
  setText(role(page, "skipped-count"), count([...skipped.values()].reduce((a, b) => a + b, 0)));
  role(page, "skipped-rows").append(...event.files.map((file) => h("tr", null, h("td", { class: "breakable path" }, file.path), h("td", { class: "breakable" }, file.reason))));
}
