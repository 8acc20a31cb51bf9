/* The learning rate over the training, drawn as its fields are filled in. Only the chosen policy's fields are shown. */

import { lineChart } from "./chart.js";
import { debounced, role, setText } from "./dom.js";
import { number } from "./format.js";
import { send } from "./requests.js";

export function mount(el) {
  const policy = el.querySelector('[name="lr_policy"]');
  const summary = role(el, "summary");
  const percents = Array.from({ length: 101 }, (_, percent) => percent);
  const chart = lineChart(role(el, "chart"), {
    series: [{ label: "Learning rate", colour: "--series-rate" }],
    xFormat: (percent) => `${percent} %`,
    xRange: [0, 100],
    onCursor: (values) => setText(summary, values ? `${number(values[1])} at ${values[0]} % of the training` : described),
  });
  let described = "";
  let current = null;

  const showFields = () => {
    for (const field of el.querySelectorAll("[data-policy]")) field.hidden = field.dataset.policy !== policy.value;
  };

  async function preview() {
    current?.abort();
    current = new AbortController();
    const fields = [...el.querySelectorAll("input, select")].map((field) => [field.name, field.value]);
    try {
      const { data } = await send("POST", "/models/visualize-lr", fields, { signal: current.signal });
      const rates = data.columns[0].slice(1);
      chart.set([percents.slice(0, rates.length), rates]);
      described = `From ${number(rates[0])} to ${number(rates.at(-1))} at the end.`;
    } catch (error) {
      if (error.name === "AbortError") return;
      described = error.message;
    }
    setText(summary, described);
  }

  const soon = debounced(preview, 150);
  el.addEventListener("input", () => {
    showFields();
    soon();
  });
  showFields();
  preview();
}
