// @ts-check
/** What is known about a run, for people. */

import { moment, size, span, t } from "../text/text.js";
import { printable } from "../wire/values.js";

/**
 * Return pairs of a text's key and a value.
 * @param {import("../wire/runs.js").RunInfo} info
 * @param {any} ended the message `ended`, once it has come
 * @returns {[string, string][]}
 */
export function facts(info, ended) {
  /** @type {[string, string][]} */
  const found = [
    ["id", info.id],
    ["owner", printable(info.owner)],
    ["began", moment(info.began)],
    ["duration", span(ended?.duration ?? info.duration)],
    ["bytes-written", `stdout ${size(ended?.stdout ?? info.stdout)}, stderr ${size(ended?.stderr ?? info.stderr)}`],
  ];
  if (info.pid !== undefined) found.push(["pid", `${info.pid}${info.tty ? ` · ${printable(info.tty)}` : ""}`]);
  if (ended?.usage) {
    found.push(["usage", `${span(ended.usage.user)} user, ${span(ended.usage.system)} system`]);
    if (ended.usage.peak_memory) found.push(["peak-memory", size(ended.usage.peak_memory)]);
  }
  const applied = Object.entries(ended?.applied ?? {});
  if (applied.length > 0) found.push(["limits", applied.map(([name, how]) => `${name}: ${how}`).join(", ")]);
  const left = ended?.left_processes ?? info.left_processes;
  if (left) {
    const names = (left.names ?? []).map((/** @type {string} */ name) => printable(name)).join(", ");
    found.push(["left-processes", `${left.count}: ${names}`]);
  }
  for (const client of info.clients ?? []) {
    const parts = [client.user, client.address, client.key].filter((part) => part !== undefined);
    found.push(["clients", parts.map((part) => printable(part ?? "")).join(" · ")]);
  }
  if (info.outcome === undefined) found.push(["state", t(`on-disconnect-${info.on_disconnect ?? "kill"}`)]);
  return found;
}
