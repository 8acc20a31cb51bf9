/* The way through the frames of a training: a slider, steps, play, and keys. It knows which frame is wanted, and draws none. */

import { allow, oncePerFrame, role, setText } from "./dom.js";
import { count } from "./format.js";

const PLAY = { interval: 250, calm: 2000 };
const TYPED_IN = 'input:not([type="range"]), textarea, select, [contenteditable]';

const calm = matchMedia("(prefers-reduced-motion: reduce)");

/**
 * Calls `onMove(isNews)` whenever another frame may be wanted, by a person or because there is a new one.
 * Who draws asks `wanted()` for its number, and calls `shown()` when it is on the page.
 * What is wanted: the frame under a pointer over the chart, else the one that a person chose, else the newest.
 */
export function timeline(el, onMove) {
  const slider = role(el, "slider");
  const play = role(el, "play");
  const follow = role(el, "newest");
  let frames = [];
  let chosen = null; // the number of a frame; null: follow the newest
  let pointed = null;
  let held = false;
  let timer = null;

  const nearest = (epoch) => {
    const distance = (frame) => Math.abs(frame.epoch - epoch);
    return frames.reduce((best, frame) => (distance(frame) < distance(best) ? frame : best)).frame;
  };
  const at = (number) => frames.findIndex(({ frame }) => frame === number);
  const newest = () => frames.at(-1)?.frame ?? null;
  const steady = () => chosen ?? newest();
  const wanted = () => pointed ?? steady();
  const isFollowing = () => chosen === null && pointed === null;

  const draw = oncePerFrame(() => {
    if (!frames.length) return;
    const place = at(wanted());
    // The way does not grow under a thumb that is being dragged.
    if (!held) slider.max = frames.length;
    if (!held || pointed !== null) slider.value = place + 1;
    const { epoch, step } = frames[place];
    slider.setAttribute("aria-valuetext", `epoch ${epoch.toFixed(1)}, step ${step}, frame ${place + 1} of ${frames.length}`);
    setText(role(el, "place"), `Epoch ${epoch.toFixed(1)} · step ${count(step)} · frame ${place + 1} of ${frames.length}`);
    allow(role(el, "previous"), place > 0);
    allow(role(el, "next"), place < frames.length - 1);
    allow(play, frames.length > 1);
    follow.setAttribute("aria-pressed", String(isFollowing()));
  });

  function move(isNews = false) {
    draw();
    onMove(isNews);
  }

  function choose(place) {
    const last = frames.length - 1;
    const next = Math.min(Math.max(place, 0), last);
    chosen = next === last ? null : frames[next]?.frame ?? null;
    move();
  }

  function stop() {
    clearTimeout(timer);
    timer = null;
    play.setAttribute("aria-pressed", "false");
  }

  /** One frame on, when the one before has been on the page for a while. */
  function playOn() {
    clearTimeout(timer);
    timer = setTimeout(() => {
      choose(at(steady()) + 1);
      if (chosen === null) stop();
    }, calm.matches ? PLAY.calm : PLAY.interval);
  }

  function step(by) {
    stop();
    const place = at(wanted()) + by;
    pointed = null;
    choose(place);
  }

  function followNewest() {
    stop();
    pointed = null;
    choose(frames.length - 1);
  }

  slider.addEventListener("input", () => {
    stop();
    // A finger that was over the chart may have left it without a word.
    pointed = null;
    chosen = frames[Number(slider.value) - 1].frame;
    move();
  });
  slider.addEventListener("change", () => choose(Number(slider.value) - 1));
  slider.addEventListener("pointerdown", () => { held = true; });
  for (const name of ["pointerup", "pointercancel"]) {
    slider.addEventListener(name, () => {
      held = false;
      draw();
    });
  }
  role(el, "previous").addEventListener("click", () => step(-1));
  role(el, "next").addEventListener("click", () => step(1));
  play.addEventListener("click", () => {
    if (timer) return stop();
    play.setAttribute("aria-pressed", "true");
    if (chosen === null) choose(0);
    playOn();
  });
  follow.addEventListener("click", followNewest);
  document.addEventListener("keydown", (event) => {
    const by = { "[": -1, "]": 1 }[event.key];
    if (!by || !frames.length || event.metaKey || event.target.closest(TYPED_IN) || document.querySelector("dialog[open]")) return;
    step(by);
  });

  return {
    wanted,
    isLatest: () => wanted() === newest(),
    isPointed: () => pointed !== null,
    neighbours: (number) => [at(number) - 1, at(number) + 1].map((place) => frames[place]?.frame).filter(Boolean),
    follow: followNewest,
    shown: () => timer && playOn(),

    add(event) {
      // A training that was taken up again may tell of a frame anew.
      const known = at(event.frame);
      if (known < 0) frames.push(event);
      else frames[known] = event;
      move(true);
    },
    drop(numbers) {
      const before = chosen === null ? null : frames[at(chosen)].epoch;
      const gone = new Set(numbers);
      frames = frames.filter(({ frame }) => !gone.has(frame));
      if (gone.has(chosen)) chosen = frames.length ? nearest(before) : null;
      if (gone.has(pointed)) pointed = null;
      move(true);
    },
    /** Go to the frame nearest to an epoch; null: back to what was there before. */
    point(epoch) {
      pointed = epoch === null || !frames.length ? null : nearest(epoch);
      move();
    },
  };
}
