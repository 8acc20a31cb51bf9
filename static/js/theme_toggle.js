/* Light, dark or as the system has it; remembered in this browser. */

export function mount(el) {
  const root = document.documentElement;
  const show = (chosen) => {
    for (const button of el.querySelectorAll("button")) {
      button.setAttribute("aria-pressed", String(button.dataset.themeChoice === chosen));
    }
  };
  let remembered = "auto";
  try {
    remembered = localStorage.getItem("theme") ?? "auto";
  } catch {
    // Without storage the choice holds for this page only.
  }
  show(remembered);
  el.hidden = false;
  el.addEventListener("click", (event) => {
    const chosen = event.target.closest("button")?.dataset.themeChoice;
    if (!chosen) return;
    root.dataset.themeChoice = chosen;
    try {
      localStorage.setItem("theme", chosen);
    } catch {
      // See above.
    }
    show(chosen);
    document.dispatchEvent(new Event("themechosen"));
  });
}
