/* Test One: a preview of the picture, dropping one on the form, snapshots as they come. */

import { h, role } from "./dom.js";
import { mountDrop } from "./drop.js";

export function mount(el) {
  const form = el.querySelector("form");
  const { image_file: file, image_path: path } = form.elements;
  const preview = role(el, "preview");
  const error = role(el, "error");

  function showPreview() {
    if (preview.src) URL.revokeObjectURL(preview.src);
    const [chosen] = file.files;
    preview.hidden = !chosen;
    if (chosen) {
      preview.src = URL.createObjectURL(chosen);
      path.value = "";
    }
    error.hidden = true;
  }

  // A picture of a kind that browsers do not show may still be tested.
  preview.addEventListener("error", () => {
    preview.hidden = true;
  });
  mountDrop(role(el, "drop"), showPreview);
  path.addEventListener("input", () => {
    error.hidden = true;
    if (!path.value || !file.files.length) return;
    file.value = "";
    showPreview();
  });
  form.addEventListener("submit", (event) => {
    if (file.files.length || path.value.trim()) return;
    event.preventDefault();
    error.textContent = "Choose a picture, or name a path.";
    error.hidden = false;
    file.focus();
  });
}

/** A snapshot became ready: first in the list, and chosen if the first of the list was. */
export function addSnapshot(el, epoch) {
  const select = role(el, "snapshots");
  if ([...select.options].some((option) => Number(option.value) === epoch)) return;
  const newestChosen = select.selectedIndex <= 0;
  const before = [...select.options].find((option) => Number(option.value) < epoch) ?? null;
  select.insertBefore(h("option", { value: epoch }, `Epoch #${epoch}`), before);
  if (newestChosen) select.selectedIndex = 0;
  role(el, "no-snapshots").hidden = true;
  for (const control of [select, role(el, "submit")]) control.disabled = false;
}
