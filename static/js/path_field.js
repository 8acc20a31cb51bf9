/* Completion of server paths as one types: a combobox in the sense of WAI-ARIA. */

import { debounced, h } from "./dom.js";
import { get } from "./requests.js";

export function mount(el) {
  const input = el.querySelector("input");
  const list = h("ul", { class: "suggestions", role: "listbox", id: `${input.id}-suggestions`, "aria-label": "Paths on the server", hidden: true });
  el.append(list);
  for (const [name, value] of Object.entries({ role: "combobox", "aria-autocomplete": "list", "aria-expanded": "false", "aria-controls": list.id })) {
    input.setAttribute(name, value);
  }
  let active = -1;
  let current = null;

  function close() {
    list.hidden = true;
    active = -1;
    input.setAttribute("aria-expanded", "false");
    input.removeAttribute("aria-activedescendant");
  }

  function activate(index) {
    const options = [...list.children];
    active = (index + options.length) % options.length;
    options.forEach((option, at) => option.setAttribute("aria-selected", String(at === active)));
    input.setAttribute("aria-activedescendant", options[active].id);
    options[active].scrollIntoView({ block: "nearest" });
  }

  function choose(path) {
    input.value = path;
    input.dispatchEvent(new Event("change", { bubbles: true }));
    close();
    // A folder has something inside: go on there.
    if (path.endsWith("/")) suggest();
  }

  function show(paths) {
    const options = paths.map((path, index) => {
      const cut = path.replace(/\/$/, "").lastIndexOf("/") + 1;
      return h("li", { role: "option", id: `${list.id}-${index}`, "aria-selected": "false", "data-path": path }, h("span", { class: "given" }, path.slice(0, cut)), path.slice(cut));
    });
    // What was chosen with the keys stays so when the same is suggested anew.
    const chosen = paths.indexOf(list.children[active]?.dataset.path);
    list.replaceChildren(...options);
    list.hidden = options.length === 0;
    input.setAttribute("aria-expanded", String(options.length > 0));
    if (chosen >= 0) return activate(chosen);
    active = -1;
    input.removeAttribute("aria-activedescendant");
  }

  async function suggest() {
    current?.abort();
    current = new AbortController();
    const asked = input.value;
    try {
      const query = new URLSearchParams({ query: asked, only: el.dataset.path ?? "" });
      const { suggestions } = await get(`/autocomplete/path?${query}`, { signal: current.signal });
      const only = suggestions.length === 1 && suggestions[0].replace(/\/$/, "") === asked;
      if (document.activeElement === input && input.value === asked) show(only ? [] : suggestions);
    } catch (error) {
      // No suggestions; the form itself says what is wrong with a path. What was asked for since brings others.
      if (error.name !== "AbortError") close();
    }
  }

  const suggestSoon = debounced(() => (input.value ? suggest() : close()), 120);
  input.addEventListener("input", () => {
    // Who goes on typing does not mean what was chosen before.
    active = -1;
    input.removeAttribute("aria-activedescendant");
    list.querySelector('[aria-selected="true"]')?.setAttribute("aria-selected", "false");
    suggestSoon();
  });
  input.addEventListener("focus", () => input.value && suggest());
  input.addEventListener("blur", close);
  input.addEventListener("keydown", (event) => {
    const open = !list.hidden;
    if (event.key === "ArrowDown" || event.key === "ArrowUp") {
      event.preventDefault();
      if (open) activate(event.key === "ArrowDown" ? active + 1 : active < 0 ? -1 : active - 1);
      else suggest();
    } else if (event.key === "Enter" && open && active >= 0) {
      event.preventDefault();
      choose(list.children[active].dataset.path);
    } else if (event.key === "Escape" && open) {
      event.preventDefault();
      event.stopPropagation();
      close();
    }
  });
  // Before the input loses its focus.
  list.addEventListener("mousedown", (event) => {
    event.preventDefault();
    const option = event.target.closest("li");
    if (option) choose(option.dataset.path);
  });
}
