/* A button of the model form that asks the server about the network in the editor, and the panel for its answer. */

import { allow, h, setText } from "./dom.js";
import { send } from "./requests.js";

const FIELDS = ["framework", "custom_network", "dataset", "crop_size", "use_mean", "solver_type", "pretrained_model"];
// The server gives up sooner, with its turn, its start and a minute for Python; this is for one that has gone.
const TIMEOUT = 150_000;

/**
 * A click on `button` asks `url`; `panel` says `waiting`, for how long, and can cancel that, as another tab does; then it
 * has what `show(answer, fill)` fills it with, a heading and the rest, or what is wrong and where. It says `changed` for as
 * long as the network is not the one that it answers for.
 */
export function mountNetworkQuestion(form, editor, { button, panel, url, waiting, changed }, show) {
  const outdated = h("p", { class: "alert alert-info", hidden: true }, changed);
  let answered = null; // the fields that the panel's answer is of
  const compare = () => {
    outdated.hidden = answered === null || sameFields(fieldsOf(form), answered);
  };
  for (const type of ["input", "change"]) form.addEventListener(type, compare);
  // What the editor says of its field stays there.
  form.elements.custom_network.addEventListener("input", compare);

  const fill = (state, ...nodes) => {
    panel.dataset.state = state;
    panel.hidden = false;
    panel.replaceChildren(...nodes);
  };

  function showFault(error) {
    const { line, layer, type } = error.body?.error ?? {};
    const where = [line ? `line ${line}` : null, layer ? `layer ${layer}` : null].filter(Boolean).join(", ");
    // What Lua says begins with its line.
    const saysWhere = error.message.startsWith(`line ${line}: `);
    const before = where && !saysWhere ? `At ${where}: ` : "This network does not work yet: ";
    // A file of weights, the form or the server may be to blame as well.
    fill("error", h("div", { class: "alert alert-danger", role: "alert" }, type === "BadNetwork" && h("strong", null, before), error.message));
    if (line) editor.showError(line, error.message);
  }

  let cancel = null;
  async function ask() {
    const framework = editor.framework();
    const isShown = () => editor.framework() === framework;
    allow(button, false);
    editor.clearError();
    const cancelled = new AbortController();
    const asked = fieldsOf(form);
    const fields = { ...asked, check: newName() };
    cancel = () => {
      cancelled.abort();
      // Should that not be heard, the check ends by itself when its time is up.
      send("POST", "/models/end-check", { check: fields.check }).catch(() => {});
    };
    const wait = waitingView(waiting, cancel);
    answered = null;
    fill("busy", wait.el);
    try {
      const answer = await send("POST", url, fields, { signal: AbortSignal.any([cancelled.signal, AbortSignal.timeout(TIMEOUT)]) });
      if (isShown()) {
        answered = asked;
        compare();
        show(answer, (heading, ...rest) => fill("ok", heading, outdated, ...rest));
      }
    } catch (error) {
      if (cancelled.signal.aborted) {
        if (isShown()) fill("cancelled", h("p", { class: "muted" }, `Cancelled after ${wait.seconds()} s.`));
        return;
      }
      if (error.status === undefined) throw error; // ours: a bug must be seen
      if (isShown()) showFault(error);
    } finally {
      cancel = null;
      wait.end();
      panel.scrollIntoView({ block: "nearest" });
      allow(button, true);
      if (cancelled.signal.aborted && isShown()) button.focus();
    }
  }

  button.addEventListener("click", ask);
  form.addEventListener("frameworkchange", () => cancel?.());
}

/** The fields of the form that the question has, without those of the other framework. */
function fieldsOf(form) {
  const asked = FIELDS.map((name) => form.elements[name]).filter((field) => field && !field.matches(":disabled"));
  return Object.fromEntries(asked.map((field) => [field.name, field.value]));
}

const sameFields = (some, others) => FIELDS.every((name) => some[name] === others[name]);

/** By this name the check can be ended. crypto.randomUUID is not there over plain HTTP. */
const newName = () => Array.from(crypto.getRandomValues(new Uint32Array(4)), (part) => part.toString(16)).join("-");

/** Words that say for how long already, and a button that makes an end of it. */
function waitingView(words, cancel) {
  const began = Date.now();
  const seconds = () => Math.round((Date.now() - began) / 1000);
  // Not for screen readers, which have been told the words.
  const clock = h("span", { role: "timer", "aria-live": "off" });
  const timer = setInterval(() => setText(clock, `${seconds()} s`), 1000);
  return {
    el: h("div", { class: "check-waiting" }, h("p", { class: "muted" }, words, " ", clock), h("button", { type: "button", class: "button small", onclick: cancel }, "Cancel")),
    seconds,
    end: () => clearInterval(timer),
  };
}
