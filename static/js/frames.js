/* The frames of a training: fetched by number, ready to be drawn, and kept while they may be wanted again. */

import { decodePictures } from "./prediction.js";
import { get } from "./requests.js";

const MOST_KEPT = 24;

/** Answers {load(number), has(number)}; load resolves to a frame whose pictures are decoded, or rejects with a sentence. */
export function frameStore(jobId) {
  const kept = new Map(); // in the order of use: the first is the one to go

  async function read(number) {
    const frame = await get(`/models/${jobId}/frames/${number}.json`);
    await decodePictures(frame);
    return frame;
  }

  return {
    has: (number) => kept.has(number),
    load(number) {
      const frame = kept.get(number) ?? read(number);
      kept.delete(number);
      kept.set(number, frame);
      // What failed may work the next time.
      frame.catch(() => kept.delete(number));
      if (kept.size > MOST_KEPT) kept.delete(kept.keys().next().value);
      return frame;
    },
  };
}
