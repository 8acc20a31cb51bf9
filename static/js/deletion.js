/* What cannot be deleted, said before a person says yes. */

import { confirmed, role, setText, showSentences } from "./dom.js";
import { count } from "./format.js";
import { send } from "./requests.js";

/** Opens a dialog that asks whether to delete these jobs, and answers those that are to go: none without a yes. */
export async function deletionConfirmed(dialog, ids) {
  const { faults, deleted } = await send("POST", "/jobs/check-deletion", ids.map((id) => ["job_ids[]", id]));
  showSentences(role(dialog, "refused"), faults);
  role(dialog, "what-goes").hidden = deleted.length === 0;
  const yes = role(dialog, "confirm-yes");
  yes.hidden = deleted.length === 0;
  setText(yes, faults.length ? `Delete the other ${deleted.length === 1 ? "one" : count(deleted.length)}` : "Delete");
  return (await confirmed(dialog)) ? deleted : [];
}
