/* "Show the Python": what a network in Lua is in Python, to read beside the Lua and to go on with. */

import { copyText } from "./copy.js";
import { confirmed, h, role } from "./dom.js";
import { codeView } from "./editor.js";
import { mountNetworkQuestion } from "./network_question.js";

const WEIGHTS_STAY = { text: "The pretrained weights stay in the tab Torch: a network in Python begins with weights of its own.", line: null };

/** `mayReplacePython()` says whether the Python tab holds nothing of the person's own; `choose(framework)` shows a tab. */
export function mountShowPython(form, editor, { mayReplacePython, choose }) {
  const button = form.querySelector('[data-action="show-python"]');
  const panel = role(form, "python");
  const replacement = document.getElementById("replace-python");

  async function continueWith(python) {
    if (!mayReplacePython() && editor.text("pytorch") !== python && !(await confirmed(replacement))) return;
    choose("pytorch");
    if (editor.text() !== python) editor.setText(python);
    role(form, "network").scrollIntoView();
    editor.focus();
  }

  const remark = ({ text, line }) => h("li", null, line && [h("button", { type: "button", class: "link", onclick: () => editor.goTo(line) }, `Line ${line}`), ": "], text);

  function show({ python, notes, is_same: isSame }, fill) {
    const code = codeView(python, "pytorch", "The network in Python, to read");
    const copy = h("button", { type: "button", class: "button small" }, "Copy");
    copy.addEventListener("click", () => copyText(copy, python, code.selectAll));
    const tools = h("span", { class: "panel-tools" }, copy, h("button", { type: "button", class: "button small primary", onclick: () => continueWith(python) }, "Continue in Python"));
    const heading = h("h2", { tabindex: -1 }, "The same network in Python", tools);
    const remarks = form.elements.pretrained_model.value.trim() ? [...notes, WEIGHTS_STAY] : notes;
    fill(
      heading,
      isSame
        ? h("p", { class: "alert alert-success" }, "Both were run on the same images: the Python gave the same weights, outputs, loss and gradients as the Lua.")
        : h("p", { class: "alert alert-warning" }, "This Python does not do the same as the Lua in everything. Read what differs before you go on with it."),
      h("ul", { class: "remarks", "aria-label": "What to know about this Python", hidden: remarks.length === 0 }, remarks.map(remark)),
      h("div", { class: "editor code-view", "aria-live": "off" }, code.dom),
    );
    // A button that was disabled has lost the focus; a person who went elsewhere meanwhile keeps it.
    if ([button, document.body].includes(document.activeElement)) heading.focus({ preventScroll: true });
  }

  const waiting = "Writing the network in Python, and running it beside the Lua…";
  const changed = "The Lua or what it is for was changed since. Show the Python again to see what it is now.";
  mountNetworkQuestion(form, editor, { button, panel, url: "/models/show-python", waiting, changed }, show);
}
