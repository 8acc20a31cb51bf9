/* Light, dark or as the system has it; remembered in this browser. */

import { remember, remembered } from "./dom.js";

export function mount(el) {
  const root = document.documentElement;
  const show = (chosen) => {
    for (const button of el.querySelectorAll("button")) {
      button.setAttribute("aria-pressed", String(button.dataset.themeChoice === chosen));
    }
  };
  show(remembered("theme") ?? "auto");
  el.hidden = false;
  el.addEventListener("click", (event) => {
    const chosen = event.target.closest("button")?.dataset.themeChoice;
    if (!chosen) return;
    root.dataset.themeChoice = chosen;
    remember("theme", chosen);
    show(chosen);
    document.dispatchEvent(new Event("themechosen"));
  });
}
