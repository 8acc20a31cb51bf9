/* How many images each class has: stacked columns, a sentence, and a table. */

import { h, oncePerFrame, role, svg } from "./dom.js";
import { count } from "./format.js";

const SPLITS = [["train", "training"], ["val", "validation"], ["test", "test"]];
const HEIGHT = 200;
const FOOT = 22;
const LEFT = 52;

/** A round number not below `value`, whose half is round too. */
function roundUp(value) {
  const power = 10 ** Math.floor(Math.log10(Math.max(value, 1)));
  return [1, 2, 3, 4, 5, 6, 8, 10].map((step) => step * power).find((step) => step >= value);
}

export function classChart(el) {
  const box = role(el, "chart");
  let labels = [];
  const counts = {};

  const totals = () => labels.map((_, index) => SPLITS.reduce((sum, [split]) => sum + (counts[split]?.[index] ?? 0), 0));

  function columns(width, sums) {
    const most = roundUp(Math.max(1, ...sums));
    const step = (width - LEFT) / Math.max(labels.length, 1);
    const scale = (HEIGHT - FOOT - 10) / most;
    const bars = labels.flatMap((label, index) => {
      let top = HEIGHT - FOOT;
      return SPLITS.filter(([split]) => counts[split]?.[index]).map(([split, name]) => {
        const tall = counts[split][index] * scale;
        top -= tall;
        const bar = Math.min(step * 0.76, 64);
        return svg("rect", { class: `bars-${split}`, x: LEFT + index * step + (step - bar) / 2, y: top, width: Math.max(bar, 0.5), height: Math.max(tall - (bar > 6 ? 1 : 0), 0.5) },
          svg("title", null, `${label}: ${count(counts[split][index])} ${name}`));
      });
    });
    // As many names as have room to be told apart.
    const wanted = Math.min(Math.max(34, 7 * Math.max(...labels.map((label) => label.length))), 110);
    const every = Math.ceil(labels.length / Math.max(1, Math.floor((width - LEFT) / wanted)));
    const room = Math.max(3, Math.floor((step * every) / 6.5));
    const names = labels.map((label, index) => (index % every ? null : svg("text", { x: LEFT + (index + 0.5) * step, y: HEIGHT - 6, "text-anchor": "middle" }, label.length > room ? `${label.slice(0, room - 1)}…` : label)));
    const lines = [0.5, 1].map((part) => {
      const y = HEIGHT - FOOT - most * part * scale;
      return [svg("line", { class: "grid", x1: LEFT, x2: width, y1: y, y2: y }), svg("text", { x: LEFT - 8, y: y + 4, "text-anchor": "end" }, count(most * part))];
    });
    return svg("svg", { viewBox: `0 0 ${width} ${HEIGHT}`, preserveAspectRatio: "none" }, lines.flat(), bars, svg("line", { class: "axis", x1: LEFT, x2: width, y1: HEIGHT - FOOT, y2: HEIGHT - FOOT }), names);
  }

  const used = () => SPLITS.filter(([split]) => counts[split]?.some(Boolean));

  function summary(sums) {
    const [most, least] = [Math.max(...sums), Math.min(...sums)];
    const named = (value) => `${labels[sums.indexOf(value)]} (${count(value)})`;
    const all = used().map(([split, name]) => `${count(counts[split].reduce((a, b) => a + b, 0))} ${name}`).join(", ");
    const range = most === least ? `each has ${count(most)}` : `most: ${named(most)}, fewest: ${named(least)}`;
    return `${count(labels.length)} classes; ${range}. ${all} images.`;
  }

  function table(sums) {
    const splits = used();
    const cell = (value) => h("td", { class: "number" }, value ? count(value) : "–");
    role(el, "table").replaceChildren(
      h("thead", null, h("tr", null, h("th", { scope: "col" }, "Class"), splits.map(([, name]) => h("th", { scope: "col", class: "number" }, name)), h("th", { scope: "col", class: "number" }, "all"))),
      h("tbody", null, labels.map((label, index) => h("tr", null, h("th", { scope: "row", class: "breakable" }, label), splits.map(([split]) => cell(counts[split][index])), cell(sums[index])))));
  }

  const draw = oncePerFrame(() => {
    const sums = totals();
    if (!sums.some(Boolean)) return;
    el.hidden = false;
    box.replaceChildren(columns(Math.max(box.clientWidth, 200), sums));
    const legend = used().length > 1 ? h("span", { class: "legend" }, used().map(([split, name]) => h("span", null, svg("svg", { viewBox: "0 0 10 10" }, svg("rect", { class: `bars-${split}`, width: 10, height: 10, rx: 2 })), name))) : null;
    const sentence = summary(sums);
    el.dataset.counts = sums.join(" ");
    const line = role(el, "summary");
    if (line.lastChild?.textContent !== sentence) line.replaceChildren(...[legend, h("span", null, sentence)].filter(Boolean));
    table(sums);
  });

  new ResizeObserver(draw).observe(box);
  return {
    draw,
    clear() {
      labels = [];
      for (const split of Object.keys(counts)) delete counts[split];
    },
    setLabels: (names) => (labels = names),
    setCounts(split, values) {
      counts[split] = values;
      if (labels.length < values.length) labels = values.map((_, index) => labels[index] ?? String(index));
    },
  };
}
