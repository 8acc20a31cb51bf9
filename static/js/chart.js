/* Line charts: uPlot with our colours, one draw per frame, drawn anew when the theme or the width changes. */

import uPlot from "uplot";
import { oncePerFrame } from "./dom.js";
import { numbers } from "./format.js";

export const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const AXIS_FONT = "12px system-ui, sans-serif";
const LINE = 1.8;
const ROOM_OF_A_DOT = 10;
// Between two places of the lower axis.
const ROOM_OF_FEW = 50;
const ROOM_OF_MANY_DIGITS = 84;

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

/** The bounds of a logarithmic axis: down and up to one significant digit. */
function digitBounds(low, high) {
  const rounded = (value, round) => {
    const power = 10 ** Math.floor(Math.log10(value));
    return round(value / power) * power;
  };
  return [rounded(low, Math.floor), rounded(high * 1.001, Math.ceil)];
}

/** Dots that touch each other say nothing. */
function hasRoomForDots(plot, seriesIndex, from, to) {
  let dots = 0;
  for (let index = from; index <= to; index += 1) if (plot.data[seriesIndex][index] != null) dots += 1;
  return dots * ROOM_OF_A_DOT < plot.over.clientWidth;
}

/** A line at a place of x, through the whole height. */
function drawMark(plot, { at, strong }) {
  const { left, top, width, height } = plot.bbox;
  const place = Math.round(plot.valToPos(at, "x", true));
  if (place < left || place > left + width) return;
  const x = place + 0.5; // one row of pixels
  const { ctx } = plot;
  ctx.save();
  ctx.strokeStyle = colour("--accent");
  ctx.globalAlpha = strong ? 1 : 0.45;
  ctx.lineWidth = (strong ? 2 : 1) * devicePixelRatio;
  if (!strong) ctx.setLineDash([3 * devicePixelRatio, 3 * devicePixelRatio]);
  ctx.beginPath();
  ctx.moveTo(x, top);
  ctx.lineTo(x, top + height);
  ctx.stroke();
  ctx.restore();
}

/** One value makes no line: it is a dot. */
const isAlone = (plot, seriesIndex) => plot.data[seriesIndex].filter((value) => value != null).length === 1;

/**
 * series: [{label, colour: "--series-train", dash: [6, 4] | null, points: bool}]; the container's height is the CSS's.
 * onCursor(values | null): what lies under the pointer, one value per column.
 * onSelect({x, y}): a box was drawn; x or y is null where the box has its whole side. onReset(): a double click.
 */
export function lineChart(el, { series, xFormat = String, onCursor = null, onSelect = null, onReset = null, boxes = true, xRange = null }) {
  let columns = [[], ...series.map(() => [])];
  let look = { log: false, x: null, y: null, most: null };
  let mark = null;
  // Where the cursor was put; null where it follows the pointer.
  let pointed = null;
  let plot = null;
  let built = null;
  const ticks = [[], []];

  /** `words` says all ticks of an axis; uPlot has null where there is no room for one. */
  const axisValues = (index, words) => (_, at) => {
    const said = at.filter((tick) => tick !== null);
    const labels = words(said);
    ticks[index] = said.map((tick, place) => [tick, labels[place]]);
    return at.map((tick) => (tick === null ? null : labels[said.indexOf(tick)]));
  };

  function xBounds(_, low, high) {
    const bounds = look.x ?? xRange;
    if (bounds) return bounds;
    return low === high || low === null ? [0, (high ?? 0.5) * 2] : [low, high];
  }

  function yBounds(_, low, high) {
    if (look.y) return look.y;
    if (low === null) return look.log ? [0.1, 1] : [0, 1];
    const [bottom, top] = look.most && look.most[1] > look.most[0] ? [Math.max(low, look.most[0]), Math.min(high, look.most[1])] : [low, high];
    if (look.log) return digitBounds(bottom > 0 ? bottom : low, top > 0 ? top : high);
    return uPlot.rangeNum(bottom, top > bottom ? top : high, 0.1, true);
  }

  function selected(self) {
    const { left, top, width, height } = self.select;
    self.setSelect({ left: 0, top: 0, width: 0, height: 0 }, false);
    const whole = { width: self.over.clientWidth, height: self.over.clientHeight };
    const ends = (from, to, scale) => [self.posToVal(from, scale), self.posToVal(to, scale)];
    onSelect({
      x: width < whole.width - 1 ? ends(left, left + width, "x") : null,
      y: height < whole.height - 1 ? ends(top + height, top, "y") : null,
    });
  }

  function cursorOptions() {
    return {
      dataIdx: nearestValue,
      y: false,
      points: { size: 7, fill: (self, index) => colour(series[index - 1].colour) },
      drag: onSelect ? { x: true, y: boxes, uni: boxes ? 20 : null, dist: 6, setScale: false } : { x: false, y: false },
      bind: { dblclick: () => () => onReset?.() },
    };
  }

  function options() {
    return {
      width: Math.max(el.clientWidth, 40),
      height: el.clientHeight,
      legend: { show: false },
      padding: [8, 20, 0, 0],
      cursor: cursorOptions(),
      scales: { x: { time: false, range: xBounds }, y: { distr: look.log ? 3 : 1, range: yBounds } },
      axes: [
        axis({ values: axisValues(0, (said) => said.map(xFormat)), size: 28, space: (_, __, low, high) => (high - low < 0.01 ? ROOM_OF_MANY_DIGITS : ROOM_OF_FEW) }),
        axis({ values: axisValues(1, numbers), size: 62 }),
      ],
      series: [
        {},
        ...series.map((one) => ({
          label: one.label,
          show: one.show ?? true,
          stroke: colour(one.colour),
          width: one.width ?? LINE,
          alpha: one.alpha ?? 1,
          dash: one.dash ?? undefined,
          spanGaps: true,
          points: { show: one.points ? hasRoomForDots : isAlone, size: 6, fill: (self, index) => colour(isAlone(self, index) ? one.colour : "--surface") },
        })),
      ],
      hooks: {
        setCursor: [(self) => pointed === null && onCursor?.(self.cursor.idxs?.[0] == null ? null : valuesAt(self))],
        setSelect: [(self) => onSelect && selected(self)],
        draw: [(self) => mark && drawMark(self, mark)],
      },
    };
  }

  const valuesAt = (self) => self.data.map((column, index) => column[self.cursor.idxs[index]] ?? null);

  // A logarithm has no place for zero and below.
  const drawn = () =>
    columns.map((column, index) => (index > 0 && look.log ? column.map((y) => (y > 0 ? y : null)) : column));

  // What uPlot takes only when it is made.
  const shape = () => JSON.stringify([look.log, series]);

  function build() {
    plot?.destroy();
    if (columns[0].length) el.replaceChildren();
    plot = columns[0].length ? new uPlot(options(), drawn(), el) : null;
    built = shape();
  }

  function showPointed() {
    if (!plot || pointed === null) return;
    const left = plot.valToPos(pointed, "x");
    const within = left >= 0 && left <= plot.over.clientWidth;
    plot.setCursor(within ? { left, top: 1 } : { left: -10, top: -10 }, false);
  }

  const draw = oncePerFrame(() => {
    // A box that is being drawn stays on what it was begun on.
    if (plot?.select.width > 0) return draw();
    if (!plot || built !== shape()) build();
    else plot.setData(drawn());
    showPointed();
  });

  el.addEventListener("pointermove", () => (pointed = null));
  new ResizeObserver(() => plot?.setSize({ width: Math.max(el.clientWidth, 40), height: el.clientHeight })).observe(el);
  document.addEventListener("themechange", () => plot && build());

  return {
    set(data) {
      columns = data;
      draw();
    },
    /** {log, x, y, most}: ends of x and y, null for all; `most` are the ends that y has at most. */
    look(changes) {
      look = { ...look, ...changes };
      draw();
    },
    /** Change how a series looks, or whether it is shown. */
    style(index, changes) {
      Object.assign(series[index], changes);
      draw();
    },
    /** Put the cursor at a place of x, or take it away. */
    point(x) {
      pointed = x;
      if (x === null) plot?.setCursor({ left: -10, top: -10 }, false);
      else showPointed();
    },
    mark(place) {
      mark = place;
      plot?.redraw(false);
    },
    /** What is seen, in pixels of the container: for a picture of it. */
    seen() {
      if (!plot) return null;
      const ratio = devicePixelRatio;
      const { left, top, width, height } = plot.bbox;
      const [x0, x1] = [plot.scales.x.min, plot.scales.x.max];
      const from = Math.max(0, columns[0].findIndex((x) => x >= x0) - 1);
      const after = columns[0].findIndex((x) => x > x1);
      const to = after < 0 ? columns[0].length : after + 1;
      const data = drawn();
      const at = (index, column) => [plot.valToPos(data[0][index], "x"), plot.valToPos(data[column][index], "y")];
      const places = (column) => Array.from({ length: to - from }, (_, place) => from + place).filter((index) => data[column][index] != null);
      return {
        left: left / ratio, top: top / ratio, width: width / ratio, height: height / ratio,
        x: ticks[0].map(([tick, label]) => [plot.valToPos(tick, "x"), label]),
        y: ticks[1].map(([tick, label]) => [plot.valToPos(tick, "y"), label]),
        mark: mark && { x: plot.valToPos(mark.at, "x"), strong: mark.strong },
        lines: series
          .map((one, index) => ({ ...one, width: one.width ?? LINE, points: places(index + 1).map((place) => at(place, index + 1)), dots: Boolean(one.points) && hasRoomForDots(plot, index + 1, from, to - 1) }))
          .filter((one) => one.show !== false && one.points.length),
      };
    },
  };
}
