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

/**
 * series: [{label, colour: "--series-train", dash: [6, 4] | null, points: bool}]; the container's height is the CSS's.
 * onCursor(values | null): what lies under the cursor, one value per column.
 */
export function lineChart(el, { series, xFormat = String, log = false, sync = null, onCursor = null, xRange = null }) {
  let columns = [[], ...series.map(() => [])];
  let logarithmic = log;
  let plot = null;

  function options() {
    return {
      width: Math.max(el.clientWidth, 40),
      height: el.clientHeight,
      legend: { show: false },
      padding: [8, 20, 0, 0],
      cursor: { dataIdx: nearestValue, y: false, points: { size: 7, fill: (self, index) => colour(series[index - 1].colour) }, drag: { x: true, y: false }, sync: sync ? { key: sync } : undefined },
      scales: { x: { time: false, range: xRange ?? undefined }, y: { distr: logarithmic ? 3 : 1 } },
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
    columns.map((column, index) => (index > 0 && logarithmic ? column.map((y) => (y > 0 ? y : null)) : column));

  function build() {
    plot?.destroy();
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
    setLogarithmic(value) {
      logarithmic = value;
      build();
    },
  };
}
