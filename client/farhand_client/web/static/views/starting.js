// @ts-check
/** Starts a run from a form. */

import { Attachment } from "../wire/attachment.js";
import { runRequest } from "../wire/runs.js";
import { newRunId } from "../wire/values.js";
import { noteStarted, queryOf } from "./stored_forms.js";

/**
 * Start a run; it is shown by its own page, which attaches to it: the same id is the same run.
 * @param {import("../wire/host.js").Host} host
 * @param {import("../wire/runs.js").RunForm} form
 * @param {{ started: (place: string[]) => void, failed: (why: string) => void }} owner is told one of both, once
 * @returns {Attachment} what has to be left
 */
export function startRun(host, form, { started, failed }) {
  const id = newRunId();
  const place = form.terminal ? [host.name, "runs", id, "terminal"] : [host.name, "runs", id];
  const attachment = new Attachment(host, id, { run: runRequest(id, form, { columns: 80, rows: 24 }) }, {
    data: () => {},
    message: (message) => {
      if (message.type === "started" || (message.type === "ended" && message.outcome.status !== "spawn_failed")) {
        noteStarted(id, queryOf(form));
        started(place);
      } else if (message.type === "ended") {
        failed(message.outcome.message);
      } else if (message.type === "error") {
        failed(message.message);
      }
    },
    failed: (why) => failed(why.message),
  });
  attachment.begin();
  return attachment;
}
