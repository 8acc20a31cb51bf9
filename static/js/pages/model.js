/* The page of a model: its curves, numbers, layers and snapshots, as the training writes them. */

import { h, role, setText, throttled } from "../dom.js";
import { bytes, count, epochPlace, epochsDone, number } from "../format.js";
import { jobStatus } from "../job_status.js";
import { layerView } from "../layers.js";
import { followJob } from "../live.js";
import { liveLayers } from "../live_layers.js";
import { lossCurves } from "../loss_curves.js";
import { get } from "../requests.js";
import { addSnapshot, removeSnapshots } from "../test_one.js";

export function mount(page) {
  const status = jobStatus(page);
  const curves = lossCurves(page);
  const layers = liveLayers(page);
  const pace = paceOf(page, status);
  const showSize = throttled(() => showFolderSize(page), 5000);
  const apply = {
    network(event) {
      showNetwork(page, event);
      pace.begin(event);
    },
    usage: (event) => showUsage(page, event),
    snapshot(event) {
      showSnapshot(page, event.epoch, epochsDone(event.epochs_done ?? event.epoch));
      showSize();
    },
    snapshots_removed: (event) => dropSnapshots(page, event.epochs),
    train: curves.addTraining,
    validation: curves.addValidation,
    progress: pace.goOn,
    failed: pace.end,
    frame: layers.add,
    frames_dropped: layers.drop,
    resumed(event) {
      pace.goOnFrom(event);
      dropSnapshots(page, snapshotsAfter(page, event.epoch));
    },
  };
  followJob(page.dataset.jobId, {
    loadCurve: curves.load,
    onEvent(event, isInCurve) {
      status.applyEvent(event);
      apply[event.type]?.(event);
      if (event.type === "resumed" && !isInCurve) curves.goBack();
    },
    afterEvents() {
      curves.draw();
      pace.show(curves.latestEpoch());
      document.dispatchEvent(new Event("jobnews"));
    },
    onStatus(now) {
      status.applyStatus(now);
      const rate = curves.latestRate();
      setText(role(page, "last-rate"), rate === null ? "" : `, ${number(rate)}`);
      pace.show(curves.latestEpoch());
      showSize();
      document.dispatchEvent(new Event("jobnews"));
    },
  });
}

/** How far the training is, and its images a second: of the last seconds while it runs, then of all its time. */
function paceOf(page, status) {
  let images = null; // of one epoch
  let [began, told] = [null, null];
  let [epoch, rate] = [null, 0];
  let first = 0; // the epoch at which this worker began or went on

  /** Images a second since the network was built; what the job waited before is no part of it. */
  const mean = () => (images && told > began ? ((epoch - first) * images) / (told - began) : 0);

  return {
    begin(event) {
      images = event.train_images;
      began = event.time;
    },
    goOn(event) {
      epoch = event.epoch ?? epoch;
      rate = event.rate ?? 0;
      told = event.time;
    },
    goOnFrom(event) {
      first = epoch = event.epoch;
    },
    end: (event) => (told = event.time),
    /** A training that fails may have drawn points of which its progress tells no more. */
    show(drawn) {
      epoch = Math.max(epoch, drawn);
      if (epoch === 0 && told === null) return;
      setText(role(page, "epoch"), `${epochPlace(epoch)} of ${page.dataset.epochs}`);
      status.reached((100 * epoch) / page.dataset.epochs);
      const shown = page.dataset.running === "true" ? rate : mean();
      setText(role(page, "rate"), shown ? count(Number(shown.toPrecision(3))) : "–");
    },
  };
}

function showNetwork(page, event) {
  const view = layerView(event, page.dataset.framework);
  page.dataset.epochs = event.epochs;
  setText(role(page, "device"), event.device_name || event.device);
  setText(role(page, "layer-totals"), `${event.layers.length} layers · ${count(event.parameters)} learned parameters · batches of ${event.batch_size}`);
  role(page, "layer-view").replaceChildren(view);
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

/** `words` say after how many epochs it was taken: one that was taken in the midst of its epoch may be replaced by a whole one. */
function showSnapshot(page, epoch, words) {
  const list = role(page, "snapshot-list");
  list.querySelector(".muted")?.remove();
  const known = [...list.children].find((item) => Number(item.dataset.epoch) === epoch);
  if (known) setText(known, words);
  else list.prepend(h("span", { "data-epoch": epoch }, words));
  setText(role(page, "snapshot-count"), list.children.length);
  addSnapshot(page.querySelector('[data-mount="test-one"]'), epoch, words);
}

/** Those of which was told before the training went back behind them: they are gone. */
const snapshotsAfter = (page, epoch) => [...role(page, "snapshot-list").querySelectorAll("[data-epoch]")].filter((item) => Number(item.textContent) > epoch).map((item) => Number(item.dataset.epoch));

/** Snapshots that are there no more. */
function dropSnapshots(page, epochs) {
  const list = role(page, "snapshot-list");
  for (const item of [...list.children]) if (epochs.includes(Number(item.dataset.epoch))) item.remove();
  setText(role(page, "snapshot-count"), list.children.length);
  removeSnapshots(page.querySelector('[data-mount="test-one"]'), epochs);
}

async function showFolderSize(page) {
  try {
    const { size_bytes: size } = await get(`/models/${page.dataset.jobId}.json`);
    if (size) setText(role(page, "size"), bytes(size));
  } catch {
    // The next snapshot asks again.
  }
}
