/* Numbers, times and sizes as people read them. */

export const count = (value) => Number(value).toLocaleString("en");

const needsPower = (value) => typeof value === "number" && value !== 0 && (Math.abs(value) >= 1e6 || Math.abs(value) < 1e-4);
const withPower = (value) => Number(value.toPrecision(3)).toExponential().replace("e+", "e");

/** Four significant digits; the words "nan", "infinity" and "-infinity" as they are. */
export function number(value) {
  if (value === null || value === undefined) return "–";
  if (typeof value !== "number") return String(value);
  if (needsPower(value)) return withPower(value);
  if (Math.abs(value) >= 1000) return value.toLocaleString("en", { maximumFractionDigits: 0 });
  return String(Number(value.toPrecision(4)));
}

const isHandy = (value) => Math.abs(value) >= 0.01 && Math.abs(value) < 1e5;

/** Numbers that are read beside each other: where one needs a power of ten, so have all, but for those that read well without. */
export function numbers(values) {
  const powers = values.some(needsPower);
  return values.map((value) => (powers && typeof value === "number" && value !== 0 && !isHandy(value) ? withPower(value) : number(value)));
}

/** A place in the training, in epochs; before the end of the first, its first two digits. */
export const epochPlace = (epoch) => (epoch > 0 && epoch < 1 ? String(Number(epoch.toPrecision(2))) : epoch.toFixed(epoch < 100 ? 1 : 0));

/** Epochs that are done, with so many digits that nobody takes it for a whole number where it is none. */
export function epochsDone(epochs) {
  if (Number.isInteger(epochs)) return String(epochs);
  const texts = [1, 2, 3, 4, 5, 6].map((digits) => epochs.toFixed(digits));
  return texts.find((text) => Number(text) % 1 !== 0) ?? texts.at(-1);
}

export function duration(seconds) {
  if (seconds === null || seconds === undefined || !Number.isFinite(seconds)) return "–";
  const whole = Math.max(0, Math.round(seconds));
  if (whole === 0 && seconds > 0) return "< 1s";
  const units = [["d", 86400], ["h", 3600], ["m", 60], ["s", 1]];
  const first = units.findIndex(([, size]) => whole >= size);
  if (first < 0) return "0s";
  const [[unit, size], next] = [units[first], units[first + 1]];
  const rest = next ? Math.floor((whole % size) / next[1]) : 0;
  return `${Math.floor(whole / size)}${unit}${rest ? ` ${rest}${next[0]}` : ""}`;
}

/** "40s – 1m 5s"; an end alone where both read the same. */
export function interval(ends) {
  if (!ends) return "–";
  const [least, most] = ends.map(duration);
  return least === most ? most : `${least} – ${most}`;
}

const clock = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit", second: "2-digit" });
const day = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short", year: "numeric" });

const isToday = (date) => date.toDateString() === new Date().toDateString();

export function moment(seconds) {
  const date = new Date(seconds * 1000);
  return `${isToday(date) ? "Today" : day.format(date)}, ${clock.format(date)}`;
}

/** The time alone, with its day where that is not today. */
export const timeOfDay = (seconds) => (isToday(new Date(seconds * 1000)) ? clock.format(new Date(seconds * 1000)) : moment(seconds));

export function bytes(value) {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let step = 0;
  let rest = value;
  while (rest >= 1024 && step < units.length - 1) {
    rest /= 1024;
    step += 1;
  }
  return `${rest >= 100 || step === 0 ? Math.round(rest) : rest.toFixed(1)} ${units[step]}`;
}

/**
 * Where a layer stands. For Torch its path as Torch prints it, "(3)", or "(3.2)" for the second module of the third; else
 * its place in the order of calls.
 */
export const layerPlace = ({ index, path }, framework) => (framework !== "torch" ? String(index) : path ? `(${path})` : "");

/** "1 × 28 × 28"; a list of shapes, for layers with several outputs, has commas between them. */
export function shape(value) {
  if (!Array.isArray(value)) return "–";
  if (value.length === 0) return "number";
  return Array.isArray(value[0]) ? value.map(shape).join(", ") : value.join(" × ");
}

/** Fills every <time data-time="unix seconds"> below `el`. */
export function fillTimes(el) {
  for (const node of el.querySelectorAll("time[data-time]")) {
    const seconds = Number(node.dataset.time);
    if (!seconds) continue;
    node.dateTime = new Date(seconds * 1000).toISOString();
    node.textContent = moment(seconds);
  }
}
