/* One picture of values: the image, its bar of colours, and single values under the pointer, under a finger, or by arrow keys. */

import { h, setText } from "./dom.js";
import { number, numbers } from "./format.js";

const STEPS = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] };
const NOTHING = "\u00a0";

export const pictureSource = (picture) => `data:image/png;base64,${picture.png}`;

/** Answers {el, show(picture, label)}. A picture that is shown after another one takes its place, without a gap between. */
export function pictureView() {
  // A picture that was decoded before is there at once; without "sync" it would still come later than the text beside it.
  const img = h("img", { class: "pixelated", decoding: "sync" });
  const frame = h("div", { class: "picture" }, img);
  const setValues = valueReader(frame, img);
  const bar = colourBar();
  return {
    el: h("div", { class: "picture-and-bar" }, frame, bar.el),
    show(picture, label) {
      const source = pictureSource(picture);
      if (img.src !== source) img.src = source;
      img.width = picture.width;
      img.height = picture.height;
      img.alt = label;
      setValues(picture.values, label);
      bar.show(picture);
    },
  };
}

function colourBar() {
  const bar = h("span", { class: "bar" });
  const [low, high] = [h("span"), h("span")];
  const el = h("div", { class: "colour-bar" }, bar, low, high);
  return {
    el,
    show({ colormap, minimum, maximum, values }) {
      el.hidden = colormap === "rgb";
      // The scale may be another picture's as well, and this one empty all the same.
      const isEmpty = minimum === null || Boolean(values?.flat().every((value) => value === null));
      bar.hidden = high.hidden = isEmpty;
      if (isEmpty) return setText(low, "No finite value");
      bar.className = `bar ${colormap}`;
      const [least, most] = numbers([minimum, maximum]);
      setText(low, least);
      setText(high, most);
    },
  };
}

/** Shows one value at a time; where it was, there it stays when other values come. The answer is what sets them. */
function valueReader(frame, img) {
  const cell = h("span", { class: "cell", "data-role": "cell", hidden: true });
  const output = h("output", { class: "value", "data-role": "value", "aria-live": "polite" }, NOTHING);
  frame.append(cell, output);
  let values = null;
  let at = null;
  const size = () => [values?.length ?? 0, values?.[0].length ?? 0];

  /** Where the picture itself lies in its box: object-fit leaves bars beside one that is not square. */
  function drawn() {
    const [rows, columns] = size();
    const box = img.getBoundingClientRect();
    const scale = Math.min(box.width / columns, box.height / rows);
    const [width, height] = [columns * scale, rows * scale];
    return { left: box.left + (box.width - width) / 2, top: box.top + (box.height - height) / 2, scale };
  }

  function show(row, column) {
    const value = values?.[row]?.[column];
    if (value === undefined) return hide();
    at = [row, column];
    const { left, top, scale } = drawn();
    const around = frame.getBoundingClientRect();
    cell.style.left = `${left - around.left + column * scale - 1}px`;
    cell.style.top = `${top - around.top + row * scale - 1}px`;
    cell.style.width = cell.style.height = `${scale + 2}px`;
    cell.hidden = false;
    setText(output, `row ${row}, column ${column}: ${value === null ? "no value" : number(value)}`);
  }

  function hide() {
    at = null;
    cell.hidden = true;
    setText(output, NOTHING);
  }

  function fromPointer(event) {
    const { left, top, scale } = drawn();
    show(Math.floor((event.clientY - top) / scale), Math.floor((event.clientX - left) / scale));
  }

  img.addEventListener("pointermove", fromPointer);
  img.addEventListener("pointerdown", fromPointer);
  frame.addEventListener("pointerleave", (event) => event.pointerType === "mouse" && hide());
  frame.addEventListener("blur", hide);
  frame.addEventListener("keydown", (event) => {
    const step = STEPS[event.key];
    if (!step || !values) return;
    event.preventDefault();
    const [rows, columns] = size();
    const clamp = (value, most) => Math.min(Math.max(value, 0), most - 1);
    if (at) show(clamp(at[0] + step[0], rows), clamp(at[1] + step[1], columns));
    else show(0, 0);
  });
  return (now, label) => {
    values = now;
    output.hidden = !values;
    const attributes = values && { "data-values": JSON.stringify(values), tabindex: 0, role: "group", "aria-label": `${label}. Arrow keys read single values.` };
    for (const name of ["data-values", "tabindex", "role", "aria-label"]) {
      if (attributes) frame.setAttribute(name, attributes[name]);
      else frame.removeAttribute(name);
    }
    if (at) show(...at);
  };
}
