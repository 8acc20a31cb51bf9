/* Layers while they learn: the frames of a training, the newest as it comes or any before it. */

import { debounced, h, oncePerFrame, role, setText } from "./dom.js";
import { frameStore } from "./frames.js";
import { imageName, pinDialog } from "./pin_dialog.js";
import { inPlace, predictionView } from "./prediction.js";
import { timeline } from "./timeline.js";

// The image as the dataset holds it says nothing that the normalized one does not say.
const LEFT_OUT = "original";
const BETWEEN_CALM_SWAPS = 5000;
const BEFORE_LOADING = 100;
const BEFORE_PREFETCH = 150;
const WIDE = "(min-width: 900px)";

const calm = matchMedia("(prefers-reduced-motion: reduce)");

/** Answers {add(event), drop(event)} for the events `frame` and `frames_dropped`. */
export function liveLayers(page) {
  const el = role(page, "live-layers");
  const { jobId } = page.dataset;
  const store = frameStore(jobId);
  const view = predictionView(el, { framework: page.dataset.framework, ofTraining: true });
  const nameOf = (layer) => shown.layers.find(({ index }) => index === layer)?.name;
  const warnings = inPlace(role(el, "warnings"), ({ layer, text }) => `${layer} ${text}`, ({ layer, text }) => warning(nameOf(layer), text));
  const table = role(el, "layer-fold");
  let shown = null; // the frame on the page
  let failed = null; // the number of a frame that cannot be had
  let loading = false;
  let shownAt = -Infinity;
  let newest = { image: null, at: 0 }; // what the newest frame shows, and when it was told
  let awaited = null; // the image that was pinned last, until a frame shows it

  const look = oncePerFrame(showWanted);
  const lookSoon = debounced(look, BEFORE_LOADING);
  let calmly = null;
  /** When the frame before has been on the page for a while, however long it took to come. */
  function lookCalmly() {
    clearTimeout(calmly);
    // What is being loaded is drawn when it is there, and looked on from then.
    calmly = setTimeout(() => loading || look(), shownAt + BETWEEN_CALM_SWAPS - performance.now());
  }
  const frames = timeline(role(el, "timeline"), (isNews) => {
    failed = null;
    if (isNews && calm.matches) lookCalmly();
    // A pointer that crosses the chart passes many frames.
    else if (frames.isPointed() && !store.has(frames.wanted())) lookSoon();
    else look();
  });
  const prefetch = debounced(() => {
    if (frames.isLatest() || frames.wanted() !== shown?.frame) return;
    // Without a word when it fails: it is asked for again when it is wanted.
    for (const number of frames.neighbours(shown.frame)) store.load(number).catch(() => {});
  }, BEFORE_PREFETCH);

  /** Load and draw what is wanted now. One frame at a time: those that pass meanwhile are never asked for. */
  async function showWanted() {
    const number = frames.wanted();
    if (number === shown?.frame) role(el, "frame-error").hidden = true;
    if (loading || number === null || number === shown?.frame || number === failed) return;
    loading = true;
    try {
      shown = await store.load(number);
      failed = null;
      draw();
      shownAt = performance.now();
    } catch (problem) {
      if (problem.status === undefined && problem.name !== "EncodingError") throw problem; // ours: a bug must be seen
      failed = number;
      tell(problem);
    } finally {
      loading = false;
    }
    frames.shown();
    prefetch();
    if (frames.isLatest() && calm.matches) lookCalmly();
    else look();
  }

  function tell(problem) {
    delete el.dataset.frame;
    const sentence = problem.name === "EncodingError" ? "A picture of this frame is damaged. Choose another frame." : problem.message;
    // What stood here before is another frame's.
    shown = null;
    role(el, "frame").classList.add("missing");
    setText(role(el, "frame-error"), sentence);
    role(el, "frame-error").hidden = false;
  }

  function draw() {
    role(el, "no-frames").hidden = true;
    role(el, "frame-error").hidden = true;
    role(el, "frame").hidden = false;
    role(el, "frame").classList.remove("missing");
    setText(role(el, "frame-image"), imageName(shown.image));
    el.dataset.frame = shown.frame;
    // What is folded away is drawn when it is opened.
    view.show({ ...shown, layers: table.open ? shown.layers : [] }, { pictures: shown.pictures.filter(({ key }) => key !== LEFT_OUT) });
    warnings(shown.warnings);
    document.dispatchEvent(new CustomEvent("frameshown", { detail: { epoch: shown.epoch, latest: frames.isLatest() } }));
  }

  function showAwaited() {
    setText(role(el, "awaited"), awaited && page.dataset.running === "true" ? `The next frame shows: ${imageName(awaited)}` : "");
  }

  table.open = matchMedia(WIDE).matches;
  table.addEventListener("toggle", () => shown && draw());
  if (role(el, "pin")) {
    const dialog = pinDialog(role(el, "pin-dialog"), { jobId, datasetId: el.dataset.datasetId }, (image, sentAt) => {
      // A frame with it may have come before the answer.
      awaited = newest.at > sentAt && newest.image === imageName(image) ? null : image;
      showAwaited();
      frames.follow();
    });
    role(el, "pin").addEventListener("click", () => dialog.open());
  }
  document.addEventListener("curvecursor", (event) => frames.point(event.detail.epoch));
  document.addEventListener("jobnews", () => {
    // The server answers, perhaps for the first time since it failed to.
    if (failed !== null) look();
    failed = null;
    showAwaited();
    setText(role(el, "newest"), page.dataset.running === "true" ? "Live" : "Last");
    if (page.dataset.running === "false" && !shown && frames.wanted() === null) {
      role(el, "no-frames").classList.remove("coming");
      setText(role(el, "no-frames"), el.dataset.none);
    }
  });

  return {
    add(event) {
      // Pasted code may have written what is no frame, and the way through all of them must not end there.
      if (![event.frame, event.epoch, event.step].every(Number.isFinite)) throw new TypeError("this is no frame");
      newest = { image: event.image && imageName(event.image), at: performance.now() };
      if (awaited && newest.image === imageName(awaited)) awaited = null;
      showAwaited();
      frames.add(event);
    },
    drop: (event) => frames.drop(event.frames),
  };
}

/** The layer stands before what is wrong with it, if the sentence does not name it. */
function warning(name, text) {
  const where = name && !text.includes(name) ? h("code", null, name) : null;
  return { el: h("li", null, where, h("span", null, text)), show() {} };
}
