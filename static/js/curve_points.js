/* The points of a training as far as this page holds them: thinned by the server, finer where one looks, and live ones. */

// More live points than these are thinned here, into so many buckets.
const MOST_HELD = 12_000;
const BUCKETS = 1500;
const TRAIN = ["step", "epoch", "loss", "learning_rate", "smooth"];
const VALIDATION = ["step", "epoch", "loss"];

const empty = (names) => Object.fromEntries(names.map((name) => [name, []]));
const part = (columns, from, to) => Object.fromEntries(Object.entries(columns).map(([name, column]) => [name, column.slice(from, to)]));
const joined = (...parts) => Object.fromEntries(Object.keys(parts[0]).map((name) => [name, parts.flatMap((one) => one[name])]));
const place = (value) => (typeof value === "number" ? value : null);

/** The first place in a rising column that is `value` or more. */
export function placeOf(column, value) {
  let [low, high] = [0, column.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (column[middle] < value) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** The server's columns, with a column of averages whether there is an average or not. */
const taken = (names, columns) => Object.fromEntries(names.map((name) => [name, columns[name] ?? columns.step.map(() => null)]));

/** Of each bucket of epochs the last point, and the lowest and the highest loss and learning rate, as the server does it. */
function thinned(columns) {
  const { epoch } = columns;
  const width = (epoch.at(-1) - epoch[0]) / BUCKETS || 1;
  const kept = new Set();
  for (let from = 0, to; from < epoch.length; from = to) {
    const bucket = Math.min(BUCKETS - 1, Math.floor((epoch[from] - epoch[0]) / width));
    for (to = from + 1; to < epoch.length && Math.min(BUCKETS - 1, Math.floor((epoch[to] - epoch[0]) / width)) === bucket; ) to += 1;
    kept.add(to - 1);
    for (const column of [columns.loss, columns.learning_rate]) {
      let [lowest, highest] = [-1, -1];
      for (let index = from; index < to; index += 1) {
        if (typeof column[index] !== "number") continue;
        if (lowest < 0 || column[index] < column[lowest]) lowest = index;
        if (highest < 0 || column[index] > column[highest]) highest = index;
      }
      for (const extreme of [lowest, highest]) if (extreme >= 0) kept.add(extreme);
    }
  }
  const places = [...kept].sort((a, b) => a - b);
  return Object.fromEntries(Object.entries(columns).map(([name, column]) => [name, places.map((index) => column[index])]));
}

export function curvePoints() {
  let train = empty(TRAIN);
  let validation = empty(VALIDATION);
  let detail = null;
  let average = null;
  let asked = 0;
  const counts = { points: 0, validation_points: 0, not_finite: 0, not_positive: 0 };
  const known = { first: null };

  const lastStep = (columns) => columns.step.at(-1) ?? -Infinity;

  /** The average goes on where the server's ended; see jobs/curves.py. */
  function follow(step, loss) {
    if (!average) return null;
    const keep = (1 - 1 / average.window) ** (step - average.step);
    if (typeof loss === "number") {
      average.weighted = keep * average.weighted + (1 - keep) * loss;
      average.weight = keep * average.weight + (1 - keep);
    }
    average.step = step;
    return average.weight ? average.weighted / average.weight : null;
  }

  function countLoss(loss) {
    if (typeof loss !== "number") counts.not_finite += 1;
    if (loss <= 0) counts.not_positive += 1;
  }

  return {
    counts,
    known,
    /** Between asking and taking, live points must stay as they are: they may be newer than the answer. */
    asking: () => (asked += 1),
    answered: () => (asked -= 1),

    /** The whole curve as the server thinned it; points that came live meanwhile follow it. */
    takeWhole(answer) {
      const live = part(train, placeOf(train.step, (answer.train.step.at(-1) ?? -Infinity) + 1));
      const lateValidations = part(validation, placeOf(validation.step, (answer.validation.step.at(-1) ?? -Infinity) + 1));
      const whole = taken(TRAIN, answer.train);
      average = answer.average && { ...answer.average, step: lastStep(whole) };
      live.smooth = live.step.map((step, index) => follow(step, live.loss[index]));
      train = joined(whole, live);
      validation = joined(taken(VALIDATION, answer.validation), lateValidations);
      for (const name of Object.keys(counts)) counts[name] = Math.max(counts[name], answer[name]);
      counts.points = Math.max(counts.points, answer.points + live.step.length);
      counts.validation_points = Math.max(counts.validation_points, answer.validation_points + lateValidations.step.length);
      known.first = answer.first[0] ?? known.first;
    },
    /** The training goes on at an earlier step. What is held may be void; the server is asked for what stands. */
    forget() {
      train = empty(TRAIN);
      validation = empty(VALIDATION);
      [detail, average] = [null, null];
      for (const name of Object.keys(counts)) counts[name] = 0;
      known.first = null;
    },
    /** Finer points of a range of epochs. */
    takeDetail: (answer) => (detail = { train: taken(TRAIN, answer.train), validation: taken(VALIDATION, answer.validation) }),
    dropDetail: () => (detail = null),

    /** Live points; those that are held already are passed over. */
    addTraining(event) {
      const from = placeOf(event.step, lastStep(train) + 1);
      for (let index = from; index < event.step.length; index += 1) {
        const loss = event.loss[index];
        train.step.push(event.step[index]);
        train.epoch.push(event.epoch[index]);
        train.loss.push(loss);
        train.learning_rate.push(event.learning_rate[index]);
        train.smooth.push(follow(event.step[index], loss));
        countLoss(loss);
      }
      counts.points += event.step.length - from;
      known.first ??= event.loss[0];
      if (train.step.length > MOST_HELD && !asked) train = thinned(train);
    },
    addValidation(event) {
      if (event.step <= lastStep(validation)) return;
      for (const name of VALIDATION) validation[name].push(event[name]);
      countLoss(event.loss);
      counts.validation_points += 1;
    },

    /** Whether every point is here. */
    isWhole: () => train.step.length >= counts.points && validation.step.length >= counts.validation_points,
    /** A very long training keeps the extremes of a few steps each. */
    isOfEveryStep: () => counts.points >= (train.step.at(-1) ?? 0),
    window: () => average?.window ?? null,
    ends: () => [Math.min(train.epoch[0] ?? Infinity, validation.epoch[0] ?? Infinity), Math.max(train.epoch.at(-1) ?? -Infinity, validation.epoch.at(-1) ?? -Infinity)],
    latest: () => ({
      epoch: train.epoch.at(-1) ?? null, step: train.step.at(-1) ?? null, train: train.loss.at(-1) ?? null, smooth: train.smooth.at(-1) ?? null,
      rate: train.learning_rate.at(-1) ?? null, validation: validation.loss.at(-1) ?? null, validatedAt: validation.epoch.at(-1) ?? null,
    }),

    /** What is to be drawn: the thinned points, with the finer ones in their place. */
    shown() {
      const refined = (whole, fine) => {
        if (!fine?.step.length) return whole;
        return joined(part(whole, 0, placeOf(whole.step, fine.step[0])), fine, part(whole, placeOf(whole.step, fine.step.at(-1) + 1)));
      };
      return { train: refined(train, detail?.train), validation: refined(validation, detail?.validation) };
    },
  };
}

/** Columns for one chart: every epoch of either series once; null where a series has no number. */
export function aligned({ train, validation }) {
  const [epochs, losses, smooth, validations] = [[], [], [], []];
  let [at, other] = [0, 0];
  while (at < train.epoch.length || other < validation.epoch.length) {
    const here = train.epoch[at] ?? Infinity;
    const there = validation.epoch[other] ?? Infinity;
    epochs.push(Math.min(here, there));
    losses.push(here <= there ? place(train.loss[at]) : null);
    smooth.push(here <= there ? place(train.smooth[at]) : null);
    validations.push(there <= here ? place(validation.loss[other]) : null);
    if (here <= there) at += 1;
    if (there <= here) other += 1;
  }
  return [epochs, losses, smooth, validations];
}
