/* The curves of a training: losses and learning rate by epoch, and all that a person does with them. */

import { lineChart } from "./chart.js";
import { pngOf, saveAs, svgPicture } from "./chart_picture.js";
import { aligned, curvePoints, placeOf } from "./curve_points.js";
import { allow, debounced, h, oncePerFrame, remember, remembered, role, setText, svg, throttled } from "./dom.js";
import { count, epochPlace, number } from "./format.js";
import { get, mayPass } from "./requests.js";

// Over which shares of the training the strong line is averaged.
const SMOOTHING = [0, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2];
const USUAL_SMOOTHING = 2;
const SERIES = {
  train: { index: 0, label: "Training", colour: "--series-train" },
  smooth: { index: 1, label: "Smoothed", colour: "--series-train" },
  validation: { index: 2, label: "Validation", colour: "--series-validation", dash: [6, 4], points: true, width: 2 },
};
const OUTLIERS_STAY_FRESH = 5000;
const BETWEEN_RETRIES = 2000;

export function lossCurves(page) {
  const el = role(page, "curves");
  const points = curvePoints();
  const state = { zoom: { x: null, y: null }, log: remembered("loss-scale") === "log", clip: remembered("loss-clip") === "on", smoothing: smoothingStep(), outliers: null, cursor: null, problem: null };
  const charts = makeCharts(el, { onPointer: (epoch, chart) => moveCursor(epoch, chart), onSelect: (box) => zoomTo({ x: box.x ?? state.zoom.x, y: box.y ?? state.zoom.y }), onReset: () => zoomTo({ x: null, y: null }) });
  const readout = readoutOf(el);
  const words = wordsOf(el, points, state);
  const table = tableOf(el, page.dataset.jobId);

  // Data

  const buckets = () => Math.min(5000, Math.max(200, role(el, "loss-chart").clientWidth));
  const ask = (range) => get(`/models/${page.dataset.jobId}/curve.json?${new URLSearchParams({ buckets: buckets(), smoothing: SMOOTHING[state.smoothing], ...range })}`, { signal: AbortSignal.timeout(20_000) });

  let timesBack = 0;
  let wholesAsked = 0;
  let wholeTaken = 0;
  let lacksWhole = false; // what is held of it is void, or smoothed in another way
  async function load() {
    points.asking();
    try {
      let answer;
      let before;
      let mine;
      do {
        // An answer from before the training went back would bring void points again.
        before = timesBack;
        mine = wholesAsked += 1;
        answer = await ask({});
      } while (before !== timesBack);
      // One that was asked for later may have been answered before: it has the smoothing that is wanted now.
      if (mine > wholeTaken) {
        wholeTaken = mine;
        points.takeWhole(answer);
        if (!state.zoom.x) state.outliers = answer.outliers;
        lacksWhole &&= mine < wholesAsked;
      }
      return answer.next;
    } finally {
      points.answered();
    }
  }

  // A page that was opened before the training began knows no average yet, and one over few steps is none. It grows with
  // what is done of a long training.
  let averageAskedAt = 0;
  function askForAverage() {
    if (state.smoothing === 0 || points.counts.points <= 2 * averageAskedAt + 20) return;
    averageAskedAt = points.counts.points;
    refineSoon();
  }

  let latestAsk = 0;
  /** Finer points of what one looks at, and what lies outside of it; the whole where one looks at all, or lacks it. Until it succeeds. */
  async function refine() {
    const mine = (latestAsk += 1);
    try {
      if (!state.zoom.x || lacksWhole) await load();
      if (state.zoom.x && mine === latestAsk) {
        const answer = await ask({ from: state.zoom.x[0], to: state.zoom.x[1] });
        if (mine !== latestAsk || !state.zoom.x) return;
        points.takeDetail(answer);
        state.outliers = answer.outliers;
      }
      state.problem = null;
    } catch (error) {
      if (error.status === undefined) throw error; // ours: a bug must be seen
      if (mine !== latestAsk) return; // what was asked for since brings it all
      state.problem = `Finer points could not be fetched: ${error.message}`;
      if (mayPass(error)) setTimeout(() => mine === latestAsk && refine(), BETWEEN_RETRIES);
    }
    draw();
  }
  /** The training was taken up again at an earlier step. */
  function goBack() {
    timesBack += 1;
    lacksWhole = true;
    points.forget();
    averageAskedAt = 0;
    state.outliers = null;
    zoomTo({ x: null, y: null });
    refine();
  }
  const refineSoon = debounced(refine, 120);
  const freshenOutliers = throttled(() => state.clip && refine(), OUTLIERS_STAY_FRESH);

  // What is seen

  function zoomTo(zoom) {
    const [first, last] = points.ends();
    if (zoom.x) {
      const width = zoom.x[1] - zoom.x[0];
      const low = Math.min(Math.max(zoom.x[0], first), Math.max(first, last - width));
      zoom.x = [low, Math.min(low + width, last)];
      if (zoom.x[1] - zoom.x[0] >= last - first) zoom.x = null;
      else if (!(zoom.x[1] - zoom.x[0] > (last - first) * 1e-7)) return;
    }
    state.zoom = zoom;
    if (!zoom.x) {
      points.dropDetail();
      // They were those of what was zoomed into.
      if (!state.clip) state.outliers = null;
    }
    showZoom();
    draw();
    if (zoom.x ? !points.isWhole() || state.clip : state.clip) refineSoon();
  }

  function showZoom() {
    const { x, y } = state.zoom;
    el.dataset.zoom = x ? x.map((end) => Number(end.toPrecision(6))).join(" ") : "";
    for (const name of ["reset", "zoom-out"]) allow(role(el, name), Boolean(x || y));
  }

  /** Look at `factor` times as much, around the cursor or the middle. */
  function zoomBy(factor) {
    const [low, high] = state.zoom.x ?? points.ends();
    const middle = state.cursor ?? (low + high) / 2;
    zoomTo({ x: [middle - (middle - low) * factor, middle + (high - middle) * factor], y: factor > 1 ? null : state.zoom.y });
  }

  function moveCursor(epoch, from = null) {
    if (epoch === state.cursor) return;
    state.cursor = epoch;
    for (const chart of charts.all) if (chart !== from) chart.point(epoch);
    document.dispatchEvent(new CustomEvent("curvecursor", { detail: { epoch } }));
    showValues();
  }

  let shown = { loss: [[], [], [], []], rates: [[], []] };
  const showValues = oncePerFrame(() => readout.show(valuesAt(shown, state.cursor, points.latest())));

  const draw = oncePerFrame(() => {
    el.dataset.points = points.counts.points;
    el.dataset.validationPoints = points.counts.validation_points;
    if (!points.counts.points && !points.counts.validation_points) return;
    el.hidden = false;
    const { train, validation } = points.shown();
    shown = { loss: aligned({ train, validation }), rates: [train.epoch, train.learning_rate.map((rate) => (typeof rate === "number" ? rate : null))] };
    el.dataset.drawn = shown.loss[0].length;
    const smoothed = points.window() !== null;
    readout.offerSmoothed(smoothed);
    charts.showSeries(smoothed);
    charts.loss.look({ log: state.log, x: state.zoom.x, y: state.zoom.y, most: state.clip && state.outliers ? [state.outliers.low, state.outliers.high] : null });
    charts.rate.look({ x: state.zoom.x });
    charts.loss.set(shown.loss);
    charts.rate.set(shown.rates);
    showValues();
    words.show();
    table.refresh();
    showSmoothing();
  });

  // What a person does

  function showSmoothing() {
    const window = points.window();
    setText(role(el, "smoothing-window"), state.smoothing === 0 ? "off" : window === null ? "few steps" : `${count(Math.round(window))} steps`);
  }

  function showChoices() {
    for (const button of el.querySelectorAll("[data-scale]")) button.setAttribute("aria-pressed", String((button.dataset.scale === "log") === state.log));
    role(el, "clip").setAttribute("aria-pressed", String(state.clip));
    role(el, "smoothing").value = state.smoothing;
    showSmoothing();
    showZoom();
  }

  const actions = {
    scale(button) {
      state.log = button.dataset.scale === "log";
      remember("loss-scale", button.dataset.scale);
      state.zoom.y = null;
    },
    clip() {
      state.clip = !state.clip;
      remember("loss-clip", state.clip ? "on" : "off");
      state.zoom.y = null;
      if (state.clip) refineSoon();
    },
    "zoom-in": () => zoomBy(0.5),
    "zoom-out": () => zoomBy(2),
    reset: () => zoomTo({ x: null, y: null }),
    series: (button) => charts.toggle(button.dataset.series),
    png: () => savePicture("png"),
    svg: () => savePicture("svg"),
  };
  el.addEventListener("click", (event) => {
    const button = event.target.closest("button");
    const action = button?.dataset.curve;
    if (!actions[action]) return;
    actions[action](button);
    showChoices();
    draw();
  });
  const smoothAgain = debounced(() => {
    lacksWhole = true;
    refine();
  }, 150);
  role(el, "smoothing").addEventListener("input", (event) => {
    state.smoothing = Number(event.target.value);
    remember("loss-smoothing", state.smoothing);
    showSmoothing();
    smoothAgain();
  });
  charts.onToggle(readout.showToggles);
  mountKeys(el, { state, zoomBy, zoomTo, moveCursor, epochs: () => shown.loss[0], speak: () => words.speakValues(valuesAt(shown, state.cursor, points.latest())) });
  const large = mountLarge(el);

  async function savePicture(kind) {
    el.querySelector(".menu").open = false;
    const picture = pictureOf(el, page, charts);
    const name = `${page.dataset.jobId}-curve.${kind}`;
    saveAs(name, kind === "png" ? await pngOf(picture) : new Blob([picture.text], { type: "image/svg+xml" }));
  }

  document.addEventListener("frameshown", ({ detail }) => {
    for (const chart of charts.all) chart.mark({ at: detail.epoch, strong: !detail.latest });
  });
  // More pixels have room for more points.
  const widened = debounced(() => !points.isWhole() && refine(), 300);
  let width = buckets();
  new ResizeObserver(() => {
    if (buckets() <= width * 1.3) return;
    width = buckets();
    widened();
  }).observe(role(el, "loss-chart"));
  showChoices();
  readout.showToggles(charts.hidden());

  return {
    /** Fetches the curve as it is; the byte of the events up to which it has told. */
    async load() {
      const next = await load();
      draw();
      if (points.counts.points) large.openIfAsked();
      return next;
    },
    goBack,
    latestEpoch: () => points.latest().epoch,
    latestRate: () => points.latest().rate,
    addTraining: points.addTraining,
    addValidation: points.addValidation,
    draw() {
      draw();
      if (state.clip) freshenOutliers();
      askForAverage();
      const { train, validation } = points.latest();
      if (train !== null) setText(role(page, "train-loss"), number(train));
      if (validation !== null) setText(role(page, "validation-loss"), number(validation));
    },
  };
}

function smoothingStep() {
  const step = Number(remembered("loss-smoothing") ?? USUAL_SMOOTHING);
  return SMOOTHING[step] === undefined ? USUAL_SMOOTHING : step;
}

// Charts

function makeCharts(el, { onPointer, onSelect, onReset }) {
  // Of a long epoch the first steps are small parts; more digits are what floats add to round numbers.
  const xFormat = (epoch) => String(Number(epoch.toPrecision(9)));
  const hidden = new Set((remembered("loss-hidden") ?? "").split(" ").filter((name) => name in SERIES));
  const listeners = [];
  const common = { xFormat, onSelect, onReset };
  const loss = lineChart(role(el, "loss-chart"), { ...common, series: Object.values(SERIES).map(({ index, ...look }) => look), onCursor: (under) => onPointer(under && under[0], loss) });
  const rate = lineChart(role(el, "rate-chart"), { ...common, boxes: false, series: [{ label: "Learning rate", colour: "--series-rate" }], onCursor: (under) => onPointer(under && under[0], rate) });

  return {
    loss,
    rate,
    all: [loss, rate],
    hidden: () => hidden,
    onToggle: (listener) => listeners.push(listener),
    toggle(name) {
      if (!hidden.delete(name)) hidden.add(name);
      remember("loss-hidden", [...hidden].join(" "));
      for (const listener of listeners) listener(hidden);
    },
    /** The raw line lies faint behind its average, and alone where there is none. */
    showSeries(smoothed) {
      loss.style(SERIES.train.index, { show: !hidden.has("train"), width: smoothed ? 1 : 1.5, alpha: smoothed ? 0.35 : 1 });
      loss.style(SERIES.smooth.index, { show: smoothed && !hidden.has("smooth") });
      loss.style(SERIES.validation.index, { show: !hidden.has("validation") });
    },
  };
}

/** What lies at an epoch, or what came last: of each series the value there, or the one before. */
function valuesAt({ loss, rates }, epoch, latest) {
  if (epoch === null) return latest;
  const before = (epochs, column) => {
    let at = Math.min(placeOf(epochs, epoch), epochs.length - 1);
    if (epochs[at] > epoch) at -= 1;
    while (at >= 0 && column[at] === null) at -= 1;
    return column[at] ?? null;
  };
  return { epoch, train: before(loss[0], loss[1]), smooth: before(loss[0], loss[2]), validation: before(loss[0], loss[3]), rate: before(...rates) };
}

function readoutOf(el) {
  const legend = role(el, "legend");
  const value = (name) => legend.querySelector(`[data-value="${name}"]`);
  for (const [name, { dash }] of Object.entries(SERIES)) {
    role(legend, `key-${name}`).append(svg("line", { x1: 0, x2: 22, y1: 4, y2: 4, "stroke-dasharray": dash && "5 3" }));
  }
  return {
    show({ epoch, ...values }) {
      setText(value("epoch"), epoch === null ? "–" : epoch.toFixed(2));
      for (const [name, known] of Object.entries(values)) {
        const place = value(name);
        if (place) setText(place, number(known));
      }
    },
    showToggles(hidden) {
      for (const button of legend.querySelectorAll("[data-series]")) button.setAttribute("aria-pressed", String(!hidden.has(button.dataset.series)));
    },
    offerSmoothed(is) {
      legend.querySelector('[data-series="smooth"]').hidden = !is;
    },
  };
}

// Words

function wordsOf(el, points, state) {
  const is = (n, one, many) => (n === 1 ? `1 ${one}` : `${count(n)} ${many}`);

  function lossSentences() {
    const { train, epoch, step, validation, validatedAt } = points.latest();
    const { counts, known } = points;
    const window = points.window();
    const inView = state.zoom.x ? " in view" : "";
    return [
      train === null ? null : `Training loss ${number(train)} at epoch ${epochPlace(epoch)}, ${number(known.first)} at the start.`,
      validation === null ? null : `Validation loss ${number(validation)} at epoch ${number(validatedAt)}.`,
      window === null ? null : `The strong line averages about ${count(Math.round(window))} steps.`,
      points.isWhole() || state.zoom.x ? null : `${count(counts.points)} points: zoom in to see each.`,
      points.isOfEveryStep() ? null : `A training this long keeps ${count(counts.points)} of its ${count(step)} steps: the lowest, the highest and the last of every few.`,
      counts.not_finite ? `${is(counts.not_finite, "value is no finite number", "values are no finite numbers")} and not drawn.` : null,
      state.log && counts.not_positive ? `${is(counts.not_positive, "value is", "values are")} zero or less, for which a logarithmic scale has no place.` : null,
      state.clip && state.outliers ? `${is(state.outliers.outside, `point${inView} lies`, `points${inView} lie`)} outside ${number(state.outliers.low)} to ${number(state.outliers.high)}, where 98 % are.` : null,
      state.problem,
    ];
  }

  function rateSentence() {
    const { learning_rate: rates } = points.shown().train;
    if (!rates.length) return "";
    const [first, last] = [rates[0], rates.at(-1)];
    return first === last ? `Learning rate ${number(last)}, as at the start.` : `Learning rate ${number(last)}, from ${number(first)} at the start.`;
  }

  const sentence = () => lossSentences().filter(Boolean).join(" ");
  const speak = throttled(() => setText(role(el, "spoken-summary"), `${sentence()} ${rateSentence()}`), 20_000);
  return {
    show: throttled(() => {
      setText(role(el, "summary"), sentence());
      setText(role(el, "csv-rows"), points.isOfEveryStep() ? "every step" : `${count(points.counts.points)} of ${count(points.latest().step)} steps`);
      setText(role(el, "rate-summary"), rateSentence());
      speak();
    }, 500),
    speakValues({ epoch, train, smooth, validation, rate }) {
      const said = [["training", train], ["smoothed", smooth], ["validation", validation], ["learning rate", rate]].filter(([, value]) => value !== null);
      setText(role(el, "spoken-values"), epoch === null ? "" : `Epoch ${epoch.toFixed(2)}: ${said.map(([name, value]) => `${name} ${number(value)}`).join(", ")}`);
    },
  };
}

/** One row for each epoch, asked of the server while the table is open. */
function tableOf(el, jobId) {
  const details = role(el, "as-table");
  const columns = ["mean", "lowest", "highest", "validation", "learning_rate"];
  const fill = async () => {
    if (!details.open) return;
    let rows;
    try {
      rows = await get(`/models/${jobId}/epochs.json`);
    } catch (error) {
      if (error.status === undefined) throw error;
      return setText(role(details, "table-problem"), error.message);
    }
    setText(role(details, "table-problem"), rows.epoch[0] > 1 ? `The last ${count(rows.epoch.length)} epochs; the CSV file has all.` : "");
    details.querySelector("tbody").replaceChildren(...rows.epoch.map((epoch, index) => h("tr", null, h("th", { scope: "row", class: "number" }, epoch), columns.map((name) => h("td", { class: "number" }, number(rows[name][index]))))));
  };
  details.addEventListener("toggle", fill);
  return { refresh: throttled(fill, 2000) };
}

// Keys

function mountKeys(el, { state, zoomBy, zoomTo, moveCursor, epochs, speak }) {
  /** The next point in that direction, or one a tenth of the view away. */
  function step(direction, far) {
    const all = epochs();
    const [low, high] = state.zoom.x ?? [all[0], all.at(-1)];
    const now = state.cursor ?? (direction > 0 ? low : high);
    const wanted = far ? now + (direction * (high - low)) / 10 : now;
    let at = placeOf(all, wanted);
    if (!far && state.cursor !== null) at += direction;
    go(all[Math.min(Math.max(at, 0), all.length - 1)]);
  }

  function go(epoch) {
    const view = state.zoom.x;
    if (view && (epoch < view[0] || epoch > view[1])) {
      const width = view[1] - view[0];
      const low = epoch < view[0] ? epoch : epoch - width;
      zoomTo({ ...state.zoom, x: [low, low + width] });
    }
    moveCursor(epoch);
    speak();
  }

  const keys = {
    ArrowLeft: (event) => step(-1, event.shiftKey),
    ArrowRight: (event) => step(1, event.shiftKey),
    Home: () => go(epochs()[0]),
    End: () => go(epochs().at(-1)),
    "+": () => zoomBy(0.5),
    "=": () => zoomBy(0.5),
    "-": () => zoomBy(2),
    0: () => zoomTo({ x: null, y: null }),
    Escape: () => moveCursor(null),
  };
  for (const name of ["loss-chart", "rate-chart"]) {
    const chart = role(el, name);
    chart.addEventListener("keydown", (event) => {
      const act = keys[event.key];
      if (!act || event.ctrlKey || event.metaKey || event.altKey || !epochs().length) return;
      // Escape without a cursor is for the large view to close.
      if (event.key === "Escape" && state.cursor === null) return;
      event.preventDefault();
      act(event);
    });
    chart.addEventListener("blur", () => moveCursor(null));
  }
}

// Large

/** The charts in a layer that fills the window; Escape, its button and the browser's way back close it. */
function mountLarge(el) {
  const dialog = role(el, "large");
  const view = role(el, "curve-view");
  const button = role(el, "view-large");
  const open = () => {
    dialog.append(view);
    dialog.showModal();
    setText(role(button, "words"), "Close");
    button.setAttribute("aria-expanded", "true");
  };
  dialog.addEventListener("close", () => {
    el.prepend(view);
    setText(role(button, "words"), "View large");
    button.setAttribute("aria-expanded", "false");
    if (location.hash === "#large") history.replaceState(null, "", location.pathname + location.search);
    button.focus();
  });
  button.addEventListener("click", () => (dialog.open ? dialog.close() : open()));
  return { openIfAsked: () => location.hash === "#large" && !dialog.open && requestAnimationFrame(open) };
}

function pictureOf(el, page, charts) {
  const boxes = [["loss", "Loss"], ["rate", "Learning rate"]].map(([name, title]) => ({ title: `${title} by epoch`, seen: charts[name].seen(), height: role(el, `${name}-chart`).clientHeight }));
  return svgPicture(role(page, "name")?.textContent.trim() ?? "", role(el, "loss-chart").clientWidth, boxes.filter((box) => box.seen));
}
