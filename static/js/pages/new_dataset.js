/* Fields that hold only when a box is ticked are shown only then. */

export function mount(form) {
  const show = () => {
    for (const part of form.querySelectorAll("[data-shown-by]")) {
      part.hidden = !document.getElementById(part.dataset.shownBy).checked;
    }
  };
  form.addEventListener("change", show);
  show();
}
