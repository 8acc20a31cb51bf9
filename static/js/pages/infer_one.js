/* Single values of a picture: under the pointer, under a finger, or by arrow keys. */

import { role } from "../dom.js";
import { number } from "../format.js";

const STEPS = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] };

export function mount(el) {
  const values = JSON.parse(el.dataset.values);
  const [rows, columns] = [values.length, values[0].length];
  const img = el.querySelector("img");
  const cell = role(el, "cell");
  const output = role(el, "value");
  let at = null;

  /** Where the picture itself lies in its box: object-fit leaves bars beside one that is not square. */
  function drawn() {
    const box = img.getBoundingClientRect();
    const scale = Math.min(box.width / columns, box.height / rows);
    const [width, height] = [columns * scale, rows * scale];
    return { left: box.left + (box.width - width) / 2, top: box.top + (box.height - height) / 2, scale };
  }

  function show(row, column) {
    if (row < 0 || column < 0 || row >= rows || column >= columns) return hide();
    at = [row, column];
    const { left, top, scale } = drawn();
    const frame = el.getBoundingClientRect();
    cell.style.left = `${left - frame.left + column * scale - 1}px`;
    cell.style.top = `${top - frame.top + row * scale - 1}px`;
    cell.style.width = cell.style.height = `${scale + 2}px`;
    cell.hidden = false;
    const value = values[row][column];
    output.textContent = `row ${row}, column ${column}: ${value === null ? "no value" : number(value)}`;
  }

  function hide() {
    at = null;
    cell.hidden = true;
    output.textContent = "\u00a0";
  }

  function fromPointer(event) {
    const { left, top, scale } = drawn();
    show(Math.floor((event.clientY - top) / scale), Math.floor((event.clientX - left) / scale));
  }

  img.addEventListener("pointermove", fromPointer);
  img.addEventListener("pointerdown", fromPointer);
  el.addEventListener("pointerleave", (event) => event.pointerType === "mouse" && hide());
  el.addEventListener("blur", hide);
  el.addEventListener("keydown", (event) => {
    const step = STEPS[event.key];
    if (!step) return;
    event.preventDefault();
    const [row, column] = at ?? [0, 0];
    const clamp = (value, most) => Math.min(Math.max(value, 0), most - 1);
    if (at) show(clamp(row + step[0], rows), clamp(column + step[1], columns));
    else show(0, 0);
  });
}
