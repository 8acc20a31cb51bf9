/* Charts as a file: an SVG drawing of what is seen, with axes and legend, and the same as PNG. */

import { colour } from "./chart.js";
import { svg } from "./dom.js";

const SCALE = 2;
const MARGIN = 16;
const LEGEND = 30;
const TITLE = 26;
const FONT = "system-ui, 'Segoe UI', 'Liberation Sans', sans-serif";

const rounded = (value) => Math.round(value * 100) / 100;
const text = (x, y, words, extra = {}) => svg("text", { x: rounded(x), y: rounded(y), fill: colour("--muted"), "font-size": 12, ...extra }, words);
const pathOf = (points) => points.map(([x, y], index) => `${index ? "L" : "M"}${rounded(x)} ${rounded(y)}`).join("");

function line(one) {
  const stroke = colour(one.colour);
  const path = svg("path", { d: pathOf(one.points), fill: "none", stroke, "stroke-width": one.width, "stroke-opacity": one.alpha ?? 1, "stroke-dasharray": one.dash?.join(" "), "stroke-linejoin": "round" }, svg("title", null, one.label));
  const dots = one.dots ? one.points.map(([x, y]) => svg("circle", { cx: rounded(x), cy: rounded(y), r: 2.5, fill: colour("--surface"), stroke, "stroke-width": 1.5 })) : [];
  return [path, ...dots];
}

function markLine(mark, height) {
  return mark && svg("line", { x1: rounded(mark.x), x2: rounded(mark.x), y1: 0, y2: height, stroke: colour("--accent"), "stroke-opacity": mark.strong ? 1 : 0.45, "stroke-width": mark.strong ? 2 : 1, "stroke-dasharray": mark.strong ? null : "3 3" });
}

/** One chart, its container's upper left corner at the origin. */
function drawing(seen, id) {
  const { left, top, width, height } = seen;
  const grid = { stroke: colour("--grid") };
  return [
    svg("defs", null, svg("clipPath", { id }, svg("rect", { width, height }))),
    seen.y.map(([y, label]) => [svg("line", { x1: left, x2: left + width, y1: rounded(top + y), y2: rounded(top + y), ...grid }), text(left - 8, top + y + 4, label, { "text-anchor": "end" })]),
    seen.x.map(([x, label]) => [svg("line", { x1: rounded(left + x), x2: rounded(left + x), y1: top, y2: top + height, ...grid }), text(left + x, top + height + 18, label, { "text-anchor": "middle" })]),
    svg("g", { transform: `translate(${rounded(left)} ${rounded(top)})` }, svg("g", { "clip-path": `url(#${id})` }, markLine(seen.mark, height), seen.lines.flatMap(line))),
  ].flat(3);
}

function legend(lines, y) {
  let x = MARGIN;
  return lines.flatMap((one) => {
    const at = x;
    x += 22 + 8 + one.label.length * 7 + 22;
    return [
      svg("line", { x1: at, x2: at + 22, y1: y - 4, y2: y - 4, stroke: colour(one.colour), "stroke-opacity": one.alpha ?? 1, "stroke-width": 2.4, "stroke-dasharray": one.dash?.join(" ") }),
      text(at + 30, y, one.label, { fill: colour("--text") }),
    ];
  });
}

/** charts: [{title, seen, height}], one under the other; the whole as text of an SVG file. */
export function svgPicture(name, width, charts) {
  const parts = [text(MARGIN, MARGIN + 12, name, { fill: colour("--text"), "font-size": 15, "font-weight": 600 })];
  let y = MARGIN + 12 + LEGEND;
  parts.push(...legend(charts.flatMap((chart) => chart.seen.lines), y));
  y += 10;
  charts.forEach((chart, index) => {
    parts.push(text(MARGIN, y + TITLE - 8, chart.title), svg("g", { transform: `translate(${MARGIN} ${y + TITLE})` }, drawing(chart.seen, `plot-${index}`)));
    y += TITLE + chart.height;
  });
  const full = { width: width + 2 * MARGIN, height: y + MARGIN };
  const root = svg("svg", { ...full, viewBox: `0 0 ${full.width} ${full.height}`, "font-family": FONT },
    svg("title", null, name), svg("rect", { ...full, fill: colour("--surface") }), parts);
  return { text: new XMLSerializer().serializeToString(root), ...full };
}

/** The picture's pixels, twice as many as on the screen, as a PNG file. */
export async function pngOf(picture) {
  const url = URL.createObjectURL(new Blob([picture.text], { type: "image/svg+xml" }));
  try {
    const image = new Image(picture.width * SCALE, picture.height * SCALE);
    image.src = url;
    await image.decode();
    const canvas = document.createElement("canvas");
    canvas.width = picture.width * SCALE;
    canvas.height = picture.height * SCALE;
    canvas.getContext("2d").drawImage(image, 0, 0, canvas.width, canvas.height);
    return await new Promise((resolve) => canvas.toBlob(resolve, "image/png"));
  } finally {
    URL.revokeObjectURL(url);
  }
}

/** Hand a file to the person. */
export function saveAs(name, blob) {
  const url = URL.createObjectURL(blob);
  const link = document.createElement("a");
  link.href = url;
  link.download = name;
  link.click();
  // The browser has begun to read it by then.
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}
