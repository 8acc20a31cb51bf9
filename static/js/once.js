/* A form that makes something is sent once, however often its button is clicked. */

export function mount(form) {
  let sent = false; // a form with a field named "dataset" has no el.dataset
  const buttons = () => [...form.querySelectorAll('button:not([type="button"])')];
  form.addEventListener("submit", (event) => {
    if (sent) event.preventDefault();
    sent = true;
    form.setAttribute("aria-busy", "true");
    // After this turn: a disabled button would not be the one that sent the form.
    setTimeout(() => buttons().forEach((button) => (button.disabled = true)));
  });
  // Back from the next page, the form can be sent again.
  addEventListener("pageshow", (event) => {
    if (sent && !event.persisted) return; // before all of its page was there
    sent = false;
    form.removeAttribute("aria-busy");
    buttons().forEach((button) => (button.disabled = false));
  });
}
