/* What a network made of one image: pictures, scores and a table of its layers. Test One and the live page draw with it. */

import { h, role, setText, svg } from "./dom.js";
import { count, layerPlace, number, numbers } from "./format.js";
import { pictureSource, pictureView } from "./picture.js";

const HISTOGRAM = { width: 200, height: 48, least: 0.8 };

/**
 * Draws predictions into the places of `el`, each over the one before: what is there changes, and stays where it is.
 * Of a training, each row has a place for what only a training knows, also while that is not known yet. `framework` is
 * that of the network.
 */
export function predictionView(el, { framework, ofTraining = false }) {
  const pictures = inPlace(role(el, "pictures"), (item) => item.key, figure);
  const table = layerTable(role(el, "layer-rows"), framework, ofTraining);
  return {
    show(prediction, { pictures: shown = prediction.pictures } = {}) {
      pictures(shown);
      showScores(el, prediction.error);
      table(prediction);
      setText(role(el, "total-parameters"), count(prediction.total_parameters));
    },
  };
}

/** Resolves once the browser has decoded all pictures of a prediction, so that they can be shown in one breath. */
export async function decodePictures({ pictures, layers }) {
  const drawn = [...pictures, ...layers].map(({ picture }) => picture).filter(Boolean);
  await Promise.all(drawn.map((picture) => {
    const image = new Image();
    image.src = pictureSource(picture);
    return image.decode();
  }));
}

/** A list in which an item keeps its node as long as its key is there: `make(item)` answers {el, show(item)}. */
export function inPlace(parent, keyOf, make) {
  let views = new Map();
  return (items) => {
    views = new Map(items.map((item) => [keyOf(item), views.get(keyOf(item)) ?? make(item)]));
    for (const item of items) views.get(keyOf(item)).show(item);
    const nodes = [...views.values()].map((view) => view.el);
    const isSame = nodes.length === parent.children.length && nodes.every((node, index) => node === parent.children[index]);
    if (!isSame) parent.replaceChildren(...nodes);
  };
}

function showScores(el, error) {
  role(el, "scores").hidden = !error;
  setText(role(el, "mse"), number(error?.mse));
  setText(role(el, "correlation"), typeof error?.correlation === "number" ? error.correlation.toFixed(3) : "–");
}

function figure({ key }) {
  const title = h("figcaption");
  const picture = pictureView();
  const caption = h("p", { class: "caption" });
  return {
    el: h("figure", { "data-picture": key }, title, picture.el, caption),
    show(item) {
      setText(title, item.title);
      setText(caption, `${item.caption}${rangeInWords(item)}`);
      picture.show(item.picture, item.title);
    },
  };
}

/** A caption without a range stands by itself. */
function rangeInWords({ range }) {
  if (range === undefined) return "";
  return range === null ? ": no finite value." : `: ${numbers(range).join(" to ")}.`;
}

/** Fills the rows of a table of layers: a row for the activations of each call, and for each weight. */
function layerTable(body, framework, ofTraining) {
  const rows = inPlace(body, ({ layer }) => `${layer.index} ${layer.kind} ${layer.name}`, ({ layer }) => layerRow(layer, layerPlace(layer, framework), ofTraining));
  return ({ layers, pictures, code_layer: code }) => {
    const codeTitle = pictures.find(({ key }) => key === "code")?.title;
    rows(layers.map((layer) => ({ layer, isCode: layer.index === code, tag: layer.index === code && layer.kind === "activations" ? codeTitle : null })));
  };
}

function layerRow({ kind, name }, place, ofTraining) {
  const parameters = h("span", { class: "muted" });
  const tag = h("span", { class: "tag" });
  const numbers = statistics(ofTraining ? [...OF_VALUES, ...OF_TRAINING] : OF_VALUES);
  const bars = histogram();
  const picture = pictureView();
  const notDrawn = h("em", { class: "muted" });
  const el = h("tr", { "data-kind": kind },
    h("th", { scope: "row" }, h("span", { class: "layer-name breakable" }, h("span", { class: "layer-place" }, place), " ", name), h("span", { class: "kind" }, kind[0].toUpperCase() + kind.slice(1)), parameters, tag),
    h("td", null, h("div", { class: "statistics" }, numbers.el, bars.el)),
    h("td", null, h("div", { class: "layer-picture" }, picture.el), notDrawn));
  return {
    el,
    show({ layer, isCode, tag: words }) {
      const label = `${layer.name} ${layer.kind}`;
      el.classList.toggle("code-layer", isCode);
      setText(tag, words ?? "");
      tag.hidden = !words;
      setText(parameters, layer.parameters ? `${count(layer.parameters)} learned parameters` : "");
      parameters.hidden = !layer.parameters;
      numbers.show(layer);
      bars.show(layer.histogram, label);
      picture.el.parentElement.hidden = !layer.picture;
      if (layer.picture) picture.show(layer.picture, label);
      setText(notDrawn, layer.picture ? "" : layer.not_drawn ?? "Not shown");
    },
  };
}

const tuple = (shape) => `(${shape.join(", ")}${shape.length === 1 ? "," : ""})`;
const share = (part, whole) => `${count(part)} of ${count(whole)} (${Math.round((100 * part) / whole)} %)`;

// What a row says; a line without words is left out.
const OF_VALUES = [
  ["Data shape", ({ shape }) => tuple(shape)],
  ["Mean", ({ mean }) => number(mean)],
  ["Std deviation", ({ std }) => number(std)],
  ["Range", ({ minimum, maximum }) => (minimum === null ? number(null) : numbers([minimum, maximum]).join(" … "))],
  ["Not finite", ({ not_finite: spoilt }) => (spoilt ? count(spoilt) : null)],
];
const OF_TRAINING = [
  ["Gradient norm", ({ kind, gradient_norm: norm }) => (kind === "activations" ? null : number(norm))],
  ["Dead units", ({ units, dead_units: dead }) => (dead === null ? null : share(dead, units))],
];

function statistics(kinds) {
  const lines = kinds.map(([label, words]) => ({ words, name: h("dt", null, label), value: h("dd") }));
  return {
    el: h("dl", { class: "pairs" }, lines.map(({ name, value }) => [name, value]).flat()),
    show(layer) {
      for (const { words, name, value } of lines) {
        const text = words(layer);
        setText(value, text ?? "");
        name.hidden = value.hidden = text === null;
      }
    },
  };
}

function histogram() {
  const { width, height, least } = HISTOGRAM;
  const bars = svg("g");
  const [low, high] = [svg("text", { x: 0, y: 60 }), svg("text", { x: width, y: 60, "text-anchor": "end" })];
  const el = svg("svg", { class: "histogram", viewBox: `0 0 ${width} 62`, role: "img" }, bars, svg("path", { class: "axis", d: `M0 ${height + 0.5}H${width}` }), low, high);
  const draw = inPlace(bars, ({ place }) => place, ({ place, of }) => {
    const title = svg("title");
    const bar = svg("rect", { x: (place * width) / of + 0.5, width: width / of - 1 }, title);
    return {
      el: bar,
      show({ tall, words }) {
        bar.setAttribute("y", height - tall);
        bar.setAttribute("height", tall);
        setText(title, words);
      },
    };
  });
  return {
    el,
    show(data, label) {
      // Not el.hidden: an SVG has no such property.
      el.toggleAttribute("hidden", !data);
      if (!data) return;
      const { counts, edges } = data;
      const peak = Math.max(...counts, 1);
      draw(counts.map((size, place) => ({
        place, of: counts.length, tall: size ? Math.max((height * size) / peak, least) : 0,
        words: `${numbers([edges[place], edges[place + 1]]).join(" to ")}: ${count(size)}`,
      })));
      const [first, last] = numbers([edges[0], edges.at(-1)]);
      setText(low, first);
      setText(high, last);
      el.setAttribute("aria-label", `Histogram of ${label}, from ${first} to ${last}`);
    },
  };
}
