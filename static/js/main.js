/* What each page needs, by name: an element with data-mount="name other" gets name(el) and other(el). */

import "./copy.js";
import { fillTimes } from "./format.js";
import * as jobActions from "./job_actions.js";
import * as learningRate from "./learning_rate.js";
import * as log from "./log.js";
import * as menu from "./menu.js";
import * as once from "./once.js";
import * as dataset from "./pages/dataset.js";
import * as home from "./pages/home.js";
import * as inferOne from "./pages/infer_one.js";
import * as model from "./pages/model.js";
import * as newDataset from "./pages/new_dataset.js";
import * as newModel from "./pages/new_model.js";
import * as pathField from "./path_field.js";
import * as testOne from "./test_one.js";
import * as themeToggle from "./theme_toggle.js";

const MOUNTS = {
  dataset: dataset.mount,
  focus: (el) => el.focus(),
  home: home.mount,
  "infer-one": inferOne.mount,
  "job-actions": jobActions.mount,
  "learning-rate": learningRate.mount,
  log: log.mount,
  menu: menu.mount,
  model: model.mount,
  "new-dataset": newDataset.mount,
  "new-model": newModel.mount,
  notes: jobActions.mountNotes,
  once: once.mount,
  "path-field": pathField.mount,
  "test-one": testOne.mount,
  theme: themeToggle.mount,
};

fillTimes(document);
for (const el of document.querySelectorAll("[data-mount]")) {
  // Not el.dataset: a form with a field named "dataset" hides it.
  for (const name of el.getAttribute("data-mount").split(" ")) MOUNTS[name]?.(el);
}
