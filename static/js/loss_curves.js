/* The curves of a training: losses and learning rate by epoch. */

import { blockMeans, lineChart } from "./chart.js";
import { h, oncePerFrame, remember, remembered, role, setText, svg, throttled } from "./dom.js";
import { count, number } from "./format.js";

const STRONG_POINTS = 250;

const key = (name, dash) => svg("svg", { viewBox: "0 0 22 8", "aria-hidden": "true" }, svg("line", { class: `key-${name}`, x1: 0, x2: 22, y1: 4, y2: 4, "stroke-dasharray": dash }));

/** Columns of epoch, training loss, validation loss and learning rate, in the order of the epochs. */
export function lossCurves(page) {
  const el = role(page, "curves");
  const [epochs, losses, validations, rates] = [[], [], [], []];
  const columns = { losses, validations, rates };
  let notNumbers = 0;
  let latest = {};
  const readout = role(el, "readout");
  const values = Object.fromEntries(["epoch", "train", "validation", "rate"].map((name) => [name, h("span", { class: "value" })]));
  readout.append(
    h("span", null, "epoch ", values.epoch), h("span", null, key("train"), "training ", values.train),
    h("span", null, key("validation", "5 3"), "validation ", values.validation), h("span", null, "rate ", values.rate));

  const cursor = { loss: null };
  const showReadout = oncePerFrame(() => {
    const [epoch, train, validation, rate] = cursor.loss ?? [latest.epoch, latest.train, latest.validation, latest.rate];
    setText(values.epoch, epoch === undefined || epoch === null ? "–" : epoch.toFixed(2));
    setText(values.train, number(train));
    setText(values.validation, number(validation));
    setText(values.rate, number(rate));
  });
  const nearest = (column, index) => {
    for (let at = index; at >= 0; at -= 1) if (column[at] !== null) return column[at];
    return null;
  };
  const onCursor = (under) => {
    if (under === null) cursor.loss = null;
    else {
      const index = epochs.indexOf(under[0]);
      cursor.loss = [under[0], nearest(losses, index), nearest(validations, index), nearest(rates, index)];
    }
    showReadout();
  };
  const xFormat = (epoch) => String(Number(epoch.toFixed(3)));
  const lossChart = lineChart(role(el, "loss-chart"), {
    series: [
      { label: "Training", colour: "--series-train", width: 1, alpha: 0.35 },
      { label: "Training, mean", colour: "--series-train" },
      { label: "Validation", colour: "--series-validation", dash: [6, 4], points: true, width: 2 },
    ],
    sync: "training", xFormat, onCursor,
  });
  const rateChart = lineChart(role(el, "rate-chart"), { series: [{ label: "Learning rate", colour: "--series-rate" }], sync: "training", xFormat });

  function insert(epoch, row) {
    // Points come in order, but a validation may carry the epoch of a training point that comes a moment later.
    let at = epochs.length;
    while (at > 0 && epochs[at - 1] > epoch) at -= 1;
    if (at > 0 && epochs[at - 1] === epoch && Object.keys(row).every((name) => columns[name][at - 1] === null)) {
      for (const [name, value] of Object.entries(row)) columns[name][at - 1] = value;
      return;
    }
    epochs.splice(at, 0, epoch);
    for (const [name, column] of Object.entries(columns)) column.splice(at, 0, row[name] ?? null);
  }

  const plottable = (loss) => {
    if (typeof loss === "number") return loss;
    notNumbers += 1;
    return null;
  };

  function addTraining(event) {
    event.epoch.forEach((epoch, index) => insert(epoch, { losses: plottable(event.loss[index]), rates: event.learning_rate[index] }));
    latest = { ...latest, epoch: event.epoch.at(-1), train: event.loss.at(-1), rate: event.learning_rate.at(-1) };
    latest.first ??= event.loss[0];
    el.dataset.points = Number(el.dataset.points) + event.epoch.length;
    setText(role(page, "train-loss"), number(latest.train));
  }

  function addValidation(event) {
    insert(event.epoch, { validations: plottable(event.loss) });
    latest = { ...latest, validation: event.loss, validatedAt: event.epoch };
    el.dataset.validationPoints = Number(el.dataset.validationPoints) + 1;
    setText(role(page, "validation-loss"), number(event.loss));
  }

  // More points than the eye can tell apart hide where they go: a line of means lies over them.
  const blockSize = () => Math.ceil(epochs.length / STRONG_POINTS);
  const sentence = () => [
    latest.train === undefined ? null : `Training loss ${number(latest.train)} at epoch ${latest.epoch.toFixed(1)}, from ${number(latest.first)} at the start.`,
    latest.validation === undefined ? null : `Validation loss ${number(latest.validation)} at epoch ${number(latest.validatedAt)}.`,
    blockSize() > 1 ? `The strong line is the mean of every ${blockSize()} points.` : null,
    notNumbers ? `${count(notNumbers)} value${notNumbers === 1 ? " is" : "s are"} not a number and not drawn.` : null,
  ].filter(Boolean).join(" ");

  const table = role(el, "as-table");
  const fillTable = () => table.open && table.querySelector("tbody").replaceChildren(...rowsByEpoch(epochs, columns));
  const showTable = throttled(fillTable, 1000);
  const speak = throttled(() => setText(role(el, "spoken-summary"), sentence()), 20_000);
  const summarize = throttled(() => {
    if (latest.epoch !== undefined) setText(role(el, "summary"), sentence());
    showTable();
    speak();
  }, 500);
  table.addEventListener("toggle", fillTable);
  const useScale = (scale) => {
    for (const button of el.querySelectorAll("[data-scale]")) button.setAttribute("aria-pressed", String(button.dataset.scale === scale));
    lossChart.setScale(scale);
  };
  el.addEventListener("click", (event) => {
    const scale = event.target.dataset?.scale;
    if (!scale) return;
    useScale(scale);
    remember("loss-scale", scale);
  });
  useScale(remembered("loss-scale") ?? "linear");
  showReadout();

  return {
    addTraining,
    addValidation,
    draw() {
      if (!epochs.length) return;
      el.hidden = false;
      lossChart.set([epochs, losses, blockMeans(losses, blockSize()), validations]);
      rateChart.set([epochs, rates]);
      showReadout();
      summarize();
    },
  };
}

/** One row for each epoch: mean of its training points, its validation, its last learning rate. */
function rowsByEpoch(epochs, { losses, validations, rates }) {
  const rows = new Map();
  epochs.forEach((at, index) => {
    // The last step of an epoch is the epoch, whatever its fraction was rounded to.
    const epoch = Math.max(1, Math.ceil(at - 1e-6));
    const row = rows.get(epoch) ?? { sum: 0, n: 0, validation: null, rate: null };
    if (losses[index] !== null) {
      row.sum += losses[index];
      row.n += 1;
    }
    row.validation = validations[index] ?? row.validation;
    row.rate = rates[index] ?? row.rate;
    rows.set(epoch, row);
  });
  return [...rows].map(([epoch, row]) => h("tr", null,
    h("th", { scope: "row", class: "number" }, epoch), h("td", { class: "number" }, row.n ? number(row.sum / row.n) : "–"),
    h("td", { class: "number" }, number(row.validation)), h("td", { class: "number" }, number(row.rate))));
}
