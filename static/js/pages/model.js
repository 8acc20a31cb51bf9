/* The page of a model: its curves, numbers, layers and snapshots, as the training writes them. */

import { h, role, setText, throttled } from "../dom.js";
import { bytes, count } from "../format.js";
import { jobStatus } from "../job_status.js";
import { layerView } from "../layers.js";
import { followJob } from "../live.js";
import { liveLayers } from "../live_layers.js";
import { lossCurves } from "../loss_curves.js";
import { get } from "../requests.js";
import { addSnapshot } from "../test_one.js";

export function mount(page) {
  const status = jobStatus(page);
  const curves = lossCurves(page);
  const layers = liveLayers(page);
  const showSize = throttled(() => showFolderSize(page), 5000);
  const apply = {
    network: (event) => showNetwork(page, event),
    usage: (event) => showUsage(page, event),
    snapshot(event) {
      showSnapshot(page, event.epoch);
      showSize();
    },
    train: curves.addTraining,
    validation: curves.addValidation,
    progress: (event) => showProgress(page, event),
    frame: layers.add,
    frames_dropped: layers.drop,
  };
  followJob(page.dataset.jobId, {
    loadCurve: curves.load,
    onEvents(events) {
      for (const event of events) {
        status.applyEvent(event);
        apply[event.type]?.(event);
      }
      curves.draw();
      document.dispatchEvent(new Event("jobnews"));
    },
    onStatus(now) {
      status.applyStatus(now);
      showSize();
      document.dispatchEvent(new Event("jobnews"));
    },
  });
}

function showProgress(page, event) {
  if (event.epoch !== undefined) setText(role(page, "epoch"), `${event.epoch.toFixed(event.epoch < 100 ? 1 : 0)} of ${page.dataset.epochs}`);
  if (event.rate) {
    const rate = event.unit === "steps" ? event.rate * (Number(page.dataset.batchSize) || 1) : event.rate;
    setText(role(page, "rate"), count(Math.round(rate)));
  }
}

function showNetwork(page, event) {
  page.dataset.batchSize = event.batch_size;
  page.dataset.epochs = event.epochs;
  setText(role(page, "device"), event.device_name || event.device);
  setText(role(page, "layer-totals"), `${event.layers.length} layers · ${count(event.parameters)} learned parameters · batches of ${event.batch_size}`);
  role(page, "layer-view").replaceChildren(layerView(event));
}

function showUsage(page, { cpu_percent: cpu, memory_bytes: used, memory_total: total, gpu }) {
  const meter = (name, percent, text) => {
    role(page, `${name}-meter`).value = Math.min(100, percent);
    setText(role(page, name), text);
  };
  meter("cpu", cpu, `${Math.round(cpu)} %`);
  meter("memory", (100 * used) / total, `${bytes(used)} / ${bytes(total)}`);
  for (const name of ["gpu-row", "gpu-memory-row", "gpu-name"]) role(page, name).hidden = !gpu;
  if (!gpu) return;
  meter("gpu", gpu.utilization ?? 0, [gpu.utilization == null ? null : `${gpu.utilization} %`, gpu.temperature == null ? null : `${gpu.temperature} °C`].filter(Boolean).join(" · "));
  meter("gpu-memory", (100 * gpu.memory_used) / gpu.memory_total, `${bytes(gpu.memory_used)} / ${bytes(gpu.memory_total)}`);
  setText(role(page, "gpu-name"), gpu.name);
}

function showSnapshot(page, epoch) {
  const list = role(page, "snapshot-list");
  list.querySelector(".muted")?.remove();
  const known = [...list.children].some((item) => Number(item.textContent) === epoch);
  if (!known) list.prepend(h("span", null, epoch));
  setText(role(page, "snapshot-count"), list.children.length);
  addSnapshot(page.querySelector('[data-mount="test-one"]'), epoch);
}

async function showFolderSize(page) {
  try {
    const { size_bytes: size } = await get(`/models/${page.dataset.jobId}.json`);
    if (size) setText(role(page, "size"), bytes(size));
  } catch {
    // The next snapshot asks again.
  }
}
