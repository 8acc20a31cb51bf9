/* The layers of a network: a graph, drawn from top to bottom, beside a table. */

import { h, svg } from "./dom.js";
import { count, layerPlace, shape } from "./format.js";

const NODE = { width: 236, height: 46, gapX: 22, gapY: 22 };
const LANE = 16;

const values = (size) => (Array.isArray(size?.[0]) ? Math.max(...size.map(values)) : (size ?? []).reduce((a, b) => a * b, 1));
const shortened = (text, most) => (text.length > most ? `${text.slice(0, most - 1)}…` : text);

/** Row of each layer: one below the lowest of those that feed it. Column: its place among those in the same row. */
function arranged(layers) {
  const row = new Map([[-1, 0]]);
  const rows = [];
  const at = new Map();
  for (const layer of layers) {
    const inputs = layer.inputs?.length ? layer.inputs : [-1];
    const place = 1 + Math.max(...inputs.map((input) => row.get(input) ?? 0));
    row.set(layer.index, place);
    (rows[place] ??= []).push(layer);
  }
  const widest = Math.max(1, ...rows.filter(Boolean).map((inRow) => inRow.length));
  const width = widest * NODE.width + (widest - 1) * NODE.gapX;
  rows.forEach((inRow, place) => {
    const used = inRow.length * NODE.width + (inRow.length - 1) * NODE.gapX;
    inRow.forEach((layer, column) => at.set(layer.index, { x: (width - used) / 2 + column * (NODE.width + NODE.gapX), y: 34 + (place - 1) * (NODE.height + NODE.gapY), row: place }));
  });
  at.set(-1, { x: (width - NODE.width) / 2, y: 34 - NODE.gapY - NODE.height, row: 0 });
  return { at, width, height: 34 + (rows.length - 1) * (NODE.height + NODE.gapY) + 4 };
}

function edge(from, to, width, lanes) {
  const start = { x: from.x + NODE.width / 2, y: from.y + NODE.height };
  const end = { x: to.x + NODE.width / 2, y: to.y - 3 };
  if (to.row - from.row <= 1) {
    const bend = (end.y - start.y) / 2;
    return svg("path", { class: "edge", "marker-end": "url(#arrow)", d: `M${start.x} ${start.y}C${start.x} ${start.y + bend} ${end.x} ${end.y - bend} ${end.x} ${end.y}` });
  }
  // A skip goes round the layers that it passes, in a lane of its own.
  const lane = width + LANE * (1 + lanes.length);
  lanes.push(lane);
  const side = { x: from.x + NODE.width, y: from.row ? from.y + NODE.height / 2 : start.y + 6 };
  const into = { x: to.x + NODE.width + 3, y: to.y + NODE.height / 2 - 8 };
  const first = from.row ? `M${side.x} ${side.y}` : `M${start.x} ${side.y}`;
  return svg("path", { class: "edge skip", "marker-end": "url(#arrow)", d: `${first}H${lane - 8}Q${lane} ${side.y} ${lane} ${side.y + 8}V${into.y - 8}Q${lane} ${into.y} ${lane - 8} ${into.y}H${into.x}` });
}

function node(layer, position, where, largest, narrowest) {
  const size = values(layer.shape);
  const bar = largest > 1 ? Math.max(4, ((NODE.width - 16) * Math.log(size + 1)) / Math.log(largest + 1)) : 0;
  const css = ["node", layer.parameters ? "learns" : "", layer.index === narrowest ? "narrowest" : ""].join(" ");
  const detail = [shape(layer.shape), layer.parameters ? `${count(layer.parameters)} parameters` : null].filter(Boolean).join("  ·  ");
  return svg("g", { class: css, "data-layer": layer.index, transform: `translate(${position.x} ${position.y})` },
    svg("title", null, `${where} ${layer.name}, output ${detail}`),
    svg("rect", { class: "box", width: NODE.width, height: NODE.height, rx: 6 }),
    svg("text", { x: 10, y: 18 }, shortened(layer.name, 34)),
    svg("text", { class: "detail", x: 10, y: 34 }, shortened(detail, 40)),
    svg("rect", { class: "size", x: (NODE.width - bar) / 2, y: NODE.height - 4, width: bar, height: 2.5, rx: 1.2 }));
}

function graph(layers, narrowest, placeOf) {
  const { at, width, height } = arranged(layers);
  const largest = Math.max(...layers.map((layer) => values(layer.shape)));
  const lanes = [];
  const edges = layers.flatMap((layer) => (layer.inputs?.length ? layer.inputs : [-1]).filter((input) => at.has(input)).map((input) => edge(at.get(input), at.get(layer.index), width, lanes)));
  const nodes = layers.map((layer) => node(layer, at.get(layer.index), placeOf(layer), largest, narrowest));
  const full = width + (lanes.length ? LANE * (lanes.length + 1) : 0) + 20;
  return svg("svg", { class: "graph", width: full, height: height + 8, viewBox: `-10 -4 ${full} ${height + 8}`, role: "img", "aria-label": `Graph of ${layers.length} layers; the table beside it says the same` },
    svg("defs", null, svg("marker", { id: "arrow", viewBox: "0 0 8 8", refX: 6, refY: 4, markerWidth: 7, markerHeight: 7, orient: "auto" }, svg("path", { d: "M0 .8 7 4 0 7.2z" }))),
    svg("text", { class: "ends", x: width / 2, y: 9, "text-anchor": "middle" }, "input"),
    edges, nodes);
}

function table(layers, narrowest, placeOf) {
  const rows = layers.map((layer) => h("tr", { "data-layer": layer.index },
    h("td", { class: "number muted" }, placeOf(layer)),
    h("th", { scope: "row", class: "breakable" }, layer.name, layer.index === narrowest ? [" ", h("span", { class: "tag" }, "narrowest")] : null),
    h("td", { class: "number" }, shape(layer.shape)),
    h("td", { class: "number" }, layer.parameters ? count(layer.parameters) : "–")));
  return h("div", { class: "table-scroll" }, h("table", { class: "data layer-table" },
    h("thead", null, h("tr", null, h("th", { scope: "col", class: "number" }, "#"), h("th", { scope: "col" }, "Layer"), h("th", { scope: "col", class: "number" }, "Output"), h("th", { scope: "col", class: "number" }, "Parameters"))),
    h("tbody", null, rows)));
}

/** Graph and table, below the network as its framework prints it, if it does; the same layer lights up in both. */
export function layerView({ layers, code_layer: narrowest, printed }, framework) {
  const placeOf = (layer) => layerPlace(layer, framework);
  const text = printed ? h("pre", { class: "printed", tabindex: "0", role: "group", "aria-label": "The network as Torch prints it" }, printed) : null;
  const view = h("div", { class: "layers", "data-layers": layers.length }, text, h("div", { class: "graph-scroll", tabindex: "0", role: "group", "aria-label": "Graph of the layers" }, graph(layers, narrowest, placeOf)), table(layers, narrowest, placeOf));
  const light = (index) => view.querySelectorAll("[data-layer]").forEach((el) => el.classList.toggle("current", el.dataset.layer === index));
  view.addEventListener("pointerover", (event) => light(event.target.closest("[data-layer]")?.dataset.layer));
  view.addEventListener("pointerleave", () => light(undefined));
  return view;
}
