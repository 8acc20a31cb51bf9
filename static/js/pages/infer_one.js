/* Test One's answer: the prediction that the server put into the page. */

import { embedded } from "../dom.js";
import { predictionView } from "../prediction.js";

export function mount(page) {
  predictionView(page, { framework: page.dataset.framework }).show(embedded(page, "prediction"));
}
