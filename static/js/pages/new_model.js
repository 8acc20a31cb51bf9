/* The form of a model: dataset and its summary, starter network, editor, Visualize. */

import { allow, debounced, h, role, setText } from "../dom.js";
import { count, number, shape } from "../format.js";
import { get, send } from "../requests.js";
import { LANGUAGES, frameworkOf } from "../languages.js";
import { layerView } from "../layers.js";
import { mountNetworkQuestion } from "../network_question.js";
import { tabs } from "../tabs.js";

const BEFORE_HINT = 300;

export async function mount(form) {
  const { dataset } = form.elements;
  const summary = role(form, "dataset-summary");
  showDataset(dataset.value, summary);
  const [{ codeEditor }, { mountShowPython }] = await Promise.all([import("../editor.js"), import("../show_python.js")]);
  const drafts = Object.fromEntries(Object.keys(LANGUAGES).map((framework) => [framework, form.elements[`draft_${framework}`]]));
  const editor = codeEditor(form.elements.custom_network, form.elements.framework.value, drafts);
  const starter = starterNetwork(form, editor);
  mountVisualize(form, editor);
  const hint = languageHint(form, editor);
  const choose = mountFrameworks(form, editor, () => {
    hint();
    starter.follow();
  });
  mountShowPython(form, editor, { mayReplacePython: () => starter.untouched("pytorch"), choose });
  dataset.addEventListener("change", () => {
    showDataset(dataset.value, summary);
    starter.follow();
  });
  form.querySelector('[data-action="starter"]').addEventListener("click", () => starter.insert());
  for (const button of form.querySelectorAll(".editor-tools [data-action]")) allow(button, true);
  form.setAttribute("data-editor", "ready"); // form.dataset is the field of that name
}

async function showDataset(id, el) {
  el.replaceChildren();
  if (!id) return;
  try {
    const data = await get(`/datasets/summary.json?job_id=${encodeURIComponent(id)}`);
    const entries = Object.entries(data.entries).filter(([, n]) => n).map(([split, n]) => `${count(n)} ${split === "val" ? "validation" : split === "train" ? "training" : split}`);
    const picture = data.mean_picture_url ? h("img", { class: "pixelated", src: data.mean_picture_url, alt: "Mean image" }) : null;
    const parts = [`${shape(data.image_shape)} (channels × height × width)`, entries.join(", "), data.mean ? null : "No mean image: choose “Subtract mean: None”."];
    el.replaceChildren(...[picture, h("p", null, parts.filter(Boolean).flatMap((part, index) => (index ? [h("br"), part] : [part])))].filter(Boolean));
  } catch (error) {
    el.replaceChildren(h("p", null, error.message));
  }
}

/** The tab of a framework shows its text, help and fields. What was asked about another goes. Answers a function that chooses one. */
function mountFrameworks(form, editor, chosen) {
  const panels = [role(form, "python"), role(form, "network-check")];
  const choose = tabs(role(form, "frameworks"), (framework) => {
    form.elements.framework.value = framework;
    for (const part of form.querySelectorAll("[data-framework]")) {
      part.hidden = part.dataset.framework !== framework;
      if (part instanceof HTMLFieldSetElement) part.disabled = part.hidden;
    }
    for (const panel of panels) panel.hidden = true;
    editor.show(framework);
    form.dispatchEvent(new Event("frameworkchange"));
    chosen();
  });
  // After "back", a browser may have put the field and the text as they were left.
  choose(form.elements.framework.value);
  return choose;
}

/** Says where a text belongs that is in the language of another tab. Answers a function that looks again. */
function languageHint(form, editor) {
  const el = role(form, "language-hint");
  const look = () => {
    const framework = frameworkOf(editor.text());
    const tab = framework && form.querySelector(`[data-tab="${framework}"]`).textContent;
    setText(el, framework && framework !== editor.framework() ? `This looks like ${LANGUAGES[framework].name}: choose the tab ${tab}.` : "");
  };
  form.elements.custom_network.addEventListener("input", debounced(look, BEFORE_HINT));
  look();
  return look;
}

/** The starter network of each framework follows the dataset for as long as nobody has changed it. */
function starterNetwork(form, editor) {
  const starters = {};
  const untouched = (framework = editor.framework()) => editor.text(framework).trim() === "" || editor.text(framework) === starters[framework];

  /** Puts the starter into the editor if `wanted` still holds when it is there. */
  async function insertIf(wanted, how) {
    const asked = { framework: editor.framework(), dataset: form.elements.dataset.value };
    let text;
    try {
      ({ network: text } = await send("POST", "/models/starter-network", asked));
    } catch {
      return; // a dataset that is gone has none; the summary says why
    }
    if (form.elements.dataset.value !== asked.dataset) return;
    if (editor.framework() !== asked.framework) {
      // It is asked for again in its tab. Until then it is known as one that nobody wrote.
      starters[asked.framework] ??= text;
      return;
    }
    const insert = wanted();
    starters[asked.framework] = text;
    if (!insert || editor.text() === text) return;
    editor.setText(text, how);
    editor.clearError();
  }

  // Nobody asked for it: undo must not lead to an empty text, or to the starter of another dataset.
  const follow = () => insertIf(untouched, { undoable: false });
  follow();
  return { insert: () => insertIf(() => true), follow, untouched };
}

function mountVisualize(form, editor) {
  const question = {
    button: form.querySelector('[data-action="visualize"]'),
    panel: role(form, "network-check"),
    url: "/models/visualize-network",
    waiting: "Building the network and trying it on a batch…",
    changed: "The network or what it is for was changed since. Visualize it again to see what it is now.",
  };
  mountNetworkQuestion(form, editor, question, (answer, fill) => {
    const facts = [`${answer.layers.length} layers`, `${count(answer.parameters)} learned parameters`, `output ${shape(answer.output_shape)}`, answer.loss === undefined || answer.loss === null ? null : `loss before training ${number(answer.loss)}`];
    const title = h("h2", null, "Layers ", h("span", { class: "muted" }, facts.filter(Boolean).join(" · ")));
    fill(title, ...answer.advice.map((sentence) => h("p", { class: "alert alert-warning" }, sentence)), ...answer.weights.map((sentence) => h("p", { class: "check-line muted" }, sentence)), layerView(answer, editor.framework()));
  });
}
