/* Copy buttons, wherever they are on the page. */

async function copy(button) {
  const before = button.textContent;
  try {
    await navigator.clipboard.writeText(button.dataset.copy);
    button.textContent = "Copied";
  } catch {
    // Without https or permission there is no clipboard: select the text, so that Ctrl+C takes it.
    const text = button.parentElement.querySelector("code");
    if (text) getSelection().selectAllChildren(text);
    button.textContent = "Press Ctrl+C";
  }
  setTimeout(() => {
    button.textContent = before;
  }, 1600);
}

document.addEventListener("click", (event) => {
  const button = event.target.closest?.("button[data-copy]");
  if (button && button.textContent === "Copy") copy(button);
});
