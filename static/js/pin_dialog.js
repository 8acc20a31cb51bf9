/* The dialog in which a person picks the image that a training shows: from the dataset, or one of their own. */

import { allow, h, role, setText } from "./dom.js";
import { mountDrop } from "./drop.js";
import { count } from "./format.js";
import { get, request, send } from "./requests.js";

const SPLITS = { val: "Validation", train: "Training" };
const PAGE_SIZE = 50;

/** What a person calls an image that a pin or a frame names. */
export const imageName = ({ split, index, name }) => name ?? `${SPLITS[split]} image ${count(index)}`;

/** Answers {open()}. Calls `onPinned(image, sentAt)` with what was picked and when, once the server has it. */
export function pinDialog(dialog, { jobId, datasetId }, onPinned) {
  const error = role(dialog, "error");
  const tabs = role(dialog, "splits");
  const list = role(dialog, "images");
  const pager = role(dialog, "pager");
  const pageField = role(dialog, "page");
  const file = role(dialog, "file");
  let entries = {};
  let split = null;
  let page = 0;
  let pages = 1;
  let asked = 0;

  async function attempt(work) {
    setText(error, "");
    dialog.setAttribute("aria-busy", "true");
    try {
      await work();
    } catch (problem) {
      if (problem.status === undefined) throw problem; // ours: a bug must be seen
      setText(error, problem.message);
    } finally {
      dialog.removeAttribute("aria-busy");
    }
  }

  const pin = (sending) => attempt(async () => {
    const sentAt = performance.now();
    const { pin: image } = await sending();
    dialog.close();
    onPinned(image, sentAt);
  });

  const thumbnail = ({ index, url, label_name: label }) => {
    const name = `${imageName({ split, index })}${label ? `, class ${label}` : ""}`;
    return h("li", null, h("button", { type: "button", title: name, onclick: () => pin(() => send("PUT", `/models/${jobId}/pin`, { split, index })) },
      h("img", { class: "pixelated", src: url, alt: name, width: 64, height: 64 })));
  };

  const showPage = (wanted) => attempt(async () => {
    const mine = (asked += 1);
    const query = new URLSearchParams({ job_id: datasetId, db: split, page: wanted, size: PAGE_SIZE });
    const answer = await get(`/datasets/explore.json?${query}`);
    if (mine !== asked) return;
    ({ page, pages } = answer);
    list.replaceChildren(...answer.images.map(thumbnail));
    list.scrollTop = 0;
    pager.hidden = pages < 2;
    pageField.max = pages;
    pageField.value = page + 1;
    setText(role(dialog, "pages"), count(pages));
    allow(role(dialog, "previous-page"), page > 0);
    allow(role(dialog, "next-page"), page < pages - 1);
  });

  function showSplit(name) {
    split = name;
    [page, pages] = [0, 1];
    tabs.replaceChildren(...Object.keys(SPLITS).filter((each) => entries[each]).map((each) =>
      h("button", { type: "button", "aria-pressed": String(each === split), onclick: () => showSplit(each) }, `${SPLITS[each]} (${count(entries[each])})`)));
    // The button that was pressed is a new one now.
    if (document.activeElement === document.body) tabs.querySelector('[aria-pressed="true"]').focus();
    return showPage(0);
  }

  role(dialog, "previous-page").addEventListener("click", () => showPage(page - 1));
  role(dialog, "next-page").addEventListener("click", () => showPage(page + 1));
  pageField.addEventListener("change", () => showPage(Math.min(Math.max(1, Number(pageField.value) || 1), pages) - 1));
  mountDrop(role(dialog, "drop"), () => {
    const [chosen] = file.files;
    if (!chosen) return;
    const body = new FormData();
    body.append("image_file", chosen);
    pin(() => request(`/models/${jobId}/pin`, { method: "PUT", body }));
  });

  return {
    open() {
      file.value = "";
      dialog.showModal();
      attempt(async () => {
        if (split) return;
        ({ entries } = await get(`/datasets/summary.json?job_id=${datasetId}`));
        await showSplit(Object.keys(SPLITS).find((each) => entries[each]));
      });
    },
  };
}
