/* Line charts: uPlot with our colours, one draw per frame, drawn anew when the theme or the width changes. */

import uPlot from "uplot";
import { oncePerFrame } from "./dom.js";
import { number } from "./format.js";

const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const AXIS_FONT = "12px system-ui, sans-serif";

function axis(extra) {
  return { font: AXIS_FONT, stroke: colour("--muted"), grid: { stroke: colour("--grid"), width: 1 }, ticks: { show: false }, ...extra };
}

/** At a place where a series has no value, the cursor shows the nearest one that it has. */
function nearestValue(plot, seriesIndex, index) {
  const values = plot.data[seriesIndex];
  if (seriesIndex === 0 || !values || values[index] != null) return index;
  for (let away = 1; away < values.length; away += 1) {
    if (values[index - away] != null) return index - away;
    if (values[index + away] != null) return index + away;
  }
  return index;
}

/** Means of each `size` neighbours, at the middle one's place. */
export function blockMeans(values, size) {
  const means = values.map(() => null);
  for (let from = 0; from < values.length; from += size) {
    const block = values.slice(from, from + size).filter((value) => value !== null);
    if (block.length) means[Math.min(from + (size >> 1), values.length - 1)] = block.reduce((a, b) => a + b, 0) / block.length;
  }
  return means;
}

/** The bounds of a logarithmic axis: down and up to one significant digit. */
function digitBounds(low, high) {
  const rounded = (value, round) => {
    const power = 10 ** Math.floor(Math.log10(value));
    return round(value / power) * power;
  };
  return [rounded(low, Math.floor), rounded(high * 1.001, Math.ceil)];
}

/**
 * series: [{label, colour: "--series-train", dash: [6, 4] | null, points: bool}]; the container's height is the CSS's.
 * The scale of y is "linear", "log", or "tail": linear, as high as what comes after the first tenth.
 * onCursor(values | null): what lies under the cursor, one value per column.
 */
export function lineChart(el, { series, xFormat = String, sync = null, onCursor = null, xRange = null }) {
  let columns = [[], ...series.map(() => [])];
  let scale = "linear";
  let plot = null;

  function tailTop() {
    const [first, last] = [columns[0][0], columns[0].at(-1)];
    const from = columns[0].findIndex((x) => x >= first + (last - first) / 10);
    return columns.slice(1).reduce((top, column) => column.slice(from).reduce((most, y) => Math.max(most, y ?? most), top), -Infinity);
  }

  function yRange(self, low, high) {
    if (low === null) return [null, null];
    if (scale === "log") return digitBounds(low, high);
    const top = scale === "tail" ? Math.min(high, tailTop()) : high;
    return uPlot.rangeNum(low, top > low ? top : high, 0.1, true);
  }

  function options() {
    return {
      width: Math.max(el.clientWidth, 40),
      height: el.clientHeight,
      legend: { show: false },
      padding: [8, 20, 0, 0],
      cursor: { dataIdx: nearestValue, y: false, points: { size: 7, fill: (self, index) => colour(series[index - 1].colour) }, drag: { x: true, y: false }, sync: sync ? { key: sync } : undefined },
      scales: { x: { time: false, range: xRange ?? undefined }, y: { distr: scale === "log" ? 3 : 1, range: yRange } },
      axes: [
        axis({ values: (_, ticks) => ticks.map(xFormat), size: 28 }),
        axis({ size: 62, values: (_, ticks) => ticks.map((tick) => (tick === null ? null : number(tick))) }),
      ],
      series: [
        {},
        ...series.map((one) => ({
          label: one.label,
          stroke: colour(one.colour),
          width: one.width ?? 1.8,
          alpha: one.alpha ?? 1,
          dash: one.dash ?? undefined,
          spanGaps: true,
          points: { show: Boolean(one.points), size: 5, fill: colour("--surface") },
        })),
      ],
      hooks: { setCursor: [(self) => onCursor?.(self.cursor.idxs?.[0] == null ? null : valuesAt(self))] },
    };
  }

  const valuesAt = (self) => self.data.map((column, index) => column[self.cursor.idxs[index]] ?? null);

  // A logarithm has no place for zero and below.
  const drawn = () =>
    columns.map((column, index) => (index > 0 && scale === "log" ? column.map((y) => (y > 0 ? y : null)) : column));

  function build() {
    plot?.destroy();
    if (columns[0].length) el.replaceChildren();
    plot = columns[0].length ? new uPlot(options(), drawn(), el) : null;
  }

  // The ends of x as they were drawn last: who looks at less than that has zoomed in, and stays there.
  let ends = null;
  const zoomed = () => plot.scales.x.min > ends[0] || plot.scales.x.max < ends[1];

  const draw = oncePerFrame(() => {
    const stay = plot && !xRange && zoomed();
    ends = [columns[0][0], columns[0].at(-1)];
    if (!plot) return build();
    plot.setData(drawn(), !stay);
    if (stay) plot.redraw();
  });

  new ResizeObserver(() => plot?.setSize({ width: Math.max(el.clientWidth, 40), height: el.clientHeight })).observe(el);
  document.addEventListener("themechange", () => plot && build());

  return {
    set(data) {
      columns = data;
      draw();
    },
    setScale(name) {
      scale = name;
      build();
    },
  };
}
