/* A button of the model form that asks the server about the network in the editor, and the panel for its answer. */

import { h } from "./dom.js";
import { send } from "./requests.js";

const FIELDS = ["framework", "custom_network", "dataset", "crop_size", "use_mean"];

/** A click on `button` asks `url`; `panel` says `waiting`, then has the nodes of `show(answer)`, or what is wrong and where. */
export function mountNetworkQuestion(form, editor, { button, panel, url, waiting }, show) {
  const fill = (state, ...nodes) => {
    panel.dataset.state = state;
    panel.hidden = false;
    panel.replaceChildren(...nodes);
  };

  function showFault(error) {
    const { line, layer } = error.body?.error ?? {};
    const where = [line ? `line ${line}` : null, layer ? `layer ${layer}` : null].filter(Boolean).join(", ");
    // What Lua says begins with its line.
    const saysWhere = error.message.startsWith(`line ${line}: `);
    fill("error", h("div", { class: "alert alert-danger", role: "alert" }, h("strong", null, where && !saysWhere ? `At ${where}: ` : "This network does not work yet: "), error.message));
    if (line) editor.showError(line, error.message);
  }

  async function ask() {
    const framework = editor.framework();
    button.disabled = true;
    editor.clearError();
    fill("busy", h("p", { class: "muted" }, waiting));
    const fields = Object.fromEntries(FIELDS.filter((name) => form.elements[name]).map((name) => [name, form.elements[name].value]));
    try {
      const answer = await send("POST", url, fields);
      if (editor.framework() === framework) fill("ok", ...show(answer));
    } catch (error) {
      if (error.status === undefined) throw error; // ours: a bug must be seen
      if (editor.framework() === framework) showFault(error);
    } finally {
      panel.scrollIntoView({ block: "nearest" });
      button.disabled = false;
    }
  }

  button.addEventListener("click", ask);
}
