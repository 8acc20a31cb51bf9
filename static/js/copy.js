/* Copy buttons, wherever they are on the page. */

/** Copies `text` and says so on the button. Without https or permission there is no clipboard: `select` it, so that Ctrl+C does. */
export async function copyText(button, text, select) {
  const before = button.textContent;
  if (before !== "Copy") return;
  try {
    await navigator.clipboard.writeText(text);
    button.textContent = "Copied";
  } catch {
    select();
    button.textContent = "Press Ctrl+C";
  }
  setTimeout(() => {
    button.textContent = before;
  }, 1600);
}

document.addEventListener("click", (event) => {
  const button = event.target.closest?.("button[data-copy]");
  if (!button) return;
  const text = button.parentElement.querySelector("code");
  copyText(button, button.dataset.copy, () => text && getSelection().selectAllChildren(text));
});
