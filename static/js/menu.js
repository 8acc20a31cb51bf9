/* A menu is a <details>; this closes it on Escape and on a click elsewhere. */

export function mount(el) {
  el.addEventListener("keydown", (event) => {
    if (event.key !== "Escape" || !el.open) return;
    event.preventDefault(); // a dialog around it stays
    el.open = false;
    el.querySelector("summary").focus();
  });
  document.addEventListener("click", (event) => {
    if (!el.contains(event.target)) el.open = false;
  });
}
