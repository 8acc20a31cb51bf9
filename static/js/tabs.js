/* A row of tabs in the sense of WAI-ARIA: one is chosen, and the arrow keys choose its neighbours. */

/** Calls `choose(name)` with the `data-tab` of a tab that is chosen anew. Answers a function that chooses one by name. */
export function tabs(list, choose) {
  const all = [...list.querySelectorAll('[role="tab"]')];
  const chosen = () => all.findIndex((tab) => tab.getAttribute("aria-selected") === "true");

  function select(tab) {
    if (tab === all[chosen()]) return;
    for (const other of all) {
      other.setAttribute("aria-selected", String(other === tab));
      other.tabIndex = other === tab ? 0 : -1;
    }
    document.getElementById(tab.getAttribute("aria-controls"))?.setAttribute("aria-labelledby", tab.id);
    choose(tab.dataset.tab);
  }

  const STEPS = { ArrowRight: () => chosen() + 1, ArrowLeft: () => chosen() - 1, Home: () => 0, End: () => -1, " ": chosen };
  list.addEventListener("keydown", (event) => {
    if (!(event.key in STEPS) || event.ctrlKey || event.altKey || event.metaKey) return;
    event.preventDefault();
    const tab = all.at(STEPS[event.key]() % all.length);
    select(tab);
    tab.focus();
  });
  list.addEventListener("click", (event) => {
    const tab = event.target.closest('[role="tab"]');
    if (!tab || event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    select(tab);
  });
  return (name) => select(all.find((tab) => tab.dataset.tab === name) ?? all[chosen()]);
}
