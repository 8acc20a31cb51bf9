/* A place with a field for one file, on which a file may be dropped, too. */

export function mountDrop(el, onChosen) {
  const file = el.querySelector('input[type="file"]');
  for (const name of ["dragenter", "dragover"]) {
    el.addEventListener(name, (event) => {
      event.preventDefault();
      el.classList.add("over");
    });
  }
  for (const name of ["dragleave", "drop"]) el.addEventListener(name, () => el.classList.remove("over"));
  el.addEventListener("drop", (event) => {
    event.preventDefault();
    if (!event.dataTransfer.files.length) return;
    file.files = event.dataTransfer.files;
    onChosen();
  });
  file.addEventListener("change", onChosen);
}
